//! Self-protection by sight: who touches the agent's files, programs or process makes an alert.
//!
//! These rules are asked before those of the policy files, and nothing turns them off. The agent's own acts make no
//! events, so what matches was done by somebody else. A rule holds for the kinds that this version knows.

use std::path::{Path, PathBuf};

use common::Kind;

use crate::{config::Config, record::Slot};

/// Where pinned programs, maps and links are, below the bpf file system.
const PINS: &str = "/sys/fs/bpf/sigtrail/";

/// The rules that protect an agent which reads this config from `file`, as a policy file.
pub fn rules(config: &Config, file: Option<&Path>) -> String {
    let pins = PathBuf::from(PINS);
    let dirs = texts([&config.state_dir, &config.runtime_dir, &pins].into_iter().flat_map(both), "/");
    let exact = [&config.state_dir, &config.runtime_dir].into_iter().chain(&config.policy).map(PathBuf::as_path);
    let exe = std::env::current_exe().ok();
    let files = texts(exact.chain(file).chain(exe.as_deref()).flat_map(both), "");
    let pid = std::process::id();
    let mut text = format!(
        "version: 1\nlists:\n  self_dirs: [{}]\n  self_files: [{}]\nrules:\n",
        dirs.join(", "),
        files.join(", ")
    );
    let mut rule = |id: &str, title: &str, kinds: &[&str], fields: &[&str], rest: &str| {
        let has = |name: &str| {
            Kind::from_name(name).is_some_and(|kind| fields.iter().all(|field| Slot::find(kind, field).is_some()))
        };
        let kinds: Vec<_> = kinds.iter().copied().filter(|name| has(name)).collect();
        if !kinds.is_empty() {
            let kinds = kinds.join(", ");
            let head = format!("  - id: self.{id}\n    title: {title}\n    kinds: [{kinds}]\n");
            text.extend([&head, rest, "    verdict: alert\n    level: critical\n"]);
        }
    };
    let path = "    in: { path|startswith: $self_dirs }\n    is: { path: $self_files }\n";
    let target = "    in: { target|startswith: $self_dirs }\n    is: { target: $self_files }\n";
    // other failures change nothing, and are too many to be looked at one by one
    let done = "    done: { success: true }\n    denied: { errno: [EACCES, EPERM] }\n    condition: 1 of i* and (done or denied)\n";
    let opened = "    way: [{ access: [write, read-write] }, { created: true }, { flags: O_TRUNC }]\n    done: { success: true }\n    \
                  denied: { errno: [EACCES, EPERM] }\n    condition: 1 of i* and way and (done or denied)\n";
    let changing = [
        "unlink",
        "rmdir",
        "rename",
        "link",
        "symlink",
        "chmod",
        "chown",
        "truncate",
        "mkdir",
        "mknod",
        "mount",
        "umount",
        "utimes",
        "setxattr",
        "removexattr",
        "file_setattr",
        "swap",
    ];
    rule(
        "changed",
        "A file of the agent was changed, moved, covered or removed",
        &changing,
        &["path"],
        &format!("{path}{done}"),
    );
    rule(
        "replaced",
        "Something was put in the place of a file of the agent",
        &["rename", "link"],
        &["target"],
        &format!("{target}{done}"),
    );
    rule(
        "written",
        "A file of the agent was opened to be written",
        &["open"],
        &["path", "created"],
        &format!("{path}{opened}"),
    );
    rule(
        "process",
        "The process of the agent got a signal, or was traced, read or written",
        &["kill", "ptrace", "process_vm", "pidfd"],
        &["target_pid"],
        &format!("    selection: {{ target_pid: {pid} }}\n"),
    );
    rule(
        "pins",
        "A pinned program, map or link of the agent was taken hold of",
        &["bpf"],
        &["place"],
        &format!("    selection: {{ place|startswith: {PINS} }}\n"),
    );
    text
}

/// A path as it was written, and as the kernel resolves it.
fn both(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let path = path.as_ref();
    let written = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut both = vec![written];
    both.extend(path.canonicalize());
    both
}

/// Paths as texts of a policy, each once. What is not UTF-8 cannot be said there.
fn texts(paths: impl Iterator<Item = PathBuf>, end: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for path in paths {
        let Some(path) = path.to_str() else { continue };
        let mut text = String::new();
        for letter in path.trim_end_matches('/').chars() {
            if matches!(letter, '*' | '?' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        let text = serde_json::Value::from(text + end).to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn the_rules_make_sense_whatever_the_paths() {
        for dir in ["/var/lib/sigtrail", "/srv/a b/", "/x/'\"*?[\\", "relative"] {
            let config = Config { state_dir: dir.into(), policy: vec!["/etc/p: #.yaml".into()], ..Config::default() };
            let text = rules(&config, Some(Path::new("/etc/sigtrail/config.yaml")));
            let policy = Policy::parse(&[("self", &text)]).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
            let ids: Vec<_> = policy.rules().iter().map(|rule| rule.id.as_str()).collect();
            assert_eq!(ids[..3], ["self.changed", "self.replaced", "self.written"]);
            // reads are not looked at, nor opens of what is not there
            assert_eq!(
                policy.wanted()[Kind::Open as usize],
                common::filter::class::SUCCESS | common::filter::class::DENIED
            );
        }
    }
}
