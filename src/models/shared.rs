//! Models of others on this machine: their client parts, kept in `shared/<owner>/<name>/` with the owner's manifest.
//! What is here fits what the owner has signed, or it is not used.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sahara_circuits::model::CompiledModel;
use sahara_mpc::client::{Client, Committee, GraphId, OwnerKey, Sharing, SharingName, SharingRef};
use sahara_mpc::manifest::{MAX_MANIFEST, SignedManifest};

use super::incoming::Lock;
use super::{Model, ModelInfo, SOURCE_FORMAT, SharedModel, StoreError, client_part};
use crate::error::{Error, Result};
use crate::home::{Home, write_atomic};
use crate::keys::{self, Role};
use crate::network::{Purse, find_error, not_for_us};
use crate::progress::Progress;

/// File of the signed manifest beside the client part's files.
const MANIFEST: &str = "manifest";

/// What is known of somebody else's model here.
#[derive(Clone, Debug)]
pub struct SharedInfo {
    /// The owner's key.
    pub owner: OwnerKey,
    /// The owner's name for it.
    pub name: String,
    /// The version that is here.
    pub version: u64,
    /// Hash of its manifest.
    pub manifest: String,
}

/// The models of others.
pub struct SharedStore {
    home: Home,
    folder: PathBuf,
    /// What pays for models that are asked for money.
    purse: Option<Arc<dyn Purse>>,
}

impl SharedStore {
    /// The store in Sahara's home.
    pub fn new(home: &Home) -> Self {
        Self { folder: home.path().join("shared"), home: home.clone(), purse: None }
    }

    /// The same store, which shows what this purse has bought to nodes that ask money for a model.
    #[must_use]
    pub fn with_purse(self, purse: Option<Arc<dyn Purse>>) -> Self {
        Self { purse, ..self }
    }

    /// Every model of others, by owner and name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<SharedInfo>> {
        let mut found = Vec::new();
        for owner in entries(&self.folder)? {
            for place in entries(&owner)? {
                // What cannot be read is fetched again when it is asked for.
                found.extend(stored(&place).as_ref().map(about));
            }
        }
        found.sort_by(|a, b| (a.owner, &a.name).cmp(&(b.owner, &b.name)));
        Ok(found)
    }

    /// The only model of others with this name, if there is exactly one.
    ///
    /// # Errors
    /// When there are several, or the folder cannot be read.
    pub fn named(&self, name: &str) -> Result<Option<SharingRef>> {
        let mut all = self.list()?.into_iter().filter(|info| info.name == name);
        let Some(one) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            return Err(StoreError::Ambiguous(name.to_owned()).into());
        }
        let name = one.name.parse().map_err(|why| StoreError::NotOwned { name: one.name.clone(), why })?;
        Ok(Some(SharingRef::Named(one.owner, name)))
    }

    /// Opens a model of somebody else's for use with a committee; fetches its client part first when it is not here in
    /// the version that the nodes hold. And whether it was fetched.
    ///
    /// # Errors
    /// When the nodes do not have it for this key, or what they send is not what the owner has signed.
    pub fn open(&self, which: &SharingRef, committee: &Committee, progress: &Progress) -> Result<(Model, bool)> {
        let client = keys::client(&self.home, Role::Consumer, committee.clone())?.with_purse(self.purse.clone());
        progress.step("asking the nodes for the model");
        let found = client.find(which).map_err(|e| find_error(&client, e))?;
        let sharing = found.ok_or_else(|| not_for_us(which, &client))?;
        let place = self.place(&sharing.manifest().owner, &sharing.manifest().name);
        if stored(&place).is_some_and(|here| here.id() == sharing.id())
            && let Ok(model) = load(&place, &sharing, which)
        {
            return Ok((model, false));
        }
        self.fetch(&client, &sharing, &place, progress)?;
        Ok((load(&place, &sharing, which)?, true))
    }

    /// What is here of somebody else's model: what is known of it, its folder and its client part.
    ///
    /// # Errors
    /// When it is not here, or cannot be read.
    pub fn here(&self, which: &SharingRef) -> Result<(SharedInfo, PathBuf, CompiledModel)> {
        let missing = || StoreError::NothingOf(which.clone());
        let SharingRef::Named(owner, name) = which else { return Err(missing().into()) };
        let place = self.place(owner, name);
        let signed = stored(&place).ok_or_else(missing)?;
        let compiled = CompiledModel::load_client(&place)
            .map_err(|source| StoreError::Unopened { name: which.to_string(), source })?;
        Ok((about(&signed), place, compiled))
    }

    /// Removes what is here of somebody else's model. Its name, and how many bytes it had.
    ///
    /// # Errors
    /// When it is not here.
    pub fn remove(&self, which: &SharingRef) -> Result<(String, u64)> {
        let missing = || StoreError::NothingOf(which.clone());
        let SharingRef::Named(owner, name) = which else { return Err(missing().into()) };
        let place = self.place(owner, name);
        if !place.is_dir() {
            return Err(missing().into());
        }
        let lock = Lock::wait(place.parent().unwrap_or(&self.folder), &Progress::silent())?;
        let bytes = lock.remove(&place)?;
        Ok((which.to_string(), bytes))
    }

    fn place(&self, owner: &OwnerKey, name: &SharingName) -> PathBuf {
        self.folder.join(owner.to_string()).join(name.as_str())
    }

    fn fetch(&self, client: &Client, sharing: &Sharing, place: &Path, progress: &Progress) -> Result<()> {
        let owner = place.parent().unwrap_or(&self.folder);
        let doing = format!("fetching what is needed to ask {}", sharing.manifest().name);
        progress.step(&doing);
        let bytes = client.client_part(sharing, &mut |_, _| ()).map_err(|e| find_error(client, e))?;
        let incoming = Lock::wait(owner, progress)?.incoming()?;
        client_part::unpack(&bytes, incoming.path())?;
        write_atomic(&incoming.path().join(MANIFEST), sharing.signed().encode())?;
        let which = SharingRef::Manifest(sharing.id());
        load(incoming.path(), sharing, &which)?; // before anything takes its place
        incoming.put(place, &Lock::wait(owner, progress)?)
    }
}

