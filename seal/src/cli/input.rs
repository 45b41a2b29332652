//! Where logs come from: files, directories, standard input; plain, compressed, encrypted, or as segments of the spool.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use super::parallel;
use crate::batch::Batch;
use crate::frame::{HEAD, Head, MAGIC};
use crate::line::{MAX_SEAL_LINE, SealLine};
use crate::verify::Verifier;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The beginning of `age-encryption.org/v1` (C2SP `age.md`).
const AGE: [u8; 4] = *b"age-";
/// How it is told that no identity fits.
const NO_IDENTITY: io::ErrorKind = io::ErrorKind::PermissionDenied;

/// How many bytes of an input are searched for its first seal line: more than the longest batch of the defaults.
const PEEK: u64 = 32 << 20;

/// Why a path is no input.
#[derive(Debug, Error)]
pub enum InputError {
    /// It cannot be opened or listed.
    #[error("cannot read {path}: {error}")]
    Path {
        /// The path.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// There is no file in the directory.
    #[error("{0}: no files in the directory")]
    NoFiles(String),
    /// It is a bucket.
    #[error("{0}: a bucket is read by `sigtrail verify`, and stands alone there; here are files and directories")]
    Bucket(String),
}

/// The keys of encrypted inputs.
pub(super) type Identities = Arc<[age::x25519::Identity]>;

/// What is read line by line, on whatever thread.
pub(super) type Reader = Box<dyn BufRead + Send>;

/// What an input is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sealed log: it begins with a `{` or has a seal. Nothing at all, what cannot be read, and what can be read once
    /// only are left to the verifier.
    Log,
    /// A proof that stands without its log.
    Proof,
    /// What `sigtrail capture` made.
    Bundle,
    /// Encrypted, and there is no identity.
    Encrypted,
    /// Something else.
    Other,
    /// A directory for a log of which nothing is there.
    Nothing,
}

/// How an input is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Zstd,
    Gzip,
    Segment,
    Age,
}

/// One input. A file is read twice: first as far as its first seal line, to put it in its place.
pub(super) struct Input {
    /// `None` is standard input.
    pub(super) path: Option<PathBuf>,
    pub(super) kind: Kind,
    /// The log it belongs to, and the number of its first batch.
    pub(super) origin: Option<String>,
    first: Option<u64>,
    identities: Identities,
    /// What can be read once only.
    once: Mutex<Option<Reader>>,
}

