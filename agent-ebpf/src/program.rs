//! The programs, one file per kind or family of kinds.

pub mod chmod;
pub mod chown;
pub mod exec;
pub mod exec_failed;
pub mod exit;
pub mod fork;
pub mod link;
pub mod open;
pub mod rename;
pub mod send;
pub mod socket;
pub mod sys_exit;
pub mod truncate;
pub mod unlink;

/// Declares the two families of a program on `sys_exit` that another one jumps to.
macro_rules! on_return {
    ($fast:ident, $base:ident, $body:ident) => {
        #[aya_ebpf::macros::btf_tracepoint(function = "sys_exit")]
        #[doc = concat!("Typed loads, see [`", stringify!($body), "`].")]
        pub fn $fast(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $body::<$crate::kernel::Fast>(&$crate::program::sys_exit::Return::of::<$crate::kernel::Fast>(&ctx));
            0
        }
        #[aya_ebpf::macros::btf_tracepoint(function = "sys_exit")]
        #[doc = concat!("Helper calls, see [`", stringify!($body), "`].")]
        pub fn $base(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $body::<$crate::kernel::Base>(&$crate::program::sys_exit::Return::of::<$crate::kernel::Base>(&ctx));
            0
        }
    };
}
pub(crate) use on_return;
