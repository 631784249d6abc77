//! The engine that pays: a model that is an asset on a chain, asked at the committees of the sessions of this home. The
//! first committee answers; when it fails, the next one of the session stands by and goes on from there.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::B256;
use sahara::embedding::{Engine, ModelEngine, Privacy, Query, Sink, Stop};
use sahara::error::{ErrorKind, NetworkError};
use sahara::home::{Home, write_atomic};
use sahara::models::{Model, SharedStore};
use sahara::network::{ClientError, Committee, NetworkEngine, NetworkOptions, Purse, SharingRef};
use sahara::progress::Progress;
use sahara_market::abi::Operators;
use sahara_market::{Domain, OPERATORS};
use sahara_mpc::client::Member;
use sahara_mpc::identity::PublicKey;
use sahara_mpc::wire::ManifestId;

use super::account::Account;
use super::allowance::{calls_in_all, limits_of};
use super::bill::{Bill, Deal, keys};
use super::content::is_registered;
use super::network;
use super::operators::Accepted;
use super::places;
use super::purse::{not_accepted, short};
use crate::error::{Error, Result};
use crate::moment::now;

/// Tells the person that another committee goes on.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// A model that is paid for.
pub struct PaidEngine {
    home: Home,
    /// What is asked, as [`accounts`] takes it.
    name: String,
    domain: Domain,
    model: Arc<Model>,
    lanes: Vec<Lane>,
    /// The lane that is asked.
    current: AtomicUsize,
    tell: Tell,
}

/// How a committee is asked for the first time: the model without its weights, and the engine.
type Opening = Box<dyn Fn() -> sahara::Result<(Arc<Model>, Arc<NetworkEngine>)> + Send + Sync>;

/// A committee of a session.
struct Lane {
    label: String,
    open: Opening,
    engine: Mutex<Option<Arc<NetworkEngine>>>,
}

/// The sessions of this home that pay for what is called so: an asset's id, or the name that its licence was given.
///
/// # Errors
/// When a session cannot be read.
pub fn accounts(home: &Home, model: &str) -> Result<Vec<Account>> {
    let asset = model.strip_prefix("0x").and_then(|text| text.parse::<B256>().ok());
    let pays = |account: &Account| match asset {
        Some(asset) => account.session().is_some_and(|session| session.asset == asset),
        None => account.name().as_deref() == Some(model),
    };
    Ok(Account::list(home)?.into_iter().filter(pays).collect())
}

