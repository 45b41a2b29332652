//! Use of capabilities.

use nix::libc;
use serde_json::json;
use tests::vm::skip;

use crate::{
    FAMILIES,
    actor::{Stage, args, programs},
};

/// Whether this kernel has the tracepoint (Linux 6.14).
pub fn is_there() -> bool {
    let program = programs().iter().find(|it| it["program"] == "capability");
    program.unwrap()["degraded"].is_null()
}

#[test]
fn each_answer_is_told_once() {
    if !is_there() {
        skip("this kernel has no tracepoint cap_capable");
        return;
    }
    for family in FAMILIES {
        let mut it = Stage::new(family);
        it.capabilities = true;
        let space = crate::actor::header(it.actor.pid())["user_ns"].clone();
        let check = |it: &mut Stage, name: &str, call: i64, args: &[_], capability: &str, expected: bool| {
            let (done, mut records) = it.act(call, args);
            records.retain(|it| it["kind"] == "capability" && it["capability"] == capability);
            if expected {
                let body = json!({
                    "kind": "capability", "capability": capability, "target_user_ns": space, "hook": "cap_capable",
                });
                it.compare(name, done, records, body);
            } else {
                assert!(records.is_empty(), "{name}: {records:#?}");
            }
            done.ret
        };
        let root = || [crate::actor::Arg::from("/")];
        assert_eq!(check(&mut it, "granted", libc::SYS_chroot, &root(), "CAP_SYS_CHROOT", true), 0);
        assert_eq!(check(&mut it, "granted again", libc::SYS_chroot, &root(), "CAP_SYS_CHROOT", false), 0);
        it.quiet(libc::SYS_setresuid, args![65534, 65534, 65534]);
        let eperm = -i64::from(libc::EPERM);
        assert_eq!(check(&mut it, "refused", libc::SYS_chroot, &root(), "CAP_SYS_CHROOT", true), eperm);
        assert_eq!(check(&mut it, "refused again", libc::SYS_chroot, &root(), "CAP_SYS_CHROOT", false), eperm);
        // another program
        let program = it.program.clone();
        it.quiet(libc::SYS_execve, args![&program, vec![b"act".to_vec()], 0]);
        assert_eq!(check(&mut it, "after an exec", libc::SYS_chroot, &root(), "CAP_SYS_CHROOT", true), eperm);
    }
}
