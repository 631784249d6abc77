//! Records of jobs on disk, kept by time, and the names of the jobs that were ever asked for within that time.
//!
//! `<job>-<consumer>.transcript` is this node's record of a job, finished or failed, which may be shown to others;
//! `<job>-<consumer>.openings` opens the commitments in it and stays here. `<pack>.dealt` is what a helper keeps of a pack.
//! `jobs` lists each job that was accepted, with its consumer and time, so that no consumer's name is accepted twice,
//! whatever is restarted in between; it counts as records do, and takes a quarter of their room at most. Nothing is synced to the disk: a power failure loses a job's record and its name together.

mod names;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::identity::{PublicKey, private_file};
use crate::transcript::{DealtRecord, JobRecord, Openings};
use crate::wire::JobId;
pub use names::Claim;
use names::JobNames;

/// Where accepted jobs are listed.
const JOBS: &str = "jobs";
/// Most names that are remembered; each takes some 80 bytes of memory.
const MAX_JOBS: u64 = 1 << 22;
/// What else belongs to a record of this name.
const COMPANIONS: [&str; 2] = ["openings", "countersigned"];

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct RecordLimits {
    /// For how long.
    pub retention: Duration,
    /// Bytes in all; beyond that the oldest go before their time.
    pub bytes: u64,
}

impl RecordLimits {
    /// Names of jobs: a quarter of the room at most.
    fn names(&self) -> usize {
        (self.bytes / 4 / JobNames::room(1)).clamp(1, MAX_JOBS) as usize
    }
}

/// The records of one node.
pub struct RecordStore {
    dir: PathBuf,
    limits: RecordLimits,
    index: Mutex<Index>,
}

struct Index {
    kept: VecDeque<Kept>,
    bytes: u64,
    /// Whether the log has said that records go before their time.
    warned: bool,
    names: JobNames,
}

struct Kept {
    at: SystemTime,
    name: String,
    bytes: u64,
}

