//! Why a model is not brought in, opened or used.

use std::io;
use std::path::PathBuf;

use sahara_circuits::hf::CompileError;
use sahara_circuits::model::ModelError;
use sahara_mpc::client::SharingRef;

use crate::error::ErrorKind;

/// Why a model of this machine, or the client part of somebody else's, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A name that no model may have.
    #[error("'{}' is no model name: letters, digits, '.', '_' and '-', at most 64", .0.escape_debug())]
    Name(String),
    /// A folder's name is none for a model, and no other was given.
    #[error("the folder's name '{}' is no model name", .0.escape_debug())]
    FolderName(String),
    /// There is no model of this name.
    #[error("no model named '{name}' here")]
    NotHere {
        /// The name.
        name: String,
        /// The committee file that was named to ask it on.
        committee: Option<PathBuf>,
    },
    /// There is nothing of this model of somebody else's.
    #[error("nothing is here of {0}")]
    NothingOf(SharingRef),
    /// The weights of somebody else's model are not here.
    #[error("there are no weights of {0} here: only the share nodes can compute it")]
    NoWeights(SharingRef),
    /// Several owners share a model of this name.
    #[error("several owners share a model named '{0}' with you")]
    Ambiguous(String),
    /// What should be OWNER/NAME is not.
    #[error("{why}")]
    NotOwned {
        /// What was given.
        name: String,
        /// Why it is not.
        why: String,
    },
    /// A model's name is none that it can be shared under.
    #[error("{why}")]
    Unshareable {
        /// The name.
        name: String,
        /// Why it is not.
        why: String,
    },
    /// Another model has the name already.
    #[error("another model is here as '{name}', from {origin}")]
    Taken {
        /// The name.
        name: String,
        /// Where the other one came from.
        origin: String,
    },
    /// Classifiers that do not vote together.
    #[error("these classifiers cannot vote together: {0}")]
    Vote(#[source] sahara_circuits::votes::VoteError),
    /// A model that was made here of others has no files of its own: no float model, nothing to compile again.
    #[error("'{name}' was made here ({origin}), and has no files of its own")]
    NoFiles {
        /// The model.
        name: String,
        /// Of what it was made.
        origin: String,
    },
    /// Files of a model are not those that were brought in.
    #[error("{} in {} changed since '{name}' was pulled", files.join(", "), folder.display())]
    Changed {
        /// The model.
        name: String,
        /// Its files that changed.
        files: Vec<String>,
        /// Its folder.
        folder: PathBuf,
        /// Where it came from.
        origin: String,
    },
    /// What is known of a model cannot be read.
    #[error("{} {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no folder where one was named.
    #[error("no model folder at {}: give the folder that holds config.json", .0.display())]
    NoFolder(PathBuf),
    /// A model is not one that is compiled.
    #[error("{what} cannot be used: {source}")]
    Unusable {
        /// The model.
        what: String,
        /// Why.
        source: CompileError,
    },
    /// A file is larger than any that is read.
    #[error("{} is larger than {limit} bytes: not a model this program reads", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes that it may have.
        limit: u64,
    },
    /// A file of a model known by name is not the one that is known.
    #[error(
        "{file} is not the pinned file (SHA-256 {found} instead of {pinned}): it was changed or damaged on the way"
    )]
    NotPinned {
        /// The file.
        file: String,
        /// Its digest, hexadecimal.
        found: String,
        /// The digest that is known.
        pinned: &'static str,
    },
    /// A file of a model known by name is not there.
    #[error("{0} is missing from the download")]
    Lacks(&'static str),
    /// A compiled model cannot be written.
    #[error("writing the compiled model to {}: {source}", path.display())]
    Save {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: ModelError,
    },
    /// A client part cannot be unpacked.
    #[error("this client part cannot be used: {0}; its owner has to share the model again")]
    ClientPart(String),
    /// What was unpacked of a client part cannot be opened.
    #[error("opening the client part of {name}: {source}")]
    Unopened {
        /// The model.
        name: String,
        /// Why.
        source: ModelError,
    },
    /// A client part is not that of its manifest.
    #[error("the client part of {0} does not fit its manifest: its owner has to share it again")]
    Mismatch(String),
}

