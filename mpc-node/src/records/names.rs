//! The names of jobs that were accepted, by consumer: in memory, and on disk in a list that a restart reads.
//!
//! The list only grows by lines at its end, until it has twice as many as may be remembered; then it is written anew.
//!
//! **No name comes back within the retention**: whoever runs a job twice under one name makes its evaluators sign two stories
//! of it. So one consumer's names are bounded by refusing further ones. If many consumers fill the list together, whoever has
//! most makes room, and then gets no further job until what was forgotten would have expired.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::remove;
use crate::identity::{PublicKey, private_file};
use crate::wire::JobId;

const HEADER: &[u8; 10] = b"SHNAMES\0\x02\0";
/// Bytes of a line: when (milliseconds since 1970), whose, which job.
const LINE: usize = 8 + 32 + 16;
/// Bytes of a line of the first version, which had no header and no consumers.
const OLD_LINE: usize = 8 + 16;
/// Stands for the consumer of a name from such a list: it is taken for everybody.
const ANYBODY: PublicKey = PublicKey([0; 32]);
/// Stands for all names of a consumer that were forgotten before their time, the last of them at this line's.
const FORGOTTEN: JobId = JobId([0xff; 16]);

/// What becomes of a name that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the consumer's now.
    New,
    /// It was taken before.
    Taken,
    /// This consumer may have no further one for so many seconds.
    Full(u64),
}

/// Names of jobs, each of one consumer.
pub(super) struct JobNames {
    path: PathBuf,
    retention: Duration,
    most: usize,
    of: HashMap<PublicKey, Names>,
    count: usize,
    list: File,
    /// Lines of the list; more than there can be when its end is not known to be whole.
    lines: usize,
    /// No room can be made before this moment.
    full_until: u64,
    warned: bool,
}

#[derive(Default)]
struct Names {
    /// Oldest first.
    order: VecDeque<(u64, JobId)>,
    known: HashSet<JobId>,
    /// When the last one was taken that was forgotten before its time.
    forgotten: Option<u64>,
}

impl JobNames {
    /// Bytes on disk for at most `most` names, with what has expired or been forgotten since the list was written anew.
    pub(super) fn room(most: usize) -> u64 {
        2 * most as u64 * LINE as u64
    }

