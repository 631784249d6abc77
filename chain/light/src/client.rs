//! The shell: several nodes, of which none is trusted, are asked until one proves what it says.

use std::{
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    anchor::Anchor,
    ask::{AskError, Node},
    headers::{Climb, HeaderError, LightBlock, Next, Rules, Untrusted, Verified},
    keep,
    state::{self, MAX_WORDS, ProofError, StateProof},
    url::Url,
};

/// How often the newest header is kept.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// How far things may go.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a header is a ground to believe others: shorter than stake is bound after it leaves (21 days as a chain
    /// begins).
    pub trusting_period: Duration,
    /// How far this machine's clock may be behind that of whoever makes blocks.
    pub clock_drift: Duration,
    /// Nothing is proven from a header older than this: then the chain stands still, or is kept from this machine.
    pub max_header_age: Duration,
    /// How long one node has for one answer.
    pub patience: Duration,
    /// How long one question may take with all nodes together.
    pub patience_for_all: Duration,
    /// A file for the newest header, to begin with next time.
    pub kept: Option<PathBuf>,
    /// What time it is, since 1970.
    pub clock: fn() -> Duration,
    /// Is told once when the newest header cannot be kept: nothing fails for it now, but whoever starts again after the trusting
    /// period is over needs a new anchor.
    pub warn: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trusting_period: Duration::from_secs(14 * 24 * 3600),
            clock_drift: Duration::from_secs(10),
            max_header_age: Duration::from_secs(60),
            patience: Duration::from_secs(10),
            patience_for_all: Duration::from_secs(30),
            kept: None,
            clock: now,
            warn: |_| (),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell is where time comes from")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Words of the state after one block, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The block.
    pub height: u64,
    /// When the block after it was made, whose header commits to that state: seconds since 1970.
    pub time: u64,
    /// The words, in the order of the question.
    pub words: Vec<B256>,
}

/// An account after one block, proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenAccount {
    /// The block.
    pub height: u64,
    /// Transactions that it sent: the next one's number.
    pub nonce: u64,
    /// What it has, in the smallest unit.
    pub balance: U256,
}

/// A header that is believed, in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Believed {
    /// Its height.
    pub height: u64,
    /// When it was made: seconds since 1970.
    pub time: u64,
    /// Its hash.
    pub hash: B256,
}

impl From<&Verified> for Believed {
    fn from(header: &Verified) -> Self {
        Self { height: header.height(), time: header.time().as_secs(), hash: header.hash() }
    }
}

/// Why one node's answer does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// There is no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Its header is not believed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// What it says is not proven.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Its newest header is too old.
    #[error("its newest header, at height {height}, is {} s old, more than {} s", .age.as_secs(), .most.as_secs())]
    Stale {
        /// The height of that header.
        height: u64,
        /// How old it is.
        age: Duration,
        /// How old it may be.
        most: Duration,
    },
    /// It is behind others.
    #[error("it is at height {found}, and {known} is verified already")]
    Behind {
        /// Where it is.
        found: u64,
        /// Where the chain is.
        known: u64,
    },
    /// Two headers at one height.
    #[error(
        "its header at height {height} is {found}, and {known} is verified already: the chain went back or was divided"
    )]
    Divided {
        /// The height.
        height: u64,
        /// Its header.
        found: B256,
        /// The other.
        known: B256,
    },
    /// The others took all the time.
    #[error("it was not asked: the others took all the time there was")]
    NoTime,
}

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LightError {
    /// The chain stands still, or is kept from this machine.
    #[error(
        "the newest header of {chain} is too old: the chain stands still, or this machine is kept from it; {}",
        told(.tried)
    )]
    Stale {
        /// The chain.
        chain: String,
        /// The nodes, with what is wrong with the answer of each.
        tried: Vec<(Url, Doubt)>,
    },
    /// No node gave an answer that counts.
    #[error("no node of {chain} proves what it says: {}", told(.tried))]
    Unproven {
        /// The chain.
        chain: String,
        /// The nodes, with what is wrong with the answer of each.
        tried: Vec<(Url, Doubt)>,
    },
    /// Too much at once.
    #[error("{0} words in one question, at most {MAX_WORDS} are proven: ask for fewer")]
    TooManyWords(usize),
}

fn told(tried: &[(Url, Doubt)]) -> String {
    tried.iter().map(|(url, doubt)| format!("{url}: {doubt}")).collect::<Vec<_>>().join("; ")
}

/// What is believed of one chain. It may be shared by threads.
pub struct Light {
    anchor: Anchor,
    options: Options,
    rules: Rules,
    nodes: Vec<Node>,
    /// The node that is asked first: the last one that proved something.
    first: AtomicUsize,
    newest: Mutex<Newest>,
}

