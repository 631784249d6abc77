//! An evaluator's part of a check: which of many shared vectors are no longer than allowed.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::vectors::{DIFFERENCE_BITS, LOW_BITS, MOST_VECTORS, RoundError, Vectors};
use crate::compare;
use crate::dealt::Dealt;
use crate::eval_context::EvalContext;
use crate::exchange::Exchange;
use crate::ring::bits::{self, CHUNK, Plane, ZERO};
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::Secret;
use crate::ring::words;
use crate::roles::EvaluatorRole;
use crate::weights::WeightMaterial;
use crate::wires::Wires;

/// What a frame opens to both evaluators, once both have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Values under masks that serve once: nothing.
    Masked,
    /// One bit for each vector: whether it is accepted.
    Accepted,
}

/// What an evaluator wants next.
#[derive(Debug)]
pub enum CheckStep {
    /// Send these bytes to the peer evaluator, receive exactly as many, and call [`Check::step`] with them.
    Exchange {
        /// The frame to send.
        send: Secret<u8>,
        /// What both will know then.
        opens: Opening,
    },
    /// The check is done.
    Done(Checked),
}

/// What a check found.
pub struct Checked {
    /// For each vector whether it is no longer than allowed; the same at both evaluators.
    pub accepted: Vec<bool>,
    /// This evaluator's shares of all coordinates modulo 2³², vector after vector.
    pub(super) lifted: Secret<u32>,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checked({:?})", self.accepted)
    }
}

/// One evaluator of one check. It owns what it was dealt, so no mask serves twice.
pub struct Check {
    state: Arc<State>,
    coroutine: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    expected: Option<usize>,
}

struct State {
    vectors: Vectors,
    count: usize,
    first: bool,
    seed: Seed,
    /// Not wiped, as those of a job: each byte is masked by the stream of the first evaluator's seed.
    corrections: Vec<u8>,
    shares: Secret<u32>,
    exchange: Exchange,
    weights: WeightMaterial,
    wires: Wires,
    /// The frame that is posted is the last one.
    last: AtomicBool,
    found: Mutex<Option<Checked>>,
}

impl Check {
    /// Of vectors whose shares (each coordinate below 2^bits) follow one another. `corrections` is empty for the first evaluator.
    ///
    /// # Errors
    /// [`RoundError::Length`] when shares or corrections are not of at most [`Vectors::at_a_time`] vectors.
    pub fn new(
        vectors: Vectors,
        role: EvaluatorRole,
        seed: Seed,
        corrections: Vec<u8>,
        shares: Secret<u32>,
    ) -> Result<Self, RoundError> {
        let count = shares.len() / vectors.dimension();
        let most = vectors.at_a_time().min(MOST_VECTORS);
        if count == 0 || count > most || shares.len() != count * vectors.dimension() {
            let expected = count.clamp(1, most) * vectors.dimension();
            return Err(RoundError::Length { what: "the shares of a check", found: shares.len(), expected });
        }
        let first = role == EvaluatorRole::First;
        let expected = if first { 0 } else { vectors.correction_len(count) };
        if corrections.len() != expected {
            let found = corrections.len();
            return Err(RoundError::Length { what: "the corrections of a check", found, expected });
        }
        let state = Arc::new(State {
            vectors,
            count,
            first,
            seed,
            corrections,
            shares,
            exchange: Exchange::default(),
            weights: WeightMaterial::helper_open(),
            wires: Wires::new(Vec::new(), Vec::new()),
            last: AtomicBool::new(false),
            found: Mutex::default(),
        });
        let coroutine = Box::pin(run(state.clone()));
        Ok(Self { state, coroutine: Some(coroutine), expected: None })
    }

