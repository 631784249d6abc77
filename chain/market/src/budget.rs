//! How much may be learned from a dataset: what the contract at [`crate::PRIVACY_BUDGET`] does for one of them, to the last
//! nano.
//!
//! What is spent is kept as Rényi divergence at 32 fixed orders ([`QUARTERS`]), where it adds up. A job is reserved at its
//! worst case, begun (which spends it for good), or released. It is let in if the sum, with everything that is reserved, is
//! below the granted ε at one of the orders, by the conversion of Canonne, Kamath and Steinke (2020, proposition 12), with a
//! part of δ for each order that may decide. All numbers are integers, rounded against the spender.
//!
//! ```
//! use alloy_primitives::{Address, B256, U256};
//! use sahara_market::{
//!     abi::Job,
//!     budget::{ALL_ORDERS, Budget, Grant, QUARTERS, epsilon},
//! };
//!
//! // ε = 3, δ = 10^-5.
//! let grant = Grant { epsilon: 3_000_000_000, log_inverse_delta: 11_512_925_465, failure: 0, orders: ALL_ORDERS };
//! let (mut budget, spender) = (Budget::grant(grant)?, Address::repeat_byte(1));
//! budget.allow(spender, 3_000_000_000);
//! // A Gaussian mechanism with σ = 10 times the sensitivity: α / (2 σ²) at each order α.
//! let costs = QUARTERS.map(|quarters| u64::from(quarters) * 1_000_000_000 / 4 / 200 + 1);
//! let name = B256::ZERO;
//! let job = Job { dataset: name, spender, licence: U256::ZERO, name, until: 1_000, failure: 0, costs };
//! let id = B256::repeat_byte(7);
//! budget.reserve(id, &job, 900)?;
//! budget.begin(id, &job, 950)?;
//! assert_eq!(budget.spent(), epsilon(&costs, 11_512_925_465, ALL_ORDERS));
//! # Ok::<(), sahara_market::budget::Refusal>(())
//! ```

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue as _;

use crate::{
    PRIVACY_BUDGET,
    abi::{Job, PrivacyBudget as calls},
};

/// Four times each order: from 1.25 to 512.
pub const QUARTERS: [u16; ORDERS] = [
    5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    384, 512, 1024, 2048,
];
/// Orders.
pub const ORDERS: usize = 32;
/// Each order may decide.
pub const ALL_ORDERS: u32 = u32::MAX;
/// What no divergence of one job is above, in nano: it stands for all that is larger, and for what is not finite.
pub const MAX_COST: u64 = (1 << 48) - 1;
/// The most that can be granted, in nano.
pub const MOST_EPSILON: u64 = 1_000_000_000_000;
/// How large δ may be: the nano of ln 10^3.
pub const LEAST_LOG: u64 = 6_907_755_279;
/// How small δ may be: the nano of ln 10^30.
pub const MOST_LOG: u64 = 69_077_552_790;
/// What the chances of failure may sum to at most, in 10^-18.
pub const MOST_FAILURE: u64 = 1_000_000_000_000_000;
/// Between the announcement of a higher budget and the budget: seconds.
pub const RAISE_DELAY: u64 = 14 * 24 * 3_600;
/// And blocks.
pub const RAISE_BLOCKS: u64 = 600;
/// How long a raise can be carried out, in seconds.
pub const RAISE_WINDOW: u64 = 30 * 24 * 3600;
/// How many seconds a reservation holds at most.
pub const LONGEST_RESERVATION: u64 = 30 * 24 * 3_600;

