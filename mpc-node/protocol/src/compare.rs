//! Comparing a public number with a dealt one, bit-sliced: the carry of a rescale, the sign of a difference.
//!
//! For `u = x + ρ` public and `ρ` known to the helper, `[u mod 2^k < ρ mod 2^k]` is needed as an XOR share. The bits
//! of `ρ` are dealt as one-hot vectors of groups of at most five bits, from which "less" and "equal" of a group are
//! linear in the shares. At most four groups are combined in one round by products of up to four opened bits.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::exchange::Exchange;
use super::section::{Dealer, Dealt};
use crate::ring::bits::{self, CHUNK, Plane, ZERO};
use crate::ring::kernels::{self, Entry};
use crate::ring::prg::Prg;
use crate::ring::secret::{Secret, wipe, wipe_whole};
use crate::ring::words;

/// Combines `k` neighbouring groups into one.
struct Stage {
    /// First group of the level it reads.
    from: usize,
    k: usize,
    keep_eq: bool,
    /// Products of at least two masks that the helper deals, as sets of variables.
    products: Vec<u16>,
}

impl Stage {
    fn new(from: usize, k: usize, keep_eq: bool) -> Self {
        let mut stage = Self { from, k, keep_eq, products: Vec::new() };
        let mut products = BTreeSet::new();
        for monomial in (0..k - 1).map(|j| stage.less_monomial(j)).chain(keep_eq.then(|| stage.equal_monomial())) {
            products.extend(subsets(monomial).filter(|s| s.count_ones() >= 2));
        }
        stage.products = products.into_iter().collect();
        stage
    }

    fn lowest_eq(&self) -> usize {
        usize::from(!self.keep_eq)
    }

    /// Opened bits: "less" of all groups but the highest, then "equal" from `lowest_eq` up.
    fn variables(&self) -> usize {
        self.k - 1 + self.k - self.lowest_eq()
    }

    fn equal_variable(&self, group: usize) -> usize {
        self.k - 1 + group - self.lowest_eq()
    }

    /// "Less" at group `j`, all higher groups equal.
    fn less_monomial(&self, j: usize) -> u16 {
        (j + 1..self.k).fold(1 << j, |set, g| set | 1 << self.equal_variable(g))
    }

    fn equal_monomial(&self) -> u16 {
        (0..self.k).fold(0, |set, g| set | 1 << self.equal_variable(g))
    }
}

/// All subsets of `set`, ascending.
fn subsets(set: u16) -> impl Iterator<Item = u16> {
    let mut next = Some(0u16);
    std::iter::from_fn(move || {
        let current = next?;
        let after = (current.wrapping_sub(set)) & set;
        next = (after != 0).then_some(after);
        Some(current)
    })
}

/// How `bits`-bit numbers are compared: group widths, lowest first, and the stages of each round.
pub(super) struct Circuit {
    groups: Vec<u8>,
    levels: Vec<Vec<Stage>>,
}

impl Circuit {
    /// The one circuit for `bits` in 1..=31, which all gates share.
    pub(super) fn of(bits: u8) -> &'static Self {
        static CIRCUITS: [OnceLock<Circuit>; 32] = [const { OnceLock::new() }; 32];
        CIRCUITS[usize::from(bits)].get_or_init(|| Self::new(bits))
    }

    fn new(bits: u8) -> Self {
        let count = if bits > 16 && bits <= 20 { 4 } else { bits.div_ceil(4) };
        let groups = (0..count).map(|g| bits / count + u8::from(g < bits % count)).collect::<Vec<_>>();
        let (mut levels, mut width) = (Vec::new(), groups.len());
        while width > 1 {
            let stages: Vec<Stage> = (0..width)
                .step_by(4)
                .map(|from| (from, 4.min(width - from)))
                .filter(|(_, k)| *k > 1)
                .map(|(from, k)| Stage::new(from, k, from > 0))
                .collect();
            width = width.div_ceil(4);
            levels.push(stages);
        }
        Self { groups, levels }
    }

    /// Rounds of a comparison.
    pub(super) fn rounds(&self) -> u64 {
        self.levels.len() as u64
    }

    /// Correction bytes for `n` comparisons.
    pub(super) fn corrections(&self, n: usize) -> u64 {
        let leaves: usize = self.groups.iter().map(|g| (1 << g) - 1).sum();
        let products: usize = self.levels.iter().flatten().map(|s| s.products.len()).sum();
        (8 * (leaves + products) * n.div_ceil(64)) as u64
    }
}

