//! Where logs come from: files, directories, standard input; plain, compressed, or as segments of the spool.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::batch::Batch;
use crate::frame::{HEAD, Head, MAGIC};
use crate::line::{MAX_SEAL_LINE, SealLine};
use crate::verify::Verifier;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];

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
}

/// One input: it is read twice, first as far as its first seal line, to put it in its place.
#[derive(Debug)]
pub(super) struct Input {
    /// `None` is standard input.
    path: Option<PathBuf>,
    first: Option<u64>,
    /// Whether it begins with a `{` or has a seal. Nothing at all, or unreadable, is left to the verifier.
    pub(super) is_log: bool,
}

impl Input {
    pub(super) fn name(&self) -> String {
        self.path.as_ref().map_or("-".to_owned(), |path| path.display().to_string())
    }

    fn open(&self) -> io::Result<Box<dyn BufRead>> {
        match &self.path {
            None => decoded(BufReader::new(io::stdin())),
            Some(path) => decoded(BufReader::new(File::open(path)?)),
        }
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

    /// Looks at the first line and for the first seal line. What cannot be read is told when the input is verified.
    fn peek(&mut self) {
        self.is_log = true;
        let Ok(reader) = self.open() else { return };
        let mut reader = reader.take(PEEK);
        let mut line = Vec::new();
        let mut begun = false;
        while self.first.is_none() {
            line.clear();
            match (&mut reader).take(MAX_SEAL_LINE as u64 + 1).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            // a log whose first byte was changed is a log
            if !begun && !line.starts_with(b"{") {
                self.is_log = false;
            }
            begun = true;
            if SealLine::is_one(&line) {
                self.is_log = true;
                let batch = Batch::parse(line.strip_suffix(b"\n").unwrap_or(&line));
                self.first = batch.ok().map(|batch| batch.header.batch);
            }
        }
    }
}

/// The files that the paths name, in the order of their batches.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Input>, InputError> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            inputs.push(Input { path: None, first: None, is_log: true });
            continue;
        }
        let wrong = |error| InputError::Path { path: path.display().to_string(), error };
        let meta = fs::metadata(path).map_err(wrong)?;
        let mut files = Vec::new();
        if meta.is_dir() {
            walk(path, &mut files)?;
            if files.is_empty() {
                return Err(InputError::NoFiles(path.display().to_string()));
            }
        } else {
            File::open(path).map_err(wrong)?;
            files.push(path.clone());
        }
        for file in files {
            // a pipe can be read once only
            let once = !fs::metadata(&file).is_ok_and(|meta| meta.is_file());
            let mut input = Input { path: Some(file), first: None, is_log: once };
            if !once {
                input.peek();
            }
            inputs.push(input);
        }
    }
    inputs.sort_by_key(|input| input.first);
    Ok(inputs)
}

/// What a spool holds beside its segments: no log.
const SPOOL: &[&str] = &["ballast", "cursors", "quarantine"];

/// All regular files below a directory, by name; of a spool, those of its log.
fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), InputError> {
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
    for entry in entries {
        let kind = entry.file_type().map_err(wrong)?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The lines in the bytes, whatever they are packed in. Everything streams: nothing grows with the input.
fn decoded(mut raw: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    // a pipe may give less than four bytes at first: the longest magic is put together from what comes
    let mut magic = Vec::new();
    (&mut raw).take(4).read_to_end(&mut magic)?;
    let kind: [u8; 4] = [0, 1, 2, 3].map(|n| magic.get(n).copied().unwrap_or(0));
    let raw = io::Cursor::new(magic).chain(raw);
    Ok(match kind {
        ZSTD => Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(raw)?)),
        MAGIC => Box::new(BufReader::new(Segment { raw, frame: None, batch: 0 })),
        [one, two, ..] if [one, two] == GZIP => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(raw))),
        _ => Box::new(raw),
    })
}

/// A reader that tells every 64 MiB how far it is, and clears the line at its end.
struct Told {
    reader: Box<dyn BufRead>,
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