impl PaidEngine {
    /// Opens a model at the first committee of these sessions that answers.
    ///
    /// # Errors
    /// When none does: what the last one says.
    pub fn connect(
        home: &Home,
        name: &str,
        accounts: &[Account],
        options: &NetworkOptions,
        purse: &Arc<dyn Purse>,
        tell: Tell,
        progress: &Progress,
    ) -> sahara::Result<Self> {
        let nothing = || own(Error::user("no session of this home pays for it"));
        let first = accounts.first().ok_or_else(nothing)?;
        let (domain, asset) = (first.domain(), first.session().map(|session| session.asset));
        let mut lanes: Vec<Lane> = Vec::new();
        let mut known: Vec<B256> = Vec::new();
        // One chain's, which receipts are named by, and one asset's, whatever else has its name.
        let same =
            |account: &&Account| account.domain() == domain && account.session().map(|session| session.asset) == asset;
        let accepted = Accepted::load(home).map_err(own)?;
        let mut left_out = Vec::new();
        for account in accounts.iter().filter(same) {
            for deal in &account.deals {
                if known.contains(&deal.lane) {
                    continue;
                }
                known.push(deal.lane);
                // Who reads the questions was agreed to by name, or nobody asks there: also not to stand by.
                if !accepted.has(deal.committee()) {
                    left_out.push(not_accepted(deal));
                    continue;
                }
                lanes.push(lane(home, account, deal, options, purse, progress));
            }
        }
        let mut last = nothing();
        match left_out.pop() {
            Some(why) if lanes.is_empty() => {
                let doing = format!("asking {name}");
                last = NetworkError::Unpaid { doing, source: ClientError::Unpaid(why) }.into();
            }
            why => left_out.iter().chain(&why).for_each(|why| tell(why)),
        }
        for (index, lane) in lanes.iter().enumerate() {
            match (lane.open)() {
                Ok((model, engine)) => {
                    *lane.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine);
                    let (home, name) = (home.clone(), name.to_owned());
                    return Ok(Self { home, name, domain, model, lanes, current: AtomicUsize::new(index), tell });
                }
                Err(error) if lanes.len() > 1 => {
                    let why = sahara::error::one_line(&error.to_string());
                    tell(&format!("committee {} does not answer ({why})", lane.label));
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The model, without its weights.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The id of a receipt that this engine was given.
    pub fn receipt_id(&self) -> impl Fn(&[u8]) -> Option<String> + Send + Sync + use<> {
        let domain = self.domain;
        move |receipt| Some(Bill::decode(&domain, receipt).ok()?.digest(&domain).to_string())
    }

    /// Makes sure that all of so many texts can be paid for before one is: what was paid for a part of them would be lost.
    fn room(&self, texts: usize) -> sahara::Result<()> {
        let accounts = accounts(&self.home, &self.name).map_err(own)?;
        let all = Account::list(&self.home).map_err(own)?;
        let calls = calls_in_all(&all, &accounts, now()).map_err(own)?;
        if calls >= texts as u128 {
            return Ok(());
        }
        let doing = if texts == 1 { "answering a text".to_owned() } else { format!("answering {texts} texts") };
        let limits = limits_of(&all, &accounts, now()).map_err(own)?;
        let why = format!(
            "your sessions pay for {calls} {}; {}",
            if calls == 1 { "call" } else { "calls" },
            limits.join("; ")
        );
        Err(NetworkError::Unpaid { doing, source: ClientError::Unpaid(why) }.into())
    }

    fn engine(&self, index: usize) -> sahara::Result<Arc<NetworkEngine>> {
        let lane = &self.lanes[index];
        let mut engine = lane.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let (_, opened) = (lane.open)()?;
        Ok(engine.insert(opened).clone())
    }
}

impl ModelEngine for PaidEngine {
    fn model(&self) -> &Model {
        &self.model
    }

    fn cost(&self) -> sahara::Result<Option<Privacy>> {
        self.engine(self.current.load(Ordering::Relaxed) % self.lanes.len())?.privacy()
    }

    fn compute_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> sahara::Result<()> {
        self.room(queries.len())?;
        let mut done = 0;
        let mut failed = 0;
        loop {
            let index = self.current.load(Ordering::Relaxed) % self.lanes.len();
            let first = done;
            let answered = self.engine(index).and_then(|engine| {
                engine.answer_until(&queries[first..], stop, &mut |mut answer| {
                    answer.index += first;
                    sink(answer)?;
                    done += 1;
                    Ok(())
                })
            });
            let error = match answered {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if done > first {
                failed = 0;
            }
            failed += 1;
            if failed >= self.lanes.len() || !another_may_do(error.kind()) {
                return Err(error);
            }
            let next = (index + 1) % self.lanes.len();
            // Whoever failed at the same time moves it once.
            let _ = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
            let why = sahara::error::one_line(&error.to_string());
            (self.tell)(&format!(
                "committee {} fails ({why}); committee {} goes on",
                self.lanes[index].label, self.lanes[next].label
            ));
        }
    }

    fn ready(&self) -> sahara::Result<()> {
        let index = self.current.load(Ordering::Relaxed) % self.lanes.len();
        self.engine(index)?.health()
    }
}

/// Whether another committee may answer where one did not.
fn another_may_do(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unreachable | ErrorKind::Fault | ErrorKind::Unpaid | ErrorKind::Missing)
}

/// An error of the program on its way through the SDK, which gives it back as it is.
fn own(error: Error) -> sahara::Error {
    sahara::Error::sink(error)
}

fn lane(
    home: &Home,
    account: &Account,
    deal: &Deal,
    options: &NetworkOptions,
    purse: &Arc<dyn Purse>,
    progress: &Progress,
) -> Lane {
    let (label, chain, file) = (short(deal.lane), account.chain, account.committee_file(deal.lane));
    // One after the other, as they are paid: an answer that comes before an earlier one fails would be paid for and lost.
    let options = NetworkOptions { purse: Some(purse.clone()), jobs: 1, ..options.clone() };
    let (home, deal, purse, progress) = (home.clone(), deal.clone(), purse.clone(), progress.clone());
    let (its_home, its_deal) = (home.clone(), deal.clone());
    let connect = move |file: &Path| {
        let committee = sahara::network::committee(&home, Some(file))?;
        let store = SharedStore::new(&home).with_purse(Some(purse.clone()));
        let which = SharingRef::Manifest(ManifestId(deal.committee().manifest.0));
        let (model, _) = store.open(&which, &committee, &progress)?;
        is_what_was_sold(&home, chain, &deal, &model).map_err(own)?;
        let model = Arc::new(model);
        let engine = NetworkEngine::connect(&home, Some(file), model.clone(), options.clone(), &progress)?;
        Ok((model, Arc::new(engine)))
    };
    let open = move || {
        let found = committee_of(&its_home, chain, &its_deal);
        let before = refresh(found, &file).map_err(own)?;
        connected(&file, before, &connect)
    };
    Lane { label, open: Box::new(open), engine: Mutex::default() }
}

/// Refuses a model that is not the content that was registered as the asset: its owner chose what the nodes hold.
fn is_what_was_sold(home: &Home, chain: u64, deal: &Deal, model: &Model) -> Result<()> {
    let asset = deal.committee().asset;
    is_registered(&network::of_chain(home, chain)?.chain(), asset, model).map_err(|why| {
        let words = format!(
            "the committee's nodes hold another model than was registered as asset {asset} ({}): close the session with `sahara \
             session close {}`",
            why.report(),
            short(deal.id)
        );
        why.saying(words)
    })
}

/// The file of a session's committee: its keys are those that were agreed, where its nodes are their operators say on the
/// chain. Whoever says it wrongly is not reached, or has another key. The committee as it was, if its nodes have moved.
///
/// # Errors
/// When nothing is `found` or nothing can be written, and the file is not there yet.
fn refresh(found: Result<Committee>, path: &Path) -> Result<Option<Committee>> {
    let known = Committee::load(path).ok();
    let Some(known) = known else { return write(&found?, path).map(|()| None) };
    let places =
        |committee: &Committee| committee.members().iter().map(|member| member.address.clone()).collect::<Vec<_>>();
    match found {
        // Processes that open it at the same time have nothing to write.
        Ok(found) if places(&found) != places(&known) => Ok(write(&found, path).is_ok().then_some(known)),
        // The chain may be away for a while: where the nodes were, they most probably are.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// What comes of the committee in a file; of where its nodes were `before`, if they are not reached where they are said to be by now:
/// that is what one node of the chain says.
fn connected<T>(
    file: &Path,
    before: Option<Committee>,
    connect: &dyn Fn(&Path) -> sahara::Result<T>,
) -> sahara::Result<T> {
    connect(file).or_else(|error: sahara::Error| match before {
        Some(before) if error.kind() == ErrorKind::Unreachable => {
            write(&before, file).map_err(own)?;
            connect(file).map_err(|_| error)
        }
        _ => Err(error),
    })
}

fn write(committee: &Committee, path: &Path) -> Result<()> {
    Ok(write_atomic(path, committee.to_toml().as_bytes())?)
}

fn committee_of(home: &Home, chain: u64, deal: &Deal) -> Result<Committee> {
    nodes_of(&network::of_chain(home, chain)?.chain(), deal.committee())
}

/// The share nodes of a committee: where they are, their operators say on the chain; their keys are the committee's.
///
/// # Errors
/// When the chain does not answer, or the members make no committee.
pub fn nodes_of(chain: &crate::chain_client::Chain, terms: &sahara_market::Committee) -> Result<Committee> {
    let mut members = Vec::with_capacity(3);
    for (operator, key) in terms.operators.iter().zip(keys(terms)) {
        let doing = "asking where the committee's nodes are";
        let place = chain.call(doing, OPERATORS, &Operators::placeOfCall { operator: *operator })?;
        places::elsewhere(chain.id(), operator, &place.endpoint)?;
        members.push(member(&operator.to_string(), place.endpoint, key));
    }
    let members: [Member; 3] = members.try_into().map_err(|_| Error::fault("a committee has three nodes"))?;
    let committee = Committee::new(members).map_err(|why| Error::user(format!("the committee: {why}")))?;
    // Nodes number their committees by themselves; most are their members' first.
    let epochs = [0, u32::try_from(terms.epoch).unwrap_or_default()];
    let known = epochs.into_iter().map(|epoch| committee.clone().in_epoch(epoch));
    known.into_iter().find(|committee| committee.digest() == terms.digest.0).ok_or_else(|| {
        Error::user("the committee is not the one that its session names: its keys are of another kind or epoch")
    })
}

fn member(operator: &str, address: String, key: PublicKey) -> Member {
    Member { name: operator.chars().take(10).collect(), address, key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committee(places: [&str; 3]) -> Committee {
        let mut n = 0;
        let members = places.map(|place| {
            n += 1;
            member(&format!("node {n}"), place.to_owned(), PublicKey([n; 32]))
        });
        Committee::new(members).unwrap()
    }

    #[test]
    fn many_that_open_a_model_at_once_write_a_file_that_is_whole_and_only_what_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lane.toml");
        let [old, new] = [["a:1", "b:1", "c:1"], ["a:1", "b:1", "d:1"]].map(committee);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let (path, found) = (&path, if n % 2 == 0 { &old } else { &new });
                    scope.spawn(move || {
                        (0..20).all(|_| {
                            refresh(Ok(found.clone()), path).unwrap();
                            Committee::load(path).is_ok()
                        })
                    })
                })
                .collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
        write(&old, &path).unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(refresh(Ok(old.clone()), &path).unwrap(), None);
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written, "it was not touched");
        assert_eq!(refresh(Ok(new.clone()), &path).unwrap(), Some(old.clone()), "where they were before");
        assert_eq!(Committee::load(&path).unwrap(), new);
        let away = || Err(Error::fault("no node answers"));
        assert_eq!(refresh(away(), &path).unwrap(), None, "where they were, they are");
        assert!(refresh(away(), &dir.path().join("none")).is_err());
        let folder = dir.path().join("gone");
        assert!(refresh(Ok(old.clone()), &folder.join("lane.toml")).is_err(), "nothing is there to go on with");
    }

    #[test]
    fn nodes_that_are_not_where_they_are_said_to_be_are_asked_where_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lane.toml");
        let [old, new] = [["a:1", "b:1", "c:1"], ["a:1", "b:1", "d:1"]].map(committee);
        let away = || {
            let source = ClientError::Unpaid("away".into());
            sahara::Error::from(NetworkError::Unreachable { doing: "asking".into(), local: false, source })
        };
        let only_old = |path: &Path| match Committee::load(path).unwrap() == old {
            true => Ok(()),
            false => Err(away()),
        };
        write(&new, &file).unwrap();
        assert!(connected(&file, None, &only_old).is_err(), "nothing else is known");
        connected(&file, Some(old.clone()), &only_old).unwrap();
        assert_eq!(Committee::load(&file).unwrap(), old);
        write(&new, &file).unwrap();
        let unpaid = |_: &Path| Err::<(), _>(own(Error::user("not paid")));
        assert!(connected(&file, Some(old), &unpaid).is_err());
        assert_eq!(Committee::load(&file).unwrap(), new, "they were reached");
    }
}
