//! The Shapley value of rows to a classifier of nearest neighbours, in closed form.

use super::Values;
use crate::train::Examples;

/// What each contributor's rows are worth together, where a row of the validation set is sorted by the part of its `k` (at least 1)
/// nearest rows that have its class (Jia et al., 2019, theorem 1). The values sum up to that part, averaged over the validation
/// set. Rows are of one width.
pub fn neighbours(contributors: &[Examples], validation: &Examples, k: usize) -> Values {
    let owners: Vec<usize> = contributors.iter().enumerate().flat_map(|(i, own)| vec![i; own.len()]).collect();
    let rows: Vec<(&[f32], u32)> =
        contributors.iter().flat_map(|own| (0..own.len()).map(|row| (own.row(row), own.classes()[row]))).collect();
    let mut values = vec![0.0; contributors.len()];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    for row in 0..validation.len() {
        let (from, class) = (validation.row(row), validation.classes()[row]);
        let distances: Vec<f32> = rows.iter().map(|(row, _)| distance(row, from)).collect();
        order.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b)));
        for (index, value) in of_row(&order, |index| rows[index].1 == class, k.max(1)) {
            values[owners[index]] += value / validation.len() as f64;
        }
    }
    Values { values, error: 0.0, tried: 0 }
}

/// The value of each row, of rows in the order of their distance.
fn of_row(order: &[usize], right: impl Fn(usize) -> bool, k: usize) -> Vec<(usize, f64)> {
    let part = |index: usize| f64::from(u8::from(right(index)));
    let mut values = Vec::with_capacity(order.len());
    let mut last: Option<(usize, f64)> = None;
    for (place, &index) in order.iter().enumerate().rev() {
        let value = match last {
            None => part(index) / order.len().max(k) as f64,
            // Places count from 1.
            Some((after, value)) => {
                value + (part(index) - part(after)) / k as f64 * k.min(place + 1) as f64 / (place + 1) as f64
            }
        };
        last = Some((index, value));
        values.push((index, value));
    }
    values
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::{Coalition, exact};
    use super::*;
    use crate::noise::Generator;

    fn part(rows: &Examples, coalition: Coalition, from: &[f32], class: u32, k: usize) -> f64 {
        let mut near: Vec<usize> = (0..rows.len()).filter(|row| coalition.has(*row)).collect();
        near.sort_by(|a, b| distance(rows.row(*a), from).total_cmp(&distance(rows.row(*b), from)));
        near.iter().take(k).filter(|row| rows.classes()[**row] == class).count() as f64 / k as f64
    }

    #[test]
    fn the_closed_form_is_the_shapley_value_of_its_game() {
        let mut random = Generator::from_seed([2; 32]);
        for (count, k) in [(6, 2), (7, 1), (3, 5), (8, 3), (1, 1)] {
            let examples = |count: usize, random: &mut Generator| {
                let values = (0..2 * count).map(|_| random.unit() as f32).collect();
                Examples::new(2, values, (0..count).map(|_| random.below(2) as u32).collect()).unwrap()
            };
            let (rows, validation) = (examples(count, &mut random), examples(3, &mut random));
            let contributors: Vec<Examples> = (0..count).map(|row| rows.split(|index| index == row).1).collect();
            let found = neighbours(&contributors, &validation, k).values;
            let game = |coalition: Coalition| -> Result<f64, ()> {
                let each = |row: usize| part(&rows, coalition, validation.row(row), validation.classes()[row], k);
                Ok((0..3).map(each).sum::<f64>() / 3.0)
            };
            for (value, want) in found.iter().zip(exact(count, game).unwrap().values) {
                assert!((value - want).abs() < 1e-12, "{count} {k}: {value} {want}");
            }
        }
    }
}
