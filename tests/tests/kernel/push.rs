//! What the kernel half leaves out is what the policy drops: two agents see the same work, one of them all of it.

use std::{
    fs,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tests::agent::{Agent, Tail, patience};

use crate::{FAMILIES, capability};

/// Rules about all that the kernel half can ask, and some that it cannot.
fn policy(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "version: 1
rules:
  - {{ id: noise, selection: {{ path|startswith: [{dir}/noise/, /proc/, /dev/] }}, verdict: drop }}
  - {{ id: but, kinds: [open], selection: {{ path|startswith: {dir}/a/, access: read, call: openat }}, program: {{ process.exe|endswith: /nobody }}, condition: selection and not program, verdict: keep }}
  - {{ id: mode, kinds: [chmod], selection: {{ mode|bits: \"0100\", path|startswith: {dir}/ }}, verdict: keep }}
  - {{ id: exact, kinds: [unlink, truncate, rename], selection: {{ path: [{dir}/a/one, {dir}/b/two] }}, verdict: keep }}
  - {{ id: part, kinds: [open, symlink], selection: {{ path|startswith: {dir}/c/th, success: true }}, verdict: keep }}
  - {{ id: target, kinds: [rename, link], selection: {{ target|startswith: {dir}/b/ }}, verdict: keep }}
  - {{ id: uid, kinds: [rmdir], selection: {{ uid: [0, 7], auid|neq: 4242, path|startswith: {dir}/ }}, verdict: keep }}
  - {{ id: net, kinds: [connect], selection: {{ peer.ip: [\"::1\", 192.0.2.0/24], peer.port: [9, 10] }}, verdict: keep }}
  - {{ id: bound, kinds: [bind, listen], selection: {{ local.ip: 127.0.0.0/8, local.port|gte: 1 }}, verdict: keep }}
  - {{ id: denied, kinds: [open], selection: {{ errno: [ENOENT, ENOTDIR], path|startswith: {dir}/ }}, verdict: keep }}
  - {{ id: last, kinds: [exit], selection: {{ kind: exit }}, verdict: keep }}
default: drop
"
    )
}

/// A bit of everything, by names of all forms.
const WORK: &str = r#"
cd "$DIR"
for d in a b c noise; do mkdir -p $d; done
for at in 1 2 3; do
    for d in a b c noise; do
        echo x > $d/one; echo y > "$DIR/$d/two"; echo z > ./$d/three; echo > $d/../$d/th; echo > "$DIR//$d/../$d/x"
    done
    cat a/one noise/one "$DIR/b/two" c/three > noise/out
    cat "$DIR/missing" "$DIR/a/one/x" noise/missing
    chmod 0755 a/one noise/one; chmod 0644 "$DIR/a/two"; chmod u+x "$DIR/b/two"
    truncate -s 3 a/one b/two "$DIR/b/two"
    ln -f a/one b/linked; ln -f a/one noise/linked; ln -sf x c/three; ln -sf x c/link
    mv a/three b/moved; mv a/th noise/moved; mv "$DIR/b/moved" "$DIR/c/moved"
    (cd a && rm -f one two ../b/two ./../noise/one "$DIR/c/one")
    (cd / && rm -f "$DIR/b/one")
    mkdir -p sub noise/sub; rmdir sub "$DIR/noise/sub"
done 2> /dev/null
exit 0
"#;

fn sockets() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    drop(TcpStream::connect(server.local_addr().unwrap()).unwrap());
    assert!(TcpStream::connect("[::1]:9").is_err());
    assert!(TcpStream::connect("127.0.0.1:9").is_err());
    drop(UdpSocket::bind("0.0.0.0:0").unwrap());
}

/// What of a record does not depend on who saw it.
fn facts(record: &Value) -> String {
    let mut record = record.clone();
    let fields = record.as_object_mut().unwrap();
    // each has its own time and its own numbers
    for name in ["time", "ktime", "seq"] {
        fields.remove(name);
    }
    // on a host with control groups of the first version this is read from /proc, while the process lives
    if let Some(process) = fields.get_mut("process").and_then(Value::as_object_mut) {
        process.remove("cgroup");
    }
    record.to_string()
}

#[test]
fn both_tell_the_same() {
    for family in FAMILIES {
        let dir = tempfile::Builder::new().prefix("push-").tempdir().unwrap();
        let file = dir.path().join("policy.yaml");
        fs::write(&file, policy(dir.path())).unwrap();
        let options = ["--family", family, "--policy", file.to_str().unwrap()];
        let pushed = Tail::start(&options).unwrap();
        let whole = Tail::start(&[&options[..], &["--no-push"]].concat()).unwrap();
        let mark = dir.path().display().to_string();

        let mut work = Command::new("bash");
        assert!(work.args(["-c", WORK]).env("DIR", dir.path()).status().unwrap().success());
        sockets();
        let me = std::process::id();
        let mut last = Command::new("true").spawn().unwrap();
        let end = last.id();
        assert!(last.wait().unwrap().success());

        let mut told = Vec::new();
        for mut tail in [pushed, whole] {
            assert!(tail.until(end, |record| record["kind"] == "exit").unwrap().is_some());
            let (lines, said) = tail.stop().unwrap();
            let is_known = |line: &str| line.contains("capability is not attached") && !capability::is_there();
            let unattached = said.lines().filter(|line| line.contains("not attached") && !is_known(line));
            assert!(!said.contains("lost") && unattached.count() == 0, "{said}");
            let records = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let ours = records.filter(|it| it["pid"] == me || it.to_string().contains(&mark));
            let mut facts: Vec<_> = ours.map(|it| facts(&it)).collect();
            facts.sort_unstable();
            told.push(facts);
        }
        let rules = |rule: &str| told[1].iter().filter(|it| it.contains(&format!("\"rule\":\"{rule}\""))).count();
        for rule in ["but", "mode", "exact", "part", "target", "uid", "net", "bound", "denied"] {
            assert!(rules(rule) > 0, "{family}: the work has nothing for rule {rule}");
        }
        let missing: Vec<_> = told[1].iter().filter(|it| !told[0].contains(it)).collect();
        let more: Vec<_> = told[0].iter().filter(|it| !told[1].contains(it)).collect();
        assert!(missing.is_empty() && more.is_empty(), "{family}: missing {missing:#?}, more {more:#?}");
        assert_eq!(told[0].len(), told[1].len(), "{family}");
    }
}

/// Runs copies of a shell under names that come and go. A file of `data` is told unless a program of a name that the
/// policy knows opened it.
const PROGRAMS: &str = r#"
cd "$DIR"
cp /bin/bash tool; cp /bin/bash new; mkdir -p lib/deep; cp /bin/bash lib/deep/any
mkfifo go; mkfifo gone
./tool -c ': < data/dropped-1; (: < data/dropped-2)'
./tool -c 'read < go; : < data/dropped-3; read < gone; : < data/dropped-4' & waiting=$!
sleep 0.2
mv -f new tool
echo > go
./tool -c ': < data/dropped-5; exec ./lib/deep/any -c ": < data/dropped-6; exec /bin/bash -c \": < data/kept-1\""'
ln tool other; ./other -c ': < data/kept-2'
rm other
ln -s tool link; ./link -c ': < data/dropped-7'
mv tool moved; ./moved -c ': < data/kept-3; : < data/kept-4'
cp /bin/bash tool; chmod a-x tool; ./tool -c : || : < data/kept-5
echo > gone; wait $waiting
: < data/kept-6
"#;

#[test]
fn a_program_is_known_by_the_name_that_it_was_started_by() {
    for family in FAMILIES {
        let dir = tempfile::Builder::new().prefix("programs-").tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        fs::create_dir(here.join("data")).unwrap();
        for at in 1..8 {
            fs::write(here.join(format!("data/dropped-{at}")), "").unwrap();
            fs::write(here.join(format!("data/kept-{at}")), "").unwrap();
        }
        let here = here.display();
        let policy = format!(
            "version: 1
rules:
  - {{ id: known, kinds: [open], a: {{ process.exe: {here}/tool }}, b: {{ process.exe|startswith: {here}/lib/ }}, condition: a or b, verdict: drop }}
  - {{ id: data, kinds: [open], selection: {{ path|startswith: {here}/data/ }}, verdict: keep }}
  - {{ id: last, kinds: [exit], selection: {{ kind: exit }}, verdict: keep }}
default: drop
"
        );
        let file = dir.path().join("policy.yaml");
        fs::write(&file, policy).unwrap();
        let options = ["--family", family, "--policy", file.to_str().unwrap()];
        let pushed = Tail::start(&options).unwrap();
        let whole = Tail::start(&[&options[..], &["--no-push"]].concat()).unwrap();
        let mut work = Command::new("bash").args(["-c", PROGRAMS]).env("DIR", dir.path()).spawn().unwrap();
        let end = work.id();
        assert!(work.wait().unwrap().success());
        let told = [pushed, whole].map(|mut tail| {
            assert!(tail.until(end, |record| record["kind"] == "exit").unwrap().is_some());
            let (lines, said) = tail.stop().unwrap();
            assert!(!said.contains("lost"), "{said}");
            let records = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let paths = records.filter_map(|it| Some(it["path"].as_str()?.rsplit_once("/data/")?.1.to_owned()));
            let mut paths: Vec<_> = paths.collect();
            paths.sort_unstable();
            paths
        });
        assert_eq!(told, [1, 2].map(|_| (1..7).map(|at| format!("kept-{at}")).collect::<Vec<_>>()), "{family}");
    }
}

/// What a known program does is discarded by the kernel half itself.
#[test]
fn what_a_known_program_does_stays_in_the_kernel() {
    let dir = tempfile::Builder::new().prefix("known-").tempdir().unwrap();
    let path = |name: &str| dir.path().canonicalize().unwrap().join(name);
    fs::copy("/bin/bash", path("tool")).unwrap();
    fs::write(path("file"), "").unwrap();
    let policy = format!(
        "version: 1\nrules:\n  - {{ id: known, kinds: [open], selection: {{ process.exe: {} }}, verdict: drop }}\ndefault: keep\n",
        path("tool").display()
    );
    fs::write(path("policy.yaml"), policy).unwrap();
    let agent = Agent::start(dir.path(), &format!("policy: [{}]\n", path("policy.yaml").display())).unwrap();
    let filtered = || {
        let status = agent.status().unwrap();
        let of = |it: &&Value| it["hook"] == "sys_exit";
        status["counts"].as_array().unwrap().iter().find(of).unwrap()["filtered"].as_u64().unwrap()
    };
    let before = filtered();
    let opens = format!("for at in {{1..2000}}; do : < {}; done", path("file").display());
    for (program, is_known) in [(path("tool"), true), ("/bin/bash".into(), false)] {
        assert!(Command::new(&program).args(["-c", &opens]).status().unwrap().success());
        if is_known {
            wait("the count of what is discarded", || filtered() >= before + 2000);
        }
    }
    agent.stop().unwrap();
    let mut told = 0;
    Agent::log(dir.path(), |line| {
        let record: Value = serde_json::from_str(line).unwrap();
        let opened = if record["kind"] == "summary" { &record["sample"] } else { &record };
        if opened["kind"] == "open" && opened["path"] == path("file").to_str().unwrap() {
            assert_ne!(opened["process"]["exe"], path("tool").to_str().unwrap(), "{line}");
            told += record["count"].as_str().map_or(1, |count| count.parse().unwrap());
        }
    })
    .unwrap();
    assert_eq!(told, 2000);
}

fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let late = Instant::now() + patience();
    while !is() {
        assert!(Instant::now() < late, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// What is discarded counts as filtered by the kernel half, and a new policy holds at once, or not at all.
#[test]
fn another_policy_holds_from_a_signal_on() {
    let dir = tempfile::Builder::new().prefix("reload-").tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let here = dir.path().display().to_string();
    let keeps = |sub: &str| {
        format!(
            "version: 1\nrules:\n  - {{ id: r, kinds: [open], selection: {{ path|startswith: {here}/{sub}/ }}, verdict: keep }}\n"
        )
    };
    fs::create_dir(path("a")).unwrap();
    fs::create_dir(path("b")).unwrap();
    fs::write(path("policy.yaml"), keeps("a")).unwrap();
    let agent = Agent::start(dir.path(), &format!("policy: [{}]\n", path("policy.yaml").display())).unwrap();
    let reload = || kill(Pid::from_raw(agent.pid().cast_signed()), Signal::SIGHUP).unwrap();
    let counts = || {
        let status = agent.status().unwrap();
        let of = |it: &&Value| it["hook"] == "sys_exit";
        let counts = status["counts"].as_array().unwrap().iter().find(of).unwrap().clone();
        ["seen", "filtered", "sent", "lost"].map(|name| counts[name].as_u64().unwrap())
    };

    let before = counts();
    for at in 0..1000 {
        fs::write(path("b").join(at.to_string()), "").unwrap();
    }
    fs::write(path("a/one"), "").unwrap();
    wait("the counts", || counts()[0] >= before[0] + 1001);
    // others on this host work, too
    let [seen, filtered, sent, lost] = counts();
    let discarded = filtered - before[1];
    assert!(
        discarded >= 1000 && sent - before[2] < discarded / 2,
        "{before:?}, then {discarded} filtered, {sent} sent"
    );
    assert_eq!(seen, filtered + sent + lost);

    fs::write(path("policy.yaml"), "version: 1\nrules: nonsense\n").unwrap();
    reload();
    wait("a refusal", || agent.said().contains("refused"));
    assert!(agent.said().contains("policy.yaml:2:8: rules must be a list"), "{}", agent.said());
    fs::write(path("a/two"), "").unwrap();
    fs::write(path("b/two"), "").unwrap();

    // also calls and kinds whose programs were not loaded
    let more = "  - { id: d, kinds: [symlink], selection: { kind: symlink }, verdict: keep }\n";
    fs::write(path("policy.yaml"), keeps("b") + more).unwrap();
    reload();
    wait("another policy", || agent.said().contains("another policy holds"));
    fs::write(path("a/three"), "").unwrap();
    fs::write(path("b/three"), "").unwrap();
    symlink("x", path("a/link")).unwrap();
    let report = agent.stop().unwrap();
    assert_eq!((&report["findings"]["count"], &report["lost"]), (&0.into(), &0.into()), "{report:#}");

    let mut paths = Vec::new();
    let mut policies = Vec::new();
    let mut digests = Vec::new();
    Agent::log(dir.path(), |line| {
        let record: Value = serde_json::from_str(line).unwrap();
        paths.extend(record["path"].as_str().and_then(|path| path.strip_prefix(&here)).map(str::to_owned));
        policies.extend(record["text"].as_str().map(str::to_owned));
        if let Some(at) = line.find("policy sha256:") {
            digests.push(line[at + 14..at + 14 + 64].to_owned());
        }
    })
    .unwrap();
    // writing the policy itself is an alert
    assert_eq!(paths, ["/a/one", "/policy.yaml", "/a/two", "/policy.yaml", "/b/three", "/a/link"]);
    // the rules that protect the agent come first
    assert_eq!(policies.len(), 2);
    assert!(policies[0].ends_with(&keeps("a")) && policies[1].ends_with(&(keeps("b") + more)), "{policies:#?}");
    digests.dedup();
    assert!(digests.len() >= 2, "{digests:?}");
}
