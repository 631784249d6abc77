//! The models of this machine: brought in, checked, compiled once, kept in `models/<name>/`.
//!
//! A model appears in one step (`incoming`), and nothing else waits while one is fetched or compiled. Whatever fails on
//! the way leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};

use sahara_circuits::model::CompiledModel;

use super::incoming::Lock;
use super::origin::{Origin, Wanted};
use super::{Model, ModelInfo, SOURCE_FORMAT, StoreError, changed, check_name, fetch, pinned};
use crate::error::{Error, Result};
use crate::home::{Home, write_atomic};
use crate::progress::Progress;

/// The greatest noise that is added to the counts of a vote, of all three nodes together.
const VOTE_NOISE: u32 = 60_000;

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
    ///
    /// # Errors
    /// When the folder, or what is known of a model in it, cannot be read.
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
    ///
    /// # Errors
    /// When there is no such model, or what is known of it cannot be read.
    pub fn info(&self, name: &str) -> Result<ModelInfo> {
        check_name(name)?;
        let path = self.place(name).join("source.json");
        let bytes = fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => StoreError::NotHere { name: name.to_owned(), committee: None }.into(),
            _ => Error::io("reading", &path, e),
        })?;
        let damaged = |problem: String| StoreError::Damaged { path: path.clone(), problem };
        let info: ModelInfo = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("is damaged ({e})")))?;
        if info.format != SOURCE_FORMAT {
            return Err(damaged(format!("has format {}, this program reads {SOURCE_FORMAT}", info.format)).into());
        }
        Ok(info)
    }

    /// Brings a model in. Returns what is known of it and whether it was already here. Others may pull the same one at
    /// the same time: whoever is ready first is.
    ///
    /// # Errors
    /// When there is no such model to be had, it is not one that is compiled, or another one has its name.
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
        let here = || if force { Ok(None) } else { self.already(&wanted, &name) };
        let lock = self.lock(progress)?;
        if let Some(info) = here()? {
            return Ok((info, true));
        }
        let incoming = lock.incoming()?;
        drop(lock);
        let info = bring(&wanted, &name, origin, incoming.path(), progress)?;
        let lock = self.lock(progress)?;
        if let Some(info) = here()? {
            return Ok((info, true));
        }
        incoming.put(&self.place(&name), &lock)?;
        Ok((info, false))
    }

    /// Makes a model of classifiers that are here: their vote ([`CompiledModel::ensemble`]).
    ///
    /// # Errors
    /// When one of them is not here, they are not of one encoder and the same labels, or another model has the name.
    pub fn ensemble(&self, name: &str, classifiers: &[String], progress: &Progress) -> Result<ModelInfo> {
        check_name(name)?;
        let taken = || match self.info(name) {
            Ok(info) => Err(Error::from(StoreError::Taken { name: name.to_owned(), origin: info.source })),
            Err(_) => Ok(()),
        };
        taken()?;
        let members = classifiers.iter().map(|own| self.open(own, progress)).collect::<Result<Vec<_>>>()?;
        let names: Vec<&str> = members.iter().map(|member| member.info.name.as_str()).collect();
        progress.step(&format!("putting {} classifiers side by side", members.len()));
        let compiled: Vec<&CompiledModel> = members.iter().map(|member| &member.compiled).collect();
        let vote = CompiledModel::ensemble(name, &compiled, VOTE_NOISE).map_err(StoreError::Vote)?;
        let incoming = self.lock(progress)?.incoming()?;
        let into = incoming.path().join("compiled");
        vote.save(&into).map_err(|source| StoreError::Save { path: into.clone(), source })?;
        let source = format!("the vote of {}", names.join(", "));
        let info = ModelInfo { format: SOURCE_FORMAT, name: name.to_owned(), source, files: Vec::new() };
        let json = serde_json::to_vec_pretty(&info).map_err(|e| Error::engine("encoding source.json", e))?;
        write_atomic(&incoming.path().join("source.json"), &json)?;
        let lock = self.lock(progress)?;
        taken()?;
        incoming.put(&self.place(name), &lock)?;
        Ok(info)
    }

    /// The model that is here under this name, if it is the one that is wanted.
    fn already(&self, wanted: &Wanted, name: &str) -> Result<Option<ModelInfo>> {
        if !self.place(name).join("source.json").exists() {
            return Ok(None);
        }
        let info = self.info(name)?;
        if pinned::pinned(name).is_some() || wanted.came_from(&info.source)? {
            return Ok(Some(info));
        }
        Err(StoreError::Taken { name: name.to_owned(), origin: info.source }.into())
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
            return Err(StoreError::NotHere { name: name.to_owned(), committee: None }.into());
        }
        let bytes = self.lock(progress)?.remove(&place)?;
        Ok((name.to_owned(), bytes))
    }

    /// Opens a model for use; compiles it again when an older program compiled it.
    ///
    /// # Errors
    /// When there is no such model, or it cannot be compiled again.
    pub fn open(&self, name: &str, progress: &Progress) -> Result<Model> {
        let name = pinned::pinned(name).map_or(name, |model| model.name);
        loop {
            let info = self.info(name)?;
            let folder = self.place(name);
            let compiled = match CompiledModel::load(&folder.join("compiled")) {
                Ok(compiled) => Some(compiled),
                Err(why) => {
                    progress.note(&format!("compiling {name} again ({why})"));
                    self.compile_again(&info, &folder, progress)?
                }
            };
            if let Some(compiled) = compiled {
                return Ok(Model { info, folder, compiled, shared: None });
            }
        }
    }

    /// Compiles a model where it is; none if another one has taken its place meanwhile.
    fn compile_again(&self, info: &ModelInfo, folder: &Path, progress: &Progress) -> Result<Option<CompiledModel>> {
        let same = || self.info(&info.name).map(|now| now == *info);
        info.check_files()?;
        let lock = self.lock(progress)?;
        if !same()? {
            return Ok(None);
        }
        if let Some(known) = pinned::pinned(&info.name) {
            // An older program left them out.
            fetch::write_settings(known, folder)?;
        }
        let incoming = lock.incoming()?;
        drop(lock);
        let compiled =
            changed::check(info, folder).and_then(|()| compile(folder, &info.name, incoming.path(), progress));
        let lock = self.lock(progress)?;
        if !same()? {
            return Ok(None);
        }
        let compiled = compiled?;
        incoming.put(&folder.join("compiled"), &lock)?;
        Ok(Some(compiled))
    }

    /// Opens a model; pulls it first when it is a known one and not here yet.
    ///
    /// # Errors
    /// As [`Store::pull`] and [`Store::open`].
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
    fn lock(&self, progress: &Progress) -> Result<Lock> {
        Lock::wait(&self.folder, progress)
    }
}

