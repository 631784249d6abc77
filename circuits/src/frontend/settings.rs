//! What a consumer's part must know of a model's settings, whoever read them: how a text is taken, which rows and functions
//! belong to it, what the answer's numbers are called.

/// Most tokens that any model is run with.
pub(crate) const LONGEST: usize = 512;

/// Name of a class of a classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(pub String);

/// What makes scores of a classifier's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelFunction {
    /// The outputs themselves.
    Identity,
    /// Each output for itself.
    Sigmoid,
    /// All outputs together.
    Softmax,
}

/// A text that is put before another one, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its name, e.g. `query`.
    pub name: String,
    /// What is put before the text.
    pub text: String,
}

/// A column of a table's rows, whose description is public.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    /// A number; the bounds become -1 and 1.
    Range { name: String, low: f64, high: f64 },
    /// One of these words, each an input of its own.
    Words { name: String, words: Vec<String> },
}

/// Most columns, most words of one, and the longest name or word in bytes.
pub(crate) const MAX_COLUMNS: usize = 1 << 12;
pub(crate) const MAX_WORDS: usize = 1 << 10;
pub(crate) const MAX_WORD: usize = 200;
/// Most numbers that the columns of a row become.
pub(crate) const MAX_INPUTS: usize = 1 << 14;

/// How many numbers these columns become; none if there are none or too many.
pub(crate) fn inputs(columns: &[Column]) -> Option<usize> {
    let total = columns.iter().map(Column::inputs).sum::<usize>();
    (total > 0 && total <= MAX_INPUTS && columns.len() <= MAX_COLUMNS).then_some(total)
}

impl Column {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Range { name, .. } | Self::Words { name, .. } => name,
        }
    }

    fn inputs(&self) -> usize {
        match self {
            Self::Range { .. } => 1,
            Self::Words { words, .. } => words.len(),
        }
    }

    /// Whether it can be kept and read.
    pub(crate) fn is_sound(&self) -> bool {
        let short = |text: &str| text.len() <= MAX_WORD && !text.chars().any(|c| c.is_control() || c == ',');
        short(self.name())
            && match self {
                Self::Range { low, high, .. } => {
                    low.is_finite() && high.is_finite() && low < high && (high - low).is_finite()
                }
                Self::Words { words, .. } => {
                    !words.is_empty() && words.len() <= MAX_WORDS && words.iter().all(|word| short(word))
                }
            }
    }
}

/// What is done to a text before and by the tokenizer.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub strip: bool,
    pub lower_case: bool,
    /// Most tokens that are read.
    pub max_tokens: usize,
    pub prompts: Vec<Prompt>,
    pub default_prompt: Option<String>,
    /// Whether the prompt's tokens take part in pooling.
    pub include_prompt: bool,
    /// Whether the second text of a pair has a token type of its own.
    pub segments: bool,
}

/// An elementwise function between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Identity,
    /// With the error function.
    Gelu,
    /// With the hyperbolic tangent, as GPT-2 and BERT's first code have it.
    GeluTanh,
    Relu,
    Tanh,
}

/// Which row of the position table belongs to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PositionRule {
    /// Its place, from 0.
    Place,
    /// `padding + 1` for the first token and one more for each that is not the padding token; that one has `padding`.
    AfterPadding(u32),
}

impl PositionRule {
    /// The rows of the position table for these tokens.
    pub(crate) fn rows(self, ids: &[u32]) -> Vec<usize> {
        match self {
            Self::Place => (0..ids.len()).collect(),
            Self::AfterPadding(padding) => {
                let mut next = padding as usize;
                let row = |&id: &u32| match id == padding {
                    true => padding as usize,
                    false => {
                        next += 1;
                        next
                    }
                };
                ids.iter().map(row).collect()
            }
        }
    }

    /// Tokens that a table of so many rows serves.
    pub(crate) fn reach(self, rows: usize) -> usize {
        match self {
            Self::Place => rows,
            Self::AfterPadding(padding) => rows.saturating_sub(padding as usize + 1),
        }
    }
}
