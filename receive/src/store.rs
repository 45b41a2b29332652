//! The batches of one log on disk, in segments of the form that the spool has (docs/sealed-log.md), appended only.
//!
//! ```text
//! log/seg-<number of the first batch>.stl      what was received and found good
//! aside/<sha256>.ndjson, aside/<sha256>.why    what was refused, kept as evidence, and torn ends
//! ```

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use seal::{
    Batch,
    frame::{self, HEAD, Head},
    text::hex,
    tree::{Hash, sha256},
    verify::identify,
};

/// A segment that is longer gets no more records.
const SEGMENT: u64 = 64 << 20;
/// The most bytes that are kept aside for one log.
const ASIDE: u64 = 64 << 20;
/// zstd's own default.
const LEVEL: i32 = 3;
/// The longest batch after decompression, when it is read back.
const BATCH: u64 = 1 << 30;

/// The batches of one log.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// The first batch of each segment, ascending.
    segments: Vec<u64>,
    /// The segment that is written to, and its length.
    open: Option<(File, u64)>,
    /// The first batch of the unbroken run at the end.
    run: u64,
    /// The last batch.
    last: Option<u64>,
}

impl Store {
    /// Opens the store in a directory, which is made if it is missing. A record that a crash cut off was never
    /// acknowledged: it goes aside.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let log = dir.join("log");
        make_dir(&log)?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(&log)? {
            let name = entry?.file_name();
            let number: Option<u64> =
                name.to_str().and_then(|name| name.strip_prefix("seg-")?.strip_suffix(".stl")?.parse().ok());
            segments.extend(number);
        }
        segments.sort_unstable();
        let mut store = Self { dir: dir.to_owned(), segments, open: None, run: 0, last: None };
        for at in 0..store.segments.len() {
            store.walk(at)?;
        }
        Ok(store)
    }

    /// The last batch.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// The first batch of the unbroken run that ends with the last one.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Appends whole batches with their numbers. They are durable when it returns Ok; after an error none is there.
    pub fn append(&mut self, batches: &[(u64, &[u8])]) -> io::Result<()> {
        let Some((first, _)) = batches.first() else { return Ok(()) };
        let mut records = Vec::new();
        for (number, bytes) in batches {
            let payload = zstd::bulk::compress(bytes, LEVEL)?;
            frame::write(*number, &payload, &mut records).map_err(io::Error::other)?;
        }
        let (mut file, length) = match self.open.take().filter(|(_, length)| *length < SEGMENT) {
            Some(open) => open,
            None => (self.begin(*first)?, 0),
        };
        if let Err(error) = file.write_all(&records).and_then(|()| file.sync_data()) {
            // fsync is not asked again on this file: the next append begins another one
            file.set_len(length)?;
            if length == 0 {
                fs::remove_file(self.path(*first))?;
                self.segments.pop();
            }
            return Err(error);
        }
        self.open = Some((file, length + records.len() as u64));
        for (number, _) in batches {
            self.count(*number);
        }
        Ok(())
    }

    /// What makes a copy the same, for those of the batches that are there, ascending.
    pub fn identities(&self, wanted: &BTreeSet<u64>) -> io::Result<Vec<(u64, Hash)>> {
        let mut found = Vec::new();
        self.each(wanted, |number, bytes| {
            found.extend(seal_of(bytes).map(|batch| (number, identify(&batch))));
        })?;
        Ok(found)
    }

    /// The seal of a batch.
    pub fn seal(&self, number: u64) -> io::Result<Option<Batch>> {
        let mut found = None;
        self.each(&BTreeSet::from([number]), |_, bytes| found = seal_of(bytes))?;
        Ok(found)
    }

    /// Keeps what was refused, as far as there is room for it. The same bytes are kept once.
    pub fn put_aside(&self, bytes: &[u8], why: &str) -> io::Result<()> {
        let aside = self.dir.join("aside");
        make_dir(&aside)?;
        let mut used = 0;
        for entry in fs::read_dir(&aside)? {
            used += entry?.metadata()?.len();
        }
        let name = hex(&sha256(bytes)[..16]);
        if used + bytes.len() as u64 > ASIDE || aside.join(format!("{name}.why")).exists() {
            return Ok(());
        }
        replace(&aside, &format!("{name}.ndjson"), bytes)?;
        replace(&aside, &format!("{name}.why"), format!("{why}\n").as_bytes())
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("log/seg-{first:020}.stl"))
    }

    fn begin(&mut self, first: u64) -> io::Result<File> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o640).open(self.path(first))?;
        File::open(self.dir.join("log"))?.sync_all()?;
        self.segments.push(first);
        Ok(file)
    }

    fn count(&mut self, number: u64) {
        if self.last.is_none_or(|last| last.checked_add(1) != Some(number)) {
            self.run = number;
        }
        self.last = Some(number);
    }

    /// Counts the records of a segment; of the last one, also mends its end.
    fn walk(&mut self, at: usize) -> io::Result<()> {
        let Some(path) = self.segments.get(at).map(|first| self.path(*first)) else { return Ok(()) };
        let is_last = at + 1 == self.segments.len();
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        let mut good = 0;
        while good < length {
            file.seek(SeekFrom::Start(good))?;
            let Some(head) = head(&mut file)? else { break };
            let end = good + (HEAD + head.length) as u64;
            // only a crash leaves a record that is not whole, and only at the end
            if end > length || (is_last && head.check(&payload(&mut file, head)?).is_err()) {
                break;
            }
            self.count(head.batch);
            good = end;
        }
        if good < length && is_last {
            let mut torn = Vec::new();
            file.seek(SeekFrom::Start(good))?;
            file.read_to_end(&mut torn)?;
            self.put_aside(&torn, "the end of a segment that a crash cut off: it was not acknowledged")?;
            file.set_len(good)?;
            file.sync_all()?;
            tracing::warn!(path = %path.display(), bytes = length - good, "cut off what a crash left");
        }
        if is_last {
            self.open = Some((file, good));
        }
        Ok(())
    }

    /// Shows the batches that are wanted, and reads no more than the heads of the others.
    fn each(&self, wanted: &BTreeSet<u64>, mut show: impl FnMut(u64, &[u8])) -> io::Result<()> {
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(()) };
        let begin = self.segments.partition_point(|segment| segment <= first).saturating_sub(1);
        for segment in self.segments.iter().skip(begin).take_while(|segment| *segment <= last) {
            let mut file = File::open(self.path(*segment))?;
            while let Some(head) = head(&mut file)? {
                if wanted.contains(&head.batch) {
                    let payload = payload(&mut file, head)?;
                    head.check(&payload).map_err(io::Error::other)?;
                    let mut bytes = Vec::new();
                    zstd::stream::read::Decoder::new(&payload[..])?.take(BATCH).read_to_end(&mut bytes)?;
                    show(head.batch, &bytes);
                } else {
                    file.seek_relative(i64::try_from(head.length).map_err(io::Error::other)?)?;
                }
            }
        }
        Ok(())
    }
}

