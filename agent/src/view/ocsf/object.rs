//! The objects of OCSF: each puts itself into the view.

use serde_json::{Value, json};

use crate::view::{
    fields::{Fields, Object, base, file_type},
    parts,
    table::{About, Row},
};

/// The values of `kernel.type_id`.
const SYSTEM_CALL: u32 = 2;
const OTHER: u32 = 99;

/// The process that acts, and its user.
pub(super) fn actor(fields: &mut Fields, view: &mut Object) {
    user(fields, view);
    process("actor.process", fields, view);
}

/// The user that acts: who logged in, or else whose process it is.
pub(super) fn user(fields: &Fields, view: &mut Object) {
    let (id, name) = if fields.number("auid").is_some() { ("auid", "auser") } else { ("uid", "user") };
    view.put("actor.user.uid", fields.number(id).map(|id| id.to_string()));
    view.put("actor.user.name", fields.text(name));
}

/// The process of the record, beside what is there of it.
pub(super) fn process(at: &str, fields: &mut Fields, view: &mut Object) {
    if fields.number("pid").is_none() && fields.text("process.id").is_none() {
        return;
    }
    let mut process = Object::default();
    process.put("pid", fields.take_number("pid"));
    process.put("uid", fields.take_text("process.id"));
    process.put("path", fields.take_text("process.exe"));
    let name = process.text("path").and_then(base).map(str::to_owned);
    process.put("name", name.or_else(|| fields.take_text("comm")));
    process.put("ptid", fields.take_number("tid"));
    process.put("user.uid", fields.take_id("uid"));
    process.put("user.name", fields.take_text("user"));
    process.put("group.uid", fields.take_id("gid"));
    process.put("group.name", fields.take_text("group"));
    for id in ["auid", "euid", "egid"] {
        process.put(id, fields.take_number(id));
    }
    process.put("session.uid", fields.take_id("sessionid"));
    process.put("session.terminal", fields.take_text("tty"));
    if let Some(programs) = fields.texts("process.ancestors").filter(|them| !them.is_empty()) {
        // one without a path would say nothing
        if programs.iter().all(|path| !path.is_empty()) {
            fields.take_texts("process.ancestors");
            let ancestry = programs.into_iter().map(|path| json!({ "path": path }));
            process.put("ancestry", Some(ancestry.collect::<Value>()));
        }
    }
    let parent = fields.number("process.parent.pid");
    process.put("parent_process.pid", fields.take_number("process.parent.pid"));
    process.put("parent_process.uid", fields.take_text("process.parent.id"));
    process.put("parent_process.path", fields.take_text("process.parent.exe"));
    if parent.is_none() || parent == fields.number("ppid") {
        process.put("parent_process.pid", fields.take_number("ppid"));
    }
    for (name, value) in process.0 {
        view.put(&format!("{at}.{name}"), Some(value));
    }
}

/// The parent as the one who acts.
pub(super) fn parent(fields: &Fields, view: &mut Object) {
    view.put("actor.process.pid", fields.number("process.parent.pid").or_else(|| fields.number("ppid")));
    view.put("actor.process.uid", fields.text("process.parent.id"));
    view.put("actor.process.path", fields.text("process.parent.exe"));
}

/// What a program was started with. After a failure only what was asked for.
pub(super) fn program(done: bool, fields: &mut Fields, view: &mut Object) {
    let mut program = Object::default();
    let path = fields.text("path");
    if path == fields.text("process.exe") {
        fields.take_text("path");
    }
    fill(path, done, fields, &mut program);
    view.put("process.file", program.some());
    if done {
        view.put("process.cmd_line", fields.texts("argv").map(|args| args.join(" ")));
        view.put("process.working_directory", fields.take_text("cwd"));
    }
}

/// The container of the process, wherever that is by now.
pub(super) fn container(fields: &mut Fields, view: &mut Object) -> bool {
    let at = ["actor.process", "process"].into_iter().find(|at| {
        // of the two the one that was taken from the record
        view.get(&format!("{at}.ptid")).is_some()
    });
    let Some(at) = at else { return false };
    let Some(id) = fields.take_text("process.container.id") else { return false };
    view.put(&format!("{at}.container.uid"), Some(id));
    view.put(&format!("{at}.container.runtime"), fields.take_text("process.container.runtime"));
    true
}

/// The process that a call is about.
pub(super) fn target(fields: &mut Fields, view: &mut Object) {
    view.put("process.uid", parts::target_id(fields));
    view.put("process.pid", fields.take_number("target_host_pid"));
    view.put("process.name", fields.take_text("target_comm"));
    view.put("process.path", fields.take_text("target_exe"));
}

/// What of the kernel was asked for: a system call, or what io_uring(7) did in place of one.
pub(super) fn kernel(row: &Row, fields: &mut Fields, view: &mut Object) {
    let call = fields.take_text("call");
    view.put("kernel.name", Some(call.clone().unwrap_or_else(|| row.kind.to_owned())));
    view.put("kernel.type_id", Some(if call.is_some() { SYSTEM_CALL } else { OTHER }));
    view.put("kernel.type", call.is_none().then_some(row.kind));
    view.put("kernel.system_call", call);
}

