//! utime, utimes, futimesat, utimensat.

use common::{Call, Kind, event::Utimes, names::Times, wire::Moment};

use crate::{
    kernel::{self, Memory},
    path::{self, CWD, EMPTY_PATH, Subject},
    program::{on_return, sys_exit::Return},
};

/// `UTIME_NOW`, `UTIME_OMIT` (`include/linux/stat.h`).
const NOW: i64 = 0x3fff_ffff;
const OMIT: i64 = 0x3fff_fffe;
/// Seconds whose nanoseconds a number of 64 bits holds.
const SECONDS: i64 = 9_223_372_035;

/// Two times as the caller gives them: seconds, and parts of a second.
#[derive(Clone, Copy)]
struct Pair([i64; 4]);

impl Pair {
    #[inline(always)]
    fn of(it: &Return, at: u64) -> Option<Pair> {
        // struct utimbuf, two struct timeval, or two struct timespec: of longs, but for one call of 32-bit programs
        let narrow = it.is_compat() && !it.is(Call::UtimensatTime64);
        if it.is(Call::Utime) {
            let [atime, mtime] = if narrow {
                kernel::read_user::<[i32; 2]>(at)?.map(i64::from)
            } else {
                kernel::read_user::<[i64; 2]>(at)?
            };
            return Some(Pair([atime, 0, mtime, 0]));
        }
        let all =
            if narrow { kernel::read_user::<[i32; 4]>(at)?.map(i64::from) } else { kernel::read_user::<[i64; 4]>(at)? };
        Some(Pair(all))
    }
}

#[inline(always)]
fn moment(seconds: i64, part: i64, unit: i64) -> Moment {
    let whole = if seconds > SECONDS {
        SECONDS
    } else if seconds < -SECONDS {
        -SECONDS
    } else {
        seconds
    };
    Moment::from(whole * 1_000_000_000 + part * unit)
}

#[inline(always)]
fn utimes<M: Memory>(it: &Return) {
    if !it.pass(Kind::Utimes) {
        return;
    }
    it.send::<M, Utimes>(Kind::Utimes, |draft, it| {
        let spec = it.is(Call::Utimensat) || it.is(Call::UtimensatTime64);
        let below = spec || it.is(Call::Futimesat);
        let at = if below { it.arg::<2>() } else { it.arg::<1>() };
        let body = &mut draft.body;
        (body.times, body.atime, body.mtime) = (Times(3), Moment::NONE, Moment::NONE);
        if at != 0 {
            match Pair::of(it, at) {
                Some(Pair(pair)) if spec => {
                    let changes = |part| u32::from(part != OMIT);
                    body.times = Times(changes(pair[1]) | changes(pair[3]) << 1);
                    if pair[1] != NOW && pair[1] != OMIT {
                        body.atime = moment(pair[0], pair[1], 1);
                    }
                    if pair[3] != NOW && pair[3] != OMIT {
                        body.mtime = moment(pair[2], pair[3], 1);
                    }
                }
                Some(Pair(pair)) => {
                    body.atime = moment(pair[0], pair[1], 1_000);
                    body.mtime = moment(pair[2], pair[3], 1_000);
                }
                None => body.times = Times(0),
            }
        }
        let subject = if below {
            let (dir, name) = (it.arg::<0>() as i32, it.arg::<1>());
            Subject::at::<M>(it.task, dir, name, name == 0 || spec && it.arg::<3>() & EMPTY_PATH != 0)
        } else {
            Subject::Name(CWD, it.arg::<0>())
        };
        (draft.body.inode, draft.body.dev) = subject.identity::<M>();
        draft.body.path = path::of::<M, _, _>(draft, it.task, subject);
    });
}
on_return!(utimes_fast, utimes_base, utimes_perf, utimes);
