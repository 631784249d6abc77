//! Tests of a channel over QUIC: two ends on loopback.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::super::{Channel, Patience, Until};
use super::door::{Knocking, Listening};
use super::*;
use crate::identity::{Identity, generate};
use crate::tls::Admission;

const TIME: Duration = Duration::from_secs(10);

struct Server {
    listening: Listening,
    knocking: Mutex<Knocking>,
    identity: Arc<Identity>,
}

impl Server {
    fn start(admission: Admission) -> Self {
        Self::of(Arc::new(generate().unwrap()), admission)
    }

    fn of(identity: Arc<Identity>, admission: Admission) -> Self {
        Self::with(identity, admission, 10_000)
    }

    fn with(identity: Arc<Identity>, admission: Admission, most: usize) -> Self {
        let bound = Listening::bind(([127, 0, 0, 1], 0).into(), &identity, admission, most);
        let (listening, knocking) = bound.ok().expect("a free port");
        Self { listening, knocking: Mutex::new(knocking), identity }
    }

    /// Whoever comes next, with its handshake begun.
    fn begin(&self) -> Channel {
        let end = Instant::now() + TIME;
        loop {
            let knocking = self.knocking.lock().unwrap();
            if let Some(knock) = knocking.next() {
                return knock.begin(&knocking).unwrap();
            }
            drop(knocking);
            assert!(Instant::now() < end, "nobody comes");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn accept(&self) -> Result<Channel, ChannelError> {
        self.begin().shake_hands(TIME)
    }

    /// A client of this server that has said a word, if it got so far.
    fn client(&self, identity: &Identity, pinned: PublicKey) -> Result<Channel, ChannelError> {
        self.client_at(identity, pinned, self.listening.address())
    }

    fn client_at(&self, identity: &Identity, pinned: PublicKey, at: SocketAddr) -> Result<Channel, ChannelError> {
        let mut channel = Channel::connect_quic(identity, pinned, vec![at], TIME)?;
        channel.send_all([b"w", &[]], TIME)?;
        Ok(channel)
    }

    fn pair_at(&self, at: SocketAddr) -> (Channel, Channel) {
        let identity = generate().unwrap();
        std::thread::scope(|scope| {
            let accepting = scope.spawn(|| self.accept().unwrap());
            let client = self.client_at(&identity, self.identity.public(), at).unwrap();
            let mut server = accepting.join().unwrap();
            server.receive_exact(&mut [0; 1], TIME).unwrap();
            assert_eq!((client.peer(), server.peer()), (self.identity.public(), identity.public()));
            (client, server)
        })
    }

    fn pair(&self) -> (Channel, Channel) {
        self.pair_at(self.listening.address())
    }
}

fn exchange(a: &mut Channel, b: &mut Channel, size: usize) {
    let run = |channel: &mut Channel, mine: u8| {
        let send = vec![mine; size];
        let mut receive = vec![0; size + 8];
        channel.pump([&[mine; 8], &send], &mut 0, &mut receive, &mut 0, Until::Both, &mut Patience::new(TIME)).unwrap();
        receive
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(b, 2));
        assert!(run(a, 1).iter().all(|&byte| byte == 2));
        assert!(other.join().unwrap().iter().all(|&byte| byte == 1));
    });
}

#[test]
fn large_frames_cross_without_deadlock_on_wide_and_on_narrow_lanes() {
    let server = Server::start(Admission::Any);
    let (mut a, mut b) = server.pair();
    exchange(&mut a, &mut b, 5_000_000);
    a.widen();
    b.widen();
    exchange(&mut a, &mut b, 20_000_000);
    assert!(a.is_idle() && b.is_idle() && !a.has_hung_up() && !b.has_hung_up());
    assert!(a.sent() > 25_000_000 && a.received() > 25_000_000 && a.sent() < 40_000_000);
    drop(a);
    assert!(matches!(b.receive_exact(&mut [0; 1], TIME), Err(ChannelError::Closed)));
    assert!(b.has_hung_up() && !b.is_idle());
}

#[test]
fn whoever_goes_is_noticed_at_once_and_last_words_arrive() {
    let server = Server::start(Admission::Any);
    let (a, b) = server.pair();
    let began = Instant::now();
    drop(a);
    while !b.has_hung_up() {
        assert!(began.elapsed() < TIME / 10);
        std::thread::yield_now();
    }
    // As much as a lane takes at once, and the lane is dropped before anybody has read it.
    let (mut a, mut b) = server.pair();
    let last = vec![7; 200_000];
    b.send_all([&last, &[]], TIME).unwrap();
    drop(b);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!a.is_idle(), "there is something to read");
    let mut read = vec![0; last.len()];
    a.receive_exact(&mut read, TIME).unwrap();
    assert_eq!(read, last);
    assert!(matches!(a.receive_exact(&mut [0; 1], TIME), Err(ChannelError::Closed)));
}

