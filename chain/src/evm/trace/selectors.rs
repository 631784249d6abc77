//! Which functions are called, by the first four bytes of the input and how much follows (geth's 4byteTracer).

use std::collections::BTreeMap;

use alloy_primitives::{Address, hex};
use revm::{
    Inspector,
    context_interface::ContextTr,
    interpreter::{CallInputs, CallOutcome},
};

/// Bytes of one entry in the answer, about.
const ENTRY: usize = 40;

/// The watcher of selectors.
pub struct Selectors {
    budget: usize,
    found: BTreeMap<(u32, usize), u64>,
    /// Native contracts, whose input is no call of a function.
    native: Vec<Address>,
}

impl Selectors {
    pub fn new(budget: usize, native: Vec<Address>) -> Self {
        Self { budget, found: BTreeMap::new(), native }
    }

    /// The answer, unless it is too long.
    pub fn finish(self) -> Option<String> {
        let entry = |((selector, rest), count): (&(u32, usize), &u64)| {
            format!("\"{}-{rest}\":{count}", hex::encode_prefixed(selector.to_be_bytes()))
        };
        let text = format!("{{{}}}", self.found.iter().map(entry).collect::<Vec<_>>().join(","));
        Some(text).filter(|text| text.len() <= self.budget)
    }
}

impl<C: ContextTr> Inspector<C> for Selectors {
    fn call(&mut self, context: &mut C, inputs: &mut CallInputs) -> Option<CallOutcome> {
        let to = match inputs.scheme.is_call() || inputs.scheme.is_static_call() {
            true => inputs.target_address,
            false => inputs.bytecode_address,
        };
        // Only so many different ones as can be written: the answer is refused as too long then.
        if self.native.contains(&to) || self.found.len() > self.budget / ENTRY {
            return None;
        }
        let input = inputs.input.bytes(context);
        if let Some((selector, rest)) = input.split_first_chunk::<4>() {
            *self.found.entry((u32::from_be_bytes(*selector), rest.len())).or_default() += 1;
        }
        None
    }
}
