//! One gradient of a linear head over rows that nobody sees: rows and labels are the weights of a graph, the head is its input, and
//! what comes out is the gradient over all rows at once, after noise has been added (Song, Chaudhuri and Sarwate, 2013).
//!
//! Of a row x with label y comes (σ(w·x) − y) · x, with σ out of a table, so the factor before x is at most 1 whatever the head is:
//! also a head out of its range cannot make a row count for more. An empty row, all zeros, adds nothing; one record more or less is a row
//! in the place of an empty one. How many places there are is public.

mod descent;

use crate::builder::Builder;
use crate::graph::{Graph, InputRange, InputSpec, Shape, Table, WeightId, WeightSpec, rescale_limit};
use crate::weights::Weights;
pub use descent::Descent;

/// Bits after the point of the head's numbers.
const HEAD_BITS: u8 = 15;
/// Bits after the point of what σ is looked up for.
const SCORE_BITS: u8 = 5;
/// Bits of σ's table.
const TABLE_BITS: u8 = 10;
/// Most bits that a row's length and a residual's greatest value have together, and fewest.
const PRODUCT_BITS: (u8, u8) = (18, 14);
/// Longest head: a score stays inside the table for rows of length 1.
pub const LONGEST_HEAD: f32 = ((1 << (TABLE_BITS - 1)) - 1) as f32 / (1 << SCORE_BITS) as f32;
/// What a row has for the bias, before it is brought to length 1.
pub const BIAS: f32 = 0.25;
/// Most numbers of a row, with the bias.
pub const MAX_WIDTH: u32 = 1 << 14;
/// Most labels.
pub const MAX_LABELS: u32 = 64;
/// Where the input for the noise is among the graph's.
pub const NOISE_INPUT: u32 = 1;

/// What is public of the rows, and with it the graph but for its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gradient {
    rows: u32,
    width: u32,
    heads: u32,
    coarser: u8,
    row_bits: u8,
    residual_bits: u8,
}

/// Why there is no gradient of such rows, or not with such a head.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GradientError {
    /// Sums of so many rows could leave their 32 bits.
    #[error("{0} rows are too many to be added up in 32 bits: at most {most}, so take some of them", most = Gradient::most_rows())]
    Rows(usize),
    /// Rows of no or too many numbers, or other ones than were said.
    #[error("rows have 1 to {most} numbers each, all as many; row {row} has {found}", most = MAX_WIDTH - 1)]
    Width {
        /// The first that is not so, from 1.
        row: usize,
        /// Its numbers.
        found: usize,
    },
    /// A number that is none.
    #[error("row {0} has a number that is not finite")]
    Number(usize),
    /// A label that is none.
    #[error("row {row} has label number {label} of {labels}")]
    Label {
        /// The row, from 1.
        row: usize,
        /// Its label, from 0.
        label: u32,
        /// How many there are.
        labels: u32,
    },
    /// Too few or too many labels.
    #[error("a head tells 2 to {MAX_LABELS} labels apart, not {0}")]
    Labels(u32),
    /// Sums are rounded to bits that they do not have.
    #[error("sums of rows are made coarser by 1 to 17 bits, not {0}")]
    Coarser(u8),
    /// A head of another shape, too long, or with a number that is none.
    #[error("a head has {expected} finite numbers, and at most length {LONGEST_HEAD} for each label")]
    Head {
        /// Numbers of a head.
        expected: usize,
    },
    /// Noise that the sum could not hold.
    #[error("noise up to {0} and the sums of the rows leave 32 bits")]
    Noise(u64),
}

impl Gradient {
    /// The gradient of a head for `labels` labels over this many places for rows of `features` numbers, whose sums are rounded to multiples
    /// of 2^`coarser`. Two labels have one head, more have one each, against all others.
    ///
    /// # Errors
    /// Any of them out of range.
    pub fn new(rows: usize, features: usize, labels: u32, coarser: u8) -> Result<Self, GradientError> {
        if !(2..=MAX_LABELS).contains(&labels) {
            return Err(GradientError::Labels(labels));
        }
        if !(1..MAX_WIDTH as usize).contains(&features) {
            return Err(GradientError::Width { row: 1, found: features });
        }
        if !(1..PRODUCT_BITS.0).contains(&coarser) {
            return Err(GradientError::Coarser(coarser));
        }
        let (most, fewest) = PRODUCT_BITS;
        let fits = |bits: &u8| (rows as u64) <= rescale_limit(PRODUCT_BITS.0) >> bits;
        let Some(bits) = (fewest..=most).rev().find(fits).filter(|_| rows > 0) else {
            return Err(GradientError::Rows(rows));
        };
        let row_bits = bits.div_ceil(2) + 1;
        Ok(Self {
            rows: rows as u32,
            width: features as u32 + 1,
            heads: if labels == 2 { 1 } else { labels },
            coarser,
            row_bits,
            residual_bits: bits - row_bits,
        })
    }

