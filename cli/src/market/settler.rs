//! Has the market pay what a node is owed. What is owed is proven; what gas costs is asked of all nodes of the chain at the same
//! time, once a round, and each has seconds. A transaction that is in no block by the next round is replaced, never followed by
//! another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256};
use sahara_market::abi::InferenceMarket;
use sahara_market::slots::{self, SessionState};
use sahara_market::{Domain, INFERENCE_MARKET};
use sahara_mpc::market::Complete;

use super::bill::{Bill, Deal};
use super::network::Network;
use super::node::Words;
use crate::chain_client::{AskError, Chain, Fee, Look, Order};
use crate::wallet::Secret;
use crate::wallet::amount::Amount;

/// Seconds before a session's end at which it is settled whatever it is worth.
const BEFORE_END: u64 = 3600;
/// Seconds until a receipt that was handed in is handed in again, if it is not proven to be paid.
const AGAIN: u64 = 45;
/// Most times that this is doubled for a session whose settlement was carried out and paid nothing.
const DOUBLINGS: u32 = 8;
/// Receipts in one question: each needs two words.
const BATCH: usize = sahara_light::state::MAX_WORDS / 2;
/// Seconds by which the members of a committee settle after one another, so that usually one pays the gas.
const STAGGER: u64 = 60;
/// How long one node of the chain has for one answer.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 3 });
/// How long one node has for all that is asked of it at a time: a slow one does not hold up the others.
const SERIES: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 20 });
/// Seconds after which what is known of a session is forgotten that nobody has a receipt of any more.
const UNSEEN: u64 = 86_400;
/// Sessions that are handed in at a time: a pool has room for so many of one account.
const AT_ONCE: usize = 32;
/// Gas that a settlement takes at least, whatever a node says (it takes 156,000, the first one 284,000).
const LEAST_GAS: u64 = 150_000;
/// Gas that the first one takes, which is the dearest.
pub const USUAL_GAS: u64 = 300_000;
/// Gas that one may take at most.
const MOST_GAS: u64 = 3_000_000;
/// Gas that is provided beyond an estimate: as things are when it is carried out, it may be the first one.
const SPARE_GAS: u64 = 150_000;
/// In words.
const DOING: &str = "settling a session";

/// When a session is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From this amount on.
    pub at: u128,
    /// Seconds after something was first owed.
    pub after: u64,
    /// Also when the gas costs more than it is worth.
    pub at_a_loss: bool,
}

/// A session and a lane.
type Key = (B256, B256);

/// Has the market pay what is due.
pub struct Settler {
    chain: Chain,
    domain: Domain,
    policy: Policy,
    open: BTreeMap<Key, Open>,
    /// What waits for its block, by the number of the transaction.
    sent: BTreeMap<u64, Handed>,
    /// Which of what is open are errands.
    errands: BTreeSet<Key>,
}

/// What is known of a session in which something is owed.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Since when.
    since: u64,
    /// Since when it is due.
    due: Option<u64>,
    /// Whether it closes, or ends soon: what is not settled then is lost, to everybody.
    last_chance: bool,
    /// When it was last handed in.
    tried: Option<u64>,
    /// How often a settlement of it was carried out and paid nothing.
    in_vain: u32,
    /// Whether it was told that it is not worth its gas.
    told: bool,
    /// When a node was asked what it takes, last.
    looked: u64,
    /// When there was a receipt of it, last.
    seen: u64,
}

/// A settlement that waits for its block.
#[derive(Clone, Copy, Debug)]
struct Handed {
    key: Key,
    unit: Fee,
    at: u64,
}

/// What is owed in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, and the session is over.
    Over,
    /// Nothing now.
    Nothing,
    /// So much, which has time.
    Owed(u128),
    /// So much, now.
    Due(u128),
    /// The chain knows no such session.
    Unknown,
}

/// What a round has found.
#[derive(Debug, Default)]
pub struct Round {
    /// Sessions that are over.
    pub over: Vec<Deal>,
    /// What is proven to be paid, by session and lane.
    pub settled: Vec<(B256, B256, u128)>,
}

/// Something that is due: a settlement, or an errand.
struct Due {
    key: Key,
    /// What is owed in all.
    owed: u128,
    /// About what this operator gets of it.
    part: u128,
    order: Order,
}

impl Due {
    fn settlement(bill: &Bill, complete: &Complete, owed: u128) -> Self {
        Self { key: key(bill), owed, part: part(bill, owed), order: order(bill, complete) }
    }
}

