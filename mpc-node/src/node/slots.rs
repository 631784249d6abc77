//! A bounded number of things at a time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Hands out a fixed number of slots.
pub struct Slots {
    free: Mutex<u32>,
    changed: Condvar,
}

/// One slot; free again when dropped.
pub struct Slot(Arc<Slots>);

impl Slots {
    /// `count` free slots.
    pub fn new(count: u32) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(count), changed: Condvar::new() })
    }

    /// Waits at most `time` for a free slot.
    pub fn take(self: &Arc<Self>, time: Duration) -> Option<Slot> {
        let end = Instant::now() + time;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = end.checked_duration_since(Instant::now())?;
            free = self.changed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Slot(self.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_come_back() {
        let slots = Slots::new(1);
        let slot = slots.take(Duration::ZERO).unwrap();
        assert!(slots.take(Duration::from_millis(5)).is_none());
        drop(slot);
        assert!(slots.take(Duration::ZERO).is_some());
    }
}