impl Input {
    /// A file is looked into; a pipe is opened, and only its very beginning is looked at.
    fn new(path: Option<PathBuf>, identities: &Identities) -> Self {
        let once = !path.as_ref().is_some_and(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file()));
        let identities = identities.clone();
        let mut input = Self { path, kind: Kind::Log, origin: None, first: None, identities, once: Mutex::new(None) };
        let is_named = input.path.as_ref().is_some_and(|path| path.extension().is_some_and(|end| end == "sigtrail"));
        let mut reader = match input.open() {
            Ok(reader) => reader,
            Err(error) => {
                if error.kind() == NO_IDENTITY {
                    input.kind = Kind::Encrypted;
                }
                return input;
            }
        };
        if let Ok(bytes) = reader.fill_buf() {
            input.kind = match bytes.first() {
                _ if is_bundle(bytes) => Kind::Bundle,
                Some(b'{') | None => Kind::Log,
                Some(_) if bytes.starts_with(b"sig") => Kind::Proof,
                Some(_) if bytes.starts_with(&AGE) => Kind::Encrypted,
                Some(_) if once => Kind::Log,
                Some(_) => Kind::Other,
            };
        }
        // one whose first byte was changed is a bundle
        if is_named && input.kind != Kind::Encrypted {
            input.kind = Kind::Bundle;
        }
        if once {
            input.once = Mutex::new(Some(reader));
        } else if matches!(input.kind, Kind::Log | Kind::Other) {
            input.peek(reader);
        }
        input
    }

    /// The place of a log of which nothing came.
    fn nothing(path: PathBuf, origin: Option<String>) -> Self {
        let (identities, once) = (Identities::from([]), Mutex::new(None));
        Self { path: Some(path), kind: Kind::Nothing, origin, first: None, identities, once }
    }

    pub(super) fn name(&self) -> String {
        self.path.as_ref().map_or("-".to_owned(), |path| path.display().to_string())
    }

    /// The lines in it, whatever they are packed in.
    pub(super) fn open(&self) -> io::Result<Reader> {
        if let Some(reader) = self.once.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(reader);
        }
        let raw: Reader = match &self.path {
            None => Box::new(BufReader::new(io::stdin())),
            Some(path) => Box::new(BufReader::with_capacity(256 << 10, File::open(path)?)),
        };
        Ok(decoded(raw, &self.identities)?.0)
    }

    /// Verifies the input; with a text for it, its progress is told on standard error once it is long.
    pub(super) fn read(&self, verifier: &mut Verifier, progress: Option<String>) -> io::Result<()> {
        match self.open() {
            Ok(reader) => match progress {
                Some(text) => verifier.read(Told { reader, text, bytes: 0 }),
                None => verifier.read(reader),
            },
            Err(error) => {
                verifier.end(false);
                Err(error)
            }
        }
    }

    /// Looks for the first seal line. What cannot be read is told when the input is verified.
    fn peek(&mut self, reader: Reader) {
        let mut reader = reader.take(PEEK);
        let mut line = Vec::new();
        while self.first.is_none() {
            line.clear();
            match (&mut reader).take(MAX_SEAL_LINE as u64 + 1).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if SealLine::is_one(&line) {
                // a log whose first byte was changed is a log
                self.kind = Kind::Log;
                if let Ok(batch) = Batch::parse(line.strip_suffix(b"\n").unwrap_or(&line)) {
                    (self.origin, self.first) = (Some(batch.header.origin), Some(batch.header.batch));
                }
            }
        }
    }

    /// What the file is called without what says how it is packed: the same for a file and its `.seals`.
    fn stem(&self) -> Option<&str> {
        let mut stem = self.path.as_ref()?.to_str()?;
        for end in [".age", ".zst", ".gz", ".ndjson", ".seals"] {
            stem = stem.strip_suffix(end).unwrap_or(stem);
        }
        Some(stem)
    }

    /// Whether it has seal lines only, by its name.
    fn is_seals(&self) -> bool {
        let name = self.path.as_ref().and_then(|path| path.file_name()?.to_str());
        name.is_some_and(|name| Path::new(name.trim_end_matches(".zst")).extension().is_some_and(|end| end == "seals"))
    }
}

/// Whether the bytes begin an archive in the form of ustar.
fn is_bundle(bytes: &[u8]) -> bool {
    bytes.get(257..262).is_some_and(|magic| magic == b"ustar")
}

/// Gives each line without its LF; a line that is longer than the format allows is an error, and what is behind the last
/// LF is no line. The reader is read to its end, or as far as `each` wants.
pub(super) fn lines<T>(
    mut reader: impl BufRead,
    mut each: impl FnMut(&[u8]) -> ControlFlow<T>,
) -> io::Result<ControlFlow<T>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(MAX_SEAL_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else {
            if line.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            if line.len() > MAX_SEAL_LINE {
                let long = "a line is longer than any of a sealed log";
                return Err(io::Error::new(io::ErrorKind::InvalidData, long));
            }
            continue;
        };
        if let ControlFlow::Break(value) = each(whole) {
            return Ok(ControlFlow::Break(value));
        }
    }
}

