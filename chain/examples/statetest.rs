//! Runs Ethereum's state tests through this chain's EVM, its state and its trie.
//!
//! `cargo run --release -p sahara-chain --example statetest -- DIR`
//!
//! Prints every failure and every skipped file with its reason, then one line: passed, failed, skipped.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::Arc,
};

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
struct Test {
    env: Env,
    pre: BTreeMap<Address, Pre>,
    transaction: Transaction,
    post: BTreeMap<String, Vec<Post>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Env {
    current_coinbase: Address,
    current_difficulty: U256,
    current_gas_limit: U256,
    current_number: U256,
    current_timestamp: U256,
    current_base_fee: Option<U256>,
    current_random: Option<B256>,
    current_excess_blob_gas: Option<U256>,
}

#[derive(Deserialize)]
struct Pre {
    balance: U256,
    code: Bytes,
    nonce: U256,
    storage: BTreeMap<U256, U256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    data: Vec<Bytes>,
    gas_limit: Vec<U256>,
    value: Vec<String>,
    nonce: U256,
    sender: Option<Address>,
    #[serde(default)]
    to: String,
    gas_price: Option<U256>,
    max_fee_per_gas: Option<U256>,
    max_priority_fee_per_gas: Option<U256>,
    #[serde(default)]
    access_lists: Vec<Option<AccessList>>,
    blob_versioned_hashes: Option<Vec<B256>>,
    max_fee_per_blob_gas: Option<U256>,
    authorization_list: Option<Vec<SignedAuthorization>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Post {
    hash: B256,
    logs: B256,
    indexes: Indexes,
    expect_exception: Option<String>,
}

#[derive(Deserialize)]
struct Indexes {
    data: usize,
    gas: usize,
    value: usize,
}

/// Tests of accounts that have storage but neither code nor nonce (EIP-7610). No block can make one, on this chain or
/// on Ethereum since 2016, and revm does not look for them.
const UNREACHABLE: [&str; 5] = [
    "InitCollisionParis.json",
    "RevertInCreateInInitCreate2Paris.json",
    "RevertInCreateInInit_Paris.json",
    "create2collisionStorageParis.json",
    "dynamicAccountOverwriteEmpty_Paris.json",
];

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: statetest DIR");
        return ExitCode::from(2);
    };
    let mut files = Vec::new();
    find(Path::new(&folder), &mut files);
    files.sort();
    let (mut passed, mut failed, mut skipped) = (0u64, 0u64, 0u64);
    for file in &files {
        if UNREACHABLE.iter().any(|name| file.ends_with(name)) {
            println!("skipped {}: begins with a state that no block can make (EIP-7610)", file.display());
            skipped += 1;
            continue;
        }
        let tests: BTreeMap<String, Test> = match std::fs::read(file)
            .map_err(|e| e.to_string())
            .and_then(|json| serde_json::from_slice(&json).map_err(|e| e.to_string()))
        {
            Ok(tests) => tests,
            Err(e) => {
                println!("skipped {}: {e}", file.display());
                skipped += 1;
                continue;
            }
        };
        for (name, test) in &tests {
            for (fork, posts) in &test.post {
                let Some(spec) = spec(fork) else {
                    println!("skipped {name} {fork}: a fork that was never live or has its own rules for roots");
                    skipped += posts.len() as u64;
                    continue;
                };
                for (i, post) in posts.iter().enumerate() {
                    match run(test, spec, post) {
                        Ok(()) => passed += 1,
                        Err(why) => {
                            println!("FAILED {} {name} {fork}[{i}]: {why}", file.display());
                            failed += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped in {} files", files.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
}

fn spec(fork: &str) -> Option<SpecId> {
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

fn run(test: &Test, spec: SpecId, post: &Post) -> Result<(), String> {
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
