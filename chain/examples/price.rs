//! What native contracts should cost: the time of each part of a call beside `ecrecover`, which costs 3,000 gas, through
//! the same machine on the same core.
//!
//! `cargo run --release -p sahara-chain --example price`
#![expect(clippy::unwrap_used, clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a measurement")]

use std::{sync::Arc, time::Instant};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use ed25519_dalek::{Signer, SigningKey};
use sahara_chain::{
    evm::{
        BlockContext, Call, FORK, Machine,
        committee::{self, MAX_KEYS, Signed},
    },
    state::StateView,
    store::{MemoryStore, Store},
};
use sahara_market::{Receipt, committee_root};

const ECRECOVER_GAS: f64 = 3_000.0;
/// Between the slowest machine that should keep up and the one that measures.
const SAFETY: f64 = 2.0;
const ROUNDS: usize = 60;
const CALLS: u32 = 20;
const CHAIN_ID: u64 = 1337;

fn main() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut view = StateView::new(store.reader().unwrap());
    let block = BlockContext {
        chain_id: CHAIN_ID,
        number: 1,
        time: 1,
        beneficiary: Address::ZERO,
        gas_limit: u64::MAX,
        base_fee: 0,
        random: B256::ZERO,
        spec: FORK,
    };
    let mut machine = Machine::for_calls(&mut view, &block);
    let mut time = |to: Address, input: &Bytes| fastest_ns(&mut machine, to, input);

    // A call of the identity contract with the same bytes is what calling costs without any work.
    let number = Address::with_last_byte;
    let recover = ecrecover_input();
    let unit = (time(number(1), &recover) - time(number(4), &recover)) / ECRECOVER_GAS;
    println!("ecrecover: {:.0} ns, so one gas is {unit:.2} ns", unit * ECRECOVER_GAS);

    let own = |input: &Bytes, time: &mut dyn FnMut(Address, &Bytes) -> f64| {
        time(committee::ADDRESS, input) - time(number(4), input)
    };
    let committee = Committee::new();
    let base = own(&committee.digest(1, 0), &mut time);
    let keys = (own(&committee.digest(MAX_KEYS, 0), &mut time) - base) / (MAX_KEYS - 1) as f64;
    let signed = own(&committee.digest(MAX_KEYS, MAX_KEYS), &mut time);
    let signature = (signed - own(&committee.digest(MAX_KEYS, 0), &mut time)) / MAX_KEYS as f64;
    // A receipt adds its digest, and each key once more: in the hash over the committee.
    let receipt = own(&committee.receipt(1), &mut time) - base;
    let hashed = own(&committee.receipt(MAX_KEYS), &mut time) - own(&committee.digest(MAX_KEYS, 0), &mut time);
    let keys = keys + (hashed - receipt) / (MAX_KEYS - 1) as f64;
    for (part, ns, constant) in [
        ("call", base, committee::BASE_GAS),
        ("key (of 64)", keys, committee::KEY_GAS),
        ("signature", signature, committee::SIGNATURE_GAS),
        ("receipt", receipt, committee::RECEIPT_GAS),
    ] {
        let gas = ns.max(0.0) / unit;
        println!("{part:12} {ns:8.0} ns = {gas:6.0} gas, with safety {:6.0}; charged {constant}", gas * SAFETY);
    }
}

/// Nanoseconds of one call, in the fastest round: whatever else the machine does only slows it down.
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn fastest_ns(machine: &mut Machine<'_>, to: Address, input: &Bytes) -> f64 {
    let call = Call { to: Some(to), input: input.clone(), gas_limit: 1 << 40, ..Call::default() };
    let rounds = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        for _ in 0..CALLS {
            assert!(machine.call(&call).unwrap().unwrap().success);
        }
        begun.elapsed().as_nanos() as f64 / f64::from(CALLS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

struct Committee {
    secret: Vec<SigningKey>,
    keys: Vec<[u8; 32]>,
}

impl Committee {
    fn new() -> Self {
        let secret: Vec<SigningKey> = (1..=64).map(|i| SigningKey::from_bytes(&[i; 32])).collect();
        let keys = secret.iter().map(|key| key.verifying_key().to_bytes()).collect();
        Self { secret, keys }
    }

    fn signatures(&self, signers: usize, digest: B256) -> Vec<u8> {
        self.secret[..signers].iter().flat_map(|key| key.sign(digest.as_slice()).to_bytes()).collect()
    }

    fn digest(&self, keys: usize, signers: usize) -> Bytes {
        let digest = B256::repeat_byte(7);
        signed(&self.keys[..keys], signers, &self.signatures(signers, digest)).ask(digest)
    }

    fn receipt(&self, keys: usize) -> Bytes {
        let receipt = Receipt { committee: committee_root(&self.keys[..keys]), ..Receipt::default() };
        signed(&self.keys[..keys], 0, &[]).ask_receipt(&receipt)
    }
}

/// The first `count` of `keys` signed.
fn signed<'a>(keys: &'a [[u8; 32]], count: usize, signatures: &'a [u8]) -> Signed<'a> {
    let signers = u64::MAX.checked_shr(64 - u32::try_from(count).unwrap()).unwrap_or(0);
    Signed { keys, signers, signatures, threshold: 1 }
}

/// A valid question to `ecrecover`: an example of its specification.
fn ecrecover_input() -> Bytes {
    let wallet = sahara_chain::wallet::Wallet::new(B256::repeat_byte(1), CHAIN_ID).unwrap();
    let hash = keccak256("a measurement");
    let signature = wallet.sign_hash(hash).unwrap();
    let mut input = hash.to_vec();
    input.extend(U256::from(27 + u8::from(signature.v())).to_be_bytes::<32>());
    input.extend(signature.r().to_be_bytes::<32>());
    input.extend(signature.s().to_be_bytes::<32>());
    input.into()
}
