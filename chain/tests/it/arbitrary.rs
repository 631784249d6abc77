//! What bytes from outside can do to a ledger: one function for each way in. The fuzz targets and an ordinary test run
//! the same code. Nothing may panic, and honest nodes accept what honest nodes propose.
#![allow(clippy::unwrap_used, dead_code, reason = "a panic is the failure report; each target uses one function")]

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use alloy_primitives::{Address, Bytes, U256};
use ed25519_dalek::SigningKey;
use sahara_chain::{
    application::{Application, ChainStart, Check, DecidedBlock, Offence, OffenceKind, Offer, Proposal, Verdict, Vote},
    block,
    error::StoreError,
    evm::{
        committee,
        native::{Ending, Frame},
    },
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisValidator},
    ledger::Ledger,
    snapshot::{Manifest, StateSize},
    staking::{self, Env, StakingParams, Storage},
    store::{Batch, MemoryStore, Store, Table},
    validator::ConsensusKey,
    wallet::{Payment, Wallet},
};
use sha2::{Digest, Sha256};

const TIME: u64 = 1_800_000_000;
const MOST: usize = 12;

fn validator() -> GenesisValidator {
    let key = SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes();
    GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key: ConsensusKey(key.into()), power: 10 }
}

fn ledger() -> Ledger {
    let ledger = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
    let app_state = serde_json::to_vec(&Genesis::development(vec![validator()])).unwrap();
    ledger
        .init_chain(&ChainStart { chain_id: "fuzz".into(), time: TIME, app_state, initial_height: 1, evidence: None })
        .unwrap();
    ledger.finalize(&DecidedBlock { height: 1, time: TIME + 1, ..DecidedBlock::default() }).unwrap();
    ledger.commit().unwrap();
    ledger
}

/// A ledger at height 1, for questions that leave no trace in a block.
static LEDGER: LazyLock<Ledger> = LazyLock::new(ledger);

/// Reads transactions out of `bytes`: junk, signed ones with this call data for every kind of receiver, and damaged ones.
pub fn txs(bytes: &[u8]) -> Vec<Bytes> {
    let mut out: Vec<Bytes> = Vec::new();
    let mut nonces = [0u64; 10];
    let mut rest = bytes;
    while let ([kind, who, length, after @ ..], true) = (rest, out.len() < MOST) {
        let (data, later) = after.split_at(usize::from(*length).min(after.len()));
        rest = later;
        let from = usize::from(who % 10);
        let receivers = [Some(staking::ADDRESS), Some(committee::ADDRESS), Some(Address::repeat_byte(*who)), None];
        match (kind % 8, out.last()) {
            (0, _) => out.push(Bytes::copy_from_slice(data)),
            (1, Some(last)) => {
                let mut damaged = last.to_vec();
                let at = usize::from(*who) % damaged.len().max(1);
                damaged.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= length | 1);
                out.push(damaged.into());
            }
            (other, _) => {
                let payment = Payment {
                    nonce: nonces[from] + u64::from(other == 2),
                    to: receivers[usize::from(other % 4)],
                    value: U256::from(*length) << usize::from(kind / 8),
                    input: Bytes::copy_from_slice(data),
                    gas_limit: 60_000 + 4_000 * u64::from(*kind),
                    max_fee: 10_000_000_000,
                    tip: u128::from(*who),
                };
                nonces[from] += 1;
                out.push(Wallet::new(DEV_ACCOUNTS[from].1, DEV_CHAIN_ID).unwrap().pay(&payment).unwrap());
            }
        }
    }
    out
}

/// CheckTx: raw bytes, and the transactions that they spell.
pub fn check_tx(bytes: &[u8]) {
    for tx in txs(bytes).iter().map(Bytes::as_ref).chain([bytes]) {
        let first = LEDGER.check_tx(tx, Check::New);
        let again = LEDGER.check_tx(tx, Check::Again);
        assert_eq!(first.code == 0, again.code == 0, "{first:?} {again:?}");
    }
}

/// PrepareProposal, ProcessProposal and FinalizeBlock: what is prepared fits, is accepted and executes.
pub fn prepare(bytes: &[u8]) {
    let all = txs(bytes);
    let max_bytes = bytes.len() as u64 * 2;
    let offer = Proposal { height: 2, time: TIME + 2, txs: &all, max_bytes, ..Proposal::default() };
    let chosen = LEDGER.prepare(&offer);
    assert!(chosen.iter().map(|tx| tx.len() as u64).sum::<u64>() <= max_bytes);
    assert_eq!(LEDGER.process(&Proposal { txs: &chosen, ..offer }), Verdict::Accept);
    let ledger = ledger();
    let block = DecidedBlock { height: 2, time: TIME + 2, txs: chosen, ..DecidedBlock::default() };
    let done = ledger.finalize(&block).unwrap();
    assert!(done.results.iter().all(|result| result.code < 2), "{:?}", done.results);
}

/// ProcessProposal of anything: what is accepted executes without one transaction refused.
pub fn process(bytes: &[u8]) {
    let all = txs(bytes);
    let offer = Proposal { height: 2, time: TIME + 2, txs: &all, max_bytes: u64::MAX, ..Proposal::default() };
    if LEDGER.process(&offer) == Verdict::Accept {
        let block = DecidedBlock { height: 2, time: TIME + 2, txs: all, ..DecidedBlock::default() };
        let done = ledger().finalize(&block).unwrap();
        assert!(done.results.iter().all(|result| result.code < 2), "{:?}", done.results);
    }
}

