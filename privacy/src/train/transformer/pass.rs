//! The way of some texts forth through a classifier and back, and what is kept of it.

use super::super::matmul::{Left, Right, multiply, wide};
use super::super::model::Outcome;
use super::super::network::cross_entropy;
use super::attention::{Attention, Rows};
use super::classifier::{Classifier, Reading};
use super::functions::{add, gelu, normalize, repeat, shifted};
use super::ghost::{Ghost, Known};
use super::layout::Tuning;
use super::texts::Texts;
use super::weights::{DOWN, OUTPUT, QKV, Small, UP};

/// What a pass needs to remember, for some texts at a time.
pub struct Pass<'a> {
    pub(super) model: &'a Classifier,
    pub(super) private: bool,
    pub(super) loaded: Loaded,
    /// Where each text begins in the rows of tokens, and where the last ends.
    pub(super) begins: Vec<usize>,
    /// Embeddings, normalized; of everything.
    pub(super) embedded: Vec<f32>,
    pub(super) embedded_inverses: Vec<f32>,
    pub(super) rooms: Vec<Room>,
    /// The last layer's.
    output: Vec<f32>,
    /// A row a text: what the pooler reads and the gradient of what it gives before its tangent; what the linear layer reads.
    pub(super) firsts: Vec<f32>,
    pub(super) first_deltas: Vec<f32>,
    pub(super) read: Vec<f32>,
    logits: Vec<f32>,
    pub(super) logit_deltas: Vec<f32>,
    /// The gradient by what comes out of a layer.
    pub(super) delta: Vec<f32>,
    pub(super) scratch: Vec<f32>,
    /// Gradients that are made, of each text; of all together if they are not private.
    pub(super) direct: Vec<f32>,
    pub(super) known: Vec<Known>,
    pub(super) squares: Vec<f32>,
    pub(super) attention: Attention,
    pub(super) ghost: Ghost,
    pub(super) packed: Right,
}

/// Weights as they are multiplied.
#[derive(Default)]
pub(super) struct Loaded {
    /// Of each layer, forth and back.
    pub forth: Vec<[Right; 4]>,
    pub back: Vec<[Right; 4]>,
    /// What a layer has beside them.
    pub small: Vec<Vec<f32>>,
    /// All `A` of a layer, and all `B` as they go back from queries, keys and values.
    pub adapters: Vec<(Right, Right)>,
    pub embedding_norm: (Vec<f32>, Vec<f32>),
    /// Forth and back, and the bias.
    pub pooler: (Right, Right, Vec<f32>),
    pub head: (Right, Right, Vec<f32>),
}

/// What is kept of a layer; after the way back, gradients are where it says so.
#[derive(Default)]
pub(super) struct Room {
    /// What goes in.
    pub x: Vec<f32>,
    /// Queries, keys, values; then their gradient.
    pub qkv: Vec<f32>,
    pub softmaxes: Vec<f32>,
    /// What is attended to.
    pub context: Vec<f32>,
    /// The normalized sum after attention; then the gradient of the sum.
    pub middle: Vec<f32>,
    pub middle_inverses: Vec<f32>,
    /// What goes up.
    pub up: Vec<f32>,
    /// Slopes of GELU; then the gradient of what it was given.
    pub slopes: Vec<f32>,
    /// What comes out of it.
    pub bent: Vec<f32>,
    /// The normalized sum at the end; then the gradient of the sum.
    pub last: Vec<f32>,
    pub last_inverses: Vec<f32>,
}

