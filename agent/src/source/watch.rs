//! Whether the kernel half is still as we left it. Who may load programs may also take ours away.

use std::{fs, io, path::Path, thread};

use aya::programs::{ProgramInfo, links::PinnedLink};
use common::Hook;

use super::{
    Own,
    hooks::{Entry, Program},
    kernel::Kernel,
    pin::{self, Thing},
    refusal::chain,
};

impl Kernel {
    /// Looks at all parts, mends what can be mended, and says what was found. `scratch`: a directory of ours.
    pub fn check(&mut self, scratch: &Path) -> Vec<Own> {
        let mut found = Vec::new();
        match self.steering.insist() {
            Ok(false) => {}
            Ok(true) => found.push(told("control", Ok(()), "somebody else wrote to it")),
            Err(error) => found.push(told("control", Err(error.to_string()), "it cannot be read")),
        }
        let running: Vec<_> = self.attached.iter().filter(|it| it.failed.is_none()).map(|it| it.program).collect();
        for program in &running {
            match program.entry {
                Entry::Call(_) | Entry::Operation(_) | Entry::Judge => found.extend(self.check_jump(program)),
                Entry::Tracepoint(..) | Entry::Lsm(_) => found.extend(self.check_link(program)),
            }
        }
        if self.is_pinned() {
            found.extend(self.check_names());
        }
        if !found.is_empty() {
            self.claim();
        }
        found.extend(self.check_hooks(&running, scratch));
        found
    }

    /// The program before it jumps to ours.
    fn check_jump(&mut self, program: &Program) -> Option<Own> {
        let (map, slot) = program.entry.slot()?;
        let ours = self.programs.get(program.name).and_then(|program| id(program).ok())?;
        let why = match self.jumps.get(map)?.ids.get(&slot, 0) {
            Ok(there) if there == ours => return None,
            Ok(there) => format!("program {there} is in its place"),
            Err(_) => "nothing jumps to it".to_owned(),
        };
        let done = self.jump(program);
        Some(told(program.name, done, &why))
    }

    /// Our program sits on its hook.
    fn check_link(&mut self, program: &Program) -> Option<Own> {
        let ours = self.programs.get(program.name).and_then(|program| id(program).ok())?;
        let why = match self.links.get(program.name).map(aya::programs::links::FdLink::info) {
            Some(Ok(link)) if link.program_id() == ours => return None,
            Some(Ok(link)) => format!("program {} is in its place", link.program_id()),
            Some(Err(error)) => error.to_string(),
            None => "it is not attached".to_owned(),
        };
        let done = self.attach_again(program);
        Some(told(program.name, done, &why))
    }

    /// What shall outlive us has its name.
    fn check_names(&mut self) -> Option<Own> {
        let names: Vec<_> = self.links.keys().cloned().collect();
        let mut gone = Vec::new();
        for name in names {
            let path = self.path(Thing::Link, &name)?;
            let ours = self.links.get(&name)?.info().ok()?.id();
            let there = PinnedLink::from_pin(&path)
                .ok()
                .and_then(|link| Some(aya::programs::links::FdLink::from(link).info().ok()?.id()));
            if there != Some(ours) {
                gone.push(name);
            }
        }
        let is_whole = self
            .programs
            .keys()
            .all(|name| self.path(Thing::Program, name).is_some_and(|path| ProgramInfo::from_pin(path).is_ok()));
        if gone.is_empty() && is_whole {
            return None;
        }
        let done = self.name_again();
        Some(told("names", done, "names in the BPF file system are gone"))
    }

