//! The networks that this machine knows: for each a file with its trust anchor, and the newest header that was verified.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use sahara_light::headers::{HeaderError, LightBlock, Untrusted};
use sahara_light::{Anchor, AskError, Believed, Doubt, Light, LightError, Options, Url};
use sahara_market::slots::{self, SessionState};
use sahara_market::{Domain, INFERENCE_MARKET};
use serde_json::{Value, json};

use crate::chain_client::{Chain, Rpc, refusal};
use crate::error::{Error, Result};
use sahara::home::{Home, create_private_dir, write_atomic};

/// Longest file that is read; the anchor's own limit is checked again.
const MAX_FILE: u64 = 64 << 10;
/// Letters of a network's name here.
const MAX_NAME: usize = 50;
/// How long what was done may take to be proven.
const PATIENCE: Duration = Duration::from_secs(30);
/// Networks of one machine.
const MAX_NETWORKS: usize = 256;

/// A network.
#[derive(Clone, Debug)]
pub struct Network {
    name: String,
    anchor: Anchor,
    /// Where the newest verified header is kept.
    kept: PathBuf,
}

impl Network {
    /// The network whose anchor is in a file; what is verified of it is kept beside that.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn load(file: &Path) -> Result<Self> {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        Ok(Self { name, anchor: read(file)?, kept: file.with_extension("header") })
    }

    /// What it is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is trusted of it.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Its chain, to be asked and sent to.
    pub fn chain(&self) -> Chain {
        Chain::new(self.anchor.evm_chain, self.anchor.rpc.clone()).proven_by(self.light(Options::default()))
    }

    /// What is proven of its chain.
    pub fn light(&self, options: Options) -> Light {
        Light::open(
            self.anchor.clone(),
            Options { kept: Some(self.kept.clone()), warn: crate::progress::tell, ..options },
        )
    }

    /// Makes sure that its nodes are of the chain that is trusted: that a header which they show follows from the anchor.
    ///
    /// # Errors
    /// When none does, or none answers.
    pub fn verify(&self) -> Result<()> {
        follows(&self.name, self.light(Options::default()).refresh())
    }

    /// The state of a session, proven.
    ///
    /// # Errors
    /// When nothing is proven.
    pub fn session_state(&self, session: B256) -> Result<SessionState> {
        Ok(self.session_at(session)?.0)
    }

    /// The same, and the time of the block that it is proven of, in seconds since 1970.
    ///
    /// # Errors
    /// When nothing is proven.
    pub fn session_at(&self, session: B256) -> Result<(SessionState, u64)> {
        let (states, time) = self.sessions_at(&[session])?;
        let state = states.into_iter().next();
        Ok((state.ok_or_else(|| Error::fault("the chain's word was not shown: ask again"))?, time))
    }

    /// The states of so many sessions as one question holds, proven.
    ///
    /// # Errors
    /// When nothing is proven, or there are more.
    pub fn session_states(&self, sessions: &[B256]) -> Result<Vec<SessionState>> {
        Ok(self.sessions_at(sessions)?.0)
    }

    fn sessions_at(&self, sessions: &[B256]) -> Result<(Vec<SessionState>, u64)> {
        let wanted: Vec<_> = sessions.iter().map(|id| (INFERENCE_MARKET, slots::session(*id))).collect();
        let proven = self.light(Options::default()).words(&wanted);
        let proven = proven.map_err(|e| Error::fault(format!("nothing is proven of the chain: {e}")))?;
        Ok((proven.words.into_iter().map(|word| SessionState::read(word.into())).collect(), proven.time))
    }

    /// The state of a contract's request, proven.
    ///
    /// # Errors
    /// When nothing is proven.
    pub fn request_state(&self, request: B256) -> Result<slots::RequestState> {
        let wanted = [(INFERENCE_MARKET, slots::request(request))];
        let proven = self.light(Options::default()).words(&wanted);
        let proven = proven.map_err(|e| Error::fault(format!("nothing is proven of the chain: {e}")))?;
        Ok(slots::RequestState::read(proven.words.first().copied().unwrap_or_default().into()))
    }

    /// Waits until a session is proven to be in a state. Proofs of a block's state are under the header of the next one.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_for_session(&self, session: B256, is: fn(&SessionState) -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.session_state(session) {
                Ok(state) if is(&state) => return Ok(()),
                Ok(_) | Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(300)),
                Ok(_) => {
                    return Err(Error::unsettled(format!(
                        "the chain's node says that it is done, and nothing of it is proven after {} s: see `sahara session \
                         ls` later (session {session})",
                        PATIENCE.as_secs()
                    )));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where vouchers and receipts count.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.anchor.evm_chain, market: INFERENCE_MARKET }
    }
}

