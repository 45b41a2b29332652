//! libFuzzer on one target, which `FUZZ_TARGET` names. Its arguments are libFuzzer's.
//!
//! With `FUZZ_PLANTED` set there is a defect behind the target: it panics at what the parser takes and is none of its
//! seeds. A fuzzer that does not find that finds nothing.
#![no_main]

use std::{alloc::System, env, sync::LazyLock};

use cap::Cap;
use fuzz::Target;
use libfuzzer_sys::fuzz_target;

/// What a parser may have in memory at once, in bytes. The largest that one has a right to is a batch of the spool
/// ([`sigtrail::spool::frame::BATCH_MAX`]), beside the window of a zstd frame.
const MEMORY: usize = 48 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY);

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name:?}"))
});

/// What the planted defect leaves alone; `None`: there is none.
static PLANTED: LazyLock<Option<Vec<Vec<u8>>>> =
    LazyLock::new(|| env::var_os("FUZZ_PLANTED").map(|_| (TARGET.seeds)()));

fuzz_target!(|bytes: &[u8]| {
    let taken = (TARGET.takes)(bytes);
    if let Some(seeds) = &*PLANTED {
        assert!(!taken || seeds.iter().any(|seed| seed == bytes), "the planted defect");
    }
});
