//! An evaluator's share of the noisy sum, until it is opened.

use super::check::Checked;
use super::vectors::{RoundError, Vectors};
use crate::ring::secret::Secret;
use crate::ring::words;

/// One evaluator's share of the sum of the accepted vectors and of noise, modulo 2³². Opened once: [`Sum::open`] takes it.
pub struct Sum {
    share: Secret<u32>,
    dimension: usize,
}

impl Sum {
    /// Of nothing yet.
    pub fn new(vectors: &Vectors) -> Self {
        Self { share: vec![0; vectors.dimension()].into(), dimension: vectors.dimension() }
    }

    /// Adds those of the checked vectors that were accepted.
    pub fn add_accepted(&mut self, checked: &Checked) {
        let lifted = checked.lifted.chunks(self.dimension);
        for (vector, _) in lifted.zip(&checked.accepted).filter(|(_, accepted)| **accepted) {
            self.add(vector);
        }
    }

    /// Adds noise: the evaluator's own, or its share of the helper's.
    pub fn add(&mut self, words: &[u32]) {
        self.share.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
    }

    /// The frame for the other evaluator.
    pub fn frame(&self) -> Secret<u8> {
        let mut out = Vec::with_capacity(4 * self.share.len());
        words::encode(4, &self.share, &mut out);
        out.into()
    }

    /// The opened sum, from the other evaluator's frame.
    ///
    /// # Errors
    /// [`RoundError::Length`] when the frame is not of that many words.
    pub fn open(mut self, frame: &[u8]) -> Result<Vec<i32>, RoundError> {
        let expected = 4 * self.share.len();
        if frame.len() != expected {
            return Err(RoundError::Length { what: "the share of a sum", found: frame.len(), expected });
        }
        words::decode_add(4, frame, &mut self.share);
        Ok(self.share.iter().map(|word| *word as i32).collect())
    }
}
