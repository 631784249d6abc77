//! An evaluator's side of what the helper deals for one gate: additive shares of words, XOR shares of bits.
//!
//! The first evaluator's half is a pseudorandom stream, so only the second's half, the *correction*, travels. Both read
//! in the order in which the helper writes (`deal_context`).

use crate::ring::bits::{self, Plane};
use crate::ring::prg::Prg;
use crate::ring::secret::Secret;
use crate::ring::words;

/// What an evaluator was dealt for one gate.
pub(crate) enum Dealt<'a> {
    /// The first evaluator derives its half.
    First(Box<Prg>),
    /// The second reads corrections.
    Second(&'a [u8]),
}

/// The front of what is left; its length is fixed by the plan, which `Evaluator::new` compared with the pack's.
fn front<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(len);
    *bytes = rest;
    front
}

impl Dealt<'_> {
    /// The next additive shares, modulo `2^(8·width)`.
    pub(crate) fn additive(&mut self, width: usize, out: &mut [u32]) {
        match self {
            Self::First(prg) => prg.fill_words(width, out),
            Self::Second(bytes) => words::decode(width, front(bytes, width * out.len()), out),
        }
    }

    /// The next additive shares modulo 2^64.
    pub(crate) fn additive_long(&mut self, out: &mut [u64]) {
        // The first half of both kinds of share is the stream itself.
        self.xor(out);
    }

    /// The next XOR shares.
    pub(crate) fn xor(&mut self, out: &mut [u64]) {
        match self {
            Self::First(prg) => prg.fill_u64(out),
            Self::Second(bytes) => {
                out.fill(0);
                words::decode_xor_u64(front(bytes, 8 * out.len()), out);
            }
        }
    }

    /// The next planes of XOR shares, the first `active` words of each.
    pub(crate) fn xor_planes(&mut self, planes: &mut [Plane], active: usize) {
        if active == bits::WORDS {
            return self.xor(planes.as_flattened_mut());
        }
        for plane in planes {
            self.xor(&mut plane[..active]);
        }
    }

    /// The next `len` bytes of XOR-shared one-hot vectors, handed to `read`.
    pub(crate) fn one_hot<R>(&mut self, len: usize, buffer: &mut Secret<u8>, read: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::First(prg) => {
                if buffer.len() < len {
                    *buffer = vec![0; len].into();
                }
                prg.fill(&mut buffer[..len]);
                read(&buffer[..len])
            }
            Self::Second(bytes) => read(front(bytes, len)),
        }
    }
}
