//! Who touches the agent makes an alert that is sealed at once, whatever the policy says.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::agent::Agent;

/// Longest time from the touch until its record is in the sealed log: the reader looks every 50 ms, the batch is sealed
/// 10 ms later; the rest is a busy machine.
const SOON: Duration = Duration::from_secs(1);

/// The alert of a rule about a path, once it is delivered.
fn alert(dir: &Path, rule: &str, path: &Path) -> Option<Value> {
    let mut found = None;
    Agent::log(dir, |line| {
        if let Ok(record) = serde_json::from_str::<Value>(line)
            && record["policy"]["rule"] == rule
            && (record["path"] == path.to_str().unwrap() || record["target"] == path.to_str().unwrap())
        {
            found = Some(record);
        }
    })
    .unwrap();
    found
}

/// Kind and rule of the alert, what is touched, and how.
type Touch<'a> = (&'a str, &'a str, PathBuf, Box<dyn Fn() + 'a>);

#[test]
fn whoever_touches_the_agent_is_told_at_once() {
    let dir = tempfile::Builder::new().prefix("guard-").tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // a policy that wants nothing
    fs::write(path("policy.yaml"), "version: 1\ndefault: drop\n").unwrap();
    let agent = Agent::start(dir.path(), &format!("policy: [{}]\n", path("policy.yaml").display())).unwrap();
    thread::sleep(Duration::from_millis(200));

    let secret = path("state/intruder");
    let outside = path("outside");
    fs::write(&outside, "").unwrap();
    let mode = fs::metadata(path("config.yaml")).unwrap().permissions().mode();
    let touches: Vec<Touch<'_>> = vec![
        ("open", "self.written", secret.clone(), Box::new(|| fs::write(&secret, "").unwrap())),
        (
            "chmod",
            "self.changed",
            path("config.yaml"),
            Box::new(|| {
                fs::set_permissions(path("config.yaml"), fs::Permissions::from_mode(mode)).unwrap();
            }),
        ),
        ("chown", "self.changed", path("policy.yaml"), Box::new(|| chown(path("policy.yaml"), Some(0), None).unwrap())),
        (
            "open",
            "self.written",
            path("policy.yaml"),
            Box::new(|| {
                drop(fs::File::options().append(true).open(path("policy.yaml")).unwrap());
            }),
        ),
        (
            "link",
            "self.replaced",
            path("state/linked"),
            Box::new(|| fs::hard_link(&outside, path("state/linked")).unwrap()),
        ),
        (
            "rename",
            "self.changed",
            path("state/linked"),
            Box::new(|| fs::rename(path("state/linked"), path("out")).unwrap()),
        ),
        (
            "rename",
            "self.replaced",
            path("state/back"),
            Box::new(|| fs::rename(path("out"), path("state/back")).unwrap()),
        ),
        ("unlink", "self.changed", path("state/back"), Box::new(|| fs::remove_file(path("state/back")).unwrap())),
        ("unlink", "self.changed", secret.clone(), Box::new(|| fs::remove_file(&secret).unwrap())),
    ];
    for (kind, rule, touched, touch) in &touches {
        let began = Instant::now();
        touch();
        let record = loop {
            if let Some(record) = alert(dir.path(), rule, touched) {
                break record;
            }
            assert!(began.elapsed() < 10 * SOON, "no {rule} about {} ({kind})", touched.display());
            thread::sleep(Duration::from_millis(5));
        };
        println!("{kind} {rule}: in the sealed log after {:?}", began.elapsed());
        assert_eq!((&record["kind"], &record["policy"]["verdict"]), (&(*kind).into(), &"alert".into()), "{record}");
        assert_eq!(record["pid"], std::process::id());
        assert!(began.elapsed() < SOON, "{kind} {rule}: {:?}", began.elapsed());
    }
    drop(touches);

    let pid = agent.pid();
    let report = agent.stop().unwrap();
    assert_eq!((&report["findings"]["count"], &report["lost"]), (&0.into(), &0.into()), "{report:#}");
    // what the agent does to its own files makes no alarm
    let mut alarms = 0;
    Agent::log(dir.path(), |line| {
        if let Ok(record) = serde_json::from_str::<Value>(line)
            && record["policy"]["rule"].as_str().is_some_and(|rule| rule.starts_with("self."))
        {
            assert!(record["pid"] != pid && record["pid"] == std::process::id(), "{line}");
            alarms += 1;
        }
    })
    .unwrap();
    assert_eq!(alarms, 9);
}
