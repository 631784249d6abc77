//! Runs a folder of state tests on several threads. The report does not depend on how many.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;

use crate::case::{self, Fork, Pre, Test};

/// Something that was not run.
#[derive(Debug)]
pub struct Skip {
    /// What and why.
    pub line: String,
    /// Tests in it; one, if that is unknown.
    pub tests: usize,
    /// It says nothing about this chain: rules that it never had, a state that it cannot have, or no state test at all.
    pub foreign: bool,
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

    /// Those of them that could say something about this chain.
    pub fn unexplained(&self) -> usize {
        self.skipped.iter().filter(|skip| !skip.foreign).map(|skip| skip.tests).sum()
    }

    /// Whether the folder shows what it should: nothing failed, something was looked at, and almost nothing is unknown.
    pub fn holds(&self) -> bool {
        let known = self.passed() + self.skipped_tests() - self.unexplained();
        self.failed.is_empty() && known > 0 && self.unexplained() * 100 < known
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
    let mut skip = |line: String, tests: usize, foreign: bool| report.skipped.push(Skip { line, tests, foreign });
    let bytes = std::fs::read(file).map_err(|e| e.to_string());
    let all: Result<BTreeMap<String, Value>, String> =
        bytes.and_then(|json| serde_json::from_slice(&json).map_err(|e| e.to_string()));
    let all = match all {
        Ok(all) => all,
        Err(e) => {
            // What is JSON but no map of tests, such as an index, is no test at all.
            skip(format!("skipped {shown}: {e}"), 1, !e.contains("EOF"));
            return report;
        }
    };
    let mut tests = Vec::new();
    for (name, value) in all {
        // Folders of tests have other kinds of them too, and indexes.
        if value.get("post").is_none() || value.get("transaction").is_none() {
            skip(format!("skipped {shown} {name}: not a state test"), 1, true);
            continue;
        }
        match serde_json::from_value::<Test>(value) {
            Ok(test) => tests.push((name, test)),
            Err(e) => skip(format!("skipped {shown} {name}: {e}"), 1, false),
        }
    }
    for (name, test) in &tests {
        let unreachable = test.pre.values().any(Pre::is_unreachable);
        for (fork, posts) in &test.post {
            let spec = match case::fork(fork) {
                Fork::Rules(spec) => spec,
                Fork::BeforeParis => {
                    let line =
                        format!("skipped {shown} {name} at {fork}: rules of before Paris, which this chain never had");
                    report.skipped.push(Skip { line, tests: posts.len(), foreign: true });
                    continue;
                }
                Fork::Unknown => {
                    let line = format!("skipped {shown} {name} at {fork}: not a fork whose rules are known here");
                    report.skipped.push(Skip { line, tests: posts.len(), foreign: false });
                    continue;
                }
            };
            for (i, post) in posts.iter().enumerate() {
                match case::run(test, fork, spec, post) {
                    Ok(()) => *report.forks.entry(fork.clone()).or_default() += 1,
                    Err(why) if unreachable => {
                        let line = format!(
                            "skipped {shown} {name} {fork}[{i}]: begins with a state that no block or genesis can make \
                             (EIP-7610); {why}"
                        );
                        report.skipped.push(Skip { line, tests: 1, foreign: true });
                    }
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
