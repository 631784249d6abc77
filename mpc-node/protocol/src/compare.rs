//! Comparing a public number with a dealt one, bit-sliced: the carry of a rescale, the sign of a difference.
//!
//! For `u = x + ρ` public and `ρ` known to the helper, `[u mod 2^k < ρ mod 2^k]` is needed as an XOR share. The bits
//! of `ρ` are dealt as one-hot vectors of groups of at most five bits, from which "less" and "equal" of a group are
//! linear in the shares. At most four groups are combined in one round by products of up to four opened bits.

mod circuit;

pub(crate) use circuit::Circuit;

use circuit::{Stage, subsets};

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::ring::bits::{self, CHUNK, Plane, WORDS, ZERO};
use crate::ring::kernels::{self, Entry};
use crate::ring::secret::{Secret, wipe_whole};
use crate::ring::words;

/// "Less" and "equal" of one group, XOR-shared.
#[derive(Clone, Copy)]
struct Pair {
    less: Plane,
    equal: Plane,
}

/// The helper's part: `rho` holds the dealt numbers.
pub(crate) async fn deal(context: &mut DealContext<'_>, circuit: &Circuit, rho: &[u32]) {
    for part in rho.chunks(CHUNK) {
        deal_leaves(context, circuit, part);
        context.pause().await;
    }
    for level in &circuit.levels {
        for part in rho.chunks(CHUNK) {
            deal_products(context, level, part.len());
            context.pause().await;
        }
    }
}

/// The one-hot vectors of the groups of each of `rho`, at most a chunk of them.
fn deal_leaves(context: &mut DealContext<'_>, circuit: &Circuit, rho: &[u32]) {
    let active = rho.len().div_ceil(64);
    let mut one_hot = Secret::from(vec![ZERO; circuit.largest_group()]);
    let mut bit = 0;
    for group in &circuit.groups {
        one_hot[0] = [u64::MAX; WORDS];
        let mut len = 1;
        for b in bit..bit + group {
            let on = bits::plane(rho, b);
            let (low, high) = one_hot.split_at_mut(len);
            for (low, high) in low.iter_mut().zip(high) {
                *high = bits::and(low, &on);
                bits::xor(low, high);
            }
            len *= 2;
        }
        bit += group;
        for plane in &one_hot[1..len] {
            context.xor(&plane[..active]);
        }
    }
}

/// The products of the masks under which the bits of `n` comparisons, at most a chunk, will be opened.
fn deal_products(context: &mut DealContext<'_>, level: &[Stage], n: usize) {
    let active = n.div_ceil(64);
    for stage in level {
        let masks: Vec<Plane> = (0..stage.variables()).map(|_| context.mask_plane(active)).collect();
        let masks = Secret::from(masks);
        for set in &stage.products {
            let product = masks
                .iter()
                .enumerate()
                .filter(|(v, _)| set >> v & 1 == 1)
                .fold([u64::MAX; WORDS], |product, (_, plane)| bits::and(&product, plane));
            context.xor(&product[..active]);
        }
    }
}

/// XOR shares of `[u mod 2^k < ρ mod 2^k]` for each public `u`, a plane a chunk.
pub(crate) async fn less_than(context: &mut EvalContext<'_>, circuit: &Circuit, public: &[u32]) -> Secret<Plane> {
    let mut pairs: Vec<Vec<Pair>> = {
        let mut scratch = Scratch::new(circuit);
        public.chunks(CHUNK).map(|part| leaves(context, circuit, part, &mut scratch)).collect()
    };
    for level in &circuit.levels {
        combine(context, level, public.len(), &mut pairs).await;
    }
    let less: Vec<Plane> = pairs.iter().map(|groups| groups[0].less).collect();
    pairs.iter_mut().for_each(|groups| wipe_whole(groups, Pair { less: ZERO, equal: ZERO }));
    less.into()
}

