//! Starts the parts, waits for signals, stops the parts in order.
//!
//! ```text
//! hot thread: pipeline::run      this thread: one task per sink, the control socket, signals
//! SIGTERM ─▶ pipeline stops, seals `stop` ─▶ sinks get the last batches ─▶ end
//! ```

pub mod capture;
mod confine;
pub mod control;
mod guard;
pub mod metrics;
mod notify;
mod parts;
mod progress;
pub mod rights;
mod scrape;
mod translate;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use nix::errno::Errno;
use seal::Vkey;
use thiserror::Error;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use self::{
    capture::Desk,
    confine::{confine, harden, hurry},
    notify::Notify,
    parts::Parts,
    progress::Progress,
    rights::{Half, RightsError},
};
use crate::{
    capture::recorder::Recorder,
    clock::Now,
    config::{self, Config},
    deliver::{self, Orders, Pace, Receipts, Way},
    disk,
    enrich::{self, Enrich, EnrichError},
    keys::{Keys, KeysError},
    pipeline::{self, Front, Log, LogError, PipelineError, SelfTest, Shed, Status, Ties},
    policy::{Policy, PolicyError},
    record::{Judgement, Record},
    sink::{Sink, SinkError},
    source::{self, Attached, Family, Kernel, Options, Own, Source, SourceError, Succession, pin::Pins},
    spool::{self, Damage, SpoolError},
};

