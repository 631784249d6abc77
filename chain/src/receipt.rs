//! The inference receipt: what a committee signs when it has answered, and what a market pays for.
//!
//! The digest is EIP-712's, so that wallets can show a receipt and any Ethereum library computes the same bytes. It is
//! bound to one chain and to the contract that settles it: a receipt cannot be shown twice in two places. The members of
//! a committee sign its 32 bytes with their ed25519 keys; nothing else that those keys sign has that length.
//! `contracts/src/InferenceReceipts.sol` computes the same in Solidity.

use alloy_primitives::{Address, B256, U256, b256, keccak256};

/// Name and version in the EIP-712 domain.
pub const DOMAIN_NAME: &str = "Sahara Inference Receipt";
/// See [`DOMAIN_NAME`].
pub const DOMAIN_VERSION: &str = "1";

/// Words of a receipt in Solidity's encoding.
pub const WORDS: usize = 10;

/// The EIP-712 type.
pub const TYPE: &str = "InferenceReceipt(bytes32 job,bytes32 graph,bytes32 weights,bytes32 input,bytes32 output,\
                        bytes32 transcript,bytes32 committee,uint64 epoch,uint256 price,uint64 time)";

/// Hashes of the type, the domain's type, its name and its version: a receipt is hashed with them each time.
const TYPE_HASH: B256 = b256!("a7d5834788b8baa35febdc5e802099f519aeb8d2d0d9d1d106c04e35de4a00b4");
const DOMAIN_HASHES: [B256; 3] = [
    b256!("8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f"),
    b256!("14e6da336303abafe489b83511059a301a11e7c9c758199c3e3a0191b217e0c9"),
    b256!("c89efdaa54c0f20c7adf612882df0950f5a951637e0307cdcb4c672f298b8bc6"),
];

/// What a committee says it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The job, by the name that the market gave it.
    pub job: B256,
    /// Identity of the integer graph that was evaluated.
    pub graph: B256,
    /// Commitment to the weights.
    pub weights: B256,
    /// Salted commitment to the input.
    pub input: B256,
    /// Salted commitment to the answer.
    pub output: B256,
    /// Digest of the transcript that the evaluators agree on: it binds them to what a dispute would replay, and to the
    /// assignment and rounding of the job.
    pub transcript: B256,
    /// The committee: see [`committee_root`].
    pub committee: B256,
    /// Which of the committee's terms it was.
    pub epoch: u64,
    /// What the job costs, in the smallest unit.
    pub price: U256,
    /// When the answer was given, in seconds since 1970.
    pub time: u64,
}

/// Where a receipt is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The chain.
    pub chain_id: u64,
    /// The contract that settles it.
    pub market: Address,
}

/// One hash over the ed25519 keys of a committee, in their order.
pub fn committee_root(keys: &[[u8; 32]]) -> B256 {
    keccak256(keys.as_flattened())
}

impl Receipt {
    /// What each member signs.
    pub fn digest(&self, domain: &Domain) -> B256 {
        let mut signed = [0; 66];
        signed[..2].copy_from_slice(&[0x19, 0x01]);
        signed[2..34].copy_from_slice(domain.separator().as_slice());
        signed[34..].copy_from_slice(self.hash().as_slice());
        keccak256(signed)
    }

    /// The receipt as Solidity encodes it.
    pub fn words(&self) -> [B256; WORDS] {
        let Self { job, graph, weights, input, output, transcript, committee, epoch, price, time } = *self;
        let number = |n| B256::from(U256::from(n));
        [job, graph, weights, input, output, transcript, committee, number(epoch), price.into(), number(time)]
    }

    fn hash(&self) -> B256 {
        let mut bytes = [0; 32 * (WORDS + 1)];
        let all = std::iter::once(TYPE_HASH).chain(self.words());
        for (place, word) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(all) {
            *place = word.0;
        }
        keccak256(bytes)
    }
}

impl Domain {
    fn separator(&self) -> B256 {
        let [kind, name, version] = DOMAIN_HASHES;
        let words = [kind, name, version, U256::from(self.chain_id).into(), self.market.into_word()];
        keccak256(words.map(|word| word.0).as_flattened())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_their_words() {
        let domain = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
        assert_eq!(TYPE_HASH, keccak256(TYPE));
        assert_eq!(DOMAIN_HASHES, [domain, DOMAIN_NAME, DOMAIN_VERSION].map(keccak256));
    }

    /// `hashTypedData` of viem and `TypedDataEncoder.hash` of ethers say the same: `tests/tools/receipt.mjs`.
    #[test]
    fn the_digest_is_that_of_other_libraries() {
        let market = Domain { chain_id: 1337, market: Address::repeat_byte(0x11) };
        let word = B256::repeat_byte;
        let receipt = Receipt {
            job: word(1),
            graph: word(2),
            weights: word(3),
            input: word(4),
            output: word(5),
            transcript: word(6),
            committee: word(7),
            epoch: 8,
            price: U256::from(1_000_000_000_000_000_000u64),
            time: 1_700_000_000,
        };
        let largest = Receipt { epoch: u64::MAX, price: U256::MAX, time: u64::MAX, ..receipt };
        let far = Domain { chain_id: u64::MAX, market: Address::repeat_byte(0xff) };
        for (receipt, domain, digest) in [
            (Receipt::default(), market, b256!("5589c3abb2a750af3b521e7393dc6f138acf294f2f374994998e1ce372b4d244")),
            (receipt, market, b256!("35ea22d60122497415e6e7c1e438016482a1fc6d31cef680f7fcc179ad935d58")),
            (largest, far, b256!("f9c8735270703e610cc17d79a586e85c35b1109ee1279334af6379ef4cde9856")),
        ] {
            assert_eq!(receipt.digest(&domain), digest, "{receipt:?}");
        }
        let root = b256!("0918b65016ec47e1613e6629a797fb3685353e3b8101d0e5250ab52e53f27b88");
        assert_eq!(committee_root(&[[1; 32], [2; 32], [3; 32]]), root);
    }
}
