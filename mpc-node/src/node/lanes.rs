//! Who is connected: lanes are counted by key and address once both are proved, and an idle one makes room for a newcomer.
//!
//! The other nodes of the committees have places of their own, which no number of consumers can take. All lanes of a key count
//! together, of whichever committee they are; those of a member apart from those that it has as a consumer elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::channel::Closing;
use crate::config::MEMBER_LANES;
use crate::identity::PublicKey;
use crate::wire::Caller;

/// Lanes of one stranger.
const PER_STRANGER: usize = 4;
/// Lanes of strangers at one address.
const STRANGERS_PER_ADDRESS: usize = 8;
/// Of all lanes that are not members', strangers have one in so many (one at least).
const STRANGERS: usize = 8;

/// How many lanes there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    /// Of consumers, and of strangers, who have few of them.
    pub(super) all: usize,
    /// Of one consumer.
    pub(super) per_key: usize,
    /// Of consumers at one address.
    pub(super) per_address: usize,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) key: PublicKey,
    pub(super) address: IpAddr,
    pub(super) caller: Caller,
}

/// The lanes of a node.
pub(super) struct Lanes {
    limits: LaneLimits,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Numbers entries, and orders the moments at which lanes fell idle.
    next: u64,
    lanes: BTreeMap<u64, Entry>,
    closed: bool,
}

struct Entry {
    peer: Peer,
    /// Since when it is idle; `None` while it carries a request.
    idle: Option<u64>,
    closing: Arc<dyn Closing>,
}

/// A lane's place; free again when dropped.
pub(super) struct Place {
    lanes: Arc<Lanes>,
    number: u64,
}

