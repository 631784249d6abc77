//! Whether the files of a pulled model are still those that were pulled: answers come from their compiled form.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{ModelInfo, StoreError};
use crate::error::{Error, Result};

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// Names of the files in `folder` that are not as they were when the model was pulled; a file that is gone is one.
///
/// # Errors
/// When a file cannot be read.
pub fn changed<'a>(info: &'a ModelInfo, folder: &Path) -> Result<Vec<&'a str>> {
    let mut names = Vec::new();
    for file in &info.files {
        let path = folder.join(&file.name);
        let digest = match File::open(&path) {
            // One byte more shows that it has become longer.
            Ok(opened) => digest(opened.take(file.bytes + 1)).map_err(|e| Error::io("reading", &path, e))?,
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("opening", &path, e)),
        };
        if digest != file.sha256 {
            names.push(file.name.as_str());
        }
    }
    Ok(names)
}

/// Refuses to go on with files that are not those that were pulled.
pub fn check(info: &ModelInfo, folder: &Path) -> Result<()> {
    let names = changed(info, folder)?;
    if names.is_empty() {
        return Ok(());
    }
    Err(StoreError::Changed {
        name: info.name.clone(),
        files: names.into_iter().map(str::to_owned).collect(),
        folder: folder.to_owned(),
        origin: info.source.clone(),
    }
    .into())
}

fn digest(mut from: impl Read) -> std::io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(sahara_circuits::bytes::hex(&hash.finalize())),
            n => hash.update(piece.get(..n).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Origin, Store};
    use super::*;
    use crate::home::Home;
    use crate::progress::Progress;

    #[test]
    fn a_file_that_changed_is_named_and_not_compiled_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&Home::locate(Some(dir.path().join("home"))).unwrap());
        let from = dir.path().join("model");
        sahara_circuits::testmodel::TestModel::default().write(&from, 1).unwrap();
        let quiet = Progress::silent();
        let from = from.display().to_string();
        let (info, _) = store.pull(&from, Some("mine"), Origin::Any, false, &quiet).unwrap();
        let folder = store.open("mine", &quiet).unwrap().folder;
        assert!(changed(&info, &folder).unwrap().is_empty());

        let config = folder.join("config.json");
        let before = fs::read(&config).unwrap();
        fs::write(&config, [&before[..], b" "].concat()).unwrap();
        assert_eq!(changed(&info, &folder).unwrap(), ["config.json"]);
        assert!(store.open("mine", &quiet).is_ok(), "what is compiled is as it was pulled");
        fs::remove_dir_all(folder.join("compiled")).unwrap();
        let error = store.open("mine", &quiet).err().unwrap();
        let Error::Store(StoreError::Changed { files, origin, .. }) = error else { panic!("{error}") };
        assert!(files == ["config.json"] && origin == from, "{files:?} {origin}");

        fs::write(&config, before).unwrap();
        assert!(store.open("mine", &quiet).is_ok());
        fs::remove_file(&config).unwrap();
        assert_eq!(changed(&info, &folder).unwrap(), ["config.json"], "a file that is gone");
    }
}
