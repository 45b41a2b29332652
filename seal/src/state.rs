//! What must outlive a crash: where the chain stands, in two slots that are written in turn.
//!
//! Write, for batch n: append the sealed line, make it durable; write state n+1 into the *other* slot, make that
//! durable; overwrite the old slot with [`WIPED`], make that durable. In place, never by rename: a renamed file
//! leaves the old seed in a free block. Without the wipe the old slot would keep seed n, with which batch n can be
//! sealed anew, until batch n+1.
//!
//! The digit at the end of the magic is the format of the slot, and of all that lies beside it in the state directory: it is
//! raised when an older program must leave that alone, and the older program says so.

use thiserror::Error;

use crate::batch::{Batch, BatchError, Lines};
use crate::key::{HostKey, Seed};
use crate::note::{NoteError, Vkey};
use crate::tree::{Hash, Range};

/// The size of a slot in bytes.
pub const SLOT: usize = 4096;
/// What a slot holds after its seed is erased, and before its first use.
pub const WIPED: [u8; SLOT] = [0; SLOT];
/// The longest origin in bytes.
pub const MAX_ORIGIN: usize = 1024;

const MAGIC: [u8; 8] = *b"STSTATE1";
/// The magic of a later format ends with one of `2` to `9`.
const MAGIC_OF_ANY: &[u8] = b"STSTATE";
// magic 8, crc32c of all that follows 4, lengths of origin and range 2 + 2, then:
const GENERATION: usize = 16;
const BATCH: usize = 24;
const SEQUENCE: usize = 32;
const SEED: usize = 40;
const RANGE: usize = 72;
const ORIGIN: usize = RANGE + 64 * 32;
const HOST: usize = ORIGIN + MAX_ORIGIN;

/// Why a state cannot be read, or cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StateError {
    /// The slot was never used, or its seed is erased: take the other one.
    #[error("the state slot is empty")]
    Wiped,
    /// The slot is not whole: take the other one.
    #[error("the state slot is torn or damaged")]
    Damaged,
    /// A later program wrote it, in a format that this one does not know.
    #[error("a newer version of sigtrail wrote the state")]
    Newer,
    /// Neither slot holds a state: the chain cannot go on, a new enrolment must begin.
    #[error("neither state slot holds a state")]
    None,
    /// The origin is longer than [`MAX_ORIGIN`].
    #[error("the origin has more than {MAX_ORIGIN} bytes")]
    Origin,
}

