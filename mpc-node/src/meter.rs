//! Counters of bytes on the wire by purpose, and of CPU time: what `status`, the metrics and the demo's table show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What bytes were sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Handshakes, registration of models, status.
    Setup = 0,
    /// Dealing of preprocessing packs.
    Offline = 1,
    /// Rounds between evaluators.
    Online = 2,
    /// A consumer's input and output shares.
    Client = 3,
}

/// Bytes in one direction, by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteCounts {
    /// Handshakes, registration of models, status.
    pub setup: u64,
    /// Dealing of preprocessing packs.
    pub offline: u64,
    /// Rounds between evaluators.
    pub online: u64,
    /// A consumer's input and output shares.
    pub client: u64,
}

impl ByteCounts {
    /// All purposes together.
    pub fn total(&self) -> u64 {
        self.setup + self.offline + self.online + self.client
    }
}

impl std::ops::Add for ByteCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            setup: self.setup + other.setup,
            offline: self.offline + other.offline,
            online: self.online + other.online,
            client: self.client + other.client,
        }
    }
}

impl std::ops::Sub for ByteCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            setup: self.setup.saturating_sub(other.setup),
            offline: self.offline.saturating_sub(other.offline),
            online: self.online.saturating_sub(other.online),
            client: self.client.saturating_sub(other.client),
        }
    }
}

/// Counts bytes from many lanes.
#[derive(Debug, Default)]
pub struct Meter {
    sent: [AtomicU64; 4],
    received: [AtomicU64; 4],
}

impl Meter {
    /// Adds to the counters.
    pub fn add(&self, traffic: Traffic, sent: u64, received: u64) {
        self.sent[traffic as usize].fetch_add(sent, Ordering::Relaxed);
        self.received[traffic as usize].fetch_add(received, Ordering::Relaxed);
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> ByteCounts {
        read(&self.sent)
    }

    /// Bytes received so far.
    pub fn received(&self) -> ByteCounts {
        read(&self.received)
    }
}

fn read(counters: &[AtomicU64; 4]) -> ByteCounts {
    let [setup, offline, online, client] = [0, 1, 2, 3].map(|i: usize| counters[i].load(Ordering::Relaxed));
    ByteCounts { setup, offline, online, client }
}

/// CPU time of the calling thread so far.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of this process so far (user and system, all threads), in nanoseconds.
pub fn process_cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