    /// Most places for rows.
    pub const fn most_rows() -> u64 {
        rescale_limit(PRODUCT_BITS.0) >> PRODUCT_BITS.1
    }

    /// Places for rows.
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// Numbers of a row, with the bias at the end.
    pub fn width(&self) -> usize {
        self.width as usize
    }

    /// One for two labels, else one for each.
    pub fn heads(&self) -> usize {
        self.heads as usize
    }

    /// By how many bits the sums are made coarser.
    pub fn coarser(&self) -> u8 {
        self.coarser
    }

    /// Numbers of a head, and of a gradient: [`Gradient::heads`] × [`Gradient::width`].
    pub fn numbers(&self) -> usize {
        self.heads() * self.width()
    }

    /// How far one row in the place of an empty one can change the output, in its last place: the sum of absolute differences, and of
    /// squared ones. Rounding two sums to whole numbers takes them at most 1 further apart. It holds for rows of [`Gradient::weights`], whatever
    /// the head is.
    pub fn sensitivity(&self) -> (u64, u64) {
        let (heads, numbers) = (f64::from(self.heads), self.numbers() as f64);
        let longest = 2_f64.powi(i32::from(self.row_bits + self.residual_bits) - i32::from(self.coarser));
        let l2 = heads.sqrt() * longest + numbers.sqrt();
        let l1 = numbers.sqrt() * heads.sqrt() * longest + numbers;
        let l2_squared = (l2 * l2 * (1.0 + 1e-12)).ceil();
        // Of whole numbers the squares are the greater sum.
        ((l1 * (1.0 + 1e-12)).ceil().min(l2_squared) as u64, l2_squared as u64)
    }

    /// Rows and labels as the weights of the graph. A row gets [`BIAS`] at its end and is brought to length 1, or left shorter by rounding; places
    /// beyond the rows are empty. That no row is longer is looked at here, in whole numbers, and by nobody after.
    ///
    /// # Errors
    /// The first row that has another width, a number that is none or a label that there is not; more rows than places.
    pub fn weights(&self, rows: &[&[f32]], labels: &[u32]) -> Result<Weights, GradientError> {
        if rows.len() > self.rows() || rows.len() != labels.len() {
            return Err(GradientError::Rows(rows.len()));
        }
        let (places, width) = (self.rows(), self.width());
        let mut by_row = vec![0_i32; places * width];
        for (index, (row, place)) in rows.iter().zip(by_row.chunks_mut(width)).enumerate() {
            if row.len() + 1 != width {
                return Err(GradientError::Width { row: index + 1, found: row.len() });
            }
            self.quantise(row, place).ok_or(GradientError::Number(index + 1))?;
        }
        let one = 1_i32 << self.residual_bits;
        let mut targets = vec![0_i32; self.heads() * places];
        let most = if self.heads == 1 { 2 } else { self.heads };
        for (index, &label) in labels.iter().enumerate() {
            if label >= most {
                return Err(GradientError::Label { row: index + 1, label, labels: most });
            }
            match self.heads {
                1 => targets[index] = -one * label as i32,
                _ => targets[label as usize * places + index] = -one,
            }
        }
        let by_column = (0..width).flat_map(|column| by_row.iter().skip(column).step_by(width).copied()).collect();
        Ok(Weights { tensors: vec![by_column, targets, by_row] })
    }

    /// A row in whole numbers, of a length of at most 2^`row_bits`.
    fn quantise(&self, row: &[f32], place: &mut [i32]) -> Option<()> {
        let longest = f64::from(1_u32 << self.row_bits);
        let greatest = row.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
        if !row.iter().all(|x| x.is_finite()) {
            return None;
        }
        // By the greatest first, so that no square is too large.
        let scale = greatest.max(1.0);
        let numbers = row.iter().map(|x| f64::from(*x) / scale).chain([f64::from(BIAS) / scale]);
        let length = numbers.clone().map(|x| x * x).sum::<f64>().sqrt();
        let mut factor = longest / length;
        loop {
            place.iter_mut().zip(numbers.clone()).for_each(|(place, x)| *place = (x * factor).round() as i32);
            let square: i64 = place.iter().map(|x| i64::from(*x) * i64::from(*x)).sum();
            if square <= 1 << (2 * self.row_bits) {
                return Some(());
            }
            factor *= 1.0 - 0.5 / longest;
        }
    }

