//! A local network on which questions are paid for: a model of this home is registered, sold and bought, so that every command
//! that asks pays for it. All roles are this one person's, and every account is one whose key everybody knows.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use sahara_chain::genesis::DEV_ACCOUNTS;
use serde::{Deserialize, Serialize};

use super::Devnet;
use crate::error::{Error, Result};
use crate::itself::{Itself, text, word};
use crate::progress::Indicator;
use crate::wallet;
use sahara::embedding::{Stop, wanted};
use sahara::home::{create_private_dir, write_atomic};

/// What it is called among the networks of the home.
const NETWORK: &str = "devnet";
/// Of wallets whose keys everybody knows.
const PASSWORD: &str = "devnet";
/// For a call, to the owner and to the three operators.
const ROYALTY: &str = "0.001";
const COMPUTE: &str = "0.003";
const QUOTE: &str = "0.0009";
/// What is locked for calls, and may be spent on one day.
const DEPOSIT: &str = "4";

/// How long blocks are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was set up: `paid.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paid {
    /// The model.
    pub model: String,
    /// Its asset.
    pub asset: String,
    /// The consumer's session.
    pub session: String,
    /// What a call costs, in coins.
    pub price: String,
}

impl Devnet {
    /// What was sold and bought here, if anything was.
    pub fn paid(&self) -> Option<Paid> {
        serde_json::from_slice(&fs::read(self.folder.join("paid.json")).ok()?).ok()
    }

