//! How much there is at once, in all and for one client, and work that ends when whoever asked has gone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::Metrics;
use crate::openai::ApiError;
use sahara::embedding::Stop;

/// Counts what clients have, by their addresses.
pub struct Places {
    most: usize,
    most_each: usize,
    /// Clients that have any, so never more entries than places.
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// Why there is no place.
pub enum Full {
    /// All are taken.
    All,
    /// One client has as many as it may.
    Own(usize),
}

impl Places {
    /// At most `most` places, and `most_each` for one client.
    pub fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self { most, most_each, clients: Mutex::default() })
    }

    /// One more place of `client`, until it is dropped.
    pub fn take(self: &Arc<Self>, client: IpAddr) -> Result<Taken, Full> {
        let client = one_client(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.values().sum::<usize>() >= self.most {
            return Err(Full::All);
        }
        let own = clients.get(&client).copied().unwrap_or(0);
        if own >= self.most_each {
            return Err(Full::Own(own));
        }
        clients.insert(client, own + 1);
        Ok(Taken { places: self.clone(), client })
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        other => other,
    }
}

/// A place that is free again when dropped.
pub struct Taken {
    places: Arc<Places>,
    client: IpAddr,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut clients = self.places.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(clients.remove(&self.client)),
        }
    }
}

/// Counts the requests that are worked on.
pub struct Load {
    metrics: Arc<Metrics>,
    places: Arc<Places>,
}

impl Load {
    /// At most `most` requests at a time, and `most_each` of one address.
    pub fn new(most: usize, most_each: usize, metrics: Arc<Metrics>) -> Self {
        Self { metrics, places: Places::new(most, most_each) }
    }

    /// One more request of `client`, until the place is dropped.
    pub fn enter(&self, client: IpAddr) -> Result<Place, ApiError> {
        let full = |what: String| ApiError::plain(429, "rate_limit_exceeded", what + ": try again shortly.");
        let taken = self.places.take(client).map_err(|why| match why {
            Full::All => full(format!("{} requests are being served", self.places.most)),
            Full::Own(own) => full(format!("{own} requests of yours are being served, as many as one client may have")),
        })?;
        self.metrics.entered();
        Ok(Place { metrics: self.metrics.clone(), _taken: taken })
    }
}

/// A request being worked on; frees its place when dropped.
pub struct Place {
    metrics: Arc<Metrics>,
    _taken: Taken,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.left();
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
        assert!(load.places.clients.lock().unwrap().is_empty());
    }

    #[test]
    fn all_addresses_of_one_network_are_one_client() {
        let places = Places::new(9, 1);
        let take = |address: &str| places.take(address.parse().unwrap());
        let _own = take("2001:db8:0:1::1").ok().unwrap();
        assert!(matches!(take("2001:db8:0:1:ffff::2"), Err(Full::Own(1))));
        let _other = take("2001:db8:0:2::1").ok().unwrap();
        let _mapped = take("::ffff:10.0.0.1").ok().unwrap();
        assert!(matches!(take("10.0.0.1"), Err(Full::Own(1))));
    }
}