    /// Reads the list as far as it is not older than `retention`, and writes it anew.
    ///
    /// # Errors
    /// When it cannot be read or written, or is of a version that is not known.
    pub(super) fn open(path: &Path, retention: Duration, most: usize, now_millis: u64) -> io::Result<Self> {
        let of = HashMap::new();
        let new = path.with_extension("new");
        remove(&new)?;
        // Replaced at once by the list that is written.
        let list = private_file(&new)?;
        let mut names =
            Self { path: path.into(), retention, most, of, count: 0, list, lines: 0, full_until: 0, warned: false };
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => names.read(BufReader::new(file?), names.oldest(now_millis))?,
        }
        names.make_room(0);
        names.rewrite()?;
        Ok(names)
    }

    /// Whether the name was taken before.
    pub(super) fn is_taken(&self, consumer: &PublicKey, job: &JobId, now_millis: u64) -> bool {
        let oldest = self.oldest(now_millis);
        [consumer, &ANYBODY].into_iter().filter_map(|key| self.of.get(key)).any(|names| {
            let expired = names.order.iter().take_while(|(at, _)| *at < oldest);
            names.known.contains(job) && !expired.into_iter().any(|(_, old)| old == job)
        })
    }

    /// Takes a name for good.
    ///
    /// # Errors
    /// When the list cannot be written: then nothing was taken.
    pub(super) fn claim(&mut self, consumer: PublicKey, job: JobId, now_millis: u64) -> io::Result<Claim> {
        if self.is_taken(&consumer, &job, now_millis) || job == FORGOTTEN {
            return Ok(Claim::Taken);
        }
        let oldest = self.oldest(now_millis);
        self.expire(&consumer, oldest);
        if let Some(names) = self.of.get(&consumer) {
            let first = names.order.front().filter(|_| names.order.len() >= self.most_of_one()).map(|(at, _)| *at);
            if let Some(at) = names.forgotten.max(first) {
                return Ok(Claim::Full((at.saturating_sub(oldest) / 1000) + 1));
            }
        }
        if self.count >= self.most {
            if now_millis < self.full_until {
                return Ok(Claim::Full((self.full_until - now_millis) / 1000 + 1));
            }
            let keys: Vec<_> = self.of.keys().copied().collect();
            keys.iter().for_each(|key| self.expire(key, oldest));
            self.make_room(1);
            if self.count >= self.most {
                // So many consumers that nobody has more than one: until the first of these expires.
                let first = self.of.values().filter_map(|names| names.order.front()).map(|(at, _)| *at).min();
                let left = first.unwrap_or(oldest).saturating_sub(oldest) + 1;
                self.full_until = now_millis.saturating_add(left);
                return Ok(Claim::Full(left / 1000 + 1));
            }
            // Whoever had most may be the one that asks.
            if let Some(at) = self.of.get(&consumer).and_then(|names| names.forgotten) {
                return Ok(Claim::Full(at.saturating_sub(oldest) / 1000 + 1));
            }
        }
        if self.lines >= 2 * self.most {
            self.rewrite()?;
        }
        let lines = std::mem::replace(&mut self.lines, usize::MAX); // until the line is there as a whole
        self.list.write_all(&line(now_millis, &consumer, &job))?;
        self.lines = lines + 1;
        self.add(now_millis, consumer, job);
        Ok(Claim::New)
    }

    /// Names that one consumer may have.
    fn most_of_one(&self) -> usize {
        (self.most.div_ceil(4) * 3).min(self.most)
    }

    /// Bytes of the list.
    pub(super) fn bytes(&self) -> u64 {
        self.lines.min(2 * self.most) as u64 * LINE as u64
    }

    fn oldest(&self, now_millis: u64) -> u64 {
        now_millis.saturating_sub(self.retention.as_millis() as u64)
    }

    fn add(&mut self, at: u64, consumer: PublicKey, job: JobId) {
        let names = self.of.entry(consumer).or_default();
        if job == FORGOTTEN {
            names.forgotten = names.forgotten.max(Some(at));
            return;
        }
        if names.known.insert(job) {
            names.order.push_back((at, job));
            self.count += 1;
        }
    }

    fn read(&mut self, mut list: impl Read, oldest: u64) -> io::Result<()> {
        let mut start = [0; HEADER.len()];
        let found = fill(&mut list, &mut start)?;
        let old = !start.starts_with(&HEADER[..8]);
        if !old && start != *HEADER {
            return Err(io::Error::other("the list of jobs is of a version that this program does not know"));
        }
        let before = if old { &start[..found] } else { &[] };
        let mut list = before.chain(list);
        let (mut line, mut most) = ([0; LINE], 2 * self.most);
        let line = if old { &mut line[..OLD_LINE] } else { &mut line[..] };
        // A line that was cut short is the last.
        while fill(&mut list, line)? == line.len() {
            let (at, name) = line.split_at(8);
            let (consumer, job) = name.split_at(name.len() - 16);
            let at = u64::from_le_bytes(at.try_into().unwrap_or([0; 8]));
            let consumer = consumer.try_into().map_or(ANYBODY, PublicKey);
            if at >= oldest {
                self.add(at, consumer, JobId(job.try_into().unwrap_or([0; 16])));
            }
            if self.count > most {
                self.make_room(0);
                most = self.count.max(self.most) + self.most;
            }
        }
        Ok(())
    }

    fn expire(&mut self, consumer: &PublicKey, oldest: u64) {
        let Some(names) = self.of.get_mut(consumer) else { return };
        while names.order.front().is_some_and(|(at, _)| *at < oldest) {
            self.count -= usize::from(names.forget());
        }
        names.forgotten = names.forgotten.filter(|at| *at >= oldest);
        if names.order.is_empty() && names.forgotten.is_none() {
            self.of.remove(consumer);
        }
    }

    /// Forgets names until `more` have room: the oldest of whoever has most, and an eighth at once, so that it is seldom.
    /// Everybody keeps one, so that it is remembered what was forgotten.
    fn make_room(&mut self, more: usize) {
        if self.count + more <= self.most {
            return;
        }
        if !std::mem::replace(&mut self.warned, true) {
            let most = self.most;
            tracing::warn!(
                "{most} names of jobs within the retention (transcript_days, transcript_megabytes): who has most gets no further job until its oldest expire"
            );
        }
        let target = self.most - (self.most / 8).max(more).min(self.most);
        let (mut low, mut high) = (1, self.most.max(1));
        while low < high {
            let middle = (low + high).div_ceil(2);
            let left: usize = self.of.values().map(|names| names.order.len().min(middle)).sum();
            (low, high) = if left <= target { (middle, high) } else { (low, middle - 1) };
        }
        for names in self.of.values_mut() {
            while names.order.len() > low {
                self.count -= usize::from(names.forget_before_its_time());
            }
        }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        remove(&new)?;
        let mut file = BufWriter::new(private_file(&new)?);
        file.write_all(HEADER)?;
        let mut lines = 0;
        for (consumer, names) in &self.of {
            for (at, job) in names.forgotten.map(|at| (at, FORGOTTEN)).iter().chain(&names.order) {
                file.write_all(&line(*at, consumer, job))?;
                lines += 1;
            }
        }
        self.list = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        self.list.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.lines = lines;
        Ok(())
    }
}

