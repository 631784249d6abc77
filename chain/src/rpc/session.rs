//! A client: who asks, what it follows, and how much of that one client may.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{
    budget::Flight,
    error::{self, RpcResult},
    topic::Followed,
};

/// Subscriptions of one client.
pub const MAX_SUBSCRIPTIONS: usize = 128;
/// Addresses and topics in all subscriptions of one client.
const MAX_WORDS: usize = 4_000;
/// Subscriptions of all clients.
const MAX_ALL: usize = 10_000;
/// Addresses and topics in all subscriptions of all clients.
const MAX_ALL_WORDS: usize = 200_000;

/// An address may have this part of what nobody has yet: many of them leave something for others.
const SHARE: usize = 4;

/// What all clients follow together: subscriptions, and what those name, by address.
#[derive(Debug, Default)]
pub struct Following(Mutex<BTreeMap<IpAddr, (usize, usize)>>);

impl Following {
    /// One more of `words` for `address`; one that `speaks_for_many` may have all there is.
    fn take(&self, address: IpAddr, speaks_for_many: bool, words: usize) -> RpcResult<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.values().fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        if taken.0 >= MAX_ALL || taken.1 + words > MAX_ALL_WORDS {
            return Err(error::limit(format!(
                "the node is busy: its clients have the {MAX_ALL} subscriptions or {MAX_ALL_WORDS} addresses and \
                 topics that all together may have"
            )));
        }
        let own = all.get(&address).copied().unwrap_or_default();
        let fits = |own: usize, taken: usize, most: usize| own <= (most - taken) / SHARE;
        let fair = fits(own.0 + 1, taken.0, MAX_ALL) && fits(own.1 + words, taken.1, MAX_ALL_WORDS);
        if !fair && !speaks_for_many {
            return Err(error::limit(format!(
                "the node is busy: {address} has {} subscriptions with {} addresses and topics, and one address may \
                 have a {SHARE}th of what is left for all",
                own.0, own.1
            )));
        }
        let own = all.entry(address).or_default();
        *own = (own.0 + 1, own.1 + words);
        Ok(())
    }

    fn give_back(&self, address: IpAddr, count: usize, words: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = all.get_mut(&address) else { return };
        *own = (own.0.saturating_sub(count), own.1.saturating_sub(words));
        if *own == (0, 0) {
            all.remove(&address);
        }
    }
}

/// One client.
pub struct Session {
    /// Where it asks from.
    pub address: IpAddr,
    /// Whether it can be told news: over a WebSocket.
    follows: bool,
    followed: Mutex<BTreeMap<String, Followed>>,
    all: Arc<Following>,
    /// The bytes that its address may have under way, if that counts.
    pub account: Option<Arc<Flight>>,
    /// Something is followed that was not.
    pub changed: Notify,
}

impl Session {
    /// A client at `address`, which has `account` if it speaks for itself only; `follows` if it can be told news.
    pub fn new(address: IpAddr, follows: bool, all: Arc<Following>, account: Option<Arc<Flight>>) -> Self {
        Self { address, follows, followed: Mutex::default(), all, account, changed: Notify::new() }
    }

    /// A client in this process, which can ask but not follow.
    pub fn local() -> Self {
        Self::new(Ipv4Addr::LOCALHOST.into(), false, Arc::default(), None)
    }

    /// Follows `topic` under `id` from now on.
    ///
    /// # Errors
    /// When it has no WebSocket, or follows as much as one client may.
    pub fn follow(&self, id: String, topic: Followed) -> RpcResult<()> {
        if !self.follows {
            return Err(error::coded(error::METHOD, "notifications not supported: subscriptions need a WebSocket"));
        }
        let mut followed = self.followed();
        let own: usize = followed.values().map(Followed::words).sum();
        if followed.len() >= MAX_SUBSCRIPTIONS {
            return Err(error::limit(format!("one client may have {MAX_SUBSCRIPTIONS} subscriptions")));
        }
        if own + topic.words() > MAX_WORDS {
            return Err(error::limit(format!(
                "the subscriptions of one client may name {MAX_WORDS} addresses and topics together"
            )));
        }
        self.all.take(self.address, self.account.is_none(), topic.words())?;
        followed.insert(id, topic);
        Ok(())
    }

