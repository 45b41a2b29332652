//! rotel, a collector of OpenTelemetry (PyPI; setup installs it), gets the golden records.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sigtrail::sink::http::Preset;

use crate::presets::{golden, sink, spool_golden};
use crate::{Host, PATIENCE};

/// A collector that prints what it got; it ends when this is dropped.
struct Rotel {
    child: Child,
    port: u16,
    said: PathBuf,
}

impl Rotel {
    fn start(host: &Host) -> Self {
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, other, said) = (port(), port(), host.path("rotel.out"));
        let child = Command::new(program())
            .args(["start", "--exporter", "blackhole", "--debug-log", "logs", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{port}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{other}")])
            .stdin(Stdio::null())
            .stdout(fs::File::create(&said).unwrap())
            .stderr(fs::File::create(host.path("rotel.err")).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "rotel does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, said }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        if self.child.kill().is_ok() && self.child.wait().is_err() {
            eprintln!("cannot end rotel");
        }
    }
}

/// Its program in the virtual environment of setup.
fn program() -> PathBuf {
    let lib = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/servers/lib"));
    let mut pythons = fs::read_dir(&lib).unwrap_or_else(|_| panic!("no rotel: run `cargo xtask setup`"));
    pythons.next().unwrap().unwrap().path().join("site-packages/rotel/rotel-agent")
}

#[tokio::test]
async fn a_collector_of_opentelemetry_has_each_record_once() {
    let mut host = Host::new();
    let rotel = Rotel::start(&host);
    let last = spool_golden(&mut host);
    let running = host.deliver(sink(&host, Preset::Otlp, format!("http://127.0.0.1:{}", rotel.port), |_| {}));
    let report = running.delivered(last).await;
    assert_eq!((report.retries, report.missed), (0, 0));
    let wanted: Vec<String> = golden().into_values().flatten().collect();
    let records = || rotel.said().matches("\nEventName: ").count();
    running.until("printed", |_| records() >= wanted.len()).await;
    let said = rotel.said();
    let mut bodies = BTreeMap::<&str, usize>::new();
    for body in said.lines().filter_map(|line| line.strip_prefix("Body: Str(")?.strip_suffix(')')) {
        *bodies.entry(body).or_default() += 1;
    }
    let mut lines = BTreeMap::<&str, usize>::new();
    for line in &wanted {
        *lines.entry(line).or_default() += 1;
    }
    assert_eq!((records(), &bodies), (wanted.len(), &lines), "the bodies are the lines as they were signed");
    // what an exec became, as the collector understood it
    let exec = said.split("LogRecord #").find(|text| text.contains("EventName: sigtrail.exec\n")).unwrap();
    for words in [
        "sigtrail.origin: Str(audit.example.org/sigtrail/test/1)",
        "sigtrail.index: Int(",
        "process.executable.name: Str(",
        "process.command_args: Slice(Str(",
        "process.real_user.id: Int(0)",
        "SeverityNumber: SEVERITY_NUMBER_INFO(9)",
    ] {
        assert!(exec.contains(words), "no {words} in {exec}");
    }
    assert!(said.contains("service.name: Str(sigtrail)") && said.contains("host.name: Str(audit.example.org)"));
    assert!(said.contains("network.peer.address: Str(127.0.0.1)") && said.contains("Bytes(["));
}
