//! One Ethereum state test: its JSON, and what this chain's EVM, state and trie make of it.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, Log, TxKind, U256, keccak256};
use revm::{
    context::{BlockEnv, TxEnv, either::Either},
    context_interface::block::BlobExcessGasAndPrice,
    primitives::eip4844::{BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE},
};
use sahara_chain::{
    evm::{Machine, SpecId},
    state::{Account, StateView},
    store::{MemoryStore, Store},
    tx::Tx,
    wallet::{Payment, Wallet},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    pub env: Env,
    pub pre: BTreeMap<Address, Pre>,
    pub transaction: Transaction,
    pub post: BTreeMap<String, Vec<Post>>,
    #[serde(default)]
    pub config: Config,
}

/// What newer tests say of their network.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    #[serde(rename = "chainid")]
    pub chain_id: Option<U256>,
    #[serde(default)]
    pub blob_schedule: BTreeMap<String, Blobs>,
}

/// How many blobs a fork takes, and how their price moves.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blobs {
    pub max: U256,
    pub base_fee_update_fraction: U256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Env {
    pub current_coinbase: Address,
    #[serde(default)]
    pub current_difficulty: U256,
    pub current_gas_limit: U256,
    pub current_number: U256,
    pub current_timestamp: U256,
    pub current_base_fee: Option<U256>,
    pub current_random: Option<B256>,
    pub current_excess_blob_gas: Option<U256>,
}

#[derive(Deserialize)]
pub struct Pre {
    #[serde(default)]
    pub balance: U256,
    #[serde(default)]
    pub code: Bytes,
    #[serde(default)]
    pub nonce: U256,
    #[serde(default)]
    pub storage: BTreeMap<U256, U256>,
}

impl Pre {
    /// Storage, but neither code nor nonce (EIP-7610): no block can make such an account, and no genesis of this chain
    /// may have one, so the EVM does not look for one where it creates a contract; nor can Ethereum since 2016.
    pub fn is_unreachable(&self) -> bool {
        self.storage.values().any(|word| !word.is_zero()) && self.code.is_empty() && self.nonce.is_zero()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    pub data: Vec<Bytes>,
    pub gas_limit: Vec<U256>,
    pub value: Vec<String>,
    pub nonce: U256,
    pub sender: Option<Address>,
    pub secret_key: Option<B256>,
    pub to: Option<String>,
    pub gas_price: Option<U256>,
    pub max_fee_per_gas: Option<U256>,
    pub max_priority_fee_per_gas: Option<U256>,
    #[serde(default)]
    pub access_lists: Vec<Option<AccessList>>,
    pub blob_versioned_hashes: Option<Vec<B256>>,
    pub max_fee_per_blob_gas: Option<U256>,
    pub authorization_list: Option<Vec<SignedAuthorization>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Post {
    pub hash: B256,
    pub logs: B256,
    pub indexes: Indexes,
    pub expect_exception: Option<String>,
}

#[derive(Deserialize)]
pub struct Indexes {
    pub data: usize,
    pub gas: usize,
    pub value: usize,
}

/// What a name of a fork means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// These rules.
    Rules(SpecId),
    /// Rules of before Paris, which this chain never had.
    BeforeParis,
    /// Not known.
    Unknown,
}

/// The rules that a name stands for.
pub fn fork(name: &str) -> Fork {
    Fork::Rules(match name {
        "Paris" | "Merge" => SpecId::MERGE,
        "Shanghai" => SpecId::SHANGHAI,
        "Cancun" => SpecId::CANCUN,
        "Prague" => SpecId::PRAGUE,
        // The two after it change how many blobs there are, and nothing else.
        "Osaka" | "BPO1" | "BPO2" => SpecId::OSAKA,
        "Frontier" | "Homestead" | "EIP150" | "TangerineWhistle" | "EIP158" | "SpuriousDragon" | "Byzantium"
        | "Constantinople" | "ConstantinopleFix" | "Istanbul" | "MuirGlacier" | "Berlin" | "London"
        | "ArrowGlacier" | "GrayGlacier" => return Fork::BeforeParis,
        _ => return Fork::Unknown,
    })
}

/// Runs `test` and compares with `post`.
pub fn run(test: &Test, fork: &str, spec: SpecId, post: &Post) -> Result<(), String> {
    let chain_id = test.config.chain_id.map_or(1, |id| id.saturating_to());
    let store = MemoryStore::default();
    let fail = |e: sahara_chain::error::StoreError| e.to_string();
    let mut view = StateView::new(store.reader().map_err(fail)?);
    for (address, pre) in &test.pre {
        let code_hash = view.add_code(pre.code.clone());
        let nonce = pre.nonce.saturating_to();
        view.set_account(*address, Account { nonce, balance: pre.balance, code_hash, ..Account::default() })
            .map_err(fail)?;
        for (slot, value) in &pre.storage {
            view.set_slot(*address, *slot, *value);
        }
    }
    // The state before is committed like any block's, so that reading, wiping and proving work on stored bytes.
    let (_, batch) = view.evm_root().map_err(fail)?;
    store.write(&batch).map_err(fail)?;
    let mut view = StateView::new(Arc::clone(&store.reader().map_err(fail)?));

    let blobs = blobs(test, fork, spec);
    let outcome = match tx(test, post, chain_id) {
        Err(e) => Err(e),
        Ok(tx) => {
            let mut machine = Machine::with(&mut view, block(test, spec, blobs.1), spec, chain_id, |cfg| {
                cfg.tx_chain_id_check = false;
                cfg.max_blobs_per_tx = Some(blobs.0);
            });
            match machine.transact(tx) {
                Ok(result) => result.map_err(|e| e.to_string()),
                Err(fault) => return Err(format!("fault: {fault}")),
            }
        }
    };
    match (&outcome, &post.expect_exception) {
        (Ok(_), Some(expected)) => return Err(format!("executed, but {expected} was expected")),
        (Err(e), None) => return Err(format!("refused: {e}")),
        _ => {}
    }
    let logs = outcome.map(|o| o.logs).unwrap_or_default();
    let found = logs_hash(&logs);
    if found != post.logs {
        return Err(format!("logs {found}, expected {}", post.logs));
    }
    let (root, _) = view.evm_root().map_err(fail)?;
    if root != post.hash {
        return Err(format!("root {root}, expected {}", post.hash));
    }
    Ok(())
}

fn logs_hash(logs: &[Log]) -> B256 {
    keccak256(alloy_rlp::encode(logs.to_vec()))
}

/// Blobs that one transaction may have, and how fast their price moves.
fn blobs(test: &Test, fork: &str, spec: SpecId) -> (u64, u64) {
    /// Whatever a block takes (EIP-7594).
    const OF_ONE_TX: u64 = 6;
    let (max, fraction) = match test.config.blob_schedule.get(fork) {
        Some(told) => (told.max.saturating_to(), told.base_fee_update_fraction.saturating_to()),
        None => match (fork, spec.is_enabled_in(SpecId::PRAGUE)) {
            ("BPO1", _) => (15, 8_346_193),
            ("BPO2", _) => (21, 11_684_671),
            (_, true) => (9, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE),
            (_, false) => (6, BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN),
        },
    };
    (if spec.is_enabled_in(SpecId::OSAKA) { max.min(OF_ONE_TX) } else { max }, fraction)
}

fn block(test: &Test, spec: SpecId, fraction: u64) -> BlockEnv {
    let env = &test.env;
    let excess = env.current_excess_blob_gas.map_or(0, |gas| gas.saturating_to());
    BlockEnv {
        number: env.current_number,
        beneficiary: env.current_coinbase,
        timestamp: env.current_timestamp,
        gas_limit: env.current_gas_limit.saturating_to(),
        basefee: env.current_base_fee.unwrap_or_default().saturating_to(),
        difficulty: env.current_difficulty,
        prevrandao: spec.is_enabled_in(SpecId::MERGE).then(|| env.current_random.unwrap_or_default()),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(excess, fraction)),
        ..BlockEnv::default()
    }
}

