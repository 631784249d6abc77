//! Masked values, `m = x + r` with `m` public and `r` shared, and products of two of them.
//!
//! With `a = m_a - r_a` and `b = m_b - r_b`, an evaluator's share of `f(a, b)` for a bilinear `f` is
//! `f(m_a, δ·m_b - r_b,i) - f(r_a,i, m_b)`, and lacks `f(r_a, r_b)`: the *deficit*, which the helper knows and accounts
//! for in what it deals at the next gate. So a product itself costs no message.

use crate::ring::secret::Secret;

/// A tensor under a mask: the public sum, and the own share of the mask.
pub(crate) struct Masked {
    pub(crate) public: Secret<u32>,
    pub(crate) mask: Secret<u32>,
}

/// `δ·m - r_i`, the own additive share of a masked value.
pub(crate) fn own_share(first: bool, public: &[u32], mask: &[u32]) -> Vec<u32> {
    let delta = u32::from(first);
    public.iter().zip(mask).map(|(m, r)| (delta * m).wrapping_sub(*r)).collect()
}

/// One evaluator's share of `f(a, b)`, short of the deficit.
pub(crate) fn bilinear(first: bool, a: &Masked, b: &Masked, f: impl Fn(&[u32], &[u32]) -> Vec<u32>) -> Vec<u32> {
    let own = Secret::from(own_share(first, &b.public, &b.mask));
    let mut out = f(&a.public, &own);
    let cross = Secret::from(f(&a.mask, &b.public));
    subtract(&mut out, &cross);
    out
}

/// `out -= other`.
pub(crate) fn subtract(out: &mut [u32], other: &[u32]) {
    out.iter_mut().zip(other).for_each(|(o, x)| *o = o.wrapping_sub(*x));
}
