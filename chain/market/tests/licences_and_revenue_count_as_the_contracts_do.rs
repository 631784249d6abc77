//! The random histories of chain/contracts/test/protocol/Money.t.sol, told once more without a contract: lineages, licences of
//! all kinds, payments, time, and people who take out what is theirs. The hash over all amounts ever taken is the one that
//! the contracts gave.

use alloy_primitives::{Address, B256, U256, b256, keccak256};
use alloy_sol_types::SolValue as _;
use sahara_market::revenue::{Lineage, Revenue};

const ASSETS: usize = 6;
const PEOPLE: usize = 6;
const DAY: u64 = 86_400;
const LATE: u64 = 7 * DAY;
const DISPUTE: u64 = 3 * DAY;

#[test]
fn ten_thousand_payments_give_everybody_the_same() {
    let mut history = History::begin(1);
    for i in 0..10_000 {
        history.pay();
        if i % 50 == 0 {
            history.pass(4 * 3_600);
        }
        if i % 200 == 0 {
            history.go_on();
        }
        if i % 500 == 0 {
            let who = history.someone();
            history.take_out(who);
        }
    }
    assert_eq!(history.finish(), b256!("88f0b378018d2c42af7df4f8dc65a6457181a4f0a4393f28bdb9d8568dbd5f0b"));
}

#[test]
fn a_long_history_gives_everybody_the_same() {
    let mut history = History::begin(7);
    for _ in 0..1_500 {
        history.step();
    }
    assert_eq!(history.finish(), b256!("a3023cbcdaad98175231e01344b36b2a6b41bbb994df9dbbb12cea3a6a1788ac"));
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Api,
    LongTerm,
    FullAccess,
    Partnership,
}

/// A licence that was sold, and what its price does.
#[derive(Clone, Copy)]
struct Sale {
    asset: usize,
    holder: usize,
    kind: Kind,
    /// What is, or may become, the owner's; less than the price once something came back.
    price: u64,
    collected: u64,
    from: u64,
    ends: u64,
    complained: Option<u64>,
    /// Which of the asset's ciphertexts: the one that opens, or the other.
    good: bool,
    /// Nothing in escrow any more.
    over: bool,
    withdrawn: bool,
}

#[derive(Clone, Copy, Default)]
struct Opening {
    at: Option<u64>,
    wrong: bool,
}

struct History {
    state: U256,
    clock: u64,
    owners: Vec<usize>,
    revenue: Revenue,
    sales: Vec<Sale>,
    openings: [[Opening; 2]; ASSETS],
    owed: [u64; PEOPLE],
    trail: B256,
}

#[expect(clippy::unwrap_used, reason = "every asset of a history is registered")]
impl History {
    fn begin(seed: u64) -> Self {
        let mut history = Self {
            state: U256::from(seed),
            clock: 1_800_000_000,
            owners: Vec::new(),
            revenue: Revenue::default(),
            sales: Vec::new(),
            openings: Default::default(),
            owed: [0; PEOPLE],
            trail: B256::ZERO,
        };
        let mut lineages: Vec<Vec<(usize, u64)>> = Vec::new();
        for i in 0..ASSETS as u64 {
            let number = match i {
                0 => 0,
                1 | 2 => history.random(i + 1),
                _ => history.random(4),
            };
            let parents: Vec<(usize, u64)> =
                (0..number).map(|j| (((i + j) % i) as usize, 1 + history.random(10_000 / number))).collect();
            let owner = history.someone();
            history.owners.push(owner);
            let ancestors = flattened(&lineages, &parents);
            lineages.push(ancestors.clone());
            let payees = if history.random(3) == 0 { vec![(owner, 10_000)] } else { history.contributors() };
            let ancestors = ancestors.into_iter().map(|(above, share)| (asset(above), share as u16)).collect();
            let payees = payees.into_iter().map(|(who, share)| (person(who), share as u16)).collect();
            history.revenue.register(asset(i as usize), Lineage { ancestors, payees });
        }
        history
    }

    fn contributors(&mut self) -> Vec<(usize, u64)> {
        let number = 1 + self.random(PEOPLE as u64);
        let mut left = 10_000;
        (0..number)
            .map(|j| {
                let share = if j + 1 == number { left } else { 1 + self.random(left - (number - j) + 1) % 4_000 };
                left -= share;
                (j as usize, share)
            })
            .collect()
    }

