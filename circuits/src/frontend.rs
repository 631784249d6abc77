//! What runs on the client: text to integer inputs, integer outputs to an answer.
//!
//! Tokens, the embedding sum and the first normalisation are integers only, and decoding adds in a fixed order, so a
//! plain run and a run on shares print the same bytes on every machine.

mod answer;
mod charsmap;
#[cfg(feature = "compile")]
mod compiled;
mod pooling;
pub(crate) mod rows;
pub(crate) mod settings;
mod stored;
pub(crate) mod tokenizer;

pub use answer::{Answer, Classes};
pub(crate) use answer::{Divisor, Output};
#[cfg(feature = "compile")]
pub(crate) use compiled::Compiled;
pub(crate) use pooling::{PoolInput, Weighting};
use settings::{Column, PositionRule, Text};
pub use settings::{Label, LabelFunction, Prompt};
use std::borrow::Cow;
pub(crate) use stored::FrontendError;
use tokenizers::{EncodeInput, Encoding};

/// Padded lengths a model is compiled for, as far as it reads.
pub const BUCKETS: [u32; 6] = [16, 32, 64, 128, 256, 512];
/// Longest text that is accepted, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// Fractional bits of a normalised row of unit length.
const UNIT: u32 = 13;

/// Why a text cannot be embedded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// No prompt of this name.
    #[error("the model has no prompt named {asked:?}: {known}")]
    Prompt {
        /// The name asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// The prompt alone is longer than the model reads.
    #[error("the prompt leaves no room for the text")]
    NoRoom,
    /// A row of another table.
    #[error("the row has {found} cells, the model reads {columns} between commas: {names}")]
    Row {
        /// Its cells.
        found: usize,
        /// Those that the model reads.
        columns: usize,
        /// What the first of these are called.
        names: String,
    },
    /// Something that only a text has.
    #[error("the model reads rows of a table, which have no {0}")]
    NoText(&'static str),
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
    /// Tokens that take part in pooling.
    pub pooled: usize,
}

/// How long a text is for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Tokens that the model reads, special ones included.
    pub tokens: usize,
    /// Whether the text is longer, and a part of it would be dropped.
    pub truncated: bool,
}

/// Tokenizer and integer embeddings of a model.
pub struct Frontend {
    /// The columns of a row, of a model that reads rows and no text: then nothing below counts but the output.
    rows: Option<Vec<Column>>,
    tokenizer: tokenizers::Tokenizer,
    tokenizer_json: Vec<u8>,
    hidden: usize,
    text: Text,
    position_rule: PositionRule,
    /// What masks a padding key, in score steps.
    mask: u32,
    /// Width of the input that selects the bias of each distance, if the model has one.
    relative: Option<u32>,
    pools: Vec<PoolInput>,
    output: Output,
    words: Vec<i16>,
    positions: Vec<i16>,
    /// One row for each token type.
    segments: Vec<i16>,
}

/// The padded lengths of a model that reads so many tokens.
pub(crate) fn buckets(max_tokens: usize) -> impl DoubleEndedIterator<Item = u32> {
    let last = BUCKETS.iter().position(|&b| b as usize >= max_tokens).unwrap_or(BUCKETS.len() - 1);
    BUCKETS[..=last].iter().copied()
}

/// The longest of them.
pub(crate) fn longest_bucket(max_tokens: usize) -> u32 {
    buckets(max_tokens).next_back().unwrap_or(BUCKETS[0])
}

impl Frontend {
    /// Whether an answer takes the largest value of each channel.
    pub(crate) fn pools_largest(&self) -> bool {
        self.pools.iter().any(|pool| matches!(pool, PoolInput::Max(_)))
    }

    /// The padded lengths, ascending.
    pub fn buckets(&self) -> Vec<u32> {
        if self.rows.is_some() {
            return vec![1];
        }
        buckets(self.text.max_tokens).collect()
    }

