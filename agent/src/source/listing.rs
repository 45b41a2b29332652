//! The eBPF programs, maps and links of this host, whoever loaded them: for a capture.

use std::time::UNIX_EPOCH;

use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};
use serde_json::{Value, json};

/// What is told of each sort.
const MOST: usize = 10_000;

/// All of them, one JSON object a line.
pub fn listing() -> String {
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let program = |info: aya::programs::ProgramInfo| {
        let loaded = info.loaded_at().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_secs());
        json!({
            "what": "program", "id": info.id(), "name": name(info.name()),
            "type": format!("{:?}", info.program_type()),
            "tag": format!("{:016x}", info.tag()), "loaded": loaded, "uid": info.created_by_uid(),
            "maps": info.map_ids().ok().flatten(), "bytes": info.size_translated(),
        })
    };
    let map = |info: aya::maps::MapInfo| {
        let kind = info.map_type().map_or(Value::Null, |it| format!("{it:?}").into());
        json!({ "what": "map", "id": info.id(), "name": name(info.name()), "type": kind })
    };
    let link = |info: aya::programs::links::LinkInfo| {
        let kind = info.link_type().map_or(Value::Null, |it| format!("{it:?}").into());
        json!({ "what": "link", "id": info.id(), "program": info.program_id(), "type": kind })
    };
    let programs = loaded_programs().take(MOST).map(|it| told("program", it.map(program)));
    let maps = loaded_maps().take(MOST).map(|it| told("map", it.map(map)));
    let links = loaded_links().take(MOST).map(|it| told("link", it.map(link)));
    programs.chain(maps).chain(links).fold(String::new(), |text, it| text + &it.to_string() + "\n")
}

/// One that vanished, or that may not be looked at, is told with the error.
fn told(what: &str, found: Result<Value, impl std::fmt::Display>) -> Value {
    found.unwrap_or_else(|error| json!({ "what": what, "error": error.to_string() }))
}