fn leaves(context: &mut EvalContext<'_>, circuit: &Circuit, public: &[u32], scratch: &mut Scratch) -> Vec<Pair> {
    let active = public.len().div_ceil(64);
    let Scratch { one_hot, entries, fewer } = scratch;
    let (mut entries, mut fewer) = (entries, fewer);
    let mut bit = 0;
    let mut pairs = Vec::with_capacity(circuit.groups.len());
    for group in &circuit.groups {
        let one_hot = &mut one_hot[..1 << group];
        context.dealt.xor_planes(&mut one_hot[1..], active);
        // The vector has one bit set.
        let (zeroth, others) = one_hot.split_at_mut(1);
        zeroth[0] = if context.first { [u64::MAX; WORDS] } else { ZERO };
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

async fn combine(context: &mut EvalContext<'_>, level: &[Stage], n: usize, pairs: &mut [Vec<Pair>]) {
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
                context.masks.fill_u64(&mut mask[..*active]);
                let mut masked = share;
                bits::xor(&mut masked, &mask);
                variables.push([masked, mask]);
            }
        }
        own.push(variables.into());
    }
    let len = own.iter().zip(&actives).map(|(variables, active)| 8 * active * variables.len()).sum();
    let received = context
        .exchange
        .round(context.node, len, |out| {
            for (variables, active) in own.iter().zip(&actives) {
                variables.iter().for_each(|[masked, _]| words::encode_u64(&masked[..*active], out));
            }
        })
        .await;
    let mut at = 0;
    for ((groups, active), variables) in pairs.iter_mut().zip(&actives).zip(&mut own) {
        let mut variables = &mut variables[..];
        for stage in level {
            let (mine, rest) = variables.split_at_mut(stage.variables());
            variables = rest;
            for [masked, _] in mine.iter_mut() {
                words::decode_xor_u64(&received[at..at + 8 * active], &mut masked[..*active]);
                at += 8 * active;
            }
            let mut products = Secret::from(vec![ZERO; stage.products.len()]);
            for plane in products.iter_mut() {
                context.dealt.xor(&mut plane[..*active]);
            }
            let term = |set: u16| multiply(context.first, stage, mine, &products, set);
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

/// XOR shares of the top bit of `x = u - ρ mod 2^w`, for public `u`.
pub(crate) async fn msb(context: &mut EvalContext<'_>, circuit: &Circuit, w: u8, public: &[u32]) -> Secret<Plane> {
    let mut planes = less_than(context, circuit, public).await;
    for (plane, part) in planes.iter_mut().zip(public.chunks(CHUNK)) {
        let mut dealt = ZERO;
        context.dealt.xor(&mut dealt[..part.len().div_ceil(64)]);
        bits::xor(plane, &dealt);
        if context.first {
            bits::xor(plane, &bits::plane(part, w - 1));
        }
    }
    planes
}

/// Correction bytes of [`msb`] on `n` numbers of `w` bits.
pub(crate) fn msb_corrections(circuit: &Circuit, n: usize) -> u64 {
    circuit.corrections(n) + 8 * n.div_ceil(64) as u64
}

/// The helper's part of [`msb`]; the circuit is for `w - 1` bits.
pub(crate) async fn deal_msb(context: &mut DealContext<'_>, circuit: &Circuit, w: u8, rho: &[u32]) {
    deal(context, circuit, rho).await;
    for part in rho.chunks(CHUNK) {
        context.xor(&bits::plane(part, w - 1)[..part.len().div_ceil(64)]);
        context.pause().await;
    }
}

/// One evaluator's share of a product of bits `x_v`, from `[x_v ⊕ r_v, own share of r_v]` and the dealt products of masks.
fn multiply(first: bool, stage: &Stage, bits: &[[Plane; 2]], products: &[Plane], set: u16) -> Plane {
    let factors: Vec<usize> = (0..16).filter(|v| set >> v & 1 == 1).collect();
    let mut all = Vec::with_capacity(1 << factors.len());
    all.extend(subsets(set).map(|s| match s.count_ones() {
        0 if first => [u64::MAX; WORDS],
        0 => ZERO,
        1 => bits[s.trailing_zeros() as usize][1],
        // The stage lists every product of a subset of its monomials.
        _ => stage.products.binary_search(&s).map_or(ZERO, |at| products[at]),
    }));
    let mut terms = Secret::from(all);
    let mut left = terms.len();
    for v in factors.iter().rev() {
        let half = left / 2;
        let (low, high) = terms[..left].split_at_mut(half);
        for (l, h) in low.iter_mut().zip(high.iter()) {
            let value = &bits[*v][0];
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
        let most = circuit.largest_group();
        Self {
            one_hot: vec![ZERO; most].into(),
            entries: vec![[ZERO; 3]; most / 2].into(),
            fewer: vec![[ZERO; 3]; most / 2].into(),
        }
    }
}
