//! The market of the local network: a model of this home is registered, shared, sold and bought, so that every command that asks
//! pays for it. All roles are this one person's, and every account is one whose key everybody knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sahara_chain::genesis::DEV_ACCOUNTS;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Devnet;
use alloy_primitives::B256;
use sahara_light::Url;
use sahara_market::ASSET_REGISTRY;
use sahara_market::abi::AssetRegistry;

use crate::chain_client::Rpc;
use crate::error::{Error, Result};
use crate::itself::{Itself, text, word};
use crate::market::content::{asset_id, content};
use crate::market::network;
use crate::moment::{DAY, now};
use crate::progress::Indicator;
use crate::wallet::amount::Amount;
use crate::wallet::{self, Secret};
use sahara::embedding::{Stop, wanted};
use sahara::home::{create_private_dir, write_atomic};
use sahara::models::Model;

/// What it is called among the networks of the home.
const NETWORK: &str = "devnet";
/// Of wallets whose keys everybody knows.
pub const PASSWORD: &str = "devnet";
/// What the model is called at the share nodes.
const SHARED_AS: &str = "sold";
/// For a call, to the owner and to the three operators.
const ROYALTY: &str = "0.001";
const COMPUTE: &str = "0.003";
const QUOTE: &str = "0.0009";
/// What is locked for calls, and what may be spent on one day.
const DEPOSIT: &str = "4";
const CAP_DAY: &str = "2";
/// Pause between blocks while all of it is set up: nobody waits for the clock of a chain that is alone.
const BLOCK: Duration = Duration::from_millis(40);
/// How long blocks are waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The line of `node.toml`.
const MARKET: &str = "market = \"market.toml\"\n";

/// What was set up: `paid.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paid {
    /// The model.
    pub model: String,
    /// Its asset.
    pub asset: String,
    /// The consumer's licence for it.
    #[serde(default)]
    pub licence: String,
    /// The consumer's session.
    pub session: String,
    /// What a call costs, in the smallest unit.
    pub price: String,
    /// The consumer's wallet.
    #[serde(default)]
    pub wallet: PathBuf,
}

impl Paid {
    /// What a call costs, for people.
    pub fn price(&self) -> String {
        // Networks of before say it in coins.
        self.price.parse::<u128>().map_or_else(|_| self.price.clone(), |units| Amount::from(units).to_string())
    }
}

impl Devnet {
    /// What was sold and bought here, if anything was.
    pub fn paid(&self) -> Option<Paid> {
        serde_json::from_slice(&fs::read(self.folder.join("paid.json")).ok()?).ok()
    }

    /// Refuses another model than the one that is sold here.
    ///
    /// # Errors
    /// When another one is.
    pub fn sells(&self, model: &str) -> Result<()> {
        match self.paid().filter(|paid| paid.model != model) {
            None => Ok(()),
            Some(paid) => Err(Error::user(format!(
                "{} is sold on this network, not {model}: `sahara devnet down`, remove {} and start anew",
                paid.model,
                self.folder.display()
            ))),
        }
    }

    /// Sells a model of this home on the network, which is up, and buys a licence for it, once; whatever of that is over by now
    /// is made anew.
    ///
    /// # Errors
    /// When a command fails: what it said.
    pub(super) fn sell(&self, model: &Model, stop: &Stop, progress: &Indicator) -> Result<Paid> {
        let own = Itself::new(&self.program, self.home.path(), PASSWORD);
        let rpc = self.chain_rpc()?;
        self.wait_for_blocks(2, stop)?;
        let paid = while_blocks_come(&rpc, || match self.paid() {
            Some(paid) => self.renew(paid, &own, progress),
            None => self.set_up(model, &own, stop, progress),
        })?;
        let json = serde_json::to_vec(&paid).map_err(|e| Error::fault_from("encoding paid.json", e))?;
        write_atomic(&self.folder.join("paid.json"), &json)?;
        Ok(paid)
    }

