//! What gas costs, and what it has cost.

use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Backend,
    backend::read_block,
    budget::Budget,
    error::{self, RpcResult},
    numbers::hex,
    params::{List, Params},
};
use crate::block::Block;

/// The tip that is suggested: proposers take any, a little keeps the order fair.
const SUGGESTED_TIP: u64 = 1_000_000;

/// Percentiles of tips for each block.
const MAX_PERCENTILES: usize = 100;

/// Blocks in one history.
const MAX_BLOCKS: u64 = 1024;

pub fn tip(_: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(hex(SUGGESTED_TIP))
}

pub fn gas_price(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(hex(backend.head()?.next_base_fee().saturating_add(SUGGESTED_TIP)))
}

pub fn base_fee(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    Ok(hex(backend.head()?.next_base_fee()))
}

/// Tools write the count as a quantity or as a plain number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Quantity(U64),
}

pub fn history(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (count, newest): (Count, BlockNumberOrTag) = (params.next()?, params.next()?);
    let percentiles: List<f64, MAX_PERCENTILES> = params.optional_next()?.unwrap_or_default();
    let percentiles = percentiles.0;
    if percentiles.iter().any(|p| !(0.0..=100.0).contains(p)) || !percentiles.is_sorted() {
        return Err(error::invalid("reward percentiles must rise from 0 to 100"));
    }
    let count = match count {
        Count::Number(n) => n,
        Count::Quantity(n) => n.to(),
    };
    let head = backend.head()?;
    let newest = backend.height(newest, &head);
    if newest > head.height {
        return Err(error::not_found("request beyond head block"));
    }
    let count = count.clamp(1, MAX_BLOCKS).min(newest + 1);
    let oldest = newest + 1 - count;
    let (mut fees, mut ratios, mut rewards) = (vec![], vec![], vec![]);
    for height in oldest..=newest {
        let Some(block) = read_block(&head, height, budget)? else {
            return Err(error::not_found(format!("block {height} is pruned")));
        };
        fees.push(hex(block.header.base_fee_per_gas.unwrap_or_default()));
        ratios.push(ratio(block.header.gas_used, block.header.gas_limit));
        if !percentiles.is_empty() {
            rewards.push(rewards_at(&block, &percentiles));
        }
        if height == newest {
            let next = head
                .params
                .fees
                .next_base_fee(block.header.gas_used, block.header.base_fee_per_gas.unwrap_or_default());
            fees.push(hex(if height == 0 { head.params.fees.initial_base_fee } else { next }));
        }
    }
    let blobs = vec![hex(1); fees.len()];
    let mut out = json!({
        "oldestBlock": hex(oldest),
        "baseFeePerGas": fees,
        "gasUsedRatio": ratios,
        "baseFeePerBlobGas": blobs,
        "blobGasUsedRatio": vec![0; ratios.len()],
    });
    if !percentiles.is_empty() {
        out["reward"] = json!(rewards);
    }
    budget.json(&out)
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "an answer for people, not consensus")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The tips that were paid, at each percentile of the block's gas.
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "an answer for people, not consensus")]
fn rewards_at(block: &Block, percentiles: &[f64]) -> Vec<Value> {
    let base_fee = block.header.base_fee_per_gas.unwrap_or_default();
    let mut tips: Vec<(u128, u64)> = block
        .txs
        .iter()
        .zip(&block.facts)
        .map(|(tx, facts)| (tx.envelope.effective_tip_per_gas(base_fee).unwrap_or_default(), facts.gas_used))
        .collect();
    tips.sort_unstable();
    percentiles
        .iter()
        .map(|percentile| {
            let threshold = block.header.gas_used as f64 * percentile / 100.0;
            let mut sum = 0u64;
            let found = tips.iter().find(|(_, gas)| {
                sum = sum.saturating_add(*gas);
                sum as f64 >= threshold
            });
            json!(format!("{:#x}", found.or(tips.last()).map_or(0, |(tip, _)| *tip)))
        })
        .collect()
}
