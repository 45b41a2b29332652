//! A capture that somebody asks for at the socket.

use std::{
    fs::{self, Permissions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use seal::text;
use serde::{Deserialize, Serialize};

use super::{Desk, PART, Peer, REFUSALS, lock};
use crate::{
    capture::{CaptureError, Detail, Plan, Summary, Target, recipient},
    daemon::control,
    disk,
    source::Capture,
};

/// Name of the socket in `runtime_dir`.
pub const SOCKET: &str = "capture.sock";
/// The longest question.
const ASK_MAX: u64 = 64 << 10;
/// Files that may be named.
const FILES: usize = 100;
/// Recipients that may be named.
const RECIPIENTS: usize = 16;
/// How long somebody may take to ask, or to take a part of the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Conversations at a time.
const TALKS: usize = 8;

/// What is asked for: a line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Whose, as [`Target`] has it.
    pub target: String,
    /// How far back, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<u64>,
    /// How long, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub during_ms: Option<u64>,
    /// How much of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<Vec<String>>,
    /// Files to copy.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Who alone can read the bundle.
    #[serde(default)]
    pub recipients: Vec<String>,
}

/// What is answered: lines of JSON, and behind the last one, if it says so, the bytes of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// How far it is.
    Progress {
        /// What is being done.
        doing: String,
        /// How much of it is done.
        done: u64,
        /// Of how much; 0 when nobody knows.
        of: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// There will be none.
    Refused {
        /// Why.
        why: String,
    },
    /// It could not be done.
    Failed {
        /// Why.
        why: String,
    },
    /// The bundle follows.
    Bundle {
        /// Its bytes.
        bytes: u64,
        /// SHA-256 of its manifest.
        manifest: String,
        /// Members that this names.
        members: u64,
        /// Their bytes.
        member_bytes: u64,
        /// Events among them.
        events: u64,
        /// What was left out.
        left_out: u64,
    },
}

/// Answers until it is dropped.
pub async fn serve(path: PathBuf, desk: Arc<Desk>) -> io::Result<()> {
    let listener = control::listen(&path)?;
    // anybody may ask: who may not is told in the log
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    if let (Some(dir), Some(_)) = (path.parent(), &desk.settings.group) {
        let mode = fs::metadata(dir)?.permissions().mode();
        fs::set_permissions(dir, Permissions::from_mode(mode | 0o011))?;
    }
    loop {
        let (stream, _) = listener.accept().await?;
        let Some(peer) = peer(&stream) else { continue };
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        desk.meet(stream, peer);
    }
}

fn peer(stream: &tokio::net::UnixStream) -> Option<Peer> {
    let cred = stream.peer_cred().ok()?;
    Some(Peer {
        uid: cred.uid(),
        gid: cred.gid(),
        pid: cred.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
    })
}

impl Desk {
    /// Talks to who asks, on a thread of its own; not to too many at a time.
    fn meet(self: &Arc<Self>, stream: UnixStream, peer: Peer) {
        if self.talks.fetch_add(1, Ordering::AcqRel) >= TALKS {
            self.talks.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let desk = self.clone();
        let talk = move || {
            if let Err(error) = desk.answer(stream, peer) {
                tracing::debug!(%error, "who asked for a capture went away");
            }
            desk.talks.fetch_sub(1, Ordering::AcqRel);
        };
        if !self.employ(talk) {
            self.talks.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!("a question for a capture is not answered: the agent ends");
        }
    }

    fn answer(self: &Arc<Self>, mut stream: UnixStream, peer: Peer) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = Vec::new();
        BufReader::new((&stream).take(ASK_MAX)).read_until(b'\n', &mut line)?;
        let exe = fs::read_link(format!("/proc/{}/exe", peer.pid)).ok();
        let mut record = Capture {
            by: "command",
            asker: Some((peer.uid, peer.pid)),
            exe: exe.map(|path| path.to_string_lossy().into_owned()),
            ..Capture::default()
        };
        let plan = serde_json::from_slice(&line).map_err(|error| format!("the question cannot be read: {error}"));
        let plan = plan.and_then(|ask: Ask| self.plan(ask));
        if let Ok(plan) = &plan {
            record.target = plan.target.to_string();
            record.with = plan.with.iter().map(|it| it.name()).collect();
        }
        let allowed = plan.and_then(|plan| self.may(peer, &plan).map(|()| plan));
        let turn = allowed.and_then(|plan| Ok((self.turn().ok_or("another capture runs: try again later")?, plan)));
        let (_turn, plan) = match turn {
            Ok(turn) => turn,
            Err(why) => {
                self.refuse(&record, &why);
                return say(&mut stream, &Answer::Refused { why });
            }
        };
        self.hand_out(&mut stream, &plan, &record)
    }

    /// Captures, and hands the bundle to who asked for it.
    fn hand_out(&self, stream: &mut UnixStream, plan: &Plan, record: &Capture) -> io::Result<()> {
        let part = self.settings.dir.join(format!("asked{PART}"));
        let mut told = Instant::now();
        let made = self.capture(plan, &part, record, None, &mut |progress| {
            if told.elapsed() < Duration::from_millis(100) && progress.done > 0 {
                return true;
            }
            told = Instant::now();
            let doing = progress.doing.to_owned();
            let answer = Answer::Progress { doing, done: progress.done, of: progress.of, bytes: progress.bytes };
            say(stream, &answer).is_ok()
        });
        // once it is open, nobody needs its name
        let opened = made.and_then(|summary| Ok((summary, disk::open_read(&part)?)));
        Self::remove(&part);
        let (failed, why) = match opened {
            Ok((summary, file)) => match send(stream, &summary, file) {
                Ok(()) => return Ok(()),
                Err(error) => (Err(error), "who asked for the bundle did not take it".to_owned()),
            },
            Err(error) => {
                let why = error.to_string();
                (say(stream, &Answer::Failed { why: why.clone() }), why)
            }
        };
        self.tell("failed", &Capture { why: Some(why), ..record.clone() });
        failed
    }

    /// What is asked for, in our words.
    fn plan(&self, ask: Ask) -> Result<Plan, String> {
        let settings = &self.settings;
        let target: Target = ask.target.parse().map_err(|error: crate::capture::TargetError| error.to_string())?;
        let detail = |name: String| Detail::from_name(&name).ok_or_else(|| format!("`{name}` is nothing to tell"));
        let mut with = match ask.with {
            Some(names) => names.into_iter().map(detail).collect::<Result<_, _>>()?,
            None => settings.with.clone(),
        };
        if ask.files.len() > FILES || ask.recipients.len() > RECIPIENTS {
            return Err(format!("at most {FILES} files and {RECIPIENTS} recipients can be named"));
        }
        if let Some(path) = ask.files.iter().find(|path| !path.is_absolute()) {
            return Err(format!("{} is no absolute path", path.display()));
        }
        with.remove(&Detail::Files);
        if !ask.files.is_empty() {
            with.insert(Detail::Files);
        }
        let during = ask.during_ms.map_or(settings.during, Duration::from_millis);
        if during > settings.max_time {
            return Err(format!("a capture takes at most {} seconds (capture.max_time)", settings.max_time.as_secs()));
        }
        let recipients = [ask.recipients, settings.recipients.clone()].concat();
        for text in &recipients {
            recipient(text).map_err(|error: CaptureError| error.to_string())?;
        }
        let before = ask.before_ms.map_or(settings.before, Duration::from_millis);
        Ok(Plan { target, before, during, with, files: ask.files, recipients })
    }

    /// Whether the peer may have that.
    fn may(&self, peer: Peer, plan: &Plan) -> Result<(), String> {
        if peer.uid == 0 || peer.uid == nix::unistd::geteuid().as_raw() {
            return Ok(());
        }
        let Some(group) = &self.settings.group else {
            return Err("only root may capture on this host (capture.group)".to_owned());
        };
        if !is_member(group, peer).map_err(|error| format!("looking for the group {group}: {error}"))? {
            return Err(format!("only root and the members of the group {group} may capture"));
        }
        match plan.with.iter().find(|it| !self.settings.group_may.contains(it)) {
            Some(detail) => Err(format!("the group {group} may not see {} (capture.group_may)", detail.name())),
            None => Ok(()),
        }
    }

    /// Tells that somebody was refused; not more than a few times in a minute.
    fn refuse(&self, record: &Capture, why: &str) {
        let mut refused = lock(&self.refused);
        let (since, before) =
            refused.filter(|(since, _)| since.elapsed() < Duration::from_mins(1)).unwrap_or((Instant::now(), 0));
        let uncounted =
            refused.filter(|(at, count)| *at != since && *count > REFUSALS).map(|(_, count)| count - REFUSALS);
        *refused = Some((since, before.saturating_add(1)));
        drop(refused);
        if before < REFUSALS {
            let more = uncounted.map(|count| format!("; {count} more were refused before")).unwrap_or_default();
            self.tell("refused", &Capture { why: Some(format!("{why}{more}")), ..record.clone() });
        }
    }
}

/// Whether the peer is of a group, by its first group, or by name (group(5)).
fn is_member(group: &str, peer: Peer) -> io::Result<bool> {
    let (users, groups) = (fs::read_to_string("/etc/passwd")?, fs::read_to_string("/etc/group")?);
    let Some(fields) = groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|it| it[0] == group) else {
        return Ok(false);
    };
    let [_, _, gid, members] = fields[..] else { return Ok(false) };
    let users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let is_peer = |fields: &Vec<&str>| fields.get(2).and_then(|uid| uid.parse().ok()) == Some(peer.uid);
    let mut peers = users.filter(is_peer);
    let is_listed = peers.any(|user| members.split(',').any(|it| it == user[0]));
    Ok(is_listed || gid.parse() == Ok(peer.gid))
}

fn say(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn send(stream: &mut UnixStream, summary: &Summary, mut file: disk::File) -> io::Result<()> {
    let answer = Answer::Bundle {
        bytes: file.metadata()?.len(),
        manifest: text::hex(&summary.manifest),
        members: summary.members,
        member_bytes: summary.bytes,
        events: summary.events,
        left_out: summary.left_out,
    };
    say(stream, &answer)?;
    io::copy(&mut file, stream).map(drop)
}
