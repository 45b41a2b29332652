//! The places in the kernel where our programs sit.

macro_rules! hooks {
    ($( $number:literal $variant:ident $name:literal $doc:literal, )*) => {
        /// A place in the kernel that makes events. The number is part of the wire and never reused.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Hook { $( #[doc = $doc] $variant = $number, )* }

        impl Hook {
            /// All hooks, in the order of their numbers, which start at 0.
            pub const ALL: &'static [Hook] = &[$( Hook::$variant, )*];
            /// The hook of a number on the wire.
            pub const fn from_number(number: u8) -> Option<Hook> {
                match number { $( $number => Some(Hook::$variant), )* _ => None }
            }
            /// The name of its tracepoint.
            pub const fn name(self) -> &'static str { match self { $( Hook::$variant => $name, )* } }
        }
    };
}

hooks! {
    0 SysExit "sys_exit" "A system call returns: arguments and result are known, and what the kernel made of them.",
    1 Exec "sched_process_exec" "A new program image is in place and has not run yet.",
    2 Fork "sched_process_fork" "A child is made and has not run yet.",
    3 Exit "sched_process_exit" "A thread ends.",
    4 IoUring "io_uring_complete" "An operation of io_uring(7) is done: no system call returns for it.",
    5 Lsm "lsm" "A security hook is asked, with the objects that the kernel resolved.",
    6 Module "module_load" "A module is in place and has not run yet.",
    7 Egress "cgroup_skb/egress" "A packet leaves.",
    8 IoUringSubmit "io_uring_submit" "An operation of io_uring(7) is asked for that will say nothing when it succeeds.",
    9 Capability "cap_capable" "The kernel asks whether a task has a capability, and has the answer.",
    10 SysEnter "sys_enter" "A system call begins: a file that it closes is still there.",
}
