//! strace(1) as a witness.

use std::{fs, path::Path, process::Command, sync::OnceLock};

use nix::errno::Errno;

use super::{
    compare::{Object, Seen, folded},
    table,
};
use crate::differential::{directory, joined, socket, split, unescape};

/// Where an argument says what a call is about.
#[derive(Clone, Copy)]
enum Place {
    /// A path.
    Name(usize),
    /// A descriptor of a directory, and a path after it.
    At(usize),
    /// A descriptor of a file.
    File(usize),
    /// A socket address.
    Address(usize),
}
use Place::{Address, At, File, Name};

/// The places by call; other calls are compared by name and result alone.
const PLACES: &[(&str, &[Place])] = &[
    ("open creat unlink rmdir chmod chown lchown truncate execve", &[Name(0)]),
    ("mkdir mknod setxattr lsetxattr removexattr lremovexattr utime utimes", &[Name(0)]),
    ("chroot swapon swapoff acct umount2", &[Name(0)]),
    ("openat openat2 unlinkat fchmodat fchmodat2 fchownat execveat", &[At(0)]),
    ("mkdirat mknodat setxattrat removexattrat futimesat file_setattr", &[At(0)]),
    ("rename link pivot_root", &[Name(0), Name(1)]),
    ("renameat renameat2 linkat", &[At(0), At(2)]),
    ("symlink mount", &[Name(1)]),
    ("symlinkat", &[At(1)]),
    ("fchmod fchown ftruncate fsetxattr fremovexattr", &[File(0)]),
    ("finit_module", &[File(0)]),
    ("connect bind accept accept4", &[Address(1)]),
    ("sendto", &[Address(4)]),
];

/// A command that becomes the program, traced by a process beside it.
pub fn command(program: &Path, traces: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-ff", "-y", "-xx", "-s", "8192", "-o"]).arg(traces).arg(program);
    command
}

/// The audited calls in the trace of a process; `None` as long as it is not at its end.
pub fn calls(traces: &Path, pid: u32) -> Option<Vec<Seen>> {
    let text = fs::read_to_string(traces.with_extension(pid.to_string())).ok()?;
    text.lines().last().filter(|it| it.starts_with("+++ "))?;
    Some(text.lines().filter_map(seen).collect())
}

fn seen(line: &str) -> Option<Seen> {
    let (written, rest) = line.split_once('(').filter(|_| !line.starts_with(['+', '-', '[']))?;
    let call = name(written)?;
    let (args, result) = rest.rsplit_once(" = ")?;
    let args = split(args.trim_end().trim_end_matches(')'));
    let object = |place: &Place| match *place {
        Name(at) => Some(match unescape(quoted(args.get(at)?)?) {
            name if name.starts_with('/') => Object::Path(folded("/", &name)),
            name => Object::Part(name),
        }),
        At(at) => {
            let name = unescape(quoted(args.get(at + 1)?)?);
            let is_known = name.starts_with('/') || args[at].contains('<');
            Some(if is_known { Object::Path(joined(directory(&args[at]), &name)) } else { Object::Part(name) })
        }
        File(at) => args.get(at).filter(|it| it.contains("<\\x2f")).map(|it| Object::Path(unescape(directory(it)))),
        Address(at) => args.get(at).filter(|it| it.contains("sa_family")).map(|it| Object::Address(socket(it))),
    };
    let places = PLACES.iter().find(|it| it.0.split(' ').any(|it| it == call)).map_or(&[][..], |it| it.1);
    Some(Seen { call: call.to_owned(), ret: returned(result), objects: places.iter().filter_map(object).collect() })
}

/// The name of an audited call. strace tells the ways of 32-bit programs apart, and writes `syscall_0x1d5` for a call
/// that is newer than itself.
fn name(written: &str) -> Option<&'static str> {
    static CALLS: OnceLock<Vec<(i64, &'static str)>> = OnceLock::new();
    let calls = CALLS.get_or_init(|| table::audited(false).into_iter().chain(table::audited(true)).collect());
    let number = written.strip_prefix("syscall_0x").map(|it| i64::from_str_radix(it, 16).unwrap());
    let plain = written.trim_end_matches("_time64").trim_end_matches("32").trim_end_matches("64");
    let by = |wanted: &dyn Fn(&(i64, &str)) -> bool| calls.iter().find(|it| wanted(it)).map(|it| it.1);
    match number {
        Some(number) => by(&|it| it.0 == number),
        None => by(&|it| it.1 == written).or_else(|| by(&|it| it.1 == plain)),
    }
}

/// The text of an argument, `"\x2f…"`, if it is one.
fn quoted(arg: &str) -> Option<&str> {
    arg.strip_prefix('"')?.split('"').next()
}

fn returned(result: &str) -> i64 {
    if let Some(error) = result.strip_prefix("-1 E") {
        let name = format!("E{}", error.split(' ').next().unwrap());
        return -(1..200).find(|it| format!("{:?}", Errno::from_raw(*it)) == name).map(i64::from).unwrap();
    }
    let number = result.split([' ', '<']).next().unwrap();
    let hex = number.strip_prefix("0x").map(|it| u64::from_str_radix(it, 16).unwrap().cast_signed());
    hex.unwrap_or_else(|| number.parse().unwrap_or_else(|_| panic!("no result: {result}")))
}
