//! Learns of contracts' requests from what nodes of the chain log, which is a hint; proves that they wait before anything is done for
//! them; and hands the answers in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolEvent;
use sahara_market::abi::InferenceMarket;
use sahara_market::request::{ANSWER_TIME, Request, Sealed};
use sahara_market::slots::{self, RequestState};
use sahara_market::{Committee, INFERENCE_MARKET};
use sahara_mpc::identity::PublicKey;

use super::book::{Answered, Book};
use super::slip::{Slip, Wanted};
use crate::chain_client::{Chain, Key, Log, Order};
use crate::error::{Error, Result};
use crate::market::node::Words;
use crate::market::settler::{Errand, Settler};
use crate::wallet::Secret;

/// Blocks that are looked through when a node starts: what was asked before is over.
const BACK: u64 = 2 * ANSWER_TIME;
/// Requests of a round that are looked at; the others come in the next.
const HINTS: usize = 64;
/// Words in one question.
const BATCH: usize = sahara_light::state::MAX_WORDS;
/// Committees that are remembered, as this node's or another's.
const MAX_LANES: usize = 1024;
/// Seconds by which the members hand in after one another, so that usually one pays the gas.
const STAGGER: u64 = 20;
/// Seconds of the request's time that are left at which every member hands in.
const URGENT: u64 = 300;

/// Watches for one node.
pub struct Watch {
    chain: Chain,
    node: PublicKey,
    book: Arc<Book>,
    settler: Arc<Mutex<Settler>>,
    next_block: Option<u64>,
    lanes: BTreeMap<B256, Option<Committee>>,
    hints: Vec<(Wanted, Sealed)>,
    /// Since when an answer is there.
    since: BTreeMap<B256, u64>,
}

impl Watch {
    /// For the node with this key. What is to be handed in, `settler` does.
    pub fn new(chain: Chain, node: PublicKey, book: Arc<Book>, settler: Arc<Mutex<Settler>>) -> Self {
        let (lanes, hints, since) = Default::default();
        Self { chain, node, book, settler, next_block: None, lanes, hints, since }
    }

    /// One round: what is new, what is proven, what is handed in.
    pub fn round(&mut self, words: &impl Words, by: Option<&Secret>, now: u64) {
        self.book.keys.destroy_old();
        self.book.forget_old();
        if let Err(error) = self.listen(now) {
            tracing::warn!(why = error.report(), "what contracts ask is not heard");
        }
        if let Err(why) = self.prove(words) {
            tracing::warn!(%why, "what contracts ask is not proven");
        }
        if let Some(by) = by {
            let due = self.due(by.address(), now);
            self.settler.lock().unwrap_or_else(PoisonError::into_inner).run(due, words, by, now);
        }
    }

    /// Looks through the blocks that are new.
    fn listen(&mut self, now: u64) -> Result<()> {
        let height = self.chain.height()?;
        let from = self.next_block.unwrap_or_else(|| height.saturating_sub(BACK));
        if from > height {
            return Ok(());
        }
        let topics = [Some(InferenceMarket::Requested::SIGNATURE_HASH)];
        let logs =
            self.chain.logs_between("listening to what contracts ask", INFERENCE_MARKET, (from, height), &topics)?;
        for log in &logs {
            if self.hints.len() >= HINTS {
                break;
            }
            if let Some(hint) = self.hint(log, now) {
                self.hints.push(hint);
            }
        }
        self.next_block = Some(height + 1);
        Ok(())
    }

    /// What somebody says that a contract asks of this node, if its hashes are right.
    fn hint(&mut self, log: &Log, now: u64) -> Option<(Wanted, Sealed)> {
        let event = InferenceMarket::Requested::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()?;
        let request = event.r;
        let id = request.id(self.book.domain());
        let stands = id == event.request && request.input == keccak256(&event.sealedInput) && request.until > now;
        if !stands || self.book.knows(id) || self.hints.iter().any(|(hint, _)| hint.id == id) {
            return None;
        }
        let sealed = Sealed::decode(&event.sealedInput).ok()?;
        let committee = self.lane(request.ask.lane)?;
        self.fits(request, committee).map(|wanted| (wanted, sealed))
    }

    fn fits(&self, request: Request, committee: Committee) -> Option<Wanted> {
        if !self.book.has_room(request.asset, request.asker) {
            tracing::info!(asset = %request.asset, asker = %request.asker, "a request is left to wait: too many do");
            return None;
        }
        let wanted = Wanted::new(self.book.domain(), request, committee);
        wanted.inspect_err(|why| tracing::info!(%why, "a request is not one of this node's")).ok()
    }

