//! Rows of integers with their classes, and commitments to them.

use super::ROW_FRACTION;
use super::commit;
use crate::train::Examples;

const MAGIC: &[u8; 8] = b"SAHROWS\0";
const VERSION: u32 = 1;
/// Most rows.
pub const MOST_ROWS: usize = 1 << 32;
/// Most numbers of a row.
pub const MOST_INPUTS: usize = 1 << 16;
/// Most classes.
pub const MOST_CLASSES: usize = 1 << 10;

/// One, in a row.
pub const ROW_ONE: i32 = 1 << ROW_FRACTION;

/// What is trained on, in whole numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct Rows {
    inputs: usize,
    values: Vec<i16>,
    classes: Vec<u16>,
}

/// Why there are no such rows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RowsError {
    /// There are none, or too many, or they are too long.
    #[error("there are {rows} rows of {inputs} numbers: from 1 to 2^32 rows of 1 to {MOST_INPUTS} can be trained on")]
    Size {
        /// Rows.
        rows: usize,
        /// Numbers of each.
        inputs: usize,
    },
    /// A row has no class among those that there may be, or a number beyond 1.
    #[error("row {0} has a number beyond 1, or a class beyond {MOST_CLASSES}")]
    Row(usize),
    /// Bytes are no rows.
    #[error("these are no rows of a provable run: they were changed or damaged, or another version wrote them")]
    Bytes,
}

impl Rows {
    /// Of numbers from -1 to 1, what lies outside taken to the nearer bound; each rounded half up, by itself.
    ///
    /// # Errors
    /// When there are none or too many.
    pub fn of(examples: &Examples) -> Result<Self, RowsError> {
        let one = f64::from(ROW_ONE);
        let round = |value: &f32| (f64::from(*value).clamp(-1.0, 1.0) * one + 0.5).floor() as i16;
        let values = (0..examples.len()).flat_map(|row| examples.row(row).iter().map(round)).collect();
        let classes = examples.classes().iter().enumerate();
        let classes = classes.map(|(row, &class)| u16::try_from(class).map_err(|_| RowsError::Row(row + 1)));
        Self::new(examples.width(), values, classes.collect::<Result<_, _>>()?)
    }

    fn new(inputs: usize, values: Vec<i16>, classes: Vec<u16>) -> Result<Self, RowsError> {
        let rows = classes.len();
        if rows == 0 || rows > MOST_ROWS || inputs == 0 || inputs > MOST_INPUTS || values.len() != inputs * rows {
            return Err(RowsError::Size { rows, inputs });
        }
        let made = Self { inputs, values, classes };
        let wrong = (0..rows).find(|&row| {
            usize::from(made.classes[row]) >= MOST_CLASSES
                || made.row(row).iter().any(|&value| i32::from(value).abs() > ROW_ONE)
        });
        wrong.map_or(Ok(made), |row| Err(RowsError::Row(row + 1)))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none: never.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Numbers of a row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// One row.
    ///
    /// # Panics
    /// If there is no such row: a mistake of the caller.
    pub fn row(&self, index: usize) -> &[i16] {
        &self.values[index * self.inputs..][..self.inputs]
    }

    /// Its class.
    ///
    /// # Panics
    /// If there is no such row: a mistake of the caller.
    pub fn class(&self, index: usize) -> usize {
        self.classes[index].into()
    }

    /// The greatest class.
    pub fn greatest(&self) -> usize {
        self.classes.iter().copied().max().unwrap_or(0).into()
    }

    /// A commitment to each row and its class, hidden under `key` for that row.
    pub(super) fn leaves(&self, key: impl Fn(u64) -> [u8; 32]) -> Vec<[u8; 32]> {
        let leaf = |row: usize| {
            let values = self.row(row).iter().map(|&value| i64::from(value));
            commit::hidden(&key(row as u64), values.chain([i64::from(self.classes[row])]))
        };
        (0..self.len()).map(leaf).collect()
    }

    /// As bytes: magic, version, sizes, rows, classes, and a BLAKE3 hash of it all.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + 2 * (self.values.len() + self.classes.len()));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.inputs as u64).to_le_bytes());
        bytes.extend_from_slice(&(self.len() as u64).to_le_bytes());
        self.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        self.classes.iter().for_each(|class| bytes.extend_from_slice(&class.to_le_bytes()));
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads [`Rows::encode`].
    ///
    /// # Errors
    /// When the bytes are something else, or no such rows.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowsError> {
        let (body, hash) = bytes.split_last_chunk::<32>().ok_or(RowsError::Bytes)?;
        let rest = body.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&VERSION.to_le_bytes()));
        let rest = rest.filter(|_| blake3::hash(body).as_bytes() == hash).ok_or(RowsError::Bytes)?;
        let (inputs, rest) = rest.split_first_chunk().ok_or(RowsError::Bytes)?;
        let (count, rest) = rest.split_first_chunk().ok_or(RowsError::Bytes)?;
        let number = |bytes: &[u8; 8]| usize::try_from(u64::from_le_bytes(*bytes)).map_err(|_| RowsError::Bytes);
        let (inputs, count) = (number(inputs)?, number(count)?);
        let numbers = inputs
            .checked_add(1)
            .and_then(|each| each.checked_mul(count))
            .filter(|n| n.checked_mul(2) == Some(rest.len()));
        numbers.ok_or(RowsError::Bytes)?;
        let (values, classes) = rest.split_at(2 * inputs * count);
        let values = values.as_chunks().0.iter().map(|value| i16::from_le_bytes(*value)).collect();
        let classes = classes.as_chunks().0.iter().map(|class| u16::from_le_bytes(*class)).collect();
        Self::new(inputs, values, classes)
    }
}

