//! What a tokenizer may be. It comes from a model's owner and works on the consumer's text, in the consumer's process,
//! and how many tokens it makes is seen by every node: so it may neither fill memory nor count anything but the text.

use super::charsmap::is_sound;
use serde_json::Value;
use tokenizers::{
    ModelWrapper, NormalizedString, NormalizerWrapper, PostProcessor, PreTokenizerWrapper, Tokenizer,
    TruncationStrategy,
};

/// Steps of a normalizer or a pre-tokenizer that is a sequence.
const MOST_STEPS: usize = 8;
/// Several spaces, which become one.
const SPACES: &str = " {2,}";
/// Characters of a word that WordPiece looks at; its work grows with their square. Libraries write 100.
const LONGEST_WORD: usize = 200;

/// Refuses a tokenizer that rewrites texts, that would end the process or fill its memory, or that answers by chance.
///
/// What remains makes a text no longer than Unicode's normal forms, spaces around ideographs and SentencePiece's table make
/// it; [`most_tokens`] is held against what it makes of a text.
///
/// # Errors
///
/// What is refused, as the end of a sentence that begins with the tokenizer's place.
pub(crate) fn check(tokenizer: &Tokenizer) -> Result<(), String> {
    if let Some(normalizer) = tokenizer.get_normalizer() {
        match normalizer {
            NormalizerWrapper::Sequence(steps) => steps_of("normalizer", steps.as_ref(), normalizes)?,
            one => normalizes(one)?,
        }
    }
    if let Some(splitter) = tokenizer.get_pre_tokenizer() {
        match splitter {
            PreTokenizerWrapper::Sequence(steps) => steps_of("pre-tokenizer", steps.as_ref(), splits)?,
            one => splits(one)?,
        }
    }
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) if model.dropout.is_some_and(|share| share != 0.0) => {
            Err("a tokenizer that leaves out merges by chance (\"dropout\")".into())
        }
        ModelWrapper::WordPiece(model) if model.max_input_chars_per_word > LONGEST_WORD => Err(format!(
            "a tokenizer with \"max_input_chars_per_word\": {}; at most {LONGEST_WORD}",
            model.max_input_chars_per_word
        )),
        _ => Ok(()),
    }
}

/// Tokens that a text may have without the special ones: one for each byte of its decomposed form, and two in front. A
/// vocabulary can make so many; more, and the tokenizer counts something else than the text.
pub(crate) fn most_tokens(text: &str) -> usize {
    let mut text = NormalizedString::from(text);
    text.nfkd();
    text.get().len() + 2
}

fn steps_of<T>(what: &str, steps: &[T], check: fn(&T) -> Result<(), String>) -> Result<(), String> {
    if steps.len() > MOST_STEPS {
        return Err(format!("a {what} of {} steps; at most {MOST_STEPS}", steps.len()));
    }
    steps.iter().try_for_each(check)
}

fn normalizes(step: &NormalizerWrapper) -> Result<(), String> {
    use NormalizerWrapper as N;
    let name = match step {
        N::BertNormalizer(_) | N::StripNormalizer(_) | N::StripAccents(_) | N::Lowercase(_) | N::Nmt(_) => {
            return Ok(());
        }
        N::NFC(_) | N::NFD(_) | N::NFKC(_) | N::NFKD(_) => return Ok(()),
        N::Precompiled(_) if text_of(step, "/precompiled_charsmap").is_some_and(|map| is_sound(&map)) => return Ok(()),
        N::Replace(_) if shortens(step) => return Ok(()),
        N::Sequence(_) => "Sequence within a sequence",
        N::Precompiled(_) => "Precompiled",
        N::Replace(_) => "Replace",
        N::Prepend(_) => "Prepend",
        N::ByteLevel(_) => "ByteLevel",
    };
    Err(format!("the normalizer {name} (it may write anything in place of a text)"))
}

/// Whether a replacement is never longer than what it stands for, and takes no regular expression but the one that
/// SentencePiece's models have.
fn shortens(step: &NormalizerWrapper) -> bool {
    let Some(content) = text_of(step, "/content") else { return false };
    match (text_of(step, "/pattern/String"), text_of(step, "/pattern/Regex")) {
        (Some(pattern), None) => content.len() <= pattern.len(),
        (None, Some(pattern)) => pattern == SPACES && [" ", "\u{2581}"].contains(&content.as_str()),
        _ => false,
    }
}

/// What `tokenizer.json` has at `place`; the library keeps it to itself.
fn text_of(step: &NormalizerWrapper, place: &str) -> Option<String> {
    let step = serde_json::to_value(step).ok()?;
    step.pointer(place).and_then(Value::as_str).map(str::to_owned)
}

fn splits(step: &PreTokenizerWrapper) -> Result<(), String> {
    use PreTokenizerWrapper as P;
    let name = match step {
        P::BertPreTokenizer(_) | P::ByteLevel(_) | P::Whitespace(_) | P::WhitespaceSplit(_) => return Ok(()),
        P::Punctuation(_) | P::Digits(_) | P::Metaspace(_) => return Ok(()),
        P::Sequence(_) => "Sequence within a sequence",
        P::Delimiter(_) => "CharDelimiterSplit",
        P::Split(_) => "Split",
        P::UnicodeScripts(_) => "UnicodeScripts",
        P::FixedLength(_) => "FixedLength",
    };
    Err(format!("the pre-tokenizer {name} (no model of a family that is read needs it)"))
}

/// Refuses what no program of ours writes: the tokenizer's own library takes any numbers from its file, and ends the
/// process, or fills its memory, when it works by them.
///
/// # Errors
///
/// What is refused, as [`check`] says it.
pub(crate) fn check_cut(tokenizer: &Tokenizer, max_tokens: usize) -> Result<(), String> {
    if tokenizer.get_padding().is_some() {
        return Err("a tokenizer that pads texts itself".into());
    }
    let Some(cut) = tokenizer.get_truncation() else {
        return Err("a tokenizer that cuts no text that is too long".into());
    };
    let plain = cut.max_length == max_tokens && cut.stride == 0 && cut.strategy == TruncationStrategy::LongestFirst;
    if !plain {
        return Err("a tokenizer that cuts texts in another way than the model needs".into());
    }
    let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
    if special >= max_tokens {
        return Err("a tokenizer that adds more tokens to a text than fit".into());
    }
    Ok(())
}
