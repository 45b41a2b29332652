//! What the kernel half and the user half of sigtrail agree on: the bytes of one event, the offsets that
//! the kernel half asks for, and the values of its filter.
//!
//! No allocation, no `cfg`, no unsafe code: the same source is compiled for both machines.
#![no_std]

pub mod call;
pub mod event;
pub mod filter;
pub mod hook;
pub mod layout;
pub mod names;
pub mod noted;
pub mod wire;

pub use call::Call;
pub use event::{Body, Event, Kind, Lane};
pub use hook::Hook;
pub use noted::Noted;
pub use wire::{DecodeError, Field, Header, Prefix, Record, Type, Value};