    /// Sells a model of this home on the network, which is up, and buys a licence for it; once.
    ///
    /// # Errors
    /// When a command fails: what it said.
    pub fn sell(&self, model: &str, stop: &Stop, progress: &Indicator) -> Result<Paid> {
        if let Some(paid) = self.paid() {
            return match paid.model == model {
                true => Ok(paid),
                false => Err(Error::user(format!(
                    "{} is sold on this network, not {model}: `sahara devnet down`, remove {} and start anew",
                    paid.model,
                    self.folder.display()
                ))),
            };
        }
        let own = Itself::new(&self.program, self.home.path(), PASSWORD);
        self.know_the_chain(&own)?;
        progress.step("the nodes start again, for a market");
        for node in 0..3 {
            self.configure(node)?;
            self.stop(node);
            self.start(node)?;
        }
        let layout = self.stored_layout()?.ok_or_else(|| Error::user("no local network yet"))?;
        self.wait_until_ready(&layout, stop, progress)?;

        progress.step("three operators bond, quote a price and say what they hold");
        let owner = self.wallet("owner", 0, &own)?;
        let money = ["--wallet", &owner, "--network", NETWORK];
        let asset = word(&own.run(&[&["asset", "register", model][..], &money].concat())?, "asset")?;
        thread::scope(|scope| {
            let bonding: Vec<_> = (0..3)
                .map(|node| {
                    scope.spawn({
                        let (own, asset) = (&own, &asset);
                        move || self.bond(node, asset, own)
                    })
                })
                .collect();
            let died = || Err(Error::fault("a thread died"));
            bonding.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| died()))
        })?;
        progress.step("the model is handed over as shares, seated and offered");
        let shared = ["model", "share", model, "--asset", &asset, "--as", "sold", "--network", NETWORK];
        own.run(&shared)?;
        own.run(&[&["asset", "seat", &asset, "--as", "sold"][..], &money].concat())?;
        let terms = ["asset", "offer", &asset, "--royalty", ROYALTY, "--compute", COMPUTE, "--days", "365"];
        own.run(&[&terms[..], &money].concat())?;

        progress.step("a licence is bought, and a deposit locked for calls");
        let consumer = self.consumer(&own)?;
        let money = ["--wallet", &consumer, "--network", NETWORK];
        let buy = ["licence", "buy", &asset, "--deposit", DEPOSIT, "--session-days", "80", "--as", model];
        let bought = own.run(&[&buy[..], &money].concat())?;
        let paid = Paid {
            model: model.to_owned(),
            asset,
            session: word(&bought["session"], "session")?,
            price: price(&bought["session"]),
        };
        let json = serde_json::to_vec(&paid).map_err(|e| Error::fault_from("encoding paid.json", e))?;
        write_atomic(&self.folder.join("paid.json"), &json)?;
        Ok(paid)
    }

    /// Waits until the chain has made so many more blocks.
    ///
    /// # Errors
    /// When it does not in time; when `stop` is set.
    pub fn wait_for_blocks(&self, count: u64, stop: &Stop) -> Result<()> {
        let height = || Ok::<_, Error>(self.chain().state()?.and_then(|state| state.height).unwrap_or_default());
        let (first, began) = (height()?, Instant::now());
        while height()? < first + count {
            wanted(stop)?;
            if began.elapsed() > PATIENCE {
                return Err(Error::fault("the local chain makes no blocks: see `sahara devnet logs chain`"));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn know_the_chain(&self, own: &Itself) -> Result<()> {
        let rpc = self.chain().rpc()?.ok_or_else(|| Error::fault("the local chain has no JSON-RPC"))?;
        let url = format!("http://{rpc}");
        let file = self.network_file();
        let anchor = own.output(&["network", "make", &url, "--quiet"])?;
        write_atomic(&file, anchor.as_bytes())?;
        // Of an earlier network of this home, whose chain is gone.
        let _ = own.run(&["network", "rm", NETWORK]);
        own.run(&["network", "add", text(&file)?, "--name", NETWORK]).map(drop)
    }

    fn network_file(&self) -> PathBuf {
        self.folder.join("network.toml")
    }

    /// Lets a node serve what is paid for; an account settles by itself what it is owed.
    fn configure(&self, node: usize) -> Result<()> {
        let home = self.node_folder(node);
        let network = self.network_file();
        let lines = format!("sahara-node-market = 1\nnetwork = {:?}\n", text(&network)?);
        write_atomic(&home.join("market.toml"), lines.as_bytes())?;
        let config = home.join("node.toml");
        let before = fs::read_to_string(&config).map_err(|e| Error::io("reading", &config, e))?;
        if before.starts_with(MARKET) {
            return Ok(());
        }
        write_atomic(&config, format!("{MARKET}{before}").as_bytes())?;
        Ok(())
    }

    fn bond(&self, node: usize, asset: &str, own: &Itself) -> Result<()> {
        let wallet = self.wallet(&format!("operator-{}", node + 1), 2 + node, own)?;
        let home = self.node_folder(node);
        let money = ["--home", text(&home)?, "--wallet", &wallet, "--network", NETWORK];
        for words in [&["operator", "bond", "1000"][..], &["operator", "quote", QUOTE], &["operator", "allow", asset]] {
            own.run(&[words, &money].concat())?;
        }
        Ok(())
    }

    /// The wallet of a role with the development account of this number.
    fn wallet(&self, role: &str, account: usize, own: &Itself) -> Result<String> {
        let folder = self.folder.join("wallets");
        create_private_dir(&folder)?;
        let file = folder.join(format!("{role}.json"));
        self.import(&file, account, own)?;
        Ok(text(&file)?.to_owned())
    }

    /// The person's own wallet if it has none yet, so that what is typed next uses it; else one beside the others.
    fn consumer(&self, own: &Itself) -> Result<String> {
        let usual = wallet::path(&self.home);
        if usual.exists() {
            return self.wallet("consumer", 1, own);
        }
        self.import(&usual, 1, own)?;
        Ok(text(&usual)?.to_owned())
    }

    fn import(&self, file: &std::path::Path, account: usize, own: &Itself) -> Result<()> {
        if file.exists() {
            return Ok(());
        }
        let key = self.folder.join(format!("key-{account}"));
        write_atomic(&key, alloy_primitives::hex::encode(DEV_ACCOUNTS[account].1).as_bytes())?;
        own.run(&["wallet", "import", text(&key)?, "--wallet", text(file)?]).map(drop)
    }
}

/// The line of `node.toml`.
const MARKET: &str = "market = \"market.toml\"\n";

/// The price of a call, in coins.
fn price(session: &serde_json::Value) -> String {
    let amount = session["price"].as_str().and_then(|text| text.parse::<u128>().ok()).unwrap_or_default();
    crate::wallet::amount::Amount::from(amount).to_string()
}
