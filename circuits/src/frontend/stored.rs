//! A frontend as bytes: settings first, then the tables.

use super::settings::{Activation, Column, LONGEST, Label, LabelFunction, PositionRule, Prompt, Text};
use super::tokenizer::{check, check_cut};
use super::{Answer, Classes, Divisor, Frontend, Output, PoolInput, Weighting};
use crate::bytes::{DecodeError, Reader, Writer};
use tokenizers::Tokenizer;

const MAGIC: &[u8; 8] = b"SHFRONT\0";
const VERSION: u16 = 2;
/// Of a model that reads rows.
const ROWS_MAGIC: &[u8; 8] = b"SHROWFE\0";
const ROWS_VERSION: u16 = 1;
/// Longest name and longest prompt in bytes, most of either.
const MAX_NAME: usize = 200;
const MAX_PROMPT: usize = 16 << 10;
const MAX_ITEMS: usize = 1 << 10;

/// Why a stored frontend cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontendError {
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    #[error("{0}")]
    Tokenizer(String),
}

impl Frontend {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        if let Some(columns) = &self.rows {
            let mut out = Writer::with_header(ROWS_MAGIC, ROWS_VERSION);
            super::rows::write(columns, &mut out);
            write_output(&self.output, &mut out);
            return out.finish_with_digest();
        }
        let mut out = Writer::with_header(MAGIC, VERSION);
        out.u32(self.hidden as u32);
        self.write_text(&mut out);
        let padding = match self.position_rule {
            PositionRule::Place => u32::MAX,
            PositionRule::AfterPadding(padding) => padding,
        };
        out.u32(padding).u32(self.mask).u32(self.relative.unwrap_or(0)).u8(self.pools.len() as u8);
        for pool in &self.pools {
            let (kind, number) = match *pool {
                PoolInput::Weights(Weighting::First) => (0, 0),
                PoolInput::Weights(Weighting::Last) => (1, 0),
                PoolInput::Weights(Weighting::Ones) => (2, 0),
                PoolInput::Weights(Weighting::Mean(bits)) => (3, bits.into()),
                PoolInput::Weights(Weighting::Places(bits)) => (4, bits.into()),
                PoolInput::Weights(Weighting::RootMean(bits)) => (5, bits.into()),
                PoolInput::Max(mask) => (6, mask),
            };
            out.u8(kind).u32(number);
        }
        write_output(&self.output, &mut out);
        for table in [&self.words, &self.positions, &self.segments] {
            out.u32((table.len() / self.hidden) as u32);
            for x in table {
                out.bytes(&x.to_le_bytes());
            }
        }
        out.finish_with_digest()
    }

    fn write_text(&self, out: &mut Writer) {
        let text = &self.text;
        out.u8(u8::from(text.strip)).u8(u8::from(text.lower_case));
        out.u8(u8::from(text.include_prompt)).u8(u8::from(text.segments));
        out.u32(text.max_tokens as u32).u32(text.prompts.len() as u32);
        for prompt in &text.prompts {
            out.text(&prompt.name).text(&prompt.text);
        }
        out.u8(u8::from(text.default_prompt.is_some()));
        out.text(text.default_prompt.as_deref().unwrap_or_default());
    }

    pub(crate) fn from_bytes(bytes: &[u8], tokenizer_json: Vec<u8>) -> Result<Self, FrontendError> {
        let mut input = Reader::new("frontend file", bytes);
        if bytes.starts_with(ROWS_MAGIC) {
            input.header(ROWS_MAGIC, ROWS_VERSION)?;
            input.digest()?;
            let columns = super::rows::read(&mut input)?;
            let output = read_output(&mut input)?;
            input.finish()?;
            if !tokenizer_json.is_empty() {
                return Err(FrontendError::Tokenizer("a model that reads rows has none".into()));
            }
            return Ok(rows(columns, output));
        }
        input.header(MAGIC, VERSION)?;
        input.digest()?;
        let hidden = input.count("hidden channels", 4096)?.max(1);
        let text = read_text(&mut input)?;
        let position_rule = match input.u32()? {
            u32::MAX => PositionRule::Place,
            padding if padding <= 1000 => PositionRule::AfterPadding(padding),
            _ => return Err(input.field("position rule").into()),
        };
        let mask = input.u32()?;
        let relative = match input.u32()? {
            0 => None,
            width if width as usize <= LONGEST => Some(width),
            _ => return Err(input.field("width of the distances").into()),
        };
        let count = input.u8()?;
        if count == 0 || count > 6 || mask > i32::MAX as u32 {
            return Err(input.field("pooling").into());
        }
        let pools = (0..count).map(|_| read_pool(&mut input)).collect::<Result<Vec<_>, _>>()?;
        let output = read_output(&mut input)?;
        let mut table = || {
            let rows = input.count("rows", 1 << 20)?;
            let bytes = input.take(rows * hidden * 2)?;
            Ok::<Vec<i16>, DecodeError>(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
        };
        let (words, positions, segments) = (table()?, table()?, table()?);
        if segments.len() > 2 * hidden || position_rule.reach(positions.len() / hidden) < text.max_tokens {
            return Err(input.field("table size").into());
        }
        if relative.is_some_and(|width| width != super::longest_bucket(text.max_tokens)) {
            return Err(input.field("width of the distances").into());
        }
        input.finish()?;
        let tokenizer = Tokenizer::from_bytes(&tokenizer_json).map_err(|e| FrontendError::Tokenizer(e.to_string()))?;
        check(&tokenizer).and_then(|()| check_cut(&tokenizer, text.max_tokens)).map_err(|what| {
            FrontendError::Tokenizer(format!("{what} is refused: its owner has to share the model without it"))
        })?;
        Ok(Self {
            rows: None,
            tokenizer,
            tokenizer_json,
            hidden,
            text,
            position_rule,
            mask,
            relative,
            pools,
            output,
            words,
            positions,
            segments,
        })
    }
}

