//! The helper's part of a check: corrections for the second evaluator, from both seeds.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::vectors::{DIFFERENCE_BITS, LOW_BITS, Vectors};
use crate::compare;
use crate::deal_context::DealContext;
use crate::outgoing::{BUFFER_BYTES, CHUNK_BYTES, Outbox, Outgoing};
use crate::ring::bits::{self, CHUNK, Plane};
use crate::ring::prg::Seed;
use crate::ring::secret::{Secret, wipe_whole};
use crate::ring::words;

/// The dealing of one check: chunks of corrections, as [`crate::Dealing`].
pub struct CheckDealing<'a> {
    coroutine: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
    outbox: Outbox,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a> CheckDealing<'a> {
    /// For `count` vectors, at most [`Vectors::at_a_time`]. The first seed is shared with the first evaluator, the second with the
    /// second; both are fresh for each check.
    pub fn new(vectors: &'a Vectors, count: usize, seeds: [&'a Seed; 2]) -> Self {
        let outbox = Outbox::default();
        let buffer = Vec::with_capacity(BUFFER_BYTES.min(vectors.correction_len(count)));
        let coroutine = Box::pin(deal(vectors, count, seeds, outbox.clone()));
        Self { coroutine: Some(coroutine), outbox, buffer, at: 0 }
    }

    /// The next chunk of corrections: [`CHUNK_BYTES`], but for the last, and `None` after that. All of them together are
    /// [`Vectors::correction_len`] bytes.
    pub fn next_chunk(&mut self) -> Option<&[u8]> {
        if self.buffer.len() - self.at < CHUNK_BYTES
            && let Some(coroutine) = &mut self.coroutine
        {
            self.buffer.drain(..self.at);
            self.at = 0;
            self.outbox.swap(&mut self.buffer);
            let polled = coroutine.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.outbox.swap(&mut self.buffer);
            if let Poll::Ready(()) = polled {
                self.coroutine = None;
            }
        }
        let end = self.buffer.len().min(self.at + CHUNK_BYTES);
        let chunk = &self.buffer[self.at..end];
        self.at = end;
        (!chunk.is_empty()).then_some(chunk)
    }
}

impl Drop for CheckDealing<'_> {
    fn drop(&mut self) {
        wipe_whole(&mut self.buffer, 0);
    }
}

async fn deal(vectors: &Vectors, count: usize, seeds: [&Seed; 2], outbox: Outbox) {
    let mut out = Outgoing::new(outbox);
    let mut context = DealContext::new(0, seeds, &mut out, Vec::new(), None);
    let coordinates = count * vectors.dimension();
    let mut rho = context.mask_words(vectors.width(), coordinates);
    let low = words::low_bits(vectors.bits());
    rho.iter_mut().for_each(|r| *r &= low);
    compare::deal(&mut context, vectors.lifting(), &rho).await;
    let beta: Vec<Plane> = rho.chunks(CHUNK).map(|part| context.mask_plane(part.len().div_ceil(64))).collect();
    let beta = Secret::from(beta);
    let mut lacking = Secret::from(vec![0_u64; 64 * count.div_ceil(64)]);
    for (c, (part, plane)) in rho.chunks(CHUNK).zip(beta.iter()).enumerate() {
        deal_lifting(&mut context, vectors, c * CHUNK, (part, plane), &mut lacking);
        context.pause().await;
    }
    lacking.chunks(CHUNK).for_each(|part| context.additive_long(part));
    context.pause().await;
    deal_sign(&mut context, lacking.len()).await;
    out.finish();
}

/// Of at most a chunk: ρ, β and ρβ; what the squares lack is added to each vector's sum.
fn deal_lifting(
    context: &mut DealContext<'_>,
    vectors: &Vectors,
    start: usize,
    (rho, beta): (&[u32], &Plane),
    lacking: &mut [u64],
) {
    let mut bit = Secret::from(vec![0_u32; rho.len()]);
    bits::spread(beta, &mut bit);
    let long = |values: Vec<u64>| Secret::from(values);
    let wide = long(rho.iter().map(|r| u64::from(*r)).collect());
    let carry = long(bit.iter().map(|b| u64::from(*b)).collect());
    let both = long(wide.iter().zip(carry.iter()).map(|(r, b)| r * b).collect());
    [&wide, &carry, &both].into_iter().for_each(|values| context.additive_long(values));
    let unit = 1_u64 << (2 * vectors.bits());
    for (i, (r, b)) in wide.iter().zip(carry.iter()).enumerate() {
        let sum = &mut lacking[(start + i) / vectors.dimension()];
        *sum = sum.wrapping_add(r * r + unit * b);
    }
}

/// For the sign of `n` differences, a multiple of 64 and at most a chunk.
async fn deal_sign(context: &mut DealContext<'_>, n: usize) {
    let mask = context.mask_longs(n);
    let low = (1_u64 << LOW_BITS) - 1;
    let upper = |r: &u64| (r >> LOW_BITS & (low >> 1)) as u32;
    // The upper half as it is and one more: between them lies equality.
    let halves = mask.iter().map(upper).chain(mask.iter().map(|r| upper(r) + 1));
    let halves = Secret::from(halves.chain(mask.iter().map(|r| (r & low) as u32)).collect::<Vec<_>>());
    compare::deal(context, Vectors::halves(), &halves).await;
    let top = Secret::from(mask.iter().map(|r| (r >> (DIFFERENCE_BITS - 1) & 1) as u32).collect::<Vec<_>>());
    let words = n / 64;
    context.xor(&bits::plane(&top, 0)[..words]);
    let (a, b) = (context.mask_plane(words), context.mask_plane(words));
    context.xor(&bits::and(&a, &b)[..words]);
}
