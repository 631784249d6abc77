//! Stake as one would keep it on paper: who owns which lot of tokens, where it is, and whose offences it answers for.
//! No shares, nothing lazy. The state machine test compares the contract with it.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use proptest::prelude::*;
use sahara_chain::genesis::TOKEN;

pub const ACTORS: u8 = 5;
pub const WAIT: u64 = 21 * 24 * 3600;
/// Blocks for which an offence can be proven.
pub const EVIDENCE: u64 = 6;
const JAIL: u64 = 600;
const ENTRIES: usize = 16;
const MOVES: usize = 3;

/// Part of what someone has: all of it at the largest number.
pub type Part = u64;

#[derive(Clone, Debug)]
pub enum Step {
    Create {
        who: u8,
        commission: u64,
    },
    Delegate {
        who: u8,
        to: u8,
        amount: u64,
    },
    Undelegate {
        who: u8,
        from: u8,
        part: Part,
    },
    Redelegate {
        who: u8,
        from: u8,
        to: u8,
        part: Part,
    },
    Withdraw(u8),
    Claim(u8, u8),
    ClaimCommission(u8),
    Unjail(u8),
    /// Those whose bit is set sign a block.
    Block(u8),
    /// Someone misses blocks until it goes to jail.
    Away(u8),
    /// An offence this many blocks ago, with so much weight.
    Offence {
        who: u8,
        ago: u64,
        power: u64,
    },
    Wait(u64),
}

pub fn step() -> impl Strategy<Value = Step> {
    let who = || 0..ACTORS;
    let part = || prop_oneof![3 => 1u64 << 40..u64::MAX - (1 << 40), 1 => Just(u64::MAX)];
    prop_oneof![
        1 => (who(), 0u64..10_001).prop_map(|(who, commission)| Step::Create { who, commission }),
        4 => (who(), who(), 1_000_000_000u64..9_000_000_000_000_000_000)
            .prop_map(|(who, to, amount)| Step::Delegate { who, to, amount }),
        3 => (who(), who(), part()).prop_map(|(who, from, part)| Step::Undelegate { who, from, part }),
        4 => (who(), who(), who(), 1u64 << 40..u64::MAX - (1 << 40))
            .prop_map(|(who, from, to, part)| Step::Redelegate { who, from, to, part }),
        1 => who().prop_map(Step::Withdraw),
        1 => (who(), who()).prop_map(|(a, v)| Step::Claim(a, v)),
        1 => who().prop_map(Step::ClaimCommission),
        2 => who().prop_map(Step::Unjail),
        3 => any::<u8>().prop_map(Step::Block),
        1 => who().prop_map(Step::Away),
        2 => (who(), 0u64..EVIDENCE + 1, 0u64..40).prop_map(|(who, ago, power)| Step::Offence { who, ago, power }),
        1 => (1u64..WAIT * 3 / 2).prop_map(Step::Wait),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Jailed(u64),
    Tombstoned(Penalty),
}

/// All proven offences of a validator: the earliest height, the most weight, and what was true at the first proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    height: u64,
    power: u64,
    proven: u64,
    time: u64,
    stake: U256,
}

/// Tokens that left `validator` at `height` and answer for it until `until`.
#[derive(Clone, Copy, Debug)]
struct Answers {
    validator: u8,
    height: u64,
    until: u64,
    /// It was gone before the first proof, and has paid.
    paid: bool,
}

impl Answers {
    fn new(validator: u8, height: u64, until: u64) -> Self {
        Self { validator, height, until, paid: false }
    }

    /// Whether something can be proven at this height and time.
    fn open(&self, height: u64, time: u64) -> bool {
        self.until > time || height <= self.height + EVIDENCE + 1
    }
}

#[derive(Clone, Debug)]
struct Lot {
    owner: u8,
    at: u8,
    tokens: U256,
    answers: Option<Answers>,
}

#[derive(Clone, Debug)]
struct Leaving {
    owner: u8,
    tokens: U256,
    left: Answers,
    before: Option<Answers>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub height: u64,
    pub time: u64,
    pub validators: BTreeMap<u8, Standing>,
    lots: Vec<Lot>,
    leaving: Vec<Leaving>,
    /// Whether the last step was accepted, and what it paid.
    pub last: Option<U256>,
    /// What it asked for.
    pub asked: U256,
}

impl Model {
    pub fn new() -> Self {
        let mut model = Self {
            height: 1,
            time: 1_000_000,
            validators: BTreeMap::new(),
            lots: vec![],
            leaving: vec![],
            last: None,
            asked: U256::ZERO,
        };
        for who in 0..2 {
            model.validators.insert(who, Standing::Active);
            model.put(who, who, TOKEN * U256::from(10), None);
        }
        model
    }

