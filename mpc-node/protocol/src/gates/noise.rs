//! An input of the graph that the nodes supply: an evaluator's share is its own noise and its half of the helper's.

use std::sync::Arc;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Deals, Evaluates, Form, Gate, GateCost, LOCAL_SCRATCH};
use crate::noise::{NodeNoise, Sampler};
use crate::ring::bits::CHUNK;
use crate::ring::secret::Secret;

/// One input of noise.
pub(crate) struct Noise {
    index: u32,
    len: usize,
    sampler: Arc<Sampler>,
}

impl Noise {
    pub(crate) fn new(index: u32, len: usize, sampler: Arc<Sampler>) -> Self {
        Self { index, len, sampler }
    }
}

/// What an input of so many numbers costs.
pub(crate) fn cost(noise: &NodeNoise, len: usize) -> GateCost {
    let len = len as u64;
    GateCost {
        corrections: 4 * len,
        products: noise.work().saturating_mul(len),
        scratch: (LOCAL_SCRATCH + 16) * len,
        ..GateCost::default()
    }
}

impl Gate for Noise {
    fn reads(&self) -> Form {
        Form::Deficient
    }

    fn cost(&self) -> GateCost {
        cost(&self.sampler.noise, self.len)
    }

    fn deal<'a>(&'a self, context: &'a mut DealContext<'_>) -> Deals<'a> {
        Box::pin(async move {
            let numbers = Secret::from(self.sampler.of_helper(context.seeds(), self.index, self.len));
            for part in numbers.chunks(CHUNK) {
                context.additive(4, part);
                context.pause().await;
            }
        })
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            // This evaluator's own noise lies where the consumer's share of another input would.
            let mut share = context.wires.take_input(self.index as usize);
            let mut helpers = Secret::from(vec![0; self.len]);
            context.dealt.additive(4, &mut helpers);
            share.iter_mut().zip(helpers.iter()).for_each(|(own, half)| *own = own.wrapping_add(*half));
            share
        })
    }
}