#[derive(Default)]
struct Newest {
    header: Option<Verified>,
    kept: Duration,
    warned: bool,
}

impl Light {
    /// Believes `anchor`, and asks nobody yet.
    pub fn open(anchor: Anchor, options: Options) -> Self {
        let rules = Rules {
            chain: anchor.chain.clone(),
            trusting_period: options.trusting_period,
            clock_drift: options.clock_drift,
        };
        let nodes = anchor.rpc.iter().map(|url| Node::new(url.clone(), options.patience)).collect();
        let header = options.kept.as_deref().and_then(|path| keep::load(path, &anchor, &rules));
        let newest = Newest { header, kept: Duration::ZERO, warned: false };
        Self { anchor, options, rules, nodes, first: AtomicUsize::new(0), newest: Mutex::new(newest) }
    }

    /// The anchor.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The newest header that was verified, if one was: nobody is asked.
    pub fn header(&self) -> Option<Believed> {
        self.newest().header.as_ref().map(Believed::from)
    }

    /// Storage words, each of an account, all in the state after one block and not older than the options say. A word
    /// that is proven not to be there is zero.
    ///
    /// # Errors
    /// When no node proves them, or the newest header is too old.
    pub fn words(&self, wanted: &[(Address, B256)]) -> Result<Proven, LightError> {
        if wanted.len() > MAX_WORDS {
            return Err(LightError::TooManyWords(wanted.len()));
        }
        let params = question(wanted);
        self.first_of_all(|node, until| {
            let proof: StateProof = node.ask("sahara_proof", &params)?;
            let header = self.believe(node, proof.header.clone(), until)?;
            let words = state::prove(header.app_hash(), &proof, wanted)?;
            Ok(Proven { height: header.height().saturating_sub(1), time: header.time().as_secs(), words })
        })
    }

    /// What an account has and how many transactions it sent, in a state not older than the options say. One that is proven not
    /// to be there has nothing and sent none.
    ///
    /// # Errors
    /// When no node proves it, or the newest header is too old.
    pub fn account(&self, address: Address) -> Result<ProvenAccount, LightError> {
        let params = json!([{ format!("{address:#x}"): [] }]);
        self.first_of_all(|node, until| {
            let proof: StateProof = node.ask("sahara_proof", &params)?;
            let header = self.believe(node, proof.header.clone(), until)?;
            let fields = state::prove_account(header.app_hash(), &proof, address)?.unwrap_or_default();
            let nonce = u64::try_from(fields.nonce).unwrap_or(u64::MAX);
            Ok(ProvenAccount { height: header.height().saturating_sub(1), nonce, balance: fields.balance })
        })
    }

    /// Verifies the chain's newest header.
    ///
    /// # Errors
    /// When no node has one that is believed and new enough.
    pub fn refresh(&self) -> Result<Believed, LightError> {
        self.first_of_all(|node, until| {
            let block = node.ask("sahara_header", &json!(["latest"]))?;
            Ok(Believed::from(&self.believe(node, block, until)?))
        })
    }

    /// What a contract answers (`eth_call`). **Nothing of it is proven**: for what can be checked by its hash, or is of no
    /// consequence.
    ///
    /// # Errors
    /// When no node answers.
    pub fn call(&self, to: Address, data: &[u8]) -> Result<Bytes, LightError> {
        let data = Bytes::copy_from_slice(data);
        self.rpc("eth_call", &json!([{ "to": to, "input": data }, "latest"]))
    }

    /// The first answer to a JSON-RPC question. **Nothing of it is proven.**
    ///
    /// # Errors
    /// When no node answers.
    pub fn rpc<T: DeserializeOwned>(&self, method: &str, params: &Value) -> Result<T, LightError> {
        self.first_of_all(|node, _| Ok(node.ask(method, params)?))
    }

