//! A bounded number of things at a time, handed out fairly: of those that wait, the key that holds fewest is next.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::identity::PublicKey;

/// Hands out a fixed amount: slots, or bytes.
pub struct Slots {
    all: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    taken: u64,
    /// Slots (not their sizes) that each key holds.
    held: HashMap<PublicKey, u32>,
    waiting: Vec<Waiting>,
    tickets: u64,
}

#[derive(Clone, Copy)]
struct Waiting {
    ticket: u64,
    key: PublicKey,
}

/// What was handed out; free again when dropped.
pub struct Slot {
    slots: Arc<Slots>,
    key: PublicKey,
    size: u64,
}

impl Slots {
    /// `all` in all, free.
    pub fn new(all: u64) -> Arc<Self> {
        Arc::new(Self { all, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Takes `size` of them if they are free, before those that wait: for what holds others up if it does not go on.
    pub fn take(self: &Arc<Self>, key: PublicKey, size: u64) -> Option<Slot> {
        let mut state = self.lock();
        if size > self.all - state.taken {
            return None;
        }
        state.taken += size;
        *state.held.entry(key).or_default() += 1;
        Some(Slot { slots: self.clone(), key, size })
    }

    /// Waits at most `time` until `size` of them are free and it is this key's turn; asks every `glance` whether it is
    /// still wanted. More than there are at all is never given.
    ///
    /// # Errors
    /// What `wanted` says.
    pub fn take_while<E>(
        self: &Arc<Self>,
        key: PublicKey,
        size: u64,
        time: Duration,
        glance: Duration,
        mut wanted: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<Slot>, E> {
        if size > self.all {
            return Ok(None);
        }
        let end = Instant::now() + time;
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.push(Waiting { ticket, key });
        let mut looked = Instant::now();
        let served = loop {
            if state.next().is_some_and(|next| next.ticket == ticket) && self.all - state.taken >= size {
                break Ok(true);
            }
            let now = Instant::now();
            if now >= end {
                break Ok(false);
            }
            if now >= looked + glance {
                drop(state);
                let answer = wanted();
                looked = Instant::now();
                state = self.lock();
                if let Err(error) = answer {
                    break Err(error);
                }
                continue;
            }
            let left = (end - now).min(looked + glance - now);
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting.retain(|waiting| waiting.ticket != ticket);
        if matches!(served, Ok(true)) {
            state.taken += size;
            *state.held.entry(key).or_default() += 1;
        }
        drop(state);
        self.changed.notify_all(); // the next one may fit, too
        Ok(served?.then(|| Slot { slots: self.clone(), key, size }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whose turn it is: the key that holds fewest, and of those who came first.
    fn next(&self) -> Option<&Waiting> {
        self.waiting.iter().min_by_key(|w| (self.held.get(&w.key).copied().unwrap_or(0), w.ticket))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.taken -= self.size;
        if let Some(held) = state.held.get_mut(&self.key) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.key);
            }
        }
        drop(state);
        self.slots.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn key(n: u8) -> PublicKey {
        PublicKey([n; 32])
    }

    fn wait_for(slots: &Arc<Slots>, n: u8, size: u64, time: Duration) -> Option<Slot> {
        let glance = Duration::from_millis(1);
        slots.take_while(key(n), size, time, glance, || Ok::<_, Infallible>(())).unwrap()
    }

    #[test]
    fn who_is_not_wanted_any_more_leaves_the_queue() {
        let slots = Slots::new(1);
        let _slot = slots.take(key(1), 1).unwrap();
        let mut looks = 0;
        let gone = slots.take_while(key(2), 1, LONG, Duration::from_millis(1), || {
            looks += 1;
            if looks == 3 { Err("gone") } else { Ok(()) }
        });
        assert_eq!(gone.err(), Some("gone"));
        assert!(slots.lock().waiting.is_empty());
    }

    #[test]
    fn slots_are_bounded_and_come_back() {
        let slots = Slots::new(10);
        let slot = slots.take(key(1), 6).unwrap();
        assert!(wait_for(&slots, 1, 5, Duration::from_millis(5)).is_none());
        let small = slots.take(key(2), 4).unwrap();
        assert!(slots.take(key(2), 1).is_none());
        drop((slot, small));
        assert!(wait_for(&slots, 1, 11, LONG).is_none(), "more than there are");
        assert!(slots.take(key(1), 10).is_some());
        assert!(slots.lock().waiting.is_empty() && slots.lock().held.is_empty());
    }

    #[test]
    fn a_key_that_holds_much_waits_for_those_that_hold_nothing() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take(key(1), 1).unwrap(), slots.take(key(1), 1).unwrap());
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |n: u8| {
            let (thread_slots, order) = (slots.clone(), order.clone());
            let queued = slots.lock().tickets;
            let thread = std::thread::spawn(move || {
                let slot = wait_for(&thread_slots, n, 1, LONG).unwrap();
                order.lock().unwrap().push(n);
                slot
            });
            while slots.lock().tickets == queued {
                std::thread::yield_now();
            }
            thread
        };
        let greedy = wait(1);
        let modest = wait(2);
        drop(one);
        let kept = modest.join().unwrap();
        assert_eq!(*order.lock().unwrap(), [2], "key 1 came first, but still holds one");
        drop(two);
        drop((greedy.join().unwrap(), kept));
        assert_eq!(*order.lock().unwrap(), [2, 1]);
    }
}
