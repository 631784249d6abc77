//! Consumers show their sessions: who proves one right now, who may try again, and who has shown one.
//!
//! Whoever shows one may be anybody, and to prove it takes the market's time and questions to others. So a few are proven at a
//! time, each key's own one after the other; whoever shows them from one address does so at a pace; and whoever has shown one is
//! remembered by its key, so that its next lanes are a consumer's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::lanes::origin;
use super::quota::Bucket;
use super::refusal::Refusal;
use super::slots::Slots;
use crate::identity::PublicKey;
use crate::wire::{Caller, FailCode};

/// Sessions that are proven at a time.
const PROVING: u64 = 4;
/// Sessions that are shown from one address: at once, and each second for long.
const SHOWN: Bucket = Bucket::new(32.0, 1.0);
/// Addresses whose pace is remembered.
const MAX_ADDRESSES: usize = 4096;
/// Keys that have shown a session and are remembered; the one that did so longest ago makes room.
const MAX_KEYS: usize = 4096;

/// Sessions that are shown, and who has shown one.
pub(super) struct Presenting {
    /// Of strangers, and of consumers that are known: no number of strangers keeps these from showing their next.
    proving: [Arc<Slots>; 2],
    pace: Mutex<HashMap<IpAddr, Bucket>>,
    known: Mutex<HashMap<PublicKey, Duration>>,
}

impl Default for Presenting {
    fn default() -> Self {
        Self { proving: [Slots::new(PROVING), Slots::new(PROVING)], pace: Mutex::default(), known: Mutex::default() }
    }
}

impl Presenting {
    /// Whether this key has shown a session.
    pub(super) fn knows(&self, key: &PublicKey) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Whose turn it is to have a session proven, among strangers or among those that are known.
    pub(super) fn turns(&self, caller: Caller) -> &Arc<Slots> {
        &self.proving[usize::from(caller != Caller::Stranger)]
    }

    /// This key has shown a session at `now`.
    pub(super) fn remember(&self, key: PublicKey, now: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KEYS && !known.contains_key(&key) {
            let oldest = known.iter().min_by_key(|(key, at)| (**at, **key)).map(|(key, _)| *key);
            oldest.and_then(|key| known.remove(&key));
        }
        known.insert(key, now);
    }

    /// Another session is shown from this address.
    ///
    /// # Errors
    /// When too many are.
    pub(super) fn pace(&self, address: IpAddr, now: Duration) -> Result<(), Refusal> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let address = origin(address);
        if pace.len() >= MAX_ADDRESSES && !pace.contains_key(&address) {
            pace.retain(|_, bucket| bucket.level(now) < 31.0);
            if pace.len() >= MAX_ADDRESSES {
                pace.clear(); // so many addresses are not held back one by one: few are proven at a time all the same
            }
        }
        match pace.entry(address).or_insert(SHOWN).take(1.0, now) {
            true => Ok(()),
            false => Err(Refusal::new(FailCode::Busy, "too many sessions are shown from your address, try again")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        PublicKey(bytes)
    }

    #[test]
    fn as_many_keys_are_remembered_as_there_is_room_for_and_the_oldest_makes_room() {
        let presenting = Presenting::default();
        for n in 0..MAX_KEYS as u32 {
            presenting.remember(key(n), Duration::from_secs(n.into()));
        }
        presenting.remember(key(0), Duration::from_secs(9999));
        presenting.remember(key(70_000), Duration::from_secs(9999));
        assert!(presenting.knows(&key(0)) && presenting.knows(&key(70_000)) && presenting.knows(&key(2)));
        assert!(!presenting.knows(&key(1)), "it showed its session longest ago");
        assert_eq!(presenting.known.lock().unwrap().len(), MAX_KEYS);
    }

    #[test]
    fn from_one_address_sessions_are_shown_at_a_pace() {
        let (presenting, now) = (Presenting::default(), Duration::from_secs(100));
        let ask = |last: u8, now| presenting.pace(IpAddr::from([10, 0, 0, last]), now);
        assert!((0..32).all(|_| ask(1, now).is_ok()));
        assert_eq!(ask(1, now).unwrap_err().code, FailCode::Busy);
        assert!(ask(2, now).is_ok(), "another address is not concerned");
        assert!(ask(1, now + Duration::from_secs(1)).is_ok());
        for n in 0..2 * MAX_ADDRESSES as u32 {
            assert!(presenting.pace(IpAddr::from(n.to_be_bytes()), now).is_ok());
        }
        assert!(presenting.pace.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
