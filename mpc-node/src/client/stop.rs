//! Giving up: a flag that whoever asked can set at any time, from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ClientError;

/// Set once, it ends the requests that look at it. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Gives up whatever looks at this flag.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was given up.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a lane to look at.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    /// An error once it was given up.
    ///
    /// # Errors
    /// [`ClientError::Stopped`].
    pub fn check(&self) -> Result<(), ClientError> {
        if self.is_set() { Err(ClientError::Stopped) } else { Ok(()) }
    }
}
