//! The names of jobs that were accepted, by consumer: in memory, and on disk in a list that a restart reads.
//!
//! A name says when it was chosen. It is accepted until it is [`SKEW`] old by this node's clock and no more than [`AHEAD`]
//! before its time, so it has to be remembered for little longer than an hour and may be forgotten after: whatever was
//! forgotten is refused by its age. The list also says up to when names were forgotten, so that this holds for a clock that
//! went wrong, too. It only grows by lines at its end, until it has twice as many as may be remembered; then it is written
//! anew.
//!
//! The list has an end, and no few keys reach it for all: a key may not have more names than there are free places, so the
//! first has half of them at most, the next half of what is left, and whoever has none yet finds one. A node has a list for each
//! of its committees, and there are so many places for the names of all.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable::{self, Readers, private_file, remove};
use crate::identity::PublicKey;
use crate::wire::JobId;

const MAGIC: &[u8; 8] = b"SHNAMES\0";
const VERSION: u16 = 3;
/// Bytes of the list before its first line: magic, version, up to when names were forgotten.
const HEADER: usize = 8 + 2 + 4;
/// Bytes of a line: whose, which job.
const LINE: usize = 32 + 16;
/// Bytes of a line of the second version, which began with when the name was accepted.
const LINE_2: usize = 8 + LINE;
/// Bytes of a line of the first version, which had no header and no consumers either.
const LINE_1: usize = 8 + 16;
/// Stands for the consumer of a name from the first version: it is taken for everybody.
const ANYBODY: PublicKey = PublicKey([0; 32]);
/// Seconds by which a consumer's clock may be behind a node's, with the time that a job may take to reach it.
const SKEW: u32 = 3600;
/// Seconds by which it may be ahead: a name keeps its place for so much longer.
const AHEAD: u32 = 60;
/// Names of earlier versions are random: what seems to be of a time later than this never comes to be accepted.
const FAR: u32 = 50 * 366 * 24 * 3600;

/// Why the name of a job is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It was taken before.
    #[error("a job of this name was asked for before: each job needs a name of its own")]
    Taken,
    /// It is of another time than now.
    #[error(
        "the job's name is of a time {apart} s {side} this node's clock, and at most {AHEAD} s ahead of it or {SKEW} s behind \
         it are accepted: the clocks of both machines differ, set that of the one that asks, or the node's",
        side = if *ahead { "ahead of" } else { "behind" }
    )]
    Time {
        /// Seconds between the name and the clock.
        apart: u32,
        /// Whether the name is of a later time.
        ahead: bool,
    },
    /// It is of a time whose names were forgotten, when the node's clock was later.
    #[error("this node forgot jobs of as late as the job's name when its clock was wrong: try again in {wait} s")]
    Forgotten {
        /// Seconds until names are new enough.
        wait: u32,
    },
    /// There is no room for another of this consumer.
    #[error(
        "this node remembers as many names of this key's jobs as it can (transcript_megabytes), the next is accepted in \
         {wait} s"
    )]
    Full {
        /// Seconds until a name is too old to be remembered.
        wait: u32,
    },
    /// The list cannot be written.
    #[error("cannot write down the job: {0}")]
    Io(#[from] io::Error),
}

/// Names that the lists of other committees have: all, and those of the consumer who asks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Elsewhere {
    pub(super) all: usize,
    pub(super) own: usize,
}

/// Names of jobs, each of one consumer.
pub(super) struct JobNames {
    path: PathBuf,
    most: usize,
    /// Most lines of names that are forgotten.
    stale: usize,
    /// Oldest first, since a name begins with its time.
    known: BTreeSet<(JobId, PublicKey)>,
    /// How many of them each consumer has.
    count: HashMap<PublicKey, usize>,
    /// Names of before this second were perhaps forgotten.
    forgotten: u32,
    list: Arc<File>,
    lines: usize,
    /// Whether the end of the list is known to be a whole line.
    whole: bool,
    warned: bool,
}

impl JobNames {
    /// Bytes on disk for at most `most` names, with what was forgotten since the lists were written anew.
    pub(super) fn room(most: usize) -> u64 {
        2 * most as u64 * LINE as u64
    }

