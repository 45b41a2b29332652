//! A process that does system calls as it is told (`act.c`), and what must be true of each record about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    ops::{Deref, DerefMut},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
    thread,
};

use nix::{
    errno::Errno,
    libc,
    time::{ClockId, clock_gettime},
    unistd,
};
use serde_json::{Map, Value, json};
use sigtrail::record::json::UNLIKE;
use tests::{
    agent::{Tail, slow},
    host::sigtrail,
};

/// An argument of a system call, see `act.c`.
pub enum Arg {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Vec<u8>>),
    /// Memory that commands leave alone, from this byte on.
    Kept(usize),
    /// A `struct msghdr` with this name.
    Message(Vec<u8>),
    /// An array of `struct mmsghdr` with this name, each with the parts of its data.
    Messages(Vec<u8>, Vec<Vec<Vec<u8>>>),
}

macro_rules! args {
    ($($arg:expr),* $(,)?) => { &[$($crate::actor::Arg::from($arg)),*] };
}
pub(crate) use args;

macro_rules! from {
    ($($ty:ty => |$it:ident| $arg:expr;)*) => {$(
        impl From<$ty> for Arg { fn from($it: $ty) -> Self { $arg } }
    )*};
}
from! {
    i64 => |it| Arg::Int(it);
    i32 => |it| Arg::Int(it.into());
    u32 => |it| Arg::Int(it.into());
    &str => |it| Arg::Bytes(it.into());
    &[u8] => |it| Arg::Bytes(it.into());
    Vec<u8> => |it| Arg::Bytes(it);
    &Vec<u8> => |it| Arg::Bytes(it.clone());
    &Path => |it| Arg::Bytes(it.as_os_str().as_bytes().into());
    &PathBuf => |it| Arg::Bytes(it.as_os_str().as_bytes().into());
    Vec<Vec<u8>> => |it| Arg::List(it);
    &[&str] => |it| Arg::List(it.iter().map(|it| it.as_bytes().to_vec()).collect());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        text
    })
}

impl Arg {
    pub fn command(&self) -> String {
        match self {
            Arg::Int(it) => it.to_string(),
            Arg::Bytes(it) => format!("x{}", hex(it)),
            Arg::List(it) => format!("v{}", it.iter().map(|it| hex(it) + ",").collect::<String>()),
            Arg::Kept(it) => format!("k{it}"),
            Arg::Message(it) => format!("m{}", hex(it)),
            Arg::Messages(name, messages) => messages.iter().fold(format!("d{}", hex(name)), |line, parts| {
                let parts: Vec<_> = parts.iter().map(|it| hex(it)).collect();
                line + "," + &parts.join(".")
            }),
        }
    }
}

/// What a call returned, and between which two looks at `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub ret: i64,
    pub before: u64,
    pub after: u64,
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).unwrap()
}

/// The process.
pub struct Actor {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Compiles a C program of this directory to a file. A guest of `cargo xtask vm` has no compiler: there the programs
/// lie compiled in the directory that `SIGTRAIL_COMPILED` names.
pub fn compile(name: &str, to: &Path) {
    if let Some(compiled) = env::var_os("SIGTRAIL_COMPILED") {
        fs::copy(Path::new(&compiled).join(name), to).unwrap();
        return;
    }
    let source = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/{}.c"), name);
    let mut cc = Command::new("cc");
    cc.args(["-static", "-nostdlib", "-ffreestanding", "-no-pie", "-O1", "-fno-builtin", "-fno-stack-protector"]);
    assert!(cc.args(["-Wall", "-Wextra", "-Werror", &source, "-o"]).arg(to).status().unwrap().success());
}

impl Actor {
    pub fn start(program: &Path) -> Self {
        Self::start_by(Command::new(program).arg0("act"))
    }

