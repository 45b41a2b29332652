//! The desk for captures: who may ask for what, one at a time, and each of them in the log.
//!
//! At `capture.sock` anybody of this host may ask, and the kernel says who it is (SO_PEERCRED). The answer is a line of
//! JSON for each step, then the bundle: the agent writes nothing where a caller says.

mod ask;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use seal::text;

pub use ask::{Answer, Ask, SOCKET, serve};

use crate::{
    capture::{self, CaptureError, Detail, Limits, Plan, Progress, Sealed, Summary, Target, recorder::Plug},
    clock::Now,
    disk, pipeline,
    source::{self, Own},
    spool::{Next, Reader},
};

/// Captures run behind everything else (setpriority(2)).
const PRIORITY: i32 = 10;
/// How long the log may take to seal the record of a capture.
const PATIENCE: Duration = Duration::from_mins(2);
/// A rule that came while another capture ran may come again after this time.
const BUSY: Duration = Duration::from_secs(10);
/// Records that wait for the hot half.
const RECORDS: usize = 256;
/// Refusals that are told in a minute; further ones are counted.
const REFUSALS: u32 = 10;
/// The longest reason in a record.
const WHY: usize = 500;
/// The name of a bundle that nobody waits for ends so; that of one that is not whole, so.
const BUNDLE: &str = ".sigtrail";
const PART: &str = ".part";

/// What the settings say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where bundles are made.
    pub dir: PathBuf,
    /// Whose members may ask.
    pub group: Option<String>,
    /// For what.
    pub group_may: BTreeSet<Detail>,
    /// Who can read bundles.
    pub recipients: Vec<String>,
    /// How far back.
    pub before: Duration,
    /// How long.
    pub during: Duration,
    /// How much.
    pub with: BTreeSet<Detail>,
    /// How long it may take.
    pub max_time: Duration,
    /// Bytes of members.
    pub max_bytes: u64,
    /// Bytes of memory of a process.
    pub memory_bytes: u64,
    /// Bytes read in a second.
    pub read_rate: u64,
    /// Bundles that are kept.
    pub keep: usize,
    /// How often a rule may capture.
    pub rule_every: Duration,
    /// Where the keys, the spool and the line of the host key are.
    pub state_dir: PathBuf,
    /// The spool.
    pub spool: PathBuf,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: u32,
    gid: u32,
    pid: u32,
}

/// A rule that captured: until when it does not, and how often it was left out since.
#[derive(Debug)]
struct Ruled {
    until: Instant,
    left_out: u64,
}

/// What a thread of the desk does. There are never more than conversations, and one capture.
pub type Job = Box<dyn FnOnce() + Send>;

/// Starts a thread for each job, until the desk is closed. They have the rights of this thread, and not those of who has
/// something to do: the delivery could look into no process.
pub fn work(jobs: &mpsc::Receiver<Job>) {
    for job in jobs {
        let job = Arc::new(Mutex::new(Some(job)));
        let same = job.clone();
        if let Err(error) = thread::Builder::new().name("capture".into()).spawn(move || begin(&same)) {
            tracing::warn!(%error, "captures wait for each other");
            begin(&job);
        }
    }
}

/// Does a job, unless that was done.
fn begin(job: &Mutex<Option<Job>>) {
    let job = lock(job).take();
    if let Some(job) = job {
        job();
    }
}

/// All that captures share.
#[derive(Debug, Default)]
pub struct Desk {
    settings: Settings,
    plug: Plug,
    work: Mutex<Option<mpsc::Sender<Job>>>,
    status: Arc<Mutex<pipeline::Status>>,
    stop: Arc<AtomicBool>,
    records: Mutex<VecDeque<Own>>,
    is_busy: AtomicBool,
    /// Conversations.
    talks: AtomicUsize,
    rules: Mutex<BTreeMap<String, Ruled>>,
    /// Refusals of this minute: since when, how many.
    refused: Mutex<Option<(Instant, u32)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// A desk, whose jobs are done by [`work`]. What an agent left half-written is removed.
    pub fn open(
        settings: Settings,
        plug: Plug,
        work: mpsc::Sender<Job>,
        status: Arc<Mutex<pipeline::Status>>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        disk::make_dir(&settings.dir, 0o700)?;
        for name in disk::names(&settings.dir)? {
            if name.to_str().is_some_and(|name| name.ends_with(PART)) {
                disk::remove_if_there(&settings.dir.join(name))?;
            }
        }
        Ok(Self { settings, plug, work: Mutex::new(Some(work)), status, stop, ..Self::default() })
    }

