//! Imports go down only: every module of the agent uses what is below it, and no stranger of its own row.

use std::{collections::BTreeSet, path::Path};

use super::source::{Source, heads, without_tests};

/// Lowest first; ARCHITECTURE.md says why. `lib.rs` only names the modules, `main.rs` is above all of them.
const LAYERS: &[&[&str]] = &[
    &["record", "clock", "metrics", "disk", "document", "sealed"],
    &["view"],
    &["source", "enrich", "policy", "batch", "keys", "spool", "sink", "capture"],
    // what a person configures is handed down in parts: the two ways do not know the file
    &["config", "pipeline", "deliver", "review"],
    &["daemon"],
    &["cli"],
];

/// A crate that only some places of another crate may use.
struct Fence {
    /// The folder it is about.
    within: &'static str,
    /// What is fenced: a crate, or a module of `std` after `std::`.
    what: &'static str,
    /// The modules that may use it.
    only: &'static [&'static str],
}

const FENCES: &[Fence] = &[
    Fence { within: "agent/src", what: "aya", only: &["source"] },
    Fence { within: "agent/src", what: "tokio", only: &["daemon", "deliver", "sink", "cli"] },
    Fence { within: "agent/src", what: "procfs", only: &["enrich", "capture"] },
    Fence { within: "agent/src", what: "clap", only: &["cli"] },
    Fence { within: "agent/src", what: "age", only: &["sink", "capture"] },
    Fence { within: "agent/src", what: "object_store", only: &["sink", "cli"] },
    Fence { within: "agent/src", what: "quick_xml", only: &["sink"] },
    // the auditor's crate computes; only its command line opens files
    Fence { within: "seal/src", what: "std::fs", only: &["cli", "bin"] },
    Fence { within: "seal/src", what: "std::net", only: &["cli", "bin"] },
    Fence { within: "seal/src", what: "age", only: &["cli"] },
    Fence { within: "seal/src", what: "tokio", only: &[] },
];

/// Every import of the agent that goes up or sideways.
pub fn imports(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        let Some(module) = module(source, "agent/src") else { continue };
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some(row) = LAYERS.iter().position(|row| row.contains(&module)) else {
            broken
                .push(format!("{}: `{module}` is not in the table of layers (xtask/src/check/layers.rs)", source.path));
            continue;
        };
        for import in imported(&source.text) {
            if import != module && !LAYERS[..row].iter().any(|row| row.contains(&import)) && known(import) {
                broken.push(format!("{}: `{module}` imports `{import}`, which is not below it", source.path));
            }
        }
    }
    broken
}

/// Every use of a crate outside its fence.
pub fn fences(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        for fence in FENCES {
            let Some(module) = module(source, fence.within) else { continue };
            if !fence.only.contains(&module) && uses(without_tests(&source.text), fence.what) {
                let only = fence.only.join(", ");
                broken.push(format!("{}: uses `{}` (allowed in: {only})", source.path, fence.what));
            }
        }
    }
    broken
}

/// The names under `[dependencies]` of a manifest, build and test dependencies not counted.
pub fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line.starts_with("[target.") && line.ends_with(".dependencies]");
            names.extend(line.strip_prefix("[dependencies.").map(|name| name.trim_end_matches(']')));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            names.push(line.split(['=', '.', ' ']).next().unwrap_or(line));
        }
    }
    names
}

/// The top module a file of `folder` belongs to.
fn module<'a>(source: &'a Source, folder: &str) -> Option<&'a str> {
    let inner = Path::new(&source.path).strip_prefix(folder).ok()?;
    Path::new(inner.iter().next()?).file_stem()?.to_str()
}

/// A name that is not of a module is one of an item in `lib.rs`, or of a macro.
fn known(name: &str) -> bool {
    LAYERS.iter().any(|row| row.contains(&name))
}

fn imported(text: &str) -> BTreeSet<&str> {
    let mut found = heads(text, "crate");
    // the other way to the top, from one level down
    found.extend(heads(text, "super::super").into_iter().filter(|name| known(name)));
    found
}

