//! What a head is worth that is trained on the rows of some.

use super::{Coalition, MOST};
use crate::train::{DataError, Examples, Network, Noise, Optimizer, Rule, Step, measure};

/// Changes of the weights, each by all rows.
const CHANGES: u64 = 60;
/// How far one goes.
const RATE: f32 = 0.1;

/// A linear classifier that is trained, without noise, on the rows of a coalition: the utility is the part of a validation set that it
/// sorts right. Nobody's rows are as good as a guess. The same rows in the same order give the same utility.
pub struct Head<'a> {
    network: Network,
    rows: Examples,
    /// Of each contributor, the first of its rows, and of the one after.
    ends: Vec<(usize, usize)>,
    validation: &'a Examples,
}

/// Why there is no head.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum HeadError {
    /// There are none, or too many.
    #[error("there are between 1 and {MOST} contributors, not {0}")]
    Contributors(usize),
    /// The validation set is empty.
    #[error("the validation set has no rows")]
    Empty,
    /// Contributors have rows of different widths.
    #[error("rows of {0} numbers and of {1}: all are described alike")]
    Width(usize, usize),
    /// The rows are none.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is no network for them, or a class is none of its own.
    #[error("{0}")]
    Shape(String),
}

struct Silence;

impl Noise for Silence {
    fn fill(&mut self, values: &mut [i64]) {
        values.fill(0);
    }
}

impl<'a> Head<'a> {
    /// For contributors, and rows to try it on.
    ///
    /// # Errors
    /// When their rows do not fit.
    pub fn new(contributors: &[Examples], validation: &'a Examples, classes: usize) -> Result<Self, HeadError> {
        if contributors.is_empty() || contributors.len() > MOST {
            return Err(HeadError::Contributors(contributors.len()));
        }
        if validation.is_empty() {
            return Err(HeadError::Empty);
        }
        let width = validation.width();
        let (mut values, mut labels, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for own in contributors {
            if own.width() != width {
                return Err(HeadError::Width(width, own.width()));
            }
            let first = labels.len();
            (0..own.len()).for_each(|row| values.extend_from_slice(own.row(row)));
            labels.extend_from_slice(own.classes());
            ends.push((first, labels.len()));
        }
        let greatest = labels.iter().chain(validation.classes()).max().copied().unwrap_or(0);
        if greatest as usize >= classes {
            return Err(HeadError::Shape(format!("class {greatest} is none of {classes}")));
        }
        let network = Network::logistic(width, classes).map_err(|error| HeadError::Shape(error.to_string()))?;
        Ok(Self { network, rows: Examples::new(width, values, labels)?, ends, validation })
    }

    /// The part of the validation set that is sorted right by what these contributors' rows teach.
    pub fn utility(&self, coalition: Coalition) -> f64 {
        let own = self.ends.iter().enumerate().filter(|(i, _)| coalition.has(*i));
        let batch: Vec<usize> = own.flat_map(|(_, (first, end))| *first..*end).collect();
        let guess = 1.0 / self.network.classes() as f64;
        if batch.is_empty() {
            return guess;
        }
        let mut step = Step::plain(&self.network);
        let mut parameters = self.network.begin(0);
        let mut gradient = vec![0.0; parameters.len()];
        let mut optimizer = Optimizer::new(Rule::ADAM, parameters.len());
        for _ in 0..CHANGES {
            step.gradient(&parameters, &self.rows, &batch, &mut Silence, batch.len() as f64, &mut gradient);
            optimizer.change(&mut parameters, &gradient, RATE);
        }
        let outcome = measure(&self.network, &parameters, self.validation);
        outcome.map_or(guess, |outcome| outcome.right as f64 / self.validation.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{exact, leave_one_out, neighbours, shares};
    use super::*;
    use crate::noise::Generator;

    /// Two classes around two points; of a contributor's labels so many tenths are false.
    fn rows(count: usize, wrong: u64, random: &mut Generator) -> Examples {
        let (mut values, mut classes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let class = random.below(2);
            values.extend((0..4).map(|_| (random.unit() - 0.5 + (class as f64 - 0.5) * 0.7) as f32));
            classes.push((class ^ u64::from(random.below(10) < wrong)) as u32);
        }
        Examples::new(4, values, classes).unwrap()
    }

    #[test]
    fn good_data_is_worth_more_than_noise_and_false_labels_less_than_nothing() {
        let mut random = Generator::from_seed([5; 32]);
        let contributors = [rows(40, 0, &mut random), rows(40, 5, &mut random), rows(40, 10, &mut random)];
        let validation = rows(300, 0, &mut random);
        let head = Head::new(&contributors, &validation, 2).unwrap();
        let utility = |coalition: Coalition| Ok::<_, ()>(head.utility(coalition));
        let by_head = exact(3, utility).unwrap().values;
        let by_neighbours = neighbours(&contributors, &validation, 5).values;
        for values in [&by_head, &by_neighbours] {
            assert!(values[0] > values[1] && values[1] > values[2], "{by_head:?} {by_neighbours:?}");
        }
        assert!(by_head[2] < 0.0 && shares(&by_head).unwrap()[2] == 0, "{by_head:?}");
        let lost = leave_one_out(3, utility).unwrap().values;
        assert!(lost[0] > 0.0 && lost[0] > lost[2], "{lost:?}");
        assert_eq!(head.utility(Coalition::NOBODY), 0.5);
        assert_eq!(head.utility(Coalition(1)), head.utility(Coalition(1)));
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let own = Examples::new(2, vec![0.0; 4], vec![0, 1]).unwrap();
        let wide = Examples::new(4, vec![0.0; 4], vec![0]).unwrap();
        let none = Examples::new(2, vec![], vec![]).unwrap();
        let new = |contributors: &[Examples], validation: &Examples, classes: usize| {
            Head::new(contributors, validation, classes).err().unwrap().to_string()
        };
        assert!(new(&[], &own, 2).contains("not 0") && new(&vec![own.clone(); 65], &own, 2).contains("65"));
        assert!(new(&[own.clone()], &none, 2).contains("no rows") && new(&[own.clone()], &own, 1).contains("class 1"));
        assert!(new(&[own.clone(), wide], &own, 2).contains("of 2 numbers and of 4"));
        let head = Head::new(&[none, own.clone()], &own, 2).unwrap();
        assert_eq!(head.utility(Coalition(1)), 0.5, "who brings nothing is as nobody");
    }
}
