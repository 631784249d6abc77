//! ε of sampled Gaussian noise is at least what dp-accounting says when it rounds down, and at most a hundredth more than what it
//! says when it rounds up. `tests/data/make_dp_accounting.py` makes the points; SAHARA_DP_POINTS names others.

use std::fs;

use sahara_privacy::accounting::{Accountant, Composition, Mechanism};

#[test]
fn every_point_lies_between_its_values() {
    let path = std::env::var("SAHARA_DP_POINTS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dp_accounting.csv").to_owned());
    let text = fs::read_to_string(&path).expect("the points are there");
    let mut points = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<f64> = line.split(',').map(|field| field.parse().expect("a number")).collect();
        let [noise, rate, steps, delta, low, high, renyi] = fields[..] else { panic!("seven fields, not {line}") };
        let all = Composition::new().and(Mechanism::sampled_gaussian(noise, rate).unwrap(), steps as u64);
        let found = all.epsilon(delta, Accountant::Tightest).unwrap();
        // Below: what either leaves of a double.
        assert!(found >= low * (1.0 - 1e-9) && found <= 1.01 * high + 1e-12, "{line}: {found}");
        let found = all.epsilon(delta, Accountant::Rdp).unwrap();
        assert!(found >= low * (1.0 - 1e-9) && found <= 1.01 * renyi + 1e-9, "{line}: {found} by Rényi's account");
        points += 1;
    }
    assert!(points >= 20, "{path} has {points} points");
}

#[test]
fn the_committed_points_are_many() {
    let text = include_str!("data/dp_accounting.csv");
    assert!(text.lines().filter(|line| !line.starts_with('#')).count() >= 100);
}
