//! Taking a version of a sharing: pieces go to a folder of their own and are checked against the manifest as they come;
//! at the end everything that could have changed meanwhile is asked again, and one rename puts the version in place.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::entry::Entry;
use super::error::ModelError;
use super::files::{
    CLIENT, MANIFEST, PartHeader, SharingRecord, at, graph_file, part_file, read_limited, sync_dir, write_file,
};
use super::part::{PrivatePart, check_open_file, open_scratch, part_len};
use super::{Locked, MAX_JUMP, ModelStore, Sharing, no_market, remove_folder, unreadable};
use crate::durable::private_file;
use crate::engine::{Assignment, GraphId, MAX_GRAPH_BYTES, graph_scratch, read_graph};
use crate::identity::PublicKey;
use crate::manifest::{AccessList, AccessRule, ManifestId, Shares, SharingId, SignedManifest};

/// What the beginning of an upload comes to.
pub enum Begun<'a> {
    /// This version is here already.
    Here,
    /// The pieces may come.
    Upload(Box<Upload<'a>>),
}

/// A version that is being taken; vanishes unless it is committed.
pub struct Upload<'a> {
    store: &'a ModelStore,
    owner: PublicKey,
    signed: SignedManifest,
    folder: PathBuf,
    /// The pieces that are still to come, the next one last.
    missing: Vec<Expected>,
    /// Of one of the graphs: it has the shapes of the weights.
    layout: Option<Layout>,
    /// Bytes that the owner has announced and not yet sent.
    left: u64,
    taken: u64,
    /// The piece that came last, until it is checked.
    unchecked: Option<Unchecked>,
    committed: bool,
}

/// A piece on disk that was not compared with the manifest yet.
struct Unchecked {
    path: PathBuf,
    len: u64,
    came: Came,
}

/// What came: graphs and open weights are looked at as a whole, of the rest what it is compared by was derived as it came.
enum Came {
    Graph(GraphId),
    Open,
    Private(Assignment, PrivatePart),
    Client(blake3::Hasher),
}

/// What all graphs of an upload have alike, taken from one of them; the graphs themselves stay on the disk.
struct Layout {
    graph: GraphId,
    /// Bytes of the graph's file.
    bytes: u64,
    /// Bytes of an evaluator's part, and of the helper's.
    parts: [u64; 2],
    /// Bytes that open weights take to be compared.
    open: u64,
}

/// A piece of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Graph(GraphId),
    /// For one assignment, or open.
    Part(Option<Assignment>),
    Client,
}

/// A version that is in place.
pub struct Committed {
    /// Its manifest.
    pub id: ManifestId,
    /// Which version it replaced.
    pub replaced: Option<ManifestId>,
}

