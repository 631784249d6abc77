//! The time of blocks that this process makes alone. A chain's time never goes back and never waits: while the machine's
//! clock is behind the last block, time goes on from there as fast as a clock does.

use std::time::Duration;

use crate::consensus::Time;

/// A block is this much later than the one before, at least.
const LEAST: u64 = 1_000_000;
/// The clock is behind by more than what two clocks differ.
const BEHIND: u64 = 2_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// What the next block's time depends on, beside the clocks.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Seconds by which blocks are later than the machine's clock says: a developer wanted it.
    offset: i128,
    /// The time that the next block has: a developer wanted it.
    next: Option<u64>,
    /// The clock is behind, and it was said.
    behind: bool,
}

/// The time of a block, and what is to be said about the machine's clock.
#[derive(Debug, PartialEq, Eq)]
pub struct Moment {
    /// Of the block.
    pub time: Time,
    /// Something has changed that a person should know.
    pub said: Option<String>,
}

impl Clock {
    /// The time of the block after one at `last`, when the machine's clock says `wall` and `passed` has gone by since
    /// that block.
    pub fn moment(&mut self, last: Time, wall: Time, passed: Duration) -> Moment {
        if let Some(next) = self.next.take() {
            let time = Time(next.saturating_mul(SECOND).max(last.0.saturating_add(LEAST)));
            self.offset = i128::from(next) - i128::from(wall.0 / SECOND);
            return Moment { time, said: None };
        }
        let now = self.shifted(wall);
        let least = last.0.saturating_add(LEAST);
        if now >= last.0 {
            let said = std::mem::take(&mut self.behind)
                .then(|| "the clock of this machine has caught up with the chain: block times follow it again".into());
            return Moment { time: Time(now.max(least)), said };
        }
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let time = Time(last.0.saturating_add(passed.max(LEAST)));
        let late = last.0 - now;
        let said = (late > BEHIND && !std::mem::replace(&mut self.behind, true)).then(|| {
            format!(
                "the clock of this machine is {} s behind the last block: it has been ahead, or has been set back. Block \
                 times go on from the last block; remove the chain's folder to begin again at the clock's time",
                late / SECOND
            )
        });
        Moment { time, said }
    }

    /// From now on blocks are `seconds` later; gives by how much in all.
    pub fn advance(&mut self, seconds: u64) -> u64 {
        self.offset = self.offset.saturating_add(i128::from(seconds));
        u64::try_from(self.offset).unwrap_or(0)
    }

    /// The next block is at `seconds`, and time goes on from there.
    ///
    /// # Errors
    /// If that is not later than the block at `last`.
    pub fn set_next(&mut self, seconds: u64, last: Time) -> Result<(), String> {
        let before = last.seconds();
        if seconds <= before {
            return Err(format!("timestamp {seconds} is not greater than that of the last block, which is {before}"));
        }
        if seconds > u64::MAX / SECOND {
            return Err(format!("timestamp {seconds} is out of range"));
        }
        self.next = Some(seconds);
        Ok(())
    }

    fn shifted(&self, wall: Time) -> u64 {
        let now = i128::from(wall.0).saturating_add(self.offset.saturating_mul(i128::from(SECOND)));
        u64::try_from(now).unwrap_or(if now < 0 { 0 } else { u64::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_700_000_000;
    const DAY: u64 = 86_400;

    fn at(seconds: u64) -> Time {
        Time(seconds * SECOND)
    }

    #[test]
    fn time_goes_on_while_the_clock_is_behind_and_it_is_said_once() {
        let mut clock = Clock::default();
        let step = Duration::from_secs(1);
        // The clock was a day ahead when the last block was made, and came back.
        let mut last = at(NOON + DAY);
        let mut said = 0;
        for second in 1..=100 {
            let moment = clock.moment(last, at(NOON + second), step);
            assert_eq!(moment.time, at(NOON + DAY + second), "a second is a second");
            said += usize::from(moment.said.is_some());
            last = moment.time;
        }
        assert_eq!(said, 1);
        // It jumps again: the chain follows forward, and says that it does.
        let moment = clock.moment(last, at(NOON + 2 * DAY), step);
        assert_eq!(moment.time, at(NOON + 2 * DAY));
        assert!(moment.said.unwrap().contains("caught up"));
        // Two blocks in one instant are still in order.
        let again = clock.moment(moment.time, moment.time, Duration::ZERO);
        assert_eq!(again, Moment { time: Time(moment.time.0 + LEAST), said: None });
        // A little jitter is no news.
        assert_eq!(clock.moment(at(NOON), Time(at(NOON).0 - 1_000), Duration::ZERO).said, None);
    }

    #[test]
    fn developers_move_time_forward_only() {
        let mut clock = Clock::default();
        assert_eq!(clock.advance(60), 60);
        assert_eq!(clock.advance(DAY), DAY + 60);
        assert_eq!(clock.moment(at(NOON), at(NOON), Duration::ZERO).time, at(NOON + DAY + 60));
        let later = NOON + 30 * DAY;
        clock.set_next(later, at(NOON)).unwrap();
        assert_eq!(clock.moment(at(NOON), at(NOON), Duration::ZERO).time, at(later));
        assert_eq!(clock.moment(at(later), at(NOON + 1), Duration::ZERO).time, at(later + 1), "it goes on from there");
        assert!(clock.set_next(later, at(later)).unwrap_err().contains("not greater"));
        assert!(clock.set_next(u64::MAX, at(later)).is_err());
    }
}
