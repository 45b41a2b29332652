//! A record in the Open Cybersecurity Schema Framework: <https://schema.ocsf.io/1.8.0/>. What it has no attribute for
//! is under `unmapped`.

mod object;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    fields::{Fields, Object},
    parts::{self, Record},
    table::{self, About, BASE, Class, OTHER, Row},
};

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

/// The profiles of every event; `container` and `security_control` only where they are used.
const PROFILES: &[&str] = &["datetime", "host", "linux/linux_users"];

/// Values of enumerations.
mod value {
    pub const UNKNOWN: u32 = 0;
    pub const INFORMATIONAL: u32 = 1;
    pub const OTHER: u32 = 99;
    pub const SUCCESS: u32 = 1;
    pub const FAILURE: u32 = 2;
    pub const LINUX: u32 = 200;
    pub const OBSERVED: u32 = 3;
    pub const LOGGED: u32 = 17;
    pub const ALERT: u32 = 19;
}

/// The view of a record.
pub(super) fn view(record: Record<'_>) -> Value {
    let Record { mut fields, kind, place, id, origin, times } = record;
    let row = table::row(kind, &fields);
    let mut view = Object::default();
    let mut profiles = PROFILES.to_vec();
    device(origin, kind, &mut fields, &mut view);
    if control(&mut fields, &mut view) {
        profiles.push("security_control");
    }
    // a class that requires what this record lacks is none of its
    let (class, about) = if possible(row, &fields) { (row.class, row.about) } else { (&BASE, About::Agent) };
    fill(row, about, &mut fields, &mut view);
    if object::container(&mut fields, &mut view) {
        profiles.insert(0, "container");
    }
    classify(class, row, kind, &mut view);
    if let Some(success) = parts::take_success(&mut fields) {
        view.put("status_id", Some(if success { value::SUCCESS } else { value::FAILURE }));
    }
    view.put("status_code", fields.take_text("errno"));
    time(&mut fields, &mut view);
    if let Some(times) = times {
        view.put("count", times.count);
        view.put("start_time", times.first.map(Timestamp::as_millisecond));
        view.put("end_time", times.last.map(Timestamp::as_millisecond));
    }
    view.put("metadata.version", Some(VERSION));
    view.put("metadata.product.name", Some("sigtrail"));
    view.put("metadata.profiles", Some(json!(profiles)));
    view.put("metadata.log_name", Some(origin));
    view.put("metadata.uid", Some(id));
    view.put("metadata.event_code", fields.take_text("kind"));
    view.put("metadata.sequence", fields.take_number("seq"));
    let mut own = fields.rest(kind);
    own.extend(place);
    view.put("unmapped", Some(own));
    Value::Object(view.0)
}

/// The host is known by its log. What sort of a machine it is, a record does not say.
fn device(origin: &str, kind: &str, fields: &mut Fields, view: &mut Object) {
    view.put("device.uid", Some(origin));
    view.put("device.type_id", Some(value::UNKNOWN));
    view.put("device.os.name", Some("Linux"));
    view.put("device.os.type_id", Some(value::LINUX));
    if kind == "agent.start" {
        view.put("device.os.kernel_release", fields.take_text("kernel"));
        view.put("metadata.product.version", fields.take_text("version"));
    }
}

/// What the policy says, as the profile `security_control` has it. An alert stays one event, of the class of what
/// happened: a Detection Finding would be a second one.
fn control(fields: &mut Fields, view: &mut Object) -> bool {
    let Some(verdict) = fields.text("policy.verdict") else {
        view.put("severity_id", Some(value::INFORMATIONAL));
        return false;
    };
    let alert = matches!(verdict.as_ref(), "alert" | "capture");
    if alert {
        // the level of the rule is not in the record
        view.put("severity_id", Some(value::OTHER));
        view.put("severity", Some(verdict));
    } else {
        view.put("severity_id", Some(value::INFORMATIONAL));
    }
    view.put("is_alert", Some(alert));
    view.put("action_id", Some(value::OBSERVED));
    view.put("disposition_id", Some(if alert { value::ALERT } else { value::LOGGED }));
    view.put("policy.uid", fields.take_text("policy.rule"));
    true
}