/// The files that the paths name, in the order of their batches; the seals of a file behind it. So many are looked into
/// at once.
pub(super) fn find(paths: &[PathBuf], identities: &Identities, jobs: NonZero<usize>) -> Result<Vec<Input>, InputError> {
    let mut files = Vec::new();
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            files.push(None);
            continue;
        }
        if path.starts_with("s3:/") {
            return Err(InputError::Bucket(path.display().to_string()));
        }
        let wrong = |error| InputError::Path { path: path.display().to_string(), error };
        let meta = fs::metadata(path).map_err(wrong)?;
        if meta.is_dir() {
            let mut found = Found::default();
            walk(path, &mut found)?;
            if found.files.is_empty() {
                return Err(InputError::NoFiles(path.display().to_string()));
            }
            files.extend(found.files.into_iter().map(Some));
            inputs.extend(found.nothing.into_iter().map(|(path, origin)| Input::nothing(path, origin)));
        } else {
            if meta.is_file() {
                File::open(path).map_err(wrong)?;
            }
            files.push(Some(path.clone()));
        }
    }
    let look = |path: &Option<PathBuf>| Input::new(path.clone(), identities);
    parallel::in_order(&files, jobs, look, |input| {
        inputs.push(input);
        Ok(())
    })?;
    place_encrypted(&mut inputs);
    inputs.sort_by_key(|one| (one.first, one.is_seals()));
    Ok(inputs)
}

/// What is encrypted belongs where its seals belong.
fn place_encrypted(inputs: &mut [Input]) {
    let place = |input: &Input| {
        let stem = input.is_seals().then(|| input.stem()).flatten()?;
        Some((stem.to_owned(), (input.origin.clone(), input.first)))
    };
    let places: HashMap<_, _> = inputs.iter().filter_map(place).collect();
    for input in inputs.iter_mut().filter(|input| input.kind == Kind::Encrypted) {
        if let Some((origin, first)) = input.stem().and_then(|stem| places.get(stem)) {
            (input.origin, input.first) = (origin.clone(), *first);
        }
    }
}

/// What a spool holds beside its segments: no log.
const SPOOL: &[&str] = &["ballast", "cursors", "evicted", "quarantine", "receipts"];

/// The longest origin of a log, with its LF.
const ORIGIN_MAX: u64 = 256;

/// What is below a directory.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    /// Directories of logs of which nothing is there, with the origin if it is known.
    nothing: Vec<(PathBuf, Option<String>)>,
}

/// All regular files below a directory, by name; of a spool, and of what a receiver has of a host, those of the log.
/// Returns whether the directory is empty. An empty one in a directory that has nothing but directories is the place of a
/// host that sent nothing.
fn walk(dir: &Path, found: &mut Found) -> Result<bool, InputError> {
    let wrong = |error| InputError::Path { path: dir.display().to_string(), error };
    let mut entries: Vec<_> = fs::read_dir(dir).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let is_segment = |entry: &fs::DirEntry| {
        let path = entry.path();
        let starts = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"seg-"));
        starts && path.extension().is_some_and(|end| end == "stl")
    };
    if entries.iter().any(is_segment) {
        entries.retain(|entry| !SPOOL.iter().any(|name| entry.file_name() == *name));
    }
    let has = |name: &str| entries.iter().any(|entry| entry.file_name() == name);
    if has("origin") && has("log") && dir.join("log").is_dir() {
        // docs/receiver.md: beside the log is what the receiver knows of it
        let mut origin = String::new();
        let read = File::open(dir.join("origin")).and_then(|file| file.take(ORIGIN_MAX).read_to_string(&mut origin));
        if walk(&dir.join("log"), found)? {
            let origin = read.is_ok().then(|| origin.trim_end().to_owned());
            found.nothing.push((dir.to_owned(), origin));
        }
        return Ok(false);
    }
    let mut kinds = Vec::with_capacity(entries.len());
    for entry in &entries {
        kinds.push(entry.file_type().map_err(wrong)?);
    }
    let of_hosts = kinds.iter().all(fs::FileType::is_dir);
    for (entry, kind) in entries.iter().zip(kinds) {
        if kind.is_dir() {
            if walk(&entry.path(), found)? && of_hosts {
                found.nothing.push((entry.path(), None));
            }
        } else if kind.is_file() && entry.path().extension().is_none_or(|end| end != "tmp") {
            // `.tmp` is a copy that somebody is making
            found.files.push(entry.path());
        }
    }
    Ok(entries.is_empty())
}

