//! The inference receipt: what the members of a committee sign when they have answered, and what the market pays for.
//!
//! The digest is EIP-712's, so that wallets can show a receipt and any Ethereum library computes the same bytes. It is
//! bound to one chain and to the contract that settles it. The members sign its 32 bytes with their ed25519 keys; nothing
//! else that those keys sign has that length. `contracts/src/protocol/InferenceReceipts.sol` computes the same in Solidity.

use alloy_primitives::{B256, U256, b256, keccak256};
use alloy_sol_types::SolValue;

use crate::{
    Domain,
    abi::InferenceReceipt,
    domain::{Purpose, hash_struct},
};

/// `Sahara Inference Receipt`, `2`.
const PURPOSE: Purpose = Purpose {
    name: b256!("14e6da336303abafe489b83511059a301a11e7c9c758199c3e3a0191b217e0c9"),
    version: b256!("ad7c5bef027816a800da1736444fb58a807ef4c9603b7848673f7e3a68eb14a5"),
};
/// Hash of the EIP-712 type.
const TYPE_HASH: B256 = b256!("7d57db39d6481df302983894e19d4a591d5785f9dc49a42516ec1861d3c897b3");

/// What a committee says it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The job, by the name that its consumer gave it: 16 bytes, then zeros.
    pub job: B256,
    /// The session that pays for it.
    pub session: B256,
    /// The committee that answered, as the market names it: [`crate::Committee::id`].
    pub lane: B256,
    /// The asset that was used.
    pub asset: B256,
    /// The licence under which.
    pub licence: U256,
    /// The version of the sharing: hash of the manifest that the owner signed.
    pub sharing: B256,
    /// Identity of the integer graph that was evaluated.
    pub graph: B256,
    /// Hash of what else decides the answer: roles and rounding.
    pub parameters: B256,
    /// Hash of both salted commitments to the halves of the input.
    pub request: B256,
    /// Hash of both salted commitments to the halves of the answer.
    pub output: B256,
    /// Digest of the transcript on which both evaluators agree: what an audit would replay.
    pub transcript: B256,
    /// Digest of the receipt before this one in this session and lane, or zero.
    pub previous: B256,
    /// Hash of the committee's keys: see [`committee_root`].
    pub committee: B256,
    /// Which of the committee's terms it was.
    pub epoch: u64,
    /// Which member was helper: 0, 1 or 2.
    pub helper: u8,
    /// 1 for the first job of this session and lane, then one more for each.
    pub number: u64,
    /// What the session owes the lane with this job, in the smallest unit.
    pub total: u128,
    /// What the job costs, in the smallest unit.
    pub price: u128,
    /// When it was asked, in seconds since 1970, from the job's name.
    pub time: u64,
    /// The newest height of the chain that the committee believed.
    pub height: u64,
}

/// One hash over the ed25519 keys of a committee, in their order.
pub fn committee_root(keys: &[[u8; 32]]) -> B256 {
    keccak256(keys.as_flattened())
}

impl Receipt {
    /// Bytes of the canonical form, which is Solidity's encoding.
    pub const BYTES: usize = 32 * 20;

    /// What each member signs.
    pub fn digest(&self, domain: &Domain) -> B256 {
        domain.digest(&PURPOSE, hash_struct(TYPE_HASH, &self.encode()))
    }

    /// As Solidity encodes it.
    pub fn encode(&self) -> Vec<u8> {
        InferenceReceipt::from(*self).abi_encode()
    }

    /// Reads [`Receipt::encode`]'s form; nothing for other bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let receipt = (bytes.len() == Self::BYTES).then(|| InferenceReceipt::abi_decode_validate(bytes).ok())??;
        Some(receipt.into())
    }
}

macro_rules! convert {
    ($($field:ident),*) => {
        impl From<Receipt> for InferenceReceipt {
            fn from(receipt: Receipt) -> Self {
                let Receipt { $($field),* } = receipt;
                Self { $($field),* }
            }
        }

        impl From<InferenceReceipt> for Receipt {
            fn from(receipt: InferenceReceipt) -> Self {
                let InferenceReceipt { $($field),* } = receipt;
                Self { $($field),* }
            }
        }
    };
}

