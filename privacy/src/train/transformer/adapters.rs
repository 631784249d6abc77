//! Adapters of a layer: as they are multiplied, and their gradients.

use super::super::matmul::{Left, multiply, wide};
use super::layout::Tuning;
use super::pass::{Pass, each};

impl Pass<'_> {
    /// The gradients of a layer's adapters.
    pub(super) fn of_adapters(&mut self, index: usize) {
        let Tuning::Adapters(adapters) = &self.model.tuning else { return };
        let (layout, room) = (&self.model.layout, &self.rooms[index]);
        let (d, rank, columns, scale) = (layout.hidden, adapters.rank, adapters.columns(), adapters.scale());
        let (a, b) = layout.adapters(index);
        let (forth, back) = &self.loaded.adapters[index];
        let rows = room.x.len() / d;
        self.scratch.resize(2 * rows * columns + 3 * d * columns, 0.0);
        let (down, rest) = self.scratch.split_at_mut(rows * columns);
        let (by_down, product) = rest.split_at_mut(rows * columns);
        multiply(Left::Rows(&room.x), forth, down, false);
        multiply(Left::Rows(&room.qkv), back, by_down, false);
        wide(|| down.iter_mut().chain(by_down.iter_mut()).for_each(|value| *value *= scale));
        let packed = &mut self.packed;
        each(&self.begins, self.private, &mut self.direct, |rows, direct| {
            let x = &room.x[rows.start * d..rows.end * d];
            let delta = &room.qkv[rows.start * 3 * d..rows.end * 3 * d];
            packed.lay(&by_down[rows.start * columns..rows.end * columns], rows.len(), columns);
            multiply(Left::Columns(x), packed, &mut direct[a.clone()], true);
            packed.lay(&down[rows.start * columns..rows.end * columns], rows.len(), columns);
            multiply(Left::Columns(delta), packed, product, false);
            for (place, &target) in adapters.targets.iter().enumerate() {
                let from = &product[target as usize * d * columns..][..d * columns];
                for row in place * rank..(place + 1) * rank {
                    let to = &mut direct[b.start + row * d..][..d];
                    to.iter_mut().zip(from.iter().skip(row).step_by(columns)).for_each(|(to, from)| *to += from);
                }
            }
        });
    }

    /// Takes a layer's adapters as they are multiplied.
    pub(super) fn load_adapters(&mut self, parameters: &[f32], index: usize) {
        let Tuning::Adapters(adapters) = &self.model.tuning else { return };
        let (d, rank, columns) = (self.model.layout.hidden, adapters.rank, adapters.columns());
        let (a, b) = self.model.layout.adapters(index);
        let mut spread = vec![0.0; 3 * d * columns];
        for (place, &target) in adapters.targets.iter().enumerate() {
            for row in place * rank..(place + 1) * rank {
                let from = &parameters[b.start + row * d..][..d];
                let to = spread[target as usize * d * columns..].iter_mut().skip(row).step_by(columns);
                to.zip(from).for_each(|(to, &from)| *to = from);
            }
        }
        self.loaded.adapters[index].0.lay(&parameters[a], d, columns);
        self.loaded.adapters[index].1.lay(&spread, 3 * d, columns);
    }
}
