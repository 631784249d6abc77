//! `sahara books`: whether jobs here, jobs at the nodes, receipts and money are the same, session by session.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent;
use clap::Args;
use sahara_light::Options;
use sahara_market::abi::InferenceMarket;
use sahara_market::slots::{self, SessionState};
use sahara_market::{Domain, INFERENCE_MARKET};
use sahara_mpc::market::Complete;
use serde_json::{Value, json};

use super::Context;
use super::network::NetworkArgs;
use crate::chain_client::Chain;
use crate::error::{Error, Result};
use crate::market::bill::Bill;
use crate::market::node::{AHEAD, Words};
use crate::market::purse::short;
use crate::market::{ledger, operator};
use crate::wallet::amount::Amount;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara books                              your receipts against the chain
  sahara books --node /srv/a --node /srv/b  and what these nodes have written
  sahara books --from 1000 --to 2000        payments of these blocks only

For each session and committee: how many answers were receipted here, whether
their receipts follow each other without a gap, how far the nodes' own ledgers
are, and what the market paid, as a proven word of its storage and as the sum
of its payments. Exit code 1 when something does not fit.")]
pub struct BooksArgs {
    /// Folder of a share node whose ledgers are compared, too [repeatable]
    #[arg(long = "node", value_name = "DIR")]
    nodes: Vec<PathBuf>,
    /// First block whose payments are listed
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    from: u64,
    /// Last block whose payments are listed [default: the newest]
    #[arg(long, value_name = "BLOCK")]
    to: Option<u64>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// A session at one committee, as the consumer's receipts have it.
#[derive(Default)]
struct Lane {
    /// In the order of their numbers, each with whether its answer came.
    receipts: BTreeMap<u64, (Bill, B256, bool)>,
    /// At each node that was named: its last receipt's number and id.
    nodes: Vec<Option<(u64, B256)>>,
}

impl Lane {
    /// A block before which nothing can have been paid: a receipt names one that was there when it was made.
    fn since(&self) -> u64 {
        let heights = self.receipts.values().map(|(bill, _, _)| bill.receipt.height);
        heights.min().unwrap_or(0).saturating_sub(AHEAD)
    }
}

/// What the chain says of a lane.
struct OnChain {
    state: &'static str,
    settled: U256,
    /// Payments: block, how much, up to which total.
    payments: Vec<(u64, U256, U256)>,
}

/// Compares all of it.
pub fn run(args: &BooksArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    let (domain, chain) = (network.domain(), network.chain());
    let mut lanes = kept(context, &domain)?;
    for (at, node) in args.nodes.iter().enumerate() {
        if !node.join(sahara_mpc::config::FILE).exists() {
            return Err(Error::user(format!("{} is no share node's folder: it has no node.toml", node.display())));
        }
        let folder = operator::folder(node);
        let bills = ledger::bills(&domain, &folder).map_err(|e| Error::io("reading", &folder, e))?;
        note(&mut lanes, at, args.nodes.len(), &domain, &bills);
    }
    context.progress.step("asking the chain, and proving what it says");
    let words = network.light(Options::default());
    let mut list = Vec::new();
    let mut all_fit = true;
    for ((session, lane), found) in &lanes {
        let on_chain = on_chain(&chain, &words, (*session, *lane), found.since(), args)?;
        let whole = args.from == 0 && args.to.is_none();
        let faults = faults(found, &on_chain, whole, crate::market::receipts::are_pruned(&context.home));
        all_fit &= faults.is_empty();
        list.push(entry(*session, *lane, found, &on_chain, &faults));
    }
    context.progress.clear();
    if context.out.json() {
        context.out.value(&json!({"balance": all_fit, "lanes": list}))?;
    } else if list.is_empty() {
        context.out.line("nothing was paid for from here yet")?;
    } else {
        list.iter().try_for_each(|entry| show(entry, context))?;
        context.out.line(if all_fit { "the books balance" } else { "the books do NOT balance" })?;
    }
    context.out.flush()?;
    if all_fit { Ok(()) } else { Err(Error::fault("what was paid and what was done are not the same: see above")) }
}

/// The receipts of this home, by session and committee.
fn kept(context: &Context, domain: &Domain) -> Result<BTreeMap<(B256, B256), Lane>> {
    let mut lanes: BTreeMap<(B256, B256), Lane> = BTreeMap::new();
    for (id, kept) in super::receipt::all(context)? {
        if kept.domain() != *domain {
            continue;
        }
        let bill = kept.bill().map_err(|e| Error::user(format!("receipt {} does not hold: {e}", short(id))))?;
        let lane = lanes.entry((bill.receipt.session, bill.receipt.lane)).or_default();
        lane.receipts.insert(bill.receipt.number, (bill, id, kept.answered));
    }
    Ok(lanes)
}

/// Notes how far a node's ledgers are. Sessions of other consumers are none of this home's.
fn note(
    lanes: &mut BTreeMap<(B256, B256), Lane>,
    at: usize,
    nodes: usize,
    domain: &Domain,
    bills: &[(Bill, Complete)],
) {
    for lane in lanes.values_mut() {
        lane.nodes.resize(nodes, None);
    }
    for (bill, _) in bills {
        if let Some(lane) = lanes.get_mut(&(bill.receipt.session, bill.receipt.lane)) {
            lane.nodes[at] = Some((bill.receipt.number, bill.digest(domain)));
        }
    }
}

/// `since`: the block before which nothing was paid there.
fn on_chain(
    chain: &Chain,
    words: &impl Words,
    (session, lane): (B256, B256),
    since: u64,
    args: &BooksArgs,
) -> Result<OnChain> {
    let wanted = [(INFERENCE_MARKET, slots::session(session)), (INFERENCE_MARKET, slots::settled(session, lane))];
    let proven = words.words(&wanted).map_err(|why| Error::fault(format!("nothing is proven of the chain: {why}")))?;
    let [state, settled] = *proven.words.as_slice() else {
        return Err(Error::fault("the chain's words are not those that were asked for"));
    };
    let topics = [Some(InferenceMarket::Settled::SIGNATURE_HASH), Some(session), Some(lane)];
    // What was paid after the block that is proven is not in its words yet.
    let blocks = (args.from.max(since), args.to.unwrap_or(u64::MAX).min(proven.height));
    let logs = chain.logs_between("reading what the market paid", INFERENCE_MARKET, blocks, &topics)?;
    let mut payments = Vec::new();
    for log in &logs {
        let event = InferenceMarket::Settled::decode_raw_log(log.topics.iter().copied(), &log.data)
            .map_err(|_| Error::fault("reading what the market paid: an entry that is none"))?;
        payments.push((log.block, event.paid, event.total));
    }
    let state = match SessionState::read(state.into()) {
        SessionState::None => "unknown to the chain",
        SessionState::Open => "open",
        SessionState::Closing(_) => "closing",
        SessionState::Finished => "finished",
        SessionState::Unknown(_) => "in a state that this program does not know",
    };
    Ok(OnChain { state, settled: U256::from_be_bytes(settled.0), payments })
}

/// What does not fit. `all`: the payments are those of all blocks.
fn faults(lane: &Lane, chain: &OnChain, all: bool, pruned: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut before: Option<(&Bill, B256)> = None;
    for (number, (bill, id, _)) in &lane.receipts {
        // Of what older receipts said, the total of the first one that is here says enough.
        let first = if pruned { *number } else { 1 };
        let expected = before.map_or(first, |(bill, _)| bill.receipt.number + 1);
        if *number != expected {
            faults.push(format!("receipt {number} follows receipt {}: those between are not here", expected - 1));
        } else if let Some((_, last)) = before.filter(|(_, last)| *last != bill.receipt.previous) {
            faults.push(format!("receipt {number} does not follow {}", short(last)));
        }
        let total = u128::from(*number).checked_mul(bill.receipt.price);
        if total != Some(bill.receipt.total) {
            faults.push(format!("receipt {number} is for another total than {number} calls"));
        }
        before = Some((bill, *id));
    }
    let last = before.map(|(bill, id)| (bill.receipt.number, id));
    for (index, node) in lane.nodes.iter().enumerate() {
        match (node, last) {
            (Some(node), Some(last)) if *node != last => {
                faults.push(format!(
                    "node {}'s last receipt is number {}, the last here is {}",
                    index + 1,
                    node.0,
                    last.0
                ));
            }
            (None, Some(_)) => faults.push(format!("node {} has no ledger of it", index + 1)),
            _ => {}
        }
    }
    let owed = before.map_or(U256::ZERO, |(bill, _)| U256::from(bill.receipt.total));
    if chain.settled > owed {
        faults.push("the market paid more than the receipts here say".to_owned());
    }
    let highest = chain.payments.iter().map(|(_, _, total)| *total).max().unwrap_or_default();
    if all && highest != chain.settled {
        faults.push("the market's payments do not come to what its storage says".to_owned());
    }
    faults
}

fn entry(session: B256, lane: B256, found: &Lane, chain: &OnChain, faults: &[String]) -> Value {
    let last = found.receipts.values().next_back();
    let owed = last.map_or(0, |(bill, ..)| bill.receipt.total);
    let payments: Vec<Value> = chain
        .payments
        .iter()
        .map(|(block, paid, total)| json!({"block": block, "paid": paid.to_string(), "total": total.to_string()}))
        .collect();
    json!({
        "session": session,
        "committee": lane,
        "state": chain.state,
        "receipts": found.receipts.len(),
        "answered": found.receipts.values().filter(|(.., answered)| *answered).count(),
        "owed": owed.to_string(),
        "nodes": found.nodes.iter().map(|node| node.map(|(number, _)| number)).collect::<Vec<_>>(),
        "settled": chain.settled.to_string(),
        "payments": payments,
        "faults": faults,
    })
}

fn show(entry: &Value, context: &mut Context) -> Result<()> {
    let amount = |name: &str| {
        let number = entry[name].as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
        Amount(number).to_string()
    };
    let id = |name: &str| entry[name].as_str().unwrap_or_default().chars().skip(2).take(12).collect::<String>();
    context.out.line(&format!(
        "session {} at committee {}, {}",
        id("session"),
        id("committee"),
        entry["state"].as_str().unwrap_or_default()
    ))?;
    let count = |name: &str, word: &str| match entry[name].as_u64().unwrap_or_default() {
        1 => format!("1 {word}"),
        many => format!("{many} {word}s"),
    };
    context.out.line(&format!("    {} here, {}", count("receipts", "receipt"), count("answered", "answer")))?;
    let last = |number: &Value| if number.is_null() { "none".to_owned() } else { number.to_string() };
    let nodes: Vec<String> = entry["nodes"].as_array().into_iter().flatten().map(last).collect();
    if !nodes.is_empty() {
        context.out.line(&format!("    last at the nodes: {}", nodes.join(", ")))?;
    }
    context.out.line(&format!("    owed {}, paid by the market {}", amount("owed"), amount("settled")))?;
    for fault in entry["faults"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        context.out.folded("    WRONG ", fault)?;
    }
    Ok(())
}
