//! What will be done for a question, and what that costs: decided before the first row is looked at.

use std::sync::Arc;

use super::condition::Test;
use super::error::{QueryError, in_range};
use super::mechanism::{Choice, Laplace, Noise};
use super::schema::{Declared, Kind, Scale, Schema, Unit};
use super::sql::{Fraction, Query, What};

/// Most groups of declared keys.
const MOST_GROUPS: usize = 4096;
/// Most candidates of a quantile.
const MOST_CANDIDATES: i64 = 16_384;

/// What a question may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// For all that is asked, from 10⁻⁶ to 30; each thing has an equal part of it.
    pub epsilon: f64,
    /// The probability with which a group that only one person or row makes may be told; needed, and used, only where keys of
    /// groups are not declared.
    pub delta: Option<f64>,
}

/// What will be done. It depends on the question and what was declared; never on rows.
pub struct Plan {
    pub(super) unit: Unit,
    /// The columns that are needed; everything else names them by their place here.
    pub(super) columns: Vec<String>,
    pub(super) person: Option<usize>,
    pub(super) test: Option<Test>,
    pub(super) keys: Vec<Key>,
    pub(super) found: Option<Found>,
    pub(super) parts: Vec<Part>,
    wish: Wish,
}

/// A column that makes groups.
pub(super) struct Key {
    pub name: String,
    pub place: usize,
    /// Its values, if they are declared.
    pub declared: Option<Arc<Declared>>,
}

/// How groups are found whose keys are not declared: by a noisy number of rows that reaches a threshold.
pub(super) struct Found {
    pub noise: Laplace,
    pub threshold: i64,
}

/// One thing that is asked.
pub(super) struct Part {
    pub name: String,
    pub aggregate: Aggregate,
}

pub(super) enum Aggregate {
    /// The number that found the group: it was paid for.
    Found,
    Count {
        of: Option<Present>,
        noise: Laplace,
    },
    Sum {
        place: usize,
        scale: Scale,
        noise: Laplace,
    },
    /// Of what is above the middle of the range, in half steps, and of rows.
    Mean {
        place: usize,
        scale: Scale,
        sum: Laplace,
        count: Laplace,
    },
    Quantile {
        place: usize,
        scale: Scale,
        stride: i64,
        part: Fraction,
        choice: Choice,
    },
    Histogram {
        place: usize,
        scale: Scale,
        bins: u32,
        noise: Laplace,
    },
    Top {
        place: usize,
        declared: Arc<Declared>,
        choice: Choice,
        k: u32,
    },
}

/// When a column is not missing.
pub(super) enum Present {
    Number(usize),
    Word(usize, Option<Arc<Declared>>),
}

impl Plan {
    /// What will be done for a question within ε.
    ///
    /// # Errors
    /// When a column is not declared or of another kind, when the wish is out of its range, and when the noise would be.
    pub fn new(query: &Query, schema: &Schema, wish: Wish) -> Result<Self, QueryError> {
        in_range("ε of the question", wish.epsilon, (1e-6, 30.0), "from 1e-6 to 30")?;
        let mut columns = Columns { names: Vec::new(), schema };
        let keys = keys(query, &mut columns)?;
        let finds = keys.iter().any(|key| key.declared.is_none());
        let shares = shares(query, finds)?;
        let epsilon = wish.epsilon / f64::from(shares) * (1.0 - 1e-12);
        let rows = i64::from(schema.unit().rows());
        let found = if finds { Some(found(rows, epsilon, wish.delta)?) } else { None };
        if !finds && wish.delta.is_some() {
            return Err(QueryError::unsupported(
                "δ",
                "this question needs none: all its groups are declared; leave it away",
            ));
        }
        let test = query.condition.as_ref();
        let test = test.map(|condition| Test::of(condition, schema, &mut |name| columns.place(name))).transpose()?;
        let mut parts: Vec<Part> = Vec::new();
        for item in query.items.iter().filter(|item| !matches!(item.what, What::Key(_))) {
            if parts.iter().any(|part| part.name == item.name) {
                return Err(QueryError::unsupported(item.name.clone(), "it is asked twice, and would be paid twice"));
            }
            let asked = Asked { rows, epsilon, grouped: !keys.is_empty(), finds };
            parts.push(Part { name: item.name.clone(), aggregate: aggregate(&item.what, &mut columns, asked)? });
        }
        let person = match schema.unit() {
            Unit::Row => None,
            Unit::Person { column, .. } => Some(columns.place(column)),
        };
        Ok(Self { unit: schema.unit().clone(), person, test, keys, found, parts, wish, columns: columns.names })
    }

