//! A client: who asks, what it follows, and how much of that one client may.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{
    error::{self, RpcResult},
    subscribe::Followed,
};

/// Subscriptions of one client.
pub const MAX_SUBSCRIPTIONS: usize = 128;
/// Addresses and topics in all subscriptions of one client.
const MAX_WORDS: usize = 4_000;
/// Subscriptions of all clients.
const MAX_ALL: usize = 10_000;
/// Addresses and topics in all subscriptions of all clients.
const MAX_ALL_WORDS: usize = 200_000;

/// What all clients follow together.
#[derive(Debug, Default)]
pub struct Following(Mutex<(usize, usize)>);

/// One client.
pub struct Session {
    /// Where it asks from.
    pub address: IpAddr,
    /// Whether it can be told news: over a WebSocket.
    follows: bool,
    followed: Mutex<BTreeMap<String, Followed>>,
    all: Arc<Following>,
    /// Something is followed that was not.
    pub changed: Notify,
}

impl Session {
    /// A client at `address`; `follows` if it can be told news.
    pub fn new(address: IpAddr, follows: bool, all: Arc<Following>) -> Self {
        Self { address, follows, followed: Mutex::default(), all, changed: Notify::new() }
    }

    /// A client in this process, which can ask but not follow.
    pub fn local() -> Self {
        Self::new(Ipv4Addr::LOCALHOST.into(), false, Arc::default())
    }

    /// Follows `topic` under `id` from now on.
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
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.0 >= MAX_ALL || all.1 + topic.words() > MAX_ALL_WORDS {
            return Err(error::limit(format!(
                "the node is busy: its clients have the {MAX_ALL} subscriptions or {MAX_ALL_WORDS} addresses and \
                 topics that all together may have"
            )));
        }
        all.0 += 1;
        all.1 += topic.words();
        drop(all);
        followed.insert(id, topic);
        Ok(())
    }

    /// Follows `id` no longer; false if it was not followed.
    pub fn leave(&self, id: &str) -> bool {
        let Some(topic) = self.followed().remove(id) else { return false };
        self.give_back(1, topic.words());
        true
    }

    /// What is followed.
    pub fn followed(&self) -> MutexGuard<'_, BTreeMap<String, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, count: usize, words: usize) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.0 = all.0.saturating_sub(count);
        all.1 = all.1.saturating_sub(words);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (count, words) = {
            let followed = self.followed();
            (followed.len(), followed.values().map(Followed::words).sum())
        };
        self.give_back(count, words);
    }
}
