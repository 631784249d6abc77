//! What contracts logged, found by the blocks that the protocol's journal names: a chain grows older than any node gives all events
//! of at once, and a node may have dropped what is old.

use alloy_primitives::{Address, B256, U256, hex};
use sahara_market::abi::Journal;
use sahara_market::{JOURNAL, key_of, key_of_others};
use serde::Serialize;
use serde_json::{Value, json};

use super::{AskError, Chain, number, refusal};
use crate::error::Result;

/// A node answers for fewer blocks than this at a time.
pub const WINDOW: u64 = 9_000;
/// Most blocks that are taken from the journal for one question.
const MOST: usize = 1_000;
/// Of those that strangers can add to.
const MOST_OF_OTHERS: usize = 64;

/// What a contract logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its topics.
    pub topics: Vec<B256>,
    /// The rest.
    pub data: Vec<u8>,
    /// In which block.
    pub block: u64,
}

/// Whose entries of a journal are meant.
#[derive(Clone, Copy)]
pub enum Key {
    /// An asset's or a committee's.
    Id(B256),
    /// An account's own.
    Account(Address),
    /// Of an account, what others did: gifts, loans.
    Others(Address),
    /// All.
    All,
}

impl Chain {
    /// What `contract` logged under `topics` in the blocks that it wrote down for `key`, the newest thousand of them: oldest first.
    ///
    /// # Errors
    /// When no node answers, or none has these blocks any more.
    pub fn logs(&self, doing: &str, contract: Address, key: Key, topics: &[Option<B256>]) -> Result<Vec<Log>> {
        // Whoever else can write to it does not make reading it long.
        let most = if matches!(key, Key::Others(_)) { MOST_OF_OTHERS } else { MOST };
        let key = match key {
            Key::Id(id) => id,
            Key::Account(account) => key_of(account),
            Key::Others(account) => key_of_others(account),
            Key::All => B256::ZERO,
        };
        let call = Journal::entriesOfCall { writer: contract, key, skip: Default::default(), count: U256::from(most) };
        let mut blocks: Vec<u64> = self.call(doing, JOURNAL, &call)?;
        // What a node says is not believed to be as it should.
        blocks.sort_unstable();
        blocks.dedup();
        let skipped = blocks.len().saturating_sub(most);
        let mut logs = Vec::new();
        for near in windows(&blocks[skipped..]) {
            self.logs_near(doing, contract, near, topics, &mut logs)?;
        }
        Ok(logs)
    }

    /// What `contract` logged under `topics` from one block to another. Blocks that have too much for one answer are asked for in
    /// parts.
    ///
    /// # Errors
    /// When no node answers, or none has one of these blocks any more.
    pub fn logs_between(
        &self,
        doing: &str,
        contract: Address,
        (from, to): (u64, u64),
        topics: &[Option<B256>],
    ) -> Result<Vec<Log>> {
        let mut logs = Vec::new();
        let mut next = from;
        let mut width = WINDOW;
        while next <= to {
            let last = to.min(next.saturating_add(width - 1));
            match self.logs_of(contract, (next, last), topics) {
                Ok(found) => logs.extend(found),
                // Who has too much for one answer is asked for half; who does not answer at all, is not.
                Err(error) if next < last && (matches!(error, AskError::Refused { .. }) || self.height().is_ok()) => {
                    width = (last - next).div_ceil(2);
                    continue;
                }
                Err(error) => return Err(refusal(doing, &error)),
            }
            let Some(after) = last.checked_add(1) else { break };
            (next, width) = (after, width.saturating_mul(2).min(WINDOW));
        }
        Ok(logs)
    }

    /// What is in these blocks, which are near each other. A node that has too much for one answer is asked for half.
    fn logs_near(
        &self,
        doing: &str,
        contract: Address,
        blocks: &[u64],
        topics: &[Option<B256>],
        logs: &mut Vec<Log>,
    ) -> Result<()> {
        let [first, .., last] = *blocks else {
            let [only] = *blocks else { return Ok(()) };
            logs.extend(self.logs_of(contract, (only, only), topics).map_err(|e| refusal(doing, &e))?);
            return Ok(());
        };
        match self.logs_of(contract, (first, last), topics) {
            Ok(found) => logs.extend(found.into_iter().filter(|log| blocks.binary_search(&log.block).is_ok())),
            // Too much for a node, or for what is read of it. One that is away says nothing to parts either.
            Err(_) => {
                let (older, newer) = blocks.split_at(blocks.len() / 2);
                self.logs_near(doing, contract, older, topics, logs)?;
                self.logs_near(doing, contract, newer, topics, logs)?;
            }
        }
        Ok(())
    }

    /// One question, for what each place of `topics` names: nothing, one word, or one of several. A node that has dropped these blocks
    /// says so, and another one may have them.
    ///
    /// # Errors
    /// When no node answers it.
    pub fn logs_of(
        &self,
        contract: Address,
        (from, to): (u64, u64),
        topics: &(impl Serialize + ?Sized),
    ) -> std::result::Result<Vec<Log>, AskError> {
        let (first, last) = (format!("{from:#x}"), format!("{to:#x}"));
        let filter = json!([{"address": contract, "topics": topics, "fromBlock": first, "toBlock": last}]);
        let answer = self.rpc.ask_on("eth_getLogs", &filter)?;
        let logs = answer.as_array().and_then(|logs| logs.iter().map(read_log).collect::<Option<Vec<_>>>());
        logs.ok_or_else(|| AskError::NoAnswer("a node gives an answer that is none".to_owned()))
    }
}