    /// Reads the list, one of `lists` that have `most` places together, and writes it anew.
    ///
    /// # Errors
    /// When it cannot be read or written, or is of a version that is not known.
    pub(super) fn open(path: &Path, most: usize, lists: usize, now: u32) -> io::Result<Self> {
        let stale = (most / lists.max(1)).max(1);
        let none = path.with_extension("partial");
        remove(&none)?;
        remove(&path.with_extension("new"))?; // of an earlier version of this program
        // Replaced at once by the list that is written.
        let list = Arc::new(private_file(&none)?);
        let (known, count) = Default::default();
        let (path_buf, forgotten, lines) = (path.to_path_buf(), 0, 0);
        let mut names =
            Self { path: path_buf, most, stale, known, count, forgotten, list, lines, whole: false, warned: false };
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => names.read(BufReader::new(file?), now)?,
        }
        names.rewrite(now)?;
        Ok(names)
    }

    /// Whether a consumer's name may be taken now.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, consumer: &PublicKey, job: &JobId, now: u32) -> Result<(), NameError> {
        let (at, apart) = (job.seconds(), job.seconds().abs_diff(now));
        let ahead = at > now;
        if apart > if ahead { AHEAD } else { SKEW } {
            return Err(NameError::Time { apart, ahead });
        }
        if at < self.forgotten {
            return Err(NameError::Forgotten { wait: self.forgotten - at });
        }
        if [*consumer, ANYBODY].iter().any(|key| self.known.contains(&(*job, *key))) {
            return Err(NameError::Taken);
        }
        Ok(())
    }

    /// Takes a name for good. It counts once the list that is returned has been synced.
    ///
    /// # Errors
    /// When it may not be taken or the list cannot be written: then nothing was taken.
    pub(super) fn claim(
        &mut self,
        consumer: PublicKey,
        job: JobId,
        elsewhere: Elsewhere,
        now: u32,
    ) -> Result<Arc<File>, NameError> {
        self.check(&consumer, &job, now)?;
        if self.is_full_for(&consumer, elsewhere) {
            self.forget(now);
        }
        if self.is_full_for(&consumer, elsewhere) {
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(
                    most = self.most,
                    "as many jobs within the hour as can be remembered: further ones are refused"
                );
            }
            // The oldest is perhaps another's: then this one is told to come again too early.
            let oldest = self.known.first().map_or(now, |(job, _)| job.seconds());
            return Err(NameError::Full { wait: oldest.saturating_add(SKEW + 1).saturating_sub(now) });
        }
        if !self.whole || self.lines >= self.known.len() + self.stale {
            self.rewrite(now)?;
        }
        self.whole = false;
        (&*self.list).write_all(&line(&job, &consumer))?;
        self.whole = true;
        self.lines += 1;
        self.add(job, consumer);
        Ok(self.list.clone())
    }

    /// Whether a consumer may have no further name: it would have more than there are free places.
    pub(super) fn is_full_for(&self, consumer: &PublicKey, elsewhere: Elsewhere) -> bool {
        let (all, own) = self.taken(consumer);
        own + elsewhere.own >= self.most.saturating_sub(all + elsewhere.all)
    }

    /// Names on the list, and those of a consumer.
    pub(super) fn taken(&self, consumer: &PublicKey) -> (usize, usize) {
        (self.known.len(), self.count.get(consumer).copied().unwrap_or(0))
    }

    fn add(&mut self, job: JobId, consumer: PublicKey) {
        if self.known.insert((job, consumer)) {
            *self.count.entry(consumer).or_default() += 1;
        }
    }

    /// Bytes of the list.
    pub(super) fn bytes(&self) -> u64 {
        self.lines as u64 * LINE as u64
    }

    fn read(&mut self, mut list: impl Read, now: u32) -> io::Result<()> {
        let mut header = [0; HEADER];
        let start = fill(&mut list, &mut header[..10])?;
        let version = match header.strip_prefix(MAGIC) {
            None => 1,
            Some(rest) => u16::from_le_bytes([rest[0], rest[1]]),
        };
        let (before, len) = match version {
            1 => (&header[..start], LINE_1),
            2 => (&[][..], LINE_2),
            VERSION => {
                fill(&mut list, &mut header[10..])?;
                self.forgotten = u32::from_le_bytes([header[10], header[11], header[12], header[13]]);
                (&[][..], LINE)
            }
            _ => return Err(io::Error::other("the list of jobs is of a version that this program does not know")),
        };
        let mut list = before.chain(list);
        let mut line = [0; LINE_2];
        let line = &mut line[..len];
        // A line that was cut short is the last.
        while fill(&mut list, line)? == len {
            let (rest, job) = line.split_at(len - 16);
            let job = JobId(job.try_into().unwrap_or([0; 16]));
            let consumer = match version {
                1 => ANYBODY,
                _ => rest[rest.len() - 32..].try_into().map_or(ANYBODY, PublicKey),
            };
            let at = job.seconds();
            if version == VERSION || at >= now.saturating_sub(SKEW) && at <= now.saturating_add(FAR) {
                self.add(job, consumer);
            }
        }
        Ok(())
    }

    /// Forgets names that are too old to be accepted.
    pub(super) fn forget(&mut self, now: u32) {
        let oldest = now.saturating_sub(SKEW);
        while self.known.first().is_some_and(|(job, _)| job.seconds() < oldest) {
            let Some((job, consumer)) = self.known.pop_first() else { return };
            self.forgotten = self.forgotten.max(job.seconds() + 1);
            if let Some(own) = self.count.get_mut(&consumer) {
                *own -= 1;
                if *own == 0 {
                    self.count.remove(&consumer);
                }
            }
        }
    }

    fn rewrite(&mut self, now: u32) -> io::Result<()> {
        self.forget(now);
        let list = durable::replace(&self.path, Readers::Owner, |file| {
            let mut file = BufWriter::new(file);
            file.write_all(MAGIC)?;
            file.write_all(&VERSION.to_le_bytes())?;
            file.write_all(&self.forgotten.to_le_bytes())?;
            for (job, consumer) in &self.known {
                file.write_all(&line(job, consumer))?;
            }
            file.flush()
        })?;
        self.list = Arc::new(list);
        self.lines = self.known.len();
        self.whole = true;
        Ok(())
    }
}

