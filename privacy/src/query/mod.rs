//! Questions about a table, answered with noise: counts, sums, means, quantiles, histograms, most frequent values, by groups.
//!
//! What neighbours are: two tables of which one has one row more; or, where the owner names the column that says whose a row is,
//! all rows of one person more, of whom at most so many count ([`Unit`]). Bounds, values, candidates and noise come from what the
//! owner declared ([`Schema`]) and from the question: a [`Plan`] is made, and its cost known, before the first row is looked at.
//!
//! Values are whole numbers of steps before anything is summed, and noise is a whole number from an exact table (Mironov, 2012,
//! showed what floating-point noise gives away). Everything else is done to what came out with noise.
//!
//! ```
//! use sahara_privacy::noise::Generator;
//! use sahara_privacy::query::{Kind, Plan, Query, Schema, Unit, Wish};
//!
//! let query = Query::parse("SELECT city, AVG(age) FROM visits WHERE age >= 18 GROUP BY city")?;
//! let schema = Schema::new(
//!     vec![
//!         ("age".into(), Kind::Number { low: 0.0, high: 120.0, step: 1.0 }),
//!         ("city".into(), Kind::Values(vec!["Oasis".into(), "Dune".into()])),
//!     ],
//!     Unit::Row,
//! )?;
//! let plan = Plan::new(&query, &schema, Wish { epsilon: 0.5, delta: None })?;
//! assert!(plan.epsilon() <= 0.5);
//! # let seed = [7; 32];
//! let answer = plan.answer("age,city\n30,Oasis\n40,Dune\n", &mut Generator::from_seed(seed))?;
//! assert_eq!(answer.rows.len(), 2);
//! # Ok::<(), sahara_privacy::query::QueryError>(())
//! ```

mod answer;
mod condition;
mod error;
mod local;
mod mechanism;
mod plan;
mod run;
mod schema;
mod sql;
mod sums;
#[cfg(test)]
mod tests;
mod tokens;
mod vector;

pub use answer::{Answer, AnswerRow, Bin, Cell};
pub use condition::{Comparison, Condition, Literal};
pub use error::QueryError;
pub use local::{LocalPlan, Randomised};
pub use mechanism::Noise;
pub use plan::{Plan, Wish};
pub use run::{Sums, columns};
pub use schema::{Kind, Schema, Unit};
pub use sql::{Fraction, Item, Query, What};
pub use vector::VectorPlan;
