//! `search` says of a line what `tail` says of the event that it was made of.

use std::{path::Path, process::Command};

use common::Kind;
use tests::host::{run, sigtrail};

/// Of every kind: the events in the golden stream, and their golden lines.
#[test]
fn search_says_what_tail_says() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    for kind in Kind::ALL {
        let file = |end: &str| golden.join(format!("{}.{end}", kind.name()));
        let live = run(Command::new(sigtrail()).args(["tail", "--all", "--replay"]).arg(file("events")));
        let read = run(Command::new(sigtrail()).arg("search").arg(file("ndjson")));
        assert_eq!((live.code, read.code), (Some(0), Some(0)), "{}: {live:?} {read:?}", kind.name());
        // the line of a log has the date before the time
        let read: Vec<_> = read.out.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        let live: Vec<_> = live.out.lines().collect();
        for (read, live) in read.iter().zip(&live) {
            assert_eq!(read, live, "{}", kind.name());
        }
        assert!(!live.is_empty() && read.len() == live.len(), "{}: {} of {}", kind.name(), read.len(), live.len());
    }
}