    /// Whatever an interrupted set-up has done stays.
    fn set_up(&self, model: &Model, own: &Itself, stop: &Stop, progress: &Indicator) -> Result<Paid> {
        let owner = self.wallet("owner", 0)?;
        let money = ["--wallet", text(&owner)?, "--network", NETWORK];
        progress.step("the model is registered; three operators bond and name a price");
        let asset = thread::scope(|scope| {
            let registered = scope.spawn(|| self.registered(model, &owner, own));
            for_each_node(|node| {
                self.operate(node, &["operator", "bond", "1000"], own)?;
                self.operate(node, &["operator", "quote", QUOTE], own)
            })?;
            registered.join().unwrap_or_else(|_| Err(died()))
        })?;
        let (asset, name) = (asset.to_string(), model.info.name.as_str());
        wanted(stop)?;
        progress.step("its weights go to the three nodes as shares");
        thread::scope(|scope| {
            let share = ["model", "share", name, "--asset", &asset, "--as", SHARED_AS, "--network", NETWORK];
            let shared = scope.spawn(move || own.run(&share));
            for_each_node(|node| self.operate(node, &["operator", "allow", &asset], own))?;
            shared.join().unwrap_or_else(|_| Err(died()))
        })?;
        wanted(stop)?;
        progress.step("its committee is seated, and licences are offered");
        own.run(&[&["asset", "seat", &asset, "--as", SHARED_AS][..], &money].concat())?;
        self.offer(&asset, own)?;
        wanted(stop)?;
        progress.step("a licence is bought, and a deposit locked for calls");
        let wallet = self.consumer()?;
        let money = ["--wallet", text(&wallet)?, "--network", NETWORK];
        let held = own.run(&[&["licence", "ls"][..], &money].concat())?;
        let held = good_licence(&held, &asset, "", now());
        let session = ["--deposit", DEPOSIT, "--cap-day", CAP_DAY, "--session-days", "80", "--as", name];
        let (licence, session) = match held {
            Some(licence) => {
                let open = ["session", "open", "--licence", &licence];
                let opened = own.run(&[&open[..], &session, &money].concat())?;
                (licence, opened)
            }
            None => {
                let bought = own.run(&[&["licence", "buy", &asset][..], &session, &money].concat())?;
                (word(&bought, "licence")?, bought["session"].clone())
            }
        };
        Ok(Paid {
            model: name.to_owned(),
            licence,
            session: word(&session, "session")?,
            price: word(&session, "price")?,
            asset,
            wallet,
        })
    }

    /// The model's asset, registered unless it is.
    fn registered(&self, model: &Model, owner: &Path, own: &Itself) -> Result<B256> {
        let chain = network::find(&self.home, Some(NETWORK))?.chain();
        let asset = asset_id(chain.id(), wallet::address(owner)?, content(model)?.0);
        let exists = AssetRegistry::existsCall { asset };
        if !chain.call("looking whether the model is registered", ASSET_REGISTRY, &exists)? {
            let register = ["asset", "register", &model.info.name, "--wallet", text(owner)?, "--network", NETWORK];
            own.run(&register)?;
        }
        Ok(asset)
    }

    /// The same deal as long as it is good; else another session, and what that needs.
    fn renew(&self, paid: Paid, own: &Itself, progress: &Indicator) -> Result<Paid> {
        // Whoever made a wallet of their own at the usual place has set the tour's aside.
        let is_ours = wallet::address(&paid.wallet).is_ok_and(wallet::is_everybodys);
        let wallet = if is_ours { paid.wallet.clone() } else { self.consumer()? };
        let consumer = ["--wallet", text(&wallet)?, "--network", NETWORK];
        let sessions = own.run(&[&["session", "ls"][..], &consumer].concat())?;
        if let Some(good) = good_session(&paid, &sessions) {
            let (session, licence) = (word(good, "session")?, word(good, "licence")?);
            return Ok(Paid { price: word(good, "price")?, session, licence, wallet, ..paid });
        }
        progress.step("the deposit is used up or its time is over: another one is locked");
        let owner = self.wallet("owner", 0)?;
        let owners = ["--wallet", text(&owner)?, "--network", NETWORK];
        for_each_node(|node| self.operate(node, &["operator", "quote", QUOTE], own))?;
        let shown = own.run(&["asset", "show", &paid.asset, "--network", NETWORK])?;
        let nodes = sahara_mpc::client::Committee::load(&self.folder.join("committee.toml"));
        let nodes = nodes.map_err(|e| Error::fault_from("reading the local committee", e))?.digest();
        if !serves(&shown, &B256::from(nodes).to_string(), now()) {
            own.run(&[&["asset", "seat", &paid.asset, "--as", SHARED_AS][..], &owners].concat())?;
        }
        let held = own.run(&[&["licence", "ls"][..], &consumer].concat())?;
        let session = ["--deposit", DEPOSIT, "--session-days", "80", "--as", &paid.model];
        let (licence, session) = match good_licence(&held, &paid.asset, &paid.licence, now()) {
            Some(licence) => {
                let open = ["session", "open", "--licence", &licence];
                let opened = own.run(&[&open[..], &session, &consumer].concat())?;
                (licence, opened)
            }
            None => {
                let terms = self.offered(&shown, &paid.asset, own)?;
                let buy = ["licence", "buy", &paid.asset, "--terms", &terms, "--again"];
                let bought = own.run(&[&buy[..], &session, &consumer].concat())?;
                (word(&bought, "licence")?, bought["session"].clone())
            }
        };
        Ok(Paid { licence, session: word(&session, "session")?, price: word(&session, "price")?, wallet, ..paid })
    }