/// Why a batch found on disk is not the one that follows a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecoverError {
    /// The seal line is no seal: a torn tail, to be cut off.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The seal is not over the lines before it: a damaged tail, to be cut off.
    #[error("the header of batch {0} is not about the lines before it: `{1}`")]
    Lines(u64, &'static str),
    /// It is another batch than the next one.
    #[error("found batch {found}, but the state expects batch {expected}")]
    Number {
        /// The number in the state.
        expected: u64,
        /// The number on disk.
        found: u64,
    },
    /// It does not follow the log of the state, or was signed with other keys: a fork. Stop, and tell a human.
    #[error("batch {0} on disk was not sealed from this state: `{1}`")]
    Fork(u64, &'static str),
    /// The keys cannot be derived.
    #[error(transparent)]
    Key(#[from] NoteError),
}

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The one to write next, if this one holds the newest state.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Where the chain stands before a batch: all that is needed to seal it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    host: Vkey,
    generation: u64,
    sequence: u64,
    seed: Seed,
    log: Range,
}

impl State {
    /// The state before batch 0 of the log that has the name of the host key.
    pub fn genesis(host: &Vkey, seed: Seed) -> Result<Self, StateError> {
        if host.name().len() > MAX_ORIGIN {
            return Err(StateError::Origin);
        }
        Ok(Self { host: host.clone(), generation: 0, sequence: 0, seed, log: Range::new() })
    }

    /// The host key that signs the next batch.
    pub fn host(&self) -> &Vkey {
        &self.host
    }

    /// The identity of the log.
    pub fn origin(&self) -> &str {
        self.host.name()
    }

    /// The number of the batch to seal next.
    pub fn batch(&self) -> u64 {
        self.log.size()
    }

    /// The stream sequence of the next event line.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How often the state went forward: of two slots the one with the higher generation counts.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The log of headers so far.
    pub fn log(&self) -> &Range {
        &self.log
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The state after the batch with this leaf, so many events, and perhaps a new host key.
    pub(crate) fn after(&self, leaf: Hash, events: u64, hostkey: Option<&Vkey>) -> Self {
        let mut log = self.log.clone();
        log.push(leaf);
        Self {
            host: hostkey.unwrap_or(&self.host).clone(),
            generation: self.generation + 1,
            sequence: self.sequence + events,
            seed: self.seed.next(),
            log,
        }
    }

    /// The state after a batch found on disk: the way on after a crash between append and slot write.
    ///
    /// The batch must be exactly the one this state would have sealed next: same log before it, signed by the host
    /// key, and by the chain key of this very state, which nobody else ever had. If it is a rotation, the state after
    /// names the new host key, which must be stored before such a batch is sealed.
    pub fn advance_over(&self, lines: &Lines, seal_line: &[u8]) -> Result<Self, RecoverError> {
        let batch = Batch::parse(seal_line.strip_suffix(b"\n").unwrap_or(seal_line))?;
        let (header, number) = (&batch.header, self.batch());
        if header.batch != number {
            return Err(RecoverError::Number { expected: number, found: header.batch });
        }
        batch.is_over(lines).map_err(|what| RecoverError::Lines(number, what))?;
        let fork = |what| Err(RecoverError::Fork(number, what));
        if header.origin != self.origin() {
            return fork("origin");
        }
        if batch.before != self.log {
            return fork("prev");
        }
        if header.first != self.sequence {
            return fork("first");
        }
        let chain: HostKey = self.seed.chain_key(self.origin())?;
        let next = self.seed.next().chain_key(self.origin())?;
        if header.next != *next.vkey() {
            return fork("next");
        }
        let text = batch.proof.checkpoint.text();
        match batch.proof.signatures.as_slice() {
            [by_host, by_chain, ..] if self.host.verifies(&text, by_host) && chain.vkey().verifies(&text, by_chain) => {
            }
            _ => return fork("signature"),
        }
        Ok(self.after(batch.leaf, header.events, header.hostkey.as_ref()))
    }

    /// The bytes of a slot. They hold the secret seed.
    pub fn encode(&self) -> zeroize::Zeroizing<[u8; SLOT]> {
        let mut slot = zeroize::Zeroizing::new([0; SLOT]);
        let mut put = |at: usize, bytes: &[u8]| slot[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(12, &(self.origin().len() as u16).to_le_bytes());
        put(14, &(self.log.hashes().len() as u16).to_le_bytes());
        put(GENERATION, &self.generation.to_le_bytes());
        put(BATCH, &self.batch().to_le_bytes());
        put(SEQUENCE, &self.sequence.to_le_bytes());
        put(SEED, self.seed.bytes());
        for (n, hash) in self.log.hashes().iter().enumerate() {
            put(RANGE + 32 * n, hash);
        }
        put(ORIGIN, self.origin().as_bytes());
        put(HOST, self.host.bytes());
        let checksum = crc32c::crc32c(&slot[12..]);
        slot[8..12].copy_from_slice(&checksum.to_le_bytes());
        slot
    }

    /// Reads a slot. What is read encodes to the same bytes.
    pub fn decode(slot: &[u8]) -> Result<Self, StateError> {
        let slot: &[u8; SLOT] = slot.try_into().map_err(|_| StateError::Damaged)?;
        if *slot == WIPED {
            return Err(StateError::Wiped);
        }
        if slot.strip_prefix(MAGIC_OF_ANY).is_some_and(|rest| matches!(rest, [b'2'..=b'9', ..])) {
            return Err(StateError::Newer);
        }
        let read = Self::read(slot).ok_or(StateError::Damaged)?;
        if *read.encode() == *slot { Ok(read) } else { Err(StateError::Damaged) }
    }

    fn read(slot: &[u8; SLOT]) -> Option<Self> {
        let short = |at: usize| Some(usize::from(u16::from_le_bytes(slot.get(at..at + 2)?.try_into().ok()?)));
        let long = |at: usize| Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?));
        let hash = |at: usize| <[u8; 32]>::try_from(slot.get(at..at + 32)?).ok();
        let (origin, hashes) = (short(12)?, short(14)?);
        if hashes > 64 || origin > MAX_ORIGIN {
            return None;
        }
        let hashes = (0..hashes).map(|n| hash(RANGE + 32 * n)).collect::<Option<_>>()?;
        let origin = std::str::from_utf8(slot.get(ORIGIN..ORIGIN + origin)?).ok()?;
        Some(Self {
            host: Vkey::from_bytes(origin, &hash(HOST)?).ok()?,
            generation: long(GENERATION)?,
            sequence: long(SEQUENCE)?,
            seed: Seed::new(hash(SEED)?),
            log: Range::from_parts(long(BATCH)?, hashes)?,
        })
    }

    /// The newest whole state of two slots, and the slot it stands in. A newer format in either of them counts.
    pub fn newest(a: &[u8], b: &[u8]) -> Result<(Self, Slot), StateError> {
        match (Self::decode(a), Self::decode(b)) {
            (Err(StateError::Newer), _) | (_, Err(StateError::Newer)) => Err(StateError::Newer),
            (Ok(a), Ok(b)) if b.generation > a.generation => Ok((b, Slot::B)),
            (Ok(a), _) => Ok((a, Slot::A)),
            (_, Ok(b)) => Ok((b, Slot::B)),
            _ => Err(StateError::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(batches: u64) -> State {
        let host = HostKey::new("log.example/a", &[1; 32]).unwrap();
        let genesis = State::genesis(host.vkey(), Seed::new([7; 32])).unwrap();
        (0..batches).fold(genesis, |state, n| state.after([n as u8; 32], 3, None))
    }

    #[test]
    fn a_slot_comes_back_and_no_changed_one_does() {
        for batches in [0, 1, 2, 3, 255] {
            assert_eq!(State::decode(&*state(batches).encode()), Ok(state(batches)));
        }
        let slot = state(5).encode();
        for at in 0..SLOT {
            let mut changed = slot.clone();
            changed[at] ^= 1;
            assert_eq!(State::decode(&*changed), Err(StateError::Damaged), "byte {at}");
        }
        assert_eq!(State::decode(&WIPED), Err(StateError::Wiped));
        assert_eq!(State::decode(&slot[1..]), Err(StateError::Damaged));
        assert!(format!("{:?}", state(1)).contains("Seed(..)"), "no secret in Debug");
    }

    #[test]
    fn a_newer_format_is_never_passed_over() {
        let mut newer = state(5).encode();
        newer[7] = b'2';
        for (a, b) in
            [(&*newer, &WIPED), (&WIPED, &*newer), (&*state(4).encode(), &*newer), (&*newer, &*state(9).encode())]
        {
            assert_eq!(State::newest(a, b), Err(StateError::Newer));
        }
        newer[7] = b'x';
        assert_eq!(State::newest(&*newer, &WIPED), Err(StateError::None));
    }

    #[test]
    fn the_largest_state_fits() {
        let hashes = (0..64).map(|n| [n; 32]).collect();
        let origin = "o".repeat(MAX_ORIGIN);
        let host = |origin: &str| HostKey::new(origin, &[1; 32]).unwrap().vkey().clone();
        let mut large = State::genesis(&host(&origin), Seed::new([1; 32])).unwrap();
        large.log = Range::from_parts(u64::MAX, hashes).unwrap();
        assert_eq!(State::decode(&*large.encode()), Ok(large));
        assert_eq!(State::genesis(&host(&format!("{origin}o")), Seed::new([1; 32])), Err(StateError::Origin));
    }

    /// Each step of the write order of the module's documentation, torn wherever a disk may tear: always a whole
    /// state is found, the new one as soon as it is whole.
    #[test]
    fn a_crash_at_any_point_leaves_a_state() {
        let (old, new) = (state(4), state(5));
        let write = |slot: &[u8], with: &[u8], torn: usize| [&with[..torn], &slot[torn..]].concat();
        for before in [WIPED.to_vec(), state(3).encode().to_vec()] {
            for torn in (0..=SLOT).step_by(64) {
                let b = write(&before, &*new.encode(), torn);
                let expected = if b == *new.encode() { (new.clone(), Slot::B) } else { (old.clone(), Slot::A) };
                assert_eq!(State::newest(&*old.encode(), &b).unwrap(), expected, "{torn}");
                let (found, slot) = State::newest(&write(&*old.encode(), &WIPED, torn), &*new.encode()).unwrap();
                assert_eq!((found, slot), (new.clone(), Slot::B), "{torn}");
            }
        }
        assert_eq!(State::newest(&*old.encode(), &*old.encode()).unwrap().1, Slot::A);
        assert_eq!((old.generation(), new.generation()), (4, 5));
        assert_eq!(State::newest(&WIPED, &WIPED), Err(StateError::None));
        assert_eq!(State::newest(&WIPED, &*old.encode()).unwrap().1.other(), Slot::A);
    }
}