    /// The hooks run: what we did ourselves at the last check is counted there by now.
    fn check_hooks(&mut self, running: &[Program], scratch: &Path) -> Vec<Own> {
        let Ok(counts) = self.counts() else { return Vec::new() };
        let is_asked = |hook| match hook {
            Hook::Fork => running.iter().any(|program| program.name == "fork"),
            Hook::Exit => running.iter().any(|program| program.name == "exit"),
            Hook::SysExit => running.iter().any(|program| program.name == "sys_exit") && self.steering.wants(ACTS),
            _ => false,
        };
        let own: Vec<_> = counts
            .iter()
            .map(|(hook, cpus)| is_asked(*hook).then(|| cpus.iter().map(|counts| counts.own).sum::<u64>()))
            .collect();
        let before = self.own.replace(own.clone());
        act(scratch);
        let mut found = Vec::new();
        for ((hook, _), (before, now)) in counts.iter().zip(before.iter().flatten().zip(&own)) {
            if before.is_some() && before == now {
                let why = "what the agent did itself was not seen there".to_owned();
                found.push(Own::Hook { hook: hook.name().to_owned(), state: "missing", why });
            }
        }
        found
    }

    /// Makes a file and removes it, and that makes an event, though it is our own act.
    pub fn test(&mut self, file: &Path) -> Result<(), String> {
        let said = |doing: &str, error: &dyn std::error::Error| format!("{doing}: {}", chain(error));
        fs::write(file, "").map_err(|error| said("making the file", &error))?;
        let thread = nix::unistd::gettid().as_raw().unsigned_abs();
        let mut name = |tester: u32| {
            let named = self.steering.set(|control| control.tester = tester.into());
            named.map_err(|error| said("telling the kernel half", &error))
        };
        name(thread)?;
        let removed = fs::remove_file(file);
        name(0)?;
        removed.map_err(|error| said("removing the file", &error))
    }

    /// Makes all names anew.
    pub(super) fn name_again(&mut self) -> Result<(), String> {
        let Some(pins) = self.pins.clone() else { return Ok(()) };
        let io = |error: io::Error| error.to_string();
        let dir = pins.draft().map_err(io)?;
        for (name, map) in &self.maps {
            map.pin(pin::path(&dir, Thing::Map, name)).map_err(|error| chain(&error))?;
        }
        let programs: Vec<_> = self.programs.keys().cloned().collect();
        for name in programs {
            let path = pin::path(&dir, Thing::Program, &name);
            self.program_mut(&name).ok_or("it is not loaded")?.pin(path).map_err(|error| chain(&error))?;
        }
        for (name, link) in std::mem::take(&mut self.links) {
            let path = pin::path(&dir, Thing::Link, &name);
            self.links.insert(name, link.pin(path).map_err(|error| chain(&error))?.into());
        }
        pins.keep(&self.generation).map_err(io)
    }
}

/// The calls that [`act`] makes.
const ACTS: &[common::Kind] =
    &[common::Kind::Open, common::Kind::Unlink, common::Kind::Rmdir, common::Kind::Rename, common::Kind::Chmod];

/// Does a little of what is looked at: a thread, and calls that fail.
fn act(scratch: &Path) {
    let none = scratch.join("nothing-here");
    let acts = move || {
        [
            fs::File::open(&none).map(drop),
            fs::remove_file(&none),
            fs::remove_dir(&none),
            fs::rename(&none, &none),
            fs::set_permissions(&none, std::os::unix::fs::PermissionsExt::from_mode(0o0)),
        ]
    };
    let thread = thread::Builder::new().name("canary".into()).spawn(acts);
    // each of them fails, and that they were tried is all there is to know
    if !matches!(thread.map(thread::JoinHandle::join), Ok(Ok(_))) {
        tracing::warn!("the hooks cannot be asked: no thread");
    }
}

fn id(program: &aya::programs::ProgramFd) -> Result<u32, std::io::Error> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    // the kernel tells it there, too (bpf_prog_show_fdinfo)
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
    id.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn told(hook: &str, done: Result<(), String>, why: &str) -> Own {
    let (state, why) = match done {
        Ok(()) => ("restored", why.to_owned()),
        Err(error) => ("missing", format!("{why}; {error}")),
    };
    Own::Hook { hook: hook.to_owned(), state, why }
}
