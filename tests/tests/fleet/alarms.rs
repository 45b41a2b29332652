//! Alerts and the dashboard: what reads them takes them, and they ask for metrics that there are.

use std::{collections::BTreeSet, fs, process::Command};

use regex::Regex;
use serde_json::Value;
use tests::host::run;

use crate::repository;

const ALERTS: &str = "packaging/prometheus/alerts.yml";
const DASHBOARD: &str = "packaging/grafana/sigtrail.json";

#[test]
fn each_alert_fires_for_what_is_wrong_and_for_nothing_else() {
    for verb in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let ran = run(Command::new("promtool").args(verb).current_dir(repository("packaging/prometheus")));
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    }
    let names = |path: &str, pattern: &str| {
        let text = fs::read_to_string(repository(path)).unwrap();
        let pattern = Regex::new(pattern).unwrap();
        pattern.captures_iter(&text).map(|found| found[1].to_owned()).collect::<BTreeSet<_>>()
    };
    let alerts = names(ALERTS, r"- alert: (\w+)");
    assert_eq!(alerts, names("packaging/prometheus/alerts.test.yml", r"- name: (\w+)"), "a case for each alert");
    assert!(alerts.len() > 8, "{alerts:?}");
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let page = fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `(sigtrail_\w+)` \| (\w+) \|").unwrap();
    let mut known = BTreeSet::new();
    for found in row.captures_iter(&page) {
        let (name, sort) = (&found[1], &found[2]);
        let ends: &[&str] = if sort == "histogram" { &["_bucket", "_count", "_sum"] } else { &[""] };
        known.extend(ends.iter().map(|end| format!("{name}{end}")));
    }
    assert!(known.len() > 20, "{known:?}");
    // the receiver has no page of its own
    let source = fs::read_to_string(repository("receive/src/metrics.rs")).unwrap();
    let receiver = Regex::new(r#"(?:begin\(\s*|\()"(\w+)", (?:"\w+", ")?"#).unwrap();
    known.extend(receiver.captures_iter(&source).map(|found| format!("sigtrail_receive_{}", &found[1])));

    let alerts = fs::read_to_string(repository(ALERTS)).unwrap();
    let exprs = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let dashboard: Value = serde_json::from_slice(&fs::read(repository(DASHBOARD)).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(shown.len() > 10, "{shown:?}");
    let names = Regex::new(r"\bsigtrail_\w+").unwrap();
    for expr in exprs.chain(shown) {
        for name in names.find_iter(expr) {
            assert!(known.contains(name.as_str()), "{expr}: no metric {}", name.as_str());
        }
    }
}
