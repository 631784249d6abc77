//! Where strangers say that their nodes are: an operator's own word on the chain, or a chain's node's. The program opens connections
//! there before anything is agreed, so nobody may have it knock at this machine or at what is beside it.

use std::net::{IpAddr, Ipv6Addr, ToSocketAddrs};

use sahara_chain::genesis::DEV_CHAIN_ID;
use sahara_mpc::address::Address;

use crate::error::{Error, Result};

/// Makes sure that an address is of another machine: a development chain's may be of this one. A name is looked up; one that means
/// nothing now is left to whoever connects.
///
/// # Errors
/// When it, or what its name means, is this machine's own or reaches its own link only.
pub fn elsewhere(chain: u64, operator: &impl std::fmt::Display, address: &str) -> Result<()> {
    if chain == DEV_CHAIN_ID {
        return Ok(());
    }
    let Ok(Address { place, .. }) = Address::parse(address) else { return Ok(()) };
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let named = host == "localhost" || host.ends_with(".localhost");
    let means = || place.to_socket_addrs().into_iter().flatten().map(|found| found.ip()).collect();
    let found: Vec<IpAddr> = host.parse().map_or_else(|_| if named { vec![] } else { means() }, |ip| vec![ip]);
    if !named && !found.into_iter().any(is_here) {
        return Ok(());
    }
    Err(Error::user(format!(
        "operator {operator} says that its node is at {}, which is this machine or its own link: nothing was asked there; ask the \
         operator, or choose another committee",
        address.escape_debug()
    )))
}

/// Whether an address is of this machine or of its link, or of nobody in particular.
fn is_here(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast()
        }
        IpAddr::V6(ip) => match ip.to_ipv4() {
            // Also as IPv6 writes them.
            Some(ip) if ip != std::net::Ipv4Addr::new(0, 0, 0, 1) => is_here(ip.into()),
            _ => ip == Ipv6Addr::LOCALHOST || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_this_machine_asked_but_on_a_development_chain() {
        for here in [
            "127.0.0.1:7700",
            "tls://127.9.9.9:7700",
            "169.254.169.254:80",
            "0.0.0.0:7700",
            "[::1]:7700",
            "[::]:7700",
            "[fe80::1]:7700",
            "[::ffff:127.0.0.1]:7700",
            "[::ffff:169.254.169.254]:80",
            "localhost:22",
            "LocalHost.:22",
            "a.localhost:22",
        ] {
            let error = elsewhere(7, &"0x01", here).unwrap_err();
            assert!(error.exit_code() == 2 && error.report().contains("0x01"), "{here}: {}", error.report());
            elsewhere(DEV_CHAIN_ID, &"0x01", here).unwrap();
        }
        for there in ["203.0.113.7:7700", "[2001:db8::1]:7700", "tls://192.168.1.4:7700", "no such name:1", "?"] {
            elsewhere(7, &"0x01", there).unwrap();
        }
    }
}
