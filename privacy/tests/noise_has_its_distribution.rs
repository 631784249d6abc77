//! Samples are counted against exact probabilities (Pearson's χ²). The seeds are fixed, so that a test that passes always does.

use sahara_privacy::noise::{DiscreteGaussian, DiscreteLaplace, Generator, NoiseError, Skellam};

const SAMPLES: usize = 300_000;

/// χ² of the samples against weights of magnitudes, in cells of `width` values on either side of zero.
fn compare(what: &str, samples: &[i64], width: i64, weight: impl Fn(i64) -> f64, reach: i64) {
    let cells = reach / width + 1;
    let (mut expected, mut found) = (vec![0.0; 2 * cells as usize], vec![0_u64; 2 * cells as usize]);
    // Two cells a magnitude: zero and above, below zero.
    let cell = |x: i64| {
        let magnitude = (if x < 0 { -1 - x } else { x } / width).min(cells - 1) as usize;
        2 * magnitude + usize::from(x < 0)
    };
    let mut all = 0.0;
    for x in -reach..=reach {
        expected[cell(x)] += weight(x.abs());
        all += weight(x.abs());
    }
    samples.iter().for_each(|x| found[cell(*x)] += 1);
    let (mut statistic, mut freedom) = (0.0, -1.0_f64);
    let (mut rest_expected, mut rest_found) = (0.0, 0.0);
    for (expected, found) in expected.iter().zip(&found) {
        let expected = expected / all * samples.len() as f64;
        if expected < 20.0 {
            rest_expected += expected;
            rest_found += *found as f64;
        } else {
            statistic += (*found as f64 - expected).powi(2) / expected;
            freedom += 1.0;
        }
    }
    if rest_expected > 1.0 {
        statistic += (rest_found - rest_expected).powi(2) / rest_expected;
        freedom += 1.0;
    }
    assert!(freedom > 1.0, "{what}: {freedom} degrees of freedom");
    let (least, most) = (freedom - 5.0 * (2.0 * freedom).sqrt(), freedom + 5.0 * (2.0 * freedom).sqrt());
    assert!(statistic > least && statistic < most, "{what}: χ² {statistic:.1} of {freedom} degrees of freedom");
    // Neighbours in the order of drawing know nothing of each other.
    let mean_square = samples.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / samples.len() as f64;
    let product = samples.windows(2).map(|pair| pair[0] as f64 * pair[1] as f64).sum::<f64>() / samples.len() as f64;
    assert!(
        product.abs() < 5.0 * mean_square / (samples.len() as f64).sqrt(),
        "{what}: {product} beside {mean_square}"
    );
}

#[test]
fn discrete_gaussians_of_one_table_and_of_many_sums() {
    for (seed, sigma) in [(1, 0.5), (2, 3.0), (3, 10.0), (4, 45.0), (5, 300.0), (6, 1e4)] {
        let noise = DiscreteGaussian::new(sigma).unwrap();
        let mut samples = vec![0; SAMPLES + 3];
        noise.fill(&mut Generator::from_seed([seed; 32]), &mut samples);
        let weight = |x: i64| (-0.5 * (x as f64 / sigma).powi(2)).exp();
        compare(&format!("σ = {sigma}"), &samples, (sigma / 10.0).ceil() as i64, weight, (12.0 * sigma) as i64 + 4);
        assert!(noise.distance() < 1e-30 && (noise.sigma() / sigma - 1.0).abs() < 1e-14);
        assert_eq!(noise.continuous().is_some(), sigma >= 4.0);
    }
}

#[test]
fn discrete_laplace_numbers() {
    for (seed, scale) in [(1, 0.3), (2, 5.0), (3, 500.0)] {
        let noise = DiscreteLaplace::new(scale).unwrap();
        let mut samples = vec![0; SAMPLES];
        noise.fill(&mut Generator::from_seed([seed; 32]), &mut samples);
        let weight = |x: i64| (-(x as f64) / scale).exp();
        compare(&format!("scale {scale}"), &samples, (scale / 5.0).ceil() as i64, weight, (40.0 * scale) as i64 + 4);
        assert!(noise.distance() < 1e-35);
    }
}

#[test]
fn skellam_numbers() {
    for (seed, variance) in [(1, 0.5), (2, 50.0), (3, 2000.0)] {
        let noise = Skellam::new(variance).unwrap();
        let mut samples = vec![0; SAMPLES];
        noise.fill(&mut Generator::from_seed([seed; 32]), &mut samples);
        let deviation = f64::sqrt(variance);
        let reach = (12.0 * deviation) as i64 + 20;
        let exact = sahara_privacy::accounting::pld::skellam_probabilities(variance, reach as usize);
        let width = (deviation / 10.0).ceil() as i64;
        compare(&format!("variance {variance}"), &samples, width, |x| exact[x as usize], reach);
        assert!(noise.distance() < 1e-33);
    }
    // A sum of tables: the variance is right.
    let noise = Skellam::new(150_000.0).unwrap();
    let mut samples = vec![0; 20_000];
    noise.fill(&mut Generator::from_seed([4; 32]), &mut samples);
    let variance = samples.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / samples.len() as f64;
    assert!((variance / 150_000.0 - 1.0).abs() < 0.05, "{variance}");
}

#[test]
fn noise_that_cannot_be_is_refused_and_the_widest_is_made() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
        assert!(matches!(DiscreteGaussian::new(value), Err(NoiseError::Range { .. })), "{value}");
        assert!(DiscreteLaplace::new(value).is_err() && Skellam::new(value).is_err(), "{value}");
    }
    let widest = DiscreteGaussian::new(2_f64.powi(40)).unwrap();
    let mut samples = vec![0; 1000];
    widest.fill(&mut Generator::from_seed([9; 32]), &mut samples);
    let deviation = (samples.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / 1000.0).sqrt();
    assert!((deviation / 2_f64.powi(40) - 1.0).abs() < 0.15, "{deviation}");
    // Adding keeps what is there.
    let mut numbers = [1_000_i64; 5];
    DiscreteGaussian::new(0.05).unwrap().add(&mut Generator::from_seed([1; 32]), &mut numbers);
    assert_eq!(numbers, [1_000; 5]);
}
