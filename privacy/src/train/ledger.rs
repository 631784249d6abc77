//! What a run has spent, on disk before it is spent.
//!
//! The file grows only. Each entry says how many steps are spent and carries a hash of all before it. Steps are *reserved* before
//! the first of them draws noise; a run that stops in good order *settles* at what it did. A crash leaves a reservation, which
//! then is what was spent. A checkpoint that is put back changes nothing here. Who puts
//! back both, the ledger and all checkpoints that are newer, is not noticed by what this machine keeps: a budget on the chain is for that.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SAHSPENT";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 32;
const ENTRY: usize = 1 + 8 + 32;
/// Largest file: half a million entries.
const MOST_BYTES: u64 = 1 << 24;

/// An open ledger; one process at a time.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Bytes of it.
    size: u64,
    head: [u8; 32],
    spent: u64,
    settled: u64,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refuses.
    #[error("{doing} the ledger {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the ledger {0} is in use: another process trains this run")]
    Busy(PathBuf),
    /// It is not what this program wrote.
    #[error("the ledger {0} was changed or damaged: what the run has spent is not known, so it cannot go on")]
    Changed(PathBuf),
    /// There is no room for another entry.
    #[error("the ledger {0} is full: it has room for 400,000 entries, and nothing can be spent on it any more")]
    Full(PathBuf),
    /// It is that of another run.
    #[error("the ledger {0} belongs to another run")]
    Other(PathBuf),
}

impl Ledger {
    /// Begins the ledger of a run; `run` names it and what it may do.
    ///
    /// # Errors
    /// When there is one, or the file system refuses.
    pub fn create(path: &Path, run: &[u8; 32]) -> Result<Self, LedgerError> {
        let failed = |doing| move |source| LedgerError::File { doing, path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(failed("making"))?;
        lock(&file, path)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(run);
        file.write_all(&header).and_then(|()| file.sync_all()).map_err(failed("writing"))?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("making"))?;
        }
        let (size, head) = (HEADER as u64, *blake3::hash(&header).as_bytes());
        Ok(Self { path: path.to_owned(), file, size, head, spent: 0, settled: 0 })
    }

    /// Opens the ledger of a run.
    ///
    /// # Errors
    /// When there is none, it is in use, it is another's, or it was changed.
    pub fn open(path: &Path, run: &[u8; 32]) -> Result<Self, LedgerError> {
        let failed = |doing| move |source| LedgerError::File { doing, path: path.to_owned(), source };
        let changed = || LedgerError::Changed(path.to_owned());
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("opening"))?;
        lock(&file, path)?;
        let size = file.metadata().map_err(failed("reading"))?.len();
        if size > MOST_BYTES {
            return Err(changed());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        (&file).take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed("reading"))?;
        let (header, entries) = bytes.split_at_checked(HEADER).ok_or_else(changed)?;
        if &header[..8] != MAGIC || header[8..12] != VERSION.to_le_bytes() {
            return Err(changed());
        }
        if &header[12..] != run {
            return Err(LedgerError::Other(path.to_owned()));
        }
        let (mut head, mut spent, mut settled) = (*blake3::hash(header).as_bytes(), 0, 0);
        let (entries, torn) = entries.as_chunks::<ENTRY>();
        for entry in entries {
            let (settles, steps) = (entry[0] == 1, entry[1..].first_chunk().copied().map_or(0, u64::from_le_bytes));
            let next = chained(&head, &entry[..9]);
            if entry[0] > 1 || next != entry[9..] || !allowed(settles, steps, spent, settled) {
                return Err(changed());
            }
            head = next;
            spent = steps;
            settled = if settles { steps } else { settled };
        }
        // The beginning of an entry that was never made durable: nothing was done on its account.
        let whole = (bytes.len() - torn.len()) as u64;
        file.set_len(whole).and_then(|()| file.seek(SeekFrom::Start(whole))).map_err(failed("opening"))?;
        Ok(Self { path: path.to_owned(), file, size: whole, head, spent, settled })
    }

    /// Steps that are spent, or may be.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// From now on this many steps are spent, whatever happens. Nothing is written if they are already.
    ///
    /// # Errors
    /// When the file system refuses: then nothing may be done on its account.
    pub fn reserve(&mut self, steps: u64) -> Result<(), LedgerError> {
        if steps <= self.spent { Ok(()) } else { self.write(0, steps) }
    }

    /// Exactly this many steps were done, of those that are reserved.
    ///
    /// # Errors
    /// When the file system refuses, or that many cannot be: fewer than at the last settling, or more than are reserved.
    pub fn settle(&mut self, steps: u64) -> Result<(), LedgerError> {
        if !allowed(true, steps, self.spent, self.settled) {
            return Err(LedgerError::Changed(self.path.clone()));
        }
        self.write(1, steps)?;
        self.settled = steps;
        Ok(())
    }

    fn write(&mut self, kind: u8, steps: u64) -> Result<(), LedgerError> {
        if self.size + ENTRY as u64 > MOST_BYTES {
            return Err(LedgerError::Full(self.path.clone()));
        }
        let mut entry = Vec::with_capacity(ENTRY);
        entry.push(kind);
        entry.extend_from_slice(&steps.to_le_bytes());
        let head = chained(&self.head, &entry);
        entry.extend_from_slice(&head);
        let failed = |source| LedgerError::File { doing: "writing", path: self.path.clone(), source };
        self.file.write_all(&entry).and_then(|()| self.file.sync_all()).map_err(failed)?;
        (self.head, self.spent, self.size) = (head, steps, self.size + ENTRY as u64);
        Ok(())
    }
}

