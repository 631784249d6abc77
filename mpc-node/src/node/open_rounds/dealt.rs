//! What the helper of a round has dealt, each once and only for what both evaluators name.

use super::super::refusal::{Refusal, no_random};
use super::{Round, Stage};
use crate::engine::{EvaluatorRole, Seed, random_seed};
use crate::protocol::round::{NodeNoise, Vectors};
use crate::wire::{DealRound, Dealt, FailCode};

/// What the helper of a round has dealt. Whatever an evaluator asks for first, the other has to ask for the same.
#[derive(Default)]
pub(in crate::node) struct Helping {
    /// What is checked, and of how many vectors.
    included: Option<([u8; 32], u16)>,
    /// Of each check.
    checks: Vec<Served>,
    /// What is opened, and the noise for it.
    noise: Option<([u8; 32], Seed, Served)>,
}

impl Helping {
    /// Both have all that they will ask for.
    pub(in crate::node) fn is_over(&self) -> bool {
        self.noise.as_ref().is_some_and(|(_, _, served)| served.to == [true; 2])
    }
}

/// Seeds that are shared with the evaluators, and who has asked.
struct Served {
    seeds: [Seed; 2],
    to: [bool; 2],
}

impl Served {
    fn new() -> Result<Self, Refusal> {
        Ok(Self { seeds: [random_seed().map_err(no_random)?, random_seed().map_err(no_random)?], to: [false; 2] })
    }

    /// The seeds, to this evaluator for the first time.
    fn serve(&mut self, role: EvaluatorRole) -> Result<[Seed; 2], Refusal> {
        if std::mem::replace(&mut self.to[role as usize], true) {
            return Err(Refusal::new(
                FailCode::Refused,
                "this was dealt to this evaluator already: a mask serves once",
            ));
        }
        Ok(self.seeds.clone())
    }
}

/// What is to be sent.
pub(in crate::node) enum Order {
    Check(Vectors, usize, [Seed; 2]),
    /// Dimension, the seed of the noise, and the one that is shared with the first evaluator.
    Noise(Box<NodeNoise>, usize, Seed, Seed),
}

impl Round {
    pub(in crate::node) fn order(&mut self, role: EvaluatorRole, ask: &DealRound) -> Result<Order, Refusal> {
        let refused = |text| Err(Refusal::new(FailCode::Refused, text));
        if !matches!(self.stage, Stage::Open(_) | Stage::Closing) {
            return refused("this round is over");
        }
        // From here on nobody else changes what the helper knows of it.
        self.stage = Stage::Closing;
        let terms = self.terms.terms();
        let vectors = terms.vectors;
        match ask.what {
            Dealt::Check(number, count) => {
                let (number, all) = (usize::from(number), usize::from(count));
                let at_a_time = vectors.at_a_time();
                if all == 0 || all > terms.providers.len() || number >= all.div_ceil(at_a_time) {
                    return refused("the round has no such check");
                }
                if *self.helping.included.get_or_insert((ask.digest, count)) != (ask.digest, count) {
                    return refused("the evaluators of the round do not ask for the same contributions");
                }
                while self.helping.checks.len() <= number {
                    self.helping.checks.push(Served::new()?);
                }
                let seeds = self.helping.checks[number].serve(role)?;
                Ok(Order::Check(vectors, at_a_time.min(all - number * at_a_time), seeds))
            }
            Dealt::Noise => {
                let noise = NodeNoise::new(terms.variance).map_err(|e| Refusal::fault("draw noise", e))?;
                if self.helping.included.is_none() {
                    return refused("nothing was checked in this round");
                }
                if self.helping.noise.is_none() {
                    // Only now: what it is added to is fixed.
                    self.helping.noise = Some((ask.digest, random_seed().map_err(no_random)?, Served::new()?));
                }
                match &mut self.helping.noise {
                    Some((digest, seed, served)) if *digest == ask.digest => {
                        let [shared, _] = served.serve(role)?;
                        Ok(Order::Noise(Box::new(noise), vectors.dimension(), seed.clone(), shared))
                    }
                    _ => refused("the evaluators of the round do not ask for noise for the same sum"),
                }
            }
        }
    }
}
