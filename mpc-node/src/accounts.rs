//! What the answers about each owner's data have cost, of those that leave with noise: an account for each set of data, on disk.
//!
//! An answer is held against the account when its job begins, and spent, durably, before anything of it leaves this node; it is
//! never given back after that. What other jobs hold counts, so no two of them spend the same rest. An account is known by the
//! owner's key and the data's name: sharings, versions, committees of this node and consumers all draw on the one.

mod file;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Assignment;
use crate::manifest::{AnswerCost, Budget, Manifest, NoiseTerms, OwnerKey, SharingName};
use crate::wire::MAX_KINDS;
use file::Account;

/// Most sets of data of one owner.
const MOST_OF_OWNER: usize = 64;

/// Why an answer is not held against an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The budget does not suffice.
    #[error(
        "the budget of `{dataset}` is used up: ε = {spent:.4} of {most} at δ = {delta:e} is spent, and an answer more would make it {next:.4}: \
         its owner has to share it with a greater budget"
    )]
    UsedUp {
        /// The data.
        dataset: SharingName,
        /// ε of what is spent.
        spent: f64,
        /// ε of the budget.
        most: f64,
        /// Its δ.
        delta: f64,
        /// ε with this answer.
        next: f64,
    },
    /// The budget would suffice, if no other job came to its end.
    #[error("what is left of the budget of `{dataset}` is held by jobs that are under way: try again")]
    Held {
        /// The data.
        dataset: SharingName,
    },
    /// There is nothing to count.
    #[error("the answers of this sharing leave without noise")]
    Clear,
    /// The account is another committee's, or of other evaluators.
    #[error(
        "the answers about `{dataset}` are counted by other nodes, with another helper or in another committee: share it as before, or \
         under another name of the data"
    )]
    Elsewhere {
        /// The data.
        dataset: SharingName,
    },
    /// There are as many accounts, or kinds of answers, as there may be.
    #[error("there is no room for another {what} here: at most {most}")]
    Full {
        /// Of which.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// It cannot be accounted.
    #[error("the answers about `{dataset}` cannot be accounted: {why}")]
    Beyond {
        /// The data.
        dataset: SharingName,
        /// Why.
        why: String,
    },
    /// The account cannot be read or written.
    #[error("the account of `{dataset}`: {why}")]
    Io {
        /// The data.
        dataset: SharingName,
        /// Why, with this node's files.
        why: String,
    },
}

/// Whether there is the account of a sharing's data; an error if there may be none.
fn known(
    books: &BTreeMap<AccountId, Book>,
    id: &AccountId,
    manifest: &Manifest,
    terms: &NoiseTerms,
) -> Result<bool, AccountError> {
    let dataset = || terms.dataset.clone();
    match books.get(id).map(|book| &book.account) {
        Some(Ok(account)) if account.place() == (manifest.committee, terms.assignment) => return Ok(true),
        Some(Ok(_)) => return Err(AccountError::Elsewhere { dataset: dataset() }),
        Some(Err(why)) => return Err(AccountError::Io { dataset: dataset(), why: why.clone() }),
        None => {}
    }
    let of_owner = |book: &&Book| book.account.as_ref().is_ok_and(|account| account.owner == manifest.owner);
    match books.values().filter(of_owner).count() < MOST_OF_OWNER {
        true => Ok(false),
        false => Err(AccountError::Full { what: "set of data of this owner", most: MOST_OF_OWNER }),
    }
}

/// Names an account: a hash of the owner's key and the data's name.
type AccountId = [u8; 32];

/// All accounts of a node.
#[derive(Debug)]
pub struct Accounts {
    dir: PathBuf,
    books: Mutex<BTreeMap<AccountId, Book>>,
}

#[derive(Debug)]
struct Book {
    /// What is on disk; or why it cannot be read: then nothing is held against it.
    account: Result<Account, String>,
    /// What jobs hold that have not spent it.
    held: BTreeMap<AnswerCost, u64>,
}

/// What has been spent of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent(pub Vec<(AnswerCost, u64)>);

impl Spent {
    /// Upper bound of ε of all that is spent, at the budget's δ.
    ///
    /// # Errors
    /// When it is beyond what can be accounted.
    pub fn epsilon(&self, budget: &Budget) -> Result<f64, sahara_privacy::accounting::AccountingError> {
        if self.0.is_empty() { Ok(0.0) } else { AnswerCost::epsilon(&self.0, budget.delta()) }
    }

