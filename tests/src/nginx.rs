//! A real receiver: Debian's nginx (`nginx-light`) with TLS, which keeps every body that it accepts as a file.

pub mod ca;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time from the start to the first connection.
const START_MAX: Duration = Duration::from_secs(10);

/// Why there is no receiver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nginx is not there.
    #[error("cannot start nginx (Debian package nginx-light): {0}")]
    Missing(#[source] std::io::Error),
    /// nginx ended, or did not listen in time.
    #[error("nginx does not run: {0}")]
    Ended(String),
    /// A file of its directory.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificates.
    #[error("cannot make certificates: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// What this receiver is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1; 0: a free one.
    pub port: u16,
    /// Bearer token that is needed: 401 without it.
    pub token: Option<String>,
    /// Name and password that are needed, as `name:password`: 401 without them.
    pub basic: Option<String>,
    /// Largest body: 413 above it.
    pub body_max: u64,
    /// Requests per second: 429 above it.
    pub rate: Option<u32>,
    /// Regular expression of `X-Sigtrail-Batch`: 422 to what it finds.
    pub refuse: Option<String>,
    /// Speak HTTP/2.
    pub http2: bool,
    /// Answer 415 to zstd.
    pub no_zstd: bool,
    /// A client certificate is needed.
    pub mutual_tls: bool,
    /// The certificate to show, by its name in [`ca`].
    pub certificate: &'static str,
    /// What it speaks.
    pub tls: Tls,
}

/// Which TLS a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// 1.2 and 1.3.
    Modern,
    /// None newer than 1.1.
    Old,
    /// None at all.
    No,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            token: None,
            basic: None,
            body_max: 16 << 20,
            rate: None,
            refuse: None,
            http2: false,
            no_zstd: false,
            mutual_tls: false,
            certificate: "server",
            tls: Tls::Modern,
        }
    }
}

/// A running nginx; it ends when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    dir: PathBuf,
    port: u16,
    scheme: &'static str,
    child: Child,
}

