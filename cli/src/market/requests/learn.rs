//! What a node learns of contracts' requests: it hears hints, and takes in what is proven to wait and is for a committee that it sits on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::{B256, U256};
use sahara_market::slots::{self, RequestState};
use sahara_market::{Committee, INFERENCE_MARKET};
use sahara_mpc::identity::PublicKey;

use super::book::Book;
use super::hear::{self, HINTS, Hearing, Hint};
use super::slip::Wanted;
use crate::chain_client::{Chain, Log};
use crate::market::node::Words;

/// Rounds for which a hint is kept that is not proven yet: what is in the newest block is proven under the header of the next.
const ROUNDS: u32 = 10;
/// Words in one question.
const BATCH: usize = sahara_light::state::MAX_WORDS;
/// Committees that are remembered, as this node's or another's.
const MAX_LANES: usize = 1024;

/// Learns for one node.
pub struct Learner {
    hearing: Hearing,
    node: PublicKey,
    book: Arc<Book>,
    /// Committees that this node sits on, and others.
    own: BTreeMap<B256, Committee>,
    foreign: BTreeSet<B256>,
    /// What is heard and not proven, by which node of the chain said it first, and for how many rounds.
    hints: BTreeMap<B256, (Arc<Hint>, usize, u32)>,
}

impl Learner {
    /// For the node with this key.
    pub fn new(chain: &Chain, node: PublicKey, book: Arc<Book>) -> Self {
        let (own, foreign, hints) = Default::default();
        Self { hearing: Hearing::new(chain), node, book, own, foreign, hints }
    }

    /// Hears what is new as far as the chain is proven, and proves it.
    pub fn round(&mut self, words: &impl Words, now: u64) {
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
                        if self.admit(hint, (proven.height, proven.time), now) {
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
    fn admit(&mut self, hint: &Hint, (height, time): (u64, u64), now: u64) -> bool {
        let lane = hint.request.ask.lane;
        // The chain took the request, so that there is such a committee: who does not show it, hides it.
        let Some(committee) = self.lane(lane, now) else { return self.foreign.contains(&lane) };
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
    fn lane(&mut self, lane: B256, now: u64) -> Option<Committee> {
        if let Some(known) = self.own.get(&lane) {
            return Some(known.clone());
        }
        if self.foreign.contains(&lane) {
            return None;
        }
        let committee = self.hearing.chains().find_map(|chain| hear::seated(chain, lane).ok().flatten())?;
        if self.own.len() + self.foreign.len() >= MAX_LANES {
            self.foreign.clear();
            self.own.retain(|_, committee| committee.until > now);
        }
        if !committee.keys.iter().any(|key| key.0 == self.node.0) {
            self.foreign.insert(lane);
            return None;
        }
        self.own.insert(lane, committee.clone());
        Some(committee)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, hex};
    use alloy_sol_types::SolEvent;
    use sahara_light::{Proven, Url};
    use sahara_market::abi::InferenceMarket;
    use sahara_mpc::identity::from_secret;
    use serde_json::json;

    use super::super::book::tests::{NOW, book, wanted_of};
    use super::super::hear::tests::asked;
    use super::*;
    use crate::chain_client::entries;
    use crate::chain_client::nodes::node;

    /// A chain that has these requests as waiting.
    struct State(u64, Vec<B256>);

    impl Words for State {
        fn words(&self, wanted: &[(Address, B256)]) -> std::result::Result<Proven, String> {
            let waits = |slot: &B256| self.1.iter().any(|id| slots::request(*id) == *slot);
            let words = wanted.iter().map(|(_, slot)| B256::from(U256::from(u8::from(waits(slot))))).collect();
            Ok(Proven { height: self.0, time: NOW, words })
        }
    }

    /// A node that has these logs in block 50, the committee if it does not hide it, and whatever height.
    fn telling(height: u64, logs: Vec<serde_json::Value>, shows: bool) -> Url {
        let committee = wanted_of(7, 1, 1).committee;
        let (id, asset) = (committee.id(), committee.asset);
        let seated = InferenceMarket::Seated { committee: id, asset, c: committee }.encode_log_data();
        let seated =
            json!({"topics": seated.topics(), "data": hex::encode_prefixed(&seated.data), "blockNumber": "0x5"});
        node(move |method, params| match method {
            "eth_blockNumber" => Ok(json!(format!("{height:#x}"))),
            "eth_call" => Ok(entries(if shows { &[5] } else { &[] })),
            _ if params[0]["topics"][0] == json!(InferenceMarket::Seated::SIGNATURE_HASH) => Ok(json!([seated])),
            _ => Ok(json!(logs)),
        })
    }

    fn learner(urls: Vec<Url>, key: u8, folder: &std::path::Path) -> (Learner, Arc<Book>) {
        let book = Arc::new(book(folder));
        (Learner::new(&Chain::new(7, urls), from_secret(&[key; 32]).public(), book.clone()), book)
    }

    #[test]
    fn what_is_proven_to_wait_is_taken_in_whatever_one_node_makes_up_or_hides() {
        let dir = tempfile::tempdir().unwrap();
        let (id, honest) = asked(1, 50);
        let made_up = (100..180).map(|number| asked(number, 50).1).collect();
        let urls = vec![telling(u64::MAX, made_up, false), telling(60, vec![honest], true)];
        let (mut learner, book) = learner(urls, 1, dir.path());
        let mut state = State(60, Vec::new());
        learner.round(&state, NOW);
        assert!(!book.knows(id), "it is not proven yet");
        state.1.push(id);
        for round in 1..20 {
            learner.round(&state, NOW + 2 * round);
        }
        assert!(book.knows(id) && book.open_ones() == [id], "and nothing else");
        assert!(learner.hints.len() <= HINTS, "what is made up is forgotten");
    }

    #[test]
    fn what_is_for_others_is_looked_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (id, log) = asked(1, 50);
        let (mut learner, book) = learner(vec![telling(60, vec![log], true)], 9, dir.path());
        learner.round(&State(60, vec![id]), NOW);
        assert!(!book.knows(id) && learner.hints.is_empty() && learner.foreign.len() == 1);
        learner.round(&State(60, vec![id]), NOW + 2);
        assert!(learner.hints.is_empty());
    }
}
