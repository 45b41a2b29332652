//! `sigtrail tail`: what happens on this host, live.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{Event, Kind};

use super::{paint::Paint, print::Printer, trouble::Trouble};
use crate::{
    clock::Now,
    config::{self, Config},
    daemon,
    enrich::{Enrich, Options},
    pipeline::Front,
    policy::Policy,
    record::{Verdict, json},
    source::{Family, Replay, Source, replay},
};

/// Show what happens, live.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files in place of the built-in policy
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// Show every event, whatever a policy says
    #[arg(long, conflicts_with = "policy")]
    all: bool,
    /// Show these kinds only
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// Records as JSON, as they stand in the log
    #[arg(long)]
    json: bool,
    /// Show a recorded stream in place of this host: its times count from 1970, names are those that events tell
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Keep the events as a stream for `--replay`, as the kernel half sends them, and show nothing
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// How programs read kernel memory, in place of the best way
    #[arg(long, hide = true, value_parser = family)]
    family: Option<Family>,
    /// Let all events come to the user half, and let the policy decide there alone
    #[arg(long, hide = true)]
    no_push: bool,
    /// End after this time, as in `10s`
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
}

fn time(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| format!("`{text}` is no time; write 10s, 500ms or 2m"))
}

fn family(text: &str) -> Result<Family, String> {
    let known = || Family::ALL.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ");
    let found = Family::ALL.iter().copied().find(|family| family.name() == text);
    found.ok_or_else(|| format!("`{text}` is no family; there are {}", known()))
}

/// The policy of `--all`.
const ALL: &str = "version: 1\ndefault: keep\n";

pub(super) fn run(args: &Args) -> Result<(), Trouble> {
    let mut config = Config { policy: args.policy.clone(), ..Config::default() };
    config.kernel.push_down = !args.no_push;
    super::log::start(&config.log);
    let kinds = kinds(&args.kind)?;
    let policy = if args.all {
        Policy::parse(&[("--all", ALL)]).map_err(crate::policy::PolicyError::Wrong)?
    } else {
        daemon::policy(&config)?
    };
    let mut source = match &args.replay {
        Some(path) => Source::Replay(Replay::open(path)?),
        None => Source::Kernel([daemon::open_kernel(&config, &policy, args.family)?].into()),
    };
    for attached in source.kernel().iter().flat_map(|kernel| kernel.attached()) {
        if let Some(why) = &attached.failed {
            eprintln!("sigtrail: {} is not attached: {why}", attached.program.name);
        }
    }
    let end = args.time.map(|time| Instant::now() + time);
    if let Some(path) = &args.record {
        return record(&mut source, path, &kinds, end);
    }
    let (enrich, now) = match args.replay {
        // the same lines wherever and whenever it is shown
        Some(_) => (Enrich::of_events()?, Now { boot: 0, wall: 0 }),
        None => (Enrich::prime(Options::new(daemon::boot_id()?))?, Now::read().map_err(daemon::DaemonError::from)?),
    };
    let mut front = Front::new(source, enrich, policy, now);
    let mut printer = Printer::new(Paint::stdout());
    let mut line = Vec::new();
    eprintln!("sigtrail: watching; end with Ctrl-C");
    while end.is_none_or(|end| Instant::now() < end) {
        let mut out = std::io::stdout().lock();
        let mut failed = None;
        let empty = front.drain(|record, judgement, time, _| {
            if judgement.verdict == Verdict::Drop || !kinds.is_empty() && !kinds.contains(&record.event.kind()) {
                return ControlFlow::Continue(());
            }
            let written = if args.json {
                line.clear();
                json::line(record, judgement, time, &mut line);
                line.push(b'\n');
                out.write_all(&line)
            } else {
                out.write_all(printer.line(record, judgement, time).as_bytes())
            };
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = failed.or(out.flush().err()) {
            return Err(Trouble::Output(error));
        }
        drop(out);
        if empty {
            if args.replay.is_some() {
                break;
            }
            front.wait(Duration::from_millis(50))?;
        }
        front.follow(Now::read().map_err(daemon::DaemonError::from)?);
    }
    front.detach();
    let sequences = front.sequences()?;
    let empty = front.drain(|_, _, _, _| ControlFlow::Continue(()));
    let closed = front.close(sequences, empty)?;
    if closed.lost > 0 {
        eprintln!("sigtrail: {} events were lost", closed.lost);
    }
    Ok(())
}

/// Keeps the events of some kinds, or of all.
fn record(source: &mut Source, path: &Path, kinds: &[Kind], end: Option<Instant>) -> Result<(), Trouble> {
    let failed = |source| Trouble::File { doing: "writing", path: path.into(), source };
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    eprintln!("sigtrail: recording; end with Ctrl-C");
    while end.is_none_or(|end| Instant::now() < end) {
        let mut written = Ok(());
        let empty = source.drain(|bytes| {
            let wanted = |event: Event<'_>| kinds.is_empty() || kinds.contains(&event.kind());
            // what is no event is kept, too: it is the more telling
            if Event::decode(bytes).map_or(true, wanted) {
                written = replay::record(bytes, &mut out);
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        written.and_then(|()| out.flush()).map_err(failed)?;
        if empty {
            source.wait(Duration::from_millis(50))?;
        }
    }
    Ok(())
}

fn kinds(names: &[String]) -> Result<Vec<Kind>, Trouble> {
    let find = |name: &String| {
        Kind::from_name(name).ok_or_else(|| {
            let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            Trouble::Usage(format!("`{name}` is no kind; there are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}