impl Nginx {
    /// Starts nginx with all its files in `dir`. Certificates and bodies of an earlier start there are kept.
    pub fn start(dir: &Path, options: &Options) -> Result<Self, Error> {
        let dir = fs::canonicalize(dir).map_err(io("find", dir))?;
        if !dir.join("ca.pem").exists() {
            ca::write(&dir)?;
        }
        let life = (0..u32::MAX).find(|life| !bodies_of(&dir, *life).exists()).unwrap_or(u32::MAX);
        let bodies = bodies_of(&dir, life);
        fs::create_dir(&bodies).map_err(io("make", &bodies))?;
        let port =
            if options.port == 0 { free_port().map_err(io("find a free port for", &dir))? } else { options.port };
        let written = dir.join("nginx.conf");
        fs::write(&written, configuration(&dir, &bodies, port, options)).map_err(io("write", &written))?;
        if let Some((name, password)) = options.basic.as_deref().and_then(|pair| pair.split_once(':')) {
            let users = dir.join("users");
            fs::write(&users, format!("{name}:{{PLAIN}}{password}\n")).map_err(io("write", &users))?;
        }
        let child = Command::new("nginx")
            .arg("-p")
            .arg(&dir)
            .arg("-e")
            .arg(dir.join("error.log"))
            .arg("-c")
            .arg(&written)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::Missing)?;
        let scheme = if options.tls == Tls::No { "http" } else { "https" };
        let mut nginx = Self { dir, port, scheme, child };
        nginx.wait_until_it_listens()?;
        Ok(nginx)
    }

    /// Where to POST.
    pub fn url(&self) -> String {
        format!("{}://{}/", self.scheme, self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate that a client has to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The accepted bodies, in the order they came, also those of earlier starts in this directory.
    pub fn bodies(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for life in 0.. {
            let Ok(entries) = fs::read_dir(bodies_of(&self.dir, life)) else {
                break;
            };
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort_unstable();
            found.append(&mut files);
        }
        found
    }

    /// The bodies that it said yes to, in that order: those of [`Nginx::bodies`] may be parts of one that broke off.
    pub fn accepted(&self) -> Vec<PathBuf> {
        let lines = self.requests();
        let yes = lines.iter().filter(|line| line.starts_with("204 "));
        yes.filter_map(|line| line.rsplit(' ').next()).filter(|path| *path != "-").map(PathBuf::from).collect()
    }

    /// One line per request: `status batches encoding digest key body`, `-` for what was not there.
    pub fn requests(&self) -> Vec<String> {
        fs::read_to_string(self.dir.join("access.log")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// From now on 503 with `Retry-After: 1`, or no more.
    pub fn set_busy(&self, busy: bool) -> Result<(), Error> {
        let path = self.dir.join("busy");
        let done = if busy { fs::write(&path, "") } else { fs::remove_file(&path) };
        done.map_err(io("switch", &path))
    }

    fn wait_until_it_listens(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.address()).is_err() {
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.dir.join("error.log")).unwrap_or_default();
                return Err(Error::Ended(log));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGKILL would leave the worker behind; SIGTERM to the master ends both.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + START_MAX;
        while asked.is_ok() && Instant::now() < deadline && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            thread::sleep(Duration::from_millis(5));
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot end nginx: {error}");
        }
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

fn bodies_of(dir: &Path, life: u32) -> PathBuf {
    dir.join(format!("bodies-{life}"))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A body is kept only by a location that passes it on; the inner server says 204 to all.
fn configuration(dir: &Path, bodies: &Path, port: u16, options: &Options) -> String {
    let dir = dir.display();
    let bodies = bodies.display();
    let body_max = options.body_max;
    let zone = options.rate.map_or(String::new(), |rate| {
        format!("limit_req_zone $binary_remote_addr zone=all:64k rate={rate}r/s; limit_req_status 429;")
    });
    let rate = options.rate.map_or("", |_| "limit_req zone=all;");
    let token = options
        .token
        .as_ref()
        .map_or(String::new(), |token| format!("if ($http_authorization != \"Bearer {token}\") {{ return 401; }}"));
    let refuse = options
        .refuse
        .as_ref()
        .map_or(String::new(), |pattern| format!("if ($http_x_sigtrail_batch ~ \"{pattern}\") {{ return 422; }}"));
    let http2 = if options.http2 { "http2" } else { "" };
    let no_zstd = if options.no_zstd { "if ($http_content_encoding = zstd) { return 415; }" } else { "" };
    let basic =
        options.basic.as_ref().map_or(String::new(), |_| format!("auth_basic log; auth_basic_user_file {dir}/users;"));
    let certificate = options.certificate;
    let (ssl, protocols) = match options.tls {
        Tls::Modern => ("ssl", ""),
        // OpenSSL speaks it at its lowest level only
        Tls::Old => ("ssl", "ssl_protocols TLSv1.1; ssl_ciphers DEFAULT@SECLEVEL=0;"),
        Tls::No => ("", ""),
    };
    let verify = if options.mutual_tls { "ssl_verify_client on; ssl_client_certificate ca.pem;" } else { "" };
    format!(
        r"
user root;
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
events {{ worker_connections 128; }}
http {{
  log_format sent '$status $http_x_sigtrail_batch $http_content_encoding $http_content_digest $http_idempotency_key $request_body_file';
  access_log {dir}/access.log sent;
  proxy_temp_path {dir}/temp-proxy; fastcgi_temp_path {dir}/temp-fastcgi;
  uwsgi_temp_path {dir}/temp-uwsgi; scgi_temp_path {dir}/temp-scgi;
  {zone}
  server {{
    listen 127.0.0.1:{port} {ssl} {http2};
    ssl_certificate {dir}/{certificate}.pem;
    ssl_certificate_key {dir}/{certificate}.key;
    {protocols}
    {verify}
    client_max_body_size {body_max};
    client_body_in_file_only on;
    client_body_temp_path {bodies};
    location / {{
      if (-f {dir}/busy) {{ add_header Retry-After 1 always; return 503; }}
      {token}
      {basic}
      {refuse}
      {no_zstd}
      {rate}
      proxy_pass http://unix:{dir}/inner.sock:/;
      proxy_pass_request_body off;
      proxy_set_header Content-Length 0;
    }}
  }}
  server {{
    listen unix:{dir}/inner.sock;
    access_log off;
    return 204;
  }}
}}
"
    )
}
