//! The tokenizer with every setting of its folder in it: `tokenizer.json`, or `vocab.txt` alone; what
//! `tokenizer_config.json` says of letters and length; special tokens.

use super::added::{Added, special_files};
use super::folder::Contents;
use super::json::Fields;
use super::{CompileError, Encoder, Text, read};
use crate::files::MAX_TOKENIZER;
use crate::frontend::settings::LONGEST;
use crate::frontend::tokenizer::check;
use serde_json::{Value, json};
use std::path::Path;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, NormalizerWrapper, PostProcessor, Tokenizer, TruncationDirection, TruncationParams};

/// A tokenizer, ready.
pub(crate) struct Built {
    pub tokenizer: Tokenizer,
    /// It again, in the form of a `tokenizer.json`.
    pub json: Vec<u8>,
    pub max_tokens: usize,
    /// Whether the tokenizer's token types are given to the model.
    pub token_types: bool,
}

/// Reads the tokenizer of a folder.
pub(crate) fn build(contents: &Contents, text: &Text, encoder: &Encoder) -> Result<Built, CompileError> {
    let folder = &contents.transformer;
    let mut fields = Fields::read_if_there(&folder.join("tokenizer_config.json"), MAX_TOKENIZER)?;
    let class = fields.text("tokenizer_class")?.unwrap_or_default();
    let letters = Letters::read(&mut fields)?;
    let json_path = folder.join("tokenizer.json");
    let mut tokenizer = match json_path.exists() {
        true => load(&json_path, &read(&json_path, MAX_TOKENIZER)?)?,
        false => word_pieces(folder, &class, &letters)?,
    };
    check(&tokenizer).map_err(|what| CompileError::Unsupported { path: json_path.clone(), what })?;
    if json_path.exists() {
        letters.apply(&mut tokenizer, &class, &json_path)?;
    }
    let max_tokens = text.max_tokens.min(longest(&mut fields, &tokenizer)?).min(LONGEST);
    let left = |fields: &mut Fields, key: &str| match fields.text(key)?.as_deref() {
        None | Some("right") => Ok(false),
        Some("left") => Ok(true),
        Some(other) => Err(fields.refuse(format!("\"{key}\": {other:?}"))),
    };
    if left(&mut fields, "padding_side")? {
        return Err(fields.refuse("\"padding_side\": \"left\"".into()));
    }
    let cut_left = left(&mut fields, "truncation_side")?;
    let token_types = match fields.take("model_input_names") {
        None => true,
        Some(names) => names.as_array().is_some_and(|names| names.contains(&json!("token_type_ids"))),
    };
    let mut added = Added::of(&tokenizer, json_path.exists());
    added.read(&mut fields, &mut tokenizer)?;
    harmless(&mut fields);
    fields.only("do_basic_tokenize", &json!(true))?;
    fields.finish()?;
    special_files(folder, &mut added, &mut tokenizer)?;
    check_vocabulary(&tokenizer, encoder, &json_path)?;

    tokenizer.with_padding(None);
    let direction = if cut_left { TruncationDirection::Left } else { TruncationDirection::Right };
    let truncation = TruncationParams { max_length: max_tokens, direction, ..Default::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(|e| broken(&json_path, e.to_string()))?;
    let json = tokenizer.to_string(false).map_err(|e| broken(&json_path, e.to_string()))?.into_bytes();
    Ok(Built { tokenizer, json, max_tokens, token_types })
}

/// The limit that `tokenizer_config.json` names; libraries write 1e30 where there is none.
fn longest(fields: &mut Fields, tokenizer: &Tokenizer) -> Result<usize, CompileError> {
    let Some(length) = fields.real("model_max_length")? else { return Ok(usize::MAX) };
    let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
    if length.fract() != 0.0 || length <= special as f64 {
        let room = "no whole number that leaves room for a text";
        return Err(fields.bad(format!("model_max_length is {length}, {room} beside {special} special tokens")));
    }
    Ok(length as usize)
}

/// What `tokenizer_config.json` says of letters; it counts more than `tokenizer.json`.
struct Letters {
    lower_case: Option<bool>,
    chinese: Option<bool>,
    strip_accents: Option<bool>,
    prefix_space: Option<bool>,
}

impl Letters {
    fn read(fields: &mut Fields) -> Result<Self, CompileError> {
        Ok(Self {
            lower_case: fields.flag("do_lower_case")?,
            chinese: fields.flag("tokenize_chinese_chars")?,
            strip_accents: fields.flag("strip_accents")?,
            prefix_space: fields.flag("add_prefix_space")?,
        })
    }

    /// Changes the normaliser as transformers does for BERT's tokenizers; refuses what libraries disagree on.
    fn apply(&self, tokenizer: &mut Tokenizer, class: &str, path: &Path) -> Result<(), CompileError> {
        let refuse = |what: String| CompileError::Unsupported { path: path.to_owned(), what };
        // These take tokenizer.json as it is, whatever stands beside it.
        let plain = ["PreTrainedTokenizer", "TokenizersBackend", "Roberta", "XLMRoberta", "Camembert"];
        let asked = self.lower_case == Some(true) || self.strip_accents == Some(true);
        match tokenizer.get_normalizer() {
            _ if plain.iter().any(|start| class.starts_with(start)) => {}
            Some(NormalizerWrapper::BertNormalizer(found)) => {
                if self.lower_case.is_none() && !found.lowercase {
                    let what =
                        "a tokenizer that keeps capitals beside a tokenizer_config.json without \"do_lower_case\"";
                    return Err(refuse(what.into()));
                }
                let changed = BertNormalizer::new(
                    found.clean_text,
                    self.chinese.unwrap_or(true),
                    self.strip_accents,
                    self.lower_case.unwrap_or(true),
                );
                tokenizer.with_normalizer(Some(changed)).map_err(|e| broken(path, e.to_string()))?;
            }
            _ if asked && !class.is_empty() => {
                return Err(refuse(format!(
                    "\"do_lower_case\" or \"strip_accents\" for a tokenizer of class {class:?}"
                )));
            }
            _ => {}
        }
        let found = tokenizer.get_pre_tokenizer().and_then(|pre| serde_json::to_value(pre).ok());
        let found = found.and_then(|pre| pre.get("add_prefix_space").and_then(Value::as_bool));
        match (self.prefix_space, found) {
            (Some(wanted), Some(found)) if wanted != found => {
                Err(refuse(format!("\"add_prefix_space\": {wanted} in tokenizer_config.json and {found} here")))
            }
            _ => Ok(()),
        }
    }
}

/// BERT's tokenizer from a vocabulary alone, with the settings that its class has by default.
fn word_pieces(folder: &Path, class: &str, letters: &Letters) -> Result<Tokenizer, CompileError> {
    let path = folder.join("vocab.txt");
    if !path.exists() {
        let path = folder.join("tokenizer.json");
        let others = ["vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"];
        if let Some(other) = others.into_iter().find(|name| folder.join(name).exists()) {
            let what = format!(
                "{other} without tokenizer.json; make that with python3 -c \"from transformers import AutoTokenizer as \
                 A; A.from_pretrained('.').save_pretrained('.')\" in its folder"
            );
            return Err(CompileError::Convert { path: folder.join(other), what });
        }
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(CompileError::Read { path, source });
    }
    if !class.is_empty() && !class.starts_with("Bert") && !class.starts_with("DistilBert") {
        let what = format!("vocab.txt alone for a tokenizer of the class {class:?}");
        return Err(CompileError::Unsupported { path, what });
    }
    let bad = |problem: String| broken(&path, problem);
    let vocabulary = WordPiece::read_bytes(&read(&path, MAX_TOKENIZER)?).map_err(|e| bad(e.to_string()))?;
    let id = |token: &str| {
        vocabulary.get(token).map(|&id| (token.to_owned(), id)).ok_or_else(|| bad(format!("{token} is missing")))
    };
    let (cls, sep) = (id("[CLS]")?, id("[SEP]")?);
    let model = WordPiece::builder()
        .vocab(vocabulary)
        .unk_token("[UNK]".into())
        .max_input_chars_per_word(100)
        .build()
        .map_err(|e| bad(e.to_string()))?;
    let template = TemplateProcessing::builder()
        .try_single("[CLS]:0 $A:0 [SEP]:0")
        .and_then(|builder| builder.try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"))
        .map_err(bad)?
        .special_tokens(vec![cls, sep])
        .build()
        .map_err(|e| bad(e.to_string()))?;
    let mut tokenizer = Tokenizer::new(model);
    let normalizer = BertNormalizer::new(
        true,
        letters.chinese.unwrap_or(true),
        letters.strip_accents,
        letters.lower_case.unwrap_or(true),
    );
    tokenizer.with_normalizer(Some(normalizer)).map_err(|e| bad(e.to_string()))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(template));
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let there: Vec<AddedToken> = special
        .into_iter()
        .filter(|token| tokenizer.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token, true))
        .collect();
    tokenizer.add_special_tokens(there).map_err(|e| bad(e.to_string()))?;
    Ok(tokenizer)
}

