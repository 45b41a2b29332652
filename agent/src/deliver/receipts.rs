//! What receivers signed, on its way into the next header: `receipts/<sink>` in the spool, the line of the header.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use seal::Receipt;

use crate::{disk, spool::is_sink_name};

/// The directory, in the spool.
const DIR: &str = "receipts";

/// The last receipt of each sink that no header has yet.
#[derive(Clone, Debug, Default)]
pub struct Receipts(Arc<Mutex<BTreeMap<String, Receipt>>>);

impl Receipts {
    /// Those that an earlier run got after its last header. One that a header has already is told once more.
    pub fn open(spool: &Path) -> Self {
        let receipts = Self::default();
        for entry in fs::read_dir(spool.join(DIR)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let text = fs::read_to_string(entry.path()).ok().filter(|_| is_sink_name(&name));
            if let Some(receipt) = text.and_then(|text| Receipt::parse(text.trim_end())) {
                receipts.lock().insert(name, receipt);
            }
        }
        receipts
    }

    /// All receipts since the last call, by the name of the sink.
    pub fn take(&self) -> Vec<Receipt> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    /// Adds a receipt in place of an older one of the sink. It is there in any case; the error is of the disk.
    pub(super) fn keep(&self, spool: &Path, sink: &str, receipt: Receipt) -> io::Result<()> {
        let line = format!("{receipt}\n");
        self.lock().insert(sink.to_owned(), receipt);
        let dir = spool.join(DIR);
        disk::make_dir(&dir, 0o700)?;
        disk::replace(&dir, sink, line.as_bytes())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Receipt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receipt_outlives_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let receipts = Receipts::default();
        let witness = seal::cosign::Witness::new("w.example", &[1; 32]).unwrap();
        for size in [3, 4] {
            let cosignature = witness.cosign("text", size);
            receipts.keep(dir.path(), "http", Receipt { size, cosignature }).unwrap();
        }
        let taken = receipts.take();
        assert_eq!((taken.len(), taken[0].size), (1, 4));
        assert!(receipts.take().is_empty());
        assert_eq!(Receipts::open(dir.path()).take(), taken);
        fs::write(dir.path().join("receipts/http"), "nonsense").unwrap();
        assert!(Receipts::open(dir.path()).take().is_empty());
    }
}
