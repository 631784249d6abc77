//! Random schedules of jobs, crashes and races on one budget file: what was acknowledged as begun is remembered by whoever opens it
//! next, and all that was ever begun comes to no more than was granted, recomputed from the formula in floating point.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use sahara_market::budget::{ORDERS, QUARTERS};
use sahara_privacy::budget::{Book, BudgetError, Cost, JobState, Words};

/// Of a linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn name(&mut self) -> [u8; 32] {
        let mut name = [0; 32];
        name.iter_mut().for_each(|byte| *byte = self.below(256) as u8);
        name
    }

    /// A Gaussian mechanism, or one that is ε-private.
    fn cost(&mut self) -> Cost {
        let size = self.below(400) as f64 / 1000.0 + 0.001;
        let failure = self.below(40) as f64 * 1e-10;
        match self.below(2) {
            0 => Cost::of(|order| order * size * size / 2.0, failure),
            _ => Cost::of(|order| size.min(order * size * size / 2.0), failure),
        }
    }
}

/// ε at δ/2 by proposition 12 of Canonne, Kamath and Steinke (2020), with a part of δ for each order, and what failures add to δ.
fn composed(jobs: impl Iterator<Item = Cost>, words: Words) -> (f64, f64) {
    let (mut sums, mut failure) = ([0.0; ORDERS], 0.0);
    for job in jobs {
        sums.iter_mut().zip(job.costs).for_each(|(sum, cost)| *sum += cost as f64 / 1e9);
        failure += job.failure as f64 / 1e18;
    }
    if failure == 0.0 {
        return (0.0, 0.0);
    }
    let log = (2.0 / words.delta).ln() + (ORDERS as f64).ln();
    let at = |(sum, quarters): (&f64, u16)| {
        let order = f64::from(quarters) / 4.0;
        sum + (1.0 - 1.0 / order).ln() + (log - order.ln()) / (order - 1.0)
    };
    let epsilon = sums.iter().zip(QUARTERS).map(at).fold(f64::INFINITY, f64::min).max(0.0);
    (epsilon, words.delta / 2.0 + failure * (1.0 + words.epsilon.exp()))
}

fn within(begun: &BTreeMap<[u8; 32], Cost>, words: Words, seed: u64) {
    let (epsilon, delta) = composed(begun.values().copied(), words);
    assert!(epsilon <= words.epsilon + 1e-9, "seed {seed}: ε {epsilon} of {}", words.epsilon);
    assert!(delta <= words.delta * (1.0 + 1e-9), "seed {seed}: δ {delta} of {}", words.delta);
}

/// What a crash leaves of a file of which `safe` bytes were acknowledged: those, and perhaps a part of what was being written.
fn crash(path: &Path, safe: &[u8], random: &mut Random) {
    let now = fs::read(path).unwrap_or_default();
    let more = now.len() - safe.len();
    let kept = safe.len() + random.below(more as u64 + 1) as usize;
    fs::write(path, &now[..kept]).unwrap_or_default();
}

