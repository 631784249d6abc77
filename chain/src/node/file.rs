//! Writing a file that is read later: whole or not at all. What a person names as an output may also be a device or a pipe.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::error::NodeError;

/// Writes a file and the folders above it: the whole of it, durably, or nothing. A link stays, and the file that it names
/// is replaced; what is no file (`/dev/null`, a pipe) is written to and stays what it is.
///
/// # Errors
/// The place cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    try_write(path, bytes).map_err(|cause| NodeError::File { doing: "write", path: path.display().to_string(), cause })
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let place = match fs::metadata(path) {
        Ok(about) if !about.is_file() => return fs::OpenOptions::new().write(true).open(path)?.write_all(bytes),
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_path_buf(),
    };
    // A bare name has no folder above it: it lies in the current one.
    let folder = match place.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder)?;
    let mut draft = place.as_os_str().to_owned();
    draft.push(".draft");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, &place)?;
    File::open(&folder)?.sync_all()
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
    fn a_bare_name_lies_in_the_current_folder() {
        let name = format!("sahara-bare-name-{}", std::process::id());
        let written = write(Path::new(&name), b"here");
        let read = fs::read(&name);
        let _ = fs::remove_file(&name);
        written.unwrap();
        assert_eq!(read.unwrap(), b"here");
    }
}
