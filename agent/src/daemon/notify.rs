//! What the service manager is told (sd_notify(3)), and its watchdog.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing of it happens.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    time::Duration,
};

use crate::{clock::Now, pipeline::Status};

/// The way to the service manager, and what it was told. The hot thread speaks; it never waits for an answer.
#[derive(Debug, Default)]
pub(super) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    is_ready: bool,
    is_reloading: bool,
}

impl Notify {
    /// The one that the environment names.
    pub(super) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let address = match name.as_encoded_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&name),
        };
        match address.and_then(|address| Ok((socket()?, address))) {
            Ok(to) => Self { to: Some(to), ..Self::default() },
            Err(error) => {
                tracing::warn!(%error, socket = ?name, "the service manager will be told nothing");
                Self::default()
            }
        }
    }

    /// A batch is durable: the first one means that events are collected and kept.
    pub(super) fn durable(&mut self, batch: u64) {
        if !self.is_ready {
            self.is_ready = true;
            self.tell(&format!("READY=1\nSTATUS=collecting; batch {batch} is durable"));
        }
    }

    /// Another policy is read.
    pub(super) fn reloading(&mut self) {
        self.is_reloading = true;
        let now = Now::read().map_or(0, |now| now.boot / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the policy"));
    }

    /// It holds, or was refused.
    pub(super) fn reloaded(&mut self, says: &str) {
        if self.is_reloading {
            self.is_reloading = false;
            self.tell(&format!("READY=1\nSTATUS={says}"));
        }
    }

    /// The agent ends.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=sealing the last batch");
    }

    /// An event that the agent made itself is in a durable batch: only this feeds the watchdog.
    pub(super) fn alive(&self, status: &Status) {
        let (total, batch) = (status.total, status.last_batch.unwrap_or_default());
        self.tell(&format!(
            "WATCHDOG=1\nSTATUS=batch {batch} is durable; {} events kept, {} lost; {} a second",
            total.kept, total.lost, status.rate
        ));
    }

    fn tell(&self, words: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), address) {
            tracing::warn!(%error, words, "the service manager cannot be told");
        }
    }
}

fn socket() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long the service manager waits for a sign of life before it starts the agent anew; `None` when it does not wait.
pub(super) fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let time = number("WATCHDOG_USEC").filter(|time| *time > 0)?;
    let is_ours = env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(process::id().into());
    is_ours.then(|| Duration::from_micros(time))
}