#[test]
fn another_thread_ends_a_channel_and_what_was_sent_before_arrives() {
    let server = Server::start(Admission::Any);
    let (mut a, mut b) = server.pair();
    b.send_all([b"an answer", &[]], TIME).unwrap();
    let closing = b.closing();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            closing.close();
        });
        assert!(b.readable(TIME).unwrap(), "woken");
        assert!(matches!(b.receive_exact(&mut [0; 1], TIME), Err(ChannelError::Closed)));
    });
    drop(b);
    a.receive_exact(&mut [0; 9], TIME).unwrap();
    assert!(matches!(a.receive_exact(&mut [0; 1], TIME), Err(ChannelError::Closed)));
}

#[test]
fn another_key_is_refused_on_either_side() {
    let server = Server::start(Admission::Only(BTreeSet::new()));
    let stranger = generate().unwrap();
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| server.accept());
        let mut client = server.client(&stranger, server.identity.public());
        if let Ok(channel) = &mut client {
            // It learns only from the first answer that the server has refused its key.
            client = channel.receive_exact(&mut [0; 1], TIME).map(|()| unreachable!("nobody answers"));
        }
        assert!(matches!(client, Err(ChannelError::NotAdmitted)), "{:?}", client.err());
        let refused = accepting.join().unwrap().err().unwrap();
        assert!(matches!(refused, ChannelError::Stranger(key) if key == stranger.public()), "{refused:?}");
    });
    let server = Server::start(Admission::Any);
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| server.accept());
        let client = server.client(&stranger, generate().unwrap().public());
        assert!(matches!(client, Err(ChannelError::WrongKey)), "{:?}", client.err());
        let refused = accepting.join().unwrap().err().unwrap();
        assert!(matches!(refused, ChannelError::NotAdmitted), "whose key is another than expected: {refused:?}");
    });
}

#[test]
fn a_silent_peer_times_out_and_a_step_has_its_time_whatever_arrives() {
    let server = Server::start(Admission::Any);
    let (mut a, mut b) = server.pair();
    let error = a.receive_exact(&mut [0; 1], Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), "did not answer within 50 ms");
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    let dripping = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            let _ = b.send_all([&[1], &[]], TIME);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let began = Instant::now();
    let error = a.receive_exact(&mut [0; 10_000], Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, ChannelError::TooSlow) && began.elapsed() < TIME / 2, "{error}");
    a.set_limit(Some(Instant::now() + Duration::from_millis(200)));
    let error = a.receive_exact(&mut [0; 10_000], TIME).unwrap_err();
    assert!(matches!(error, ChannelError::TooSlow), "{error}");
    over.store(true, Ordering::Relaxed);
    dripping.join().unwrap();
}

#[test]
fn an_unknown_peer_sends_64_kib_and_no_more() {
    let server = Server::start(Admission::Any);
    let identity = generate().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = server.client(&identity, server.identity.public());
            let _ = client.unwrap().send_all([&[1; 200_000], &[]], TIME / 5);
        });
        let mut stranger = server.begin();
        while stranger.advance_handshake().unwrap() != Handshaking::Done {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut received = vec![0; 200_000];
        let error = stranger.receive_exact(&mut received, TIME).unwrap_err();
        assert!(matches!(error, ChannelError::TooMuch), "{error}");
        assert!(received[STRANGER_BYTES as usize..].iter().all(|&byte| byte == 0), "no more than its window");
    });
}

