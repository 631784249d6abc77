//! Texts as their tokens, each of its own length.

use super::super::model::Data;

/// Texts in tokens, with a class each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    tokens: Vec<u32>,
    /// Where each begins, and where the last ends.
    begins: Vec<usize>,
    classes: Vec<u32>,
}

/// Why lists of tokens are no texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextsError {
    /// One has no token.
    #[error("text {0} has no token")]
    Empty(usize),
    /// They are not as many as their classes.
    #[error("{texts} texts have {classes} classes")]
    Classes {
        /// Texts.
        texts: usize,
        /// Classes.
        classes: usize,
    },
}

impl Texts {
    /// Of lists of tokens, and a class for each.
    ///
    /// # Errors
    /// When a list is empty, or there are more or fewer classes.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a [u32]>, classes: Vec<u32>) -> Result<Self, TextsError> {
        let (mut tokens, mut begins) = (Vec::new(), vec![0]);
        for (index, text) in texts.into_iter().enumerate() {
            if text.is_empty() {
                return Err(TextsError::Empty(index));
            }
            tokens.extend_from_slice(text);
            begins.push(tokens.len());
        }
        match begins.len() - 1 {
            texts if texts != classes.len() => Err(TextsError::Classes { texts, classes: classes.len() }),
            _ => Ok(Self { tokens, begins, classes }),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The tokens of one.
    pub fn text(&self, index: usize) -> &[u32] {
        &self.tokens[self.begins[index]..self.begins[index + 1]]
    }

    /// The class of each.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// Tokens of the longest.
    pub fn longest(&self) -> usize {
        self.begins.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    /// The greatest token.
    pub(super) fn greatest(&self) -> u32 {
        self.tokens.iter().copied().max().unwrap_or(0)
    }
}

impl Data for Texts {
    fn classes(&self) -> &[u32] {
        self.classes()
    }
}
