//! Tests of the door: one step after the other, and as a whole.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use super::super::trial::{self, Trial};
use super::*;
use crate::identity::{Identity, generate};

const TIME: Duration = Duration::from_secs(10);
const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn addresses(last: &[u8]) -> Vec<IpAddr> {
    last.iter().map(|n| IpAddr::from([10, 0, 0, *n])).collect()
}

#[test]
fn the_oldest_of_the_address_with_most_guests_makes_room() {
    let leaves = |guests: &[u8], newcomer| who_leaves(&addresses(guests), addresses(&[newcomer])[0], 6, 3);
    assert_eq!(leaves(&[1, 2, 2, 3], 9), None);
    assert_eq!(leaves(&[1, 2, 3, 2, 2], 2), Some(1), "an address that is full gives up its own oldest");
    assert_eq!(leaves(&[1, 2, 3, 2, 2], 3), None);
    assert_eq!(leaves(&[1, 3, 2, 3, 2, 2], 9), Some(2), "a crowd gives way to one who comes alone");
    assert_eq!(leaves(&[1, 2, 3, 4, 5, 6], 9), Some(0));
}

fn tls(node: &Node) -> Arc<ServerConfig> {
    crate::tls::server_config(&node.machine.identity, node.admission()).unwrap()
}

fn door<'a>(trial: &'a Trial, tls: &'a Arc<ServerConfig>) -> Door<'a> {
    Door { node: &trial.node, tls, quic: None, guests: Vec::new(), arrivals: HashMap::new(), closed_until: None }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A connection, and who made it.
fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

fn refused(trial: &Trial) -> u64 {
    trial.node.machine.refused.load(Ordering::Relaxed)
}

#[test]
fn an_address_arrives_so_often_and_who_came_once_is_forgotten_first() {
    let trial = trial::node(|_| ());
    let tls = tls(&trial.node);
    let mut door = door(&trial, &tls);
    let at = |n: usize| IpAddr::from([10, 1, (n >> 8) as u8, n as u8]);
    let came = (0..2_000).filter(|_| door.arrives(NEAR)).count();
    assert!((512..1_500).contains(&came), "{came}");
    assert!((1..MAX_ADDRESSES).all(|n| door.arrives(at(n))), "other addresses are not concerned");
    door.arrives(at(1));
    assert_eq!(door.arrivals.len(), MAX_ADDRESSES, "one that is known needs no room");
    assert!(door.arrives(at(0)));
    assert!(door.arrivals.contains_key(&NEAR) && door.arrivals.len() <= 3, "only who came often is remembered");
    // So many that came often are not held back one by one.
    door.arrivals.clear();
    for n in 0..MAX_ADDRESSES {
        let mut bucket = ARRIVALS;
        assert!(bucket.take(500.0, trial.node.machine.uptime()));
        door.arrivals.insert(at(n), bucket);
    }
    assert!(door.arrives(IpAddr::from([10, 0, 0, 2])));
    assert_eq!(door.arrivals.len(), 1);
}

#[test]
fn a_newcomer_takes_the_place_of_another_and_whoever_comes_too_often_has_none() {
    let trial = trial::node(|config| (config.limits.handshakes, config.limits.handshakes_per_address) = (3, 2));
    let (tls, listener) = (tls(&trial.node), listener());
    let mut door = door(&trial, &tls);
    let mut clients = Vec::new();
    let mut comes = |door: &mut Door<'_>, last| {
        let (tcp, client) = connection(&listener);
        door.let_in(tcp, (Ipv4Addr::new(10, 0, 0, last), 7).into());
        clients.push(client);
    };
    let inside = |door: &Door<'_>| {
        let now = Instant::now();
        assert!(door.guests.iter().all(|guest| guest.deadline > now && guest.deadline <= now + TIME));
        let last = |guest: &Guest| match guest.from.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        door.guests.iter().map(last).collect::<Vec<_>>()
    };
    [1, 1, 1].into_iter().for_each(|last| comes(&mut door, last));
    assert_eq!((inside(&door), refused(&trial)), (vec![1, 1], 1));
    [2, 3].into_iter().for_each(|last| comes(&mut door, last));
    assert_eq!((inside(&door), refused(&trial)), (vec![1, 2, 3], 2));
    while door.arrives(IpAddr::from([10, 0, 0, 4])) {}
    comes(&mut door, 4);
    assert_eq!(inside(&door), [1, 2, 3], "it is not even looked at");
    assert_eq!(clients[0].read(&mut [0; 1]).unwrap(), 0, "who made room is left");
}

