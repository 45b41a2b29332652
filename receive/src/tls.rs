//! TLS 1.2 or newer with ring; clients may be asked for certificates.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use thiserror::Error;

/// Why there is no TLS.
#[derive(Debug, Error)]
#[error("cannot use {path}: {why}")]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), why: why.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, &error))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(path, &error))?;
    if found.is_empty() { Err(wrong(path, &"no certificate in it")) } else { Ok(found) }
}

/// The server's side, from PEM files. With `clients`, a client must show a certificate that one of these signed.
pub fn config(chain: &Path, key: &Path, clients: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| wrong(chain, &error))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, &error))?)
        }
    };
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let mut config = builder.with_single_cert(certificates(chain)?, secret).map_err(|error| wrong(key, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
