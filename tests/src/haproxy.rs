//! A real load balancer between a sink and two receivers: Debian's haproxy, with TLS and without, whose own answers can be
//! switched on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::nginx::{Error, ca};

/// Longest time from the start to the first connection.
const START_MAX: Duration = Duration::from_secs(10);

/// A running haproxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Haproxy {
    dir: PathBuf,
    tls: u16,
    plain: u16,
    child: Child,
}

impl Haproxy {
    /// Starts it before receivers without TLS, with its files in `dir`. It looks after them ten times a second.
    pub fn start(dir: &Path, receivers: &[SocketAddr]) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(wrong("make", dir))?;
        ca::write(dir)?;
        let at = |name: &str| dir.join(name);
        let read = |name: &str| fs::read_to_string(at(name)).map_err(wrong("read", &at(name)));
        write(&at("both.pem"), &(read("server.pem")? + &read("server.key")?))?;
        write(&at("faults"), "fault none\n")?;
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
        let (tls, plain) =
            (free().map_err(wrong("find a port for", dir))?, free().map_err(wrong("find a port for", dir))?);
        write(&at("haproxy.cfg"), &configuration(dir, tls, plain, receivers))?;
        let said = fs::File::create(at("said")).map_err(wrong("make", &at("said")))?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(at("haproxy.cfg")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().map_err(wrong("start (Debian package haproxy)", Path::new("haproxy")))?;
        let proxy = Self { dir: dir.to_owned(), tls: tls.port(), plain: plain.port(), child };
        let late = Instant::now() + START_MAX;
        while TcpStream::connect(plain).is_err() {
            if Instant::now() > late {
                return Err(Error::Ended(fs::read_to_string(at("said")).unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(proxy)
    }

    /// Where to POST with TLS.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.tls)
    }

    /// Where it listens without TLS.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.plain))
    }

    /// The certificate that a client has to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// From now on it answers by itself: `413`; `reject`, which closes the connection without an answer; or `none`.
    pub fn play(&self, fault: &str) -> Result<(), Error> {
        let map = self.dir.join("faults");
        self.ask(&format!("set map {} fault {fault}", map.display())).map(drop)
    }

    /// How many receivers it takes for alive.
    pub fn alive(&self) -> Result<usize, Error> {
        let table = self.ask("show stat")?;
        let is_up = |line: &&str| line.starts_with("receivers,r") && line.split(',').nth(17) == Some("UP");
        Ok(table.lines().filter(is_up).count())
    }

    fn ask(&self, words: &str) -> Result<String, Error> {
        let path = self.dir.join("admin");
        let answer = UnixStream::connect(&path).and_then(|mut socket| {
            socket.write_all(format!("{words}\n").as_bytes())?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).map(|_| answer)
        });
        answer.map_err(wrong("ask", &path))
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot end haproxy: {error}");
        }
    }
}

fn wrong(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(wrong("write", path))
}

/// A request must come whole within 0.4 s (else 408), and an idle connection is closed after 0.1 s.
fn configuration(dir: &Path, tls: SocketAddr, plain: SocketAddr, receivers: &[SocketAddr]) -> String {
    let dir = dir.display();
    let servers = receivers.iter().enumerate().map(|(at, address)| format!("  server r{at} {address} check\n"));
    let servers: String = servers.collect();
    format!(
        "global
  stats socket {dir}/admin mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
  timeout http-request 400ms
  timeout http-keep-alive 100ms
frontend front
  bind {tls} ssl crt {dir}/both.pem alpn h2,http/1.1
  bind {plain}
  option http-buffer-request
  http-request return status 413 if {{ str(fault),map({dir}/faults) -m str 413 }} {{ req.hdr_val(content-length) gt 500 }}
  http-request reject if {{ str(fault),map({dir}/faults) -m str reject }}
  default_backend receivers
backend receivers
  balance roundrobin
  retries 0
  default-server inter 100ms fall 1 rise 1
{servers}"
    )
}
