//! What the kernel half says about itself, for those who work on it: its log messages become ours.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};

/// Name of the constant in the object that says how much is said (see aya-log).
pub const LEVEL: &str = "AYA_LOG_LEVEL";

/// How much the kernel half says: all, or nothing at all. What is not said costs nothing: the kernel removes it at load.
pub fn level(speaks: bool) -> u8 {
    if speaks { Level::Trace as u8 } else { 0 }
}

/// Takes the messages out of the kernel half.
pub struct Speech(EbpfLogger<ToTracing>);

impl Speech {
    /// The messages of an object; `None` when they cannot be read, which is said.
    pub fn of(ebpf: &mut Ebpf) -> Option<Self> {
        match EbpfLogger::init_with_logger(ebpf, ToTracing) {
            Ok(logger) => Some(Self(logger)),
            Err(error) => {
                tracing::warn!(%error, "the kernel half cannot be heard");
                None
            }
        }
    }

    /// Logs what was said since the last call.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

/// Hands messages on to tracing.
struct ToTracing;

impl Log for ToTracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        match record.level() {
            Level::Error => tracing::error!("kernel half: {}", record.args()),
            Level::Warn => tracing::warn!("kernel half: {}", record.args()),
            Level::Info => tracing::info!("kernel half: {}", record.args()),
            Level::Debug => tracing::debug!("kernel half: {}", record.args()),
            Level::Trace => tracing::trace!("kernel half: {}", record.args()),
        }
    }

    fn flush(&self) {}
}
