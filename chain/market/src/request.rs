//! What a contract asks of a committee, byte for byte: the request's name, what its input is sealed for, the sealed input, and the
//! answer that everybody may read. How the parts are sealed is the program's (`cli/src/market/requests/seal.rs`).

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;

use crate::Domain;
pub use crate::abi::{Ask, Request};

/// Bytes of a sealed input, at most: it is the data of one transaction.
pub const MAX_SEALED: usize = 120 << 10;
/// Bytes of an answer that everybody may read, at most.
pub const MAX_ANSWER: usize = 64 << 10;
/// Seconds that an answer is waited for, from the request's block on.
pub const ANSWER_TIME: u64 = 3600;

const MAGIC: &[u8; 8] = b"SHASKED\0";
const VERSION: u16 = 1;
/// What is in the clear: magic, version, two keys, two commitments.
const HEAD: usize = 8 + 2 + 2 * 32 + 2 * 32;

/// Why bytes are no sealed input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// More than a transaction carries.
    #[error("a sealed input of {bytes} bytes, at most {MAX_SEALED} are taken")]
    Length {
        /// How many.
        bytes: usize,
    },
    /// Something else.
    #[error("the bytes are no sealed input")]
    Form,
    /// Of another version.
    #[error("a sealed input of version {0} is not known (this program knows {VERSION})")]
    Version(u16),
}

/// What both members open, or anybody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The ed25519 key in whose name the committee is asked; its secret is in both parts.
    pub asker: [u8; 32],
    /// The ed25519 key that may fetch the answer if it is not public.
    pub reader: [u8; 32],
    /// Commitments to the input shares of the first and the second evaluator.
    pub inputs: [[u8; 32]; 2],
    /// For the first and the second evaluator.
    pub parts: [Part; 2],
}

/// What one member opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which of its keys opens it.
    pub epoch: u32,
    /// The encapsulated key, then what is sealed.
    pub bytes: Vec<u8>,
}

impl Sealed {
    /// What is authenticated beside the binding: all that is in the clear, so that no part is put under another head.
    pub fn head(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.asker);
        bytes.extend_from_slice(&self.reader);
        bytes.extend_from_slice(self.inputs.as_flattened());
        bytes
    }

    /// Bytes that [`Sealed::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.head();
        for part in &self.parts {
            bytes.extend_from_slice(&part.epoch.to_le_bytes());
            bytes.extend_from_slice(&(part.bytes.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&part.bytes);
        }
        bytes
    }

    /// Reads a sealed input of anybody's; nothing is opened.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealedError> {
        if bytes.len() > MAX_SEALED {
            return Err(SealedError::Length { bytes: bytes.len() });
        }
        let mut rest = bytes;
        if take::<8>(&mut rest)? != *MAGIC {
            return Err(SealedError::Form);
        }
        let version = u16::from_le_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(SealedError::Version(version));
        }
        let (asker, reader) = (take(&mut rest)?, take(&mut rest)?);
        let inputs = [take(&mut rest)?, take(&mut rest)?];
        let mut part = || {
            let epoch = u32::from_le_bytes(take(&mut rest)?);
            let len = u32::from_le_bytes(take(&mut rest)?) as usize;
            let (bytes, after) = rest.split_at_checked(len).ok_or(SealedError::Form)?;
            rest = after;
            Ok(Part { epoch, bytes: bytes.to_vec() })
        };
        let parts = [part()?, part()?];
        if rest.is_empty() { Ok(Self { asker, reader, inputs, parts }) } else { Err(SealedError::Form) }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SealedError> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(SealedError::Form)?;
    *rest = after;
    Ok(*bytes)
}

/// For what an input is sealed: whoever copies it into a request of its own has another one of these, and nobody opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The asset.
    pub asset: B256,
    /// The committee.
    pub lane: B256,
    /// Who calls the market: the account or the contract.
    pub asker: Address,
    /// Who is told.
    pub callback: Address,
    /// Whether everybody may read the answer.
    pub is_public: bool,
}

impl Binding {
    /// Of a request.
    pub fn of(request: &Request) -> Self {
        Self {
            asset: request.asset,
            lane: request.ask.lane,
            asker: request.asker,
            callback: request.callback,
            is_public: request.isPublic,
        }
    }

    /// What the seal authenticates: `abi.encode(chainid, market, asset, lane, asker, callback, isPublic)`.
    pub fn bytes(&self, domain: &Domain) -> Vec<u8> {
        let chain = U256::from(domain.chain_id);
        (chain, domain.market, self.asset, self.lane, self.asker, self.callback, self.is_public).abi_encode()
    }
}

impl Request {
    /// Bytes of one.
    pub const BYTES: usize = 32 * 12;

    /// Its name at the market.
    pub fn id(&self, domain: &Domain) -> B256 {
        keccak256((U256::from(domain.chain_id), domain.market, self.clone()).abi_encode())
    }

    /// What it pays, in the smallest unit.
    pub fn price(&self) -> Option<u128> {
        self.ask.royalty.checked_add(self.ask.compute)
    }

