//! Sealing: lines and facts become a seal line, one number at a time.

use thiserror::Error;

use crate::batch::Lines;
use crate::header::{BatchKind, Facts, Header, HeaderError};
use crate::key::HostKey;
use crate::line::SealLine;
use crate::note::{NoteError, Vkey};
use crate::proof::{Checkpoint, Proof};
use crate::state::State;
use crate::tree;

/// Why a batch was not sealed. Nothing is signed then, the state is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The host key is not the one of the state: the files do not belong together.
    #[error("the host key is not the one of the state")]
    Host,
    /// A batch is sealed and not yet durable. Write [`Sealer::pending`] (again), then [`Sealer::advance`].
    #[error("batch {0} is sealed and waits to be durable")]
    Pending(u64),
    /// The facts do not make a header: a fact has a form that the format does not have, or there are too many.
    #[error("the facts do not make a header")]
    Facts(#[from] HeaderError),
    /// The kind of the batch does not fit: genesis is batch 0 and only that, rotate goes with [`Sealer::rotate`].
    #[error("batch {0} cannot be of this kind")]
    Kind(u64),
    /// A key does not fit.
    #[error(transparent)]
    Key(#[from] NoteError),
}

/// A sealed batch: what to write after its event lines.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The number of the batch.
    pub number: u64,
    /// The seal line, with its LF.
    pub line: Vec<u8>,
    /// The head of the log with this batch.
    pub checkpoint: Checkpoint,
    /// The state to write into a slot once the batch is durable. It holds the secret seed of the next batch.
    pub next: State,
}

/// The one who signs. For each number it signs one batch, ever:
///
/// 1. [`Sealer::seal`] makes the batch and keeps it;
/// 2. the caller appends lines and seal line and makes them durable; if that fails, it writes the *same* bytes
///    elsewhere ([`Sealer::pending`]): to seal other lines is refused, since two signed batches of one number are a
///    fork that no witness will accept;
/// 3. the caller writes [`Sealed::next`] into a state slot (see [`crate::state`]);
/// 4. [`Sealer::advance`] forgets the seed of this batch and goes on to the next number.
///
/// After a crash between 2 and 3 the state still names the batch on disk: [`State::advance_over`] goes over it. If
/// the batch is not on disk, or torn, nobody has seen it (sinks read only what is durable) and its number is free.
#[derive(Debug)]
pub struct Sealer {
    host: HostKey,
    state: State,
    chain: HostKey,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    sealed: Sealed,
    chain: HostKey,
    host: Option<HostKey>,
}

impl Sealer {
    /// Goes on where the state stands.
    pub fn open(host: HostKey, state: State) -> Result<Self, SealError> {
        if host.vkey() != state.host() {
            return Err(SealError::Host);
        }
        let chain = state.seed().chain_key(state.origin())?;
        Ok(Self { host, state, chain, pending: None })
    }

    /// The public host key.
    pub fn vkey(&self) -> &Vkey {
        self.host.vkey()
    }

    /// The state before the batch to seal, or the one that is pending.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The batch that is sealed and not yet durable.
    pub fn pending(&self) -> Option<&Sealed> {
        self.pending.as_ref().map(|pending| &pending.sealed)
    }

    /// Seals the lines with the facts. Same state, lines and facts: same bytes.
    pub fn seal(&mut self, lines: &Lines, facts: &Facts) -> Result<&Sealed, SealError> {
        self.make(lines, facts, None)
    }

    /// Seals a batch of kind `rotate`, after which the new host key signs. This one both sign. The new key must be stored
    /// before: once the batch is durable, the log goes on with no other.
    pub fn rotate(&mut self, lines: &Lines, facts: &Facts, new: HostKey) -> Result<&Sealed, SealError> {
        if new.vkey().name() != self.state.origin() {
            return Err(SealError::Host);
        }
        self.make(lines, facts, Some(new))
    }

    fn make(&mut self, lines: &Lines, facts: &Facts, new: Option<HostKey>) -> Result<&Sealed, SealError> {
        let (state, number) = (&self.state, self.state.batch());
        if self.pending.is_some() {
            return Err(SealError::Pending(number));
        }
        if (facts.kind == BatchKind::Rotate) != new.is_some() || (facts.kind == BatchKind::Genesis) != (number == 0) {
            return Err(SealError::Kind(number));
        }
        let chain = state.seed().next().chain_key(state.origin())?;
        let header = Header {
            origin: state.origin().to_owned(),
            batch: number,
            prev: state.log().root(),
            events: lines.len(),
            first: state.sequence(),
            root: lines.root(),
            bytes: lines.bytes(),
            facts: facts.clone(),
            next: chain.vkey().clone(),
            hostkey: new.as_ref().map(|key| key.vkey().clone()),
        };
        let text = header.to_string();
        // a fact with a LF in it would be two lines: nothing is signed that does not read back to what was meant
        if Header::parse(&text)? != header {
            return Err(SealError::Facts(HeaderError::Spelling));
        }

        let next = state.after(tree::leaf(text.as_bytes()), lines.len(), header.hostkey.as_ref());
        let checkpoint = Checkpoint { origin: state.origin().to_owned(), size: next.batch(), root: next.log().root() };
        let signed = checkpoint.text();
        let signers = [&self.host, &self.chain].into_iter().chain(&new);
        let signatures = signers.map(|key| key.sign(&signed)).collect();
        let proof = Proof { index: number, path: state.log().path(), checkpoint: checkpoint.clone(), signatures };
        let line = SealLine { header: text, proof: proof.to_string() }.write();
        let sealed = Sealed { number, line, checkpoint, next };
        Ok(&self.pending.insert(Pending { sealed, chain, host: new }).sealed)
    }

    /// Goes on to the next number: the pending batch and its next state are durable. Returns whether there was one.
    pub fn advance(&mut self) -> bool {
        let Some(Pending { sealed, chain, host }) = self.pending.take() else { return false };
        self.state = sealed.next;
        self.chain = chain;
        if let Some(host) = host {
            self.host = host;
        }
        true
    }
}