    /// Most tokens that are read of a text, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.text.max_tokens
    }

    /// Elements of an answer.
    pub fn dimensions(&self) -> usize {
        self.output.width
    }

    /// The classes, if the model is a classifier and not an embedding model.
    pub fn classes(&self) -> Option<&Classes> {
        match &self.output.answer {
            Answer::Labels(classes) => Some(classes),
            Answer::Vector { .. } => None,
        }
    }

    /// The form of an answer.
    #[cfg(feature = "compile")]
    pub(crate) fn answer(&self) -> &Answer {
        &self.output.answer
    }

    /// Whether another one makes the same inputs of every text.
    #[cfg(feature = "compile")]
    pub(crate) fn asks_alike(&self, other: &Self) -> bool {
        let Ok(mut copy) = self.copy() else { return false };
        copy.output = other.output.clone();
        copy.to_bytes() == other.to_bytes() && self.tokenizer_json == other.tokenizer_json
    }

    /// The same for a vote: one number for each label, 1 where it has won.
    ///
    /// # Errors
    /// When the tokenizer cannot be read again.
    #[cfg(feature = "compile")]
    pub(crate) fn voting(&self) -> Result<Self, FrontendError> {
        let mut copy = self.copy()?;
        if let Answer::Labels(classes) = &mut copy.output.answer {
            (classes.function, classes.relevance) = (LabelFunction::Identity, LabelFunction::Identity);
            copy.output.width = classes.labels.len();
        }
        (copy.output.scale, copy.output.divisor) = (1.0, Divisor::One);
        copy.output.activation = settings::Activation::Identity;
        Ok(copy)
    }

    #[cfg(feature = "compile")]
    fn copy(&self) -> Result<Self, FrontendError> {
        Self::from_bytes(&self.to_bytes(), self.tokenizer_json.clone())
    }

    /// The texts that the model's authors put before others, by name.
    pub fn prompts(&self) -> &[Prompt] {
        &self.text.prompts
    }

    /// The name of the prompt that is used when none is asked for.
    pub fn default_prompt(&self) -> Option<&str> {
        self.text.default_prompt.as_deref()
    }

    /// Tokenises and embeds a text with the default prompt, ready to be shared.
    ///
    /// # Errors
    /// If the text is empty, too long in bytes, or cannot be tokenised.
    pub fn encode(&self, text: &str) -> Result<Encoded, EncodeError> {
        self.encode_prompted(text, None)
    }

    /// [`Frontend::encode`] with a prompt by name; `None` means the default one.
    ///
    /// # Errors
    /// As for [`Frontend::encode`], and if there is no such prompt.
    pub fn encode_prompted(&self, text: &str, prompt: Option<&str>) -> Result<Encoded, EncodeError> {
        if let Some(columns) = &self.rows {
            return row_of(columns, text, prompt);
        }
        let (encoding, prompt) = self.tokenized(text, prompt)?;
        self.encode_tokens(&encoding, prompt, 0)
    }

    /// [`Frontend::encode`], padded to at least so many tokens: a shorter text does not show by its padded length.
    ///
    /// # Errors
    /// As for [`Frontend::encode`].
    pub fn encode_padded(&self, text: &str, least: u32) -> Result<Encoded, EncodeError> {
        if let Some(columns) = &self.rows {
            return row_of(columns, text, None);
        }
        let (encoding, prompt) = self.tokenized(text, None)?;
        self.encode_tokens(&encoding, prompt, least)
    }

    /// How long a text with its prompt is, by its tokens alone.
    ///
    /// # Errors
    /// As [`Self::encode_prompted`], but for tokens without an embedding.
    pub fn length(&self, text: &str, prompt: Option<&str>) -> Result<Length, EncodeError> {
        if let Some(columns) = &self.rows {
            return row_of(columns, text, prompt).map(|row| Length { tokens: row.tokens, truncated: false });
        }
        self.tokenized(text, prompt).map(|(encoding, _)| length(&encoding))
    }

    /// How long two texts are together, by their tokens alone.
    ///
    /// # Errors
    /// As [`Self::encode_pair`], but for tokens without an embedding.
    pub fn length_of_pair(&self, text: &str, pair: &str) -> Result<Length, EncodeError> {
        self.tokenized_pair(text, pair).map(|encoding| length(&encoding))
    }

    /// The text that token numbers of this model stand for, without its special tokens; none if one is unknown.
    pub fn text_of(&self, ids: &[u32]) -> Option<String> {
        self.rows.is_none().then_some(())?;
        ids.iter().all(|&id| self.tokenizer.id_to_token(id).is_some()).then_some(())?;
        self.tokenizer.decode(ids, true).ok()
    }

    /// Tokenises and embeds two texts that belong together, such as a question and a passage.
    ///
    /// # Errors
    /// As for [`Frontend::encode`].
    pub fn encode_pair(&self, text: &str, pair: &str) -> Result<Encoded, EncodeError> {
        self.encode_tokens(&self.tokenized_pair(text, pair)?, 0, 0)
    }

    pub(crate) fn tokenized_pair(&self, text: &str, pair: &str) -> Result<Encoding, EncodeError> {
        if self.rows.is_some() {
            return Err(EncodeError::NoText("second part"));
        }
        check(text)?;
        check(pair)?;
        let (text, pair) = (self.cleaned(text), self.cleaned(pair));
        let most = tokenizer::most_tokens(&text) + tokenizer::most_tokens(&pair);
        self.tokens((text, pair).into(), most)
    }

    /// The tokens of a text, and how many of them are the prompt's where those are left out of pooling.
    pub(crate) fn tokenized(&self, text: &str, prompt: Option<&str>) -> Result<(Encoding, usize), EncodeError> {
        check(text)?;
        let prompt = self.prompt(prompt)?;
        let whole = match prompt {
            "" => Cow::Borrowed(text),
            prompt => Cow::Owned(format!("{prompt}{text}")),
        };
        let tokens = |text: &str| {
            let text = self.cleaned(text);
            let most = tokenizer::most_tokens(&text);
            self.tokens(text.into(), most)
        };
        let skip = match self.text.include_prompt || prompt.is_empty() {
            true => 0,
            // The closing special token does not belong to the prompt.
            false => {
                let alone = tokens(prompt)?;
                alone.len().saturating_sub(1) + usize::from(alone.get_special_tokens_mask().last() == Some(&0))
            }
        };
        Ok((tokens(&whole)?, skip))
    }

    /// The tokens of a text or of a pair, of which at most so many are not special ones.
    fn tokens(&self, input: EncodeInput<'_>, most: usize) -> Result<Encoding, EncodeError> {
        let encoding = self.tokenizer.encode(input, true).map_err(|e| EncodeError::Tokenizer(e.to_string()))?;
        let made = encoding.get_special_tokens_mask().iter().filter(|special| **special == 0).count();
        if made > most {
            return Err(EncodeError::Tokenizer(format!(
                "the model's tokenizer makes {made} tokens where {most} can be"
            )));
        }
        Ok(encoding)
    }

    fn prompt(&self, name: Option<&str>) -> Result<&str, EncodeError> {
        let prompts = &self.text.prompts;
        let Some(wanted) = name.or(self.text.default_prompt.as_deref()) else { return Ok("") };
        prompts.iter().find(|p| p.name == wanted).map(|p| p.text.as_str()).ok_or_else(|| {
            let names: Vec<&str> = prompts.iter().map(|p| p.name.as_str()).collect();
            let known = match names.is_empty() {
                true => "it has none".to_owned(),
                false => format!("it has {}", names.join(", ")),
            };
            EncodeError::Prompt { asked: wanted.to_owned(), known }
        })
    }

    /// What the folder's settings do to a text before the tokenizer sees it.
    fn cleaned<'t>(&self, text: &'t str) -> Cow<'t, str> {
        // Python's idea of white space has four control characters more.
        let blank = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
        let text = if self.text.strip { text.trim_matches(blank) } else { text };
        match self.text.lower_case {
            true => Cow::Owned(text.to_lowercase()),
            false => Cow::Borrowed(text),
        }
    }

    /// The token type of each token, as the model is given them.
    pub(crate) fn token_types<'e>(&self, encoding: &'e Encoding) -> Cow<'e, [u32]> {
        match self.text.segments {
            true => Cow::Borrowed(encoding.get_type_ids()),
            false => Cow::Owned(vec![0; encoding.len()]),
        }
    }

    #[cfg(feature = "float")]
    pub(crate) fn position_rule(&self) -> PositionRule {
        self.position_rule
    }

    fn encode_tokens(&self, encoding: &Encoding, skip: usize, least: u32) -> Result<Encoded, EncodeError> {
        let ids = encoding.get_ids();
        let (tokens, truncated) = (ids.len(), !encoding.get_overflowing().is_empty());
        if tokens == 0 {
            return Err(EncodeError::Empty);
        }
        let fits = buckets(self.text.max_tokens).find(|&b| b as usize >= tokens && b >= least);
        let bucket = fits.ok_or_else(|| EncodeError::Tokenizer(format!("{tokens} tokens")))?;
        let zeros = vec![0; self.hidden];
        let mut embedding = vec![0; bucket as usize * self.hidden];
        let places = self.position_rule.rows(ids);
        let types = self.token_types(encoding);
        let rows = ids.iter().zip(&places).zip(types.iter()).zip(embedding.chunks_exact_mut(self.hidden));
        for (((&id, &place), &kind), out) in rows {
            let word = row(&self.words, id as usize, self.hidden).ok_or(EncodeError::Vocabulary(id))?;
            let place = row(&self.positions, place, self.hidden).ok_or(EncodeError::Vocabulary(id))?;
            let kind = match self.segments.is_empty() {
                true => &zeros,
                false => row(&self.segments, kind as usize, self.hidden).ok_or(EncodeError::Vocabulary(id))?,
            };
            normalised(word, place, kind, out);
        }
        let mut key_mask = vec![-(self.mask as i32); bucket as usize];
        key_mask[..tokens].fill(0);
        let mut inputs = vec![embedding, key_mask];
        if let Some(width) = self.relative {
            let mut select = vec![0; bucket as usize * width as usize];
            select.chunks_exact_mut(width as usize).enumerate().for_each(|(place, row)| row[place] = 1);
            inputs.push(select);
        }
        let pooled = tokens.checked_sub(skip).filter(|&n| n > 0).ok_or(EncodeError::NoRoom)?;
        for pool in &self.pools {
            inputs.extend(pool.inputs(bucket as usize, skip..tokens, self.hidden));
        }
        Ok(Encoded { tokens, bucket, inputs, truncated, pooled })
    }

    /// The answer that a graph's outputs stand for: a vector, or the outputs of a classifier.
    pub fn decode(&self, encoded: &Encoded, outputs: &[Vec<i32>]) -> Vec<f32> {
        outputs.first().map_or_else(Vec::new, |output| self.output.decode(output, encoded.pooled))
    }

    /// The tokenizer, as a `tokenizer.json` with every setting of the model in it.
    pub fn tokenizer_json(&self) -> &[u8] {
        &self.tokenizer_json
    }
}