/// "Less" and "equal" of one group, XOR-shared.
#[derive(Clone, Copy)]
struct Pair {
    less: Plane,
    equal: Plane,
}

/// The helper's part: `rho` holds the dealt numbers.
pub(super) fn deal(
    dealer: &mut Dealer<'_, '_>,
    masks: &mut [Prg; 2],
    circuit: &Circuit,
    rho: &[u32],
) -> std::io::Result<()> {
    for part in rho.chunks(CHUNK) {
        let active = part.len().div_ceil(64);
        let mut bit = 0;
        for group in &circuit.groups {
            let mut one_hot = vec![[u64::MAX; bits::WORDS]; 1];
            for b in bit..bit + group {
                let on = bits::plane(part, b);
                let off = bits::not(&on);
                let high: Vec<Plane> = one_hot.iter().map(|e| bits::and(e, &on)).collect();
                one_hot.iter_mut().for_each(|e| *e = bits::and(e, &off));
                one_hot.extend(high);
            }
            bit += group;
            for plane in &one_hot[1..] {
                dealer.xor(&plane[..active])?;
            }
        }
    }
    for level in &circuit.levels {
        for part in rho.chunks(CHUNK) {
            let active = part.len().div_ceil(64);
            for stage in level {
                let variables: Vec<Plane> = (0..stage.variables()).map(|_| mask_plane(masks, active)).collect();
                for set in &stage.products {
                    let product = variables
                        .iter()
                        .enumerate()
                        .filter(|(v, _)| set >> v & 1 == 1)
                        .fold([u64::MAX; bits::WORDS], |product, (_, plane)| bits::and(&product, plane));
                    dealer.xor(&product[..active])?;
                }
            }
        }
    }
    Ok(())
}

/// The helper's view of a plane of masks: the XOR of both evaluators'.
pub(super) fn mask_plane(masks: &mut [Prg; 2], active: usize) -> Plane {
    let (mut a, mut b) = (ZERO, ZERO);
    masks[0].fill_u64(&mut a[..active]);
    masks[1].fill_u64(&mut b[..active]);
    bits::xor(&mut a, &b);
    a
}

/// What an evaluator needs for its gates: its place, its rounds, its masks and what it was dealt.
pub(super) struct Gate {
    pub(super) task: u32,
    pub(super) first: bool,
    pub(super) exchange: Exchange,
    pub(super) masks: Prg,
    pub(super) dealt: Dealt,
}

impl Gate {
    /// XOR shares of `[u mod 2^k < ρ mod 2^k]` for each public `u`, a plane a chunk.
    pub(super) async fn less_than(&mut self, circuit: &Circuit, public: &[u32]) -> Secret<Plane> {
        let mut pairs: Vec<Vec<Pair>> = {
            let mut scratch = Scratch::new(circuit);
            public.chunks(CHUNK).map(|part| self.leaves(circuit, part, &mut scratch)).collect()
        };
        for level in &circuit.levels {
            self.combine(level, public.len(), &mut pairs).await;
        }
        let less: Vec<Plane> = pairs.iter().map(|groups| groups[0].less).collect();
        pairs.iter_mut().for_each(|groups| wipe_whole(groups, Pair { less: ZERO, equal: ZERO }));
        less.into()
    }

    fn leaves(&mut self, circuit: &Circuit, public: &[u32], scratch: &mut Scratch) -> Vec<Pair> {
        let active = public.len().div_ceil(64);
        let Scratch { one_hot, entries, fewer } = scratch;
        let (mut entries, mut fewer) = (entries, fewer);
        let mut bit = 0;
        let mut pairs = Vec::with_capacity(circuit.groups.len());
        for group in &circuit.groups {
            let one_hot = &mut one_hot[..1 << group];
            self.dealt.xor_planes(&mut one_hot[1..], active);
            // The vector has one bit set.
            let (zeroth, others) = one_hot.split_at_mut(1);
            zeroth[0] = if self.first { [u64::MAX; bits::WORDS] } else { ZERO };
            kernels::xor_all(&mut zeroth[0], others);
            let mut len = one_hot.len() / 2;
            kernels::join_leaves(&mut entries[..len], &bits::plane(public, bit), one_hot);
            for b in bit + 1..bit + group {
                kernels::join(&mut fewer[..len / 2], &bits::plane(public, b), &entries[..len]);
                len /= 2;
                std::mem::swap(&mut entries, &mut fewer);
            }
            bit += group;
            let [_, equal, less] = entries[0];
            pairs.push(Pair { less, equal });
        }
        pairs
    }