/// What the account hands in besides settlements: one queue, as an account's transactions have one order.
pub struct Errand {
    /// What it is about: a request and its committee.
    pub key: (B256, B256),
    /// What this operator gets for it.
    pub part: u128,
    /// The call.
    pub order: Order,
}

/// One that is worth its gas.
struct Wanted {
    key: Key,
    owed: u128,
    order: Order,
    gas: u64,
    unit: Fee,
    /// The most that a unit of gas may cost for it to be worth that.
    most: u128,
}

/// One that is signed.
struct Signed {
    key: Key,
    owed: u128,
    nonce: u64,
    unit: Fee,
    hash: B256,
    bytes: Bytes,
}

impl Settler {
    /// For a network.
    pub fn new(network: &Network, policy: Policy) -> Self {
        let chain = network.chain().hurried(PATIENCE);
        Self {
            chain,
            domain: network.domain(),
            policy,
            open: BTreeMap::new(),
            sent: BTreeMap::new(),
            errands: BTreeSet::new(),
        }
    }

    /// One round over the last receipts: hands in what is due, if there is an account to do it with. Whether it was paid, the next
    /// round finds out by proof; what was not is handed in again, in the place of what waits and for a higher fee.
    pub fn round(
        &mut self,
        words: &impl Words,
        bills: &[Arc<(Bill, Complete)>],
        by: Option<&Secret>,
        now: u64,
    ) -> Round {
        let (mut round, mut due) = (Round::default(), Vec::new());
        self.open.retain(|_, open| now.saturating_sub(open.seen) <= UNSEEN);
        for batch in bills.chunks(BATCH) {
            let deals: Vec<&Bill> = batch.iter().map(|known| &known.0).collect();
            let standings = match self.standings(words, &deals, now) {
                Ok(standings) => standings,
                Err(why) => {
                    tracing::warn!(%why, "what is owed cannot be proven");
                    continue;
                }
            };
            for (known, (standing, settled)) in batch.iter().zip(standings) {
                let (bill, complete) = &**known;
                let (session, lane) = key(bill);
                if settled > 0 {
                    round.settled.push((session, lane, settled));
                }
                match standing {
                    Standing::Over => round.over.push(bill.deal.clone()),
                    Standing::Due(owed) if by.is_some_and(|by| self.my_turn(bill, by.address(), now)) => {
                        due.push(Due::settlement(bill, complete, owed));
                    }
                    Standing::Unknown => {
                        tracing::warn!(%session, "the chain knows no such session (any more)");
                    }
                    _ => {}
                }
            }
        }
        if let Some(by) = by
            && !due.is_empty()
        {
            self.hand_in(&due, words, by, now);
        }
        round
    }

    /// Hands in what else there is, all that there is: what was handed in before and is not here any more is done.
    pub fn run(&mut self, errands: Vec<Errand>, words: &impl Words, by: &Secret, now: u64) {
        let keys: BTreeSet<Key> = errands.iter().map(|errand| errand.key).collect();
        for over in self.errands.difference(&keys) {
            self.open.remove(over);
        }
        for key in &keys {
            let open = self.open.entry(*key).or_insert(Open { since: now, due: Some(now), ..Open::default() });
            open.seen = now;
        }
        self.errands = keys;
        let due = |Errand { key, part, order }| Due { key, owed: part, part, order };
        let mut due: Vec<Due> = errands.into_iter().map(due).collect();
        due.retain(|due| self.may(&due.key, now));
        if !due.is_empty() {
            self.hand_in(&due, words, by, now);
        }
    }