/// Why the agent did not start, or ended before it was told to.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The kernel half.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The process table.
    #[error(transparent)]
    Enrich(#[from] EnrichError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The hot half.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A sink's settings.
    #[error("sink {name}: {source}")]
    Sink {
        /// The sink.
        name: String,
        /// Why.
        source: SinkError,
    },
    /// The cursor of a sink.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The system refused.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// Capabilities are missing.
    #[error(transparent)]
    Rights(#[from] RightsError),
    /// A part ended by a panic: a bug.
    #[error("{0} ended by a bug: please report the message above")]
    Panic(&'static str),
}

impl From<Errno> for DaemonError {
    fn from(error: Errno) -> Self {
        Self::System { doing: "preparing the process".into(), source: error.into() }
    }
}

fn system(doing: &str) -> impl FnOnce(io::Error) -> DaemonError {
    let doing = doing.to_owned();
    move |source| DaemonError::System { doing, source }
}

/// Shows a record to a person, from the hot thread.
pub type Show = Box<dyn FnMut(&Record<'_>, Judgement<'_>, &str) + Send>;

/// Runs until SIGTERM or SIGINT. `file`: where the config was read from.
pub fn run(config: &Config, file: Option<&Path>, show: Option<Show>) -> Result<(), DaemonError> {
    harden()?;
    let missing = rights::missing()?;
    // keys are not made for a policy that makes no sense
    policy(config)?;
    if enrol_if_new(config)? {
        tracing::info!(state = %config.state_dir.display(), "made new keys: this host's log begins");
    }
    let policy = guarded(config, file)?;
    let now = Now::read()?;
    let mut log = Log::open(translate::log_options(config), now)?;
    let boot = boot_id()?;
    let stay = translate::stay(config, &log, &boot);
    let kernel = Succession::open(&Options { stay, ..translate::options(config, &policy) })?;
    let enrich = Enrich::prime(enrich::Options::new(boot))?;
    begin(&mut log, &kernel, &policy, now)?;
    missing.iter().try_for_each(|need| log.own(&need.degraded(), now))?;
    let pressed = kernel.line.back().map(Kernel::pressed).unwrap_or_default();
    let shed = Shed::new(pressed, config.kernel.cgroup_events_per_second);
    let front = Front::new(Source::Kernel(kernel.line), enrich, policy, now);
    let poll = Duration::from_millis(u64::from(config.kernel.poll_ms));
    let (recorder, plug) = Recorder::new(translate::recorder(config)).map_err(system("making the recorder"))?;
    let parts = Parts::default();
    let captures = translate::captures(config);
    let (work, jobs) = mpsc::channel();
    let desk = Desk::open(captures, plug, work, parts.status.clone(), parts.stop.clone());
    let parts = Parts {
        desk: Arc::new(desk.map_err(system("opening the directory of captures"))?),
        scratch: config.runtime_dir.as_path().into(),
        receipts: Receipts::open(&translate::spool_dir(config)),
        service: Arc::new(Mutex::new(Notify::from_env())),
        ..parts
    };
    let sinks = translate::sinks(config, log.origin())?;
    let progress = watched(config, &parts, &sinks);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        // a sink does one thing at a time, and a file sink tidies up; more threads only hold more memory
        .max_blocking_threads(2 * sinks.len().max(1))
        .build();
    let runtime = runtime.map_err(system("starting the delivery"))?;
    thread::scope(|scope| {
        let delivery = thread::Builder::new().name("delivery".into()).spawn_scoped(scope, || {
            parts.unconfined(confine(Half::Delivery, config, file));
            let ended = runtime.block_on(cold(config, file, sinks, &parts));
            parts.stop.store(true, Ordering::Release);
            ended
        });
        let delivery = delivery.map_err(system("starting the delivery"))?;
        let captures = thread::Builder::new().name("captures".into()).spawn_scoped(scope, {
            let parts = &parts;
            move || {
                parts.unconfined(confine(Half::Captures, config, file));
                capture::work(&jobs);
            }
        });
        if let Err(error) = captures {
            tracing::error!(%error, "nothing will be captured");
        }
        // here, because the allocator of libc keeps for a thread what it freed: what loading took is used again
        hurry();
        parts.unconfined(confine(Half::Hot, config, file));
        let ended = hot(front, log, poll, &parts, &progress, show, (shed, recorder));
        let delivered = delivery.join();
        parts.desk.close();
        delivered.map_err(|_| DaemonError::Panic("the delivery"))??;
        Ok(ended?)
    })
}

/// The hot half, on its thread.
fn hot(
    front: Front,
    log: Log,
    poll: Duration,
    parts: &Parts,
    progress: &Progress,
    mut show: Option<Show>,
    (shed, recorder): (Shed, Recorder),
) -> Result<(), PipelineError> {
    let service = parts.service.clone();
    let alive = move |status: &Status| service.lock().unwrap_or_else(PoisonError::into_inner).alive(status);
    let test = notify::watchdog().map(|time| SelfTest::new(self_test(&parts.scratch), time / 2, Box::new(alive)));
    let mut is_reloading = false;
    let ties = Ties {
        test,
        stop: &parts.stop,
        why: &parts.why,
        leave: &parts.leave,
        scratch: &parts.scratch,
        announce: &mut |number| {
            parts.head.send_replace(Some(number));
            parts.service().durable(number);
        },
        gaps: &mut || parts.gaps.take(),
        receipts: &mut || parts.receipts.take(),
        released: &mut || progress.released(),
        late: &mut |wall| progress.late(wall),
        shed,
        recorder,
        told: &mut || parts.desk.take(),
        capture: &mut |rule, pid| parts.desk.rule(rule, pid),
        policy: &mut || {
            let next = parts.policy.lock().unwrap_or_else(PoisonError::into_inner).take();
            // the one before was taken when this is asked again
            if std::mem::replace(&mut is_reloading, next.is_some()) && next.is_none() {
                parts.service().reloaded("the policy was read again");
            }
            next
        },
        show: show.as_mut().map(|show| show.as_mut() as pipeline::Show<'_>),
        status: &parts.status,
    };
    let ended = pipeline::run(front, log, poll, ties);
    parts.over.send_replace(true);
    ended
}

/// The cold half: sinks, control socket, signals.
async fn cold(config: &Config, file: Option<&Path>, sinks: Vec<Sink>, parts: &Parts) -> Result<(), DaemonError> {
    let orders = watch::Sender::new(Orders::default());
    let mut deliveries = tokio::task::JoinSet::new();
    let states = parts.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (sink, (_, status)) in sinks.into_iter().zip(states) {
        let way = Way {
            spool: translate::spool_dir(config),
            head: parts.head.subscribe(),
            orders: orders.subscribe(),
            status,
            gaps: parts.gaps.clone(),
            receipts: parts.receipts.clone(),
            pace: Pace::default(),
        };
        deliveries.spawn(deliver::run(sink, way));
    }
    let view = control::View { status: parts.status.clone(), sinks: parts.sinks.clone() };
    let control = control::serve(config.runtime_dir.join(control::SOCKET), view.clone());
    let metrics = scrape::serve(config.runtime_dir.join(scrape::SOCKET), config.metrics.address(), view);
    let mut answers = tokio::task::JoinSet::new();
    answers.spawn(async { ("`sigtrail status`", control.await) });
    answers.spawn(async { ("`/metrics`", metrics.await) });
    let captures = capture::serve(config.runtime_dir.join(capture::SOCKET), parts.desk.clone());
    answers.spawn(async { ("`sigtrail capture`", captures.await) });
    let doing = "waiting for signals";
    let mut terminate = signal(SignalKind::terminate()).map_err(system(doing))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system(doing))?;
    let mut leave = signal(SignalKind::user_defined2()).map_err(system(doing))?;
    let mut snap = signal(SignalKind::user_defined1()).map_err(system(doing))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system(doing))?;
    let mut over = parts.over.subscribe();
    let stop = |why| {
        parts.service().stopping();
        *parts.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        parts.stop.store(true, Ordering::Release);
    };
    while !*over.borrow_and_update() {
        tokio::select! {
            _ = terminate.recv() => stop("SIGTERM"),
            _ = interrupt.recv() => stop("SIGINT"),
            _ = leave.recv() => {
                parts.leave.store(true, Ordering::Release);
                stop("SIGUSR2");
            }
            _ = snap.recv() => parts.desk.signal(),
            _ = hangup.recv() => {
                orders.send_modify(|orders| orders.reopen += 1);
                reload(config, file, parts);
            }
            changed = over.changed() => if changed.is_err() { break },
            Some(ended) = answers.join_next() => match ended {
                Ok((what, Err(error))) => tracing::warn!(%error, "{what} will not be answered"),
                Ok((_, Ok(()))) => {}
                Err(error) => tracing::warn!(%error, "who asks for the state is not answered any more"),
            },
        }
    }
    orders.send_modify(|orders| orders.stop = true);
    while let Some(ended) = deliveries.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a delivery failed"),
            Err(_) => return Err(DaemonError::Panic("a delivery")),
        }
    }
    Ok(())
}

