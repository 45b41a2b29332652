//! Where the running kernel keeps what we read: filled in by the user half from the kernel's BTF at load, so that
//! one object runs on every kernel.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The offset of a member that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

macro_rules! layout {
    ($( $group:ident: $ty:ident = $name:literal { $( $member:ident = $path:literal, )* } )*) => {
        $(
            #[doc = concat!("Members of `struct ", $name, "`.")]
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
            pub struct $ty {
                /// Id of the type in the kernel's BTF; 0 when there is none.
                pub id: u32,
                $( #[doc = concat!("Offset of `", $path, "`.")] pub $member: u32, )*
            }
        )*

        /// Offsets in the structs of the running kernel.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct Layout { $( #[doc = concat!("Members of `struct ", $name, "`.")] pub $group: $ty, )* }

        /// What to look up, in the order of the words of [`Layout`]: the struct, and a path of members with dots
        /// between levels. Bars stand between names of different kernels; a bar at the end: some kernels have none.
        /// An empty path asks for the id of the type. A struct `enum FIRST` is the enum that begins with `FIRST`: its
        /// members are values. A struct `btf_trace_…` is the signature of a tracepoint: `()` is the number of its
        /// arguments, the program's own included. `()` of any other struct is its size.
        pub const MEMBERS: &[(&str, &str)] = &[$( ($name, ""), $( ($name, $path), )* )*];

        const _: () = assert!(MEMBERS.len() * 4 == size_of::<Layout>());
    };
}

layout! {
    task: Task = "task_struct" {
        mm = "mm", cred = "cred", files = "files", fs = "fs", nsproxy = "nsproxy", signal = "signal",
        loginuid = "loginuid", sessionid = "sessionid", real_parent = "real_parent", group_leader = "group_leader",
        tgid = "tgid", pid = "pid", comm = "comm", start = "start_boottime|real_start_time",
        cgroups = "cgroups", exit_code = "exit_code", number = "thread_pid", status = "thread_info.status",
        last_child = "children.prev", sibling = "sibling", stack = "stack", exec_id = "self_exec_id",
        links = "pid_links", works = "task_works",
    }
    fork_event: ForkEvent = "trace_event_raw_sched_process_fork" { child_pid = "child_pid", }
    signal: Signal = "signal_struct" { tty = "tty", live = "live", numbers = "pids", }
    capable_event: CapableEvent = "trace_event_raw_cap_capable|" {
        target = "target_ns", capability = "cap", answer = "ret",
    }
    tty: Tty = "tty_struct" { name = "name", }
    files: Files = "files_struct" { fdt = "fdt", }
    fdt: Fdt = "fdtable" { max_fds = "max_fds", fd = "fd", }
    fs: Fs = "fs_struct" { root = "root", pwd = "pwd", }
    file: File = "file" {
        path = "f_path", inode = "f_inode", mode = "f_mode", flags = "f_flags", private = "private_data",
        count = "f_count|", references = "f_ref|", work = "f_task_work|f_rcuhead|f_u.fu_rcuhead",
    }
    dentry: Dentry = "dentry" { parent = "d_parent", name = "d_name", inode = "d_inode", }
    path: StructPath = "path" { mnt = "mnt", }
    mount: Mount = "mount" { mnt = "mnt", parent = "mnt_parent", mountpoint = "mnt_mountpoint", source = "mnt_devname", }
    vfsmount: Vfsmount = "vfsmount" { root = "mnt_root", sb = "mnt_sb", }
    inode: Inode = "inode" {
        ino = "i_ino", sb = "i_sb", mode = "i_mode", nlink = "i_nlink", private = "i_private", size = "i_size",
        end = "()",
    }
    sb: SuperBlock = "super_block" { dev = "s_dev", kind = "s_type", magic = "s_magic", }
    fs_type: FsType = "file_system_type" { name = "name", }
    fs_context: FsContext = "fs_context" { fs_type = "fs_type", }
    mm: Mm = "mm_struct" {
        arg_start = "arg_start", arg_end = "arg_end", env_start = "env_start", env_end = "env_end", exe_file = "exe_file",
    }
    bprm: Binprm = "linux_binprm" {
        filename = "filename", interp = "interp", argc = "argc", file = "file",
        executable = "executable",
    }
    cred: Cred = "cred" {
        uid = "uid", gid = "gid", suid = "suid", sgid = "sgid", euid = "euid", egid = "egid", fsuid = "fsuid",
        fsgid = "fsgid", user_ns = "user_ns", inheritable = "cap_inheritable", permitted = "cap_permitted",
        effective = "cap_effective",
    }
    nsproxy: Nsproxy = "nsproxy" { mnt = "mnt_ns", pid = "pid_ns_for_children", net = "net_ns", uts = "uts_ns", }
    uts_ns: UtsNs = "uts_namespace" { host = "name.nodename", domain = "name.domainname", }
    ns: NsCommon = "ns_common" { ops = "ops", }
    ns_ops: NsOps = "proc_ns_operations" { name = "name", }
    number: PidStruct = "pid" { level = "level", numbers = "numbers", tasks = "tasks", }
    bpf_map: BpfMap = "bpf_map" { number = "id", }
    bpf_link: BpfLink = "bpf_link" { number = "id", }
    bpf_prog: BpfProg = "bpf_prog" { aux = "aux", }
    bpf_prog_aux: BpfProgAux = "bpf_prog_aux" { number = "id", }
    mnt_ns: MntNs = "mnt_namespace" { inum = "ns.inum", }
    pid_ns: PidNs = "pid_namespace" { inum = "ns.inum", numbers = "idr.idr_rt.xa_head", }
    xa_node: XaNode = "xa_node" { shift = "shift", slots = "slots", }
    net_ns: NetNs = "net" { inum = "ns.inum", }
    user_ns: UserNs = "user_namespace" { inum = "ns.inum", }
    css_set: CssSet = "css_set" { dfl = "dfl_cgrp", }
    cgroup: Cgroup = "cgroup" { kn = "kn", }
    kernfs: KernfsNode = "kernfs_node" { node_id = "id", }
    socket: Socket = "socket" { sk = "sk", kind = "type", }
    sock: Sock = "sock" {
        family = "__sk_common.skc_family", dport = "__sk_common.skc_dport", num = "__sk_common.skc_num",
        daddr = "__sk_common.skc_daddr", rcv_saddr = "__sk_common.skc_rcv_saddr",
        v6_daddr = "__sk_common.skc_v6_daddr", v6_rcv_saddr = "__sk_common.skc_v6_rcv_saddr",
        protocol = "sk_protocol", uid = "sk_uid",
    }
    unix: UnixSock = "unix_sock" { addr = "addr", peer = "peer", }
    unix_addr: UnixAddress = "unix_address" { len = "len", name = "name", }
    filename: Filename = "filename" { name = "name", }
    uring_submit: UringSubmit = "btf_trace_io_uring_submit_req|btf_trace_io_uring_submit_sqe" { arguments = "()", }
    uring_submit_event: UringSubmitEvent
        = "trace_event_raw_io_uring_submit_req|trace_event_raw_io_uring_submit_sqe" { request = "req", }
    uring_complete: UringComplete = "btf_trace_io_uring_complete" { arguments = "()", }
    uring_complete_event: UringCompleteEvent = "trace_event_raw_io_uring_complete" {
        ring = "ctx", request = "req|", tag = "user_data", result = "res",
    }
    request: Request = "io_kiocb" {
        file = "file", opcode = "opcode", flags = "flags", tag = "cqe.user_data|user_data", ring = "ctx",
        data = "async_data", creds = "creds", result = "cqe.res|result", descriptor = "cqe.fd|",
        task = "task|", context = "tctx|",
    }
    uring_task: UringTask = "io_uring_task|" { task = "task|", }
    request_flag: RequestFlag = "enum REQ_F_FIXED_FILE_BIT" {
        creds = "REQ_F_CREDS_BIT", silent = "REQ_F_CQE_SKIP_BIT|",
    }
    uring_open: UringOpen = "io_open" {
        dir = "dfd", slot = "file_slot", name = "filename", flags = "how.flags", mode = "how.mode",
    }
    uring_unlink: UringUnlink = "io_unlink" { dir = "dfd", name = "filename", flags = "flags", }
    uring_rename: UringRename = "io_rename" {
        from = "old_dfd", to = "new_dfd", old = "oldpath", new = "newpath", flags = "flags",
    }
    uring_link: UringLink = "io_hardlink|io_link" { from = "old_dfd", to = "new_dfd", old = "oldpath", new = "newpath", }
    uring_symlink: UringSymlink = "io_symlink|io_link" { dir = "new_dfd", content = "oldpath", name = "newpath", }
    uring_truncate: UringTruncate = "io_ftrunc|" { length = "len", }
    uring_connect: UringConnect = "io_connect" { addr = "addr", len = "addr_len", }
    uring_listen: UringListen = "io_listen|" { backlog = "backlog", }
    uring_accept: UringAccept = "io_accept" { slot = "file_slot", }
    uring_socket: UringSocket = "io_socket|" { family = "domain", kind = "type", protocol = "protocol", }
    uring_message: UringMessage = "io_sr_msg" { message = "umsg", addr = "addr|", addr_len = "addr_len|", }
    uring_header: UringHeader = "io_async_msghdr" { addr = "addr", name = "msg.msg_name", name_len = "msg.msg_namelen", }
}