    /// How many answers more of this cost the budget suffices for, at most `most`: other than ε left over ε of one, for answers
    /// together cost less than their sum.
    ///
    /// # Errors
    /// When it is beyond what can be accounted.
    pub fn answers_left(
        &self,
        cost: AnswerCost,
        budget: &Budget,
        most: u64,
    ) -> Result<u64, sahara_privacy::accounting::AccountingError> {
        let mut all: BTreeMap<AnswerCost, u64> = self.0.iter().copied().collect();
        let before = all.get(&cost).copied().unwrap_or(0);
        let mut suffices = |more: u64| {
            all.insert(cost, before.saturating_add(more));
            let all = Self(all.iter().map(|(cost, times)| (*cost, *times)).collect());
            Ok(all.epsilon(budget)? <= budget.epsilon())
        };
        // It suffices for `enough`, and not for `beyond`.
        let (mut enough, mut beyond) = (0, 1);
        while beyond <= most && suffices(beyond)? {
            (enough, beyond) = (beyond, beyond.saturating_mul(2));
        }
        beyond = beyond.min(most.saturating_add(1));
        while beyond - enough > 1 {
            let middle = enough + (beyond - enough) / 2;
            if suffices(middle)? { enough = middle } else { beyond = middle }
        }
        Ok(enough)
    }
}