#[test]
fn no_schedule_of_jobs_and_crashes_overspends_or_forgets() {
    let mut refused = [0_u32; 2];
    for seed in 0..40 {
        let mut random = Random(seed);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget");
        let words = Words { epsilon: 0.5 + random.below(30) as f64 / 10.0, delta: 1e-6 };
        let mut book = Book::create(&path, words.grant().unwrap(), "one row").unwrap();
        let mut begun = BTreeMap::new();
        for _ in 0..40 {
            let (name, cost) = (random.name(), random.cost());
            let before = fs::read(&path).unwrap();
            match book.reserve(&name, &cost) {
                Ok(()) => {}
                Err(BudgetError::Refused(_)) => {
                    refused[0] += 1;
                    assert_eq!(fs::read(&path).unwrap(), before, "a refusal writes nothing");
                    continue;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
            let reserved = fs::read(&path).unwrap();
            match random.below(6) {
                // Dies while it reserves.
                0 => {
                    drop(book);
                    crash(&path, &before, &mut random);
                    book = Book::open(&path).unwrap();
                    assert_ne!(book.job(&name).map(|job| job.state), Some(JobState::Reserved), "seed {seed}");
                }
                // Dies while it begins, before it heard that it did: it drew no noise.
                1 => {
                    book.begin(&name).unwrap();
                    drop(book);
                    crash(&path, &reserved, &mut random);
                    book = Book::open(&path).unwrap();
                    if book.job(&name).is_some_and(|job| job.state == JobState::Begun) {
                        begun.insert(name, cost);
                    }
                }
                2 => {
                    book.release(&name).unwrap();
                    refused[1] += u32::from(book.begin(&name).is_err());
                }
                // Begins, draws its noise, and dies before or while it settles.
                3 => {
                    book.begin(&name).unwrap();
                    begun.insert(name, cost);
                    let safe = fs::read(&path).unwrap();
                    book.settle(&name, &[1; 32]).unwrap();
                    drop(book);
                    crash(&path, &safe, &mut random);
                    book = Book::open(&path).unwrap();
                }
                4 => {
                    book.begin(&name).unwrap();
                    begun.insert(name, cost);
                    assert!(
                        book.begin(&name).is_err()
                            && book.release(&name).is_err()
                            && book.reserve(&name, &cost).is_err()
                    );
                    let to = random.below(3_000_000_000);
                    if to < words.grant().unwrap().epsilon && book.change(to, 0).is_ok() {
                        assert!(u128::from(book.standing().granted) >= book.standing().spent, "seed {seed}");
                    }
                }
                _ => {
                    book.begin(&name).unwrap();
                    book.settle(&name, &[2; 32]).unwrap();
                    begun.insert(name, cost);
                }
            }
            for name in begun.keys() {
                let state = book.job(name).map(|job| job.state);
                assert!(matches!(state, Some(JobState::Begun | JobState::Settled(_))), "seed {seed}: forgotten");
            }
            within(&begun, words, seed);
        }
    }
    assert!(refused.iter().all(|count| *count > 20), "each way was gone: {refused:?}");
}

#[test]
fn those_who_race_for_the_last_of_it_cannot_both_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budget");
    let words = Words { epsilon: 1.0, delta: 1e-6 };
    drop(Book::create(&path, words.grant().unwrap(), "one row").unwrap());
    let begun = Mutex::new(BTreeMap::new());
    let busy = Mutex::new(0_u32);
    std::thread::scope(|scope| {
        for seed in 0..6 {
            let (path, begun, busy) = (&path, &begun, &busy);
            scope.spawn(move || {
                let mut random = Random(1000 + seed);
                for _ in 0..60 {
                    let mut book = match Book::open(path) {
                        Ok(book) => book,
                        Err(BudgetError::Busy(_)) => {
                            *busy.lock().unwrap() += 1;
                            std::thread::yield_now();
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    let (name, cost) = (random.name(), random.cost());
                    if book.reserve(&name, &cost).is_ok() && random.below(4) > 0 {
                        book.begin(&name).unwrap();
                        begun.lock().unwrap().insert(name, cost);
                    }
                }
            });
        }
    });
    let begun = begun.into_inner().unwrap();
    within(&begun, words, 0);
    let book = Book::open(&path).unwrap();
    assert!(begun.keys().all(|name| book.job(name).is_some_and(|job| job.state == JobState::Begun)));
    assert_eq!(book.in_state(JobState::Begun).len(), begun.len());
    let left = composed(begun.values().copied(), words).0;
    assert!(left > 0.3 && *busy.lock().unwrap() > 0, "they raced, and spent: ε {left}");
}

#[test]
fn what_is_spent_stays_spent_when_the_grant_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budget");
    let at = |epsilon: f64| Words { epsilon, delta: 1e-6 }.grant().unwrap();
    let mut book = Book::create(&path, at(1.0), "one row").unwrap();
    let cost = Cost::of(|order| 0.005 * order, 4e-9);
    let mut random = Random(5);
    let names: Vec<[u8; 32]> = (0..4).map(|_| random.name()).collect();
    book.reserve(&names[0], &cost).unwrap();
    book.begin(&names[0]).unwrap();
    book.settle(&names[0], &[3; 32]).unwrap();
    book.reserve(&names[1], &cost).unwrap();
    book.release(&names[1]).unwrap();
    let spent = book.standing();
    let raised = at(4.0);
    assert!(raised.failure < at(1.0).failure, "failures cost more of δ at a higher ε");
    book.change(raised.epsilon, raised.failure).unwrap();
    let standing = book.standing();
    assert_eq!((standing.spent, standing.failure), (spent.spent, spent.failure));
    assert_eq!((standing.granted, standing.failure_granted), (raised.epsilon, raised.failure));
    assert!(book.reserve(&names[0], &cost).is_err() && book.reserve(&names[1], &cost).is_err(), "names are used once");
    // So high that the failure which is spent would be more of δ than there is.
    let higher = at(8.0);
    assert!(matches!(book.change(higher.epsilon, higher.failure), Err(BudgetError::Refused(_))));
    drop(book);
    let mut book = Book::open(&path).unwrap();
    assert_eq!(book.standing(), standing);
    book.change(0, 0).unwrap();
    assert_eq!(u128::from(book.standing().granted), standing.spent);
    assert!(book.reserve(&names[2], &cost).is_err());
}

#[test]
fn a_changed_file_is_refused_and_a_torn_entry_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budget");
    let words = Words { epsilon: 2.0, delta: 1e-6 };
    let mut random = Random(3);
    let mut book = Book::create(&path, words.grant().unwrap(), "one person by patient").unwrap();
    assert!(matches!(Book::create(&path, words.grant().unwrap(), "one row"), Err(BudgetError::Exists(_))));
    assert!(matches!(Book::open(&path), Err(BudgetError::Busy(_))));
    let (name, cost) = (random.name(), Cost::of(|order| 0.01 * order, 1e-12));
    book.reserve(&name, &cost).unwrap();
    book.begin(&name).unwrap();
    let spent = book.standing();
    drop(book);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let mut other = whole.clone();
        other[at] ^= 1;
        fs::write(&path, &other).unwrap();
        assert!(matches!(Book::open(&path), Err(BudgetError::Changed(_))), "byte {at}");
    }
    // An entry that tells of what the rules never let in, well hashed or not, cannot be put behind.
    fs::write(&path, [whole.as_slice(), &whole[whole.len() - 329..]].concat()).unwrap();
    assert!(matches!(Book::open(&path), Err(BudgetError::Changed(_))));
    fs::write(&path, [whole.as_slice(), &[1; 300]].concat()).unwrap();
    let book = Book::open(&path).unwrap();
    assert_eq!((book.standing(), book.unit()), (spent, "one person by patient"));
    assert_eq!(fs::read(&path).unwrap(), whole, "the torn entry is cut off");
}
