//! `chain init`: the home of a chain of one validator.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use alloy_primitives::Address;
use clap::Args;
use serde_json::json;

use super::say::say;
use crate::{
    failpoint,
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisValidator},
    node::{CONFIG_FILE, Config, Driver, GENESIS_FILE, NodeError, ensure_beacon, ensure_key, tell},
    validator::ConsensusKey,
};

const BLOCK_TIME_MS: u64 = 1000;
const CHAIN_ID: &str = "sahara-dev";

/// Make the home of a chain of one validator.
#[derive(Debug, Args)]
pub struct Init {
    /// Folder of the node
    #[arg(long)]
    home: PathBuf,
    /// Where JSON-RPC will listen
    #[arg(long, default_value = "127.0.0.1:8545")]
    rpc: SocketAddr,
    /// Milliseconds between blocks; 0 makes a block for each transaction
    #[arg(long, default_value_t = BLOCK_TIME_MS)]
    block_time_ms: u64,
    /// Name of the chain in its headers
    #[arg(long, default_value = CHAIN_ID)]
    chain_id: String,
    /// Chain id that wallets sign for
    #[arg(long, value_name = "N", default_value_t = DEV_CHAIN_ID, value_parser = clap::value_parser!(u64).range(1..))]
    evm_chain_id: u64,
    /// Account that operates the validator and gets the tips
    #[arg(long, default_value_t = DEV_ACCOUNTS[0].0)]
    operator: Address,
    /// Let whoever reaches JSON-RPC move time, change accounts and act for any of them. On a loopback address that is so
    /// anyway
    #[arg(long)]
    development: bool,
    /// Say what was made as one JSON object
    #[arg(long)]
    json: bool,
}

impl Init {
    /// A home in `home` with JSON-RPC at `rpc` and the defaults of the command line otherwise.
    pub fn new(home: PathBuf, rpc: SocketAddr) -> Self {
        Self {
            home,
            rpc,
            block_time_ms: BLOCK_TIME_MS,
            chain_id: CHAIN_ID.to_owned(),
            evm_chain_id: DEV_CHAIN_ID,
            operator: DEV_ACCOUNTS[0].0,
            development: false,
            json: false,
        }
    }

    /// Makes the home and says so. `own` are the words of this program before `start`.
    ///
    /// # Errors
    /// When there is a node already, a number is out of range, or the files cannot be written.
    pub fn run(self, own: &[&str]) -> Result<(), NodeError> {
        self.make()?;
        match (self.rpc.ip().is_loopback(), self.development) {
            (true, _) => {}
            (false, true) => tell(format_args!(
                "warning: whoever reaches {} may move time, change accounts and act for any of them",
                self.rpc
            )),
            (false, false) => tell(format_args!(
                "note: others may reach {}, so the methods for development are off; --development puts them on",
                self.rpc
            )),
        }
        if self.json {
            say!("{}", json!({ "home": self.home.to_string_lossy(), "rpc": format!("http://{}", self.rpc) }))?;
            return Ok(());
        }
        let program = std::env::args().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
        let words = [program.as_ref()].iter().chain(own).map(|word| format!("{word} ")).collect::<String>();
        say!("Made {home}. Run it with:\n  {words}start --home {home}", home = self.home.display())?;
        Ok(())
    }

    /// Writes the files, unless there is a node already.
    ///
    /// # Errors
    /// When a number is out of range, or the files cannot be written.
    pub fn make(&self) -> Result<(), NodeError> {
        if self.home.join(CONFIG_FILE).exists() {
            return Err(NodeError::Setup(format!("{} already is the home of a node", self.home.display())));
        }
        // The settings come last: what an interrupted start leaves is no home, and the next one takes up its keys.
        let key = ensure_key(&self.home)?;
        failpoint::reach("init-key");
        let consensus_key = ConsensusKey(key.verifying_key().to_bytes().into());
        let validator = GenesisValidator { operator: self.operator, consensus_key, power: 10 };
        let mut genesis = Genesis { chain_id: self.evm_chain_id, ..Genesis::development(vec![validator]) };
        genesis.beacon.chains.insert(self.operator, ensure_beacon(&self.home)?.commitment(0));
        genesis.check().map_err(|e| NodeError::Fault(e.into()))?;
        let json = serde_json::to_vec_pretty(&genesis).map_err(|e| NodeError::Setup(e.to_string()))?;
        failpoint::reach("init-beacon");
        crate::node::write(&self.home.join(GENESIS_FILE), &json)?;
        failpoint::reach("init-genesis");
        // On an address that others reach, only for who asks for it.
        let development = self.development || self.rpc.ip().is_loopback();
        let driver =
            Driver::Embedded { chain_id: self.chain_id.clone(), block_time_ms: self.block_time_ms, development };
        Config::new(self.rpc, driver).save(&self.home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wallets_sign_for_the_chain_id_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let made = |home: &str, change: &dyn Fn(&mut Init)| {
            let mut init = Init::new(folder.path().join(home), ([127, 0, 0, 1], 0).into());
            change(&mut init);
            init.make().unwrap();
            Genesis::read(&std::fs::read(init.home.join(GENESIS_FILE)).unwrap()).unwrap().chain_id
        };
        assert_eq!(made("usual", &|_| ()), DEV_CHAIN_ID);
        assert_eq!(made("own", &|init| init.evm_chain_id = 4242), 4242);
    }

    #[test]
    fn others_may_not_move_the_time_of_a_chain_unless_its_maker_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let made = |home: &str, rpc: &str, asked: bool| {
            let init = Init { development: asked, ..Init::new(folder.path().join(home), rpc.parse().unwrap()) };
            init.make().unwrap();
            let config = Config::load(&init.home).unwrap();
            let Driver::Embedded { development, .. } = config.driver else { panic!("{:?}", config.driver) };
            assert_eq!(config.web == crate::rpc::Door::open(), development, "pages follow");
            development
        };
        assert!(made("own", "127.0.0.1:0", false) && made("own6", "[::1]:0", false));
        assert!(!made("all", "0.0.0.0:8545", false) && !made("one", "192.0.2.1:8545", false));
        assert!(!made("all6", "[::]:8545", false));
        assert!(made("asked", "0.0.0.0:8545", true));
    }
}