impl<'a> Pass<'a> {
    /// For a classifier. A `private` pass knows the norm of each text's gradient.
    pub fn new(model: &'a Classifier, private: bool) -> Self {
        let layers = model.layout.layers;
        let mut loaded = Loaded {
            forth: std::iter::repeat_with(Default::default).take(layers).collect(),
            back: std::iter::repeat_with(Default::default).take(layers).collect(),
            adapters: std::iter::repeat_with(Default::default).take(layers).collect(),
            small: model.layers.iter().map(|layer| layer.small.clone()).collect(),
            embedding_norm: (model.weights.embedding_norm.gamma.clone(), model.weights.embedding_norm.beta.clone()),
            ..Loaded::default()
        };
        if let Tuning::Adapters(_) = model.tuning {
            for (index, layer) in model.layers.iter().enumerate() {
                for matrix in [OUTPUT, UP, DOWN] {
                    loaded.lay(index, matrix, &layer.matrices[matrix], model.layout.shapes[matrix]);
                }
            }
            if let Some((weight, bias)) = &model.pooler {
                loaded.lay_pooler(weight, bias);
            }
        }
        Self {
            model,
            private,
            loaded,
            begins: Vec::new(),
            embedded: Vec::new(),
            embedded_inverses: Vec::new(),
            rooms: std::iter::repeat_with(Room::default).take(layers).collect(),
            output: Vec::new(),
            firsts: Vec::new(),
            first_deltas: Vec::new(),
            read: Vec::new(),
            logits: Vec::new(),
            logit_deltas: Vec::new(),
            delta: Vec::new(),
            scratch: Vec::new(),
            direct: Vec::new(),
            known: Vec::new(),
            squares: Vec::new(),
            attention: Attention::default(),
            ghost: Ghost::default(),
            packed: Right::default(),
        }
    }

    /// The logits of the texts that went forth last.
    pub(super) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// How texts lie in rows.
    pub(super) fn rows<'b>(begins: &'b [usize], model: &Classifier) -> Rows<'b> {
        Rows { begins, hidden: model.layout.hidden, heads: model.weights.heads }
    }

    pub(super) fn forward(&mut self, texts: &Texts, some: &[usize]) {
        let model = self.model;
        let (d, inner) = (model.layout.hidden, model.layout.inner);
        if let (true, [first, .., last]) = (model.tuning != Tuning::All, self.rooms.as_mut_slice()) {
            last.lend(first);
        }
        self.embed(texts, some);
        let rows = self.begins.last().copied().unwrap_or(0);
        self.output.resize(rows * d, 0.0);
        for index in 0..self.rooms.len() {
            let (before, after) = self.rooms.split_at_mut(index + 1);
            let (room, forth) = (&mut before[index], &self.loaded.forth[index]);
            let small = Small::of(&self.loaded.small[index], d, inner);
            let at = Self::rows(&self.begins, model);
            room.resize(rows, d, inner, at.softmaxes());
            repeat(small.qkv, &mut room.qkv);
            multiply(Left::Rows(&room.x), &forth[QKV], &mut room.qkv, true);
            self.attention.forward(at, &room.qkv, &mut room.softmaxes, &mut room.context);
            shifted(&room.x, small.output, &mut room.middle);
            multiply(Left::Rows(&room.context), &forth[OUTPUT], &mut room.middle, true);
            let epsilon = model.weights.epsilon;
            normalize(&mut room.middle, small.attention_norm, epsilon, &mut room.middle_inverses, &mut room.up);
            repeat(small.up, &mut room.slopes);
            multiply(Left::Rows(&room.up), &forth[UP], &mut room.slopes, true);
            gelu(&mut room.slopes, &mut room.bent);
            shifted(&room.up, small.down, &mut room.last);
            multiply(Left::Rows(&room.bent), &forth[DOWN], &mut room.last, true);
            let to = match after.first_mut() {
                Some(next) => {
                    next.x.resize(rows * d, 0.0);
                    &mut next.x
                }
                None => &mut self.output,
            };
            normalize(&mut room.last, small.output_norm, epsilon, &mut room.last_inverses, to);
            if model.tuning != Tuning::All
                && let Some(next) = after.first_mut()
            {
                room.lend(next);
            }
        }
        self.read(d);
    }

    /// Rows of embeddings, normalized.
    fn embed(&mut self, texts: &Texts, some: &[usize]) {
        let (weights, d) = (&self.model.weights, self.model.layout.hidden);
        self.begins.clear();
        self.begins.push(0);
        self.embedded.clear();
        for &index in some {
            for (place, &token) in texts.text(index).iter().enumerate() {
                let word = &weights.words[token as usize * d..][..d];
                let position = &weights.positions[place * d..][..d];
                let sums = word.iter().zip(position).zip(&weights.segments);
                self.embedded.extend(sums.map(|((word, position), segment)| word + segment + position));
            }
            self.begins.push(self.embedded.len() / d);
        }
        let Some(first) = self.rooms.first_mut() else { return };
        first.x.resize(self.embedded.len(), 0.0);
        let (gamma, beta) = &self.loaded.embedding_norm;
        let inverses = &mut self.embedded_inverses;
        normalize(&mut self.embedded, (gamma, beta), weights.epsilon, inverses, &mut first.x);
    }

    /// One vector of each text, and its logits.
    fn read(&mut self, d: usize) {
        let texts = self.begins.len() - 1;
        self.read.clear();
        self.read.resize(texts * d, 0.0);
        match self.model.reading {
            Reading::Mean => {
                for (text, to) in self.begins.windows(2).zip(self.read.chunks_exact_mut(d)) {
                    let rows = &self.output[text[0] * d..text[1] * d];
                    let part = 1.0 / (text[1] - text[0]) as f32;
                    rows.chunks_exact(d).for_each(|row| add(part, row, to));
                }
            }
            Reading::First => {
                self.firsts.clear();
                self.begins[..texts].iter().for_each(|&at| self.firsts.extend_from_slice(&self.output[at * d..][..d]));
                let (forth, _, bias) = &self.loaded.pooler;
                repeat(bias, &mut self.read);
                multiply(Left::Rows(&self.firsts), forth, &mut self.read, true);
                self.read.iter_mut().for_each(|value| *value = value.tanh());
            }
        }
        let (forth, _, bias) = &self.loaded.head;
        self.logits.resize(texts * bias.len(), 0.0);
        repeat(bias, &mut self.logits);
        multiply(Left::Rows(&self.read), forth, &mut self.logits, true);
    }

    /// The loss, and its gradient by the logits.
    pub(super) fn judge(&mut self, texts: &Texts, some: &[usize]) -> Outcome {
        let classes: Vec<u32> = some.iter().map(|&index| texts.classes()[index]).collect();
        cross_entropy(&self.logits, &classes, self.model.layout.classes, &mut self.logit_deltas)
    }
}

