//! A certificate authority of one test: a root, a server and a client certificate.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::Error;

/// Writes `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key` into `dir`; the server is 127.0.0.1.
pub fn write(dir: &Path) -> Result<(), Error> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, "test authority");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
    save(dir, "ca.pem", &root.pem())?;
    for (name, names) in [("server", vec!["127.0.0.1".to_owned(), "localhost".to_owned()]), ("client", Vec::new())] {
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(names)?;
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
