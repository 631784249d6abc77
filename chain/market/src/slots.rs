//! Where the contracts keep the few words that a share node asks to be proven, in Solidity's layout.

use alloy_primitives::{Address, B256, U256, keccak256};

/// In [`crate::INFERENCE_MARKET`]: the state of a session, [`SessionState`].
pub fn session(id: B256) -> B256 {
    mapping(id, U256::ZERO.into())
}

/// In [`crate::INFERENCE_MARKET`]: the state of a committee, [`CommitteeState`].
pub fn committee(id: B256) -> B256 {
    mapping(id, U256::from(1).into())
}

/// In [`crate::INFERENCE_MARKET`]: the highest total that was paid to a lane of a session.
pub fn settled(session: B256, lane: B256) -> B256 {
    mapping(lane, mapping(session, U256::from(2).into()))
}

/// In [`crate::INFERENCE_MARKET`]: the state of a request, [`RequestState`].
pub fn request(id: B256) -> B256 {
    mapping(id, U256::from(11).into())
}

/// In [`crate::INFERENCE_MARKET`]: the four words of what contracts may ask of an asset: lane, graph, parameters, and both prices
/// (`compute` in the upper half).
pub fn ask(asset: B256) -> [B256; 4] {
    let first = mapping(asset, U256::from(10).into());
    [0, 1, 2, 3].map(|word| after(first, word))
}

/// In [`crate::LICENCES`]: zero, or when a licence was withdrawn.
pub fn withdrawn(licence: U256) -> B256 {
    mapping(licence.into(), U256::ZERO.into())
}

/// In [`crate::LICENCES`]: the hash of a licence's asset and terms ([`crate::abi::Terms::hash`]), zero if there is no such licence; and
/// the word with its times and state, [`LicenceState`].
pub fn licence(licence: U256) -> [B256; 2] {
    let first = mapping(licence.into(), U256::from(10).into());
    [first, after(first, 2)]
}

/// In [`crate::LICENCES`]: zero while a ciphertext of an asset, with this root, was never opened.
pub fn opening(asset: B256, root: B256) -> B256 {
    mapping(root, mapping(asset, U256::from(8).into()))
}

/// In [`crate::OPERATORS`]: the operator of a node's key, [`account`].
pub fn operator_of(node: B256) -> B256 {
    mapping(node, U256::from(13).into())
}

/// In [`crate::OPERATORS`]: the key of an operator's node, and the word with its bond, [`bond`].
pub fn operator(operator: Address) -> [B256; 2] {
    let first = mapping(operator.into_word(), U256::ZERO.into());
    [first, after(first, 1)]
}

/// In [`crate::OPERATORS`]: an operator's place among those of an asset, [`Place`].
pub fn place(asset: B256, operator: Address) -> B256 {
    mapping(operator.into_word(), mapping(asset, U256::from(6).into()))
}

/// In [`crate::OWNERSHIP_RECEIPTS`]: whose all is that was an account's, [`account`]; zero if it is its own.
pub fn successor(account: Address) -> B256 {
    mapping(account.into_word(), U256::from(2).into())
}

/// In [`crate::PRIVACY_BUDGET`]: the state of a job, [`JobState`].
pub fn budget_job(id: B256) -> B256 {
    mapping(id, U256::ZERO.into())
}

fn mapping(key: B256, slot: B256) -> B256 {
    keccak256([key.0, slot.0].as_flattened())
}

/// The slot that many words after one.
fn after(slot: B256, words: u64) -> B256 {
    U256::from_be_bytes(slot.0).wrapping_add(U256::from(words)).into()
}

/// The account that a word names: zero if none; nothing if the word holds more.
pub fn account(word: U256) -> Option<Address> {
    (word >> 160usize == U256::ZERO).then(|| Address::from_word(word.into()))
}

/// The bond in the second word of an operator, in the smallest unit: what answers for it, without what leaves.
pub fn bond(word: U256) -> u128 {
    (word & U256::from(u128::MAX)).to()
}

/// What the word of an operator's place says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// One more than its index; zero if it has none.
    pub number: u128,
    /// Since which epoch of the beacon.
    pub since: u128,
}

impl Place {
    /// Reads the word.
    pub fn read(word: U256) -> Self {
        Self { number: (word & U256::from(u128::MAX)).to(), since: (word >> 128usize).to() }
    }
}

/// What the third word of a licence's record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LicenceState {
    /// When it was bought, in seconds since 1970.
    pub bought: u64,
    /// Until when it is good, in seconds since 1970.
    pub ends: u64,
    /// What its money does: 0 paid, 1 vesting, 2 sealed, 3 refunded.
    pub money: u8,
}

impl LicenceState {
    /// Reads the word.
    pub fn read(word: U256) -> Self {
        let [bought, ends, _, rest] = word.into_limbs();
        Self { bought, ends, money: rest.to_le_bytes()[0] }
    }
}

/// What the word of a session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// No such session was ever opened.
    None,
    /// Vouchers count.
    Open,
    /// It ends: until this time (seconds since 1970) totals are still taken.
    Closing(u64),
    /// It is over.
    Finished,
    /// A word that this program does not know.
    Unknown(U256),
}

