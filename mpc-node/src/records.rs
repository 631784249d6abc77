//! Records of jobs on disk, kept by time, and the names of the jobs that were asked for lately.
//!
//! `<job>-<consumer>.transcript` is this node's record of a job, finished or failed, which may be shown to others;
//! `<job>-<consumer>.openings` opens the commitments in it and stays here. `<pack>-<consumer>.dealt` is what a helper keeps of
//! a pack. When there is no room, whoever has most loses its oldest record. A power failure may lose records.
//!
//! `jobs` lists each job that was accepted, so that no consumer's name is accepted twice, whatever is restarted in between or
//! loses its power: a job begins once its name is on the disk. The list counts as records do, and takes a quarter of their
//! room at most.
//!
//! A node has a store for each of its committees, with a folder of its own; the limits are for all of them together.

mod names;
mod piles;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::durable::{private_file, remove};
use crate::identity::PublicKey;
use crate::transcript::{DealtRecord, JobRecord, Openings};
use crate::wire::{JobId, seconds};
pub use names::NameError;
use names::{Elsewhere, JobNames};
use piles::{Kept, Owner, Piles};
use sahara_circuits::bytes::unhex;

/// Where accepted jobs are listed.
const JOBS: &str = "jobs";
/// Bytes of a remembered name in memory.
const NAME_MEMORY: u64 = 96;
/// Bytes of a record's place in the index.
const INDEX_MEMORY: u64 = 384;
/// Files take up whole blocks; so small records cannot be without number, either.
const BLOCK: u64 = 4096;
/// Most names that are remembered: of 145 jobs a second.
const MAX_JOBS: u64 = 1 << 20;
/// What else belongs to a record of this name.
const COMPANIONS: [&str; 2] = ["openings", "countersigned"];

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct RecordLimits {
    /// For how long.
    pub retention: Duration,
    /// Bytes in all; beyond that whoever has most loses its oldest before their time.
    pub bytes: u64,
}

/// Room that a file takes.
fn room(len: u64) -> u64 {
    len.next_multiple_of(BLOCK)
}

impl RecordLimits {
    /// Bytes of memory for the names of jobs and the index of records.
    pub fn memory(&self) -> u64 {
        self.names() as u64 * NAME_MEMORY + self.bytes / BLOCK * INDEX_MEMORY
    }

    /// Names of jobs: a quarter of the room at most.
    fn names(&self) -> usize {
        (self.bytes / 4 / JobNames::room(1)).clamp(1, MAX_JOBS) as usize
    }
}

/// The records of one committee at one node.
pub struct RecordStore {
    shelf: usize,
    shared: Arc<Shared>,
}

/// What the stores of a node share.
struct Shared {
    /// The folder of each store.
    dirs: Vec<PathBuf>,
    limits: RecordLimits,
    index: Mutex<Index>,
}

struct Index {
    piles: Piles,
    /// Whether the log has said that records go before their time.
    warned: bool,
    /// For each store.
    names: Vec<JobNames>,
}

impl Index {
    /// What the other stores have of names.
    fn elsewhere(&self, shelf: usize, consumer: &PublicKey) -> Elsewhere {
        let others = self.names.iter().enumerate().filter(|(other, _)| *other != shelf);
        others.fold(Elsewhere::default(), |sum, (_, names)| {
            let (all, own) = names.taken(consumer);
            Elsewhere { all: sum.all + all, own: sum.own + own }
        })
    }

    /// Takes a name in a store.
    fn claim(&mut self, shelf: usize, who: PublicKey, job: JobId, now: u32) -> Result<Arc<fs::File>, NameError> {
        let mut elsewhere = self.elsewhere(shelf, &who);
        if self.names[shelf].is_full_for(&who, elsewhere) {
            self.names.iter_mut().for_each(|names| names.forget(now));
            elsewhere = self.elsewhere(shelf, &who);
        }
        self.names[shelf].claim(who, job, elsewhere, now)
    }

