//! Modes and owners of files.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{Finding, note, problem};
use crate::config::{Config, Sink};

/// Who runs the agent.
struct User {
    uid: u32,
    groups: Vec<u32>,
}

impl User {
    /// The owner of the state directory; where there is none yet, the user of the service, or who asks.
    fn of(config: &Config) -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = fs::read_to_string("/etc/group").unwrap_or_default();
        let lines = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|it| it.len() > 3);
        let uid = fs::metadata(&config.state_dir).ok().map(|about| about.uid());
        let uid = uid.or_else(|| lines().find(|it| it[0] == "sigtrail")?[2].parse().ok());
        let uid = uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
        let Some(line) = lines().find(|it| it[2] == uid.to_string()) else { return Self { uid, groups: Vec::new() } };
        let mut groups: Vec<u32> = line[3].parse().into_iter().collect();
        for other in group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|it| it.len() > 3) {
            if other[3].split(',').any(|name| name == line[0]) {
                groups.extend(other[2].parse::<u32>().ok());
            }
        }
        Self { uid, groups }
    }

    /// Whether it may read a file, by its mode.
    fn reads(&self, about: &Metadata) -> bool {
        let bit = if self.uid == 0 || about.uid() == self.uid {
            0o400
        } else if self.groups.contains(&about.gid()) {
            0o040
        } else {
            0o004
        };
        self.uid == 0 || about.mode() & bit != 0
    }
}

/// Looks at all files that the configuration names.
pub(super) fn check(config: &Config, file: Option<&Path>, findings: &mut Vec<Finding>) {
    let user = User::of(config);
    let state = &config.state_dir;
    match fs::metadata(state) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(note(
                "keys",
                format!("{} is not there", state.display()),
                "the first start makes it, and the keys",
            ));
        }
        Err(error) => return findings.push(problem("files", format!("{}: {error}", state.display()), "ask as root")),
    }
    if fs::symlink_metadata(state).is_ok() && fs::symlink_metadata(state.join("keys/host")).is_err() {
        findings.push(note("keys", "this host has no keys yet", "`sigtrail enroll`, or the first start, makes them"));
    }
    for name in ["", "keys", "keys/host", "keys/host.next", "chain", "spool"] {
        secret(&state.join(name), &user, findings);
    }
    for path in config.policy.iter().map(std::path::PathBuf::as_path).chain(file) {
        named(path, &user, findings);
        others(path, &user, findings);
    }
    if fs::symlink_metadata(&config.runtime_dir).is_ok() {
        others(&config.runtime_dir, &user, findings);
    }
    for sink in &config.sinks {
        let (open, hidden) = match sink {
            Sink::File(_) => (vec![], vec![]),
            Sink::Http(it) => (
                vec![&it.ca_file, &it.cert_file],
                vec![&it.token_file, &it.basic_file, &it.proxy_basic_file, &it.key_file],
            ),
            Sink::Nats(it) => (vec![&it.ca_file, &it.cert_file], vec![&it.token_file, &it.creds_file, &it.key_file]),
            Sink::S3(it) => (vec![&it.ca_file], vec![&it.credentials_file]),
        };
        open.into_iter().flatten().for_each(|path| named(path, &user, findings));
        for path in hidden.into_iter().flatten() {
            named(path, &user, findings);
            if let Ok(about) = fs::metadata(path)
                && about.mode() & 0o007 != 0
            {
                let found = format!("{} is a secret, and everybody may open it", path.display());
                findings.push(problem("files", found, format!("chmod o= {}", path.display())));
            }
        }
    }
}

/// A file of the agent's alone, if it is there.
fn secret(path: &Path, user: &User, findings: &mut Vec<Finding>) {
    let Ok(about) = fs::symlink_metadata(path) else { return };
    let path = path.display();
    if about.mode() & 0o077 != 0 && !about.is_symlink() {
        let found = format!("{path} has mode {:04o}: others may open what is the agent's alone", about.mode() & 0o7777);
        findings.push(problem("files", found, format!("chmod go= {path}")));
    }
    if about.uid() != user.uid {
        let found = format!("{path} belongs to user {}, the state directory to user {}", about.uid(), user.uid);
        findings.push(problem("files", found, format!("chown {}: {path}", user.uid)));
    }
}

/// A file that must be there for the agent.
fn named(path: &Path, user: &User, findings: &mut Vec<Finding>) {
    match fs::metadata(path) {
        Ok(about) if user.reads(&about) => {}
        Ok(_) => {
            let found = format!("{} cannot be read by the agent (user {})", path.display(), user.uid);
            findings.push(problem("files", found, format!("chgrp sigtrail {0} && chmod g+r {0}", path.display())));
        }
        Err(error) => {
            let found = format!("{}: {error}", path.display());
            findings.push(problem("files", found, "make it, or name another in the configuration"));
        }
    }
}

/// A file that decides what is recorded: nobody else may write to it.
fn others(path: &Path, user: &User, findings: &mut Vec<Finding>) {
    let Ok(about) = fs::metadata(path) else { return };
    let path = path.display();
    if about.mode() & 0o022 != 0 {
        findings.push(problem("files", format!("{path} may be written by others"), format!("chmod go-w {path}")));
    }
    if about.uid() != 0 && about.uid() != user.uid {
        let found = format!("{path} belongs to user {}, who may change it", about.uid());
        findings.push(problem("files", found, format!("chown root {path}")));
    }
}
