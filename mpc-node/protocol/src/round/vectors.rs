//! What the vectors of a round are, how many are checked at a time, and how a provider shares its own.

use crate::compare::Circuit;
use crate::ring::bits::WORDS;
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::Secret;
use crate::ring::words;

/// Most coordinates of a vector.
pub const MOST_DIMENSION: u32 = 1 << 20;
/// Most bits of a coordinate: with 2²⁰ of them the sum of squares is at most 2⁵⁰.
pub const MOST_BITS: u8 = 16;
/// Most vectors that are checked at a time.
pub const MOST_VECTORS: usize = 64 * WORDS;
/// Coordinates that are checked at a time, if one vector has not more.
const BATCH: usize = 1 << 17;
/// Greatest bound of a sum of squares.
const MOST_BOUND: u64 = 1 << 50;
/// Bits of the difference between bound and sum of squares, in two's complement.
pub(super) const DIFFERENCE_BITS: u32 = 52;
/// Bits of its lower half; the upper one has as many without the sign, and one more is compared for the carry.
pub(super) const LOW_BITS: u32 = 26;

/// Why there is no such round.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RoundError {
    /// A number that is not in its range.
    #[error("{what} of the round is {value}, and must be {range}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The sum could leave 32 bits.
    #[error(
        "the sum of {vectors} vectors with coordinates up to {greatest} and noise of variance {variance} from each node \
         can leave 32 bits: fewer providers, fewer bits or less noise"
    )]
    Wraps {
        /// How many vectors at most.
        vectors: usize,
        /// The greatest coordinate.
        greatest: u64,
        /// Variance of one node's noise.
        variance: f64,
    },
    /// The peer's frame, the shares or the corrections have another length.
    #[error("{what} of a round has {found} elements, {expected} were expected")]
    Length {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Called again after the end.
    #[error("this part of the round has already ended")]
    Finished,
}

/// What the vectors of a round are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    dimension: u32,
    bits: u8,
    bound: u64,
}

impl Vectors {
    /// Of `dimension` coordinates (1 to 2²⁰) of `bits` bits in two's complement (2 to 16), with a sum of squares of at most
    /// `bound` (1 to 2⁵⁰).
    ///
    /// # Errors
    /// [`RoundError::Range`].
    pub fn new(dimension: u32, bits: u8, bound: u64) -> Result<Self, RoundError> {
        let check = |ok, what, value, range| if ok { Ok(()) } else { Err(RoundError::Range { what, value, range }) };
        check((1..=MOST_DIMENSION).contains(&dimension), "the dimension", dimension.into(), "from 1 to 2^20")?;
        check((2..=MOST_BITS).contains(&bits), "the bits of a coordinate", bits.into(), "from 2 to 16")?;
        check((1..=MOST_BOUND).contains(&bound), "the bound of the squared norm", bound as f64, "from 1 to 2^50")?;
        Ok(Self { dimension, bits, bound })
    }

    /// How many coordinates.
    pub fn dimension(&self) -> usize {
        self.dimension as usize
    }

    /// Bits of a coordinate.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The greatest sum of squares.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// The greatest magnitude of a coordinate of a vector that is accepted.
    pub fn greatest(&self) -> u64 {
        (1 << (self.bits - 1)).min(self.bound.isqrt())
    }

    /// Bytes of a coordinate's share.
    pub fn width(&self) -> usize {
        words::width(self.bits)
    }

    /// Bytes of a vector's share as it is sent: whole bytes for each coordinate.
    pub fn share_bytes(&self) -> usize {
        self.width() * self.dimension()
    }

    /// How many vectors are checked at a time: fixed by what they are, so that all three nodes agree.
    pub fn at_a_time(&self) -> usize {
        (BATCH / self.dimension()).clamp(1, MOST_VECTORS)
    }

    /// Bytes that the helper deals to the second evaluator for checking so many vectors, at most [`MOST_VECTORS`].
    pub fn correction_len(&self, vectors: usize) -> usize {
        let coordinates = vectors * self.dimension();
        let words = vectors.div_ceil(64);
        let lifting = self.lifting().corrections(coordinates) as usize + 24 * coordinates;
        let norms = 8 * 64 * words + Self::halves().corrections(3 * 64 * words) as usize + 2 * 8 * words;
        lifting + norms
    }

    /// Bytes of memory that a check of so many vectors takes at a node, at most.
    pub fn check_memory(&self, vectors: usize) -> u64 {
        // Shares, masks, opened values, bits and lifted shares, and the corrections.
        64 * (vectors * self.dimension()) as u64 + self.correction_len(vectors) as u64 + (1 << 20)
    }

    /// The comparison that lifts a share.
    pub(super) fn lifting(&self) -> &'static Circuit {
        Circuit::of(self.bits)
    }

    /// The comparison of the halves of a difference.
    pub(super) fn halves() -> &'static Circuit {
        Circuit::of(LOW_BITS as u8)
    }
}

/// The first evaluator's share of a vector: that of a seed which the provider draws afresh for each round.
pub fn share_from_seed(vectors: &Vectors, seed: &Seed) -> Secret<u32> {
    let mut words = Secret::from(vec![0; vectors.dimension()]);
    Prg::new(seed, Label::Input(0)).fill_words(vectors.width(), &mut words);
    let low = words::low_bits(vectors.bits);
    words.iter_mut().for_each(|word| *word &= low);
    words
}

/// The second evaluator's share of a vector, of which the first has the seed. What of a coordinate is beyond its bits is lost.
pub fn share(vectors: &Vectors, vector: &[i32], seed: &Seed) -> Secret<u32> {
    let mut words = share_from_seed(vectors, seed);
    let low = words::low_bits(vectors.bits);
    words.iter_mut().zip(vector).for_each(|(word, x)| *word = (*x as u32).wrapping_sub(*word) & low);
    words
}
