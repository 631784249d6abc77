//! What is proven of owners, operators and licences before anything depends on it: words of the contracts, in a state that the light
//! client verified. Each function takes what a chain's node says and gives it back only if it is so.

use std::thread;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use sahara_light::state::MAX_WORDS;
use sahara_market::abi::Terms;
use sahara_market::draw::LEAST_BOND;
use sahara_market::slots::{self, LicenceState, Place};
use sahara_market::{LICENCES, OPERATORS, OWNERSHIP_RECEIPTS};

use super::node::Words;
use crate::error::{Error, Result};
use crate::wallet::amount::Amount;

/// Heirs after each other that are followed: as many as the contract lets anybody have.
const MAX_HEIRS: usize = 16;
/// How often it is looked for what was bought a moment ago: proofs are some blocks behind.
const LOOKS: usize = 30;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Whose all is by now that was an account's: the last heir of a recovery, or the account itself.
///
/// # Errors
/// When nothing is proven.
pub fn heir(words: &impl Words, account: Address) -> Result<Address> {
    let mut account = account;
    for _ in 0..=MAX_HEIRS {
        let [next] = read(words, [(OWNERSHIP_RECEIPTS, slots::successor(account))])?;
        match slots::account(next) {
            Some(Address::ZERO) => return Ok(account),
            Some(next) => account = next,
            None => break,
        }
    }
    Err(Error::fault(format!(
        "whose account {account} is now is said in a way that this program does not know: upgrade it"
    )))
}

/// Makes sure that each of these keys is that of the node of its operator, who is bonded: the bonds, in the smallest unit.
///
/// # Errors
/// When it is not so, or nothing is proven.
pub fn operators(words: &impl Words, seats: [(Address, B256); 3]) -> Result<[u128; 3]> {
    let wanted = seats.map(|(operator, key)| {
        let [node, bond] = slots::operator(operator);
        [(OPERATORS, slots::operator_of(key)), (OPERATORS, node), (OPERATORS, bond)]
    });
    let [a, b, c] = wanted;
    let [a0, a1, a2, b0, b1, b2, c0, c1, c2] = read(words, [a[0], a[1], a[2], b[0], b[1], b[2], c[0], c[1], c[2]])?;
    let mut bonds = [0; 3];
    for (((operator, key), [of, node, bond]), slot) in
        seats.into_iter().zip([[a0, a1, a2], [b0, b1, b2], [c0, c1, c2]]).zip(&mut bonds)
    {
        if key.is_zero() || slots::account(of) != Some(operator) || B256::from(node) != key {
            return Err(Error::fault(format!(
                "the chain's node says that {key} is the key of {operator}'s node, and it is proven that it is not: nothing was \
                 handed to anybody. Ask another node (`sahara network`); an operator whose key is a moment old is proven later"
            )));
        }
        *slot = slots::bond(bond);
        if *slot < LEAST_BOND {
            return Err(Error::user(format!(
                "{operator} has {} bonded by now, less than the {} that a seat takes: draw in another epoch",
                Amount::from(*slot),
                Amount::from(LEAST_BOND)
            )));
        }
    }
    Ok(bonds)
}

/// Since which epoch each of these operators has its place for an asset.
///
/// # Errors
/// When one has none, or nothing is proven.
pub fn places(words: &impl Words, asset: B256, operators: &[Address]) -> Result<Vec<u64>> {
    let mut all = Vec::with_capacity(operators.len());
    for some in operators.chunks(MAX_WORDS) {
        let wanted: Vec<_> = some.iter().map(|operator| (OPERATORS, slots::place(asset, *operator))).collect();
        for (operator, word) in some.iter().zip(proven(words, &wanted)?) {
            let place = Place::read(word);
            if place.number == 0 {
                return Err(Error::fault(format!(
                    "it is not proven that {operator} has a place among the asset's operators, as the chain's node says: ask another \
                     (`sahara network`), or try again in some seconds"
                )));
            }
            all.push(u64::try_from(place.since).unwrap_or(u64::MAX));
        }
    }
    Ok(all)
}

/// Makes sure that a licence is of this asset under these terms until that time.
///
/// # Errors
/// When it is not, or nothing is proven.
pub fn licence(words: &impl Words, licence: U256, asset: B256, terms: &Terms, ends: u64) -> Result<()> {
    let hash = terms.hash(asset);
    for look in 0..LOOKS {
        if look > 0 {
            thread::sleep(PAUSE);
        }
        let [found, times] = read(words, slots::licence(licence).map(|slot| (LICENCES, slot)))?;
        if found.is_zero() {
            continue;
        }
        if B256::from(found) == hash && LicenceState::read(times).ends == ends {
            return Ok(());
        }
        return Err(Error::fault(format!(
            "the chain's node says of licence {licence} what is proven to be otherwise (its asset, its prices or its end): nothing was \
             sent; ask another node (`sahara network`)"
        )));
    }
    Err(Error::user(format!("it is not proven that there is a licence {licence}: see `sahara licence ls`")))
}

fn read<const N: usize>(words: &impl Words, wanted: [(Address, B256); N]) -> Result<[U256; N]> {
    proven(words, &wanted)?.try_into().map_err(|_| Error::fault("the chain's words were not shown: ask again"))
}