/// A frontend of rows: its tokenizer knows no token.
pub(super) fn rows(columns: Vec<Column>, output: Output) -> Frontend {
    let text = Text {
        strip: false,
        lower_case: false,
        max_tokens: 1,
        prompts: Vec::new(),
        default_prompt: None,
        include_prompt: true,
        segments: false,
    };
    Frontend {
        rows: Some(columns),
        tokenizer: Tokenizer::new(tokenizers::models::wordlevel::WordLevel::default()),
        tokenizer_json: Vec::new(),
        hidden: 1,
        text,
        position_rule: PositionRule::Place,
        mask: 0,
        relative: None,
        pools: Vec::new(),
        output,
        words: Vec::new(),
        positions: Vec::new(),
        segments: Vec::new(),
    }
}

fn flag(input: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(input.field("flag")),
    }
}

fn read_text(input: &mut Reader<'_>) -> Result<Text, DecodeError> {
    let (strip, lower_case) = (flag(input)?, flag(input)?);
    let (include_prompt, segments) = (flag(input)?, flag(input)?);
    let max_tokens = input.u32()? as usize;
    if max_tokens == 0 || max_tokens > LONGEST {
        return Err(input.field("most tokens"));
    }
    let count = input.count("prompts", MAX_ITEMS)?;
    let mut prompts = Vec::new();
    for _ in 0..count {
        prompts.push(Prompt { name: input.text("name", MAX_NAME)?, text: input.text("prompt", MAX_PROMPT)? });
    }
    let (there, name) = (flag(input)?, input.text("name", MAX_NAME)?);
    let default_prompt = there.then_some(name);
    if default_prompt.as_ref().is_some_and(|name| !prompts.iter().any(|p| p.name == *name)) {
        return Err(input.field("default prompt"));
    }
    Ok(Text { strip, lower_case, max_tokens, prompts, default_prompt, include_prompt, segments })
}

fn read_pool(input: &mut Reader<'_>) -> Result<PoolInput, DecodeError> {
    let (kind, number) = (input.u8()?, input.u32()?);
    let bits = u8::try_from(number).ok().filter(|bits| (1..=20).contains(bits));
    let bits = |input: &Reader<'_>| bits.ok_or_else(|| input.field("pooling"));
    Ok(match kind {
        0 => PoolInput::Weights(Weighting::First),
        1 => PoolInput::Weights(Weighting::Last),
        2 => PoolInput::Weights(Weighting::Ones),
        3 => PoolInput::Weights(Weighting::Mean(bits(input)?)),
        4 => PoolInput::Weights(Weighting::Places(bits(input)?)),
        5 => PoolInput::Weights(Weighting::RootMean(bits(input)?)),
        6 if number <= i32::MAX as u32 => PoolInput::Max(number),
        _ => return Err(input.field("pooling")),
    })
}

const ACTIVATIONS: [Activation; 5] =
    [Activation::Identity, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh];
const FUNCTIONS: [LabelFunction; 3] = [LabelFunction::Identity, LabelFunction::Sigmoid, LabelFunction::Softmax];
const DIVISORS: [Divisor; 3] = [Divisor::One, Divisor::Count, Divisor::RootCount];

fn place<T: PartialEq>(of: &T, among: &[T]) -> u8 {
    among.iter().position(|x| x == of).unwrap_or_default() as u8
}

