//! `sigtrail redact`: takes the text of events out of files, and leaves their hashes, so that all the rest still verifies.

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use thiserror::Error;

use super::input::{self, Identities, Input, InputError, Kind, Packing, Reader};
use super::parallel;
use super::print::shown;
use crate::batch::{Batch, Lines};
use crate::enrol;
use crate::line::{SealLine, redacted, unredacted};
use crate::text::base64;
use crate::tree::{self, Hash};

/// Which events to take out, and from where.
#[derive(Args, Clone, Debug)]
pub struct RedactArgs {
    /// Files and directories with the log; plain, zstd, gzip and spool segments stay what they are
    #[arg(value_name = "FILE|DIR", required = true)]
    pub inputs: Vec<PathBuf>,
    /// An event, by the `seq` of its record; may be given more than once
    #[arg(long = "event", value_name = "EVENT", required_unless_present = "fields")]
    pub events: Vec<u64>,
    /// All events with this value in this field (`user=alice`, `process.exe=/usr/bin/id`); of a list, in one of its entries
    #[arg(long = "field", value_name = "FIELD=VALUE", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// Do it. Without this, nothing is changed and you see what would be
    #[arg(long)]
    pub apply: bool,
    /// Print each redaction as a line of JSON: a record of what was done, to keep
    #[arg(long)]
    pub json: bool,
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a field is `name=value`, like `user=alice`".to_owned()),
    }
}

