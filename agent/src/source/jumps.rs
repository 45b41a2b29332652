//! Programs before they are attached: how each is loaded, and the maps through which they jump.

use std::os::fd::AsFd as _;

use aya::{
    Btf,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{Program as AyaProgram, ProgramError},
};

use super::{
    hooks::{Entry, SUBMIT},
    kernel::SourceError,
};

/// The programs that another one jumps to.
pub struct Jumps {
    /// By slot.
    pub programs: ProgramArray<MapData>,
    /// The same map, to look into: a lookup in an array of programs gives their ids.
    pub ids: Array<MapData, u32>,
}

impl Jumps {
    /// The map of a name.
    pub fn of(name: &'static str, map: Map) -> Result<Self, SourceError> {
        let error = |error| SourceError::Map(name, error);
        let Map::ProgramArray(data) = &map else { return Err(SourceError::Missing(name)) };
        let ids = data.fd().as_fd().try_clone_to_owned().map_err(SourceError::Wait)?;
        let ids = MapData::from_fd(ids).map_err(error)?;
        Ok(Self {
            programs: ProgramArray::try_from(map).map_err(error)?,
            ids: Array::try_from(Map::Array(ids)).map_err(error)?,
        })
    }
}

/// The name that a tracepoint had before.
pub fn before(name: &str) -> Option<&'static str> {
    (name == SUBMIT.0).then_some(SUBMIT.1)
}

/// Loads a program unless it is loaded already: it may serve several kinds.
pub fn load(program: &mut AyaProgram, entry: Entry, btf: &Btf) -> Result<(), ProgramError> {
    if program.fd().is_ok() {
        return Ok(());
    }
    match program {
        AyaProgram::BtfTracePoint(program) => match entry {
            Entry::Tracepoint(_, name) => program.load(name, btf).or_else(|error| match before(name) {
                Some(name) if matches!(error, ProgramError::Btf(_)) => program.load(name, btf),
                _ => Err(error),
            }),
            Entry::Operation(_) => program.load("io_uring_complete", btf),
            Entry::Call(_) | Entry::Judge | Entry::Lsm(_) => program.load("sys_exit", btf),
        },
        AyaProgram::TracePoint(program) => program.load(),
        AyaProgram::Lsm(program) => match entry {
            Entry::Lsm(name) => program.load(name, btf),
            Entry::Tracepoint(..) | Entry::Call(_) | Entry::Operation(_) | Entry::Judge => {
                Err(ProgramError::UnexpectedProgramType)
            }
        },
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}
