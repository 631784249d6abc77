//! What a node finds of its sharings when it starts.
//!
//! Versions and serials only grow, also over damage: a version whose files cannot be read still counts as the last one, and a
//! sharing whose record cannot be read takes nothing any more until its operator has looked at it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sahara_circuits::bytes::{DecodeError, unhex};

use super::entry::Entry;
use super::error::ModelError;
use super::files::{MANIFEST, SharingRecord, at, damaged, read_limited};
use super::ready::Ready;
use super::{Sharing, State};
use crate::manifest::{MAX_MANIFEST, ManifestId, SharingId, SignedManifest};

/// What is there, and what of it is damaged.
pub(super) struct Found {
    pub(super) state: State,
    pub(super) damage: Vec<String>,
}

/// Reads all records and versions; removes what belongs to no record.
pub(super) fn read(dir: &Path, committee: &[u8; 32], ready: &Arc<Ready>) -> Result<Found, ModelError> {
    let mut found = Found { state: State::default(), damage: Vec::new() };
    let mut folders = Vec::new();
    for file in fs::read_dir(dir).map_err(at("list", dir))? {
        let path = file.map_err(at("list", dir))?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("sharing") => found.record(dir, &path, committee, ready),
            Some("partial") => fs::remove_file(&path).map_err(at("remove", &path))?,
            _ if path.is_dir() => folders.push(path),
            _ => {}
        }
    }
    for folder in folders {
        found.folder(dir, committee, &folder)?;
    }
    Ok(found)
}

impl Found {
    fn record(&mut self, dir: &Path, path: &Path, committee: &[u8; 32], ready: &Arc<Ready>) {
        let record = match SharingRecord::load(path) {
            Ok(record) => record,
            Err(error) => {
                let id = path.file_stem().and_then(|s| s.to_str()).and_then(unhex::<32>).map(SharingId);
                let text = match id {
                    Some(id) => format!(
                        "sharing {id} is not served and takes no version, for its record cannot be read (restore the file; without it old versions can come back): {error}"
                    ),
                    None => format!("{} is no record of a sharing, by its name: {error}", path.display()),
                };
                self.damage.push(text);
                self.state.unreadable.extend(id);
                return;
            }
        };
        let id = record.sharing();
        let mut sharing = Sharing::new(record, None);
        if let Some(current) = sharing.record.current {
            let folder = dir.join(current.to_string());
            match load(&folder, current, id, ready) {
                Ok(entry) => {
                    // At least what its owner has signed, whatever a record without a checksum says.
                    let (manifest, record) = (entry.manifest(), &mut sharing.record);
                    let lists = [manifest.access.list(), record.access.as_ref().map(|access| access.list())];
                    let serial = lists.into_iter().flatten().map(|list| list.serial).max();
                    record.last_version = record.last_version.max(manifest.version);
                    record.last_serial = record.last_serial.max(serial.unwrap_or(0));
                    // One for a committee of before is shown to whoever could use it, and nothing is computed with it.
                    if manifest.committee == *committee {
                        self.state.current.insert(current, id);
                    }
                    sharing.entry = Some(Arc::new(entry));
                }
                Err(error) => {
                    sharing.damaged = bytes(&folder);
                    self.damage.push(format!(
                        "version {} of {}/{} is not served, for its files cannot be read (its owner has to share it again): {error}",
                        sharing.record.last_version, sharing.record.owner, sharing.record.name
                    ));
                }
            }
        }
        self.state.sharings.insert(id, sharing);
    }

    /// A folder that no record names goes. If there is no record at all of its sharing, one is made: what its owner has
    /// signed was here.
    fn folder(&mut self, dir: &Path, committee: &[u8; 32], folder: &Path) -> Result<(), ModelError> {
        let id: Option<ManifestId> = folder.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
        let named = |id| self.state.sharings.values().any(|sharing| sharing.record.current == Some(id));
        if id.is_some_and(named) {
            return Ok(());
        }
        // It may belong to a record that cannot be read: then everything stays for the operator to look at.
        if id.is_some() && !self.state.unreadable.is_empty() {
            return Ok(());
        }
        if let Some(manifest) = id.and_then(|id| manifest(folder, id)).filter(|m| m.manifest().committee == *committee)
        {
            let manifest = manifest.manifest();
            let sharing = manifest.sharing();
            if !self.state.sharings.contains_key(&sharing) {
                let record = SharingRecord {
                    owner: manifest.owner,
                    name: manifest.name.clone(),
                    last_version: manifest.version,
                    last_serial: manifest.access.list().map_or(0, |list| list.serial),
                    current: None,
                    access: None,
                };
                record.save(dir)?;
                self.damage.push(format!(
                    "version {} of {}/{} is not served, for there is no record of it (its owner has to share it again)",
                    manifest.version, manifest.owner, manifest.name
                ));
                self.state.sharings.insert(sharing, Sharing::new(record, None));
            }
        }
        fs::remove_dir_all(folder).map_err(at("remove", folder))
    }
}

/// The current version of a sharing.
fn load(folder: &Path, current: ManifestId, of: SharingId, ready: &Arc<Ready>) -> Result<Entry, ModelError> {
    let entry = Entry::load(folder, current, ready)?;
    if entry.manifest().sharing() != of {
        return Err(damaged(folder)(DecodeError::Field { what: "record of a sharing", field: "current version" }));
    }
    Ok(entry)
}

fn manifest(folder: &Path, id: ManifestId) -> Option<SignedManifest> {
    let path = folder.join(MANIFEST);
    let bytes = read_limited(&path, MAX_MANIFEST as u64).ok()?;
    SignedManifest::decode(&bytes).ok().filter(|signed| signed.id() == id)
}

/// Bytes of a folder's files, as far as it can be looked at.
fn bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
