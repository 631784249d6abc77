//! What is taken for a transaction, of whom, and how many are remembered.

use alloy_consensus::TxEip7702;
use alloy_eips::eip7702::Authorization;

use super::*;
use crate::wallet::{Payment, Wallet};

const CHAIN: u64 = 7;

fn fields(nonce: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 5,
        value: U256::from(3),
        ..TxEip1559::default()
    }
}

fn signed(nonce: u64) -> Bytes {
    let to = Some(Address::ZERO);
    Wallet::new(B256::repeat_byte(1), CHAIN).unwrap().pay(&Payment { nonce, to, ..Payment::default() }).unwrap()
}

#[test]
fn what_is_too_long_is_refused_before_it_is_looked_at() {
    let cache = TxCache::new(1 << 20);
    for (length, too_long) in [(MAX_TX_BYTES, false), (MAX_TX_BYTES + 1, true)] {
        let bytes = vec![0xff; length];
        for refused in [Tx::decode(&bytes, CHAIN).unwrap_err(), cache.decode(&bytes, CHAIN).unwrap_err()] {
            assert_eq!(matches!(refused, TxError::TooLong(_)), too_long, "{refused}");
        }
    }
}

#[test]
fn a_transaction_that_nobody_signed_is_taken_on_a_chain_for_development_only() {
    let sender = Address::repeat_byte(9);
    let bytes = unsigned(fields(0), sender).encoded_2718();
    let taken = TxCache::new(1 << 20).for_development().decode(&bytes, CHAIN).unwrap();
    assert!(taken.sender == sender && taken.is_unsigned());
    assert_eq!(taken.max_cost(), U256::from(21_000 * 5 + 3));
    // Elsewhere it is whatever its signature says, if anything: not whom it names.
    for other in [TxCache::new(1 << 20).decode(&bytes, CHAIN), Tx::decode(&bytes, CHAIN).map(Arc::new)] {
        assert!(other.is_err_and(|e| e == TxError::Signature) || Tx::decode(&bytes, CHAIN).unwrap().sender != sender);
    }
    let real = TxCache::new(1 << 20).for_development().decode(&signed(0), CHAIN).unwrap();
    assert!(!real.is_unsigned(), "whoever signs is not named");
}

#[test]
fn only_one_form_names_a_sender() {
    let word = |bytes: &[u8]| U256::from_be_slice(bytes);
    let address = Address::repeat_byte(9);
    let named = |r, s, v| named_sender(&TxEnvelope::Eip1559(fields(0).into_signed(Signature::new(r, s, v))));
    let own = word(address.as_slice());
    assert_eq!(named(own, U256::ONE, false), Some(address));
    assert_eq!(named(own, U256::from(2), false), None);
    assert_eq!(named(own, U256::ONE, true), None);
    assert_eq!(named(own | U256::ONE << 160, U256::ONE, false), None, "longer than an address");
}

fn authorizing(authorization_list: Vec<SignedAuthorization>) -> Tx {
    let fields = TxEip7702 { chain_id: CHAIN, nonce: 4, authorization_list, ..TxEip7702::default() };
    Tx::decode(&Wallet::new(B256::repeat_byte(1), CHAIN).unwrap().sign(fields).unwrap(), CHAIN).unwrap()
}

#[test]
fn authorities_are_those_that_the_machine_would_find_and_are_recovered_once() {
    let authorization = |key, chain_id, nonce| {
        let authorization = Authorization { chain_id: U256::from(chain_id), address: Address::ZERO, nonce };
        let signature = Wallet::new(B256::repeat_byte(key), CHAIN).unwrap().sign_hash(authorization.signature_hash());
        authorization.into_signed(signature.unwrap())
    };
    let good = [authorization(2, CHAIN, 5), authorization(3, 0, u64::MAX - 1), authorization(1, CHAIN, 5)];
    let (r, s) = (good[0].r(), good[0].s());
    let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
    let with = |parity, r, s| SignedAuthorization::new_unchecked(good[0].inner().clone(), parity, r, s);
    let bad = [
        authorization(2, CHAIN + 1, 5),
        authorization(2, 0, u64::MAX),
        authorization(1, CHAIN, 4),
        with(2, r, s),
        with(1 - good[0].y_parity(), r, order - s),
        with(0, U256::ZERO, s),
        with(0, r, U256::ZERO),
        with(0, order, s),
    ];
    let tx = authorizing([good.as_slice(), &bad].concat());
    assert_eq!((tx.authorizations(), tx.known_authorities()), (good.len() + bad.len(), None));
    let machine = |one: &SignedAuthorization| Authority { address: one.recover_authority().unwrap(), nonce: one.nonce };
    assert_eq!(tx.authorities(), good.each_ref().map(machine));
    assert!(bad[3..].iter().all(|one| one.recover_authority().is_err()), "the machine takes none of them either");
    let (first, again) = (tx.authorities().as_ptr(), tx.clone());
    assert_eq!((first, tx.known_authorities().map(<[_]>::as_ptr)), (tx.authorities().as_ptr(), Some(first)));
    assert_eq!(again.known_authorities(), Some(tx.authorities()));
    let none = Tx::decode(&signed(0), CHAIN).unwrap();
    assert_eq!((none.authorizations(), none.known_authorities()), (0, Some([].as_slice())));
}

#[test]
fn whom_a_transaction_would_delegate_is_weighed_before_it_is_known() {
    let cache = TxCache::new(1 << 20);
    let signed = Authorization { chain_id: U256::ZERO, address: Address::ZERO, nonce: 0 };
    let list = vec![signed.into_signed(Signature::new(U256::ONE, U256::ONE, false)); 20];
    let tx = cache.decode(&authorizing(list).bytes, CHAIN).unwrap();
    assert_eq!(cache.lock().bytes, 2 * tx.bytes.len() + OVERHEAD + 20 * size_of::<Authority>());
}

#[test]
fn the_memory_of_decoded_transactions_is_bounded() {
    let weight = 2 * signed(0).len() + OVERHEAD;
    let cache = TxCache::new(2 * weight);
    for nonce in 0..10 {
        cache.decode(&signed(nonce), CHAIN).unwrap();
        cache.decode(&signed(nonce), CHAIN).unwrap();
        assert_eq!(cache.decodings(), nonce + 1, "what is known is not decoded again");
        let inner = cache.lock();
        let kept = usize::try_from(nonce).unwrap().min(1) + 1;
        let weighed: usize = inner.by_bytes.values().map(|tx| 2 * tx.bytes.len() + OVERHEAD).sum();
        assert_eq!((inner.by_bytes.len(), inner.order.len(), inner.bytes), (kept, kept, weighed), "{nonce}");
    }
    assert!(cache.lock().by_bytes.contains_key(&signed(9)), "the last are remembered");
}