/// For each order α the nano of ln α / (α - 1) - ln(1 - 1/α), rounded down.
const GAINS: [u32; ORDERS] = [
    2_502_012_117,
    1_909_542_504,
    1_593_452_244,
    1_386_294_361,
    1_236_530_837,
    1_121_686_111,
    954_771_252,
    837_577_424,
    749_780_192,
    681_050_827,
    625_503_029,
    540_673_450,
    478_469_038,
    430_594_470,
    392_436_107,
    361_203_303,
    312_911_981,
    277_112_382,
    249_377_769,
    208_963_414,
    180_735_867,
    159_782_626,
    143_546_630,
    119_904_460,
    103_419_388,
    91_206_718,
    81_762_374,
    68_047_473,
    58_517_070,
    46_048_140,
    25_659_693,
    14_163_106,
];
/// The nano of ln 1 to ln 32, rounded up.
const LOGARITHMS: [u32; ORDERS] = [
    0,
    693_147_181,
    1_098_612_289,
    1_386_294_362,
    1_609_437_913,
    1_791_759_470,
    1_945_910_150,
    2_079_441_542,
    2_197_224_578,
    2_302_585_093,
    2_397_895_273,
    2_484_906_650,
    2_564_949_358,
    2_639_057_330,
    2_708_050_202,
    2_772_588_723,
    2_833_213_345,
    2_890_371_758,
    2_944_438_980,
    2_995_732_274,
    3_044_522_438,
    3_091_042_454,
    3_135_494_216,
    3_178_053_831,
    3_218_875_825,
    3_258_096_539,
    3_295_836_867,
    3_332_204_511,
    3_367_295_830,
    3_401_197_382,
    3_433_987_205,
    3_465_735_903,
];

/// The ε of divergences in nano, rounded up: the least that one of these orders gives, each with its part of δ. Nothing
/// learned is nothing; without an order there is no bound.
pub fn epsilon(costs: &[u64; ORDERS], log_inverse_delta: u64, orders: u32) -> u128 {
    if costs[ORDERS - 1] == 0 {
        return 0;
    }
    let parts = LOGARITHMS.get(orders.count_ones().saturating_sub(1) as usize).copied().unwrap_or_default();
    let log = u128::from(log_inverse_delta).saturating_add(parts.into());
    (0..ORDERS)
        .filter(|order| orders >> order & 1 == 1)
        .map(|order| {
            let above = u128::from(QUARTERS[order]).saturating_sub(4);
            let whole = u128::from(costs[order]).saturating_add(log.saturating_mul(4).div_ceil(above));
            whole.saturating_sub(GAINS[order].into())
        })
        .min()
        .unwrap_or(u128::MAX)
}

/// The id of a job on this chain.
pub fn id(chain_id: u64, job: &Job) -> B256 {
    keccak256((U256::from(chain_id), PRIVACY_BUDGET, job.clone()).abi_encode())
}

/// What an owner grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// ε in nano.
    pub epsilon: u64,
    /// ln(1/δ) in nano.
    pub log_inverse_delta: u64,
    /// What the chances of failure may sum to, in 10^-18.
    pub failure: u64,
    /// Which orders may decide, as bits.
    pub orders: u32,
}

/// Why a budget does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A grant that makes no sense.
    #[error("the grant makes no sense: {0}")]
    WrongGrant(&'static str),
    /// Not below, or not above, what it is.
    #[error("the budget is {0} nano, and would not change")]
    NoChange(u64),
    /// No raise is announced, or its time has not come.
    #[error(
        "no raise is announced, or its time has not come or is over: announce it, and come back after {RAISE_DELAY} seconds"
    )]
    NotRaised,
    /// A job that makes no sense.
    #[error("the job makes no sense: {0}")]
    WrongJob(&'static str),
    /// It had to begin before.
    #[error("the job had to begin until {0} (seconds since 1970): reserve another one")]
    TooLate(u64),
    /// Others may release it later.
    #[error("only its spender may release the job until {0} (seconds since 1970)")]
    TooEarly(u64),
    /// The job is unknown, known before, begun or released.
    #[error("the job is not in that state: it is unknown, reserved, begun or released")]
    WrongState,
    /// Nothing is allowed.
    #[error("the dataset's owner allowed this spender nothing: ask for an allowance or buy a licence that has one")]
    NotAllowed,
    /// The budget does not suffice.
    #[error("the dataset's budget would be at {epsilon} of {granted} nano")]
    OverBudget {
        /// What it would come to.
        epsilon: u128,
        /// What there is.
        granted: u64,
    },
    /// The allowance does not suffice.
    #[error("the allowance would be at {epsilon} of {allowed} nano")]
    OverAllowance {
        /// What it would come to.
        epsilon: u128,
        /// What there is.
        allowed: u64,
    },
    /// Too many chances of failure.
    #[error("the chances of failure would sum to {failure} of {granted} (in 10^-18)")]
    FailureAbove {
        /// What it would come to.
        failure: u64,
        /// What there is.
        granted: u64,
    },
}