    /// Hands things in, and does not wait for what becomes of them.
    fn hand_in(&mut self, due: &[Due], words: &impl Words, by: &Secret, now: u64) {
        // The number of the next transaction is nobody's word.
        let account = match words.account(by.address()) {
            Ok(account) => account,
            Err(why) => return tracing::warn!(%why, "nothing is handed in: this account is not proven"),
        };
        let look = match self.chain.look(by.address(), DOING) {
            Ok(look) => look,
            Err(error) => return tracing::warn!(why = error.report(), "nothing is handed in"),
        };
        self.forget_until(account.nonce, now);
        let due = self.most_urgent(due, &look, account.balance, now);
        let mut wanted = self.wanted(&due, &look, account.balance, by.address());
        // What waits keeps its place. Of what is new, what may cost most comes first: nothing waits behind what can pay less.
        let waits: BTreeSet<Key> = self.sent.values().map(|handed| handed.key).collect();
        wanted.sort_by_key(|wanted| (!waits.contains(&wanted.key), std::cmp::Reverse(wanted.unit.most)));
        let mut signed = Vec::new();
        for (wanted, nonce, unit) in self.placed(wanted, account.nonce, now) {
            match self.chain.signed(by, &wanted.order, wanted.gas, unit, nonce) {
                Ok((hash, bytes)) => {
                    signed.push(Signed { key: wanted.key, owed: wanted.owed, nonce, unit, hash, bytes });
                }
                Err(error) => {
                    tracing::warn!(session = %wanted.key.0, why = error.report(), "a receipt is not handed in")
                }
            }
        }
        signed.sort_by_key(|signed| signed.nonce);
        let bytes: Vec<Bytes> = signed.iter().map(|signed| signed.bytes.clone()).collect();
        let said = self.chain.tell(&bytes, Instant::now() + SERIES);
        signed.iter().zip(said).for_each(|(signed, said)| self.was_told(signed, said, now));
    }

    /// Keeps what waits for its block from now on.
    fn was_told(&mut self, signed: &Signed, said: std::result::Result<(), AskError>, now: u64) {
        let Signed { key, nonce, unit, hash, .. } = *signed;
        let (session, owed) = (key.0, Amount::from(signed.owed));
        match &said {
            Ok(()) => tracing::info!(%session, %owed, transaction = %hash, "a receipt was handed in"),
            // What stands in its place, of before a restart perhaps, is outbid by the next one.
            Err(AskError::Refused { message, .. }) if message.contains("underpriced") => {
                tracing::info!(%session, %owed, transaction = %hash, "another transaction stands in the place of a receipt");
            }
            Err(AskError::Refused { message, .. }) if message.contains("already known") => {}
            // It may have come to some node all the same.
            Err(AskError::NoAnswer(why)) => {
                tracing::warn!(%session, %owed, transaction = %hash, why, "no node says that it takes a receipt");
            }
            Err(AskError::Refused { message, .. }) => {
                return tracing::warn!(%session, %owed, transaction = %hash, why = message, "no node takes a receipt");
            }
        }
        // Nobody else has it waiting any more.
        self.sent.retain(|_, handed| handed.key != key);
        self.sent.insert(nonce, Handed { key, unit, at: now });
        if let Some(open) = self.open.get_mut(&key) {
            open.tried = Some(now);
        }
    }

    /// Forgets what is in a block. Of what is still owed, it was carried out for nothing.
    fn forget_until(&mut self, nonce: u64, now: u64) {
        let waits = self.sent.split_off(&nonce);
        for handed in std::mem::replace(&mut self.sent, waits).into_values() {
            if let Some(open) = self.open.get_mut(&handed.key) {
                open.in_vain = (open.in_vain + 1).min(DOUBLINGS);
                open.tried = Some(now);
            }
        }
    }

