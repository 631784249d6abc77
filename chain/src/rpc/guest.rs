//! Who is connected, how many at once, and how long an answer may take to be taken.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{Backend, Door, budget::Flight};

/// An answer must be taken at this many bytes a second, or the client is left.
pub const SLOWEST: usize = 256 << 10;

/// What every connection needs.
pub struct Here {
    pub backend: Arc<Backend>,
    pub door: Door,
    /// Connections by address, and the bytes that requests and answers of each may have under way.
    pub guests: Mutex<BTreeMap<IpAddr, (usize, Arc<Flight>)>>,
    pub stop: watch::Receiver<bool>,
}

/// One connection in the count.
pub struct Guest {
    here: Arc<Here>,
    pub address: IpAddr,
    /// What its address draws on; nothing of its own on a machine that speaks for many.
    pub account: Option<Arc<Flight>>,
}

impl Guest {
    /// Comes in, if there is a place.
    pub fn enter(here: &Arc<Here>, address: IpAddr) -> Option<Self> {
        let address = one_holder(address);
        let limits = &here.backend.limits;
        let mut guests = here.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = guests.values().map(|(count, _)| count).sum();
        let counts = limits.loopback_counts || !address.is_loopback();
        let own = guests.get(&address).map_or(0, |(count, _)| *count);
        if all >= limits.connections || (own >= limits.connections_of_one && counts) {
            return None;
        }
        let account = || Flight::of("one address", limits.total_of_one);
        let (count, account) = guests.entry(address).or_insert_with(|| (0, account()));
        *count += 1;
        Some(Self { here: here.clone(), address, account: counts.then(|| account.clone()) })
    }
}

/// What one holder of addresses is counted by: of IPv6 the network of 64 bits, because whoever has one address has all of its network.
pub fn one_holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        address => address,
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.here.guests.lock().unwrap_or_else(PoisonError::into_inner);
        match guests.get_mut(&self.address) {
            Some((count, _)) if *count > 1 => *count -= 1,
            _ => drop(guests.remove(&self.address)),
        }
    }
}

/// How long a client may take for `bytes`.
pub fn time_for(bytes: usize, patience: Duration) -> Duration {
    patience + Duration::from_secs((bytes / SLOWEST) as u64)
}