    fn step(&mut self) {
        match self.random(11) {
            0 => self.pay(),
            1 | 2 => self.sell(),
            3 => self.pass(10 * DAY),
            4 => self.go_on(),
            5 => self.withdraw(),
            6 => self.complain(),
            7 => self.answer(),
            8 => self.open(),
            9 => {
                if let Some(at) = self.sale() {
                    self.refund(at);
                }
            }
            _ => {
                let who = self.someone();
                self.take_out(who);
            }
        }
    }

    fn pay(&mut self) {
        let i = self.random(ASSETS as u64) as usize;
        let amount = self.random(1_000);
        self.earn(i, amount);
    }

    fn sell(&mut self) {
        let asset = self.random(ASSETS as u64) as usize;
        let kind = [Kind::Api, Kind::LongTerm, Kind::FullAccess, Kind::Partnership][self.random(4) as usize];
        let price = self.random(1_000);
        let some_time = self.random(2) == 0;
        let lasts = (some_time || kind == Kind::LongTerm).then(|| 1 + self.random(60 * DAY));
        let good = kind == Kind::FullAccess && self.random(2) == 0;
        if kind == Kind::FullAccess && self.openings[asset][usize::from(good)].at.is_some() {
            return;
        }
        let holder = if kind == Kind::Partnership { self.owners[asset] } else { self.someone() };
        let at_once = kind == Kind::Api || kind == Kind::Partnership;
        self.sales.push(Sale {
            asset,
            holder,
            kind,
            price,
            collected: if at_once { price } else { 0 },
            from: self.clock,
            ends: lasts.map_or(u64::MAX, |time| self.clock + time),
            complained: None,
            good,
            over: at_once,
            withdrawn: false,
        });
        if at_once {
            self.earn(asset, price);
        }
    }

    fn pass(&mut self, below: u64) {
        self.clock += self.random(below);
    }

    fn go_on(&mut self) {
        let released = self.random(ASSETS as u64) as usize;
        let most = 1 + self.random(20) as usize;
        self.revenue.release(asset(released), self.clock, most).unwrap();
        let divided = self.random(ASSETS as u64) as usize;
        self.revenue.divide(asset(divided)).unwrap();
        if let Some(at) = (!self.sales.is_empty()).then(|| self.sale()).flatten() {
            self.collect(at);
        }
    }

    fn withdraw(&mut self) {
        let Some(at) = self.sale() else { return };
        let sale = self.sales[at];
        if self.clock >= sale.ends || sale.withdrawn {
            return;
        }
        let paid = match sale.kind {
            Kind::Api | Kind::Partnership => true,
            Kind::LongTerm => false,
            Kind::FullAccess => self.delivered(&sale),
        };
        if paid {
            let back = match sale.ends {
                u64::MAX => sale.price,
                ends => (sale.price * (ends - self.clock)).div_ceil(ends - sale.from),
            };
            self.owed[sale.holder] += back;
            (self.sales[at].over, self.sales[at].withdrawn) = (true, true);
        } else {
            self.stop(at);
        }
    }

    fn complain(&mut self) {
        let Some(at) = self.sale() else { return };
        let (clock, sale) = (self.clock, &mut self.sales[at]);
        if !sale.over && sale.kind == Kind::LongTerm && clock < sale.ends && sale.complained.is_none() {
            sale.complained = Some(clock);
        }
    }

    /// The asset is served at this very time, and somebody says so.
    fn answer(&mut self) {
        let Some(at) = self.sale() else { return };
        let (clock, sale) = (self.clock, &mut self.sales[at]);
        if let Some(since) = sale.complained
            && clock > since
        {
            sale.complained = None;
        }
    }

    fn open(&mut self) {
        let Some(at) = self.sale() else { return };
        let sale = self.sales[at];
        if sale.kind != Kind::FullAccess || self.opening(&sale).at.is_some() {
            return;
        }
        let opened = self.clock;
        self.pass(4 * DAY);
        let wrong = !sale.good && self.clock <= opened + DISPUTE;
        self.openings[sale.asset][usize::from(sale.good)] = Opening { at: Some(opened), wrong };
    }