fn line(job: &JobId, consumer: &PublicKey) -> [u8; LINE] {
    let mut line = [0; LINE];
    line[..32].copy_from_slice(&consumer.0);
    line[32..].copy_from_slice(&job.0);
    line
}

/// Reads until `to` is full or nothing is left; gives how much was read.
fn fill(from: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < to.len() {
        match from.read(&mut to[at..]) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: u32 = 1_800_000_000;
    const DAY: u32 = 24 * 3600;
    const ALONE: Elsewhere = Elsewhere { all: 0, own: 0 };

    fn key(n: u8) -> PublicKey {
        PublicKey([n; 32])
    }

    fn job(n: u64, at: u32) -> JobId {
        let mut name = [0; 16];
        name[4..12].copy_from_slice(&n.to_le_bytes());
        JobId(name).of(at)
    }

    fn open(path: &Path, most: usize) -> JobNames {
        JobNames::open(path, most, 1, NOW).unwrap()
    }

    fn len(path: &Path) -> u64 {
        fs::metadata(path).unwrap().len() - HEADER as u64
    }

    fn refused<T>(result: Result<T, NameError>) -> String {
        result.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_full_list_forgets_nobody_who_could_come_again_and_refuses_whoever_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        for n in 0..64 {
            names.claim(key(1 + n as u8), job(n, NOW), ALONE, NOW).unwrap();
        }
        for late in [0, SKEW] {
            let full = refused(names.claim(key(200), job(100, NOW), ALONE, NOW + late));
            assert!(full.contains(&format!("the next is accepted in {} s", SKEW + 1 - late)), "{full}");
        }
        for n in 0..64 {
            assert!(
                refused(names.claim(key(1 + n as u8), job(n, NOW), ALONE, NOW)).contains("asked for before"),
                "{n}"
            );
        }
        drop(names);
        // A smaller limit forgets nobody either.
        let mut names = open(&path, 16);
        assert_eq!(names.known.len(), 64);
        assert!(matches!(names.claim(key(1), job(100, NOW), ALONE, NOW), Err(NameError::Full { .. })));
        names.claim(key(1), job(100, NOW + SKEW), ALONE, NOW + SKEW + 1).unwrap();
        assert_eq!(names.known.len(), 1, "all others are too old to be accepted again");
    }

    #[test]
    fn each_consumer_leaves_as_much_as_it_has_and_a_newcomer_finds_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        // Each takes all that it is given.
        for (greedy, most) in [(1, 32), (2, 16), (3, 8), (4, 4)] {
            for n in 0..most {
                names.claim(key(greedy), job(n, NOW), ALONE, NOW).unwrap();
            }
            for _ in 0..2 {
                let full = names.claim(key(greedy), job(99, NOW), ALONE, NOW);
                assert!(matches!(full, Err(NameError::Full { .. })), "key {greedy}");
                for n in 0..most {
                    let again = names.claim(key(greedy), job(n, NOW), ALONE, NOW);
                    assert!(matches!(again, Err(NameError::Taken)), "name {n} runs twice");
                }
                drop(names);
                names = open(&path, 64);
            }
        }
        for newcomer in 5..9 {
            names.claim(key(newcomer), job(1, NOW), ALONE, NOW).unwrap();
        }
        let late = NOW + SKEW + 1;
        names.claim(key(1), job(99, late), ALONE, late).unwrap();
        assert_eq!((names.count[&key(1)], names.count.len()), (1, 1));
    }

    #[test]
    fn a_clock_that_is_off_is_told_which_way_and_by_how_much() {
        let dir = tempfile::tempdir().unwrap();
        let mut names = open(&dir.path().join("jobs"), 64);
        for (n, at) in [(1, NOW - SKEW), (2, NOW + AHEAD)] {
            names.claim(key(1), job(n, at), ALONE, NOW).unwrap();
        }
        for (at, said) in
            [(NOW - SKEW - 1, "3601 s behind this node's clock"), (NOW + 61, "61 s ahead of this node's clock")]
        {
            let error = refused(names.claim(key(1), job(3, at), ALONE, NOW));
            assert!(error.contains(said) && error.contains("clocks of both machines differ"), "{error}");
        }
    }

    #[test]
    fn a_name_is_accepted_once_for_all_times() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        names.claim(key(1), job(1, NOW), ALONE, NOW).unwrap();
        names.claim(key(1), job(2, NOW + AHEAD), ALONE, NOW).unwrap();
        drop(names);
        for late in [0, 1, SKEW, SKEW + 1, SKEW + AHEAD, SKEW + AHEAD + 1, 31 * DAY] {
            let mut names = JobNames::open(&path, 64, 1, NOW + late).unwrap();
            for (n, at) in [(1, NOW), (2, NOW + AHEAD)] {
                assert!(names.claim(key(1), job(n, at), ALONE, NOW + late).is_err(), "{n} after {late} s");
            }
        }
        // Nor when the list is empty, nor when the clock comes back from where they were forgotten.
        let mut names = open(&path, 64);
        assert_eq!(names.known.len(), 0);
        assert!(refused(names.claim(key(1), job(1, NOW), ALONE, NOW)).contains("try again in 61 s"));
        assert!(names.claim(key(1), job(2, NOW + AHEAD), ALONE, NOW).is_err());
        names.claim(key(1), job(1, NOW + AHEAD + 1), ALONE, NOW + 1).unwrap();
        fs::remove_file(&path).unwrap();
        let names = open(&path, 64);
        assert!(matches!(names.check(&key(1), &job(1, NOW), NOW + 31 * DAY), Err(NameError::Time { .. })));
    }

    #[test]
    fn the_list_is_bounded_in_memory_and_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        for n in 0..3000 {
            let now = NOW + 90 * n; // 40 names an hour
            names.claim(key(1 + (n % 2) as u8), job(u64::from(n), now), ALONE, now).unwrap();
            assert!(names.known.len() <= 64 && len(&path) <= JobNames::room(64), "after {n}");
            assert_eq!(names.bytes(), len(&path));
        }
    }

    #[test]
    fn two_consumers_may_give_their_jobs_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        names.claim(key(1), job(1, NOW), ALONE, NOW).unwrap();
        names.claim(key(2), job(1, NOW), ALONE, NOW).unwrap(); // another consumer cannot take a name away
        drop(names);
        let mut names = open(&path, 64);
        assert!(
            names.claim(key(1), job(1, NOW), ALONE, NOW).is_err()
                && names.claim(key(2), job(1, NOW), ALONE, NOW).is_err()
        );
        names.claim(key(3), job(1, NOW), ALONE, NOW).unwrap();
    }

    /// Bytes that the first two versions wrote.
    #[test]
    fn lists_of_versions_1_and_2_hold_for_names_that_could_come_again_and_unknown_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let names = [job(1, NOW), job(2, NOW + 30 * DAY), job(3, NOW - DAY), JobId([0xFF; 16])];
        let list = |consumer: &[u8]| {
            let lines = names.iter().map(|job| [&u64::from(NOW).to_le_bytes()[..], consumer, &job.0].concat());
            lines.collect::<Vec<_>>().concat()
        };
        for (version, old) in [(1, list(&[])), (2, [&MAGIC[..], &[2, 0], &list(&[7; 32])].concat())] {
            fs::write(&path, [&old[..], &[9; 7]].concat()).unwrap();
            for _ in 0..2 {
                let mut names = open(&path, 64);
                assert_eq!(names.known.len(), 2, "version {version}");
                assert!(names.claim(key(7), job(1, NOW), ALONE, NOW).is_err(), "the second reading is of version 3");
                assert!(names.claim(key(7), job(2, NOW + 30 * DAY), ALONE, NOW + 30 * DAY).is_err());
                assert_eq!(names.check(&key(1), &job(1, NOW), NOW).is_ok(), version == 2);
            }
        }
        fs::write(&path, b"SHNAMES\0\x04\0").unwrap();
        let error = JobNames::open(&path, 64, 1, NOW).err().unwrap().to_string();
        assert!(error.contains("version"), "{error}");
    }

    #[test]
    fn what_is_forgotten_of_a_consumer_is_counted_and_the_rest_still_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut names = open(&dir.path().join("jobs"), 64);
        for n in 0..5 {
            let at = if n < 3 { NOW } else { NOW + SKEW };
            names.claim(key(1), job(n, at), ALONE, at).unwrap();
        }
        names.forget(NOW + SKEW + 1);
        assert_eq!((names.count.get(&key(1)), names.known.len()), (Some(&2), 2));
        names.forget(NOW + 3 * SKEW);
        assert_eq!((names.count.get(&key(1)), names.known.len()), (None, 0));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(JobNames::open(&path, 64, 1, NOW).is_err());
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink(), "it is left as it is");
    }

    /// Gives a byte, or fails, at each turn.
    struct Turns(Vec<Result<u8, io::ErrorKind>>);

    impl Read for Turns {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match self.0.pop() {
                None => Ok(0),
                Some(turn) => turn.map_err(io::Error::from).map(|byte| {
                    to[0] = byte;
                    1
                }),
            }
        }
    }

    #[test]
    fn reading_goes_on_after_an_interruption_and_after_nothing_else() {
        let read = |turns: &[Result<u8, io::ErrorKind>]| {
            let mut to = [0; 3];
            let turns = turns.iter().rev().copied().collect();
            fill(&mut Turns(turns), &mut to).map(|at| to[..at].to_vec()).map_err(|error| error.kind())
        };
        assert_eq!(read(&[Ok(1), Err(io::ErrorKind::Interrupted), Ok(2), Ok(3), Ok(4)]), Ok(vec![1, 2, 3]));
        assert_eq!(read(&[Ok(1), Ok(2)]), Ok(vec![1, 2]));
        assert_eq!(read(&[Ok(1), Err(io::ErrorKind::BrokenPipe), Ok(2)]), Err(io::ErrorKind::BrokenPipe));
    }

    #[test]
    fn a_list_for_one_name_has_two_lines_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 1);
        for n in 0..9 {
            let now = NOW + n * (SKEW + 1);
            names.claim(key(1), job(u64::from(n), now), ALONE, now).unwrap();
            assert!(len(&path) <= JobNames::room(1), "after {n}");
        }
    }

    #[test]
    fn names_of_other_committees_take_places_too_and_their_lists_stay_within_the_room_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut lists = [0, 1].map(|n| JobNames::open(&dir.path().join(n.to_string()), 64, 2, NOW).unwrap());
        let mut claim = |list: usize, who: u8, n: u64, now: u32| {
            let (all, own) = lists[1 - list].taken(&key(who));
            let claimed = lists[list].claim(key(who), job(n, now), Elsewhere { all, own }, now).map(|_| ());
            assert!(lists[0].bytes() + lists[1].bytes() <= JobNames::room(64), "after {n} of {who}");
            claimed
        };
        // Half of all places, wherever it asks.
        let taken = (0..64).filter(|n| claim((*n % 2) as usize, 1, *n, NOW).is_ok()).count();
        assert_eq!(taken, 32);
        assert_eq!((0..64).filter(|n| claim((*n % 2) as usize, 2, *n, NOW).is_ok()).count(), 16);
        // One name may be taken in each: they are names of different jobs.
        claim(0, 3, 99, NOW).unwrap();
        claim(1, 3, 99, NOW).unwrap();
        for n in 0..2000 {
            let now = NOW + SKEW + 200 * n;
            let _ = claim((n % 3 / 2) as usize, 4, u64::from(1000 + n), now); // room is what counts here
        }
    }
}
