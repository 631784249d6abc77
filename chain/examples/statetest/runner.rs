//! Runs a folder of state tests on several threads. The report does not depend on how many.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::case::{Test, run as run_case, spec};

/// Accounts that have storage but neither code nor nonce (EIP-7610). No block can make one and no genesis of this chain
/// may have one, so the EVM does not look for them; nor can Ethereum since 2016.
const UNREACHABLE: [&str; 5] = [
    "InitCollisionParis.json",
    "RevertInCreateInInitCreate2Paris.json",
    "RevertInCreateInInit_Paris.json",
    "create2collisionStorageParis.json",
    "dynamicAccountOverwriteEmpty_Paris.json",
];

/// Something that was not run.
#[derive(Debug)]
pub struct Skip {
    /// What and why.
    pub line: String,
    /// Tests in it; one, if that is unknown.
    pub tests: usize,
}

/// What became of a folder.
#[derive(Debug, Default)]
pub struct Report {
    /// Files that were looked at.
    pub files: usize,
    /// Tests that passed at each fork.
    pub forks: BTreeMap<String, usize>,
    /// A line for each test that failed.
    pub failed: Vec<String>,
    /// What was not run.
    pub skipped: Vec<Skip>,
}

impl Report {
    /// Tests that passed.
    pub fn passed(&self) -> usize {
        self.forks.values().sum()
    }

    /// Tests that were not run.
    pub fn skipped_tests(&self) -> usize {
        self.skipped.iter().map(|skip| skip.tests).sum()
    }

    fn add(&mut self, other: Self) {
        self.files += other.files;
        for (fork, count) in other.forks {
            *self.forks.entry(fork).or_default() += count;
        }
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }
}

/// Runs every test below `folder`.
pub fn run(folder: &Path, threads: usize) -> Report {
    let mut files = Vec::new();
    find(folder, &mut files);
    files.sort();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((index, file)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    files.get(index).map(|file| (index, file))
                } {
                    let report = one(file);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, report);
                }
            });
        }
    });
    let mut all = Report::default();
    for report in done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
        all.add(report);
    }
    all
}

fn one(file: &Path) -> Report {
    let mut report = Report { files: 1, ..Report::default() };
    let shown = file.display();
    let tests = std::fs::read(file).map_err(|e| e.to_string());
    let tests: Result<BTreeMap<String, Test>, String> =
        tests.and_then(|json| serde_json::from_slice(&json).map_err(|e| e.to_string()));
    let tests = match tests {
        Ok(tests) => tests,
        Err(e) => {
            report.skipped.push(Skip { line: format!("skipped {shown}: {e}"), tests: 1 });
            return report;
        }
    };
    if UNREACHABLE.iter().any(|name| file.ends_with(name)) {
        let tests = tests.values().flat_map(|test| test.post.values()).map(Vec::len).sum();
        let line = format!("skipped {shown}: begins with a state that no block or genesis can make (EIP-7610)");
        report.skipped.push(Skip { line, tests });
        return report;
    }
    for (name, test) in &tests {
        for (fork, posts) in &test.post {
            let Some(spec) = spec(fork) else {
                let line = format!("skipped {shown} {name} at {fork}: not a fork whose rules are known here");
                report.skipped.push(Skip { line, tests: posts.len() });
                continue;
            };
            for (i, post) in posts.iter().enumerate() {
                match run_case(test, spec, post) {
                    Ok(()) => *report.forks.entry(fork.clone()).or_default() += 1,
                    Err(why) => report.failed.push(format!("FAILED {shown} {name} {fork}[{i}]: {why}")),
                }
            }
        }
    }
    report
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
}