fn classify(class: &Class, row: &Row, kind: &str, view: &mut Object) {
    let activity = if class.uid == row.class.uid { row.activity } else { OTHER };
    view.put("class_uid", Some(class.uid));
    view.put("class_name", Some(class.name));
    view.put("category_uid", Some(class.category.0));
    view.put("category_name", class.category.1);
    view.put("activity_id", Some(activity));
    view.put("activity_name", Some(class.activity(activity).unwrap_or(kind)));
    view.put("type_uid", Some(class.uid * 100 + activity));
}

fn time(fields: &mut Fields, view: &mut Object) {
    view.put("time", fields.time("time").map(Timestamp::as_millisecond));
    view.put("time_dt", fields.take_time("time"));
}

/// Whether the record has what its class requires.
fn possible(row: &Row, fields: &Fields) -> bool {
    let process = fields.number("pid").is_some() || fields.text("process.id").is_some();
    match row.about {
        About::Agent => true,
        About::Program | About::Myself | About::End | About::Memory | About::Kernel => process,
        About::Child => process && fields.number("child_pid").is_some(),
        About::Target => process && fields.number("target_host_pid").is_some(),
        About::File | About::Names | About::Made => process && fields.text("path").is_some(),
        About::Driver => process && (fields.text("path").is_some() || fields.text("module").is_some()),
        About::Out | About::In | About::Here => ["local", "peer"].iter().any(|end| object::has_end(end, fields)),
    }
}

/// Puts what the class is about, and who did it.
fn fill(row: &Row, about: About, fields: &mut Fields, view: &mut Object) {
    let done = fields.is("success", true);
    match about {
        About::Program => {
            object::parent(fields, view);
            object::user(fields, view);
            object::program(done, fields, view);
            object::process("process", fields, view);
            view.put("launch_type_id", Some(3));
        }
        About::Child => {
            view.put("process.uid", parts::child_id(fields));
            view.put("process.pid", fields.take_number("child_pid"));
            view.put("launch_type_id", Some(2));
            object::actor(fields, view);
        }
        About::Myself | About::End => myself(row, fields, view),
        About::Memory => {
            view.put("base_address", fields.take_text("address"));
            view.put("size", fields.take_number("length"));
            myself(row, fields, view);
        }
        About::Target => {
            object::target(fields, view);
            if row.class.activity(row.activity) == Some("Inject") {
                view.put("injection_type_id", Some(value::OTHER));
                view.put("injection_type", Some(row.action));
            }
            object::actor(fields, view);
        }
        About::File | About::Names | About::Made => {
            object::file(row, done, fields, view);
            object::actor(fields, view);
        }
        About::Out | About::In | About::Here => {
            object::ends(row, fields, view);
            object::actor(fields, view);
        }
        About::Kernel => {
            object::kernel(row, fields, view);
            object::actor(fields, view);
        }
        About::Driver => {
            object::driver(fields, view);
            object::actor(fields, view);
        }
        About::Agent => {
            view.put("message", fields.take_text("why"));
            object::actor(fields, view);
        }
    }
}

/// The process is also what it acts on.
fn myself(row: &Row, fields: &mut Fields, view: &mut Object) {
    view.put("actor.process.pid", fields.number("pid"));
    view.put("actor.process.uid", fields.text("process.id"));
    object::user(fields, view);
    object::process("process", fields, view);
    if row.about == About::End {
        view.put("status_detail", fields.take_text("signal"));
        if view.get("status_detail").is_none() {
            view.put("exit_code", fields.take_number("code"));
        }
        view.put("process.terminated_time", fields.time("time").map(Timestamp::as_millisecond));
    }
}
