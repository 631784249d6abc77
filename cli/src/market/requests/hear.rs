//! Hears what nodes of the chain say that contracts ask: hints, each of which hashes to what it names. No node is believed: each is asked
//! by itself, how far is what is proven of the chain's height, and all of the last hour is looked through again now and then. What one
//! node hides, gets wrong or says too much of costs its own questions and no other's.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::SolEvent;
use sahara_market::abi::InferenceMarket;
use sahara_market::request::{ANSWER_TIME, Request, Sealed};
use sahara_market::{Committee, Domain, INFERENCE_MARKET};
use serde_json::{Value, json};

use crate::chain_client::{AskError, Chain, Key, Log, WINDOW};
use crate::error::{Error, Result};

/// Blocks that are looked through when a node starts: what was asked before is over.
const BACK: u64 = 2 * ANSWER_TIME;
/// Blocks of this node's committees that are looked through each round, and all that may wait, each so many seconds.
const RECENT: u64 = 100;
const HOUR: u64 = ANSWER_TIME + 600;
const HOUR_EACH: u64 = 60;
/// Seconds after which the hour of all committees is looked through again: one of this node's may be new.
const ALL_EACH: u64 = 600;
/// Blocks that are looked through twice: a node may be asked while it takes one in.
const OVERLAP: u64 = 8;
/// Hints of one node of the chain that are looked at in a round, and questions to it; the others come in the next round.
pub const HINTS: usize = 64;
const QUESTIONS: usize = 8;
/// Committees that a question names; of more, all requests are asked for.
const LANES: usize = 64;
/// How long a node of the chain has for an answer, after which slow answer it is left alone for this round, and for how many seconds it
/// is left alone if it does not answer at all.
const PATIENCE: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(2);
const REST: u64 = 30;

/// What somebody says that a contract asks. It hashes to its id; that it waits is to be proven.
#[derive(Debug)]
pub struct Hint {
    /// The request's id.
    pub id: B256,
    /// The request.
    pub request: Request,
    /// What was sealed, which hashes to what the request names.
    pub sealed: Sealed,
}

/// The nodes of a chain, each heard by itself.
pub struct Hearing {
    sources: Vec<Source>,
}

/// A node of the chain.
struct Source {
    chain: Chain,
    /// What is to be looked through of all committees', and of this node's.
    all: Ranges,
    own: Ranges,
    hour_at: u64,
    all_at: u64,
    /// Until when it is left alone.
    rests: u64,
}

/// Blocks that are to be looked through, from the newest to the oldest.
#[derive(Default)]
struct Ranges {
    left: Vec<(u64, u64)>,
    heard: Option<u64>,
    width: u64,
}

impl Hearing {
    /// Of all nodes of this chain.
    pub fn new(chain: &Chain) -> Self {
        let source = |chain: Chain| Source {
            chain,
            all: Ranges::default(),
            own: Ranges::default(),
            hour_at: 0,
            all_at: 0,
            rests: 0,
        };
        Self { sources: chain.hurried(PATIENCE).alone().into_iter().map(source).collect() }
    }

    /// The chain by each node.
    pub fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.sources.iter().map(|source| &source.chain)
    }

    /// Asks all nodes, at the same time, for what is new up to a proven height, for what committees `own` were asked lately, and for a
    /// part of what was missed. Of each node, at most `room` hints of its place are taken, those that `wants` takes; the others are
    /// heard later.
    pub fn round(
        &mut self,
        (height, now): (u64, u64),
        own: &BTreeSet<B256>,
        room: &[usize],
        wants: impl Fn(&Log) -> Option<Hint> + Sync,
    ) -> Vec<(usize, Hint)> {
        let wants = &wants;
        let heard: Vec<Vec<Hint>> = thread::scope(|scope| {
            let rooms = room.iter().copied().chain(std::iter::repeat(HINTS));
            let ask = |(source, room): (_, usize)| {
                let source: &mut Source = source;
                scope.spawn(move || source.round((height, now), own, room.min(HINTS), wants))
            };
            let threads: Vec<_> = self.sources.iter_mut().zip(rooms).map(ask).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        });
        heard
            .into_iter()
            .enumerate()
            .flat_map(|(place, hints)| hints.into_iter().map(move |hint| (place, hint)))
            .collect()
    }
}

