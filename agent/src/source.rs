//! Where events come from: the kernel half, a recorded stream, and the agent itself.

mod backlog;
pub mod hooks;
pub mod kernel;
mod lanes;
pub mod object;
pub mod offsets;
pub mod own;
pub mod replay;
mod speech;
mod steering;

pub use hooks::Family;
pub use kernel::{Attached, Kernel, Options, SourceError};
pub use own::Own;
pub use replay::{Replay, ReplayError};
pub use steering::Wanted;

use std::{ops::ControlFlow, time::Duration};

/// Where the events of a run come from.
pub enum Source {
    /// This host's kernel.
    Kernel(Box<Kernel>),
    /// A recorded stream.
    Replay(Replay),
}

impl Source {
    /// Hands over the events that are there, each at an address that is a multiple of 8, until `each` breaks. Returns
    /// whether there are no more.
    pub fn drain(&mut self, each: impl FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        match self {
            Self::Kernel(kernel) => kernel.drain(each),
            Self::Replay(replay) => replay.drain(each),
        }
    }

    /// Waits until events are there in number, or until the time is over. A stream that is at its end brings nothing
    /// more.
    pub fn wait(&self, time: Duration) -> Result<(), SourceError> {
        match self {
            Self::Kernel(kernel) => kernel.wait(time),
            Self::Replay(_) => {
                std::thread::sleep(time);
                Ok(())
            }
        }
    }

    /// Stops making events; those that are waiting stay readable.
    pub fn detach(&mut self) {
        if let Self::Kernel(kernel) = self {
            kernel.detach();
        }
    }

    /// Wants other events from now on. Returns what became of the programs that this takes.
    pub fn want(&mut self, wanted: &Wanted) -> Result<&[Attached], SourceError> {
        match self {
            Self::Kernel(kernel) => kernel.want(wanted),
            Self::Replay(_) => Ok(&[]),
        }
    }

    /// The kernel half, if it is the source.
    pub fn kernel(&self) -> Option<&Kernel> {
        match self {
            Self::Kernel(kernel) => Some(kernel),
            Self::Replay(_) => None,
        }
    }
}
