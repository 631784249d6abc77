//! Texts that arrive as token numbers.
//!
//! OpenAI's interface takes lists of token numbers of its own tokenizer, and clients that do not know a model (LangChain
//! by default) cut their texts with `cl100k_base` and send its numbers. They mean nothing to another model, so they are
//! turned back into the text that they stand for.

use crate::openai::ApiError;
use sahara::embedding::{Engine, MAX_TEXT_BYTES};

/// Token numbers of `cl100k_base` that stand for bytes; those above are marks of OpenAI's models, not text.
const CL100K_TOKENS: u32 = 100_256;

/// Whose token numbers clients send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenArrays {
    /// OpenAI's `cl100k_base`, as its clients do for models that they do not know.
    #[default]
    Cl100kBase,
    /// The model's own tokenizer.
    Model,
}

/// The text that token numbers stand for. `index` is their place among the inputs.
pub fn text_of(
    index: usize,
    ids: &[u32],
    of: TokenArrays,
    engine: &dyn Engine,
    advice: &str,
) -> Result<String, ApiError> {
    match of {
        TokenArrays::Model => engine.text_of(ids).ok_or_else(|| {
            ApiError::invalid("input", format!("'input' {index} has a token number outside the model's vocabulary."))
        }),
        TokenArrays::Cl100kBase => cl100k(index, ids, advice),
    }
}

fn cl100k(index: usize, ids: &[u32], advice: &str) -> Result<String, ApiError> {
    let wrong = |why: String| ApiError::invalid("input", format!("'input' {index} {why}"));
    if let Some(id) = ids.iter().find(|id| **id >= CL100K_TOKENS) {
        return Err(wrong(format!(
            "has token number {id}, but cl100k_base has {CL100K_TOKENS}: send the text itself, or {advice} if the \
             numbers are of the model's own tokenizer."
        )));
    }
    // A token may stand for 128 bytes: so many are looked at that a text that is too long is not written down.
    let tokens = tiktoken_rs::cl100k_base_singleton();
    let mut bytes = Vec::new();
    for some in ids.chunks(1024) {
        let more = tokens.decode_bytes(some);
        bytes.extend(more.map_err(|_| wrong("has a token number that cl100k_base does not know.".into()))?);
        if bytes.len() > MAX_TEXT_BYTES {
            return Err(wrong(format!("stands for more than {MAX_TEXT_BYTES} bytes, the most that a text may have.")));
        }
    }
    String::from_utf8(bytes).map_err(|_| {
        wrong("ends or begins within a character: its token numbers of cl100k_base are not a whole text.".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_cl100k_base_become_their_text_and_others_are_refused() {
        // Python: tiktoken.get_encoding("cl100k_base").encode("hello world, it's 9:30 日本")
        let ids = [15339, 1917, 11, 433, 596, 220, 24, 25, 966, 76502, 22656];
        assert_eq!(cl100k(0, &ids, "").unwrap(), "hello world, it's 9:30 日本");
        for wrong in [[100_256], [100_257], [u32::MAX]] {
            let error = cl100k(3, &wrong, "").unwrap_err();
            assert!(error.status == 400 && error.message.contains("'input' 3"), "{error:?}");
        }
        // 128 spaces each.
        let long = cl100k(3, &vec![58040; 8_000], "").unwrap_err();
        assert!(
            long.status == 400 && long.message.contains("'input' 3 stands for more than 1000000 bytes"),
            "{long:?}"
        );
        assert_eq!(cl100k(0, &vec![58040; 7_000], "").unwrap().len(), 7_000 * 128);
        // Half of a character.
        assert!(cl100k(0, &[162], "").unwrap_err().message.contains("within a character"));
    }
}