    /// An offer of calls for what they cost here, made anew if it was taken back.
    fn offered(&self, shown: &Value, asset: &str, own: &Itself) -> Result<String> {
        let compute = COMPUTE.parse::<Amount>().map_err(Error::fault)?.0.to_string();
        let fits =
            |offer: &&Value| offer["kind"] == "api" && offer["price"] == "0" && offer["compute"] == compute.as_str();
        if let Some(offer) = shown["offers"].as_array().into_iter().flatten().find(fits) {
            return word(offer, "terms");
        }
        word(&self.offer(asset, own)?, "terms")
    }

    /// Offers calls.
    fn offer(&self, asset: &str, own: &Itself) -> Result<Value> {
        let owner = self.wallet("owner", 0)?;
        let money = ["--wallet", text(&owner)?, "--network", NETWORK];
        let terms = ["asset", "offer", asset, "--royalty", ROYALTY, "--compute", COMPUTE, "--days", "365"];
        own.run(&[&terms[..], &money].concat())
    }

    /// A command of a node's operator, with its account.
    fn operate(&self, node: usize, words: &[&str], own: &Itself) -> Result<()> {
        let wallet = self.operator(node)?;
        let home = self.node_folder(node);
        let money = ["--home", text(&home)?, "--wallet", text(&wallet)?, "--network", NETWORK];
        own.run(&[words, &money].concat()).map(drop)
    }

    /// Waits until the chain has made so many more blocks: what is believed of it is then news.
    ///
    /// # Errors
    /// When it does not in time; when `stop` is set.
    fn wait_for_blocks(&self, count: u64, stop: &Stop) -> Result<()> {
        let rpc = self.chain_rpc()?;
        let height = || Ok::<_, Error>(self.chain().state()?.and_then(|state| state.height).unwrap_or_default());
        let (first, began) = (height()?, Instant::now());
        while height()? < first + count {
            wanted(stop)?;
            if began.elapsed() > PATIENCE {
                return Err(Error::fault("the local chain makes no blocks: see `sahara devnet logs chain`"));
            }
            mine(&rpc);
            thread::sleep(BLOCK);
        }
        Ok(())
    }

    fn chain_rpc(&self) -> Result<Rpc> {
        Ok(Rpc::new([self
            .chain_url()?
            .parse()
            .map_err(|e| Error::fault_from("reading the local chain's address", e))?]))
    }

    fn chain_url(&self) -> Result<String> {
        let rpc = self.chain().rpc()?.ok_or_else(|| Error::fault("the local chain has no JSON-RPC"))?;
        Ok(format!("http://{rpc}"))
    }

    /// Has this home trust the chain: the header that it trusted before, where it is the same chain.
    pub(super) fn know_the_chain(&self) -> Result<()> {
        let url = self.chain_url()?;
        let url: Url = url.parse().map_err(|_| Error::fault(format!("{url} is no address of a node")))?;
        let file = self.network_file();
        let known = network::find(&self.home, Some(NETWORK)).is_ok_and(|known| known.anchor().rpc.contains(&url));
        if known && file.exists() {
            return Ok(());
        }
        let anchor = network::anchor_of(vec![url], None)?;
        write_atomic(&file, anchor.to_toml().as_bytes())?;
        // Of an earlier network of this home, whose chain is gone.
        if network::find(&self.home, Some(NETWORK)).is_ok() {
            network::remove(&self.home, NETWORK)?;
        }
        network::add(&self.home, &file, Some(NETWORK), false).map(drop)
    }

    /// Forgets what was sold on a chain that is gone.
    pub(super) fn forget_the_market(&self) -> Result<()> {
        for file in [self.folder.join("paid.json"), self.network_file()] {
            sahara_mpc::durable::remove(&file).map_err(|e| Error::io("removing", &file, e))?;
        }
        Ok(())
    }

