//! What the tarball is made of: which commit, when, and whether the checkout has changes that are in none.

use std::process::Command;

use crate::process::{output, root};
use crate::{Failure, process};

/// The checkout.
#[derive(Debug)]
pub struct Source {
    /// The commit, in hexadecimal.
    pub commit: String,
    /// Whether there are changes that are in no commit.
    pub changed: bool,
    /// Seconds since 1970 that all files of the tarball have: the commit's.
    pub time: u64,
}

impl Source {
    /// Asks git.
    pub fn read() -> Result<Self, Failure> {
        let commit = git(&["rev-parse", "HEAD"])?;
        let changed = !git(&["status", "--porcelain"])?.is_empty();
        let time = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(time) => time,
            Err(_) => git(&["log", "-1", "--format=%ct"])?,
        };
        let time = time.parse().map_err(|_| Failure::user(format!("SOURCE_DATE_EPOCH is no number: {time:?}")))?;
        if changed {
            eprintln!("xtask: note: the checkout has changes that are in no commit; BUILD.txt says so");
        }
        Ok(Self { commit, changed, time })
    }

    /// The commit in words.
    pub fn describe(&self) -> String {
        format!("{}{}", self.commit, if self.changed { ", with changes that are in no commit" } else { "" })
    }

    /// The time as SBOMs have it.
    pub fn timestamp(&self) -> String {
        timestamp(self.time)
    }
}

fn git(arguments: &[&str]) -> Result<String, Failure> {
    if !process::succeeds("git", &["--version"]) {
        return Err(Failure::user("git is missing: the commit's time and name are part of what is packed"));
    }
    let text = output(Command::new("git").args(arguments).current_dir(root()))?;
    Ok(text.trim().to_owned())
}

/// Seconds since 1970 as `2026-01-31T12:00:00Z`.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since the first of March of the year 0, in cycles of 400 years (Hinnant's algorithm for civil dates).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn times_are_written_as_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
        }
    }
}