fn tx(test: &Test, post: &Post, chain_id: u64) -> Result<TxEnv, String> {
    let fields = &test.transaction;
    let at = &post.indexes;
    let need = |what: &str| format!("the test has no {what}");
    let access_list = fields.access_lists.get(at.data).cloned().flatten();
    let value = fields.value.get(at.value).ok_or_else(|| need("value"))?;
    let tx_type = if fields.authorization_list.is_some() {
        4
    } else if fields.max_fee_per_blob_gas.is_some() {
        3
    } else if fields.max_fee_per_gas.is_some() {
        2
    } else {
        u8::from(access_list.is_some())
    };
    let narrow = |n: U256| u128::try_from(n).unwrap_or(u128::MAX);
    Ok(TxEnv {
        tx_type,
        caller: sender(fields).ok_or_else(|| need("sender"))?,
        gas_limit: fields.gas_limit.get(at.gas).ok_or_else(|| need("gas limit"))?.saturating_to(),
        gas_price: narrow(fields.max_fee_per_gas.or(fields.gas_price).unwrap_or_default()),
        kind: match fields.to.as_deref().unwrap_or_default() {
            "" if tx_type >= 3 => return Err("this type of transaction cannot create".into()),
            "" => TxKind::Create,
            to => TxKind::Call(to.parse().map_err(|_| need("receiver"))?),
        },
        value: U256::from_str(value).map_err(|e| format!("value {value}: {e}"))?,
        data: fields.data.get(at.data).ok_or_else(|| need("data"))?.clone(),
        nonce: fields.nonce.saturating_to(),
        chain_id: Some(chain_id),
        access_list: access_list.unwrap_or_default(),
        gas_priority_fee: fields.max_priority_fee_per_gas.map(narrow),
        blob_hashes: fields.blob_versioned_hashes.clone().unwrap_or_default(),
        max_fee_per_blob_gas: narrow(fields.max_fee_per_blob_gas.unwrap_or_default()),
        authorization_list: fields.authorization_list.iter().flatten().cloned().map(Either::Left).collect(),
    })
}

/// Who sends; older tests give the key alone.
fn sender(fields: &Transaction) -> Option<Address> {
    let of_key = || {
        let signed = Wallet::new(fields.secret_key?, 1).and_then(|wallet| wallet.pay(&Payment::default())).ok()?;
        Some(Tx::decode(&signed, 1).ok()?.sender)
    };
    fields.sender.or_else(of_key)
}
