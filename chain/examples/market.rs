//! What the market asks of a chain: committees that are seated, sessions that are opened and receipts that are settled, a second,
//! with 1 to 1,000 committees on one chain of one embedded validator in memory; and how exposed a sharing is to a party with a third of
//! the stake.
//!
//! `cargo run --release -p sahara-chain --example market`
#![expect(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a measurement"
)]

#[path = "../tests/it/common.rs"]
mod common;
#[path = "../tests/it/market_stage.rs"]
mod stage;

use std::time::Instant;

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use sahara_chain::wallet::Payment;
use sahara_market::{Committee, INFERENCE_MARKET, Session, abi::InferenceMarket};

use common::pay;
use stage::{CALLS, CONSUMER, OWNER, PRICE, STRANGER, Stage, open_call};

/// Transactions of a block: what 30 million gas hold of the dearest.
const BLOCK: usize = 80;

fn main() {
    println!("committees    seated/s    opened/s   settled/s   gas of a settlement");
    for count in [1, 10, 100, 1000] {
        let mut stage = Stage::new();
        let first = stage.committee.clone();
        let committees: Vec<Committee> =
            (1..=count).map(|epoch| Committee { epoch: 1 + epoch, ..first.clone() }).collect();
        let seats = committees.iter().map(|c| InferenceMarket::seatCall { c: c.clone() });
        let (seated, _) = rate(&mut stage, OWNER, 0, seats.collect());
        let sessions: Vec<Session> = committees
            .iter()
            .map(|c| Session { lanes: vec![c.id()], nonce: U256::from(c.epoch), ..stage.session() })
            .collect();
        let (opened, _) = rate(&mut stage, CONSUMER, CALLS * PRICE, sessions.iter().map(open_call).collect());
        let mut settlements = Vec::new();
        for (committee, session) in committees.iter().zip(&sessions) {
            stage.committee = committee.clone();
            let receipt = stage.receipt(session, CALLS);
            settlements.push(stage.settlement(session, &receipt));
        }
        let (settled, gas) = rate(&mut stage, STRANGER, 0, settlements);
        println!("{count:>10}  {seated:>10.0}  {opened:>10.0}  {settled:>10.0}  {gas:>20}");
    }
    // Two of three seats, drawn by stake, for a party that has a third of it.
    let third: f64 = 1.0 / 3.0;
    let two = 3.0 * third * third * (1.0 - third) + third.powi(3);
    println!("\na party with a third of the stake has two of three seats of a committee with chance {two:.3}");
    for changes in [1, 4, 12, 52] {
        let exposed = 1.0 - (1.0 - two).powi(changes);
        println!("  of a sharing whose committee changes {changes:>2} times a year, in one of them: {exposed:.3}");
    }
}

/// Calls a second, and the gas of the last one.
fn rate<C: SolCall>(stage: &mut Stage, from: usize, value: u128, calls: Vec<C>) -> (f64, u64) {
    let txs: Vec<Bytes> = calls
        .iter()
        .map(|call| {
            let nonce = stage.nonces[from];
            stage.nonces[from] += 1;
            let (to, input): (Option<Address>, Bytes) = (Some(INFERENCE_MARKET), call.abi_encode().into());
            pay(from, Payment { nonce, to, value: U256::from(value), input, gas_limit: 370_000, ..Payment::default() })
        })
        .collect();
    let began = Instant::now();
    let mut gas = 0;
    for block in txs.chunks(BLOCK) {
        let done = stage.chain.block(block);
        assert_eq!(done.results.len(), block.len(), "a block did not take all");
        for result in done.results {
            assert_eq!(result.code, 0, "{result:?}");
            gas = result.gas_used;
        }
    }
    (txs.len() as f64 / began.elapsed().as_secs_f64(), gas)
}
