//! Bodies of the kinds that are no matter of files, programs or sockets.

use common::{
    Kind,
    event::{
        Acct, Bpf, Capability, Capset, CredChange, Hostname, IoUring, IoUringSilent, Ioport, Kexec, Keyctl, Kill,
        Landlock, Lsm, MemfdCreate, Modify, ModuleLoad, ModuleUnload, Mprotect, Namespace, PerfEventOpen, Personality,
        Pidfd, Prctl, Prlimit, ProcessVm, Ptrace, Reboot, Seccomp, Setid, Setsid, Settime, Socket, Syslog, Userfaultfd,
    },
    names::{
        BpfCommand, Capabilities, Capability as CapabilityName, Family, NamespaceFlags, PersonalityFlags, PrctlOption,
        PtraceRequest, Signal, SocketType,
    },
    wire::{Path, Wide},
};
use zerocopy::IntoBytes;

use super::event::Draft;

/// A body with those of its fields that the policies of the tests look at.
pub fn body(it: &Draft, path: Path) -> Vec<u8> {
    macro_rules! bodies {
        ($($ty:ident { $($field:ident: $value:expr),* })*) => {
            match it.kind {
                $( Kind::$ty => $ty { $($field: $value,)* ..$ty::default() }.as_bytes().to_vec(), )*
                kind => panic!("{} has no body here", kind.name()),
            }
        };
    }
    let effective = it.set("effective", Capabilities::NAMES);
    bodies! {
        Setid {}
        Capset { effective: Capabilities([effective as u32, (effective >> 32) as u32]) }
        Ptrace { request: PtraceRequest(it.named("request", PtraceRequest::NAMES)) }
        ProcessVm {}
        Pidfd { path: path }
        Prlimit {}
        Kill { signal: Signal(it.named("signal", Signal::NAMES)) }
        ModuleLoad { path: path }
        ModuleUnload {}
        Kexec { path: path }
        Bpf { command: BpfCommand(it.named("command", BpfCommand::NAMES)) }
        PerfEventOpen {}
        Namespace { flags: NamespaceFlags(it.named("flags", NamespaceFlags::NAMES)) }
        MemfdCreate {}
        Prctl {
            option: PrctlOption(it.named("option", PrctlOption::NAMES)),
            argument: Wide::from(u64::from(it.number("argument")))
        }
        Seccomp {}
        Keyctl {}
        Userfaultfd {}
        Landlock {}
        Lsm {}
        IoUring {}
        IoUringSilent {}
        Socket { family: Family(it.named("family", Family::NAMES)), socket: SocketType(it.named("socket", SocketType::NAMES)) }
        Personality { flags: PersonalityFlags(it.named("flags", PersonalityFlags::NAMES)) }
        Setsid {}
        Settime {}
        Hostname {}
        Reboot {}
        Acct { path: path }
        Ioport {}
        Syslog {}
        Mprotect {}
        Capability { capability: CapabilityName(it.named("capability", CapabilityName::NAMES)) }
        Modify { path: path }
        CredChange { old_euid: it.id("old_euid") }
    }
}
