//! Whole runs: made twice, altered at one step of many, and made by somebody who cheats.

use super::rows::tests_rows;
use super::train::{Difference, Machine, Part};
use super::*;
use crate::train::sample::Rate;

const STEPS: usize = 200;

fn secret(byte: u8) -> Secret {
    Secret::from_bytes([byte; 32])
}

fn defined(rows: &Rows, classes: usize, sigma: f64) -> Definition {
    let batch = (rows.len() / 8).max(1);
    let rates: Vec<f64> = (0..STEPS).map(|step| 2.0 * (1.0 - step as f64 / STEPS as f64)).collect();
    let (shift, multipliers) = Definition::multipliers(&rates, batch).unwrap();
    Definition {
        inputs: rows.inputs(),
        classes,
        rows: rows.len() as u64,
        root: secret(1).root(rows),
        secret: secret(1).commitment(),
        beacon: [0; 32],
        rate: Rate::of(batch as u64, rows.len() as u64),
        cap: (2 * batch as u64 + 64).min(rows.len() as u64),
        clip: Definition::clip_of(1.0),
        sigma,
        sampler: Definition::sampler_of(sigma).unwrap(),
        shift,
        multipliers,
    }
}

fn made(rows: &Rows, classes: usize, sigma: f64) -> Transcript {
    train(defined(rows, classes, sigma), rows, &secret(1), |_| true).unwrap()
}

fn checked(transcript: &Transcript, rows: &Rows) -> Option<Difference> {
    verify(transcript, rows, &secret(1), None, |_| true).unwrap()
}

#[test]
fn a_run_is_made_again_to_the_last_bit_and_learns() {
    let rows = tests_rows(12, 3, 240, 5);
    for sigma in [0.0, 3e8] {
        let transcript = made(&rows, 3, sigma);
        assert!(made(&rows, 3, sigma) == transcript);
        assert_eq!(checked(&transcript, &rows), None);
        let right = (0..rows.len()).filter(|&row| transcript.head.choice(rows.row(row)) == rows.class(row)).count();
        assert!(right * 10 > 8 * rows.len(), "{right} of {}", rows.len());
        assert!(
            transcript.steps.windows(2).all(|pair| pair[0].after == pair[1].before && pair[0].after != pair[1].after)
        );
        assert_eq!(transcript.steps[STEPS - 1].after, transcript.head.root());
    }
}

#[test]
fn one_altered_step_of_many_is_named() {
    let rows = tests_rows(5, 2, 60, 8);
    let transcript = made(&rows, 2, 1e8);
    type Of = fn(&mut Step) -> &mut [u8; 32];
    let parts: [(Part, Of); 6] = [
        (Part::Before, |step| &mut step.before),
        (Part::Batch, |step| &mut step.batch),
        (Part::Gradient, |step| &mut step.gradient),
        (Part::Noise, |step| &mut step.noise),
        (Part::After, |step| &mut step.after),
        (Part::Hash, |step| &mut step.hash),
    ];
    for (place, (part, of)) in [0, 77, 120, 133, 198, 199].into_iter().zip(parts) {
        let mut other = transcript.clone();
        of(&mut other.steps[place])[7] ^= 4;
        assert_eq!(checked(&other, &rows), Some(Difference { step: place + 1, part }));
        if place > 0 {
            let before = verify(&other, &rows, &secret(1), Some(place), |_| true).unwrap();
            assert_eq!(before, None, "the steps before it are as they were");
        }
    }
    let mut other = transcript.clone();
    let mut weights = other.head.weights().to_vec();
    weights[3] += 1;
    other.head = Head::from_weights(5, 2, weights).unwrap();
    assert_eq!(checked(&other, &rows), Some(Difference { step: STEPS, part: Part::Released }));
}

/// A trainer who takes weights of his own at one step, and goes on from there with commitments that fit each other.
#[test]
fn a_trainer_who_leaves_the_path_is_found_where_he_left_it() {
    let rows = tests_rows(5, 2, 60, 9);
    let definition = defined(&rows, 2, 1e8);
    let secret = secret(1);
    let mut machine = Machine::new(&definition, &rows, &secret).unwrap();
    let mut steps = Vec::new();
    for place in 0..STEPS {
        let before = machine.hash;
        let mut step = machine.step();
        if place == 76 {
            let mut weights = machine.head.weights().to_vec();
            weights[0] += 1;
            machine.head = Head::from_weights(5, 2, weights).unwrap();
            machine.root = machine.head.root();
            step.after = machine.root;
            step.hash = step.chained(&before, place);
            machine.hash = step.hash;
        }
        steps.push(step);
    }
    let head = machine.head.clone();
    let cheat = Transcript { definition, steps, head };
    assert_eq!(checked(&cheat, &rows), Some(Difference { step: 77, part: Part::After }));
}

#[test]
fn other_rows_another_secret_and_another_sampler_are_refused_by_name() {
    let rows = tests_rows(5, 2, 60, 8);
    let transcript = made(&rows, 2, 1e8);
    let said = |rows: &Rows, secret: &Secret| verify(&transcript, rows, secret, None, |_| true).unwrap_err();
    assert!(matches!(said(&rows, &secret(2)), ProvableError::Secret));
    assert!(matches!(said(&tests_rows(5, 2, 60, 7), &secret(1)), ProvableError::Rows));
    assert!(matches!(said(&tests_rows(5, 2, 59, 8), &secret(1)), ProvableError::Rows));
    let mut other = transcript.clone();
    other.definition.sampler[0] ^= 1;
    let error = verify(&other, &rows, &secret(1), None, |_| true).unwrap_err();
    assert!(matches!(error, ProvableError::Sampler), "{error}");
    let stopped = verify(&transcript, &rows, &secret(1), None, |done| done < 3).unwrap_err();
    assert!(matches!(stopped, ProvableError::Stopped));
    let asked = |last| verify(&transcript, &rows, &secret(1), Some(last), |_| true);
    assert!(
        matches!(asked(0), Err(ProvableError::Step { .. })) && matches!(asked(201), Err(ProvableError::Step { .. }))
    );
}

