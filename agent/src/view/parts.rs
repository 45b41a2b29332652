//! What both schemas ask of a record.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::fields::Fields;

/// A record on its way into a view.
pub(super) struct Record<'a> {
    /// What nobody took yet. Of a summary: its sample, with the summary beside it.
    pub fields: Fields,
    /// The kind that the fields are of.
    pub kind: &'a str,
    /// Where the evidence is.
    pub place: Map<String, Value>,
    /// The name of the event in every index.
    pub id: String,
    /// The name of the log, which stands for the host.
    pub origin: &'a str,
    /// Of a summary.
    pub times: Option<Times>,
}

/// What a summary stands for.
pub(super) struct Times {
    /// How many events.
    pub count: Option<i64>,
    /// When the first happened.
    pub first: Option<Timestamp>,
    /// When the last happened.
    pub last: Option<Timestamp>,
}

/// Whether the call succeeded.
pub(super) fn take_success(fields: &mut Fields) -> Option<bool> {
    let success = fields.get("success")?.as_bool()?;
    fields.take("success");
    Some(success)
}

/// `process.id` of a child: the digits of the boot, its number, and its start in clock ticks (USER_HZ, which is 100).
pub(super) fn child_id(fields: &Fields) -> Option<String> {
    const TICK: i64 = 10_000_000;
    relative(fields, fields.number("child_pid")?, fields.number("child_start")? / TICK)
}

/// `process.id` of the process that a call is about.
pub(super) fn target_id(fields: &Fields) -> Option<String> {
    relative(fields, fields.number("target_host_pid")?, fields.number("target_start")?)
}

/// `process.id` of another process of this boot.
fn relative(fields: &Fields, pid: i64, ticks: i64) -> Option<String> {
    let own = fields.text("process.id")?;
    let (boot, _) = own.split_once('-')?;
    Some(format!("{boot}-{pid}-{ticks}"))
}

/// The version of the internet protocol, of the family of an address.
pub(super) fn ip_version(family: &str) -> Option<u8> {
    match family {
        "inet" => Some(4),
        "inet6" => Some(6),
        _ => None,
    }
}
