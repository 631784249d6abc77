//! Forged states.

use proptest::prelude::*;

use super::*;
use crate::forge::{Words, state};

fn slot(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn address(number: u8) -> Address {
    Address::repeat_byte(number)
}

/// Forty accounts, each with some words.
fn words() -> Words {
    let stored =
        |account: u8| (0..u64::from(account)).map(move |n| (slot(n), U256::from(1000 * u64::from(account) + n + 1)));
    (1..40).map(|account| (address(account), stored(account).collect())).collect()
}

/// Where the account 9 is in the answer.
const NINE: usize = 0;

fn wanted() -> Vec<(Address, B256)> {
    vec![(address(9), slot(3)), (address(9), slot(77)), (address(200), slot(0)), (address(30), slot(29))]
}

fn answer() -> (B256, StateProof) {
    state(&words(), &wanted())
}

#[test]
fn words_are_proven_and_so_is_that_there_are_none() {
    let (app_hash, proof) = answer();
    let found = prove(app_hash, &proof, &wanted()).unwrap();
    assert_eq!(found, [slot(9004), slot(0), slot(0), slot(30_030)]);
    let json = serde_json::to_vec(&proof).unwrap();
    assert_eq!(serde_json::from_slice::<StateProof>(&json).unwrap(), proof);
    // An account without storage.
    let bare: Words = [(address(1), Default::default()), (address(2), Default::default())].into();
    let wanted = [(address(1), slot(5))];
    let (app_hash, proof) = state(&bare, &wanted);
    assert_eq!(prove(app_hash, &proof, &wanted).unwrap(), [slot(0)]);
}

#[test]
fn every_part_of_a_proof_is_needed() {
    let (app_hash, whole) = answer();
    let refused = |change: &dyn Fn(&mut StateProof)| {
        let mut proof = whole.clone();
        change(&mut proof);
        prove(app_hash, &proof, &wanted()).unwrap_err()
    };
    assert_eq!(whole.accounts[NINE].address, address(9));
    let of_nine = ProofError::Account { address: address(9) };
    let value = |proof: &mut StateProof, value: u64| {
        proof.accounts[NINE].storage_proof[0].value = U256::from(value);
    };
    let wrong = ProofError::Slot { address: address(9), slot: slot(3) };
    assert_eq!(refused(&|proof| value(proof, 9005)), wrong);
    assert_eq!(refused(&|proof| value(proof, 0)), wrong, "a word cannot be denied");
    assert_eq!(refused(&|proof| proof.accounts[NINE].storage_proof[0].proof.clear()), wrong);
    assert_eq!(refused(&|proof| drop(proof.accounts[NINE].storage_proof[0].proof.pop())), wrong);
    let invented = ProofError::Slot { address: address(9), slot: slot(77) };
    assert_eq!(refused(&|proof| proof.accounts[NINE].storage_proof[1].value = U256::from(1)), invented);
    let missing = ProofError::MissingSlot { address: address(9), slot: slot(3) };
    assert_eq!(refused(&|proof| drop(proof.accounts[NINE].storage_proof.remove(0))), missing);
    let missing = ProofError::MissingAccount { address: address(9) };
    assert_eq!(refused(&|proof| drop(proof.accounts.remove(NINE))), missing);
    assert_eq!(refused(&|proof| proof.accounts[NINE].account = None), of_nine, "an account cannot be denied");
    assert_eq!(refused(&|proof| proof.accounts[NINE].account_proof.clear()), of_nine);
    // The storage of another account under this one's name.
    let moved = |proof: &mut StateProof| {
        let thirty = proof.accounts.iter().find(|account| account.address == address(30)).unwrap().clone();
        proof.accounts[NINE].account = thirty.account;
        proof.accounts[NINE].storage_proof = thirty.storage_proof;
    };
    assert_eq!(refused(&moved), of_nine);
    let renamed = |proof: &mut StateProof| {
        let at = proof.accounts.iter().position(|account| account.address == address(30)).unwrap();
        let thirty = AccountProof { address: address(9), ..proof.accounts[at].clone() };
        proof.accounts = vec![thirty];
    };
    assert_eq!(refused(&renamed), of_nine);
    let absent = |proof: &mut StateProof| {
        let at = proof.accounts.iter().position(|account| account.address == address(200)).unwrap();
        proof.accounts[at].account = Some(AccountFields::default());
    };
    assert_eq!(refused(&absent), ProofError::Account { address: address(200) });
}

#[test]
fn the_root_is_bound_to_the_header() {
    let (app_hash, whole) = answer();
    let root = |proof: &StateProof| ProofError::Root { root: proof.root, app_hash };
    let others: Words = [(address(9), [(slot(3), U256::from(1))].into())].into();
    let (other_hash, other) = state(&others, &wanted());
    assert_eq!(prove(app_hash, &other, &wanted()), Err(root(&other)));
    assert!(prove(other_hash, &other, &wanted()).is_ok());
    let swapped = StateProof { root_path: whole.root_path.iter().rev().copied().collect(), ..whole.clone() };
    assert_eq!(prove(app_hash, &swapped, &wanted()), Err(root(&whole)));
    let turned = |step: &Step| match step {
        Step::Left(hash) => Step::Right(*hash),
        Step::Right(hash) => Step::Left(*hash),
    };
    let turned = StateProof { root_path: whole.root_path.iter().map(turned).collect(), ..whole.clone() };
    assert_eq!(prove(app_hash, &turned, &wanted()), Err(root(&whole)));
    let none = StateProof { root_path: vec![], ..whole };
    assert_eq!(prove(none.root, &none, &wanted()), Err(ProofError::Root { root: none.root, app_hash: none.root }));
}

#[test]
fn a_root_of_another_store_is_not_that_of_the_accounts() {
    // The leaf of the store beside it, with a way that ends in the same hash.
    let (app_hash, whole) = answer();
    let chain = B256::repeat_byte(7);
    let hashed: [u8; 32] = Sha256::digest(whole.root).into();
    let evm = leaf(&[&[3], b"evm".as_slice(), &[32], &hashed].concat());
    let beside = StateProof { root: chain, root_path: vec![Step::Right(evm.into()), whole.root_path[1]], ..whole };
    assert_eq!(prove(app_hash, &beside, &wanted()), Err(ProofError::Root { root: chain, app_hash }));
}

#[test]
fn sizes_have_limits() {
    let (app_hash, whole) = answer();
    let refused = |change: &dyn Fn(&mut StateProof)| {
        let mut proof = whole.clone();
        change(&mut proof);
        matches!(prove(app_hash, &proof, &wanted()), Err(ProofError::TooLarge { .. }))
    };
    assert!(refused(&|proof| proof.root_path = vec![Step::Left(B256::ZERO); MAX_PATH + 1]));
    assert!(refused(&|proof| proof.accounts = vec![AccountProof::default(); MAX_WORDS + 1]));
    assert!(refused(&|proof| proof.accounts[0].account_proof = vec![Bytes::new(); MAX_NODES + 1]));
    assert!(refused(&|proof| proof.accounts[0].account_proof = vec![vec![0; MAX_NODE_BYTES + 1].into()]));
    assert!(refused(&|proof| proof.accounts[0].storage_proof[0].proof = vec![Bytes::new(); MAX_NODES + 1]));
    assert!(refused(&|proof| proof.accounts[0].storage_proof = vec![SlotProof::default(); MAX_WORDS + 1]));
    let many = vec![(address(9), slot(3)); MAX_WORDS + 1];
    assert!(matches!(prove(app_hash, &whole, &many), Err(ProofError::TooLarge { .. })));
}

proptest! {
    /// Whatever one changes of an answer: it is refused, or the words are the true ones.
    #[test]
    fn a_changed_answer_is_refused_or_true(place in any::<prop::sample::Index>(), letter in any::<u8>()) {
        let (app_hash, proof) = answer();
        let truth = prove(app_hash, &proof, &wanted()).unwrap();
        let mut json = serde_json::to_vec(&proof).unwrap();
        let at = place.index(json.len());
        json[at] = letter;
        if let Ok(read) = serde_json::from_slice::<StateProof>(&json)
            && let Ok(words) = prove(app_hash, &read, &wanted())
        {
            prop_assert_eq!(words, truth);
        }
    }

    #[test]
    fn random_nodes_prove_nothing(root in any::<[u8; 32]>(), nodes in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
        let nodes: Vec<Bytes> = nodes.into_iter().map(Bytes::from).collect();
        let key = Nibbles::unpack(keccak256(root));
        prop_assert!(verify_proof(root.into(), key, None, &nodes).is_err());
        let word = SlotProof { key: U256::from(1), value: U256::from(2), proof: nodes };
        let account = AccountProof { storage_proof: vec![word], ..AccountProof::default() };
        prop_assert!(super::word(&account, root.into(), slot(1)).is_err());
    }
}