/// Loads a client part and compares it with what the owner has signed.
fn load(folder: &Path, sharing: &Sharing, which: &SharingRef) -> Result<Model> {
    let manifest = sharing.manifest();
    let compiled = CompiledModel::load_client(folder)
        .map_err(|source| StoreError::Unopened { name: manifest.name.to_string(), source })?;
    let source = format!("shared by {}", manifest.owner);
    let info = ModelInfo { format: SOURCE_FORMAT, name: manifest.name.to_string(), source, files: Vec::new() };
    let shared = Some(SharedModel { which: which.clone(), visibility: manifest.visibility() });
    let model = Model { info, folder: folder.to_owned(), compiled, shared };
    let crate::network::Graphs { all, ids, .. } = crate::network::graphs(&model)?;
    let fits = |(id, graph): (&GraphId, &std::sync::Arc<_>)| manifest.permits(*id, graph);
    if ids.len() == manifest.graphs.len() && ids.iter().zip(&all).all(fits) {
        return Ok(model);
    }
    Err(StoreError::Mismatch(manifest.name.to_string()).into())
}

fn about(signed: &SignedManifest) -> SharedInfo {
    let manifest = signed.manifest();
    SharedInfo {
        owner: manifest.owner,
        name: manifest.name.to_string(),
        version: manifest.version,
        manifest: signed.id().to_string(),
    }
}

fn stored(place: &Path) -> Option<SignedManifest> {
    let path = place.join(MANIFEST);
    let small = fs::metadata(&path).is_ok_and(|about| about.len() <= MAX_MANIFEST as u64);
    SignedManifest::decode(&fs::read(path).ok().filter(|_| small)?).ok()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(Error::io("reading", folder, e)),
    };
    let visible = |path: &PathBuf| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    Ok(found.filter_map(|entry| Some(entry.ok()?.path())).filter(visible).collect())
}
