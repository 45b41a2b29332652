//! What no host does all day: as root, one test at a time, for `SIGTRAIL_STRESS_SECONDS` each (`cargo xtask test --long`
//! says 600).
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod account;
mod hostile;
mod saturation;

use std::{env, path::Path, time::Duration};

use tests::agent::Agent;

/// How long each test loads the machine.
fn time() -> Duration {
    let seconds = env::var("SIGTRAIL_STRESS_SECONDS").map_or(30, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// The agent as it is after the installation: every setting but the places has its default.
fn agent(dir: &Path) -> Agent {
    let at = dir.display();
    let config = format!(
        "state_dir: {at}/state\nruntime_dir: {at}/run\nsinks:\n  - type: file\n    name: files\n    dir: {at}/log\n"
    );
    Agent::configured(dir, &config).unwrap()
}
