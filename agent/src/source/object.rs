//! The kernel half as it is embedded in this program.

/// The object, as the compiler made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SIGTRAIL_BPF_OBJECT"));

/// The kernel function that gives an address a type; without it only the base family loads.
pub const CAST: &str = "bpf_rdonly_cast";

/// What the kernel half calls in place of [`CAST`], see `cast` in `agent-ebpf/src/kernel.rs`.
const PLACEHOLDER: u32 = 0x7fff_0001;
/// `BPF_JMP | BPF_CALL`, and the source register that makes it a call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
const CALL: u8 = 0x85;
const KFUNC: u8 = 0x20;

/// The object as it is, to tell which one was loaded.
pub fn bytes() -> &'static [u8] {
    OBJECT
}

/// The object with its placeholder calls bound to the kernel function of this BTF id.
pub fn bound(cast: Option<u32>) -> Vec<u8> {
    let mut object = OBJECT.to_vec();
    let Some(id) = cast else { return object };
    for instruction in object.as_chunks_mut::<8>().0 {
        if instruction[..4] == [CALL, 0, 0, 0] && instruction[4..] == PLACEHOLDER.to_le_bytes() {
            instruction[1] = KFUNC;
            instruction[4..].copy_from_slice(&id.to_le_bytes());
        }
    }
    object
}