    /// Those that no node has to be asked about to know that they are not worth their gas are left out; of the others, those that
    /// were not looked at for longest.
    fn most_urgent<'a>(&mut self, due: &'a [Due], look: &Look, balance: U256, now: u64) -> Vec<&'a Due> {
        let mut urgent = Vec::new();
        for due in due {
            if !self.may(&due.key, now) {
                continue;
            }
            let worth = self.worth(due);
            match affordable(look, LEAST_GAS, LEAST_GAS, worth, balance) {
                Some(_) => urgent.push(due),
                None => self.tell_once(due.key, due.owed, worth),
            }
        }
        urgent.sort_by_key(|due| {
            let looked = self.open.get(&due.key).map_or(0, |open| open.looked);
            (looked, std::cmp::Reverse(due.owed))
        });
        urgent.truncate(AT_ONCE);
        for due in &urgent {
            self.open.entry(due.key).and_modify(|open| open.looked = now);
        }
        urgent
    }

    /// Those that are worth their gas, and what that may cost.
    fn wanted(&mut self, due: &[&Due], look: &Look, balance: U256, own: Address) -> Vec<Wanted> {
        let orders: Vec<Order> = due.iter().map(|due| due.order.clone()).collect();
        let estimates = self.chain.estimates(own, &orders, Instant::now() + SERIES);
        let (mut wanted, mut left) = (Vec::new(), balance);
        for ((due, order), estimate) in due.iter().zip(orders).zip(estimates) {
            let key = due.key;
            let estimate = match estimate {
                Ok(gas) if gas <= MOST_GAS => gas.max(LEAST_GAS),
                Ok(gas) => {
                    tracing::warn!(session = %key.0, gas, "nodes say that a settlement takes more gas than any: it waits");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(session = %key.0, why = error.report(), "a receipt is not handed in");
                    continue;
                }
            };
            let (worth, gas) = (self.worth(due), estimate + SPARE_GAS);
            let Some(unit) = affordable(look, estimate, gas, worth, left) else {
                self.tell_once(key, due.owed, worth);
                continue;
            };
            left = left.saturating_sub(unit.of(gas));
            let most = dearest(worth, estimate);
            wanted.push(Wanted { key, owed: due.owed, order, gas, unit, most });
        }
        wanted
    }

    /// The most that the gas of a settlement may cost: this operator's part; all that is owed, to whomever, where it is lost
    /// otherwise.
    fn worth(&self, due: &Due) -> U256 {
        let last_chance = self.open.get(&due.key).is_some_and(|open| open.last_chance);
        match (self.policy.at_a_loss, last_chance) {
            (true, _) => U256::MAX,
            (false, true) => U256::from(due.owed),
            (false, false) => U256::from(due.part),
        }
    }

    fn tell_once(&mut self, key: Key, owed: u128, worth: U256) {
        let Some(open) = self.open.get_mut(&key) else { return };
        if !std::mem::replace(&mut open.told, true) {
            let (session, owed, worth) = (key.0, Amount::from(owed), Amount(worth));
            tracing::warn!(%session, %owed, %worth, "the gas costs more than a settlement is worth, or than the account has");
        }
    }

    /// The number of each settlement's transaction, `next` being the account's, and what a unit of its gas may cost. What waits is
    /// replaced; while the first one that waits was handed in a while ago, no number is used that was not used before.
    fn placed(&mut self, wanted: Vec<Wanted>, next: u64, now: u64) -> Vec<(Wanted, u64, Fee)> {
        let stuck = self.sent.get(&next).is_some_and(|first| now.saturating_sub(first.at) >= AGAIN);
        let mut taken: BTreeSet<u64> = BTreeSet::new();
        let mut placed = Vec::new();
        for wanted in wanted {
            let own = self.sent.iter().find(|(_, handed)| handed.key == wanted.key).map(|(nonce, _)| *nonce);
            let is_free = |nonce: &u64| {
                let owed = self.sent.get(nonce).is_some_and(|handed| self.open.contains_key(&handed.key));
                !taken.contains(nonce) && !owed
            };
            let nonce = match (own, (next..).find(is_free)) {
                // Nobody wants what stands there any more: it may never be carried out.
                (Some(own), Some(free)) if free < own => free,
                (Some(own), _) => own,
                (None, Some(free)) if !stuck || free == next => free,
                (None, _) => next,
            };
            if taken.contains(&nonce) {
                continue;
            }
            let unit = match self.sent.get(&nonce) {
                Some(stands) => wanted.unit.or(stands.unit.bumped()),
                None => wanted.unit,
            };
            if unit.is_beyond_belief() || unit.most > wanted.most {
                continue;
            }
            taken.insert(nonce);
            placed.push((wanted, nonce, unit));
        }
        placed
    }

    /// What is owed for the last receipt of a session: what the chain has paid is proven.
    ///
    /// # Errors
    /// When nothing is proven.
    pub fn standing(&mut self, words: &impl Words, bill: &Bill, now: u64) -> std::result::Result<Standing, String> {
        let standing = self.standings(words, &[bill], now)?.pop();
        standing.map(|(standing, _)| standing).ok_or_else(|| "nothing was asked".to_owned())
    }

    /// What is owed in each, and what was paid.
    fn standings(
        &mut self,
        words: &impl Words,
        bills: &[&Bill],
        now: u64,
    ) -> std::result::Result<Vec<(Standing, u128)>, String> {
        let market = self.domain.market;
        let of = |bill: &&Bill| {
            let deal = &bill.deal;
            [(market, slots::session(deal.id)), (market, slots::settled(deal.id, deal.lane))]
        };
        let wanted: Vec<_> = bills.iter().flat_map(of).collect();
        let proven = words.words(&wanted)?;
        if proven.words.len() != wanted.len() {
            return Err("the words are not those that were asked for".to_owned());
        }
        let (pairs, _) = proven.words.as_chunks::<2>();
        Ok(bills.iter().zip(pairs).map(|(bill, pair)| self.read(bill, pair, now)).collect())
    }

    fn read(&mut self, bill: &Bill, [session, settled]: &[B256; 2], now: u64) -> (Standing, u128) {
        let (deal, key) = (&bill.deal, key(bill));
        let settled = u128::try_from(U256::from_be_bytes(settled.0)).unwrap_or(u128::MAX);
        let owed = bill.receipt.total.saturating_sub(settled);
        let state = SessionState::read((*session).into());
        match state {
            SessionState::Finished => {
                if owed > 0 {
                    tracing::warn!(session = %deal.id, owed = %Amount::from(owed), "a session is over, and this was not paid");
                }
                self.open.remove(&key);
                return (Standing::Over, settled);
            }
            SessionState::None | SessionState::Unknown(_) => return (Standing::Unknown, settled),
            _ if owed == 0 => {
                self.open.remove(&key);
                return (Standing::Nothing, settled);
            }
            _ => {}
        }
        let open = self.open.entry(key).or_insert(Open { since: now, ..Open::default() });
        open.seen = now;
        let ends = deal.session().ends.min(deal.committee().until);
        let ends_soon = now.saturating_add(BEFORE_END) >= ends;
        open.last_chance = matches!(state, SessionState::Closing(_)) || ends_soon;
        let late = now.saturating_sub(open.since) >= self.policy.after;
        if open.last_chance || late || owed >= self.policy.at {
            open.due.get_or_insert(now);
            return (Standing::Due(owed), settled);
        }
        open.due = None;
        (Standing::Owed(owed), settled)
    }

    /// Whether it is for this member to settle now: one after the other, as their accounts stand in the committee; and not again
    /// before what was tried could be proven.
    fn my_turn(&self, bill: &Bill, own: Address, now: u64) -> bool {
        let operators = &bill.deal.committee().operators;
        let place = operators.iter().position(|operator| *operator == own).unwrap_or(operators.len());
        let Some(open) = self.open.get(&key(bill)) else { return false };
        self.may(&key(bill), now) && open.due.is_some_and(|due| now.saturating_sub(due) >= STAGGER * place as u64)
    }

    /// Whether what was tried before could be proven by now.
    fn may(&self, key: &Key, now: u64) -> bool {
        let Some(open) = self.open.get(key) else { return false };
        open.tried.is_none_or(|tried| now.saturating_sub(tried) >= AGAIN << open.in_vain)
    }
}

