//! A connection of which the test reads as much as it likes: bytes as they are on the wire, after the greeting.
#![allow(dead_code)] // each test program uses a part of it

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use sahara_mpc::channel::Channel;
use sahara_mpc::identity::Identity;
use sahara_mpc::tls;
use sahara_mpc::wire::{Hello, Message, header};

use super::common::Network;

const TIME: Duration = Duration::from_secs(20);
/// What the system takes for a reader that does not read.
const ROOM: usize = 8 << 10;

/// The smallest segments that a system speaks of: with large ones the other side's buffer takes megabytes, which nobody reads.
const SEGMENT: i32 = 536;

unsafe extern "C" {
    fn setsockopt(socket: i32, level: i32, name: i32, value: *const i32, len: u32) -> i32;
}

/// Has the other side send in small segments.
fn small_segments(tcp: &OwnedFd) {
    const TCP: i32 = 6;
    const MAXIMUM_SEGMENT: i32 = 2;
    // SAFETY: the value lives during the call, and has the length that is said.
    let done = unsafe { setsockopt(tcp.as_raw_fd(), TCP, MAXIMUM_SEGMENT, &SEGMENT, size_of::<i32>() as u32) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// A message as a frame.
pub fn frame<M: Message>(message: &M) -> Vec<u8> {
    let payload = message.encode();
    [&header(M::KIND, payload.len())[..], &payload].concat()
}

/// Connects to a node with this key, says hello and then `say`; what the node answers waits on the socket, encrypted.
pub fn dial(network: &Network, who: &Identity, node: u8, say: &[u8]) -> TcpStream {
    let member = &network.committee.members()[usize::from(node)];
    let tcp = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    small_segments(&tcp);
    sockopt::set_socket_recv_buffer_size(&tcp, ROOM).unwrap();
    connect(&tcp, &member.address.parse::<SocketAddr>().unwrap()).unwrap();
    let tcp = TcpStream::from(tcp);
    let raw = tcp.try_clone().unwrap();
    let mut channel = Channel::connect(tcp, tls::client_config(who, member.key).unwrap(), TIME).unwrap();
    let hello = frame(&Hello { committee: network.committee.digest() });
    channel.send_all([&hello, say], TIME).unwrap();
    raw.set_nonblocking(false).unwrap();
    raw.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    raw
}
