//! Native contract: did enough of a committee sign this receipt, or this digest?
//!
//! `verifyReceipt(InferenceReceipt, bytes32[] keys, uint256 signers, bytes signatures, uint256 threshold)` is what a
//! market calls: it computes the receipt's digest for this chain and the calling contract, and refuses keys that are not
//! the receipt's committee. `verify(bytes32 digest, ...)` takes any digest. Both return whether it holds.
//!
//! `keys` are ed25519 keys. Bit `i` of `signers` says that `keys[i]` signed; `signatures` holds 64 bytes for each set
//! bit, lowest first. The answer is `true` if at least `threshold` signed and every signature holds. A key that occurs
//! twice reverts, or one member could count for two.

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::SolCall;
use ed25519_dalek::{Signature, VerifyingKey};
use sahara_market::{Domain, Receipt, abi::ICommittee, committee_root};

use super::{
    abi::{self, AbiError, Arguments},
    native::{Frame, Native, Reason},
};

/// Where it lives.
pub const ADDRESS: Address = address!("0x0000000000000000000000000000000000000A00");

/// Committees are small; this bounds the work of one call.
pub const MAX_KEYS: usize = 64;

/// Price of a call. The prices are the time of each part beside `ecrecover`, which costs 3,000 gas, doubled for slower
/// machines and rounded up. `examples/price.rs` measures it; on one core of an EPYC (Zen 3), where `ecrecover` takes
/// 37.0 us:
///
/// | part | time | gas | doubled |
/// |---|---|---|---|
/// | call | 0.07 us | 6 | 12 |
/// | key | 0.08 us | 7 | 13 |
/// | signature | 39.8 us | 3,230 | 6,460 |
/// | receipt | 3.3 us | 270 | 540 |
pub const BASE_GAS: u64 = 100;
/// Price of each key, signed or not: it is compared with the others, and hashed for a receipt.
pub const KEY_GAS: u64 = 20;
/// Price of each signature.
pub const SIGNATURE_GAS: u64 = 6_500;
/// Price of a receipt's digest.
pub const RECEIPT_GAS: u64 = 600;

/// The contract in the table of native contracts.
pub const NATIVE: Native =
    Native { address: ADDRESS, name: "committee", base_gas: BASE_GAS, max_input: MAX_INPUT, price, run };

const VERIFY: [u8; 4] = ICommittee::verifyCall::SELECTOR;
const VERIFY_RECEIPT: [u8; 4] = ICommittee::verifyReceiptCall::SELECTOR;
const SIGNATURE_BYTES: usize = 64;
const RECEIPT_WORDS: usize = Receipt::BYTES / 32;
/// A selector, a receipt, the other arguments with two lengths, and the longest lists.
const MAX_INPUT: usize = 4 + 32 * (RECEIPT_WORDS + 6) + MAX_KEYS * (32 + SIGNATURE_BYTES);

fn price(input: &[u8]) -> Result<u64, Reason> {
    let (question, about) = Question::read(input)?;
    let keys = KEY_GAS * question.keys.len() as u64;
    let signatures = SIGNATURE_GAS * u64::from(question.signers.count_ones());
    let about = if matches!(about, About::Receipt(_)) { RECEIPT_GAS } else { 0 };
    Ok(keys + signatures + about)
}

fn run(frame: &Frame, input: &[u8]) -> Result<Bytes, Reason> {
    let (question, about) = Question::read(input)?;
    if question.repeats_a_key() {
        return Err(Reason("a key occurs twice"));
    }
    let digest = match about {
        About::Digest(digest) => digest,
        About::Receipt(receipt) if receipt.committee != committee_root(question.keys) => {
            return Err(Reason("these keys are not the receipt's committee"));
        }
        About::Receipt(receipt) => receipt.digest(&Domain { chain_id: frame.chain_id, market: frame.caller }),
    };
    Ok(abi::yes_or_no(question.holds(&digest)))
}

/// The signatures of a committee, as a call hands them in.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Keys of the whole committee.
    pub keys: &'a [[u8; 32]],
    /// Which of them signed, as bits.
    pub signers: u64,
    /// Their signatures, one after the other.
    pub signatures: &'a [u8],
    /// How many must have signed.
    pub threshold: u64,
}

impl Signed<'_> {
    /// The call that asks about a digest, for clients and tests.
    pub fn ask(&self, digest: B256) -> Bytes {
        self.call_data(VERIFY, digest.as_slice())
    }

    /// The call that asks about a receipt. Only the market's own call is about the right digest.
    pub fn ask_receipt(&self, receipt: &Receipt) -> Bytes {
        self.call_data(VERIFY_RECEIPT, &receipt.encode())
    }

    fn call_data(&self, selector: [u8; 4], about: &[u8]) -> Bytes {
        let mut out = selector.to_vec();
        let number = |n: usize| U256::from(n).to_be_bytes::<32>();
        let heads = about.len() + 32 * 4;
        out.extend(about);
        out.extend(number(heads));
        out.extend(U256::from(self.signers).to_be_bytes::<32>());
        out.extend(number(heads + 32 + self.keys.as_flattened().len()));
        out.extend(U256::from(self.threshold).to_be_bytes::<32>());
        out.extend(number(self.keys.len()));
        out.extend(self.keys.as_flattened());
        out.extend(number(self.signatures.len()));
        out.extend(self.signatures);
        out.into()
    }
}

