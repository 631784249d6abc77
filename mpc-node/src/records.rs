//! Records of jobs on disk, kept by time, and the names of the jobs that were ever asked for within that time.
//!
//! `<job>.transcript` is this node's record of a job, finished or failed, which may be shown to others; `<job>.openings`
//! opens the commitments in it and stays here. `<pack>.dealt` is what a helper keeps of a pack. `jobs` lists each job
//! that was accepted, with its time, so that no name is accepted twice, whatever is restarted in between. Nothing here
//! is synced to the disk: a power failure loses a job's record and its name together.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::identity::private_file;
use crate::transcript::{DealtRecord, JobRecord, Openings};
use crate::wire::JobId;

/// Where accepted jobs are listed.
const JOBS: &str = "jobs";
/// Bytes of a line of that list: when (milliseconds since 1970), which job.
const LINE: usize = 8 + 16;
/// Most names that are remembered; the oldest go first, and the log says so.
const MAX_JOBS: usize = 1 << 20;
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
    jobs: HashMap<JobId, u64>,
    /// The same jobs, oldest first.
    order: VecDeque<JobId>,
    list: File,
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
        let (jobs, order, list) = open_list(&dir.join(JOBS), now, limits.retention)?;
        let bytes = kept.iter().map(|k| k.bytes).sum();
        let index = Index { kept: kept.into(), bytes, warned: false, jobs, order, list };
        let store = Self { dir: dir.into(), limits, index: Mutex::new(index) };
        store.evict(&mut store.lock(), now)?;
        Ok(store)
    }

    /// Takes the name of a job for good: false when it was taken before, within the time that records are kept.
    ///
    /// # Errors
    /// When the list cannot be written: then the job must not begin.
    pub fn claim(&self, job: JobId, now: SystemTime) -> io::Result<bool> {
        let mut index = self.lock();
        let (now_millis, oldest) = (millis(now), millis(now).saturating_sub(self.limits.retention.as_millis() as u64));
        while let Some(first) = index.order.front().copied() {
            let expired = index.jobs.get(&first).is_none_or(|at| *at < oldest);
            if !expired && index.jobs.len() < MAX_JOBS {
                break;
            }
            if !expired && !std::mem::replace(&mut index.warned, true) {
                tracing::warn!("{MAX_JOBS} job names within the retention: the oldest are forgotten before their time");
            }
            index.order.pop_front();
            index.jobs.remove(&first);
        }
        if index.jobs.contains_key(&job) {
            return Ok(false);
        }
        let mut line = [0; LINE];
        line[..8].copy_from_slice(&now_millis.to_le_bytes());
        line[8..].copy_from_slice(&job.0);
        index.list.write_all(&line)?;
        index.jobs.insert(job, now_millis);
        index.order.push_back(job);
        Ok(true)
    }

    /// Keeps the record of a job.
    ///
    /// # Errors
    /// When a file cannot be written or an old one not removed.
    pub fn keep(&self, record: &JobRecord, openings: Option<&Openings>, now: SystemTime) -> io::Result<()> {
        let job = record.end.record.opening.session.job;
        let bytes = record.encode();
        let mut len = bytes.len() as u64;
        let name = format!("{job}.transcript");
        private_file(&self.dir.join(&name))?.write_all(&bytes)?;
        if let Some(openings) = openings {
            let bytes = openings.encode();
            private_file(&self.dir.join(format!("{job}.openings")))?.write_all(&bytes)?;
            len += bytes.len() as u64;
        }
        self.added(name, len, now)
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
            if !expired && index.bytes <= self.limits.bytes {
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

/// Reads the list of jobs, drops what is too old or cut short, and writes it anew.
#[allow(clippy::type_complexity)] // the three parts of an index
fn open_list(
    path: &Path,
    now: SystemTime,
    retention: Duration,
) -> io::Result<(HashMap<JobId, u64>, VecDeque<JobId>, File)> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let oldest = millis(now).saturating_sub(retention.as_millis() as u64);
    let (mut jobs, mut order, mut kept) = (HashMap::new(), VecDeque::new(), Vec::new());
    for line in bytes.as_chunks::<LINE>().0 {
        let Some((at, job)) = line.split_first_chunk::<8>() else { continue };
        let (at, Ok(job)) = (u64::from_le_bytes(*at), <[u8; 16]>::try_from(job)) else { continue };
        if at >= oldest && jobs.insert(JobId(job), at).is_none() {
            order.push_back(JobId(job));
            kept.extend_from_slice(line);
        }
    }
    let new = path.with_extension("new");
    remove(&new)?;
    let mut file = private_file(&new)?;
    file.write_all(&kept)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok((jobs, order, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::PackSeal;

    const DAY: Duration = Duration::from_secs(24 * 3600);

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
        assert!(first.claim(one, now).unwrap());
        assert!(!first.claim(one, now).unwrap());
        drop(first);
        // Cut short in the middle of a line.
        fs::OpenOptions::new().append(true).open(dir.path().join(JOBS)).unwrap().write_all(&[9; 7]).unwrap();
        let second = store(dir.path(), 1 << 20, now + DAY);
        assert!(!second.claim(one, now + DAY).unwrap());
        assert!(second.claim(two, now + DAY).unwrap());
        drop(second);
        let third = store(dir.path(), 1 << 20, now + 2 * DAY);
        assert!(!third.claim(two, now + 2 * DAY).unwrap());
        assert!(third.claim(one, now + 31 * DAY).unwrap(), "forgotten with the records of its time");
        assert_eq!(fs::metadata(dir.path().join(JOBS)).unwrap().len() as usize, 3 * LINE);
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

    fn listed(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
