//! Where noise comes from.

use crate::noise::{DiscreteGaussian, Generator};

/// Independent integers of one distribution.
pub trait Noise {
    /// Overwrites every number.
    fn fill(&mut self, values: &mut [i64]);
}

impl Noise for (DiscreteGaussian, Generator) {
    fn fill(&mut self, values: &mut [i64]) {
        let (gaussian, generator) = self;
        gaussian.fill(generator, values);
    }
}
