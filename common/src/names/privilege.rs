//! Tables of privileges: capabilities, namespaces, tracing, restrictions.

use super::names;

names! {
    /// Capabilities of capabilities(7), as a set.
    Set Capabilities = [
        0x1 "CAP_CHOWN",
        0x2 "CAP_DAC_OVERRIDE",
        0x4 "CAP_DAC_READ_SEARCH",
        0x8 "CAP_FOWNER",
        0x10 "CAP_FSETID",
        0x20 "CAP_KILL",
        0x40 "CAP_SETGID",
        0x80 "CAP_SETUID",
        0x100 "CAP_SETPCAP",
        0x200 "CAP_LINUX_IMMUTABLE",
        0x400 "CAP_NET_BIND_SERVICE",
        0x800 "CAP_NET_BROADCAST",
        0x1000 "CAP_NET_ADMIN",
        0x2000 "CAP_NET_RAW",
        0x4000 "CAP_IPC_LOCK",
        0x8000 "CAP_IPC_OWNER",
        0x1_0000 "CAP_SYS_MODULE",
        0x2_0000 "CAP_SYS_RAWIO",
        0x4_0000 "CAP_SYS_CHROOT",
        0x8_0000 "CAP_SYS_PTRACE",
        0x10_0000 "CAP_SYS_PACCT",
        0x20_0000 "CAP_SYS_ADMIN",
        0x40_0000 "CAP_SYS_BOOT",
        0x80_0000 "CAP_SYS_NICE",
        0x100_0000 "CAP_SYS_RESOURCE",
        0x200_0000 "CAP_SYS_TIME",
        0x400_0000 "CAP_SYS_TTY_CONFIG",
        0x800_0000 "CAP_MKNOD",
        0x1000_0000 "CAP_LEASE",
        0x2000_0000 "CAP_AUDIT_WRITE",
        0x4000_0000 "CAP_AUDIT_CONTROL",
        0x8000_0000 "CAP_SETFCAP",
        0x1_0000_0000 "CAP_MAC_OVERRIDE",
        0x2_0000_0000 "CAP_MAC_ADMIN",
        0x4_0000_0000 "CAP_SYSLOG",
        0x8_0000_0000 "CAP_WAKE_ALARM",
        0x10_0000_0000 "CAP_BLOCK_SUSPEND",
        0x20_0000_0000 "CAP_AUDIT_READ",
        0x40_0000_0000 "CAP_PERFMON",
        0x80_0000_0000 "CAP_BPF",
        0x100_0000_0000 "CAP_CHECKPOINT_RESTORE",
    ];
    /// What of the agent somebody touches.
    Name Touched = [
        1 "process",
        2 "program",
        3 "map",
        4 "link",
    ];
    /// One capability of capabilities(7); [`UNSET`](crate::wire::UNSET) is null.
    Name Capability = [
        0 "CAP_CHOWN",
        1 "CAP_DAC_OVERRIDE",
        2 "CAP_DAC_READ_SEARCH",
        3 "CAP_FOWNER",
        4 "CAP_FSETID",
        5 "CAP_KILL",
        6 "CAP_SETGID",
        7 "CAP_SETUID",
        8 "CAP_SETPCAP",
        9 "CAP_LINUX_IMMUTABLE",
        10 "CAP_NET_BIND_SERVICE",
        11 "CAP_NET_BROADCAST",
        12 "CAP_NET_ADMIN",
        13 "CAP_NET_RAW",
        14 "CAP_IPC_LOCK",
        15 "CAP_IPC_OWNER",
        16 "CAP_SYS_MODULE",
        17 "CAP_SYS_RAWIO",
        18 "CAP_SYS_CHROOT",
        19 "CAP_SYS_PTRACE",
        20 "CAP_SYS_PACCT",
        21 "CAP_SYS_ADMIN",
        22 "CAP_SYS_BOOT",
        23 "CAP_SYS_NICE",
        24 "CAP_SYS_RESOURCE",
        25 "CAP_SYS_TIME",
        26 "CAP_SYS_TTY_CONFIG",
        27 "CAP_MKNOD",
        28 "CAP_LEASE",
        29 "CAP_AUDIT_WRITE",
        30 "CAP_AUDIT_CONTROL",
        31 "CAP_SETFCAP",
        32 "CAP_MAC_OVERRIDE",
        33 "CAP_MAC_ADMIN",
        34 "CAP_SYSLOG",
        35 "CAP_WAKE_ALARM",
        36 "CAP_BLOCK_SUSPEND",
        37 "CAP_AUDIT_READ",
        38 "CAP_PERFMON",
        39 "CAP_BPF",
        40 "CAP_CHECKPOINT_RESTORE",
    ];
    /// Requests of ptrace(2) (`include/uapi/linux/ptrace.h`, `arch/x86/include/uapi/asm/ptrace-abi.h`).
    Name PtraceRequest = [
        0 "PTRACE_TRACEME",
        4 "PTRACE_POKETEXT",
        5 "PTRACE_POKEDATA",
        6 "PTRACE_POKEUSER",
        8 "PTRACE_KILL",
        13 "PTRACE_SETREGS",
        15 "PTRACE_SETFPREGS",
        16 "PTRACE_ATTACH",
        17 "PTRACE_DETACH",
        19 "PTRACE_SETFPXREGS",
        26 "PTRACE_SET_THREAD_AREA",
        30 "PTRACE_ARCH_PRCTL",
        0x4203 "PTRACE_SETSIGINFO",
        0x4205 "PTRACE_SETREGSET",
        0x4206 "PTRACE_SEIZE",
        0x420b "PTRACE_SETSIGMASK",
    ];
    /// What setrlimit(2) limits (`include/uapi/asm-generic/resource.h`).
    Name Resource = [
        0 "RLIMIT_CPU",
        1 "RLIMIT_FSIZE",
        2 "RLIMIT_DATA",
        3 "RLIMIT_STACK",
        4 "RLIMIT_CORE",
        5 "RLIMIT_RSS",
        6 "RLIMIT_NPROC",
        7 "RLIMIT_NOFILE",
        8 "RLIMIT_MEMLOCK",
        9 "RLIMIT_AS",
        10 "RLIMIT_LOCKS",
        11 "RLIMIT_SIGPENDING",
        12 "RLIMIT_MSGQUEUE",
        13 "RLIMIT_NICE",
        14 "RLIMIT_RTPRIO",
        15 "RLIMIT_RTTIME",
    ];
    /// Flags of pidfd_open(2).
    Flags PidfdFlags = [
        0o200 "PIDFD_THREAD",
        0o4000 "PIDFD_NONBLOCK",
    ];
    /// Flags of clone(2), unshare(2) and setns(2) that name namespaces.
    Flags NamespaceFlags = [
        0x80 "CLONE_NEWTIME",
        0x0002_0000 "CLONE_NEWNS",
        0x0200_0000 "CLONE_NEWCGROUP",
        0x0400_0000 "CLONE_NEWUTS",
        0x0800_0000 "CLONE_NEWIPC",
        0x1000_0000 "CLONE_NEWUSER",
        0x2000_0000 "CLONE_NEWPID",
        0x4000_0000 "CLONE_NEWNET",
    ];
    /// Options of prctl(2) that make events.
    Name PrctlOption = [
        4 "PR_SET_DUMPABLE",
        8 "PR_SET_KEEPCAPS",
        22 "PR_SET_SECCOMP",
        24 "PR_CAPBSET_DROP",
        28 "PR_SET_SECUREBITS",
        35 "PR_SET_MM",
        38 "PR_SET_NO_NEW_PRIVS",
        47 "PR_CAP_AMBIENT",
        65 "PR_SET_MDWE",
        0x5961_6d61 "PR_SET_PTRACER",
    ];
    /// Operations of seccomp(2).
    Name SeccompOperation = [
        0 "SECCOMP_SET_MODE_STRICT",
        1 "SECCOMP_SET_MODE_FILTER",
        2 "SECCOMP_GET_ACTION_AVAIL",
        3 "SECCOMP_GET_NOTIF_SIZES",
    ];
    /// Flags of seccomp(2).
    Flags SeccompFlags = [
        1 "SECCOMP_FILTER_FLAG_TSYNC",
        2 "SECCOMP_FILTER_FLAG_LOG",
        4 "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        8 "SECCOMP_FILTER_FLAG_NEW_LISTENER",
        16 "SECCOMP_FILTER_FLAG_TSYNC_ESRCH",
        32 "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    /// Operations of keyctl(2).
    Name KeyctlOperation = [
        0 "KEYCTL_GET_KEYRING_ID",
        1 "KEYCTL_JOIN_SESSION_KEYRING",
        2 "KEYCTL_UPDATE",
        3 "KEYCTL_REVOKE",
        4 "KEYCTL_CHOWN",
        5 "KEYCTL_SETPERM",
        6 "KEYCTL_DESCRIBE",
        7 "KEYCTL_CLEAR",
        8 "KEYCTL_LINK",
        9 "KEYCTL_UNLINK",
        10 "KEYCTL_SEARCH",
        11 "KEYCTL_READ",
        12 "KEYCTL_INSTANTIATE",
        13 "KEYCTL_NEGATE",
        14 "KEYCTL_SET_REQKEY_KEYRING",
        15 "KEYCTL_SET_TIMEOUT",
        16 "KEYCTL_ASSUME_AUTHORITY",
        17 "KEYCTL_GET_SECURITY",
        18 "KEYCTL_SESSION_TO_PARENT",
        19 "KEYCTL_REJECT",
        20 "KEYCTL_INSTANTIATE_IOV",
        21 "KEYCTL_INVALIDATE",
        22 "KEYCTL_GET_PERSISTENT",
        23 "KEYCTL_DH_COMPUTE",
        24 "KEYCTL_PKEY_QUERY",
        25 "KEYCTL_PKEY_ENCRYPT",
        26 "KEYCTL_PKEY_DECRYPT",
        27 "KEYCTL_PKEY_SIGN",
        28 "KEYCTL_PKEY_VERIFY",
        29 "KEYCTL_RESTRICT_KEYRING",
        30 "KEYCTL_MOVE",
        31 "KEYCTL_CAPABILITIES",
        32 "KEYCTL_WATCH_KEY",
    ];
    /// Types of rules of landlock_add_rule(2).
    Name LandlockRule = [
        1 "LANDLOCK_RULE_PATH_BENEATH",
        2 "LANDLOCK_RULE_NET_PORT",
    ];
    /// Attributes of lsm_set_self_attr(2) (`include/uapi/linux/lsm.h`).
    Name LsmAttribute = [
        100 "LSM_ATTR_CURRENT",
        101 "LSM_ATTR_EXEC",
        102 "LSM_ATTR_FSCREATE",
        103 "LSM_ATTR_KEYCREATE",
        104 "LSM_ATTR_PREV",
        105 "LSM_ATTR_SOCKCREATE",
    ];
    /// Security modules (`include/uapi/linux/lsm.h`).
    Name LsmId = [
        100 "capability",
        101 "selinux",
        102 "smack",
        103 "tomoyo",
        104 "apparmor",
        105 "yama",
        106 "loadpin",
        107 "safesetid",
        108 "lockdown",
        109 "bpf",
        110 "landlock",
        111 "ima",
        112 "evm",
        113 "ipe",
    ];
    /// Protection of memory, see mmap(2).
    Flags Protection = [
        1 "PROT_READ",
        2 "PROT_WRITE",
        4 "PROT_EXEC",
        8 "PROT_SEM",
        0x0100_0000 "PROT_GROWSDOWN",
        0x0200_0000 "PROT_GROWSUP",
    ];
    /// Flags of mmap(2).
    Flags MapFlags = [
        3 "MAP_SHARED_VALIDATE",
        1 "MAP_SHARED",
        2 "MAP_PRIVATE",
        0x10 "MAP_FIXED",
        0x20 "MAP_ANONYMOUS",
        0x40 "MAP_32BIT",
        0x100 "MAP_GROWSDOWN",
        0x800 "MAP_DENYWRITE",
        0x1000 "MAP_EXECUTABLE",
        0x2000 "MAP_LOCKED",
        0x4000 "MAP_NORESERVE",
        0x8000 "MAP_POPULATE",
        0x0001_0000 "MAP_NONBLOCK",
        0x0002_0000 "MAP_STACK",
        0x0004_0000 "MAP_HUGETLB",
        0x0008_0000 "MAP_SYNC",
        0x0010_0000 "MAP_FIXED_NOREPLACE",
    ];
}

impl Touched {
    /// Nothing of the agent.
    pub const NOTHING: Self = Self(0);
    /// One of its threads, or a group with them.
    pub const PROCESS: Self = Self(1);
    /// A program of eBPF.
    pub const PROGRAM: Self = Self(2);
    /// A map.
    pub const MAP: Self = Self(3);
    /// A link.
    pub const LINK: Self = Self(4);
}