enum About {
    Digest(B256),
    Receipt(Box<Receipt>),
}

struct Question<'a> {
    keys: &'a [[u8; 32]],
    signers: u64,
    signatures: &'a [u8],
    threshold: u64,
}

impl<'a> Question<'a> {
    fn read(input: &'a [u8]) -> Result<(Self, About), Reason> {
        match abi::split(input) {
            Some((VERIFY, arguments)) => Ok((Self::at(arguments, 1)?, About::Digest(arguments.word(0)?))),
            Some((VERIFY_RECEIPT, arguments)) => {
                let question = Self::at(arguments, RECEIPT_WORDS)?;
                let receipt = Receipt::decode(arguments.front(RECEIPT_WORDS)?).ok_or(AbiError::Range)?;
                Ok((question, About::Receipt(Box::new(receipt))))
            }
            _ => Err(Reason("no such function")),
        }
    }

    fn at(arguments: Arguments<'a>, first: usize) -> Result<Self, AbiError> {
        let keys = arguments.words(first, MAX_KEYS)?;
        let signers = arguments.small(first + 1)?;
        let signatures = arguments.bytes(first + 2, MAX_KEYS * SIGNATURE_BYTES)?;
        let threshold = arguments.small(first + 3)?;
        let members = u32::try_from(keys.len()).map_err(|_| AbiError::TooMany)?;
        let outsiders = signers.checked_shr(members).unwrap_or(0);
        let expected = usize::try_from(signers.count_ones()).map_err(|_| AbiError::Range)? * SIGNATURE_BYTES;
        if outsiders != 0 || signatures.len() != expected || threshold == 0 {
            return Err(AbiError::Range);
        }
        Ok(Self { keys, signers, signatures, threshold })
    }

    fn repeats_a_key(&self) -> bool {
        self.keys.iter().enumerate().any(|(i, key)| self.keys[..i].contains(key))
    }