    /// What `owner` has at `at`.
    pub fn worth(&self, owner: u8, at: u8) -> U256 {
        self.lots.iter().filter(|lot| lot.owner == owner && lot.at == at).map(|lot| lot.tokens).sum()
    }

    /// What stands behind `at`.
    pub fn stake(&self, at: u8) -> U256 {
        (0..ACTORS).map(|owner| self.worth(owner, at)).sum()
    }

    /// How much is on its way to `owner`, however it arrives.
    pub fn entries(&self, owner: u8) -> usize {
        self.leaving.iter().filter(|entry| entry.owner == owner).count()
    }

    pub fn take(&mut self, step: &Step) {
        self.asked = U256::ZERO;
        self.last = self.outcome(step);
    }

    fn put(&mut self, owner: u8, at: u8, tokens: U256, answers: Option<Answers>) {
        let same = self.lots.iter_mut().find(|lot| lot.owner == owner && lot.at == at && lot.answers.is_none());
        match (same, answers) {
            (Some(lot), None) => lot.tokens += tokens,
            _ => self.lots.push(Lot { owner, at, tokens, answers }),
        }
    }

    /// Lots that have answered long enough are like any other.
    fn forget(&mut self) {
        let (old, kept): (Vec<Lot>, Vec<Lot>) = std::mem::take(&mut self.lots)
            .into_iter()
            .partition(|lot| lot.answers.is_some_and(|a| a.paid || !a.open(self.height, self.time)));
        self.lots = kept;
        for lot in old {
            self.put(lot.owner, lot.at, lot.tokens, None);
        }
    }

    fn outcome(&mut self, step: &Step) -> Option<U256> {
        self.forget();
        let nothing = Some(U256::ZERO);
        match *step {
            Step::Create { who, .. } => {
                if self.validators.contains_key(&who) {
                    return None;
                }
                self.validators.insert(who, Standing::Active);
                self.put(who, who, TOKEN * U256::from(2), None);
                nothing
            }
            Step::Delegate { who, to, amount } => {
                self.open(to)?;
                self.put(who, to, U256::from(amount), None);
                nothing
            }
            Step::Undelegate { who, from, part } => {
                self.validators.get(&from)?;
                let amount = self.ask(portion(self.worth(who, from), part))?;
                let pieces = self.split(who, from, amount, self.entries(who))?;
                let due = self.time + WAIT;
                let left = Answers::new(from, self.height, due);
                for (tokens, before) in pieces {
                    let before = before.map(|b| Answers { until: due, ..b });
                    self.leaving.push(Leaving { owner: who, tokens, left, before });
                }
                self.stand_down(who, from);
                nothing
            }
            Step::Redelegate { who, from, to, part } => {
                self.validators.get(&from)?;
                self.open(to).filter(|()| from != to)?;
                let free = |lot: &&Lot| lot.owner == who && lot.at == from && lot.answers.is_none();
                let amount = portion(self.lots.iter().find(free)?.tokens, part);
                let amount = self.ask(amount)?;
                let moves = self.lots.iter().filter(|lot| lot.owner == who && lot.at == to && lot.answers.is_some());
                if moves.count() >= MOVES {
                    return None;
                }
                self.split(who, from, amount, 0)?;
                self.stand_down(who, from);
                let answers = Answers::new(from, self.height, self.time + WAIT);
                self.put(who, to, amount, Some(answers));
                nothing
            }
            Step::Withdraw(who) => {
                let (height, time) = (self.height, self.time);
                let due = |entry: &Leaving| entry.owner == who && !entry.left.open(height, time);
                if !self.leaving.iter().any(due) {
                    return None;
                }
                let paid = self.leaving.iter().filter(|entry| due(entry)).map(|entry| entry.tokens).sum();
                self.leaving.retain(|entry| !due(entry));
                Some(paid)
            }
            Step::Claim(_, at) | Step::ClaimCommission(at) => self.validators.get(&at).and(nothing),
            Step::Unjail(who) => {
                let Standing::Jailed(until) = *self.validators.get(&who)? else { return None };
                if until > self.time || self.worth(who, who) < TOKEN {
                    return None;
                }
                self.validators.insert(who, Standing::Active);
                nothing
            }
            Step::Block(_) => {
                self.advance();
                nothing
            }
            Step::Away(who) => {
                if self.validators.get(&who) == Some(&Standing::Active) {
                    (0..193).for_each(|_| self.advance());
                    let taken = cut(self.stake(who), 1);
                    self.slash(who, taken);
                    self.validators.insert(who, Standing::Jailed(self.time + JAIL));
                }
                nothing
            }
            Step::Offence { who, ago, power } => {
                let height = self.height.saturating_sub(ago).max(1);
                self.advance();
                self.punish(who, height, power);
                self.advance();
                nothing
            }
            Step::Wait(seconds) => {
                self.time += seconds;
                nothing
            }
        }
    }

