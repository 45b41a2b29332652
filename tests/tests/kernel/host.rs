//! Modules, eBPF, clocks, restarts: what would change this host is only tried without rights, or with arguments that the
//! kernel refuses.

use nix::libc;
use serde_json::{Value, json};

use crate::{
    FAMILIES,
    actor::{Stage, args},
    privileges::merge,
};

const NOBODY: i32 = 65534;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

fn of(kind: &str, call: &str, more: Value) -> Value {
    let mut fields = json!({ "kind": kind, "call": call });
    merge(&mut fields, more);
    fields
}

#[test]
fn denied() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        let file = it.path("file");
        std::fs::write(&file, "x").unwrap();
        let fd = it.quiet(libc::SYS_open, args![&file, 0, 0]);
        it.quiet(libc::SYS_setresgid, args![NOBODY, NOBODY, NOBODY]);
        it.quiet(libc::SYS_setresuid, args![NOBODY, NOBODY, NOBODY]);

        let more =
            json!({ "path": file, "args": "a=1 b", "flags": "MODULE_INIT_IGNORE_VERMAGIC", "user_copy": ["args"] });
        it.check(
            "finit_module",
            libc::SYS_finit_module,
            args![fd, "a=1 b", 2],
            of("module_load", "finit_module", more),
        );
        let more = json!({ "args": "", "flags": "0", "size": 1, "user_copy": ["args"] });
        it.check("init_module", libc::SYS_init_module, args!["x", 1, ""], of("module_load", "init_module", more));
        let more = json!({ "module": "none", "flags": "O_NONBLOCK", "user_copy": ["module"] });
        it.check(
            "delete_module",
            libc::SYS_delete_module,
            args!["none", 0o4000],
            of("module_unload", "delete_module", more),
        );
        let more = json!({ "path": file, "cmdline": "quiet", "flags": "0", "file_flags": "KEXEC_FILE_NO_INITRAMFS", "user_copy": ["cmdline"] });
        it.check(
            "kexec_file_load",
            libc::SYS_kexec_file_load,
            args![fd, -1, 6, "quiet", 4],
            of("kexec", "kexec_file_load", more),
        );
        let more = json!({ "flags": "KEXEC_ON_CRASH", "file_flags": "0" });
        it.check("kexec_load", libc::SYS_kexec_load, args![0, 0, 0, 1], of("kexec", "kexec_load", more));
        let more = json!({ "command": "LINUX_REBOOT_CMD_CAD_OFF" });
        it.check("reboot", libc::SYS_reboot, args![0xfee1_dead_u32, 672_274_793, 0, 0], of("reboot", "reboot", more));

        let time = |call: &str, time: Value, modes: &str| {
            let copied = if time.is_null() { json!(["modes"]) } else { json!(["new_time", "modes"]) };
            let more = json!({ "clock": "CLOCK_REALTIME", "new_time": time, "modes": modes, "user_copy": copied });
            of("settime", call, more)
        };
        let longs = |numbers: &[u64]| numbers.iter().flat_map(|it| it.to_ne_bytes()).collect::<Vec<u8>>();
        let timex = [words(&[1]), vec![0; 204]].concat();
        it.check(
            "clock_settime",
            libc::SYS_clock_settime,
            args![0, longs(&[1, 2])],
            time("clock_settime", json!("1000000002"), "0"),
        );
        it.check(
            "settimeofday",
            libc::SYS_settimeofday,
            args![longs(&[3, 4]), 0],
            time("settimeofday", json!("3000004000"), "0"),
        );
        it.check("adjtimex", libc::SYS_adjtimex, args![timex.clone()], time("adjtimex", json!(null), "ADJ_OFFSET"));
        it.check(
            "clock_adjtime",
            libc::SYS_clock_adjtime,
            args![0, timex],
            time("clock_adjtime", json!(null), "ADJ_OFFSET"),
        );
        let (_, records) = it.act(libc::SYS_adjtimex, args![vec![0; 208]]);
        assert_eq!(records, [] as [Value; 0], "a question");
        for (number, call, list, expected) in [
            (264, "clock_settime", args![0, words(&[1, 2])], "1000000002"),
            (404, "clock_settime", args![0, longs(&[1, 2])], "1000000002"),
            (79, "settimeofday", args![words(&[3, 4]), 0], "3000004000"),
            (25, "stime", args![words(&[5]), 0], "5000000000"),
        ] {
            let done = it.actor.compat(number, list);
            let records = it.records(done);
            it.compare(call, done, records, time(call, json!(expected), "0"));
        }

        let more = json!({ "path": file, "user_copy": ["path"] });
        it.check("acct", libc::SYS_acct, args![&file], of("acct", "acct", more));
        it.check("acct, off", libc::SYS_acct, args![0], of("acct", "acct", json!({})));
        let more = json!({ "path": "/dev/null", "command": "Q_QUOTAON", "quota_id": 7, "user_copy": ["path"] });
        it.check(
            "quotactl",
            libc::SYS_quotactl,
            args![0x8000_0200_u32, "/dev/null", 7, 0],
            of("acct", "quotactl", more),
        );
        it.check("iopl", libc::SYS_iopl, args![3], of("ioport", "iopl", json!({ "level": 3, "opened": true })));
        let more = json!({ "first_port": 888, "ports": 3, "opened": true });
        it.check("ioperm", libc::SYS_ioperm, args![888, 3, 1], of("ioport", "ioperm", more));
        let more = json!({ "action": "SYSLOG_ACTION_CONSOLE_LEVEL", "level": 1 });
        it.check("syslog", libc::SYS_syslog, args![8, 0, 1], of("syslog", "syslog", more));
        let attribute = [words(&[1, 128, 9, 0]), vec![0; 112]].concat();
        let more = json!({ "config": "9", "event_type": "PERF_TYPE_SOFTWARE", "target_pid": 1, "target_cpu": -1, "flags": "PERF_FLAG_FD_CLOEXEC",
            "user_copy": ["config", "event_type"] });
        it.check(
            "perf_event_open",
            libc::SYS_perf_event_open,
            args![attribute, 1, -1, -1, 8],
            of("perf_event_open", "perf_event_open", more),
        );
        assert!(it.gather_all().iter().all(|it| it["kind"] != "cred_change"));
    }
}

