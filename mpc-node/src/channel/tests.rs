//! Tests of the channel: two ends on loopback.

use std::collections::BTreeSet;
use std::net::TcpListener;

use super::*;
use crate::identity::{Identity, generate};
use crate::tls::{Admission, client_config, server_config};

const TIME: Duration = Duration::from_secs(5);

fn pair(
    admission: impl FnOnce(&Identity) -> Admission,
    pinned: impl FnOnce(&Identity) -> PublicKey,
) -> (Result<Channel, ChannelError>, Result<Channel, ChannelError>) {
    let (a, b) = (generate().unwrap(), generate().unwrap());
    let client = client_config(&a, pinned(&b)).unwrap();
    let server = server_config(&b, admission(&a)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = std::thread::spawn(move || Channel::accept(listener.accept().unwrap().0, server, TIME));
    let mut client = Channel::connect(TcpStream::connect(address).unwrap(), client, TIME);
    if let Ok(channel) = &mut client {
        // A client learns only from the first answer that the server has refused its key.
        match channel.receive_exact(&mut [0; 1], Duration::from_millis(300)) {
            Ok(()) | Err(ChannelError::TimedOut(_)) => {}
            Err(error) => client = Err(error),
        }
    }
    (client, accepting.join().unwrap())
}

fn good_pair() -> (Channel, Channel) {
    let (a, b) = pair(|a| Admission::Only(BTreeSet::from([a.public()])), Identity::public);
    (a.unwrap(), b.unwrap())
}

#[test]
fn large_frames_cross_without_deadlock() {
    let (mut a, mut b) = good_pair();
    let size = 20_000_000;
    let run = |channel: &mut Channel, mine: u8| {
        let send = vec![mine; size];
        let mut receive = vec![0; size + 8];
        channel.pump([&[mine; 8], &send], &mut 0, &mut receive, &mut 0, Until::Both, &mut Patience::new(TIME)).unwrap();
        receive
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(&mut b, 2));
        assert!(run(&mut a, 1).iter().all(|&byte| byte == 2));
        assert!(other.join().unwrap().iter().all(|&byte| byte == 1));
    });
    assert!(a.is_idle() && b.is_idle());
    assert!(a.sent() > size as u64 && a.sent() < size as u64 * 101 / 100);
    drop(b);
    assert!(matches!(a.receive_exact(&mut [0; 1], TIME), Err(ChannelError::Closed)));
}

#[test]
fn a_silent_peer_times_out() {
    let (mut a, _b) = good_pair();
    let error = a.receive_exact(&mut [0; 1], Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), "did not answer within 50 ms");
}