impl Loaded {
    pub(super) fn lay(&mut self, layer: usize, matrix: usize, values: &[f32], (inputs, outputs): (usize, usize)) {
        let (forth, back) = (&mut self.forth[layer][matrix], &mut self.back[layer][matrix]);
        wide(|| forth.lay(values, inputs, outputs));
        wide(|| back.lay_transposed(values, outputs, inputs));
    }

    pub(super) fn lay_pooler(&mut self, weight: &[f32], bias: &[f32]) {
        let d = bias.len();
        self.pooler.0.lay(weight, d, d);
        self.pooler.1.lay_transposed(weight, d, d);
        self.pooler.2 = bias.to_vec();
    }
}

impl Room {
    fn resize(&mut self, rows: usize, d: usize, inner: usize, softmaxes: usize) {
        for (values, size) in [
            (&mut self.qkv, 3 * d * rows),
            (&mut self.softmaxes, softmaxes),
            (&mut self.context, d * rows),
            (&mut self.middle, d * rows),
            (&mut self.up, d * rows),
            (&mut self.slopes, inner * rows),
            (&mut self.bent, inner * rows),
            (&mut self.last, d * rows),
        ] {
            values.resize(size, 0.0);
        }
    }

    /// Gives another layer the room of what is not needed on the way back when matrices are not trained.
    fn lend(&mut self, other: &mut Self) {
        other.context = std::mem::take(&mut self.context);
        other.up = std::mem::take(&mut self.up);
        other.bent = std::mem::take(&mut self.bent);
    }
}
