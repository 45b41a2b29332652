//! What each kind is in the words of ECS and of OCSF, and what docs/mapping.md says of it.

use super::fields::Fields;
use serde_json::Value;

/// When a row is about a record. The first row of its kind that is, holds.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Always.
    Always,
    /// A field is true.
    True(&'static str),
    /// A field is false.
    False(&'static str),
    /// A field is one of these texts.
    Is(&'static str, &'static [&'static str]),
    /// A field is there.
    Has(&'static str),
}

/// A class of OCSF.
#[derive(Debug)]
pub struct Class {
    /// Its number.
    pub uid: u32,
    /// Its name.
    pub name: &'static str,
    /// Its category.
    pub category: (u32, Option<&'static str>),
    activities: &'static [(u32, &'static str)],
}

/// What the fields of a record are about, which says where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A process that runs a new program: itself.
    Program,
    /// A child of the process.
    Child,
    /// The process, which does something with itself.
    Myself,
    /// The end of the process.
    End,
    /// Another process.
    Target,
    /// The file at `path`.
    File,
    /// A file with an old and a new name.
    Names,
    /// A file system object with a mode that was asked for.
    Made,
    /// What goes out of a socket.
    Out,
    /// What comes into a socket.
    In,
    /// A socket that waits, or will.
    Here,
    /// What the kernel did for a call.
    Kernel,
    /// A module of the kernel.
    Driver,
    /// Memory of the process.
    Memory,
    /// The agent and its log.
    Agent,
}

/// One row of the mapping.
#[derive(Debug)]
pub struct Row {
    /// The kind.
    pub kind: &'static str,
    /// When the row holds.
    pub when: When,
    /// `event.category`.
    pub category: &'static str,
    /// `event.type`.
    pub types: &'static [&'static str],
    /// `event.action`.
    pub action: &'static str,
    /// The class of OCSF.
    pub class: &'static Class,
    /// Its activity.
    pub activity: u32,
    /// Where the fields go.
    pub about: About,
}

/// The activity that has no number of its own: it is told by its name.
pub const OTHER: u32 = 99;

const SYSTEM: (u32, Option<&str>) = (1, Some("System Activity"));
const NETWORK: (u32, Option<&str>) = (4, Some("Network Activity"));

/// For what has no class.
pub static BASE: Class = Class { uid: 0, name: "Base Event", category: (0, None), activities: &[] };
static FILE: Class = Class {
    uid: 1001,
    name: "File System Activity",
    category: SYSTEM,
    activities: &[
        (1, "Create"),
        (3, "Update"),
        (4, "Delete"),
        (5, "Rename"),
        (6, "Set Attributes"),
        (7, "Set Security"),
        (12, "Mount"),
        (13, "Unmount"),
        (14, "Open"),
    ],
};
static DRIVER: Class =
    Class { uid: 1002, name: "Kernel Extension Activity", category: SYSTEM, activities: &[(1, "Load"), (2, "Unload")] };
static KERNEL: Class =
    Class { uid: 1003, name: "Kernel Activity", category: SYSTEM, activities: &[(1, "Create"), (4, "Invoke")] };
static MEMORY: Class = Class {
    uid: 1004,
    name: "Memory Activity",
    category: SYSTEM,
    activities: &[(1, "Allocate Page"), (2, "Modify Page"), (7, "Read")],
};
static PROCESS: Class = Class {
    uid: 1007,
    name: "Process Activity",
    category: SYSTEM,
    activities: &[(1, "Launch"), (2, "Terminate"), (3, "Open"), (4, "Inject"), (5, "Set User ID")],
};
static NET: Class = Class {
    uid: 4001,
    name: "Network Activity",
    category: NETWORK,
    activities: &[(1, "Open"), (4, "Fail"), (5, "Refuse"), (6, "Traffic"), (7, "Listen")],
};
static DNS: Class =
    Class { uid: 4003, name: "DNS Activity", category: NETWORK, activities: &[(1, "Query"), (6, "Traffic")] };

macro_rules! rows {
    ($($kind:literal, $when:expr => $category:literal $types:tt $action:literal, $class:ident $activity:expr, $about:ident;)*) => {
        &[$(Row {
            kind: $kind, when: $when, category: $category, types: &$types, action: $action,
            class: &$class, activity: $activity, about: About::$about,
        },)*]
    };
}

use When::{Always, False, Has, Is, True};

/// All of it. The names of actions are those that the rules of Elastic for Linux ask for, where they have one.
pub static ROWS: &[Row] = rows! {
    "exec", False("success") => "process" ["info"] "exec", PROCESS 1, Program;
    "exec", Always => "process" ["start"] "exec", PROCESS 1, Program;
    "fork", Always => "process" ["start"] "fork", PROCESS 1, Child;
    "exit", Always => "process" ["end"] "end", PROCESS 2, End;
    "open", True("created") => "file" ["creation"] "creation", FILE 1, File;
    "open", Is("access", &["write", "read-write"]) => "file" ["access"] "opened-file", FILE 3, File;
    "open", Always => "file" ["access"] "opened-file", FILE 14, File;
    "unlink", Always => "file" ["deletion"] "deletion", FILE 4, File;
    "rmdir", Always => "file" ["deletion"] "deletion", FILE 4, File;
    "rename", Always => "file" ["change"] "rename", FILE 5, Names;
    "link", Always => "file" ["creation"] "creation", FILE 1, Names;
    "symlink", Always => "file" ["creation"] "creation", FILE 1, File;
    "chmod", Always => "file" ["change"] "modified-permissions", FILE 7, File;
    "chown", Always => "file" ["change"] "modified-owner", FILE 7, File;
    "truncate", Always => "file" ["change"] "modification", FILE 3, File;
    "modify", Always => "file" ["change"] "modification", FILE 3, File;
    "mkdir", Always => "file" ["creation"] "creation", FILE 1, Made;
    "mknod", Always => "file" ["creation"] "creation", FILE 1, Made;
    "setxattr", Always => "file" ["change"] "modified-attributes", FILE 6, File;
    "removexattr", Always => "file" ["change"] "modified-attributes", FILE 6, File;
    "utimes", Always => "file" ["change"] "modified-times", FILE 6, File;
    "file_setattr", Always => "file" ["change"] "modified-attributes", FILE 6, File;
    "mount", Always => "host" ["change"] "mount", FILE 12, File;
    "umount", Always => "host" ["change"] "umount", FILE 13, File;
    "pivot_root", Always => "process" ["change"] "pivot_root", FILE OTHER, File;
    "chroot", Always => "process" ["change"] "chroot", FILE OTHER, File;
    "swap", Always => "host" ["change"] "swap", FILE OTHER, File;
    "memfd_create", Always => "process" ["change"] "memfd_create", KERNEL 1, Kernel;
    "connect", Is("errno", &["ECONNREFUSED"]) => "network" ["connection", "start"] "connection_attempted", NET 5, Out;
    // the connection is on its way
    "connect", Is("errno", &["EINPROGRESS"]) => "network" ["connection", "start"] "connection_attempted", NET 1, Out;
    "connect", False("success") => "network" ["connection", "start"] "connection_attempted", NET 4, Out;
    "connect", Always => "network" ["connection", "start"] "connection_attempted", NET 1, Out;
    "accept", False("success") => "network" ["connection", "info"] "connection_accepted", NET 4, In;
    "accept", Always => "network" ["connection", "start"] "connection_accepted", NET 1, In;
    "bind", Always => "network" ["info"] "bind", NET OTHER, Here;
    "listen", Always => "network" ["info"] "listen", NET 7, Here;
    "send", Always => "network" ["info"] "send", NET 6, Out;
    "dns", Has("question") => "network" ["protocol", "info"] "lookup_requested", DNS 1, Out;
    "dns", Always => "network" ["protocol", "info"] "send", DNS 6, Out;
    "socket", Always => "network" ["info"] "socket", KERNEL 1, Kernel;
    "setid", Is("call", &["setgid", "setregid", "setresgid", "setfsgid", "setgroups"])
        => "process" ["change"] "gid_change", PROCESS 5, Myself;
    "setid", Always => "process" ["change"] "uid_change", PROCESS 5, Myself;
    "cred_change", Always => "process" ["change"] "cred_change", PROCESS 5, Myself;
    "capset", Always => "process" ["change"] "capset", PROCESS 5, Myself;
    "capability", Always => "process" ["info"] "capability", PROCESS OTHER, Myself;
    "namespace", Always => "process" ["change"] "namespace", PROCESS OTHER, Myself;
    "prctl", Always => "process" ["change"] "prctl", PROCESS OTHER, Myself;
    "seccomp", Always => "process" ["change"] "seccomp", PROCESS OTHER, Myself;
    "landlock", Always => "process" ["change"] "landlock", PROCESS OTHER, Myself;
    "lsm", Always => "process" ["change"] "lsm", PROCESS OTHER, Myself;
    "personality", Always => "process" ["change"] "personality", PROCESS OTHER, Myself;
    "setsid", Always => "process" ["change"] "setsid", PROCESS OTHER, Myself;
    "ptrace", Is("request", &["PTRACE_TRACEME"]) => "process" ["change"] "ptrace", PROCESS OTHER, Myself;
    "ptrace", Is("request", &["PTRACE_DETACH"]) => "process" ["change"] "ptrace", PROCESS OTHER, Target;
    "ptrace", Always => "process" ["change"] "ptrace", PROCESS 4, Target;
    "process_vm", Is("call", &["process_vm_writev"]) => "process" ["change"] "process_vm_writev", PROCESS 4, Target;
    "process_vm", Is("call", &["process_vm_readv"]) => "process" ["access"] "process_vm_readv", MEMORY 7, Target;
    "process_vm", Always => "process" ["change"] "process_vm", PROCESS OTHER, Target;
    "pidfd", Always => "process" ["access"] "pidfd", PROCESS 3, Target;
    "kill", Always => "process" ["change"] "kill", PROCESS OTHER, Target;
    "prlimit", Always => "process" ["change"] "prlimit", PROCESS OTHER, Target;
    "module_load", Has("path") => "driver" ["start"] "load_module", DRIVER 1, Driver;
    "module_load", Always => "driver" ["start"] "load_module", KERNEL 4, Kernel;
    "module_unload", Always => "driver" ["end"] "unload_module", DRIVER 2, Driver;
    "kexec", Always => "host" ["change"] "kexec", KERNEL 4, Kernel;
    "bpf", Is("command", &["BPF_PROG_LOAD", "BPF_MAP_CREATE", "BPF_LINK_CREATE"])
        => "process" ["info"] "bpf", KERNEL 1, Kernel;
    "bpf", Always => "process" ["info"] "bpf", KERNEL 4, Kernel;
    "perf_event_open", Always => "process" ["info"] "perf_event_open", KERNEL 1, Kernel;
    "keyctl", Always => "process" ["info"] "keyctl", KERNEL 4, Kernel;
    "userfaultfd", Always => "process" ["info"] "userfaultfd", KERNEL 1, Kernel;
    "io_uring", Always => "process" ["info"] "io_uring", KERNEL 1, Kernel;
    "io_uring_silent", Always => "process" ["info"] "io_uring_silent", KERNEL 4, Kernel;
    "settime", Always => "host" ["change"] "settime", KERNEL 4, Kernel;
    "hostname", Always => "host" ["change"] "hostname", KERNEL 4, Kernel;
    "reboot", Always => "host" ["change"] "reboot", KERNEL 4, Kernel;
    "acct", Always => "host" ["change"] "acct", KERNEL 4, Kernel;
    "ioport", Always => "process" ["info"] "ioport", KERNEL 4, Kernel;
    "syslog", Always => "host" ["change"] "syslog", KERNEL 4, Kernel;
    "mprotect", Is("call", &["mmap"]) => "process" ["change"] "mmap", MEMORY 1, Memory;
    "mprotect", Always => "process" ["change"] "mprotect", MEMORY 2, Memory;
    "agent.start", Always => "host" ["info"] "agent-start", BASE OTHER, Agent;
    "agent.handover", Always => "host" ["info"] "agent-handover", BASE OTHER, Agent;
    "agent.hook", Always => "host" ["info"] "agent-hook", BASE OTHER, Agent;
    "agent.recovered", Always => "host" ["info"] "agent-recovered", BASE OTHER, Agent;
    "agent.policy", Always => "configuration" ["change"] "agent-policy", BASE OTHER, Agent;
    "agent.degraded", Always => "host" ["info"] "agent-degraded", BASE OTHER, Agent;
    "agent.lost", Always => "host" ["info"] "agent-lost", BASE OTHER, Agent;
    "agent.sink", Always => "host" ["info"] "agent-sink", BASE OTHER, Agent;
    "agent.clock_step", Always => "host" ["change"] "agent-clock-step", BASE OTHER, Agent;
    "agent.capture", Always => "host" ["info"] "agent-capture", BASE OTHER, Agent;
    "agent.stop", Always => "host" ["info"] "agent-stop", BASE OTHER, Agent;
    "mismatch", Always => "host" ["info"] "mismatch", BASE OTHER, Agent;
    "summary", Always => "host" ["info"] "summary", BASE OTHER, Agent;
    "enrol", Always => "configuration" ["info"] "enrol", BASE OTHER, Agent;
};

/// For what is no record of this agent.
static UNKNOWN: Row = Row {
    kind: "",
    when: Always,
    category: "host",
    types: &["info"],
    action: "other",
    class: &BASE,
    activity: OTHER,
    about: About::Agent,
};

/// Whether the kind has rows.
pub(super) fn knows(kind: &str) -> bool {
    ROWS.iter().any(|row| row.kind == kind)
}

/// The row of a record.
pub(super) fn row(kind: &str, fields: &Fields) -> &'static Row {
    ROWS.iter().find(|row| row.kind == kind && row.when.holds(fields)).unwrap_or(&UNKNOWN)
}