    /// The graph, for weights of this root and noise up to `noise` either way. Its inputs are the head and, at [`NOISE_INPUT`], the noise.
    ///
    /// # Errors
    /// When noise and sums together could leave 32 bits.
    pub fn graph(&self, weights_root: [u8; 32], noise: u64) -> Result<Graph, GradientError> {
        let sum_bound = u64::from(self.rows) << (self.row_bits + self.residual_bits);
        let coarse = (sum_bound >> self.coarser) + 1;
        let most = coarse.saturating_add(noise);
        if noise == 0 || most >= 1 << 31 {
            return Err(GradientError::Noise(noise));
        }
        let (rows, width, heads) = (self.rows, self.width, self.heads);
        let spec = |name: &str, rows, cols| WeightSpec { name: name.into(), rows, cols };
        let residual = f64::from(1_u32 << self.residual_bits);
        let mut b = Builder::new(Graph {
            model: "gradient".into(),
            seq_len: 1,
            layers: 1,
            weights_root,
            inputs: Vec::new(),
            weights: vec![
                spec("rows.transposed", width, rows),
                spec("labels", 1, heads * rows),
                spec("rows", rows, width),
            ],
            tables: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
        });
        let shape = Shape::new(heads, 1, width);
        let input = |name: &str, max_abs, max_row_norm| InputSpec {
            name: name.into(),
            shape,
            bits: 32,
            range: InputRange::Symmetric,
            max_abs,
            max_row_norm,
        };
        let longest = longest_head();
        let head = b.input(input("head", longest, longest));
        // Cauchy and Schwarz: no score is longer than head times row.
        let reach = f64::from(longest) * f64::from(1_u32 << self.row_bits);
        let scores = b.matmul_weight("scores", head, WeightId(0), reach);
        let places = HEAD_BITS + self.row_bits - SCORE_BITS;
        let scores = b.index("scores.index", scores, places, TABLE_BITS, f64::from((1_u32 << (TABLE_BITS - 1)) - 1));
        let guesses = b.lookup("guesses", scores, &self.sigmoid(), residual);
        let guesses = b.merge_heads("guesses.all", guesses);
        let residuals = b.add_weight("residuals", guesses, WeightId(1), residual);
        let residuals = b.split_heads("residuals.apart", residuals, heads);
        let sums = b.matmul_weight("sums", residuals, WeightId(2), sum_bound as f64);
        // Exact in every mode: what one row changes relies on it.
        let sums = b.index("sums.coarser", sums, self.coarser, 32, coarse as f64);
        let noise = b.input(input("noise", noise as u32, u32::MAX));
        let noisy = b.add("noisy", sums, noise, most as f64);
        b.output(noisy);
        Ok(b.finish())
    }

    fn sigmoid(&self) -> Table {
        let half = 1_i32 << (TABLE_BITS - 1);
        let one = f64::from(1_u32 << self.residual_bits);
        let entry = |index: i32| {
            let score = if index < half { index } else { index - 2 * half };
            let score = f64::from(score) / f64::from(1_u32 << SCORE_BITS);
            (one / (1.0 + libm::exp(-score))).round() as i32
        };
        Table { name: format!("sigmoid/{}", self.residual_bits), entries: (0..2 * half).map(entry).collect() }
    }

    /// A head as the graph takes it, heads beside each other, each with its bias at the end.
    ///
    /// # Errors
    /// When it has another number of numbers, one that is none, or is longer than [`LONGEST_HEAD`].
    pub fn input(&self, head: &[f32]) -> Result<Vec<i32>, GradientError> {
        let wrong = || GradientError::Head { expected: self.numbers() };
        let length = |one: &[f32]| one.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let fits = |one: &[f32]| length(one) <= f64::from(LONGEST_HEAD);
        if head.len() != self.numbers() || !head.chunks(self.width()).all(fits) {
            return Err(wrong());
        }
        // Towards zero, so that none becomes longer.
        Ok(head.iter().map(|x| (f64::from(*x) * f64::from(1_u32 << HEAD_BITS)) as i32).collect())
    }

    /// The mean gradient over all places that an output stands for, in the order of a head.
    pub fn mean(&self, output: &[i32]) -> Vec<f32> {
        let scale = self.last_place() / f64::from(self.rows);
        output.iter().map(|x| (f64::from(*x) * scale) as f32).collect()
    }

    /// What 1 of an output is, where a row has length 1 and a residual is up to 1.
    pub fn last_place(&self) -> f64 {
        2_f64.powi(i32::from(self.coarser) - i32::from(self.row_bits + self.residual_bits))
    }
}

/// Longest head, in its last place.
fn longest_head() -> u32 {
    ((1 << (TABLE_BITS - 1)) - 1) << (HEAD_BITS - SCORE_BITS)
}

#[cfg(test)]
mod tests;
