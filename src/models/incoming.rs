//! How a folder appears, changes and goes in one step: its files are put together in a temporary folder beside its
//! place, which is then renamed. Only renaming needs the lock of the folder that holds both; what takes long, fetching
//! and compiling, is done without it.
//!
//! A temporary folder is `.incoming-XXXXXX`, with a file that its process keeps locked for as long as it lives. What a
//! killed process left is removed when the next one begins.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sahara_mpc::durable;
use tempfile::TempDir;

use super::bytes_below;
use crate::error::{Error, Result};
use crate::home::{create_private_dir, turn};
use crate::progress::Progress;

/// Temporary folders begin with this.
const TEMPORARY: &str = ".incoming-";
/// The file in a temporary folder that its process keeps locked.
const HELD: &str = "held";

/// The lock of a folder whose entries appear and go: one process at a time renames there.
pub(super) struct Lock {
    folder: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for the lock of this folder, which is made if it is not there.
    pub fn wait(folder: &Path, progress: &Progress) -> Result<Self> {
        create_private_dir(folder)?;
        let path = folder.join(".lock");
        let mut told = false;
        let file = turn(&path, || {
            if !std::mem::replace(&mut told, true) {
                progress.step("waiting for another sahara that is changing the models");
            }
            Ok(())
        })?;
        Ok(Self { folder: folder.to_owned(), _file: file })
    }

    /// A temporary folder for this process. Those of processes that are gone are removed.
    pub fn incoming(&self) -> Result<Incoming> {
        self.sweep();
        let failed = |e| Error::io("creating a folder in", &self.folder, e);
        let outer = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&self.folder).map_err(failed)?;
        let held = File::create(outer.path().join(HELD)).map_err(failed)?;
        held.lock().map_err(failed)?;
        let new = outer.path().join("new");
        create_private_dir(&new)?;
        Ok(Incoming { new, outer, _held: held })
    }

    /// Removes what is in a place; how many bytes it had. Whoever opens it meanwhile sees all of it or nothing, and the lock is
    /// held only until it is gone from there.
    pub fn remove(self, place: &Path) -> Result<u64> {
        let bytes = bytes_below(place);
        let taken = self.incoming()?;
        taken.set_aside(place)?;
        drop(self);
        let path = taken.outer.path().to_owned();
        match taken.outer.close() {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("removing", &path, e)),
            _ => Ok(bytes),
        }
    }

    /// Temporary folders are made under this lock: one without a locked file is nobody's.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let held = File::options().write(true).open(entry.path().join(HELD));
            let in_use = held.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
            if !in_use && entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                // Left for the next time if it cannot be removed now.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A temporary folder of this process; removed when it is dropped.
pub(super) struct Incoming {
    new: PathBuf,
    outer: TempDir,
    _held: File,
}

impl Incoming {
    /// Where the new files go.
    pub fn path(&self) -> &Path {
        &self.new
    }

    /// Puts the new files in their place. What was there is removed.
    pub fn put(self, place: &Path, _lock: &Lock) -> Result<()> {
        let moved = self.set_aside(place)?;
        durable::place(&self.new, place).map_err(|e| {
            if moved {
                // Best effort: the error below says what is wrong.
                let _ = fs::rename(self.aside(), place);
            }
            Error::io("moving the new files to", place, e)
        })
    }

    fn set_aside(&self, place: &Path) -> Result<bool> {
        match fs::rename(place, self.aside()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("moving away", place, e)),
        }
    }

    fn aside(&self) -> PathBuf {
        self.outer.path().join("old")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_nobody_holds_is_swept_and_what_somebody_holds_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::wait(dir.path(), &Progress::silent()).unwrap();
        let living = lock.incoming().unwrap();
        fs::write(living.path().join("weights"), "half").unwrap();
        for left in [".incoming-killed", ".incoming-old-mine", "mine"] {
            fs::create_dir_all(dir.path().join(left).join("new")).unwrap();
            fs::write(dir.path().join(left).join(HELD), "").unwrap();
        }
        fs::create_dir(dir.path().join(".incoming-of-an-older-program")).unwrap();
        let next = lock.incoming().unwrap();
        let name = |incoming: &Incoming| incoming.outer.path().file_name().unwrap().to_string_lossy().into_owned();
        let mut expected = vec![".lock".to_owned(), name(&living), name(&next), "mine".to_owned()];
        expected.sort();
        assert_eq!(names(dir.path()), expected);
        living.put(&dir.path().join("mine"), &lock).unwrap();
        assert_eq!(names(&dir.path().join("mine")), ["weights"]);
        assert_eq!(lock.remove(&dir.path().join("mine")).unwrap(), 4, "the bytes that it had");
        assert!(!dir.path().join("mine").exists());
        assert_eq!(names(dir.path()), [name(&next), ".lock".to_owned()], "and nobody else's are gone");
        drop(next);
        assert_eq!(names(dir.path()), [".lock"]);
    }
}
