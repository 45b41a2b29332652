//! Signals to other processes.

use common::{
    Call, Kind,
    event::Kill,
    names::Signal,
    wire::{Id, UNSET},
};

use crate::{
    kernel::{self, Memory, layout, load},
    own,
    program::{on_return, sys_exit::Return},
    target::{Target, describe},
};

#[inline(always)]
fn kill<M: Memory>(it: &Return) {
    let (first, second, third) = (it.arg::<0>() as u32, it.arg::<1>() as u32, it.arg::<2>() as u32);
    let (pid, tid, signal) = if it.is(Call::Tkill) {
        (0, first, second)
    } else if it.is(Call::Tgkill) || it.is(Call::RtTgsigqueueinfo) {
        (first, second, third)
    } else if it.is(Call::PidfdSendSignal) {
        (Target::of_known_descriptor::<M>(it, first).number(), UNSET, second)
    } else {
        (first, UNSET, second)
    };
    // a question; or a matter of the process itself: some language runtimes do that thousands of times a second
    if signal == 0 || pid == number_of::<M>(load!(M, usize, it.task, task.group_leader)) {
        return;
    }
    if it.is(Call::Tkill) && tid == number_of::<M>(it.task) {
        return;
    }
    it.tell::<M, Kill>(Kind::Kill, |draft, it| {
        let touches = if it.is(Call::PidfdSendSignal) {
            own::process(pid)
        } else if it.is(Call::Tkill) {
            own::process_as_named::<M>(it.task, tid)
        } else {
            own::receiver::<M>(it.task, pid as i32)
        };
        // 0 and below: groups
        let named = if it.is(Call::Tkill) { tid } else { pid };
        let target = if it.is(Call::PidfdSendSignal) {
            Target::of_known_descriptor::<M>(it, first)
        } else if named as i32 > 0 {
            Target::named::<M>(it.task, named)
        } else {
            Target::NONE
        };
        draft.body.target_pid = pid as i32;
        draft.body.target_tid = Id(tid);
        draft.body.signal = Signal(signal);
        draft.body.touches = touches;
        describe!(M, draft, target);
    });
}
on_return!(kill_fast, kill_base, kill_perf, kill);

/// The number of a thread in its own pid namespace.
#[inline(always)]
pub fn number_of<M: Memory>(task: usize) -> u32 {
    let number = load!(M, usize, task, task.number);
    let level = load!(M, u32, number, number.level) as usize;
    // struct upid { int nr; struct pid_namespace *ns; }
    kernel::read::<u32>(number.wrapping_add(layout!(number.numbers) as usize + level * 16))
}