impl RecordStore {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// When the directory or the list of jobs cannot be read or written.
    pub fn open(dir: &Path, limits: RecordLimits, now: SystemTime) -> io::Result<Self> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(".transcript") || name.ends_with(".dealt") {
                let metadata = entry.metadata()?;
                let bytes = metadata.len() + companions(dir, &name);
                kept.push(Kept { at: metadata.modified()?, name, bytes });
            }
        }
        kept.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        let names = JobNames::open(&dir.join(JOBS), limits.retention, limits.names(), millis(now))?;
        let bytes = kept.iter().map(|k| k.bytes).sum();
        let index = Index { kept: kept.into(), bytes, warned: false, names };
        let store = Self { dir: dir.into(), limits, index: Mutex::new(index) };
        store.evict(&mut store.lock(), now)?;
        Ok(store)
    }

    /// Whether the name of a consumer's job was taken, within the time that records are kept.
    pub fn is_taken(&self, consumer: &PublicKey, job: &JobId, now: SystemTime) -> bool {
        self.lock().names.is_taken(consumer, job, millis(now))
    }

    /// Takes the name of a consumer's job for good, unless it was taken before, within the time that records are kept.
    ///
    /// # Errors
    /// When the list cannot be written: then the job must not begin.
    pub fn claim(&self, consumer: PublicKey, job: JobId, now: SystemTime) -> io::Result<Claim> {
        self.lock().names.claim(consumer, job, millis(now))
    }

    /// Keeps the record of a job.
    ///
    /// # Errors
    /// When a file cannot be written or an old one not removed.
    pub fn keep(&self, record: &JobRecord, openings: Option<&Openings>, now: SystemTime) -> io::Result<()> {
        let session = record.end.record.opening.session;
        let name = format!("{}-{}", session.job, session.consumer);
        let bytes = record.encode();
        let mut len = bytes.len() as u64;
        private_file(&self.dir.join(format!("{name}.transcript")))?.write_all(&bytes)?;
        if let Some(openings) = openings {
            let bytes = openings.encode();
            private_file(&self.dir.join(format!("{name}.openings")))?.write_all(&bytes)?;
            len += bytes.len() as u64;
        }
        self.added(format!("{name}.transcript"), len, now)
    }

    /// Keeps what a helper signed of a pack.
    ///
    /// # Errors
    /// When the file cannot be written or an old one not removed.
    pub fn keep_dealt(&self, record: &DealtRecord, now: SystemTime) -> io::Result<()> {
        let (name, bytes) = (format!("{}.dealt", record.pack), record.encode());
        private_file(&self.dir.join(&name))?.write_all(&bytes)?;
        self.added(name, bytes.len() as u64, now)
    }

    fn added(&self, name: String, bytes: u64, now: SystemTime) -> io::Result<()> {
        let mut index = self.lock();
        index.bytes += bytes;
        index.kept.push_back(Kept { at: now, name, bytes });
        self.evict(&mut index, now)
    }

    /// Removes what is too old, and the oldest while there is too much.
    fn evict(&self, index: &mut Index, now: SystemTime) -> io::Result<()> {
        loop {
            let Some(oldest) = index.kept.front() else { return Ok(()) };
            // A clock that went back makes nothing older.
            let expired = now.duration_since(oldest.at).is_ok_and(|age| age > self.limits.retention);
            if !expired && index.bytes + index.names.bytes() <= self.limits.bytes {
                return Ok(());
            }
            if !expired && !std::mem::replace(&mut index.warned, true) {
                tracing::warn!(
                    limit = self.limits.bytes,
                    "records of jobs take all the room they may: the oldest go before their time (transcript_megabytes)"
                );
            }
            let Some(Kept { name, bytes, .. }) = index.kept.pop_front() else { return Ok(()) };
            index.bytes -= bytes;
            remove(&self.dir.join(&name))?;
            for companion in COMPANIONS {
                remove(&self.dir.join(&name).with_extension(companion))?;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn companions(dir: &Path, name: &str) -> u64 {
    let path = dir.join(name);
    COMPANIONS.iter().filter_map(|c| fs::metadata(path.with_extension(c)).ok()).map(|m| m.len()).sum()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::PackSeal;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const WHO: PublicKey = PublicKey([8; 32]);

    fn task() -> crate::wire::Task {
        crate::wire::Task {
            manifest: crate::wire::ManifestId([5; 32]),
            graph: crate::engine::GraphId([3; 32]),
            assignment: crate::engine::Assignment::ALL[0],
            rounding: crate::engine::Rounding::Exact,
        }
    }

    fn store(dir: &Path, bytes: u64, now: SystemTime) -> RecordStore {
        RecordStore::open(dir, RecordLimits { retention: 30 * DAY, bytes }, now).unwrap()
    }

    fn dealt(n: u8) -> DealtRecord {
        let identity = crate::identity::generate().unwrap();
        let (pack, task) = (crate::wire::PackId([n; 16]), task());
        let seal = PackSeal { seeds: [[1; 32]; 2], corrections: [2; 32] };
        DealtRecord {
            committee: [3; 32],
            pack,
            task,
            helper: identity.public(),
            seal: seal.sign(&[3; 32], &pack, &task, &identity),
        }
    }

    #[test]
    fn a_job_is_accepted_once_also_after_a_restart_and_a_torn_list() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let (one, two) = (JobId([1; 16]), JobId([2; 16]));
        let first = store(dir.path(), 1 << 20, now);
        assert!(!first.is_taken(&WHO, &one, now));
        assert!(first.claim(WHO, one, now).unwrap() == Claim::New);
        assert!(first.is_taken(&WHO, &one, now) && first.claim(WHO, one, now).unwrap() == Claim::Taken);
        drop(first);
        // Cut short in the middle of a line.
        fs::OpenOptions::new().append(true).open(dir.path().join(JOBS)).unwrap().write_all(&[9; 7]).unwrap();
        let second = store(dir.path(), 1 << 20, now + DAY);
        assert!(second.claim(WHO, one, now + DAY).unwrap() == Claim::Taken);
        assert!(second.claim(WHO, two, now + DAY).unwrap() == Claim::New);
        drop(second);
        let third = store(dir.path(), 1 << 20, now + 2 * DAY);
        assert!(third.claim(WHO, two, now + 2 * DAY).unwrap() == Claim::Taken);
        assert!(third.claim(WHO, one, now + 31 * DAY).unwrap() == Claim::New, "forgotten with the records of its time");
    }

    #[test]
    fn records_go_by_age_and_the_oldest_first_when_there_is_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let len = dealt(0).encode().len() as u64;
        let names = || {
            let mut names: Vec<_> = listed(dir.path());
            names.retain(|name| name != JOBS);
            names.sort();
            names
        };
        let first = store(dir.path(), 3 * len, now);
        for n in 0..5 {
            first.keep_dealt(&dealt(n), now).unwrap();
        }
        let name = |n: u8| format!("{}.dealt", crate::wire::PackId([n; 16]));
        assert_eq!(names(), [name(2), name(3), name(4)]);
        fs::write(dir.path().join(name(2)).with_extension("openings"), [0; 8]).unwrap();
        drop(first);
        // Counted and removed with what belongs to them.
        let second = store(dir.path(), 3 * len, now);
        assert_eq!(names(), [name(3), name(4)]);
        second.keep_dealt(&dealt(9), now + 31 * DAY).unwrap();
        assert_eq!(names(), [name(9)]);
    }

    #[test]
    fn the_list_of_jobs_counts_as_records_do() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let store = store(dir.path(), 1000, now);
        store.keep_dealt(&dealt(1), now).unwrap();
        assert!(store.claim(WHO, JobId([1; 16]), now).unwrap() == Claim::New);
        let free = 1000 - store.lock().bytes - JobNames::room(1) / 2;
        store.added("more.dealt".into(), free, now).unwrap();
        assert_eq!(listed(dir.path()).len(), 2, "exactly as much as there may be");
        assert!(store.claim(WHO, JobId([2; 16]), now).unwrap() == Claim::New);
        store.added("none.dealt".into(), 0, now).unwrap();
        assert_eq!(listed(dir.path()), [JOBS], "a second name takes the room of the oldest record");
    }

    fn listed(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