impl ModelStore {
    /// Begins to take a version from the lane of `owner`, which has announced `bytes` bytes of pieces.
    ///
    /// # Errors
    /// When `owner` may not upload, the manifest is not the owner's or is for another committee, it is no newer than
    /// what was here, or there is no room.
    pub fn begin(&self, owner: PublicKey, signed: SignedManifest, bytes: u64) -> Result<Begun<'_>, ModelError> {
        let manifest = signed.manifest();
        if manifest.owner.lane_key() != owner {
            let text = "a sharing is taken from its owner only, and the manifest names another key";
            return Err(ModelError::Refused(text.into()));
        }
        if !self.parties.owners.admits(&owner) {
            let text = format!("this node takes no models from {owner}: its operator has to add the key to `owners`");
            return Err(ModelError::Refused(text));
        }
        if manifest.committee != self.place.committee {
            return Err(ModelError::Refused("the manifest is for another committee".into()));
        }
        if let (AccessRule::Chain(asset), None) = (&manifest.access, &self.market) {
            return Err(no_market(asset));
        }
        {
            let mut state = self.lock();
            if state.current.contains_key(&signed.id()) {
                return Ok(Begun::Here);
            }
            if state.uploading.contains_key(&owner) {
                return Err(ModelError::Refused("another upload of this owner is under way, try again".into()));
            }
            self.check(&state, &signed, &owner, bytes)?;
            state.uploading.insert(owner, bytes);
        }
        // From here on the reservation goes when the upload is dropped.
        let mut upload = Upload {
            store: self,
            owner,
            folder: self.place.dir.join(format!("upload-{owner}")),
            missing: self.pieces(&signed),
            signed,
            layout: None,
            left: bytes,
            taken: 0,
            unchecked: None,
            committed: false,
        };
        upload.open()?;
        Ok(Begun::Upload(Box::new(upload)))
    }

    /// What is asked at the beginning of an upload and again at its end: is it newer, is there room.
    fn check(
        &self,
        state: &Locked<'_>,
        signed: &SignedManifest,
        owner: &PublicKey,
        bytes: u64,
    ) -> Result<(), ModelError> {
        let limits = &self.shared.limits;
        let manifest = signed.manifest();
        let id = manifest.sharing();
        if state.unreadable.contains(&id) {
            return Err(unreadable());
        }
        let sharing = state.sharings.get(&id);
        let (mut replaced, mut unlisted) = (0, 0);
        match sharing {
            Some(sharing) => {
                newer([sharing.record.last_version, sharing.record.last_serial], signed)?;
                (replaced, unlisted) = (sharing.bytes(), sharing.listed());
            }
            None => {
                newer([0; 2], signed)?;
                let all: usize = state.all.iter().map(|state| state.sharings.len() + state.unreadable.len()).sum();
                if all >= limits.sharings {
                    let text = format!(
                        "this node has {all} sharings, deleted ones included, as many as it may (limits.sharings): use a name again, or ask its operator"
                    );
                    return Err(ModelError::Refused(text));
                }
                let sharings = state.all.iter().flat_map(|state| state.sharings.values());
                let own = sharings.filter(|s| s.record.owner.lane_key() == *owner).count();
                if own >= limits.owner_sharings {
                    let text = format!(
                        "an owner may have {own} sharings here, deleted ones included (limits.owner_sharings): use a name again"
                    );
                    return Err(ModelError::Refused(text));
                }
            }
        }
        // Twice: its owner can replace it without asking for room.
        self.room_for_keys(state, 2 * manifest.access.list().map_or(0, AccessList::len), unlisted)?;
        let megabytes = |limit: u64| limit >> 20;
        let [others_announced, own_announced] = state.uploading_elsewhere(owner);
        let own = (state.bytes_in_all(Some(owner)) - replaced).saturating_add(own_announced);
        if own.saturating_add(bytes) > limits.owner_bytes {
            let text = format!(
                "this owner's models would take more than {} MB (limits.owner_megabytes)",
                megabytes(limits.owner_bytes)
            );
            return Err(ModelError::Refused(text));
        }
        let all = state.bytes_in_all(None).saturating_add(others_announced);
        if all.saturating_add(bytes) > limits.bytes {
            let text = format!(
                "registered models would take more than the limit of {} MB (limits.model_megabytes)",
                megabytes(limits.bytes)
            );
            return Err(ModelError::Refused(text));
        }
        Ok(())
    }

    /// The pieces that this node is sent, in reverse order.
    fn pieces(&self, signed: &SignedManifest) -> Vec<Expected> {
        let manifest = signed.manifest();
        let mut pieces: Vec<Expected> = manifest.graphs.iter().copied().map(Expected::Graph).collect();
        match &manifest.shares {
            Shares::Private(shares) | Shares::OldPrivate(shares) => {
                pieces.extend(shares.iter().map(|s| Expected::Part(Some(s.assignment))));
            }
            Shares::Open => pieces.push(Expected::Part(None)),
        }
        pieces.extend(manifest.client_part.map(|_| Expected::Client));
        pieces.reverse();
        pieces
    }
}

/// Whether a version follows what was seen of its sharing.
fn newer(seen: [u64; 2], signed: &SignedManifest) -> Result<(), ModelError> {
    let manifest = signed.manifest();
    let [last_version, last_serial] = seen;
    if manifest.version <= last_version {
        let text = format!(
            "version {} of this sharing is not newer than version {last_version}, which this node has seen",
            manifest.version
        );
        return Err(ModelError::Refused(text));
    }
    no_jump("version", manifest.version, last_version)?;
    // Where a chain says who may use it there is no list, and the next one follows the last that there was.
    let Some(serial) = manifest.access.list().map(|list| list.serial) else { return Ok(()) };
    if serial <= last_serial {
        let text = format!(
            "the manifest's access list has serial {serial}, this node has seen {last_serial}: sign one with a higher serial"
        );
        return Err(ModelError::Refused(text));
    }
    no_jump("serial", serial, last_serial)
}

