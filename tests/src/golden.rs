//! The golden records (`tests/golden/`): at least one of every kind, as the agent wrote it.

use std::{fs, path::PathBuf};

/// Their lines, by file, in the order of the names of the files.
pub fn lines() -> Vec<Vec<String>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "ndjson"));
    files.sort_unstable();
    assert!(files.len() > 50, "{dir} has {} of them", files.len());
    files.iter().map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()).collect()
}
