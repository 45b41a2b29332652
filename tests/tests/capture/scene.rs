//! The scene of an attack: a program without a file that listens, one whose file was removed, a setuid helper.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tests::host::Host;

use super::{Idle, by_name, capture, events, lines, open_to_all, records, verify};

/// Does as its first argument says, tells of it in a line, and waits to be killed.
const SCENE: &str = r#"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "memfd")) {
        struct stat about;
        int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("implant", MFD_CLOEXEC);
        if (from < 0 || to < 0 || fstat(from, &about)) return 1;
        for (off_t at = 0; at < about.st_size;)
            if (sendfile(to, from, &at, about.st_size - at) <= 0) return 2;
        fexecve(to, (char *[]){"implant", "listen", NULL}, (char *[]){"SECRET=of the scene", NULL});
        return 3;
    }
    if (argc > 1 && !strcmp(argv[1], "listen")) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof at;
        int it = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(it, (void *)&at, size) || listen(it, 1) || getsockname(it, (void *)&at, &size)) return 4;
        printf("%d\n", ntohs(at.sin_port));
    } else {
        printf("ready\n");
    }
    fflush(stdout);
    pause();
    return 0;
}
"#;

/// A part of the scene; it ends when this is dropped.
struct Actor {
    child: Child,
    said: String,
}

impl Actor {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        Self { child, said: said.trim().to_owned() }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn build(dir: &Path) {
    fs::write(dir.join("scene.c"), SCENE).unwrap();
    let mut gcc = Command::new("gcc");
    assert!(gcc.args(["-O1", "-o"]).arg(dir.join("scene")).arg(dir.join("scene.c")).status().unwrap().success());
}

/// `sha256sum` of a file.
fn sha256(path: &Path) -> String {
    let done = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(done.stdout).unwrap()[..64].to_owned()
}

#[test]
fn the_scene_of_an_attack_is_in_the_bundle_and_verifies_elsewhere() {
    let host = Host::new("recorder: { enabled: true, bytes: 8MiB, age: 60s }");
    open_to_all(&host);
    build(&host.path("."));
    let (scene, gone, helper) = (host.path("scene"), host.path("gone"), host.path("helper"));
    fs::copy(&scene, &gone).unwrap();
    fs::copy(&scene, &helper).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o4755)).unwrap();
    let agent = host.start();
    // the policy has nothing for this, and the kernel half would not even send it
    fs::write(host.path("dropped-by-policy"), "evidence").unwrap();
    let implant = Actor::start(Command::new(&scene).arg("memfd"));
    let removed = Actor::start(Command::new(&gone).arg("wait"));
    fs::remove_file(&gone).unwrap();
    let setuid =
        Actor::start(Command::new("setpriv").args(["--reuid=65534", "--clear-groups"]).arg(&helper).arg("wait"));
    thread::sleep(Duration::from_secs(5));

    let case = host.path("case.sigtrail");
    let ran = capture(
        &host,
        &[
            "--pid",
            &std::process::id().to_string(),
            "--before",
            "30s",
            "--for",
            "1s",
            "--file",
            scene.to_str().unwrap(),
            "-o",
            case.to_str().unwrap(),
            "--json",
        ],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", agent.said());
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    let (code, report) = verify(&case, &[]);
    assert_eq!((code, &report["verdict"]), (0, &"verified".into()), "{report:#}");
    assert_eq!((&report["manifest"], &report["key_given"]), (&told["manifest"], &false.into()));
    let key = fs::read_to_string(host.path("state/host.vkey")).unwrap();
    let (code, report) = verify(&case, &["--key", key.trim()]);
    assert_eq!((code, &report["key_given"]), (0, &true.into()), "{report:#}");
    // tar alone lists it
    let tar = host.path("case.tar");
    fs::write(&tar, zstd::decode_all(fs::read(&case).unwrap().as_slice()).unwrap()).unwrap();
    let listed = Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    assert!(listed.status.success() && String::from_utf8(listed.stdout).unwrap().contains("\nmanifest.json\n"));

    let members = by_name(&case);
    let all = lines(&members["processes.ndjson"]);
    let of = |pid: u32| all.iter().find(|it| it["pid"] == pid).unwrap_or_else(|| panic!("{pid} is not among them"));
    // programs without a file are copied
    let hash = sha256(&scene);
    for actor in [&implant, &removed] {
        let copy = host.path("copy");
        let program = members.get(&format!("process/{}/exe", actor.pid()));
        let program = program.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&members["manifest.json"])));
        fs::write(&copy, program).unwrap();
        assert_eq!(sha256(&copy), hash, "{}", of(actor.pid()));
        assert_eq!(of(actor.pid())["exe_gone"], true);
    }
    assert!(of(implant.pid())["exe"].as_str().unwrap().starts_with("/memfd:implant"), "{}", of(implant.pid()));
    assert_eq!(members["files/0000"], fs::read(&scene).unwrap());
    // the socket, by its port and by the descriptor that holds it
    let space = fs::read_link(format!("/proc/{}/ns/net", implant.pid())).unwrap();
    let space = space.to_str().unwrap().trim_matches(|it: char| !it.is_ascii_digit()).to_owned();
    let port = format!("0100007F:{:04X}", implant.said.parse::<u16>().unwrap());
    let table = String::from_utf8(members[&format!("net/{space}/tcp")].clone()).unwrap();
    let row = table.lines().find(|line| line.contains(&port)).unwrap_or_else(|| panic!("{port}: {table}"));
    let socket = format!("socket:[{}]", row.split_whitespace().nth(9).unwrap());
    let fds = lines(&members[&format!("process/{}/fds.ndjson", implant.pid())]);
    assert!(fds.iter().any(|fd| fd["to"] == socket.as_str()), "{fds:?}");
    // the helper: who started it, with whose rights it runs, and what its file is
    let privileged = of(setuid.pid());
    assert_eq!(
        (&privileged["uids"], &privileged["exe_mode"]),
        (&serde_json::json!([65534, 0, 0, 0]), &"104755".into())
    );
    let file = lines(&members[&format!("process/{}/exe.json", setuid.pid())]);
    assert_eq!(file[0]["sha256"], hash.as_str());
    // what the policy drops, from before the command
    let events = events(&members);
    let marker = host.path("dropped-by-policy").display().to_string();
    let dropped = events.iter().find(|it| it["path"] == marker.as_str() && it["kind"] == "open").unwrap();
    assert_eq!(dropped["policy"]["verdict"], "drop");
    let exec = |pid: u32| events.iter().find(|it| it["kind"] == "exec" && it["pid"] == pid && it["memfd"] == true);
    assert!(exec(implant.pid()).is_some());
    let sealed = host.batches();
    assert!(!sealed.iter().flat_map(|it| &it.lines).any(|it| it["path"] == marker.as_str()), "it was sealed, too");
    // no secret that was not asked for
    assert!(!members.contains_key(&format!("process/{}/environ", implant.pid())));
    assert!(members["host/bpf.ndjson"].len() > 1000 && members.contains_key("host/mounts"));
    // the chain of custody
    let done = records(&host, "done");
    assert_eq!((done.len(), &done[0]["manifest"]), (1, &told["manifest"]), "{done:?}");
    assert_eq!((&done[0]["by"], &done[0]["asker_uid"]), (&"command".into(), &0.into()));
    assert_eq!(records(&host, "begun").len(), 1);
    // nothing of it stays with the agent
    assert_eq!(fs::read_dir(host.path("state/captures")).unwrap().count(), 0);
    assert_eq!(agent.stop().0, Some(0));
    assert_eq!(host.verified()["lost"], 0);
}