#[test]
fn who_takes_too_long_leaves_and_nobody_else() {
    let trial = trial::node(|_| ());
    let (tls, listener) = (tls(&trial.node), listener());
    let mut door = door(&trial, &tls);
    let (stop, mut other_end) = UnixStream::pair().unwrap();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (tcp, client) = connection(&listener);
            door.let_in(tcp, client.local_addr().unwrap());
            client
        })
        .collect();
    let from: Vec<_> = door.guests.iter().map(|guest| guest.from).collect();
    door.guests[1].deadline = Instant::now() - Duration::from_secs(1);
    let ready = door.wait(&listener, &stop).unwrap();
    assert_eq!((ready.stop, ready.listener, &ready.guests[..]), (false, false, &[false; 3][..]));
    door.advance(&ready.guests);
    assert_eq!(door.guests.iter().map(|guest| guest.from).collect::<Vec<_>>(), [from[0], from[2]]);
    assert_eq!(refused(&trial), 1);
    // What is no greeting ends as soon as it comes.
    (&clients[2]).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let ready = door.wait(&listener, &stop).unwrap();
    assert_eq!(ready.guests, [false, true]);
    door.advance(&ready.guests);
    assert_eq!((door.guests.len(), door.guests[0].from, refused(&trial)), (1, from[0], 2));
    other_end.write_all(&[1]).unwrap();
    assert!(door.wait(&listener, &stop).unwrap().stop);
}

#[test]
fn a_system_that_refuses_to_accept_is_left_alone_for_a_moment() {
    let trial = trial::node(|_| ());
    let (tls, listener) = (tls(&trial.node), listener());
    let mut door = door(&trial, &tls);
    let come = || {
        let (tcp, client) = connection(&listener);
        let from = client.local_addr().unwrap();
        Ok((tcp, from))
    };
    let fails = |kind: io::ErrorKind| Err(io::Error::from(kind));
    let mut crowd = vec![come(), fails(io::ErrorKind::WouldBlock), come(), fails(io::ErrorKind::ConnectionAborted)];
    door.accept(|| crowd.pop().unwrap());
    assert_eq!((door.guests.len(), crowd.len()), (1, 1), "until nobody is there");
    assert!(door.closed_until.is_none());
    let mut crowd = vec![come(), fails(io::ErrorKind::Other), come()];
    door.accept(|| crowd.pop().unwrap());
    assert_eq!((door.guests.len(), crowd.len()), (2, 1));
    assert!(door.closed_until.is_some_and(|until| until > Instant::now() - REFUSED / 2));
    let mut asked = 0;
    door.accept(|| {
        asked += 1;
        fails(io::ErrorKind::ConnectionAborted)
    });
    assert_eq!(asked, CROWD);

    // Somebody is at the door, and the node stops, so that nothing is waited for.
    let (stop, _) = UnixStream::pair().unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    door.closed_until = Some(Instant::now() + TIME);
    let ready = door.wait(&listener, &stop).unwrap();
    assert!(ready.stop && !ready.listener && door.closed_until.is_some());
    door.closed_until = Some(Instant::now() - REFUSED);
    let ready = door.wait(&listener, &stop).unwrap();
    assert!(ready.stop && ready.listener && door.closed_until.is_none());
}