#[test]
fn nobody_is_kept_in_memory_before_its_address_is_shown_to_be_its_own() {
    let server = Server::start(Admission::Any);
    // First packets of clients as they are, from an address that hears nothing of what is answered.
    let seen = UdpSocket::bind("127.0.0.1:0").unwrap();
    seen.set_read_timeout(Some(TIME)).unwrap();
    let at = seen.local_addr().unwrap();
    let identity = generate().unwrap();
    let firsts: Vec<Vec<u8>> = (0..20)
        .map(|_| {
            let mut first = [0; 2048];
            let time = Duration::from_millis(20);
            let error = Channel::connect_quic(&identity, identity.public(), vec![at], time).err();
            assert!(matches!(error, Some(ChannelError::TimedOut(_))), "{error:?}");
            let read = seen.recv(&mut first).unwrap();
            first[..read].to_vec()
        })
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut asked, mut back, mut retries) = (0, 0, 0);
    let mut answer = [0; 2048];
    for first in firsts.iter().cycle().take(2_000) {
        socket.send_to(first, server.listening.address()).unwrap();
        asked += first.len();
        if retries < 20 {
            back += socket.recv(&mut answer).unwrap_or(0);
            retries += usize::from(answer[0] >> 4 == 0xf);
        }
    }
    assert!(retries >= 20, "each is asked to show that it hears this: {retries}");
    assert!(back < asked / 3, "{back} bytes for {asked}");
    assert!(server.knocking.lock().unwrap().next().is_none(), "none of them is let near the door");
    assert_eq!(server.listening.connections(), 0);
    // Noise is not answered at all, or in fewer bytes than it has.
    for size in [1, 20, 100, 1200, 1400] {
        for byte in 0..=u8::MAX {
            let _ = socket.send_to(&vec![byte; size], server.listening.address());
        }
    }
    assert_eq!(server.listening.connections(), 0);
    let (mut a, mut b) = server.pair();
    exchange(&mut a, &mut b, 100);
}

/// Passes datagrams on to a server; the way there leads through another port from time to time, as behind a router that forgets.
fn roaming(server: Arc<Mutex<SocketAddr>>) -> (SocketAddr, impl Fn()) {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let at = front.local_addr().unwrap();
    let client: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let out = {
        let (front, client) = (front.clone(), client.clone());
        move || {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
            socket.connect(*server.lock().unwrap()).unwrap();
            let (back, front, client) = (socket.clone(), front.clone(), client.clone());
            std::thread::spawn(move || {
                let mut datagram = [0; 65_536];
                while let Ok(read) = back.recv(&mut datagram) {
                    let to = *client.lock().unwrap();
                    to.map(|to| front.send_to(&datagram[..read], to));
                }
            });
            socket
        }
    };
    let way = Arc::new(Mutex::new(out()));
    let forward = way.clone();
    std::thread::spawn(move || {
        let mut datagram = [0; 65_536];
        while let Ok((read, from)) = front.recv_from(&mut datagram) {
            *client.lock().unwrap() = Some(from);
            let _ = forward.lock().unwrap().send(&datagram[..read]);
        }
    });
    (at, move || *way.lock().unwrap() = out())
}

#[test]
fn a_lane_goes_on_when_its_address_changes() {
    let server = Server::start(Admission::Any);
    let (at, roam) = roaming(Arc::new(Mutex::new(server.listening.address())));
    let (mut a, mut b) = server.pair_at(at);
    exchange(&mut a, &mut b, 100_000);
    for _ in 0..3 {
        roam();
        exchange(&mut a, &mut b, 100_000);
    }
    assert!(a.is_idle() && b.is_idle());
}

#[test]
fn a_node_that_was_killed_and_came_back_tells_so_at_once() {
    let server = Server::start(Admission::Any);
    let place = Arc::new(Mutex::new(server.listening.address()));
    let (at, roam) = roaming(place.clone());
    let (mut client, _node) = server.pair_at(at);
    for (again, known) in [(generate().unwrap().into(), false), (server.identity.clone(), true)] {
        // It knows nothing of its connections; the old one never said that it goes.
        let back = Server::of(again, Admission::Any);
        *place.lock().unwrap() = back.listening.address();
        roam();
        let began = Instant::now();
        client.send_all([&[7; 1000], &[]], TIME).unwrap();
        let error = client.receive_exact(&mut [0; 1], TIME / 10).unwrap_err();
        assert_eq!(matches!(error, ChannelError::Closed), known, "{error}");
        assert!(began.elapsed() < TIME / 5);
        assert_eq!(client.is_idle(), !known);
    }
}

/// Also of those that are over, which the library keeps for a while.
#[test]
fn there_are_so_many_connections_and_whoever_comes_then_is_not_answered() {
    let server = Server::with(Arc::new(generate().unwrap()), Admission::Any, 2);
    let pairs = [server.pair(), server.pair()];
    assert_eq!(server.listening.connections(), 2);
    let identity = generate().unwrap();
    let soon = Duration::from_millis(400);
    let late =
        |time| Channel::connect_quic(&identity, server.identity.public(), vec![server.listening.address()], time);
    assert!(late(soon).is_err());
    assert!(server.knocking.lock().unwrap().next().is_none(), "nobody waits at the door");
    drop(pairs);
    let end = Instant::now() + TIME;
    while server.listening.connections() > 0 {
        assert!(Instant::now() < end, "they are forgotten");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.pair();
}
