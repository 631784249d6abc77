//! Replays the request and answer pairs of Ethereum's `execution-apis` against this chain's JSON-RPC.
//!
//! `cargo run --release -p sahara-chain --example execution-apis -- DIR`
//!
//! DIR is the `tests` folder of that repository: `genesis.json` and `chain.rlp` are a chain that has seen every fork; its
//! blocks are executed by this chain's EVM, state and stores, and every root is compared. Then each `.io` file is asked.
//! Prints every failure and every skipped file with its reason, then one line: passed, failed, skipped.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use alloy_consensus::{
    Block as EthBlock, Eip658Value, Receipt, ReceiptEnvelope, Transaction as _, TxEnvelope, TxType,
    proofs::calculate_receipt_root, transaction::SignerRecoverable,
};
use alloy_eips::eip2718::{Encodable2718, Typed2718};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address};
use alloy_rlp::Decodable;
use revm::{
    context::{BlockEnv, TxEnv},
    context_interface::block::BlobExcessGasAndPrice,
};
use sahara_chain::{
    block::{Block, TxFacts},
    evm::{Machine, Outcome, SpecId},
    fees::FeeParams,
    ledger::{BeginBlock, Head, Ledger, Params, record_past},
    rpc::{self, Backend, Session, Submit, Submitted},
    state::{Account, StateView, StoreRoots},
    store::{Batch, MemoryStore, Store},
    tx::Tx,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Pairs that cannot hold here, with the reason.
const SKIPPED: [(&str, &str); 14] = [
    ("eth_simulateV1/ethSimulate-overflow-nonce.io", "a nonce of 2^64 - 1 stays, where geth's wraps around"),
    ("eth_simulateV1/ethSimulate-blobs", "this chain takes no blobs"),
    (
        "eth_simulateV1/ethSimulate-empty-with-block-num-set-firstblock",
        "rules of before Paris, which this chain never had",
    ),
    (
        "eth_simulateV1/ethSimulate-empty-with-block-num-set-minusone",
        "roots of blocks on an old state are not computed: only the newest state has its tries",
    ),
    ("testing_buildBlockV1", "blocks are built by consensus, there is no such method"),
    ("eth_config", "not offered: it tells the forks of Ethereum"),
    ("eth_sendRawTransaction/send-blob-tx", "this chain takes no blobs"),
    ("eth_blobBaseFee", "this chain takes no blobs, their price is fixed"),
    ("eth_getTransactionReceipt/get-blob-tx", "this chain takes no blobs"),
    ("debug_getRawBlock/get-block-n.io", "the block has an uncle, which this chain's blocks never have"),
    ("eth_getBlockByNumber/get-block-shanghai-fork", "the block has a withdrawal, which this chain's never have"),
    ("debug_getRawTransaction/get-invalid-hash", "a hash without 0x is understood, not refused"),
    ("eth_capabilities", "logs go with their blocks, they have no window of their own"),
    ("txpool_content/", "the pool holds what the skipped testing_buildBlockV1 left in it"),
];

#[tokio::main]
async fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: execution-apis DIR");
        return ExitCode::from(2);
    };
    match run(Path::new(&folder)).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(2)
        }
    }
}

