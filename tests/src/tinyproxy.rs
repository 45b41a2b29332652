//! A real proxy between a sink and its receiver: Debian's tinyproxy, which wants a name and a password.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::nginx::Error;

/// Longest time from the start to the first connection.
const START_MAX: Duration = Duration::from_secs(10);

/// A running tinyproxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Tinyproxy {
    log: PathBuf,
    port: u16,
    child: Child,
}

impl Tinyproxy {
    /// Starts it with its files in `dir`.
    pub fn start(dir: &Path, name: &str, password: &str) -> Result<Self, Error> {
        let at = |file: &str| dir.join(file);
        let wrong = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { doing, path, source }
        };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
        let port = free.map_err(wrong("find a free port for", dir))?.port();
        let (written, log) = (at("tinyproxy.conf"), at("tinyproxy.log"));
        let text = format!(
            "Listen 127.0.0.1\nPort {port}\nTimeout 60\nLogFile \"{}\"\nLogLevel Connect\nPidFile \"{}\"\nBasicAuth {name} {password}\n",
            log.display(),
            at("tinyproxy.pid").display()
        );
        fs::write(&written, text).map_err(wrong("write", &written))?;
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(&written);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(wrong("start (Debian package tinyproxy-bin)", Path::new("tinyproxy")))?;
        let proxy = Self { log, port, child };
        let late = Instant::now() + START_MAX;
        while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
            if Instant::now() > late {
                return Err(Error::Ended(proxy.log()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(proxy)
    }

    /// For the setting `proxy`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it wrote of its work.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot end tinyproxy: {error}");
        }
    }
}
