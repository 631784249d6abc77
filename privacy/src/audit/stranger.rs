//! Examples that no data has, so that a model can know them only by having seen them.

use crate::noise::Generator;
use crate::train::{DataError, Examples};

/// Examples of which each was put in or left out by a fair coin, and the data with those that were put in.
pub struct Strangers<D> {
    /// All of them.
    pub(super) all: D,
    /// Which were put in.
    pub(super) included: Vec<bool>,
    /// The data, and those that were put in.
    pub(super) trained: D,
}

impl Strangers<Examples> {
    /// So many, with numbers as large as those of the data and a class below `classes` (at least 1) at random.
    ///
    /// # Errors
    /// [`DataError`] for data that has no size.
    pub fn among(data: &Examples, classes: u32, count: usize, random: &mut Generator) -> Result<Self, DataError> {
        let width = data.width();
        let squares = (0..data.len()).flat_map(|row| data.row(row)).map(|value| f64::from(*value).powi(2)).sum::<f64>();
        let size = (squares / (data.len().max(1) * width.max(1)) as f64).sqrt() as f32;
        let mut bits = |_| if random.word() >> 63 == 1 { size } else { -size };
        let values: Vec<f32> = (0..count * width).map(&mut bits).collect();
        let labels: Vec<u32> = (0..count).map(|_| random.below(classes.into()) as u32).collect();
        let included: Vec<bool> = (0..count).map(|_| random.word() >> 63 == 1).collect();
        let all = Examples::new(width, values, labels)?;
        let (_, members) = all.split(|index| included[index]);
        let mut values: Vec<f32> = (0..data.len()).flat_map(|row| data.row(row)).copied().collect();
        values.extend((0..members.len()).flat_map(|row| members.row(row)));
        let trained = Examples::new(width, values, [data.classes(), members.classes()].concat())?;
        Ok(Self { all, included, trained })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_follow_the_data_when_their_coin_says_so() {
        let data = Examples::new(2, vec![3.0, -3.0, 0.0, 0.0], vec![1, 0]).unwrap();
        let strangers = Strangers::among(&data, 4, 100, &mut Generator::from_seed([1; 32])).unwrap();
        let Strangers { all, included, trained } = &strangers;
        let members: Vec<usize> = (0..100).filter(|index| included[*index]).collect();
        assert!((30..70).contains(&members.len()) && trained.len() == 2 + members.len() && all.len() == 100);
        assert_eq!((trained.row(0), trained.row(1)), (data.row(0), data.row(1)));
        for (place, member) in members.iter().enumerate() {
            assert_eq!(trained.row(2 + place), all.row(*member));
            assert_eq!(trained.classes()[2 + place], all.classes()[*member]);
        }
        let size = 4.5_f32.sqrt();
        assert!((0..100).flat_map(|row| all.row(row)).all(|value| value.abs() == size));
        assert!((0..4).all(|class| all.classes().contains(&class)) && all.classes().iter().all(|class| *class < 4));
    }
}
