//! The process that another one acts on, as the kernel has it when the call returns: its number alone may be that of
//! another process later.

use common::{
    Record,
    filter::class,
    wire::{Id, Name16, Path, UNSET, Wide, mark},
};

use crate::{
    draft::{Draft, TEXT, name16},
    filter::{self, TICK},
    kernel::{self, Memory, layout, load},
    path::{self, Subject, file_of},
    program::sys_exit::Return,
};

/// A `struct pid` of the kernel; 0 is none.
#[derive(Clone, Copy)]
pub struct Target(usize);

/// What the kernel has of a process.
pub struct Known {
    pub host_pid: Id,
    pub start: Wide,
    pub comm: Name16,
}

impl Target {
    /// Nobody in particular.
    pub const NONE: Target = Target(0);

    /// Who is behind a pidfd. `struct pid` is what its inode keeps (since 6.9, pidfs), or what its file keeps.
    #[inline(always)]
    pub fn of_descriptor<M: Memory>(task: usize, descriptor: u32) -> Target {
        let file = file_of::<M>(task, descriptor);
        if file == 0 {
            return Self::NONE;
        }
        let kept = load!(M, usize, load!(M, usize, file, file.inode), inode.private);
        Target(if kept == 0 { load!(M, usize, file, file.private) } else { kept })
    }

    /// The same, unless the call found that it is none.
    #[inline(always)]
    pub fn of_known_descriptor<M: Memory>(it: &Return, descriptor: u32) -> Target {
        if filter::class_of(it.ret) == class::FAILED {
            Self::NONE
        } else {
            Self::of_descriptor::<M>(it.task, descriptor)
        }
    }

    /// Who has a number in the pid namespace of a task (`find_pid_ns` in `kernel/pid.c`).
    #[inline(always)]
    pub fn named<M: Memory>(task: usize, number: u32) -> Target {
        /// Each level of an xarray has six bits of the number, and numbers are below 2^22 (`PID_MAX_LIMIT`).
        const LEVELS: usize = 4;
        let own = load!(M, usize, task, task.number);
        // struct upid { int nr; struct pid_namespace *ns; }
        let level = load!(M, u32, own, number.level) as usize;
        let space = kernel::read::<usize>(own.wrapping_add(layout!(number.numbers) as usize + level * 16 + 8));
        let mut entry = load!(M, usize, space, pid_ns.numbers);
        for turn in 0..LEVELS {
            // what ends so is a node (`xa_is_internal`), all else is what was looked for
            if entry & 3 != 2 {
                break;
            }
            let node = entry - 2;
            let part = number >> (kernel::read::<u8>(node.wrapping_add(layout!(xa_node.shift) as usize)) & 31);
            if turn == 0 && part > 63 {
                return Self::NONE;
            }
            let slot = (part & 63) as usize * size_of::<usize>();
            entry = kernel::read(node.wrapping_add(layout!(xa_node.slots) as usize + slot));
        }
        Target(if entry & 3 == 0 { entry } else { 0 })
    }

    /// Its number in the initial pid namespace.
    #[inline(always)]
    pub fn number(self) -> u32 {
        if self.0 == 0 {
            return UNSET;
        }
        // struct upid { int nr; ... }
        kernel::read::<u32>(self.0.wrapping_add(layout!(number.numbers) as usize))
    }

    /// The first thread of the process; 0 when it has ended.
    #[inline(always)]
    fn process<M: Memory>(self) -> usize {
        // struct hlist_head tasks[PIDTYPE_MAX], the first of which is of the thread with this number
        let link = kernel::read::<usize>(self.0.wrapping_add(layout!(number.tasks) as usize));
        if self.0 == 0 || link == 0 {
            return 0;
        }
        let thread = link.wrapping_sub(layout!(task.links) as usize);
        if load!(M, usize, thread, task.number) == self.0 { load!(M, usize, thread, task.group_leader) } else { 0 }
    }

    /// What the kernel has of it.
    #[inline(always)]
    pub fn known<M: Memory>(self) -> Known {
        let process = self.process::<M>();
        if process == 0 {
            return Known { host_pid: Id(UNSET), start: Wide::from(u64::MAX), comm: Name16::default() };
        }
        Known {
            host_pid: Id(load!(M, u32, process, task.pid)),
            start: Wide::from(load!(M, u64, process, task.start) / TICK),
            comm: name16::<M>(process, layout!(task.id), layout!(task.comm)),
        }
    }

    /// The program that it runs.
    #[inline(always)]
    pub fn executable<M: Memory, R: Record, const ROOM: usize>(self, draft: &mut Draft<R, ROOM>) -> Path {
        const { assert!(ROOM >= 5 * TEXT) };
        let process = self.process::<M>();
        let mm = load!(M, usize, process, task.mm);
        let file = load!(M, usize, mm, mm.exe_file);
        if process == 0 || mm == 0 || file == 0 {
            return Path { marks: mark::ABSENT, ..Path::default() };
        }
        let path = path::of::<M, _, _>(draft, process, Subject::File(file));
        // it ends, or starts another program, while we look at it: then the file may have been another one by now
        if load!(M, usize, process, task.mm) != mm || load!(M, usize, mm, mm.exe_file) != file {
            return Path { marks: mark::ABSENT, ..Path::default() };
        }
        path
    }
}

/// Fills in the target of an event.
macro_rules! describe {
    ($memory:ident, $draft:ident, $target:expr) => {{
        let target: $crate::target::Target = $target;
        let known = target.known::<$memory>();
        $draft.body.target_host_pid = known.host_pid;
        $draft.body.target_start = known.start;
        $draft.body.target_comm = known.comm;
        $draft.body.target_exe = target.executable::<$memory, _, _>($draft);
    }};
}
pub(crate) use describe;