    /// Advances: the first call without a frame, each later one with the peer's frame.
    ///
    /// # Errors
    /// [`RoundError::Length`] when the frame does not have the length of the one that was sent; [`RoundError::Finished`].
    pub fn step(&mut self, received: Option<Secret<u8>>) -> Result<CheckStep, RoundError> {
        let found = received.as_ref().map(|frame| frame.len());
        if found != self.expected {
            let (found, expected) = (found.unwrap_or(0), self.expected.unwrap_or(0));
            return Err(RoundError::Length { what: "a frame", found, expected });
        }
        let coroutine = self.coroutine.as_mut().ok_or(RoundError::Finished)?;
        if let Some(frame) = received {
            self.state.exchange.deliver(frame);
        }
        if let Poll::Ready(()) = coroutine.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.coroutine = None;
            let found = self.state.found.lock().unwrap_or_else(PoisonError::into_inner).take();
            return found.map(CheckStep::Done).ok_or(RoundError::Finished);
        }
        let (send, _) = self.state.exchange.take().ok_or(RoundError::Finished)?;
        self.expected = Some(send.len());
        let opens = if self.state.last.load(Ordering::Relaxed) { Opening::Accepted } else { Opening::Masked };
        Ok(CheckStep::Exchange { send, opens })
    }
}

async fn run(state: Arc<State>) {
    let mut context = EvalContext {
        node: 0,
        first: state.first,
        masks: Prg::new(&state.seed, Label::Mask(0)),
        dealt: match state.first {
            true => Dealt::First(Box::new(Prg::new(&state.seed, Label::Dealt(0)))),
            false => Dealt::Second(&state.corrections),
        },
        prepared: &[],
        weights: &state.weights,
        operands: &[],
        wires: &state.wires,
        exchange: &state.exchange,
    };
    let (lifted, squares) = lift(&mut context, &state.vectors, &state.shares, state.count).await;
    let mut accepted = accept(&mut context, &state.vectors, &squares).await;
    // What fills up the last word is nobody's.
    for (at, word) in accepted.iter_mut().enumerate() {
        let left = state.count.saturating_sub(64 * at);
        *word &= if left < 64 { (1 << left) - 1 } else { u64::MAX };
    }
    state.last.store(true, Ordering::Relaxed);
    let write = |out: &mut Vec<u8>| words::encode_u64(&accepted, out);
    let theirs = state.exchange.round(0, 8 * accepted.len(), write).await;
    words::decode_xor_u64(&theirs, &mut accepted);
    let accepted = (0..state.count).map(|i| accepted[i / 64] >> (i % 64) & 1 == 1).collect();
    *state.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Checked { accepted, lifted });
}

/// Shares of all coordinates modulo 2³², and of the sums of squares modulo 2⁶⁴, with zeros up to a multiple of 64.
async fn lift(
    context: &mut EvalContext<'_>,
    vectors: &Vectors,
    shares: &[u32],
    count: usize,
) -> (Secret<u32>, Secret<u64>) {
    let low = words::low_bits(vectors.bits());
    let half = 1_u32 << (vectors.bits() - 1);
    let mut opened = context.open(vectors.width(), shares).await;
    opened.iter_mut().for_each(|m| *m = m.wrapping_add(half) & low);
    let carry = compare::less_than(context, vectors.lifting(), &opened).await;
    let carry = context.open_bits(&carry, opened.len()).await;
    let mut lifted = Secret::from(vec![0_u32; shares.len()]);
    let mut squares = Secret::from(vec![0_u64; 64 * count.div_ceil(64)]);
    for (c, part) in opened.chunks(CHUNK).enumerate() {
        let from = c * CHUNK;
        let lifted = &mut lifted[from..from + part.len()];
        lift_chunk(context, vectors, (part, &carry[c]), lifted, |at, square| {
            let sum = &mut squares[(from + at) / vectors.dimension()];
            *sum = sum.wrapping_add(square);
        });
    }
    let mut lacking = Secret::from(vec![0_u64; squares.len()]);
    context.dealt.additive_long(&mut lacking);
    squares.iter_mut().zip(lacking.iter()).for_each(|(sum, lacks)| *sum = sum.wrapping_add(*lacks));
    (lifted, squares)
}

