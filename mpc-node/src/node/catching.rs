//! Whose session is caught up with: a consumer can say at any time that this node is behind, and each time the other members are asked.
//! So that is done for a key one at a time, and once in a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::identity::PublicKey;

/// Between two times that the others are asked for one key.
const PAUSE: Duration = Duration::from_secs(1);
/// Keys that are remembered; those for whom nobody is asked now, and not a moment ago, make room.
const MAX_KEYS: usize = 4096;

/// When the others were asked last, by the key for which: nothing while they are.
#[derive(Default)]
pub(super) struct Catching(Mutex<HashMap<PublicKey, Option<Duration>>>);

/// The turn to ask the others for a key; over when dropped.
pub(super) struct Turn {
    catching: Arc<Catching>,
    key: PublicKey,
    now: Duration,
}

impl Catching {
    /// The turn to ask the others for this key at `now`; nothing while somebody else does, or did a moment ago.
    pub(super) fn turn(self: &Arc<Self>, key: PublicKey, now: Duration) -> Option<Turn> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |at: &Option<Duration>| at.is_some_and(|at| now.saturating_sub(at) >= PAUSE);
        if keys.len() >= MAX_KEYS {
            keys.retain(|_, at| !over(at));
        }
        match keys.get(&key) {
            Some(at) if !over(at) => return None,
            None if keys.len() >= MAX_KEYS => return None,
            _ => {}
        }
        keys.insert(key, None);
        Some(Turn { catching: self.clone(), key, now })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.catching.0.lock().unwrap_or_else(PoisonError::into_inner).insert(self.key, Some(self.now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_asked_for_a_key_one_at_a_time_and_once_in_a_second() {
        let catching = Arc::new(Catching::default());
        let turn = |n: u32, millis| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_le_bytes());
            catching.turn(PublicKey(key), Duration::from_millis(millis))
        };
        let first = turn(1, 0).unwrap();
        assert!(turn(1, 5000).is_none(), "somebody else asks");
        assert!(turn(2, 5000).is_some(), "for another key");
        drop(first);
        assert!(turn(1, 999).is_none() && turn(1, 1000).is_some() && turn(1, 1000).is_none());
        let held: Vec<_> = (10..).map_while(|n| turn(n, 9000)).collect();
        assert_eq!(held.len(), MAX_KEYS, "what is over made room, and no more is remembered");
        drop(held);
        assert!(turn(9, 9500).is_none() && turn(9, 10_000).is_some());
    }
}
