//! Rows that are randomised before they leave whoever has them: local differential privacy.
//!
//! Neighbours are two rows that differ in whatever way. How many rows there are, and in which order, is not hidden.

use super::error::{QueryError, in_range};
use super::schema::{Kind, Scale, Schema};
use crate::noise::{DiscreteLaplace, Generator};
use crate::rows::{MOST_BYTES, Rows};

/// How rows will be randomised: it depends on what was declared, never on rows.
pub struct LocalPlan {
    columns: Vec<(String, Way)>,
    epsilon: f64,
}

/// How a column is.
enum Way {
    /// Laplace noise on whole steps, taken to the nearer bound.
    Number { scale: Scale, noise: DiscreteLaplace },
    /// The true value where a random word is below `keep`, else one of the others.
    Word { values: Vec<String>, keep: u64 },
}

/// A table that may leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Randomised {
    /// Comma-separated values with a line of names.
    pub table: String,
    /// Rows.
    pub rows: u64,
}

impl LocalPlan {
    /// Each column that is declared (and not ignored) is told with an equal part of ε, which a row costs in all.
    ///
    /// # Errors
    /// When ε is not between 10⁻³ and 50, nothing is declared, or a column has words that are not.
    pub fn new(schema: &Schema, epsilon: f64) -> Result<Self, QueryError> {
        in_range("ε of a row", epsilon, (1e-3, 50.0), "from 0.001 to 50")?;
        let told: Vec<_> = schema.columns().iter().filter(|(_, kind)| *kind != Kind::Ignored).collect();
        if told.is_empty() {
            return Err(QueryError::unsupported("a table without declared columns", "declare ranges or values"));
        }
        let part = epsilon / told.len() as f64 * (1.0 - 1e-12);
        let way = |name: &str, kind: &Kind| match kind {
            Kind::Number { low, high, step } => {
                let scale = Scale::of(*low, *high, *step);
                let wide = scale.width() as f64 / part;
                let noise = DiscreteLaplace::new(wide).map_err(|_| QueryError::Range {
                    what: "the scale of the noise, in steps of the column",
                    value: wide,
                    range: "between 0.01 and 2^40: take another ε, or declare a coarser step",
                })?;
                Ok(Way::Number { scale, noise })
            }
            Kind::Values(values) => {
                let others = values.len() as f64 - 1.0;
                let chance = if others == 0.0 { 1.0 } else { 1.0 / (1.0 + others * (-part).exp()) * (1.0 - 1e-12) };
                // As a number of 64 bits after the point; a chance of one is as good as it gets.
                Ok(Way::Word { values: values.clone(), keep: (chance * 2_f64.powi(64)) as u64 })
            }
            other => {
                let needs = "its words would have to be declared; or ignore it";
                Err(QueryError::Kind { doing: "randomising", column: name.to_owned(), is: other.name(), needs })
            }
        };
        let columns = told.into_iter().map(|(name, kind)| Ok((name.clone(), way(name, kind)?)));
        Ok(Self { columns: columns.collect::<Result<_, QueryError>>()?, epsilon })
    }

    /// What a row costs whoever it speaks of.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The table, randomised. What is missing is told as a value drawn at random, so that it is not told that it is missing.
    ///
    /// # Errors
    /// When the table is not well-formed, or has not the columns. Errors are for whoever has the rows.
    pub fn randomise(&self, table: &str, generator: &mut Generator) -> Result<Randomised, QueryError> {
        let wrong = |line, reason: &str| QueryError::Row { line, reason: reason.to_owned() };
        if table.len() > MOST_BYTES {
            return Err(wrong(1, "the table is longer than 1 GiB"));
        }
        let mut rows = Rows::of(table);
        let names =
            rows.next().transpose().map_err(|error| wrong(error.line, error.reason))?.map_or(Vec::new(), |row| row.1);
        let place = |(name, _): &(String, Way)| {
            let found = names.iter().position(|known| known.trim() == name);
            found.ok_or_else(|| QueryError::Missing(name.clone()))
        };
        let places = self.columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let heads: Vec<String> = self.columns.iter().map(|(name, _)| quoted(name)).collect();
        let mut told = Randomised { table: heads.join(",") + "\n", rows: 0 };
        for row in rows {
            let (line, cells) = row.map_err(|error| wrong(error.line, error.reason))?;
            if cells.len() != names.len() {
                return Err(wrong(line, "it has another number of cells than the first line"));
            }
            let cells =
                self.columns.iter().zip(&places).map(|((_, way), place)| way.tell(cells[*place].trim(), generator));
            told.table.push_str(&(cells.collect::<Vec<_>>().join(",") + "\n"));
            told.rows += 1;
        }
        Ok(told)
    }
}

