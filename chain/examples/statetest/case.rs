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
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    pub env: Env,
    pub pre: BTreeMap<Address, Pre>,
    pub transaction: Transaction,
    pub post: BTreeMap<String, Vec<Post>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Env {
    pub current_coinbase: Address,
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
    pub balance: U256,
    pub code: Bytes,
    pub nonce: U256,
    pub storage: BTreeMap<U256, U256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    pub data: Vec<Bytes>,
    pub gas_limit: Vec<U256>,
    pub value: Vec<String>,
    pub nonce: U256,
    pub sender: Option<Address>,
    #[serde(default)]
    pub to: String,
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

/// The rules that a name stands for.
pub fn spec(fork: &str) -> Option<SpecId> {
    Some(match fork {
        "Frontier" => SpecId::FRONTIER,
        "Homestead" => SpecId::HOMESTEAD,
        "EIP150" => SpecId::TANGERINE,
        "EIP158" => SpecId::SPURIOUS_DRAGON,
        "Byzantium" => SpecId::BYZANTIUM,
        "Constantinople" | "ConstantinopleFix" => SpecId::PETERSBURG,
        "Istanbul" => SpecId::ISTANBUL,
        "Berlin" => SpecId::BERLIN,
        "London" => SpecId::LONDON,
        "Paris" | "Merge" => SpecId::MERGE,
        "Shanghai" => SpecId::SHANGHAI,
        "Cancun" => SpecId::CANCUN,
        "Prague" => SpecId::PRAGUE,
        "Osaka" => SpecId::OSAKA,
        _ => return None,
    })
}

/// Runs `test` and compares with `post`.
pub fn run(test: &Test, spec: SpecId, post: &Post) -> Result<(), String> {
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

    let outcome = match tx(test, post) {
        Err(e) => Err(e),
        Ok(tx) => {
            let mut machine = Machine::with(&mut view, block(test, spec), spec, 1, |cfg| {
                cfg.tx_chain_id_check = false;
                cfg.max_blobs_per_tx = Some(if spec.is_enabled_in(SpecId::PRAGUE) { 9 } else { 6 });
            });
            match machine.transact(tx) {
                Ok(result) => result.map_err(|e| e.0),
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

fn block(test: &Test, spec: SpecId) -> BlockEnv {
    let env = &test.env;
    let fraction = match spec.is_enabled_in(SpecId::PRAGUE) {
        true => BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE,
        false => BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN,
    };
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

fn tx(test: &Test, post: &Post) -> Result<TxEnv, String> {
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
        caller: fields.sender.ok_or_else(|| need("sender"))?,
        gas_limit: fields.gas_limit.get(at.gas).ok_or_else(|| need("gas limit"))?.saturating_to(),
        gas_price: narrow(fields.max_fee_per_gas.or(fields.gas_price).unwrap_or_default()),
        kind: match fields.to.as_str() {
            "" if tx_type >= 3 => return Err("this type of transaction cannot create".into()),
            "" => TxKind::Create,
            to => TxKind::Call(to.parse().map_err(|_| need("receiver"))?),
        },
        value: U256::from_str(value).map_err(|e| format!("value {value}: {e}"))?,
        data: fields.data.get(at.data).ok_or_else(|| need("data"))?.clone(),
        nonce: fields.nonce.saturating_to(),
        chain_id: Some(1),
        access_list: access_list.unwrap_or_default(),
        gas_priority_fee: fields.max_priority_fee_per_gas.map(narrow),
        blob_hashes: fields.blob_versioned_hashes.clone().unwrap_or_default(),
        max_fee_per_blob_gas: narrow(fields.max_fee_per_blob_gas.unwrap_or_default()),
        authorization_list: fields.authorization_list.iter().flatten().cloned().map(Either::Left).collect(),
    })
}
