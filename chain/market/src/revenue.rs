//! How an asset's revenue gets to everybody in its lineage: what the contract at [`crate::ATTRIBUTION`] does in one token,
//! to the last unit.
//!
//! What is paid to an asset waits out a challenge window, then goes up to its ancestors by their shares; an asset's own
//! part goes to its contributors. Shares are taken of running totals, so that nobody gains by splitting often.
//!
//! ```
//! use alloy_primitives::{Address, B256, U256};
//! use sahara_market::revenue::{CHALLENGE, Lineage, Revenue};
//!
//! let (model, dataset) = (B256::repeat_byte(1), B256::repeat_byte(2));
//! let (owner, collector) = (Address::repeat_byte(3), Address::repeat_byte(4));
//! let mut revenue = Revenue::default();
//! revenue.register(dataset, Lineage { ancestors: vec![], payees: vec![(collector, 10_000)] });
//! revenue.register(model, Lineage { ancestors: vec![(dataset, 2_500)], payees: vec![(owner, 10_000)] });
//!
//! revenue.pay(model, U256::from(1_000), 0)?;
//! assert_eq!(revenue.release(model, CHALLENGE + 3_600, usize::MAX)?, U256::from(1_000));
//! revenue.divide(model)?;
//! revenue.divide(dataset)?;
//! assert_eq!(revenue.claim(owner), U256::from(750));
//! assert_eq!(revenue.claim(collector), U256::from(250));
//! # Ok::<(), sahara_market::revenue::UnknownAsset>(())
//! ```

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::{Address, B256, U256};

/// Seconds that revenue waits, at least, before it can be released; at most an hour longer.
pub const CHALLENGE: u64 = 24 * HOUR;
/// All of it, in hundredths of a percent.
const ALL: u16 = 10_000;
const HOUR: u64 = 3_600;

/// Who gets what of an asset's revenue. Shares are hundredths of a percent; each list sums to no more than all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// What the asset is derived from, flattened, and the shares of the asset's revenue that go there.
    pub ancestors: Vec<(B256, u16)>,
    /// Who gets what is the asset's own: its contributors, or its owner alone.
    pub payees: Vec<(Address, u16)>,
}

/// No asset of that name is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is registered as {0}: register the asset before it is paid")]
pub struct UnknownAsset(pub B256);

/// The books of all assets in one token.
#[derive(Clone, Debug, Default)]
pub struct Revenue {
    books: BTreeMap<B256, Book>,
    credits: BTreeMap<Address, U256>,
}

#[derive(Clone, Debug, Default)]
struct Book {
    lineage: Lineage,
    /// What came in, by hour, and was not released.
    inflows: VecDeque<(u64, U256)>,
    /// All that was ever released.
    released: U256,
    /// The asset's own, not divided yet.
    own: U256,
    /// All that was ever divided.
    divided: U256,
}

impl Revenue {
    /// Opens the book of `asset`. Its payees and ancestors stay as they are.
    pub fn register(&mut self, asset: B256, lineage: Lineage) {
        self.books.entry(asset).or_insert_with(|| Book { lineage, ..Book::default() });
    }

    /// Pays `amount` to `asset` at this time (seconds since 1970).
    ///
    /// # Errors
    /// If nothing is registered under that name.
    pub fn pay(&mut self, asset: B256, amount: U256, now: u64) -> Result<(), UnknownAsset> {
        let book = self.book(asset)?;
        let hour = now / HOUR;
        match book.inflows.back_mut() {
            _ if amount.is_zero() => {}
            Some((last, sum)) if *last == hour => *sum += amount,
            _ => book.inflows.push_back((hour, amount)),
        }
        Ok(())
    }

    /// Sends up the lineage what has waited long enough, at most `most` hours' worth, and says how much that was.
    ///
    /// # Errors
    /// If the asset, or one of its ancestors, is not registered.
    pub fn release(&mut self, asset: B256, now: u64, most: usize) -> Result<U256, UnknownAsset> {
        let book = self.book(asset)?;
        let ripe = book.inflows.iter().take_while(|(hour, _)| now >= ripe_at(*hour)).take(most).count();
        let amount: U256 = book.inflows.drain(..ripe).map(|(_, amount)| amount).sum();
        let (before, total) = (book.released, book.released + amount);
        book.released = total;
        let ancestors = book.lineage.ancestors.clone();
        let mut left = ALL;
        for (ancestor, share) in ancestors {
            left = left.saturating_sub(share);
            self.book(ancestor)?.own += grown(before, total, share);
        }
        self.book(asset)?.own += grown(before, total, left);
        Ok(amount)
    }

    /// Credits what is the asset's own to its payees, and says how much that was.
    ///
    /// # Errors
    /// If nothing is registered under that name.
    pub fn divide(&mut self, asset: B256) -> Result<U256, UnknownAsset> {
        let book = self.book(asset)?;
        let amount = std::mem::take(&mut book.own);
        let (before, total) = (book.divided, book.divided + amount);
        book.divided = total;
        for (payee, share) in book.lineage.payees.clone() {
            *self.credits.entry(payee).or_default() += grown(before, total, share);
        }
        Ok(amount)
    }

    /// Takes out what is the account's.
    pub fn claim(&mut self, account: Address) -> U256 {
        self.credits.remove(&account).unwrap_or_default()
    }

    /// What [`Revenue::claim`] would take.
    pub fn claimable(&self, account: Address) -> U256 {
        self.credits.get(&account).copied().unwrap_or_default()
    }

    fn book(&mut self, asset: B256) -> Result<&mut Book, UnknownAsset> {
        self.books.get_mut(&asset).ok_or(UnknownAsset(asset))
    }
}

/// By how much a share of a running total grew.
fn grown(before: U256, total: U256, share: u16) -> U256 {
    let part = |sum: U256| sum * U256::from(share) / U256::from(ALL);
    part(total) - part(before)
}

/// When what came in within this hour can be released.
fn ripe_at(hour: u64) -> u64 {
    hour.saturating_add(1).saturating_mul(HOUR).saturating_add(CHALLENGE)
}