async fn run(folder: &Path) -> Result<u64> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let height = import(folder, store.as_ref())?;
    println!("imported {height} blocks, all roots agree");
    let ledger = Arc::new(Ledger::open(store)?);
    let (_sender, heights) = watch::channel(height);
    let backend = Backend::new(ledger.clone(), Arc::new(Straight(ledger)), heights);
    let (backend, session) = (Arc::new(backend), Session::local());
    let mut files = Vec::new();
    find(folder, &mut files)?;
    files.sort();
    let (mut passed, mut failed, mut skipped) = (0u64, 0u64, 0u64);
    for file in &files {
        let name = file.strip_prefix(folder)?.display().to_string();
        if let Some((_, why)) = SKIPPED.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            println!("skipped {name}: {why}");
            skipped += 1;
            continue;
        }
        let text = std::fs::read_to_string(file)?;
        let loosely = text.contains("// speconly");
        let mut wrong = None;
        let mut asked = String::new();
        for line in text.lines() {
            if let Some(request) = line.strip_prefix(">> ") {
                let answer = rpc::answer(&backend, &session, request.as_bytes()).await;
                asked = String::from_utf8(answer.ok_or("no answer")?.text)?;
            } else if let Some(expected) = line.strip_prefix("<< ") {
                wrong = wrong.or(differs(&serde_json::from_str(&asked)?, &serde_json::from_str(expected)?, loosely));
            }
        }
        match wrong {
            None => passed += 1,
            Some(why) => {
                println!("failed {name}: {why}");
                failed += 1;
            }
        }
    }
    println!("passed {passed}, failed {failed}, skipped {skipped}");
    Ok(failed)
}

/// Takes transactions into the ledger's own pool.
struct Straight(Arc<Ledger>);

impl Submit for Straight {
    fn submit(&self, tx: Arc<Tx>) -> Submitted<'_> {
        let admitted = self.0.admit(tx);
        Box::pin(async move { admitted })
    }
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|ext| ext == "io") {
            found.push(path);
        }
    }
    Ok(())
}

/// Where `ours` is not as `theirs`. Errors agree if their codes do; the words are geth's and its Go's.
fn differs(ours: &Value, theirs: &Value, loosely: bool) -> Option<String> {
    match (theirs.get("error"), ours.get("error")) {
        (Some(theirs), Some(ours)) if theirs["code"] == ours["code"] => None,
        (None, None) => compare("result", &ours["result"], &theirs["result"], loosely),
        _ => Some(format!("answered {}, expected {}", short(ours), short(theirs))),
    }
}

