//! A record in the Elastic Common Schema: <https://www.elastic.co/guide/en/ecs/current/>. What it has no field for is
//! under `sigtrail`.

use serde_json::{Value, json};

use super::{
    fields::{Fields, Object, base, file_type},
    parts::{self, Record, child_id},
    table::{self, About, Row},
};

/// The version of the schema.
pub const VERSION: &str = "9.4.0";

/// How a field of a record becomes one of the view.
#[derive(Clone, Copy)]
enum How {
    Text,
    Texts,
    Number,
    /// A number that the schema has as text.
    Id,
    Ip,
    Port,
    Time,
}

use How::{Id, Ip, Number, Port, Text, Texts, Time};

/// Where a field of the record goes: `(view, record, how)`.
type Places = &'static [(&'static str, &'static str, How)];

const EVERY: Places = &[
    ("@timestamp", "time", Time),
    ("event.code", "kind", Text),
    ("event.sequence", "seq", Number),
    ("error.code", "errno", Text),
    ("rule.id", "policy.rule", Text),
    ("container.id", "process.container.id", Text),
    ("container.runtime", "process.container.runtime", Text),
    ("process.user.id", "euid", Id),
    ("process.user.name", "euser", Text),
    ("process.real_user.id", "uid", Id),
    ("process.real_user.name", "user", Text),
    ("process.saved_user.id", "suid", Id),
    ("process.group.id", "egid", Id),
    ("process.real_group.id", "gid", Id),
    ("process.real_group.name", "group", Text),
    ("process.saved_group.id", "sgid", Id),
];

/// The process is the one that the view is about.
const SELF: Places = &[
    ("process.pid", "pid", Number),
    ("process.entity_id", "process.id", Text),
    ("process.executable", "process.exe", Text),
    ("process.thread.id", "tid", Number),
    ("process.thread.name", "comm", Text),
    ("process.parent.pid", "process.parent.pid", Number),
    ("process.parent.entity_id", "process.parent.id", Text),
    ("process.parent.executable", "process.parent.exe", Text),
];

/// The process is the parent of it.
const PARENT: Places = &[
    ("process.pid", "child_pid", Number),
    ("process.parent.pid", "pid", Number),
    ("process.parent.entity_id", "process.id", Text),
    ("process.parent.executable", "process.exe", Text),
];

const PROGRAM: Places = &[
    ("process.args", "argv", Texts),
    ("process.args_count", "argc", Number),
    ("process.working_directory", "cwd", Text),
    ("process.env_vars", "env", Texts),
];

const FILE: Places = &[("file.path", "path", Text), ("file.inode", "inode", Text), ("file.device", "dev", Text)];

const LOCAL_TO_PEER: Places = &[
    ("source.ip", "local.ip", Ip),
    ("source.port", "local.port", Port),
    ("source.address", "local.path", Text),
    ("destination.ip", "peer.ip", Ip),
    ("destination.port", "peer.port", Port),
    ("destination.address", "peer.path", Text),
    ("network.transport", "protocol", Text),
];

const PEER_TO_LOCAL: Places = &[
    ("source.ip", "peer.ip", Ip),
    ("source.port", "peer.port", Port),
    ("source.address", "peer.path", Text),
    ("destination.ip", "local.ip", Ip),
    ("destination.port", "local.port", Port),
    ("destination.address", "local.path", Text),
    ("network.transport", "protocol", Text),
];

const QUESTION: Places = &[
    ("dns.id", "question.id", Id),
    ("dns.question.name", "question.name", Text),
    ("dns.question.type", "question.type", Id),
    ("dns.question.class", "question.class", Id),
    ("source.bytes", "length", Number),
];

const AGENT: Places =
    &[("agent.version", "version", Text), ("host.os.kernel", "kernel", Text), ("event.reason", "why", Text)];

