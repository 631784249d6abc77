//! Files that survive a loss of power: written beside their place, made durable, and moved there in one step. Every file
//! and folder of a home that is read later comes to its place here. (The chain stands alone: share nodes and the SDK have
//! `sahara_mpc::durable`.)

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::failpoint;

/// Writes a file and the folders above it: the whole of it, durably, or nothing. A link stays, and the file that it names
/// is replaced; what is no file (`/dev/null`, a pipe) is written to and stays what it is.
///
/// # Errors
/// The place cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let place = match fs::metadata(path) {
        Ok(about) if !about.is_file() => return OpenOptions::new().write(true).open(path)?.write_all(bytes),
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_path_buf(),
    };
    fs::create_dir_all(folder_of(&place))?;
    let draft = draft_of(&place);
    write_new(&draft, bytes)?;
    rename(&draft, &place)
}

/// Writes a file that only its owner can read, where none is yet: the whole of it, durably, or nothing.
///
/// # Errors
/// There is a file already, or the place cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(&folder)?;
    let draft = draft_of(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        failpoint::reach("secret-draft");
        // A link fails where a file is already; a rename would replace it.
        fs::hard_link(&draft, path)?;
        failpoint::reach("secret-linked");
        sync(&folder)
    });
    let _ = fs::remove_file(&draft);
    written
}

/// Writes a file of a folder that is not in its place yet, durably.
///
/// # Errors
/// The place cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Moves `from`, which is durable, to `place`, durably.
///
/// # Errors
/// It cannot be moved.
pub fn rename(from: &Path, place: &Path) -> io::Result<()> {
    fs::rename(from, place)?;
    sync(&folder_of(place))
}

/// Makes a file or folder durable: of a folder, which names are in it.
///
/// # Errors
/// It cannot be read.
pub fn sync(place: &Path) -> io::Result<()> {
    File::open(place)?.sync_all()
}

/// Makes a folder and everything below it durable, whoever wrote it.
///
/// # Errors
/// It cannot be read.
pub fn sync_tree(place: &Path) -> io::Result<()> {
    if place.is_dir() {
        for entry in fs::read_dir(place)? {
            sync_tree(&entry?.path())?;
        }
    }
    sync(place)
}

/// A bare name has no folder above it: it lies in the current one.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    draft.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::*;

    #[test]
    fn a_device_stays_a_device_and_a_link_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("deep/er/file"));
        write(&file, b"one").unwrap();
        symlink(&file, &link).unwrap();
        write(&link, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two", "the file that the link names is replaced");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no draft is left");

        // A copy of the device's link, not the device: a failing test must not replace the machine's own.
        let device = folder.path().join("null");
        symlink("/dev/null", &device).unwrap();
        write(&device, b"gone").unwrap();
        assert!(fs::symlink_metadata(&device).unwrap().is_symlink());
        assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
        assert!(write(folder.path(), b"x").is_err(), "a folder is not written over");
    }

    #[test]
    fn a_secret_is_its_owners_and_is_not_written_over() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("deep/secret");
        write_secret(&secret, b"one").unwrap();
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write_secret(&secret, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&secret).unwrap(), b"one");
        assert_eq!(fs::read_dir(secret.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_folder_comes_to_its_place_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (draft, place) = (folder.path().join("draft"), folder.path().join("place"));
        fs::create_dir_all(draft.join("deep")).unwrap();
        fs::write(draft.join("deep/file"), b"one").unwrap();
        sync_tree(&draft).unwrap();
        rename(&draft, &place).unwrap();
        assert_eq!(fs::read(place.join("deep/file")).unwrap(), b"one");
        assert!(!draft.exists() && sync_tree(&draft).is_err());
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        let name = format!("sahara-bare-name-{}", std::process::id());
        let written = write(Path::new(&name), b"here");
        let read = fs::read(&name);
        let _ = fs::remove_file(&name);
        written.unwrap();
        assert_eq!(read.unwrap(), b"here");
    }
}