fn write_output(output: &Output, out: &mut Writer) {
    out.u32(output.width as u32).u64(output.scale.to_bits());
    out.u8(place(&output.divisor, &DIVISORS)).u8(place(&output.activation, &ACTIVATIONS));
    match &output.answer {
        Answer::Vector { normalize } => {
            out.u8(0).u8(u8::from(*normalize));
        }
        Answer::Labels(classes) => {
            out.u8(1).u8(place(&classes.function, &FUNCTIONS)).u8(place(&classes.relevance, &FUNCTIONS));
            for label in &classes.labels {
                out.text(&label.0);
            }
        }
    }
}

fn read_output(input: &mut Reader<'_>) -> Result<Output, DecodeError> {
    let width = input.u32()? as usize;
    let scale = f64::from_bits(input.u64()?);
    if width == 0 || width > 1 << 15 || !scale.is_normal() || scale < 0.0 {
        return Err(input.field("output"));
    }
    let divisor = choice(input, &DIVISORS)?;
    let activation = choice(input, &ACTIVATIONS)?;
    let answer = match input.u8()? {
        0 => Answer::Vector { normalize: flag(input)? },
        1 if width <= MAX_ITEMS => {
            let (function, relevance) = (choice(input, &FUNCTIONS)?, choice(input, &FUNCTIONS)?);
            let labels = (0..width).map(|_| Ok(Label(input.text("label", MAX_NAME)?)));
            Answer::Labels(Classes { labels: labels.collect::<Result<_, DecodeError>>()?, function, relevance })
        }
        _ => return Err(input.field("answer")),
    };
    Ok(Output { width, scale, divisor, activation, answer })
}