impl Refusal {
    /// What the contract reverts with.
    pub fn selector(&self) -> [u8; 4] {
        use alloy_sol_types::SolError as _;
        match self {
            Self::WrongGrant(_) => calls::WrongGrant::SELECTOR,
            Self::NoChange(_) => calls::NoChange::SELECTOR,
            Self::NotRaised => calls::NotRaised::SELECTOR,
            Self::WrongJob(_) => calls::WrongJob::SELECTOR,
            Self::TooLate(_) => calls::TooLate::SELECTOR,
            Self::TooEarly(_) => calls::TooEarly::SELECTOR,
            Self::WrongState => calls::WrongState::SELECTOR,
            Self::NotAllowed => calls::NotAllowed::SELECTOR,
            Self::OverBudget { .. } => calls::OverBudget::SELECTOR,
            Self::OverAllowance { .. } => calls::OverAllowance::SELECTOR,
            Self::FailureAbove { .. } => calls::FailureAbove::SELECTOR,
        }
    }
}

/// Divergences and chances of failure that were added up. What does not fit stays at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    costs: [u64; ORDERS],
    failure: u64,
}

impl Sum {
    fn add(&mut self, job: &Job) {
        for (sum, cost) in self.costs.iter_mut().zip(job.costs) {
            *sum = sum.saturating_add(cost);
        }
        self.failure = self.failure.saturating_add(job.failure);
    }

    /// Takes out a job that was added. What was full once stays full: nobody knows how much was above.
    fn remove(&mut self, job: &Job) {
        let minus = |sum: u64, cost: u64| if sum == u64::MAX { sum } else { sum.saturating_sub(cost) };
        for (sum, cost) in self.costs.iter_mut().zip(job.costs) {
            *sum = minus(*sum, cost);
        }
        self.failure = minus(self.failure, job.failure);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reserved,
    Begun,
    Released,
}

/// On whose allowance a job draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Drawer {
    Account(Address),
    Licence(U256),
}

impl Drawer {
    fn of(job: &Job) -> Self {
        if job.licence.is_zero() { Self::Account(job.spender) } else { Self::Licence(job.licence) }
    }
}

/// One dataset's budget.
#[derive(Clone, Debug)]
pub struct Budget {
    grant: Grant,
    /// To which ε, from which time and which block on.
    raise: Option<(u64, u64, u64)>,
    spent: Sum,
    /// Spent and reserved.
    total: Sum,
    drawn: BTreeMap<Drawer, Sum>,
    allowances: BTreeMap<Drawer, u64>,
    jobs: BTreeMap<B256, State>,
}

impl Budget {
    /// A budget of which nothing is spent.
    ///
    /// # Errors
    /// [`Refusal::WrongGrant`] if a number is out of its range.
    pub fn grant(grant: Grant) -> Result<Self, Refusal> {
        let wrong = [
            (grant.epsilon > MOST_EPSILON, "epsilon: at most 1000"),
            (
                !(LEAST_LOG..=MOST_LOG).contains(&grant.log_inverse_delta),
                "logInverseDelta: delta is between 10^-30 and 10^-3",
            ),
            (grant.failure > MOST_FAILURE, "failure: at most 10^-3"),
            (grant.orders == 0, "orders: none"),
        ];
        if let Some((_, why)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(Refusal::WrongGrant(why));
        }
        Ok(Self {
            grant,
            raise: None,
            spent: Sum::default(),
            total: Sum::default(),
            drawn: BTreeMap::new(),
            allowances: BTreeMap::new(),
            jobs: BTreeMap::new(),
        })
    }