fn is_early(doubt: &Doubt) -> bool {
    matches!(doubt, Doubt::Header(HeaderError::FromTheFuture { .. }))
}

/// Whether a header follows from what is trusted. A chain that stands still is still the chain.
fn follows(name: &str, believed: std::result::Result<Believed, LightError>) -> Result<()> {
    let Err(error) = believed else { return Ok(()) };
    let away = |(_, doubt): &(Url, Doubt)| {
        let asked = matches!(doubt, Doubt::Ask(AskError::Unreachable(_) | AskError::Late(_)));
        asked || matches!(doubt, Doubt::NoTime)
    };
    match &error {
        // It was verified before its age was looked at.
        LightError::Stale { .. } => Ok(()),
        LightError::Unproven { tried, .. } if tried.iter().all(away) => Err(Error::fault(format!(
            "nothing was sent: no node of network '{name}' answers: {error}; is the network up? See `sahara devnet status` \
                 for your own, `sahara network show` for others"
        ))),
        LightError::Unproven { tried, .. } if tried.iter().any(|(_, doubt)| is_early(doubt)) => {
            Err(Error::user(format!(
                "nothing was sent: {error} Or was the time of a development chain moved? Nothing of it is believed until \
                 that time has come"
            )))
        }
        _ => Err(Error::user(format!(
            "nothing was sent: what the nodes of network '{name}' show does not follow from the header that its file trusts \
             ({error}): get the file again from somebody you trust"
        ))),
    }
}

/// Where they are.
pub fn folder(home: &Home) -> PathBuf {
    home.path().join("networks")
}

/// All of them, by name.
///
/// # Errors
/// When one of their files cannot be read.
pub fn list(home: &Home) -> Result<Vec<Network>> {
    let folder = folder(home);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("reading", &folder, e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("reading", &folder, e))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|file| Network::load(file)).collect()
}

/// The network that is named, or the only one.
///
/// # Errors
/// When there is none of that name; when none is named and there is none, or more than one.
pub fn find(home: &Home, name: Option<&str>) -> Result<Network> {
    let Some(name) = name else {
        let mut all = list(home)?;
        return match all.len() {
            1 => Ok(all.swap_remove(0)),
            0 => Err(Error::user(
                "no network is known here: add one with `sahara network add FILE`, or start `sahara devnet up`",
            )),
            _ => Err(Error::user(format!(
                "several networks are known here ({}): say which with --network NAME",
                all.iter().map(Network::name).collect::<Vec<_>>().join(", ")
            ))),
        };
    };
    let file = file(home, name)?;
    if !file.exists() {
        return Err(Error::user(format!("no network is called '{name}' here: see `sahara network ls`")));
    }
    Network::load(&file)
}

/// The network with this EIP-155 id.
///
/// # Errors
/// When none is known, or one of their files cannot be read.
pub fn of_chain(home: &Home, id: u64) -> Result<Network> {
    list(home)?.into_iter().find(|network| network.anchor.evm_chain == id).ok_or_else(|| {
        Error::user(format!("no network with the chain id {id} is known here: add it with `sahara network add FILE`"))
    })
}

