//! Files and folders that survive a loss of power whole: written beside their place, made durable, moved there in one step,
//! and the name made durable too. All of share nodes and of the SDK that is read later comes to its place here. (The chain
//! depends on neither and has its own, with the points at which its tests pull the plug.)

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner only.
    Owner,
    /// Whom the process lets read the files it makes.
    Everybody,
}

/// Writes a file, whole or not at all: whoever reads it, also after a loss of power, sees the old bytes or the new. What is
/// written meanwhile lies beside it under the extension `partial`, so one process at a time may do it. Gives the open file.
///
/// # Errors
/// When `write` fails, or the file system refuses; nothing is left beside it then, and the old file is as it was.
pub fn replace(path: &Path, readers: Readers, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    let file = put(path, readers, write)?;
    sync_dir(folder(path))?;
    Ok(file)
}

/// As [`replace`], but that the name is durable only after [`sync_dir`]: for whoever writes many files to one folder.
///
/// # Errors
/// As [`replace`].
pub fn put(path: &Path, readers: Readers, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    let partial = path.with_extension("partial");
    remove(&partial)?; // of an earlier attempt, if any
    let attempt = || {
        let mut file = match readers {
            Readers::Owner => private_file(&partial)?,
            Readers::Everybody => File::create_new(&partial)?,
        };
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        Ok(file)
    };
    attempt().inspect_err(|_| {
        let _ = fs::remove_file(&partial); // what matters is the first error
    })
}

/// Writes a file that only its owner may read where none is, whole or not at all. Several may try at once: one of them has
/// written it, and the others are told that it is there.
///
/// # Errors
/// When there is one, `write` fails, or the file system refuses.
pub fn create(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    static ATTEMPT: AtomicU64 = AtomicU64::new(0);
    let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("{}-{attempt}.partial", std::process::id()));
    remove(&partial)?; // of a process that had the same number and was killed
    let written = private_file(&partial).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()?;
        // A link fails where a file is; a rename would replace it.
        fs::hard_link(&partial, path)
    });
    let removed = remove(&partial);
    written.and(removed)?;
    sync_dir(folder(path))
}

/// Moves a folder whose files are durable to a place where nothing is.
///
/// # Errors
/// When the file system refuses.
pub fn place(from: &Path, place: &Path) -> io::Result<()> {
    sync_folders(from)?;
    fs::rename(from, place)?;
    sync_dir(folder(place))
}

/// Makes the names in a folder and in those below it durable.
fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_dir(dir)
}

/// Creates a file that only its owner may read; fails when it exists.
///
/// # Errors
/// When it exists, or the file system refuses.
pub fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When the file system refuses.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a file if it is there.
///
/// # Errors
/// When it is there and stays.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder of a file; that of a bare name is the current one.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("list.toml");
        fs::write(home.path().join("list.partial"), b"half of an earlier attempt").unwrap();
        replace(&path, Readers::Owner, |file| file.write_all(b"one")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));

        let failed = replace(&path, Readers::Owner, |file| {
            file.write_all(b"tw")?;
            assert_eq!(fs::read(&path).unwrap(), b"one", "not before it is whole");
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!((fs::read(&path).unwrap(), entries(home.path())), (b"one".to_vec(), 1), "nothing is left beside it");

        let open = replace(&path, Readers::Everybody, |file| file.write_all(b"two")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), open.metadata().unwrap().len()), (b"two".to_vec(), 3));
        let ordinary = home.path().join("ordinary");
        fs::write(&ordinary, b"").unwrap();
        assert_eq!(mode(&path), mode(&ordinary));
        assert!(replace(home.path(), Readers::Owner, |_| Ok(())).is_err(), "a folder is not written over");
    }

    #[test]
    fn a_file_is_created_once_and_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        let failed = create(&path, |file| {
            file.write_all(b"on")?;
            assert!(!path.exists(), "not before it is whole");
            Err(io::Error::other("no more"))
        });
        assert_eq!((failed.unwrap_err().to_string(), entries(home.path())), ("no more".into(), 0));

        let first = thread::scope(|scope| {
            let path = &path;
            let all: Vec<_> =
                (0..8u8).map(|n| scope.spawn(move || create(path, |file| file.write_all(&[n; 9])))).collect();
            let made: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
            let first = made.iter().position(Result::is_ok).unwrap();
            for (n, other) in made.into_iter().enumerate().filter(|(n, _)| *n != first) {
                assert_eq!(other.unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{n}");
            }
            first as u8
        });
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (vec![first; 9], 0o600));
        assert_eq!(entries(home.path()), 1, "nothing is left beside it");
    }

    #[test]
    fn a_folder_comes_to_its_place_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("new"), home.path().join("model"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/file"), b"one").unwrap();
        place(&from, &to).unwrap();
        assert_eq!((fs::read(to.join("deep/file")).unwrap(), from.exists()), (b"one".to_vec(), false));

        fs::create_dir_all(from.join("deep")).unwrap();
        assert!(place(&from, &to).is_err(), "there is something");
        assert!(to.join("deep/file").exists() && from.exists());
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(folder(Path::new("node.toml")), Path::new("."));
        assert_eq!(folder(Path::new("a/node.toml")), Path::new("a"));
    }
}
