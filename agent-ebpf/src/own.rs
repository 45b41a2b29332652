//! What is the agent's own: who touches it is told, whatever else is wanted.

use aya_ebpf::{macros::map, maps::HashMap};
use common::{filter::Own, names::Touched};

use crate::{
    filter::control,
    kernel::{self, Memory, layout, load},
};

/// Threads are entered by their fork and leave by their exit; the rest is the user half's.
#[map]
static OWN: HashMap<Own, u32> = HashMap::with_max_entries(1024, 0);

/// Whether a thing is the agent's.
#[inline(always)]
fn is_own(what: Touched, number: u32) -> bool {
    OWN.get_ptr(&[what.0, number]).is_some()
}

/// The agent has a new thread. Where there is no room, a touch of this thread alone is told as that of any other.
#[inline(always)]
pub fn thread_begins(tid: u32) {
    OWN.insert(&[Touched::PROCESS.0, tid], &0, 0).ok();
}

/// A thread of the agent ends.
#[inline(always)]
pub fn thread_ends(tid: u32) {
    OWN.remove(&[Touched::PROCESS.0, tid]).ok();
}

/// What a call touches that names a process or a thread by its number in the initial pid namespace.
#[inline(always)]
pub fn process(number: u32) -> Touched {
    Object { what: Touched::PROCESS, number }.touched()
}

/// The same for a number in the pid namespace of the caller: in another one the agent has none.
#[inline(always)]
pub fn process_as_named<M: Memory>(task: usize, number: u32) -> Touched {
    if is_in_initial::<M>(task) { process(number) } else { Touched::NOTHING }
}

/// Whether a task counts processes as the agent does.
#[inline(always)]
fn is_in_initial<M: Memory>(task: usize) -> bool {
    load!(M, u32, load!(M, usize, task, task.number), number.level) == 0
}

/// What kill(2) with such a number reaches.
#[inline(always)]
pub fn receiver<M: Memory>(task: usize, target: i32) -> Touched {
    /// `PIDTYPE_PGID` (`include/linux/pid_types.h`).
    const GROUP: usize = 2;
    let group = control!(agent_group);
    let reached = if target == 0 {
        let signal = load!(M, usize, task, task.signal);
        let own = kernel::read::<usize>(signal.wrapping_add(layout!(signal.numbers) as usize + GROUP * 8));
        // struct upid { int nr; ... }: that of the initial namespace comes first
        kernel::read::<u32>(own.wrapping_add(layout!(number.numbers) as usize)) == group
    } else if target > 0 {
        return process_as_named::<M>(task, target as u32);
    } else {
        is_in_initial::<M>(task) && (target == -1 || target.wrapping_neg() as u32 == group)
    };
    if reached { Touched::PROCESS } else { Touched::NOTHING }
}

/// A program, map or link.
#[derive(Clone, Copy)]
pub struct Object {
    what: Touched,
    /// Its number; 0 for none.
    pub number: u32,
}

impl Object {
    /// Nothing.
    pub const NONE: Object = Object { what: Touched::NOTHING, number: 0 };

    /// What a command names by number.
    #[inline(always)]
    pub fn of_number(what: Touched, number: u32) -> Object {
        Object { what, number }
    }

    /// What an open file stands for.
    #[inline(always)]
    pub fn of_file<M: Memory>(file: usize) -> Object {
        const PROGRAM_NAME: u64 = u64::from_ne_bytes(*b"bpf-prog");
        const MAP_NAME: u64 = u64::from_ne_bytes(*b"bpf-map\0");
        // that of a new one, and that of one which is looked up
        const LINK_NAME: u64 = u64::from_ne_bytes(*b"bpf_link");
        const LINK_AGAIN: u64 = u64::from_ne_bytes(*b"bpf-link");
        if file == 0 {
            return Object::NONE;
        }
        // struct path { struct vfsmount *mnt; struct dentry *dentry; }
        let entry = M::load::<usize>(file, layout!(file.id), layout!(file.path) + 8);
        let name = M::load::<usize>(entry, layout!(dentry.id), layout!(dentry.name) + 8);
        let object = load!(M, usize, file, file.private);
        match kernel::read::<u64>(name) {
            PROGRAM_NAME => {
                let aux = load!(M, usize, object, bpf_prog.aux);
                Object { what: Touched::PROGRAM, number: load!(M, u32, aux, bpf_prog_aux.number) }
            }
            MAP_NAME => Object { what: Touched::MAP, number: load!(M, u32, object, bpf_map.number) },
            LINK_NAME | LINK_AGAIN => Object { what: Touched::LINK, number: load!(M, u32, object, bpf_link.number) },
            _ => Object::NONE,
        }
    }

    /// Whether it is the agent's.
    #[inline(always)]
    pub fn touched(self) -> Touched {
        if is_own(self.what, self.number) { self.what } else { Touched::NOTHING }
    }
}