/// Adds the network in a file, under a name that is free here. The same network may be added again, to ask other nodes.
///
/// # Errors
/// When the file is none, the name is none or another network's, or another header is to be trusted than before and nobody said
/// `replace`.
pub fn add(home: &Home, from: &Path, name: Option<&str>, replace: bool) -> Result<Network> {
    let anchor = read(from)?;
    let file = file(home, name.unwrap_or(&anchor.chain))?;
    if file.exists() {
        let known = Network::load(&file)?;
        if (&known.anchor.chain, known.anchor.evm_chain) != (&anchor.chain, anchor.evm_chain) {
            return Err(Error::user(format!(
                "'{}' is another network here ({}): give this one a name of its own with --name",
                known.name, known.anchor.chain
            )));
        }
        if (known.anchor.height, known.anchor.hash) != (anchor.height, anchor.hash) && !replace {
            return Err(Error::user(format!(
                "'{}' trusts the header {} at height {} and this file another: with --replace it is trusted from now on",
                known.name, known.anchor.hash, known.anchor.height
            )));
        }
    } else {
        room(home, &anchor)?;
    }
    create_private_dir(&folder(home))?;
    write_atomic(&file, anchor.to_toml().as_bytes())?;
    Network::load(&file)
}

/// Room for one more network: of another chain than all that are known, because what is signed for one chain id counts on
/// every chain that has it.
fn room(home: &Home, anchor: &Anchor) -> Result<()> {
    let known = list(home)?;
    if let Some(other) = known.iter().find(|known| known.anchor.evm_chain == anchor.evm_chain) {
        return Err(Error::user(format!(
            "'{}' has the chain id {}, too: what is signed for one would count on the other; remove it first",
            other.name, anchor.evm_chain
        )));
    }
    if known.len() >= MAX_NETWORKS {
        return Err(Error::user(format!("{MAX_NETWORKS} networks are known here: remove one first")));
    }
    Ok(())
}

/// Forgets a network; what was paid there is kept.
///
/// # Errors
/// When there is none of that name, or the files cannot be removed.
pub fn remove(home: &Home, name: &str) -> Result<()> {
    let network = find(home, Some(name))?;
    for file in [&file(home, name)?, &network.kept] {
        sahara_mpc::durable::remove(file).map_err(|e| Error::io("removing", file, e))?;
    }
    Ok(())
}

/// The trust anchor that these nodes say is theirs: nothing of it is proven, so they have to be trusted for it.
///
/// # Errors
/// When none of them answers.
pub fn anchor_of(urls: Vec<Url>, height: Option<u64>) -> Result<Anchor> {
    let rpc = Rpc::new(urls.clone());
    let at = height.map_or_else(|| "latest".to_owned(), |height| format!("{height:#x}"));
    let ask = |method: &str, params: &Value| {
        rpc.ask(method, params).map_err(|error| refusal("asking what network it is", &error))
    };
    let block: LightBlock = serde_json::from_value(ask("sahara_header", &json!([at]))?)
        .map_err(|e| Error::fault(format!("the node gives a header that is none: {e}")))?;
    let header = Untrusted::read(block).map_err(|e| Error::fault(e.to_string()))?;
    let id = ask("eth_chainId", &json!([]))?;
    let id = id.as_str().and_then(|id| u64::from_str_radix(id.trim_start_matches("0x"), 16).ok());
    let id = id.ok_or_else(|| Error::fault("the node does not say its chain's id"))?;
    Anchor::new(header.chain(), id, header.height(), header.hash(), urls).map_err(|e| Error::fault(e.to_string()))
}

fn file(home: &Home, name: &str) -> Result<PathBuf> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let good = |c: char| letter(c) || c == '.';
    if name.len() > MAX_NAME || !name.starts_with(letter) || !name.chars().all(good) {
        return Err(Error::user(format!(
            "'{}' is no name of a network: letters, digits, dashes and dots, {MAX_NAME} at most",
            name.escape_debug()
        )));
    }
    Ok(folder(home).join(format!("{name}.toml")))
}