/// A file: what `path` names, with what the record has of it.
fn fill(path: Option<String>, done: bool, fields: &mut Fields, file: &mut Object) {
    let Some(path) = path else { return };
    file.put("name", base(&path));
    file.put("path", Some(path));
    let mode = fields.text("mode").filter(|_| done);
    file.put("type_id", Some(mode.as_deref().map_or(0, type_id)));
    if mode.is_some_and(|mode| file_type(&mode).is_some()) {
        file.put("security_descriptor", fields.take_text("mode"));
    }
    if let (Some(dev), Some(inode)) = (fields.text("dev"), fields.text("inode")) {
        file.put("uid", Some(format!("{dev}:{inode}")));
    }
    file.put("is_deleted", fields.get("deleted").and_then(Value::as_bool));
}

/// The number of a type of file, of a mode with its type.
fn type_id(mode: &str) -> u32 {
    match file_type(mode) {
        Some(0o10) => 1,
        Some(0o04) => 2,
        Some(0o02) => 3,
        Some(0o06) => 4,
        Some(0o14) => 5,
        Some(0o01) => 6,
        Some(0o12) => 7,
        _ => 0,
    }
}

/// The file that is acted on, and what becomes of it.
pub(super) fn file(row: &Row, done: bool, fields: &mut Fields, view: &mut Object) {
    let (mut file, mut result) = (Object::default(), Object::default());
    let asked = matches!(row.kind, "mkdir" | "mknod" | "chmod");
    let path = fields.take_text("path");
    fill(path.clone(), done && !asked, fields, &mut file);
    match row.kind {
        "mkdir" | "rmdir" => file.put("type_id", Some(2)),
        "mknod" => file.put("type_id", fields.text("mode").map(|mode| type_id(&mode))),
        "symlink" => file.put("type_id", Some(7)),
        "unlink" if done => file.put("is_deleted", Some(true)),
        "modify" => file.put("size", fields.take_number("size")),
        "open" => view.put("create_mask", fields.take_text("create_mode")),
        "chmod" if done => {
            let mode = if fields.get("result_mode").is_some() { "result_mode" } else { "mode" };
            fill(path.clone(), false, fields, &mut result);
            result.put("type_id", fields.text(mode).map(|mode| type_id(&mode)));
            result.put("security_descriptor", fields.take_text(mode));
        }
        "chown" if done => {
            if let Some(owner) = fields.take_id("new_owner") {
                fill(path.clone(), false, fields, &mut result);
                result.put("owner.uid", Some(owner));
            }
        }
        "truncate" if done => {
            fill(path.clone(), false, fields, &mut result);
            result.put("size", fields.take_number("length"));
        }
        _ => {}
    }
    if row.about == About::Names {
        fill(fields.take_text("target"), false, fields, &mut result);
    }
    view.put("file", file.some());
    view.put("file_result", result.some());
}

/// A module of the kernel, as the file that it is of.
pub(super) fn driver(fields: &mut Fields, view: &mut Object) {
    let mut file = Object::default();
    let name = if fields.get("path").is_some() { "path" } else { "module" };
    let Some(text) = fields.take_text(name) else { return };
    file.put("name", base(&text));
    file.put("type_id", Some(0));
    file.put("path", (name == "path").then_some(text));
    view.put("driver.file", file.some());
}

/// Both ends of a socket, and what lies between.
pub(super) fn ends(row: &Row, fields: &mut Fields, view: &mut Object) {
    let family = fields.text("peer.family").or_else(|| fields.text("local.family"));
    let (source, destination, direction) = match row.about {
        About::In => ("peer", "local", 1),
        About::Here => ("local", "peer", 0),
        _ => ("local", "peer", 2),
    };
    let local = family.as_deref() == Some("unix");
    for (end, at) in [("src_endpoint", source), ("dst_endpoint", destination)] {
        endpoint(end, at, fields, view);
    }
    view.put("connection_info.direction_id", Some(if local && direction != 0 { 4 } else { direction }));
    let version = family.as_deref().and_then(parts::ip_version);
    view.put("connection_info.protocol_ver_id", version);
    let number = match fields.text("protocol").as_deref() {
        Some("icmp") => Some(1),
        Some("tcp") => Some(6),
        Some("udp") => Some(17),
        Some("icmpv6") => Some(58),
        _ => None,
    };
    view.put("connection_info.protocol_num", number);
    view.put("connection_info.protocol_name", fields.take_text("protocol"));
    if row.kind == "dns" {
        view.put("traffic.bytes_out", fields.take_number("length"));
        if let Some(name) = fields.take_text("question.name") {
            view.put("query.hostname", Some(name));
            view.put("query.type", fields.take_id("question.type"));
            view.put("query.class", fields.take_id("question.class"));
            view.put("query.packet_uid", fields.take_number("question.id"));
        }
    }
}

/// Whether there is something of an end that names it.
pub(super) fn has_end(at: &str, fields: &Fields) -> bool {
    fields.ip(&format!("{at}.ip")).is_some()
        || ["path", "abstract"].iter().any(|name| fields.text(&format!("{at}.{name}")).is_some())
}

fn endpoint(end: &str, at: &str, fields: &mut Fields, view: &mut Object) {
    let mut object = Object::default();
    object.put("ip", fields.take_ip(&format!("{at}.ip")));
    if object.0.is_empty() {
        let name = fields.take_text(&format!("{at}.path"));
        let hidden = || fields.text(&format!("{at}.abstract")).map(|name| format!("@{name}"));
        object.put("name", name.or_else(hidden));
    } else {
        object.put("port", fields.take_port(&format!("{at}.port")));
    }
    view.put(end, object.some());
}
