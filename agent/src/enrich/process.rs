//! One process as the table holds it: small and shared with its relatives, written out only when an event asks.

use std::sync::Arc;

use super::place::Place;
use crate::record::{Process, Relative, json};

/// Ancestors are kept up to this many levels, and up to this many bytes of names.
pub const LEVELS: usize = 16;
const LEVEL_BYTES: usize = 8192;

/// How well a process is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Its fork was lost, or something of it or of an ancestor could not be seen.
    #[default]
    Partly,
    /// It was there when the agent started, and so were its ancestors.
    Found,
    /// Its fork and all its execs were seen, and those of its ancestors, up to what was there when the agent started.
    Seen,
}

/// A process. Shared parts are immutable: a fork counts references, it copies no bytes.
#[derive(Debug, Default)]
pub struct Entry {
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks since boot.
    pub ticks: u64,
    /// How well it is known.
    pub known: Known,
    /// The program it runs.
    pub exe: Option<Arc<[u8]>>,
    /// The process that it is a child of, as it was at the fork.
    pub parent: Option<Parent>,
    /// Programs of the ancestors at their forks, the parent first, each ended by a NUL; empty names are unknown ones.
    pub ancestors: Arc<[u8]>,
    /// Id of its control group; 0 when not known yet.
    pub cgroup_id: u64,
    /// Where it belongs.
    pub place: Arc<Place>,
    /// An exec was seen.
    pub execed: bool,
    /// Its end was seen.
    pub exited: bool,
    /// An event asked for it since the table last looked for room.
    pub used: bool,
    /// What [`Entry::ancestors`] of its children is, made at the first fork.
    line: Option<Arc<[u8]>>,
    view: Option<Box<Process>>,
}

/// The parent of a process at the fork.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks since boot.
    pub ticks: u64,
    /// The program it ran.
    pub exe: Option<Arc<[u8]>>,
}

impl Entry {
    /// A process of which nothing is known.
    pub fn new(pid: u32, ticks: u64) -> Self {
        Self { pid, ticks, ..Self::default() }
    }

    /// Its child at the fork: the same program at the same place.
    pub fn child(&mut self, pid: u32, ticks: u64) -> Self {
        Self {
            known: if self.known == Known::Partly { Known::Partly } else { Known::Seen },
            exe: self.exe.clone(),
            cgroup_id: self.cgroup_id,
            place: Arc::clone(&self.place),
            ..self.heir(pid, ticks)
        }
    }

    /// Its child as far as ancestors go: nothing else is known.
    pub fn heir(&mut self, pid: u32, ticks: u64) -> Self {
        let parent = Parent { pid: self.pid, ticks: self.ticks, exe: self.exe.clone() };
        Self { parent: Some(parent), ancestors: self.line(), ..Self::new(pid, ticks) }
    }

    /// Takes the parent and the ancestors of another process.
    pub fn adopt_line(&mut self, of: &mut Self) {
        let heir = of.heir(self.pid, self.ticks);
        (self.parent, self.ancestors) = (heir.parent, heir.ancestors);
        if of.known == Known::Partly {
            self.known = Known::Partly;
        }
    }

    fn line(&mut self) -> Arc<[u8]> {
        let (exe, above) = (&self.exe, &self.ancestors);
        let line = self.line.get_or_insert_with(|| {
            let mut line = Vec::with_capacity(256);
            let above = above.split_inclusive(|byte| *byte == 0).take(LEVELS - 1);
            line.extend_from_slice(exe.as_deref().unwrap_or_default());
            line.push(0);
            for name in above {
                if line.len() + name.len() > LEVEL_BYTES {
                    break;
                }
                line.extend_from_slice(name);
            }
            line.into()
        });
        Arc::clone(line)
    }

    /// It runs another program.
    pub fn set_exe(&mut self, exe: Option<&[u8]>) {
        if self.exe.as_deref() != exe {
            self.exe = exe.map(Arc::from);
            self.line = None;
        }
    }

    /// Bytes that it may hold beyond its own size, as if nothing were shared: its names, and those of its children.
    pub fn weight(&self) -> usize {
        2 * (self.exe.as_ref().map_or(0, |it| it.len()) + self.ancestors.len())
    }

    /// It as records have it; `None` until [`Entry::write_out`].
    pub fn view(&self) -> Option<&Process> {
        self.view.as_deref()
    }

    /// Makes the view. Returns about how many bytes it takes; 0 when it was there.
    pub fn write_out(&mut self, boot: &str) -> usize {
        if self.view.is_some() {
            return 0;
        }
        let bytes = |exe: &Option<Arc<[u8]>>| exe.as_deref().map(<[u8]>::to_vec);
        let mut view = Process {
            id: id(boot, self.pid, self.ticks),
            exe: bytes(&self.exe),
            parent: self.parent.as_ref().map(|parent| Relative {
                id: id(boot, parent.pid, parent.ticks),
                pid: parent.pid,
                exe: bytes(&parent.exe),
            }),
            ancestors: self.ancestors.to_vec(),
            complete: self.known == Known::Seen,
            cgroup: self.place.cgroup.clone(),
            container: self.place.container.clone(),
            unit: self.place.unit.clone(),
            json: Vec::new(),
        };
        view.json = json::process(&view);
        let size = size(&view);
        self.view = Some(Box::new(view));
        size
    }

    /// Drops the view: a part of it changed, or its room is needed. Returns what [`Entry::write_out`] counted.
    pub fn forget_view(&mut self) -> usize {
        self.view.take().map_or(0, |view| size(&view))
    }
}

/// All parts but a cut list are in the JSON too.
fn size(view: &Process) -> usize {
    size_of::<Process>() + 2 * view.json.capacity() + view.ancestors.len()
}

/// The id of a process: the first eight digits of the boot id, its process id, and its start in clock ticks since boot
/// (field 22 of proc_pid_stat(5)), joined by `-`. Anyone can compute it for a running process.
fn id(boot: &str, pid: u32, ticks: u64) -> String {
    format!("{boot}-{pid}-{ticks}")
}
