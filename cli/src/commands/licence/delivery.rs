//! What is proven before the key of a ciphertext leaves this machine: a key that was shown once is nobody's secret any more.

use std::thread;
use std::time::Duration;

use alloy_primitives::{B256, U256};
use sahara_light::Light;
use sahara_market::LICENCES;
use sahara_market::abi::Licences;
use sahara_market::slots::{self, LicenceState};

use super::escrow::{OPENING_TIME, SEALED};
use super::facts;
use crate::commands::money::Payer;
use crate::commands::output::moment;
use crate::commands::terms::FULL_ACCESS;
use crate::error::{Error, Result};
use crate::market::operators::owner;
use crate::moment::now;

/// Most gas that opening takes; no node is asked, as the question would be the key.
pub const GAS: u64 = 150_000;
/// So long before the buyer can have the price back no key is sent: a proposer that holds the transaction back until then would
/// leave the buyer with both.
const MARGIN: u64 = 6 * 3600;
/// Proofs of a block come with the next one: so often one is waited for.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(300);

/// A sale whose key is due.
#[derive(Debug, PartialEq, Eq)]
pub struct Sale {
    /// Of what.
    pub asset: B256,
    /// The ciphertext.
    pub root: B256,
    /// From when on (seconds since 1970) the buyer can have the price back.
    pub until: u64,
}

/// What is proven of a licence.
#[derive(Clone, Copy)]
struct Proven {
    /// Its terms' hash; zero if there is none.
    terms: B256,
    state: LicenceState,
    /// Whether its ciphertext was opened.
    opened: bool,
    /// The time of the block that this is proven of.
    time: u64,
}

/// The sale that a licence stands for, if its key is due: the wallet owns the asset, the price waits, nobody has opened the
/// ciphertext, and there is time enough. All of it proven, or named by its hash.
///
/// # Errors
/// When any of that is not so, or not proven: nothing was sent.
pub fn due(payer: &Payer, licence: U256) -> Result<Sale> {
    let facts = facts(&payer.chain, licence)?;
    let owner = owner(&payer.chain, facts.asset)?;
    if owner != payer.address {
        return Err(Error::user(format!(
            "licence {licence} is one for asset {}, which is {owner}'s: sign with that wallet (--wallet); the key stays here",
            facts.asset
        )));
    }
    let proven = proven(payer.chain.light()?, licence, &facts)?;
    judge(licence, &facts, proven, now())
}

fn judge(licence: U256, facts: &Licences::licenceOfReturn, proven: Proven, now: u64) -> Result<Sale> {
    let refuse =
        |why: &str| Err(Error::user(format!("licence {licence}: {why}; nothing was sent, the key stays here")));
    if proven.terms.is_zero() {
        return refuse("that anybody bought it is not proven");
    }
    if facts.terms.hash(facts.asset) != proven.terms {
        return refuse("what the chain's node says of it is not what is proven: ask another node (`sahara network`)");
    }
    let root = facts.terms.details;
    if facts.terms.kind != FULL_ACCESS {
        return refuse(&format!("it is not one for full access: see `sahara licence show {licence}`"));
    }
    if proven.opened {
        return refuse(&format!("ciphertext {root} is open already: whoever bought it has its key"));
    }
    if proven.state.money != SEALED || facts.withdrawnAt != 0 {
        return refuse("its price does not wait any more: it went back");
    }
    let until = proven.state.bought.saturating_add(OPENING_TIME);
    let words = moment(until.saturating_mul(1000));
    // The later of both clocks.
    match proven.time.max(now) {
        time if time > until => {
            refuse(&format!("its buyer can have the price back since {words}, and would have both"))
        }
        time if time.saturating_add(MARGIN) > until => refuse(&format!(
            "its buyer can have the price back from {words} on, which is less than {} hours: if the key came into a block \
             later than that, it would have both",
            MARGIN / 3600
        )),
        _ => Ok(Sale { asset: facts.asset, root, until }),
    }
}

