//! Every read of kernel or user memory, and the tricks that the verifier asks for.

use core::{arch::asm, ffi::c_void, marker::PhantomData, mem::MaybeUninit, ptr::read_volatile};

use aya_ebpf::{EbpfContext, helpers::generated as helper};
use common::{
    layout::{Layout, MISSING},
    wire::Name16,
};

use crate::{
    environment::Variables,
    path::{self, Walk},
    program::{modify::Sweep, sys_exit},
    written::FILES,
};

/// Where the running kernel keeps what we read. Set by the user half before load.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = unsafe { core::mem::zeroed() };

/// An offset or type id of the running kernel. The verifier knows the value: the map of constants is frozen.
macro_rules! layout {
    ($($member:ident).+) => {
        $crate::kernel::constant(&raw const $crate::kernel::LAYOUT.$($member).+)
    };
}
pub(crate) use layout;

/// Reads one number of [`LAYOUT`].
#[inline(always)]
pub fn constant(at: *const u32) -> u32 {
    // SAFETY: only called by `layout!`, with a part of a static.
    unsafe { read_volatile(at) }
}

/// Reads a member of a kernel struct: `load!(M, u32, task, task.pid)`.
macro_rules! load {
    ($memory:ident, $ty:ty, $at:expr, $group:ident.$member:ident) => {
        $memory::load::<$ty>($at, $crate::kernel::layout!($group.id), $crate::kernel::layout!($group.$member))
    };
}
pub(crate) use load;

/// `struct pt_regs` of x86_64 (`arch/x86/include/asm/ptrace.h`).
#[repr(C)]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub bp: u64,
    pub bx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub ax: u64,
    pub cx: u64,
    pub dx: u64,
    pub si: u64,
    pub di: u64,
    pub orig_ax: u64,
    ip: u64,
    cs: u64,
    flags: u64,
    sp: u64,
    ss: u64,
}

/// A way to read kernel memory. What cannot be read is zero.
pub trait Memory {
    /// Reads at an offset of a struct of the given BTF type; zero when this kernel lacks the member.
    fn load<T: Copy>(at: usize, id: u32, offset: u32) -> T;
    /// The current task.
    fn task() -> usize;
    /// The number of the system call that a task is in.
    fn number(task: usize) -> u64;
    /// Takes all turns of a walk.
    fn walk(walk: Walk);
    /// Takes all turns of a sweep.
    fn sweep(sweep: Sweep);
    /// Looks at the variables of an environment.
    fn look_at(variables: Variables);
}

/// Most turns of a walk: a path of `PATH_MAX` bytes has no more components, and some mounts.
const TURNS: u32 = 4096;
/// Most files of a sweep in the base family: the verifier follows the walk of each.
const BASE_FILES: usize = 4;
/// Most variables of an environment that are looked at: so many that nobody has more but to hide one, and in the base
/// family as many as the verifier follows.
const VARIABLES: u32 = 4096;
const BASE_VARIABLES: usize = 256;

/// A turn, as `bpf_loop` (5.17) calls it. Returns 1 at the end.
#[inline(never)]
extern "C" fn fast_turn(_turn: u64, walk: *mut c_void) -> i64 {
    // SAFETY: `Fast::walk` gives a walk of its own stack.
    i64::from(unsafe { &*walk.cast::<Walk>() }.turn::<Fast>())
}

/// A turn of a sweep, likewise.
#[inline(never)]
extern "C" fn fast_file(_turn: u64, sweep: *mut c_void) -> i64 {
    // SAFETY: `Fast::sweep` gives a sweep of its own stack.
    i64::from(unsafe { &*sweep.cast::<Sweep>() }.turn::<Fast>())
}

/// A variable, likewise.
#[inline(never)]
extern "C" fn fast_variable(_turn: u64, variables: *mut c_void) -> i64 {
    // SAFETY: `Fast::look_at` gives variables of its own stack.
    i64::from(unsafe { &*variables.cast::<Variables>() }.turn())
}

/// Typed loads that the kernel checks: no call for each field.
pub struct Fast;
/// A helper call for each field, as all kernels have it. `H`: where its drafts are.
pub struct Base<H = sys_exit::Drafts>(PhantomData<H>);

/// The drafts that a program of the base family walks paths into.
///
/// The verifier follows a global function once, and not at each call; before Linux 5.12 such a function takes numbers
/// only. So a part of a walk is one, and finds the draft by itself.
pub trait Home {
    /// Takes [`path::PART`] turns of the walk in the draft that is being written. `at`: see [`Walk::at`]. Returns
    /// whether the walk is over.
    fn turns(at: u64) -> bool;
}