    /// The same by a command that becomes the actor.
    pub fn start_by(command: &mut Command) -> Self {
        command.current_dir("/").env_clear();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let ask = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut actor = Self { child, ask, answers };
        actor.answer();
        // one CPU, so that its records have one order; no terminal
        assert_eq!(actor.call(libc::SYS_sched_setaffinity, args![0, 8, vec![1, 0, 0, 0, 0, 0, 0, 0]]).ret, 0);
        actor.call(libc::SYS_setsid, args![]);
        actor
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does a system call.
    pub fn call(&mut self, number: i64, args: &[Arg]) -> Done {
        self.command(&number.to_string(), args)
    }

    /// Does a system call as a 32-bit program does it; `number` is from the 32-bit table.
    pub fn compat(&mut self, number: i64, args: &[Arg]) -> Done {
        self.command(&format!("c{number}"), args)
    }

    /// Makes a child that exits at once.
    pub fn fork(&mut self, flags: i32, code: i32) -> Done {
        self.command(&format!("f{flags}"), args![code])
    }

    fn command(&mut self, first: &str, args: &[Arg]) -> Done {
        let mut line = args.iter().fold(first.to_owned(), |line, arg| line + " " + &arg.command());
        line.push('\n');
        let before = now();
        self.ask.as_ref().unwrap().write_all(line.as_bytes()).unwrap();
        let done = self.answer();
        // a new image knows nothing of what was before it
        if done.before == done.after { Done { before, ..done } } else { done }
    }

    fn answer(&mut self) -> Done {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let numbers: Vec<i64> = line.split_whitespace().map(|it| it.parse().unwrap()).collect();
        let [ret, before, after] = numbers[..] else { panic!("the actor is gone") };
        Done { ret, before: before.cast_unsigned(), after: after.cast_unsigned() }
    }

    /// Sends a command that has no answer, because the actor does not outlive it.
    pub fn last(mut self, number: i64, args: &[Arg]) -> std::process::ExitStatus {
        let line = args.iter().fold(number.to_string(), |line, arg| line + " " + &arg.command()) + "\n";
        self.ask.as_ref().unwrap().write_all(line.as_bytes()).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// An agent that watches. Starting one takes longer than most tests, so each leaves its own to the next one; the last
/// of them ends when nobody reads what it prints.
pub struct Watch {
    family: String,
    tail: Option<Tail>,
}

/// Those that nobody uses, by family.
static WATCHING: Mutex<BTreeMap<String, Tail>> = Mutex::new(BTreeMap::new());

impl Watch {
    pub fn start(family: &str) -> Self {
        let left = WATCHING.lock().unwrap().remove(family);
        let tail = left.unwrap_or_else(|| Tail::start(&["--all", "--family", family]).unwrap());
        Self { family: family.to_owned(), tail: Some(tail) }
    }

    /// Ends those that nobody uses: they would watch, and keep, what a test does that makes events in masses.
    pub fn end_unused() {
        WATCHING.lock().unwrap().clear();
    }

    /// It is for nobody else.
    pub fn take(mut self) -> Tail {
        self.tail.take().unwrap()
    }
}

impl Deref for Watch {
    type Target = Tail;

    fn deref(&self) -> &Tail {
        self.tail.as_ref().unwrap()
    }
}

impl DerefMut for Watch {
    fn deref_mut(&mut self) -> &mut Tail {
        self.tail.as_mut().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // after a failure nobody knows what is wrong with it
        if let Some(tail) = self.tail.take().filter(|_| !thread::panicking()) {
            WATCHING.lock().unwrap().insert(self.family.clone(), tail);
        }
    }
}

/// The agent that watches, a process that acts, and a directory for it.
pub struct Stage {
    pub tail: Watch,
    pub actor: Actor,
    pub dir: PathBuf,
    pub program: PathBuf,
    _dir: tempfile::TempDir,
    fences: u32,
    /// Whether uses of capabilities are among the records: hardly a call is without.
    pub capabilities: bool,
}

impl Stage {
    pub fn new(family: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("kernel-").tempdir().unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = dir.path().canonicalize().unwrap();
        let program = path.join("act");
        compile("act", &program);
        let tail = Watch::start(family);
        let actor = Actor::start(&program);
        Self { tail, actor, dir: path, program, _dir: dir, fences: 0, capabilities: false }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Does a call without a look at its records.
    pub fn quiet(&mut self, number: i64, args: &[Arg]) -> i64 {
        let done = self.actor.call(number, args);
        assert!(done.ret >= 0, "call {number} returned {}", done.ret);
        done.ret
    }

    /// Does a call and returns all records of the actor that belong to it.
    pub fn act(&mut self, number: i64, args: &[Arg]) -> (Done, Vec<Value>) {
        let done = self.actor.call(number, args);
        (done, self.records(done))
    }

    /// The records of the actor of a call's time. Whatever else would come has come when that of a later call is there.
    pub fn records(&mut self, done: Done) -> Vec<Value> {
        let mut records = self.gather();
        records.retain(|record| (done.before..=done.after).contains(&ktime(record)));
        records
    }

    /// All records of the actor up to now, without those of earlier calls of this.
    pub fn gather(&mut self) -> Vec<Value> {
        let pid = self.actor.pid();
        self.gather_of(pid, pid)
    }

    /// All records of all processes up to now.
    pub fn gather_all(&mut self) -> Vec<Value> {
        self.gather_of(0, self.actor.pid())
    }

    fn gather_of(&mut self, wanted: u32, pid: u32) -> Vec<Value> {
        self.fences += 1;
        // the actor may be in a chroot or may have lost its rights: this fails in any case
        let name = format!("/no-such-place/fence-{}", self.fences);
        assert!(self.actor.call(libc::SYS_unlink, args![name.as_str()]).ret < 0);
        let is_fence = |it: &Value| {
            it["kind"] == "unlink" && it["pid"] == pid && it["path"].as_str().is_some_and(|it| it.ends_with(&name))
        };
        let mut records = self.tail.until(wanted, is_fence).unwrap().expect("the record of the fence does not come");
        records.pop();
        records.retain(|record| self.capabilities || record["kind"] != "capability");
        records
    }

    /// Does a call and demands one record, with the fields of the actor and these. A list `user_copy` among them are
    /// the fields copied from the caller's memory.
    pub fn check(&mut self, name: &str, number: i64, args: &[Arg], body: Value) -> Value {
        let (done, records) = self.act(number, args);
        self.compare(name, done, records, body)
    }

    /// The same by a call of a 32-bit program.
    pub fn check_compat(&mut self, name: &str, number: i64, args: &[Arg], body: Value) -> Value {
        let done = self.actor.compat(number, args);
        let records = self.records(done);
        self.compare(name, done, records, body)
    }

    pub fn compare(&self, name: &str, done: Done, records: Vec<Value>, mut body: Value) -> Value {
        assert_eq!(records.len(), 1, "{name}: one record expected, not {records:#?}");
        let record = records.into_iter().next().unwrap();
        has_its_time(&record);
        let failed = done.ret < 0;
        let fields = body.as_object_mut().unwrap();
        let mut user_copy = fields.remove("user_copy").unwrap_or(json!([]));
        if is_asked(record["kind"].as_str().unwrap()) {
            // a security hook saw the objects, unless the call failed before it was asked
            let seen = &record["evidence"]["user_copy"];
            let is_copied = |field: &Value| failed && seen.as_array().is_some_and(|seen| seen.contains(field));
            let is_name = |field: &Value| field == "path" || field == "target";
            user_copy.as_array_mut().unwrap().retain(|field| !is_name(field) || is_copied(field));
            fields.retain(|name, _| name != "inode" && name != "dev");
            fields.extend(["inode", "dev"].map(|name| (name.to_owned(), record[name].clone())));
        }
        let truncated = fields.remove("truncated").unwrap_or(json!([]));
        let hook = fields.remove("hook").unwrap_or(json!("sys_exit"));
        let mut expected = header(self.actor.pid());
        expected.insert("ret".into(), json!(done.ret));
        expected.insert("success".into(), json!(!failed));
        let errno = failed.then(|| format!("{:?}", Errno::from_raw(-i32::try_from(done.ret).unwrap())));
        expected.insert("errno".into(), json!(errno));
        let mut evidence = json!({ "hook": hook, "truncated": truncated, "user_copy": user_copy });
        evidence.as_object_mut().unwrap().retain(|_, value| *value != json!([]));
        expected.insert("evidence".into(), evidence);
        expected.append(fields);
        equal(name, &record, expected);
        record
    }
}

/// What `sigtrail probe --json` says of the programs that load on this kernel. It loads them all: where that takes
/// long, `SIGTRAIL_PROBED` names a file with its answer.
pub fn programs() -> &'static [Value] {
    static PROGRAMS: OnceLock<Vec<Value>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let answer = match env::var_os("SIGTRAIL_PROBED") {
            Some(file) => fs::read(file).unwrap(),
            None => Command::new(sigtrail()).args(["probe", "--json"]).output().unwrap().stdout,
        };
        let mut probe: Value = serde_json::from_slice(&answer).unwrap();
        let Value::Array(mut programs) = probe["programs"].take() else { panic!("no programs in {probe}") };
        programs.retain(|it| it["family"] == probe["family"]);
        programs
    })
}

/// Whether the kernel asks our security hooks about the objects of a kind.
pub fn is_asked(kind: &str) -> bool {
    static ASKED: OnceLock<BTreeSet<String>> = OnceLock::new();
    let asked = ASKED.get_or_init(|| {
        let hooks = programs().iter();
        let hooks = hooks.filter(|it| it["program"].as_str().unwrap().starts_with("lsm_") && it["degraded"].is_null());
        hooks.flat_map(|it| it["kinds"].as_array().unwrap()).map(|kind| kind.as_str().unwrap().to_owned()).collect()
    });
    asked.contains(kind)
}

pub fn ktime(record: &Value) -> u64 {
    record["ktime"].as_str().unwrap().parse().unwrap()
}

/// The wall clock time is that of `ktime`, whatever the agent does in between.
fn has_its_time(record: &Value) {
    let time: jiff::Timestamp = record["time"].as_str().unwrap().parse().unwrap();
    let offset = jiff::Timestamp::now().as_nanosecond() - i128::from(now());
    let expected = i128::from(ktime(record)) + offset;
    let most = 100_000_000 * i128::from(slow());
    assert!((time.as_nanosecond() - expected).abs() < most, "{time} is not {expected}");
}

/// Compares a record with all its fields, but for those that no one else knows. A field that is not there is null, or
/// what the field is that it hardly ever differs from.
pub fn equal(name: &str, record: &Value, mut expected: Map<String, Value>) {
    for (name, other) in UNLIKE {
        if expected.get(*name) == expected.get(*other) {
            expected.remove(*name);
        }
    }
    let mut seen = record.as_object().unwrap().clone();
    expected.retain(|_, value| !value.is_null());
    seen.retain(|_, value| !value.is_null());
    for known_by_the_agent_alone in ["seq", "time", "ktime", "process"] {
        assert!(seen.remove(known_by_the_agent_alone).is_some());
    }
    let keys: std::collections::BTreeSet<_> = seen.keys().chain(expected.keys()).collect();
    let wrong: Vec<_> = keys.iter().filter(|key| seen.get(**key) != expected.get(**key)).collect();
    let show = |it: Option<&Value>| it.map_or("nothing".to_owned(), Value::to_string);
    let wrong: Vec<_> = wrong
        .iter()
        .map(|key| format!("  {key}: {} expected, not {}", show(expected.get(**key)), show(seen.get(**key))))
        .collect();
    assert!(wrong.is_empty(), "{name}:\n{}\nin {record}", wrong.join("\n"));
}

/// Numbers of a line of `/proc/PID/status`.
pub fn status(pid: u32, key: &str) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().map(|it| it.parse().unwrap()).collect()
}

/// What /proc tells of a process.
pub fn header(pid: u32) -> Map<String, Value> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let numbers = |key: &str| status(pid, key);
    let unset = |number: u32| if number == u32::MAX { Value::Null } else { json!(number) };
    let ns = |name: &str| -> u32 {
        let link = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        link.to_str().unwrap().split(['[', ']']).nth(1).unwrap().parse().unwrap()
    };
    let user = |id: u32| json!(unistd::User::from_uid(id.into()).unwrap().map(|it| it.name));
    let auid: u32 = read("loginuid").parse().unwrap();
    let (uid, gid) = (numbers("Uid:"), numbers("Gid:"));
    let fields = json!({
        "pid": pid, "tid": pid, "ppid": numbers("PPid:")[0], "cpu": 0,
        "uid": uid[0], "euid": uid[1], "suid": uid[2], "fsuid": uid[3],
        "gid": gid[0], "egid": gid[1], "sgid": gid[2], "fsgid": gid[3],
        "user": user(uid[0]), "euser": user(uid[1]),
        "group": unistd::Group::from_gid(gid[0].into()).unwrap().map(|it| it.name),
        "auid": unset(auid), "auser": if auid == u32::MAX { Value::Null } else { user(auid) },
        "sessionid": unset(read("sessionid").parse().unwrap()),
        "mnt_ns": ns("mnt"), "pid_ns": ns("pid_for_children"), "net_ns": ns("net"), "user_ns": ns("user"),
        "comm": read("comm").trim_end_matches('\n'), "tty": null, "cgroup_id": cgroup_id(&read("cgroup")),
        "policy": { "rule": "", "verdict": "keep" },
    });
    let Value::Object(fields) = fields else { unreachable!() };
    fields
}

/// The inode of the control group's directory.
fn cgroup_id(cgroups: &str) -> String {
    let group = cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|it| it[2] == "cgroup2").unwrap()[1]
        .to_owned();
    fs::metadata(root + group).unwrap().ino().to_string()
}

/// The fields `dev`, `inode` and `mode` of a file, from stat(2).
pub fn stat(path: &Path) -> (Value, Value, Value) {
    let stat = fs::symlink_metadata(path).unwrap();
    let dev = format!("{}:{}", libc::major(stat.dev()), libc::minor(stat.dev()));
    (json!(dev), json!(stat.ino().to_string()), json!(format!("{:04o}", stat.mode())))
}