/// A row as the input of a graph.
fn row_of(columns: &[Column], row: &str, prompt: Option<&str>) -> Result<Encoded, EncodeError> {
    check(row)?;
    match prompt {
        Some(_) => Err(EncodeError::NoText("prompt")),
        None => Ok(Encoded {
            tokens: 1,
            bucket: 1,
            inputs: vec![rows::integers(columns, row)?],
            truncated: false,
            pooled: 1,
        }),
    }
}

fn check(text: &str) -> Result<(), EncodeError> {
    match text.len() {
        bytes if bytes > MAX_TEXT => Err(EncodeError::TooLong { bytes }),
        _ => Ok(()),
    }
}

fn length(encoding: &Encoding) -> Length {
    Length { tokens: encoding.len(), truncated: !encoding.get_overflowing().is_empty() }
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

    #[test]
    fn a_model_has_the_lengths_up_to_the_first_that_holds_what_it_reads() {
        let of = |tokens| buckets(tokens).collect::<Vec<_>>();
        assert_eq!(of(512), BUCKETS);
        assert_eq!(of(384), BUCKETS);
        assert_eq!(of(256), [16, 32, 64, 128, 256]);
        assert_eq!(of(40), [16, 32, 64]);
        assert_eq!(of(3), [16]);
        assert_eq!(longest_bucket(129), 256);
    }
}
