//! Where noise comes from.

/// Independent integers of one distribution.
pub trait Noise {
    /// Overwrites every number.
    fn fill(&mut self, values: &mut [i64]);
}
