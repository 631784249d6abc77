//! The pass over the rows, and the noise.

use std::collections::{BTreeMap, HashMap};

use super::answer::{Answer, AnswerRow, Bin, Cell};
use super::error::QueryError;
use super::mechanism::{CONFIDENCE, Laplace};
use super::plan::{Aggregate, Key, Plan};
use super::schema::{Scale, Unit};
use super::sums::{Group, Sum, candidates, scores};
use crate::noise::Generator;
use crate::rows::{MOST_BYTES, Rows};

/// The names of a table's columns: its first line.
///
/// # Errors
/// When that line cannot be read.
pub fn columns(table: &str) -> Result<Vec<String>, QueryError> {
    let first = Rows::of(table).next().transpose();
    let names = first.map_err(|error| QueryError::Row { line: error.line, reason: error.reason.to_owned() })?;
    Ok(names.map_or(Vec::new(), |(_, names)| names.iter().map(|name| name.trim().to_owned()).collect()))
}

/// The exact sums of a question's groups: what nobody but [`Plan::tell`] sees.
pub struct Sums(Vec<(Vec<String>, Group)>);

impl Plan {
    /// The answer from a table: comma-separated values with a first line of names (RFC 4180), at most 1 GiB. `generator` has a
    /// fresh secret seed.
    ///
    /// Neither the time that this takes nor its errors are bounded by ε: both are for the owner of the table alone.
    ///
    /// # Errors
    /// When the table is not well-formed or has not the columns.
    pub fn answer(&self, table: &str, generator: &mut Generator) -> Result<Answer, QueryError> {
        Ok(self.tell(self.sums(table)?, generator))
    }

    /// What will be told with noise: nothing of it may leave, and nothing is spent yet.
    ///
    /// # Errors
    /// As [`Plan::answer`].
    pub fn sums(&self, table: &str) -> Result<Sums, QueryError> {
        self.sum(table).map(Sums)
    }

    /// The answer from this plan's sums, which are used up: noise is drawn once.
    pub fn tell(&self, sums: Sums, generator: &mut Generator) -> Answer {
        let Sums(groups) = sums;
        let mut rows = Vec::with_capacity(groups.len());
        for (keys, group) in groups {
            let told = match &self.found {
                None => 0,
                Some(found) => found.noise.noisy(group.rows, generator),
            };
            if self.found.as_ref().is_some_and(|found| told < found.threshold) {
                continue;
            }
            let cells = self.parts.iter().zip(&group.sums);
            let cells = cells.map(|(part, sum)| self.cell(&part.aggregate, sum, told, generator)).collect();
            rows.push(AnswerRow { keys, cells });
        }
        Answer {
            keys: self.keys.iter().map(|key| key.name.clone()).collect(),
            names: self.parts.iter().map(|part| part.name.clone()).collect(),
            rows,
        }
    }

