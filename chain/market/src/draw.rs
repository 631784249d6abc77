//! Who is drawn for an asset in an epoch: the rule of `Operators.propose`, to be computed again by whoever does not want to take a
//! node's word for it.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;

/// What somebody needs as a bond at least, in the smallest unit: 100 coins.
pub const LEAST_BOND: u128 = 100_000_000_000_000_000_000;
/// Who is drawn in an epoch was there when the epoch so many before it ended.
pub const FREEZE: u64 = 2;
/// Seats that are drawn: three for the committee, and as many that stand by.
pub const DRAWN: usize = 6;

/// What an owner says about an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    #[default]
    None,
    /// It may serve where only those may who are named.
    Allowed,
    /// It may not.
    Denied,
}

/// What an owner asks of operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The least bond, in the smallest unit.
    pub least_bond: u128,
    /// Whether those only who are allowed by name.
    pub only_allowed: bool,
}

/// An operator who was ever willing to hold the asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volunteer {
    /// Its account.
    pub operator: Address,
    /// Its bond when the epoch ended at which it is looked at, in the smallest unit.
    pub bond: u128,
    /// Whether it was willing then.
    pub willing: bool,
    /// What the asset's owner says about it now.
    pub verdict: Verdict,
    /// Since which epoch it has its place among the asset's operators ([`crate::slots::place`]): it is drawn where that was before who
    /// can be drawn was settled.
    pub since: u64,
}

impl Volunteer {
    /// Whether it can be drawn in `epoch`.
    pub fn is_candidate(&self, policy: &Policy, epoch: u64) -> bool {
        let admitted = match self.verdict {
            Verdict::Denied => false,
            Verdict::Allowed => true,
            Verdict::None => !policy.only_allowed,
        };
        let placed = epoch.checked_sub(FREEZE).is_some_and(|frozen| self.since <= frozen);
        self.willing && admitted && placed && self.bond >= policy.least_bond.max(LEAST_BOND)
    }
}

/// Draws for `asset` in `epoch`, whose value of the beacon is `value`, among volunteers in the order in which they came: one after the
/// other, each with a chance in proportion to its bond. At most [`DRAWN`]; the first three are the committee, the others stand by.
/// Nothing when there are fewer than three candidates.
pub fn draw(value: B256, asset: B256, epoch: u64, policy: &Policy, volunteers: &[Volunteer]) -> Option<Vec<Address>> {
    let seed = keccak256((value, asset, U256::from(epoch)).abi_encode());
    let mut left: Vec<&Volunteer> =
        volunteers.iter().filter(|volunteer| volunteer.is_candidate(policy, epoch)).collect();
    if left.len() < 3 {
        return None;
    }
    let seats = left.len().min(DRAWN);
    let mut drawn = Vec::with_capacity(seats);
    for seat in 0..seats {
        let total: U256 = left.iter().map(|volunteer| U256::from(volunteer.bond)).sum();
        let mut point = U256::from_be_bytes(keccak256((seed, U256::from(seat)).abi_encode()).0) % total;
        let place = left.iter().position(|volunteer| {
            let bond = U256::from(volunteer.bond);
            let hit = point < bond;
            if !hit {
                point -= bond;
            }
            hit
        })?;
        drawn.push(left.remove(place).operator);
    }
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, b256};

    use super::*;

    const COIN: u128 = 1_000_000_000_000_000_000;

    fn volunteers(bonds: &[u128]) -> Vec<Volunteer> {
        let one = |(n, bond): (u8, &u128)| Volunteer {
            operator: Address::repeat_byte(n),
            bond: bond * COIN,
            willing: true,
            verdict: Verdict::None,
            since: 0,
        };
        (1u8..).zip(bonds).map(one).collect()
    }

    fn drawn(value: u8, policy: &Policy, volunteers: &[Volunteer]) -> Option<Vec<u8>> {
        let drawn = draw(B256::repeat_byte(value), B256::repeat_byte(9), 7, policy, volunteers)?;
        Some(drawn.into_iter().map(|operator| operator[0]).collect())
    }

    #[test]
    fn six_are_drawn_at_most_and_each_once() {
        let all = volunteers(&[100, 200, 300, 400, 500, 600, 700, 800]);
        let any = Policy::default();
        for value in 0..50 {
            let mut six = drawn(value, &any, &all).unwrap();
            six.sort_unstable();
            six.dedup();
            assert_eq!(six.len(), DRAWN);
        }
        assert_eq!(drawn(1, &any, &all[..4]).unwrap().len(), 4);
        assert_eq!(drawn(1, &any, &all[..2]), None);
    }

    #[test]
    fn who_is_not_bonded_willing_and_admitted_is_not_drawn() {
        let mut all = volunteers(&[100, 100, 100, 99, 100, 100]);
        (all[4].willing, all[5].verdict) = (false, Verdict::Denied);
        let any = Policy::default();
        let mut three = drawn(3, &any, &all).unwrap();
        three.sort_unstable();
        assert_eq!(three, [1, 2, 3]);
        assert_eq!(drawn(3, &Policy { least_bond: 101 * COIN, ..any }, &all), None);
        let named = Policy { only_allowed: true, ..any };
        assert_eq!(drawn(3, &named, &all), None);
        all.iter_mut().take(3).for_each(|volunteer| volunteer.verdict = Verdict::Allowed);
        assert_eq!(drawn(3, &named, &all).unwrap().len(), 3);
    }

    #[test]
    fn who_is_drawn_is_whom_the_contract_draws() {
        // What `propose` answered on a node, and what it says of the beacon and the operators.
        let asset = b256!("0xcf494758af9f3bab66995452ad4c895520ced911bf72c27f42a8c3c484f31b1b");
        let accounts = [
            address!("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
            address!("0x90F79bf6EB2c4f870365E785982E1f101E93b906"),
            address!("0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
            address!("0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
            address!("0x976EA74026E726554dB657fA54763abd0C3a0aa9"),
            address!("0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
            address!("0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"),
            address!("0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"),
        ];
        let mut all = volunteers(&[1000, 1000, 1000, 685, 822, 959, 1096, 1233]);
        all.iter_mut().zip(accounts).for_each(|(volunteer, operator)| volunteer.operator = operator);
        let picked = |value, epoch, all: &[Volunteer]| {
            let drawn = draw(value, asset, epoch, &Policy::default(), all).unwrap();
            drawn.iter().map(|one| accounts.iter().position(|account| account == one).unwrap()).collect::<Vec<_>>()
        };
        let value = b256!("0x62f1bcee8c6b5b647b169b04e43057363c8b8527fcbb5c46ca6b24048db86c87");
        assert_eq!(picked(value, 2, &all[..4]), [2, 0, 1, 3]);
        let value = b256!("0x41b68c812a63cd0e5f75e7b6d59180cd11481665040b31a898b84d72d5cfe38e");
        assert_eq!(picked(value, 3, &all), [6, 1, 0, 3, 2, 4]);
    }

    #[test]
    fn the_chance_is_in_proportion_to_the_bond() {
        let all = volunteers(&[100, 100, 100, 1700]);
        let first = (0..=255).filter(|value| drawn(*value, &Policy::default(), &all).unwrap()[0] == 4).count();
        assert!((205..=235).contains(&first), "{first} of 256 for 85 % of the stake");
    }
}
