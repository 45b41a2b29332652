//! A host to roll out to: this one, with `/etc`, `/usr`, `/var` and `/run` of its own. What a play changes there lies in
//! a temporary directory, in a mount namespace that ends with the test. The agent is the real one; `service` stands in for
//! systemd, which no namespace of mounts can have.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::host::{Ran, run, sigtrail, verifier};

use crate::{repository, tool};

/// The directories that a node has for itself, each over that of this host.
const LAYERS: [&str; 3] = ["etc", "usr", "var"];

const BEGIN: &str = r#"
for dir in etc usr var; do
    mkdir -p "$1/$dir/upper" "$1/$dir/work"
    mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$1/$dir/upper,workdir=$1/$dir/work" "/$dir"
done
mount -t tmpfs -o mode=755 tmpfs /run
cp "$2" /etc/init.d/sigtrail
rm -rf /etc/sigtrail /var/lib/sigtrail /var/log/sigtrail
echo ready
exec cat
"#;

/// A host of its own.
#[derive(Debug)]
pub struct Node {
    dir: TempDir,
    /// Keeps the namespace.
    keeper: Child,
    /// The variables of the play.
    pub variables: Value,
}

impl Node {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Command::new("unshare");
        keeper.args(["--mount", "--propagation", "private", "sh", "-ec", BEGIN, "begin"]);
        keeper.arg(dir.path()).arg(repository("tests/tests/fleet/service"));
        let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(keeper.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "the namespace of a node");
        let node = Self { dir, keeper, variables: Value::Null };
        for name in ["programs", "notes"] {
            fs::create_dir(node.path(name)).unwrap();
        }
        for program in [sigtrail(), verifier()] {
            let name = node.path("programs").join(program.file_name().unwrap());
            std::os::unix::fs::symlink(program, name).unwrap();
        }
        node
    }

    /// A file on the controller.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program on this node.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id())).arg("--").arg(program);
        command
    }

    /// Runs the play, and returns its end, and what it says of its tasks: `changed`, `failed` and so on.
    pub fn play(&self, options: &[&str]) -> (Ran, BTreeMap<String, u64>) {
        let variables = self.path("variables.json");
        fs::write(&variables, self.variables.to_string()).unwrap();
        let mut command = self.command(tool("ansible-playbook").get_program());
        command.args(["-i", "localhost,", "-e"]).arg(format!("@{}", variables.display()));
        command.arg(repository("tests/tests/fleet/play.yml")).args(options).current_dir(self.dir.path());
        command.env("ANSIBLE_ROLES_PATH", repository("packaging/ansible/roles"));
        command.env("ANSIBLE_HOME", self.path("ansible")).env("ANSIBLE_PIPELINING", "1").env("NO_COLOR", "1");
        command.env("ANSIBLE_PYTHON_INTERPRETER", tool("python3").get_program());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("LC_ALL", "C.UTF-8");
        let ran = run(&mut command);
        let recap = ran.out.lines().rfind(|line| line.starts_with("localhost ") && line.contains("changed="));
        let recap = recap.unwrap_or_else(|| panic!("{}{}", ran.out, ran.err));
        let counts = recap.split_whitespace().filter_map(|word| word.split_once('='));
        let counts = counts.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect();
        (ran, counts)
    }

    /// All that a play left on this node: paths, with what lies there.
    pub fn traces(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut open: Vec<_> = LAYERS.map(|layer| self.path(layer).join("upper")).into();
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let is_dir = entry.file_type().unwrap().is_dir();
                let bytes = entry.file_type().unwrap().is_file().then(|| fs::read(entry.path()).unwrap());
                found.insert(entry.path(), bytes);
                if is_dir {
                    open.push(entry.path());
                }
            }
        }
        found
    }

    /// A file on this node.
    pub fn read(&self, path: &str) -> String {
        let layer = Path::new(path).strip_prefix("/").unwrap();
        let (first, rest) = (layer.iter().next().unwrap(), layer.iter().skip(1).collect::<PathBuf>());
        fs::read_to_string(self.dir.path().join(first).join("upper").join(rest)).unwrap()
    }

    /// The answer of the agent.
    pub fn status(&self) -> Value {
        let mut command = self.command("/usr/bin/sigtrail");
        let ran = run(command.args(["status", "--json", "--config", "/etc/sigtrail/sigtrail.yaml"]));
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Settings for an agent that is beside others.
    pub fn settings() -> Value {
        json!({
            "origin": "web-1.example.org/sigtrail",
            "kernel": { "pin": "no" },
            "seal": { "max_age": "50ms", "heartbeat": "1s" },
            "spool": { "min_free": "1MiB" },
            "sinks": [{ "type": "file", "name": "log", "dir": "/var/log/sigtrail" }],
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let ran = run(self.command("/etc/init.d/sigtrail").arg("stop"));
        if ran.code != Some(0) {
            eprintln!("cannot end the agent of a node: {ran:?}");
        }
        // it ends with its standard input
        drop(self.keeper.stdin.take());
        if self.keeper.wait().is_err() {
            eprintln!("cannot end the namespace of a node");
        }
    }
}
