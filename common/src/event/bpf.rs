use super::record;
use crate::{names::{BpfAttachType, BpfCommand, BpfMapType, BpfProgType, Touched}, wire::{Id, Name16, Text, User}};

record! {
    /// A program, map or link of eBPF was made, attached or taken hold of (bpf(2)). Reads and writes of maps, look-ups and
    /// test runs make no event when they succeed, but for those that change a map or run a program of the agent.
    "bpf" => Bpf {
        /// What to do.
        command: BpfCommand,
        /// Type of the program (`BPF_PROG_LOAD`).
        prog_type: User<BpfProgType>,
        /// Number of its instructions.
        instructions: User<Id>,
        /// Type of the map (`BPF_MAP_CREATE`).
        map_type: User<BpfMapType>,
        /// Where the program is attached, or expects to be.
        attach_type: User<BpfAttachType>,
        /// Descriptor of what it is attached to.
        target_fd: User<Id>,
        /// Number that the kernel gave to the program, map or link: to a new one (`BPF_PROG_LOAD`, `BPF_MAP_CREATE`), to that
        /// of the agent which is touched, or the one that the caller asked for (`BPF_PROG_GET_FD_BY_ID` and its like).
        object_id: Id,
        /// Name of the program or map as its maker calls it.
        object_name: User<Name16>,
        /// File in a bpf file system (`BPF_OBJ_PIN`, `BPF_OBJ_GET`), or the tracepoint (`BPF_RAW_TRACEPOINT_OPEN`).
        place: Text,
        /// `program`, `map` or `link` when it is the agent's own; null otherwise.
        touches: Touched,
    }
}
