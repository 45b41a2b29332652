//! The archive while it is written: members within the limits, then the manifest, then what seals it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::unix::fs::MetadataExt as _,
    thread,
    time::{Duration, Instant},
};

use base64ct::{Base64, Encoding as _};
use seal::{
    bundle::{BATCH, BLOCK, FORMAT, Head, MANIFEST, MANIFEST_MAX, MEMBERS_MAX, VKEY},
    text,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{CaptureError, Limits, Plan, Sealed, Summary, events::Counted, seconds};
use crate::{clock::Now, disk};

/// Who can read a bundle: an X25519 recipient of age (C2SP `age.md`).
pub type Recipient = age::x25519::Recipient;

/// Reads a recipient, as age-keygen(1) prints it: `age1…`.
pub fn recipient(text: &str) -> Result<Recipient, CaptureError> {
    text.parse().map_err(|_| CaptureError::Recipient(text.to_owned()))
}

/// zstd's own default.
const LEVEL: i32 = 3;
/// Read and written at a time.
const PART: usize = 256 << 10;
/// What is left out is named one by one up to this number.
const LEFT: usize = 2000;
/// Room of the manifest for a member besides its names, and for all that is no member.
const MEMBER: u64 = 256;
const REST: u64 = 1 << 20;

/// Where the bytes go: into a file, encrypted or not.
enum Out {
    Plain(BufWriter<disk::File>),
    Age(Box<age::stream::StreamWriter<BufWriter<disk::File>>>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Age(out) => out.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Age(out) => out.flush(),
        }
    }
}

/// An archive that is being written.
pub(super) struct Bundle {
    out: zstd::stream::write::Encoder<'static, Out>,
    members: Vec<Value>,
    left: Vec<Value>,
    left_out: u64,
    bytes: u64,
    /// Bytes that the manifest will have, at most.
    manifest: u64,
    most: u64,
    rate: u64,
    begun: Instant,
    end: Instant,
    /// Bytes that were read from files, for the pace.
    read: u64,
    /// Hash and size of files that were read, by device and inode.
    known: BTreeMap<(u64, u64), ([u8; 32], u64)>,
}

impl Bundle {
    pub fn new(file: disk::File, plan: &Plan, limits: &Limits, begun: Instant) -> Result<Self, CaptureError> {
        let file = BufWriter::new(file);
        let recipients = plan.recipients.iter().map(|text| recipient(text)).collect::<Result<Vec<_>, _>>()?;
        let out = if recipients.is_empty() {
            Out::Plain(file)
        } else {
            let recipients = recipients.iter().map(|it| it as &dyn age::Recipient);
            let age = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
            Out::Age(Box::new(age.wrap_output(file)?))
        };
        let mut out = zstd::stream::write::Encoder::new(out, LEVEL)?;
        out.include_checksum(true)?;
        Ok(Self {
            out,
            members: Vec::new(),
            left: Vec::new(),
            left_out: 0,
            bytes: 0,
            manifest: REST,
            most: limits.bytes,
            rate: limits.read_rate,
            begun,
            end: begun + limits.time,
            read: 0,
            known: BTreeMap::new(),
        })
    }

    /// Bytes of members.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds what was read, or says why it was not.
    pub fn item(&mut self, name: &str, from: &str, bytes: Result<Vec<u8>, String>) -> io::Result<()> {
        match bytes {
            Ok(bytes) => self.add(name, from.as_bytes(), None, &bytes).map(drop),
            Err(why) => {
                self.leave_out(from.as_bytes(), &why);
                Ok(())
            }
        }
    }

    /// Adds bytes. `from`: where they were read; `error`: why they are not all. Returns whether there was room.
    pub fn add(&mut self, name: &str, from: &[u8], error: Option<String>, bytes: &[u8]) -> io::Result<bool> {
        let Some(head) = self.room(name, from, bytes.len() as u64) else { return Ok(false) };
        self.out.write_all(&head.write())?;
        self.out.write_all(bytes)?;
        self.named(&head, from, error, &Sha256::digest(bytes).into())?;
        Ok(true)
    }