    /// What the answer costs: no more than was wished.
    pub fn epsilon(&self) -> f64 {
        self.wish.epsilon
    }

    /// The chance that something is told beyond ε: of a group that was not declared, and of noise that is not quite its
    /// distribution (of 2⁵⁰ samples, more than any table makes).
    pub fn failure(&self) -> f64 {
        let distances = self.laplaces().map(|(_, noise, _)| noise.distance());
        let choices = self.choices().map(|(_, choice)| choice.distance());
        self.delta() + distances.chain(choices).fold(0.0, f64::max) * 2_f64.powi(50)
    }

    /// The chance that a group is told which was not declared and which one row or person makes; 0 where all are declared.
    pub fn delta(&self) -> f64 {
        if self.found.is_some() { self.wish.delta.unwrap_or(0.0) } else { 0.0 }
    }

    /// Upper bound of the Rényi divergence of this order (above 1) between neighbours, in nats.
    pub fn divergence(&self, order: f64) -> f64 {
        let sums: f64 = self.laplaces().map(|(_, noise, _)| noise.divergence(order)).sum();
        let choices: f64 = self.choices().map(|(_, choice)| choice.divergence(order)).sum();
        (sums + choices).min(self.wish.epsilon)
    }

    /// All the noise.
    pub fn noise(&self) -> Vec<Noise> {
        let epsilon = |share: f64| self.wish.epsilon / f64::from(self.shares()) * share;
        let sums = self.laplaces().map(|(of, noise, unit)| Noise {
            mechanism: "discrete Laplace",
            scale: noise.scale() * unit.abs(),
            // A mean has two, each for half of its part.
            epsilon: epsilon(if self.is_mean(&of) { 0.5 } else { 1.0 }),
            of,
        });
        let choices = self.choices().map(|(of, choice)| Noise {
            of,
            mechanism: "noisy maximum",
            scale: choice.scale(),
            epsilon: epsilon(1.0),
        });
        sums.chain(choices).collect()
    }

    /// From how many rows on, with noise, a group is told that was not declared.
    pub fn threshold(&self) -> Option<i64> {
        self.found.as_ref().map(|found| found.threshold)
    }

    fn is_mean(&self, of: &str) -> bool {
        self.parts.iter().any(|part| {
            matches!(part.aggregate, Aggregate::Mean { .. }) && (of == part.name || of == rows_of(&part.name))
        })
    }

    fn shares(&self) -> u32 {
        let paid = self.parts.iter().filter(|part| !matches!(part.aggregate, Aggregate::Found)).count();
        paid as u32 + u32::from(self.found.is_some())
    }

    /// With what a step of it is, in what is asked.
    fn laplaces(&self) -> impl Iterator<Item = (String, &Laplace, f64)> {
        let found = self.found.iter().map(|found| ("rows of each group".to_owned(), &found.noise, 1.0));
        let parts = self.parts.iter().flat_map(|part| {
            let name = part.name.clone();
            match &part.aggregate {
                Aggregate::Count { noise, .. } | Aggregate::Histogram { noise, .. } => vec![(name, noise, 1.0)],
                Aggregate::Sum { noise, scale, .. } => vec![(name, noise, scale.value(1.0))],
                Aggregate::Mean { sum, count, scale, .. } => {
                    let rows = rows_of(&name);
                    vec![(name, sum, scale.value(0.5)), (rows, count, 1.0)]
                }
                Aggregate::Found | Aggregate::Quantile { .. } | Aggregate::Top { .. } => Vec::new(),
            }
        });
        found.chain(parts)
    }