/// The view of a record.
pub(super) fn view(record: Record<'_>) -> Value {
    let Record { mut fields, kind, place, id, origin, times } = record;
    let row = table::row(kind, &fields);
    let mut view = Object::default();
    view.put("ecs.version", Some(VERSION));
    view.put("event.id", Some(id));
    view.put("event.module", Some("sigtrail"));
    view.put("agent.type", Some("sigtrail"));
    view.put("host.id", Some(origin));
    view.put("host.os.type", Some("linux"));
    if let Some(times) = times {
        view.put("event.start", times.first.map(|time| time.to_string()));
        view.put("event.end", times.last.map(|time| time.to_string()));
    }
    event(row, &mut fields, &mut view);
    who(&fields, &mut view);
    about(row, &mut fields, &mut view);
    move_all(EVERY, &mut fields, &mut view);
    derive(&mut fields, &mut view);
    let mut own = fields.rest(kind);
    own.extend(place);
    view.put("sigtrail", Some(own));
    Value::Object(view.0)
}

fn event(row: &Row, fields: &mut Fields, view: &mut Object) {
    let alert = matches!(fields.text("policy.verdict").as_deref(), Some("alert" | "capture"));
    view.put("event.kind", Some(if alert { "alert" } else { "event" }));
    view.put("event.category", Some(json!([row.category])));
    view.put("event.type", Some(json!(row.types)));
    view.put("event.action", Some(row.action));
    if let Some(success) = parts::take_success(fields) {
        view.put("event.outcome", Some(if success { "success" } else { "failure" }));
    }
}

/// Who did it, and with whose rights. All of these are told of the process, too.
fn who(fields: &Fields, view: &mut Object) {
    let user = if fields.number("auid").is_some() { ("auid", "auser") } else { ("uid", "user") };
    view.put("user.id", fields.number(user.0).map(|id| id.to_string()));
    view.put("user.name", fields.text(user.1));
    view.put("user.effective.id", fields.number("euid").map(|id| id.to_string()));
    view.put("user.effective.name", fields.text("euser"));
}

fn about(row: &Row, fields: &mut Fields, view: &mut Object) {
    let done = view.text("event.outcome") == Some("success");
    if row.about == About::Child {
        let child = child_id(fields);
        move_all(PARENT, fields, view);
        view.put("process.entity_id", child);
        // which it shares with its parent until it runs another
        view.put("process.executable", view.get("process.parent.executable").cloned());
        if fields.number("child_ppid").is_some() && view.get("process.parent.pid") == fields.get("child_ppid") {
            fields.take("child_ppid");
        }
        return;
    }
    move_all(SELF, fields, view);
    match row.about {
        About::Program if done => program(fields, view),
        About::Program | About::Driver => view.put("file.path", fields.take_text("path")),
        About::End => {
            if fields.get("signal").is_none() {
                view.put("process.exit_code", fields.take_number("code"));
            }
            view.put("process.end", fields.time("time").map(|time| time.to_string()));
        }
        About::File => file(row, done, fields, view),
        About::Made => {
            move_all(FILE, fields, view);
            let ty = if row.kind == "mkdir" { Some("dir") } else { fields.text("mode").as_deref().and_then(type_name) };
            view.put("file.type", ty);
        }
        // the name that it has from now on
        About::Names => view.put("file.path", fields.take_text("target")),
        About::Out | About::Here => {
            network(LOCAL_TO_PEER, "egress", row, fields, view);
            if row.kind == "dns" {
                view.put("network.protocol", Some("dns"));
                view.put("dns.type", fields.get("question").map(|_| "query"));
                move_all(QUESTION, fields, view);
            }
        }
        About::In => network(PEER_TO_LOCAL, "ingress", row, fields, view),
        About::Agent if row.kind.starts_with("agent.") => move_all(AGENT, fields, view),
        About::Child | About::Myself | About::Target | About::Kernel | About::Memory | About::Agent => {}
    }
}

fn program(fields: &mut Fields, view: &mut Object) {
    if let Some(path) = fields.text("path")
        && view.text("process.executable").is_none_or(|exe| exe == path)
    {
        view.put("process.executable", fields.take_text("path"));
    }
    view.put("process.command_line", fields.texts("argv").map(|args| args.join(" ")));
    move_all(PROGRAM, fields, view);
}