    /// A committee that this node sits on.
    fn lane(&mut self, lane: B256) -> Option<Committee> {
        if let Some(known) = self.lanes.get(&lane) {
            return known.clone();
        }
        let found = seated(&self.chain, lane).ok()?;
        let ours = found.filter(|committee| committee.keys.iter().any(|key| key.0 == self.node.0));
        if self.lanes.len() >= MAX_LANES {
            self.lanes.clear();
        }
        self.lanes.insert(lane, ours.clone());
        ours
    }

    /// Asks for the words of all that is new and all that waits.
    fn prove(&mut self, words: &impl Words) -> std::result::Result<(), String> {
        let hints: Vec<_> = self.hints.drain(..).map(|(wanted, sealed)| (Arc::new(wanted), Arc::new(sealed))).collect();
        let all: Vec<_> = self.book.open_ones().into_iter().chain(hints.iter().cloned()).collect();
        for batch in all.chunks(BATCH) {
            let asked: Vec<_> = batch.iter().map(|(wanted, _)| (INFERENCE_MARKET, slots::request(wanted.id))).collect();
            let proven = match words.words(&asked) {
                Ok(proven) if proven.words.len() == asked.len() => proven,
                Ok(_) => return Err("the words are not those that were asked for".to_owned()),
                Err(why) => {
                    self.remember(&hints);
                    return Err(why);
                }
            };
            for ((wanted, sealed), word) in batch.iter().zip(&proven.words) {
                match RequestState::read(U256::from_be_bytes(word.0)) {
                    RequestState::Waiting => {
                        self.book.proven(wanted.clone(), sealed.clone(), proven.height, proven.time);
                    }
                    // What is in the newest block is proven under the header of the next.
                    RequestState::None if !self.book.knows(wanted.id) => {
                        let early = proven.time <= wanted.request.until.saturating_sub(ANSWER_TIME) + 30;
                        if early {
                            self.remember(&[(wanted.clone(), sealed.clone())]);
                        }
                    }
                    _ => self.book.over(wanted.id),
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, hints: &[(Arc<Wanted>, Arc<Sealed>)]) {
        let room = HINTS.saturating_sub(self.hints.len());
        let again = hints.iter().filter(|(wanted, _)| !self.book.knows(wanted.id)).take(room);
        self.hints.extend(again.map(|(wanted, sealed)| ((**wanted).clone(), (**sealed).clone())).collect::<Vec<_>>());
    }

    /// The answers that the chain does not have, if it is this member's turn.
    fn due(&mut self, own: Address, now: u64) -> Vec<Errand> {
        let answers = self.book.to_hand_in();
        self.since.retain(|id, _| answers.iter().any(|answered| answered.wanted.id == *id));
        let mut due = Vec::new();
        for answered in answers {
            let wanted = &answered.wanted;
            let operators = &wanted.committee.operators;
            let place = operators.iter().position(|operator| *operator == own).unwrap_or(operators.len());
            let since = *self.since.entry(wanted.id).or_insert(now);
            let urgent = wanted.request.until < now.saturating_add(URGENT);
            let turn = urgent || now.saturating_sub(since) >= STAGGER * place as u64;
            if turn
                && now <= wanted.request.until
                && let Some(order) = order(self.book.domain(), &answered)
            {
                due.push(Errand { key: (wanted.id, wanted.request.ask.lane), part: part(wanted), order });
            }
        }
        due
    }
}

/// The transaction that hands an answer in.
pub fn order(domain: &sahara_market::Domain, answered: &Answered) -> Option<Order> {
    let slip = Slip::decode(domain, &answered.complete.receipt).ok()?;
    let call = InferenceMarket::answerCall {
        q: slip.wanted.request,
        c: slip.wanted.committee,
        r: slip.receipt.into(),
        signatures: answered.complete.signatures.concat().into(),
        publicAnswer: answered.answer.clone().into(),
    };
    Some(Order::call("answering a contract's request", INFERENCE_MARKET, &call))
}

/// What a member gets of a request, after the fee.
fn part(wanted: &Wanted) -> u128 {
    let compute = wanted.request.ask.compute;
    compute.saturating_sub(compute.div_ceil(100)) / 3
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
pub fn requested(chain: &Chain, domain: &sahara_market::Domain, id: B256) -> Result<(Request, Vec<u8>)> {
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
