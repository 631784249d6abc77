//! Accounts: nothing is spent twice, forgotten, or beyond the budget.

use super::*;
use crate::engine::NodeNoise;
use crate::identity::generate;
use crate::manifest::Sensitivity;
use crate::manifest::tests::{graph, manifest};

fn terms(epsilon: f64) -> NoiseTerms {
    NoiseTerms {
        noise: NodeNoise::new(vec![0], 800).unwrap(),
        assignment: Assignment::ALL[1],
        dataset: "reviews".parse().unwrap(),
        sensitivity: Sensitivity { l1: 2, l2_squared: 2 },
        budget: Budget::new(epsilon, 1e-5).unwrap(),
    }
}

fn sharing(epsilon: f64) -> Manifest {
    let owner = generate().unwrap();
    Manifest { noise: Some(terms(epsilon)), ..manifest(&owner, &graph(1)) }
}

/// How many answers a budget is enough for, by composing again and again.
fn answers_within(epsilon: f64) -> u64 {
    let cost = terms(epsilon).cost(3);
    (1..).find(|n| AnswerCost::epsilon(&[(cost, *n)], 1e-5).unwrap() > epsilon).unwrap() - 1
}

#[test]
fn answers_are_spent_until_the_budget_is_used_up_and_no_restart_forgets_one() {
    let home = tempfile::tempdir().unwrap();
    let manifest = sharing(1.0);
    let terms = manifest.noise.as_ref().unwrap();
    let most = answers_within(1.0);
    assert!(most > 20, "{most}");
    for n in 0..most {
        // A new process each time.
        let accounts = Accounts::open(home.path()).unwrap();
        let spent: u64 = accounts.spent(&manifest).unwrap().0.iter().map(|(_, times)| times).sum();
        assert_eq!(spent, n);
        accounts.hold(&manifest, 3).unwrap().spend().unwrap();
    }
    let accounts = Accounts::open(home.path()).unwrap();
    let error = accounts.hold(&manifest, 3).unwrap_err();
    assert!(
        matches!(error, AccountError::UsedUp { .. }) && error.to_string().contains("`reviews` is used up"),
        "{error}"
    );
    let told = accounts.spent(&manifest).unwrap();
    let spent = told.epsilon(&terms.budget).unwrap();
    assert!(spent <= 1.0 && spent > 0.9, "{spent}");
    // What is left is told in answers, of any account.
    let cost = terms.cost(3);
    let left = |spent: u64, most| {
        let told = if spent == 0 { Spent(Vec::new()) } else { Spent(vec![(cost, spent)]) };
        told.answers_left(cost, &terms.budget, most).unwrap()
    };
    assert_eq!(told.answers_left(cost, &terms.budget, 1_000_000).unwrap(), 0);
    for n in [0, 1, 5, most - 1, most, most + 7] {
        assert_eq!(left(n, 1_000_000), most.saturating_sub(n), "after {n}");
        assert_eq!(left(n, 9), most.saturating_sub(n).min(9), "after {n}, as far as 9");
    }
    // Whoever asks, and under whatever name or version it is shared: it is the one owner's data.
    let again = Manifest { name: "another".parse().unwrap(), version: 7, ..manifest.clone() };
    assert!(accounts.hold(&again, 3).is_err());
    // A greater budget, signed by the owner, goes on from what is spent.
    let more = sharing_of(&manifest, 1.2);
    let left = (0..).take_while(|_| accounts.hold(&more, 3).is_ok_and(|h| h.spend().is_ok()));
    assert_eq!(left.count() as u64, answers_within(1.2) - most);
    // Another owner's data of the same name is another's.
    accounts.hold(&sharing(1.0), 3).unwrap();
}

fn sharing_of(manifest: &Manifest, epsilon: f64) -> Manifest {
    Manifest { noise: Some(terms(epsilon)), ..manifest.clone() }
}

