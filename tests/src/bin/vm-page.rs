//! Makes docs/kernel-support.md of the results that guests of `cargo xtask vm` have written: `vm-page FILE…`.
#![expect(clippy::unwrap_used, reason = "a build tool: a panic says what is wrong")]

use std::{env, fs};

use tests::vm::{Run, page};

fn main() {
    let read = |file: String| -> Run {
        let text = fs::read(&file).unwrap();
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let runs: Vec<Run> = env::args().skip(1).map(read).collect();
    print!("{}", page(&runs));
}
