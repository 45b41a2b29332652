//! The kernel half: hooks that write events into the ring buffer.
//!
//! ```text
//! sys_exit ─▶ call table ─▶ tail call by kind ─▶ class filter ─▶ draft ─▶ ring
//! exec, fork, exit ──────────────────────────────────────────────▶ draft ─▶ ring
//! ```
//!
//! Every program exists in two families: `_fast` reads kernel memory by typed loads (needs the kernel function
//! `bpf_rdonly_cast`, 6.2), `_base` by a helper call for each field (5.10). The user half loads one of them.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod draft;
mod environment;
mod executable;
mod filter;
mod kernel;
mod notes;
mod own;
mod path;
mod program;
mod socket;
mod target;
mod text;
mod written;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel reads the licence by this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
