//! Native contract: did enough of a committee sign this digest?
//!
//! `verify(bytes32 digest, bytes32[] keys, uint256 signers, bytes signatures, uint256 threshold) returns (bool)`
//!
//! `keys` are ed25519 keys. Bit `i` of `signers` says that `keys[i]` signed; `signatures` holds 64 bytes for each set
//! bit, lowest first. The answer is `true` if at least `threshold` signed and every signature holds. A key that occurs
//! twice reverts, or one member could count for two.

use alloy_primitives::{Address, Bytes, U256, address};
use ed25519_dalek::{Signature, VerifyingKey};

use super::{
    abi::{self, AbiError, Arguments},
    provider::Ending,
};

/// Where it lives.
pub const ADDRESS: Address = address!("0x0000000000000000000000000000000000000A00");

/// Committees are small; this bounds the work of one call.
pub const MAX_KEYS: usize = 64;

/// Price of a call, and of each signature: ecrecover costs 3,000 for about the same time.
pub const BASE_GAS: u64 = 2_000;
/// See [`BASE_GAS`].
pub const SIGNATURE_GAS: u64 = 3_000;

const SIGNATURE: &str = "verify(bytes32,bytes32[],uint256,bytes,uint256)";
const SIGNATURE_BYTES: usize = 64;

/// Runs a call with `gas_limit`: gas used, and how it ends.
pub fn run(input: &[u8], gas_limit: u64) -> (u64, Ending) {
    if gas_limit < BASE_GAS {
        return (0, Ending::OutOfGas);
    }
    let question = match abi::split(input) {
        Some((selector, arguments)) if selector == abi::selector(SIGNATURE) => Question::read(arguments),
        _ => return (BASE_GAS, Ending::Revert("committee: no such function".into())),
    };
    let question = match question {
        Ok(question) => question,
        Err(e) => return (BASE_GAS, Ending::Revert(format!("committee: {e}"))),
    };
    let signatures = u64::from(question.signers.count_ones());
    let gas = BASE_GAS + SIGNATURE_GAS * signatures;
    if gas > gas_limit {
        return (0, Ending::OutOfGas);
    }
    if question.repeats_a_key() {
        return (gas, Ending::Revert("committee: a key occurs twice".into()));
    }
    (gas, Ending::Return(abi::yes_or_no(question.holds())))
}

/// The call that asks it, for clients and tests.
pub fn call_data(digest: [u8; 32], keys: &[[u8; 32]], signers: u64, signatures: &[u8], threshold: u64) -> Bytes {
    let mut out = abi::selector(SIGNATURE).to_vec();
    let number = |n: usize| U256::from(n).to_be_bytes::<32>();
    out.extend(digest);
    out.extend(number(160));
    out.extend(U256::from(signers).to_be_bytes::<32>());
    out.extend(number(160 + 32 + 32 * keys.len()));
    out.extend(U256::from(threshold).to_be_bytes::<32>());
    out.extend(number(keys.len()));
    out.extend(keys.iter().flatten());
    out.extend(number(signatures.len()));
    out.extend(signatures);
    out.resize(out.len().next_multiple_of(32) + 4, 0);
    out.into()
}

struct Question<'a> {
    digest: [u8; 32],
    keys: &'a [[u8; 32]],
    signers: u64,
    signatures: &'a [u8],
    threshold: u64,
}

impl<'a> Question<'a> {
    fn read(arguments: Arguments<'a>) -> Result<Self, AbiError> {
        let digest = arguments.word(0)?.0;
        let keys = arguments.words(1, MAX_KEYS)?;
        let signers = arguments.small(2)?;
        let signatures = arguments.bytes(3, MAX_KEYS * SIGNATURE_BYTES)?;
        let threshold = arguments.small(4)?;
        let members = u32::try_from(keys.len()).map_err(|_| AbiError::TooMany)?;
        let outsiders = signers.checked_shr(members).unwrap_or(0);
        let expected = usize::try_from(signers.count_ones()).map_err(|_| AbiError::Range)? * SIGNATURE_BYTES;
        if outsiders != 0 || signatures.len() != expected || threshold == 0 {
            return Err(AbiError::Range);
        }
        Ok(Self { digest, keys, signers, signatures, threshold })
    }