fn choice<T: Copy>(input: &mut Reader<'_>, among: &[T]) -> Result<T, DecodeError> {
    let at = input.u8()?;
    among.get(usize::from(at)).copied().ok_or_else(|| input.field("choice"))
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use serde_json::{Value, json};

    use super::super::charsmap::table;
    use super::*;
    use crate::model::CompiledModel;
    use crate::testgraph::Rng;
    use crate::testmodel::{SEED, catalogue};

    /// A model of the catalogue, and the folder that it was compiled from.
    #[expect(clippy::unwrap_used, reason = "a panic is the failure report")]
    fn compiled(name: &str) -> (tempfile::TempDir, CompiledModel) {
        let folder = tempfile::tempdir().unwrap();
        let case = catalogue().into_iter().find(|case| case.name == name).unwrap();
        case.folder.write(folder.path(), SEED).unwrap();
        let model = CompiledModel::compile(folder.path(), name, &mut |_| {}).unwrap();
        (folder, model)
    }

    /// A frontend comes from the owner of a model: whatever its bytes, an error or a value that encodes without a panic.
    #[test]
    fn a_damaged_frontend_is_refused_or_sound() {
        let names = ["bert-default-prompt", "mpnet-max", "bert-classifier", "bert-mean-sqrt-dense"];
        for name in names {
            let (_folder, model) = compiled(name);
            let (whole, json) = (model.frontend.to_bytes(), model.frontend.tokenizer_json().to_vec());
            let same = Frontend::from_bytes(&whole, json.clone()).unwrap();
            assert_eq!(same.to_bytes(), whole);
            let mut rng = Rng::new(7);
            for seed in 0..60 {
                let mut bytes = whole[..whole.len() - 32].to_vec();
                // Settings stand before the tables.
                let at = 10 + rng.below(200) as usize;
                bytes[at] = rng.below(256) as u8;
                let digest = *blake3::hash(&bytes).as_bytes();
                bytes.extend_from_slice(&digest);
                if let Ok(frontend) = Frontend::from_bytes(&bytes, json.clone())
                    && let Ok(encoded) = frontend.encode("hello private world")
                {
                    let answer = frontend.decode(&encoded, &[vec![1; frontend.dimensions()]]);
                    assert_eq!(answer.len(), frontend.dimensions(), "{name} seed {seed}");
                }
            }
        }
    }

    #[test]
    fn a_tokenizer_that_would_end_the_process_is_refused() {
        let (_folder, model) = compiled("bert-mean");
        let (bytes, json) = (model.frontend.to_bytes(), model.frontend.tokenizer_json());
        let tokenizer: serde_json::Value = serde_json::from_slice(json).unwrap();
        for (part, key, value, say) in [
            ("truncation", "stride", serde_json::json!(9), "another way"),
            ("truncation", "max_length", serde_json::json!(1), "another way"),
            ("truncation", "strategy", serde_json::json!("OnlyFirst"), "another way"),
            ("truncation", "", serde_json::Value::Null, "cuts no text"),
            (
                "padding",
                "",
                serde_json::json!({"strategy": {"Fixed": 1u64 << 40}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}),
                "pads texts",
            ),
        ] {
            let mut wrong = tokenizer.clone();
            if key.is_empty() {
                wrong[part] = value
            } else {
                wrong[part][key] = value
            }
            let error =
                Frontend::from_bytes(&bytes, wrong.to_string().into_bytes()).err().expect("refused").to_string();
            assert!(error.contains(say), "{part} {key}: {error}");
        }
    }

    #[test]
    fn a_tokenizer_that_rewrites_texts_is_refused() {
        let (folder, model) = compiled("bert-mean");
        let (bytes, json) = (model.frontend.to_bytes(), model.frontend.tokenizer_json());
        let tokenizer: serde_json::Value = serde_json::from_slice(json).unwrap();
        let replace = json!({"type": "Replace", "pattern": {"Regex": "(?i)cancer"}, "content": " x".repeat(200)});
        let bert = tokenizer["normalizer"].clone();
        let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
        let split = json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false});
        let splits = |steps: Vec<Value>| json!({"type": "Sequence", "pretokenizers": steps});
        for (part, value, say) in [
            ("normalizer", replace.clone(), "Replace"),
            ("normalizer", sequence(vec![replace.clone(), bert.clone()]), "Replace"),
            ("normalizer", sequence(vec![sequence(vec![replace])]), "within a sequence"),
            ("normalizer", sequence(vec![bert.clone(); 9]), "9 steps"),
            ("normalizer", json!({"type": "Prepend", "prepend": "x".repeat(1000)}), "Prepend"),
            ("normalizer", json!({"type": "ByteLevel"}), "ByteLevel"),
            ("normalizer", json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}), "Replace"),
            ("normalizer", json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "xx"}), "Replace"),
            ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "CAAAAAAABAAAAAAA"}), "Precompiled"),
            ("pre_tokenizer", split.clone(), "Split"),
            ("pre_tokenizer", splits(vec![split]), "Split"),
            ("pre_tokenizer", splits(vec![json!({"type": "Whitespace"}); 9]), "9 steps"),
        ] {
            let mut wrong = tokenizer.clone();
            wrong[part] = value.clone();
            let wrong = wrong.to_string().into_bytes();
            let error = Frontend::from_bytes(&bytes, wrong.clone()).err().expect("refused").to_string();
            assert!(error.contains(say), "{value}: {error}");
            // An owner hears of it before anybody is given the model.
            std::fs::write(folder.path().join("tokenizer.json"), wrong).unwrap();
            let error =
                CompiledModel::compile(folder.path(), "bert-mean", &mut |_| {}).err().expect("refused").to_string();
            assert!(error.contains(say), "{value}: {error}");
        }
        let mut wrong = tokenizer.clone();
        wrong["model"]["max_input_chars_per_word"] = json!(1u64 << 40);
        let error = Frontend::from_bytes(&bytes, wrong.to_string().into_bytes()).err().expect("refused").to_string();
        assert!(error.contains("max_input_chars_per_word"), "{error}");
        let with = |normalizer: Value| {
            let mut other = tokenizer.clone();
            other["normalizer"] = normalizer;
            Frontend::from_bytes(&bytes, other.to_string().into_bytes()).unwrap()
        };
        let spaces = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
        let quotes = json!({"type": "Replace", "pattern": {"String": "``"}, "content": "\""});
        let written = |text: &str| {
            let map = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, table(text));
            json!({"type": "Precompiled", "precompiled_charsmap": map})
        };
        let harmless = sequence(vec![json!({"type": "NFC"}), spaces, quotes, written("b"), bert.clone()]);
        for harmless in [harmless, json!({"type": "Lowercase"}), Value::Null] {
            assert!(with(harmless).encode("hello private world").is_ok());
        }
        // Short as each replacement is, together they may not count for more than the text has.
        let lengthens = with(sequence(vec![written("b b b b b b"), bert]));
        assert!(lengthens.encode("hello").is_ok());
        let error = lengthens.encode("a").unwrap_err().to_string();
        assert!(error.contains("makes 6 tokens where 3 can be"), "{error}");
        assert!(lengthens.encode_pair("a", "a").is_err());
    }

    #[test]
    fn a_tokenizer_that_answers_by_chance_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let case = catalogue().into_iter().find(|case| case.name.starts_with("roberta")).unwrap();
        case.folder.write(folder.path(), SEED).unwrap();
        let path = folder.path().join("tokenizer.json");
        let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        tokenizer["model"]["dropout"] = json!(0.1);
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        let error = CompiledModel::compile(folder.path(), case.name, &mut |_| {}).err().expect("refused").to_string();
        assert!(error.contains("by chance"), "{error}");
    }
}