impl Way {
    fn tell(&self, cell: &str, generator: &mut Generator) -> String {
        match self {
            Self::Number { scale, noise } => {
                let drawn = scale.low + generator.below(scale.width() as u64 + 1) as i64;
                let mut units = [scale.units(cell).unwrap_or(drawn)];
                noise.add(generator, &mut units);
                scale.value(units[0].clamp(scale.low, scale.high) as f64).to_string()
            }
            Self::Word { values, keep } => {
                let count = values.len() as u64;
                let truth = values.iter().position(|value| value == cell).map(|at| at as u64);
                let (chance, any) = (generator.word(), generator.below(count));
                let told = match truth {
                    Some(truth) if chance < *keep || count == 1 => truth,
                    // One of the others, each as likely.
                    Some(truth) => (truth + 1 + generator.below(count - 1)) % count,
                    None => any,
                };
                quoted(&values[told as usize])
            }
        }
    }
}

/// A cell as RFC 4180 writes it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::Unit;
    use super::*;

    fn plan(epsilon: f64) -> LocalPlan {
        let columns = vec![
            ("n".to_owned(), Kind::Number { low: 0.0, high: 2.0, step: 1.0 }),
            ("v".to_owned(), Kind::Values(vec!["a".into(), "b".into(), "c, d".into()])),
            ("id".to_owned(), Kind::Ignored),
        ];
        LocalPlan::new(&Schema::new(columns, Unit::Row).unwrap(), epsilon).unwrap()
    }

    /// How often each pair of cells is told of a row.
    fn told(row: &str, plan: &LocalPlan) -> std::collections::BTreeMap<(String, String), f64> {
        const ROWS: usize = 60_000;
        let table = format!("id,v,n\n{}", format!("7,{row}\n").repeat(ROWS));
        let told = plan.randomise(&table, &mut Generator::from_seed([3; 32])).unwrap();
        assert_eq!(told.rows, ROWS as u64);
        let mut rows = Rows::of(&told.table);
        assert_eq!(rows.next().unwrap().unwrap().1, ["n", "v"], "what is ignored does not leave");
        let mut counts = std::collections::BTreeMap::new();
        for row in rows {
            let row = row.unwrap().1;
            *counts.entry((row[0].clone(), row[1].clone())).or_default() += 1.0 / ROWS as f64;
        }
        counts
    }

    #[test]
    fn no_two_rows_are_told_apart_by_more_than_epsilon() {
        let epsilon = 2.0;
        let plan = plan(epsilon);
        let all = ["a,0", "b,2", "\"c, d\",1", "z,?"].map(|row| told(row, &plan));
        for one in &all {
            assert_eq!(one.len(), 9, "everything can be told of every row: {one:?}");
            for other in &all {
                for (told, chance) in one {
                    assert!((chance / other[told]).ln() <= epsilon + 0.25, "{told:?}");
                }
            }
        }
        // Of words the chance of the truth is e^{ε/2} times that of each other one.
        let of_words =
            |word: &str| -> f64 { all[0].iter().filter(|((_, told), _)| told == word).map(|(_, chance)| chance).sum() };
        let want = 1.0_f64.exp() / (1.0_f64.exp() + 2.0);
        assert!((of_words("a") - want).abs() < 0.01 && (of_words("b") - (1.0 - want) / 2.0).abs() < 0.01);
        // Of numbers it is discrete Laplace noise with scale 2 / (ε/2), at the bound all that is beyond it.
        let ratio = (-0.5_f64).exp();
        let at_bound: f64 = all[0].iter().filter(|((told, _), _)| told == "0").map(|(_, chance)| chance).sum();
        assert!((at_bound - 1.0 / (1.0 + ratio)).abs() < 0.01, "{at_bound}");
    }

    #[test]
    fn a_row_with_nothing_in_it_is_told_as_one() {
        let values = Kind::Values(vec!["a".into(), "b".into()]);
        let plan = LocalPlan::new(&Schema::new(vec![("v".to_owned(), values)], Unit::Row).unwrap(), 1.0).unwrap();
        let rows = |table: &str| plan.randomise(table, &mut Generator::from_seed([0; 32])).unwrap().rows;
        assert_eq!([rows("v\na\n\nb\n"), rows("v\na\nb\nb\n"), rows("v\n\n\n\n")], [3; 3]);
    }

    #[test]
    fn what_cannot_be_randomised_is_refused() {
        let of =
            |kind, epsilon| LocalPlan::new(&Schema::new(vec![("x".to_owned(), kind)], Unit::Row).unwrap(), epsilon);
        assert!(of(Kind::Words, 1.0).is_err() && of(Kind::Ignored, 1.0).is_err());
        let number = Kind::Number { low: 0.0, high: 1.0, step: 0.1 };
        assert!(of(number.clone(), 0.0).is_err() && of(number.clone(), f64::NAN).is_err() && of(number, 1.0).is_ok());
        for table in ["v\na\n", "n,v\n1\n", "n,v\n\"1,a\n"] {
            assert!(plan(1.0).randomise(table, &mut Generator::from_seed([0; 32])).is_err(), "{table}");
        }
    }
}
