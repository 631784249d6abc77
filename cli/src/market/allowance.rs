//! What may be spent yet from a session: one rule for each voucher that is given, and for how many calls there is room before the
//! first one is.

use alloy_primitives::{B256, U256};

use super::account::{Account, Caps};
use super::bill::Deal;
use super::purse::short;
use crate::error::Result;
use crate::moment::DAY;
use crate::wallet::amount::Amount;

/// What a session's owner allows, and what of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    caps: Caps,
    price: u128,
    /// What was spent today with the licence, and may be yet.
    spent: u128,
}

impl Allowance {
    /// What may be spent from `deal` of an account; `all` are the accounts of the home. What that lane itself may owe is what is asked
    /// for again now, and counts for nothing more.
    ///
    /// # Errors
    /// When it cannot be read what was spent.
    pub fn of(all: &[Account], account: &Account, deal: &Deal, now: u64) -> Result<Self> {
        let spent = spent_today(all, account.chain, Some(account.licence()), Some((deal.id, deal.lane)), now)?;
        Ok(Self { caps: account.caps, price: deal.price, spent })
    }

    /// Calls that are allowed today.
    pub fn calls(&self) -> u128 {
        if self.price > self.caps.call { 0 } else { self.caps.day.saturating_sub(self.spent) / self.price }
    }

    /// Why not even one is; nothing if one is.
    pub fn why_none(&self) -> Option<String> {
        let Self { caps, price, spent } = *self;
        if price > caps.call {
            let (price, most) = (Amount::from(price), Amount::from(caps.call));
            return Some(format!("a call costs {price}, more than the {most} that you allow"));
        }
        (self.calls() == 0).then(|| {
            let (spent, day) = (Amount::from(spent), Amount::from(caps.day));
            format!("{spent} are spent today, and you allow {day} a day")
        })
    }
}

/// What was spent today in the sessions of a licence, and may be yet, for vouchers that were given: in all lanes `but` one (of a session,
/// with a committee).
///
/// # Errors
/// When it cannot be read.
pub fn spent_today(
    all: &[Account],
    chain: u64,
    licence: Option<U256>,
    but: Option<(B256, B256)>,
    now: u64,
) -> Result<u128> {
    let mut sum = 0u128;
    for account in all.iter().filter(|known| known.chain == chain && Some(known.licence()) == licence) {
        sum = sum.saturating_add(account.spent_on(now / DAY)?);
        for deal in account.deals.iter().filter(|deal| but != Some((deal.id, deal.lane))) {
            sum = sum.saturating_add(account.pending(deal, now)?);
        }
    }
    Ok(sum)
}

/// Calls that sessions of one asset still pay for: of their deposits, and of what may be spent today with each licence; `all` are the
/// accounts of the home.
///
/// # Errors
/// When it cannot be read what was spent.
pub fn calls_in_all(all: &[Account], accounts: &[Account], now: u64) -> Result<u128> {
    let asset = |account: &Account| (account.chain, account.session().map(|session| session.asset));
    let first = accounts.first().map(asset);
    let mut licences: std::collections::BTreeMap<U256, [u128; 2]> = std::collections::BTreeMap::new();
    for account in accounts.iter().filter(|account| Some(asset(account)) == first) {
        let [of_deposits, of_day] = licences.entry(account.licence()).or_default();
        for deal in &account.deals {
            let today = Allowance::of(all, account, deal, now)?.calls();
            let spent = account.spent(deal.lane)?;
            if today > 0 && !spent.left && deal.ends() > now {
                *of_deposits += deal.cap.saturating_sub(spent.last.total) / deal.price;
                *of_day = (*of_day).max(today);
            }
        }
    }
    Ok(licences.values().map(|[of_deposits, of_day]| of_deposits.min(of_day)).sum())
}