fn read(file: &Path) -> Result<Anchor> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| Error::io("reading", file, e))?;
    opened.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| Error::io("reading", file, e))?;
    Anchor::read(&bytes).map_err(|e| Error::user(format!("{}: {e}", file.display())))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    fn anchor(chain: &str, id: u64) -> String {
        let rpc = vec!["http://127.0.0.1:8545".parse().unwrap()];
        Anchor::new(chain, id, 7, B256::repeat_byte(9), rpc).unwrap().to_toml()
    }

    #[test]
    fn money_moves_only_where_a_header_follows_from_the_anchor() {
        let url: Url = "http://127.0.0.1:1".parse().unwrap();
        let unproven = |doubts: Vec<Doubt>| {
            let tried = doubts.into_iter().map(|doubt| (url.clone(), doubt)).collect();
            follows("here", Err(LightError::Unproven { chain: "sahara".into(), tried }))
        };
        let divided = || Doubt::Divided { height: 2, found: B256::ZERO, known: B256::repeat_byte(1) };
        let away = || Doubt::Ask(AskError::Unreachable("no".into()));
        assert!(follows("here", Ok(Believed { height: 1, time: 1, hash: B256::ZERO })).is_ok());
        assert_eq!(unproven(vec![divided()]).unwrap_err().exit_code(), 2);
        assert_eq!(unproven(vec![away(), divided()]).unwrap_err().exit_code(), 2);
        assert_eq!(unproven(vec![away(), away()]).unwrap_err().exit_code(), 1);
        let early = unproven(vec![Doubt::Header(HeaderError::FromTheFuture { height: 9 })]).unwrap_err();
        assert!(early.exit_code() == 2 && early.report().contains("was the time of a development chain moved?"));
        let age = Duration::from_secs(93);
        let stale = Doubt::Stale { height: 9, age, most: age };
        let standing = LightError::Stale { chain: "sahara".into(), tried: vec![(url.clone(), stale)] };
        assert!(follows("here", Err(standing)).is_ok());
    }

    #[test]
    fn networks_come_and_go_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        let given = dir.path().join("given");
        let put = |text: &str| std::fs::write(&given, text).unwrap();
        assert!(find(&home, None).unwrap_err().report().contains("network add"));
        put(&anchor("sahara-1", 71_212));
        assert_eq!(add(&home, &given, None, false).unwrap().name(), "sahara-1");
        assert_eq!(find(&home, None).unwrap().domain().chain_id, 71_212);
        put(&anchor("sahara-2", 5));
        assert_eq!(
            add(&home, &given, Some("sahara-1"), false).unwrap_err().exit_code(),
            2,
            "the name is another network's"
        );
        add(&home, &given, Some("other"), false).unwrap();
        put(&anchor("sahara-3", 5));
        assert!(add(&home, &given, None, false).unwrap_err().report().contains("chain id 5"));
        put(&anchor("sahara-2", 5));
        assert!(find(&home, None).unwrap_err().report().contains("other, sahara-1"));
        assert_eq!(of_chain(&home, 5).unwrap().name(), "other");
        assert!(of_chain(&home, 6).is_err());
        add(&home, &given, Some("other"), false).unwrap();
        put(&anchor("sahara-2", 5).replace("height = 7", "height = 8"));
        assert!(add(&home, &given, Some("other"), false).unwrap_err().report().contains("--replace"));
        assert_eq!(add(&home, &given, Some("other"), true).unwrap().anchor().height, 8);
        remove(&home, "other").unwrap();
        assert_eq!((list(&home).unwrap().len(), remove(&home, "other").unwrap_err().exit_code()), (1, 2));
    }

    #[test]
    fn names_stay_within_the_folder_and_files_that_are_none_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        for name in ["", "../x", "a/b", ".x", "a b", &"x".repeat(51)] {
            assert_eq!(find(&home, Some(name)).unwrap_err().exit_code(), 2, "{name}");
        }
        let given = dir.path().join("given");
        std::fs::write(&given, "chain = 1").unwrap();
        assert_eq!(add(&home, &given, None, false).unwrap_err().exit_code(), 2);
        std::fs::write(&given, vec![b' '; 70 << 10]).unwrap();
        assert_eq!(add(&home, &given, None, false).unwrap_err().exit_code(), 2);
        assert_eq!(add(&home, &dir.path().join("none"), None, false).unwrap_err().exit_code(), 2);
    }
}
