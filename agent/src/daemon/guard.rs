//! Self-protection by sight: who touches the agent's files, programs or process makes an alert.
//!
//! These rules are asked before those of the policy files, and nothing turns them off. The agent's own acts make no
//! events, so what matches was done by somebody else.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use crate::{
    config::Config,
    policy::{OWN_RULES, SELF_TEST},
    source::pin::Pins,
};

/// The rules that protect an agent which reads this config from `file`, as a policy file.
///
/// `tester`: the file by which the agent tests whether events reach its log, if it does.
pub fn rules(config: &Config, file: Option<&Path>, tester: Option<&Path>) -> String {
    let pins = Pins::of(&config.state_dir).dir().to_owned();
    let process = PathBuf::from(format!("/proc/{}", std::process::id()));
    let kept = [&config.state_dir, &config.runtime_dir];
    let dirs = texts(kept.into_iter().chain([&pins, &process]).flat_map(both), "/");
    let exe = executable();
    let single = config.policy.iter().map(PathBuf::as_path).chain(file).chain(exe.as_deref());
    let files: Vec<_> = kept.into_iter().map(PathBuf::as_path).chain(single).flat_map(both).collect();
    let above: BTreeSet<_> = files.iter().chain([&pins]).flat_map(|it| it.ancestors().skip(1)).collect();
    let above = texts(above.into_iter().filter(|it| *it != Path::new("/")).map(PathBuf::from), "");
    let mut text = format!(
        "version: 1\nlists:\n  self_dirs: [{}]\n  self_files: [{}]\n  self_above: [{}]\nrules:\n",
        dirs.join(", "),
        texts(files.into_iter(), "").join(", "),
        above.join(", ")
    );
    let pid = std::process::id();
    if let Some(tester) = tester {
        let rule = format!(
            "  - id: {SELF_TEST}\n    title: The agent tested whether events reach its log\n    kinds: [unlink]\n    \
             selection: {{ pid: {pid}, path: [{}] }}\n    condition: selection\n    verdict: keep\n",
            texts(both(tester).into_iter(), "").join(", ")
        );
        text.push_str(&rule);
    }
    // while the programs of the run before are taken up, they do not know us yet
    let mut rule = |id: &str, title: &str, kinds: &str, rest: &str| {
        let head =
            format!("  - id: {OWN_RULES}{id}\n    title: {title}\n    kinds: [{kinds}]\n    we: {{ pid: {pid} }}\n");
        text.extend([&head, rest, "    verdict: alert\n    level: critical\n"]);
    };
    // other failures change nothing, and are too many to be looked at one by one
    let done = "    done: { success: true }\n    denied: { errno: [EACCES, EPERM] }\n";
    let touched = |field: &str, more: &str| {
        format!(
            "    in: {{ {field}|startswith: $self_dirs }}\n    is: {{ {field}: $self_files }}\n{done}    condition: 1 of i* \
             and not we and {more}(done or denied)\n"
        )
    };
    rule(
        "changed",
        "A file of the agent was changed, moved, covered or removed",
        "unlink, rmdir, rename, link, symlink, chmod, chown, truncate, mkdir, mknod, mount, umount, utimes, setxattr, \
         removexattr, file_setattr, swap",
        &touched("path", ""),
    );
    rule("replaced", "Something was put in the place of a file of the agent", "rename, link", &touched("target", ""));
    rule(
        "written",
        "A file of the agent was opened to be written",
        "open",
        &format!(
            "    way: [{{ access: [write, read-write] }}, {{ created: true }}, {{ flags: O_TRUNC }}]\n{}",
            touched("path", "way and ")
        ),
    );
    if let Some(space) = mount_namespace() {
        rule(
            "covered",
            "A directory above the files of the agent was moved, or something was mounted there",
            "mount, umount, rename, pivot_root",
            &format!(
                "    above: {{ path: $self_above, mnt_ns: {space} }}\n{done}    condition: above and not we and (done or \
                 denied)\n"
            ),
        );
    }
    rule(
        "process",
        "The process of the agent was traced, read, written, advised about or limited",
        "ptrace, process_vm, pidfd, prlimit",
        "    selection: { touches: process }\n    condition: selection and not we\n",
    );
    rule(
        "signalled",
        "The agent got a signal, or its group did, or everyone",
        "kill",
        &format!(
            "    selection: {{ touches: process }}\n    powerless: {{ target_pid: -1, euid|neq: [0, {}] }}\n    condition: \
             selection and not powerless and not we\n",
            nix::unistd::geteuid()
        ),
    );
    rule(
        "bpf",
        "A program, map or link of the agent was taken hold of or changed",
        "bpf",
        &format!(
            "    it: {{ touches: [program, map, link] }}\n    is: {{ place|startswith: {}/ }}\n    condition: 1 of i* and not \
             we\n",
            pins.display()
        ),
    );
    text
}

/// The inode of our mount namespace.
fn mount_namespace() -> Option<u64> {
    Some(fs::metadata("/proc/self/ns/mnt").ok()?.ino())
}

/// The file that runs, also when another one has taken its place.
fn executable() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?.into_os_string().into_vec();
    let exe = exe.strip_suffix(b" (deleted)").unwrap_or(&exe);
    Some(PathBuf::from(OsStr::from_bytes(exe)))
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
            let text = rules(&config, Some(Path::new("/etc/sigtrail/config.yaml")), Some(Path::new("run/self test")));
            let policy = Policy::parse_behind(Some(("self", &text)), &[])
                .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
            let ids: Vec<_> = policy.rules().iter().map(|rule| rule.id.as_str()).collect();
            assert_eq!(ids[..4], ["self.test", "self.changed", "self.replaced", "self.written"]);
            // reads are not looked at, nor opens of what is not there
            assert_eq!(
                policy.wanted()[common::Kind::Open as usize],
                common::filter::class::SUCCESS | common::filter::class::DENIED
            );
        }
    }
}