/// Declares a [`Home`]: its name, its function, and how the draft is found.
macro_rules! home {
    ($(#[$doc:meta])* $home:ident, $turns:ident, $draft:expr) => {
        $(#[$doc])*
        pub struct $home;

        impl $crate::kernel::Home for $home {
            #[inline(always)]
            fn turns(at: u64) -> bool {
                $turns(at) != 0
            }
        }

        /// See [`crate::kernel::Home`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $turns(at: u64) -> u64 {
            // SAFETY: a draft of the current program.
            $draft.map_or(1, |draft| u64::from(unsafe { $crate::path::turns(draft.cast(), at) }))
        }
    };
}
pub(crate) use home;

impl Memory for Fast {
    #[inline(always)]
    fn load<T: Copy>(at: usize, id: u32, offset: u32) -> T {
        if offset == MISSING {
            return zero();
        }
        // SAFETY: the verifier turns this into a load that yields zero when it faults.
        unsafe { read_volatile(cast(at, id).add(offset as usize).cast()) }
    }
    #[inline(always)]
    fn task() -> usize {
        // SAFETY: takes nothing, returns a pointer.
        unsafe { helper::bpf_get_current_task_btf() as usize }
    }
    #[inline(always)]
    fn number(task: usize) -> u64 {
        // SAFETY: the helper takes a task and returns its registers, whose words the verifier knows.
        unsafe { (*(helper::bpf_task_pt_regs(task as *mut _) as *const Registers)).orig_ax }
    }
    #[inline(always)]
    fn walk(mut walk: Walk) {
        // SAFETY: the walk lives until the loop ends.
        unsafe { helper::bpf_loop(TURNS, fast_turn as *mut c_void, (&raw mut walk).cast(), 0) };
    }
    #[inline(always)]
    fn sweep(mut sweep: Sweep) {
        // SAFETY: the sweep lives until the loop ends.
        unsafe { helper::bpf_loop(FILES as u32, fast_file as *mut c_void, (&raw mut sweep).cast(), 0) };
    }
    #[inline(always)]
    fn look_at(mut variables: Variables) {
        // SAFETY: they live until the loop ends.
        unsafe { helper::bpf_loop(VARIABLES, fast_variable as *mut c_void, (&raw mut variables).cast(), 0) };
    }
}

impl<H: Home> Memory for Base<H> {
    #[inline(always)]
    fn load<T: Copy>(at: usize, _id: u32, offset: u32) -> T {
        if offset == MISSING {
            return zero();
        }
        read(at.wrapping_add(offset as usize))
    }
    #[inline(always)]
    fn task() -> usize {
        // SAFETY: takes nothing, returns a number.
        unsafe { helper::bpf_get_current_task() as usize }
    }
    #[inline(always)]
    fn number(task: usize) -> u64 {
        // without a helper: the registers lie at the end of the stack (`task_pt_regs` of x86_64)
        const STACK: usize = 16 << 10;
        let registers = load!(Self, usize, task, task.stack).wrapping_add(STACK - size_of::<Registers>());
        read(registers.wrapping_add(core::mem::offset_of!(Registers, orig_ax)))
    }
    #[inline(always)]
    fn walk(walk: Walk) {
        for _ in 0..TURNS / path::PART {
            if H::turns(walk.at) {
                break;
            }
        }
    }
    #[inline(always)]
    fn sweep(sweep: Sweep) {
        for _ in 0..BASE_FILES {
            if sweep.turn::<Self>() {
                break;
            }
        }
    }
    #[inline(always)]
    fn look_at(variables: Variables) {
        for _ in 0..BASE_VARIABLES {
            if variables.turn() {
                break;
            }
        }
    }
}

#[inline(always)]
fn zero<T: Copy>() -> T {
    // SAFETY: only used for integers and arrays of them.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Reads kernel memory; zero when it cannot be read.
#[inline(always)]
pub fn read<T: Copy>(at: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value`, zeros when it fails.
    unsafe {
        helper::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, at as *const c_void);
        value.assume_init()
    }
}

/// Reads user memory; `None` when it cannot be read.
#[inline(always)]
pub fn read_user<T: Copy>(at: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value`, zeros when it fails.
    unsafe {
        let failed = helper::bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, at as *const c_void);
        let value = value.assume_init();
        if failed == 0 { Some(value) } else { None }
    }
}

/// Copies kernel memory. `to` must have room for `len` bytes.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, len: u64, from: usize) -> bool {
    // SAFETY: the caller's room, the verifier checks it.
    unsafe { helper::bpf_probe_read_kernel(to.cast(), len as u32, from as *const c_void) == 0 }
}