/// Blocks in their order, cut where what one question may reach over ends.
fn windows(blocks: &[u64]) -> impl Iterator<Item = &[u64]> {
    let mut rest = blocks;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let (near, far) = rest.split_at(rest.partition_point(|block| block - first < WINDOW));
        rest = far;
        Some(near)
    })
}

/// A log as a node writes it.
pub fn read_log(log: &Value) -> Option<Log> {
    let word = |value: &Value| value.as_str()?.parse::<B256>().ok();
    Some(Log {
        topics: log["topics"].as_array()?.iter().map(word).collect::<Option<_>>()?,
        data: hex::decode(log["data"].as_str()?).ok()?,
        block: number(&log["blockNumber"])?.try_into().ok()?,
    })
}

#[cfg(test)]
pub mod tests {
    use std::sync::{Arc, Mutex};

    use alloy_sol_types::SolCall;

    use super::super::rpc::tests::node;
    use super::*;

    /// What a node's journal answers.
    pub fn entries(blocks: &[u64]) -> Value {
        let newest_first = blocks.iter().rev().copied().collect();
        json!(hex::encode_prefixed(Journal::entriesOfCall::abi_encode_returns(&newest_first)))
    }

    /// A refusal as a node writes it.
    fn refused(why: &str) -> String {
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32_000, "message": why}}).to_string()
    }

    #[test]
    fn blocks_are_asked_for_together_as_far_as_a_node_reaches() {
        let cut = |blocks: &[u64]| windows(blocks).map(<[u64]>::to_vec).collect::<Vec<_>>();
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[7]), [vec![7]]);
        assert_eq!(cut(&[1, 9_000, 9_001, 50_000]), [vec![1, 9_000], vec![9_001], vec![50_000]]);
        assert_eq!(cut(&[0, u64::MAX - 1, u64::MAX]), [vec![0], vec![u64::MAX - 1, u64::MAX]]);
    }

    #[test]
    fn events_are_found_in_the_blocks_that_are_written_down_and_nowhere_else() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let node = node(move |method, params| {
            if method == "eth_call" {
                return Ok(entries(&[5, 20_000, 20_010, 20_020]));
            }
            let filter = &params[0];
            let (from, to) = (number(&filter["fromBlock"]).unwrap(), number(&filter["toBlock"]).unwrap());
            noted.lock().unwrap().push((from.to::<u64>(), to.to::<u64>()));
            // Too much for one answer, as long as three blocks are asked for.
            if (from.to::<u64>(), to.to::<u64>()) == (20_000, 20_020) {
                return Err(refused("query returned more than 20000 results"));
            }
            let log = |block: u64| json!({"topics": [], "data": "0x", "blockNumber": format!("{block:#x}")});
            // Between the blocks that were written down, something of others.
            let all = [5, 20_000, 20_005, 20_010, 20_015, 20_020];
            Ok(all.into_iter().filter(|block| (from.to::<u64>()..=to.to::<u64>()).contains(block)).map(log).collect())
        });
        let chain = Chain::new(1337, [node]);
        let logs = chain.logs("asking", Address::ZERO, Key::All, &[]).unwrap();
        assert_eq!(logs.iter().map(|log| log.block).collect::<Vec<_>>(), [5, 20_000, 20_010, 20_020]);
        assert_eq!(*asked.lock().unwrap(), [(5, 5), (20_000, 20_020), (20_000, 20_000), (20_010, 20_020)]);
        asked.lock().unwrap().clear();
        chain.logs_between("asking", Address::ZERO, (1, 20_000), &[]).unwrap();
        assert_eq!(*asked.lock().unwrap(), [(1, 9_000), (9_001, 18_000), (18_001, 20_000)]);
    }

    #[test]
    fn a_node_that_has_dropped_a_block_is_not_the_last_that_is_asked() {
        let pruned = node(|method, _| match method {
            "eth_call" => Ok(entries(&[5])),
            _ => Err(refused("pruned history unavailable")),
        });
        let log = json!([{"topics": [], "data": "0x07", "blockNumber": "0x5"}]);
        let archive = node(move |_, _| Ok(log.clone()));
        let chain = Chain::new(1337, [pruned, archive]);
        assert_eq!(chain.logs("asking", Address::ZERO, Key::All, &[]).unwrap()[0].data, [7]);
    }

    #[test]
    fn blocks_with_too_much_for_one_answer_are_asked_for_in_parts_and_none_is_left_out() {
        let node = node(|method, params| {
            if method == "eth_blockNumber" {
                return Ok(json!("0x64"));
            }
            let (from, to) = (number(&params[0]["fromBlock"]).unwrap(), number(&params[0]["toBlock"]).unwrap());
            let (from, to) = (from.to::<u64>(), to.to::<u64>());
            let log = |block: u64| json!({"topics": [], "data": "0x", "blockNumber": format!("{block:#x}")});
            match to - from {
                0..3 => Ok((from..=to).map(log).collect()),
                3..10 => Err(refused("too many results")),
                _ => Err("x".repeat(9 << 20)),
            }
        });
        let logs = Chain::new(1337, [node]).logs_between("asking", Address::ZERO, (1, 20), &[]).unwrap();
        assert_eq!(logs.iter().map(|log| log.block).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
        assert!(
            Chain::new(1337, [super::super::rpc::tests::nobody()])
                .logs_between("asking", Address::ZERO, (1, 20), &[])
                .is_err()
        );
    }
}