/// Settings that do nothing to how a text is cut up.
fn harmless(fields: &mut Fields) {
    fields.harmless(&[
        "name_or_path",
        "never_split",
        "tokenizer_file",
        "vocab_file",
        "special_tokens_map_file",
        "clean_up_tokenization_spaces",
        "processor_class",
        "max_length",
        "stride",
        "truncation_strategy",
        "pad_to_multiple_of",
        "pad_token_type_id",
        "padding",
        "trim_offsets",
        "errors",
        "chat_template",
        "use_fast",
        "from_slow",
        "backend",
        "is_local",
        "legacy",
        "sp_model_kwargs",
        "full_tokenizer_file",
        "max_len",
        "_commit_hash",
    ]);
}

/// Whether every token has an embedding.
fn check_vocabulary(tokenizer: &Tokenizer, encoder: &Encoder, path: &Path) -> Result<(), CompileError> {
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
    match largest < encoder.dimensions.vocabulary {
        true => Ok(()),
        false => Err(broken(
            path,
            format!("token {largest} has no embedding, the model has {}", encoder.dimensions.vocabulary),
        )),
    }
}

fn load(path: &Path, bytes: &[u8]) -> Result<Tokenizer, CompileError> {
    Tokenizer::from_bytes(bytes).map_err(|e| broken(path, e.to_string()))
}

fn broken(path: &Path, problem: String) -> CompileError {
    CompileError::Tokenizer { path: path.to_owned(), problem }
}