impl Source {
    fn round(
        &mut self,
        (height, now): (u64, u64),
        own: &BTreeSet<B256>,
        room: usize,
        wants: &(impl Fn(&Log) -> Option<Hint> + Sync),
    ) -> Vec<Hint> {
        let mut hints = Vec::new();
        if now < self.rests {
            return hints;
        }
        // A node that is behind has no blocks beyond its own; it cannot say that there are more than is proven.
        let top = match self.chain.height() {
            Ok(own) => height.min(own),
            Err(error) => return self.rest(now, error.report(), hints),
        };
        let signature = InferenceMarket::Requested::SIGNATURE_HASH;
        let mut ears = Vec::new();
        if !own.is_empty() && own.len() <= LANES {
            self.own.add(top, RECENT);
            if now >= self.hour_at && self.own.add_behind(top, HOUR) {
                self.hour_at = now.saturating_add(HOUR_EACH);
            }
            ears.push((&mut self.own, json!([signature, null, own])));
        }
        if self.all.heard.is_none() {
            self.all_at = now.saturating_add(ALL_EACH);
        }
        self.all.add(top, BACK);
        if now >= self.all_at && self.all.add_behind(top, HOUR) {
            self.all_at = now.saturating_add(ALL_EACH);
        }
        ears.push((&mut self.all, json!([signature])));
        let mut away = None;
        for (ranges, topics) in ears {
            if let Err(error) = ranges.look(&self.chain, &topics, room, &mut hints, wants) {
                away = Some(error);
                break;
            }
        }
        match away {
            Some(error) => {
                self.rest(now, crate::chain_client::refusal("asking what contracts ask", &error).report(), hints)
            }
            None => hints,
        }
    }

    /// Leaves it alone for a while.
    fn rest(&mut self, now: u64, why: impl std::fmt::Display, hints: Vec<Hint>) -> Vec<Hint> {
        tracing::warn!(%why, seconds = REST, "a node of the chain is not asked for a while what contracts ask");
        self.rests = now.saturating_add(REST);
        hints
    }
}

impl Ranges {
    /// What is new up to a block; at the beginning, and after a long silence, `back` blocks of it.
    fn add(&mut self, top: u64, back: u64) {
        let floor = top.saturating_sub(back);
        let from = match self.heard {
            // All that was left is done: the last blocks are looked through once more.
            Some(_) if self.left.is_empty() && back == RECENT => floor,
            Some(heard) => heard.min(top).saturating_sub(OVERLAP).max(floor),
            None => floor,
        };
        self.left.push((from, top));
        self.heard = Some(top);
        let oldest = top.saturating_sub(BACK);
        self.left.retain(|(_, to)| *to >= oldest);
        if self.width == 0 {
            self.width = WINDOW;
        }
    }

    /// Looks through so many blocks again, after what is new, unless it is at that already.
    fn add_behind(&mut self, top: u64, back: u64) -> bool {
        let done = self.left.len() <= 1;
        if done {
            self.left.insert(0, (top.saturating_sub(back), top));
        }
        done
    }

    /// Looks through a part of what is left, the newest first. A block that cannot be had is named and passed over.
    ///
    /// # Errors
    /// When the node does not answer at all.
    fn look(
        &mut self,
        chain: &Chain,
        topics: &Value,
        room: usize,
        hints: &mut Vec<Hint>,
        wants: impl Fn(&Log) -> Option<Hint>,
    ) -> std::result::Result<(), AskError> {
        for _ in 0..QUESTIONS {
            if hints.len() >= room {
                break;
            }
            let Some((from, to)) = self.left.pop() else { break };
            let first = from.max(to.saturating_sub(self.width - 1));
            let began = Instant::now();
            match chain.logs_of(INFERENCE_MARKET, (first, to), topics) {
                Ok(mut logs) => {
                    self.width = self.width.saturating_mul(2).min(WINDOW);
                    logs.retain(|log| (first..=to).contains(&log.block));
                    logs.sort_by_key(|log| log.block);
                    let mut rest = first;
                    for log in logs.iter().rev() {
                        if hints.len() >= room {
                            rest = log.block + 1; // that block has more
                            break;
                        }
                        hints.extend(wants(log));
                    }
                    if rest > from {
                        self.left.push((from, rest - 1));
                    }
                }
                Err(error) => {
                    if !matches!(error, AskError::Refused { .. }) && chain.height().is_err() {
                        self.left.push((from, to));
                        return Err(error);
                    }
                    self.width = ((to - first) / 2).max(1);
                    if first < to {
                        self.left.push((from, to));
                    } else {
                        let why = crate::chain_client::refusal("asking what contracts ask", &error);
                        tracing::warn!(
                            block = to,
                            why = why.report(),
                            "a block that a node does not give is passed over"
                        );
                        self.width = 2;
                        if to > from {
                            self.left.push((from, to - 1));
                        }
                    }
                }
            }
            if began.elapsed() > SLOW {
                break;
            }
        }
        Ok(())
    }
}

