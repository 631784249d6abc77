//! The way back of some texts, and what their gradients add up to.

use super::super::matmul::{Left, multiply, wide};
use super::classifier::Reading;
use super::functions::{add, add_products, add_rows, normalize_back, repeat, times};
use super::ghost::Known;
use super::layout::Tuning;
use super::pass::Pass;
use super::weights::{DOWN, OUTPUT, QKV, Small, UP};

impl Pass<'_> {
    /// From the gradients by the logits on.
    pub(super) fn backward(&mut self, parameters: &[f32]) {
        let (model, texts) = (self.model, self.begins.len() - 1);
        let (d, inner, whole) = (model.layout.hidden, model.layout.inner, model.tuning == Tuning::All);
        self.known.clear();
        self.known.resize(texts, Known::default());
        self.direct.clear();
        self.direct.resize(model.layout.direct() * if self.private { texts } else { 1 }, 0.0);
        self.from_head();
        for index in (0..self.rooms.len()).rev() {
            let (room, back) = (&mut self.rooms[index], &self.loaded.back[index]);
            let small = Small::of(&self.loaded.small[index], d, inner);
            if whole {
                let places = places(model.layout.small(index).start, d, inner);
                let norms = [(&room.last, &self.delta, places.output_norm)];
                for (normal, delta, at) in norms {
                    each(&self.begins, self.private, &mut self.direct, |rows, direct| {
                        norm_gradients(
                            &normal[rows.start * d..rows.end * d],
                            &delta[rows.start * d..rows.end * d],
                            &mut direct[at..at + 2 * d],
                        );
                    });
                }
            }
            normalize_back(&mut room.last, small.output_norm.0, &room.last_inverses, &self.delta);
            self.scratch.resize(room.slopes.len(), 0.0);
            multiply(Left::Rows(&room.last), &back[DOWN], &mut self.scratch, false);
            times(&self.scratch, &mut room.slopes);
            self.delta.copy_from_slice(&room.last);
            multiply(Left::Rows(&room.slopes), &back[UP], &mut self.delta, true);
            if whole {
                let at = places(model.layout.small(index).start, d, inner).attention_norm;
                each(&self.begins, self.private, &mut self.direct, |rows, direct| {
                    let rows = rows.start * d..rows.end * d;
                    norm_gradients(&room.middle[rows.clone()], &self.delta[rows], &mut direct[at..at + 2 * d]);
                });
            }
            normalize_back(&mut room.middle, small.attention_norm.0, &room.middle_inverses, &self.delta);
            self.scratch.resize(room.middle.len(), 0.0);
            multiply(Left::Rows(&room.middle), &back[OUTPUT], &mut self.scratch, false);
            let rows = Self::rows(&self.begins, model);
            self.attention.backward(rows, &mut room.qkv, &room.softmaxes, &self.scratch);
            if whole {
                self.of_matrices(index);
            } else {
                self.of_adapters(parameters, index);
            }
            if index > 0 || whole {
                self.delta.copy_from_slice(&self.rooms[index].middle);
                multiply(Left::Rows(&self.rooms[index].qkv), &self.loaded.back[index][QKV], &mut self.delta, true);
            }
        }
        if whole {
            let at = model.layout.embedding_norm().start;
            each(&self.begins, self.private, &mut self.direct, |rows, direct| {
                let rows = rows.start * d..rows.end * d;
                norm_gradients(&self.embedded[rows.clone()], &self.delta[rows], &mut direct[at..at + 2 * d]);
            });
        }
    }

    /// Through the linear layer, and the pooler if there is one, to the last layer's rows.
    fn from_head(&mut self) {
        let (layout, texts) = (&self.model.layout, self.begins.len() - 1);
        let (d, classes, each) = (layout.hidden, layout.classes, layout.direct());
        for text in 0..texts {
            let slot = if self.private { text } else { 0 };
            let direct = &mut self.direct[slot * each..][..each];
            let (weight, bias) = direct[layout.head()].split_at_mut(d * classes);
            let delta = &self.logit_deltas[text * classes..][..classes];
            for (row, &read) in weight.chunks_exact_mut(classes).zip(&self.read[text * d..]) {
                row.iter_mut().zip(delta).for_each(|(to, delta)| *to += read * delta);
            }
            bias.iter_mut().zip(delta).for_each(|(to, delta)| *to += delta);
        }
        let mut by_read = std::mem::take(&mut self.first_deltas);
        by_read.resize(texts * d, 0.0);
        multiply(Left::Rows(&self.logit_deltas), &self.loaded.head.1, &mut by_read, false);
        let rows = self.begins[texts];
        self.delta.clear();
        self.delta.resize(rows * d, 0.0);
        if self.model.reading == Reading::Mean {
            for (text, delta) in self.begins.windows(2).zip(by_read.chunks_exact_mut(d)) {
                let part = 1.0 / (text[1] - text[0]) as f32;
                delta.iter_mut().for_each(|value| *value *= part);
                repeat(delta, &mut self.delta[text[0] * d..text[1] * d]);
            }
            self.first_deltas = by_read;
            return;
        }
        by_read.iter_mut().zip(&self.read).for_each(|(delta, read)| *delta *= 1.0 - read * read);
        self.scratch.resize(texts * d, 0.0);
        multiply(Left::Rows(&by_read), &self.loaded.pooler.1, &mut self.scratch, false);
        for (&at, delta) in self.begins.iter().zip(self.scratch.chunks_exact(d)) {
            self.delta[at * d..][..d].copy_from_slice(delta);
        }
        if self.model.tuning == Tuning::All {
            for (text, delta) in by_read.chunks_exact(d).enumerate() {
                let slot = if self.private { text } else { 0 };
                add(1.0, delta, &mut self.direct[slot * each..][layout.pooler_bias()]);
                if self.private {
                    let first = &self.firsts[text * d..][..d];
                    self.ghost.add(first, d, delta, d, &mut self.known[text]);
                }
            }
        }
        self.first_deltas = by_read;
    }

    /// Biases of a layer, and the norms of its matrices' gradients.
    fn of_matrices(&mut self, index: usize) {
        let (layout, room) = (&self.model.layout, &self.rooms[index]);
        let (d, inner) = (layout.hidden, layout.inner);
        let at = places(layout.small(index).start, d, inner);
        for (delta, width, at) in [
            (&room.qkv, 3 * d, at.qkv),
            (&room.middle, d, at.output),
            (&room.slopes, inner, at.up),
            (&room.last, d, at.down),
        ] {
            each(&self.begins, self.private, &mut self.direct, |rows, direct| {
                add_rows(&delta[rows.start * width..rows.end * width], &mut direct[at..at + width]);
            });
        }
        if !self.private {
            return;
        }
        for (matrix, x, delta) in room.pairs() {
            let (inputs, outputs) = layout.shapes[matrix];
            for (text, known) in self.begins.windows(2).zip(&mut self.known) {
                let x = &x[text[0] * inputs..text[1] * inputs];
                self.ghost.add(x, inputs, &delta[text[0] * outputs..text[1] * outputs], outputs, known);
            }
        }
    }

    /// The gradients of a layer's adapters.
    fn of_adapters(&mut self, _: &[f32], index: usize) {
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

    /// Makes a text add nothing.
    pub(super) fn nothing(&mut self, text: usize) {
        let (layout, whole) = (&self.model.layout, self.model.tuning == Tuning::All);
        let (d, inner, direct) = (layout.hidden, layout.inner, layout.direct());
        if let Some(own) = self.direct.get_mut(text * direct..(text + 1) * direct) {
            own.fill(0.0);
        }
        if !whole {
            return;
        }
        let (begin, end) = (self.begins[text], self.begins[text + 1]);
        for room in &mut self.rooms {
            for (values, width) in [
                (&mut room.x, d),
                (&mut room.qkv, 3 * d),
                (&mut room.context, d),
                (&mut room.middle, d),
                (&mut room.up, d),
                (&mut room.slopes, inner),
                (&mut room.bent, inner),
                (&mut room.last, d),
            ] {
                values[begin * width..end * width].fill(0.0);
            }
        }
        for values in [&mut self.firsts, &mut self.first_deltas] {
            if let Some(own) = values.get_mut(text * d..(text + 1) * d) {
                own.fill(0.0);
            }
        }
    }

    /// Adds gradients up, each times its factor.
    pub(super) fn add_all(&mut self, factors: &[f32], sum: &mut [f32]) {
        let layout = &self.model.layout;
        let direct = layout.direct();
        // Among themselves first: `sum` is rounded once for all of them.
        self.scratch.clear();
        self.scratch.resize(direct, 0.0);
        for (values, &factor) in self.direct.chunks_exact(direct).zip(factors) {
            add(factor, values, &mut self.scratch);
        }
        add(1.0, &self.scratch, &mut sum[..direct]);
        if self.model.tuning != Tuning::All {
            return;
        }
        if layout.pooled {
            let d = layout.hidden;
            for (delta, &factor) in self.first_deltas.chunks_exact_mut(d).zip(factors) {
                delta.iter_mut().for_each(|value| *value *= factor);
            }
            self.packed.lay(&self.first_deltas, self.firsts.len() / d, d);
            multiply(Left::Columns(&self.firsts), &self.packed, &mut sum[layout.pooler()], true);
        }
        let rows = self.begins.last().copied().unwrap_or(0);
        for (index, room) in self.rooms.iter_mut().enumerate() {
            if self.private {
                room.scale(&self.begins, factors, rows);
            }
            for (matrix, x, delta) in room.pairs() {
                self.packed.lay(delta, rows, layout.shapes[matrix].1);
                multiply(Left::Columns(x), &self.packed, &mut sum[layout.matrix(index, matrix)], true);
            }
        }
    }
}

