//! A real NATS server with JetStream: Debian's `nats-server`, on 127.0.0.1, with all its files in one directory.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time from the start to the first connection.
const START_MAX: Duration = Duration::from_secs(20);

/// A running server; it ends when this is dropped.
pub struct Nats {
    dir: PathBuf,
    port: u16,
    child: Child,
}

impl Nats {
    /// Starts a server with its files in `dir` and `more` lines of configuration. The streams of an earlier start there
    /// are kept.
    pub fn start(dir: &Path, more: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let store = dir.join("store").display().to_string();
        let text = format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{store}\" }}\n{more}\n");
        fs::write(dir.join("nats.conf"), text).unwrap();
        let mut server = Self { dir: dir.to_owned(), port, child: spawn(dir) };
        server.wait();
        server
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, at the same port.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.dir);
        self.wait();
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "nats-server ended: {log}");
            assert!(Instant::now() < deadline, "nats-server does not listen: {log}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

fn spawn(dir: &Path) -> Child {
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(dir.join("nats.conf")).arg("-l").arg(dir.join("log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("cannot start nats-server (Debian package nats-server): {error}"))
}