/// Copies user memory. `to` must have room for `len` bytes.
#[inline(always)]
pub unsafe fn copy_user(to: *mut u8, len: u64, from: u64) -> bool {
    // SAFETY: the caller's room, the verifier checks it.
    unsafe { helper::bpf_probe_read_user(to.cast(), len as u32, from as *const c_void) == 0 }
}

/// Copies a string of user memory. `to` must have room for `room` bytes. Returns bytes with the NUL, or an error.
#[inline(always)]
pub unsafe fn copy_user_str(to: *mut u8, room: u32, from: u64) -> i64 {
    // SAFETY: the caller's room, the verifier checks it.
    let len = unsafe { helper::bpf_probe_read_user_str(to.cast(), room, from as *const c_void) };
    // 5.10 to 6.12 do not count the NUL of an empty string, 6.18 does (`strncpy_from_user_nofault`)
    if len == 0 { 1 } else { len }
}

/// Copies a string of kernel memory. `to` must have room for `room` bytes. Returns bytes with the NUL, or an error.
#[inline(always)]
pub unsafe fn copy_str(to: *mut u8, room: u32, from: usize) -> i64 {
    // SAFETY: the caller's room, the verifier checks it.
    unsafe { helper::bpf_probe_read_kernel_str(to.cast(), room, from as *const c_void) }
}

/// `bpf_rdonly_cast`: gives an address a type of the kernel. The call is a placeholder that the user half replaces
/// by the id of the kernel function (see `source/object.rs`).
#[inline(always)]
fn cast(at: usize, id: u32) -> *const u8 {
    let typed: u64;
    // SAFETY: the kernel function has no effect but its result; calls clobber r1 to r5.
    unsafe {
        asm!("call 0x7fff0001", inout("r1") at as u64 => _, inout("r2") u64::from(id) => _,
            lateout("r0") typed, lateout("r3") _, lateout("r4") _, lateout("r5") _);
    }
    typed as *const u8
}

/// `value & MASK`, in a way that the compiler cannot move or drop: the verifier has to see it.
#[inline(always)]
pub fn mask<const MASK: i32>(mut value: u64) -> u64 {
    // SAFETY: arithmetic.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const MASK, options(pure, nomem, nostack)) };
    value
}

/// `min(value, MAX)`, in a way that the compiler cannot move or drop: the verifier has to see it.
#[inline(always)]
pub fn clamp<const MAX: i32>(mut value: u64) -> u64 {
    // SAFETY: arithmetic.
    unsafe {
        asm!("if {0} <= {1} goto +1", "{0} = {1}", inout(reg) value, const MAX, options(pure, nomem, nostack));
    }
    value
}

/// Adds to a number that other CPUs change, too. The oldest kernels know no other atomic operation.
#[inline(always)]
pub unsafe fn add(number: *mut u64, value: u64) {
    // SAFETY: the caller's number, the verifier checks it.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) number, in(reg) value, options(nostack)) };
}

/// An argument of a typed tracepoint, by its offset: eight bytes each. The compiler must not make one load of two that
/// depend on a condition: the verifier wants each offset in its instruction.
#[inline(always)]
pub fn argument<const AT: i32>(ctx: &impl EbpfContext) -> u64 {
    let value: u64;
    // SAFETY: a load from the context, which the verifier checks.
    unsafe {
        asm!("{0} = *(u64 *)({1} + {2})", out(reg) value, in(reg) ctx.as_ptr(), const AT, options(pure, readonly, nostack))
    };
    value
}

/// The number of the current thread.
#[inline(always)]
pub fn thread() -> u32 {
    // SAFETY: takes nothing, returns a number: the process in the upper half.
    unsafe { helper::bpf_get_current_pid_tgid() as u32 }
}

/// The CPU that runs us.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: takes nothing, returns a number.
    unsafe { helper::bpf_get_smp_processor_id() }
}

/// Time since boot, suspend included, in nanoseconds.
#[inline(always)]
pub fn boottime() -> u64 {
    // SAFETY: takes nothing, returns a number.
    unsafe { helper::bpf_ktime_get_boot_ns() }
}

/// A short name that the kernel keeps somewhere; empty when there is none.
#[inline(always)]
pub fn short_name(at: usize) -> Name16 {
    let mut name = [0; 16];
    // SAFETY: the array has the room.
    unsafe { copy_str((&raw mut name).cast(), 16, at) };
    Name16(name)
}