impl super::pass::Room {
    /// For each matrix what went in, and the gradient of what came out.
    fn pairs(&self) -> [(usize, &[f32], &[f32]); 4] {
        [
            (QKV, &self.x, &self.qkv),
            (OUTPUT, &self.context, &self.middle),
            (UP, &self.up, &self.slopes),
            (DOWN, &self.bent, &self.last),
        ]
    }

    /// Multiplies every text's gradients by its factor.
    fn scale(&mut self, begins: &[usize], factors: &[f32], rows: usize) {
        for values in [&mut self.qkv, &mut self.middle, &mut self.slopes, &mut self.last] {
            let width = values.len() / rows.max(1);
            for (text, &factor) in begins.windows(2).zip(factors) {
                let own = &mut values[text[0] * width..text[1] * width];
                wide(|| own.iter_mut().for_each(|value| *value *= factor));
            }
        }
    }
}

/// Where gradients of a layer's small tensors belong.
struct Places {
    qkv: usize,
    output: usize,
    attention_norm: usize,
    up: usize,
    down: usize,
    output_norm: usize,
}

fn places(at: usize, d: usize, inner: usize) -> Places {
    let up = at + 6 * d;
    let down = up + inner;
    Places { qkv: at, output: at + 3 * d, attention_norm: at + 4 * d, up, down, output_norm: down + d }
}

/// Rows of each text and its own gradients; of all together if they are not private.
fn each(begins: &[usize], private: bool, direct: &mut [f32], mut work: impl FnMut(std::ops::Range<usize>, &mut [f32])) {
    if !private {
        return work(0..begins.last().copied().unwrap_or(0), direct);
    }
    let texts = begins.len().saturating_sub(1).max(1);
    let size = direct.len() / texts;
    for (text, direct) in begins.windows(2).zip(direct.chunks_exact_mut(size.max(1))) {
        work(text[0]..text[1], direct);
    }
}

/// Adds the gradients of a norm's gamma and beta.
fn norm_gradients(normal: &[f32], delta: &[f32], to: &mut [f32]) {
    let (gamma, beta) = to.split_at_mut(to.len() / 2);
    add_products(normal, delta, gamma);
    add_rows(delta, beta);
}