#[test]
fn bpf() {
    for family in FAMILIES {
        let mut it = Stage::new(family);
        // before Linux 5.11 the agent's maps and those of the actor have one limit, that of their user
        let (memlock, unlimited) = (8, vec![0xff; 16]);
        it.actor.call(libc::SYS_setrlimit, args![memlock, unlimited]);
        let map = [words(&[2, 4, 8, 1, 0, 0, 0]), b"some_map\0\0\0\0\0\0\0\0".to_vec()].concat();
        let (done, records) = it.act(libc::SYS_bpf, args![0, map, 44]);
        assert!(done.ret >= 0, "{done:?}");
        let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{}", it.actor.pid(), done.ret)).unwrap();
        let id = info.lines().find_map(|line| line.strip_prefix("map_id:")).unwrap().trim();
        let more = json!({ "command": "BPF_MAP_CREATE", "map_type": "BPF_MAP_TYPE_ARRAY", "object_name": "some_map",
            "object_id": id.parse::<u32>().unwrap(), "user_copy": ["map_type", "object_name"] });
        it.compare("map", done, records, of("bpf", "bpf", more));
        let found = it.act(libc::SYS_bpf, args![1, vec![0; 32], 32]);
        assert!(found.0.ret < 0 && found.1.len() == 1, "what fails is told");
        let program = [words(&[1, 7]), vec![0; 40], b"some_prog\0\0\0\0\0\0\0".to_vec(), words(&[0, 0])].concat();
        let more = json!({ "command": "BPF_PROG_LOAD", "prog_type": "BPF_PROG_TYPE_SOCKET_FILTER", "instructions": 7,
            "object_name": "some_prog", "user_copy": ["prog_type", "instructions", "object_name"] });
        it.check("program", libc::SYS_bpf, args![5, program, 72], of("bpf", "bpf", more));
        let more = json!({ "command": "BPF_PROG_ATTACH", "target_fd": 99, "attach_type": "BPF_CGROUP_DEVICE", "user_copy": ["attach_type", "target_fd"] });
        it.check("attach", libc::SYS_bpf, args![8, words(&[99, 98, 6, 0]), 16], of("bpf", "bpf", more));
        let more = json!({ "command": "BPF_PROG_GET_FD_BY_ID", "object_id": 0x0fff_ffff });
        it.check("by id", libc::SYS_bpf, args![13, words(&[0x0fff_ffff, 0, 0]), 12], of("bpf", "bpf", more));
    }
}
