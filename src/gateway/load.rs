//! How much is worked on at once, in all and for one client, and work that ends when whoever asked has gone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::metrics::Metrics;
use super::openai::ApiError;
use crate::embedding::Stop;

/// Counts the requests that are worked on.
pub struct Load {
    metrics: Arc<Metrics>,
    most: usize,
    most_each: usize,
    /// Requests of each client that has any, so never more entries than requests.
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl Load {
    /// At most `most` requests at a time, and `most_each` of one address.
    pub fn new(most: usize, most_each: usize, metrics: Arc<Metrics>) -> Self {
        Self { metrics, most, most_each, clients: Mutex::default() }
    }

    /// One more request of `client`, until the place is dropped.
    pub fn enter(self: &Arc<Self>, client: IpAddr) -> Result<Place, ApiError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |what: String| Err(ApiError::plain(429, "rate_limit_exceeded", what + ": try again shortly."));
        if clients.values().sum::<usize>() >= self.most {
            return full(format!("{} requests are being served", self.most));
        }
        let own = clients.get(&client).copied().unwrap_or(0);
        if own >= self.most_each {
            return full(format!("{own} requests of yours are being served, as many as one client may have"));
        }
        clients.insert(client, own + 1);
        self.metrics.entered();
        Ok(Place { load: self.clone(), client })
    }
}

/// A request being worked on; frees its place when dropped.
pub struct Place {
    load: Arc<Load>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.load.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                clients.remove(&self.client);
            }
        }
        self.load.metrics.left();
    }
}

/// Runs blocking work on a thread of its own. When the request is dropped, because its client has hung up, the work is
/// told to stop; the place is free once it has.
pub async fn work<T: Send + 'static>(
    place: Place,
    work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let stop = Stop::default();
    let _when_dropped = SetWhenDropped(stop.clone());
    let running = tokio::task::spawn_blocking(move || {
        let _place = place;
        work(&stop)
    });
    let failed = "The gateway failed while serving this request.";
    running.await.unwrap_or_else(|_| Err(ApiError::plain(500, "internal_error", failed)))
}

struct SetWhenDropped(Stop);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_client_and_in_all_and_come_back() {
        let load = Arc::new(Load::new(3, 2, Arc::default()));
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let places = [load.enter(a).unwrap(), load.enter(a).unwrap()];
        let error = load.enter(a).err().unwrap();
        assert!(error.status == 429 && error.message.contains("of yours"), "{error:?}");
        let other = load.enter(b).unwrap();
        assert!(load.enter(b).err().unwrap().message.contains("3 requests"));
        drop(places);
        assert!(load.enter(a).is_ok());
        drop(other);
        assert!(load.clients.lock().unwrap().is_empty());
    }
}
