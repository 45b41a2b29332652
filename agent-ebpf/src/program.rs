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
pub mod special;
pub mod sys_exit;
pub mod truncate;
pub mod unlink;
pub mod uring;

/// Declares the families of a program on `sys_exit` that another one jumps to.
macro_rules! on_return {
    ($fast:ident, $base:ident, $perf:ident, $body:ident) => {
        $crate::program::on_return!($fast, $base, $perf, $body, of);
    };
    ($fast:ident, $base:ident, $perf:ident, $body:ident, $of:ident) => {
        #[aya_ebpf::macros::btf_tracepoint(function = "sys_exit")]
        #[doc = concat!("Typed loads, see [`", stringify!($body), "`].")]
        pub fn $fast(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            if let Some(it) = $crate::program::sys_exit::Return::$of::<$crate::kernel::Fast>(&ctx) {
                $body::<$crate::kernel::Fast>(&it);
            }
            0
        }
        #[aya_ebpf::macros::btf_tracepoint(function = "sys_exit")]
        #[doc = concat!("Helper calls, see [`", stringify!($body), "`].")]
        pub fn $base(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            if let Some(it) = $crate::program::sys_exit::Return::$of::<$crate::kernel::Base>(&ctx) {
                $body::<$crate::kernel::Base>(&it);
            }
            0
        }
        #[aya_ebpf::macros::tracepoint]
        #[doc = concat!("Typed loads behind a perf event, see [`", stringify!($body), "`].")]
        pub fn $perf(ctx: aya_ebpf::programs::TracePointContext) -> u32 {
            if let Some(it) = $crate::program::sys_exit::Return::$of::<$crate::kernel::Fast>(&ctx) {
                $body::<$crate::kernel::Fast>(&it);
            }
            0
        }
    };
}
pub(crate) use on_return;

/// The same for calls that may come through socketcall(2).
macro_rules! on_socket_return {
    ($fast:ident, $base:ident, $perf:ident, $body:ident) => {
        $crate::program::on_return!($fast, $base, $perf, $body, of_socket);
    };
}
pub(crate) use on_socket_return;
