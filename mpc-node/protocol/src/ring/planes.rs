//! Bit planes: 64 elements a word, one plane a bit, in chunks that stay in the first-level cache.

/// Words of one plane of one chunk.
pub const WORDS: usize = 32;
/// Elements of one chunk.
pub const CHUNK: usize = 64 * WORDS;
/// One bit of each element of a chunk.
pub type Plane = [u64; WORDS];
/// A plane of zeros.
pub const ZERO: Plane = [0; WORDS];
