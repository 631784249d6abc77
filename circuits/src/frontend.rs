//! What runs on the client: text to integer inputs, integer outputs to an embedding.
//!
//! Tokens, the embedding sum and the first normalisation are integers only, and decoding adds in a fixed order, so a
//! plain run and a run on shares print the same bytes on every machine.

use crate::bytes::{DecodeError, Reader, Writer};
use crate::hf::{CompileError, Parameters, tokenizer};
use std::path::Path;

/// Padded lengths a model is compiled for, as far as its positions reach.
pub const BUCKETS: [u32; 6] = [16, 32, 64, 128, 256, 512];
/// Longest text that is accepted, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// Fractional bits of a normalised row of unit length.
const UNIT: u32 = 13;

const MAGIC: &[u8; 8] = b"SHFRONT\0";
const VERSION: u16 = 1;

/// Why a text cannot be embedded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Nothing to embed: a model without special tokens has none for a blank text.
    #[error("the text is blank, and this model has no answer for that: give at least one word")]
    Empty,
    /// Too long.
    #[error("the text has {bytes} bytes, more than the limit of {MAX_TEXT}: split it into passages")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The tokenizer failed.
    #[error("cannot tokenize the text: {0}")]
    Tokenizer(String),
    /// A token that the model has no embedding for.
    #[error("token {0} is not in the model's vocabulary: tokenizer.json and model.safetensors do not belong together")]
    Vocabulary(u32),
}

/// A text as the inputs of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Tokens, special ones included.
    pub tokens: usize,
    /// Padded length: which graph to run.
    pub bucket: u32,
    /// One tensor per input of the graph.
    pub inputs: Vec<Vec<i32>>,
    /// Whether the text was longer than the model reads, and its end was dropped.
    pub truncated: bool,
}

/// How long a text is for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Tokens that the model reads, special ones included.
    pub tokens: usize,
    /// Whether the text is longer, and its end would be dropped.
    pub truncated: bool,
}

/// Tokenizer and integer embeddings of a model.
pub struct Frontend {
    tokenizer: tokenizers::Tokenizer,
    tokenizer_json: Vec<u8>,
    hidden: usize,
    max_positions: usize,
    /// What masks a padding key, in score steps.
    mask: u32,
    words: Vec<i16>,
    positions: Vec<i16>,
    token_type: Vec<i16>,
}

/// Most tokens a model with so many positions is run with.
pub(crate) fn max_tokens(max_positions: usize) -> usize {
    buckets(max_positions).last().copied().unwrap_or(BUCKETS[0]) as usize
}

fn buckets(max_positions: usize) -> impl DoubleEndedIterator<Item = &'static u32> {
    BUCKETS.iter().filter(move |&&b| b as usize <= max_positions)
}

impl Frontend {
    pub(crate) fn new(p: &Parameters, mask: u32, path: &Path, tokenizer_json: Vec<u8>) -> Result<Self, CompileError> {
        let max_positions = p.config.max_position_embeddings;
        let tables = [&p.words, &p.positions, &p.token_type];
        let largest = tables.iter().flat_map(|t| t.iter()).fold(0f32, |m, x| m.max(x.abs()));
        // As many fractional bits as fit 16-bit words; the first norm removes the scale again.
        let fraction = (0..=20).rev().find(|&f| f64::from(largest) * 2f64.powi(f) < 32767.0).unwrap_or(0);
        let ints = |t: &[f32]| t.iter().map(|&x| (f64::from(x) * 2f64.powi(fraction)).round() as i16).collect();
        Ok(Self {
            tokenizer: tokenizer(path, &tokenizer_json, max_tokens(max_positions))?,
            tokenizer_json,
            hidden: p.config.hidden_size,
            max_positions,
            mask,
            words: ints(&p.words),
            positions: ints(&p.positions),
            token_type: ints(&p.token_type),
        })
    }

    /// The padded lengths, ascending.
    pub fn buckets(&self) -> Vec<u32> {
        buckets(self.max_positions).copied().collect()
    }

    /// Most tokens that are read of a text, special ones included.
    pub fn max_tokens(&self) -> usize {
        max_tokens(self.max_positions)
    }

    /// Elements of an embedding.
    pub fn dimensions(&self) -> usize {
        self.hidden
    }

    /// Tokenises and embeds a text, ready to be shared.
    pub fn encode(&self, text: &str) -> Result<Encoded, EncodeError> {
        let (ids, truncated) = self.tokenize(text)?;
        self.encode_tokens(&ids, truncated)
    }

    /// How long a text is, by its tokens alone.
    ///
    /// # Errors
    /// As [`Self::encode`], but for tokens without an embedding.
    pub fn length(&self, text: &str) -> Result<Length, EncodeError> {
        self.tokenize(text).map(|(ids, truncated)| Length { tokens: ids.len(), truncated })
    }

    /// The text that token numbers of this model stand for, without its special tokens; none if one is unknown.
    pub fn text_of(&self, ids: &[u32]) -> Option<String> {
        ids.iter().all(|&id| self.tokenizer.id_to_token(id).is_some()).then_some(())?;
        self.tokenizer.decode(ids, true).ok()
    }

    fn tokenize(&self, text: &str) -> Result<(Vec<u32>, bool), EncodeError> {
        if text.len() > MAX_TEXT {
            return Err(EncodeError::TooLong { bytes: text.len() });
        }
        let encoding = self.tokenizer.encode(text, true).map_err(|e| EncodeError::Tokenizer(e.to_string()))?;
        if encoding.get_ids().is_empty() {
            return Err(EncodeError::Empty);
        }
        Ok((encoding.get_ids().to_vec(), !encoding.get_overflowing().is_empty()))
    }

