//! A moment, as consensus counts it.

use tendermint_proto::google::protobuf::Timestamp;

/// Nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

const NANOS: u64 = 1_000_000_000;

impl Time {
    /// Whole seconds.
    pub fn seconds(self) -> u64 {
        self.0 / NANOS
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        let seconds = i64::try_from(time.0 / NANOS).unwrap_or(i64::MAX);
        Self { seconds, nanos: i32::try_from(time.0 % NANOS).unwrap_or(0) }
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        let seconds = u64::try_from(time.seconds).unwrap_or(0);
        Self(seconds.saturating_mul(NANOS).saturating_add(u64::try_from(time.nanos).unwrap_or(0)))
    }
}