fn file(row: &Row, done: bool, fields: &mut Fields, view: &mut Object) {
    move_all(FILE, fields, view);
    let mode =
        fields.text(if row.kind == "chmod" && fields.get("result_mode").is_some() { "result_mode" } else { "mode" });
    if let Some(mode) = mode.filter(|_| done) {
        view.put("file.type", type_name(&mode));
        view.put("file.mode", permissions(&mode));
    }
    match row.kind {
        "symlink" => {
            view.put("file.type", Some("symlink"));
            view.put("file.target_path", fields.take_text("content"));
        }
        "chown" if done => {
            view.put("file.uid", fields.take_id("new_owner"));
            view.put("file.gid", fields.take_id("new_group"));
        }
        "truncate" if done => view.put("file.size", fields.take_number("length")),
        "modify" => view.put("file.size", fields.take_number("size")),
        _ => {}
    }
}

fn network(places: Places, direction: &str, row: &Row, fields: &mut Fields, view: &mut Object) {
    let family = fields.text("peer.family").or_else(|| fields.text("local.family"));
    if let Some(version) = family.as_deref().and_then(parts::ip_version) {
        view.put("network.type", Some(format!("ipv{version}")));
        view.put("network.direction", (row.about != About::Here).then_some(direction));
    }
    move_all(places, fields, view);
    for end in ["source", "destination"] {
        let ip = view.get(&format!("{end}.ip")).cloned();
        view.put(&format!("{end}.address"), ip);
    }
}

/// What follows from what is there.
fn derive(fields: &mut Fields, view: &mut Object) {
    // the parent that the process table has, or the number that the kernel half saw
    let ppid = fields.number("ppid");
    let parent = view.get("process.parent.pid").and_then(Value::as_i64);
    if parent.is_none() || parent == ppid {
        view.put("process.parent.pid", fields.take_number("ppid"));
    }
    for process in ["process", "process.parent"] {
        let name = view.text(&format!("{process}.executable")).and_then(base).map(str::to_owned);
        view.put(&format!("{process}.name"), name);
    }
    if view.get("process.name").is_none() {
        view.put("process.name", view.text("process.thread.name").map(str::to_owned));
    }
    // docs/events.md: an id that is not told is the effective one
    for (saved, effective) in [("saved_user", "user"), ("saved_group", "group")] {
        if view.get(&format!("process.{saved}.id")).is_none() {
            let id = view.get(&format!("process.{effective}.id")).cloned();
            view.put(&format!("process.{saved}.id"), id);
        }
    }
    if let Some(path) = view.text("file.path").map(str::to_owned) {
        let name = base(&path);
        view.put("file.name", name);
        view.put("file.directory", path.strip_suffix(name.unwrap_or_default()).and_then(directory));
        let extension = name.and_then(|name| name.rsplit_once('.')).filter(|(before, _)| !before.is_empty());
        view.put("file.extension", extension.map(|(_, behind)| behind).filter(|behind| !behind.is_empty()));
    }
}

fn directory(path: &str) -> Option<&str> {
    match path.trim_end_matches('/') {
        "" => (!path.is_empty()).then_some("/"),
        path => Some(path),
    }
}

fn type_name(mode: &str) -> Option<&'static str> {
    Some(match file_type(mode)? {
        0o01 => "fifo",
        0o02 => "char_device",
        0o04 => "dir",
        0o06 => "block_device",
        0o10 => "file",
        0o12 => "symlink",
        0o14 => "socket",
        _ => return None,
    })
}

/// The permissions of `100755`, as `0755`.
fn permissions(mode: &str) -> Option<String> {
    let mode = u32::from_str_radix(mode, 8).ok()?;
    Some(format!("{:04o}", mode & 0o7777))
}

fn move_all(places: Places, fields: &mut Fields, view: &mut Object) {
    for (to, from, how) in places {
        let value: Option<Value> = match how {
            Text => fields.take_text(from).map(Value::from),
            Texts => fields.take_texts(from).map(Value::from),
            Number => fields.take_number(from).map(Value::from),
            Id => fields.take_id(from).map(Value::from),
            Ip => fields.take_ip(from).map(Value::from),
            Port => fields.take_port(from).map(Value::from),
            Time => fields.take_time(from).map(Value::from),
        };
        view.put(to, value);
    }
}