/// Rows that look like any, for tests.
#[cfg(test)]
pub(super) fn tests_rows(inputs: usize, classes: usize, count: usize, seed: u32) -> Rows {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut values = Vec::new();
    let mut labels = Vec::new();
    for _ in 0..count {
        let class = next() as usize % classes;
        values.extend((0..inputs).map(|at| {
            let centre = if at % classes == class { 0.4 } else { -0.1 };
            (centre + f64::from(next() % 1000) / 1000.0 - 0.5) as f32
        }));
        labels.push(class as u32);
    }
    Rows::of(&Examples::new(inputs, values, labels).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_half_up_and_read_again() {
        let half = 0.5 / 4096.0;
        let examples = Examples::new(3, vec![half, -half, 2.0, -7.0, 1.0, 0.25], vec![0, 3]).unwrap();
        let rows = Rows::of(&examples).unwrap();
        assert_eq!((rows.row(0), rows.row(1)), (&[1, 0, 4096][..], &[-4096, 4096, 1024][..]));
        let bytes = rows.encode();
        assert!(Rows::decode(&bytes).unwrap() == rows);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(Rows::decode(&other).is_err(), "{at}");
            assert!(Rows::decode(&bytes[..at]).is_err(), "{at}");
        }
        let sealed = |inputs: u64, count: u64, rest: &[u8]| {
            let mut bytes =
                [&MAGIC[..], &1_u32.to_le_bytes(), &inputs.to_le_bytes(), &count.to_le_bytes(), rest].concat();
            let hash = blake3::hash(&bytes);
            bytes.extend_from_slice(hash.as_bytes());
            Rows::decode(&bytes).err()
        };
        assert_eq!(sealed(u64::MAX, u64::MAX, &[]), Some(RowsError::Bytes));
        assert_eq!(sealed(0, 0, &[]), Some(RowsError::Size { rows: 0, inputs: 0 }));
        assert_eq!(sealed(1, 1, &[1, 16, 0, 0]), Some(RowsError::Row(1)), "4097");
        assert_eq!(sealed(1, 1, &[0, 16, 0, 4]), Some(RowsError::Row(1)), "class 1024");
        assert_eq!(sealed(1, 1, &[0, 16, 255, 3]), None);
    }
}
