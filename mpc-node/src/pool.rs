//! Lanes that carry no request, kept for the next one: what a client holds to its committee, and a node to its peers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::committee::Committee;
use crate::identity::Identity;
use crate::lane::{Lane, LaneError};
use crate::meter::Meter;

/// The idle lanes to each member of a committee.
pub(crate) struct LanePool {
    idle: Vec<Mutex<Vec<Lane>>>,
    meter: Arc<Meter>,
}

impl LanePool {
    /// A pool without lanes; what its lanes carry counts in `meter`.
    pub(crate) fn new(committee: &Committee, meter: Arc<Meter>) -> Self {
        Self { idle: committee.indices().map(|_| Mutex::default()).collect(), meter }
    }

    /// A lane to member `index` that is idle and good, or a new one, which may take `timeout`.
    ///
    /// # Errors
    /// When there is no such member, or it cannot be reached.
    pub(crate) fn take(
        &self,
        identity: &Identity,
        committee: &Committee,
        index: u8,
        timeout: Duration,
    ) -> Result<Lane, LaneError> {
        while let Some(mut lane) = self.lanes(index).and_then(|mut lanes| lanes.pop()) {
            if lane.is_idle() {
                return Ok(lane);
            }
        }
        Lane::connect(identity, committee, index, timeout, self.meter.clone())
    }

    /// Keeps a lane for the next request, without the bounds of the last.
    pub(crate) fn put_back(&self, index: u8, mut lane: Lane) {
        lane.count();
        lane.limit(None);
        lane.pace(None);
        lane.stop_with(None);
        if let Some(mut lanes) = self.lanes(index) {
            lanes.push(lane);
        }
    }

    fn lanes(&self, index: u8) -> Option<MutexGuard<'_, Vec<Lane>>> {
        Some(self.idle.get(usize::from(index))?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
