//! Chains of hashes: the secret that all chains of a node come from.

use alloy_primitives::B256;
use zeroize::Zeroizing;

use super::{
    commitment::{Commitment, MAX_LENGTH, hash, step},
    state::Chain,
};

/// Steps in the chains that this program makes: with the last half begins the next chain.
pub const LENGTH: u64 = 1 << 16;

/// Values of a chain that are kept, each so many steps after the one before: a preimage is found in as many steps at most.
const SPACING: u64 = 1 << 8;

/// Chains that one question computes at most: a proposal must not wait for all of them.
const AT_ONCE: u64 = 8;

/// How far above the ledger's number a chain is looked for: whoever announces a chain by hand may skip numbers.
const ABOVE: u64 = 64;

/// The secret of a node: each of its chains begins with a hash of it and the chain's number. It is never printed.
pub struct Secret {
    seed: Zeroizing<[u8; 32]>,
    /// Steps in each chain.
    length: u64,
    /// The two chains that were used last, the last one first: around a renewal both are asked for in turn.
    known: Vec<Known>,
    search: Search,
}

/// How far a tip was looked for: each chain is computed once for it, however often it is asked for.
#[derive(Default)]
struct Search {
    tip: B256,
    left: u64,
    /// Places in the order of search that were looked at.
    tried: u64,
}

struct Known {
    number: u64,
    /// Every `SPACING`th value, from the beginning.
    kept: Zeroizing<Vec<[u8; 32]>>,
    /// The values of one such stretch.
    stretch: (u64, Zeroizing<Vec<[u8; 32]>>),
    commitment: Commitment,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// The secret with this seed.
    pub fn new(seed: Zeroizing<[u8; 32]>) -> Self {
        Self { seed, length: LENGTH, known: Vec::new(), search: Search::default() }
    }

    /// The same secret with chains of `length` steps; at least one and at most [`MAX_LENGTH`].
    pub fn with_length(self, length: u64) -> Self {
        Self { length: length.clamp(1, MAX_LENGTH), known: Vec::new(), search: Search::default(), ..self }
    }

    /// Steps in each of its chains.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A fresh one: seed and secret.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate() -> Result<(Zeroizing<[u8; 32]>, Self), getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        Ok((seed.clone(), Self::new(seed)))
    }

    /// The commitment to chain `number`.
    pub fn commitment(&mut self, number: u64) -> Commitment {
        self.chain(number).commitment
    }

    /// The preimage of `tip`, of which `left` preimages can be shown: if `tip` is of this node's chain `number`.
    pub fn preimage(&mut self, number: u64, tip: B256, left: u64) -> Option<B256> {
        let at = left.checked_sub(1).filter(|at| *at < self.length)?;
        let value = self.chain(number).value(at);
        (step(&value) == tip).then_some(value)
    }

    /// Which of this node's chains ends in `tip`, `left` preimages from its beginning, if the ledger counts `number` chains
    /// of its validator before that one. Looks at the chain used last and the one after it, then from `number` outwards
    /// (its node may have come by another secret in the meantime, whose chains begin at 0): a few of them a call, so that
    /// nobody waits. The next call for the same tip goes on where this one ended, and one that found nothing at the end of
    /// the search costs nothing.
    pub fn number_of(&mut self, tip: B256, left: u64, number: u64) -> Option<u64> {
        let at = left.checked_sub(1).filter(|at| *at < self.length)?;
        let last = self.known.first().map(|known| known.number);
        if let Some(last) = last.filter(|last| self.preimage(*last, tip, left).is_some()) {
            return Some(last);
        }
        if (self.search.tip, self.search.left) != (tip, left) {
            self.search = Search { tip, left, tried: 0 };
            let next = last.and_then(|last| last.checked_add(1)).filter(|next| self.matches(*next, at, tip));
            if next.is_some() {
                return next;
            }
        }
        // At even places downwards from `number`, at odd ones upwards.
        let end = number.max(ABOVE).saturating_add(1).saturating_mul(2);
        let mut computed = 0;
        while self.search.tried < end && computed < AT_ONCE {
            let place = self.search.tried;
            self.search.tried += 1;
            let candidate = match (place.is_multiple_of(2), place / 2) {
                (true, down) => number.checked_sub(down),
                (false, up) => number.checked_add(up + 1).filter(|_| up < ABOVE),
            };
            let Some(candidate) = candidate else { continue };
            computed += 1;
            if self.matches(candidate, at, tip) {
                // Asked again before another chain is used, the answer is the same.
                self.search.tried = place;
                return Some(candidate);
            }
        }
        None
    }

    /// The same, to the end of the search, for who has the time. Knows its chains at their end too, where `left` is zero.
    pub fn find(&mut self, tip: B256, left: u64, number: u64) -> Option<u64> {
        if left == 0 {
            let all = 0..=number.saturating_add(ABOVE);
            return all.into_iter().find(|number| beginning(&self.seed, *number) == tip);
        }
        let mut before = None;
        while before != Some(self.search.tried) {
            before = (self.search.tip == tip).then_some(self.search.tried);
            if let Some(found) = self.number_of(tip, left, number) {
                return Some(found);
            }
        }
        None
    }

    /// The first of this node's chains that its validator, whose chain the ledger knows as `chain`, has not announced: a
    /// chain of which something was shown would show it again.
    pub fn unused(&mut self, chain: &Chain) -> u64 {
        let next = chain.next.map(|(next, _)| (next.tip, next.length));
        let announced = [Some((chain.tip, chain.left)), next].into_iter().flatten();
        let found = announced.filter_map(|(tip, left)| self.find(tip, left, chain.number)).max();
        found.map_or(0, |last| last.saturating_add(1))
    }

    /// Whether the value after the one at `at` of chain `number` is `tip`. Keeps nothing.
    fn matches(&self, number: u64, at: u64, tip: B256) -> bool {
        match self.known.iter().find(|known| known.number == number) {
            Some(known) if at + 1 == self.length => known.commitment.tip == tip,
            _ => (0..=at).fold(beginning(&self.seed, number), |value, _| step(&value)) == tip,
        }
    }

    fn chain(&mut self, number: u64) -> &mut Known {
        let known = self.known.iter().position(|known| known.number == number).map(|place| self.known.remove(place));
        let known = known.unwrap_or_else(|| Known::new(&self.seed, number, self.length));
        self.known.truncate(1);
        self.known.insert(0, known);
        &mut self.known[0]
    }
}