/// With `a` public, `c = ±2^bits` public and ρ, β, ρβ dealt, x = a - ρ + cβ.
fn lift_chunk(
    context: &mut EvalContext<'_>,
    vectors: &Vectors,
    (opened, carry): (&[u32], &Plane),
    lifted: &mut [u32],
    mut square: impl FnMut(usize, u64),
) {
    let n = opened.len();
    let mut dealt = [(); 3].map(|()| Secret::from(vec![0_u64; n]));
    dealt.iter_mut().for_each(|words| context.dealt.additive_long(words));
    let [rho, beta, both] = dealt;
    let mut bit = [0; CHUNK];
    bits::spread(carry, &mut bit[..n]);
    let known = if context.first { u64::MAX } else { 0 };
    let (unit, half) = (1_u64 << vectors.bits(), 1_u64 << (vectors.bits() - 1));
    for i in 0..n {
        let v = u64::from(bit[i]);
        let a = (u64::from(opened[i]) + unit * v).wrapping_sub(half);
        let c = unit.wrapping_sub(2 * unit * v);
        let x = (a & known).wrapping_sub(rho[i]).wrapping_add(c.wrapping_mul(beta[i]));
        lifted[i] = x as u32;
        let cross = c.wrapping_mul(beta[i]).wrapping_sub(rho[i]).wrapping_mul(a);
        let cross = cross.wrapping_sub(c.wrapping_mul(both[i]));
        square(i, (a.wrapping_mul(a) & known).wrapping_add(cross.wrapping_mul(2)));
    }
}

/// XOR shares of whether each sum is within the bound, a bit each.
async fn accept(context: &mut EvalContext<'_>, vectors: &Vectors, squares: &[u64]) -> Secret<u64> {
    let known = if context.first { vectors.bound() } else { 0 };
    let differences = Secret::from(squares.iter().map(|sum| known.wrapping_sub(*sum)).collect::<Vec<_>>());
    let opened = context.open_long(&differences).await;
    let low = (1_u64 << LOW_BITS) - 1;
    let upper = || opened.iter().map(|u| (u >> LOW_BITS & (low >> 1)) as u32);
    let halves: Vec<u32> = upper().chain(upper()).chain(opened.iter().map(|u| (u & low) as u32)).collect();
    let less = compare::less_than(context, Vectors::halves(), &halves).await;
    let words = squares.len() / 64;
    let (less, rest) = less.as_flattened().split_at(words);
    let (no_more, less_low) = rest.split_at(words);
    let mut negative = Secret::from(vec![0_u64; words]);
    context.dealt.xor(&mut negative);
    // Equal: not less, but less than one more.
    let equal = Secret::from(no_more.iter().zip(less).map(|(a, b)| a ^ b).collect::<Vec<_>>());
    let carry = and(context, &equal, &less_low[..words]).await;
    for (i, word) in negative.iter_mut().enumerate() {
        *word ^= less[i] ^ carry[i];
        if context.first {
            let top = opened[64 * i..64 * (i + 1)].iter().enumerate();
            let top = top.fold(0, |all, (at, u)| all | (u >> (DIFFERENCE_BITS - 1) & 1) << at);
            // Not negative is accepted.
            *word ^= !top;
        }
    }
    negative
}

/// XOR shares of a product of bits.
async fn and(context: &mut EvalContext<'_>, a: &[u64], b: &[u64]) -> Secret<u64> {
    let n = a.len();
    let masks = [(); 2].map(|()| {
        let mut mask = Secret::from(vec![ZERO]);
        context.masks.fill_u64(&mut mask[0][..n]);
        mask
    });
    let mut masked = Secret::from([a, b].concat());
    for (word, mask) in masked.iter_mut().zip(masks.iter().flat_map(|mask| &mask[0][..n])) {
        *word ^= mask;
    }
    let received = context.exchange.round(context.node, 8 * masked.len(), |out| words::encode_u64(&masked, out)).await;
    words::decode_xor_u64(&received, &mut masked);
    let mut product = Secret::from(vec![0_u64; n]);
    context.dealt.xor(&mut product);
    for (i, word) in product.iter_mut().enumerate() {
        let (e, f) = (masked[i], masked[n + i]);
        *word ^= e & masks[1][0][i] ^ f & masks[0][0][i];
        if context.first {
            *word ^= e & f;
        }
    }
    product
}
