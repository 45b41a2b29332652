//! A certificate authority of one test: a root, a server and a client certificate.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::Error;

/// Writes `ca.pem` and, each with its key, `server.pem` (127.0.0.1), `client.pem`, `client-2.pem`, `expired.pem` (a server's, of long ago)
/// and `other.pem` (that of another server) into `dir`.
pub fn write(dir: &Path) -> Result<(), Error> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, "test authority");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
    save(dir, "ca.pem", &root.pem())?;
    let here: &[&str] = &["127.0.0.1", "localhost"];
    for (name, names) in
        [("server", here), ("client", &[]), ("client-2", &[]), ("expired", here), ("other", &["other.example"])]
    {
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
        if name == "expired" {
            (leaf.not_before, leaf.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        leaf.distinguished_name.push(DnType::CommonName, name);
        let leaf = leaf.signed_by(&key, &root)?;
        save(dir, &format!("{name}.pem"), &leaf.pem())?;
        save(dir, &format!("{name}.key"), &key.serialize_pem())?;
    }
    Ok(())
}

fn save(dir: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(|source| Error::Io { doing: "write", path, source })
}
