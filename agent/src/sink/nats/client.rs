//! The connection to a NATS server: TLS with ring, names resolved without libc, credentials from files.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use reqwest::Url;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::sync::watch;

use super::super::Outcome;
use super::super::http::{self, HttpConfig, HttpError};
use super::{NatsConfig, NatsError, retry};

/// Largest file with a token or credentials.
const SECRET_MAX: u64 = 64 << 10;
/// The port of NATS.
const PORT: u16 = 4222;
/// How many commands may wait in the client: there is one request at a time.
const WAITING: usize = 16;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    tls: bool,
    host: String,
    port: u16,
}

impl Address {
    /// `tls://` or `nats://`, host, port.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let tls = match url.scheme() {
            "tls" => true,
            "nats" => false,
            _ => return None,
        };
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let host = url.host_str()?.trim_matches(['[', ']']);
        let port = url.port().unwrap_or(PORT);
        (!host.is_empty()).then(|| Self { tls, host: host.to_owned(), port })
    }

    /// Whether nobody on the way can read.
    pub(super) fn is_private(&self) -> bool {
        let local = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.tls || local || self.host == "localhost"
    }
}

/// What a connection is no longer good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is closed.
    Gone,
    /// The server does not allow something.
    Refused(String),
}

/// A connection, and what the server says beside its answers.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) nats: async_nats::Client,
    trouble: watch::Receiver<Option<Trouble>>,
}

impl Client {
    /// Waits until there is trouble.
    pub(super) async fn trouble(&mut self) -> Trouble {
        let told = self.trouble.wait_for(Option::is_some).await;
        told.ok().and_then(|told| told.clone()).unwrap_or(Trouble::Gone)
    }
}

/// Connects. What an operator has to mend is told apart from what passes.
pub(super) async fn connect(address: &Address, config: &NatsConfig) -> Result<Client, Outcome> {
    let slow = |error: NatsError| Outcome::Slow { why: error.to_string() };
    let options = options(address, config).await.map_err(slow)?;
    let (tell, trouble) = watch::channel(None);
    let tell = Arc::new(tell);
    let options = options.event_callback(move |event| {
        let tell = tell.clone();
        async move {
            if let Some(trouble) = meaning(event) {
                tell.send_replace(Some(trouble));
            }
        }
    });
    let lookup = tokio::time::timeout(config.timeout, resolve(address));
    let servers = match lookup.await {
        Ok(found) => found.map_err(|why| retry(&format!("cannot resolve {}: {why}", address.host)))?,
        Err(_) => return Err(retry(&format!("cannot resolve {}: no answer", address.host))),
    };
    let options = options.max_reconnects(servers.len());
    let nats = options.connect(servers).await.map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Outcome::Slow { why: format!("the server refuses our credentials: {error}") }
        }
        ConnectErrorKind::Tls | ConnectErrorKind::ServerParse => Outcome::Slow { why: error.to_string() },
        ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            retry(&format!("cannot connect: {error}"))
        }
    })?;
    Ok(Client { nats, trouble })
}

fn meaning(event: Event) -> Option<Trouble> {
    match event {
        Event::Disconnected | Event::Closed => Some(Trouble::Gone),
        Event::ServerError(ServerError::AuthorizationViolation) => {
            Some(Trouble::Refused("authorization violation".to_owned()))
        }
        Event::ServerError(ServerError::Other(why)) if why.to_ascii_lowercase().contains("permissions violation") => {
            Some(Trouble::Refused(why))
        }
        Event::Connected
        | Event::LameDuckMode
        | Event::Draining
        | Event::SlowConsumer(_)
        | Event::ServerError(_)
        | Event::ClientError(_) => None,
    }
}

async fn options(address: &Address, config: &NatsConfig) -> Result<ConnectOptions, NatsError> {
    let mut options = ConnectOptions::new()
        .name(concat!("sigtrail/", env!("CARGO_PKG_VERSION")))
        .connection_timeout(config.timeout)
        .ping_interval(Duration::from_secs(15))
        .client_capacity(WAITING)
        .subscription_capacity(WAITING)
        .ignore_discovered_servers()
        .require_tls(address.tls)
        .tls_client_config(tls(address, config).await?);
    if let Some(path) = &config.token_file {
        let token = secret(path).await?.trim_end().to_owned();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong(path, &"a token is visible ASCII characters in one line"));
        }
        options = options.token(token);
    }
    if let Some(path) = &config.creds_file {
        // the message of the library may have parts of the file in it
        let no = |_| wrong(path, &"no credentials: a JWT and a seed are expected, as `nsc generate creds` writes them");
        options = options.credentials(&secret(path).await?).map_err(no)?;
    }
    Ok(options)
}

async fn secret(path: &Path) -> Result<String, NatsError> {
    let about = tokio::fs::metadata(path).await.map_err(|error| wrong(path, &error))?;
    if about.len() > SECRET_MAX {
        return Err(wrong(path, &format!("it has more than {SECRET_MAX} bytes")));
    }
    tokio::fs::read_to_string(path).await.map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> NatsError {
    NatsError::File { path: path.to_owned(), why: why.to_string() }
}

/// The addresses of the server as the library takes them. It would ask libc, which a static binary must not.
async fn resolve(address: &Address) -> Result<Vec<ServerAddr>, String> {
    let found: Vec<IpAddr> = if let Ok(ip) = address.host.parse() {
        vec![ip]
    } else {
        let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
        let resolver = resolver.map_err(|error| error.to_string())?;
        let found = resolver.lookup_ip(address.host.as_str()).await.map_err(|error| error.to_string())?;
        found.iter().take(ADDRESSES).collect()
    };
    let server = |ip| format!("nats://{}", SocketAddr::new(ip, address.port)).parse();
    found.into_iter().map(server).collect::<Result<Vec<_>, _>>().map_err(|error: std::io::Error| error.to_string())
}

/// TLS as for HTTP, for the name in the configuration: the library knows the server by its address.
async fn tls(address: &Address, config: &NatsConfig) -> Result<ClientConfig, NatsError> {
    let files = HttpConfig {
        ca_file: config.ca_file.clone(),
        client_cert_file: config.client_cert_file.clone(),
        client_key_file: config.client_key_file.clone(),
        ..HttpConfig::default()
    };
    let name = ServerName::try_from(address.host.clone()).map_err(|_| NatsError::Url)?;
    let broken = |error: &dyn std::fmt::Display| HttpError::Client(error.to_string());
    let read = tokio::task::spawn_blocking(move || {
        let mut tls = http::tls(&files)?;
        tls.alpn_protocols.clear();
        let provider = tls.crypto_provider().clone();
        let roots = Arc::new(http::roots(&files)?);
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let inner = inner.map_err(|error| broken(&error))?;
        tls.dangerous().set_certificate_verifier(Arc::new(Named { name, inner }));
        Ok::<_, HttpError>(tls)
    });
    Ok(read.await.map_err(|error| HttpError::Client(error.to_string()))??)
}

/// The verifier of rustls, which asks for a certificate of this name.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