/// What a log says that is asked, if all its hashes are right, and its time is one that may be.
pub fn read(log: &Log, domain: &Domain, now: u64) -> Option<Hint> {
    let event = InferenceMarket::Requested::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()?;
    let (id, request) = (event.r.id(domain), event.r);
    let waits = request.until > now && request.until <= now.saturating_add(2 * ANSWER_TIME);
    let stands = waits && id == event.request && request.ask.lane == event.lane;
    if !stands || request.input != keccak256(&event.sealedInput) {
        return None;
    }
    Some(Hint { id, sealed: Sealed::decode(&event.sealedInput).ok()?, request })
}

/// A committee by its id, as the chain's nodes show it: what they show hashes to that.
///
/// # Errors
/// When no node answers.
pub fn seated(chain: &Chain, lane: B256) -> Result<Option<Committee>> {
    let topics = [Some(InferenceMarket::Seated::SIGNATURE_HASH), Some(lane)];
    let logs = chain.logs("asking for the committee", INFERENCE_MARKET, Key::Id(lane), &topics)?;
    let read = |log: &Log| InferenceMarket::Seated::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok();
    Ok(logs.iter().filter_map(read).map(|event| event.c).find(|committee| committee.id() == lane))
}

/// A request by its id, with what was sealed, as the chain's nodes show it: both hash to what they should.
///
/// # Errors
/// When no node answers, or none shows it.
pub fn requested(chain: &Chain, domain: &Domain, id: B256) -> Result<(Request, Vec<u8>)> {
    let topics = [Some(InferenceMarket::Requested::SIGNATURE_HASH), Some(id)];
    let logs = chain.logs("asking for the request", INFERENCE_MARKET, Key::Id(id), &topics)?;
    let read =
        |log: &Log| InferenceMarket::Requested::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok();
    let stands =
        |event: &InferenceMarket::Requested| event.r.id(domain) == id && keccak256(&event.sealedInput) == event.r.input;
    let found = logs.iter().filter_map(read).find(stands);
    let event = found.ok_or_else(|| Error::user(format!("the chain's nodes show no request {id}")))?;
    Ok((event.r, event.sealedInput.to_vec()))
}