    fn choices(&self) -> impl Iterator<Item = (String, &Choice)> {
        self.parts.iter().filter_map(|part| match &part.aggregate {
            Aggregate::Quantile { choice, .. } | Aggregate::Top { choice, .. } => Some((part.name.clone(), choice)),
            _ => None,
        })
    }
}

fn rows_of(name: &str) -> String {
    format!("{name}, its number of rows")
}

/// The needed columns, in the order in which they were needed first.
struct Columns<'a> {
    names: Vec<String>,
    schema: &'a Schema,
}

impl Columns<'_> {
    fn place(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    /// A column of numbers.
    fn number(&mut self, doing: &'static str, name: &str) -> Result<(usize, Scale), QueryError> {
        match self.schema.column(name)? {
            Kind::Number { low, high, step } => Ok((self.place(name), Scale::of(*low, *high, *step))),
            other => {
                let needs = "that needs one with a declared range of numbers";
                Err(QueryError::Kind { doing, column: name.to_owned(), is: other.name(), needs })
            }
        }
    }
}

fn keys(query: &Query, columns: &mut Columns<'_>) -> Result<Vec<Key>, QueryError> {
    let mut keys: Vec<Key> = Vec::new();
    for name in &query.keys {
        match columns.schema.column(name)? {
            Kind::Values(_) | Kind::Words => {}
            other => {
                let needs = "groups need words: ask for a HISTOGRAM, or with WHERE for each part";
                return Err(QueryError::Kind { doing: "grouping by", column: name.clone(), is: other.name(), needs });
            }
        }
        if keys.iter().any(|key| key.name == *name) {
            return Err(QueryError::unsupported(name.clone(), "it stands twice in GROUP BY"));
        }
        keys.push(Key { name: name.clone(), place: columns.place(name), declared: columns.schema.declared(name) });
    }
    let groups = keys
        .iter()
        .map(|key| key.declared.as_ref().map_or(1, |declared| declared.values().len()))
        .try_fold(1, usize::checked_mul);
    if groups.is_none_or(|groups| groups > MOST_GROUPS) {
        return Err(QueryError::unsupported("GROUP BY", "more than 4,096 declared groups: group by fewer columns"));
    }
    for item in &query.items {
        if let What::Key(name) = &item.what
            && !query.keys.contains(name)
        {
            return Err(QueryError::unsupported(
                format!("the column {name}"),
                "no row leaves: name it in GROUP BY, or ask for AVG(c), SUM(c), MEDIAN(c) and the like",
            ));
        }
    }
    Ok(keys)
}

/// How many parts ε has.
fn shares(query: &Query, finds: bool) -> Result<u32, QueryError> {
    let paid = query.items.iter().filter(|item| match item.what {
        What::Key(_) => false,
        What::Count(None) => !finds,
        _ => true,
    });
    match paid.count() as u32 + u32::from(finds) {
        0 => Err(QueryError::unsupported("a question for declared groups alone", "ask for COUNT(*) or another number")),
        shares => Ok(shares),
    }
}

/// The threshold is such that groups which neighbours do not share, of at most so many rows in all, are told with at most δ: each of
/// them (at most as many as rows) has at most that many rows, and noise that carries it over.
fn found(rows: i64, epsilon: f64, delta: Option<f64>) -> Result<Found, QueryError> {
    let delta = delta.ok_or_else(|| {
        QueryError::unsupported(
            "GROUP BY a column whose values are not declared",
            "without a δ: give one (--delta 1e-9), or declare the values",
        )
    })?;
    in_range("δ of the question", delta, (1e-18, 1e-3), "from 1e-18 to 1e-3")?;
    let noise = Laplace::new(rows, epsilon)?;
    let threshold = rows + noise.tail(delta / rows as f64);
    Ok(Found { noise, threshold })
}

