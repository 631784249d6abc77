//! Selection: a shared number multiplied by a compared bit.
//!
//! A bit is opened as `v = b ⊕ γ`; with `γ` and `γ·ρ` dealt, `b·(u - ρ)` is linear in the dealt words.

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::masked::Masked;
use crate::ring::bits::{self, CHUNK, Plane};
use crate::ring::kernels;

/// Correction bytes of `n` selections of numbers of `width` bytes.
pub(crate) fn corrections(width: usize, n: usize) -> u64 {
    (2 * width * n) as u64
}

/// The helper's part: `γ` and `γ·ρ`.
pub(crate) async fn deal(context: &mut DealContext<'_>, width: usize, rho: &[u32]) {
    for part in rho.chunks(CHUNK) {
        deal_chunk(context, width, part);
        context.pause().await;
    }
}

fn deal_chunk(context: &mut DealContext<'_>, width: usize, rho: &[u32]) {
    let mut gamma = [0; CHUNK];
    let gamma = &mut gamma[..rho.len()];
    bits::spread(&context.mask_plane(rho.len().div_ceil(64)), gamma);
    context.additive(width, gamma);
    gamma.iter_mut().zip(rho).for_each(|(g, r)| *g *= r);
    context.additive(width, gamma);
}

/// Shares of `b·(u - ρ)`; `v` is the opened bit, `x` has the public `u` and the own share of `ρ`.
pub(crate) fn evaluate(context: &mut EvalContext<'_>, width: usize, v: &[Plane], x: &Masked) -> Vec<u32> {
    let mut all = vec![0; x.public.len()];
    let (mut gamma, mut cross, mut bit) = ([0; CHUNK], [0; CHUNK], [0; CHUNK]);
    let known = context.public_once();
    let parts = all.chunks_mut(CHUNK).zip(x.public.chunks(CHUNK)).zip(x.mask.chunks(CHUNK));
    for (((out, public), mask), v) in parts.zip(v) {
        let n = out.len();
        let (gamma, cross, bit) = (&mut gamma[..n], &mut cross[..n], &mut bit[..n]);
        context.dealt.additive(width, gamma);
        context.dealt.additive(width, cross);
        bits::spread(v, bit);
        kernels::chosen(out, public, mask, bit, gamma, cross, known);
    }
    all
}
