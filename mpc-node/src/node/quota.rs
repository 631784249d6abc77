//! What one key may use: jobs at a time, bytes uploaded and fetched, time of dealing, requests. No clock in here: callers say how late
//! it is.
//!
//! What is fetched counts for each owner's models apart: a gateway fetches new versions by itself, so an owner who makes many would
//! else use up what the consumer may fetch of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::refusal::Refusal;
use crate::config::Limits;
use crate::identity::PublicKey;
use crate::wire::FailCode;

/// Most keys whose use is remembered; beyond that the one that has used least is forgotten.
const MAX_KEYS: usize = 4096;
/// Requests a second that one key may make for long, and how many at once.
const REQUESTS: Bucket = Bucket::new(400.0, 100.0);

/// Packs that are made ahead for who pays by the call, besides one for each call that its sessions still pay for: for other tasks than
/// those that are asked in the end. They come back as packs are used, and one in so many seconds.
const SPARE_PACKS: f64 = 4.0;
const SPARE_AGAIN: f64 = 600.0;

/// Something that is used up and comes back with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    capacity: f64,
    per_second: f64,
    level: f64,
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    pub(super) const fn new(capacity: f64, per_second: f64) -> Self {
        Self { capacity, per_second, level: capacity, at: Duration::ZERO }
    }

    /// What is in it at `now`; below zero when more was used than was there.
    pub(super) fn level(&mut self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = self.capacity.min(self.level + passed * self.per_second);
        self.at = self.at.max(now);
        self.level
    }

    /// Takes `amount` if it is there.
    pub(super) fn take(&mut self, amount: f64, now: Duration) -> bool {
        let enough = self.level(now) >= amount;
        if enough {
            self.level -= amount;
        }
        enough
    }

    /// How long until the level is at least `amount`.
    fn wait(&mut self, amount: f64, now: Duration) -> Duration {
        let missing = amount - self.level(now);
        Duration::from_secs_f64((missing / self.per_second).clamp(0.0, 3600.0))
    }
}

/// The use of all keys.
pub(super) struct Quotas {
    fresh: Usage,
    jobs: u32,
    keys: Mutex<HashMap<Whose, Usage>>,
}

/// A key; for what it fetches, with the key of the models' owner, and for what it deals to this node, with the consumer's.
type Whose = (PublicKey, Option<PublicKey>);

/// Whose dealing time something takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payer(Whose);

impl Payer {
    /// A helper that says it deals for this consumer: the consumer's own time is not the helper's to spend, and one consumer does
    /// not use up what the helper has for others.
    pub(super) fn helper(key: PublicKey, consumer: PublicKey) -> Self {
        Self((key, Some(consumer)))
    }

    /// Whose turn it is when it waits in line.
    pub(super) fn key(self) -> PublicKey {
        self.0.0
    }
}

impl From<PublicKey> for Payer {
    fn from(key: PublicKey) -> Self {
        Self((key, None))
    }
}

#[derive(Clone, Copy)]
struct Usage {
    jobs: u32,
    requests: Bucket,
    /// Bytes.
    upload: Bucket,
    /// Bytes.
    download: Bucket,
    /// Seconds.
    dealing: Bucket,
    /// Packs.
    spare: Bucket,
}

/// A job of a key, running or waiting; over when dropped.
pub(super) struct JobOf {
    quotas: Arc<Quotas>,
    key: PublicKey,
}

