//! What rows add up to, exactly.

use super::condition::is_known;
use super::plan::{Aggregate, Key, Plan, Present};
use super::schema::{Scale, number};
use super::sql::Fraction;

/// How many values a quantile is chosen among.
pub fn candidates(scale: &Scale, stride: i64) -> i64 {
    scale.width() / stride + 1
}

/// For each candidate c minus |below · (values < c) − above · (values > c)|, with weights such that the quantile has 0.
pub fn scores(values: &[i64], scale: &Scale, stride: i64, part: Fraction) -> Vec<i64> {
    let count = candidates(scale, stride) as usize;
    // At a candidate, and between it and the next.
    let (mut at, mut between) = (vec![0_i64; count], vec![0_i64; count]);
    for value in values {
        let index = ((value - scale.low) / stride) as usize;
        let exact = (value - scale.low) % stride == 0;
        if exact { at[index] += 1 } else { between[index] += 1 }
    }
    let (below, above) = (i64::from(part.below - part.above), i64::from(part.above));
    let all = values.len() as i64;
    let mut less = 0;
    at.iter()
        .zip(&between)
        .map(|(at, between)| {
            let score = -(below * less - above * (all - less - at)).abs();
            less += at + between;
            score
        })
        .collect()
}

/// What is summed of one group.
pub struct Group {
    /// How many rows are in it.
    pub rows: i64,
    /// For each part of the plan.
    pub sums: Vec<Sum>,
}

/// Sums of at most 2³⁰ rows of at most 2³² steps each.
pub enum Sum {
    One(i64),
    Two(i64, i64),
    Many(Vec<i64>),
    Values(Vec<i64>),
}

impl Group {
    /// Nothing yet.
    pub fn new(plan: &Plan) -> Self {
        let sum = |aggregate: &Aggregate| match aggregate {
            Aggregate::Found | Aggregate::Count { .. } | Aggregate::Sum { .. } => Sum::One(0),
            Aggregate::Mean { .. } => Sum::Two(0, 0),
            Aggregate::Quantile { .. } => Sum::Values(Vec::new()),
            Aggregate::Histogram { bins, .. } => Sum::Many(vec![0; *bins as usize]),
            Aggregate::Top { declared, .. } => Sum::Many(vec![0; declared.values().len()]),
        };
        Self { rows: 0, sums: plan.parts.iter().map(|part| sum(&part.aggregate)).collect() }
    }
}

impl Sum {
    /// And a row.
    pub fn add(&mut self, aggregate: &Aggregate, cells: &[String]) {
        match (self, aggregate) {
            (Self::One(count), Aggregate::Count { of, .. }) => {
                *count += i64::from(of.as_ref().is_none_or(|present| present.holds(cells)));
            }
            (Self::One(sum), Aggregate::Sum { place, scale, .. }) => *sum += scale.units(&cells[*place]).unwrap_or(0),
            (Self::Two(above, rows), Aggregate::Mean { place, scale, .. }) => {
                if let Some(units) = scale.units(&cells[*place]) {
                    *above += 2 * units - (scale.low + scale.high);
                    *rows += 1;
                }
            }
            (Self::Values(values), Aggregate::Quantile { place, scale, .. }) => {
                values.extend(scale.units(&cells[*place]))
            }
            (Self::Many(counts), Aggregate::Histogram { place, scale, bins, .. }) => {
                if let Some(units) = scale.units(&cells[*place]) {
                    counts[((units - scale.low) * i64::from(*bins) / (scale.width() + 1)) as usize] += 1;
                }
            }
            (Self::Many(counts), Aggregate::Top { place, declared, .. }) => {
                if let Some(at) = declared.place(cells[*place].trim()) {
                    counts[at] += 1;
                }
            }
            _ => {}
        }
    }
}

impl Key {
    /// The group of a row; none if it is missing.
    pub fn of(&self, cells: &[String]) -> Option<String> {
        let cell = cells[self.place].trim();
        is_known(cell, self.declared.as_deref()).then(|| cell.to_owned())
    }
}

impl Present {
    fn holds(&self, cells: &[String]) -> bool {
        match self {
            Self::Number(place) => number(&cells[*place]).is_some(),
            Self::Word(place, declared) => is_known(cells[*place].trim(), declared.as_deref()),
        }
    }
}