    /// What is granted now, ε in nano.
    pub fn granted(&self) -> u64 {
        self.grant.epsilon
    }

    /// The ε that is spent, in nano.
    pub fn spent(&self) -> u128 {
        self.epsilon_of(&self.spent)
    }

    /// The ε that is spent or reserved, in nano.
    pub fn with_reserved(&self) -> u128 {
        self.epsilon_of(&self.total)
    }

    /// The chances of failure that are spent, and those that are spent or reserved, in 10^-18.
    pub fn failures(&self) -> (u64, u64) {
        (self.spent.failure, self.total.failure)
    }

    /// Lowers it at once, to what is spent at least. A raise that was announced is forgotten.
    ///
    /// # Errors
    /// [`Refusal::NoChange`] if it is no higher now.
    pub fn lower(&mut self, epsilon: u64) -> Result<(), Refusal> {
        let to = u64::try_from(self.spent()).unwrap_or(u64::MAX).max(epsilon);
        if to >= self.grant.epsilon {
            return Err(Refusal::NoChange(self.grant.epsilon));
        }
        self.grant.epsilon = to;
        self.raise = None;
        Ok(())
    }

    /// Announces a higher one, at this time (seconds since 1970) and height.
    ///
    /// # Errors
    /// [`Refusal::WrongGrant`] if it is too high, [`Refusal::NoChange`] if it is not higher.
    pub fn announce_raise(&mut self, epsilon: u64, now: u64, height: u64) -> Result<(), Refusal> {
        if epsilon > MOST_EPSILON {
            return Err(Refusal::WrongGrant("epsilon: at most 1000"));
        }
        if epsilon <= self.grant.epsilon {
            return Err(Refusal::NoChange(self.grant.epsilon));
        }
        self.raise = Some((epsilon, now.saturating_add(RAISE_DELAY), height.saturating_add(RAISE_BLOCKS)));
        Ok(())
    }

    /// Raises it as announced.
    ///
    /// # Errors
    /// [`Refusal::NotRaised`] if nothing is announced, or its time or height has not come, or is over.
    pub fn raise(&mut self, now: u64, height: u64) -> Result<(), Refusal> {
        match self.raise {
            Some((epsilon, from, from_block))
                if (from..=from.saturating_add(RAISE_WINDOW)).contains(&now) && height >= from_block =>
            {
                self.grant.epsilon = epsilon;
                self.raise = None;
                Ok(())
            }
            _ => Err(Refusal::NotRaised),
        }
    }

    /// How much an account may draw itself, in nano.
    pub fn allow(&mut self, spender: Address, epsilon: u64) {
        self.allowances.insert(Drawer::Account(spender), epsilon);
    }

    /// How much the users of a licence may draw together, in nano: the allowance in its terms.
    pub fn license(&mut self, licence: U256, allowance: u64) {
        self.allowances.insert(Drawer::Licence(licence), allowance);
    }

    /// Puts the worst case of a job aside.
    ///
    /// # Errors
    /// If the job makes no sense or is known, or the allowance or the budget does not suffice.
    pub fn reserve(&mut self, id: B256, job: &Job, now: u64) -> Result<(), Refusal> {
        if self.jobs.contains_key(&id) {
            return Err(Refusal::WrongState);
        }
        sensible(job, now)?;
        let (mut total, mut drawn) = (self.total, self.drawn_by(job));
        total.add(job);
        drawn.add(job);
        self.allowed(job, &drawn)?;
        self.within(&total)?;
        self.total = total;
        self.drawn.insert(Drawer::of(job), drawn);
        self.jobs.insert(id, State::Reserved);
        Ok(())
    }

    /// Spends it, for good.
    ///
    /// # Errors
    /// If it is not reserved, or too late, or the owner has lowered budget or allowance below it.
    pub fn begin(&mut self, id: B256, job: &Job, now: u64) -> Result<(), Refusal> {
        self.is_reserved(id)?;
        if now > job.until {
            return Err(Refusal::TooLate(job.until));
        }
        self.allowed(job, &self.drawn_by(job))?;
        let mut spent = self.spent;
        spent.add(job);
        self.within(&spent)?;
        self.spent = spent;
        self.jobs.insert(id, State::Begun);
        Ok(())
    }