    fn holds(&self, digest: &B256) -> bool {
        if u64::from(self.signers.count_ones()) < self.threshold {
            return false;
        }
        let signed = self.keys.iter().enumerate().filter(|(i, _)| self.signers >> i & 1 == 1).map(|(_, key)| key);
        let (signatures, _) = self.signatures.as_chunks::<SIGNATURE_BYTES>();
        signed.zip(signatures).all(|(key, signature)| {
            VerifyingKey::from_bytes(key)
                .is_ok_and(|key| key.verify_strict(digest.as_slice(), &Signature::from_bytes(signature)).is_ok())
        })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::{super::native::Ending, *};

    const DIGEST: B256 = B256::repeat_byte(7);
    const FRAME: Frame = Frame { caller: Address::repeat_byte(0x11), chain_id: 1337, value: U256::ZERO };

    fn committee() -> (Vec<SigningKey>, Vec<[u8; 32]>) {
        let secret: Vec<SigningKey> = (1..=4).map(|i| SigningKey::from_bytes(&[i; 32])).collect();
        let keys = secret.iter().map(|key| key.verifying_key().to_bytes()).collect();
        (secret, keys)
    }

    fn signed_by(secret: &[SigningKey], signers: u64, digest: B256) -> Vec<u8> {
        let signing = secret.iter().enumerate().filter(|(i, _)| signers >> i & 1 == 1);
        signing.flat_map(|(_, key)| key.sign(digest.as_slice()).to_bytes()).collect()
    }

    fn answer(input: &[u8]) -> Result<bool, String> {
        match NATIVE.call(&FRAME, input, 1_000_000).1 {
            Ending::Return(bytes) => Ok(bytes[31] == 1),
            Ending::Revert(why) => Err(why),
            Ending::OutOfGas => Err("gas".into()),
        }
    }

    fn ask(keys: &[[u8; 32]], signers: u64, signatures: &[u8], threshold: u64) -> Bytes {
        Signed { keys, signers, signatures, threshold }.ask(DIGEST)
    }

    #[test]
    fn the_selectors_are_those_of_the_signatures() {
        let rest = "bytes32[],uint256,bytes,uint256)";
        let receipt = "(bytes32,bytes32,bytes32,bytes32,uint256,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,\
                       bytes32,uint64,uint8,uint64,uint128,uint128,uint64,uint64)";
        assert_eq!(VERIFY, abi::selector(&format!("verify(bytes32,{rest}")));
        assert_eq!(VERIFY_RECEIPT, abi::selector(&format!("verifyReceipt({receipt},{rest}")));
    }

    #[test]
    fn a_quorum_holds_and_less_does_not() {
        let (secret, keys) = committee();
        for (signers, expected) in [(0b1011, true), (0b1111, true), (0b0011, false), (0, false)] {
            let input = ask(&keys, signers, &signed_by(&secret, signers, DIGEST), 3);
            assert_eq!(answer(&input), Ok(expected), "{signers:b}");
        }
    }

    #[test]
    fn a_receipt_holds_for_its_market_its_committee_and_as_it_is() {
        let (secret, keys) = committee();
        let receipt = Receipt { committee: committee_root(&keys), epoch: 3, ..Receipt::default() };
        let here = Domain { chain_id: FRAME.chain_id, market: FRAME.caller };
        let signatures = signed_by(&secret, 0b0111, receipt.digest(&here));
        let signed = Signed { keys: &keys, signers: 0b0111, signatures: &signatures, threshold: 3 };
        assert_eq!(answer(&signed.ask_receipt(&receipt)), Ok(true));
        assert_eq!(answer(&signed.ask_receipt(&Receipt { price: 1, ..receipt })), Ok(false));
        for elsewhere in [Domain { chain_id: 1, ..here }, Domain { market: Address::ZERO, ..here }] {
            let signatures = signed_by(&secret, 0b0111, receipt.digest(&elsewhere));
            assert_eq!(answer(&Signed { signatures: &signatures, ..signed }.ask_receipt(&receipt)), Ok(false));
        }
        let others = Receipt { committee: committee_root(&keys[..3]), ..receipt };
        assert!(answer(&signed.ask_receipt(&others)).unwrap_err().contains("not the receipt's committee"));
    }

    #[test]
    fn one_bad_signature_spoils_it_and_nonsense_reverts() {
        let (secret, keys) = committee();
        let mut bad = signed_by(&secret, 0b111, DIGEST);
        bad[70] ^= 1;
        assert_eq!(answer(&ask(&keys, 0b111, &bad, 3)), Ok(false));
        let twice = [keys[0], keys[0]];
        assert!(answer(&ask(&twice, 0, &[], 1)).unwrap_err().contains("twice"));
        assert!(answer(&ask(&keys, 1 << 5, &[0; 64], 1)).is_err());
        assert!(answer(&ask(&keys, 1, &[0; 63], 1)).is_err());
        assert!(answer(&ask(&keys, 0, &[], 0)).is_err());
        assert!(answer(b"\0\0\0\0").is_err());
        assert!(answer(b"").is_err());
    }

    #[test]
    fn the_largest_call_is_taken_and_a_longer_one_is_not() {
        let keys: Vec<[u8; 32]> = (0..=64).map(|i| [i; 32]).collect();
        let signatures = [0; 64 * SIGNATURE_BYTES];
        let full = Signed { keys: &keys[..64], signers: u64::MAX, signatures: &signatures, threshold: 64 };
        let receipt = Receipt { committee: committee_root(full.keys), ..Receipt::default() };
        assert_eq!(answer(&full.ask_receipt(&receipt)), Ok(false));
        assert!(answer(&Signed { keys: &keys, ..full }.ask(DIGEST)).unwrap_err().contains("too many"));
        assert!(answer(&[0; MAX_INPUT + 1]).unwrap_err().contains("too long"));
    }

    #[test]
    fn the_price_counts_keys_and_signatures() {
        let (secret, keys) = committee();
        let input = ask(&keys, 0b111, &signed_by(&secret, 0b111, DIGEST), 3);
        let price = BASE_GAS + 4 * KEY_GAS + 3 * SIGNATURE_GAS;
        assert_eq!(NATIVE.call(&FRAME, &input, price).0, price);
        assert_eq!(NATIVE.call(&FRAME, &input, price - 1), (0, Ending::OutOfGas));
        assert_eq!(NATIVE.call(&FRAME, &input, 0), (0, Ending::OutOfGas));
    }

    proptest! {
        #[test]
        fn small_changes_of_a_good_call_end_in_order(at in any::<prop::sample::Index>(), to in any::<u8>(), receipt: bool) {
            let (secret, keys) = committee();
            let signatures = signed_by(&secret, 0b111, DIGEST);
            let signed = Signed { keys: &keys, signers: 0b111, signatures: &signatures, threshold: 3 };
            let good = if receipt { signed.ask_receipt(&Receipt::default()) } else { signed.ask(DIGEST) };
            let mut input = good.to_vec();
            let at = at.index(input.len());
            input[at] = to;
            let (gas, _) = NATIVE.call(&FRAME, &input, 100_000);
            prop_assert!(gas <= 100_000);
        }
    }
}
