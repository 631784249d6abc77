//! The buffers that used packs leave behind, kept for the packs that replace them: memory that the system hands out
//! afresh, a page at a time, costs more than what is received into it.

use std::time::{Duration, Instant};

/// Smaller buffers are the allocator's business.
const LEAST: usize = 1 << 20;
/// Most buffers that are kept.
const MOST: usize = 4;

/// Buffers that wait for a pack of their size, each with when it came.
#[derive(Default)]
pub(super) struct Spares(Vec<(Vec<u8>, Instant)>);

impl Spares {
    /// A buffer of `len` bytes. It is of that size and no larger: what a pack takes is counted by its length, before it is
    /// here and while it waits.
    pub(super) fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let at = self.0.iter().rposition(|(buffer, _)| buffer.capacity() == len)?;
        let mut buffer = self.0.swap_remove(at).0;
        buffer.resize(len, 0);
        Some(buffer)
    }

    /// Keeps a buffer; the oldest makes room.
    pub(super) fn keep(&mut self, buffer: Vec<u8>, now: Instant) {
        if buffer.capacity() < LEAST {
            return;
        }
        if self.0.len() == MOST {
            self.drop_oldest();
        }
        self.0.push((buffer, now));
    }

    /// Frees the oldest until the others take no more than this.
    pub(super) fn shrink(&mut self, bytes: u64) {
        while self.bytes() > bytes {
            self.drop_oldest();
        }
    }

    /// Frees what has waited for `age` or longer.
    pub(super) fn expire(&mut self, age: Duration, now: Instant) {
        self.0.retain(|(_, came)| now.saturating_duration_since(*came) < age);
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(buffer, _)| buffer.capacity() as u64).sum()
    }

    fn drop_oldest(&mut self) {
        if let Some(at) = (0..self.0.len()).min_by_key(|at| self.0[*at].1) {
            self.0.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    #[test]
    fn a_buffer_serves_again_for_its_size_only_and_the_oldest_goes_first() {
        let start = Instant::now();
        let at = |n: u64| start + Duration::from_secs(n);
        let mut spares = Spares::default();
        spares.keep(vec![1; MB - 1], start);
        assert_eq!(spares.bytes(), 0, "too small to be kept");
        for n in 2..=6 {
            spares.keep(vec![n as u8; n * MB], at(n as u64));
        }
        assert_eq!(spares.bytes(), (18 * MB) as u64, "the first of five made room");
        assert!(spares.take(2 * MB).is_none() && spares.take(7 * MB).is_none());
        assert!(spares.take(4 * MB - 9).is_none(), "nothing larger than what is counted for it");
        let taken = spares.take(4 * MB).expect("of this size");
        assert_eq!((taken.len(), taken[0]), (4 * MB, 4), "the memory itself");
        spares.shrink((12 * MB) as u64);
        assert_eq!(spares.bytes(), (11 * MB) as u64, "3 MB were the oldest");
        spares.expire(Duration::from_secs(4), at(9));
        assert_eq!(spares.bytes(), (6 * MB) as u64);
        spares.shrink(0);
        assert!(spares.take(6 * MB).is_none());
    }
}