    /// Bytes of records and lists.
    fn bytes(&self) -> u64 {
        self.piles.bytes() + self.names.iter().map(JobNames::bytes).sum::<u64>()
    }
}

impl RecordStore {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// When the directory or the list of jobs cannot be read or written.
    pub fn open(dir: &Path, limits: RecordLimits, now: SystemTime) -> io::Result<Self> {
        Ok(Self { shelf: 0, shared: Shared::open(vec![dir.into()], limits, now)? })
    }

    /// [`RecordStore::open`] for the committees of a node, each with its folder: the limits are for all together.
    ///
    /// # Errors
    /// As there.
    pub fn open_all(dirs: Vec<PathBuf>, limits: RecordLimits, now: SystemTime) -> io::Result<Vec<Self>> {
        let stores = 0..dirs.len();
        let shared = Shared::open(dirs, limits, now)?;
        Ok(stores.map(|shelf| Self { shelf, shared: shared.clone() }).collect())
    }

    /// Whether a consumer's name for a job may be taken now: it is of this time, and was not taken before.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, consumer: &PublicKey, job: &JobId, now: SystemTime) -> Result<(), NameError> {
        self.lock().names[self.shelf].check(consumer, job, seconds(now))
    }

    /// Takes the name of a consumer's job for good, on the disk too.
    ///
    /// # Errors
    /// When it may not be taken, or not be written down: then the job must not begin.
    pub fn claim(&self, consumer: PublicKey, job: JobId, now: SystemTime) -> Result<(), NameError> {
        let list = self.lock().claim(self.shelf, consumer, job, seconds(now))?;
        // Not under the lock: several jobs wait for the disk together.
        Ok(list.sync_data()?)
    }

    /// Keeps the record of a job.
    ///
    /// # Errors
    /// When a file cannot be written or an old one not removed.
    pub fn keep(&self, record: &JobRecord, openings: Option<&Openings>, now: SystemTime) -> io::Result<()> {
        let session = record.end.record.opening.session;
        let name = format!("{}-{}", session.job, session.consumer);
        let bytes = record.encode();
        let mut len = room(bytes.len() as u64);
        private_file(&self.dir().join(format!("{name}.transcript")))?.write_all(&bytes)?;
        if let Some(openings) = openings {
            let bytes = openings.encode();
            private_file(&self.dir().join(format!("{name}.openings")))?.write_all(&bytes)?;
            len += room(bytes.len() as u64);
        }
        self.added(Some(session.consumer), format!("{name}.transcript"), len, now)
    }

    /// Keeps what a helper signed of a pack that was dealt for a consumer.
    ///
    /// # Errors
    /// When the file cannot be written or an old one not removed.
    pub fn keep_dealt(&self, record: &DealtRecord, consumer: PublicKey, now: SystemTime) -> io::Result<()> {
        let (name, bytes) = (format!("{}-{consumer}.dealt", record.pack), record.encode());
        private_file(&self.dir().join(&name))?.write_all(&bytes)?;
        self.added(Some(consumer), name, room(bytes.len() as u64), now)
    }

    fn added(&self, owner: Owner, name: String, bytes: u64, now: SystemTime) -> io::Result<()> {
        let mut index = self.lock();
        index.piles.add(owner, Kept { shelf: self.shelf, at: now, name, bytes });
        self.shared.evict(&mut index, now)
    }

    fn dir(&self) -> &Path {
        &self.shared.dirs[self.shelf]
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.shared.lock()
    }
}