/// What is the same for all that is asked.
#[derive(Clone, Copy)]
struct Asked {
    rows: i64,
    epsilon: f64,
    grouped: bool,
    finds: bool,
}

fn aggregate(what: &What, columns: &mut Columns<'_>, asked: Asked) -> Result<Aggregate, QueryError> {
    let Asked { rows, epsilon, grouped, finds } = asked;
    let times = |sensitivity: i64| {
        rows.checked_mul(sensitivity).ok_or(QueryError::Range {
            what: "what a person can change, in steps",
            value: rows as f64 * sensitivity as f64,
            range: "below 2^63: declare a coarser step, or fewer rows of a person",
        })
    };
    Ok(match what {
        What::Key(name) => return Err(QueryError::unsupported(format!("the column {name}"), "name it in GROUP BY")),
        What::Count(None) if finds => Aggregate::Found,
        What::Count(None) => Aggregate::Count { of: None, noise: Laplace::new(rows, epsilon)? },
        What::Count(Some(name)) => {
            let of = match columns.schema.column(name)? {
                Kind::Number { .. } => Present::Number(columns.place(name)),
                _ => Present::Word(columns.place(name), columns.schema.declared(name)),
            };
            Aggregate::Count { of: Some(of), noise: Laplace::new(rows, epsilon)? }
        }
        What::Sum(name) => {
            let (place, scale) = columns.number("the sum of", name)?;
            let noise = Laplace::new(times(scale.low.abs().max(scale.high.abs()))?, epsilon)?;
            Aggregate::Sum { place, scale, noise }
        }
        What::Mean(name) => {
            let (place, scale) = columns.number("the mean of", name)?;
            let (sum, count) =
                (Laplace::new(times(scale.width())?, epsilon / 2.0)?, Laplace::new(rows, epsilon / 2.0)?);
            Aggregate::Mean { place, scale, sum, count }
        }
        What::Quantile(name, part) => {
            let (place, scale) = columns.number("a quantile of", name)?;
            let stride = scale.width() / MOST_CANDIDATES + 1;
            let movement = times(2 * i64::from(part.above.max(part.below - part.above)))?;
            Aggregate::Quantile { place, scale, stride, part: *part, choice: Choice::new(movement, epsilon, 1)? }
        }
        What::Histogram(..) | What::Top(..) if grouped => {
            return Err(QueryError::unsupported(what.to_string(), "not with GROUP BY: ask with WHERE for each group"));
        }
        What::Histogram(name, bins) => {
            let (place, scale) = columns.number("a histogram of", name)?;
            if i64::from(*bins) > scale.width() + 1 {
                return Err(QueryError::unsupported(what.to_string(), "it has more parts than the column has steps"));
            }
            Aggregate::Histogram { place, scale, bins: *bins, noise: Laplace::new(rows, epsilon)? }
        }
        What::Top(name, k) => match (columns.schema.column(name)?, columns.schema.declared(name)) {
            (_, Some(declared)) if *k as usize <= declared.values().len() => {
                let place = columns.place(name);
                Aggregate::Top { place, declared, k: *k, choice: Choice::new(rows, epsilon, *k)? }
            }
            (_, Some(_)) => {
                return Err(QueryError::unsupported(what.to_string(), "so many values are not declared"));
            }
            (other, None) => {
                let needs = "that needs declared values; of others, GROUP BY finds those that are frequent enough";
                let column = name.clone();
                return Err(QueryError::Kind { doing: "the most frequent of", column, is: other.name(), needs });
            }
        },
    })
}