    async fn combine(&mut self, level: &[Stage], n: usize, pairs: &mut [Vec<Pair>]) {
        let actives: Vec<usize> = (0..pairs.len()).map(|c| (n - c * CHUNK).min(CHUNK).div_ceil(64)).collect();
        // Of each variable: the masked share, the mask.
        let mut own: Vec<Secret<[Plane; 2]>> = Vec::with_capacity(pairs.len());
        for (groups, active) in pairs.iter().zip(&actives) {
            let mut variables = Vec::with_capacity(level.iter().map(Stage::variables).sum());
            for stage in level {
                let group = |g: usize| &groups[stage.from + g];
                let less = (0..stage.k - 1).map(|g| group(g).less);
                let equal = (stage.lowest_eq()..stage.k).map(|g| group(g).equal);
                for share in less.chain(equal) {
                    let mut mask = ZERO;
                    self.masks.fill_u64(&mut mask[..*active]);
                    let mut masked = share;
                    bits::xor(&mut masked, &mask);
                    variables.push([masked, mask]);
                }
            }
            own.push(variables.into());
        }
        let len = own.iter().zip(&actives).map(|(variables, active)| 8 * active * variables.len()).sum();
        let received = self
            .exchange
            .round(self.task, len, |out| {
                for (variables, active) in own.iter().zip(&actives) {
                    variables.iter().for_each(|[masked, _]| words::encode_u64(&masked[..*active], out));
                }
            })
            .await;
        let mut at = 0;
        for ((groups, active), variables) in pairs.iter_mut().zip(&actives).zip(&mut own) {
            let mut opened = &mut variables[..];
            for stage in level {
                let (mine, rest) = opened.split_at_mut(stage.variables());
                opened = rest;
                for [masked, _] in mine.iter_mut() {
                    words::decode_xor_u64(&received[at..at + 8 * active], &mut masked[..*active]);
                    at += 8 * active;
                }
                let mut products = Secret::from(vec![ZERO; stage.products.len()]);
                for plane in products.iter_mut() {
                    self.dealt.xor(&mut plane[..*active]);
                }
                let term = |set: u16| multiply(self.first, stage, mine, &products, set);
                let mut less = groups[stage.from + stage.k - 1].less;
                for j in 0..stage.k - 1 {
                    bits::xor(&mut less, &term(stage.less_monomial(j)));
                }
                let equal = if stage.keep_eq { term(stage.equal_monomial()) } else { ZERO };
                groups[stage.from] = Pair { less, equal };
            }
            let mut kept = 0;
            groups.retain(|_| {
                kept += 1;
                (kept - 1) % 4 == 0
            });
        }
    }

    /// Opens bit planes with fresh masks; the helper knows the masks.
    pub(super) async fn open_bits(&mut self, shares: &[Plane], n: usize) -> Secret<Plane> {
        let mut opened = Secret::from(shares.to_vec());
        for (c, plane) in opened.iter_mut().enumerate() {
            let active = (n - c * CHUNK).min(CHUNK).div_ceil(64);
            let mut mask = ZERO;
            self.masks.fill_u64(&mut mask[..active]);
            bits::xor(plane, &mask);
        }
        let total = n.div_ceil(64);
        let received = self
            .exchange
            .round(self.task, 8 * total, |out| {
                for (c, plane) in opened.iter().enumerate() {
                    words::encode_u64(&plane[..(total - c * bits::WORDS).min(bits::WORDS)], out);
                }
            })
            .await;
        for (plane, bytes) in opened.iter_mut().zip(received.chunks(8 * bits::WORDS)) {
            words::decode_xor_u64(bytes, plane);
        }
        opened
    }