/// FinalizeBlock of anything, with votes and offences: one result each, the same twice, and the chain goes on.
pub fn finalize(bytes: &[u8]) {
    let own = validator().consensus_key.address();
    let number = |i: usize| u64::from(bytes.get(i).copied().unwrap_or(0));
    let vote = Vote { validator: own, power: number(0), signed: number(1) % 2 == 0 };
    let kind = if number(2) % 2 == 0 { OffenceKind::DoubleSign } else { OffenceKind::LightClientAttack };
    let offence = Offence { validator: own, height: number(3), kind, power: number(4) };
    let offences = if number(2) % 4 == 0 { vec![offence, offence] } else { vec![] };
    let block =
        DecidedBlock { height: 2, time: TIME + 2, txs: txs(bytes), votes: vec![vote], offences, ..Default::default() };
    let run = || {
        let ledger = ledger();
        let done = ledger.finalize(&block).unwrap();
        ledger.commit().unwrap();
        let next = DecidedBlock { height: 3, time: TIME + 3, ..DecidedBlock::default() };
        (done.results, done.app_hash, ledger.finalize(&next).unwrap().app_hash)
    };
    let (one, other) = (run(), run());
    assert_eq!(one.0.len(), block.txs.len());
    assert_eq!(one, other);
}

/// The committee contract: any call data, any gas.
pub fn committee(bytes: &[u8]) {
    let (gas, input) = bytes.split_first_chunk::<4>().map_or((0, bytes), |(g, rest)| (u32::from_be_bytes(*g), rest));
    let selectors = [[0xe7, 0x5a, 0xd0, 0x23], [0x6f, 0xfa, 0x8d, 0xda]];
    for known in selectors.iter().map(<[u8; 4]>::as_slice).chain([[].as_slice()]) {
        let call = [known, input].concat();
        let (used, ending) = committee::NATIVE.call(&Frame::default(), &call, u64::from(gas));
        assert!(used <= u64::from(gas));
        assert!(!matches!(ending, Ending::Return(out) if out.len() != 32));
    }
}

#[derive(Clone, Default)]
struct Memory(BTreeMap<U256, U256>);

impl Storage for Memory {
    fn load(&mut self, slot: U256) -> Result<U256, StoreError> {
        Ok(self.0.get(&slot).copied().unwrap_or_default())
    }

    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError> {
        self.0.insert(slot, value);
        Ok(())
    }
}

/// The staking contract: several calls one after the other, each byte string as it is. What it pays, it was given.
pub fn staking(bytes: &[u8]) {
    let mut storage = Memory::default();
    StakingParams { governance: DEV_ACCOUNTS[1].0, ..StakingParams::default() }.store(&mut storage).unwrap();
    let mut balance = staking::bond_genesis(&mut storage, &validator()).unwrap();
    let mut rest = bytes;
    while let [who, value, length, after @ ..] = rest {
        let (input, later) = after.split_at(usize::from(*length).min(after.len()));
        rest = later;
        let value = U256::from(*value) << 58;
        let caller = DEV_ACCOUNTS[usize::from(who % 10)].0;
        let env = Env { caller, value, read_only: who & 64 != 0, height: 5, time: TIME + u64::from(*length) };
        assert!(staking::price(input) > 0);
        let before = storage.clone();
        match staking::run(&mut storage, &env, input).unwrap() {
            Ok(answer) => {
                balance += value;
                assert!(answer.payout <= balance);
                balance -= answer.payout;
                assert!(!env.read_only || storage.0 == before.0, "a static call changed something");
            }
            Err(why) => {
                assert!(!why.is_empty());
                storage = before;
            }
        }
    }
}

/// A genesis file: what reads also begins a chain or says why not, and is written back the same.
pub fn genesis(bytes: &[u8]) {
    let Ok(genesis) = Genesis::read(bytes) else { return };
    let json = serde_json::to_vec(&genesis).unwrap();
    assert_eq!(Genesis::read(&json).unwrap(), genesis);
    let ledger = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
    let _ = ledger.init_chain(&ChainStart {
        chain_id: "f".into(),
        time: 1,
        app_state: json,
        initial_height: 1,
        evidence: None,
    });
}

/// A manifest and a chunk of a snapshot, as a peer may send them: nothing becomes a state.
pub fn snapshot(bytes: &[u8]) {
    if let Some(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
    }
    // The chunk is what the manifest says, and the manifest is of a state that the chain has.
    let head = LEDGER.head().unwrap();
    let size = StateSize::of(&head).unwrap();
    let chunks = vec![Sha256::digest(bytes).into()];
    let manifest = Manifest { height: head.height, app_hash: head.app_hash, chunks, size };
    let joining = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
    let offered = joining.offer_snapshot(&manifest.announce(), head.app_hash.0.as_slice()).unwrap();
    assert!(matches!(offered, Offer::Accept));
    assert!(joining.apply_chunk(0, bytes).is_ok());
    assert_eq!(joining.info().height, 0);
}

/// A stored block whose bytes are damaged.
pub fn stored_block(bytes: &[u8]) {
    let store = MemoryStore::default();
    let mut batch = Batch::default();
    batch.put(Table::Blocks, 1u64.to_be_bytes(), bytes);
    store.write(&batch).unwrap();
    let reader = store.reader().unwrap();
    let _ = block::block_at(reader.as_ref(), 1);
    let _ = block::header_at(reader.as_ref(), 1);
}
