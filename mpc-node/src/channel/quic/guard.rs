//! What a node asks of whoever connects over QUIC, beyond what the library does.
//!
//! A closed connection is kept until what is still under way has passed: three times what a packet may be answered late
//! (RFC 9000, section 10.2), and the other side may say that it answers up to 16 s late (`max_ack_delay`). Nobody who computes needs
//! that; somebody who fills memory with closed connections does.

use std::any::Any;
use std::sync::Arc;

use quinn::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};

/// Milliseconds that the other side may wait before it says that something arrived. QUIC's own default is 25.
const MOST_DELAY: u64 = 100;
/// Number of `max_ack_delay` among the parameters.
const MAX_ACK_DELAY: u64 = 0x0b;

/// A server's side that refuses whoever says that it answers late.
pub(super) struct Guarded(pub(super) Arc<dyn ServerConfig>);

impl ServerConfig for Guarded {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(GuardedSession(self.0.clone().start_session(version, params)))
    }
}

struct GuardedSession(Box<dyn Session>);

impl Session for GuardedSession {
    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let found = self.0.transport_parameters()?;
        found.as_ref().map_or(Ok(()), check)?;
        Ok(found)
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.0.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.0.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.0.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.0.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
}

/// The library shows no parameter but writes all of them.
fn check(parameters: &TransportParameters) -> Result<(), TransportError> {
    let mut bytes = Vec::new();
    parameters.write(&mut bytes);
    match max_ack_delay(&bytes) {
        Some(delay) if delay > MOST_DELAY => {
            let mut refused = TransportError::from(TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
            refused.reason = format!("max_ack_delay is {delay} ms, more than {MOST_DELAY}");
            Err(refused)
        }
        _ => Ok(()),
    }
}

/// The value among the parameters, if it is there (RFC 9000, section 18: number, length, value).
fn max_ack_delay(mut rest: &[u8]) -> Option<u64> {
    while !rest.is_empty() {
        let (number, length) = (integer(&mut rest)?, integer(&mut rest)?);
        let (mut value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        if number == MAX_ACK_DELAY {
            return integer(&mut value);
        }
        rest = after;
    }
    None
}

/// An integer of one to eight bytes; the first two bits say of how many (RFC 9000, section 16).
fn integer(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_at_checked(1 << (rest.first()? >> 6))?;
    *rest = after;
    let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> (66 - 8 * bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_that_it_answers_late_is_refused() {
        let of = |bytes: &[u8]| TransportParameters::read(Side::Server, &mut &bytes[..]).unwrap();
        check(&of(&[])).unwrap();
        for (delay, fine) in [(64u16, true), (100, true), (101, false), (16_383, false)] {
            // Beside another parameter: max_idle_timeout.
            let [high, low] = (delay | 1 << 14).to_be_bytes();
            let parameters = of(&[0x01, 2, 0x40, 99, 0x0b, 2, high, low]);
            assert_eq!(check(&parameters).is_ok(), fine, "{delay}");
        }
    }

    #[test]
    fn integers_have_the_values_of_the_standard() {
        for (bytes, value) in [
            (&[0x25][..], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            assert_eq!(integer(&mut { bytes }), Some(value));
            assert_eq!(integer(&mut &bytes[1..bytes.len().min(1)]), None);
        }
        assert_eq!(max_ack_delay(&[0x0b, 9, 1]), None, "cut off");
    }
}
