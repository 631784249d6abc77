//! Learns of contracts' requests from what nodes of the chain log, which is a hint; proves that they wait before anything is done for
//! them; and hands the answers in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolEvent;
use sahara_market::abi::InferenceMarket;
use sahara_market::request::Request;
use sahara_market::slots::{self, RequestState};
use sahara_market::{Committee, INFERENCE_MARKET};
use sahara_mpc::identity::PublicKey;

use super::book::{Answered, Book};
use super::hear::{self, HINTS, Hearing, Hint};
use super::slip::{Slip, Wanted};
use crate::chain_client::{Chain, Key, Log, Order};
use crate::error::{Error, Result};
use crate::market::node::Words;
use crate::market::settler::{Errand, Settler};
use crate::wallet::Secret;

/// Rounds for which a hint is kept that is not proven yet: what is in the newest block is proven under the header of the next.
const ROUNDS: u32 = 10;
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
    hearing: Hearing,
    node: PublicKey,
    book: Arc<Book>,
    settler: Arc<Mutex<Settler>>,
    /// Committees that this node sits on, and others.
    own: BTreeMap<B256, Committee>,
    foreign: BTreeSet<B256>,
    /// What is heard and not proven, by which node of the chain said it first, and for how many rounds.
    hints: BTreeMap<B256, (Arc<Hint>, usize, u32)>,
    /// Since when an answer is there.
    since: BTreeMap<B256, u64>,
}

impl Watch {
    /// For the node with this key. What is to be handed in, `settler` does.
    pub fn new(chain: &Chain, node: PublicKey, book: Arc<Book>, settler: Arc<Mutex<Settler>>) -> Self {
        let (own, foreign, hints, since) = Default::default();
        Self { hearing: Hearing::new(chain), node, book, settler, own, foreign, hints, since }
    }

    /// One round: what is new, what is proven, what is handed in.
    pub fn round(&mut self, words: &impl Words, by: Option<&Secret>, now: u64) {
        self.book.keys.destroy_old();
        self.book.forget_old();
        self.learn(words, now);
        if let Some(by) = by {
            let due = self.due(by.address(), now);
            self.settler.lock().unwrap_or_else(PoisonError::into_inner).run(due, words, by, now);
        }
    }

    /// Hears what is new as far as the chain is proven, and proves it.
    fn learn(&mut self, words: &impl Words, now: u64) {
        // The height is the light client's: nobody's word moves it.
        match words.words(&[(INFERENCE_MARKET, slots::request(B256::ZERO))]) {
            Ok(proven) => self.listen(proven.height, now),
            Err(why) => tracing::warn!(%why, "what contracts ask is not heard: nothing is proven of the chain"),
        }
        if let Err(why) = self.prove(words, now) {
            tracing::warn!(%why, "what contracts ask is not proven");
        }
    }

    fn listen(&mut self, height: u64, now: u64) {
        let mut room = vec![HINTS; self.hearing.chains().count()];
        for (_, place, _) in self.hints.values() {
            if let Some(room) = room.get_mut(*place) {
                *room = room.saturating_sub(1);
            }
        }
        let (book, foreign, known) = (&self.book, &self.foreign, &self.hints);
        let wants = |log: &Log| {
            let hint = hear::read(log, book.domain(), now)?;
            let new =
                !book.knows(hint.id) && !known.contains_key(&hint.id) && !foreign.contains(&hint.request.ask.lane);
            // Of whom too many wait already, another one is heard when the hour is looked through again.
            (new && book.has_room(hint.request.asset, hint.request.asker)).then_some(hint)
        };
        let own = self.own.keys().copied().collect();
        for (place, hint) in self.hearing.round((height, now), &own, &room, wants) {
            self.hints.entry(hint.id).or_insert_with(|| (Arc::new(hint), place, 0));
        }
    }

    /// Asks for the words of all that is new and all that waits.
    fn prove(&mut self, words: &impl Words, now: u64) -> std::result::Result<(), String> {
        let hints: Vec<_> = self.hints.values().map(|(hint, ..)| hint.clone()).collect();
        let known = self.book.open_ones();
        let ids: Vec<B256> = known.iter().copied().chain(hints.iter().map(|hint| hint.id)).collect();
        let hinted: BTreeMap<B256, Arc<Hint>> = hints.into_iter().map(|hint| (hint.id, hint)).collect();
        for batch in ids.chunks(BATCH) {
            let asked: Vec<_> = batch.iter().map(|id| (INFERENCE_MARKET, slots::request(*id))).collect();
            let proven = words.words(&asked)?;
            if proven.words.len() != asked.len() {
                return Err("the words are not those that were asked for".to_owned());
            }
            for (id, word) in batch.iter().zip(&proven.words) {
                let state = RequestState::read(U256::from_be_bytes(word.0));
                match (state, hinted.get(id)) {
                    (RequestState::Waiting, None) => self.book.still_waits(*id, proven.height, proven.time),
                    (RequestState::Waiting, Some(hint)) => {
                        if self.admit(hint, proven.height, proven.time) {
                            self.hints.remove(id);
                        } else {
                            self.keep(*id);
                        }
                    }
                    (RequestState::None, Some(hint)) if hint.request.until > now => self.keep(*id),
                    _ => {
                        self.hints.remove(id);
                        self.book.over(*id);
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps a hint for the next round, not for ever: what was true is heard again.
    fn keep(&mut self, id: B256) {
        let Some((_, _, rounds)) = self.hints.get_mut(&id) else { return };
        *rounds += 1;
        if *rounds > ROUNDS {
            self.hints.remove(&id);
        }
    }

    /// Takes in what is proven to wait, if it is for this node. Whether that is known.
    fn admit(&mut self, hint: &Hint, height: u64, time: u64) -> bool {
        let lane = hint.request.ask.lane;
        // The chain took the request, so that there is such a committee: who does not show it, hides it.
        let Some(committee) = self.lane(lane) else { return self.foreign.contains(&lane) };
        let request = hint.request.clone();
        if !self.book.has_room(request.asset, request.asker) {
            tracing::info!(asset = %request.asset, asker = %request.asker, "a request is left to wait: too many do");
            return true;
        }
        match Wanted::new(self.book.domain(), request, committee) {
            Ok(wanted) => self.book.proven(Arc::new(wanted), Arc::new(hint.sealed.clone()), height, time),
            Err(why) => tracing::info!(%why, "a request is not one of this node's"),
        }
        true
    }

    /// A committee that this node sits on, as any node of the chain shows it.
    fn lane(&mut self, lane: B256) -> Option<Committee> {
        if let Some(known) = self.own.get(&lane) {
            return Some(known.clone());
        }
        if self.foreign.contains(&lane) {
            return None;
        }
        let committee = self.hearing.chains().find_map(|chain| seated(chain, lane).ok().flatten())?;
        if self.own.len() + self.foreign.len() >= MAX_LANES {
            self.foreign.clear();
            self.own.retain(|_, committee| committee.until > crate::moment::now());
        }
        if !committee.keys.iter().any(|key| key.0 == self.node.0) {
            self.foreign.insert(lane);
            return None;
        }
        self.own.insert(lane, committee.clone());
        Some(committee)
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
