//! HPKE (RFC 9180) in base mode: X-Wing, which is X25519 with ML-KEM-768, HKDF-SHA256 and ChaCha20-Poly1305. Whoever will have
//! a quantum computer, or will break one of both halves of the key exchange, opens nothing that was kept until then.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender};
use sahara_market::Domain;
use sahara_market::request::{Binding, Sealed};
use zeroize::Zeroizing;

/// Bytes of a public key.
pub const PUBLIC: usize = 1216;
/// Bytes of an encapsulated key, which a part begins with.
pub const ENCAPSULATED: usize = 1120;

type PublicKey = <XWing as Kem>::PublicKey;
type SecretKey = <XWing as Kem>::PrivateKey;
type Encapsulated = <XWing as Kem>::EncappedKey;

/// The public key of a secret one.
///
/// # Errors
/// Nothing that a secret of 32 bytes can cause.
pub fn public(secret: &[u8; 32]) -> Result<[u8; PUBLIC], hpke::HpkeError> {
    let key = XWing::sk_to_pk(&SecretKey::from_bytes(secret)?).to_bytes();
    let bytes: &[u8] = key.as_ref();
    bytes.try_into().map_err(|_| hpke::HpkeError::ValidationError)
}

/// Seals what one evaluator (0 or 1) is to open.
///
/// # Errors
/// When the key is none, or the system gives no randomness.
pub fn seal(key: &[u8; PUBLIC], context: &Context, evaluator: u8, plain: &[u8]) -> Result<Vec<u8>, hpke::HpkeError> {
    let key = PublicKey::from_bytes(key)?;
    let (encapsulated, mut sender) =
        setup_sender::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeS::Base, &key, &context.info)?;
    let sealed = sender.seal(plain, &context.beside(evaluator))?;
    let encapsulated = encapsulated.to_bytes();
    let head: &[u8] = encapsulated.as_ref();
    Ok([head, &sealed].concat())
}

/// Opens what was sealed to one evaluator.
///
/// # Errors
/// When it was sealed to another key, for another request, under another head, or is damaged: which of these, nobody can say.
pub fn open(
    secret: &[u8; 32],
    context: &Context,
    evaluator: u8,
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, hpke::HpkeError> {
    let (head, sealed) = bytes.split_at_checked(ENCAPSULATED).ok_or(hpke::HpkeError::OpenError)?;
    let (key, head) = (SecretKey::from_bytes(secret)?, Encapsulated::from_bytes(head)?);
    let mut receiver =
        setup_receiver::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeR::Base, &key, &head, &context.info)?;
    receiver.open(sealed, &context.beside(evaluator)).map(Zeroizing::new)
}

/// What a seal authenticates: for which request, and under which head.
pub struct Context {
    info: Vec<u8>,
    head: Vec<u8>,
}

impl Context {
    /// Of a sealed input (of which the parts do not count) that is for a request with this binding.
    pub fn new(domain: &Domain, binding: &Binding, sealed: &Sealed) -> Self {
        let info = [&b"sahara sealed input v1"[..], &binding.bytes(domain)].concat();
        Self { info, head: sealed.head() }
    }

    fn beside(&self, evaluator: u8) -> Vec<u8> {
        [&self.head[..], &[evaluator]].concat()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256};
    use sahara_market::INFERENCE_MARKET;
    use sahara_market::request::Part;

    use super::*;

    const DOMAIN: Domain = Domain { chain_id: 1337, market: INFERENCE_MARKET };

    fn binding() -> Binding {
        Binding {
            asset: B256::repeat_byte(1),
            lane: B256::repeat_byte(2),
            asker: Address::repeat_byte(3),
            callback: Address::repeat_byte(4),
            is_public: false,
        }
    }

    fn sealed() -> Sealed {
        let none = || Part { epoch: 0, bytes: Vec::new() };
        Sealed { asker: [1; 32], reader: [2; 32], inputs: [[3; 32], [4; 32]], parts: [none(), none()] }
    }

    #[test]
    fn what_is_sealed_opens_for_its_key_its_request_its_head_and_its_evaluator_only() {
        let (secret, context) = ([7; 32], Context::new(&DOMAIN, &binding(), &sealed()));
        let key = public(&secret).unwrap();
        let bytes = seal(&key, &context, 0, b"a half").unwrap();
        assert_eq!(bytes.len(), ENCAPSULATED + 6 + 16);
        assert_eq!(open(&secret, &context, 0, &bytes).unwrap()[..], b"a half"[..]);
        assert!(open(&secret, &context, 1, &bytes).is_err(), "the other evaluator's place");
        assert!(open(&[8; 32], &context, 0, &bytes).is_err(), "another key");
        let bound = binding();
        for other in [
            Binding { asset: B256::ZERO, ..bound },
            Binding { lane: B256::ZERO, ..bound },
            Binding { asker: Address::ZERO, ..bound },
            Binding { callback: Address::ZERO, ..bound },
            Binding { is_public: true, ..bound },
        ] {
            assert!(open(&secret, &Context::new(&DOMAIN, &other, &sealed()), 0, &bytes).is_err(), "{other:?}");
        }
        let elsewhere = Domain { chain_id: 1, ..DOMAIN };
        assert!(open(&secret, &Context::new(&elsewhere, &bound, &sealed()), 0, &bytes).is_err());
        for head in [
            Sealed { asker: [9; 32], ..sealed() },
            Sealed { reader: [9; 32], ..sealed() },
            Sealed { inputs: [[9; 32], [4; 32]], ..sealed() },
        ] {
            assert!(open(&secret, &Context::new(&DOMAIN, &bound, &head), 0, &bytes).is_err());
        }
        for at in [0, ENCAPSULATED, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(open(&secret, &context, 0, &other).is_err(), "byte {at}");
        }
        assert!(open(&secret, &context, 0, &bytes[..100]).is_err());
        assert!(seal(&[255; PUBLIC], &context, 0, b"x").is_err(), "a key that is none");
    }
}