    fn network_file(&self) -> PathBuf {
        self.folder.join("network.toml")
    }

    /// Lets a node serve what is paid for, and settle with its operator's account; whether it did not before.
    pub(super) fn configure(&self, node: usize) -> Result<bool> {
        let home = self.node_folder(node);
        let password = self.folder.join("wallets").join("password");
        let account = self.operator(node)?;
        write_atomic(&password, PASSWORD.as_bytes())?;
        let path = |name: &str, path: &Path| Ok::<_, Error>(format!("{name} = {:?}\n", text(path)?));
        let lines = [
            "sahara-node-market = 1\n".to_owned(),
            path("network", &self.network_file())?,
            path("account", &account)?,
            path("password-file", &password)?,
        ];
        let (file, lines) = (home.join("market.toml"), lines.concat());
        // What somebody has added below stays.
        let same = fs::read_to_string(&file).is_ok_and(|before| before.starts_with(&lines));
        if !same {
            write_atomic(&file, lines.as_bytes())?;
        }
        let config = home.join("node.toml");
        let before = fs::read_to_string(&config).map_err(|e| Error::io("reading", &config, e))?;
        if before.starts_with(MARKET) {
            return Ok(!same);
        }
        write_atomic(&config, format!("{MARKET}{before}").as_bytes())?;
        Ok(true)
    }

    fn operator(&self, node: usize) -> Result<PathBuf> {
        self.wallet(&format!("operator-{}", node + 1), 2 + node)
    }

    /// The wallet of a role with the development account of this number.
    fn wallet(&self, role: &str, account: usize) -> Result<PathBuf> {
        let folder = self.folder.join("wallets");
        create_private_dir(&folder)?;
        known_wallet(folder.join(format!("{role}.json")), account)
    }

    /// The person's own wallet if it has none yet, so that what is typed next uses it; else one beside the others.
    fn consumer(&self) -> Result<PathBuf> {
        let usual = wallet::path(&self.home);
        if usual.exists() {
            return self.wallet("consumer", 1);
        }
        known_wallet(usual, 1)
    }
}

/// A wallet with a development account's key, made where none is yet.
fn known_wallet(file: PathBuf, account: usize) -> Result<PathBuf> {
    if !file.exists() {
        let secret = Secret::new(&DEV_ACCOUNTS[account].1.0).map_err(|e| Error::fault(e.to_string()))?;
        wallet::create_known(&file, &secret, PASSWORD.as_bytes())?;
    }
    Ok(file)
}

/// An open session for the deal's asset, whose key is kept here and from which a call can be paid; the deal's own before others.
fn good_session<'a>(paid: &Paid, sessions: &'a Value) -> Option<&'a Value> {
    let units = |value: &Value| value.as_str().and_then(|text| text.parse::<u128>().ok()).unwrap_or_default();
    let good = sessions.as_array().into_iter().flatten().filter(|session| {
        let left = units(&session["deposit"]).saturating_sub(units(&session["spent"]));
        let ours = session["asset"] == paid.asset.as_str() && session["kept"] == true;
        ours && session["state"] == "open" && units(&session["price"]) > 0 && left >= units(&session["price"])
    });
    good.max_by_key(|session| session["session"] == paid.session.as_str())
}

/// A licence for calls of an asset that is good for a day more at least: `wanted` before others.
fn good_licence(held: &Value, asset: &str, wanted: &str, now: u64) -> Option<String> {
    let good = held.as_array().into_iter().flatten().filter(|held| {
        let calls = [&held["royalty"], &held["compute"]]
            .into_iter()
            .any(|price| price.as_str().is_some_and(|price| price != "0"));
        let lasts = held["ends"].is_null() || held["ends"].as_u64().is_some_and(|ends| ends > now + DAY);
        held["asset"] == asset && held["withdrawn"].is_null() && lasts && calls
    });
    let found = good.max_by_key(|held| held["licence"] == wanted)?;
    found["licence"].as_str().map(str::to_owned)
}

/// Whether these nodes are seated for an asset, for a session's time or most of it.
fn serves(asset: &Value, nodes: &str, now: u64) -> bool {
    let mut committees = asset["committees"].as_array().into_iter().flatten();
    committees.any(|committee| {
        committee["digest"] == nodes && committee["until"].as_u64().is_some_and(|until| until > now + 30 * DAY)
    })
}

