//! The pass over the rows, and the noise.

use std::collections::{BTreeMap, HashMap};

use super::answer::{Answer, AnswerRow, Bin, Cell};
use super::condition::is_known;
use super::error::QueryError;
use super::mechanism::{CONFIDENCE, Laplace};
use super::plan::{Aggregate, Key, Plan, Present};
use super::schema::{Scale, Unit, number};
use super::sql::Fraction;
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
    fn sum(&self, table: &str) -> Result<Vec<(Vec<String>, Group)>, QueryError> {
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
                let so_far = of_persons.entry(cells[person].trim().to_owned()).or_default();
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
                    key.values.as_ref().and_then(|values| values.iter().position(|known| known == value)).unwrap_or(0)
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
        for values in self.keys.iter().filter_map(|key| key.values.as_ref()) {
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
            (Aggregate::Top { values, choice, k, .. }, Sum::Many(counts)) => {
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
fn mean(scale: &Scale, (sum, above): (&Laplace, i64), (count, rows): (&Laplace, i64)) -> Cell {
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

fn candidates(scale: &Scale, stride: i64) -> i64 {
    scale.width() / stride + 1
}

/// For each candidate c minus |below · (values < c) − above · (values > c)|, with weights such that the quantile has 0.
fn scores(values: &[i64], scale: &Scale, stride: i64, part: Fraction) -> Vec<i64> {
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

struct Group {
    rows: i64,
    sums: Vec<Sum>,
}

/// Sums of at most 2³⁰ rows of at most 2³² steps each.
enum Sum {
    One(i64),
    Two(i64, i64),
    Many(Vec<i64>),
    Values(Vec<i64>),
}

impl Group {
    fn new(plan: &Plan) -> Self {
        let sum = |aggregate: &Aggregate| match aggregate {
            Aggregate::Found | Aggregate::Count { .. } | Aggregate::Sum { .. } => Sum::One(0),
            Aggregate::Mean { .. } => Sum::Two(0, 0),
            Aggregate::Quantile { .. } => Sum::Values(Vec::new()),
            Aggregate::Histogram { bins, .. } => Sum::Many(vec![0; *bins as usize]),
            Aggregate::Top { values, .. } => Sum::Many(vec![0; values.len()]),
        };
        Self { rows: 0, sums: plan.parts.iter().map(|part| sum(&part.aggregate)).collect() }
    }
}

impl Sum {
    fn add(&mut self, aggregate: &Aggregate, cells: &[String]) {
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
            (Self::Many(counts), Aggregate::Top { place, values, .. }) => {
                let cell = cells[*place].trim();
                if let Some(at) = values.iter().position(|value| value == cell) {
                    counts[at] += 1;
                }
            }
            _ => {}
        }
    }
}

impl Key {
    /// The group of a row; none if it is missing.
    fn of(&self, cells: &[String]) -> Option<String> {
        let cell = cells[self.place].trim();
        is_known(cell, self.values.as_deref()).then(|| cell.to_owned())
    }
}

impl Present {
    fn holds(&self, cells: &[String]) -> bool {
        match self {
            Self::Number(place) => number(&cells[*place]).is_some(),
            Self::Word(place, values) => is_known(cells[*place].trim(), values.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Query, Schema, Wish};
    use super::*;

    const TABLE: &str =
        "id,city,age,note\n1,Oasis,30,x\n1,Oasis,40,x\n1,Dune,50,y\n2,Dune,60,x\n3,Oasis,?,z\n4,Nowhere,20,x\n";

    fn schema(unit: Unit) -> Schema {
        let columns = vec![
            ("age".to_owned(), Kind::Number { low: 0.0, high: 100.0, step: 0.5 }),
            ("city".to_owned(), Kind::Values(vec!["Oasis".into(), "Dune".into(), "Well".into()])),
            ("note".to_owned(), Kind::Words),
        ];
        Schema::new(columns, unit).unwrap()
    }

    fn person(rows: u32) -> Unit {
        Unit::Person { column: "id".to_owned(), rows }
    }

    fn ask(question: &str, unit: Unit, epsilon: f64, delta: Option<f64>) -> Result<Answer, QueryError> {
        let plan = Plan::new(&Query::parse(question)?, &schema(unit), Wish { epsilon, delta })?;
        plan.answer(TABLE, &mut Generator::from_seed([5; 32]))
    }

    /// With so much ε that there is no noise.
    fn exact(question: &str, unit: Unit) -> Vec<(Vec<String>, Vec<Cell>)> {
        let rows = ask(question, unit, 30.0, None).unwrap().rows;
        rows.into_iter().map(|row| (row.keys, row.cells)).collect()
    }

    fn numbers(cells: &[Cell]) -> Vec<f64> {
        let number = |cell: &Cell| match cell {
            Cell::Number { value, low, high } => {
                assert!(low <= value && value <= high);
                *value
            }
            Cell::Quantile { value, .. } => *value,
            other => panic!("{other:?}"),
        };
        cells.iter().map(number).collect()
    }

    #[test]
    fn without_noise_answers_are_those_of_the_table() {
        let all = exact("SELECT COUNT(*), COUNT(age), COUNT(city) FROM t", Unit::Row);
        assert_eq!(numbers(&all[0].1), [6.0, 5.0, 5.0]);
        let query = Query::parse("SELECT SUM(age), AVG(age) FROM t WHERE city = 'Oasis'").unwrap();
        let plan = Plan::new(&query, &schema(Unit::Row), Wish { epsilon: 1.0, delta: None }).unwrap();
        let sums = plan.sum(TABLE).unwrap().remove(0).1.sums;
        // In steps of a half, and in half steps above 50.
        assert!(matches!(sums[..], [Sum::One(140), Sum::Two(-120, 2)]));
        assert_eq!(numbers(&exact("SELECT MEDIAN(age) FROM t", Unit::Row)[0].1), [40.0]);
        let by_city = exact("SELECT city, COUNT(*) FROM t GROUP BY city", Unit::Row);
        let found: Vec<_> = by_city.iter().map(|(keys, cells)| (keys[0].as_str(), numbers(cells)[0])).collect();
        assert_eq!(
            found,
            [("Oasis", 3.0), ("Dune", 2.0), ("Well", 0.0)],
            "each declared one, in that order, and no other"
        );
        let Cell::Bins { bins, error } = &exact("SELECT HISTOGRAM(age, 4) FROM t", Unit::Row)[0].1[0] else { panic!() };
        let counts: Vec<_> = bins.iter().map(|bin| (bin.from, bin.to, bin.count)).collect();
        assert_eq!(counts, [(0.0, 25.0, 1), (25.5, 50.0, 3), (50.5, 75.0, 1), (75.5, 100.0, 0)]);
        assert_eq!(*error, 0.0);
        let Cell::Top { values, .. } = &exact("SELECT TOP(city, 2) FROM t", Unit::Row)[0].1[0] else { panic!() };
        assert_eq!(values, &["Oasis", "Dune"]);
        let scale = Scale::of(0.0, 100.0, 0.5);
        let (sum, count) = (Laplace::new(200, 1e3).unwrap(), Laplace::new(1, 1e2).unwrap());
        let Cell::Number { value, low, high } = mean(&scale, (&sum, -200), (&count, 5)) else { panic!() };
        assert!(value == 40.0 && low <= 40.0 && high >= 40.0 && high - low < 1.0, "{low} {high}");
    }

    #[test]
    fn so_many_rows_of_a_person_count_as_was_declared() {
        let count = |rows, question| numbers(&exact(question, person(rows))[0].1)[0];
        assert_eq!(count(1, "SELECT COUNT(*) FROM t WHERE age > 0 OR age IS NULL"), 4.0);
        // The noise for three rows is three times as wide: whatever it is, it is an honest number.
        let noise = |rows| {
            let query = Query::parse("SELECT SUM(age) FROM t").unwrap();
            let plan = Plan::new(&query, &schema(person(rows)), Wish { epsilon: 1.0, delta: None }).unwrap();
            plan.noise()[0].scale
        };
        assert!((noise(3) / noise(1) - 3.0).abs() < 1e-9 && (noise(1) - 100.0).abs() < 1e-6);
        // Those that the condition lets pass are counted, the first ones.
        assert_eq!(count(1, "SELECT COUNT(*) FROM t WHERE city = 'Dune'"), 2.0);
    }

    #[test]
    fn groups_that_are_not_declared_are_told_when_enough_rows_make_them() {
        let question = "SELECT note, COUNT(*) FROM t GROUP BY note";
        assert!(ask(question, Unit::Row, 5.0, None).unwrap_err().to_string().contains("--delta"));
        let plan = |rows| {
            Plan::new(&Query::parse(question).unwrap(), &schema(person(rows)), Wish { epsilon: 2.0, delta: Some(1e-6) })
        };
        let (one, three) = (plan(1).unwrap(), plan(3).unwrap());
        assert_eq!(one.threshold(), Some(1 + Laplace::new(1, 2.0).unwrap().tail(1e-6)));
        assert!(three.threshold() > one.threshold().map(|threshold| 2 * threshold));
        assert!(one.failure() >= 1e-6);
        // Ten thousand tables of one row: the threshold holds it back. Thousands of rows pass.
        let mut generator = Generator::from_seed([8; 32]);
        let told = |table: &str, generator: &mut Generator| one.answer(table, generator).unwrap().rows.len();
        assert_eq!((0..10_000).map(|_| told("id,note\n1,rare\n", &mut generator)).sum::<usize>(), 0);
        let many: String = (0..50).map(|i| format!("{i},common\n{i},rare{i}\n")).collect();
        let table = format!("id,note\n{many}");
        let answer = one.answer(&table, &mut generator).unwrap();
        assert_eq!(answer.rows.iter().map(|row| row.keys[0].as_str()).collect::<Vec<_>>(), ["common"]);
        assert!(
            ask("SELECT city, COUNT(*) FROM t GROUP BY city", Unit::Row, 1.0, Some(1e-9)).is_err(),
            "no δ is needed"
        );
    }

    /// What neighbours can do to the exact sums, over random tables: no more than the noise is for.
    #[test]
    fn one_person_more_moves_sums_by_no_more_than_was_planned() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let question = "SELECT city, COUNT(*), SUM(age), AVG(age), MEDIAN(age) FROM t GROUP BY city";
        let plan = Plan::new(&Query::parse(question).unwrap(), &schema(person(2)), Wish { epsilon: 1.0, delta: None })
            .unwrap();
        let sensitivity = |at: usize| match &plan.parts[at].aggregate {
            Aggregate::Count { noise, .. } | Aggregate::Sum { noise, .. } => noise.scale() * 0.25,
            Aggregate::Mean { sum, .. } => sum.scale() * 0.125,
            Aggregate::Quantile { choice, .. } => choice.scale() * 0.25 / 2.0,
            _ => 0.0,
        };
        for _ in 0..60 {
            let mut row =
                |id: u64| format!("{id},{},{},x\n", ["Oasis", "Dune"][random(2) as usize], random(300) as i64 - 100);
            let others: Vec<String> = (0..12).map(|i| row(i % 5)).collect();
            let more: Vec<String> = (0..4).map(|_| row(9)).collect();
            let table = |rows: &[String]| format!("id,city,age,note\n{}", rows.concat());
            let (without, with) =
                (plan.sum(&table(&others)).unwrap(), plan.sum(&table(&[more, others].concat())).unwrap());
            for at in 0..4 {
                let moved: i64 =
                    without.iter().zip(&with).map(|((_, a), (_, b))| change(&a.sums[at], &b.sums[at])).sum();
                assert!(moved as f64 <= sensitivity(at) + 1e-3, "{at}: {moved} of {}", sensitivity(at));
            }
        }
    }

    /// Of a quantile, what a score moves by at most.
    fn change(a: &Sum, b: &Sum) -> i64 {
        match (a, b) {
            (Sum::One(a), Sum::One(b)) => (a - b).abs(),
            (Sum::Two(a, _), Sum::Two(b, _)) => (a - b).abs(),
            (Sum::Values(a), Sum::Values(b)) => {
                let half = Fraction { above: 1, below: 2 };
                let of = |values| scores(values, &Scale::of(0.0, 100.0, 0.5), 1, half);
                of(a).iter().zip(of(b)).map(|(a, b)| (a - b).abs()).max().unwrap_or(0)
            }
            _ => i64::MAX,
        }
    }

    /// A count is its noise: the chance of each answer is the distribution's.
    #[test]
    fn answers_have_the_noise_that_was_said() {
        let plan = Plan::new(
            &Query::parse("SELECT COUNT(*) FROM t").unwrap(),
            &schema(Unit::Row),
            Wish { epsilon: 0.7, delta: None },
        )
        .unwrap();
        let mut generator = Generator::from_seed([1; 32]);
        let mut counts = [0_u32; 5];
        for _ in 0..40_000 {
            let value = numbers(&plan.answer(TABLE, &mut generator).unwrap().rows[0].cells)[0] - 6.0;
            if value.abs() <= 2.0 {
                counts[(value + 2.0) as usize] += 1;
            }
        }
        let ratio = (-0.7_f64).exp();
        for (at, count) in counts.iter().enumerate() {
            let chance = (1.0 - ratio) / (1.0 + ratio) * ratio.powi((at as i32 - 2).abs());
            let (mean, deviation) = (40_000.0 * chance, (40_000.0 * chance * (1.0 - chance)).sqrt());
            assert!((f64::from(*count) - mean).abs() < 5.0 * deviation, "{at} {counts:?}");
        }
    }

    #[test]
    fn a_table_that_is_not_well_formed_is_refused() {
        let plan = Plan::new(
            &Query::parse("SELECT SUM(age) FROM t").unwrap(),
            &schema(Unit::Row),
            Wish { epsilon: 1.0, delta: None },
        )
        .unwrap();
        for (table, said) in [
            ("city\nOasis\n", "no column \"age\""),
            ("age,age\n1,2\n", "two columns"),
            ("age,city\n1\n", "line 2"),
            ("age\n\"1\n", "quote"),
        ] {
            let error = plan.answer(table, &mut Generator::from_seed([0; 32])).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_plan_costs_no_more_than_was_wished() {
        for question in [
            "SELECT COUNT(*) FROM t",
            "SELECT AVG(age), SUM(age), MEDIAN(age), COUNT(city) FROM t",
            "SELECT TOP(city, 2), HISTOGRAM(age, 10) FROM t",
            "SELECT city, AVG(age) FROM t GROUP BY city",
        ] {
            for epsilon in [0.01, 1.0, 8.0] {
                let wish = Wish { epsilon, delta: None };
                let plan = Plan::new(&Query::parse(question).unwrap(), &schema(person(3)), wish).unwrap();
                let alone: f64 = plan.noise().iter().map(|noise| noise.epsilon).sum();
                assert!((alone / epsilon - 1.0).abs() < 1e-9, "{question}");
                let mut last = 0.0;
                for order in [1.25, 2.0, 16.0, 512.0] {
                    let cost = plan.divergence(order);
                    assert!(
                        cost > last && cost <= epsilon && cost <= order * epsilon * epsilon / 2.0 + 1e-9,
                        "{question}"
                    );
                    last = cost;
                }
            }
        }
    }
}