    /// Opens additive shares modulo `2^(8·width)` with fresh masks that are not needed any more; gives the public sums.
    pub(super) async fn open(&mut self, width: usize, shares: &[u32]) -> Secret<u32> {
        let masked = self.mask(width, shares);
        self.open_masked(width, masked).await
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
    pub(super) async fn open_words(&mut self, width: usize, shares: &[u32]) -> (Secret<u32>, Secret<u32>) {
        let mut mask = Secret::from(vec![0; shares.len()]);
        self.masks.fill_words(width, &mut mask);
        let mut masked = Secret::from(shares.to_vec());
        kernels::add_masked(&mut masked, &mask, u32::MAX);
        (self.open_masked(width, masked).await, mask)
    }

    async fn open_masked(&mut self, width: usize, mut public: Secret<u32>) -> Secret<u32> {
        let received =
            self.exchange.round(self.task, width * public.len(), |out| words::encode(width, &public, out)).await;
        words::decode_add(width, &received, &mut public);
        let low = words::mask(8 * width as u8);
        if width < 4 {
            public.iter_mut().for_each(|m| *m &= low);
        }
        public
    }

    /// XOR shares of the top bit of `x = u - ρ mod 2^w`, for public `u`.
    pub(super) async fn msb(&mut self, circuit: &Circuit, w: u8, public: &[u32]) -> Secret<Plane> {
        let mut planes = self.less_than(circuit, public).await;
        for (plane, part) in planes.iter_mut().zip(public.chunks(CHUNK)) {
            let mut dealt = ZERO;
            self.dealt.xor(&mut dealt[..part.len().div_ceil(64)]);
            bits::xor(plane, &dealt);
            if self.first {
                bits::xor(plane, &bits::plane(part, w - 1));
            }
        }
        planes
    }
}

/// Correction bytes of [`Gate::msb`] on `n` numbers of `w` bits.
pub(super) fn msb_corrections(circuit: &Circuit, n: usize) -> u64 {
    circuit.corrections(n) + 8 * n.div_ceil(64) as u64
}

/// The helper's part of [`Gate::msb`]; the circuit is for `w - 1` bits.
pub(super) fn deal_msb(
    dealer: &mut Dealer<'_, '_>,
    masks: &mut [Prg; 2],
    circuit: &Circuit,
    w: u8,
    rho: &[u32],
) -> std::io::Result<()> {
    deal(dealer, masks, circuit, rho)?;
    for part in rho.chunks(CHUNK) {
        dealer.xor(&bits::plane(part, w - 1)[..part.len().div_ceil(64)])?;
    }
    Ok(())
}

/// One evaluator's share of a product of opened bits `a_v = x_v ⊕ r_v`, from the dealt products of masks.
fn multiply(first: bool, stage: &Stage, opened: &[[Plane; 2]], products: &[Plane], set: u16) -> Plane {
    let variables: Vec<usize> = (0..16).filter(|v| set >> v & 1 == 1).collect();
    let mut all = Vec::with_capacity(1 << variables.len());
    all.extend(subsets(set).map(|s| match s.count_ones() {
        0 if first => [u64::MAX; bits::WORDS],
        0 => ZERO,
        1 => opened[s.trailing_zeros() as usize][1],
        // The stage lists every product of a subset of its monomials.
        _ => stage.products.binary_search(&s).map_or(ZERO, |at| products[at]),
    }));
    let mut terms = Secret::from(all);
    let mut left = terms.len();
    for v in variables.iter().rev() {
        let half = left / 2;
        let (low, high) = terms[..left].split_at_mut(half);
        for (l, h) in low.iter_mut().zip(high.iter()) {
            let value = &opened[*v][0];
            for ((l, h), a) in l.iter_mut().zip(h).zip(value) {
                *l = (*l & a) ^ h;
            }
        }
        left = half;
    }
    terms[0]
}

/// What the groups of one comparison are worked out in.
struct Scratch {
    one_hot: Secret<Plane>,
    /// Ranges of a one-hot vector, while a public index narrows them down.
    entries: Secret<Entry>,
    fewer: Secret<Entry>,
}

impl Scratch {
    fn new(circuit: &Circuit) -> Self {
        let most = circuit.groups.iter().max().map_or(1, |group| 1 << group);
        Self {
            one_hot: vec![ZERO; most].into(),
            entries: vec![[ZERO; 3]; most / 2].into(),
            fewer: vec![[ZERO; 3]; most / 2].into(),
        }
    }
}
