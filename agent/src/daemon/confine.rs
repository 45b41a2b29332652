//! What the threads of the agent can no longer do once it runs: seccomp for all, Landlock for the delivery.
//!
//! The hot half has no Landlock domain: who is in one may not look into processes that are not (the kernel's rule for
//! ptrace(2), which /proc/PID/exe obeys), and looking there is what it is for; captures likewise. The delivery, which talks to
//! the network, has one: it reaches spool, sockets, sinks and the files that the configuration names, and not the keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        stat::{Mode, umask},
    },
};
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter};
use thiserror::Error;

use super::{
    rights::{Half, give_up},
    translate,
};
use crate::config::{Config, Sink};

/// Why there is no filter of system calls.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// It makes no program.
    #[error("seccomp: {0}")]
    Filter(#[from] BackendError),
    /// The kernel does not take it.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// What neither half ever does: to run programs, to look into memory of others, to change what is mounted, who it is, or
/// the kernel.
const NEVER: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_personality,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// What the delivery does not do either: the kernel half is not its matter.
const NOT_THE_DELIVERY: &[libc::c_long] =
    &[libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_process_vm_readv, libc::SYS_capset, libc::SYS_pidfd_getfd];

/// Where a resolver, a TLS library and the C library look, whatever is configured.
const SYSTEM: &[&str] =
    &["/etc", "/usr", "/proc", "/sys", "/dev", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"];
/// Names of variables with further places.
const NAMED: &[&str] = &[
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CREDENTIALS_DIRECTORY",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// The newest rights of Landlock that are asked for; an older kernel restricts less.
const RIGHTS: ABI = ABI::V3;

/// No core dumps and no ptrace by others: the memory holds the chain key. Files are not for the world; those that are
/// for root alone say so themselves.
pub(super) fn harden() -> Result<(), Errno> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    umask(Mode::from_bits_truncate(0o027));
    Ok(())
}

/// Niceness of the hot half (nice(2)).
const PRIORITY: i32 = -10;

/// As auditd does: who floods the host must not starve the one who records it.
pub(super) fn hurry() {
    if let Err(error) = rustix::process::nice(PRIORITY) {
        tracing::info!(%error, "going on with ordinary priority: CAP_SYS_NICE and `LimitNICE=-10` are missing");
    }
}

/// Confines this thread and those it will start, as far as this kernel can. Returns what it cannot.
pub(super) fn confine(half: Half, config: &Config, file: Option<&Path>) -> Vec<String> {
    let files = match half {
        Half::Delivery => landlock(config, file).unwrap_or_else(|error| Some(error.to_string())),
        Half::Hot | Half::Captures => None,
    };
    let rights = give_up(half).err().map(|error| error.to_string());
    let calls = filter(half).map_err(ConfineError::from).and_then(|filter| Ok(seccompiler::apply_filter(&filter)?));
    [files, rights, calls.err().map(|error| error.to_string())].into_iter().flatten().collect()
}

/// Refuses system calls, with EPERM.
fn filter(half: Half) -> Result<BpfProgram, BackendError> {
    let mut refused: BTreeMap<i64, Vec<_>> = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    if half == Half::Delivery {
        refused.extend(NOT_THE_DELIVERY.iter().map(|call| (*call, Vec::new())));
    }
    let no = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(refused, SeccompAction::Allow, no, env::consts::ARCH.try_into()?)?.try_into()
}

/// Files of the delivery: what it may change, and what it may read.
fn landlock(config: &Config, file: Option<&Path>) -> Result<Option<String>, RulesetError> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))?
        .create()?
        .add_rules(path_beneath_rules(changed(config), AccessFs::from_all(RIGHTS) & !AccessFs::Execute))?
        .add_rules(path_beneath_rules(read(config, file), AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?;
    let lacks = match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => return Ok(None),
        RulesetStatus::PartiallyEnforced => "Landlock of this kernel restricts less than asked for",
        RulesetStatus::NotEnforced => "this kernel has no Landlock: the delivery reaches all files that its user may",
    };
    Ok(Some(lacks.to_owned()))
}

/// The directories that it writes to.
fn changed(config: &Config) -> BTreeSet<PathBuf> {
    let mut dirs = vec![translate::spool_dir(config), config.runtime_dir.clone()];
    for sink in &config.sinks {
        if let Sink::File(file) = sink {
            dirs.push(file.dir.clone());
        }
    }
    dirs.iter().filter_map(|dir| existing(dir)).collect()
}