/// What a client with a key of its own is told after the handshake when it says `pieces`, one after the other, and whether
/// it gets a lane.
fn greeted(trial: &Trial, identity: &Identity, pieces: &[&[u8]]) -> (String, bool) {
    let (tls, listener) = (tls(&trial.node), listener());
    let (stop, _other_end) = UnixStream::pair().unwrap();
    let mut door = door(trial, &tls);
    let (tcp, client) = connection(&listener);
    door.let_in(tcp, client.local_addr().unwrap());
    let began = Instant::now();
    let turn = |door: &mut Door<'_>| {
        assert!(began.elapsed() < TIME);
        let ready = door.wait(&listener, &stop).unwrap();
        door.advance(&ready.guests);
    };
    let pinned = crate::tls::client_config(identity, trial.node.machine.identity.public()).unwrap();
    let mut client = std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect(client, pinned, TIME).unwrap());
        while matches!(door.guests[0].stage, Stage::Handshake) {
            turn(&mut door);
        }
        client.join().unwrap()
    });
    for piece in pieces {
        assert!(!door.guests[0].sending, "nothing is left to be written");
        client.send_all([piece, &[]], TIME).unwrap();
        turn(&mut door);
    }
    while !door.guests.is_empty() {
        turn(&mut door);
    }
    let entered = trial.node.machine.lanes.len() == 1;
    let mut told = Vec::new();
    if entered {
        let meant = pieces.concat();
        let mut said = vec![0; meant.len()];
        client.receive_exact(&mut said, TIME).unwrap();
        assert_eq!(said, meant, "it greets for the committee that was meant");
        client.send_all([&header(Kind::Status, 0), &[]], TIME).unwrap();
        let mut head = [0; HEADER];
        client.receive_exact(&mut head, TIME).unwrap();
        told = format!("{:?}", parse_header(head).unwrap().0).into_bytes();
        drop(client);
        while trial.node.machine.lanes.len() > 0 {
            assert!(began.elapsed() < TIME, "the lane of a client that is gone stays");
            std::thread::yield_now();
        }
    } else {
        let mut byte = [0];
        while client.receive_exact(&mut byte, TIME).is_ok() {
            told.push(byte[0]);
        }
    }
    (String::from_utf8_lossy(&told).into_owned(), entered)
}

fn hello(trial: &Trial) -> Vec<u8> {
    hello_for(trial.seat.digest)
}

fn hello_for(committee: [u8; 32]) -> Vec<u8> {
    frame(&Hello { committee }.encode())
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&header(Kind::Hello, payload.len())[..], payload].concat()
}

#[test]
fn a_greeting_of_this_committee_opens_a_lane_and_anything_else_is_told_why_not() {
    let trial = trial::node(|_| ());
    let consumer = generate().unwrap();
    let hello = hello(&trial);
    for pieces in
        [&[&hello[..]][..], &[&hello[..HEADER], &hello[HEADER..]], &[&hello[..3], &hello[3..20], &hello[20..]]]
    {
        assert_eq!(greeted(&trial, &consumer, pieces), ("StatusReply".into(), true));
    }
    assert_eq!(greeted(&trial, &trial.others[1], &[&hello]), ("StatusReply".into(), true));
    let other = frame(&Hello { committee: [7; 32] }.encode());
    let short = frame(&[7; 10]);
    for (said, why) in [
        (&other[..], crate::lane::OTHER_COMMITTEE),
        (&short, "the greeting is wrong"),
        (&header(Kind::Status, 0), "a Status frame came where the greeting belongs"),
        (&[0xff; HEADER], "in the greeting the other side"),
    ] {
        let (told, entered) = greeted(&trial, &consumer, &[said]);
        assert!(told.contains(why) && !entered, "{told}");
        assert_eq!(
            told.as_bytes()[0],
            Kind::Fail as u8,
            "that first, and nothing of the node's committee before: {told}"
        );
    }
}

