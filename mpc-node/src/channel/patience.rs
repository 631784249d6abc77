//! How long is waited for the other side: a time in all, and what the slowest transfer of that much takes for what crosses.
//! No byte begins the time anew, so who sends one now and then, or takes one, holds nobody.

use std::time::Duration;

use super::ChannelError;

/// Slowest transfer that is waited for, in bytes a second on average; the time-out of the step may be waited besides.
pub const SLOWEST: u64 = 256 << 10;

/// How long the slowest transfer of so many bytes takes.
pub fn time_for(bytes: u64) -> Duration {
    Duration::from_secs(bytes.div_ceil(SLOWEST))
}

/// How long may still be waited for the other side.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    grace: Duration,
    left: Duration,
    /// How many bytes buy a second more.
    rate: u64,
    /// Something was received.
    heard: bool,
}

impl Patience {
    /// So long, and a second more for each [`SLOWEST`] bytes.
    pub fn new(grace: Duration) -> Self {
        Self::at(grace, SLOWEST)
    }

    pub(super) fn at(grace: Duration, rate: u64) -> Self {
        Self { grace, left: grace, rate: rate.max(1), heard: false }
    }

    pub(super) fn left(&self) -> Duration {
        self.left
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.is_zero()
    }

    /// Time has passed, in which so many bytes of what is sent and of what is received have crossed. The system takes many
    /// for a reader that reads nothing, so what is sent buys no more than the first grace.
    pub(super) fn pass(&mut self, time: Duration, sent: u64, received: u64) {
        let buys = |bytes: u64| Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        self.left = self.left.saturating_sub(time);
        self.left = self.left.saturating_add(buys(sent)).min(self.grace.max(self.left));
        self.left = self.left.saturating_add(buys(received));
        self.heard |= received > 0;
    }

    /// What is said once nothing is left.
    pub(super) fn error(&self) -> ChannelError {
        if self.heard { ChannelError::TooSlow } else { ChannelError::TimedOut(self.grace) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_has_its_time_by_its_length() {
        for (bytes, seconds) in [(0, 0), (1, 1), (SLOWEST, 1), (SLOWEST + 1, 2), (10 * SLOWEST, 10)] {
            assert_eq!(time_for(bytes), Duration::from_secs(seconds), "{bytes}");
        }
    }

    #[test]
    fn bytes_buy_their_time_and_no_more() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(5 * second);
        patience.pass(2 * second, 0, 0);
        assert_eq!((patience.left(), patience.error().to_string()), (3 * second, "did not answer within 5 s".into()));
        patience.pass(2 * second, SLOWEST / 4, SLOWEST / 4);
        assert_eq!(patience.left(), Duration::from_millis(1500));
        patience.pass(second, 1, 0);
        assert!(!patience.is_over() && patience.left() < Duration::from_millis(501));
        patience.pass(second, 0, 0);
        assert!(patience.is_over() && matches!(patience.error(), ChannelError::TooSlow));
    }
}