impl Shared {
    fn open(dirs: Vec<PathBuf>, limits: RecordLimits, now: SystemTime) -> io::Result<Arc<Self>> {
        let mut kept = Vec::new();
        for (shelf, dir) in dirs.iter().enumerate() {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                if name.ends_with(".transcript") || name.ends_with(".dealt") {
                    let metadata = entry.metadata()?;
                    let bytes = room(metadata.len()) + companions(dir, &name);
                    kept.push(Kept { shelf, at: metadata.modified()?, name, bytes });
                }
            }
        }
        kept.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        let mut piles = Piles::default();
        kept.into_iter().for_each(|kept| piles.add(owner(&kept.name), kept));
        let open = |dir: &PathBuf| JobNames::open(&dir.join(JOBS), limits.names(), dirs.len(), seconds(now));
        let names = dirs.iter().map(open).collect::<io::Result<_>>()?;
        let index = Index { piles, warned: false, names };
        let shared = Self { dirs, limits, index: Mutex::new(index) };
        shared.evict(&mut shared.lock(), now)?;
        Ok(Arc::new(shared))
    }

    /// Removes what is too old, and while there is too much the oldest of whoever has most.
    fn evict(&self, index: &mut Index, now: SystemTime) -> io::Result<()> {
        loop {
            // A clock that went back makes nothing older.
            let expired = |at| now.duration_since(at).is_ok_and(|age| age > self.limits.retention);
            let gone = if index.piles.oldest().is_some_and(expired) {
                index.piles.pop_oldest()
            } else if index.bytes() > self.limits.bytes {
                if !std::mem::replace(&mut index.warned, true) {
                    tracing::warn!(
                        limit = self.limits.bytes,
                        "records of jobs take all the room they may: whoever has most loses its oldest before their time \
                         (transcript_megabytes)"
                    );
                }
                index.piles.pop_of_largest()
            } else {
                None
            };
            let Some(Kept { shelf, name, .. }) = gone else { return Ok(()) };
            let file = self.dirs[shelf].join(&name);
            remove(&file)?;
            for companion in COMPANIONS {
                remove(&file.with_extension(companion))?;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn companions(dir: &Path, name: &str) -> u64 {
    let path = dir.join(name);
    COMPANIONS.iter().filter_map(|c| fs::metadata(path.with_extension(c)).ok()).map(|m| room(m.len())).sum()
}

/// Whose a record is, by its file's name.
fn owner(name: &str) -> Owner {
    let (stem, _) = name.rsplit_once('.')?;
    let (_, consumer) = stem.rsplit_once('-')?;
    unhex(consumer).map(PublicKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Seed;
    use crate::transcript::{Opening, PackSeal, Session, Transcript};

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const WHO: PublicKey = PublicKey([8; 32]);

    const OTHER: PublicKey = PublicKey([9; 32]);

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
        let (one, two) = (JobId([1; 16]).of(seconds(now)), JobId([2; 16]).of(seconds(now)));
        let first = store(dir.path(), 1 << 20, now);
        first.check(&WHO, &one, now).unwrap();
        first.claim(WHO, one, now).unwrap();
        assert!(matches!(first.check(&WHO, &one, now), Err(NameError::Taken)));
        assert!(matches!(first.claim(WHO, one, now), Err(NameError::Taken)));
        drop(first);
        // Cut short in the middle of a line.
        fs::OpenOptions::new().append(true).open(dir.path().join(JOBS)).unwrap().write_all(&[9; 7]).unwrap();
        let second = store(dir.path(), 1 << 20, now + MINUTE);
        assert!(matches!(second.claim(WHO, one, now + MINUTE), Err(NameError::Taken)));
        second.claim(WHO, two, now + MINUTE).unwrap();
        drop(second);
        let third = store(dir.path(), 1 << 20, now + 2 * MINUTE);
        assert!(matches!(third.claim(WHO, two, now + 2 * MINUTE), Err(NameError::Taken)));
        drop(third);
        // Long after its record is gone, with a list that has forgotten it or never knew it.
        for _ in 0..2 {
            let later = store(dir.path(), 1 << 20, now + 31 * DAY);
            assert!(matches!(later.claim(WHO, one, now + 31 * DAY), Err(NameError::Time { .. })));
            drop(later);
            fs::remove_file(dir.path().join(JOBS)).unwrap();
        }
    }

    #[test]
    fn records_go_by_age_and_the_oldest_first_when_there_is_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let names = || {
            let mut names: Vec<_> = listed(dir.path());
            names.retain(|name| name != JOBS);
            names.sort();
            names
        };
        let first = store(dir.path(), 3 * BLOCK, now);
        for n in 0..5 {
            first.keep_dealt(&dealt(n), WHO, now).unwrap();
        }
        let name = |n: u8, who: PublicKey| format!("{}-{who}.dealt", crate::wire::PackId([n; 16]));
        assert_eq!(names(), [name(2, WHO), name(3, WHO), name(4, WHO)]);
        fs::write(dir.path().join(name(2, WHO)).with_extension("openings"), [0; 8]).unwrap();
        drop(first);
        // Counted and removed with what belongs to them.
        let second = store(dir.path(), 3 * BLOCK, now);
        assert_eq!(names(), [name(3, WHO), name(4, WHO)]);
        second.keep_dealt(&dealt(9), WHO, now + 31 * DAY).unwrap();
        assert_eq!(names(), [name(9, WHO)]);
    }

    #[test]
    fn whoever_fills_the_room_loses_its_own_records_and_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let keep = |store: &RecordStore, n: u8, who| store.keep_dealt(&dealt(n), who, now + u32::from(n) * MINUTE);
        let there = |n: u8, who: PublicKey| dir.path().join(format!("{}-{who}.dealt", crate::wire::PackId([n; 16])));
        let first = store(dir.path(), 4 * BLOCK, now);
        keep(&first, 0, OTHER).unwrap();
        for n in 1..9 {
            keep(&first, n, WHO).unwrap();
        }
        drop(first);
        // A restart knows whose they are.
        let second = store(dir.path(), 4 * BLOCK, now + 9 * MINUTE);
        for n in 9..17 {
            keep(&second, n, WHO).unwrap();
        }
        assert!(there(0, OTHER).exists(), "the oldest of all, and of somebody else");
        assert_eq!(listed(dir.path()).len(), 4 + 1);
        assert!((14..17).all(|n| there(n, WHO).exists()), "the newest of whoever has most");
        // Time takes from everybody.
        second.keep_dealt(&dealt(99), WHO, now + 30 * DAY + MINUTE / 2).unwrap();
        assert!(!there(0, OTHER).exists() && there(16, WHO).exists());
    }

    #[test]
    fn the_list_of_jobs_counts_as_records_do() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let job = |n| JobId([n; 16]).of(seconds(now));
        let store = store(dir.path(), 10_000, now);
        store.keep_dealt(&dealt(1), WHO, now).unwrap();
        store.claim(WHO, job(1), now).unwrap();
        let free = 10_000 - store.lock().piles.bytes() - JobNames::room(1) / 2;
        store.added(None, "more.dealt".into(), free, now).unwrap();
        assert_eq!(listed(dir.path()).len(), 2, "exactly as much as there may be");
        store.claim(WHO, job(2), now).unwrap();
        store.added(None, "none.dealt".into(), 0, now).unwrap();
        assert_eq!(store.lock().names[0].bytes(), JobNames::room(1));
        assert!(store.lock().piles.bytes() < free, "a second name takes the room of the largest record");
    }

    fn listed(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn committees_have_folders_of_their_own_and_the_room_of_one() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (now, dirs) = (SystemTime::now(), vec![one.path().to_path_buf(), two.path().to_path_buf()]);
        let limits = RecordLimits { retention: 30 * DAY, bytes: 4 * BLOCK };
        let open = |at| RecordStore::open_all(dirs.clone(), limits, at).unwrap();
        let dealt_in = |dir: &Path| listed(dir).into_iter().filter(|name| name.ends_with(".dealt")).count();
        let stores = open(now);
        let job = JobId([1; 16]).of(seconds(now));
        stores[0].claim(WHO, job, now).unwrap();
        stores[1].check(&WHO, &job, now).unwrap();
        stores[0].keep_dealt(&dealt(0), OTHER, now).unwrap();
        for n in 1..9 {
            stores[usize::from(n % 2)].keep_dealt(&dealt(n), WHO, now + u32::from(n) * MINUTE).unwrap();
        }
        assert_eq!((dealt_in(one.path()), dealt_in(two.path())), (2, 1), "three with the list of names");
        drop(stores);
        let stores = open(now + 9 * MINUTE);
        assert!(matches!(stores[0].claim(WHO, job, now + 9 * MINUTE), Err(NameError::Taken)));
        stores[1].claim(WHO, job, now + 9 * MINUTE).unwrap();
        let of_other = format!("{}-{OTHER}.dealt", crate::wire::PackId([0; 16]));
        assert!(one.path().join(of_other).exists(), "whoever has most lost its oldest, in either folder");
    }

    #[test]
    fn a_record_that_cannot_be_removed_is_an_error_and_one_that_is_gone_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.dealt");
        remove(&place).unwrap();
        fs::create_dir(&place).unwrap();
        remove(&place).unwrap_err();
    }

    #[test]
    fn names_have_a_quarter_of_the_room_and_both_have_memory() {
        let of = |bytes| RecordLimits { retention: DAY, bytes };
        let quarter = 4 * JobNames::room(1);
        for (bytes, names) in [(0, 1), (2 * quarter - 1, 1), (2 * quarter, 2), (1 << 50, MAX_JOBS as usize)] {
            assert_eq!(of(bytes).names(), names, "{bytes}");
        }
        assert_eq!(of(0).memory(), NAME_MEMORY);
        let large = of(quarter * BLOCK);
        assert_eq!(large.memory(), BLOCK * NAME_MEMORY + quarter * INDEX_MEMORY);
    }

    /// The record of a job that failed after both evaluators had joined it.
    fn job(n: u8) -> (JobRecord, Openings) {
        let [first, second, helper, consumer] = [(); 4].map(|()| crate::identity::generate().unwrap());
        let session = Session {
            committee: [3; 32],
            job: JobId([n; 16]),
            pack: crate::wire::PackId([5; 16]),
            task: task(),
            consumer: consumer.public(),
            evaluators: [first.public(), second.public()],
            helper: helper.public(),
        };
        let seal = PackSeal { seeds: [[6; 32], [7; 32]], corrections: [8; 32] };
        let opening = Opening { session, inputs: [[9; 32], [10; 32]], seal };
        let signed = [consumer.sign(&opening.request_digest()), helper.sign(&opening.seal_digest())];
        let seed = |n| Seed::from_bytes([n; 32]);
        let of = |own, identity| Transcript::open(opening, own, signed, [seed(1), seed(2)], identity);
        let (mut own, other) = (of(0, &first), of(1, &second));
        own.join([&seed(3), &seed(4)], other.signature()).unwrap();
        let (record, openings) = own.close(None, Some("it failed"), 5, &first);
        (record, openings.unwrap())
    }

    #[test]
    fn the_record_of_a_job_is_kept_with_its_openings_and_both_count() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let kept = store(dir.path(), 1 << 20, now);
        let [(alone, _), (record, openings), (later, more)] = [4, 5, 6].map(job);
        kept.keep(&alone, None, now).unwrap();
        assert_eq!((kept.lock().piles.bytes(), listed(dir.path()).len()), (BLOCK, 1 + 1));
        kept.keep(&record, Some(&openings), now).unwrap();
        assert_eq!(kept.lock().piles.bytes(), 3 * BLOCK);
        let name = format!("{}-{}", JobId([5; 16]), record.end.record.opening.session.consumer);
        let file = |end: &str| fs::read(dir.path().join(format!("{name}.{end}"))).unwrap();
        assert_eq!(file("transcript"), record.encode());
        assert_eq!(file("openings"), *openings.encode());
        drop(kept);
        let kept = store(dir.path(), 1 << 20, now);
        assert_eq!(kept.lock().piles.bytes(), 3 * BLOCK, "with what belongs to them");
        kept.keep(&later, Some(&more), now).unwrap();
        assert_eq!(kept.lock().piles.bytes(), 5 * BLOCK);
    }
}
