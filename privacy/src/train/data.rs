//! Examples in memory.

use super::model::Data;

/// Rows of numbers, with a class each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examples {
    width: usize,
    values: Vec<f32>,
    classes: Vec<u32>,
}

/// Why rows are no examples.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DataError {
    /// Rows are of different lengths, or rows and classes are of different numbers.
    #[error("{values} numbers are not {classes} rows of {width}")]
    Shape {
        /// Numbers.
        values: usize,
        /// Classes.
        classes: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// A number is not finite.
    #[error("row {row} has a number that is infinite or none at all")]
    NotFinite {
        /// Its position.
        row: usize,
    },
}

impl Examples {
    /// Of rows of `width` numbers, one after the other, and as many classes.
    ///
    /// # Errors
    /// When the numbers do not fit, or one is not finite.
    pub fn new(width: usize, values: Vec<f32>, classes: Vec<u32>) -> Result<Self, DataError> {
        if width == 0 || classes.len().checked_mul(width) != Some(values.len()) {
            return Err(DataError::Shape { values: values.len(), classes: classes.len(), width });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(DataError::NotFinite { row: at / width });
        }
        Ok(Self { width, values, classes })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..][..self.width]
    }

    /// All rows, one after the other.
    pub fn rows(&self) -> &[f32] {
        &self.values
    }

    /// The class of each row.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// Two parts, of which the second has the rows at which `second` says so.
    pub fn split(&self, second: impl Fn(usize) -> bool) -> (Self, Self) {
        let mut parts = [Self { width: self.width, ..Self::default() }, Self { width: self.width, ..Self::default() }];
        for index in 0..self.len() {
            let part = &mut parts[usize::from(second(index))];
            part.values.extend_from_slice(self.row(index));
            part.classes.push(self.classes[index]);
        }
        let [first, second] = parts;
        (first, second)
    }
}

impl Data for Examples {
    fn classes(&self) -> &[u32] {
        self.classes()
    }
}
