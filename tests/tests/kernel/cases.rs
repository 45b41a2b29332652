//! Every audited call, done and refused, seen by three at once: the agent, strace(1), and the kernel's own audit; and
//! by the process that does it, which is a witness on every kernel.
//!
//! Nothing may be in one account alone, and results and objects must be the same. Left out, and why:
//! - the steps that `cases.txt` calls quiet, each with its reason there: the agent makes no event of them by design.
//! - `exit`: it returns from no call that audit has a rule for; strace and the agent are compared by `differential.rs`.
//! - calls that write and close: one event tells of many of them (`modify.rs`).
//! - calls of the actor's children, which only exit.
//! - the second record of a child in new namespaces (kind `namespace` beside `fork`): it is one call for the others.
//! - what a witness does not know: audit has the names of a call without the directory they begin in when that is
//!   another than the working directory, so the end of the path is compared; strace reads no address that the
//!   call refused to take; of a name that is not there audit tells the directory alone, mostly; both know nothing of the objects of most calls that take neither path, descriptor of a file
//!   nor address: there name and result are compared.

mod audit;
mod compare;
mod strace;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use common::{Call, Kind, call};
use nix::{errno::Errno, libc};
use serde_json::Value;
use tests::agent::{Tail, patience, slow};

use crate::{
    FAMILIES,
    actor::{Actor, Arg, Watch, args, compile, ktime},
    differential::address,
};
use audit::Audit;
use compare::{Object, Seen, by_case, differences};
use table::{Section, Step, Words};

/// Calls that return no error: setfsuid(2) and setfsgid(2) return the id before, personality(2) the domain before.
const NEVER_FAIL: &[&str] = &["setfsuid", "setfsgid", "personality"];

/// A process that lives until the test ends, for others to act on.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

#[test]
fn three_witnesses_agree() {
    let audits = tempfile::Builder::new().prefix("audit-").tempdir().unwrap();
    all_agree(Some(&Audit::start(&audits.path().canonicalize().unwrap())));
}

/// On any kernel: a call that it does not have fails there, and is told.
#[test]
fn the_actor_agrees() {
    all_agree(None);
}

/// Does all cases. Without audit the actor is the only witness. On another kernel than the host's, and without audit,
/// results that the table does not expect are as good as others.
fn all_agree(audit: Option<&Audit>) {
    let (constants, sections) = table::parse(include_str!("cases.txt")).unwrap_or_else(|wrong| panic!("{wrong}"));
    is_complete(&sections);
    let dir = tempfile::Builder::new().prefix("cases-").tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    compile("act", &root.join("act"));
    let victim = Victim(Command::new("sleep").arg("600").spawn().unwrap());
    for family in FAMILIES {
        let mut tail = Watch::start(family);
        let (mut cases, mut calls, mut objects, mut wrong) = (0, 0, 0, Vec::new());
        for (at, section) in sections.iter().enumerate() {
            let place = root.join(format!("{family}-{at}"));
            let numbers = [("VICTIM".to_owned(), victim.0.id().into())].into_iter().chain(constants.clone()).collect();
            let mut words = Words { numbers, dir: place.to_str().unwrap().to_owned() };
            for Case { name, agent, witnesses } in act(section, &mut words, &root, audit, &mut tail) {
                cases += usize::from(!agent.is_empty());
                calls += agent.len();
                for (witness, told) in witnesses {
                    objects += told.iter().map(|it| it.objects.len()).sum::<usize>();
                    let found = differences(&told, &agent).into_iter();
                    wrong.extend(found.map(|it| format!("[{}] {name}, by {witness}: {it}", section.name)));
                }
            }
        }
        assert!(wrong.is_empty(), "{family}: {} differences\n{}", wrong.len(), wrong.join("\n"));
        println!(
            "{family}: {cases} cases, {calls} calls and {objects} objects, the same for all witnesses and the agent"
        );
        assert!(cases >= 150);
    }
}