impl Lanes {
    pub(super) fn new(limits: LaneLimits) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default() })
    }

    /// A place for a lane; the longest idle lane that stands in its way is closed.
    ///
    /// # Errors
    /// The limit that stands in the way when none of those lanes is idle.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer, closing: Arc<dyn Closing>) -> Result<Place, &'static str> {
        let mut table = self.lock();
        loop {
            let known = table.lanes.iter().map(|(number, entry)| (*number, entry.peer, entry.idle));
            match verdict(&self.limits, known, &peer) {
                Verdict::Enter => break,
                Verdict::Refuse(limit) => return Err(limit),
                Verdict::Close(number) => {
                    if let Some(entry) = table.lanes.remove(&number) {
                        entry.closing.close(); // its thread sees the end and goes
                    }
                }
            }
        }
        let number = table.number();
        table.lanes.insert(number, Entry { peer, idle: None, closing });
        Ok(Place { lanes: self.clone(), number })
    }

    /// Closes every idle lane, and those that fall idle from now on (the node stops).
    pub(super) fn close_idle(&self) {
        let mut table = self.lock();
        table.closed = true;
        for entry in table.lanes.values().filter(|entry| entry.idle.is_some()) {
            entry.closing.close();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().lanes.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Place {
    /// The lane carries a request from now on and is not closed; false if it was closed already.
    pub(super) fn begin(&self) -> bool {
        match self.lanes.lock().lanes.get_mut(&self.number) {
            Some(entry) => {
                entry.idle = None;
                true
            }
            None => false,
        }
    }

    /// The stranger at the other end has shown a session: the lane counts as a consumer's from now on.
    pub(super) fn is_known(&self) {
        if let Some(entry) = self.lanes.lock().lanes.get_mut(&self.number) {
            entry.peer.caller = Caller::Consumer;
        }
    }

    /// The lane is idle from now on and may be closed for another; false if it should end.
    pub(super) fn rest(&self) -> bool {
        let mut table = self.lanes.lock();
        let moment = table.number();
        let open = !table.closed;
        table.lanes.get_mut(&self.number).is_some_and(|entry| {
            entry.idle = Some(moment);
            open
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lanes.lock().lanes.remove(&self.number);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Enter,
    /// After closing this lane, ask again.
    Close(u64),
    Refuse(&'static str),
}

/// Whether a newcomer may enter among `lanes` (number, peer, idle since).
fn verdict(
    limits: &LaneLimits,
    lanes: impl Iterator<Item = (u64, Peer, Option<u64>)> + Clone,
    newcomer: &Peer,
) -> Verdict {
    let longest_idle = |lanes: &mut dyn Iterator<Item = (u64, Peer, Option<u64>)>| {
        lanes.filter_map(|(number, _, idle)| Some((idle?, number))).min().map(|(_, number)| number)
    };
    let close = |rivals: &mut dyn Iterator<Item = (u64, Peer, Option<u64>)>, limit| {
        longest_idle(rivals).map_or(Verdict::Refuse(limit), Verdict::Close)
    };
    let own = lanes.clone().filter(|(_, peer, _)| (peer.key, peer.caller) == (newcomer.key, newcomer.caller));
    if newcomer.caller == Caller::Member {
        return match own.clone().count() < MEMBER_LANES {
            true => Verdict::Enter,
            false => close(&mut { own }, "a member's share"),
        };
    }
    let others = lanes.clone().filter(|(_, peer, _)| peer.caller != Caller::Member);
    let strangers = others.clone().filter(|(_, peer, _)| peer.caller == Caller::Stranger);
    if newcomer.caller == Caller::Stranger {
        let near = strangers.clone().filter(|(_, peer, _)| origin(peer.address) == origin(newcomer.address));
        return if own.clone().count() >= PER_STRANGER {
            close(&mut { own }, "a stranger's share")
        } else if near.clone().count() >= STRANGERS_PER_ADDRESS {
            close(&mut { near }, "the share of strangers at one address")
        } else if strangers.clone().count() >= (limits.all / STRANGERS).max(1) || others.count() >= limits.all {
            close(&mut { strangers }, "the strangers' share of limits.lanes")
        } else {
            Verdict::Enter
        };
    }
    let consumers = others.clone().filter(|(_, peer, _)| peer.caller == Caller::Consumer);
    let near = consumers.clone().filter(|(_, peer, _)| origin(peer.address) == origin(newcomer.address));
    if own.clone().count() >= limits.per_key {
        return close(&mut { own }, "limits.lanes_per_key");
    }
    if near.clone().count() >= limits.per_address {
        return close(&mut { near }, "limits.lanes_per_address");
    }
    if others.count() < limits.all {
        return Verdict::Enter;
    }
    // Full: a stranger gives its lane up, or the key with the most lanes one of its own.
    if let Some(number) = longest_idle(&mut { strangers }) {
        return Verdict::Close(number);
    }
    let mut lanes_of: HashMap<PublicKey, usize> = HashMap::new();
    consumers.clone().for_each(|(_, peer, _)| *lanes_of.entry(peer.key).or_default() += 1);
    let idle = consumers.filter(|(_, _, idle)| idle.is_some());
    let most = idle.clone().map(|(_, peer, _)| lanes_of[&peer.key]).max();
    close(&mut idle.filter(|(_, peer, _)| Some(lanes_of[&peer.key]) == most), "limits.lanes")
}

/// What counts as one address: an IPv4 address, or the /64 network of an IPv6 address.
pub(super) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const LIMITS: LaneLimits = LaneLimits { all: 4, per_key: 3, per_address: 3 };

    fn peer(key: u8, address: u8, caller: Caller) -> Peer {
        Peer { key: PublicKey([key; 32]), address: IpAddr::from([127, 0, 0, address]), caller }
    }

    fn consumer(key: u8, address: u8) -> Peer {
        peer(key, address, Caller::Consumer)
    }

    fn ask(lanes: &[(u64, Peer, Option<u64>)], newcomer: Peer) -> Verdict {
        verdict(&LIMITS, lanes.iter().copied(), &newcomer)
    }

    #[test]
    fn a_key_and_an_address_have_their_share_and_give_up_their_own_idle_lane() {
        let lanes: Vec<_> = (1..=3).map(|n| (n, consumer(7, n as u8), None)).collect();
        assert_eq!(ask(&lanes, consumer(7, 9)), Verdict::Refuse("limits.lanes_per_key"));
        assert_eq!(ask(&lanes, consumer(8, 9)), Verdict::Enter);
        let mut idle = lanes.clone();
        (idle[1].2, idle[2].2) = (Some(20), Some(10));
        assert_eq!(ask(&idle, consumer(7, 9)), Verdict::Close(3), "the longest idle one");

        let lanes: Vec<_> = (1..=3).map(|n| (n, consumer(n as u8, 5), None)).collect();
        assert_eq!(ask(&lanes, consumer(8, 5)), Verdict::Refuse("limits.lanes_per_address"));
        assert_eq!(ask(&lanes, consumer(8, 6)), Verdict::Enter);
    }

    #[test]
    fn when_all_is_full_the_key_with_most_lanes_gives_one_up_and_busy_lanes_stay() {
        let mut lanes: Vec<_> = [1, 2, 2, 3].iter().zip(1..).map(|(k, n)| (n, consumer(*k, n as u8), None)).collect();
        assert_eq!(ask(&lanes, consumer(9, 9)), Verdict::Refuse("limits.lanes"));
        (lanes[0].2, lanes[2].2) = (Some(1), Some(5));
        assert_eq!(ask(&lanes, consumer(9, 9)), Verdict::Close(3), "key 2 has two lanes");
        lanes[2].2 = None;
        assert_eq!(ask(&lanes, consumer(9, 9)), Verdict::Close(1));
    }

    #[test]
    fn consumers_never_take_the_places_of_members() {
        let mut lanes: Vec<_> = (1..=4).map(|n| (n, consumer(n as u8, 1), None)).collect();
        let member = peer(50, 1, Caller::Member);
        assert_eq!(ask(&lanes, member), Verdict::Enter);
        lanes.extend((0..MEMBER_LANES as u64).map(|n| (10 + n, member, None)));
        assert_eq!(ask(&lanes, member), Verdict::Refuse("a member's share"));
        lanes[7].2 = Some(1);
        assert_eq!(ask(&lanes, member), Verdict::Close(lanes[7].0));
        assert_eq!(ask(&lanes[..3], consumer(9, 9)), Verdict::Enter);
    }

    #[test]
    fn strangers_have_few_lanes_and_make_room_for_consumers() {
        let limits = LaneLimits { all: 80, per_key: 40, per_address: 40 };
        let stranger = |key: u8, address: u8| peer(key, address, Caller::Stranger);
        let ask = |lanes: &[(u64, Peer, Option<u64>)], who: Peer| verdict(&limits, lanes.iter().copied(), &who);
        let lanes = |peers: Vec<Peer>| -> Vec<_> { (1..).zip(peers).map(|(n, peer)| (n, peer, None)).collect() };
        let own = lanes(vec![stranger(1, 1); PER_STRANGER]);
        assert_eq!(ask(&own, stranger(1, 2)), Verdict::Refuse("a stranger's share"));
        assert_eq!(ask(&own, stranger(2, 1)), Verdict::Enter);
        assert_eq!(ask(&own, consumer(1, 1)), Verdict::Enter, "none of it counts as a consumer's");
        let near = lanes((0..STRANGERS_PER_ADDRESS as u8).map(|key| stranger(key, 1)).collect());
        assert_eq!(ask(&near, stranger(50, 1)), Verdict::Refuse("the share of strangers at one address"));
        assert_eq!(ask(&near, stranger(50, 2)), Verdict::Enter);
        let mut all = lanes((0..10).map(|key| stranger(key, key)).collect());
        assert_eq!(ask(&all, stranger(50, 50)), Verdict::Refuse("the strangers' share of limits.lanes"));
        all[4].2 = Some(7);
        assert_eq!(ask(&all, stranger(50, 50)), Verdict::Close(5));
        // Consumers take all of the rest, and an idle stranger's place before one of their own.
        all.extend((11..=80).map(|n| (n, consumer(n as u8, n as u8), Some(1))));
        assert_eq!(ask(&all, consumer(99, 99)), Verdict::Close(5));
        assert_eq!(ask(&all[..79], consumer(99, 99)), Verdict::Enter);
        all[4].2 = None;
        assert!(matches!(ask(&all, consumer(99, 99)), Verdict::Close(11..)));
        assert_eq!(ask(&all, stranger(50, 50)), Verdict::Refuse("the strangers' share of limits.lanes"));
        let few: Vec<_> = all.iter().filter(|(_, peer, _)| peer.caller == Caller::Consumer).copied().collect();
        let full = [&few[..], &lanes((60..70).map(|key| consumer(key, 70 + key % 9)).collect())[..]].concat();
        assert_eq!(ask(&full, stranger(50, 50)), Verdict::Refuse("the strangers' share of limits.lanes"));
    }

    #[test]
    fn a_stranger_that_has_shown_its_session_counts_as_a_consumer() {
        let lanes = Lanes::new(LaneLimits { all: 1, ..LIMITS });
        let (place, _end) = lane(&lanes, peer(1, 1, Caller::Stranger));
        let place = place.unwrap();
        assert_eq!(lane(&lanes, peer(2, 2, Caller::Stranger)).0.err(), Some("the strangers' share of limits.lanes"));
        place.is_known();
        assert_eq!(lanes.lock().lanes[&place.number].peer.caller, Caller::Consumer);
    }

    #[test]
    fn a_member_that_asks_in_another_committee_is_a_consumer_there_and_has_its_own_share_of_both() {
        let (member, asker) = (peer(5, 1, Caller::Member), consumer(5, 1));
        let lanes: Vec<_> = (0..3).map(|n| (n, member, Some(n))).collect();
        assert_eq!(ask(&lanes, asker), Verdict::Enter, "lanes of a member are none of a consumer's");
        let lanes: Vec<_> = lanes.into_iter().chain((3..6).map(|n| (n, asker, None))).collect();
        assert_eq!(
            ask(&lanes, asker),
            Verdict::Refuse("limits.lanes_per_key"),
            "and no member's lane is closed for it"
        );
        assert_eq!(ask(&lanes, member), Verdict::Enter);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(origin(ip("2001:db8:1:2:3::4")), origin(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(origin(ip("2001:db8:1:2::1")), origin(ip("2001:db8:1:3::1")));
        assert_eq!(origin(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }

    /// A lane of `peer`, and its other end.
    fn lane(lanes: &Arc<Lanes>, peer: Peer) -> (Result<Place, &'static str>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other_end = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        other_end.set_nonblocking(true).unwrap();
        (lanes.enter(peer, Arc::new(listener.accept().unwrap().0)), other_end)
    }

    fn is_closed(mut other_end: &TcpStream) -> bool {
        other_end.read(&mut [0; 1]).is_ok_and(|read| read == 0)
    }

    #[test]
    fn the_longest_idle_lane_is_closed_for_a_newcomer_and_places_come_back() {
        let lanes = Lanes::new(LaneLimits { per_key: 2, ..LIMITS });
        let (one, one_end) = lane(&lanes, consumer(7, 1));
        let (two, two_end) = lane(&lanes, consumer(7, 2));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(lane(&lanes, consumer(7, 3)).0.err(), Some("limits.lanes_per_key"));
        assert_eq!(lanes.len(), 2);
        assert!(two.rest() && one.rest() && one.begin() && one.rest(), "two is idle for longer");
        let (three, three_end) = lane(&lanes, consumer(7, 3));
        let three = three.unwrap();
        assert!(is_closed(&two_end) && !is_closed(&one_end) && !is_closed(&three_end));
        assert!(!two.begin() && !two.rest(), "it was closed, and takes no request any more");
        assert!(one.begin());
        drop(two);
        assert_eq!(lane(&lanes, consumer(7, 2)).0.err(), Some("limits.lanes_per_key"), "both carry a request");
        assert_eq!(lanes.len(), 2);
        drop(three);
        assert_eq!(lanes.len(), 1);
        assert!(lane(&lanes, consumer(7, 2)).0.is_ok());
    }

    #[test]
    fn when_the_node_stops_idle_lanes_end_and_the_others_when_they_fall_idle() {
        let lanes = Lanes::new(LIMITS);
        let [(idle, idle_end), (busy, busy_end)] = [1, 2].map(|key| lane(&lanes, consumer(key, 1)));
        let (idle, busy) = (idle.unwrap(), busy.unwrap());
        assert!(idle.rest());
        lanes.close_idle();
        assert!(is_closed(&idle_end) && !is_closed(&busy_end));
        assert!(!busy.rest());
    }
}
