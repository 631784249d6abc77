//! What is made once and used often, bounded in bytes: what was not used for longest goes first.
//!
//! Values are handed out as `Arc`, so what goes stays alive for those who are using it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by key, at most so many bytes of them.
pub struct Cache<K, V> {
    limit: u64,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    held: HashMap<K, Held<V>>,
    bytes: u64,
    clock: u64,
}

struct Held<V> {
    value: V,
    bytes: u64,
    used: u64,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// An empty cache for `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, state: Mutex::new(State { held: HashMap::new(), bytes: 0, clock: 0 }) }
    }

    /// What is kept for a key.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut state = self.lock();
        state.clock += 1;
        let now = state.clock;
        let held = state.held.get_mut(key)?;
        held.used = now;
        Some(held.value.clone())
    }

    /// Keeps a value of so many bytes; the least recently used ones make room. A value larger than the cache is not kept.
    pub fn put(&self, key: K, value: V, bytes: u64) {
        let mut state = self.lock();
        state.remove(&key);
        if bytes > self.limit {
            return;
        }
        while state.bytes + bytes > self.limit {
            let Some(oldest) = state.held.iter().min_by_key(|(_, held)| held.used).map(|(key, _)| key.clone()) else {
                break;
            };
            state.remove(&oldest);
        }
        state.clock += 1;
        let used = state.clock;
        state.bytes += bytes;
        state.held.insert(key, Held { value, bytes, used });
    }

    /// Forgets what fails `keep`.
    pub fn retain(&self, keep: impl Fn(&K) -> bool) {
        let mut state = self.lock();
        let gone: Vec<K> = state.held.keys().filter(|key| !keep(key)).cloned().collect();
        gone.iter().for_each(|key| state.remove(key));
    }

    /// Bytes kept.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> State<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(held) = self.held.remove(key) {
            self.bytes -= held.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let cache = Cache::new(10);
        cache.put("a", 1, 4);
        cache.put("b", 2, 4);
        assert_eq!(cache.get(&"a"), Some(1));
        cache.put("c", 3, 4);
        assert_eq!((cache.get(&"a"), cache.get(&"b"), cache.get(&"c")), (Some(1), None, Some(3)));
        assert_eq!(cache.bytes(), 8);
        cache.put("d", 4, 11);
        assert_eq!((cache.get(&"d"), cache.bytes()), (None, 8), "too large to be kept, and nothing made room for it");
        cache.put("a", 5, 10);
        assert_eq!((cache.get(&"a"), cache.get(&"c"), cache.bytes()), (Some(5), None, 10));
        cache.retain(|key| *key != "a");
        assert_eq!((cache.get(&"a"), cache.bytes()), (None, 0));
    }
}
