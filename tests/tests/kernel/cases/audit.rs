//! The kernel's own audit as a witness: switched on for a while, with an auditd of its own, and then as it was before.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::call::SOCKET_OPERATIONS;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::agent::patience;

use super::{
    compare::{Object, Seen, folded},
    table,
};

/// The key of our rules: how our records are told from others.
const KEY: &str = "sigtrail-cases";

/// Audit is on as long as this lives.
pub struct Audit {
    /// `auditctl -s` and `-l`, as they were.
    enabled: String,
    backlog_limit: String,
    rules: Vec<String>,
    auditd: Option<Child>,
    log: PathBuf,
}

fn auditctl(args: &[&str]) -> String {
    let output = Command::new("auditctl").args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("auditctl: {error}; `cargo xtask setup` installs auditd"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "auditctl {args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A line `NAME VALUE` of `auditctl -s`.
fn status(name: &str) -> String {
    let status = auditctl(&["-s"]);
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("the kernel's audit is not to be had here: {status}")).to_owned()
}

/// The rules that are loaded.
fn rules() -> Vec<String> {
    auditctl(&["-l"]).lines().filter(|line| line.starts_with('-')).map(str::to_owned).collect()
}

impl Audit {
    /// Starts an auditd that writes to `dir`.
    pub fn start(dir: &Path) -> Self {
        assert_eq!(
            status("pid"),
            "0",
            "an auditd runs on this machine already: this test needs the kernel's audit for itself"
        );
        let enabled = status("enabled");
        assert_ne!(
            enabled, "2",
            "the kernel's audit is locked (auditctl -e 2) until the next boot: this test needs it"
        );
        let (backlog_limit, rules, log) = (status("backlog_limit"), rules(), dir.join("audit.log"));
        // from here on whatever fails puts back what was
        let mut audit = Self { enabled, backlog_limit, rules, auditd: None, log };
        fs::create_dir(dir.join("plugins.d")).unwrap();
        let config = include_str!("../../../overhead/auditd.conf.in").replace("@DIR@", dir.to_str().unwrap());
        fs::write(dir.join("auditd.conf"), config).unwrap();
        for (path, mode) in [(dir.to_owned(), 0o700), (dir.join("auditd.conf"), 0o600)] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        auditctl(&["-D"]);
        let mut auditd = Command::new("auditd");
        auditd.arg("-n").arg("-c").arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
        auditd.stderr(fs::File::create(dir.join("said")).unwrap());
        let auditd = auditd.spawn().unwrap_or_else(|error| panic!("auditd: {error}; `cargo xtask setup` installs it"));
        let pid = auditd.id().to_string();
        audit.auditd = Some(auditd);
        let said = || fs::read_to_string(dir.join("said")).unwrap();
        wait("auditd does not start: is this a container?", said, || status("pid") == pid);
        auditctl(&["-b", "65536", "--reset-lost"]);
        auditctl(&["-e", "1"]);
        audit
    }

    /// Has every audited call of a process recorded. It must be younger than this.
    pub fn watch(pid: u32) {
        let pid = format!("pid={pid}");
        for (arch, compat) in [("arch=b64", false), ("arch=b32", true)] {
            // numbers: auditctl knows the names of its own time
            let calls = table::audited(compat).keys().fold(String::new(), |calls, number| format!("{calls},{number}"));
            auditctl(&["-a", "always,exit", "-F", arch, "-S", &calls[1..], "-F", &pid, "-k", KEY]);
        }
    }

    /// The calls of a process up to the one whose record has this text. None may have been lost.
    pub fn calls(&self, pid: u32, last: &str) -> Vec<Seen> {
        let log = || fs::read_to_string(&self.log).unwrap_or_default();
        let mark = format!("\"{last}\"");
        wait("auditd does not write", || last.to_owned(), || log().contains(&mark));
        assert_eq!(status("lost"), "0", "audit has lost records: a busy machine");
        calls(&log(), pid)
    }
}

fn wait(what: &str, more: impl Fn() -> String, mut done: impl FnMut() -> bool) {
    let late = Instant::now() + patience();
    while !done() {
        assert!(Instant::now() < late, "{what} {}", more());
        thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Audit {
    /// Never panics: it may be on the way out of a failed test.
    fn drop(&mut self) {
        let tell = |args: Vec<&str>| {
            let status = Command::new("auditctl").args(&args).stdin(Stdio::null()).stdout(Stdio::null()).status();
            if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
                eprintln!("auditctl {args:?}: {status:?}; look at `auditctl -s` and `auditctl -l`");
            }
        };
        tell(vec!["-D"]);
        tell(vec!["-e", &self.enabled]);
        tell(vec!["-b", &self.backlog_limit]);
        for rule in &self.rules {
            tell(rule.split(' ').collect());
        }
        if let Some(mut auditd) = self.auditd.take() {
            let asked = kill(Pid::from_raw(auditd.id().cast_signed()), Signal::SIGTERM);
            if asked.and(auditd.wait().map_err(|_| nix::Error::ECHILD)).is_err() {
                eprintln!("auditd {} may still run", auditd.id());
            }
        }
    }
}

/// The records of the log, one for each call: the fields of its SYSCALL line and what the lines after it tell.
fn calls(log: &str, pid: u32) -> Vec<Seen> {
    let mut events = BTreeMap::<u64, Vec<&str>>::new();
    for line in log.lines() {
        let serial = line.split_once("msg=audit(").and_then(|(_, rest)| rest.split([':', ')']).nth(1)?.parse().ok());
        events.entry(serial.unwrap_or_else(|| panic!("no audit record: {line}"))).or_default().push(line);
    }
    events.values().filter_map(|lines| seen(lines, pid)).collect()
}

fn seen(lines: &[&str], pid: u32) -> Option<Seen> {
    let of = |kind: &'static str| lines.iter().filter(move |line| line.starts_with(&format!("type={kind} ")));
    let call = of("SYSCALL").next()?;
    if field(call, "pid")? != pid.to_string() || field(call, "key")? != format!("\"{KEY}\"") {
        return None;
    }
    let (number, ret) = (field(call, "syscall")?.parse().unwrap(), field(call, "exit")?.parse().unwrap());
    let mut name = table::audited(field(call, "arch")? == "40000003").get(&number).copied();
    if name == Some(table::SOCKETCALL) {
        let operation = usize::from_str_radix(field(call, "a0")?, 16).unwrap();
        name = Some(SOCKET_OPERATIONS.iter().find(|it| it.0 == operation)?.1.name());
    }
    let cwd = of("CWD").next().and_then(|line| text(field(line, "cwd")?)).unwrap_or_default();
    let mut objects: Vec<Object> =
        of("SOCKADDR").filter_map(|line| Some(Object::Address(address(field(line, "saddr")?)))).collect();
    // the directory above comes before the file; what has no name was named by a descriptor
    for line in of("PATH").filter(|line| field(line, "nametype") != Some("PARENT")) {
        let inode = field(line, "inode").unwrap_or_default().to_owned();
        match field(line, "name").and_then(text) {
            Some(name) if name.starts_with('/') => objects.push(Object::Path(folded(&cwd, &name))),
            // it may be relative to a descriptor, of which audit does not tell
            Some(name) => objects.push(Object::Part(name)),
            None => objects.push(Object::Inode(inode)),
        }
    }
    Some(Seen { call: name.unwrap_or("unknown").to_owned(), ret, objects })
}

/// `name=value`, the value as it is written.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// A text: in quotes, or hexadecimal when it has what does not go well in quotes; `(null)` is none.
fn text(value: &str) -> Option<String> {
    if let Some(quoted) = value.strip_prefix('"') {
        return Some(quoted.trim_end_matches('"').to_owned());
    }
    String::from_utf8(bytes(value)?).ok()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// A `struct sockaddr` in hexadecimal, as the agent tells it.
fn address(hex: &str) -> String {
    let bytes = bytes(hex).unwrap();
    let port = || u16::from_be_bytes([bytes[2], bytes[3]]);
    match u16::from_ne_bytes([bytes[0], bytes[1]]) {
        1 => {
            let path: Vec<u8> = bytes[2..].iter().copied().take_while(|it| *it != 0).collect();
            format!("{} ", String::from_utf8(path).unwrap())
        }
        2 => format!("{} {} ", std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[4..8]).unwrap()), port()),
        10 => format!("{} {} ", std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[8..24]).unwrap()), port()),
        family => format!("family {family} "),
    }
}