#[derive(Debug, Error)]
enum RedactError {
    #[error("cannot {doing} {path}: {error}")]
    Io { doing: &'static str, path: String, error: io::Error },
    #[error("{0} is encrypted: no line can be taken out; remove the file, its `.seals` keep the chain whole")]
    Encrypted(String),
    #[error("{0} is being written by an agent: wait until it is rotated, or stop the agent")]
    Busy(String),
    #[error("{path}, batch {batch}: the lines are not those that were sealed (`{what}`); run `sigtrail verify`")]
    Changed { path: String, batch: u64, what: &'static str },
    #[error("{path}: a seal line cannot be read: {why}; run `sigtrail verify`")]
    Seal { path: String, why: String },
    #[error("{path}: {lines} lines at the end have no seal; run `sigtrail verify`")]
    Unsealed { path: String, lines: u64 },
    #[error("{path}: batch 0, the enrolment, is not redacted: without it the log names no key")]
    Enrolment { path: String },
    #[error("cannot write the report: {0}")]
    Report(#[source] io::Error),
}

fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> RedactError {
    let path = path.display().to_string();
    move |error| RedactError::Io { doing, path: path.clone(), error }
}

/// An event that goes.
struct Gone {
    batch: u64,
    event: u64,
    leaf: Hash,
}

/// Redacts and says what; the exit code is 0, or 1 if a file could not be done, or 3 for a wrong call.
pub fn redact(args: &RedactArgs) -> ExitCode {
    let inputs = match input::find(&args.inputs, &Identities::from([]), parallel::cores()) {
        Ok(inputs) => inputs,
        Err(error @ (InputError::Path { .. } | InputError::NoFiles(_) | InputError::Bucket(_))) => {
            eprintln!("sigtrail redact: {error}");
            return ExitCode::from(3);
        }
    };
    let (mut failed, mut lines, mut files) = (false, 0, 0);
    for input in &inputs {
        match one(input, args) {
            Ok(0) => {}
            Ok(count) => (lines, files) = (lines + count, files + 1),
            Err(error) => {
                failed = true;
                eprintln!("sigtrail redact: {error}");
            }
        }
    }
    let done = if args.apply { "redacted" } else { "would be redacted; --apply does it" };
    eprintln!("sigtrail redact: {lines} lines in {files} files {done}");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One file; how many lines of it go.
fn one(input: &Input, args: &RedactArgs) -> Result<usize, RedactError> {
    let Some(path) = &input.path else { return Ok(0) };
    match input.kind {
        Kind::Log => {}
        Kind::Encrypted => return Err(RedactError::Encrypted(path.display().to_string())),
        Kind::Proof | Kind::Bundle | Kind::Other | Kind::Nothing => return Ok(0),
    }
    let file = File::open(path).map_err(io_error("open", path))?;
    // an agent holds a shared lock on the file that it writes
    let busy = file.try_lock().is_err();
    let mut gone = Vec::new();
    let packing = rewrite(path, args, &mut gone, None)?;
    if gone.is_empty() {
        return Ok(0);
    }
    if busy {
        return Err(RedactError::Busy(path.display().to_string()));
    }
    if args.apply {
        replace(path, &file, packing, args)?;
    }
    report(path, &gone, args).map_err(RedactError::Report)?;
    Ok(gone.len())
}

/// Reads the file, and writes it without what goes, if there is where to. Each batch is checked before it is written: what
/// is not as it was sealed is not touched.
fn rewrite(
    path: &Path,
    args: &RedactArgs,
    gone: &mut Vec<Gone>,
    mut out: Option<&mut Packed<'_>>,
) -> Result<Packing, RedactError> {
    let name = || path.display().to_string();
    let file = File::open(path).map_err(io_error("open", path))?;
    let raw: Reader = Box::new(BufReader::new(file));
    let (reader, packing) = input::decoded(raw, &[]).map_err(io_error("read", path))?;
    let mut open: Vec<Vec<u8>> = Vec::new();
    let read = input::lines(reader, |line| {
        if !SealLine::is_one(line) {
            open.push(line.to_vec());
            return ControlFlow::Continue(());
        }
        let mut lines = std::mem::take(&mut open);
        let done = batch(path, &mut lines, line, args, gone).and_then(|number| match &mut out {
            Some(out) => {
                lines.push(line.to_vec());
                out.write(number, &lines).map_err(io_error("write the copy of", path))
            }
            None => Ok(()),
        });
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    });
    match read.map_err(io_error("read", path))? {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) if open.is_empty() => Ok(packing),
        ControlFlow::Continue(()) => Err(RedactError::Unsealed { path: name(), lines: open.len() as u64 }),
    }
}

/// Takes out of the lines of one batch what goes; the number of the batch.
fn batch(
    path: &Path,
    lines: &mut [Vec<u8>],
    seal_line: &[u8],
    args: &RedactArgs,
    gone: &mut Vec<Gone>,
) -> Result<u64, RedactError> {
    let name = || path.display().to_string();
    let seal = Batch::parse(seal_line).map_err(|error| RedactError::Seal { path: name(), why: error.to_string() })?;
    let (number, first) = (seal.header.batch, seal.header.first);
    let (mut sealed, mut before) = (Lines::new(), false);
    for line in &*lines {
        match unredacted(line) {
            Some(leaf) => {
                sealed.add_leaf(leaf);
                before = true;
            }
            None => sealed.add(line),
        }
    }
    // only the seal is here: nothing to take out
    if lines.is_empty() {
        return Ok(number);
    }
    match seal.is_over(&sealed) {
        Err("bytes") if before => {}
        Err(what) => return Err(RedactError::Changed { path: name(), batch: number, what }),
        Ok(()) => {}
    }
    for (event, line) in (first..).zip(lines) {
        if unredacted(line).is_some() || !is_chosen(event, line, args) {
            continue;
        }
        if enrol::note_of(line).is_some() {
            return Err(RedactError::Enrolment { path: name() });
        }
        let leaf = tree::leaf(line);
        *line = redacted(&leaf).into_bytes();
        gone.push(Gone { batch: number, event, leaf });
    }
    Ok(number)
}

fn is_chosen(event: u64, line: &[u8], args: &RedactArgs) -> bool {
    if args.events.contains(&event) {
        return true;
    }
    // most lines do not have the value at all, and are not parsed
    let may_have = |value: &str| {
        let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        !plain || line.windows(value.len()).any(|part| part == value.as_bytes())
    };
    if !args.fields.iter().any(|(_, value)| may_have(value)) {
        return false;
    }
    let Ok(record) = serde_json::from_slice::<Value>(line) else { return false };
    args.fields.iter().any(|(name, value)| {
        let found = name.split('.').try_fold(&record, |record, name| record.get(name));
        found.is_some_and(|found| is_value(found, value))
    })
}

fn is_value(found: &Value, value: &str) -> bool {
    match found {
        Value::String(text) => text == value,
        Value::Array(list) => list.iter().any(|one| is_value(one, value)),
        Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::Number(_) => *found == value,
    }
}

/// Puts the copy without what goes in the place of the file, with its owner and permissions, durable before and after.
fn replace(path: &Path, file: &File, packing: Packing, args: &RedactArgs) -> Result<(), RedactError> {
    let about = file.metadata().map_err(io_error("look at", path))?;
    let mut copy = path.as_os_str().to_owned();
    copy.push(".redact.tmp");
    let copy = PathBuf::from(copy);
    let written = (|| {
        let to = File::create_new(&copy).map_err(io_error("create", &copy))?;
        to.set_permissions(Permissions::from_mode(0o600)).map_err(io_error("set the mode of", &copy))?;
        let mut out = Packed::new(&to, packing).map_err(io_error("write", &copy))?;
        rewrite(path, args, &mut Vec::new(), Some(&mut out))?;
        out.finish().map_err(io_error("write", &copy))?;
        fchown(&to, Some(about.uid()), Some(about.gid())).map_err(io_error("set the owner of", &copy))?;
        to.set_permissions(about.permissions()).map_err(io_error("set the mode of", &copy))?;
        to.sync_all().map_err(io_error("make durable", &copy))?;
        let now = fs::metadata(path).map_err(io_error("look at", path))?;
        if (now.ino(), now.len()) != (about.ino(), about.len()) {
            return Err(RedactError::Busy(path.display().to_string()));
        }
        fs::rename(&copy, path).map_err(io_error("replace", path))
    })();
    if written.is_err() && copy.exists() {
        fs::remove_file(&copy).map_err(io_error("remove", &copy))?;
    }
    written?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("make durable the names in", dir))
}

fn report(path: &Path, gone: &[Gone], args: &RedactArgs) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for Gone { batch, event, leaf } in gone {
        if args.json {
            let record = json!({
                "file": path.display().to_string(), "batch": batch, "event": event, "leaf": base64(leaf),
                "applied": args.apply,
            });
            writeln!(out, "{record}")?;
        } else {
            let path = shown(&path.display().to_string());
            writeln!(out, "{path}: batch {batch}, event {event}, leaf {}", base64(leaf))?;
        }
    }
    Ok(())
}

/// Writes batches in the packing that the file had.
enum Packed<'a> {
    Plain(BufWriter<&'a File>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<&'a File>>),
    Gzip(flate2::write::GzEncoder<BufWriter<&'a File>>),
    Segment(BufWriter<&'a File>),
}

impl<'a> Packed<'a> {
    fn new(file: &'a File, packing: Packing) -> io::Result<Self> {
        let file = BufWriter::new(file);
        Ok(match packing {
            Packing::Plain | Packing::Age => Self::Plain(file),
            Packing::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(file, 3)?),
            Packing::Gzip => Self::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::default())),
            Packing::Segment => Self::Segment(file),
        })
    }

    fn write(&mut self, number: u64, lines: &[Vec<u8>]) -> io::Result<()> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect();
        match self {
            Self::Plain(out) => out.write_all(&bytes),
            Self::Zstd(out) => out.write_all(&bytes),
            Self::Gzip(out) => out.write_all(&bytes),
            Self::Segment(out) => {
                let mut record = Vec::new();
                let frame = zstd::encode_all(&*bytes, 1)?;
                crate::frame::write(number, &frame, &mut record)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                out.write_all(&record)
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) | Self::Segment(mut out) => out.flush(),
            Self::Zstd(out) => out.finish()?.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
        }
    }
}
