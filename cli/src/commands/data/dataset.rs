//! Where what this machine knows of a dataset lies: its budget, its receipts, and its jobs on the chain.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sahara::home::{Home, create_private_dir, turn};
use sahara_privacy::budget::{Book, BudgetError};

use crate::error::{Blame, Error, Result};
use crate::progress::Indicator;

/// What neighbours are, where nothing else is said.
pub const ROW: &str = "one row";

/// What they are where a column says whose a row is.
pub fn person(column: &str) -> String {
    format!("one person by {column}")
}

/// A dataset, while no other process has it.
pub struct Dataset {
    /// Its name.
    pub name: String,
    folder: PathBuf,
    _turn: File,
}

impl Dataset {
    /// Waits until no other process has it.
    pub fn open(name: &str, home: &Home, progress: &Indicator) -> Result<Self> {
        check(name)?;
        let folder = home.path().join("datasets").join(name);
        create_private_dir(home.path())?;
        create_private_dir(&folder)?;
        let mut told = false;
        let waiting = || {
            if !std::mem::replace(&mut told, true) {
                progress.step("waiting for another sahara that draws on this dataset");
            }
            Ok(())
        };
        let turn = turn(&folder.join("lock"), waiting)?;
        Ok(Self { name: name.to_owned(), folder, _turn: turn })
    }

    /// The same of one that this machine knows something of.
    pub fn known(name: &str, home: &Home, progress: &Indicator) -> Result<Option<Self>> {
        check(name)?;
        let folder = home.path().join("datasets").join(name);
        if folder.exists() { Self::open(name, home, progress).map(Some) } else { Ok(None) }
    }

    /// The names of all of them.
    pub fn all(home: &Home) -> Result<Vec<String>> {
        let folder = home.path().join("datasets");
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut names = entries(&folder)?;
        names.retain(|name| check(name).is_ok() && budget(&folder.join(name)).exists());
        Ok(names)
    }

    /// Where its budget is.
    pub fn budget(&self) -> PathBuf {
        budget(&self.folder)
    }

    /// Its budget on this machine, if it has one.
    pub fn book(&self) -> Result<Option<Book>> {
        let path = self.budget();
        let exists = fs::exists(&path).map_err(|error| Error::io("looking for", &path, error))?;
        if exists { Book::open(&path).map(Some).map_err(budget_error) } else { Ok(None) }
    }

    /// A folder of its own, made if there is none.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        create_private_dir(&folder)?;
        Ok(folder)
    }
}

/// What lies in a folder, by name.
pub fn entries(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io("reading", folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// A table's name, unless another one was given.
pub fn named<'a>(given: Option<&'a str>, table: &'a Path) -> Result<&'a str> {
    let stem = || table.file_stem().and_then(|stem| stem.to_str());
    let no_name = || Error::user("the table's name is no name of a dataset: give one with --dataset");
    match given {
        Some(given) => Ok(given),
        None => stem().filter(|stem| check(stem).is_ok()).ok_or_else(no_name),
    }
}

/// What an error of a budget is to whoever has it.
pub fn budget_error(error: BudgetError) -> Error {
    match error {
        BudgetError::File { doing, path, source } => Error::io(doing, &path, source),
        BudgetError::Refused(refusal) => Error::user(refusal.to_string()),
        BudgetError::Busy(_) | BudgetError::Exists(_) | BudgetError::Changed(_) | BudgetError::Full(_) => {
            Error::user(error.to_string())
        }
        other => Error::wrap("using the budget", Blame::User, other),
    }
}

fn budget(folder: &Path) -> PathBuf {
    folder.join("budget")
}

fn check(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.') {
        return Ok(());
    }
    Err(Error::user(format!("{name:?} is no name of a dataset (at most 64 letters, digits, '-', '_', '.')")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_datasets_stay_in_their_folder() {
        for good in ["visits", "a.b-c_1", &"x".repeat(64)] {
            assert!(check(good).is_ok());
        }
        for wrong in ["", ".", "..", ".a", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert_eq!(named(None, Path::new("/x/visits.csv")).unwrap(), "visits");
        assert_eq!(named(Some("other"), Path::new("/")).unwrap(), "other");
        assert!(named(None, Path::new("/")).is_err() && named(None, Path::new("my visits.csv")).is_err());
    }
}