    /// Bytes that [`Request::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        self.abi_encode()
    }

    /// Reads a request that somebody shows: its only form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let request = (bytes.len() == Self::BYTES).then(|| Self::abi_decode_validate(bytes).ok())??;
        (request.encode() == bytes).then_some(request)
    }
}

/// An answer that everybody may read, as a contract gets it: all words of all output tensors, in their order, each as four bytes, a
/// signed number with its highest byte first (`int32(uint32(bytes4(answer[4 * i:4 * i + 4])))`). What they mean is the graph's.
pub fn public_answer(outputs: &[Vec<i32>]) -> Option<Vec<u8>> {
    let words: usize = outputs.iter().map(Vec::len).sum();
    if words.checked_mul(4)? > MAX_ANSWER {
        return None;
    }
    Some(outputs.iter().flatten().flat_map(|word| word.to_be_bytes()).collect())
}

/// The words of such an answer.
pub fn read_answer(bytes: &[u8]) -> Option<Vec<i32>> {
    let (words, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| words.iter().map(|word| i32::from_be_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Sealed {
        let part = |n: u8| Part { epoch: u32::from(n), bytes: vec![n; 1200] };
        Sealed { asker: [1; 32], reader: [2; 32], inputs: [[3; 32], [4; 32]], parts: [part(5), part(6)] }
    }

    fn request() -> Request {
        Request {
            asset: B256::repeat_byte(1),
            ask: Ask {
                lane: B256::repeat_byte(2),
                graph: B256::repeat_byte(3),
                parameters: B256::repeat_byte(4),
                royalty: 5,
                compute: 6,
            },
            input: B256::repeat_byte(7),
            asker: Address::repeat_byte(8),
            callback: Address::ZERO,
            isPublic: true,
            until: 9,
            number: U256::from(10),
        }
    }

    #[test]
    fn a_sealed_input_is_read_as_it_was_written_and_nothing_else_is() {
        let bytes = sealed().encode();
        assert_eq!(Sealed::decode(&bytes), Ok(sealed()));
        assert_eq!(bytes[..HEAD], sealed().head()[..]);
        for end in 0..bytes.len() {
            assert!(Sealed::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert_eq!(Sealed::decode(&[&bytes[..], &[0]].concat()), Err(SealedError::Form));
        let mut other = bytes.clone();
        other[8] = 2;
        assert_eq!(Sealed::decode(&other), Err(SealedError::Version(2)));
        let long = vec![0; MAX_SEALED + 1];
        assert_eq!(Sealed::decode(&long), Err(SealedError::Length { bytes: MAX_SEALED + 1 }));
        let mut huge = bytes;
        huge[HEAD + 4..HEAD + 8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Sealed::decode(&huge), Err(SealedError::Form));
    }

    #[test]
    fn a_request_is_named_by_all_that_it_is() {
        let domain = Domain { chain_id: 1337, market: crate::INFERENCE_MARKET };
        let bytes = request().encode();
        assert_eq!(bytes.len(), Request::BYTES);
        assert_eq!(Request::decode(&bytes), Some(request()));
        for word in 0..12 {
            let mut other = bytes.clone();
            other[32 * word + 31] ^= 1;
            let read = Request::decode(&other).unwrap();
            assert_ne!(read.id(&domain), request().id(&domain), "word {word}");
        }
        assert_eq!(Request::decode(&bytes[32..]), None);
        let mut wide = bytes;
        wide[32 * 9] = 1; // a flag of more than a bit
        assert_eq!(Request::decode(&wide), None);
        assert_ne!(request().id(&domain), request().id(&Domain { chain_id: 1, ..domain }));
        assert_eq!(request().price(), Some(11));
    }

    #[test]
    fn a_seal_is_bound_to_every_field_that_a_copy_would_change() {
        let domain = Domain { chain_id: 1337, market: crate::INFERENCE_MARKET };
        let bound = Binding::of(&request());
        let others = [
            Binding { asset: B256::ZERO, ..bound },
            Binding { lane: B256::ZERO, ..bound },
            Binding { asker: Address::ZERO, ..bound },
            Binding { callback: Address::repeat_byte(1), ..bound },
            Binding { is_public: false, ..bound },
        ];
        assert_eq!(bound.bytes(&domain).len(), 7 * 32);
        assert!(others.iter().all(|other| other.bytes(&domain) != bound.bytes(&domain)));
        assert_ne!(bound.bytes(&domain), bound.bytes(&Domain { chain_id: 1, ..domain }));
        assert_ne!(bound.bytes(&domain), bound.bytes(&Domain { market: Address::ZERO, ..domain }));
    }

    #[test]
    fn a_public_answer_is_its_words_with_the_highest_byte_first() {
        assert_eq!(
            public_answer(&[vec![1, -1], vec![i32::MIN]]).unwrap(),
            [0, 0, 0, 1, 255, 255, 255, 255, 128, 0, 0, 0]
        );
        assert_eq!(read_answer(&[0, 0, 0, 1, 255, 255, 255, 255]), Some(vec![1, -1]));
        assert_eq!(read_answer(&[0; 5]), None);
        assert_eq!(public_answer(&[vec![0; MAX_ANSWER / 4 + 1]]), None);
    }
}
