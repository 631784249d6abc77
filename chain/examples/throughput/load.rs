//! Offers transactions at a steady rate and watches blocks for them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use base64::{Engine, engine::general_purpose::STANDARD};
use sahara_chain::{
    comet::Client,
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, TOKEN},
    wallet::{Payment, Wallet},
};
use serde_json::{Value, json};

use super::{
    Result, eventually,
    network::{Cpu, Network},
};

const SENDERS: u64 = 1_000;
const BATCH: usize = 100;
const FEE: u128 = 100_000_000_000;
/// What the transactions of the application that does nothing weigh: as much as a transfer.
const NOOP_BYTES: usize = 110;

/// What was offered and what came of it.
pub struct Outcome {
    pub offered: usize,
    pub refused: usize,
    pub committed: usize,
    /// From the first transaction to the last block with one.
    pub seconds: f64,
    pub blocks: u64,
    pub cpu: Cpu,
    /// Seconds from handing in to being seen in a block, sorted; empty where it was not watched.
    pub finality: Vec<f64>,
}

/// One transaction as it is handed in, and what to look for in blocks.
struct Offer {
    params: Value,
    hash: B256,
}

/// Transfers among many accounts, by Ethereum's JSON-RPC.
pub async fn transfers(network: &Network, rate: u64, seconds: u64) -> Result<Outcome> {
    let node = Client::new(network.targets[0]);
    eventually("a first block", || async { node.quantity("eth_blockNumber", json!([])).await }).await?;
    let senders = fund(&node).await?;
    let lanes = sign(&senders, rate * seconds, network.targets.len())?;
    let first = node.quantity("eth_blockNumber", json!([])).await.ok_or("no height")?;
    let before = network.cpu();
    let begun = Instant::now();
    let sending = offer(network, "eth_sendRawTransaction", lanes, rate, begun);
    let watching = watch(&node, first, begun, usize::try_from(rate * seconds)?);
    let (sent, seen) = tokio::join!(sending, watching);
    let (sent, seen) = (sent?, seen?);
    let mut finality: Vec<f64> =
        sent.at.iter().filter_map(|(hash, at)| Some((*seen.at.get(hash)? - *at).as_secs_f64())).collect();
    finality.sort_by(f64::total_cmp);
    Ok(Outcome {
        offered: sent.at.len(),
        refused: sent.refused,
        committed: seen.at.len(),
        seconds: seen.ended.as_secs_f64(),
        blocks: seen.height - first,
        cpu: network.cpu().since(before),
        finality,
    })
}