/// Brings the files of a model into a folder, checks and compiles them there.
fn bring(wanted: &Wanted, name: &str, origin: Origin, into: &Path, progress: &Progress) -> Result<ModelInfo> {
    let (source, mut files) = wanted.fetch(origin, into, progress)?;
    let known = match wanted {
        Wanted::Pinned(known) => Some(*known),
        _ => pinned::pinned(name),
    };
    if let Some(known) = known {
        fetch::check_pins(&files, &known.files)?;
        let settings = fetch::write_settings(known, into)?;
        files.retain(|file| settings.iter().all(|written| written.name != file.name));
        files.extend(settings);
    }
    compile(into, name, &into.join("compiled"), progress)?;
    let info = ModelInfo { format: SOURCE_FORMAT, name: name.to_owned(), source, files };
    let json = serde_json::to_vec_pretty(&info).map_err(|e| Error::engine("encoding source.json", e))?;
    write_atomic(&into.join("source.json"), &json)?;
    Ok(info)
}

fn compile(folder: &Path, name: &str, into: &Path, progress: &Progress) -> Result<CompiledModel> {
    progress.step(&format!("compiling {name} to its integer graph"));
    let compiled =
        CompiledModel::compile(folder, name, &mut |what| progress.step(&format!("compiling {name}: {what}")))
            .map_err(|source| StoreError::Unusable { what: format!("model '{name}'"), source })?;
    compiled.save(into).map_err(|source| StoreError::Save { path: into.to_owned(), source })?;
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULT_MODEL;
    use super::*;
    use crate::error::ErrorKind;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { folder: dir.path().join("models") };
        (dir, store)
    }

    #[test]
    fn an_unknown_model_is_refused_with_the_known_ones() {
        let (_dir, store) = store();
        let error = store.pull("no-such-model", None, Origin::Any, false, &Progress::silent()).unwrap_err();
        assert!(error.to_string().contains(DEFAULT_MODEL), "{error}");
        assert!(!store.folder.exists());
    }

    #[test]
    fn a_model_that_is_not_here_says_how_to_get_it() {
        let (_dir, store) = store();
        let error = store.open(DEFAULT_MODEL, &Progress::silent()).err().unwrap();
        assert!(matches!(&error, Error::Store(StoreError::NotHere { name, .. }) if name == DEFAULT_MODEL), "{error}");
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
            assert_eq!(store.remove(name, &Progress::silent()).unwrap_err().kind(), ErrorKind::Input, "{name}");
        }
        assert!(dir.path().join("other").exists());
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
        let Error::Store(StoreError::Taken { name, origin }) = error else { panic!("{error}") };
        assert_eq!((name.as_str(), origin), ("mine", fs::canonicalize(&one).unwrap().display().to_string()));
        assert_eq!(pull(&two, true).unwrap().0.source, fs::canonicalize(&two).unwrap().display().to_string());
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
        assert_eq!(error.kind(), ErrorKind::Input, "{error}");
        let left: Vec<_> = fs::read_dir(&store.folder).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, [".lock"]);
        assert!(store.list().unwrap().is_empty());
    }

    #[test]
    fn a_model_that_is_compiled_again_holds_nobody_up_and_takes_no_others_place() {
        use std::io::Write;
        let (dir, store) = store();
        let quiet = Progress::silent();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name).display().to_string());
        for (folder, seed) in [(&one, 1), (&two, 2)] {
            sahara_circuits::testmodel::TestModel::default().write(Path::new(folder), seed).unwrap();
        }
        store.pull(&one, Some("mine"), Origin::Any, false, &quiet).unwrap();
        let (first, second) = (store.open("mine", &quiet).unwrap(), Path::new(&two).join("config.json"));
        fs::remove_dir_all(store.place("mine").join("compiled")).unwrap();
        // Whoever compiles it stands at this file until somebody writes there.
        let config = store.place("mine").join("config.json");
        fs::remove_file(&config).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&config).status().unwrap().success());
        let (told, others) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| store.open("mine", &quiet).unwrap());
            let mut pipe = fs::File::options().write(true).open(&config).unwrap();
            // It reads: all of this goes on meanwhile, and the place is another model's in the end.
            scope.spawn(|| {
                store.pull(&two, Some("other"), Origin::Any, false, &quiet).unwrap();
                store.remove("other", &quiet).unwrap();
                store.pull(&two, Some("mine"), Origin::Any, true, &quiet).unwrap();
                told.send(()).unwrap();
            });
            let went_on = others.recv_timeout(std::time::Duration::from_secs(60));
            pipe.write_all(&fs::read(&second).unwrap()).unwrap();
            drop(pipe);
            let opened = opening.join().unwrap();
            assert!(went_on.is_ok(), "others had to wait");
            assert_eq!(opened.info.source, fs::canonicalize(&two).unwrap().display().to_string());
            assert!(opened.compiled.weights.to_bytes() != first.compiled.weights.to_bytes());
        });
        fs::remove_dir_all(store.place("mine").join("compiled")).unwrap();
        store.open("mine", &quiet).unwrap();
        assert!(store.place("mine").join("compiled").is_dir());
        let left: Vec<_> = fs::read_dir(&store.folder).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(left.len() == 2 && left.contains(&"mine".into()), "{left:?}");
    }
}