impl Quotas {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let upload = (limits.upload_megabytes << 20) as f64;
        let download = (limits.download_megabytes << 20) as f64;
        let dealing = f64::from(limits.dealing_seconds);
        let fresh = Usage {
            jobs: 0,
            requests: REQUESTS,
            upload: Bucket::new(upload, upload / 3600.0),
            download: Bucket::new(download, download / 3600.0),
            dealing: Bucket::new(dealing, dealing / 600.0),
            spare: Bucket::new(SPARE_PACKS, 1.0 / SPARE_AGAIN),
        };
        Arc::new(Self { fresh, jobs: limits.jobs_per_key, keys: Mutex::default() })
    }

    /// One more job of this key.
    pub(super) fn job(self: &Arc<Self>, key: PublicKey, now: Duration) -> Result<JobOf, Refusal> {
        let limit = self.jobs;
        self.with(key, now, |usage| {
            if usage.jobs >= limit {
                let text =
                    format!("this key has {limit} jobs here already, the limit (limits.jobs_per_key), try again");
                return Err(Refusal::new(FailCode::Busy, text));
            }
            usage.jobs += 1;
            Ok(())
        })?;
        Ok(JobOf { quotas: self.clone(), key })
    }

    /// One more request of this key: how long to let it wait.
    pub(super) fn request(&self, key: PublicKey, now: Duration) -> Duration {
        self.with(key, now, |usage| {
            let wait = usage.requests.wait(1.0, now);
            usage.requests.level -= 1.0;
            wait
        })
    }

    /// This key wants to upload so many bytes.
    pub(super) fn upload(&self, key: PublicKey, bytes: u64, now: Duration) -> Result<(), Refusal> {
        self.with(key, now, |usage| {
            if usage.upload.take(bytes as f64, now) {
                return Ok(());
            }
            let wait = usage.upload.wait(bytes as f64, now).as_secs() + 1;
            let text = format!(
                "this key has uploaded as much as it may ({} MB in an hour, limits.upload_megabytes), try again in {wait} s",
                usage.upload.capacity as u64 >> 20
            );
            Err(Refusal::new(FailCode::Busy, text))
        })
    }

    /// This key wants to fetch so many bytes of an owner's. What is larger than the limit takes all of it.
    pub(super) fn download(&self, key: PublicKey, owner: PublicKey, bytes: u64, now: Duration) -> Result<(), Refusal> {
        self.with_whose((key, Some(owner)), now, |usage| {
            let amount = usage.download.capacity.min(bytes as f64);
            if usage.download.take(amount, now) {
                return Ok(());
            }
            let wait = usage.download.wait(amount, now).as_secs() + 1;
            let text = format!(
                "this key has fetched as much of this owner's as it may ({} MB in an hour, limits.download_megabytes), try \
                 again in {wait} s",
                usage.download.capacity as u64 >> 20
            );
            Err(Refusal::new(FailCode::Busy, text))
        })
    }

    /// Whether this payer may have another pack dealt, or something of a model made ready.
    pub(super) fn may_deal(&self, payer: impl Into<Payer>, now: Duration) -> Result<(), Refusal> {
        self.with_whose(payer.into().0, now, |usage| {
            if usage.dealing.level(now) > 0.0 {
                return Ok(());
            }
            let wait = usage.dealing.wait(0.0, now).as_secs() + 1;
            let text = format!(
                "this key has used its {} s of dealing, and of making models ready, in ten minutes (limits.dealing_seconds), try again in {wait} s",
                usage.dealing.capacity
            );
            Err(Refusal::new(FailCode::Busy, text))
        })
    }

    /// So much dealing, or making ready, was done for this payer.
    pub(super) fn dealt(&self, payer: impl Into<Payer>, time: Duration, now: Duration) {
        self.with_whose(payer.into().0, now, |usage| {
            usage.dealing.level(now);
            usage.dealing.level -= time.as_secs_f64();
        });
    }

    /// Whether another pack may be made for a payer whose open sessions pay for so many more `calls`; it is counted then.
    pub(super) fn pack(&self, payer: impl Into<Payer>, calls: u64, now: Duration) -> Result<(), Refusal> {
        self.with_whose(payer.into().0, now, |usage| {
            if usage.spare.level(now) + calls as f64 >= 1.0 {
                usage.spare.level -= 1.0;
                return Ok(());
            }
            let wait = usage.spare.wait(1.0 - calls as f64, now).as_secs() + 1;
            let text = format!(
                "this key's sessions pay for {calls} more calls here, and packs for these were made: ask, open another session,                  or try again in {wait} s"
            );
            Err(Refusal::new(FailCode::Busy, text))
        })
    }

    /// A pack that was counted is used.
    pub(super) fn took_pack(&self, payer: impl Into<Payer>, now: Duration) {
        self.with_whose(payer.into().0, now, |usage| {
            let level = usage.spare.level(now) + 1.0;
            usage.spare.level = level.min(SPARE_PACKS);
        });
    }

    fn with<R>(&self, key: PublicKey, now: Duration, work: impl FnOnce(&mut Usage) -> R) -> R {
        self.with_whose((key, None), now, work)
    }

    fn with_whose<R>(&self, whose: Whose, now: Duration, work: impl FnOnce(&mut Usage) -> R) -> R {
        let mut keys = self.lock();
        if !keys.contains_key(&whose) && keys.len() >= MAX_KEYS {
            forget(&mut keys, now);
        }
        work(keys.entry(whose).or_insert(self.fresh))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Whose, Usage>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for another key: those that have nothing to remember go, else the one that has used least.
fn forget(keys: &mut HashMap<Whose, Usage>, now: Duration) {
    let mut least: Option<(f64, Whose)> = None;
    keys.retain(|key, usage| {
        let Usage { requests, upload, download, dealing, spare, .. } = usage;
        let buckets = [requests, upload, download, dealing, spare];
        let used: f64 = buckets.into_iter().map(|bucket| 1.0 - bucket.level(now) / bucket.capacity).sum();
        if usage.jobs > 0 {
            return true;
        }
        if least.is_none_or(|(other, _)| used < other) {
            least = Some((used, *key));
        }
        used > 0.0
    });
    if let Some((_, key)) = least {
        keys.remove(&key);
    }
}

impl Drop for JobOf {
    fn drop(&mut self) {
        if let Some(usage) = self.quotas.lock().get_mut(&(self.key, None)) {
            usage.jobs = usage.jobs.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn key(n: u32) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        PublicKey(bytes)
    }

    fn quotas() -> Arc<Quotas> {
        let limits = Limits::default();
        Quotas::new(&Limits {
            jobs_per_key: 2,
            upload_megabytes: 36,
            download_megabytes: 72,
            dealing_seconds: 60,
            ..limits
        })
    }

    #[test]
    fn jobs_are_counted_by_key_until_they_end() {
        let quotas = quotas();
        let (one, _two) = (quotas.job(key(1), NOW).unwrap(), quotas.job(key(1), NOW).unwrap());
        let refusal = quotas.job(key(1), NOW).err().unwrap();
        assert!(refusal.code == FailCode::Busy && refusal.text.contains("limits.jobs_per_key"), "{}", refusal.text);
        assert!(quotas.job(key(2), NOW).is_ok(), "another key is not concerned");
        drop(one);
        assert!(quotas.job(key(1), NOW).is_ok());
    }

    #[test]
    fn uploads_come_back_with_time() {
        let quotas = quotas();
        quotas.upload(key(1), 30 << 20, NOW).unwrap();
        let refusal = quotas.upload(key(1), 10 << 20, NOW).unwrap_err();
        assert!(
            refusal.text.contains("limits.upload_megabytes") && refusal.text.contains("in 401 s"),
            "{}",
            refusal.text
        );
        assert!(quotas.upload(key(1), 10 << 20, NOW + Duration::from_secs(399)).is_err());
        quotas.upload(key(1), 10 << 20, NOW + Duration::from_secs(401)).unwrap();
    }

    #[test]
    fn what_was_fetched_is_counted_for_each_owner_apart_and_comes_back_with_time() {
        let quotas = quotas();
        let download = |of: u32, bytes, now| quotas.download(key(of), key(9), bytes, now);
        quotas.upload(key(1), 36 << 20, NOW).unwrap();
        download(1, 60 << 20, NOW).unwrap();
        let refusal = download(1, 20 << 20, NOW).unwrap_err();
        assert!(
            refusal.code == FailCode::Busy && refusal.text.contains("limits.download_megabytes"),
            "{}",
            refusal.text
        );
        assert!(refusal.text.contains("in 401 s"), "{}", refusal.text);
        download(2, 60 << 20, NOW).unwrap();
        quotas.download(key(1), key(8), 60 << 20, NOW).expect("another owner's models are not concerned");
        let later = NOW + Duration::from_secs(401);
        download(1, 20 << 20, later).unwrap();
        assert!(download(1, 500 << 20, later).is_err(), "more than the limit takes all of it");
        download(1, 500 << 20, later + Duration::from_secs(3600)).unwrap();
        assert!(download(1, 1, later + Duration::from_secs(3600)).is_err());
    }

    #[test]
    fn dealing_is_refused_when_its_time_is_used_and_debts_are_remembered() {
        let quotas = quotas();
        quotas.dealt(key(1), Duration::from_secs(59), NOW);
        quotas.may_deal(key(1), NOW).unwrap();
        quotas.dealt(key(1), Duration::from_secs(11), NOW);
        let refusal = quotas.may_deal(key(1), NOW).unwrap_err();
        assert!(
            refusal.text.contains("limits.dealing_seconds") && refusal.text.contains("in 101 s"),
            "{}",
            refusal.text
        );
        assert!(quotas.may_deal(key(1), NOW + Duration::from_secs(99)).is_err());
        quotas.may_deal(key(1), NOW + Duration::from_secs(101)).unwrap();
        quotas.may_deal(key(2), NOW).unwrap();
    }

    #[test]
    fn packs_are_made_for_the_calls_that_are_left_and_a_few_more() {
        let quotas = quotas();
        let made = |calls: u64, now| (0..100).take_while(|_| quotas.pack(key(1), calls, now).is_ok()).count();
        assert_eq!(made(1, NOW), 5, "one call, and four for other tasks");
        let refusal = quotas.pack(key(1), 1, NOW).unwrap_err();
        assert!(refusal.code == FailCode::Busy && refusal.text.contains("1 more calls"), "{}", refusal.text);
        assert!(refusal.text.contains("in 601 s"), "{}", refusal.text);
        assert_eq!(made(3, NOW), 2, "who opens another session has more made");
        quotas.took_pack(key(1), NOW);
        assert_eq!(made(3, NOW), 1, "and who uses one");
        let later = NOW + Duration::from_secs(1201);
        assert_eq!(made(3, later), 2, "they come back with time");
        (0..100).for_each(|_| quotas.took_pack(key(1), later));
        assert_eq!(made(0, later), 4, "no more than the spare ones");
        quotas.pack(key(2), 0, NOW).expect("another key's are not concerned");
    }

    #[test]
    fn many_requests_are_slowed_down() {
        let quotas = quotas();
        assert!((0..400).all(|_| quotas.request(key(1), NOW).is_zero()));
        assert_eq!(quotas.request(key(1), NOW), Duration::from_millis(10));
        assert_eq!(quotas.request(key(1), NOW), Duration::from_millis(20));
        assert!(quotas.request(key(1), NOW + Duration::from_secs(1)).is_zero());
    }

    #[test]
    fn remembered_keys_are_bounded_and_debtors_stay() {
        let quotas = quotas();
        quotas.dealt(key(0), Duration::from_secs(100), NOW);
        for n in 1..=2 * MAX_KEYS as u32 {
            quotas.upload(key(n), 1 << 20, NOW).unwrap();
        }
        assert!(quotas.lock().len() <= MAX_KEYS);
        assert!(quotas.may_deal(key(0), NOW).is_err(), "who used most is remembered");
    }

    #[test]
    fn who_has_used_all_its_dealing_to_the_second_has_none_left() {
        let quotas = quotas();
        quotas.dealt(key(1), Duration::from_secs(60), NOW);
        assert!(quotas.may_deal(key(1), NOW).is_err());
        quotas.may_deal(key(1), NOW + Duration::from_millis(1)).unwrap();
    }

    #[test]
    fn whoever_has_nothing_to_remember_is_forgotten_first_and_then_who_has_used_least() {
        let quotas = quotas();
        let _job = quotas.job(key(0), NOW).unwrap();
        for n in 1..=30 {
            quotas.upload(key(n), u64::from(1 + n * 7 % 31) << 20, NOW).unwrap();
        }
        (31..=35).for_each(|n| quotas.may_deal(key(n), NOW).unwrap());
        let left = |times: usize| {
            let mut keys = quotas.lock().clone();
            (0..times).for_each(|_| forget(&mut keys, NOW));
            keys
        };
        assert_eq!(quotas.lock().len(), 36);
        assert_eq!(left(1).len(), 31, "all five that have used nothing");
        for times in 2..=31 {
            let keys = left(times);
            assert!(keys.contains_key(&(key(0), None)), "a job that runs is remembered");
            let mut used: Vec<u32> =
                (1..=30).filter(|n| keys.contains_key(&(key(*n), None))).map(|n| n * 7 % 31).collect();
            used.sort_unstable();
            assert_eq!(used, (times as u32..=30).collect::<Vec<_>>(), "{times}");
        }
        // What comes back with time is not remembered either.
        let mut keys = quotas.lock().clone();
        forget(&mut keys, NOW + Duration::from_secs(3600));
        assert_eq!(keys.len(), 1);
    }
}