    /// Gives back what did not begin: by its spender, or by anybody after its time.
    ///
    /// # Errors
    /// If it is not reserved, or somebody else's and its time is not over.
    pub fn release(&mut self, id: B256, job: &Job, caller: Address, now: u64) -> Result<(), Refusal> {
        self.is_reserved(id)?;
        if caller != job.spender && now <= job.until {
            return Err(Refusal::TooEarly(job.until));
        }
        self.total.remove(job);
        if let Some(drawn) = self.drawn.get_mut(&Drawer::of(job)) {
            drawn.remove(job);
        }
        self.jobs.insert(id, State::Released);
        Ok(())
    }

    fn epsilon_of(&self, sum: &Sum) -> u128 {
        epsilon(&sum.costs, self.grant.log_inverse_delta, self.grant.orders)
    }

    fn drawn_by(&self, job: &Job) -> Sum {
        self.drawn.get(&Drawer::of(job)).copied().unwrap_or_default()
    }

    fn is_reserved(&self, id: B256) -> Result<(), Refusal> {
        if self.jobs.get(&id) == Some(&State::Reserved) { Ok(()) } else { Err(Refusal::WrongState) }
    }

    fn allowed(&self, job: &Job, drawn: &Sum) -> Result<(), Refusal> {
        let allowed = self.allowances.get(&Drawer::of(job)).copied().unwrap_or_default();
        if allowed == 0 {
            return Err(Refusal::NotAllowed);
        }
        let epsilon = self.epsilon_of(drawn);
        if epsilon > u128::from(allowed) {
            return Err(Refusal::OverAllowance { epsilon, allowed });
        }
        if allowed < self.grant.epsilon {
            let part = u128::from(self.grant.failure) * u128::from(allowed) / u128::from(self.grant.epsilon);
            failure_within(drawn.failure, u64::try_from(part).unwrap_or(u64::MAX))?;
        }
        Ok(())
    }

    fn within(&self, sum: &Sum) -> Result<(), Refusal> {
        let (epsilon, granted) = (self.epsilon_of(sum), self.grant.epsilon);
        if epsilon > u128::from(granted) {
            return Err(Refusal::OverBudget { epsilon, granted });
        }
        failure_within(sum.failure, self.grant.failure)
    }
}

fn failure_within(failure: u64, granted: u64) -> Result<(), Refusal> {
    if failure > granted { Err(Refusal::FailureAbove { failure, granted }) } else { Ok(()) }
}

