//! A frontend as bytes: settings first, then the tables.

use super::settings::{Activation, Label, LabelFunction, PositionRule, Prompt, Text};
use super::{Answer, Classes, Divisor, Frontend, LONGEST, Output, PoolInput, Weighting};
use crate::bytes::{DecodeError, Reader, Writer};
use tokenizers::{PostProcessor, Tokenizer, TruncationStrategy};

const MAGIC: &[u8; 8] = b"SHFRONT\0";
const VERSION: u16 = 2;
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
        let mut out = Writer::new(MAGIC, VERSION);
        out.u32(self.hidden as u32);
        self.write_text(&mut out);
        match self.position_rule {
            PositionRule::Place => out.u32(u32::MAX),
            PositionRule::AfterPadding(padding) => out.u32(padding),
        }
        out.u32(self.mask);
        out.u32(self.relative.unwrap_or(0));
        out.u8(self.pools.len() as u8);
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
            out.u8(kind);
            out.u32(number);
        }
        write_output(&self.output, &mut out);
        for table in [&self.words, &self.positions, &self.segments] {
            out.u32((table.len() / self.hidden) as u32);
            for x in table {
                out.raw(&x.to_le_bytes());
            }
        }
        out.finish_with_digest()
    }

    fn write_text(&self, out: &mut Writer) {
        let text = &self.text;
        out.u8(u8::from(text.strip));
        out.u8(u8::from(text.lower_case));
        out.u8(u8::from(text.include_prompt));
        out.u8(u8::from(text.segments));
        out.u32(text.max_tokens as u32);
        out.u32(text.prompts.len() as u32);
        for prompt in &text.prompts {
            out.text(&prompt.name);
            out.text(&prompt.text);
        }
        out.u8(u8::from(text.default_prompt.is_some()));
        out.text(text.default_prompt.as_deref().unwrap_or_default());
    }

    pub(crate) fn from_bytes(bytes: &[u8], tokenizer_json: Vec<u8>) -> Result<Self, FrontendError> {
        let mut input = Reader::with_digest("frontend file", bytes, MAGIC, VERSION)?;
        let hidden = input.count("hidden channels", 4096)?.max(1);
        let text = read_text(&mut input)?;
        let position_rule = match input.u32()? {
            u32::MAX => PositionRule::Place,
            padding if padding <= 1000 => PositionRule::AfterPadding(padding),
            _ => return Err(input.invalid("position rule").into()),
        };
        let mask = input.u32()?;
        let relative = match input.u32()? {
            0 => None,
            width if width as usize <= LONGEST => Some(width),
            _ => return Err(input.invalid("width of the distances").into()),
        };
        let count = input.u8()?;
        if count == 0 || count > 6 || mask > i32::MAX as u32 {
            return Err(input.invalid("pooling").into());
        }
        let pools = (0..count).map(|_| read_pool(&mut input)).collect::<Result<Vec<_>, _>>()?;
        let output = read_output(&mut input)?;
        let mut table = || {
            let rows = input.count("rows", 1 << 20)?;
            let bytes = input.raw(rows * hidden * 2)?;
            Ok::<Vec<i16>, DecodeError>(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
        };
        let (words, positions, segments) = (table()?, table()?, table()?);
        if segments.len() > 2 * hidden || position_rule.reach(positions.len() / hidden) < text.max_tokens {
            return Err(input.invalid("table size").into());
        }
        if relative.is_some_and(|width| width != super::longest_bucket(text.max_tokens)) {
            return Err(input.invalid("width of the distances").into());
        }
        input.finish()?;
        let tokenizer = Tokenizer::from_bytes(&tokenizer_json).map_err(|e| FrontendError::Tokenizer(e.to_string()))?;
        check_cut(&tokenizer, text.max_tokens)?;
        Ok(Self {
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

/// Refuses what no program of ours writes: the tokenizer's own library takes any numbers from its file, and ends the
/// process, or fills its memory, when it works by them.
fn check_cut(tokenizer: &Tokenizer, max_tokens: usize) -> Result<(), FrontendError> {
    let refused = |what: &str| Err(FrontendError::Tokenizer(format!("{what}: its owner has to share the model again")));
    if tokenizer.get_padding().is_some() {
        return refused("it pads texts itself");
    }
    let Some(cut) = tokenizer.get_truncation() else { return refused("it cuts no text that is too long") };
    let plain = cut.max_length == max_tokens && cut.stride == 0 && cut.strategy == TruncationStrategy::LongestFirst;
    if !plain {
        return refused("it cuts texts in another way than the model needs");
    }
    let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
    if special >= max_tokens {
        return refused("it adds more tokens to a text than fit");
    }
    Ok(())
}

fn flag(input: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(input.invalid("flag")),
    }
}

fn read_text(input: &mut Reader<'_>) -> Result<Text, DecodeError> {
    let (strip, lower_case) = (flag(input)?, flag(input)?);
    let (include_prompt, segments) = (flag(input)?, flag(input)?);
    let max_tokens = input.u32()? as usize;
    if max_tokens == 0 || max_tokens > LONGEST {
        return Err(input.invalid("most tokens"));
    }
    let count = input.count("prompts", MAX_ITEMS)?;
    let mut prompts = Vec::new();
    for _ in 0..count {
        prompts.push(Prompt { name: input.text("name", MAX_NAME)?, text: input.text("prompt", MAX_PROMPT)? });
    }
    let (there, name) = (flag(input)?, input.text("name", MAX_NAME)?);
    let default_prompt = there.then_some(name);
    if default_prompt.as_ref().is_some_and(|name| !prompts.iter().any(|p| p.name == *name)) {
        return Err(input.invalid("default prompt"));
    }
    Ok(Text { strip, lower_case, max_tokens, prompts, default_prompt, include_prompt, segments })
}

fn read_pool(input: &mut Reader<'_>) -> Result<PoolInput, DecodeError> {
    let (kind, number) = (input.u8()?, input.u32()?);
    let bits = u8::try_from(number).ok().filter(|bits| (1..=20).contains(bits));
    let bits = |input: &Reader<'_>| bits.ok_or_else(|| input.invalid("pooling"));
    Ok(match kind {
        0 => PoolInput::Weights(Weighting::First),
        1 => PoolInput::Weights(Weighting::Last),
        2 => PoolInput::Weights(Weighting::Ones),
        3 => PoolInput::Weights(Weighting::Mean(bits(input)?)),
        4 => PoolInput::Weights(Weighting::Places(bits(input)?)),
        5 => PoolInput::Weights(Weighting::RootMean(bits(input)?)),
        6 if number <= i32::MAX as u32 => PoolInput::Max(number),
        _ => return Err(input.invalid("pooling")),
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
    out.u32(output.width as u32);
    out.u64(output.scale.to_bits());
    out.u8(place(&output.divisor, &DIVISORS));
    out.u8(place(&output.activation, &ACTIVATIONS));
    match &output.answer {
        Answer::Vector { normalize } => {
            out.u8(0);
            out.u8(u8::from(*normalize));
        }
        Answer::Labels(classes) => {
            out.u8(1);
            out.u8(place(&classes.function, &FUNCTIONS));
            out.u8(place(&classes.relevance, &FUNCTIONS));
            classes.labels.iter().for_each(|label| out.text(&label.0));
        }
    }
}

fn read_output(input: &mut Reader<'_>) -> Result<Output, DecodeError> {
    let width = input.u32()? as usize;
    let scale = f64::from_bits(input.u64()?);
    if width == 0 || width > 1 << 15 || !scale.is_normal() || scale < 0.0 {
        return Err(input.invalid("output"));
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
        _ => return Err(input.invalid("answer")),
    };
    Ok(Output { width, scale, divisor, activation, answer })
}

fn choice<T: Copy>(input: &mut Reader<'_>, among: &[T]) -> Result<T, DecodeError> {
    let at = input.u8()?;
    among.get(usize::from(at)).copied().ok_or_else(|| input.invalid("choice"))
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use super::*;
    use crate::model::CompiledModel;
    use crate::testgraph::Rng;
    use crate::testmodel::{SEED, catalogue};

    /// A frontend comes from the owner of a model: whatever its bytes, an error or a value that encodes without a panic.
    #[test]
    fn a_damaged_frontend_is_refused_or_sound() {
        let names = ["bert-default-prompt", "mpnet-max", "bert-classifier", "bert-mean-sqrt-dense"];
        for case in catalogue().into_iter().filter(|case| names.contains(&case.name)) {
            let folder = tempfile::tempdir().unwrap();
            case.folder.write(folder.path(), SEED).unwrap();
            let model = CompiledModel::compile(folder.path(), case.name, &mut |_| {}).unwrap();
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
                    assert_eq!(answer.len(), frontend.dimensions(), "{} seed {seed}", case.name);
                }
            }
        }
    }

    #[test]
    fn a_tokenizer_that_would_end_the_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let case = catalogue().into_iter().find(|case| case.name == "bert-mean").unwrap();
        case.folder.write(folder.path(), SEED).unwrap();
        let model = CompiledModel::compile(folder.path(), case.name, &mut |_| {}).unwrap();
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
}