/// A reservation only grows; a settling is within what is reserved, and not below the last.
fn allowed(settles: bool, steps: u64, spent: u64, settled: u64) -> bool {
    if settles { steps <= spent && steps >= settled } else { steps > spent }
}

fn chained(head: &[u8; 32], entry: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(head).update(entry).finalize().as_bytes()
}

fn lock(file: &File, path: &Path) -> Result<(), LedgerError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::Busy(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(LedgerError::File { doing: "locking", path: path.to_owned(), source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: [u8; 32] = [7; 32];

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent");
        (folder, path)
    }

    #[test]
    fn what_is_reserved_is_spent_unless_it_is_settled() {
        let (_folder, path) = place();
        let mut ledger = Ledger::create(&path, &RUN).unwrap();
        ledger.reserve(10).unwrap();
        assert!(matches!(Ledger::open(&path, &RUN), Err(LedgerError::Busy(_))));
        drop(ledger);
        let mut ledger = Ledger::open(&path, &RUN).unwrap();
        assert_eq!(ledger.spent(), 10);
        ledger.reserve(5).unwrap();
        ledger.reserve(20).unwrap();
        ledger.settle(13).unwrap();
        assert!(ledger.settle(12).is_err(), "what is settled stays");
        assert!(ledger.settle(14).is_err(), "nothing is settled that was not reserved");
        drop(ledger);
        assert_eq!(Ledger::open(&path, &RUN).unwrap().spent(), 13);
        assert!(Ledger::create(&path, &RUN).is_err(), "a ledger is never begun again");
        assert!(matches!(Ledger::open(&path, &[8; 32]), Err(LedgerError::Other(_))));
    }

    /// What is written can be read again.
    #[test]
    fn a_full_ledger_is_refused_by_name_and_still_says_what_is_spent() {
        let (_folder, path) = place();
        let mut ledger = Ledger::create(&path, &RUN).unwrap();
        ledger.reserve(1).unwrap();
        assert_eq!(ledger.size, fs_size(&path));
        ledger.size = MOST_BYTES - ENTRY as u64;
        ledger.reserve(2).unwrap();
        assert!(matches!(ledger.reserve(3), Err(LedgerError::Full(_))) && ledger.spent() == 2);
        drop(ledger);
        let ledger = Ledger::open(&path, &RUN).unwrap();
        assert_eq!((ledger.spent(), ledger.size), (2, fs_size(&path)));
    }

    fn fs_size(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().len()
    }

    #[test]
    fn a_changed_ledger_is_refused_and_a_torn_entry_is_none() {
        let (_folder, path) = place();
        let mut ledger = Ledger::create(&path, &RUN).unwrap();
        (1..4).for_each(|n| ledger.reserve(n * 10).unwrap());
        drop(ledger);
        let whole = std::fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            let mut other = whole.clone();
            other[byte] ^= 1;
            std::fs::write(&path, &other).unwrap();
            assert!(Ledger::open(&path, &RUN).is_err(), "byte {byte}");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let mut ledger = Ledger::open(&path, &RUN).unwrap();
        assert_eq!(ledger.spent(), 20);
        ledger.reserve(21).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(&path, &RUN).unwrap().spent(), 21);
    }
}