#[cfg(test)]
pub mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use alloy_primitives::hex;
    use sahara_light::Url;

    use super::super::book::tests::{DOMAIN, NOW, sealed, wanted_of};
    use super::*;
    use crate::chain_client::nodes::{nobody, node};

    /// Something that is asked in a block.
    pub fn asked(number: u64, block: u64) -> (B256, Value) {
        let sealed = sealed().encode();
        let mut request = wanted_of(7, 1, number).request;
        request.input = keccak256(&sealed);
        let (id, lane) = (request.id(&DOMAIN), request.ask.lane);
        let log =
            InferenceMarket::Requested { request: id, lane, r: request, sealedInput: sealed.into() }.encode_log_data();
        let (topics, data) = (log.topics().to_vec(), hex::encode_prefixed(&log.data));
        (id, json!({"topics": topics, "data": data, "blockNumber": format!("{block:#x}")}))
    }

    fn refused(why: &str) -> String {
        json!({"id": 1, "error": {"code": -32_000, "message": why}}).to_string()
    }

    fn number(value: &Value) -> u64 {
        u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// A node at a height with these logs, which gives up to `most` of them in an answer and never one of block `lost`.
    pub fn honest(height: u64, logs: Vec<Value>, most: usize, lost: u64) -> Url {
        node(move |method, params| {
            if method == "eth_blockNumber" {
                return Ok(json!(format!("{height:#x}")));
            }
            let (from, to) = (number(&params[0]["fromBlock"]), number(&params[0]["toBlock"]));
            if to > height || from > to || (from..=to).contains(&lost) {
                return Err(refused("no such blocks"));
            }
            let found: Vec<_> =
                logs.iter().filter(|log| (from..=to).contains(&number(&log["blockNumber"]))).cloned().collect();
            if found.len() > most { Err("x".repeat(9 << 20)) } else { Ok(json!(found)) }
        })
    }

    fn heard(hearing: &mut Hearing, height: u64, now: u64) -> Vec<B256> {
        let found = hearing.round((height, now), &BTreeSet::new(), &[], |log| read(log, &DOMAIN, NOW));
        found.into_iter().map(|(_, hint)| hint.id).collect()
    }

    fn hearing(urls: impl IntoIterator<Item = Url>) -> Hearing {
        Hearing::new(&Chain::new(7, urls))
    }

    #[test]
    fn a_height_that_was_said_once_makes_nobody_deaf() {
        let (id, log) = asked(1, 105);
        let asked = AtomicUsize::new(0);
        let liar = node(move |method, params| {
            let lies = asked.fetch_add(1, Ordering::Relaxed) < 2;
            match (method, lies) {
                ("eth_blockNumber", true) => Ok(json!("0xffffffffffffffff")),
                ("eth_blockNumber", false) => Ok(json!("0x69")),
                (_, true) => Ok(json!([])),
                _ if number(&params[0]["toBlock"]) >= 105 => Ok(json!([log])),
                _ => Ok(json!([])),
            }
        });
        let mut hearing = hearing([liar]);
        assert!(heard(&mut hearing, 100, NOW).is_empty());
        assert_eq!(heard(&mut hearing, 105, NOW + 2), [id]);
    }

    #[test]
    fn what_one_node_hides_another_one_tells_and_one_that_is_away_holds_up_nobody() {
        let (id, log) = asked(1, 50);
        let mute = node(|method, _| if method == "eth_blockNumber" { Ok(json!("0x64")) } else { Ok(json!([])) });
        let mut all = hearing([nobody(), mute, honest(100, vec![log], 10, 0)]);
        assert_eq!(heard(&mut all, 100, NOW), [id]);
    }

    #[test]
    fn a_node_that_dropped_an_answer_is_asked_again() {
        let (id, log) = asked(1, 50);
        let own = BTreeSet::from([wanted_of(7, 1, 1).request.ask.lane]);
        let first = Arc::new(Mutex::new(0));
        let forgetful = node(move |method, params| {
            if method == "eth_blockNumber" {
                return Ok(json!("0x64"));
            }
            let mut questions = first.lock().unwrap();
            *questions += 1;
            let has = *questions > 3 && number(&params[0]["fromBlock"]) <= 50;
            Ok(if has { json!([log]) } else { json!([]) })
        });
        let mut hearing = hearing([forgetful]);
        let mut all = Vec::new();
        for round in 0..4 {
            let found = hearing.round((100, NOW + 2 * round), &own, &[], |log| read(log, &DOMAIN, NOW));
            all.extend(found.into_iter().map(|(_, hint)| hint.id));
        }
        assert!(all.contains(&id), "the last blocks are looked through each round");
        let mut later = heard(&mut hearing, 3000, NOW + 20);
        later.extend(heard(&mut hearing, 3000, NOW + ALL_EACH + 20));
        assert!(later.contains(&id), "and the whole hour now and then, of all committees");
    }

    #[test]
    fn answers_that_are_too_large_are_asked_for_in_parts_and_a_block_that_cannot_be_had_is_passed_over() {
        let many: Vec<_> = (0..12).map(|number| asked(number, 4_000 + 10 * number)).collect();
        let logs: Vec<Value> = many.iter().map(|(_, log)| log.clone()).collect();
        let mut hearing = hearing([honest(5_000, logs, 3, 4_050)]);
        let mut found = BTreeSet::new();
        for round in 0..20 {
            found.extend(heard(&mut hearing, 5_000, NOW + round));
        }
        let all: BTreeSet<B256> = many.iter().map(|(id, _)| *id).filter(|id| *id != many[5].0).collect();
        assert_eq!(found, all, "but for the block that nobody has");
    }

    #[test]
    fn more_than_a_round_takes_is_heard_in_the_next_ones() {
        let many: Vec<_> = (0..100).map(|number| asked(number, 10 + number)).collect();
        let mut hearing = hearing([honest(200, many.iter().map(|(_, log)| log.clone()).collect(), 1_000, 0)]);
        let mut known = BTreeSet::new();
        for round in 0..3 {
            let wants = |log: &Log| read(log, &DOMAIN, NOW).filter(|hint| !known.contains(&hint.id));
            let found = hearing.round((200, NOW + round), &BTreeSet::new(), &[], wants);
            assert!(found.len() <= HINTS);
            known.extend(found.into_iter().map(|(_, hint)| hint.id));
        }
        assert_eq!(known.len(), 100);
    }

    #[test]
    fn only_what_hashes_to_its_name_and_may_wait_is_heard() {
        let (id, log) = asked(1, 5);
        let log = crate::chain_client::read_log(&log).unwrap();
        assert_eq!(read(&log, &DOMAIN, NOW).unwrap().id, id);
        assert!(read(&log, &Domain { chain_id: 8, ..DOMAIN }, NOW).is_none(), "another chain's");
        assert!(read(&log, &DOMAIN, NOW + 3600).is_none() && read(&log, &DOMAIN, NOW - 7200).is_none());
        let mut other = log.clone();
        let last = other.data.len() - 40;
        other.data[last] ^= 1;
        assert!(read(&other, &DOMAIN, NOW).is_none(), "another input");
        let mut lane = log;
        lane.topics[2] = B256::ZERO;
        assert!(read(&lane, &DOMAIN, NOW).is_none(), "another committee");
    }
}
