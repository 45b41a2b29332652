//! A capture of a host that works hard stays within its limits, and the log loses nothing by it.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use tests::host::Host;

use super::{by_name, capture, verify};

/// The most that may be captured.
const LIMIT: u64 = 4 << 20;

fn under_load(seconds: u64) {
    let host = Host::new(
        "capture: { max_bytes: 4MiB }\nrecorder: { enabled: true, bytes: 1MiB, kinds: [open, unlink, exec] }",
    );
    let agent = host.start();
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let case = host.path("case.sigtrail");
    thread::scope(|threads| {
        for thread in 0..2 {
            let (host, stop, made) = (&host, &stop, &made);
            threads.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("load/{thread}-{}", made.fetch_add(1, Ordering::Relaxed));
                    fs::write(host.path(&name), "").unwrap();
                    fs::remove_file(host.path(&name)).unwrap();
                }
            });
        }
        let ran = capture(
            &host,
            &[
                "--pid",
                &std::process::id().to_string(),
                "--with",
                "maps,fds",
                "--for",
                &format!("{seconds}s"),
                "-o",
                case.to_str().unwrap(),
            ],
        );
        stop.store(true, Ordering::Relaxed);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    });
    let (code, report) = verify(&case, &[]);
    assert_eq!((code, &report["verdict"]), (0, &"verified".into()), "{report:#}");
    assert!(report["bytes"].as_u64().unwrap() <= LIMIT, "{report:#}");
    // the limit was reached, and that is told
    assert!(report["left_out"].as_u64().unwrap() > 0, "{report:#}");
    let manifest = String::from_utf8(by_name(&case)["manifest.json"].clone()).unwrap();
    assert!(manifest.contains("max_bytes"), "{manifest}");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(agent.stop().0, Some(0));
    // each file was made and removed: two records, one by one or in a summary
    let mut told = 0;
    for line in host.batches().iter().flat_map(|batch| &batch.lines) {
        let of = if line["kind"] == "summary" { &line["of"] } else { &line["kind"] };
        if of == "open" || of == "unlink" {
            told += line["count"].as_str().map_or(1, |count| count.parse::<u64>().unwrap());
        }
    }
    assert_eq!(host.verified()["lost"], 0);
    assert_eq!(told, 2 * made.load(Ordering::Relaxed));
}

#[test]
fn a_capture_under_load_stays_within_its_limits_and_the_log_loses_nothing() {
    under_load(3);
}

#[test]
#[ignore = "five minutes of load: run by --long"]
fn a_capture_of_five_minutes_under_load_stays_within_its_limits() {
    under_load(300);
}
