//! What is made once and used often, bounded in bytes: what was not used for longest goes first.
//!
//! **Everything that is alive counts**: what is being made (room is taken before), what is kept, and what was forgotten
//! but is still in somebody's hands. What is in use makes no room for anything; whoever finds none has to wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A value that knows whether somebody besides the cache holds it.
pub trait Shared: Clone {
    /// Whether there is another handle than this one.
    fn is_in_use(&self) -> bool;

    /// Tells whether the value is alive, without keeping it so.
    fn watch(&self) -> Watch;
}

/// Whether a value is alive.
pub type Watch = Box<dyn Fn() -> bool + Send + Sync>;

impl<T: Send + Sync + 'static> Shared for Arc<T> {
    fn is_in_use(&self) -> bool {
        Self::strong_count(self) > 1
    }

    fn watch(&self) -> Watch {
        let weak = Self::downgrade(self);
        Box::new(move || weak.strong_count() > 0)
    }
}

/// Values by key, at most so many bytes of them.
pub struct Cache<K, V> {
    limit: u64,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    held: HashMap<K, Held<V>>,
    /// Forgotten, and perhaps still in somebody's hands; nothing here keeps them alive.
    leaving: Vec<(Watch, u64)>,
    /// Bytes of all of these, and of what is being made.
    bytes: u64,
    clock: u64,
}

struct Held<V> {
    value: V,
    bytes: u64,
    used: u64,
}

/// Room for a value that is being made; free again when dropped.
pub struct Room<'a, K: Eq + Hash + Clone, V: Shared> {
    cache: &'a Cache<K, V>,
    bytes: u64,
}

impl<K: Eq + Hash + Clone, V: Shared> Cache<K, V> {
    /// An empty cache for `limit` bytes.
    pub fn new(limit: u64) -> Self {
        let state = State { held: HashMap::new(), leaving: Vec::new(), bytes: 0, clock: 0 };
        Self { limit, state: Mutex::new(state) }
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

    /// Room for `bytes` bytes that are about to be made; the least recently used values that nobody holds go for it.
    /// `None` when what is in use leaves too little: then nothing goes.
    pub fn room(&self, bytes: u64) -> Option<Room<'_, K, V>> {
        let mut state = self.lock();
        state.make_room(self.limit.checked_sub(bytes)?).then(|| {
            state.bytes += bytes;
            Room { cache: self, bytes }
        })
    }

    /// Forgets what fails `keep`.
    pub fn retain(&self, keep: impl Fn(&K) -> bool) {
        let mut state = self.lock();
        let gone: Vec<K> = state.held.keys().filter(|key| !keep(key)).cloned().collect();
        gone.iter().for_each(|key| state.forget(key));
        state.let_go();
    }

    /// Bytes that are taken.
    pub fn bytes(&self) -> u64 {
        let mut state = self.lock();
        state.let_go();
        state.bytes
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone, V: Shared> Room<'_, K, V> {
    /// Keeps what was made; it takes `bytes` bytes (not more than there is room for).
    pub fn keep(self, key: K, value: V, bytes: u64) {
        let mut state = self.cache.lock();
        state.forget(&key);
        state.clock += 1;
        let used = state.clock;
        state.bytes += bytes; // this room goes in a moment
        state.held.insert(key, Held { value, bytes, used });
        drop(state);
    }
}

impl<K: Eq + Hash + Clone, V: Shared> Drop for Room<'_, K, V> {
    fn drop(&mut self) {
        self.cache.lock().bytes -= self.bytes;
    }
}

impl<K: Eq + Hash + Clone, V: Shared> State<K, V> {
    /// Lets values go until at most `most` bytes are taken; false, and none has gone, if too many are in use.
    fn make_room(&mut self, most: u64) -> bool {
        self.let_go();
        if self.bytes <= most {
            return true;
        }
        let mut idle: Vec<_> = self.held.iter().filter(|(_, held)| !held.value.is_in_use()).collect();
        let idle_bytes: u64 = idle.iter().map(|(_, held)| held.bytes).sum();
        if self.bytes - idle_bytes > most {
            return false;
        }
        idle.sort_unstable_by_key(|(_, held)| held.used);
        let (mut bytes, mut gone) = (self.bytes, Vec::new());
        for (key, held) in idle {
            if bytes <= most {
                break;
            }
            bytes -= held.bytes;
            gone.push(key.clone());
        }
        for key in gone {
            self.held.remove(&key);
        }
        self.bytes = bytes;
        true
    }

    fn forget(&mut self, key: &K) {
        if let Some(held) = self.held.remove(key) {
            self.leaving.push((held.value.watch(), held.bytes));
        }
    }

    /// What was forgotten and is gone does not count any more.
    fn let_go(&mut self) {
        let bytes = &mut self.bytes;
        self.leaving.retain(|(is_alive, size)| {
            let stays = is_alive();
            *bytes -= if stays { 0 } else { *size };
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbers = Cache<&'static str, Arc<u32>>;

    fn put(cache: &Numbers, key: &'static str, value: u32, bytes: u64) -> bool {
        cache.room(bytes).map(|room| room.keep(key, Arc::new(value), bytes)).is_some()
    }

    fn get(cache: &Numbers, key: &'static str) -> Option<u32> {
        cache.get(&key).map(|value| *value)
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let cache = Cache::new(10);
        assert!(put(&cache, "a", 1, 4) && put(&cache, "b", 2, 4));
        assert_eq!(get(&cache, "a"), Some(1));
        assert!(put(&cache, "c", 3, 4));
        assert_eq!((get(&cache, "a"), get(&cache, "b"), get(&cache, "c")), (Some(1), None, Some(3)));
        assert_eq!(cache.bytes(), 8);
        assert!(!put(&cache, "d", 4, 11));
        assert_eq!((get(&cache, "d"), cache.bytes()), (None, 8), "too large, and nothing made room for it");
        assert!(put(&cache, "a", 5, 10));
        assert_eq!((get(&cache, "a"), get(&cache, "c"), cache.bytes()), (Some(5), None, 10));
        cache.retain(|key| *key != "a");
        assert_eq!((get(&cache, "a"), cache.bytes()), (None, 0));
    }

    #[test]
    fn what_is_in_use_or_being_made_counts_also_when_it_was_forgotten() {
        let cache: Numbers = Cache::new(10);
        assert!(put(&cache, "a", 1, 4) && put(&cache, "b", 2, 4));
        let in_use = cache.get(&"a").unwrap();
        assert!(cache.room(7).is_none(), "what is in use does not go");
        assert_eq!(get(&cache, "b"), Some(2), "and nothing went in vain");
        let making = cache.room(6).unwrap();
        assert_eq!((get(&cache, "a"), get(&cache, "b"), cache.bytes()), (Some(1), None, 10));
        assert!(cache.room(1).is_none(), "what is being made takes its room before it is there");
        making.keep("c", Arc::new(3), 5);
        assert_eq!(cache.bytes(), 9);
        cache.retain(|key| *key != "a");
        assert_eq!((get(&cache, "a"), cache.bytes()), (None, 9), "forgotten, and still in somebody's hands");
        assert!(put(&cache, "a", 7, 4), "under the same key again, beside the old one");
        assert_eq!(cache.bytes(), 8);
        let watched = in_use.watch();
        drop(in_use);
        assert!(!watched(), "the last who used it lets it go");
        assert_eq!(cache.bytes(), 4);
    }
}
