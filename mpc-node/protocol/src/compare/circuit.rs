//! The circuit of a comparison: how the bits of a number are grouped, and how the groups are joined.

use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Combines `k` neighbouring groups into one.
pub(super) struct Stage {
    /// First group of the level it reads.
    pub(super) from: usize,
    pub(super) k: usize,
    pub(super) keep_eq: bool,
    /// Products of at least two masks that the helper deals, as sets of variables.
    pub(super) products: Vec<u16>,
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

    pub(super) fn lowest_eq(&self) -> usize {
        usize::from(!self.keep_eq)
    }

    /// Opened bits: "less" of all groups but the highest, then "equal" from `lowest_eq` up.
    pub(super) fn variables(&self) -> usize {
        self.k - 1 + self.k - self.lowest_eq()
    }

    fn equal_variable(&self, group: usize) -> usize {
        self.k - 1 + group - self.lowest_eq()
    }

    /// "Less" at group `j`, all higher groups equal.
    pub(super) fn less_monomial(&self, j: usize) -> u16 {
        (j + 1..self.k).fold(1 << j, |set, g| set | 1 << self.equal_variable(g))
    }

    pub(super) fn equal_monomial(&self) -> u16 {
        (0..self.k).fold(0, |set, g| set | 1 << self.equal_variable(g))
    }
}

/// All subsets of `set`, ascending.
pub(super) fn subsets(set: u16) -> impl Iterator<Item = u16> {
    let mut next = Some(0u16);
    std::iter::from_fn(move || {
        let current = next?;
        let after = (current.wrapping_sub(set)) & set;
        next = (after != 0).then_some(after);
        Some(current)
    })
}

/// How `bits`-bit numbers are compared: group widths, lowest first, and the stages of each round.
pub(crate) struct Circuit {
    pub(super) groups: Vec<u8>,
    pub(super) levels: Vec<Vec<Stage>>,
}

impl Circuit {
    /// The one circuit for `bits` in 1..=31, which all gates share.
    pub(crate) fn of(bits: u8) -> &'static Self {
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

    /// Entries of the longest one-hot vector.
    pub(super) fn largest_group(&self) -> usize {
        self.groups.iter().max().map_or(1, |group| 1 << group)
    }

    /// Rounds of a comparison.
    pub(crate) fn rounds(&self) -> u64 {
        self.levels.len() as u64
    }

    /// Correction bytes for `n` comparisons.
    pub(crate) fn corrections(&self, n: usize) -> u64 {
        let leaves: usize = self.groups.iter().map(|g| (1 << g) - 1).sum();
        let products: usize = self.levels.iter().flatten().map(|s| s.products.len()).sum();
        (8 * (leaves + products) * n.div_ceil(64)) as u64
    }
}