#[test]
fn hidden_commitments_depend_on_the_secret_and_the_step() {
    let rows = tests_rows(5, 2, 60, 8);
    let one = made(&rows, 2, 0.0);
    // Without noise, every step commits to the same zeros, each under a key of its own.
    let mut noises: Vec<[u8; 32]> = one.steps.iter().map(|step| step.noise).collect();
    noises.sort_unstable();
    noises.dedup();
    assert_eq!(noises.len(), STEPS);
    assert_ne!(secret(1).root(&rows), secret(2).root(&rows));
    assert_ne!(secret(1).commitment(), secret(2).commitment());
    let mut with = defined(&rows, 2, 1e8);
    let without = train(with.clone(), &rows, &secret(1), |_| true).unwrap();
    with.beacon = [9; 32];
    let with = train(with, &rows, &secret(1), |_| true).unwrap();
    assert_ne!(with.head, without.head, "a beacon changes batches and noise");
}

#[test]
fn a_transcript_is_read_again_and_damage_is_refused() {
    let rows = tests_rows(2, 2, 9, 1);
    let transcript = made(&rows, 2, 1e8);
    let bytes = transcript.encode();
    assert!(Transcript::decode(&bytes).unwrap() == transcript);
    for end in (0..bytes.len()).step_by(11) {
        assert!(Transcript::decode(&bytes[..end]).is_err(), "{end}");
    }
    assert!(matches!(Transcript::decode(&[&bytes[..], &[0]].concat()), Err(TranscriptError::Damaged(_))));
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert!(matches!(Transcript::decode(&newer), Err(TranscriptError::Version(2))));
    // A definition that announces what it does not have, or that could wrap.
    let fields = transcript.definition.clone();
    let changes: [fn(&mut Definition); 10] = [
        |d| d.sigma = 3.9,
        |d| d.sigma = f64::NAN,
        |d| d.sigma = -1e8,
        |d| d.inputs = 1 << 17,
        |d| d.classes = 1,
        |d| d.cap = 1 << 25,
        |d| d.clip = 0,
        |d| d.clip = (1 << 40) + 1,
        |d| d.shift = 61,
        |d| d.multipliers[3] = 65536,
    ];
    for change in changes {
        let mut definition = fields.clone();
        change(&mut definition);
        assert!(definition.check().is_err(), "{definition:?}");
        let changed = Transcript { definition, ..transcript.clone() };
        assert!(Transcript::decode(&changed.encode()).is_err());
    }
}

#[test]
fn what_a_run_costs_is_the_accountants_word() {
    let rows = tests_rows(12, 3, 240, 5);
    let definition = defined(&rows, 3, 0.0);
    assert_eq!(definition.epsilon(1e-5).unwrap(), f64::INFINITY);
    let clip = definition.clip as f64;
    let sensitivity = definition.sensitivity();
    assert!(sensitivity > clip && sensitivity < 1.001 * clip, "{sensitivity}");
    let cost =
        |multiplier: f64| Definition { sigma: multiplier * sensitivity, ..definition.clone() }.epsilon(1e-5).unwrap();
    let reference = |multiplier| {
        let mechanism =
            crate::accounting::Mechanism::sampled_gaussian(multiplier, definition.rate.probability()).unwrap();
        let run = crate::accounting::Composition::new().and(mechanism, STEPS as u64);
        run.epsilon(1e-5, crate::accounting::Accountant::Tightest).unwrap()
    };
    for multiplier in [2.0, 4.0] {
        let (found, expected) = (cost(multiplier), reference(multiplier));
        assert!(found >= expected && found < 1.001 * expected, "{found} {expected}");
    }
    // Where each row is in each batch, none is left out: a smaller cap would not be kept to.
    let all = |cap| Definition { rate: Rate::from_bits(u64::MAX), cap, ..definition.clone() }.check();
    assert!(all(definition.rows).is_ok() && all(definition.rows - 1).is_err());
    // A cap that is often too small is not passed over.
    let cut = Definition { cap: 31, sigma: 4.0 * sensitivity, ..definition.clone() };
    assert!(cut.epsilon(1e-5).map_or(true, |epsilon| epsilon > 100.0));
}

#[test]
fn multipliers_stand_for_rates() {
    let (shift, multipliers) = Definition::multipliers(&[4.0, 1.0, 0.0], 30).unwrap();
    let rate = |multiplier: u32| f64::from(multiplier) * 30.0 / 2_f64.powi(shift.cast_signed());
    assert!((rate(multipliers[0]) - 4.0).abs() < 1e-3 && (rate(multipliers[1]) - 1.0).abs() < 1e-3);
    assert_eq!(multipliers[2], 0);
    for wrong in [vec![], vec![0.0], vec![f64::NAN], vec![-1.0], vec![1e30]] {
        assert!(Definition::multipliers(&wrong, 1).is_err(), "{wrong:?}");
    }
}