/// What is proven of a licence, waiting a little for a purchase that is news.
fn proven(light: &Light, licence: U256, facts: &Licences::licenceOfReturn) -> Result<Proven> {
    let [terms, state] = slots::licence(licence);
    let opening = slots::opening(facts.asset, facts.terms.details);
    let mut tries = 0;
    loop {
        let shown = light.words(&[terms, state, opening].map(|slot| (LICENCES, slot))).map_err(|e| unproven(&e))?;
        let [terms, state, opening] = shown.words.try_into().map_err(|_| unproven(&"other words were shown"))?;
        tries += 1;
        if !terms.is_zero() || tries == TRIES {
            let state = LicenceState::read(U256::from_be_bytes(state.0));
            return Ok(Proven { terms, state, opened: !opening.is_zero(), time: shown.time });
        }
        thread::sleep(PAUSE);
    }
}

fn unproven(why: &dyn std::fmt::Display) -> Error {
    Error::fault(format!("nothing is proven of the sale, so that the key stays here: {why}"))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use sahara_market::abi::Terms;

    use super::super::escrow::PAID;
    use super::*;
    use crate::moment::DAY;

    const BOUGHT: u64 = 1_800_000_000;

    fn sold(kind: u8) -> (Licences::licenceOfReturn, Proven) {
        let terms = Terms {
            kind,
            token: Address::ZERO,
            price: 5,
            royalty: 0,
            compute: 0,
            duration: 0,
            revenueShare: 0,
            transferable: false,
            allowance: 0,
            details: B256::repeat_byte(7),
        };
        let asset = B256::repeat_byte(1);
        let hash = terms.hash(asset);
        let facts = Licences::licenceOfReturn { asset, terms, boughtAt: BOUGHT, ends: u64::MAX, withdrawnAt: 0 };
        let state = LicenceState { bought: BOUGHT, ends: u64::MAX, money: SEALED };
        (facts, Proven { terms: hash, state, opened: false, time: BOUGHT })
    }

    fn why(facts: &Licences::licenceOfReturn, proven: Proven, now: u64) -> String {
        let error = judge(U256::from(7), facts, proven, now).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.report()
    }

    #[test]
    fn a_key_is_due_for_a_price_that_waits_and_for_nothing_else() {
        let (facts, good) = sold(FULL_ACCESS);
        let sale = judge(U256::from(7), &facts, good, BOUGHT).unwrap();
        assert_eq!(sale, Sale { asset: facts.asset, root: facts.terms.details, until: BOUGHT + 7 * DAY });
        assert!(why(&facts, Proven { terms: B256::ZERO, ..good }, BOUGHT).contains("not proven"));
        // A node that shows a licence of other terms than were bought.
        let mut lie = facts.clone();
        lie.terms.details = B256::repeat_byte(8);
        assert!(why(&lie, good, BOUGHT).contains("not what is proven"));
        lie = Licences::licenceOfReturn { asset: B256::repeat_byte(2), ..facts.clone() };
        assert!(why(&lie, good, BOUGHT).contains("not what is proven"));
        assert!(why(&facts, Proven { opened: true, ..good }, BOUGHT).contains("open already"));
        for money in [PAID, 1, 3] {
            let state = LicenceState { money, ..good.state };
            assert!(why(&facts, Proven { state, ..good }, BOUGHT).contains("does not wait"));
        }
        let ended = Licences::licenceOfReturn { withdrawnAt: BOUGHT + 1, ..facts.clone() };
        assert!(why(&ended, good, BOUGHT).contains("does not wait"));
        let (other, proven) = sold(0);
        assert!(why(&other, proven, BOUGHT).contains("not one for full access"));
    }

    #[test]
    fn a_key_is_sent_hours_before_the_price_can_go_back_by_both_clocks() {
        let (facts, good) = sold(FULL_ACCESS);
        let last = BOUGHT + OPENING_TIME - MARGIN;
        assert!(judge(U256::from(7), &facts, good, last).is_ok());
        assert!(judge(U256::from(7), &facts, Proven { time: last, ..good }, BOUGHT).is_ok());
        assert!(why(&facts, good, last + 1).contains("less than 6 hours"));
        assert!(why(&facts, Proven { time: last + 1, ..good }, BOUGHT).contains("less than 6 hours"));
        assert!(why(&facts, good, BOUGHT + OPENING_TIME + 1).contains("would have both"));
        // What a node says of the time of purchase counts for nothing.
        let lie = Licences::licenceOfReturn { boughtAt: u64::MAX, ..facts };
        assert!(why(&lie, good, last + 1).contains("less than 6 hours"));
    }
}