/// Does something while the chain makes blocks quickly.
fn while_blocks_come<T>(rpc: &Rpc, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                mine(rpc);
                thread::sleep(BLOCK);
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// One block now. A chain that makes none for whoever asks makes one a second.
fn mine(rpc: &Rpc) {
    let _ = rpc.ask("evm_mine", &json!([]));
}

/// Does the same for the three nodes at once.
fn for_each_node(work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|node| scope.spawn(move || work(node))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(died())))
    })
}

fn died() -> Error {
    Error::fault("a thread died")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deal() -> Paid {
        let deal = json!({"model": "m", "asset": "0x1", "licence": "3", "session": "0x2", "price": "0.004 SAH"});
        serde_json::from_value(deal).unwrap()
    }

    #[test]
    fn a_deal_is_good_while_a_call_can_be_paid_from_some_session_of_its_asset() {
        assert_eq!(deal().price(), "0.004 SAH");
        let session = |id: &str, asset: &str, state: &str, spent: &str| {
            json!({
                "session": id, "asset": asset, "state": state, "deposit": "12", "spent": spent, "price": "4", "kept": true,
            })
        };
        let good = |sessions: &[Value]| {
            let sessions = json!(sessions);
            good_session(&deal(), &sessions).map(|session| session["session"].as_str().unwrap().to_owned())
        };
        let own = session("0x2", "0x1", "open", "8");
        assert_eq!(good(std::slice::from_ref(&own)).unwrap(), "0x2");
        let other = session("0x3", "0x1", "open", "0");
        assert_eq!(good(&[own.clone(), other.clone()]).unwrap(), "0x2");
        assert_eq!(good(&[other.clone(), own]).unwrap(), "0x2");
        let closing = session("0x2", "0x1", "closing", "0");
        assert_eq!(good(&[closing.clone(), other.clone()]).unwrap(), "0x3", "of another licence");
        assert_eq!(good(&[closing, session("0x2", "0x1", "open", "9")]), None, "less than a call is left");
        assert_eq!(good(&[session("0x4", "0x9", "open", "0")]), None, "of another asset");
        let lost = Value::Object(
            other
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| *name != "kept")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        );
        assert_eq!(good(&[lost]), None, "without its key");
        assert_eq!(good(&[]), None);
    }

    #[test]
    fn a_session_is_opened_with_a_licence_of_several_that_is_good() {
        let held = |licence: &str, compute: &str, ends: Value, withdrawn: Value| {
            json!({
                "licence": licence, "asset": "0x1", "royalty": "0", "compute": compute, "ends": ends, "withdrawn": withdrawn,
            })
        };
        let all = json!([held("3", "4", json!(null), json!(null)), held("5", "4", json!(9 * DAY), json!(null))]);
        assert_eq!(good_licence(&all, "0x1", "3", DAY).unwrap(), "3");
        assert_eq!(good_licence(&all, "0x1", "5", DAY).unwrap(), "5");
        assert_eq!(good_licence(&all, "0x2", "3", DAY), None);
        let bad = json!([
            held("3", "4", json!(null), json!(7)),
            held("4", "0", json!(null), json!(null)),
            held("6", "4", json!(2 * DAY), json!(null)),
        ]);
        assert_eq!(good_licence(&bad, "0x1", "3", DAY), None, "withdrawn, without calls, over tomorrow");
        assert_eq!(good_licence(&json!([]), "0x1", "", DAY), None);
    }

    #[test]
    fn nodes_are_seated_once() {
        let shown = |digest: &str, until: u64| json!({"committees": [{"digest": digest, "until": until}]});
        assert!(serves(&shown("0x7", 32 * DAY), "0x7", DAY));
        assert!(!serves(&shown("0x7", 31 * DAY), "0x7", DAY) && !serves(&shown("0x8", 90 * DAY), "0x7", DAY));
        assert!(!serves(&json!({"committees": []}), "0x7", DAY));
    }

    #[test]
    fn a_known_wallet_is_made_once_and_opens_quickly() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.json");
        known_wallet(file.clone(), 2).unwrap();
        let before = fs::read(&file).unwrap();
        known_wallet(file.clone(), 3).unwrap();
        assert_eq!(fs::read(&file).unwrap(), before);
        let keystore: Value = serde_json::from_slice(&before).unwrap();
        assert_eq!(keystore["crypto"]["kdfparams"]["n"], 1024);
    }
}
