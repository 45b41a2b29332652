//! What is kept of a rotated file: its seals when the events go, and the whole, encrypted, for who holds the identity.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::{FileConfig, FileError, archive, writer};
use crate::disk::{self, File};
use crate::sealed;

/// Who can read an encrypted file: an X25519 recipient of age (C2SP `age.md`).
pub type Recipient = age::x25519::Recipient;

/// Reads a recipient, as age-keygen(1) prints it: `age1…`.
pub fn recipient(text: &str) -> Result<Recipient, FileError> {
    text.parse().map_err(|_| FileError::Recipient(text.to_owned()))
}

/// Writes the seal lines of a rotated file beside it, unless they are there. With them the chain verifies without the file.
///
/// Of a file that is damaged, the seals before the damage are kept: nobody reads more.
pub(super) fn seals(path: &Path, config: &FileConfig) -> Result<(), FileError> {
    let base = archive::base(path);
    if ["", ".zst"].iter().any(|end| with(&base, &format!(".seals{end}")).exists()) {
        return Ok(());
    }
    let done = with(&base, if config.compress { ".seals.zst" } else { ".seals" });
    let write = |file: &File| {
        let reader = disk::open_read(path)?;
        let packed = path.extension().is_some_and(|end| end == "zst");
        let reader: Box<dyn Read> =
            if packed { Box::new(zstd::stream::read::Decoder::new(reader)?) } else { Box::new(reader) };
        let reader = BufReader::with_capacity(256 << 10, reader);
        if config.compress {
            let mut out = zstd::stream::write::Encoder::new(BufWriter::new(file), archive::LEVEL)?;
            copy_seals(reader, &mut out, path)?;
            out.finish()?.flush()
        } else {
            let mut out = BufWriter::new(file);
            copy_seals(reader, &mut out, path)?;
            out.flush()
        }
    };
    place(&done, config, "write the seals", write)
}

fn copy_seals(mut reader: impl BufRead, out: &mut impl Write, path: &Path) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(writer::LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) if sealed::is_seal(&line) => out.write_all(&line)?,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the file is damaged: kept the seals before that");
                return Ok(());
            }
        }
    }
}

/// Encrypts a rotated file to `<path>.age`, its seals in clear beside it, and only then removes it.
pub(super) fn encrypt(path: &Path, config: &FileConfig) -> Result<(), FileError> {
    let recipients = config.recipients.iter().map(|text| recipient(text)).collect::<Result<Vec<_>, _>>()?;
    seals(path, config)?;
    let mut checksum = 0;
    place(&with(path, ".age"), config, "encrypt", |file| {
        let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let age = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let mut out = age.wrap_output(Summed { file: BufWriter::new(file), checksum: &mut checksum })?;
        io::copy(&mut disk::open_read(path)?, &mut out)?;
        out.finish()?.flush()?;
        // nobody here can decrypt it: what is on the disk must be what was encrypted
        let mut back = Summed { file: io::sink(), checksum: &mut 0 };
        io::copy(&mut rewound(file)?, &mut back)?;
        if *back.checksum == checksum {
            archive::keep_time(path, file)
        } else {
            Err(io::Error::other("read back, it differs"))
        }
    })?;
    disk::remove_if_there(path).map_err(FileError::io("remove", path))
}

fn rewound(mut file: &File) -> io::Result<&File> {
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// Makes a file that is there as a whole and durable, or not at all.
fn place(
    done: &Path,
    config: &FileConfig,
    doing: &'static str,
    write: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), FileError> {
    let draft = with(done, ".tmp");
    disk::remove_if_there(&draft).map_err(FileError::io("remove", &draft))?;
    let file = disk::create_new(&draft, 0o600).map_err(FileError::io("create", &draft))?;
    writer::own(&file, config)?;
    write(&file).and_then(|()| file.sync_all()).map_err(FileError::io(doing, &draft))?;
    fs::rename(&draft, done).map_err(FileError::io("rename", &draft))?;
    disk::sync_dir(&config.dir).map_err(FileError::io("make durable the names in", &config.dir))
}

fn with(path: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", path.display()))
}

/// A writer that sums what goes through it.
struct Summed<'a, W> {
    file: W,
    checksum: &'a mut u32,
}

impl<W: Write> Write for Summed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        *self.checksum = crc32c::crc32c_append(*self.checksum, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
