//! What the helper deals for one task: additive shares of words, XOR shares of bits.
//!
//! The first evaluator's half is a pseudorandom stream, so only the second's half, the *correction*, travels. Both
//! sides read a section in the same order as the helper writes it.

use std::sync::Arc;

use crate::ring::bits::{self, Plane};
use crate::ring::kernels;
use crate::ring::prg::Prg;
use crate::ring::secret::{Secret, make_room, wipe_whole};
use crate::ring::words;

/// Receives the corrections as they are made.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> std::io::Result<()> + 'a;

/// The helper's side of a section.
pub(super) struct Dealer<'a, 'b> {
    first: Prg,
    sink: &'a mut Sink<'b>,
    buffer: Vec<u8>,
    words: Vec<u32>,
    bits: Vec<u64>,
    written: u64,
}

const FLUSH: usize = 256 * 1024;

impl<'a, 'b> Dealer<'a, 'b> {
    pub(super) fn new(first: Prg, sink: &'a mut Sink<'b>) -> Self {
        Self { first, sink, buffer: Vec::new(), words: Vec::new(), bits: Vec::new(), written: 0 }
    }

    /// Deals additive shares of `values` modulo `2^(8·width)`.
    pub(super) fn additive(&mut self, width: usize, values: &[u32]) -> std::io::Result<()> {
        self.words.clear();
        make_room(&mut self.words, values.len());
        self.words.resize(values.len(), 0);
        self.first.fill_words(width, &mut self.words);
        kernels::subtract_from(&mut self.words, values);
        make_room(&mut self.buffer, width * values.len());
        words::encode(width, &self.words, &mut self.buffer);
        self.flush_if(FLUSH)
    }

    /// Deals XOR shares of `values`.
    pub(super) fn xor(&mut self, values: &[u64]) -> std::io::Result<()> {
        self.bits.clear();
        make_room(&mut self.bits, values.len());
        self.bits.resize(values.len(), 0);
        self.first.fill_u64(&mut self.bits);
        for (half, value) in self.bits.iter_mut().zip(values) {
            *half ^= value;
        }
        make_room(&mut self.buffer, 8 * values.len());
        words::encode_u64(&self.bits, &mut self.buffer);
        self.flush_if(FLUSH)
    }

    /// Deals XOR shares of one-hot vectors of `bytes` bytes each, the bit at `hot[i]` set; reports for each whether
    /// the *second* evaluator's half has its bit set there (then the two halves' difference is minus one).
    pub(super) fn one_hot(&mut self, bytes: usize, hot: &[u32], flipped: &mut Vec<bool>) -> std::io::Result<()> {
        for part in hot.chunks(FLUSH / bytes) {
            let start = self.buffer.len();
            make_room(&mut self.buffer, part.len() * bytes);
            self.buffer.resize(start + part.len() * bytes, 0);
            self.first.fill(&mut self.buffer[start..]);
            for (vector, hot) in self.buffer[start..].chunks_exact_mut(bytes).zip(part) {
                let byte = &mut vector[*hot as usize / 8];
                *byte ^= 1 << (hot % 8);
                flipped.push(*byte >> (hot % 8) & 1 == 1);
            }
            self.flush_if(FLUSH)?;
        }
        Ok(())
    }

    fn flush_if(&mut self, at_least: usize) -> std::io::Result<()> {
        if self.buffer.len() >= at_least {
            self.written += self.buffer.len() as u64;
            (self.sink)(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Flushes, and tells how many bytes were dealt.
    pub(super) fn finish(mut self) -> std::io::Result<u64> {
        self.flush_if(1)?;
        Ok(self.written)
    }
}

impl Drop for Dealer<'_, '_> {
    fn drop(&mut self) {
        wipe_whole(&mut self.words, 0);
        wipe_whole(&mut self.bits, 0);
        wipe_whole(&mut self.buffer, 0);
    }
}

/// An evaluator's side of a section.
pub(super) enum Dealt {
    /// The first evaluator derives its half.
    First(Box<Prg>),
    /// The second reads corrections, from this position on.
    Second(Arc<Vec<u8>>, usize),
}

impl Dealt {
    /// The next additive shares, modulo `2^(8·width)`.
    pub(super) fn additive(&mut self, width: usize, out: &mut [u32]) {
        match self {
            Self::First(prg) => prg.fill_words(width, out),
            Self::Second(bytes, at) => {
                let end = *at + width * out.len();
                words::decode(width, &bytes[*at..end], out);
                *at = end;
            }
        }
    }

    /// The next XOR shares.
    pub(super) fn xor(&mut self, out: &mut [u64]) {
        match self {
            Self::First(prg) => prg.fill_u64(out),
            Self::Second(bytes, at) => {
                let end = *at + 8 * out.len();
                out.fill(0);
                words::decode_xor_u64(&bytes[*at..end], out);
                *at = end;
            }
        }
    }

    /// The next planes of XOR shares, the first `active` words of each.
    pub(super) fn xor_planes(&mut self, planes: &mut [Plane], active: usize) {
        if active == bits::WORDS {
            return self.xor(planes.as_flattened_mut());
        }
        for plane in planes {
            self.xor(&mut plane[..active]);
        }
    }

    /// The next `len` bytes of XOR-shared one-hot vectors, handed to `read`.
    pub(super) fn one_hot<R>(&mut self, len: usize, buffer: &mut Secret<u8>, read: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::First(prg) => {
                if buffer.len() < len {
                    *buffer = vec![0; len].into();
                }
                prg.fill(&mut buffer[..len]);
                read(&buffer[..len])
            }
            Self::Second(bytes, at) => {
                let part = &bytes[*at..*at + len];
                *at += len;
                read(part)
            }
        }
    }
}
