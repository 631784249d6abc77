//! Sessions and committees, named by hashes of what they are.

use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::SolValue;

pub use crate::abi::{Committee, Session};
use crate::{Domain, committee_root};

/// Most committees that one session can use: one, and those that stand by.
pub const MAX_LANES: usize = 8;

/// Bytes of a session with so many lanes, at most.
const MAX_BYTES: usize = 32 * (1 + 12 + 2 + 2 * MAX_LANES);

/// Why bytes are no session or no committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreimageError {
    /// More bytes than there can be.
    #[error("a {what} of {bytes} bytes is longer than one can be")]
    Length {
        /// `session` or `committee`.
        what: &'static str,
        /// How many were given.
        bytes: usize,
    },
    /// Not Solidity's encoding of one, or not its only form.
    #[error("the bytes are not the encoding of a {what}")]
    Form {
        /// `session` or `committee`.
        what: &'static str,
    },
    /// A session has a cap for each lane, one lane at least, and [`MAX_LANES`] at most.
    #[error("a session has 1 to {MAX_LANES} lanes with a cap for each, this one has {lanes} lanes and {caps} caps")]
    Lanes {
        /// Lanes.
        lanes: usize,
        /// Caps.
        caps: usize,
    },
}

impl Session {
    /// Its name: the market on this chain computes the same.
    pub fn id(&self, domain: &Domain) -> B256 {
        keccak256((U256::from(domain.chain_id), domain.market, self.clone()).abi_encode_params())
    }

    /// What a call costs, in the smallest unit.
    pub fn price(&self) -> Option<u128> {
        self.royalty.checked_add(self.compute)
    }

    /// The most that this lane may be owed; nothing if it is none of the session's.
    pub fn cap(&self, lane: B256) -> Option<u128> {
        let place = self.lanes.iter().position(|known| *known == lane)?;
        self.caps.get(place).copied()
    }

    /// Bytes that [`Session::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        self.abi_encode()
    }

    /// Reads a session that somebody shows: its only form, within its limits.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, PreimageError> {
        let what = "session";
        if bytes.len() > MAX_BYTES {
            return Err(PreimageError::Length { what, bytes: bytes.len() });
        }
        let session = Self::abi_decode_validate(bytes).map_err(|_| PreimageError::Form { what })?;
        let [lanes, caps] = [session.lanes.len(), session.caps.len()];
        if lanes != caps || !(1..=MAX_LANES).contains(&lanes) {
            return Err(PreimageError::Lanes { lanes, caps });
        }
        if session.encode() != bytes {
            return Err(PreimageError::Form { what });
        }
        Ok(session)
    }
}

impl Committee {
    /// Bytes of one.
    pub const BYTES: usize = 32 * 12;

    /// Its name at the market.
    pub fn id(&self) -> B256 {
        keccak256(self.encode())
    }

    /// What receipts call it: [`committee_root`] of its keys.
    pub fn root(&self) -> B256 {
        committee_root(&self.keys.map(|key| key.0))
    }

    /// Bytes that [`Committee::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        self.abi_encode()
    }

    /// Reads a committee that somebody shows: its only form.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, PreimageError> {
        let what = "committee";
        if bytes.len() != Self::BYTES {
            return Err(PreimageError::Length { what, bytes: bytes.len() });
        }
        Self::abi_decode_validate(bytes).map_err(|_| PreimageError::Form { what })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;

    fn session() -> Session {
        Session {
            licence: U256::from(3),
            asset: B256::repeat_byte(1),
            consumer: Address::repeat_byte(2),
            signer: Address::repeat_byte(3),
            asker: B256::repeat_byte(4),
            royalty: 5,
            compute: 7,
            ends: 1_800_000_000,
            inFlight: 1,
            lanes: vec![B256::repeat_byte(6), B256::repeat_byte(8)],
            caps: vec![1200, 600],
            nonce: U256::from(9),
        }
    }

    #[test]
    fn a_session_is_read_as_it_was_written_and_nothing_else_is() {
        let domain = Domain { chain_id: 1337, market: crate::INFERENCE_MARKET };
        let bytes = session().encode();
        let read = Session::decode(&bytes).unwrap();
        assert_eq!(read.id(&domain), session().id(&domain));
        assert_ne!(read.id(&Domain { chain_id: 1, ..domain }), session().id(&domain));
        assert_eq!((read.price(), read.cap(read.lanes[1]), read.cap(B256::ZERO)), (Some(12), Some(600), None));
        assert!(Session::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Session::decode(&[&bytes[..], &[0; 32]].concat()).is_err());
        let many = Session { lanes: vec![B256::ZERO; 9], caps: vec![1; 9], ..session() };
        assert!(Session::decode(&many.encode()).is_err());
        let uneven = Session { caps: vec![1], ..session() };
        assert_eq!(Session::decode(&uneven.encode()), Err(PreimageError::Lanes { lanes: 2, caps: 1 }));
        let none = Session { lanes: vec![], caps: vec![], ..session() };
        assert_eq!(Session::decode(&none.encode()), Err(PreimageError::Lanes { lanes: 0, caps: 0 }));
        let full = Session { lanes: vec![B256::ZERO; 8], caps: vec![1; 8], ..session() };
        assert!(Session::decode(&full.encode()).is_ok());
    }

    #[test]
    fn a_committee_is_read_as_it_was_written() {
        let committee = Committee {
            asset: B256::repeat_byte(1),
            manifest: B256::repeat_byte(2),
            digest: B256::repeat_byte(3),
            keys: [4, 5, 6].map(B256::repeat_byte),
            operators: [7, 8, 9].map(Address::repeat_byte),
            epoch: 1,
            from: 2,
            until: 3,
        };
        let bytes = committee.encode();
        assert_eq!(bytes.len(), Committee::BYTES);
        assert_eq!(Committee::decode(&bytes).unwrap().id(), committee.id());
        assert!(Committee::decode(&bytes[32..]).is_err());
        let mut wide = bytes;
        wide[32 * 9] = 1;
        assert!(Committee::decode(&wide).is_err());
    }
}