/// The lines in the bytes, whatever they are packed in, and the outermost packing. Everything streams: nothing grows
/// with the input. What is encrypted and has no key stays as it is.
pub(super) fn decoded(mut raw: Reader, identities: &[age::x25519::Identity]) -> io::Result<(Reader, Packing)> {
    // a pipe may give less than four bytes at first: the longest magic is put together from what comes
    let mut magic = Vec::new();
    (&mut raw).take(4).read_to_end(&mut magic)?;
    let kind: [u8; 4] = [0, 1, 2, 3].map(|n| magic.get(n).copied().unwrap_or(0));
    let raw = io::Cursor::new(magic).chain(raw);
    Ok(match kind {
        ZSTD => {
            let plain = BufReader::with_capacity(256 << 10, zstd::stream::read::Decoder::with_buffer(raw)?);
            (Box::new(plain), Packing::Zstd)
        }
        MAGIC => (Box::new(BufReader::new(Segment { raw, frame: None, batch: 0 })), Packing::Segment),
        [one, two, ..] if [one, two] == GZIP => {
            (Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(raw))), Packing::Gzip)
        }
        AGE if !identities.is_empty() => {
            let keys = identities.iter().map(|identity| identity as &dyn age::Identity);
            let plain = age::Decryptor::new_buffered(raw).and_then(|age| age.decrypt(keys));
            let plain = plain.map_err(|error| match error {
                age::DecryptError::NoMatchingKeys => io::Error::new(NO_IDENTITY, error.to_string()),
                _ => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
            })?;
            (decoded(Box::new(BufReader::with_capacity(64 << 10, plain)), &[])?.0, Packing::Age)
        }
        AGE => (Box::new(raw), Packing::Age),
        _ => (Box::new(raw), Packing::Plain),
    })
}

/// A reader that tells every 64 MiB how far it is, and clears the line at its end.
struct Told {
    reader: Reader,
    text: String,
    bytes: u64,
}

impl Told {
    const EACH: u64 = 64 << 20;
}

impl Read for Told {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Told {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        let before = self.bytes / Self::EACH;
        self.bytes += count as u64;
        if self.bytes / Self::EACH > before {
            eprint!("\r{}: {} MiB", self.text, self.bytes >> 20);
        }
        self.reader.consume(count);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if self.bytes >= Self::EACH {
            eprint!("\r\x1b[K");
        }
    }
}

/// A segment of the spool as the lines of its batches.
struct Segment<R> {
    raw: R,
    frame: Option<zstd::stream::read::Decoder<'static, io::Cursor<Vec<u8>>>>,
    batch: u64,
}

impl<R: BufRead> Segment<R> {
    /// Opens the next record; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        let mut head = Vec::new();
        (&mut self.raw).take(HEAD as u64).read_to_end(&mut head)?;
        if head.is_empty() {
            return Ok(false);
        }
        let damaged = |error: crate::frame::FrameError, batch: u64| {
            let text = format!("spool record after batch {batch}: {error}");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let short = crate::frame::FrameError::Short(HEAD);
        let head: [u8; HEAD] = head.try_into().map_err(|_| damaged(short, self.batch))?;
        let head = Head::parse(&head).map_err(|error| damaged(error, self.batch))?;
        let mut payload = Vec::new();
        (&mut self.raw).take(head.length as u64).read_to_end(&mut payload)?;
        head.check(&payload).map_err(|error| damaged(error, self.batch))?;
        self.batch = head.batch;
        self.frame = Some(zstd::stream::read::Decoder::with_buffer(io::Cursor::new(payload))?);
        Ok(true)
    }
}

impl<R: BufRead> Read for Segment<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(out)?;
                if read > 0 {
                    return Ok(read);
                }
                self.frame = None;
            }
            if !self.next()? {
                return Ok(0);
            }
        }
    }
}
