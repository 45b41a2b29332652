//! Settings of the host: time, name, restarts, accounting, ports, the kernel's log.

use common::{
    Call, Kind,
    event::{Acct, Hostname, Ioport, Reboot, Settime, Syslog},
    names::{AdjtimeModes, ClockId, QuotaCommand, RebootCommand, SyslogAction},
    wire::{Bool, Id, UNSET, User, Wide},
};

use crate::{
    kernel::{self, Memory, layout, load},
    path::{self, CWD, Subject, file_of},
    program::{on_return, sys_exit::Return},
};

/// Seconds and a fraction in the caller's memory, as nanoseconds; `u64::MAX` when they are not there.
#[inline(always)]
fn time(at: u64, narrow: bool, fraction: i64) -> u64 {
    let both = if narrow {
        kernel::read_user::<[i32; 2]>(at).map(|[whole, part]| [i64::from(whole), i64::from(part)])
    } else {
        kernel::read_user::<[i64; 2]>(at)
    };
    let [whole, part] = both.unwrap_or([0, -1]);
    if both.is_none() { u64::MAX } else { (whole * 1_000_000_000 + part * fraction) as u64 }
}

#[inline(always)]
fn settime<M: Memory>(it: &Return) {
    let steers = it.is(Call::Adjtimex) || it.is(Call::ClockAdjtime) || it.is(Call::ClockAdjtime64);
    let (first, second) = (it.arg::<0>(), it.arg::<1>());
    // struct timex { unsigned int modes; ... }
    let timex = if it.is(Call::Adjtimex) { first } else { second };
    let modes = if steers { kernel::read_user::<u32>(timex).unwrap_or(0) } else { 0 };
    // a question
    if steers && modes == 0 {
        return;
    }
    it.tell::<M, Settime>(Kind::Settime, |draft, it| {
        let new_time = if steers {
            u64::MAX
        } else if it.is(Call::Stime) {
            kernel::read_user::<i32>(first).map_or(u64::MAX, |it| (i64::from(it) * 1_000_000_000) as u64)
        } else if it.is(Call::Settimeofday) {
            time(first, it.is_compat(), 1000)
        } else {
            time(second, it.is_compat() && it.is(Call::ClockSettime), 1)
        };
        let named = it.is(Call::ClockSettime) || it.is(Call::ClockSettime64) || it.is(Call::ClockAdjtime);
        let clock = if named || it.is(Call::ClockAdjtime64) { first as u32 } else { 0 };
        draft.body =
            Settime { new_time: User(Wide::from(new_time)), clock: ClockId(clock), modes: User(AdjtimeModes(modes)) };
    });
}
on_return!(settime_fast, settime_base, settime_perf, settime);

#[inline(always)]
fn hostname<M: Memory>(it: &Return) {
    it.tell::<M, Hostname>(Kind::Hostname, |draft, it| {
        let spaces = load!(M, usize, it.task, task.nsproxy);
        let space = load!(M, usize, spaces, nsproxy.uts);
        let at = if it.is(Call::Sethostname) { layout!(uts_ns.host) } else { layout!(uts_ns.domain) };
        draft.body.name = if it.is_error() {
            draft.given(it.arg::<0>(), it.arg::<1>() & 0x7fff_ffff)
        } else {
            draft.kept(space + at as usize)
        };
    });
}
on_return!(hostname_fast, hostname_base, hostname_perf, hostname);

#[inline(always)]
fn reboot<M: Memory>(it: &Return) {
    it.tell::<M, Reboot>(Kind::Reboot, |draft, it| {
        draft.body = Reboot { command: RebootCommand(it.arg::<2>() as u32) };
    });
}
on_return!(reboot_fast, reboot_base, reboot_perf, reboot);

/// Commands of quotactl(2) that only ask: Q_GETFMT, Q_GETINFO, Q_GETQUOTA, Q_GETNEXTQUOTA; Q_XGETQUOTA, Q_XGETQSTAT,
/// Q_XGETQSTATV, Q_XGETNEXTQUOTA. Q_SYNC changes nothing either.
#[inline(always)]
fn asks(command: u32) -> bool {
    matches!(command, 0x80_0001 | 0x80_0004 | 0x80_0005 | 0x80_0007 | 0x80_0009 | 0x5803 | 0x5805 | 0x5807..=0x5809)
}

#[inline(always)]
fn acct<M: Memory>(it: &Return) {
    let (accounts, by_file) = (it.is(Call::Acct), it.is(Call::QuotactlFd));
    let command = (if by_file { it.arg::<1>() } else { it.arg::<0>() }) as u32;
    // SUBCMDSHIFT of quotactl(2)
    let command = if accounts { UNSET } else { command >> 8 };
    if asks(command) && !it.is_error() {
        return;
    }
    it.tell::<M, Acct>(Kind::Acct, |draft, it| {
        draft.body.command = QuotaCommand(command);
        draft.body.quota_id = Id(if accounts { UNSET } else { it.arg::<2>() as u32 });
        let name = if accounts { it.arg::<0>() } else { it.arg::<1>() };
        let file = if by_file { file_of::<M>(it.task, it.arg::<0>() as u32) } else { 0 };
        let subject = if file != 0 {
            Subject::File(file)
        } else if by_file || name == 0 {
            Subject::Nothing
        } else {
            Subject::Name(CWD, name)
        };
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_return!(acct_fast, acct_base, acct_perf, acct);

#[inline(always)]
fn ioport<M: Memory>(it: &Return) {
    it.tell::<M, Ioport>(Kind::Ioport, |draft, it| {
        let by_level = it.is(Call::Iopl);
        let only = |there: bool, value: u64| Id(if there { value as u32 } else { UNSET });
        let opens = if by_level { it.arg::<0>() } else { it.arg::<2>() };
        draft.body = Ioport {
            level: only(by_level, it.arg::<0>()),
            first_port: only(!by_level, it.arg::<0>()),
            ports: only(!by_level, it.arg::<1>()),
            opened: Bool(u32::from(opens & 0xffff_ffff != 0)),
        };
    });
}
on_return!(ioport_fast, ioport_base, ioport_perf, ioport);

/// Actions of syslog(2) that only read: CLOSE, OPEN, READ, READ_ALL, SIZE_UNREAD, SIZE_BUFFER.
const READS: u64 = 0x60f;
const CONSOLE_LEVEL: u64 = 8;

#[inline(always)]
fn syslog<M: Memory>(it: &Return) {
    let action = it.arg::<0>() & 0xffff_ffff;
    if action < 64 && READS >> action & 1 != 0 && !it.is_error() {
        return;
    }
    it.tell::<M, Syslog>(Kind::Syslog, |draft, it| {
        let level = if action == CONSOLE_LEVEL { it.arg::<2>() as u32 } else { UNSET };
        draft.body = Syslog { action: SyslogAction(action as u32), level: Id(level) };
    });
}
on_return!(syslog_fast, syslog_base, syslog_perf, syslog);