/// Of each session of one asset, what keeps it from paying for more, and the command that changes it; `all` are the accounts of the home.
///
/// # Errors
/// When it cannot be read what was spent.
pub fn limits_of(all: &[Account], accounts: &[Account], now: u64) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for account in accounts {
        let Some(deal) = account.deals.first() else { continue };
        let Allowance { caps, price, spent } = Allowance::of(all, account, deal, now)?;
        let (mut left, mut usable) = (0u128, false);
        for deal in account.deals.iter().filter(|deal| deal.ends() > now) {
            let at = account.spent(deal.lane)?;
            usable |= !at.left;
            left += if at.left { 0 } else { deal.cap.saturating_sub(at.last.total) / deal.price };
        }
        let id = short(account.id());
        let allow = |flag: &str, amount: u128| {
            format!("`sahara session allow {id} {flag} {}`", Amount::from(amount).to_string().replace(" SAH", ""))
        };
        let today = caps.day.saturating_sub(spent) / price;
        let price_words = Amount::from(price);
        words.push(if !usable {
            format!("session {id} has ended, or its committees were left: `sahara session close {id}`")
        } else if price > caps.call {
            let most = Amount::from(caps.call);
            format!("session {id} allows {most} a call, and one costs {price_words}: {}", allow("--cap-call", price))
        } else if today < left {
            format!(
                "session {id} allows {} a day, {} are spent today with its licence, in this session and others, and a call costs \
                 {price_words}: {} allows its whole deposit",
                Amount::from(caps.day),
                Amount::from(spent),
                allow("--cap-day", spent.saturating_add(left.saturating_mul(price)))
            )
        } else {
            format!("the deposit of session {id} has {left} calls left: `sahara session open --licence {}`", account.licence())
        });
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use sahara::home::Home;

    use super::super::account::Spent;
    use super::super::bill::Last;
    use super::super::bill::tests::*;
    use super::*;
    use crate::wallet::Secret;

    fn spent(number: u64) -> Spent {
        let last = Last { number, total: u128::from(number) * PRICE, digest: B256::repeat_byte(1) };
        Spent::default().after(last, NOW / DAY)
    }

    #[test]
    fn a_session_pays_for_what_is_left_of_it_today() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let caps = Caps { call: PRICE, day: 5 * PRICE };
        let signer = || Secret::new(&SIGNER.0).unwrap();
        let account = Account::create(&home, 1337, caps, signer(), &session(1), &[committee()]).unwrap();
        let left = |now| {
            let all = Account::list(&home).unwrap();
            calls_in_all(&all, &all, now).unwrap()
        };
        let whole = deal().cap / PRICE;
        assert!(whole > 5, "the fixture has {whole} calls");
        assert_eq!(left(NOW), 5, "of a day");
        account.keep(deal().lane, &spent(4)).unwrap();
        assert_eq!(left(NOW), 1, "of that day");
        let second = Account::create(&home, 1337, caps, signer(), &session(2), &[committee()]).unwrap();
        assert_eq!(left(NOW), 1, "a day is of the licence, not of each session");
        let mut account = Account::list(&home).unwrap().into_iter().find(|found| found.id() == account.id()).unwrap();
        second.forget().unwrap();
        account.allow(Caps { call: PRICE, day: u128::MAX }).unwrap();
        assert_eq!(left(NOW), whole - 4, "of the deposit");
        assert_eq!(left(u64::MAX), 0, "it has ended");
        account.allow(Caps { call: PRICE - 1, day: u128::MAX }).unwrap();
        assert_eq!(left(NOW), 0, "a call may not cost so much");
    }

    #[test]
    fn whatever_limits_a_session_is_named_with_the_command_that_changes_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let signer = Secret::new(&SIGNER.0).unwrap();
        let caps = Caps { call: PRICE, day: 3 * PRICE };
        let mut account = Account::create(&home, 1337, caps, signer, &session(1), &[committee()]).unwrap();
        let said = |now| {
            let all = Account::list(&home).unwrap();
            limits_of(&all, &all, now).unwrap().remove(0)
        };
        account.keep(deal().lane, &spent(3)).unwrap();
        let day = said(NOW);
        assert!(day.contains(&short(account.id())) && day.contains("--cap-day"), "{day}");
        assert!(day.contains(&Amount::from(3 * PRICE).to_string()), "{day}");
        account.allow(Caps { call: PRICE - 1, day: u128::MAX }).unwrap();
        assert!(said(NOW).contains("--cap-call 0.000000000000000012`"), "{}", said(NOW));
        account.allow(Caps { call: PRICE, day: u128::MAX }).unwrap();
        assert!(said(NOW).contains("session open --licence"), "{}", said(NOW));
        assert!(said(u64::MAX).contains("session close"), "{}", said(u64::MAX));
    }

    #[test]
    fn there_is_room_for_a_call_exactly_where_one_is_paid_for() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let signer = || Secret::new(&SIGNER.0).unwrap();
        let caps = Caps { call: PRICE, day: 3 * PRICE };
        let one = Account::create(&home, 1337, caps, signer(), &session(1), &[committee()]).unwrap();
        let two = Account::create(&home, 1337, caps, signer(), &session(2), &[committee()]).unwrap();
        let all = || Account::list(&home).unwrap();
        let owes = |account: &Account, promised| {
            account.keep(deal().lane, &Spent { promised: promised * PRICE, ..Spent::default() }).unwrap();
        };
        let calls = |account: &Account| Allowance::of(&all(), account, &account.deals[0], NOW).unwrap();
        owes(&one, 2);
        assert_eq!((calls(&one).calls(), calls(&two).calls()), (3, 1), "its own is asked for again");
        owes(&one, 3);
        assert_eq!((calls(&one).why_none(), calls(&two).calls()), (None, 0));
        assert!(calls(&two).why_none().unwrap().contains("you allow 0.000000000000000036 SAH a day"));
        assert_eq!(calls_in_all(&all(), &[two.again().unwrap()], NOW).unwrap(), 0);
        // What nobody can be paid any more does not count for ever.
        let left = Spent { left: true, ..one.spent(deal().lane).unwrap() };
        one.keep(deal().lane, &left).unwrap();
        assert_eq!(calls(&two).calls(), 3, "a committee that was left");
        owes(&one, 3);
        let ends = one.deals[0].ends();
        let at = |now| Allowance::of(&all(), &two, &two.deals[0], now).unwrap().calls();
        assert_eq!((at(ends + 3600), at(ends + 3601)), (0, 3), "a session that has ended");
    }
}
