//! Somebody on a channel whose handshake is done: what it says first, and how long a node bears with it.

use std::time::{Duration, Instant};

use sahara_mpc::channel::{Channel, ChannelError};
use sahara_mpc::wire::{Hello, Kind, Message, header};

use super::common::Network;

/// How long anything may take.
pub const TIME: Duration = Duration::from_secs(10);

/// The greeting.
pub fn hello(network: &Network) -> Vec<u8> {
    let hello = Hello { committee: network.committee.digest() }.encode();
    [&header(Kind::Hello, hello.len())[..], &hello].concat()
}

/// Reads until the other side ends the connection; gives what it said before.
pub fn until_closed(channel: &mut Channel) -> Vec<u8> {
    let (mut said, mut byte) = (Vec::new(), [0; 1]);
    loop {
        match channel.receive_exact(&mut byte, TIME) {
            Ok(()) => said.push(byte[0]),
            Err(ChannelError::Closed | ChannelError::Io(_)) => return said,
            Err(error) => panic!("the node leaves the connection open: {error}"),
        }
    }
}

/// Greets, and sends a request a byte now and then; how long the node took it.
pub fn drip(mut channel: Channel, network: &Network) -> Duration {
    channel.send_all([&hello(network), &header(Kind::Begin, 200)], TIME).unwrap();
    channel.receive_exact(&mut vec![0; hello(network).len()], TIME).unwrap();
    let began = Instant::now();
    while channel.is_idle() {
        assert!(began.elapsed() < Duration::from_secs(8), "each byte gives it more time");
        channel.send_all([&[1], &[]], TIME).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}