impl Accounts {
    /// The accounts in a folder, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made or listed. An account that cannot be read stays, and refuses by name.
    pub fn open(dir: &Path) -> io::Result<Arc<Self>> {
        fs::create_dir_all(dir)?;
        let mut books = BTreeMap::new();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            if let Some(id) = file::id_of(&path) {
                let account = file::read(&path).and_then(|account| {
                    let right = account_id(&account.owner, &account.dataset) == id;
                    if right { Ok(account) } else { Err("it is another account's file".to_owned()) }
                });
                let account = account.map_err(|why| format!("{}: {why}", path.display()));
                if let Err(why) = &account {
                    tracing::error!(
                        "an account of noisy answers cannot be read, and nothing is answered for it: {why}"
                    );
                }
                books.insert(id, Book { account, held: BTreeMap::new() });
            }
        }
        Ok(Arc::new(Self { dir: dir.into(), books: Mutex::new(books) }))
    }

    /// Whether a sharing's data may be counted here; nothing is made.
    ///
    /// # Errors
    /// As [`Accounts::make`], but for the disk.
    pub fn check(&self, manifest: &Manifest) -> Result<(), AccountError> {
        let Some(terms) = &manifest.noise else { return Ok(()) };
        known(&self.lock(), &account_id(&manifest.owner, &terms.dataset), manifest, terms).map(drop)
    }

    /// Makes the account of a sharing's data, if there is none: at all three nodes when it is shared, so that each knows who counts.
    ///
    /// # Errors
    /// When other nodes count, there is no room, or it cannot be written.
    pub fn make(&self, manifest: &Manifest) -> Result<(), AccountError> {
        let Some(terms) = &manifest.noise else { return Ok(()) };
        self.book(&mut self.lock(), manifest, terms).map(drop)
    }

    /// Holds what one answer costs, of a graph in which so many numbers are noised.
    ///
    /// # Errors
    /// [`AccountError::UsedUp`] when what is spent and this answer cost more than the budget, [`AccountError::Held`] when they do with
    /// what others hold; and as [`Accounts::make`].
    pub fn hold(self: &Arc<Self>, manifest: &Manifest, numbers: u64) -> Result<Held, AccountError> {
        let terms = manifest.noise.as_ref().ok_or(AccountError::Clear)?;
        let mut books = self.lock();
        let id = self.book(&mut books, manifest, terms)?;
        let Some(book) = books.get_mut(&id) else { unreachable!("it was just looked at") };
        let cost = terms.cost(numbers);
        let mut spent = book.spent();
        let epsilon = |all: &BTreeMap<AnswerCost, u64>| {
            let all: Vec<_> = all.iter().map(|(cost, times)| (*cost, *times)).collect();
            let beyond = |e: sahara_privacy::accounting::AccountingError| AccountError::Beyond {
                dataset: terms.dataset.clone(),
                why: e.to_string(),
            };
            Spent(all).epsilon(&terms.budget).map_err(beyond)
        };
        let so_far = epsilon(&spent)?;
        *spent.entry(cost).or_default() += 1;
        let next = epsilon(&spent)?;
        let (most, delta, dataset) = (terms.budget.epsilon(), terms.budget.delta(), || terms.dataset.clone());
        if next > most {
            return Err(AccountError::UsedUp { dataset: dataset(), spent: so_far, most, delta, next });
        }
        for (cost, times) in &book.held {
            *spent.entry(*cost).or_default() += times;
        }
        if spent.len() > MAX_KINDS {
            return Err(AccountError::Full { what: "kind of answers about the data", most: MAX_KINDS });
        }
        if epsilon(&spent)? > most {
            return Err(AccountError::Held { dataset: dataset() });
        }
        *book.held.entry(cost).or_default() += 1;
        Ok(Held { accounts: self.clone(), id, cost, dataset: terms.dataset.clone(), spent: false })
    }

    /// What has been spent of the account of a sharing's data; what jobs hold is not counted.
    ///
    /// # Errors
    /// When the account cannot be read, or nothing is counted.
    pub fn spent(&self, manifest: &Manifest) -> Result<Spent, AccountError> {
        let terms = manifest.noise.as_ref().ok_or(AccountError::Clear)?;
        let books = self.lock();
        match books.get(&account_id(&manifest.owner, &terms.dataset)).map(|book| &book.account) {
            None => Ok(Spent(Vec::new())),
            Some(Ok(account)) => Ok(Spent(account.spent.iter().map(|(cost, times)| (*cost, *times)).collect())),
            Some(Err(why)) => Err(AccountError::Io { dataset: terms.dataset.clone(), why: why.clone() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AccountId, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of a sharing's data, made if there is none.
    fn book(
        &self,
        books: &mut BTreeMap<AccountId, Book>,
        manifest: &Manifest,
        terms: &NoiseTerms,
    ) -> Result<AccountId, AccountError> {
        let id = account_id(&manifest.owner, &terms.dataset);
        if !known(books, &id, manifest, terms)? {
            let account = Account::new(manifest.owner, terms.dataset.clone(), (manifest.committee, terms.assignment));
            self.write(&id, &account)?;
            books.insert(id, Book { account: Ok(account), held: BTreeMap::new() });
        }
        Ok(id)
    }

    fn write(&self, id: &AccountId, account: &Account) -> Result<(), AccountError> {
        let why = |e: io::Error| AccountError::Io { dataset: account.dataset.clone(), why: e.to_string() };
        file::write(&self.dir, id, account).map_err(why)
    }
}

impl Book {
    fn spent(&self) -> BTreeMap<AnswerCost, u64> {
        self.account.as_ref().map(|account| account.spent.clone()).unwrap_or_default()
    }

    fn release(&mut self, cost: &AnswerCost) {
        if let Some(times) = self.held.get_mut(cost) {
            *times = times.saturating_sub(1);
        }
        self.held.retain(|_, times| *times > 0);
    }
}

/// What one answer costs, held against its account: given back when dropped, unless it was spent.
#[derive(Debug)]
pub struct Held {
    accounts: Arc<Accounts>,
    id: AccountId,
    cost: AnswerCost,
    dataset: SharingName,
    spent: bool,
}

impl Held {
    /// Writes down that the answer is spent, for good; it is on the disk when this returns. Nothing of the answer leaves before.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may leave.
    pub fn spend(mut self) -> Result<(), AccountError> {
        let accounts = self.accounts.clone();
        let mut books = accounts.lock();
        let Some(book) = books.get_mut(&self.id) else { unreachable!("accounts do not go") };
        let account = book
            .account
            .as_mut()
            .map_err(|why| AccountError::Io { dataset: self.dataset.clone(), why: why.clone() })?;
        let mut next = account.clone();
        *next.spent.entry(self.cost).or_default() += 1;
        accounts.write(&self.id, &next)?;
        *account = next;
        book.release(&self.cost);
        self.spent = true;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.spent {
            return;
        }
        // `spend` holds the lock where it fails: it has not been released there.
        let accounts = self.accounts.clone();
        if let Some(book) = accounts.lock().get_mut(&self.id) {
            book.release(&self.cost);
        }
    }
}

fn account_id(owner: &OwnerKey, dataset: &SharingName) -> AccountId {
    let mut w = sahara_circuits::bytes::Writer::default();
    owner.write(&mut w);
    w.text_up_to(dataset.as_str(), SharingName::LIMIT);
    blake3::derive_key("sahara 2026 account of noisy answers v1", &w.0)
}

/// Where an account's answers are counted: committee and assignment.
type Place = ([u8; 32], Assignment);

#[cfg(test)]
mod tests;
