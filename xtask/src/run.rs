//! `cargo xtask run`: the main job on this host's real events, to a file and to a real receiver, and then the proof.

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    build::{self, Profile},
    command,
    error::Error,
    receiver::Receiver,
    rights::{Consent, as_root, is_root},
    setup::Scope,
    tree::Tree,
};

/// What the command line asked for.
#[derive(Debug, Default)]
pub struct Options {
    /// End after this many seconds; otherwise at Ctrl-C.
    pub seconds: Option<u64>,
    /// A configuration to use in place of the one written here.
    pub config: Option<PathBuf>,
    /// More arguments for the agent.
    pub more: Vec<OsString>,
}

/// The verb.
pub fn run(tree: &Tree, options: &Options, consent: Consent) -> Result<(), Error> {
    build::run(tree, Profile::Release, Scope::Tests, consent)?;
    let folder = tree.finished("run");
    clear(&folder, consent)?;
    // Ctrl-C goes to the whole group; the agent ends, and we still have a log to verify.
    let interrupted = flag(SIGINT)?;
    let terminated = flag(SIGTERM)?;

    let receiver = receiver(&folder)?;
    let config = match &options.config {
        Some(config) => config.clone(),
        None => write_config(&folder, &receiver.url)?,
    };
    let ended = agent(tree, &config, options, consent).and_then(|mut agent| wait(&mut agent, &terminated));
    let bodies = receiver.bodies.clone();
    receiver.stop()?;
    give_back(&folder)?;
    if !ended?.success() {
        return Err(Error::Run("the agent did not end well: see above"));
    }
    if interrupted.load(Ordering::Relaxed) {
        eprintln!();
    }
    verify(tree, &[&folder.join("log"), &bodies])
}

/// The receiver of the http sink.
fn receiver(folder: &Path) -> Result<Receiver, Error> {
    Receiver::start(&folder.join("receiver"))
}

/// A log from the last run would make this run's verdict about both. It may be root's.
fn clear(folder: &Path, consent: Consent) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mut remove = Command::new("rm");
            remove.arg("-rf").arg(folder);
            let doing = "removing the last run";
            command::run(doing, &mut as_root(doing, remove, consent)?)?;
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("removing", folder)(error)),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(folder).map_err(Error::io("creating", folder))
}

fn write_config(folder: &Path, url: &str) -> Result<PathBuf, Error> {
    let config = folder.join("sigtrail.yaml");
    let at = folder.display();
    let text = format!(
        "# written by cargo xtask run
state_dir: {at}/state
runtime_dir: {at}
sinks:
  - name: log
    type: file
    dir: {at}/log
  - name: receiver
    type: http
    url: {url}
"
    );
    fs::write(&config, text).map_err(Error::io("writing", &config))?;
    Ok(config)
}

/// Starts the agent as root. The time limit is timeout(1)'s, which runs as root too: a user may not signal root's agent.
fn agent(tree: &Tree, config: &Path, options: &Options, consent: Consent) -> Result<Child, Error> {
    let mut command = match options.seconds {
        Some(seconds) => {
            let mut timeout = Command::new("timeout");
            timeout.args(["--foreground", "--preserve-status", "--signal=TERM", "--kill-after=30"]);
            timeout.arg(seconds.to_string()).arg(tree.agent());
            timeout
        }
        None => Command::new(tree.agent()),
    };
    command.arg("run").arg("--config").arg(config).arg("--print").args(&options.more);
    let mut command = as_root("the agent loads eBPF programs", command, consent)?;
    eprintln!("running: {}", command::shown(&command));
    command.spawn().map_err(|source| command::start("starting the agent", &command, source))
}

/// Waits for the agent to end; hands a SIGTERM on to it.
fn wait(agent: &mut Child, terminated: &AtomicBool) -> Result<ExitStatus, Error> {
    loop {
        if let Some(status) = agent.try_wait().map_err(Error::io("waiting for", "the agent"))? {
            return Ok(status);
        }
        if terminated.swap(false, Ordering::Relaxed) {
            let mut kill = Command::new("kill");
            command::run("ending the agent", kill.arg("-TERM").arg(agent.id().to_string()))?;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What root wrote belongs to the person whose repository this is.
fn give_back(folder: &Path) -> Result<(), Error> {
    if is_root() {
        return Ok(());
    }
    let own = fs::metadata("/proc/self").map_err(Error::io("reading", "/proc/self"))?;
    let mut chown = Command::new("chown");
    chown.arg("-R").arg(format!("{}:{}", own.uid(), own.gid())).arg(folder);
    // the question was answered when the agent was started
    command::run("handing the files of the run over", &mut as_root("", chown, Consent::Given)?)
}

/// Verifies each folder, and says how to do it again.
fn verify(tree: &Tree, folders: &[&Path]) -> Result<(), Error> {
    let mut good = true;
    for folder in folders {
        let mut verify = Command::new(tree.agent());
        verify.arg("verify").arg(shortened(folder));
        println!("\n$ {}", command::shown(&verify));
        let status = verify.status().map_err(|source| command::start("verifying", &verify, source))?;
        good &= status.success();
    }
    if good { Ok(()) } else { Err(Error::Run("a log did not verify: see above")) }
}

/// A path as one would type it here.
fn shortened(path: &Path) -> &Path {
    env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

fn flag(signal: i32) -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(Error::io("taking a signal of", "this process"))?;
    Ok(flag)
}

/// `10s`, `2m`, `1h` or plain seconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(seconds(text), expected, "{text:?}");
        check("10s", Some(10));
        check("10", Some(10));
        check("2m", Some(120));
        check("1h", Some(3600));
        check("0s", None);
        check("", None);
        check("s", None);
        check("10ms", None);
        check("99999999999999999999", None);
        check("9999999999999999h", None);
    }
}
