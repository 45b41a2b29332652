//! What the kernel half may leave out: the classes of events that the policy drops whatever else they say, and the
//! calls all of whose events it drops. What depends on more than that is asked of the event itself: see
//! [`super::matcher`].
//!
//! A class fixes some fields of an event: whether the call succeeded, its error, of an open what it was for and
//! whether it created or emptied the file (`agent-ebpf/src/program/open.rs` decides). Each way
//! in which it may do so is a [`World`]. In a world the rules are evaluated with all other fields unknown; the kernel
//! half may leave a class out when the result is a drop, for certain, in all of its worlds.

use std::{collections::BTreeSet, fmt, sync::OnceLock};

use common::{
    Call, Kind, Lane, Value,
    filter::{KINDS, Matcher, class},
};

use super::{
    Policy,
    compile::KindRules,
    eval::{Check, Expr},
    matcher,
};
use crate::record::{Derived, Slot, Verdict, errno};

/// The classes with their names.
const CLASSES: &[(u8, &str)] =
    &[(class::SUCCESS, "success"), (class::READ, "read"), (class::DENIED, "denied"), (class::FAILED, "failed")];
/// See open(2).
const O_TRUNC: u64 = 0o1000;
/// The kernel's own error numbers end here; those behind have no names.
const ERRNO_LIMIT: i64 = 600;

/// What is known of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    /// The classes that an event of this world may be in.
    class: u8,
    kind: Kind,
    success: bool,
    errno: Value<'static>,
    /// The call, if one is meant.
    call: Option<Call>,
    /// Of an open that succeeded.
    open: Option<Opened>,
}

/// What decides about the class of an open.
#[derive(Clone, Copy, Debug)]
struct Opened {
    access: &'static str,
    created: bool,
    /// `O_TRUNC` is set: even an open for reading empties the file then.
    truncates: bool,
}

impl Opened {
    fn class(self) -> u8 {
        match self.access {
            _ if self.created || self.truncates => class::SUCCESS,
            "read" => class::READ,
            // with `O_PATH` it counts as a read; with the access mode 3, which bears the same name, it does not
            "path" => class::READ | class::SUCCESS,
            _ => class::SUCCESS,
        }
    }
}

/// All worlds of a kind.
pub(super) fn worlds(kind: Kind) -> Vec<World> {
    let success = World { class: class::SUCCESS, kind, success: true, errno: Value::Null, call: None, open: None };
    let mut worlds = Vec::new();
    if kind == Kind::Open {
        for access in ["read", "write", "read-write", "path"] {
            for (created, truncates) in [(false, false), (false, true), (true, false), (true, true)] {
                let open = Opened { access, created, truncates };
                worlds.push(World { class: open.class(), open: Some(open), ..success });
            }
        }
    } else {
        worlds.push(success);
    }
    worlds.extend(errors().iter().map(|name| {
        let class = if matches!(*name, "EACCES" | "EPERM") { class::DENIED } else { class::FAILED };
        World { class, success: false, errno: Value::Name(name), ..success }
    }));
    worlds
}

/// The names of all errors.
pub(super) fn errors() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names: Vec<_> = (1..ERRNO_LIMIT).filter_map(|number| errno::name(-number)).collect();
        names.sort_unstable();
        names.dedup();
        names
    })
}

impl World {
    /// Whether a rule holds in this world; `None` when that depends on what is not known.
    pub fn certain(&self, expr: &Expr) -> Option<bool> {
        expr.certain(&|slot, check| self.answer(slot, check))
    }

    fn answer(&self, slot: Slot, check: &Check) -> Option<bool> {
        let value = match slot {
            Slot::Derived(Derived::Kind) => Value::Name(self.kind.name()),
            Slot::Derived(Derived::Success) => Value::Bool(self.success),
            Slot::Derived(Derived::Errno) => self.errno,
            Slot::Body(at) => match (self.kind.fields()[at].name, self.open?) {
                ("access", open) => Value::Name(open.access),
                ("created", open) => Value::Bool(open.created),
                // one of the flags is known, the others are not
                ("flags", open) => match check {
                    Check::Bits(O_TRUNC) => return Some(open.truncates),
                    Check::Bits(bits) if bits & O_TRUNC != 0 && !open.truncates => return Some(false),
                    _ => return None,
                },
                _ => return None,
            },
            Slot::Derived(Derived::Call) => Value::Name(self.call?.name()),
            Slot::Header(_) | Slot::BodyPart(..) | Slot::Context(_) | Slot::Derived(Derived::Via) => return None,
        };
        Some(check.accepts(value))
    }

    /// Whether every event of this world is dropped.
    fn is_dropped(&self, policy: &Policy, rules: &KindRules) -> bool {
        for (at, expr) in &rules.rules {
            let keeps = policy.rules[*at].verdict != Verdict::Drop;
            match self.certain(expr) {
                Some(true) => return !keeps,
                None if keeps => return false,
                None | Some(false) => {}
            }
        }
        policy.default == Verdict::Drop
    }

