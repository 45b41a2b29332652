//! Where events come from: the kernel half, a recorded stream, and the agent itself.

mod backlog;
mod claim;
pub mod hooks;
mod journal;
mod jumps;
pub mod kernel;
mod lanes;
mod listing;
mod load;
pub mod object;
pub mod offsets;
pub mod own;
pub mod pin;
mod pressure;
mod refusal;
pub mod replay;
mod speech;
mod steering;
mod succession;
mod watch;

pub use hooks::Family;
pub use journal::Base;
pub use kernel::{Attached, Kernel, Options, SourceError, Stay};
pub use listing::listing;
pub use own::{Capture, Made, Own};
pub use replay::{Replay, ReplayError};
pub use steering::Wanted;
pub use succession::{AHEAD, Succession, detach};

use std::{collections::VecDeque, ops::ControlFlow, time::Duration};

/// Where the events of a run come from.
pub enum Source {
    /// This host's kernel: the kernel half, and those that it hands over to.
    Kernel(VecDeque<Kernel>),
    /// A recorded stream.
    Replay(Replay),
}

impl Source {
    /// Hands over the events that are there, each at an address that is a multiple of 8, until `each` breaks. Returns
    /// whether there are no more.
    pub fn drain(&mut self, each: impl FnMut(&[u8]) -> ControlFlow<()>) -> bool {
        match self {
            Self::Kernel(line) => {
                line.iter_mut().skip(1).for_each(Kernel::soak);
                line.front_mut().is_none_or(|kernel| kernel.drain(each))
            }
            Self::Replay(replay) => replay.drain(each),
        }
    }

    /// Waits until events are there in number, or until the time is over. A stream that is at its end brings nothing
    /// more.
    pub fn wait(&self, time: Duration) -> Result<(), SourceError> {
        match self {
            Self::Kernel(line) if !line.is_empty() => line[0].wait(time),
            Self::Kernel(_) | Self::Replay(_) => {
                std::thread::sleep(time);
                Ok(())
            }
        }
    }

    /// Makes room in the rings while there is no time for their events.
    pub fn soak(&mut self) {
        if let Self::Kernel(line) = self {
            line.iter_mut().for_each(Kernel::soak);
        }
    }

    /// Stops making events; those that are waiting stay readable.
    pub fn detach(&mut self) {
        if let Self::Kernel(line) = self {
            line.iter_mut().for_each(Kernel::detach);
        }
    }

    /// When the kernel half hands over to another one that is there.
    pub fn ends(&self) -> Option<u64> {
        match self {
            Self::Kernel(line) if line.len() > 1 => line.front().map(Kernel::until),
            Self::Kernel(_) | Self::Replay(_) => None,
        }
    }

    /// Goes on with the next kernel half: nothing of the one before is needed any more.
    pub fn succeed(&mut self) {
        if let Self::Kernel(line) = self
            && let Some(mut before) = line.pop_front()
        {
            before.detach();
            before.forget();
        }
    }

    /// Wants other events from now on. Returns what became of the programs that this takes.
    pub fn want(&mut self, wanted: &Wanted) -> Result<&[Attached], SourceError> {
        match self {
            Self::Kernel(line) => line.back_mut().map_or(Ok(&[]), |kernel| kernel.want(wanted)),
            Self::Replay(_) => Ok(&[]),
        }
    }

    /// The kernel half, if it is the source.
    pub fn kernel(&self) -> Option<&Kernel> {
        match self {
            Self::Kernel(line) => line.front(),
            Self::Replay(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn kernel_mut(&mut self) -> Option<&mut Kernel> {
        match self {
            Self::Kernel(line) => line.front_mut(),
            Self::Replay(_) => None,
        }
    }
}