fn compare(at: &str, ours: &Value, theirs: &Value, loosely: bool) -> Option<String> {
    let wrong = || Some(format!("{at} is {}, expected {}", short(ours), short(theirs)));
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            if let Some(extra) = a.keys().find(|key| !b.contains_key(*key) && !loosely) {
                return Some(format!("{at} has {extra}, which is not expected"));
            }
            b.iter().find_map(|(key, theirs)| match a.get(key) {
                Some(ours) => compare(&format!("{at}.{key}"), ours, theirs, loosely),
                None if loosely && matches!(key.as_str(), "error" | "refund" | "storage" | "memory") => None,
                None => Some(format!("{at} has no {key}")),
            })
        }
        (Value::Array(a), Value::Array(b)) if loosely || a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (ours, theirs))| compare(&format!("{at}[{i}]"), ours, theirs, loosely)),
        (Value::String(a), Value::String(b)) if loosely => {
            if a.starts_with("0x") == b.starts_with("0x") {
                None
            } else {
                wrong()
            }
        }
        (Value::Number(_), Value::Number(_)) | (Value::Bool(_), Value::Bool(_)) if loosely => None,
        _ if ours == theirs => None,
        _ => wrong(),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(300).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Genesis {
    config: Config,
    extra_data: Bytes,
    gas_limit: U256,
    difficulty: U256,
    alloc: BTreeMap<Address, Allocated>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    chain_id: u64,
    #[serde(flatten)]
    forks: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Allocated {
    balance: U256,
    #[serde(default)]
    nonce: U256,
    #[serde(default)]
    code: Bytes,
    #[serde(default)]
    storage: BTreeMap<B256, B256>,
}

const FORKS: [(&str, SpecId); 13] = [
    ("osakaTime", SpecId::OSAKA),
    ("pragueTime", SpecId::PRAGUE),
    ("cancunTime", SpecId::CANCUN),
    ("shanghaiTime", SpecId::SHANGHAI),
    ("mergeNetsplitBlock", SpecId::MERGE),
    ("londonBlock", SpecId::LONDON),
    ("berlinBlock", SpecId::BERLIN),
    ("istanbulBlock", SpecId::ISTANBUL),
    ("petersburgBlock", SpecId::PETERSBURG),
    ("byzantiumBlock", SpecId::BYZANTIUM),
    ("eip158Block", SpecId::SPURIOUS_DRAGON),
    ("eip150Block", SpecId::TANGERINE),
    ("homesteadBlock", SpecId::HOMESTEAD),
];

impl Config {
    fn spec(&self, header: &alloy_consensus::Header) -> SpecId {
        let reached = |name: &str| {
            let begins = self.forks.get(name).and_then(Value::as_u64);
            let now = if name.ends_with("Time") { header.timestamp } else { header.number };
            begins.is_some_and(|begins| now >= begins)
        };
        FORKS.iter().find(|(name, _)| reached(name)).map_or(SpecId::FRONTIER, |(_, spec)| *spec)
    }

    fn blob_fraction(&self, header: &alloy_consensus::Header) -> u64 {
        let of = |name: &str| self.forks.get("blobSchedule")?.get(name)?.get("baseFeeUpdateFraction")?.as_u64();
        let reached = |name: &str| {
            let begins = self.forks.get(&format!("{name}Time")).and_then(Value::as_u64);
            begins.is_some_and(|begins| header.timestamp >= begins)
        };
        let newest = ["bpo2", "bpo1", "osaka", "prague", "cancun"].into_iter().find(|name| reached(name));
        newest.and_then(of).unwrap_or(3_338_477)
    }
}

/// Executes the chain in `folder` into `store`; gives its height.
fn import(folder: &Path, store: &dyn Store) -> Result<u64> {
    let genesis: Genesis = serde_json::from_slice(&std::fs::read(folder.join("genesis.json"))?)?;
    let chain = std::fs::read(folder.join("chain.rlp"))?;
    let mut rest = chain.as_slice();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        blocks.push(EthBlock::<TxEnvelope>::decode(&mut rest)?);
    }
    let first = blocks.first().ok_or("chain.rlp is empty")?;
    let head = genesis_block(&genesis, first.header.parent_hash, store)?;
    let mut state = head;
    for block in &blocks {
        state = execute(&genesis.config, block, &state, store)
            .map_err(|e| format!("block {} ({:?}): {e}", block.header.number, genesis.config.spec(&block.header)))?;
    }
    Ok(state.height)
}

fn params(genesis: &Genesis) -> Params {
    let fees = FeeParams {
        block_gas_limit: 200_000_000,
        initial_base_fee: 1_000_000_000,
        min_base_fee: 0,
        base_fee_denominator: 8,
        elasticity: 2,
    };
    Params { chain_id: genesis.config.chain_id, fees }
}

fn genesis_block(genesis: &Genesis, hash: B256, store: &dyn Store) -> Result<Head> {
    let mut view = StateView::new(store.reader()?);
    for (address, account) in &genesis.alloc {
        let code_hash = view.add_code(account.code.clone());
        let nonce = account.nonce.saturating_to();
        view.set_account(*address, Account { nonce, balance: account.balance, code_hash, ..Account::default() })?;
        for (slot, word) in &account.storage {
            view.set_slot(*address, U256::from_be_bytes(slot.0), U256::from_be_bytes(word.0));
        }
    }
    let params = params(genesis);
    view.set_chain_value(b"params", Some(params.encode()));
    let (state_root, batch) = view.evm_root()?;
    let header = alloy_consensus::Header {
        state_root,
        extra_data: genesis.extra_data.clone(),
        gas_limit: genesis.gas_limit.saturating_to(),
        difficulty: genesis.difficulty,
        ..alloy_consensus::Header::default()
    };
    let block = Block { hash: header.hash_slow(), header, txs: vec![], receipts: vec![], facts: vec![] };
    if block.hash != hash {
        return Err(format!("genesis has hash {}, expected {hash}", block.hash).into());
    }
    seal(view, block, params, batch, store)
}