#[test]
fn a_greeting_chooses_the_committee_and_a_member_of_another_one_is_a_stranger() {
    let nobody = Admission::Only(Default::default());
    let listed = generate().unwrap();
    let (trial, further) = trial::node_in_two(|config| {
        config.owners = nobody;
        config.consumers = Admission::Only([listed.public()].into());
    });
    let [one, two] = [0, 1].map(|seat: usize| trial.node.seats[seat].digest);
    assert_eq!((trial.node.seats.len(), trial.seat.digest), (2, one));
    let (both, only_one) = (&trial.others[0], &trial.others[1]);
    let opens = |who: &Identity, committee| {
        let (told, entered) = greeted(&trial, who, &[&hello_for(committee)]);
        assert_eq!(entered, told == "StatusReply");
        if !entered {
            let refusal = Fail { code: FailCode::Refused, text: crate::lane::OTHER_COMMITTEE.into() }.encode();
            let refusal = [&header(Kind::Fail, refusal.len())[..], &refusal].concat();
            assert_eq!(told.as_bytes(), String::from_utf8_lossy(&refusal).as_bytes(), "the same to all, and no more");
        }
        entered
    };
    for (who, expected) in
        [(both, [true, true]), (only_one, [true, false]), (&further, [false, true]), (&listed, [true, true])]
    {
        assert_eq!([one, two].map(|committee| opens(who, committee)), expected);
        assert!(!opens(who, [7; 32]));
    }
    assert_eq!(trial.node.admission(), {
        let mut keys: std::collections::BTreeSet<_> = trial.others.iter().map(Identity::public).collect();
        keys.extend([further.public(), listed.public(), trial.node.machine.identity.public()]);
        Admission::Only(keys)
    });
}

#[test]
fn whoever_may_have_no_further_lane_is_told_which_limit_that_is() {
    let trial = trial::node(|config| config.limits.lanes_per_key = 0);
    let (told, entered) = greeted(&trial, &generate().unwrap(), &[&hello(&trial)]);
    assert!(told.contains("as many connections as it may have (limits.lanes_per_key)") && !entered, "{told}");
    assert_eq!(refused(&trial), 1);
    assert!(greeted(&trial, &trial.others[0], &[&hello(&trial)]).1, "members have places of their own");
}

#[test]
fn a_caller_is_called_by_the_list_that_has_its_key() {
    let mut config = trial::node(|_| ()).node.machine.config.clone();
    let [owner, consumer, other] = [1, 2, 3].map(|n| PublicKey([n; 32]));
    config.owners = Admission::Only([owner].into());
    config.consumers = Admission::Only([consumer].into());
    assert_eq!([owner, consumer].map(|key| role(&config, &key)), ["owner", "consumer"]);
    config.consumers = Admission::Any;
    assert_eq!([owner, consumer, other].map(|key| role(&config, &key)), ["owner", "consumer", "consumer"]);
    config.owners = Admission::Any;
    assert_eq!(role(&config, &other), "consumer", "whoever is in neither list asks, as a rule");
}

/// The door over QUIC: the same rules, asked one by one.
#[cfg(feature = "quic")]
mod quic {
    use super::*;
    use crate::channel::quic::Listening;
    use crate::identity::PublicKey;

    /// Clients that have begun, and say nothing: their handshakes end on their side, and no stream is ever opened.
    fn half_open(trial: &Trial, at: SocketAddr) -> Result<Channel, ChannelError> {
        Channel::connect_quic(&generate().unwrap(), trial.node.machine.identity.public(), vec![at], TIME)
    }

    fn listening(trial: &Trial) -> (Listening, Knocking) {
        let machine = &trial.node.machine;
        let bound = Listening::bind(([127, 0, 0, 1], 0).into(), &machine.identity, trial.node.admission(), 10_000);
        bound.ok().expect("a free port")
    }