    /// Nothing more is done.
    pub fn close(&self) {
        lock(&self.work).take();
    }

    /// Has a thread do it. Whether there is one.
    fn employ(&self, job: impl FnOnce() + Send + 'static) -> bool {
        lock(&self.work).as_ref().is_some_and(|work| work.send(Box::new(job)).is_ok())
    }

    /// Records that are to be sealed.
    pub fn take(&self) -> Vec<Own> {
        lock(&self.records).drain(..).collect()
    }

    /// The rule of an event wants a capture of its process. This is the hot thread: it does not wait.
    pub fn rule(self: &Arc<Self>, rule: &str, pid: u32) {
        let target = Target::Pid(pid);
        let mut record = Self::record("rule", &target, &self.settings.with);
        record.rule = Some(rule.to_owned());
        let now = Instant::now();
        let mut rules = lock(&self.rules);
        if let Some(before) = rules.get_mut(rule).filter(|it| now < it.until) {
            before.left_out += 1;
            if before.left_out == 1 {
                record.why =
                    Some("the rule captured not long ago (capture.rule_every); further ones are counted".into());
                self.tell("left_out", &record);
            }
            return;
        }
        let left_out = rules.get(rule).map_or(0, |it| it.left_out);
        if left_out > 1 {
            record.why = Some(format!("before this, {left_out} captures of the rule were left out"));
        }
        let pause =
            if self.start(target, record) { self.settings.rule_every } else { BUSY.min(self.settings.rule_every) };
        rules.insert(rule.to_owned(), Ruled { until: now + pause, left_out: 0 });
    }

    /// A signal wants a capture of everything.
    pub fn signal(self: &Arc<Self>) {
        let record = Self::record("signal", &Target::All, &self.settings.with);
        if self.start(Target::All, record) {
            tracing::info!("a signal asks for a capture");
        }
    }

    /// Captures as the settings say, on a thread of its own, into the directory of captures. Whether it does.
    fn start(self: &Arc<Self>, target: Target, record: source::Capture) -> bool {
        let Some(turn) = self.turn() else {
            let why = Some("another capture runs".to_owned());
            self.tell("left_out", &source::Capture { why, ..record });
            return false;
        };
        let desk = self.clone();
        let failed = record.clone();
        let is_begun = self.employ(move || {
            let _turn = turn;
            desk.keep(target, record);
        });
        if !is_begun {
            self.tell("failed", &source::Capture { why: Some("the agent ends".to_owned()), ..failed });
        }
        is_begun
    }

    fn keep(&self, target: Target, record: source::Capture) {
        let settings = &self.settings;
        let plan = Plan {
            target,
            before: settings.before,
            during: settings.during,
            with: settings.with.clone(),
            files: Vec::new(),
            recipients: settings.recipients.clone(),
        };
        let time = text::time(Now::read().map_or(0, |now| now.wall));
        let name = format!("case-{}-{}", time.replace([':', '-', 'Z'], "").replace('.', "-"), record.by);
        let path = settings.dir.join(format!("{name}{BUNDLE}"));
        let part = settings.dir.join(format!("{name}{PART}"));
        let kept = Some(path.display().to_string());
        let made = self.capture(&plan, &part, &record, kept, &mut |_| true).and_then(|summary| {
            disk::rename(&part, &path)?;
            disk::sync_dir(&settings.dir)?;
            Ok(summary)
        });
        match made {
            Ok(_) => tracing::info!(path = %path.display(), "captured"),
            Err(error) => {
                tracing::error!(%error, "a capture failed");
                Self::remove(&part);
                self.tell("failed", &source::Capture { why: Some(error.to_string()), ..record });
            }
        }
        if let Err(error) = self.tidy() {
            tracing::warn!(%error, "older bundles stay");
        }
    }