/// What was told of a case.
struct Case {
    name: String,
    agent: Vec<Seen>,
    witnesses: Vec<(&'static str, Vec<Seen>)>,
}

/// Whether an event tells of each such call.
fn is_audited(call: Call) -> bool {
    call.kind() != Some(Kind::Modify)
}

/// Each audited call is done, and fails, in some case.
fn is_complete(sections: &[Section]) {
    let steps = || sections.iter().flat_map(|it| &it.steps).filter(|it| it.quiet.is_none());
    let done: BTreeSet<&str> = steps().map(|it| it.call.as_str()).collect();
    let failed: BTreeSet<&str> = steps().filter(|it| !it.errors.is_empty()).map(|it| it.call.as_str()).collect();
    let all = || Call::ALL.iter().filter(|it| is_audited(**it)).map(|it| it.name());
    let not_done: Vec<_> = all().filter(|it| !done.contains(it)).collect();
    assert!(not_done.is_empty(), "no case does {not_done:?}");
    let not_failed: Vec<_> = all().filter(|it| !failed.contains(it) && !NEVER_FAIL.contains(it)).collect();
    assert!(not_failed.is_empty(), "no case makes fail {not_failed:?}");
}

/// What the agent and the witnesses tell of each case of a section.
fn act(section: &Section, words: &mut Words, root: &Path, audit: Option<&Audit>, tail: &mut Tail) -> Vec<Case> {
    let place = PathBuf::from(&words.dir);
    for dir in ["", "dir", "full", "full/inner", "at"] {
        fs::create_dir(place.join(dir)).unwrap();
    }
    fs::write(place.join("file"), "content").unwrap();
    fs::copy(root.join("act"), place.join("act")).unwrap();
    let traces = place.join("trace");
    let mut actor = match audit {
        Some(_) => Actor::start_by(&mut strace::command(&place.join("act"), &traces)),
        None => Actor::start(&place.join("act")),
    };
    let pid = actor.pid();
    words.numbers.insert("SELF".to_owned(), pid.into());
    if audit.is_some() {
        Audit::watch(pid);
    }
    let mut names = Vec::new();
    let mut by_actor = Vec::new();
    for step in &section.steps {
        if let Some(name) = &step.name {
            mark(&mut actor, names.len());
            names.push(format!("{name} (line {})", step.line));
            by_actor.push(Vec::new());
        }
        let ret = perform(&mut actor, step, words, audit.is_some() && slow() == 1);
        if let (None, Some(seen), Some(case)) = (&step.quiet, done(step, ret), by_actor.last_mut()) {
            case.push(seen);
        }
    }
    mark(&mut actor, names.len());
    let marks: Vec<String> = (0..=names.len()).map(mark_name).collect();
    let end = marks.last().unwrap();
    let is_end = |it: &Value| it["call"] == "open" && it["path"].as_str().is_some_and(|it| it.ends_with(end.as_str()));
    let mut records = tail.until(pid, is_end).unwrap().expect("the agent does not tell of the last call");
    records.sort_by_key(ktime);
    let by_agent = by_case(records.iter().filter_map(recorded).collect(), &marks);
    let mut cases: Vec<Case> = names
        .into_iter()
        .zip(by_agent)
        .zip(by_actor)
        .map(|((name, agent), actor)| Case { name, agent, witnesses: vec![("the actor", actor)] })
        .collect();
    let Some(audit) = audit else { return cases };

    let by_audit = audit.calls(pid, end);
    drop(actor);
    let late = Instant::now() + patience();
    let by_strace = loop {
        if let Some(calls) = strace::calls(&traces, pid) {
            break calls;
        }
        assert!(Instant::now() < late, "strace does not come to an end");
        thread::sleep(Duration::from_millis(10));
    };
    let quiet: BTreeMap<usize, Vec<&Step>> = quiet(section);
    for (witness, calls) in [("strace", by_strace), ("audit", by_audit)] {
        for (at, (case, mut told)) in cases.iter_mut().zip(by_case(calls, &marks)).enumerate() {
            for step in quiet.get(&at).into_iter().flatten() {
                if let Some(found) = told.iter().position(|it| it.call == step.call) {
                    told.remove(found);
                }
            }
            case.witnesses.push((witness, told));
        }
    }
    cases
}

/// What the actor itself knows of a step that it did, if that is an audited call.
fn done(step: &Step, ret: i64) -> Option<Seen> {
    let call = match step.call.as_str() {
        "fork" => "clone",
        // the new image says so
        "execveat" if ret >= 0 => "execve",
        table::SOCKETCALL => {
            let asked = step.args.first()?.parse::<usize>().ok()?;
            call::SOCKET_OPERATIONS.iter().find(|(operation, _)| *operation == asked)?.1.name()
        }
        call => Call::ALL.iter().filter(|it| is_audited(**it)).map(|it| it.name()).find(|it| *it == call)?,
    };
    Some(Seen { call: call.to_owned(), ret, objects: Vec::new() })
}

/// The quiet steps by case.
fn quiet(section: &Section) -> BTreeMap<usize, Vec<&Step>> {
    let (mut quiet, mut cases) = (BTreeMap::<usize, Vec<&Step>>::new(), 0);
    for step in &section.steps {
        cases += usize::from(step.name.is_some());
        if step.quiet.is_some() {
            quiet.entry(cases - 1).or_default().push(step);
        }
    }
    quiet
}

fn mark_name(at: usize) -> String {
    format!("case-{at}")
}

/// A call that all witnesses see, between two cases. (Of most other calls for a name that is not there audit tells no
/// name.)
fn mark(actor: &mut Actor, at: usize) {
    assert!(actor.call(libc::SYS_open, args![mark_name(at).as_str(), 0, 0]).ret < 0);
}

/// Does a step and returns its result. `strict`: one that is not the expected one ends the test, because what comes after
/// may rely on it, as on a namespace.
fn perform(actor: &mut Actor, step: &Step, words: &mut Words, strict: bool) -> i64 {
    let at = format!("cases.txt:{}: {}", step.line, step.call);
    let args = words.args(&step.args).unwrap_or_else(|| panic!("{at}: an argument is not understood"));
    let ret = if step.call == "fork" {
        let [Arg::Int(flags), Arg::Int(code)] = args[..] else { panic!("{at}: fork FLAGS CODE") };
        actor.fork(i32::try_from(flags).unwrap(), i32::try_from(code).unwrap()).ret
    } else if step.compat {
        actor.compat(table::number(&step.call, true, step.short).unwrap(), &args).ret
    } else {
        actor.call(table::number(&step.call, false, false).unwrap(), &args).ret
    };
    let errno =
        i32::try_from(-ret).ok().filter(|it| (1..4096).contains(it)).map(|it| format!("{:?}", Errno::from_raw(it)));
    let expected = match &errno {
        None => step.errors.is_empty() || step.any,
        Some(errno) => step.errors.contains(errno),
    };
    assert!(expected || !strict, "{at}: {}", errno.unwrap_or_else(|| ret.to_string()));
    if let Some(name) = &step.keeps {
        words.numbers.insert(name.clone(), ret);
    }
    ret
}

/// A record, as the witnesses know it.
fn recorded(record: &Value) -> Option<Seen> {
    let kind = record["kind"].as_str().unwrap();
    let ret = record["ret"].as_i64().or_else(|| record["ret"].as_str()?.parse().ok());
    let (call, ret) = match (kind, record["call"].as_str()) {
        ("exec", None) => ("execve", 0),
        ("fork", None) => ("clone", record["child_pid"].as_i64().unwrap()),
        ("namespace", Some("clone" | "clone3")) if ret? >= 0 => return None,
        ("modify", _) => return None,
        (_, call) => (call?, ret?),
    };
    let texts = ["path", "target", "put_old", "content", "source", "name"].iter().filter_map(|it| record[it].as_str());
    let paths =
        texts.map(|it| if it.starts_with('/') { Object::Path(it.to_owned()) } else { Object::Part(it.to_owned()) });
    let inode = record["inode"].as_str().map(|it| Object::Inode(it.to_owned()));
    let addresses =
        ["peer", "local"].iter().filter(|it| !record[it].is_null()).map(|it| Object::Address(address(&record[it])));
    Some(Seen { call: call.to_owned(), ret, objects: paths.chain(inode).chain(addresses).collect() })
}
