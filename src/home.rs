//! Sahara's folder on this machine: `$SAHARA_HOME`, or `~/.sahara`.
//!
//! ```text
//! owner.key          the key that models are shared with
//! owner.lock         held by whoever shares a model just now
//! consumer.key       the key that questions are asked with
//! models/<name>/     files of the model, source.json, compiled/
//! ciphertexts/       keys of what was sealed to be sold whole
//! devnet/            the local network: node-1, node-2, node-3, client, devnet.json
//! ```

use std::env;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sahara_mpc::durable;

use crate::error::{Error, Result};

/// Where Sahara keeps its files.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The folder given, else `$SAHARA_HOME`, else `~/.sahara`. Nothing is created yet.
    ///
    /// # Errors
    /// When neither `SAHARA_HOME` nor `HOME` is set and none is given.
    pub fn locate(given: Option<PathBuf>) -> Result<Self> {
        let chosen = given
            .or_else(|| env::var_os("SAHARA_HOME").filter(|value| !value.is_empty()).map(PathBuf::from))
            .or_else(|| {
                env::var_os("HOME").filter(|value| !value.is_empty()).map(|home| Path::new(&home).join(".sahara"))
            })
            .ok_or(Error::NoHome)?;
        let absolute = std::path::absolute(&chosen).map_err(|e| Error::io("resolving", &chosen, e))?;
        Ok(Self(absolute))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Models, one folder each.
    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }

    /// The local network.
    pub fn devnet(&self) -> PathBuf {
        self.0.join("devnet")
    }
}

/// Creates a folder that only its owner can read (models may be private, nodes keep keys). One that is there keeps its
/// mode: it may be somebody's for other things, too.
///
/// # Errors
/// When the folder cannot be made, or every user of the machine may write into the one that is there.
pub fn create_private_dir(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        builder.mode(0o700);
        if path.metadata().is_ok_and(|there| there.mode() & 0o002 != 0) {
            let why = "every user of this machine may write into this folder: choose one of your own";
            return Err(Error::io("protecting", path, io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
    }
    builder.create(path).map_err(|e| Error::io("creating", path, e))
}

/// Writes a file beside its place and renames it there: a reader sees the old bytes or the new, never half, also after a loss
/// of power. (Not [`durable::replace`], because several processes may write one file at once.)
///
/// # Errors
/// When the file cannot be written.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let folder = durable::folder(path);
    let doing = |e| Error::io("writing", path, e);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(doing)?;
    file.write_all(bytes).map_err(doing)?;
    file.as_file().sync_all().map_err(doing)?;
    file.persist(path).map_err(|e| doing(e.error))?;
    durable::sync_dir(folder).map_err(doing)
}

/// Has the file locked for this process until what is returned is dropped. While another process holds it, `waiting` is
/// called every now and then, and may give up.
///
/// # Errors
/// When the file cannot be made or locked, and what `waiting` gives.
pub fn turn(path: &Path, mut waiting: impl FnMut() -> Result<()>) -> Result<File> {
    let opened = File::options().create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(|e| Error::io("opening", path, e))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => waiting()?,
            Err(TryLockError::Error(e)) => return Err(Error::io("locking", path, e)),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_its_turn_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let first = turn(&path, || panic!("nobody holds it")).unwrap();
        let mut asked = 0;
        let given_up = turn(&path, || {
            asked += 1;
            if asked < 3 { Ok(()) } else { Err(Error::Stopped) }
        });
        assert!(given_up.is_err() && asked == 3);
        drop(first);
        turn(&path, || panic!("nobody holds it any more")).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_is_made_private_and_one_that_is_there_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        let new = dir.path().join("a/b");
        create_private_dir(&new).unwrap();
        assert_eq!((mode(&new), mode(&dir.path().join("a"))), (0o700, 0o700));
        let there = dir.path().join("there");
        fs::create_dir(&there).unwrap();
        for (given, taken) in [(0o755, true), (0o2775, true), (0o777, false), (0o1777, false)] {
            fs::set_permissions(&there, fs::Permissions::from_mode(given)).unwrap();
            let made = create_private_dir(&there);
            assert_eq!((made.is_ok(), mode(&there)), (taken, given), "{made:?}");
        }
    }

    #[test]
    fn a_given_folder_wins_and_is_absolute() {
        let home = Home::locate(Some(PathBuf::from("some/where"))).unwrap();
        assert!(home.path().is_absolute() && home.path().ends_with("some/where"));
        assert!(home.models().ends_with("some/where/models"));
    }

    #[test]
    fn an_atomic_write_leaves_no_second_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("file"), b"there").unwrap();
        write_atomic(&taken, b"three").unwrap_err();
        assert_eq!(fs::read(taken.join("file")).unwrap(), b"there");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left of what failed");
    }
}
