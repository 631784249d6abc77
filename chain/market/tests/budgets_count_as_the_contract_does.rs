//! The random histories of chain/contracts/test/protocol/PrivacyBudget.t.sol, told once more without a contract: jobs that four
//! spenders reserve, begin, give back or forget, time, and an owner who changes its mind. The hash over all answers is the one
//! that the contract gave. Others are only told here, with many more steps; whatever happens, what the begun jobs cost is summed
//! up independently, in floating point, and is within what is granted.

use alloy_primitives::{Address, B256, U256, b256, keccak256};
use alloy_sol_types::SolValue as _;
use sahara_market::{
    abi::Job,
    budget::{Budget, Grant, MAX_COST, ORDERS, QUARTERS, Refusal},
};

const SPENDERS: u64 = 4;
const LOG: u64 = 11_512_925_465;
const DAY: u64 = 86_400;

#[test]
fn a_long_history_is_told_the_same_by_the_contract() {
    let history = History::tell(11, 600);
    assert_eq!(history.trail, b256!("df3af2d1dc00432ef46c32466b84f8847a6bc68a4d924fa7c1bf828137454410"));
}

#[test]
fn no_schedule_overspends() {
    let mut refused = [0u32; 6];
    for seed in 100..160 {
        let history = History::tell(seed, 2_000);
        (0..6).for_each(|kind| refused[kind] += history.refused[kind]);
    }
    // Each rule had something to refuse.
    assert!(refused.iter().all(|count| *count > 10), "{refused:?}");
}

struct History {
    state: U256,
    clock: u64,
    height: u64,
    grant: Grant,
    budget: Budget,
    known: Vec<Job>,
    begun: Vec<bool>,
    sums: [u64; ORDERS],
    refused: [u32; 6],
    trail: B256,
}

#[expect(clippy::unwrap_used, reason = "grants of a history are in range")]
impl History {
    fn tell(seed: u64, steps: usize) -> Self {
        let mut state = U256::from(seed);
        let mut random = |below| random(&mut state, below);
        let (epsilon, failure, orders) = (random(5_000_000_000), random(2_000), random(u64::from(u32::MAX)));
        let grant = Grant { epsilon, log_inverse_delta: LOG, failure, orders: 1 + orders as u32 };
        let mut budget = Budget::grant(grant).unwrap();
        for i in 0..SPENDERS {
            budget.allow(spender(i), random(5_000_000_000));
        }
        let mut history = Self {
            state,
            clock: 1_800_000_000,
            height: 101,
            grant,
            budget,
            known: Vec::new(),
            begun: Vec::new(),
            sums: [0; ORDERS],
            refused: [0; 6],
            trail: B256::ZERO,
        };
        for _ in 0..steps {
            history.step();
            history.check(seed);
        }
        history
    }

    fn step(&mut self) {
        match self.random(10) {
            0..=2 => self.reserve(),
            3..=5 => self.begin(),
            6 => self.release(),
            7 => {
                let time = self.random(2 * DAY);
                self.clock += time;
                self.height += time / 6;
            }
            8 => self.change(),
            _ => {
                // The contract's test names its spender first.
                let who = spender(self.random(SPENDERS));
                let epsilon = self.random(5_000_000_000);
                self.budget.allow(who, epsilon);
                self.note(Ok(()));
            }
        }
    }

    fn reserve(&mut self) {
        let who = spender(self.random(SPENDERS));
        let nano = 1 + self.random(60_000_000);
        let mut job = Job {
            dataset: B256::ZERO,
            spender: who,
            licence: U256::ZERO,
            name: id(self.known.len()),
            until: self.clock + self.random(3 * DAY),
            failure: self.random(200),
            costs: QUARTERS.map(|quarters| (u64::from(quarters) * nano).div_ceil(4)),
        };
        let bounded = self.random(40) as usize;
        job.costs.iter_mut().skip(bounded).for_each(|cost| *cost = MAX_COST);
        let done = self.budget.reserve(id(self.known.len()), &job, self.clock);
        self.known.push(job);
        self.begun.push(false);
        self.note(done);
    }

    fn begin(&mut self) {
        let Some(at) = self.any() else { return };
        let job = self.known[at].clone();
        let done = self.budget.begin(id(at), &job, self.clock);
        if done.is_ok() {
            assert!(!self.begun[at], "begun twice");
            self.begun[at] = true;
            self.sums.iter_mut().zip(job.costs).for_each(|(sum, cost)| *sum += cost);
        }
        self.note(done);
    }

    fn release(&mut self) {
        let Some(at) = self.any() else { return };
        let job = self.known[at].clone();
        let caller = if self.random(2) == 0 { job.spender } else { Address::repeat_byte(0xff) };
        let done = self.budget.release(id(at), &job, caller, self.clock);
        self.note(done);
    }

    fn change(&mut self) {
        let done = match self.random(4) {
            0 => {
                let epsilon = self.random(5_000_000_000);
                self.budget.lower(epsilon)
            }
            1 => {
                let epsilon = self.random(5_000_000_000);
                self.budget.announce_raise(epsilon, self.clock, self.height)
            }
            _ => self.budget.raise(self.clock, self.height),
        };
        self.note(done);
    }

    fn note(&mut self, done: Result<(), Refusal>) {
        let kind = match done {
            Err(Refusal::OverBudget { .. }) => Some(0),
            Err(Refusal::OverAllowance { .. }) => Some(1),
            Err(Refusal::FailureAbove { .. }) => Some(2),
            Err(Refusal::TooLate(_)) => Some(3),
            Err(Refusal::TooEarly(_)) => Some(4),
            Err(Refusal::WrongState) => Some(5),
            _ => None,
        };
        if let Some(kind) = kind {
            self.refused[kind] += 1;
        }
        let refusal = done.err().map(|refusal| refusal.selector()).unwrap_or_default();
        let refusal = B256::right_padding_from(&refusal);
        let said = (self.trail, refusal, U256::from(self.budget.spent()), U256::from(self.budget.with_reserved()));
        self.trail = keccak256(said.abi_encode());
    }

    /// What the begun jobs cost together, by the formula.
    fn check(&self, seed: u64) {
        let log = LOG as f64 / 1e9 + f64::from(self.grant.orders.count_ones()).ln();
        let bounds = (0..ORDERS).filter(|order| self.grant.orders >> order & 1 == 1).map(|order| {
            let a = f64::from(QUARTERS[order]) / 4.0;
            self.sums[order] as f64 / 1e9 + (1.0 - 1.0 / a).ln() + (log - a.ln()) / (a - 1.0)
        });
        let spent = if self.sums[ORDERS - 1] == 0 { 0.0 } else { bounds.fold(f64::INFINITY, f64::min).max(0.0) };
        assert!(spent * 1e9 <= self.budget.granted() as f64, "seed {seed}: {spent} of {}", self.budget.granted());
        assert!(u128::from(self.budget.granted()) >= self.budget.spent(), "seed {seed}");
        assert!(self.budget.failures().0 <= self.grant.failure, "seed {seed}");
    }

    fn any(&mut self) -> Option<usize> {
        let number = self.known.len() as u64;
        (number != 0).then(|| self.random(number) as usize)
    }

    fn random(&mut self, below: u64) -> u64 {
        random(&mut self.state, below)
    }
}

fn random(state: &mut U256, below: u64) -> u64 {
    *state = keccak256(state.to_be_bytes::<32>()).into();
    (*state % U256::from(below)).to()
}

fn id(number: usize) -> B256 {
    U256::from(number).into()
}

fn spender(i: u64) -> Address {
    Address::left_padding_from(&(0x5e0 + i).to_be_bytes())
}