    fn encode_tokens(&self, ids: &[u32], truncated: bool) -> Result<Encoded, EncodeError> {
        let tokens = ids.len();
        let fits = buckets(self.max_positions).find(|&&b| b as usize >= tokens);
        let bucket = *fits.filter(|_| tokens > 0).ok_or_else(|| EncodeError::Tokenizer(format!("{tokens} tokens")))?;
        let mut embedding = vec![0; bucket as usize * self.hidden];
        for ((position, &id), out) in ids.iter().enumerate().zip(embedding.chunks_exact_mut(self.hidden)) {
            let word = row(&self.words, id as usize, self.hidden).ok_or(EncodeError::Vocabulary(id))?;
            let place = row(&self.positions, position, self.hidden).ok_or(EncodeError::Vocabulary(id))?;
            normalised(word, place, &self.token_type, out);
        }
        let mut key_mask = vec![-(self.mask as i32); bucket as usize];
        let mut pool_mask = vec![0; bucket as usize];
        key_mask[..tokens].fill(0);
        pool_mask[..tokens].fill(1);
        Ok(Encoded { tokens, bucket, inputs: vec![embedding, key_mask, pool_mask], truncated })
    }

    /// The embedding of unit length that a graph's outputs stand for.
    pub fn decode(&self, outputs: &[Vec<i32>]) -> Vec<f32> {
        let Some(output) = outputs.first() else { return Vec::new() };
        let mut square = 0.0f64;
        for &x in output {
            square += f64::from(x) * f64::from(x);
        }
        let length = square.sqrt().max(f64::MIN_POSITIVE);
        output.iter().map(|&x| (f64::from(x) / length) as f32).collect()
    }

    pub(crate) fn tokenizer_json(&self) -> &[u8] {
        &self.tokenizer_json
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC, VERSION);
        out.u32(self.hidden as u32);
        out.u32(self.max_positions as u32);
        out.u32(self.mask);
        for table in [&self.words, &self.positions, &self.token_type] {
            out.u32((table.len() / self.hidden) as u32);
            for x in table {
                out.raw(&x.to_le_bytes());
            }
        }
        out.finish_with_digest()
    }

    pub(crate) fn from_bytes(bytes: &[u8], path: &Path, tokenizer_json: Vec<u8>) -> Result<Self, FrontendError> {
        let mut input = Reader::with_digest("frontend file", bytes, MAGIC, VERSION)?;
        let hidden = input.count("hidden channels", 4096)?.max(1);
        let max_positions = input.count("positions", 8192)?;
        let mask = input.u32()?;
        let mut table = || {
            let rows = input.count("rows", 1 << 20)?;
            let bytes = input.raw(rows * hidden * 2)?;
            Ok::<Vec<i16>, DecodeError>(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
        };
        let (words, positions, token_type) = (table()?, table()?, table()?);
        if token_type.len() != hidden || positions.len() != max_positions * hidden || max_positions < 16 {
            return Err(input.invalid("table size").into());
        }
        input.finish()?;
        let tokenizer = tokenizer(path, &tokenizer_json, max_tokens(max_positions))?;
        Ok(Self { tokenizer, tokenizer_json, hidden, max_positions, mask, words, positions, token_type })
    }
}

/// Why a stored frontend cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontendError {
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    #[error(transparent)]
    Tokenizer(#[from] CompileError),
}

fn row(table: &[i16], index: usize, width: usize) -> Option<&[i16]> {
    table.get(index.checked_mul(width)?..(index + 1).checked_mul(width)?)
}

/// The centred sum of the three embeddings, scaled to length `2^UNIT`, rounded half up.
fn normalised(word: &[i16], position: &[i16], token_type: &[i16], out: &mut [i32]) {
    let sums =
        word.iter().zip(position).zip(token_type).map(|((&w, &p), &t)| i64::from(w) + i64::from(p) + i64::from(t));
    let sums: Vec<i64> = sums.collect();
    let total: i64 = sums.iter().sum();
    let centred: Vec<i64> = sums.iter().map(|s| s * sums.len() as i64 - total).collect();
    let square: u128 = centred.iter().map(|&c| u128::from(c.unsigned_abs()).pow(2)).sum();
    if square == 0 {
        return;
    }
    // The length with 16 fractional bits; at most 2^32 · 4096 · 2^6 before the root, far from overflow.
    let length = (square << 32).isqrt() as i128;
    for (o, c) in out.iter_mut().zip(centred) {
        let scaled = i128::from(c) << (UNIT + 16);
        *o = (2 * scaled + length).div_euclid(2 * length) as i32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_rows_have_the_right_length_and_no_mean() {
        let word: Vec<i16> = (0..96).map(|i| ((i * 7919) % 601 - 300) as i16).collect();
        let zeros = vec![0; 96];
        let mut out = vec![0; 96];
        normalised(&word, &zeros, &zeros, &mut out);
        let length = out.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        assert!((length - 8192.0).abs() < 6.0, "{length}");
        assert!(out.iter().sum::<i32>().abs() < 48);
        normalised(&zeros, &zeros, &zeros, &mut out[..]);
        let extreme = vec![i16::MAX; 96];
        let mut low = vec![i16::MIN; 96];
        low[0] = i16::MAX;
        normalised(&low, &low, &low, &mut out);
        assert!(out[0] > 8100 && out[1] < 0);
        let mut flat = vec![0; 96];
        normalised(&extreme, &extreme, &extreme, &mut flat);
        assert_eq!(flat, [0; 96]);
    }
}