fn key(bill: &Bill) -> Key {
    (bill.deal.id, bill.deal.lane)
}

/// What a unit of gas may cost for something that takes `estimate` and is given `gas`: by the dearest word of a node at which it is
/// still worth that and the account can pay it. More than its worth it never costs, whatever the next blocks ask.
fn affordable(look: &Look, estimate: u64, gas: u64, worth: U256, balance: U256) -> Option<Fee> {
    let most = dearest(worth, estimate);
    look.fees().find_map(|fee| {
        // Half of the most is about what it does cost.
        let unit = Fee { most: fee.most.min(most), tip: fee.tip.min(most) };
        let worthwhile = (fee.most / 2).saturating_add(fee.tip / 2) <= most;
        (worthwhile && unit.of(gas) <= balance).then_some(unit)
    })
}

/// What a unit of gas may cost at most for something that takes so much to be worth it.
fn dearest(worth: U256, gas: u64) -> u128 {
    u128::try_from(worth / U256::from(gas.max(1))).unwrap_or(u128::MAX)
}

/// About what one of three operators gets of what is owed.
fn part(bill: &Bill, owed: u128) -> u128 {
    let calls = owed / bill.deal.price.max(1);
    calls.saturating_mul(bill.deal.session().compute) / 100 * 99 / 3
}

/// The order that has a receipt paid.
pub fn order(bill: &Bill, complete: &Complete) -> Order {
    let call = InferenceMarket::settleCall {
        s: bill.deal.session().clone(),
        c: bill.deal.committee().clone(),
        r: bill.receipt.into(),
        voucher: bill.voucher.to_vec().into(),
        signatures: complete.signatures.as_flattened().to_vec().into(),
    };
    Order::call(DOING, INFERENCE_MARKET, &call)
}

#[cfg(test)]
mod tests;
