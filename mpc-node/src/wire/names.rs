//! Names of jobs: the second in which the consumer chose one, then random bytes. By its time a node refuses what is older
//! than its memory of names reaches.

use std::time::{SystemTime, UNIX_EPOCH};

use super::JobId;

impl JobId {
    /// A fresh one, of the second that this machine's clock shows.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes).of(seconds(SystemTime::now())))
    }

    /// The same name of another time, in seconds since 1970.
    #[must_use]
    pub fn of(mut self, seconds: u32) -> Self {
        self.0[..4].copy_from_slice(&seconds.to_be_bytes());
        self
    }

    /// When it was chosen, in seconds since 1970, as its consumer says.
    pub fn seconds(&self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

/// Seconds since 1970, as far as they go.
pub(crate) fn seconds(time: SystemTime) -> u32 {
    time.duration_since(UNIX_EPOCH).map_or(0, |t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX))
}