impl SessionState {
    /// Reads the word.
    pub fn read(word: U256) -> Self {
        let [status, rest] = [word & U256::from(0xff), word >> 8];
        match (status.to::<u8>(), u64::try_from(rest)) {
            (0, Ok(0)) => Self::None,
            (1, Ok(0)) => Self::Open,
            (2, Ok(until)) => Self::Closing(until),
            (3, Ok(_)) => Self::Finished,
            _ => Self::Unknown(word),
        }
    }
}

/// What the word of a job says that draws on a dataset's privacy budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// No such job was ever reserved.
    None,
    /// It is put aside: nothing of it may be opened yet.
    Reserved,
    /// It is spent, since this time (seconds since 1970): what it opens may leave.
    Begun(u64),
    /// It was given back, and never begins.
    Released,
    /// A word that this program does not know.
    Unknown(U256),
}

impl JobState {
    /// Reads the word.
    pub fn read(word: U256) -> Self {
        let [status, rest] = [word & U256::from(0xff), word >> 8];
        match (status.to::<u8>(), u64::try_from(rest)) {
            (0, Ok(0)) => Self::None,
            (1, Ok(0)) => Self::Reserved,
            (2, Ok(since)) => Self::Begun(since),
            (3, Ok(0)) => Self::Released,
            _ => Self::Unknown(word),
        }
    }
}

/// What the word of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Nobody asked that.
    None,
    /// It waits for its answer.
    Waiting,
    /// It was answered, and paid.
    Answered,
    /// Nobody answered in time: its price went back.
    GivenBack,
    /// A word that this program does not know.
    Unknown(U256),
}

impl RequestState {
    /// Reads the word.
    pub fn read(word: U256) -> Self {
        match u64::try_from(word) {
            Ok(0) => Self::None,
            Ok(1) => Self::Waiting,
            Ok(2) => Self::Answered,
            Ok(3) => Self::GivenBack,
            _ => Self::Unknown(word),
        }
    }
}

/// What the word of a committee says: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitteeState {
    /// From when it serves; zero if there is no such committee.
    pub from: u64,
    /// When it was ended before its time; zero if it was not.
    pub ended: u64,
}

impl CommitteeState {
    /// Reads the word; nothing if it holds more than this program knows.
    pub fn read(word: U256) -> Option<Self> {
        let [from, ended, rest, more] = word.into_limbs();
        (rest == 0 && more == 0).then_some(Self { from, ended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_says_when_it_was_bought_and_what_its_money_does() {
        let word = U256::from_limbs([1_700_000_000, u64::MAX, 7, 2 | 600 << 8]);
        assert_eq!(LicenceState::read(word), LicenceState { bought: 1_700_000_000, ends: u64::MAX, money: 2 });
    }

    #[test]
    fn words_are_read_strictly() {
        let closing = U256::from(2) | U256::from(1_700_000_000u64) << 8;
        assert_eq!(SessionState::read(U256::ZERO), SessionState::None);
        assert_eq!(SessionState::read(U256::ONE), SessionState::Open);
        assert_eq!(SessionState::read(closing), SessionState::Closing(1_700_000_000));
        assert_eq!(SessionState::read(U256::from(3)), SessionState::Finished);
        for strange in [U256::from(4), U256::from(1) | U256::from(1) << 8, U256::from(2) | U256::from(1) << 80] {
            assert_eq!(SessionState::read(strange), SessionState::Unknown(strange));
        }
        assert_eq!(JobState::read(U256::ZERO), JobState::None);
        assert_eq!(JobState::read(U256::ONE), JobState::Reserved);
        assert_eq!(JobState::read(closing), JobState::Begun(1_700_000_000));
        assert_eq!(JobState::read(U256::from(3)), JobState::Released);
        for strange in [U256::from(4), U256::from(1) | U256::from(1) << 8, U256::from(2) | U256::from(1) << 80] {
            assert_eq!(JobState::read(strange), JobState::Unknown(strange));
        }
        let word = U256::from(5) | U256::from(6) << 64;
        assert_eq!(CommitteeState::read(word), Some(CommitteeState { from: 5, ended: 6 }));
        assert_eq!(CommitteeState::read(word | U256::from(1) << 128), None);
        let owner = Address::repeat_byte(7);
        assert_eq!(account(U256::from_be_bytes(owner.into_word().0)), Some(owner));
        assert_eq!(account(U256::ONE << 160), None);
        assert_eq!(bond(U256::from(9) << 128 | U256::from(5)), 5);
        assert_eq!(Place::read(U256::from(9) << 128 | U256::from(5)), Place { number: 5, since: 9 });
        let state = LicenceState { bought: 5, ends: 6, money: 0 };
        assert_eq!(LicenceState::read(word | U256::from(1) << 128), state);
        let states = [RequestState::None, RequestState::Waiting, RequestState::Answered, RequestState::GivenBack];
        for (word, state) in states.into_iter().enumerate() {
            assert_eq!(RequestState::read(U256::from(word)), state);
        }
        for strange in [U256::from(4), U256::from(1) << 64 | U256::from(1)] {
            assert_eq!(RequestState::read(strange), RequestState::Unknown(strange));
        }
    }
}
