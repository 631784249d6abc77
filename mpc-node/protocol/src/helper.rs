//! The helper: knows every mask and no value, and deals what the evaluators need, ahead of any input.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::deal_context::{DealContext, Known, sum_of_masks};
use crate::error::ProtocolError;
use crate::outgoing::{BUFFER_BYTES, CHUNK_BYTES, Outbox, Outgoing};
use crate::plan::Plan;
use crate::ring::bits::CHUNK;
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::{Secret, wipe_whole};
use crate::weights::{Tensor, WeightMaterial};

/// The dealing of one pack: whoever needs the second evaluator's corrections asks for the next chunk of them.
pub struct Dealing<'a> {
    plan: &'a Plan,
    /// `None` once everything has been dealt.
    coroutine: Option<Coroutine<'a>>,
    outbox: Outbox,
    /// What the coroutine wrote last, and how much of it has been handed out.
    buffer: Vec<u8>,
    at: usize,
}

type Coroutine<'a> = Pin<Box<dyn Future<Output = Result<(), ProtocolError>> + Send + 'a>>;

impl<'a> Dealing<'a> {
    /// Begins to deal. The first seed is shared with the first evaluator, the second with the second; both are fresh for
    /// each pack.
    ///
    /// # Errors
    /// When the weights are of another kind than the plan's.
    pub fn new(plan: &'a Plan, weights: &'a WeightMaterial, seeds: [&'a Seed; 2]) -> Result<Self, ProtocolError> {
        let weights = weights.helpers(plan.visibility())?;
        let outbox = Outbox::default();
        let buffer = Vec::with_capacity(BUFFER_BYTES.min(plan.correction_len() as usize));
        let coroutine: Coroutine<'a> = Box::pin(deal(plan, weights, seeds, outbox.clone()));
        Ok(Self { plan, coroutine: Some(coroutine), outbox, buffer, at: 0 })
    }

    /// The next chunk of corrections: [`CHUNK_BYTES`], but for the last, and `None` after that. All of them together are
    /// [`Plan::correction_len`] bytes.
    ///
    /// # Errors
    /// When a gate deals another number of bytes than it said: a mistake of the program.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, ProtocolError> {
        if self.buffer.len() - self.at < CHUNK_BYTES
            && let Some(coroutine) = &mut self.coroutine
        {
            self.buffer.drain(..self.at);
            self.at = 0;
            self.outbox.swap(&mut self.buffer);
            let polled = coroutine.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.outbox.swap(&mut self.buffer);
            if let Poll::Ready(result) = polled {
                self.coroutine = None;
                result?;
            }
        }
        let end = self.buffer.len().min(self.at + CHUNK_BYTES);
        let chunk = &self.buffer[self.at..end];
        self.at = end;
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// All corrections that have not been handed out, in one vector.
    ///
    /// # Errors
    /// As [`Dealing::next_chunk`].
    pub fn collect(mut self) -> Result<Vec<u8>, ProtocolError> {
        let mut all = Vec::with_capacity(self.plan.correction_len() as usize);
        while let Some(chunk) = self.next_chunk()? {
            all.extend_from_slice(chunk);
        }
        Ok(all)
    }
}

impl Drop for Dealing<'_> {
    fn drop(&mut self) {
        wipe_whole(&mut self.buffer, 0);
    }
}

/// Deals for all gates, in the order of the nodes.
async fn deal(plan: &Plan, weights: Option<&[Tensor]>, seeds: [&Seed; 2], outbox: Outbox) -> Result<(), ProtocolError> {
    let mut out = Outgoing::new(outbox);
    let mut known: Vec<Known> = plan.gates.iter().map(|_| Known::default()).collect();
    let mut left: Vec<u32> = plan.gates.iter().map(|planned| planned.flow.readers).collect();
    for (index, planned) in plan.gates.iter().enumerate() {
        let node = index as u32;
        let operands = planned.operands.iter().map(|x| &known[x.0 as usize]).collect();
        let written = out.written();
        let mut context = DealContext::new(node, seeds, &mut out, operands, weights);
        planned.gate.deal(&mut context).await;
        let mut deficit = planned.flow.lacks.then(|| Secret::from(planned.gate.deficit(&context)));
        if planned.flow.settle
            && let Some(deficit) = deficit.take()
        {
            for part in deficit.chunks(CHUNK) {
                context.additive(4, part);
                context.pause().await;
            }
        }
        if out.written() - written != planned.corrections.len() as u64 {
            return Err(ProtocolError::Layout(plan.name(node).to_owned()));
        }
        let mask = planned.flow.open.then(|| {
            let mut operand = seeds.map(|seed| Prg::new(seed, Label::Operand(node)));
            sum_of_masks(&mut operand, 4, plan.graph().nodes[index].shape.len())
        });
        known[index] = Known { mask, deficit };
        for x in &planned.operands {
            let left = &mut left[x.0 as usize];
            *left -= 1;
            if *left == 0 {
                known[x.0 as usize] = Known::default();
            }
        }
    }
    out.finish();
    Ok(())
}