fn uses(text: &str, what: &str) -> bool {
    match what.split_once("::") {
        Some((root, module)) => heads(text, root).contains(module),
        None => !heads(text, what).is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn imports_go_down_only() {
        let check = |path: &str, text: &str, expected: &[&str]| {
            let found = imports(&[source(path, text)]);
            assert_eq!(found.len(), expected.len(), "{path}: {text}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found} does not say {expected}");
            }
        };
        check("agent/src/spool.rs", "use crate::record::Record;", &[]);
        check("agent/src/spool/segment.rs", "use crate::spool::Error;", &[]);
        check("agent/src/spool.rs", "use crate::{record, sink::{File, config}};", &["imports `sink`"]);
        check("agent/src/record.rs", "fn f() { crate::pipeline::run() }", &["imports `pipeline`"]);
        check("agent/src/spool/segment.rs", "use super::super::deliver;", &["imports `deliver`"]);
        check("agent/src/spool.rs", "// use crate::cli;\n/// [`crate::daemon`]\n", &[]);
        check("agent/src/misc.rs", "", &["not in the table"]);
        check("agent/src/main.rs", "use crate::cli;", &[]);
        check("agent/src/lib.rs", "pub mod cli;", &[]);
        check("agent/src/cli/run.rs", "use crate::{config, daemon, pipeline};", &[]);
        check("agent/src/daemon.rs", "use crate::{config::Config, keys, pipeline};", &[]);
        check("agent/src/daemon/control.rs", "use crate::{deliver, pipeline};", &[]);
        check("agent/src/pipeline/log.rs", "use crate::{config::Config, keys::Keys};", &["imports `config`"]);
        check("agent/src/pipeline.rs", "use crate::deliver::Gaps;", &["imports `deliver`"]);
        check("agent/src/batch.rs", "use crate::{clock::Now, keys::Keys};", &["imports `keys`"]);
        check("agent/src/spool.rs", "crate::some_macro!();", &[]);
        check("seal/src/note.rs", "use crate::cli;", &[]);
    }

    #[test]
    fn a_crate_stays_inside_its_fence() {
        let check = |path: &str, text: &str, broken: usize| {
            let found = fences(&[source(path, text)]);
            assert_eq!(found.len(), broken, "{path}: {text}: {found:?}");
        };
        check("agent/src/source/kernel.rs", "use aya::Ebpf;", 0);
        check("agent/src/policy/push.rs", "use aya::{maps::HashMap};", 1);
        check("agent/src/policy/push.rs", "let map: aya::maps::Map;", 1);
        check("agent/src/sink/http.rs", "use tokio::time;", 0);
        check("agent/src/pipeline.rs", "use tokio::time;", 1);
        check("agent/src/pipeline.rs", "#[cfg(test)]\nmod tests {\n    #[tokio::test]\n}", 0);
        check("agent/src/enrich/process.rs", "use procfs::process;", 0);
        check("agent/src/daemon/control.rs", "use tokio::net::UnixListener;", 0);
        check("agent/src/source/hooks.rs", "#[derive(Clone, clap::ValueEnum)]", 1);
        check("agent/src/cli/tail.rs", "#[derive(Debug, clap::Args)]", 0);
        check("seal/src/note.rs", "use std::{fmt, fs};", 1);
        check("seal/src/note.rs", "use std::{fmt, io};", 0);
        check("seal/src/note.rs", "let x = std::net::TcpStream::connect(a);", 1);
        check("seal/src/cli/verify.rs", "use std::fs;", 0);
        check("seal/src/bin/sigtrail-verify.rs", "use std::fs;", 0);
        check("xtask/src/run.rs", "use std::net::TcpListener;", 0);
    }

    #[test]
    fn dependencies_are_read_from_a_manifest() {
        let manifest = "[package]\nname = \"common\"\n[dependencies]\n# why\nzerocopy.workspace = true\nserde = \"1\"\n\n\
                        [dependencies.nix]\nversion = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n\
                        [target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n";
        assert_eq!(dependencies(manifest), ["zerocopy", "serde", "nix", "libc"]);
    }
}