    /// Asks one node after the other, until one gives what counts. Each has its share of the time, whatever it does with it;
    /// the next question begins with one that did not fail this time.
    fn first_of_all<T>(&self, ask: impl Fn(&Node, Duration) -> Result<T, Doubt>) -> Result<T, LightError> {
        let first = self.first.load(Ordering::Relaxed);
        let all = self.options.patience_for_all;
        let until = (self.options.clock)().saturating_add(all);
        let share = all.checked_div(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).unwrap_or(all);
        let share = share.max(self.options.patience);
        let mut asked = 0;
        let mut tried = Vec::new();
        for turn in 0..self.nodes.len() {
            let place = (first + turn) % self.nodes.len();
            let Some(node) = self.nodes.get(place) else { continue };
            let now = (self.options.clock)();
            let mut answer = Err(Doubt::NoTime);
            if now < until || turn == 0 {
                let until = until.min(now.saturating_add(share));
                asked = turn + 1;
                answer = ask(node, until);
                // Another thread verified the next header meanwhile: by now the node has it, too.
                if matches!(answer, Err(Doubt::Behind { .. })) && (self.options.clock)() < until {
                    answer = ask(node, until);
                }
            }
            match answer {
                Ok(answer) => {
                    self.first.store(place, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(doubt) => tried.push((node.url().clone(), doubt)),
            }
        }
        self.first.store((first + asked) % self.nodes.len().max(1), Ordering::Relaxed);
        let chain = self.anchor.chain.clone();
        match tried.iter().any(|(_, doubt)| matches!(doubt, Doubt::Stale { .. })) {
            true => Err(LightError::Stale { chain, tried }),
            false => Err(LightError::Unproven { chain, tried }),
        }
    }

    /// The header in `block`, if it is believed and new enough. `node` is asked for those on the way to it.
    fn believe(&self, node: &Node, block: LightBlock, until: Duration) -> Result<Verified, Doubt> {
        let offered = Untrusted::read(block)?;
        let from = self.ground(node)?;
        let (found, known) = (offered.height(), from.height());
        let header = match found.cmp(&known) {
            std::cmp::Ordering::Less => return Err(Doubt::Behind { found, known }),
            std::cmp::Ordering::Equal if offered.hash() == from.hash() => from,
            std::cmp::Ordering::Equal => {
                return Err(Doubt::Divided { height: found, found: offered.hash(), known: from.hash() });
            }
            std::cmp::Ordering::Greater => self.climb(node, from, offered, until)?,
        };
        let age = (self.options.clock)().saturating_sub(header.time());
        if age > self.options.max_header_age {
            return Err(Doubt::Stale { height: header.height(), age, most: self.options.max_header_age });
        }
        Ok(header)
    }

    /// What the way begins with: the newest verified header, or the anchor's.
    fn ground(&self, node: &Node) -> Result<Verified, Doubt> {
        if let Some(header) = &self.newest().header {
            return Ok(header.clone());
        }
        let (height, hash) = (self.anchor.height, self.anchor.hash);
        let header = Verified::trusting(&self.rules, fetch(node, height)?, height, hash)?;
        self.advance(&header);
        Ok(header)
    }

    fn climb(&self, node: &Node, from: Verified, target: Untrusted, until: Duration) -> Result<Verified, Doubt> {
        let mut climb = Climb::new(self.rules.clone(), from, target);
        let outcome = self.climb_on(node, &mut climb, until);
        // As far as it went: the next one begins there.
        self.advance(climb.reached());
        outcome
    }

    fn climb_on(&self, node: &Node, climb: &mut Climb, until: Duration) -> Result<Verified, Doubt> {
        loop {
            match climb.go((self.options.clock)())? {
                Next::Done(header) => return Ok(*header),
                Next::Ask(_) if (self.options.clock)() >= until => return Err(Doubt::NoTime),
                Next::Ask(height) => climb.take(fetch(node, height)?)?,
            }
        }
    }

    /// What is verified is the newest, unless a newer one is.
    fn advance(&self, header: &Verified) {
        let mut newest = self.newest();
        if newest.header.as_ref().is_some_and(|known| known.height() >= header.height()) {
            return;
        }
        newest.header = Some(header.clone());
        let now = (self.options.clock)();
        if let Some(path) = &self.options.kept
            && header.height() > self.anchor.height
            && now.saturating_sub(newest.kept) >= KEEP_EVERY
        {
            // Without the file the next start takes a longer way: no reason to fail now.
            if let Err(error) = keep::store(path, &self.anchor, &self.rules, header)
                && !std::mem::replace(&mut newest.warned, true)
            {
                (self.options.warn)(&format!(
                    "the newest verified header cannot be kept in {}: {error}",
                    path.display()
                ));
            }
            newest.kept = now;
        }
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fetch(node: &Node, height: u64) -> Result<Untrusted, Doubt> {
    let block: LightBlock = node.ask("sahara_header", &json!([format!("{height:#x}")]))?;
    Ok(Untrusted::read(block)?)
}

/// The parameters of `sahara_proof`: slots by account.
fn question(wanted: &[(Address, B256)]) -> Value {
    let mut accounts = Map::new();
    for (address, slot) in wanted {
        let slots = accounts.entry(format!("{address:#x}")).or_insert_with(|| json!([]));
        if let Value::Array(slots) = slots
            && !slots.contains(&json!(slot))
        {
            slots.push(json!(slot));
        }
    }
    json!([accounts])
}

#[cfg(test)]
mod tests;