    /// The exact sums of all groups: in the order of what was declared, or by their names.
    pub(super) fn sum(&self, table: &str) -> Result<Vec<(Vec<String>, Group)>, QueryError> {
        if table.len() > MOST_BYTES {
            return Err(QueryError::Row { line: 1, reason: "the table is longer than 1 GiB".to_owned() });
        }
        let mut rows = Rows::of(table);
        let wrong = |line, reason: &str| QueryError::Row { line, reason: reason.to_owned() };
        let names = match rows.next() {
            Some(names) => names.map_err(|error| wrong(error.line, error.reason))?.1,
            None => Vec::new(),
        };
        let places = self.places(&names)?;
        let mut groups = self.declared();
        let mut of_persons: HashMap<String, u32> = HashMap::new();
        let mut cells = vec![String::new(); places.len()];
        for row in rows {
            let (line, mut row) = row.map_err(|error| wrong(error.line, error.reason))?;
            if row.len() != names.len() {
                let reason = format!("{} cells, and {} columns have a name", row.len(), names.len());
                return Err(QueryError::Row { line, reason });
            }
            for (cell, place) in cells.iter_mut().zip(&places) {
                *cell = std::mem::take(&mut row[*place]);
            }
            if self.test.as_ref().is_some_and(|test| test.holds(&cells) != Some(true)) {
                continue;
            }
            let Some(key) = self.keys.iter().map(|key| key.of(&cells)).collect::<Option<Vec<String>>>() else {
                continue;
            };
            if let (Some(person), Unit::Person { rows, .. }) = (self.person, &self.unit) {
                let person = cells[person].trim();
                // A row that is nobody's: counted as one person's, rows of one could make room for those of another.
                if person.is_empty() {
                    continue;
                }
                let so_far = of_persons.entry(person.to_owned()).or_default();
                if *so_far >= *rows {
                    continue;
                }
                *so_far += 1;
            }
            let group = groups.entry(key).or_insert_with(|| Group::new(self));
            group.rows += 1;
            for (sum, part) in group.sums.iter_mut().zip(&self.parts) {
                sum.add(&part.aggregate, &cells);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        if self.found.is_none() {
            let order = |keys: &[String]| -> Vec<usize> {
                let place = |(key, value): (&Key, &String)| {
                    key.declared.as_ref().and_then(|declared| declared.place(value)).unwrap_or(0)
                };
                self.keys.iter().zip(keys).map(place).collect()
            };
            groups.sort_by_cached_key(|(keys, _)| order(keys));
        }
        Ok(groups)
    }

    /// Where the needed columns are.
    fn places(&self, names: &[String]) -> Result<Vec<usize>, QueryError> {
        let place = |name: &String| {
            let mut found = (0..names.len()).filter(|&at| names[at].trim() == name);
            match (found.next(), found.next()) {
                (Some(at), None) => Ok(at),
                (None, _) => Err(QueryError::Missing(name.clone())),
                (Some(_), Some(_)) => {
                    Err(QueryError::Row { line: 1, reason: format!("two columns are called {name:?}") })
                }
            }
        };
        self.columns.iter().map(place).collect()
    }

    /// The groups that are told whether or not there are rows in them.
    fn declared(&self) -> BTreeMap<Vec<String>, Group> {
        if self.found.is_some() {
            return BTreeMap::new();
        }
        let mut all = vec![Vec::new()];
        for values in self.keys.iter().filter_map(|key| key.declared.as_ref()).map(|declared| declared.values()) {
            let with = |keys: &Vec<String>, value: &String| [keys.as_slice(), std::slice::from_ref(value)].concat();
            all = all.iter().flat_map(|keys| values.iter().map(move |value| with(keys, value))).collect();
        }
        all.into_iter().map(|keys| (keys, Group::new(self))).collect()
    }

    fn cell(&self, aggregate: &Aggregate, sum: &Sum, told: i64, generator: &mut Generator) -> Cell {
        let number = |value: f64, reach: f64| Cell::Number { value, low: value - reach, high: value + reach };
        match (aggregate, sum) {
            (Aggregate::Found, _) => {
                let reach = self.found.as_ref().map_or(0, |found| found.noise.reach(1.0 - CONFIDENCE));
                number(told as f64, reach as f64)
            }
            (Aggregate::Count { noise, .. }, Sum::One(count)) => {
                number(noise.noisy(*count, generator) as f64, noise.reach(1.0 - CONFIDENCE) as f64)
            }
            (Aggregate::Sum { noise, scale, .. }, Sum::One(sum)) => {
                let (value, reach) = (noise.noisy(*sum, generator), noise.reach(1.0 - CONFIDENCE));
                number(scale.value(value as f64), scale.value(reach as f64))
            }
            (Aggregate::Mean { scale, sum, count, .. }, Sum::Two(above, rows)) => {
                mean(scale, (sum, sum.noisy(*above, generator)), (count, count.noisy(*rows, generator)))
            }
            (Aggregate::Quantile { scale, stride, part, choice, .. }, Sum::Values(values)) => {
                let candidates = candidates(scale, *stride);
                let scores = scores(values, scale, *stride, *part);
                let chosen = choice.choose(scores.into_iter(), generator).unwrap_or(0) as i64;
                let rank_error = choice.loss(candidates as usize) / f64::from(part.below);
                Cell::Quantile { value: scale.value((scale.low + chosen * stride) as f64), rank_error }
            }
            (Aggregate::Histogram { scale, bins, noise, .. }, Sum::Many(counts)) => {
                let edge = |bin: i64| scale.low + (bin * (scale.width() + 1) + i64::from(*bins) - 1) / i64::from(*bins);
                let bins = (0..).zip(counts).map(|(bin, count)| Bin {
                    from: scale.value(edge(bin) as f64),
                    to: scale.value((edge(bin + 1) - 1) as f64),
                    count: noise.noisy(*count, generator),
                });
                Cell::Bins { bins: bins.collect(), error: noise.reach(1.0 - CONFIDENCE) as f64 }
            }
            (Aggregate::Top { declared, choice, k, .. }, Sum::Many(counts)) => {
                let values = declared.values();
                let mut left: Vec<usize> = (0..values.len()).collect();
                let mut top = Vec::new();
                for _ in 0..*k {
                    let Some(chosen) = choice.choose(left.iter().map(|&at| counts[at]), generator) else { break };
                    top.push(values[left.remove(chosen)].clone());
                }
                Cell::Top { values: top, count_error: choice.loss(values.len()) }
            }
            // A group's sums are made from the same parts.
            _ => number(f64::NAN, f64::NAN),
        }
    }
}

/// From what is above the middle, in half steps, and the number of rows.
pub(super) fn mean(scale: &Scale, (sum, above): (&Laplace, i64), (count, rows): (&Laplace, i64)) -> Cell {
    let middle = (scale.low + scale.high) as f64;
    // Each of the two holds with half of the doubt.
    let doubt = (1.0 - CONFIDENCE) / 2.0;
    let (reach, off) = (sum.reach(doubt) as f64, count.reach(doubt) as f64);
    let rows = rows as f64;
    let at = |above: f64, rows: f64| {
        let units = (middle + above / rows.max(1.0)) / 2.0;
        scale.value(units.clamp(scale.low as f64, scale.high as f64))
    };
    let corners = [-off, off].map(|off| [at(above as f64 - reach, rows + off), at(above as f64 + reach, rows + off)]);
    let corners = corners.as_flattened();
    Cell::Number {
        value: at(above as f64, rows),
        low: corners.iter().copied().fold(f64::INFINITY, f64::min),
        high: corners.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}
