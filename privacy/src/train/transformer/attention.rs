//! Attention of each text to itself, head by head.

use super::super::matmul::{Left, Right, multiply};
use super::functions::{softmax, softmax_back};

/// Room for one head of one text.
#[derive(Default)]
pub struct Attention {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    out: Vec<f32>,
    scores: Vec<f32>,
    right: Right,
}

/// Texts in rows, one after the other, and the heads of a row.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Where each text begins, and where the last ends.
    pub begins: &'a [usize],
    /// Numbers of a row.
    pub hidden: usize,
    /// Heads that share them.
    pub heads: usize,
}

impl Rows<'_> {
    /// How many numbers all softmaxes have.
    pub fn softmaxes(self) -> usize {
        self.begins.windows(2).map(|text| (text[1] - text[0]).pow(2)).sum::<usize>() * self.heads
    }

    fn scale(self) -> f32 {
        1.0 / ((self.hidden / self.heads) as f32).sqrt()
    }

    /// For each text and head: the first row, rows, the head's first column, where its softmax begins.
    fn parts(self) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let mut at = 0;
        let texts = self.begins.windows(2).map(|text| (text[0], text[1] - text[0]));
        texts.flat_map(move |(first, rows)| (0..self.heads).map(move |head| (first, rows, head))).map(
            move |(first, rows, head)| {
                at += rows * rows;
                (first, rows, head * (self.hidden / self.heads), at - rows * rows)
            },
        )
    }
}

impl Attention {
    /// From rows of queries, keys and values side by side to softmaxes, kept for the way back, and what is attended to.
    pub fn forward(&mut self, rows: Rows<'_>, qkv: &[f32], softmaxes: &mut [f32], out: &mut [f32]) {
        let (d, size) = (rows.hidden, rows.hidden / rows.heads);
        for (first, count, column, at) in rows.parts() {
            let own = &mut softmaxes[at..at + count * count];
            let qkv = &qkv[first * 3 * d..][..count * 3 * d];
            gather(qkv, 3 * d, column, size, &mut self.query);
            gather(qkv, 3 * d, d + column, size, &mut self.key);
            gather(qkv, 3 * d, 2 * d + column, size, &mut self.value);
            self.right.lay_transposed(&self.key, size, count);
            multiply(Left::Rows(&self.query), &self.right, own, false);
            softmax(own, count, rows.scale());
            self.right.lay(&self.value, count, size);
            self.out.resize(count * size, 0.0);
            multiply(Left::Rows(own), &self.right, &mut self.out, false);
            scatter(&self.out, d, column, size, &mut out[first * d..]);
        }
    }

    /// From the gradient by what was attended to, to that by queries, keys and values, in their place.
    pub fn backward(&mut self, rows: Rows<'_>, qkv: &mut [f32], softmaxes: &[f32], gradient: &[f32]) {
        let (d, size) = (rows.hidden, rows.hidden / rows.heads);
        for (first, count, column, at) in rows.parts() {
            let own = &softmaxes[at..at + count * count];
            let qkv = &mut qkv[first * 3 * d..][..count * 3 * d];
            gather(qkv, 3 * d, column, size, &mut self.query);
            gather(qkv, 3 * d, d + column, size, &mut self.key);
            gather(qkv, 3 * d, 2 * d + column, size, &mut self.value);
            gather(&gradient[first * d..][..count * d], d, column, size, &mut self.out);
            // By the softmax, and by the scores.
            self.right.lay_transposed(&self.value, size, count);
            self.scores.resize(count * count, 0.0);
            multiply(Left::Rows(&self.out), &self.right, &mut self.scores, false);
            softmax_back(own, &mut self.scores, count, rows.scale());
            self.right.lay(&self.out, count, size);
            multiply(Left::Columns(own), &self.right, &mut self.value, false);
            scatter(&self.value, 3 * d, 2 * d + column, size, qkv);
            self.right.lay(&self.key, count, size);
            multiply(Left::Rows(&self.scores), &self.right, &mut self.out, false);
            scatter(&self.out, 3 * d, column, size, qkv);
            self.right.lay(&self.query, count, size);
            multiply(Left::Columns(&self.scores), &self.right, &mut self.key, false);
            scatter(&self.key, 3 * d, d + column, size, qkv);
        }
    }
}

/// Some columns of rows that are `width` wide.
fn gather(from: &[f32], width: usize, column: usize, size: usize, to: &mut Vec<f32>) {
    to.clear();
    from.chunks_exact(width).for_each(|row| to.extend_from_slice(&row[column..column + size]));
}

/// The way back.
fn scatter(from: &[f32], width: usize, column: usize, size: usize, to: &mut [f32]) {
    for (from, to) in from.chunks_exact(size).zip(to.chunks_exact_mut(width)) {
        to[column..column + size].copy_from_slice(from);
    }
}
