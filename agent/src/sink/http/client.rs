//! The connection: TLS 1.2 or newer with ring, names resolved without libc, no redirects, and no way to switch
//! verification off.

use std::error::Error as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Proxy, Url, redirect};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{HttpConfig, HttpError, Outcome, credential};

/// A client, and the state of the files it was made of.
#[derive(Debug)]
pub(in crate::sink) struct Client {
    client: reqwest::Client,
    files: Vec<Option<Mark>>,
}

/// What changes when a file is replaced or written: device, inode, size, time of change in ns.
type Mark = (u64, u64, u64, i64, i64);

/// Checks what can be checked without files and network.
pub(super) fn check(config: &HttpConfig) -> Result<Url, HttpError> {
    let url = Url::parse(&config.url).map_err(|_| HttpError::Url)?;
    let plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() || !plain {
        return Err(HttpError::Url);
    }
    let credential = config.token_file.is_some() || config.basic_file.is_some();
    if url.scheme() == "http" && credential && !is_loopback(&url) {
        return Err(HttpError::PlainCredential);
    }
    if config.token_file.is_some() && config.basic_file.is_some() {
        return Err(HttpError::TwoCredentials);
    }
    if let Some(proxy) = &config.proxy {
        let proxy = Url::parse(proxy).map_err(|_| HttpError::Proxy)?;
        let plain = proxy.username().is_empty() && proxy.password().is_none();
        if !matches!(proxy.scheme(), "https" | "http") || !proxy.has_host() || !plain {
            return Err(HttpError::Proxy);
        }
    }
    if config.client_cert_file.is_some() != config.client_key_file.is_some() {
        return Err(HttpError::HalfIdentity);
    }
    Ok(url)
}

/// The client, made anew when one of its files changed.
pub(in crate::sink) async fn current(
    kept: &mut Option<Client>,
    config: &HttpConfig,
) -> Result<reqwest::Client, HttpError> {
    let files = marks(config).await;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.files == files) {
        return Ok(kept.client.clone());
    }
    let config = config.clone();
    let built = tokio::task::spawn_blocking(move || build(&config)).await;
    let client = built.map_err(|error| HttpError::Client(error.to_string()))??;
    Ok(kept.insert(Client { client, files }).client.clone())
}

/// What a request without an answer means.
pub(super) fn failure(error: reqwest::Error) -> Outcome {
    let why = explain(error);
    // A proxy's 407 to CONNECT: the client's type for it is private.
    let slow = why.contains("proxy authorization required");
    if slow { Outcome::Slow { why } } else { Outcome::Retry { after: None, why } }
}

/// What went wrong with a request, in one line, without the URL.
pub(super) fn explain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

async fn marks(config: &HttpConfig) -> Vec<Option<Mark>> {
    let mut marks = Vec::new();
    let files = [&config.ca_file, &config.client_cert_file, &config.client_key_file, &config.proxy_basic_file];
    for path in files.into_iter().flatten() {
        let about = tokio::fs::metadata(path).await.ok();
        marks.push(about.map(|about| (about.dev(), about.ino(), about.size(), about.ctime(), about.ctime_nsec())));
    }
    marks
}

fn build(config: &HttpConfig) -> Result<reqwest::Client, HttpError> {
    let broken = |error: reqwest::Error| HttpError::Client(explain(error));
    let url = check(config)?;
    // the kernel counts in seconds
    let keepalive = (config.peer_timeout / 2).max(Duration::from_secs(1));
    let mut client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(config)?)
        .user_agent(concat!("sigtrail/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .pool_idle_timeout(config.idle_timeout)
        .pool_max_idle_per_host(1)
        .tcp_keepalive(keepalive)
        .tcp_keepalive_interval(keepalive)
        .tcp_user_timeout(config.peer_timeout);
    if let Some(proxy) = &config.proxy {
        let mut proxy = Proxy::all(proxy).map_err(broken)?;
        if let Some(path) = &config.proxy_basic_file {
            proxy = proxy.custom_http_auth(credential::basic(path)?);
        }
        client = client.proxy(proxy);
    } else if is_loopback(&url) {
        client = client.no_proxy();
    }
    client.build().map_err(broken)
}

/// What the files of the configuration say of TLS.
pub(in crate::sink) fn tls(config: &HttpConfig) -> Result<ClientConfig, HttpError> {
    let refused = |error: rustls::Error| HttpError::Client(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(refused)?;
    let builder = builder.with_root_certificates(roots(config)?);
    let mut tls = match (&config.client_cert_file, &config.client_key_file) {
        (Some(chain), Some(key)) => {
            let key_pem = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
            builder.with_client_auth_cert(certificates(chain)?, key_pem).map_err(|error| wrong(key, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// Whom to trust.
pub(in crate::sink) fn roots(config: &HttpConfig) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &config.ca_file {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| wrong(path, &error))?;
        }
        return Ok(roots);
    }
    let system = rustls_native_certs::load_native_certs();
    let (used, _) = roots.add_parsable_certificates(system.certs);
    if used == 0 { Err(HttpError::NoRoots) } else { Ok(roots) }
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, &error))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(path, &error))?;
    if found.is_empty() { Err(wrong(path, &"no certificate in it")) } else { Ok(found) }
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> HttpError {
    HttpError::File { path: PathBuf::from(path), why: why.to_string() }
}

pub(in crate::sink) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