fn seal(view: StateView, block: Block, params: Params, mut batch: Batch, store: &dyn Store) -> Result<Head> {
    let (height, before) = (block.header.number, view.reader().clone());
    let roots: StoreRoots = view.seal(height, block.header.state_root, &mut batch)?;
    block.store(&mut batch);
    let head = Head {
        height,
        app_hash: roots.app_hash(),
        roots,
        hash: block.hash,
        header: block.header,
        params,
        reader: before.clone(),
        validators: Arc::default(),
    };
    head.store(&mut batch);
    BeginBlock::store(&[], &[], None, height, &mut batch);
    record_past(before.as_ref(), height, &mut batch)?;
    store.write(&batch)?;
    Ok(head)
}

/// Runs closures on a machine inside one block.
struct Inside<'a> {
    config: &'a Config,
    block: &'a EthBlock<TxEnvelope>,
    spec: SpecId,
}

impl Inside<'_> {
    fn env(&self) -> BlockEnv {
        let header = &self.block.header;
        let excess = header.excess_blob_gas.unwrap_or_default();
        BlockEnv {
            number: U256::from(header.number),
            beneficiary: header.beneficiary,
            timestamp: U256::from(header.timestamp),
            gas_limit: header.gas_limit,
            basefee: header.base_fee_per_gas.unwrap_or_default(),
            difficulty: header.difficulty,
            prevrandao: self.spec.is_enabled_in(SpecId::MERGE).then_some(header.mix_hash),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(excess, self.config.blob_fraction(header))),
            ..BlockEnv::default()
        }
    }

    fn run(&self, view: &mut StateView, tx: TxEnv, system: bool) -> Result<Outcome> {
        let mut machine = Machine::with(view, self.env(), self.spec, self.config.chain_id, |cfg| {
            cfg.disable_nonce_check = system;
            cfg.disable_base_fee = system;
            cfg.disable_block_gas_limit = system;
            if system {
                cfg.tx_gas_limit_cap = Some(u64::MAX);
            }
        });
        Ok(machine.transact(tx)??)
    }

    /// A call by the system address, which pays nothing and leaves no trace of itself.
    fn system(&self, view: &mut StateView, contract: Address, data: Bytes) -> Result<()> {
        const SYSTEM: Address = address!("0xfffffffffffffffffffffffffffffffffffffffe");
        let kind = TxKind::Call(contract);
        let gas_limit = 30_000_000;
        let tx = TxEnv { caller: SYSTEM, kind, data, gas_limit, gas_price: 0, chain_id: None, ..TxEnv::default() };
        self.run(view, tx, true)?;
        view.remove_account(SYSTEM);
        Ok(())
    }
}

const BEACON_ROOTS: Address = address!("0x000f3df6d732807ef1319fb7b8bb8522d0beac02");
const HISTORY: Address = address!("0x0000f90827f1c53a10cb7a02335b175320002935");
const WITHDRAWALS: Address = address!("0x00000961ef480eb55e80d19ad83579a64c007002");
const CONSOLIDATIONS: Address = address!("0x0000bbddc7ce488642fb579f8b00f3a590007251");

