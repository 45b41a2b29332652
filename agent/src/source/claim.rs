//! Which programs, maps and links are ours: the kernel half tells who touches them.

use common::names::Touched;

use super::kernel::Kernel;

impl Kernel {
    /// Tells the kernel half what is there now.
    pub(super) fn claim(&mut self) {
        let names: Vec<_> = self.programs.keys().cloned().collect();
        let mut ours = Vec::new();
        for name in names {
            let Some(Ok(info)) = self.program_mut(&name).map(|program| program.info()) else { continue };
            ours.push((Touched::PROGRAM, info.id()));
            let maps = info.map_ids().ok().flatten().unwrap_or_default();
            ours.extend(maps.into_iter().map(|map| (Touched::MAP, map)));
        }
        let links = self.links.values().filter_map(|link| link.info().ok());
        ours.extend(links.map(|link| (Touched::LINK, link.id())));
        ours.sort_unstable_by_key(|(what, number)| (what.0, *number));
        ours.dedup();
        for (what, number) in ours {
            if let Err(error) = self.steering.own(what, number) {
                tracing::warn!(%error, "touches of a program, map or link of ours will not be told");
            }
        }
    }
}
