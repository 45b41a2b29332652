//! The same run of the same programs, seen by strace(1) and by the agent: the same calls with the same results.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    FAMILIES,
    actor::{Stage, ktime},
};

/// What is traced; `?` for calls that an older strace does not know. Left out, and why:
/// - `mkdir`, `mknod`, `read`, `write`, …: no kind of event.
/// - `sendto`, `sendmsg` without the address of an internet peer (netlink, unix, streams): no event by design, or
///   nothing that strace could know.
/// - the port of a bind to port 0, the address of a listening socket: strace sees only what was asked for.
/// - `chdir`: needed to know where relative names begin, no event.
const TRACE: &str = "trace=execve,execveat,open,openat,openat2,creat,unlink,unlinkat,rmdir,rename,renameat,renameat2,link,\
    linkat,symlink,symlinkat,chmod,fchmod,fchmodat,?fchmodat2,chown,fchown,lchown,fchownat,truncate,ftruncate,connect,\
    bind,listen,accept,accept4,sendto,sendmsg,fork,vfork,clone,clone3";

/// One call of one process: its name, its objects, its error.
type Seen = (String, Vec<String>, Option<String>);

#[test]
fn strace_sees_the_same() {
    assert!(Command::new("strace").arg("-V").output().is_ok(), "strace is not there; `cargo xtask setup` installs it");
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let (dir, traces) = (it.path("work"), it.path("traces"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&traces).unwrap();
        let script = it.path("workload.sh");
        fs::write(&script, include_str!("workload.sh")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut strace = Command::new("strace");
        strace
            .args(["-ff", "-y", "-xx", "-s", "8192", "-e", TRACE, "-o"])
            .arg(traces.join("of"))
            .arg(&script)
            .arg(&dir);
        strace.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        let output = strace.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let mut processes = BTreeMap::new();
        for file in fs::read_dir(&traces).unwrap() {
            let file = file.unwrap().path();
            let pid: u32 = file.extension().unwrap().to_str().unwrap().parse().unwrap();
            let calls: Vec<Seen> = fs::read_to_string(&file).unwrap().lines().filter_map(traced).collect();
            processes.insert(pid, calls);
        }
        let mut records = it.gather_all();
        records.sort_by_key(ktime);
        let mut total = 0;
        for (pid, expected) in processes {
            let seen: Vec<Seen> =
                records.iter().filter(|it| it["pid"] == pid).filter_map(|it| recorded(it, &script)).collect();
            total += seen.len();
            let same = expected.iter().zip(&seen).take_while(|(expected, seen)| is_same(expected, seen)).count();
            assert!(
                same == expected.len() && same == seen.len(),
                "process {pid}, after {same} calls: strace {:#?}, the agent {:#?}",
                &expected[same..(same + 2).min(expected.len())],
                &seen[same..(same + 2).min(seen.len())],
            );
        }
        println!("{family}: {total} calls, the same for both");
        assert!(total > 150);
    }
}

/// strace tells the port 0 that a bind asks for, the agent the port that it gets.
fn is_same(expected: &Seen, seen: &Seen) -> bool {
    let asks = expected.1.first().and_then(|it| it.strip_suffix(" 0 ")).filter(|_| expected.0 == "bind");
    let gets = seen.1.first().and_then(|it| it.trim_end().rsplit_once(' '));
    expected == seen || (seen.0 == "bind" && seen.2 == expected.2 && asks.is_some() && asks == gets.map(|it| it.0))
}

/// A record, as far as strace can know it.
fn recorded(record: &Value, script: &Path) -> Option<Seen> {
    let text = |field: &str| record[field].as_str().unwrap_or("none").to_owned();
    let kind = record["kind"].as_str().unwrap();
    // these come from no call but from the start of the new image, of a child, and from the end
    let call = record["call"].as_str().unwrap_or(if kind == "exec" { "execve" } else { kind }).to_owned();
    let is_traced = TRACE.split(['=', ',']).any(|it| it.trim_start_matches('?') == call);
    if kind == "namespace" || !is_traced && !matches!(kind, "fork" | "exit") {
        return None;
    }
    let objects = match kind {
        "exec" => {
            let field = if record["script"] == script.to_str().unwrap() { "script" } else { "path" };
            vec![text(field)]
        }
        "exit" => {
            let signal = record["signal"].as_str().map(str::to_owned);
            vec![signal.unwrap_or_else(|| record["code"].to_string())]
        }
        "fork" => vec![record["child_pid"].to_string()],
        "rename" | "link" => vec![text("path"), text("target")],
        "symlink" => vec![text("content"), text("path")],
        "connect" | "send" | "accept" => vec![address(&record["peer"])],
        "bind" => vec![address(&record["local"])],
        "listen" => vec![],
        _ => vec![text("path")],
    };
    if kind == "send" && record["evidence"]["user_copy"].is_null() {
        return None; // a connected socket: strace sees no address
    }
    Some((call, objects, record["errno"].as_str().map(str::to_owned)))
}

pub fn address(addr: &Value) -> String {
    if addr.is_null() {
        return "none".to_owned();
    }
    ["ip", "port", "path", "abstract"]
        .iter()
        .filter_map(|part| addr.get(part))
        .map(|it| it.to_string().replace('"', "") + " ")
        .collect()
}

/// A line of strace.
fn traced(line: &str) -> Option<Seen> {
    if let Some(end) = line.strip_prefix("+++ ") {
        let word = end.trim_start_matches("exited with ").trim_start_matches("killed by ").split(' ').next().unwrap();
        return Some(("exit".to_owned(), vec![word.to_owned()], None));
    }
    if line.starts_with("--- ") {
        return None;
    }
    let (call, rest) = line.split_once('(').unwrap();
    let (args, result) = rest.rsplit_once(" = ").unwrap_or_else(|| panic!("{line}"));
    let args = split(args.trim_end().trim_end_matches(')'));
    let errno = result.strip_prefix("-1 ").map(|it| it.split(' ').next().unwrap().to_owned());
    let fails = errno.is_some();
    let arg = |at: usize| args[at].as_str();
    let at = |dir: usize| joined(directory(arg(dir)), &string(arg(dir + 1)));
    let here = |name: usize| joined("a relative name without a directory", &string(arg(name)));
    let objects = match call {
        "fork" | "vfork" | "clone" | "clone3" if fails => return None,
        "fork" | "vfork" | "clone" | "clone3" => {
            let pid = result.split(['<', ' ']).next().unwrap().to_owned();
            return Some(("fork".to_owned(), vec![pid], None));
        }
        "execve" | "open" | "creat" if fails => vec![here(0)],
        "execve" => vec![fs::canonicalize(string(arg(0))).unwrap().to_str().unwrap().to_owned()],
        "openat" | "openat2" if fails => vec![at(0)],
        "open" | "creat" | "openat" | "openat2" => vec![directory(result).to_owned()],
        "unlink" | "rmdir" | "chmod" | "chown" | "lchown" | "truncate" => vec![here(0)],
        "unlinkat" | "fchmodat" | "fchmodat2" | "fchownat" => vec![at(0)],
        "rename" | "link" => vec![here(0), here(1)],
        "renameat" | "renameat2" | "linkat" => vec![at(0), at(2)],
        "symlink" => vec![string(arg(0)), here(1)],
        "symlinkat" => vec![string(arg(0)), at(1)],
        "fchmod" | "fchown" | "ftruncate" => {
            vec![if arg(0).contains('<') { directory(arg(0)).to_owned() } else { "none".to_owned() }]
        }
        "accept" | "accept4" if fails => vec!["none".to_owned()],
        "connect" | "bind" | "accept" | "accept4" => vec![socket(arg(1))],
        "listen" => vec![],
        "sendto" => vec![socket(args.get(4).filter(|it| it.contains("AF_INET"))?)],
        "sendmsg" => vec![socket(args.get(1).filter(|it| it.contains("AF_INET"))?)],
        other => panic!("{other} is not expected: {line}"),
    };
    let objects = objects.into_iter().map(|it| if it.starts_with('\\') { unescape(&it) } else { it }).collect();
    Some((call.to_owned(), objects, errno))
}

/// Splits arguments at commas outside of quotes and brackets. All text is in hexadecimal (`-xx`).
pub fn split(args: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in args.chars() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.iter().map(|it| it.trim().to_owned()).collect()
}

/// The path of a descriptor, `3<\x2f…>`.
pub fn directory(descriptor: &str) -> &str {
    descriptor.split(['<', '>']).nth(1).unwrap_or("a descriptor without a path")
}

/// The text of an argument, `"\x2f…"`.
fn string(arg: &str) -> String {
    unescape(arg.split('"').nth(1).unwrap_or_else(|| panic!("{arg} is no string")))
}

pub fn unescape(hex: &str) -> String {
    if !hex.starts_with("\\x") {
        return hex.to_owned();
    }
    let bytes = hex.split("\\x").skip(1).map(|it| u8::from_str_radix(it, 16).unwrap()).collect();
    String::from_utf8(bytes).unwrap()
}

/// A name below a directory, folded by text.
pub fn joined(dir: &str, name: &str) -> String {
    let whole = if name.starts_with('/') { PathBuf::from(name) } else { Path::new(&unescape(dir)).join(name) };
    assert!(whole.is_absolute(), "{dir}: {name}");
    let mut folded = PathBuf::from("/");
    for part in whole.components() {
        match part {
            std::path::Component::ParentDir => drop(folded.pop()),
            std::path::Component::Normal(name) => folded.push(name),
            _ => {}
        }
    }
    folded.to_str().unwrap().to_owned()
}

/// A `struct sockaddr`.
pub fn socket(arg: &str) -> String {
    let text_after = |key: &str| arg.split_once(key).map(|(_, rest)| string(rest));
    let port = arg.split_once("htons(").map(|(_, rest)| rest.split(')').next().unwrap());
    match (text_after("inet_addr("), text_after("inet_pton(AF_INET6"), text_after("sun_path=")) {
        (Some(ip), ..) | (_, Some(ip), _) => format!("{ip} {} ", port.unwrap()),
        (.., Some(path)) => format!("{path} "),
        _ if arg.contains("AF_UNIX") => " ".to_owned(),
        _ => panic!("{arg} is no address"),
    }
}