#[test]
fn environment_and_memory_are_there_when_they_are_asked_for_and_those_of_the_agent_never() {
    let host = Host::new("capture: { memory_bytes: 1MiB }");
    build(&host.path("."));
    let agent = host.start();
    let implant = Actor::start(Command::new(host.path("scene")).arg("memfd"));
    let take = |pid: u32, name: &str| {
        let case = host.path(name);
        let options =
            ["--pid", &pid.to_string(), "--for", "0s", "--with", "environ,memory", "-o", case.to_str().unwrap()];
        let ran = capture(&host, &options);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(verify(&case, &[]).0, 0);
        by_name(&case)
    };
    let of_scene = take(implant.pid(), "scene.sigtrail");
    assert_eq!(of_scene[&format!("process/{}/environ", implant.pid())], b"SECRET=of the scene\0");
    let memory = of_scene.iter().filter(|(name, _)| name.contains("/memory/"));
    let bytes: usize = memory.map(|(_, bytes)| bytes.len()).sum();
    assert!((4096..=1 << 20).contains(&bytes), "{bytes}");
    let of_agent = take(agent.pid(), "agent.sigtrail");
    let secret = |name: &&String| name.contains("/memory/") || name.ends_with("/environ");
    let of_agent_itself = format!("process/{}/", agent.pid());
    assert_eq!(of_agent.keys().filter(|name| name.starts_with(&of_agent_itself)).find(secret), None);
    // nor its keys, by any name
    let idle = Idle::start();
    fs::hard_link(host.path("state/keys/host"), host.path("another-name")).unwrap();
    let case = host.path("keys.sigtrail");
    let names = ["state/keys/host", "another-name"].map(|name| host.path(name).display().to_string());
    let options =
        ["--pid", &idle.pid(), "--for", "0s", "--file", &names[0], "--file", &names[1], "-o", case.to_str().unwrap()];
    assert_eq!(capture(&host, &options).code, Some(0));
    assert!(!by_name(&case).keys().any(|name| name.starts_with("files/")));
}
