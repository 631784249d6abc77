//! Examples that are put in to be found again.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;

use crate::noise::Generator;
use crate::train::{Data, Gradients, Misfit, Model, Outcome};

/// What goes into a norm's square, so that every bound on it is tried.
const LENGTH: f64 = 1024.0;
/// Canaries whose gradients are added at once.
const AT_ONCE: usize = 64;

/// An example whose gradient is one number alone: the hardest to hide, whatever the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canary {
    /// Which number.
    pub place: usize,
    /// Whether it was put in: a fair coin.
    pub included: bool,
}

/// So many canaries, each on a number of its own of as many parameters or more.
pub fn canaries(count: usize, parameters: usize, coins: &mut Generator) -> Vec<Canary> {
    // The first of a shuffled list of all numbers, of which only what was moved is held.
    let mut moved = HashMap::new();
    let shuffled = |index: usize| {
        let other = index + coins.below((parameters - index) as u64) as usize;
        let (taken, own) = (*moved.get(&other).unwrap_or(&other), *moved.get(&index).unwrap_or(&index));
        moved.insert(other, own);
        Canary { place: taken, included: coins.word() >> 63 == 1 }
    };
    (0..count.min(parameters)).map(shuffled).collect()
}

/// A model that meets canaries among its examples: after those of the data come the ones that were put in.
pub struct Marked<'a, M: Model> {
    model: &'a M,
    /// Numbers of the sum that canaries have, and what the step's examples of the data have added to each: what an attacker who
    /// knows all other data may know.
    places: Vec<usize>,
    others: RefCell<Vec<f64>>,
    length: f32,
}

/// Examples, and the canaries among them.
pub struct Mixed<'a, D> {
    real: &'a D,
    count: usize,
    included: Vec<Canary>,
    classes: Vec<u32>,
}

impl<'a, M: Model> Marked<'a, M> {
    /// For canaries whose gradients are longer than a bound by far.
    pub fn new(model: &'a M, canaries: &[Canary], bound: f64) -> Self {
        let places: Vec<usize> = canaries.iter().map(|canary| canary.place).collect();
        let others = RefCell::new(vec![0.0; places.len()]);
        Self { model, places, others, length: (bound * LENGTH) as f32 }
    }

    /// What the examples of the data added to each canary's number in the last step.
    pub fn others(&self) -> Ref<'_, Vec<f64>> {
        self.others.borrow()
    }
}

impl<'a, D: Data> Mixed<'a, D> {
    /// All of the data, and those canaries that are included.
    pub fn new(real: &'a D, canaries: &[Canary]) -> Self {
        let included: Vec<Canary> = canaries.iter().filter(|canary| canary.included).copied().collect();
        let mut classes = real.classes().to_vec();
        let count = classes.len();
        classes.resize(count + included.len(), 0);
        Self { real, count, included, classes }
    }
}

impl<D: Data> Data for Mixed<'_, D> {
    fn classes(&self) -> &[u32] {
        &self.classes
    }
}

impl<'m, M: Model> Model for Marked<'m, M>
where
    M::Data: 'm,
{
    type Data = Mixed<'m, M::Data>;
    type Gradients<'a>
        = MarkedGradients<'a, M>
    where
        Self: 'a;

    fn parameters(&self) -> usize {
        self.model.parameters()
    }

    fn begin(&self, seed: u64) -> Vec<f32> {
        self.model.begin(seed)
    }

    fn fits(&self, data: &Self::Data) -> Result<(), Misfit> {
        self.model.fits(data.real)
    }

    fn at_once(&self, data: &Self::Data, rest: &[usize]) -> usize {
        let real = rest.iter().take_while(|index| **index < data.count).count();
        if real > 0 { self.model.at_once(data.real, &rest[..real]).min(real) } else { AT_ONCE }
    }

    fn rounding(&self) -> f64 {
        self.model.rounding()
    }

    fn gradients(&self, private: bool) -> MarkedGradients<'_, M> {
        let Self { model, places, others, length } = self;
        MarkedGradients {
            inner: model.gradients(private),
            places,
            others,
            length: *length,
            now: Vec::new(),
            squares: Vec::new(),
        }
    }
}

/// Gradients of examples of the data, or of canaries.
pub struct MarkedGradients<'a, M: Model + 'a> {
    inner: M::Gradients<'a>,
    places: &'a [usize],
    others: &'a RefCell<Vec<f64>>,
    length: f32,
    /// Canaries; none where the examples are the data's.
    now: Vec<Canary>,
    squares: Vec<f32>,
}

impl<'a, 'm, M: Model> MarkedGradients<'a, M> {
    fn meet(&mut self, data: &Mixed<'m, M::Data>, some: &[usize]) -> bool {
        self.now.clear();
        self.now.extend(some.iter().filter_map(|index| data.included.get(index.checked_sub(data.count)?)));
        self.squares.clear();
        self.squares.resize(self.now.len(), self.length * self.length);
        !self.now.is_empty()
    }
}

impl<'m, M: Model> Gradients<Mixed<'m, M::Data>> for MarkedGradients<'_, M> {
    fn load(&mut self, parameters: &[f32]) {
        self.others.borrow_mut().fill(0.0);
        self.inner.load(parameters);
    }

    fn compute(&mut self, parameters: &[f32], data: &Mixed<'m, M::Data>, some: &[usize]) -> Outcome {
        if self.meet(data, some) { Outcome::default() } else { self.inner.compute(parameters, data.real, some) }
    }

    fn outcome(&mut self, parameters: &[f32], data: &Mixed<'m, M::Data>, some: &[usize]) -> Outcome {
        if self.meet(data, some) { Outcome::default() } else { self.inner.outcome(parameters, data.real, some) }
    }

    fn squares(&self) -> &[f32] {
        if self.now.is_empty() { self.inner.squares() } else { &self.squares }
    }

    fn forget(&mut self, example: usize) {
        if self.now.is_empty() {
            self.inner.forget(example);
        }
    }

    fn add(&mut self, factors: &[f32], sum: &mut [f32]) {
        if self.now.is_empty() {
            let mut others = self.others.borrow_mut();
            let at = |sum: &[f32], place: usize| f64::from(sum.get(place).copied().unwrap_or(0.0));
            others.iter_mut().zip(self.places).for_each(|(other, &place)| *other -= at(sum, place));
            self.inner.add(factors, sum);
            others.iter_mut().zip(self.places).for_each(|(other, &place)| *other += at(sum, place));
            return;
        }
        for (canary, factor) in self.now.iter().zip(factors) {
            if let Some(number) = sum.get_mut(canary.place) {
                *number += factor * self.length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_have_places_of_their_own_and_fair_coins() {
        let mut coins = Generator::from_seed([1; 32]);
        for (count, parameters) in [(40, 40), (1000, 1000), (1000, 1 << 40), (50, 7)] {
            let canaries = canaries(count, parameters, &mut coins);
            let mut places: Vec<usize> = canaries.iter().map(|canary| canary.place).collect();
            places.sort_unstable();
            places.dedup();
            assert!(places.len() == count.min(parameters) && places.iter().all(|place| *place < parameters));
            let included = canaries.iter().filter(|canary| canary.included).count();
            assert!(count < 1000 || (400..600).contains(&included), "{included}");
        }
    }
}