#[test]
fn what_jobs_hold_counts_and_comes_back_from_those_that_come_to_nothing() {
    let home = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(home.path()).unwrap();
    let manifest = sharing(1.0);
    let most = answers_within(1.0) as usize;
    let mut held: Vec<Held> = (0..most).map(|_| accounts.hold(&manifest, 3).unwrap()).collect();
    let all_held = accounts.hold(&manifest, 3).unwrap_err();
    assert!(matches!(all_held, AccountError::Held { .. }), "{all_held}");
    assert_eq!(accounts.spent(&manifest).unwrap(), Spent(Vec::new()), "and nothing is spent");
    held.pop();
    held.pop().unwrap().spend().unwrap();
    let last = accounts.hold(&manifest, 3).unwrap();
    assert!(accounts.hold(&manifest, 3).is_err());
    drop((held, last));
    assert_eq!(accounts.spent(&manifest).unwrap().0[0].1, 1);
    // Many at once spend what there is, and no more.
    let spent = std::sync::atomic::AtomicU64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    match accounts.hold(&manifest, 3) {
                        Ok(held) => held.spend().unwrap(),
                        Err(AccountError::Held { .. }) => continue,
                        Err(_) => return,
                    }
                    spent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    let on_disk = Accounts::open(home.path()).unwrap().spent(&manifest).unwrap().0[0].1;
    assert_eq!(on_disk, spent.into_inner());
    assert_eq!(on_disk, most as u64);
}

#[test]
fn an_account_that_cannot_be_read_or_written_answers_nothing() {
    let home = tempfile::tempdir().unwrap();
    let manifest = sharing(1.0);
    let accounts = Accounts::open(home.path()).unwrap();
    accounts.hold(&manifest, 3).unwrap().spend().unwrap();
    let path = fs::read_dir(home.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        let error = Accounts::open(home.path()).unwrap().hold(&manifest, 3).unwrap_err();
        assert!(matches!(error, AccountError::Io { .. }), "byte {at}: {error}");
    }
    // The disk is gone: the answer is not spent, and may not leave.
    let held = accounts.hold(&manifest, 3).unwrap();
    fs::remove_dir_all(home.path()).unwrap();
    assert!(matches!(held.spend(), Err(AccountError::Io { .. })));
    assert_eq!(accounts.spent(&manifest).unwrap().0[0].1, 1);
}

#[test]
fn one_pair_of_evaluators_counts_and_accounts_have_an_end() {
    let home = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(home.path()).unwrap();
    let manifest = sharing(1.0);
    accounts.make(&manifest).unwrap();
    let mut other = manifest.clone();
    other.noise.as_mut().unwrap().assignment = Assignment::ALL[0];
    let elsewhere = Manifest { committee: [3; 32], ..manifest.clone() };
    for wrong in [other, elsewhere] {
        assert!(matches!(accounts.check(&wrong), Err(AccountError::Elsewhere { .. })));
        assert!(matches!(accounts.make(&wrong), Err(AccountError::Elsewhere { .. })));
        assert!(matches!(accounts.hold(&wrong, 3), Err(AccountError::Elsewhere { .. })));
    }
    for n in 1..MOST_OF_OWNER {
        let mut more = manifest.clone();
        more.noise.as_mut().unwrap().dataset = format!("data-{n}").parse().unwrap();
        accounts.make(&more).unwrap();
    }
    let mut more = manifest.clone();
    more.noise.as_mut().unwrap().dataset = "one-more".parse().unwrap();
    assert!(matches!(accounts.make(&more), Err(AccountError::Full { .. })));
    assert!(matches!(accounts.check(&more), Err(AccountError::Full { .. })));
    accounts.make(&sharing(1.0)).unwrap();
    let rich = sharing_of(&manifest, 100.0);
    let held: Vec<Held> = (0..MAX_KINDS as u64).map(|n| accounts.hold(&rich, n + 1).unwrap()).collect();
    assert!(matches!(accounts.hold(&rich, 1 << 20), Err(AccountError::Full { .. })));
    accounts.hold(&rich, 1).unwrap();
    held.into_iter().for_each(|held| held.spend().unwrap());
    assert_eq!(Accounts::open(home.path()).unwrap().spent(&rich).unwrap().0.len(), MAX_KINDS);
}