/// Reads the policy files anew. A policy that makes no sense is refused: the one that holds stays.
fn reload(config: &Config, file: Option<&Path>, parts: &Parts) {
    parts.service().reloading();
    match guarded(config, file) {
        Ok(policy) => {
            let wanted = translate::wanted(config, &policy);
            *parts.policy.lock().unwrap_or_else(PoisonError::into_inner) = Some((policy, wanted));
        }
        Err(error) => {
            tracing::error!("the policy stays as it was; the new one is refused: {error}");
            parts.service().reloaded("the policy stays as it was: the new one is refused");
        }
    }
}

/// The first records of a run: what it is, what it watches, what it lacks, what was before.
fn begin(log: &mut Log, line: &Succession, policy: &Policy, now: Now) -> Result<(), DaemonError> {
    let Some(kernel) = line.line.back() else { return Ok(()) };
    if let Some(recovered) = log.take_recovered() {
        log.own(&recovered, now)?;
    }
    for handover in &line.told {
        log.own(handover, now)?;
    }
    let running = kernel.attached().iter().filter(|it| it.failed.is_none()).map(|it| it.program.name);
    let running: BTreeSet<_> = running.collect();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let start = Own::Start {
        version: env!("CARGO_PKG_VERSION"),
        kernel: release.trim().to_owned(),
        family: kernel.family().name(),
        hooks: running.into_iter().collect(),
        missing: kernel.missing().to_vec(),
        pinned: kernel.is_pinned(),
        unpinned: kernel.unpinned().map(str::to_owned),
        no_lsm: kernel.lsm().map(str::to_owned),
    };
    log.own(&start, now)?;
    log.own(&Own::Policy { text: policy.text().to_owned() }, now)?;
    let degraded: Vec<_> = kernel.attached().iter().filter_map(Attached::degraded).collect();
    Ok(degraded.iter().try_for_each(|it| log.own(it, now))?)
}

/// The file by which the agent tests itself.
fn self_test(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("selftest")
}

