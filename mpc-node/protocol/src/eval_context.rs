//! An evaluator's side of one gate: its operands, its masks, what it was dealt, and the rounds in which it opens values.

use std::sync::Arc;

use sahara_circuits::graph::NodeId;

use crate::dealt::Dealt;
use crate::exchange::Exchange;
use crate::masked::Masked;
use crate::ring::bits::{self, CHUNK, Plane, ZERO};
use crate::ring::kernels;
use crate::ring::prg::Prg;
use crate::ring::secret::{Secret, wipe};
use crate::ring::words;
use crate::weights::WeightMaterial;
use crate::wires::Wires;

/// What a gate has at hand while it is evaluated.
pub(crate) struct EvalContext<'a> {
    /// The graph node whose gate it is.
    pub(crate) node: u32,
    /// Whether this is the first evaluator, who adds public constants.
    pub(crate) first: bool,
    pub(crate) masks: Prg,
    pub(crate) dealt: Dealt<'a>,
    /// What the gate prepared ahead of the job.
    pub(crate) prepared: &'a [u8],
    pub(crate) weights: &'a WeightMaterial,
    pub(crate) operands: &'a [NodeId],
    pub(crate) wires: &'a Wires,
    pub(crate) exchange: &'a Exchange,
}

impl EvalContext<'_> {
    /// The additive share of an operand, when it is there.
    pub(crate) async fn shares(&self, operand: usize) -> Arc<Secret<u32>> {
        self.wires.shares(self.operands[operand]).await
    }

    /// An operand under a mask, when it has been opened.
    pub(crate) async fn masked(&self, operand: usize) -> Arc<Masked> {
        self.wires.masked(self.operands[operand]).await
    }

    /// All ones for the evaluator who adds public values, zero for the other.
    pub(crate) fn public_once(&self) -> u32 {
        if self.first { u32::MAX } else { 0 }
    }

    /// Opens additive shares modulo `2^(8·width)` with fresh masks that are not needed any more; gives the public sums.
    pub(crate) async fn open(&mut self, width: usize, shares: &[u32]) -> Secret<u32> {
        let masked = self.mask(width, shares);
        self.add_peers(width, masked).await
    }

    /// Shares under fresh masks, of which nothing is left.
    fn mask(&mut self, width: usize, shares: &[u32]) -> Secret<u32> {
        let mut masked = Secret::from(shares.to_vec());
        let mut mask = [0; CHUNK];
        for part in masked.chunks_mut(CHUNK) {
            self.masks.fill_words(width, &mut mask[..part.len()]);
            kernels::add_masked(part, &mask, u32::MAX);
        }
        wipe(&mut mask);
        masked
    }

    /// Opens additive shares modulo `2^(8·width)` with fresh masks; gives the public sums and the own masks.
    pub(crate) async fn open_masked(&mut self, width: usize, shares: &[u32]) -> Masked {
        let mut mask = Secret::from(vec![0; shares.len()]);
        self.masks.fill_words(width, &mut mask);
        let mut masked = Secret::from(shares.to_vec());
        kernels::add_masked(&mut masked, &mask, u32::MAX);
        Masked { public: self.add_peers(width, masked).await, mask }
    }

    /// Opens additive shares modulo 2^64 with fresh masks that are not needed any more.
    pub(crate) async fn open_long(&mut self, shares: &[u64]) -> Secret<u64> {
        let mut masked = Secret::from(vec![0; shares.len()]);
        self.masks.fill_u64(&mut masked);
        masked.iter_mut().zip(shares).for_each(|(m, s)| *m = m.wrapping_add(*s));
        let received = self.exchange.round(self.node, 8 * masked.len(), |out| words::encode_u64(&masked, out)).await;
        let mut theirs = vec![0; masked.len()];
        words::decode_xor_u64(&received, &mut theirs);
        masked.iter_mut().zip(&theirs).for_each(|(m, t)| *m = m.wrapping_add(*t));
        masked
    }

    /// Exchanges masked shares and adds the peer's.
    async fn add_peers(&mut self, width: usize, mut masked: Secret<u32>) -> Secret<u32> {
        let len = width * masked.len();
        let received = self.exchange.round(self.node, len, |out| words::encode(width, &masked, out)).await;
        words::decode_add(width, &received, &mut masked);
        if width < 4 {
            let low = words::low_bits(8 * width as u8);
            masked.iter_mut().for_each(|m| *m &= low);
        }
        masked
    }

    /// Opens bit planes with fresh masks; the helper knows the masks.
    pub(crate) async fn open_bits(&mut self, shares: &[Plane], n: usize) -> Secret<Plane> {
        let mut masked = Secret::from(shares.to_vec());
        for (c, plane) in masked.iter_mut().enumerate() {
            let active = (n - c * CHUNK).min(CHUNK).div_ceil(64);
            let mut mask = ZERO;
            self.masks.fill_u64(&mut mask[..active]);
            bits::xor(plane, &mask);
        }
        let total = n.div_ceil(64);
        let received = self
            .exchange
            .round(self.node, 8 * total, |out| {
                for (c, plane) in masked.iter().enumerate() {
                    words::encode_u64(&plane[..(total - c * bits::WORDS).min(bits::WORDS)], out);
                }
            })
            .await;
        for (plane, bytes) in masked.iter_mut().zip(received.chunks(8 * bits::WORDS)) {
            words::decode_xor_u64(bytes, plane);
        }
        masked
    }
}