fn proven(words: &impl Words, wanted: &[(Address, B256)]) -> Result<Vec<U256>> {
    let proven = words.words(wanted).map_err(|why| Error::fault(format!("nothing is proven of the chain: {why}")))?;
    if proven.words.len() != wanted.len() {
        return Err(Error::fault("the chain's words were not shown: ask again"));
    }
    Ok(proven.words.into_iter().map(Into::into).collect())
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use sahara_light::Proven;

    use super::*;

    /// A state of which everything is proven: what is not there is zero.
    #[derive(Default)]
    pub struct State(pub BTreeMap<(Address, B256), U256>);

    impl Words for State {
        fn words(&self, wanted: &[(Address, B256)]) -> std::result::Result<Proven, String> {
            let words = wanted.iter().map(|at| self.0.get(at).copied().unwrap_or_default().into()).collect();
            Ok(Proven { height: 1, time: 1, words })
        }
    }

    impl State {
        /// An operator has a place for an asset since an epoch.
        pub fn place(&mut self, asset: B256, operator: Address, since: u64) {
            self.0.insert((OPERATORS, slots::place(asset, operator)), U256::from(since) << 128 | U256::ONE);
        }

        /// An operator joins.
        pub fn join(&mut self, operator: Address, key: B256, bond: u128) {
            let [node, word] = slots::operator(operator);
            let account = U256::from_be_bytes(operator.into_word().0);
            self.0.insert((OPERATORS, slots::operator_of(key)), account);
            self.0.insert((OPERATORS, node), key.into());
            self.0.insert((OPERATORS, word), U256::from(7) << 128 | U256::from(bond));
        }
    }

    #[test]
    fn a_key_is_that_of_the_operator_whose_bond_answers_for_it_or_nobody_gets_anything() {
        let seats = [1u8, 2, 3].map(|n| (Address::repeat_byte(n), B256::repeat_byte(n)));
        let mut state = State::default();
        seats.iter().for_each(|(operator, key)| state.join(*operator, *key, LEAST_BOND + 1));
        assert_eq!(operators(&state, seats).unwrap(), [LEAST_BOND + 1; 3]);
        // A key of nobody, another operator's key, and a bonded operator's old one.
        let [a, b, c] = seats;
        for wrong in [(c.0, B256::repeat_byte(9)), (c.0, a.1), (Address::repeat_byte(9), c.1), (c.0, B256::ZERO)] {
            assert_eq!(operators(&state, [a, b, wrong]).unwrap_err().exit_code(), 1, "{wrong:?}");
        }
        state.0.insert((OPERATORS, slots::operator_of(B256::repeat_byte(8))), U256::from_be_bytes(c.0.into_word().0));
        assert!(operators(&state, [a, b, (c.0, B256::repeat_byte(8))]).is_err(), "a key of before");
        state.join(c.0, c.1, LEAST_BOND - 1);
        assert_eq!(operators(&state, seats).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_place_is_proven_for_each_that_is_said_to_have_one() {
        let (asset, all) = (B256::repeat_byte(1), (0..200u8).map(Address::repeat_byte).collect::<Vec<_>>());
        let mut state = State::default();
        all.iter().zip(0..).for_each(|(operator, since)| state.place(asset, *operator, since));
        assert_eq!(places(&state, asset, &all).unwrap(), (0..200).collect::<Vec<u64>>());
        assert!(places(&state, B256::ZERO, &all).is_err());
    }

    #[test]
    fn heirs_are_followed_to_the_last() {
        let [a, b, c] = [1u8, 2, 3].map(Address::repeat_byte);
        let mut state = State::default();
        assert_eq!(heir(&state, a).unwrap(), a);
        for (from, to) in [(a, b), (b, c)] {
            state.0.insert((OWNERSHIP_RECEIPTS, slots::successor(from)), U256::from_be_bytes(to.into_word().0));
        }
        assert_eq!(heir(&state, a).unwrap(), c);
        state.0.insert((OWNERSHIP_RECEIPTS, slots::successor(c)), U256::from_be_bytes(a.into_word().0));
        assert!(heir(&state, a).is_err(), "a circle");
    }

    #[test]
    fn a_licence_is_what_its_hash_and_its_times_say() {
        let number = U256::from(7);
        let asset = B256::repeat_byte(1);
        let terms = Terms {
            kind: 0,
            token: Address::ZERO,
            price: 5,
            royalty: 3,
            compute: 9,
            duration: 100,
            revenueShare: 0,
            transferable: false,
            allowance: 0,
            details: B256::ZERO,
        };
        let mut state = State::default();
        let [hash, times] = slots::licence(number);
        state.0.insert((LICENCES, hash), terms.hash(asset).into());
        state.0.insert((LICENCES, times), U256::from(500) << 64 | U256::from(400));
        licence(&state, number, asset, &terms, 500).unwrap();
        let cheaper = Terms { royalty: 2, ..terms.clone() };
        for (asset, terms, ends) in [(asset, &cheaper, 500), (B256::ZERO, &terms, 500), (asset, &terms, 501)] {
            assert_eq!(licence(&state, number, asset, terms, ends).unwrap_err().exit_code(), 1);
        }
    }
}
