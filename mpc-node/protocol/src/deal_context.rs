//! The helper's side of one gate: it knows both evaluators' masks, and writes the second's corrections.

use crate::outgoing::Outgoing;
use crate::ring::bits::{self, CHUNK, Plane, ZERO};
use crate::ring::kernels;
use crate::ring::prg::{Label, Prg, Seed};
use crate::ring::secret::{Secret, make_room};
use crate::ring::words;
use crate::weights::Tensor;

/// What the helper knows of a tensor.
#[derive(Default)]
pub(crate) struct Known {
    /// The mask it is opened under.
    pub(crate) mask: Option<Secret<u32>>,
    /// What the evaluators' shares lack.
    pub(crate) deficit: Option<Secret<u32>>,
}

/// What a gate has at hand while it deals.
pub(crate) struct DealContext<'a> {
    seeds: [&'a Seed; 2],
    masks: [Prg; 2],
    /// The first evaluator's half of what is dealt.
    first: Prg,
    out: &'a mut Outgoing,
    operands: Vec<&'a Known>,
    /// Masks of private weights.
    weights: Option<&'a [Tensor]>,
}

impl<'a> DealContext<'a> {
    /// For the gate of node `node`.
    pub(crate) fn new(
        node: u32,
        seeds: [&'a Seed; 2],
        out: &'a mut Outgoing,
        operands: Vec<&'a Known>,
        weights: Option<&'a [Tensor]>,
    ) -> Self {
        Self {
            seeds,
            masks: seeds.map(|seed| Prg::new(seed, Label::Mask(node))),
            first: Prg::new(seeds[0], Label::Dealt(node)),
            out,
            operands,
            weights,
        }
    }

    /// The seeds shared with the first and with the second evaluator.
    pub(crate) fn seeds(&self) -> [&'a Seed; 2] {
        self.seeds
    }

    /// The mask that an operand was opened under.
    pub(crate) fn operand_mask(&self, operand: usize) -> &'a [u32] {
        self.operands.get(operand).and_then(|known| known.mask.as_deref()).unwrap_or_default()
    }

    /// What the evaluators' shares of an operand lack.
    pub(crate) fn operand_deficit(&self, operand: usize) -> Option<&'a [u32]> {
        self.operands.get(operand).and_then(|known| known.deficit.as_deref())
    }

    /// The mask of a private weight.
    pub(crate) fn weight_mask(&self, weight: usize) -> Option<&'a Tensor> {
        self.weights.and_then(|weights| weights.get(weight))
    }

    /// The next masks of words: the sum of both evaluators', `n` words of `width` bytes.
    pub(crate) fn mask_words(&mut self, width: usize, n: usize) -> Secret<u32> {
        sum_of_masks(&mut self.masks, width, n)
    }

    /// The next masks modulo 2^64: the sum of both evaluators'.
    pub(crate) fn mask_longs(&mut self, n: usize) -> Secret<u64> {
        let (mut a, mut b) = (Secret::from(vec![0; n]), Secret::from(vec![0; n]));
        self.masks[0].fill_u64(&mut a);
        self.masks[1].fill_u64(&mut b);
        a.iter_mut().zip(b.iter()).for_each(|(a, b)| *a = a.wrapping_add(*b));
        a
    }

    /// The next masks of bits: the XOR of both evaluators', `active` words of a plane.
    pub(crate) fn mask_plane(&mut self, active: usize) -> Plane {
        let (mut a, mut b) = (ZERO, ZERO);
        self.masks[0].fill_u64(&mut a[..active]);
        self.masks[1].fill_u64(&mut b[..active]);
        bits::xor(&mut a, &b);
        a
    }

    /// Deals additive shares of `values` modulo `2^(8·width)`.
    pub(crate) fn additive(&mut self, width: usize, values: &[u32]) {
        make_room(&mut self.out.buffer, width * values.len());
        for part in values.chunks(CHUNK) {
            let half = &mut self.out.words[..part.len()];
            self.first.fill_words(width, half);
            kernels::subtract_from(half, part);
            words::encode(width, half, &mut self.out.buffer);
        }
    }

    /// Deals additive shares of `values` modulo 2^64, at most a chunk of them.
    pub(crate) fn additive_long(&mut self, values: &[u64]) {
        let mut half = Secret::from(vec![0; values.len()]);
        self.first.fill_u64(&mut half);
        half.iter_mut().zip(values).for_each(|(half, value)| *half = value.wrapping_sub(*half));
        make_room(&mut self.out.buffer, 8 * values.len());
        words::encode_u64(&half, &mut self.out.buffer);
    }

    /// Deals XOR shares of a plane's words, at most all of them.
    pub(crate) fn xor(&mut self, values: &[u64]) {
        let mut half = ZERO;
        let half = &mut half[..values.len()];
        self.first.fill_u64(half);
        half.iter_mut().zip(values).for_each(|(half, value)| *half ^= value);
        make_room(&mut self.out.buffer, 8 * values.len());
        words::encode_u64(half, &mut self.out.buffer);
    }

    /// Deals XOR shares of one-hot vectors of `bytes` bytes each, the bit at `hot[i]` set; tells for each whether
    /// the *second* evaluator's half has its bit set there (then the two halves' difference is minus one).
    pub(crate) fn one_hot(&mut self, bytes: usize, hot: &[u32], flipped: &mut [bool]) {
        let buffer = &mut self.out.buffer;
        let start = buffer.len();
        make_room(buffer, hot.len() * bytes);
        buffer.resize(start + hot.len() * bytes, 0);
        self.first.fill(&mut buffer[start..]);
        for ((vector, hot), flipped) in buffer[start..].chunks_exact_mut(bytes).zip(hot).zip(flipped) {
            let byte = &mut vector[*hot as usize / 8];
            *byte ^= 1 << (hot % 8);
            *flipped = *byte >> (hot % 8) & 1 == 1;
        }
    }

    /// A place where what was dealt can be handed out: at least once for each chunk of elements.
    pub(crate) async fn pause(&mut self) {
        self.out.pause().await;
    }
}

/// The sum of both evaluators' masks, `n` words of `width` bytes.
pub(crate) fn sum_of_masks(masks: &mut [Prg; 2], width: usize, n: usize) -> Secret<u32> {
    let (mut a, mut b) = (Secret::from(vec![0; n]), Secret::from(vec![0; n]));
    masks[0].fill_words(width, &mut a);
    masks[1].fill_words(width, &mut b);
    kernels::add_masked(&mut a, &b, words::low_bits(8 * width as u8));
    a
}