/// Bytes without meaning, by CometBFT's own RPC.
pub async fn bytes(network: &Network, rate: u64, seconds: u64) -> Result<Outcome> {
    let node = Client::new(network.targets[0]);
    eventually("a first block", || async { comet_height(&node).await.filter(|height| *height > 0) }).await?;
    let mut lanes: Vec<Vec<Offer>> = network.targets.iter().map(|_| vec![]).collect();
    let count = lanes.len();
    for number in 0..rate * seconds {
        let hash = keccak256(number.to_be_bytes());
        let tx: Vec<u8> = hash.iter().copied().cycle().take(NOOP_BYTES).collect();
        lanes[usize::try_from(number)? % count].push(Offer { params: json!({ "tx": STANDARD.encode(tx) }), hash });
    }
    let first = comet_height(&node).await.ok_or("no height")?;
    let before = network.cpu();
    let begun = Instant::now();
    let sent = offer(network, "broadcast_tx_async", lanes, rate, begun).await?;
    let (mut committed, mut height, mut last, mut ended) = (0, first, Instant::now(), begun.elapsed());
    while committed < sent.at.len() - sent.refused && last.elapsed() < Duration::from_secs(5) {
        while height < comet_height(&node).await.unwrap_or(height) {
            height += 1;
            let range = json!({ "minHeight": height.to_string(), "maxHeight": height.to_string() });
            let found = node.ask("blockchain", range).await?;
            let txs: usize = found["block_metas"][0]["num_txs"].as_str().unwrap_or("0").parse()?;
            committed += txs;
            if txs > 0 {
                (last, ended) = (Instant::now(), begun.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Outcome {
        offered: sent.at.len(),
        refused: sent.refused,
        committed,
        seconds: ended.as_secs_f64(),
        blocks: height - first,
        cpu: network.cpu().since(before),
        finality: vec![],
    })
}

struct Sent {
    at: BTreeMap<B256, Duration>,
    refused: usize,
}

async fn offer(network: &Network, method: &str, lanes: Vec<Vec<Offer>>, rate: u64, begun: Instant) -> Result<Sent> {
    let share = rate as f64 / lanes.len() as f64;
    let sending = lanes.into_iter().zip(&network.targets).map(|(lane, target)| {
        let (client, method) = (Client::new(*target), method.to_owned());
        tokio::spawn(async move { one_lane(&client, &method, lane, share, begun).await })
    });
    let (mut at, mut refused) = (BTreeMap::new(), 0);
    for lane in sending.collect::<Vec<_>>() {
        let lane = lane.await??;
        at.extend(lane.at);
        refused += lane.refused;
    }
    Ok(Sent { at, refused })
}

async fn one_lane(client: &Client, method: &str, lane: Vec<Offer>, rate: f64, begun: Instant) -> Result<Sent> {
    let (mut sent, mut refused) = (BTreeMap::new(), 0);
    let mut done = 0usize;
    for batch in lane.chunks(BATCH) {
        let due = Duration::from_secs_f64(done as f64 / rate);
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        let now = begun.elapsed();
        let params: Vec<Value> = batch.iter().map(|offer| offer.params.clone()).collect();
        for (offer, answer) in batch.iter().zip(client.ask_all(method, &params).await?) {
            sent.insert(offer.hash, now);
            if let Err(why) = answer {
                if refused == 0 {
                    eprintln!("refused: {why}");
                }
                refused += 1;
            }
        }
        done += batch.len();
    }
    Ok(Sent { at: sent, refused })
}

struct Seen {
    at: BTreeMap<B256, Duration>,
    height: u64,
    ended: Duration,
}

/// Until all are in blocks, or none has come for a while.
async fn watch(node: &Client, first: u64, begun: Instant, wanted: usize) -> Result<Seen> {
    let mut seen = Seen { at: BTreeMap::new(), height: first, ended: begun.elapsed() };
    let mut last = Instant::now();
    while seen.at.len() < wanted && last.elapsed() < Duration::from_secs(10) {
        let now = node.quantity("eth_blockNumber", json!([])).await.unwrap_or(seen.height);
        while seen.height < now {
            seen.height += 1;
            let block = node.ask("eth_getBlockByNumber", json!([format!("{:#x}", seen.height), false])).await?;
            let hashes: Vec<B256> = serde_json::from_value(block["transactions"].clone())?;
            if !hashes.is_empty() {
                (last, seen.ended) = (Instant::now(), begun.elapsed());
            }
            seen.at.extend(hashes.into_iter().map(|hash| (hash, seen.ended)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(seen)
}

async fn comet_height(node: &Client) -> Option<u64> {
    node.ask("status", json!({})).await.ok()?["sync_info"]["latest_block_height"].as_str()?.parse().ok()
}

fn sender(number: u64) -> Result<(Wallet, Address)> {
    let wallet = Wallet::new(keccak256(number.to_be_bytes()), DEV_CHAIN_ID)?;
    let signature = wallet.sign_hash(B256::ZERO)?;
    Ok((wallet, signature.recover_address_from_prehash(&B256::ZERO)?))
}

fn transfer(wallet: &Wallet, nonce: u64, to: Address, value: U256) -> Result<Bytes> {
    let payment = Payment { nonce, to: Some(to), value, gas_limit: 21_000, max_fee: FEE, tip: 1, ..Payment::default() };
    Ok(wallet.pay(&payment)?)
}

async fn fund(node: &Client) -> Result<Vec<(Wallet, Address)>> {
    let senders: Vec<(Wallet, Address)> = (0..SENDERS).map(sender).collect::<Result<_>>()?;
    let rich = Wallet::new(DEV_ACCOUNTS[0].1, DEV_CHAIN_ID)?;
    let txs: Vec<Value> = (0..)
        .zip(&senders)
        .map(|(nonce, (_, address))| Ok(json!([transfer(&rich, nonce, *address, TOKEN * U256::from(100))?])))
        .collect::<Result<_>>()?;
    for batch in txs.chunks(BATCH) {
        for answer in node.ask_all("eth_sendRawTransaction", batch).await? {
            answer?;
        }
    }
    eventually("the senders' funds", || async {
        let count = node.ask("eth_getTransactionCount", json!([DEV_ACCOUNTS[0].0, "latest"])).await.ok()?;
        (count == format!("{SENDERS:#x}")).then_some(())
    })
    .await?;
    Ok(senders)
}

/// `count` transfers in lanes, one for each node: a sender stays with its node, or its nonces arrive out of order.
fn sign(senders: &[(Wallet, Address)], count: u64, lanes: usize) -> Result<Vec<Vec<Offer>>> {
    eprintln!("signing {count} transfers");
    let total = usize::try_from(count)?;
    let lane = |lane: usize| -> Result<Vec<Offer>> {
        let own: Vec<&(Wallet, Address)> = senders.iter().skip(lane).step_by(lanes).collect();
        let turns = (0u64..).flat_map(|nonce| own.iter().map(move |(wallet, _)| (wallet, nonce)));
        turns
            .take(total / lanes + usize::from(lane < total % lanes))
            .enumerate()
            .map(|(number, (wallet, nonce))| {
                // A new account for each transfer: the state grows, as it does in life.
                let to = Address::from_word(keccak256([lane.to_be_bytes(), number.to_be_bytes()].concat()));
                let tx = transfer(wallet, nonce, to, U256::from(1))?;
                Ok(Offer { hash: keccak256(&tx), params: json!([tx]) })
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let signing: Vec<_> = (0..lanes).map(|n| scope.spawn(move || lane(n))).collect();
        signing.into_iter().map(|thread| thread.join().map_err(|_| "signing panicked")?).collect()
    })
}