impl When {
    fn holds(self, fields: &Fields) -> bool {
        match self {
            Always => true,
            True(name) => fields.is(name, true),
            False(name) => fields.is(name, false),
            Is(name, texts) => fields.get(name).and_then(Value::as_str).is_some_and(|text| texts.contains(&text)),
            Has(name) => fields.get(name).is_some(),
        }
    }

    fn words(self) -> String {
        match self {
            Always => String::new(),
            True(name) => format!("`{name}`"),
            False(name) => format!("not `{name}`"),
            Is(name, texts) => format!("`{name}` is `{}`", texts.join("` or `")),
            Has(name) => format!("with `{name}`"),
        }
    }
}

impl Class {
    /// The name of an activity, unless it is [`OTHER`].
    pub fn activity(&self, id: u32) -> Option<&'static str> {
        self.activities.iter().find(|(it, _)| *it == id).map(|(_, name)| *name)
    }
}

/// The table of docs/mapping.md.
pub fn markdown() -> String {
    let row = |row: &Row| {
        let Row { kind, category, action, class, activity, .. } = row;
        let (when, types) = (row.when.words(), row.types.join(", "));
        let named = class.activity(*activity).map_or_else(|| format!("Other: `{kind}`"), str::to_owned);
        let (uid, class) = (class.uid, class.name);
        format!("| `{kind}` | {when} | {category} / {types} / `{action}` | {uid} {class} / {activity} {named} |\n")
    };
    ROWS.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use common::Kind;

    use super::*;

    #[test]
    fn every_kind_has_a_last_row_that_always_holds() {
        let kinds = Kind::ALL.iter().map(|kind| kind.name()).chain(ROWS.iter().map(|row| row.kind));
        for kind in kinds {
            let rows: Vec<_> = ROWS.iter().filter(|row| row.kind == kind).collect();
            let (last, before) = rows.split_last().unwrap_or_else(|| panic!("{kind} has no row"));
            assert!(matches!(last.when, Always), "{kind}");
            assert!(!before.iter().any(|row| matches!(row.when, Always)), "{kind}");
        }
    }

    #[test]
    fn activities_have_names() {
        for row in ROWS {
            assert_eq!(row.class.activity(row.activity).is_none(), row.activity == OTHER, "{row:?}");
        }
    }
}
