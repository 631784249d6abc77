//! The consumer's part: additive shares of its input, and the sum of the shares of the answer.

use crate::ring::prg::{Label, Prg, Seed};

/// Splits an input into the shares of the first and the second evaluator; `seed` is fresh for each job.
pub fn share_inputs(inputs: &[Vec<i32>], seed: &Seed) -> [Vec<Vec<u32>>; 2] {
    let mut shares = [Vec::new(), Vec::new()];
    for (index, input) in inputs.iter().enumerate() {
        let mut mask = vec![0; input.len()];
        Prg::new(seed, Label::Input(index as u32)).fill_words(4, &mut mask);
        shares[1].push(input.iter().zip(&mask).map(|(x, r)| (*x as u32).wrapping_sub(*r)).collect());
        shares[0].push(mask);
    }
    shares
}

/// Adds both evaluators' shares of the outputs; `None` when their shapes differ.
pub fn combine_outputs(first: &[Vec<u32>], second: &[Vec<u32>]) -> Option<Vec<Vec<i32>>> {
    if first.len() != second.len() || first.iter().zip(second).any(|(a, b)| a.len() != b.len()) {
        return None;
    }
    let add = |(a, b): (&Vec<u32>, &Vec<u32>)| a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b) as i32).collect();
    Some(first.iter().zip(second).map(add).collect())
}