convert!(
    job, session, lane, asset, licence, sharing, graph, parameters, request, output, transcript, previous, committee,
    epoch, helper, number, total, price, time, height
);

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;

    fn example() -> Receipt {
        let word = B256::repeat_byte;
        Receipt {
            job: word(1),
            session: word(2),
            lane: word(3),
            asset: word(4),
            licence: B256::repeat_byte(5).into(),
            sharing: word(6),
            graph: word(7),
            parameters: word(8),
            request: word(9),
            output: word(10),
            transcript: word(11),
            previous: word(12),
            committee: word(13),
            epoch: 14,
            helper: 2,
            number: 16,
            total: 3_000_000_000_000_000_000,
            price: 1_000_000_000_000_000_000,
            time: 1_700_000_000,
            height: 20,
        }
    }

    #[test]
    fn the_hashes_are_those_of_their_words() {
        use alloy_sol_types::SolStruct;
        let hashes = [PURPOSE.name, PURPOSE.version, TYPE_HASH];
        let words = ["Sahara Inference Receipt", "2", &InferenceReceipt::eip712_root_type()];
        assert_eq!(hashes, words.map(keccak256));
    }

    #[test]
    fn other_bytes_are_no_receipt() {
        let receipt = example();
        let bytes = receipt.encode();
        assert_eq!(bytes.len(), Receipt::BYTES);
        assert_eq!(Receipt::decode(&bytes), Some(receipt));
        assert_eq!(Receipt::decode(&bytes[1..]), None);
        assert_eq!(Receipt::decode(&[&bytes[..], &[0]].concat()), None);
        let mut wide = bytes;
        wide[32 * 14] = 1; // an epoch of more than 64 bits
        assert_eq!(Receipt::decode(&wide[..]), None);
    }

    #[test]
    fn the_digest_depends_on_every_field_the_chain_and_the_market() {
        let here = Domain { chain_id: 1337, market: Address::repeat_byte(0x11) };
        let digest = example().digest(&here);
        let bytes = example().encode();
        for word in 0..Receipt::BYTES / 32 {
            let mut other = bytes.clone();
            other[32 * word + 31] ^= 1;
            let other = Receipt::decode(&other).unwrap();
            assert_ne!(other.digest(&here), digest, "word {word}");
        }
        assert_ne!(example().digest(&Domain { chain_id: 1, ..here }), digest);
        assert_ne!(example().digest(&Domain { market: Address::ZERO, ..here }), digest);
    }

    /// `hashTypedData` of viem and `TypedDataEncoder.hash` of ethers say the same: `chain/tests/tools/receipt.mjs`.
    #[test]
    fn the_digest_is_that_of_other_libraries() {
        let market = Domain { chain_id: 1337, market: Address::repeat_byte(0x11) };
        let far = Domain { chain_id: u64::MAX, market: Address::repeat_byte(0xff) };
        let largest = Receipt {
            licence: U256::MAX,
            epoch: u64::MAX,
            helper: u8::MAX,
            number: u64::MAX,
            total: u128::MAX,
            price: u128::MAX,
            time: u64::MAX,
            height: u64::MAX,
            ..example()
        };
        for (receipt, domain, digest) in [
            (Receipt::default(), market, b256!("1173bc6f5b3d0ecba7eea5951158218ad8423745bc5efb32bb54d3b5cde28466")),
            (example(), market, b256!("be863d424fb08ca371a610f15351b455f0faa8861cca31d765fc76123962f5c1")),
            (largest, far, b256!("3f98c2a3ae5f74ffc317335b839beb29699390831dd3bdc97828e32b48903e1f")),
        ] {
            assert_eq!(receipt.digest(&domain), digest, "{receipt:?}");
        }
    }

    #[test]
    fn a_committee_is_its_keys_in_their_order() {
        let root = alloy_primitives::b256!("0918b65016ec47e1613e6629a797fb3685353e3b8101d0e5250ab52e53f27b88");
        assert_eq!(committee_root(&[[1; 32], [2; 32], [3; 32]]), root);
    }
}