    /// Adds `size` bytes of a file. What it is short of is filled up with zeros, and told.
    pub fn copy(&mut self, name: &str, from: &[u8], size: u64, mut file: impl Read) -> io::Result<()> {
        let Some(head) = self.room(name, from, size) else { return Ok(()) };
        self.out.write_all(&head.write())?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; PART];
        let (mut left, mut error) = (size, None);
        while left > 0 {
            let most = left.min(PART as u64) as usize;
            let got = if error.is_some() { Ok(0) } else { file.read(&mut buffer[..most]) };
            let got = match got {
                Ok(0) | Err(_) => {
                    let why = got.err().map_or_else(|| "the file ends".to_owned(), |error| error.to_string());
                    error.get_or_insert_with(|| format!("{why} after {} bytes; zeros are behind", size - left));
                    buffer[..most].fill(0);
                    most
                }
                Ok(got) => {
                    self.pace(got as u64);
                    got
                }
            };
            hash.update(&buffer[..got]);
            self.out.write_all(&buffer[..got])?;
            left -= got as u64;
        }
        self.named(&head, from, error, &hash.finalize().into())
    }

    /// The hash of a file that is not copied, and how many bytes it has. Each is read once.
    pub fn digest(&mut self, mut file: File) -> io::Result<([u8; 32], u64)> {
        let about = file.metadata()?;
        let id = (about.dev(), about.ino());
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; PART];
        let mut bytes = 0;
        loop {
            let got = file.read(&mut buffer)?;
            if got == 0 {
                let found = (hash.finalize().into(), bytes);
                self.known.insert(id, found);
                return Ok(found);
            }
            if self.is_over() {
                return Err(io::Error::other("the time of the capture is over"));
            }
            self.pace(got as u64);
            hash.update(&buffer[..got]);
            bytes += got as u64;
        }
    }

    /// Names what is not there, and why.
    pub fn leave_out(&mut self, from: &[u8], why: &str) {
        self.left_out += 1;
        if self.left.len() < LEFT && self.manifest + REST / 2 < MANIFEST_MAX {
            self.manifest += MEMBER + 2 * (from.len() + why.len()) as u64;
            self.left.push(json!({ "from": shown(from), "why": why }));
        }
    }

    /// Whether its time is over.
    pub fn is_over(&self) -> bool {
        Instant::now() > self.end
    }

    /// Rests so long that no more than `read_rate` bytes are read in a second.
    pub fn pace(&mut self, bytes: u64) {
        self.read += bytes;
        // 0 is for any number
        let Some(due) = self.read.saturating_mul(1000).checked_div(self.rate) else { return };
        // what was not read before does not count: no rest of more than a second, no burst behind a pause
        let behind = self.begun.elapsed();
        match Duration::from_millis(due).checked_sub(behind) {
            Some(rest) => thread::sleep(rest.min(Duration::from_secs(1))),
            None => self.read = (behind.as_millis() as u64).saturating_mul(self.rate) / 1000,
        }
    }

    /// The head of a member for which there is room; else it is left out.
    fn room(&mut self, name: &str, from: &[u8], size: u64) -> Option<Head> {
        let entry = MEMBER + 2 * (name.len() + from.len()) as u64;
        let why = if self.is_over() {
            "the time of the capture was over (max_time)"
        } else if self.bytes.saturating_add(size) > self.most {
            "it found no room (max_bytes)"
        } else if self.members.len() >= MEMBERS_MAX || self.manifest + entry > MANIFEST_MAX {
            "there were too many members"
        } else {
            match Head::new(name, size, seconds()) {
                Some(head) => {
                    self.bytes += size;
                    self.manifest += entry;
                    return Some(head);
                }
                None => "it cannot be a member: its name or size is out of bounds",
            }
        };
        self.leave_out(from, why);
        None
    }

    fn named(&mut self, head: &Head, from: &[u8], error: Option<String>, hash: &[u8; 32]) -> io::Result<()> {
        self.out.write_all(&[0; BLOCK][..head.padding()])?;
        let mut member = json!({
            "name": head.name, "size": head.size.to_string(), "sha256": text::hex(hash), "from": shown(from),
            "time": text::time(Now::read()?.wall),
        });
        if let Some(error) = error {
            member["error"] = error.into();
        }
        self.members.push(member);
        Ok(())
    }

    /// Writes the manifest: no member comes behind it.
    pub fn manifest(&mut self, plan: &Plan, counted: Counted) -> Result<Summary, CaptureError> {
        let now = Now::read()?;
        let begun = now.wall.saturating_sub(self.begun.elapsed().as_nanos() as u64);
        let manifest = json!({
            "format": FORMAT, "time": text::time(begun), "end": text::time(now.wall),
            "target": plan.target.to_string(),
            "with": plan.with.iter().map(|it| it.name()).collect::<Vec<_>>(),
            "before_seconds": plan.before.as_secs_f64(), "during_seconds": plan.during.as_secs_f64(),
            "events": {
                "matched": counted.matched, "seen": counted.seen, "missed_chunks": counted.missed,
                "recorder": if counted.always { "on" } else { "only while this was captured" },
            },
            "members": self.members, "left_out": self.left, "left_out_count": self.left_out,
        });
        let bytes = manifest.to_string().into_bytes();
        self.sealing(MANIFEST, &bytes)?;
        Ok(Summary {
            manifest: Sha256::digest(&bytes).into(),
            members: self.members.len() as u64,
            bytes: self.bytes,
            events: counted.matched,
            left_out: self.left_out,
        })
    }

    /// Adds what seals the manifest, and makes the file durable.
    pub fn close(mut self, sealed: &Sealed) -> io::Result<()> {
        self.sealing(BATCH, &sealed.batch)?;
        self.sealing(VKEY, &sealed.vkey)?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        let file = match self.out.finish()? {
            Out::Plain(file) => file,
            Out::Age(age) => age.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    fn sealing(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let head = Head::new(name, bytes.len() as u64, seconds()).ok_or_else(|| io::Error::other("out of bounds"))?;
        self.out.write_all(&head.write())?;
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; BLOCK][..head.padding()])
    }
}

/// Bytes as JSON, none of them lost.
pub(super) fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "b64": Base64::encode_string(bytes) }),
    }
}
