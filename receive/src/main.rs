//! The receiver's command line: starts the parts, waits for signals, stops.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{CommandFactory as _, Parser};
use clap_complete::Shell;
use clap_mangen::Man;
use receive::{
    alarm::Alarms,
    hosts::{Hosts, Mode},
    key,
    serve::{Shared, serve},
    store::make_dir,
    tls,
    trust::Trust,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing_subscriber::{EnvFilter, fmt};

/// Receives sealed logs of sigtrail: verifies, keeps and cosigns them
///
/// SIGHUP reads trust file, enrolment notes and certificates anew. SIGTERM and SIGINT end it.
#[derive(Debug, Parser)]
#[command(name = "sigtrail-receive", version)]
struct Options {
    /// Directory of the logs, the key of the witness and the alarms
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Name of the witness: a URL without its scheme, for example receiver.example.org/sigtrail
    #[arg(long)]
    name: String,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Certificate chain of the server, in PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Certificates that sign those of clients, in PEM; with it a client must show one
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Host keys, fleet keys, logs and client certificates: docs/receiver.md
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Directory of enrolment notes (*.note) that a fleet key signed
    #[arg(long, value_name = "DIR")]
    enrolments: Option<PathBuf>,
    /// What becomes of hosts that nobody vouches for
    #[arg(long, value_enum, default_value_t = Mode::Provisioned)]
    mode: Mode,
    /// Make a key that takes the place of the witness's at the next start, print its public half, and end
    #[arg(long)]
    rotate_key: bool,
    /// Seconds without a delivery after which a host is silent
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    silence: u64,
    /// Most bytes of a body, packed and unpacked
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    max_body: usize,
    /// Most connections at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 1024)]
    max_connections: usize,
}

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    // for packages: no option, because those that are required would be asked for
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if let [verb, out, date] = &words[..]
        && verb == "pages"
    {
        return match pages(Path::new(out), &date.to_string_lossy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("sigtrail-receive: writing {}: {error}", out.display());
                ExitCode::FAILURE
            }
        };
    }
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(3) } else { ExitCode::SUCCESS };
            return if error.print().is_ok() { code } else { ExitCode::from(3) };
        }
    };
    let filter = EnvFilter::try_from_env("SIGTRAIL_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,receive=info,sigtrail_receive=info"));
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(false).init();
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sigtrail-receive: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes man page and completions into a directory.
fn pages(out: &Path, date: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Options::command(), "sigtrail-receive", out)?;
    }
    let page = Man::new(Options::command()).section("8").date(date).manual("sigtrail");
    page.source(concat!("sigtrail ", env!("CARGO_PKG_VERSION"))).generate_to(out)?;
    Ok(())
}

async fn run(options: &Options) -> Result<(), Failed> {
    make_dir(&options.state_dir)?;
    if options.rotate_key {
        writeln!(std::io::stdout(), "{}", key::rotate(&options.state_dir, &options.name)?)?;
        return Ok(());
    }
    let held = key::lock(&options.state_dir)?;
    let witness = key::witness(&options.state_dir, &options.name)?;
    let vkey = witness.key().to_string();
    let alarms = Alarms::new(options.state_dir.join("alarms.ndjson"));
    let hosts = Hosts::open(options.state_dir.clone(), options.mode, trust(options)?, witness, alarms)?;
    let shared = Arc::new(Shared::new(hosts, options.max_body));
    let (tls, configs) = watch::channel(certificates(options)?);
    let listener = TcpListener::bind(options.listen).await?;
    tracing::info!(address = %listener.local_addr()?, witness = vkey, "receiving");

    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(listener, configs, shared.clone(), options.max_connections, stopped));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let limit = Duration::from_secs(options.silence);
    let mut look = interval((limit / 10).min(Duration::from_secs(1)));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(options, &shared, &tls),
            _ = look.tick() => {
                let shared = shared.clone();
                tokio::task::spawn_blocking(move || shared.hosts.watch(limit)).await?;
            }
        }
    }
    tracing::info!("ending");
    stop.send_replace(true);
    server.await?;
    drop(held);
    Ok(())
}

fn trust(options: &Options) -> Result<Trust, Failed> {
    Ok(Trust::load(options.trust.as_deref(), options.enrolments.as_deref())?)
}

fn certificates(options: &Options) -> Result<Arc<rustls::ServerConfig>, Failed> {
    Ok(tls::config(&options.cert, &options.key, options.client_ca.as_deref().map(Path::new))?)
}

/// Takes over what the files say now; what makes no sense changes nothing.
fn reload(options: &Options, shared: &Shared, tls: &watch::Sender<Arc<rustls::ServerConfig>>) {
    let believed = trust(options).and_then(|trust| Ok(shared.hosts.believe(trust)?));
    let shown = certificates(options).map(|config| tls.send_replace(config));
    for error in [believed.err(), shown.err()].into_iter().flatten() {
        tracing::error!(%error, "what was in force stays in force");
    }
}