fn execute(config: &Config, block: &EthBlock<TxEnvelope>, parent: &Head, store: &dyn Store) -> Result<Head> {
    let header = &block.header;
    let inside = Inside { config, block, spec: config.spec(header) };
    let after = |spec| inside.spec.is_enabled_in(spec);
    let mut view = StateView::new(store.reader()?);
    if let Some(root) = header.parent_beacon_block_root {
        inside.system(&mut view, BEACON_ROOTS, Bytes::from(root.0))?;
    }
    if after(SpecId::PRAGUE) {
        inside.system(&mut view, HISTORY, Bytes::from(header.parent_hash.0))?;
    }
    let (mut txs, mut receipts, mut facts) = (vec![], vec![], vec![]);
    let mut gas = 0u64;
    for envelope in &block.body.transactions {
        let sender = envelope.recover_signer()?;
        let tx = Tx::stored(envelope.encoded_2718().into(), sender)?;
        let outcome = inside.run(&mut view, env(&tx), false)?;
        gas += outcome.gas_used;
        let status = match after(SpecId::BYZANTIUM) {
            true => Eip658Value::Eip658(outcome.success),
            false => Eip658Value::PostState(view.clone().evm_root()?.0),
        };
        let receipt = Receipt { status, cumulative_gas_used: gas, logs: outcome.logs };
        let kind = TxType::try_from(envelope.ty())?;
        receipts.push(ReceiptEnvelope::from_typed(kind, receipt.with_bloom()));
        let contract = outcome.contract.unwrap_or_default();
        facts.push(TxFacts { sender, gas_used: outcome.gas_used, contract });
        txs.push(Arc::new(tx));
    }
    if after(SpecId::PRAGUE) {
        inside.system(&mut view, WITHDRAWALS, Bytes::new())?;
        inside.system(&mut view, CONSOLIDATIONS, Bytes::new())?;
    }
    let gwei = U256::from(1_000_000_000u64);
    for withdrawal in block.body.withdrawals.iter().flat_map(|all| all.iter()) {
        pay(&mut view, withdrawal.address, U256::from(withdrawal.amount) * gwei)?;
    }
    if !after(SpecId::MERGE) {
        let whole = match () {
            () if after(SpecId::PETERSBURG) || config.forks["constantinopleBlock"].as_u64() <= Some(header.number) => {
                2u64
            }
            () if after(SpecId::BYZANTIUM) => 3,
            () => 5,
        };
        let reward = U256::from(whole) * gwei * gwei;
        pay(&mut view, header.beneficiary, reward)?;
        for uncle in &block.body.ommers {
            pay(&mut view, header.beneficiary, reward / U256::from(32))?;
            pay(&mut view, uncle.beneficiary, reward * U256::from(uncle.number + 8 - header.number) / U256::from(8))?;
        }
    }
    let (root, batch) = view.evm_root()?;
    if calculate_receipt_root(&receipts) != header.receipts_root || gas != header.gas_used {
        return Err(format!("receipts differ: {gas} gas used, expected {}", header.gas_used).into());
    }
    if root != header.state_root {
        return Err(format!("state root is {root}, expected {}", header.state_root).into());
    }
    let block = Block { hash: header.hash_slow(), header: header.clone(), txs, receipts, facts };
    seal(view, block, parent.params.clone(), batch, store)
}

fn pay(view: &mut StateView, address: Address, amount: U256) -> Result<()> {
    let account = view.account(address)?.unwrap_or_default();
    view.set_account(address, Account { balance: account.balance + amount, ..account })?;
    Ok(())
}

fn env(tx: &Tx) -> TxEnv {
    let fields = &tx.envelope;
    TxEnv {
        tx_type: fields.ty(),
        caller: tx.sender,
        gas_limit: fields.gas_limit(),
        gas_price: fields.max_fee_per_gas(),
        kind: fields.kind(),
        value: fields.value(),
        data: fields.input().clone(),
        nonce: fields.nonce(),
        chain_id: fields.chain_id(),
        access_list: fields.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: fields.max_priority_fee_per_gas(),
        blob_hashes: fields.blob_versioned_hashes().unwrap_or_default().to_vec(),
        max_fee_per_blob_gas: fields.max_fee_per_blob_gas().unwrap_or_default(),
        authorization_list: fields
            .authorization_list()
            .unwrap_or_default()
            .iter()
            .map(|signed| revm::context::either::Either::Left(signed.clone()))
            .collect(),
    }
}
