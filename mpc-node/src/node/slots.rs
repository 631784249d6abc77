//! A bounded number of things at a time, handed out fairly: of those that wait, the key that holds fewest is next, and of
//! keys that hold as many each is served once before one is served twice.
//!
//! Of memory a quarter is for what takes at most a quarter of it: nothing large is ever given that, and while something large
//! waits its turn, others go on within the quarter. So a large job keeps no small one waiting until it ends, and many small
//! ones keep out no large one. And of memory a key that has some gets more only as long as it leaves as much as it then has:
//! no number of its jobs, however slowly it takes their answers, has all of it.
//!
//! A node's seats share its memory, and some is kept for each of them: a committee whose members stall holds up no other one.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::largest;
use crate::identity::PublicKey;

/// How often whoever waits for something else looks whether its consumer is still there.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// Hands out a fixed amount, slots or bytes, to one of the seats that share it.
pub struct Slots {
    pool: Arc<Pool>,
    /// Which seat.
    seat: usize,
}

/// What the seats share.
struct Pool {
    all: u64,
    /// What is kept for each seat.
    kept: u64,
    /// What is for those that take no more than this.
    spared: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    taken: u64,
    /// Of these, by things that take no more than is spared for such.
    small: u64,
    /// What each seat has.
    seats: Vec<u64>,
    /// What each key has.
    held: HashMap<PublicKey, Holding>,
    waiting: Vec<Waiting>,
    tickets: u64,
}

#[derive(Clone, Copy, Default)]
struct Holding {
    /// Things that count.
    count: u32,
    /// The sizes of all.
    size: u64,
}

#[derive(Clone, Copy)]
struct Waiting {
    ticket: u64,
    /// Its own ticket, or when its key was served since.
    place: u64,
    key: PublicKey,
    seat: usize,
    size: u64,
    aside: bool,
}

/// What was handed out; free again when dropped.
pub struct Slot {
    pool: Arc<Pool>,
    key: PublicKey,
    seat: usize,
    size: u64,
    counted: bool,
}

impl Slots {
    /// `all` in all, free, for one seat.
    pub fn new(all: u64) -> Arc<Self> {
        let pool = Pool { all, kept: 0, spared: 0, state: Mutex::new(State::of(1)), changed: Condvar::new() };
        Arc::new(Self { pool: Arc::new(pool), seat: 0 })
    }

    /// `all` bytes that so many seats share, of which nothing gets more than [`largest`].
    pub fn of_memory(all: u64, seats: usize) -> Vec<Arc<Self>> {
        let spared = all - largest(all);
        // All that is kept is within what is spared for small things.
        let kept = if seats > 1 { spared / seats as u64 } else { 0 };
        let state = Mutex::new(State::of(seats));
        let pool = Arc::new(Pool { all, kept, spared, state, changed: Condvar::new() });
        (0..seats).map(|seat| Arc::new(Self { pool: pool.clone(), seat })).collect()
    }