/// Refuses a number that leaves so many out that nobody can have used them: soon none would be left.
pub(super) fn no_jump(what: &str, next: u64, last: u64) -> Result<(), ModelError> {
    if next - last.min(next) > MAX_JUMP {
        let text = format!(
            "{what} {next} is more than {MAX_JUMP} above {last}, the last that this node has seen: sign one that is nearer"
        );
        return Err(ModelError::Refused(text));
    }
    Ok(())
}

impl Upload<'_> {
    fn open(&mut self) -> Result<(), ModelError> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).map_err(at("remove", &self.folder))?;
        }
        fs::create_dir(&self.folder).map_err(at("create", &self.folder))?;
        let manifest = self.signed.encode();
        self.taken += manifest.len() as u64;
        write_file(&self.folder.join(MANIFEST), &[manifest])
    }

    /// Whether all pieces are here and checked.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unchecked.is_none()
    }

    /// Takes the next piece to disk, of which `len` bytes were announced; `receive` hands them over in order.
    /// [`Upload::check`] comes next.
    ///
    /// # Errors
    /// When the piece is not as long as the manifest and the announcement say, and with whatever `receive` fails with.
    pub fn receive<E: From<ModelError>>(
        &mut self,
        len: u64,
        receive: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), ModelError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = self.next_piece(len)?;
        let (name, front) = match next {
            Expected::Graph(id) => (graph_file(&id), Vec::new()),
            Expected::Part(masked_for) => {
                let header = PartHeader { manifest: self.signed.id(), masked_for, len };
                (part_file(masked_for), header.encode())
            }
            Expected::Client => (CLIENT.to_owned(), Vec::new()),
        };
        let path = self.folder.join(name);
        let mut file = private_file(&path).map_err(at("create", &path))?;
        file.write_all(&front).map_err(at("write", &path))?;
        let mut came = match next {
            Expected::Graph(id) => Came::Graph(id),
            Expected::Part(None) => Came::Open,
            Expected::Part(Some(assignment)) => {
                Came::Private(assignment, PrivatePart::new(assignment.role(self.store.place.node)))
            }
            Expected::Client => Came::Client(blake3::Hasher::new()),
        };
        let mut got = 0u64;
        receive(&mut |bytes| {
            got += bytes.len() as u64;
            if got > len {
                return Err(ModelError::Refused("a piece is longer than it was announced".into()));
            }
            match &mut came {
                Came::Client(hasher) => {
                    hasher.update(bytes);
                }
                Came::Private(_, part) => part.take(bytes),
                Came::Graph(_) | Came::Open => {}
            }
            file.write_all(bytes).map_err(at("write", &path))
        })?;
        if got != len {
            return Err(ModelError::Refused("a piece is not as long as it was announced".into()).into());
        }
        file.sync_all().map_err(at("sync", &path))?;
        self.taken += front.len() as u64 + len;
        self.left -= len;
        self.missing.pop();
        self.unchecked = Some(Unchecked { path, len, came });
        Ok(())
    }

    /// Bytes of memory that [`Upload::check`] takes: graphs and open weights are looked at as a whole, the rest was compared
    /// as it came.
    pub fn scratch(&self) -> u64 {
        match &self.unchecked {
            Some(Unchecked { came: Came::Graph(_), len, .. }) => graph_scratch(*len),
            Some(Unchecked { came: Came::Open, len, .. }) => {
                let (graph, open) = self.layout.as_ref().map_or((0, 0), |layout| (layout.bytes, layout.open));
                len.saturating_add(open).saturating_add(graph_scratch(graph))
            }
            _ => 0,
        }
    }

    /// Compares the piece that came last with what the manifest names.
    ///
    /// # Errors
    /// When it is another one.
    pub fn check(&mut self) -> Result<(), ModelError> {
        let Some(Unchecked { path, len, came }) = self.unchecked.take() else { return Ok(()) };
        let manifest = self.signed.manifest();
        match came {
            Came::Graph(id) => {
                let graph = read_graph(&read_limited(&path, len)?, id)?;
                let visibility = manifest.visibility();
                let noise = self.signed.manifest().node_noise();
                self.store.shared.ready.admit(&graph, visibility, noise)?;
                if !manifest.permits(id, &graph) {
                    let text =
                        "all graphs of a sharing must have the weights root and the weight layout of its manifest";
                    return Err(ModelError::Refused(text.into()));
                }
                let parts = [true, false].map(|evaluator| part_len(&graph, visibility, evaluator));
                self.layout = Some(Layout { graph: id, bytes: len, parts, open: open_scratch(&graph) });
            }
            Came::Private(assignment, part) => {
                part.finish(manifest, assignment)?;
            }
            Came::Open => {
                let layout = self.layout()?;
                let file = self.folder.join(graph_file(&layout.graph));
                let graph = read_graph(&read_limited(&file, layout.bytes)?, layout.graph)?;
                let header = PartHeader { manifest: self.signed.id(), masked_for: None, len };
                check_open_file(&path, &header, manifest, &graph)?;
            }
            Came::Client(hasher) => {
                if manifest.client_part.map(|part| part.digest) != Some(*hasher.finalize().as_bytes()) {
                    let text = "the client part is not the one that the manifest commits to";
                    return Err(ModelError::Refused(text.into()));
                }
            }
        }
        Ok(())
    }

    fn next_piece(&self, len: u64) -> Result<Expected, ModelError> {
        let next = *self.missing.last().ok_or_else(|| ModelError::Refused("no further piece is expected".into()))?;
        let fits = match next {
            Expected::Graph(_) => len <= MAX_GRAPH_BYTES as u64,
            Expected::Part(masked_for) => {
                let [evaluator, helper] = self.layout()?.parts;
                len == if self.is_evaluator(masked_for) { evaluator } else { helper }
            }
            Expected::Client => self.signed.manifest().client_part.is_some_and(|part| part.len == len),
        };
        if !fits || len > self.left {
            let text = format!("a piece of {len} bytes does not fit what the manifest and the announcement say");
            return Err(ModelError::Refused(text));
        }
        Ok(next)
    }

    fn is_evaluator(&self, masked_for: Option<Assignment>) -> bool {
        masked_for.is_none_or(|assignment| assignment.role(self.store.place.node).is_some())
    }

    fn layout(&self) -> Result<&Layout, ModelError> {
        self.layout.as_ref().ok_or_else(|| ModelError::Refused("the graphs come before the weights".into()))
    }

    /// Puts the version in place, after asking again what was asked at the beginning.
    ///
    /// # Errors
    /// When a piece is missing, another version came meanwhile, or the file system refuses.
    pub fn commit(mut self) -> Result<Committed, ModelError> {
        if !self.is_complete() {
            return Err(ModelError::Refused("the upload is not complete".into()));
        }
        sync_dir(&self.folder)?;
        let (store, id) = (self.store, self.signed.id());
        let manifest = self.signed.manifest();
        let sharing: SharingId = manifest.sharing();
        let place = store.place.dir.join(id.to_string());
        let old = {
            let mut guard = store.lock();
            if guard.current.contains_key(&id) {
                return Err(ModelError::Refused("this version is in place already".into()));
            }
            store.check(&guard, &self.signed, &self.owner, self.taken)?;
            let state = &mut *guard;
            fs::rename(&self.folder, &place).map_err(at("rename", &self.folder))?;
            self.committed = true;
            let seen = state.sharings.get(&sharing).map_or(0, |sharing| sharing.record.last_serial);
            let record = SharingRecord {
                owner: manifest.owner,
                name: manifest.name.clone(),
                last_version: manifest.version,
                last_serial: manifest.access.list().map_or(seen, |list| list.serial),
                current: Some(id),
                access: None,
            };
            if let Err(error) = record.save(&store.place.dir) {
                remove_folder(&place);
                return Err(error);
            }
            let entry = Arc::new(Entry::new(place, self.signed.clone(), self.taken, store.shared.ready.clone()));
            let old = state.sharings.insert(sharing, Sharing::new(record, Some(entry)));
            let old = old.and_then(|sharing| sharing.record.current);
            if let Some(old) = &old {
                state.current.remove(old);
            }
            state.current.insert(id, sharing);
            old
        };
        if let Some(old) = &old {
            remove_folder(&store.place.dir.join(old.to_string()));
        }
        Ok(Committed { id, replaced: old })
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // What stays belongs to no record and goes at the next start.
            let _ = fs::remove_dir_all(&self.folder);
        }
        self.store.lock().uploading.remove(&self.owner);
    }
}