    /// What is smaller than rounding can leave behind is as good as nothing.
    fn ask(&mut self, amount: U256) -> Option<U256> {
        let some = amount > U256::from(10_000);
        self.asked = if some { amount } else { U256::ZERO };
        some.then_some(amount)
    }

    fn advance(&mut self) {
        self.height += 1;
        self.time += 1;
    }

    fn open(&self, to: u8) -> Option<()> {
        (!matches!(self.validators.get(&to)?, Standing::Tombstoned(_))).then_some(())
    }

    /// Takes `amount` from lots: those that answer for nobody first, then the oldest.
    fn split(&mut self, who: u8, at: u8, amount: U256, entries: usize) -> Option<Vec<(U256, Option<Answers>)>> {
        let mut rest = amount;
        let mut pieces = Vec::new();
        let mut after = self.lots.clone();
        let (free, bound): (Vec<_>, Vec<_>) =
            after.iter_mut().filter(|lot| lot.owner == who && lot.at == at).partition(|lot| lot.answers.is_none());
        for lot in free.into_iter().chain(bound) {
            let part = lot.tokens.min(rest);
            lot.tokens -= part;
            rest -= part;
            if !part.is_zero() {
                pieces.push((part, lot.answers));
            }
        }
        if pieces.is_empty() || entries + pieces.len() > ENTRIES {
            return None;
        }
        after.retain(|lot| !lot.tokens.is_zero());
        self.lots = after;
        Some(pieces)
    }

    fn stand_down(&mut self, who: u8, from: u8) {
        if who == from && self.validators[&who] == Standing::Active && self.worth(who, who) < TOKEN {
            self.validators.insert(who, Standing::Jailed(self.time));
        }
    }

    fn slash(&mut self, at: u8, taken: U256) {
        let stake = self.stake(at);
        for lot in self.lots.iter_mut().filter(|lot| lot.at == at) {
            lot.tokens -= lot.tokens * taken / stake;
        }
    }

    /// Everybody pays at once, wherever their stake is: what was gone before the first proof, its whole part, once; what
    /// was there then, up to the part that the strongest offence weighed.
    fn punish(&mut self, who: u8, height: u64, power: u64) {
        let stake = self.stake(who);
        let Some(standing) = self.validators.get_mut(&who) else { return };
        let (old, new) = match *standing {
            Standing::Tombstoned(old) => {
                (old.power, Penalty { height: old.height.min(height), power: old.power.max(power), ..old })
            }
            _ => (0, Penalty { height, power, proven: self.height, time: self.time, stake }),
        };
        *standing = Standing::Tombstoned(new);
        // Of each token that was there: the part that is gone before, and after.
        let gone = |power: u64| cut(new.stake.min(TOKEN * U256::from(power)), 500);
        let rest = |tokens: U256| {
            let left = new.stake - gone(old);
            if left.is_zero() { U256::ZERO } else { tokens * (gone(new.power) - gone(old)) / left }
        };
        self.slash(who, rest(self.stake(who)));
        let pay = |tokens: &mut U256, answers: &mut Answers| {
            if answers.validator != who {
                return;
            }
            if answers.height >= new.proven {
                *tokens -= rest(*tokens);
            } else if !answers.paid && answers.height + 1 >= new.height && answers.open(new.proven, new.time) {
                *tokens -= cut(*tokens, 500);
                answers.paid = true;
            }
        };
        for lot in &mut self.lots {
            lot.answers.iter_mut().for_each(|answers| pay(&mut lot.tokens, answers));
        }
        for Leaving { tokens, left, before, .. } in &mut self.leaving {
            pay(tokens, left);
            before.iter_mut().for_each(|before| pay(tokens, before));
        }
    }
}

/// `part` of `tokens`.
pub fn portion(tokens: U256, part: Part) -> U256 {
    if part == Part::MAX { tokens } else { (tokens * U256::from(part)) >> 64 }
}

fn cut(tokens: U256, part: u64) -> U256 {
    tokens * U256::from(part) / U256::from(10_000)
}