    /// Takes `size` of them if they are free, before those that wait: for what holds others up if it does not go on.
    pub fn take(self: &Arc<Self>, key: PublicKey, size: u64) -> Option<Slot> {
        let pool = &self.pool;
        let mut state = pool.lock();
        if !pool.fits(&state, self.seat, size) || !pool.leaves_enough(&state, &key, size, false) {
            return None;
        }
        Some(pool.give(&mut state, self.seat, key, size, false))
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
        wanted: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<Slot>, E> {
        self.wait_for((key, size, false), time, glance, wanted)
    }

    /// The same, for what somebody must have before it can wait for the thing itself: it does not count among the things that
    /// its key holds, only its size is taken.
    ///
    /// # Errors
    /// What `wanted` says.
    pub fn take_aside_while<E>(
        self: &Arc<Self>,
        key: PublicKey,
        size: u64,
        time: Duration,
        glance: Duration,
        wanted: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<Slot>, E> {
        self.wait_for((key, size, true), time, glance, wanted)
    }

    fn wait_for<E>(
        self: &Arc<Self>,
        (key, size, aside): (PublicKey, u64, bool),
        time: Duration,
        glance: Duration,
        mut wanted: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<Slot>, E> {
        let (pool, seat) = (&self.pool, self.seat);
        if !pool.fits(&State::default(), seat, size) {
            return Ok(None);
        }
        let end = Instant::now() + time;
        let mut state = pool.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.push(Waiting { ticket, place: ticket, key, seat, size, aside });
        let mut looked = Instant::now();
        let served = loop {
            if pool.next(&state) == Some(ticket) {
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
                state = pool.lock();
                if let Err(error) = answer {
                    break Err(error);
                }
                continue;
            }
            let left = (end - now).min(looked + glance - now);
            state = pool.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting.retain(|waiting| waiting.ticket != ticket);
        let slot = matches!(served, Ok(true)).then(|| {
            state.pass(&key);
            pool.give(&mut state, seat, key, size, aside)
        });
        drop(state);
        pool.changed.notify_all(); // the next one may fit, too
        served.map(|_| slot)
    }
}

impl Pool {
    fn is_small(&self, size: u64) -> bool {
        size <= self.spared
    }

    /// Whether so much is free for something of this size in a seat.
    fn fits(&self, state: &State, seat: usize, size: u64) -> bool {
        let others = state.seats.iter().enumerate().filter(|(other, _)| *other != seat);
        let kept: u64 = others.map(|(_, taken)| self.kept.saturating_sub(*taken)).sum();
        let (all, taken) = match self.is_small(size) {
            true => (self.all - kept, state.taken),
            // What small things take beyond what is spared for them is not free, either.
            false => (self.all - self.spared, state.taken - state.small.min(self.spared)),
        };
        size <= all.saturating_sub(taken)
    }

    /// Whether a key may have so much more: of memory, if it has nothing yet, or if as much is left free as it has then. What it
    /// has aside keeps it from no first thing, for which it may be waiting with that.
    fn leaves_enough(&self, state: &State, key: &PublicKey, size: u64, aside: bool) -> bool {
        let holding = state.held.get(key).copied().unwrap_or_default();
        let has_none = if aside { holding.size == 0 } else { holding.count == 0 };
        let after = self.all.saturating_sub(state.taken).saturating_sub(size);
        self.spared == 0 || has_none || holding.size + size <= after
    }

    fn give(self: &Arc<Self>, state: &mut State, seat: usize, key: PublicKey, size: u64, aside: bool) -> Slot {
        state.taken += size;
        if let Some(taken) = state.seats.get_mut(seat) {
            *taken += size;
        }
        if self.is_small(size) {
            state.small += size;
        }
        let holding = state.held.entry(key).or_default();
        holding.size += size;
        holding.count += u32::from(!aside);
        Slot { pool: self.clone(), key, seat, size, counted: !aside }
    }

    /// Who is served now: the key that holds fewest, and of those who came first (or was served first), if it fits. If that is something large,
    /// the first small one after it that is within what is spared.
    fn next(&self, state: &State) -> Option<u64> {
        let may = |w: &&Waiting| self.leaves_enough(state, &w.key, w.size, w.aside);
        let mut waiting: Vec<&Waiting> = state.waiting.iter().filter(may).collect();
        waiting.sort_unstable_by_key(|w| (state.held.get(&w.key).map_or(0, |held| held.count), w.place, w.ticket));
        let first = waiting.first()?;
        if self.fits(state, first.seat, first.size) {
            return Some(first.ticket);
        }
        if self.is_small(first.size) {
            return None;
        }
        let small = waiting.iter().find(|w| self.is_small(w.size))?;
        let passes = self.fits(state, small.seat, small.size) && state.small + small.size <= self.spared;
        passes.then_some(small.ticket)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of so many seats.
    fn of(seats: usize) -> Self {
        Self { seats: vec![0; seats], ..Self::default() }
    }

    /// The key holds a thing of this size less.
    fn release(&mut self, key: &PublicKey, size: u64, counted: bool) {
        if let Some(held) = self.held.get_mut(key) {
            held.count -= u32::from(counted);
            held.size -= size;
            if held.count == 0 && held.size == 0 {
                self.held.remove(key);
            }
        }
    }

    /// The key is served: what else it waits for goes behind all that wait now.
    fn pass(&mut self, key: &PublicKey) {
        self.tickets += 1;
        let behind = self.tickets;
        self.waiting.iter_mut().filter(|waiting| waiting.key == *key).for_each(|waiting| waiting.place = behind);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.taken -= self.size;
        if let Some(taken) = state.seats.get_mut(self.seat) {
            *taken -= self.size;
        }
        if self.pool.is_small(self.size) {
            state.small -= self.size;
        }
        state.release(&self.key, self.size, self.counted);
        drop(state);
        self.pool.changed.notify_all();
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
        assert!(slots.pool.lock().waiting.is_empty());
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
        assert!(slots.pool.lock().waiting.is_empty() && slots.pool.lock().held.is_empty());
    }

    #[test]
    fn what_is_large_leaves_a_quarter_to_what_is_small() {
        let slots = Slots::of_memory(100, 1).remove(0);
        assert!(slots.take(key(1), 76).is_none(), "nothing is given more than three quarters");
        let large = slots.take(key(1), 75).unwrap();
        assert!(slots.take(key(2), 26).is_none(), "what is spared is for at most a quarter at a time");
        let small = slots.take(key(2), 20).unwrap();
        drop((large, small));

        // Small things may take everything, and then something large waits for what is not spared.
        let many: Vec<Slot> = (2..7).map(|n| slots.take(key(n), 20).unwrap()).collect();
        assert!(slots.take(key(1), 26).is_none());
        drop(many);
        let state = slots.pool.lock();
        assert_eq!((state.taken, state.small), (0, 0));
    }

    #[test]
    fn small_things_pass_what_is_large_and_waits_but_do_not_keep_it_out() {
        let slots = Slots::of_memory(100, 1).remove(0);
        let large = slots.take(key(1), 60).unwrap();
        let queue = |n: u8, size: u64| {
            let (thread_slots, queued) = (slots.clone(), slots.pool.lock().tickets);
            let thread = std::thread::spawn(move || wait_for(&thread_slots, n, size, LONG).unwrap());
            while slots.pool.lock().tickets == queued {
                std::thread::yield_now();
            }
            thread
        };
        let waiting = queue(2, 60);
        let small = wait_for(&slots, 3, 20, LONG).expect("it came later and does not wait");
        assert!(wait_for(&slots, 4, 10, Duration::from_millis(20)).is_none(), "but only within the quarter");
        assert!(!waiting.is_finished());
        drop(large);
        drop((waiting.join().unwrap(), small));
    }

    #[test]
    fn a_key_that_holds_much_waits_for_those_that_hold_nothing() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take(key(1), 1).unwrap(), slots.take(key(1), 1).unwrap());
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |n: u8| {
            let (thread_slots, order) = (slots.clone(), order.clone());
            let queued = slots.pool.lock().tickets;
            let thread = std::thread::spawn(move || {
                let slot = wait_for(&thread_slots, n, 1, LONG).unwrap();
                order.lock().unwrap().push(n);
                slot
            });
            while slots.pool.lock().tickets == queued {
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

    #[test]
    fn what_does_not_count_takes_its_size_and_makes_nobody_wait() {
        let slots = Slots::new(2);
        let aside = slots.take_aside_while(key(1), 1, LONG, LONG, || Ok::<_, Infallible>(())).unwrap().unwrap();
        let held = slots.take(key(9), 1).unwrap();
        assert!(slots.take(key(2), 1).is_none());
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for n in [1, 2] {
                let (slots, order) = (&slots, &order);
                scope.spawn(move || {
                    let slot = wait_for(slots, n, 1, LONG).unwrap();
                    order.lock().unwrap().push(n);
                    drop(slot);
                });
                while slots.pool.lock().waiting.len() < usize::from(n) {
                    std::thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(order.into_inner().unwrap(), [1, 2], "key 1 came first, and what it has does not count");
        drop(aside);
        let state = slots.pool.lock();
        assert!(state.taken == 0 && state.held.is_empty());
    }

    #[test]
    fn of_memory_a_key_that_has_some_gets_more_only_as_long_as_it_leaves_as_much_as_it_then_has() {
        let slots = Slots::of_memory(100, 1).remove(0);
        let aside = |n: u8, size| {
            let (wait, wanted) = (Duration::from_millis(5), || Ok::<_, Infallible>(()));
            slots.take_aside_while(key(n), size, wait, wait, wanted).unwrap()
        };
        let mut one: Vec<Slot> = (0..2).map(|_| slots.take(key(1), 20).unwrap()).collect();
        one.push(aside(1, 10).unwrap());
        let more = [slots.take(key(1), 1), wait_for(&slots, 1, 1, Duration::from_millis(5)), aside(1, 1)];
        assert!(more.iter().all(Option::is_none), "it has half of all");
        // Others are served past it, and keep as much from each other.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_for(&slots, 1, 1, LONG).unwrap());
            while slots.pool.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            let two = aside(2, 25).expect("what it takes at first is not asked");
            assert!(aside(2, 1).is_none());
            let first = wait_for(&slots, 2, 20, LONG).expect("and its first thing may have all that is left");
            assert!(!waiting.is_finished());
            drop((one, two, first));
            drop(waiting.join().unwrap());
        });
        // One thing at a time may have three quarters.
        drop(slots.take(key(1), 75).unwrap());
        let state = slots.pool.lock();
        assert!(state.taken == 0 && state.held.is_empty());
    }

    #[test]
    fn who_was_served_goes_behind_who_waits() {
        let slots = Slots::new(1);
        let held = slots.take(key(9), 1).unwrap();
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (n, waiting) in [1, 1, 1, 2].into_iter().zip(1..) {
                let (slots, order) = (&slots, &order);
                scope.spawn(move || {
                    let slot = wait_for(slots, n, 1, LONG).unwrap();
                    order.lock().unwrap().push(n);
                    drop(slot);
                });
                while slots.pool.lock().waiting.len() < waiting {
                    std::thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(order.into_inner().unwrap(), [1, 2, 1, 1]);
    }

    #[test]
    fn of_keys_that_hold_nothing_whoever_came_first_is_served_first() {
        let slots = Slots::new(1);
        let held = slots.take(key(9), 1).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (1..=4)
            .map(|n| {
                let (own, order) = (slots.clone(), order.clone());
                let queued = slots.pool.lock().waiting.len();
                let thread = std::thread::spawn(move || {
                    let slot = wait_for(&own, n, 1, LONG).unwrap();
                    order.lock().unwrap().push(n);
                    drop(slot);
                });
                while slots.pool.lock().waiting.len() == queued {
                    std::thread::yield_now();
                }
                thread
            })
            .collect();
        drop(held);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_seat_that_lets_nothing_go_leaves_the_others_what_is_kept_for_them() {
        let seats = Slots::of_memory(120, 3);
        let (stalled, others) = seats.split_first().unwrap();
        let _large = stalled.take(key(1), 90).unwrap();
        // What is small may have the last quarter, but for what is kept for the two others.
        assert!(stalled.take(key(2), 11).is_none());
        let _small = stalled.take(key(2), 10).unwrap();
        assert!((3..200).all(|n| stalled.take(key(n), 1).is_none()), "however many keys ask");
        let held = others
            .iter()
            .zip(250..)
            .map(|(seat, n)| wait_for(seat, n, 10, LONG).expect("kept for it"))
            .collect::<Vec<_>>();
        assert!(others[0].take(key(4), 1).is_none() && stalled.pool.lock().taken == 120);
        drop(held);
        assert_eq!(stalled.pool.lock().seats, [100, 0, 0]);
        // Alone a seat has all.
        let alone = Slots::of_memory(120, 1).remove(0);
        let _large = alone.take(key(1), 90).unwrap();
        assert!(alone.take(key(2), 30).is_some());
    }

    #[test]
    fn nobody_asks_whether_it_is_wanted_before_a_glance_is_due() {
        let slots = Slots::new(1);
        let _held = slots.take(key(1), 1).unwrap();
        let none = slots.take_while(key(2), 1, Duration::from_millis(20), LONG, || Err("asked too early"));
        assert!(none.is_ok_and(|slot| slot.is_none()));
    }

    #[test]
    fn what_is_spared_is_for_so_many_bytes_of_small_things_whatever_their_number() {
        let slots = Slots::of_memory(100, 1).remove(0);
        let (large, small) = (slots.take(key(1), 60).unwrap(), slots.take(key(2), 25).unwrap());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_for(&slots, 3, 60, LONG).unwrap());
            while slots.pool.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            assert!(wait_for(&slots, 4, 1, Duration::from_millis(20)).is_none(), "all that is spared is taken");
            drop(small);
            assert_eq!(slots.pool.lock().small, 0);
            assert!(wait_for(&slots, 4, 25, LONG).is_some());
            drop(large);
            drop(waiting.join().unwrap());
        });
    }
}
