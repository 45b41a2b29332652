//! The programs, one file per kind or family of kinds.

pub mod capability;
pub mod chmod;
pub mod chown;
pub mod confine;
pub mod dns;
pub mod exec;
pub mod exec_failed;
pub mod exit;
pub mod file_setattr;
pub mod fork;
pub mod identity;
pub mod judge;
pub mod kernel;
pub mod link;
pub mod lsm;
pub mod make;
pub mod modify;
pub mod mount;
pub mod open;
pub mod rename;
pub mod root;
pub mod send;
pub mod settings;
pub mod signal;
pub mod socket;
pub mod special;
pub mod swap;
pub mod sys_exit;
pub mod trace;
pub mod truncate;
pub mod unlink;
pub mod uring;
pub mod utimes;
pub mod xattr;

/// Declares the families of a program on `sys_exit` that another one jumps to.
macro_rules! on_return {
    ($fast:ident, $base:ident, $perf:ident, $body:ident) => {
        #[aya_ebpf::macros::btf_tracepoint(function = "sys_exit")]
        #[doc = concat!("Typed loads, see [`", stringify!($body), "`].")]
        pub fn $fast(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            if let Some(it) = $crate::program::sys_exit::Return::of::<$crate::kernel::Fast>(&ctx) {
                $body::<$crate::kernel::Fast>(&it);
            }
            0
        }
        #[aya_ebpf::macros::btf_tracepoint(function = "sys_exit")]
        #[doc = concat!("Helper calls, see [`", stringify!($body), "`].")]
        pub fn $base(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            if let Some(it) = $crate::program::sys_exit::Return::of::<$crate::kernel::Base>(&ctx) {
                $body::<$crate::kernel::Base>(&it);
            }
            0
        }
        #[aya_ebpf::macros::tracepoint]
        #[doc = concat!("Typed loads behind a perf event, see [`", stringify!($body), "`].")]
        pub fn $perf(ctx: aya_ebpf::programs::TracePointContext) -> u32 {
            if let Some(it) = $crate::program::sys_exit::Return::of::<$crate::kernel::Fast>(&ctx) {
                $body::<$crate::kernel::Fast>(&it);
            }
            0
        }
    };
}
pub(crate) use on_return;
