//! The last committed block and everything the next one needs of it.

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256};

use super::params::{self, Params};
use crate::{
    block,
    error::StoreError,
    state::{AppHash, StateView, StoreRoots, chain_store},
    store::{Batch, Reader, Table},
    validator::{ConsensusAddress, ConsensusKey, GenesisValidator},
};

/// Key in the table of names.
const KEY: &[u8] = b"head";

/// The last committed block.
#[derive(Clone)]
pub struct Head {
    /// Its height.
    pub height: u64,
    /// The hash after it.
    pub app_hash: AppHash,
    /// What that hash is made of.
    pub roots: StoreRoots,
    /// Its header for Ethereum tools.
    pub header: Header,
    /// The hash of that header.
    pub hash: B256,
    /// Of the chain.
    pub params: Params,
    /// State after it.
    pub reader: Arc<dyn Reader>,
    /// Who validates, by the name that votes use.
    pub validators: Arc<BTreeMap<ConsensusAddress, GenesisValidator>>,
}

impl Head {
    /// The head that `reader` has, if a block was committed.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn load(reader: Arc<dyn Reader>) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = reader.get(Table::Meta, KEY)? else { return Ok(None) };
        let bad = |what: &str| StoreError::corrupt("read the head", what.to_owned());
        let words: Vec<B256> = bytes.get(8..).unwrap_or_default().as_chunks::<32>().0.iter().map(B256::from).collect();
        let (Some(height), [app_hash, chain, evm, ibc]) = (bytes.first_chunk::<8>(), words.as_slice()) else {
            return Err(bad("wrong length"));
        };
        let height = u64::from_be_bytes(*height);
        let header = block::header_at(reader.as_ref(), height)?.ok_or_else(|| bad("its block is missing"))?;
        let params = chain_store::get(reader.as_ref(), params::KEY)?.ok_or_else(|| bad("parameters are missing"))?;
        let validators = load_validators(reader.as_ref())?;
        Ok(Some(Self {
            height,
            app_hash: AppHash(*app_hash),
            roots: StoreRoots { chain: *chain, evm: *evm, ibc: *ibc },
            hash: header.hash_slow(),
            header,
            params: Params::decode(&params)?,
            validators: Arc::new(validators),
            reader,
        }))
    }

    /// A view of committed state that can be changed without harm.
    pub fn view(&self) -> StateView {
        StateView::new(self.reader.clone())
    }

    /// Puts the head into `batch`.
    pub fn store(&self, batch: &mut Batch) {
        store(self.height, &self.roots, batch);
    }

    /// Price of gas in the next block.
    pub fn next_base_fee(&self) -> u64 {
        if self.header.parent_hash.is_zero() {
            return self.params.fees.initial_base_fee;
        }
        self.params.fees.next_base_fee(self.header.gas_used, self.header.base_fee_per_gas.unwrap_or_default())
    }

    /// The account of whoever proposed a block.
    pub fn operator(&self, proposer: Option<ConsensusAddress>) -> Address {
        let Some(proposer) = proposer else { return Address::ZERO };
        self.validators.get(&proposer).map_or_else(|| proposer.as_account(), |validator| validator.operator)
    }
}

/// Makes `height`, with these roots, the head in `batch`.
pub fn store(height: u64, roots: &StoreRoots, batch: &mut Batch) {
    let mut bytes = height.to_be_bytes().to_vec();
    bytes.extend(roots.app_hash().0);
    bytes.extend(roots.named().iter().flat_map(|(_, root)| root.0));
    batch.put(Table::Meta, KEY, bytes);
}

/// Prefix of validators in the chain's store, by consensus key.
const VALIDATOR: &[u8] = b"validator/";

/// Key and value of a validator in the chain's store: operator and power.
pub fn validator_entry(validator: &GenesisValidator) -> (Vec<u8>, Vec<u8>) {
    (validator_key(validator.consensus_key), [validator.operator.as_slice(), &validator.power.to_be_bytes()].concat())
}

/// Where a validator lies in the chain's store.
pub fn validator_key(key: ConsensusKey) -> Vec<u8> {
    [VALIDATOR, key.0.as_slice()].concat()
}

fn load_validators(reader: &dyn Reader) -> Result<BTreeMap<ConsensusAddress, GenesisValidator>, StoreError> {
    let mut all = BTreeMap::new();
    for (key, value) in reader.scan(Table::ChainState, VALIDATOR)? {
        let bad = || StoreError::corrupt("read a validator", "wrong length");
        let consensus_key = key.get(VALIDATOR.len()..).and_then(|k| <[u8; 32]>::try_from(k).ok()).ok_or_else(bad)?;
        let (operator, power) = value.split_at_checked(20).ok_or_else(bad)?;
        let validator = GenesisValidator {
            operator: Address::from_slice(operator),
            consensus_key: ConsensusKey(consensus_key.into()),
            power: u64::from_be_bytes(power.try_into().map_err(|_| bad())?),
        };
        all.insert(validator.consensus_key.address(), validator);
    }
    Ok(all)
}