    /// Turns of the door until `done`.
    fn turns(door: &mut Door<'_>, mut done: impl FnMut(&Door<'_>) -> bool) {
        let (listener, (stop, mut other_end)) = (listener(), UnixStream::pair().unwrap());
        other_end.write_all(&[1]).unwrap(); // nothing is waited for
        let began = Instant::now();
        while !done(door) {
            assert!(began.elapsed() < TIME, "{} guests", door.guests.len());
            std::thread::sleep(Duration::from_millis(1));
            let ready = door.wait(&listener, &stop).unwrap();
            door.advance(&ready.guests);
            if ready.bell {
                door.answer();
            }
        }
    }

    fn door_over<'a>(trial: &'a Trial, tls: &'a Arc<ServerConfig>, quic: &'a Knocking) -> Door<'a> {
        Door { quic: Some(quic), ..door(trial, tls) }
    }

    #[test]
    fn half_open_handshakes_are_counted_by_address_and_end_in_time() {
        let trial = trial::node(|config| {
            (config.limits.handshakes, config.limits.handshakes_per_address) = (5, 3);
            config.timeouts.connect = 1;
        });
        let (tls, (listening, knocking)) = (tls(&trial.node), listening(&trial));
        let mut door = door_over(&trial, &tls, &knocking);
        let at = listening.address();
        let most = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| half_open(&trial, at))).collect();
            let mut most = 0;
            turns(&mut door, |door| {
                most = most.max(door.guests.len());
                refused(&trial) >= 5
            });
            assert!(door.guests.iter().all(|guest| guest.from.ip() == IpAddr::from([127, 0, 0, 1])));
            // Nobody says anything more: the rest leave when their time is over.
            let began = Instant::now();
            turns(&mut door, |door| door.guests.is_empty() && refused(&trial) == 8);
            assert!(began.elapsed() < TIME / 2);
            drop(clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>());
            most
        });
        assert_eq!(most, 3, "of one address; the oldest makes room");
    }

    #[test]
    fn an_address_that_comes_too_often_is_sent_away_at_once() {
        let trial = trial::node(|_| ());
        let (tls, (listening, knocking)) = (tls(&trial.node), listening(&trial));
        let mut door = door_over(&trial, &tls, &knocking);
        door.arrivals.insert(IpAddr::from([127, 0, 0, 1]), Bucket::new(0.0, 0.0));
        let at = listening.address();
        std::thread::scope(|scope| {
            let client = scope.spawn(|| half_open(&trial, at));
            turns(&mut door, |door| {
                assert!(door.guests.is_empty(), "it is not even looked at");
                client.is_finished()
            });
            assert!(matches!(client.join().unwrap(), Err(ChannelError::Closed)));
        });
    }

    /// What a client is told over QUIC that says `said`, and whether it gets a lane.
    fn greeted(trial: &Trial, identity: &Identity, said: &[u8], key: PublicKey) -> (Result<Vec<u8>, String>, bool) {
        let (tls, (listening, knocking)) = (tls(&trial.node), listening(trial));
        let mut door = door_over(trial, &tls, &knocking);
        let at = listening.address();
        std::thread::scope(|scope| {
            let client = scope.spawn(move || {
                let mut client = Channel::connect_quic(identity, key, vec![at], TIME).map_err(|e| e.to_string())?;
                client.send_all([said, &[]], TIME).map_err(|e| e.to_string())?;
                let (mut told, mut byte) = (Vec::new(), [0]);
                loop {
                    match client.receive_exact(&mut byte, Duration::from_secs(1)) {
                        Ok(()) => told.push(byte[0]),
                        Err(ChannelError::NotAdmitted) => return Err(ChannelError::NotAdmitted.to_string()),
                        Err(_) => return Ok(told),
                    }
                }
            });
            let mut entered = false;
            turns(&mut door, |door| {
                entered |= trial.node.machine.lanes.len() == 1;
                client.is_finished() && door.guests.is_empty() || entered
            });
            (client.join().unwrap(), entered)
        })
    }

    #[test]
    fn a_greeting_opens_a_lane_and_anything_else_is_told_why_not() {
        let trial = trial::node(|_| ());
        let key = trial.node.machine.identity.public();
        let hello = hello(&trial);
        assert_eq!(greeted(&trial, &generate().unwrap(), &hello, key), (Ok(hello.clone()), true));
        let other = frame(&Hello { committee: [7; 32] }.encode());
        let (told, entered) = greeted(&trial, &generate().unwrap(), &other, key);
        let told = told.unwrap();
        assert!(String::from_utf8_lossy(&told).contains(crate::lane::OTHER_COMMITTEE) && !entered);
        assert_eq!(told[0], Kind::Fail as u8);
        let listed = trial::node(|config| {
            config.owners = Admission::Only(Default::default());
            config.consumers = Admission::Only(Default::default());
        });
        let key = listed.node.machine.identity.public();
        let (told, entered) = greeted(&listed, &generate().unwrap(), &hello, key);
        assert!(told.unwrap_err().contains("does not admit this key") && !entered);
        assert_eq!(refused(&listed), 1);
    }
}
