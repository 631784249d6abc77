//! Watches the chain for one node: learns of contracts' requests, and hands the answers in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, B256};
use sahara_market::INFERENCE_MARKET;
use sahara_market::abi::InferenceMarket;
use sahara_mpc::identity::PublicKey;

use super::book::{Answered, Book};
use super::learn::Learner;
use super::slip::{Slip, Wanted};
use crate::chain_client::{Chain, Order};
use crate::market::node::Words;
use crate::market::settler::{Errand, Settler};
use crate::wallet::Secret;

/// Seconds by which the members hand in after one another, so that usually one pays the gas.
const STAGGER: u64 = 20;
/// Seconds of the request's time that are left at which every member hands in.
const URGENT: u64 = 300;

/// Watches for one node.
pub struct Watch {
    learner: Learner,
    book: Arc<Book>,
    settler: Arc<Mutex<Settler>>,
    /// Since when an answer is there.
    since: BTreeMap<B256, u64>,
}

impl Watch {
    /// For the node with this key. What is to be handed in, `settler` does.
    pub fn new(chain: &Chain, node: PublicKey, book: Arc<Book>, settler: Arc<Mutex<Settler>>) -> Self {
        Self { learner: Learner::new(chain, node, book.clone()), book, settler, since: BTreeMap::new() }
    }

    /// One round: what is new, what is proven, what is handed in.
    pub fn round(&mut self, words: &impl Words, by: Option<&Secret>, now: u64) {
        self.book.keys.destroy_old();
        self.book.forget_old();
        self.learner.round(words, now);
        if let Some(by) = by {
            let due = self.due(by.address(), now);
            self.settler.lock().unwrap_or_else(PoisonError::into_inner).run(due, words, by, now);
        }
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