/// The first value of chain `number`.
fn beginning(seed: &[u8; 32], number: u64) -> B256 {
    hash(b"sahara beacon seed 1", &[seed, &number.to_be_bytes()])
}

impl Known {
    fn new(seed: &[u8; 32], number: u64, length: u64) -> Self {
        let mut value = beginning(seed, number);
        let mut kept = Zeroizing::new(Vec::with_capacity(usize::try_from(length.div_ceil(SPACING)).unwrap_or(0)));
        for at in 0..length {
            if at.is_multiple_of(SPACING) {
                kept.push(value.0);
            }
            value = step(&value);
        }
        let commitment = Commitment { tip: value, length };
        Self { number, kept, stretch: (u64::MAX, Zeroizing::new(vec![])), commitment }
    }

    fn value(&mut self, at: u64) -> B256 {
        let (stretch, inside) = (at / SPACING, usize::try_from(at % SPACING).unwrap_or(0));
        if self.stretch.0 != stretch {
            let index = usize::try_from(stretch).unwrap_or(usize::MAX);
            let mut value = B256::from(self.kept.get(index).copied().unwrap_or_default());
            let mut values = Zeroizing::new(Vec::with_capacity(usize::try_from(SPACING).unwrap_or(0)));
            for _ in 0..SPACING {
                values.push(value.0);
                value = step(&value);
            }
            self.stretch = (stretch, values);
        }
        B256::from(self.stretch.1.get(inside).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preimage_of_a_chain_is_found_and_no_other_chain_has_it() {
        let mut secret = Secret::new(Zeroizing::new([7; 32]));
        let Commitment { mut tip, length } = secret.commitment(3);
        assert_eq!(length, LENGTH);
        for left in (1..=LENGTH).rev().take(600) {
            let value = secret.preimage(3, tip, left).unwrap();
            assert_eq!(step(&value), tip);
            assert_eq!(secret.preimage(3, tip, left - 1), None);
            tip = value;
        }
        assert_eq!(secret.preimage(4, tip, LENGTH - 600), None);
        assert_eq!(secret.number_of(tip, LENGTH - 600, 5), Some(3));
        assert_eq!(secret.preimage(3, tip, 0), None);
        assert_eq!(secret.preimage(3, tip, u64::MAX), None);
        assert_ne!(secret.commitment(4), Secret::new(Zeroizing::new([8; 32])).commitment(4));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn the_first_value_of_a_chain_is_its_last_preimage() {
        let mut secret = Secret::new(Zeroizing::new([7; 32]));
        let begin = secret.chain(0).value(0);
        let tip = (1..LENGTH).fold(step(&begin), |value, _| step(&value));
        assert_eq!(secret.commitment(0).tip, tip);
        assert_eq!(secret.preimage(0, step(&begin), 1), Some(begin));
    }

    fn short(length: u64) -> Secret {
        Secret::new(Zeroizing::new([7; 32])).with_length(length)
    }

    #[test]
    fn a_node_that_just_started_finds_any_of_its_chains_in_bounded_steps() {
        for (chain, ledger) in [(0, 0), (65, 65), (130, 130), (0, 131), (3, 500), (90, 91), (66, 65), (70, 6)] {
            for length in [1, 8, 300] {
                for left in [1, length] {
                    let tip = step(&short(length).chain(chain).value(left - 1));
                    let mut fresh = short(length);
                    let asked = (0..=1000).find(|_| fresh.number_of(tip, left, ledger) == Some(chain));
                    let asked = asked.unwrap_or_else(|| panic!("chain {chain} of {ledger}, {left} of {length}"));
                    let most = 2 * chain.abs_diff(ledger) / AT_ONCE;
                    assert!(asked <= most, "chain {chain} of {ledger} took {asked} questions more than one");
                    assert_eq!(fresh.number_of(tip, left, ledger), Some(chain), "asked again");
                }
            }
        }
    }

    #[test]
    fn what_is_not_this_nodes_is_looked_for_once_and_does_not_hide_what_is() {
        let mut secret = short(8);
        let stranger = B256::repeat_byte(9);
        for _ in 0..100 {
            assert_eq!(secret.number_of(stranger, 8, 200), None);
        }
        assert_eq!(secret.search.tried, 402, "every chain up to the ledger's number, and no more");
        let own = secret.commitment(200);
        assert_eq!(secret.number_of(own.tip, 8, 200), Some(200));
        assert_eq!(secret.number_of(short(8).commitment(201).tip, 8, 0), Some(201), "the one after the last used");
        assert_eq!(secret.number_of(own.tip, 0, 200), None);
        assert_eq!(secret.number_of(own.tip, 9, 200), None, "longer than its chains are");
    }

    #[test]
    fn two_chains_stay_at_hand_and_no_more() {
        let mut secret = short(8);
        for number in [4, 5, 4, 5, 6] {
            secret.commitment(number);
        }
        assert_eq!(secret.known.iter().map(|known| known.number).collect::<Vec<_>>(), [6, 5]);
    }

    #[test]
    fn no_chain_is_offered_of_which_anything_was_announced() {
        let unused = |chain: Chain| short(8).unused(&chain);
        let at = |number: u64, left: u64| {
            let mut own = short(8);
            let tip = if left == 8 { own.commitment(number).tip } else { own.chain(number).value(left) };
            Chain { tip, left, number, ..Chain::default() }
        };
        assert_eq!(unused(Chain::default()), 0, "it has announced nothing");
        for left in [0, 1, 5, 8] {
            assert_eq!(unused(at(0, left)), 1, "{left} left");
            assert_eq!(unused(at(100, left)), 101, "{left} left");
            assert_eq!(unused(Chain { number: 300, ..at(100, left) }), 101, "{left} left, after a lost secret");
        }
        let next = Some((short(8).commitment(5), 9));
        assert_eq!(unused(Chain { next, ..at(4, 3) }), 6);
        let strange = Chain { tip: B256::repeat_byte(9), left: 4, number: 100, ..Chain::default() };
        assert_eq!(unused(strange), 0, "another secret's");
    }

    #[test]
    fn one_question_computes_so_many_chains_and_another_length_is_another_chain() {
        let mut secret = Secret::new([7; 32].into()).with_length(8);
        assert_eq!(secret.number_of(B256::repeat_byte(1), 1, 1_000), None);
        assert_eq!(secret.search.tried, AT_ONCE);
        let long = secret.commitment(0);
        let mut secret = secret.with_length(4);
        assert_eq!((secret.commitment(0).length, long.length), (4, 8));
        assert_ne!(secret.commitment(0).tip, long.tip);
    }
}
