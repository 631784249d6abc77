//! Drives the price of gas up with full blocks and down with empty ones, and draws it.
//!
//! `cargo run --release -p sahara-chain --example fees -- OUT.svg`
//!
//! One embedded validator, in this process. Every block is checked: the base fee moves by its bound at most, in the
//! direction of the demand, and never under the floor.
#![expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a drawing for people")]

use std::{error::Error, sync::Arc};

use alloy_primitives::{Bytes, U256};
use ed25519_dalek::SigningKey;
use sahara_chain::{
    consensus::Time,
    embedded::Embedded,
    fees::FeeParams,
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisValidator},
    ledger::Ledger,
    store::MemoryStore,
    validator::ConsensusKey,
    wallet::{Payment, Wallet},
};

mod plot;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

/// How many blocks of what demand: parts of a hundred of what a block can hold.
const PHASES: [(&str, u64, u64); 6] = [
    ("half", 40, 50),
    ("full", 260, 100),
    ("empty", 240, 0),
    ("three quarters", 160, 75),
    ("one quarter", 180, 25),
    ("empty, down to the floor", 320, 0),
];

/// Init code that burns what it gets: JUMPDEST, PUSH0, JUMP.
const BURN: [u8; 3] = [0x5b, 0x5f, 0x56];
const BURN_GAS: u64 = 500_000;

/// What a block did.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Price of gas in it, in the smallest unit.
    pub base_fee: u64,
    /// Gas it used.
    pub gas_used: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(out) = std::env::args().nth(1) else { return Err("usage: fees OUT.svg".into()) };
    // Small blocks, so that full ones are quickly made; the rule is that of every chain.
    let fees = FeeParams {
        block_gas_limit: 10_000_000,
        initial_base_fee: 1_000_000_000,
        min_base_fee: 100_000_000,
        ..FeeParams::default()
    };
    let points = drive(&fees)?;
    check(&fees, &points)?;
    let phases: Vec<(&str, u64)> = PHASES.iter().map(|(name, blocks, _)| (*name, *blocks)).collect();
    std::fs::write(&out, plot::svg(&fees, &points, &phases))?;
    let price = |p: &Point| p.base_fee as f64 / 1e9;
    let top = points.iter().map(price).fold(0.0, f64::max);
    let last = points.last().map_or(0.0, price);
    println!(
        "{} blocks: base fee from 1 up to {top:.3} and down to {last:.3} Gwei (floor 0.1), in {out}",
        points.len()
    );
    Ok(())
}

fn drive(fees: &FeeParams) -> Result<Vec<Point>, Box<dyn Error>> {
    let key = SigningKey::from_bytes(&[9; 32]);
    let consensus_key = ConsensusKey(key.verifying_key().to_bytes().into());
    let validators = vec![GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key, power: 10 }];
    let genesis = Genesis { fees: fees.clone(), ..Genesis::development(validators) };
    let json = serde_json::to_vec(&genesis)?;
    let store = Arc::new(MemoryStore::default());
    let ledger = Arc::new(Ledger::open(store.clone())?);
    let mut chain = Embedded::start(ledger.clone(), store, key, "fees", &json, Time(START))?;
    let wallet = Wallet::new(DEV_ACCOUNTS[0].1, DEV_CHAIN_ID)?;
    let (mut nonce, mut now, mut points) = (0, START, Vec::new());
    for (_, blocks, demand) in PHASES {
        for _ in 0..blocks {
            let count = fees.block_gas_limit * demand / 100 / BURN_GAS;
            let txs = (nonce..nonce + count).map(|nonce| burn(&wallet, nonce)).collect::<Result<Vec<_>, _>>()?;
            nonce += count;
            now += SECOND;
            chain.step(&txs, Time(now))?;
            let head = ledger.head().ok_or("no block")?;
            let base_fee = head.header.base_fee_per_gas.unwrap_or_default();
            points.push(Point { base_fee, gas_used: head.header.gas_used });
        }
    }
    Ok(points)
}

fn burn(wallet: &Wallet, nonce: u64) -> Result<Bytes, Box<dyn Error>> {
    let payment = Payment {
        nonce,
        to: None,
        value: U256::ZERO,
        input: Bytes::from_static(&BURN),
        gas_limit: BURN_GAS,
        max_fee: 1_000_000_000_000,
        tip: 1,
    };
    Ok(wallet.pay(&payment)?)
}

fn check(fees: &FeeParams, points: &[Point]) -> Result<(), Box<dyn Error>> {
    let target = fees.block_gas_limit / fees.elasticity;
    for (height, pair) in points.windows(2).enumerate() {
        let (now, next) = (pair[0], pair[1]);
        let bound = now.base_fee / fees.base_fee_denominator + 1;
        let fits = next.base_fee >= fees.min_base_fee && next.base_fee.abs_diff(now.base_fee) <= bound;
        let direction = match now.gas_used.cmp(&target) {
            std::cmp::Ordering::Greater => next.base_fee > now.base_fee,
            std::cmp::Ordering::Less => next.base_fee < now.base_fee || next.base_fee == fees.min_base_fee,
            std::cmp::Ordering::Equal => next.base_fee == now.base_fee,
        };
        if !fits || !direction {
            return Err(format!("block {}: {now:?} then {next:?}", height + 1).into());
        }
    }
    let fee = |blocks: u64| points.get(usize::try_from(blocks).unwrap_or(0)).map_or(0, |p| p.base_fee);
    let (rest, full) = (PHASES[0].1, PHASES[0].1 + PHASES[1].1);
    if fee(full) < 10 * fee(rest) || points.last().map(|p| p.base_fee) != Some(fees.min_base_fee) {
        return Err("the load did not move the price as far as it should".into());
    }
    Ok(())
}