fn sensible(job: &Job, now: u64) -> Result<(), Refusal> {
    if job.until < now || job.until > now.saturating_add(LONGEST_RESERVATION) {
        return Err(Refusal::WrongJob("until: now to thirty days from now"));
    }
    if !job.costs.is_sorted() {
        return Err(Refusal::WrongJob("costs: they never fall with the order"));
    }
    match job.costs[ORDERS - 1] {
        0 => Err(Refusal::WrongJob("costs: what costs nothing needs no budget")),
        1..=MAX_COST => Ok(()),
        _ => Err(Refusal::WrongJob("costs: above MAX_COST")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ε of a Gaussian mechanism by the formula in floating point, over all orders.
    fn by_formula(costs: &[u64; ORDERS], log_inverse_delta: u64, orders: u32) -> f64 {
        let log = log_inverse_delta as f64 / 1e9 + f64::from(orders.count_ones()).ln();
        (0..ORDERS)
            .filter(|order| orders >> order & 1 == 1)
            .map(|order| {
                let a = f64::from(QUARTERS[order]) / 4.0;
                costs[order] as f64 / 1e9 + (1.0 - 1.0 / a).ln() + (log - a.ln()) / (a - 1.0)
            })
            .fold(f64::INFINITY, f64::min)
            .max(0.0)
    }

    fn gaussian(nano: u64) -> [u64; ORDERS] {
        QUARTERS.map(|quarters| (u64::from(quarters) * nano).div_ceil(4))
    }

    #[test]
    fn constants_are_rounded_against_the_spender() {
        for order in 0..ORDERS {
            let a = f64::from(QUARTERS[order]) / 4.0;
            let gain = (a.ln() / (a - 1.0) - (1.0 - 1.0 / a).ln()) * 1e9;
            assert_eq!(f64::from(GAINS[order]), gain.floor(), "{a}");
            let log = (order as f64 + 1.0).ln() * 1e9;
            assert_eq!(f64::from(LOGARITHMS[order]), log.ceil(), "{order}");
        }
        assert!((LEAST_LOG as f64) >= 1e3f64.ln() * 1e9 && LEAST_LOG as f64 - 1.0 < 1e3f64.ln() * 1e9);
    }

    #[test]
    fn epsilon_is_the_formulas_and_never_below_it() {
        for nano in [1, 1_000, 1_000_000, 20_000_000, 500_000_000, 3_000_000_000] {
            for (log, orders) in [(11_512_925_465, ALL_ORDERS), (20_000_000_000, 1 << 14), (LEAST_LOG, 0xff00)] {
                let (costs, found) = (gaussian(nano), epsilon(&gaussian(nano), log, orders) as f64);
                let formula = by_formula(&costs, log, orders) * 1e9;
                assert!(found >= formula - 0.01 && found < formula + 4.0, "{nano} {log} {orders}: {found} {formula}");
            }
        }
        assert_eq!(epsilon(&[0; ORDERS], 11_512_925_465, ALL_ORDERS), 0);
        assert_eq!(epsilon(&gaussian(1), 11_512_925_465, 0), u128::MAX, "no order, no bound");
        assert!(epsilon(&[MAX_COST; ORDERS], LEAST_LOG, ALL_ORDERS) > u128::from(MOST_EPSILON));
    }

    #[test]
    fn what_is_full_stays_full() {
        let mut sum = Sum { costs: [u64::MAX - MAX_COST + 1; ORDERS], failure: u64::MAX };
        let job = Job { costs: [MAX_COST; ORDERS], failure: 1, ..blank() };
        sum.add(&job);
        sum.remove(&job);
        assert_eq!(sum, Sum { costs: [u64::MAX; ORDERS], failure: u64::MAX });
    }

    #[test]
    fn grants_and_jobs_have_their_bounds() {
        let good = Grant { epsilon: MOST_EPSILON, log_inverse_delta: LEAST_LOG, failure: MOST_FAILURE, orders: 1 };
        assert!(Budget::grant(good).is_ok());
        for wrong in [
            Grant { epsilon: MOST_EPSILON + 1, ..good },
            Grant { log_inverse_delta: LEAST_LOG - 1, ..good },
            Grant { log_inverse_delta: MOST_LOG + 1, ..good },
            Grant { failure: MOST_FAILURE + 1, ..good },
            Grant { orders: 0, ..good },
        ] {
            assert!(matches!(Budget::grant(wrong), Err(Refusal::WrongGrant(_))), "{wrong:?}");
        }
        let good = Job { costs: gaussian(1), until: 100, ..blank() };
        assert_eq!(sensible(&good, 100), Ok(()));
        let mut falls = good.clone();
        falls.costs[3] = falls.costs[2] - 1;
        let mut large = good.clone();
        large.costs[31] = MAX_COST + 1;
        let never = Job { costs: [0; ORDERS], ..good.clone() };
        let late = Job { until: 101 + LONGEST_RESERVATION, ..good.clone() };
        for wrong in [Job { until: 99, ..good }, late, falls, large, never] {
            assert!(matches!(sensible(&wrong, 100), Err(Refusal::WrongJob(_))), "{wrong:?}");
        }
    }

    fn blank() -> Job {
        Job {
            dataset: B256::ZERO,
            spender: Address::ZERO,
            licence: U256::ZERO,
            name: B256::ZERO,
            until: 0,
            failure: 0,
            costs: [0; ORDERS],
        }
    }
}
