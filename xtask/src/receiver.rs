//! A real receiver for `run`: nginx, which keeps the body of every request as a file.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use crate::{command, error::Error, rights::is_root};

/// nginx on a free port of the loopback.
#[derive(Debug)]
pub struct Receiver {
    folder: PathBuf,
    child: Child,
    /// Where to send.
    pub url: String,
    /// Where the bodies are, one file per request, named by the order they came in.
    pub bodies: PathBuf,
}

impl Receiver {
    /// Starts nginx with all its files under `folder`; returns when it accepts connections.
    pub fn start(folder: &Path) -> Result<Self, Error> {
        let bodies = folder.join("bodies");
        fs::create_dir_all(&bodies).map_err(Error::io("creating", &bodies))?;
        let port = free_port()?;
        let config = folder.join("nginx.conf");
        fs::write(&config, configuration(folder, port)).map_err(Error::io("writing", &config))?;
        let mut nginx = nginx(folder)?;
        // Its own group: Ctrl-C ends the agent, and the receiver has to be there for the agent's last batch.
        nginx.process_group(0);
        let child = nginx.spawn().map_err(|source| command::start("starting nginx", &nginx, source))?;
        let mut receiver =
            Self { folder: folder.into(), child, url: format!("http://127.0.0.1:{port}/batches"), bodies };
        receiver.wait_for(port)?;
        Ok(receiver)
    }

    /// Ends nginx after its last answer.
    pub fn stop(mut self) -> Result<(), Error> {
        command::run("stopping nginx", nginx(&self.folder)?.args(["-s", "quit"]))?;
        self.child.wait().map(|_| ()).map_err(Error::io("waiting for", "nginx"))
    }

    fn wait_for(&mut self, port: u16) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().map_err(Error::io("waiting for", "nginx"))?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(Error::Run("nginx does not accept connections: see target/run/receiver/error.log"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn nginx(folder: &Path) -> Result<Command, Error> {
    let path = command::program("nginx")
        .ok_or_else(|| Error::Missing { what: "there is no nginx".into(), remedy: "  cargo xtask setup".into() })?;
    let mut nginx = Command::new(path);
    nginx.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    Ok(nginx)
}

fn free_port() -> Result<u16, Error> {
    let doing = "finding a free port on";
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io(doing, "127.0.0.1"))?;
    Ok(listener.local_addr().map_err(Error::io(doing, "127.0.0.1"))?.port())
}

/// nginx only keeps the body of a request it passes on, so the front passes to a second server of the same nginx.
fn configuration(folder: &Path, port: u16) -> String {
    let user = if is_root() { "user root;\n" } else { "" };
    let folder = folder.display();
    format!(
        r#"{user}daemon off;
worker_processes 1;
pid "{folder}/nginx.pid";
events {{ worker_connections 64; }}
http {{
    access_log "{folder}/access.log";
    client_max_body_size 64m;
    client_body_temp_path "{folder}/bodies";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    server {{
        listen 127.0.0.1:{port};
        location = /batches {{
            limit_except POST {{ deny all; }}
            client_body_in_file_only on;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass "http://unix:{folder}/answer.sock";
        }}
    }}
    server {{
        listen "unix:{folder}/answer.sock";
        location / {{ return 204; }}
    }}
}}
"#
    )
}