/// The directories that it reads from. Not the files themselves: they may be replaced by others of the same name.
fn read(config: &Config, file: Option<&Path>) -> BTreeSet<PathBuf> {
    let named = config.policy.iter().map(PathBuf::as_path).chain(file).chain(config.sinks.iter().flat_map(files));
    let mut dirs = BTreeSet::new();
    for path in named {
        // as written, and where a link leads now
        dirs.extend([Some(path.to_owned()), path.canonicalize().ok()].into_iter().flatten().filter_map(above));
    }
    dirs.extend(SYSTEM.iter().map(PathBuf::from));
    dirs.extend(NAMED.iter().filter_map(env::var_os).map(PathBuf::from));
    dirs
}

/// The files that a sink reads.
fn files(sink: &Sink) -> impl Iterator<Item = &Path> {
    let all = match sink {
        Sink::File(_) => Vec::new(),
        Sink::Http(it) => {
            vec![&it.token_file, &it.basic_file, &it.proxy_basic_file, &it.ca_file, &it.cert_file, &it.key_file]
        }
        Sink::Nats(it) => vec![&it.token_file, &it.creds_file, &it.ca_file, &it.cert_file, &it.key_file],
        Sink::S3(it) => vec![&it.credentials_file, &it.ca_file],
    };
    all.into_iter().filter_map(|path| path.as_deref())
}

/// The directory of a file.
fn above(path: PathBuf) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    existing(path.parent()?)
}

/// A directory, or the nearest above it that is there: it will be made below.
fn existing(dir: &Path) -> Option<PathBuf> {
    let dir = std::path::absolute(dir).ok()?;
    dir.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind, process::Command, sync::mpsc, thread};

    use super::*;

    fn config(dir: &Path) -> Config {
        let (state, run, token) = (dir.join("state"), dir.join("run"), dir.join("tokens/web"));
        for made in [state.join("keys"), state.join("spool"), run.clone(), dir.join("tokens"), dir.join("log")] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(state.join("keys/host"), "secret").unwrap();
        fs::write(&token, "old").unwrap();
        let text = format!(
            "state_dir: {}\nruntime_dir: {}\nsinks:\n  - type: http\n    name: web\n    url: https://127.0.0.1/\n    \
             token_file: {}\n  - type: file\n    name: log\n    dir: {}\n",
            state.display(),
            run.display(),
            token.display(),
            dir.join("log/made/later").display()
        );
        Config::parse("test", &text).unwrap()
    }

    #[test]
    fn the_delivery_reaches_what_the_configuration_names() {
        let dir = tempfile::tempdir().unwrap();
        let (at, config) = (dir.path().to_owned(), config(dir.path()));
        let ((replaced, replace), (finish, done)) = (mpsc::channel(), mpsc::channel());
        let confined = thread::spawn(move || {
            let lacks = confine(Half::Delivery, &config, None);
            let denied = |result: std::io::Result<()>| result.err().map(|error| error.kind());
            let no = Some(ErrorKind::PermissionDenied);
            assert_eq!(denied(Command::new("/bin/true").status().map(drop)), no, "it runs no program");
            assert_eq!(fs::read(at.join("tokens/web")).unwrap(), b"old");
            fs::write(at.join("state/spool/cursor"), "1").unwrap();
            fs::rename(at.join("state/spool/cursor"), at.join("state/spool/other")).unwrap();
            std::os::unix::net::UnixListener::bind(at.join("run/sock")).unwrap();
            fs::read("/proc/self/status").unwrap();
            fs::read("/etc/passwd").unwrap();
            fs::create_dir_all(at.join("log/made/later")).unwrap();
            // another file in the place of the one that was there, as whoever renews a token puts it
            replaced.send(()).unwrap();
            done.recv().unwrap();
            assert_eq!(fs::read(at.join("tokens/web")).unwrap(), b"new");
            if lacks.iter().any(|it| it.contains("no Landlock")) {
                return;
            }
            assert_eq!(lacks, [""; 0]);
            assert_eq!(denied(fs::read(at.join("state/keys/host")).map(drop)), no, "the host key");
            assert_eq!(denied(fs::write(at.join("tokens/web"), "")), no, "a token is read only");
        });
        if replace.recv().is_ok() {
            fs::write(dir.path().join("tokens/next"), "new").unwrap();
            fs::rename(dir.path().join("tokens/next"), dir.path().join("tokens/web")).unwrap();
            finish.send(()).unwrap();
        }
        confined.join().unwrap();
    }

    #[test]
    fn the_hot_half_looks_everywhere_and_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let mut other = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let exe = format!("/proc/{}/exe", other.id());
        let confined = thread::spawn(move || {
            assert_eq!(confine(Half::Hot, &config, None), [""; 0]);
            fs::read_link(exe).unwrap();
            fs::read(config.state_dir.join("keys/host")).unwrap();
            assert_eq!(Command::new("/bin/true").status().unwrap_err().kind(), ErrorKind::PermissionDenied);
        });
        let ended = confined.join();
        other.kill().unwrap();
        other.wait().unwrap();
        ended.unwrap();
    }
}