impl StoreError {
    /// Who can put it right.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Save { .. } => ErrorKind::Fault,
            _ => ErrorKind::Input,
        }
    }
}

/// Why a model is not downloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// Nothing is known by this name.
    #[error("unknown model '{name}': {}; or give a model folder, or owner/name of the Hugging Face hub", listed(.known))]
    Unknown {
        /// The name.
        name: String,
        /// The models that are known by name.
        known: Vec<&'static str>,
    },
    /// No package is known that carries a model of this name.
    #[error("no package is known for '{name}': {}", listed(.known))]
    NoPackage {
        /// The name.
        name: String,
        /// The models that are known by name.
        known: Vec<&'static str>,
    },
    /// What looks like a folder is none.
    #[error("no model folder at '{0}': give a folder with config.json, or owner/name of the hub")]
    NoFolder(String),
    /// The SDK was built without its feature `hub`.
    #[error("this program downloads no models: give a folder with config.json")]
    Disabled,
    /// `HF_ENDPOINT` is no address.
    #[error("HF_ENDPOINT is {0:?}: give an address that begins with https://, or leave it out")]
    Endpoint(String),
    /// The hub is not reached.
    #[error("{doing}: {why}")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// Why not.
        why: String,
    },
    /// The hub has something else to do, or a fault.
    #[error("{doing}: the hub answered {status}")]
    Status {
        /// What was being done.
        doing: String,
        /// Its answer.
        status: String,
    },
    /// A download broke off.
    #[error("{doing}: {source}: try again")]
    BrokenOff {
        /// What was being done.
        doing: String,
        /// Why.
        source: io::Error,
    },
    /// What answers is no hub.
    #[error("{doing}: {why}: is HF_ENDPOINT a hub?")]
    NoHub {
        /// What was being done.
        doing: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The hub shows no such repository.
    #[error("the Hugging Face hub shows no {0}: check the name; for a private or gated one set HF_TOKEN")]
    NoRepository(String),
    /// A repository has no such file.
    #[error("{id} on the Hugging Face hub has no {file}")]
    NoFile {
        /// The repository.
        id: String,
        /// The file.
        file: String,
    },
    /// A repository has no weights in a form that is read.
    #[error(
        "{id} has no {file}: download it to a folder, convert its pytorch_model.bin there, and pull the folder ({convert})"
    )]
    NoWeights {
        /// The repository.
        id: String,
        /// The file that is missing.
        file: String,
        /// What converts the other form.
        convert: &'static str,
    },
    /// A repository has more files of settings than any model.
    #[error("{id} cannot be used: it has {files} files of settings, more than {most}")]
    TooMany {
        /// The repository.
        id: String,
        /// How many.
        files: usize,
        /// Most that a model may have.
        most: usize,
    },
    /// A file is larger than the model's settings let it be.
    #[error("{id} cannot be used: {file} is larger than {limit} bytes: {why}")]
    TooLarge {
        /// The repository.
        id: String,
        /// The file.
        file: String,
        /// Most bytes that it may have.
        limit: u64,
        /// What says so.
        why: &'static str,
    },
    /// There is no pip.
    #[error("downloading {requirement} needs Python with pip: install python3")]
    NoPip {
        /// The package and its version.
        requirement: String,
    },
    /// pip fails.
    #[error("downloading {requirement} with pip failed ({said})")]
    Pip {
        /// The package and its version.
        requirement: String,
        /// The last line that it said.
        said: String,
    },
    /// pip has left nothing.
    #[error("pip reported success but left no wheel")]
    NoWheel,
    /// A package is damaged.
    #[error("{} is not a readable package ({problem})", path.display())]
    Package {
        /// The package.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A package has no such file.
    #[error("the package has no {file} ({problem})")]
    PackageLacks {
        /// The file.
        file: String,
        /// What its reader says.
        problem: String,
    },
}

impl DownloadError {
    /// Who can put it right.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Status { .. } | Self::BrokenOff { .. } => ErrorKind::Unreachable,
            Self::NoHub { .. } | Self::NoWheel => ErrorKind::Fault,
            _ => ErrorKind::Input,
        }
    }
}

fn listed(names: &[&str]) -> String {
    format!("known by name: {}", names.join(", "))
}