    fn repeats_a_key(&self) -> bool {
        self.keys.iter().enumerate().any(|(i, key)| self.keys[..i].contains(key))
    }

    fn holds(&self) -> bool {
        if u64::from(self.signers.count_ones()) < self.threshold {
            return false;
        }
        let signed = self.keys.iter().enumerate().filter(|(i, _)| self.signers >> i & 1 == 1).map(|(_, key)| key);
        let (signatures, _) = self.signatures.as_chunks::<SIGNATURE_BYTES>();
        signed.zip(signatures).all(|(key, signature)| {
            VerifyingKey::from_bytes(key)
                .is_ok_and(|key| key.verify_strict(&self.digest, &Signature::from_bytes(signature)).is_ok())
        })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    const DIGEST: [u8; 32] = [7; 32];

    fn committee() -> (Vec<SigningKey>, Vec<[u8; 32]>) {
        let secret: Vec<SigningKey> = (1..=4).map(|i| SigningKey::from_bytes(&[i; 32])).collect();
        let keys = secret.iter().map(|key| key.verifying_key().to_bytes()).collect();
        (secret, keys)
    }

    fn signed_by(secret: &[SigningKey], signers: u64) -> Vec<u8> {
        let signing = secret.iter().enumerate().filter(|(i, _)| signers >> i & 1 == 1);
        signing.flat_map(|(_, key)| key.sign(&DIGEST).to_bytes()).collect()
    }

    fn answer(input: &[u8]) -> Result<bool, String> {
        match run(input, 1_000_000).1 {
            Ending::Return(bytes) => Ok(bytes[31] == 1),
            Ending::Revert(why) => Err(why),
            Ending::OutOfGas => Err("gas".into()),
        }
    }

    #[test]
    fn a_quorum_holds_and_less_does_not() {
        let (secret, keys) = committee();
        for (signers, expected) in [(0b1011, true), (0b1111, true), (0b0011, false), (0, false)] {
            let input = call_data(DIGEST, &keys, signers, &signed_by(&secret, signers), 3);
            assert_eq!(answer(&input), Ok(expected), "{signers:b}");
        }
    }

    #[test]
    fn one_bad_signature_spoils_it_and_nonsense_reverts() {
        let (secret, keys) = committee();
        let mut bad = signed_by(&secret, 0b111);
        bad[70] ^= 1;
        assert_eq!(answer(&call_data(DIGEST, &keys, 0b111, &bad, 3)), Ok(false));
        let twice = [keys[0], keys[0]];
        assert!(answer(&call_data(DIGEST, &twice, 0, &[], 1)).unwrap_err().contains("twice"));
        assert!(answer(&call_data(DIGEST, &keys, 1 << 5, &[0; 64], 1)).is_err());
        assert!(answer(&call_data(DIGEST, &keys, 1, &[0; 63], 1)).is_err());
        assert!(answer(&call_data(DIGEST, &keys, 0, &[], 0)).is_err());
        assert!(answer(b"\0\0\0\0").is_err());
        assert!(answer(b"").is_err());
    }

    #[test]
    fn the_price_counts_signatures() {
        let (secret, keys) = committee();
        let input = call_data(DIGEST, &keys, 0b111, &signed_by(&secret, 0b111), 3);
        assert_eq!(run(&input, 1_000_000).0, BASE_GAS + 3 * SIGNATURE_GAS);
        assert!(matches!(run(&input, BASE_GAS + 3 * SIGNATURE_GAS - 1).1, Ending::OutOfGas));
        assert!(matches!(run(&input, 0).1, Ending::OutOfGas));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_order(mut input in proptest::collection::vec(any::<u8>(), 0..600), known in any::<bool>()) {
            if known && input.len() >= 4 {
                input[..4].copy_from_slice(&abi::selector(SIGNATURE));
            }
            let (gas, _) = run(&input, 100_000);
            prop_assert!(gas <= 100_000);
        }

        #[test]
        fn small_changes_of_a_good_call_end_in_order(at in 0usize..500, to in any::<u8>()) {
            let (secret, keys) = committee();
            let mut input = call_data(DIGEST, &keys, 0b111, &signed_by(&secret, 0b111), 3).to_vec();
            let at = at % input.len();
            input[at] = to;
            let (gas, _) = run(&input, 100_000);
            prop_assert!(gas <= 100_000);
        }
    }
}