    /// Whether every event of this world with no path near a place of a matcher is sent in the lane of its kind.
    fn is_sent_elsewhere(&self, policy: &Policy, matcher: &Matcher) -> bool {
        let is_sent = |verdict| match verdict {
            Verdict::Drop => false,
            Verdict::Alert | Verdict::Capture => self.kind.lane() == Lane::Critical,
            Verdict::Keep => true,
        };
        let answer = |slot, check: &Check| {
            let about_places = matcher::is_about_places(matcher, self.kind, slot, check);
            if about_places { Some(false) } else { self.answer(slot, check) }
        };
        for (at, expr) in &policy.kind(self.kind).rules {
            let is_sent = is_sent(policy.rules[*at].verdict);
            match expr.certain(&answer) {
                Some(true) => return is_sent,
                None if !is_sent => return false,
                None | Some(false) => {}
            }
        }
        is_sent(policy.default)
    }
}

impl Policy {
    /// The classes that the kernel half must send, as bits of [`class`], by [`Kind`]: all others are dropped by every
    /// rule and the default. Numbers without a kind have no bit.
    pub fn wanted(&self) -> [u8; KINDS] {
        let mut wanted = [0; KINDS];
        for kind in Kind::ALL {
            let wanted_of_kind = &mut wanted[*kind as usize];
            for world in worlds(*kind).iter().filter(|world| !world.is_dropped(self, self.kind(*kind))) {
                *wanted_of_kind |= world.class;
            }
        }
        wanted
    }

    /// The calls that may make an event which is not dropped.
    pub fn calls(&self) -> Vec<Call> {
        let kinds = |call: Call| match call {
            Call::Unlinkat => vec![Kind::Unlink, Kind::Rmdir],
            call => match call.kind() {
                Some(Kind::Send) => vec![Kind::Send, Kind::Dns],
                kind => kind.into_iter().collect(),
            },
        };
        let makes = |call: Call, kind: Kind| {
            // of these some calls fill the event that others send
            let call = (kind != Kind::Modify).then_some(call);
            let mut worlds = worlds(kind).into_iter().map(|world| World { call, ..world });
            worlds.any(|world| !world.is_dropped(self, self.kind(kind)))
        };
        Call::ALL.iter().copied().filter(|call| kinds(*call).into_iter().any(|kind| makes(*call, kind))).collect()
    }

    /// What the kernel half asks of the events of each kind before it sends them, where that can spare any, or find the
    /// alerts among many.
    pub fn matchers(&self) -> Vec<(Kind, Box<Matcher>)> {
        let matcher = |kind: &Kind| Some((*kind, self.matcher(*kind)?));
        Kind::ALL.iter().filter_map(matcher).collect()
    }

    /// The programs that tell of files that were written to do not ask: there is one event for many writes.
    fn matcher(&self, kind: Kind) -> Option<Box<Matcher>> {
        if kind == Kind::Modify {
            return None;
        }
        let mut matcher = matcher::compile(self, kind, self.kind(kind))?;
        for (bit, _) in CLASSES {
            let mut worlds = worlds(kind).into_iter().filter(|world| world.class & bit != 0);
            let is_left_out = |world: &World| world.is_dropped(self, self.kind(kind));
            if worlds.all(|world| is_left_out(&world) || world.is_sent_elsewhere(self, &matcher)) {
                matcher.elsewhere |= u32::from(*bit);
            }
        }
        Some(matcher)
    }

    /// For each kind: what the kernel half does, and which rules decide about the rest.
    pub fn explain(&self) -> Vec<Share<'_>> {
        let wanted = self.wanted();
        let share = |kind: &Kind| Share {
            kind: *kind,
            wanted: wanted[*kind as usize],
            rules: self.kind(*kind).rules.iter().map(|(at, _)| self.rules[*at].id.as_str()).collect(),
            matched: self.matcher(*kind).map(|it| [it.atom_count, it.place_count, it.step_count]),
            open: matcher::left_open(*kind, self.kind(*kind)),
        };
        Kind::ALL.iter().map(share).collect()
    }
}

/// Who decides about the events of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share<'p> {
    /// The kind.
    pub kind: Kind,
    /// The classes that leave the kernel, as bits of [`class`].
    pub wanted: u8,
    /// The rules that look at this kind, first match first.
    pub rules: Vec<&'p str>,
    /// Numbers, paths and steps by which the kernel half discards single events of these classes, or knows alerts, if it
    /// can.
    pub matched: Option<[u32; 3]>,
    /// Fields that rules test and only the user half can.
    pub open: BTreeSet<String>,
}

impl fmt::Display for Share<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = CLASSES.iter().filter(|(bit, _)| *bit != class::READ || self.kind == Kind::Open);
        let names = |sent: bool| {
            let names: Vec<_> =
                classes.clone().filter(|(bit, _)| (self.wanted & bit != 0) == sent).map(|(_, name)| *name).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        write!(f, "{}: dropped in the kernel: {}; sent: {}", self.kind.name(), names(false), names(true))?;
        if self.wanted != 0 && !self.rules.is_empty() {
            write!(f, "; rules: {}", self.rules.join(", "))?;
        }
        if let (Some([atoms, places, steps]), true) = (self.matched, self.wanted != 0) {
            write!(
                f,
                "; of these the kernel sorts out what {atoms} numbers and {places} paths decide in {steps} steps"
            )?;
            if !self.open.is_empty() {
                let open: Vec<_> = self.open.iter().map(String::as_str).collect();
                write!(f, ", without a look at {}", open.join(", "))?;
            }
        }
        Ok(())
    }
}
