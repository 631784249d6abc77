//! Connecting to a place that may have several addresses: they are tried beside each other, each a little after the one before
//! (RFC 8305 in its simplest form), so that one that swallows packets keeps nobody from the next.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// After so long without an answer the next address is tried, too.
pub(crate) const NEXT: Duration = Duration::from_millis(250);
/// Most addresses of one name that are tried.
const MOST: usize = 8;

/// A connection to `host:port`, if there is one within `timeout`.
///
/// # Errors
/// When the name has no address, or none of them answers in time: the last reason.
pub(crate) fn dial(place: &str, timeout: Duration) -> io::Result<TcpStream> {
    let addresses = resolve(place)?;
    match addresses[..] {
        [address] => TcpStream::connect_timeout(&address, timeout),
        _ => first_of(&addresses, timeout),
    }
}

/// The addresses of `host:port`, one at least.
///
/// # Errors
/// When the name has none.
pub(crate) fn resolve(place: &str) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = place.to_socket_addrs()?.take(MOST).collect();
    match addresses.is_empty() {
        true => Err(io::Error::new(ErrorKind::NotFound, "the address resolves to nothing")),
        false => Ok(addresses),
    }
}

/// The first connection that any of these addresses gives.
fn first_of(addresses: &[SocketAddr], timeout: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + timeout;
    let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let (send, answers) = mpsc::channel();
    let mut waiting = addresses.iter();
    let (mut trying, mut last) = (0, io::Error::from(ErrorKind::TimedOut));
    loop {
        let next = waiting.next().copied();
        if let Some(address) = next {
            let (send, time) = (send.clone(), left());
            // It ends with its time at the latest; nobody may hear of it any more by then.
            let work = move || drop(send.send(TcpStream::connect_timeout(&address, time)));
            std::thread::Builder::new().name("connecting".into()).spawn(work)?;
            trying += 1;
        } else if trying == 0 {
            return Err(last);
        }
        let patience = if waiting.len() > 0 { NEXT.min(left()) } else { left() };
        match answers.recv_timeout(patience) {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => {
                trying -= 1;
                last = error;
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
            Err(_) => return Err(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, getsockname, listen, socket};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// An address that drops who knocks: nobody takes the connections that fill its queue.
    fn swallowing() -> (SocketAddr, impl Sized) {
        let full = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&full, &SocketAddrV4::new([127, 0, 0, 1].into(), 0)).unwrap();
        listen(&full, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&full).unwrap()).unwrap();
        let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
        let inside: Vec<_> = std::iter::from_fn(|| knock().ok()).take(64).collect();
        assert!(inside.len() < 64, "the queue is never full");
        (address, (full, inside))
    }

    fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn an_address_that_swallows_packets_keeps_nobody_from_the_next() {
        let (silent, _full) = swallowing();
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let began = Instant::now();
        let tcp = first_of(&[silent, closed(), open.local_addr().unwrap()], LONG).unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), open.local_addr().unwrap());
        let took = began.elapsed();
        assert!(took >= NEXT && took < LONG / 4, "after the pause, and long before the first gives up: {took:?}");
        // The other way round nobody waits at all.
        let began = Instant::now();
        first_of(&[open.local_addr().unwrap(), silent], LONG).unwrap();
        assert!(began.elapsed() < NEXT);
    }

    #[test]
    fn who_is_not_there_is_told_at_once_and_who_says_nothing_in_time() {
        let began = Instant::now();
        let error = first_of(&[closed(), closed()], LONG).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(began.elapsed() < NEXT, "a refusal is not waited for");
        let (silent, _full) = swallowing();
        let error = first_of(&[silent, closed()], 3 * NEXT).unwrap_err();
        let took = began.elapsed();
        assert!(took >= 3 * NEXT && took < LONG / 4, "{took:?}: {error}");
        assert!(dial("no-such-host.invalid:1", LONG).is_err());
    }
}