#[test]
fn who_has_hung_up_is_noticed_behind_what_it_has_sent() {
    let (a, mut b) = good_pair();
    assert!(!a.has_hung_up());
    b.send_all([&[7; 1000], &[]], TIME).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(!a.has_hung_up(), "something to read is no end");
    drop(b);
    let end = Instant::now() + TIME;
    while !a.has_hung_up() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

#[test]
fn another_key_is_refused_on_either_side() {
    let mut shown = None;
    let admission = |a: &Identity| {
        shown = Some(a.public());
        Admission::Only(BTreeSet::new())
    };
    let (client, server) = pair(admission, Identity::public);
    let refused = server.err().unwrap();
    assert!(matches!(refused, ChannelError::Stranger(key) if Some(key) == shown), "whom to admit: {refused:?}");
    assert!(matches!(client, Err(ChannelError::NotAdmitted)), "{:?}", client.err());

    let (client, server) = pair(|_| Admission::Any, |_| generate().unwrap().public());
    assert!(matches!(client, Err(ChannelError::WrongKey)));
    assert!(server.is_err());
}

#[test]
fn random_bytes_are_refused() {
    let identity = generate().unwrap();
    let server = server_config(&identity, Admission::Any).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    std::io::Write::write_all(&mut tcp, &[0x55; 4000]).unwrap();
    assert!(Channel::accept(listener.accept().unwrap().0, server, TIME).is_err());
}

#[test]
fn an_unknown_peer_sends_64_kib_and_no_more() {
    let (a, b) = (generate().unwrap(), generate().unwrap());
    let (client, server) = (client_config(&a, b.public()).unwrap(), server_config(&b, Admission::Any).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sending = std::thread::spawn(move || {
        let mut channel = Channel::connect(TcpStream::connect(address).unwrap(), client, TIME).unwrap();
        let _ = channel.send_all([&[1; 100_000], &[]], TIME);
        channel
    });
    let mut channel = Channel::begin(listener.accept().unwrap().0, server).unwrap();
    while channel.advance_handshake().unwrap() != Handshaking::Done {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut received = vec![0; 100_000];
    let error = channel.receive_exact(&mut received, TIME).unwrap_err();
    assert!(matches!(error, ChannelError::TooMuch), "{error}");
    assert!(channel.received() <= STRANGER_BYTES);
    drop((channel, sending.join().unwrap()));
}

#[test]
fn a_limit_is_not_renewed_by_what_arrives() {
    let (mut a, mut b) = good_pair();
    let dripping = std::thread::spawn(move || {
        for _ in 0..100 {
            let _ = b.send_all([&[1], &[]], TIME);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    a.set_limit(Some(Instant::now() + Duration::from_millis(200)));
    let error = a.receive_exact(&mut [0; 10_000], Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, ChannelError::TooSlow), "{error}");
    drop(a);
    dripping.join().unwrap();
}

#[test]
fn whoever_waits_at_a_pace_waits_for_what_comes_and_not_for_a_trickle() {
    let (mut a, mut b) = good_pair();
    let grace = Duration::from_millis(300);
    a.set_pace(Some((grace, 1000)));
    let sending = std::thread::spawn(move || {
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(20));
            if b.send_all([&[1], &[]], TIME).is_err() {
                break;
            }
        }
    });
    let began = Instant::now();
    // Each byte comes well within its own time, and is worth a millisecond.
    let error = loop {
        if let Err(error) = a.receive_exact(&mut [0; 1], TIME) {
            break error;
        }
    };
    assert!(matches!(error, ChannelError::TooSlow), "{error}");
    assert!((grace..TIME).contains(&began.elapsed()), "{:?}", began.elapsed());
    // What is worth waiting for is waited for; and so is everything when no pace is asked.
    a.set_pace(Some((grace, 1)));
    let more = Duration::from_millis(600);
    let began = Instant::now();
    while began.elapsed() < more {
        a.receive_exact(&mut [0; 1], TIME).unwrap();
    }
    a.set_pace(None);
    a.receive_exact(&mut [0; 1], TIME).unwrap();
    drop(a);
    sending.join().unwrap();
}

#[test]
fn what_goes_out_at_a_pace_buys_no_more_than_the_first_grace() {
    let (mut a, b) = good_pair();
    let grace = Duration::from_millis(300);
    a.set_pace(Some((grace, 1000)));
    // The system takes some of it for a reader that reads nothing.
    let began = Instant::now();
    let error = loop {
        if let Err(error) = a.send_all([&[0; 100_000], &[]], TIME) {
            break error;
        }
    };
    assert!(matches!(error, ChannelError::TooSlow), "{error}");
    assert!((grace..TIME / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    drop(b);
    // Whoever takes something now and then is waited for, far beyond it.
    let (mut a, mut b) = good_pair();
    a.set_pace(Some((grace, 100_000_000)));
    let reading = std::thread::spawn(move || {
        let mut buffer = vec![0; 10_000_000];
        (0..8).for_each(|_| {
            std::thread::sleep(Duration::from_millis(90));
            b.receive_exact(&mut buffer, TIME).unwrap();
        });
    });
    for _ in 0..800 {
        a.send_all([&[0; 100_000], &[]], TIME).unwrap();
    }
    reading.join().unwrap();
}

#[test]
fn no_byte_begins_the_time_anew() {
    let (mut a, mut b) = good_pair();
    let sending = std::thread::spawn(move || {
        while !b.has_hung_up() {
            let _ = b.send_all([&[1], &[]], TIME);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let time = Duration::from_millis(300);
    let began = Instant::now();
    let error = a.receive_exact(&mut [0; 10_000], time).unwrap_err();
    assert!(matches!(error, ChannelError::TooSlow), "{error}");
    assert!((time..TIME).contains(&began.elapsed()), "{:?}", began.elapsed());
    // The next one has its own time; and it ends when it is given up.
    a.receive_exact(&mut [0; 2], time).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    a.set_stop(Some(stop.clone()));
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
        });
        a.receive_exact(&mut [0; 10_000], TIME).unwrap_err()
    });
    assert!(matches!(error, ChannelError::GivenUp), "{error}");
    drop(a);
    sending.join().unwrap();
}