    /// Removes the oldest bundles that are more than wanted.
    fn tidy(&self) -> io::Result<()> {
        let names = disk::names(&self.settings.dir)?.into_iter().filter_map(|name| name.into_string().ok());
        let mut names: Vec<_> = names.filter(|it| it.starts_with("case-") && it.ends_with(BUNDLE)).collect();
        names.sort_unstable();
        let more = names.len().saturating_sub(self.settings.keep);
        names[..more].iter().try_for_each(|name| disk::remove_if_there(&self.settings.dir.join(name)))
    }

    fn remove(part: &Path) {
        if let Err(error) = disk::remove_if_there(part) {
            tracing::warn!(%error, path = %part.display(), "a part of a bundle stays until the next start");
        }
    }

    /// Captures into a file, with a record of its begin and of its end.
    fn capture(
        &self,
        plan: &Plan,
        part: &Path,
        record: &source::Capture,
        bundle: Option<String>,
        tell: &mut dyn FnMut(Progress<'_>) -> bool,
    ) -> Result<Summary, CaptureError> {
        if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
            tracing::debug!(%error, "a capture has the priority of the agent");
        }
        let settings = &self.settings;
        self.tell("begun", record);
        let limits = Limits {
            // a bundle takes at most half of what is free
            bytes: settings.max_bytes.min(disk::space(&settings.dir)?.free / 2),
            memory_bytes: settings.memory_bytes,
            read_rate: settings.read_rate,
            time: settings.max_time,
            secret: settings.state_dir.clone(),
        };
        let tap = self.plug.tap();
        let items = vec![("host/bpf.ndjson".to_owned(), "bpf(2)".to_owned(), Ok(source::listing().into_bytes()))];
        disk::remove_if_there(part)?;
        let file = disk::create_new(part, 0o600)?;
        let seal = |summary: &Summary| {
            let after = lock(&self.status).last_batch;
            let manifest = text::hex(&summary.manifest);
            let made = source::Made {
                manifest: manifest.clone(),
                members: (summary.members, summary.bytes),
                events: summary.events,
                left_out: summary.left_out,
                bundle,
            };
            self.tell("done", &source::Capture { made: Some(made), ..record.clone() });
            self.sealed(after, &manifest)
        };
        let mut going = |progress: Progress<'_>| !self.stop.load(Ordering::Acquire) && tell(progress);
        capture::capture(plan, &limits, file, &tap, items, seal, &mut going)
    }

    /// Waits for the batch that has a record of this manifest.
    fn sealed(&self, after: Option<u64>, manifest: &str) -> Result<Sealed, CaptureError> {
        let failed = |error: &dyn std::fmt::Display| CaptureError::Unsealed(error.to_string());
        let mut reader = Reader::open(&self.settings.spool, after);
        let end = Instant::now() + PATIENCE;
        loop {
            match reader.next().map_err(|error| failed(&error))? {
                Next::Batch(batch) if memchr::memmem::find(&batch.bytes, manifest.as_bytes()).is_some() => {
                    let vkey =
                        disk::read(&self.settings.state_dir.join("host.vkey")).map_err(|error| failed(&error))?;
                    return Ok(Sealed { batch: batch.bytes.to_vec(), vkey });
                }
                Next::Batch(_) | Next::Gap { .. } => {}
                Next::Nothing if Instant::now() > end => return Err(failed(&"it was not sealed in time")),
                Next::Nothing => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Begins a record.
    fn record(by: &'static str, target: &Target, with: &BTreeSet<Detail>) -> source::Capture {
        let with = with.iter().map(|it| it.name()).collect();
        source::Capture { by, target: target.to_string(), with, ..source::Capture::default() }
    }

    /// Gives a record to the hot half.
    fn tell(&self, result: &'static str, record: &source::Capture) {
        let mut record = source::Capture { result, ..record.clone() };
        if let Some(why) = &mut record.why {
            why.truncate(why.floor_char_boundary(WHY));
        }
        let mut records = lock(&self.records);
        if records.len() < RECORDS {
            records.push_back(Own::Capture(Box::new(record)));
            self.plug.nudge();
        } else {
            tracing::error!(?record, "a record of a capture finds no room");
        }
    }

    /// The turn of a capture, if no other has it.
    fn turn(self: &Arc<Self>) -> Option<Turn> {
        let is_free = self.is_busy.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        is_free.then(|| Turn(self.clone()))
    }
}

/// One capture has it at a time.
#[derive(Debug)]
struct Turn(Arc<Desk>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}
