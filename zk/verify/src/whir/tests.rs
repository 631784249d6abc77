use p3_sumcheck::PrescribedPointPcs;

use super::*;
use crate::field::DEGREE;

/// Of a chance of `2^-bits`, times as many.
fn sum(bits: impl Iterator<Item = f64>) -> f64 {
    -bits.map(|bits| (-bits).exp2()).sum::<f64>().log2()
}

#[test]
fn four_openings_of_any_size_leave_more_than_a_hundred_bits() {
    for variables in MIN_VARIABLES..=MAX_VARIABLES {
        let scheme = scheme(variables, Radix2DFTSmallBatch::default()).unwrap();
        let security = scheme.prescribed_security(&protocol(variables)).unwrap();
        let bits = sum(security.terms.iter().map(|term| term.bits.bits()));
        let four = sum([bits; 4].into_iter());
        assert!(four > 100.0, "{variables} variables: {four} bits");
        // Polynomials that a commitment leaves open until it is opened.
        assert!(security.log2_max_candidates <= 5.0, "{variables}: 2^{}", security.log2_max_candidates);
        // Everything before the opening is paid for each choice of four.
        let field = 31.0f64.mul_add(DEGREE as f64, -1.0);
        assert!(field - 40.0 - 4.0 * security.log2_max_candidates > 180.0);
        let config = config(variables).unwrap();
        let most = config.round_parameters().iter().map(|round| round.pow_bits).max().unwrap_or(0);
        assert!(most.max(config.terminal().pow_bits) <= GRINDING_BITS, "{variables}");
    }
}

#[test]
fn the_schedule_is_the_same_on_every_machine() {
    let described = |variables: usize| {
        let config = config(variables).unwrap();
        let rounds = config.round_parameters().iter();
        let rounds: Vec<_> = rounds.map(|r| (r.num_queries, r.ood_samples, r.pow_bits, r.folding_pow_bits)).collect();
        (config.folding_schedule().len(), rounds, config.terminal().num_queries, config.terminal().pow_bits)
    };
    let (first, second, third) = ((224, 1, 16, 0), (50, 1, 16, 0), (28, 1, 16, 0));
    assert_eq!(described(8), (1, vec![], 224, 16));
    assert_eq!(described(14), (2, vec![first], 50, 16));
    assert_eq!(described(18), (3, vec![first, second], 28, 16));
    assert_eq!(described(22), (4, vec![first, second, third], 20, 14));
    assert_eq!(described(26), (5, vec![first, second, third, (20, 1, 14, 0)], 15, 16));
}

#[test]
fn other_sizes_are_refused_by_name() {
    for variables in [0, MIN_VARIABLES - 1, MAX_VARIABLES + 1, usize::MAX] {
        assert_eq!(config(variables).map(|_| ()).unwrap_err(), OpeningError::Size(variables));
    }
}