    /// Follows `id` no longer; false if it was not followed.
    pub fn leave(&self, id: &str) -> bool {
        let Some(topic) = self.followed().remove(id) else { return false };
        self.all.give_back(self.address, 1, topic.words());
        true
    }

    /// What is followed.
    pub fn followed(&self) -> MutexGuard<'_, BTreeMap<String, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (count, words) = {
            let followed = self.followed();
            (followed.len(), followed.values().map(Followed::words).sum())
        };
        self.all.give_back(self.address, count, words);
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use alloy_rpc_types_eth::Filter;

    use super::{super::topic::Topic, *};

    fn heads() -> Followed {
        Followed { topic: Topic::Heads, told: 0, announced: false }
    }

    /// Clients of one address follow until they are refused; gives them, how much they have, and the refusal.
    fn greedy(address: [u8; 4], all: &Arc<Following>, alone: bool) -> (Vec<Session>, usize, String) {
        let (mut clients, mut count) = (vec![], 0);
        loop {
            let account = alone.then(|| Flight::new(1));
            let client = Session::new(address.into(), true, all.clone(), account);
            for _ in 0..MAX_SUBSCRIPTIONS {
                if let Err(refusal) = client.follow(count.to_string(), heads()) {
                    return (clients, count, refusal.message);
                }
                count += 1;
            }
            clients.push(client);
        }
    }

    #[test]
    fn one_address_leaves_subscriptions_for_the_others() {
        let all = Arc::default();
        let mut clients = vec![];
        for last in 1..25 {
            let (some, count, refusal) = greedy([10, 0, 0, last], &all, true);
            assert!((1..=MAX_ALL / (SHARE + 1)).contains(&count), "address {last} has {count}");
            assert!(refusal.contains("4th of what is left"), "{refusal}");
            clients.extend(some);
        }
        drop(clients);
        assert!(all.0.lock().unwrap().is_empty(), "whoever leaves gives all back");
    }

    #[test]
    fn all_clients_together_have_so_many_subscriptions() {
        // A proxy on this machine speaks for many.
        let (_clients, count, refusal) = greedy([127, 0, 0, 1], &Arc::default(), false);
        assert_eq!(count, MAX_ALL);
        assert!(refusal.contains("10000 subscriptions"), "{refusal}");
    }

    fn naming(words: u64) -> Followed {
        let addresses = (0..words).map(|n| Address::left_padding_from(&n.to_be_bytes())).collect::<Vec<_>>();
        Followed { topic: Topic::Logs(Box::new(Filter::new().address(addresses))), ..heads() }
    }

    #[test]
    fn one_client_names_so_much_in_all_that_it_follows() {
        let client = Session::new([10, 0, 0, 1].into(), true, Arc::default(), None);
        client.follow("a".into(), naming(3_000)).unwrap();
        client.follow("b".into(), naming(1_000)).unwrap();
        let refusal = client.follow("c".into(), naming(1)).unwrap_err().message;
        assert!(refusal.contains("may name 4000 addresses"), "{refusal}");
        client.follow("d".into(), heads()).unwrap();
        assert!(client.leave("b") && !client.leave("b") && !client.leave("c"));
        client.follow("c".into(), naming(1)).unwrap();
    }

    #[test]
    fn all_clients_name_so_much_together_and_one_address_a_part_of_what_is_left() {
        let at = |last| IpAddr::from([10, 0, 0, last]);
        let all = Following::default();
        all.take(at(1), true, 150_000).unwrap();
        all.take(at(2), true, 50_000).unwrap();
        assert!(all.take(at(3), true, 1).unwrap_err().message.contains("200000 addresses"));
        all.take(at(3), true, 0).unwrap();
        let all = Following::default();
        all.take(at(1), false, 20_000).unwrap();
        for (words, fits) in [(25_001, false), (25_000, true), (1, false)] {
            assert_eq!(all.take(at(1), false, words).is_ok(), fits, "{words}");
        }
        all.give_back(at(1), 1, 25_000);
        assert_eq!(all.0.lock().unwrap().get(&at(1)), Some(&(1, 20_000)));
        all.take(at(1), false, 25_000).unwrap();
        assert!(Following::default().take(at(1), false, 50_001).is_err());
    }
}