/// The policy of the config behind the rules that protect the agent itself.
fn guarded(config: &Config, file: Option<&Path>) -> Result<Policy, PolicyError> {
    let test = notify::watchdog().map(|_| self_test(&config.runtime_dir));
    Policy::load_behind(Some(&guard::rules(config, file, test.as_deref())), &config.policy)
}

/// The policy of the config, or the built-in one.
pub fn policy(config: &Config) -> Result<Policy, PolicyError> {
    Policy::load(&config.policy)
}

/// Loads the kernel half with what the policy leaves to it. `family`: in place of the best one, for tests.
pub fn open_kernel(config: &Config, policy: &Policy, family: Option<Family>) -> Result<Kernel, SourceError> {
    Kernel::open(&Options { family, ..translate::options(config, policy) })
}

/// Keeps agents of this configuration from starting, and fails when one runs.
fn alone(config: &Config) -> Result<Option<disk::File>, DaemonError> {
    match Keys::hold(&config.state_dir) {
        // without keys there is no agent
        Err(KeysError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        held => Ok(Some(held.map_err(LogError::Keys)?)),
    }
}

/// Where the spool is.
pub fn spool_dir(config: &Config) -> PathBuf {
    translate::spool_dir(config)
}

/// Moves what is damaged in the spool into its quarantine. Returns what was damaged, and the files that hold it.
pub fn repair_spool(config: &Config) -> Result<(Vec<Damage>, Vec<PathBuf>), DaemonError> {
    let _lock = alone(config)?;
    let options = translate::log_options(config).spool;
    let damage = spool::damage(&options.dir)?;
    let kept = spool::repair(&options, &damage)?;
    Ok((damage, kept))
}

/// Removes what an agent left in the kernel that ended without a stop. Returns how many loads there were.
pub fn detach(config: &Config) -> Result<usize, DaemonError> {
    let _lock = alone(config)?;
    let removed = source::detach(&Pins::of(&config.state_dir), &config.runtime_dir);
    removed.map_err(|source| DaemonError::System { doing: "removing pinned programs".into(), source })
}

/// The id of this boot.
pub fn boot_id() -> Result<String, DaemonError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| DaemonError::System { doing: format!("reading {path}"), source })?;
    Ok(text.trim().to_owned())
}

/// Makes keys and the first batch when there are none. Returns whether it did.
pub fn enrol_if_new(config: &Config) -> Result<bool, DaemonError> {
    match enrol(config, false) {
        Ok(_) => Ok(true),
        Err(DaemonError::Log(LogError::Keys(KeysError::Enrolled(_)))) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes keys and the first batch. Returns the enrolment note. `again`: a log that is there ends, and another begins.
pub fn enrol(config: &Config, again: bool) -> Result<String, DaemonError> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.map_err(|source| DaemonError::System { doing: "reading the host name".into(), source })?;
    let mut origin = config.origin.clone().unwrap_or_else(|| format!("{}/sigtrail", host.trim()));
    if again
        && let Some(before) = Keys::origin(&config.state_dir).map_err(LogError::Keys)?
        && (config.origin.is_none() || before == origin)
    {
        origin = pipeline::following(&before);
    }
    Ok(Log::enrol(translate::log_options(config), &origin, again, Now::read()?)?)
}

/// Makes a host key that takes the place of the one in use with the next batch of the running agent.
pub fn rotate(config: &Config) -> Result<Vkey, DaemonError> {
    Ok(Keys::make_next(&config.state_dir).map_err(LogError::Keys)?)
}

/// The state of each sink, for all who ask for it.
fn watched(config: &Config, parts: &Parts, sinks: &[Sink]) -> Progress {
    let mut progress = Progress::default();
    let mut states = parts.sinks.lock().unwrap_or_else(PoisonError::into_inner);
    for (sink, written) in sinks.iter().zip(&config.sinks) {
        let state = Arc::new(deliver::Status::default());
        let (required, max_lag) = match written {
            config::Sink::File(file) => (file.required, file.max_lag),
            config::Sink::Http(http) => (http.required, http.max_lag),
            config::Sink::Nats(nats) => (nats.required, nats.max_lag),
            config::Sink::S3(s3) => (s3.required, s3.max_lag),
        };
        progress.add(sink.name().to_owned(), state.clone(), required, max_lag);
        states.push((sink.name().to_owned(), state));
    }
    progress
}
