//! How many questions are worked on at once, and how many wait for that.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::{self, RpcResult};

/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Questions at once, and those that wait for their turn.
pub struct Turns {
    pub light: Turn,
    pub heavy: Turn,
    /// News for who follows: whoever is connected waits, however many they are.
    pub news: Semaphore,
}

/// Places for questions of one kind.
pub struct Turn {
    places: Semaphore,
    /// Who is at work or waits.
    queue: Semaphore,
    count: usize,
}

/// Questions that wait for each one that is at work.
const QUEUE: usize = 16;

impl Turn {
    pub fn new(count: usize) -> Self {
        Self { places: Semaphore::new(count), queue: Semaphore::new(count * (QUEUE + 1)), count }
    }
}

/// Waits for a place among the questions of a kind.
pub async fn turn(turn: &Turn) -> RpcResult<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
    let busy = || {
        error::limit(format!(
            "the node is busy: it works on {} questions of this kind at once, ask again later",
            turn.count
        ))
    };
    let queued = turn.queue.try_acquire().map_err(|_| busy())?;
    let place = tokio::time::timeout(TURN, turn.places.acquire()).await.map_err(|_| busy())?;
    Ok((queued, place.map_err(|_| busy())?))
}