impl Names {
    fn forget(&mut self) -> bool {
        self.order.pop_front().is_some_and(|(_, job)| self.known.remove(&job))
    }

    fn forget_before_its_time(&mut self) -> bool {
        self.forgotten = self.forgotten.max(self.order.front().map(|(at, _)| *at));
        self.forget()
    }
}

fn line(at: u64, consumer: &PublicKey, job: &JobId) -> [u8; LINE] {
    let mut line = [0; LINE];
    line[..8].copy_from_slice(&at.to_le_bytes());
    line[8..40].copy_from_slice(&consumer.0);
    line[40..].copy_from_slice(&job.0);
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
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: u64 = 1_800_000_000_000;

    fn key(n: u8) -> PublicKey {
        PublicKey([n; 32])
    }

    fn job(n: u64) -> JobId {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&n.to_le_bytes());
        JobId(name)
    }

    fn open(path: &Path, most: usize) -> JobNames {
        JobNames::open(path, 30 * DAY, most, NOW).unwrap()
    }

    fn len(path: &Path) -> u64 {
        fs::metadata(path).unwrap().len() - HEADER.len() as u64
    }

    #[test]
    fn the_list_of_jobs_is_bounded_in_memory_and_on_disk_also_when_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        for n in 0..1000 {
            names.claim(key(1 + (n % 200) as u8), job(n), NOW + n).unwrap();
            assert!(names.count <= 64 && len(&path) <= JobNames::room(64) && names.bytes() == len(&path), "after {n}");
        }
        drop(names);
        let mut names = open(&path, 16);
        assert!(names.count <= 64 && len(&path) <= 64 * LINE as u64);
        assert!(matches!(names.claim(key(250), job(1), NOW).unwrap(), Claim::Full(_)), "a smaller limit holds at once");
        let (mut names, path) = (open(&dir.path().join("one"), 64), dir.path().join("one"));
        (0..40).for_each(|n| assert_eq!(names.claim(key(1), job(n), NOW).unwrap(), Claim::New));
        drop(names);
        let mut names = open(&path, 16);
        assert!(names.count <= 16 && len(&path) <= 17 * LINE as u64, "{}", names.count);
        assert_eq!(names.claim(key(1), job(39), NOW).unwrap(), Claim::Taken, "the newest are remembered");
    }

    #[test]
    fn one_consumer_is_refused_before_a_name_of_its_own_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        let millis = |days: u64| days * DAY.as_millis() as u64;
        for n in 0..48 {
            assert_eq!(names.claim(key(1), job(n), NOW + n).unwrap(), Claim::New);
        }
        for reopened in [false, true] {
            if reopened {
                names = open(&path, 64);
            }
            assert_eq!(names.claim(key(1), job(99), NOW + millis(29)).unwrap(), Claim::Full(24 * 3600 + 1));
            for n in 0..48 {
                assert_eq!(names.claim(key(1), job(n), NOW + 100).unwrap(), Claim::Taken, "name {n} runs twice");
            }
        }
        assert_eq!(names.claim(key(2), job(99), NOW + 100).unwrap(), Claim::New, "others are not concerned");
        assert_eq!(names.claim(key(1), job(99), NOW + millis(30) + 1).unwrap(), Claim::New);
    }

    #[test]
    fn many_consumers_together_bring_no_name_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        for n in 0..40 {
            assert_eq!(names.claim(key(1), job(n), NOW + n).unwrap(), Claim::New);
        }
        for n in 0..30 {
            assert_eq!(names.claim(key(2 + (n % 3) as u8), job(n), NOW + 100 + n).unwrap(), Claim::New);
        }
        for reopened in [false, true] {
            if reopened {
                names.rewrite().unwrap();
                names = open(&path, 64);
            }
            assert!(names.of[&key(1)].order.len() < 40, "the first consumer had most, and lost some");
            for n in (0..40).chain([1000]) {
                let claim = names.claim(key(1), job(n), NOW + 200).unwrap();
                assert!(claim != Claim::New, "name {n} is accepted for whoever lost some");
            }
        }
        let later = NOW + 30 * DAY.as_millis() as u64 + 40;
        assert_eq!(names.claim(key(1), job(0), later).unwrap(), Claim::New, "when it would have expired anyway");
    }

    #[test]
    fn who_has_most_loses_its_oldest_names_and_nobody_else_any() {
        let dir = tempfile::tempdir().unwrap();
        let mut names = open(&dir.path().join("jobs"), 64);
        for n in 0..5 {
            assert_eq!(names.claim(key(2), job(n), NOW).unwrap(), Claim::New);
        }
        for n in 0..1000 {
            names.claim(key(1), job(n), NOW).unwrap();
        }
        for n in 0..100 {
            names.claim(key(3), job(n), NOW).unwrap();
        }
        for n in 0..5 {
            assert_eq!(names.claim(key(2), job(n), NOW).unwrap(), Claim::Taken, "name {n} of another was forgotten");
        }
        // More consumers than names: further ones have to wait.
        let mut last = Claim::New;
        for n in 10..200 {
            last = names.claim(key(n), job(7), NOW + u64::from(n)).unwrap();
            assert!(names.count <= 64);
        }
        assert_eq!(last, Claim::Full(30 * 24 * 3600));
        assert_eq!(names.claim(key(10), job(7), NOW + 200).unwrap(), Claim::Taken);
    }

    #[test]
    fn two_consumers_may_give_their_jobs_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut names = open(&path, 64);
        assert_eq!(names.claim(key(1), job(1), NOW).unwrap(), Claim::New);
        assert_eq!(names.claim(key(2), job(1), NOW).unwrap(), Claim::New, "another consumer cannot take a name away");
        drop(names);
        let mut names = open(&path, 64);
        for (n, claim) in [(1, Claim::Taken), (2, Claim::Taken), (3, Claim::New)] {
            assert_eq!(names.claim(key(n), job(1), NOW).unwrap(), claim);
        }
        let late = NOW + 31 * DAY.as_millis() as u64;
        assert!(!names.is_taken(&key(1), &job(1), late));
        assert_eq!(names.claim(key(1), job(1), late).unwrap(), Claim::New);
    }

    /// Bytes that the first version wrote.
    #[test]
    fn version_1_list_of_jobs_holds_for_everybody_and_unknown_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let mut old = Vec::new();
        for n in [1, 2] {
            old.extend(NOW.to_le_bytes());
            old.extend([n; 16]);
        }
        fs::write(&path, [&old[..], &[9; 7]].concat()).unwrap();
        for _ in 0..2 {
            let mut names = open(&path, 64);
            assert_eq!(names.count, 2);
            let claim = names.claim(key(1), JobId([2; 16]), NOW).unwrap();
            assert_eq!(claim, Claim::Taken, "the second reading is of version 2");
        }
        fs::write(&path, b"SHNAMES\0\x03\0").unwrap();
        let error = JobNames::open(&path, 30 * DAY, 64, NOW).err().unwrap().to_string();
        assert!(error.contains("version"), "{error}");
    }
}
