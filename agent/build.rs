//! Finds the eBPF object that the agent carries, and refuses to build an agent without one.

use std::{env, path::PathBuf, process::exit};

fn main() {
    let agent = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    // Always in the workspace's target folder, whatever CARGO_TARGET_DIR says: xtask puts it there (xtask/src/tree.rs).
    let object = agent.with_file_name("target").join("bpf").join("sigtrail.bpf.o");
    println!("cargo:rerun-if-changed={}", object.display());
    println!("cargo:rustc-env=SIGTRAIL_BPF_OBJECT={}", object.display());
    if !object.is_file() {
        eprintln!("the eBPF object is not built: run `cargo xtask build` (or `cargo xtask build --object`)");
        exit(1);
    }
}