/// The head of the next record; `None` where none begins.
fn head(file: &mut File) -> io::Result<Option<Head>> {
    let mut bytes = Vec::new();
    file.take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok(bytes.first_chunk().and_then(|head| Head::parse(head).ok()))
}

fn payload(file: &mut File, head: Head) -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    file.take(head.length as u64).read_to_end(&mut payload)?;
    Ok(payload)
}

/// The seal of a batch in its bytes.
fn seal_of(batch: &[u8]) -> Option<Batch> {
    let lines = batch.strip_suffix(b"\n")?;
    let last = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Batch::parse(lines.get(last..)?).ok()
}

/// Makes a directory and its parents, for us and our group.
pub fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o750).create(path)
}

/// Replaces a file so that after a power cut it holds the old bytes or the new ones, never a part.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_end_goes_aside_and_a_run_begins_behind_a_hole() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.append(&[(0, b"zero\n"), (1, b"one\n")]).unwrap();
        store.append(&[(5, b"five\n")]).unwrap();
        store.append(&[(6, b"six\n")]).unwrap();
        drop(store);
        let segment = dir.path().join("log/seg-00000000000000000000.stl");
        let whole = fs::read(&segment).unwrap();
        let mut last = Vec::new();
        frame::write(6, &zstd::bulk::compress(b"six\n", LEVEL).unwrap(), &mut last).unwrap();
        for cut in 1..last.len() {
            fs::write(&segment, &whole[..whole.len() - cut]).unwrap();
            let store = Store::open(dir.path()).unwrap();
            assert_eq!((store.run(), store.last()), (5, Some(5)), "{cut} bytes less");
            assert_eq!(fs::metadata(&segment).unwrap().len() as usize, whole.len() - last.len());
        }
        let mut store = Store::open(dir.path()).unwrap();
        store.append(&[(6, b"six\n")]).unwrap();
        assert_eq!(fs::read(&segment).unwrap(), whole);
        let mut seen = Vec::new();
        store.each(&(1..=6).collect(), |number, bytes| seen.push((number, bytes.to_vec()))).unwrap();
        assert_eq!(seen, [(1, b"one\n".to_vec()), (5, b"five\n".to_vec()), (6, b"six\n".to_vec())]);
    }
}
