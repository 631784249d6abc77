//! An honest consumer's times with and without a crowd beside it.
#![allow(dead_code)] // the test prints no figures

use std::sync::Arc;
use std::time::{Duration, Instant};

use sahara_mpc::client::{Client, Committee, Task};
use sahara_mpc::identity::Identity;

use super::common::Case;
use super::hostile::Deed;

/// How large the crowd is.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Connections that nobody admitted.
    pub strangers: usize,
    /// Admitted keys, a fifth of which may use a model.
    pub keys: usize,
}

/// What each hostile connection does. The first fifth of the keys may use the model of `own`; the honest consumer's is
/// another, so that no pack that they have made serves it. The other keys ask for that one, in vain.
pub fn deeds(crowd: &Crowd, keys: &[Arc<Identity>], own: Task, honest: Task) -> Vec<Deed> {
    let strangers = (0..crowd.strangers).map(|n| match n % 5 {
        0 => Deed::Silence,
        1 => Deed::Drip,
        2 => Deed::Garbage,
        3 => Deed::NoAdmission,
        _ => Deed::HugeHeader(keys[n % keys.len()].clone()),
    });
    let task = |n: usize| if n < crowd.keys / 5 { own } else { honest };
    let pests = keys.iter().take(crowd.keys).enumerate().map(|(n, key)| Deed::Pester(key.clone(), task(n)));
    strangers.chain(pests).collect()
}

/// Times of `jobs` jobs, one after the other with a pause between, in milliseconds, ascending. Every answer is checked.
pub fn times(case: &Case, client: &Client, task: Task, jobs: usize) -> Vec<f64> {
    let mut times: Vec<f64> = (0..jobs)
        .map(|_| {
            let began = Instant::now();
            let answer = case.run(client, task, true).unwrap_or_else(|error| panic!("an honest job failed: {error}"));
            assert_eq!(answer.outputs, case.expected);
            let time = began.elapsed();
            std::thread::sleep(Duration::from_millis(10));
            time.as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The time that a share of the jobs did not exceed.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1]
}

/// Whether a member gets in at once.
pub fn member_gets_in(committee: &Committee, member: &Identity) -> bool {
    let meter = Arc::new(sahara_mpc::meter::Meter::default());
    sahara_mpc::lane::Lane::connect(member, committee, 0, Duration::from_secs(5), meter).is_ok()
}