    fn refund(&mut self, at: usize) {
        let sale = self.sales[at];
        let opening = self.opening(&sale);
        let must_come = !sale.over
            && match sale.kind {
                Kind::LongTerm => sale.complained.is_some_and(|since| self.clock > since + LATE),
                Kind::FullAccess => opening.wrong || opening.at.unwrap_or(self.clock) > sale.from + LATE,
                Kind::Api | Kind::Partnership => false,
            };
        if must_come {
            self.stop(at);
        }
    }

    fn take_out(&mut self, who: usize) {
        let revenue = self.revenue.claim(person(who));
        let taken = std::mem::take(&mut self.owed[who]);
        self.trail = keccak256((self.trail, revenue, U256::from(taken)).abi_encode());
    }

    fn finish(mut self) -> B256 {
        self.clock += 100 * DAY;
        for at in 0..self.sales.len() {
            self.refund(at);
            self.collect(at);
        }
        self.clock += DAY + 3_600;
        for i in 0..ASSETS {
            self.revenue.release(asset(i), self.clock, usize::MAX).unwrap();
        }
        for i in 0..ASSETS {
            self.revenue.divide(asset(i)).unwrap();
        }
        for who in 0..PEOPLE {
            self.take_out(who);
        }
        self.trail
    }

    // What becomes of a price

    /// What is the owner's by now.
    fn earned(&self, sale: &Sale) -> u64 {
        match sale.kind {
            _ if sale.over => sale.price,
            Kind::LongTerm => {
                let time = sale.complained.unwrap_or(self.clock).min(sale.ends);
                sale.price * (time - sale.from) / (sale.ends - sale.from)
            }
            Kind::FullAccess if !self.delivered(sale) => 0,
            _ => sale.price,
        }
    }

    fn collect(&mut self, at: usize) {
        let sale = self.sales[at];
        let earned = self.earned(&sale);
        self.sales[at].collected = earned;
        self.sales[at].over |= sale.kind == Kind::FullAccess && self.delivered(&sale);
        self.earn(sale.asset, earned - sale.collected);
    }

    /// The escrow ends: what the owner has not earned comes back.
    fn stop(&mut self, at: usize) {
        let sale = self.sales[at];
        let earned = self.earned(&sale);
        self.owed[sale.holder] += sale.price - earned;
        self.sales[at] = Sale { price: earned, complained: None, over: true, withdrawn: true, ..sale };
    }

    fn delivered(&self, sale: &Sale) -> bool {
        let opening = self.opening(sale);
        let in_time = |opened: u64| opened <= sale.from + LATE && self.clock > opened + DISPUTE;
        !opening.wrong && opening.at.is_some_and(in_time)
    }

    fn opening(&self, sale: &Sale) -> Opening {
        self.openings[sale.asset][usize::from(sale.good)]
    }

    fn earn(&mut self, i: usize, amount: u64) {
        self.revenue.pay(asset(i), U256::from(amount), self.clock).unwrap();
    }

    // Chance

    fn random(&mut self, below: u64) -> u64 {
        self.state = keccak256(self.state.abi_encode()).into();
        (self.state % U256::from(below)).to()
    }

    fn someone(&mut self) -> usize {
        self.random(PEOPLE as u64) as usize
    }

    /// One of the sales. With none, chance goes on all the same.
    fn sale(&mut self) -> Option<usize> {
        let number = self.sales.len();
        let at = self.random(number.max(1) as u64) as usize;
        (number != 0).then_some(at)
    }
}

/// Each ancestor once, and its share, from the parents' own lists.
fn flattened(lineages: &[Vec<(usize, u64)>], parents: &[(usize, u64)]) -> Vec<(usize, u64)> {
    let mut line: Vec<(usize, u64)> = Vec::new();
    let mut credit = |who: usize, share: u64| match line.iter_mut().find(|(known, _)| *known == who) {
        Some((_, sum)) => *sum += share,
        None => line.push((who, share)),
    };
    for &(parent, share) in parents {
        let mut left = share;
        for &(above, of_parent) in &lineages[parent] {
            let part = share * of_parent / 10_000;
            left -= part;
            credit(above, part);
        }
        credit(parent, left);
    }
    line
}

fn asset(i: usize) -> B256 {
    B256::from(U256::from(i + 1))
}

fn person(i: usize) -> Address {
    Address::left_padding_from(&[i as u8 + 1])
}
