//! The config as its users meet it: `config/<case>.yaml` is read; its problems are those of `config/<case>.expected`.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{fs, path::Path};

use sigtrail::config::{Config, ConfigError, example, reference};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config"))
}

fn check(name: &str) {
    let file = format!("{name}.yaml");
    let text = fs::read_to_string(folder().join(&file)).unwrap();
    let expected = fs::read_to_string(folder().join(format!("{name}.expected"))).unwrap_or_default();
    let found = Config::parse(&file, &text).map_or_else(|problems| format!("{problems}\n"), |_| String::new());
    assert_eq!(found, expected, "{file}");
}

#[test]
fn every_case_says_what_is_wrong() {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let cases: Vec<_> = files.filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned)).collect();
    assert!(cases.len() > 20);
    for case in cases {
        assert_eq!(case.starts_with("good"), !folder().join(format!("{case}.expected")).exists(), "{case}");
        check(&case);
    }
}

#[test]
fn the_example_is_all_defaults() {
    let text = example();
    assert_eq!(
        Config::parse("example.yaml", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}")),
        Config::default()
    );
    for entry in reference() {
        let key = entry.path.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{key}:")), "{key} is missing");
        assert!(!entry.doc.is_empty(), "{key} has no doc");
    }
}

#[test]
fn the_sinks_of_the_example_parse_once_they_are_filled_in() {
    let text = example();
    let sinks = text.split_once("# sinks:\n").unwrap().1;
    let sinks = sinks.lines().map_while(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join("\n");
    let mut filled = format!("sinks:\n{sinks}");
    for (setting, value) in [
        ("name", "a"),
        ("dir", "/var/log/sigtrail"),
        ("name", "b"),
        ("url", "https://log.example/"),
        ("name", "c"),
        ("url", "tls://nats.example"),
        ("stream", "AUDIT"),
        ("name", "d"),
        ("bucket", "audit"),
    ] {
        filled = filled.replacen(&format!("{setting}: …"), &format!("{setting}: {value}"), 1);
    }
    let config = Config::parse("filled.yaml", &filled).unwrap_or_else(|problems| panic!("{problems}\n{filled}"));
    assert_eq!(config.sinks.len(), 4);
}

#[test]
fn a_missing_file_is_named() {
    let path = folder().join("no-such-file.yaml");
    let error = Config::load(&path).unwrap_err();
    assert!(matches!(error, ConfigError::Read { path: ref it, .. } if *it == path));
}

#[test]
fn a_beginning_of_a_file_never_means_something_else() {
    // a file cut anywhere is refused, or says no more than what it held up to there
    let text = fs::read_to_string(folder().join("good-all.yaml")).unwrap();
    let whole = Config::parse("whole.yaml", &text).unwrap();
    assert_ne!(whole, Config::default());
    for end in 0..text.len() {
        if let Ok(config) = Config::parse("cut.yaml", &text[..end]) {
            assert!(config.sinks.len() <= whole.sinks.len());
        }
    }
}
