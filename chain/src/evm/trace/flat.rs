//! Calls and creations one after the other, each with its place in the tree (geth's flatCallTracer, Parity's traces).

use std::fmt::Write;

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::{
    Inspector,
    context_interface::{ContextTr, CreateScheme, Transaction},
    interpreter::{CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome, InterpreterResult},
};

use super::{
    failure,
    place::{Place, hex},
};

/// What is written of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlatOptions {
    /// Errors in Parity's words.
    pub convert_parity_errors: bool,
    /// Calls of native contracts too.
    pub include_precompiles: bool,
}

/// The watcher of calls.
pub struct Flat {
    options: FlatOptions,
    budget: usize,
    /// Bytes that the answer has already, about.
    length: usize,
    frames: Vec<Frame>,
    /// Indexes of the frames that run.
    open: Vec<usize>,
    native: Vec<Address>,
}

/// Bytes of a frame beside its input and output, about.
const FRAME: usize = 600;

struct Frame {
    /// Place in the tree.
    path: Vec<usize>,
    children: usize,
    action: Action,
    gas_used: u64,
    output: Bytes,
    error: Option<&'static str>,
    created: Option<Address>,
}

enum Action {
    Call { kind: &'static str, from: Address, to: Address, gas: u64, input: Bytes, value: U256 },
    Create { kind: &'static str, from: Address, gas: u64, init: Bytes, value: U256 },
    Suicide { address: Address, balance: U256, refund: Address },
}

impl Flat {
    pub fn new(options: FlatOptions, budget: usize, native: Vec<Address>) -> Self {
        Self { options, budget, length: 0, frames: vec![], open: vec![], native }
    }

    /// The answer, unless it is too long. The outermost call used what the transaction pays for.
    pub fn finish(mut self, gas_used: u64, tx: Option<B256>, place: &Place) -> Option<String> {
        if self.length > self.budget {
            return None;
        }
        if let Some(first) = self.frames.first_mut() {
            first.gas_used = gas_used;
        }
        let mut out = String::from("[");
        for (index, frame) in self.frames.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            self.write(&mut out, frame, tx, place);
            if out.len() > self.budget {
                return None;
            }
        }
        out.push(']');
        Some(out)
    }

    fn write(&self, out: &mut String, frame: &Frame, tx: Option<B256>, place: &Place) {
        let kind = match &frame.action {
            Action::Call { kind, from, to, gas, input, value } => {
                let _ = write!(
                    out,
                    r#"{{"action":{{"callType":"{kind}","from":"{from:#x}","gas":"{gas:#x}","input":{},"to":"{to:#x}","value":"{value:#x}"}}"#,
                    hex(input)
                );
                "call"
            }
            Action::Create { kind, from, gas, init, value } => {
                let _ = write!(
                    out,
                    r#"{{"action":{{"creationMethod":"{kind}","from":"{from:#x}","gas":"{gas:#x}","init":{},"value":"{value:#x}"}}"#,
                    hex(init)
                );
                "create"
            }
            Action::Suicide { address, balance, refund } => {
                let _ = write!(
                    out,
                    r#"{{"action":{{"address":"{address:#x}","balance":"{balance:#x}","refundAddress":"{refund:#x}"}}"#
                );
                "suicide"
            }
        };
        let json = |hash: Option<B256>| hash.map_or("null".to_owned(), |hash| format!("\"{hash}\""));
        let _ = write!(out, r#","blockHash":{},"blockNumber":{}"#, json(place.block_hash), place.number);
        if let Some(error) = frame.error {
            let error = if self.options.convert_parity_errors { parity(error) } else { error };
            let _ = write!(out, r#","error":"{error}""#);
        }
        // A revert says why in its output; what failed otherwise has no result.
        if kind != "suicide" && frame.error.is_none_or(|error| error == REVERTED) {
            let _ = write!(out, r#","result":{{"gasUsed":"{:#x}""#, frame.gas_used);
            match (&frame.action, frame.created) {
                (Action::Create { .. }, created) => {
                    if let Some(address) = created {
                        let _ = write!(out, r#","address":"{address:#x}""#);
                    }
                    let _ = write!(out, r#","code":{}}}"#, hex(&frame.output));
                }
                _ => {
                    let _ = write!(out, r#","output":{}}}"#, hex(&frame.output));
                }
            }
        }
        let path: Vec<String> = frame.path.iter().map(ToString::to_string).collect();
        let _ = write!(
            out,
            r#","subtraces":{},"traceAddress":[{}],"transactionHash":{},"transactionPosition":{},"type":"{kind}"}}"#,
            frame.children,
            path.join(","),
            json(tx),
            place.index
        );
    }

    fn begin(&mut self, action: Action, bytes: usize) {
        let path = match self.open.last().and_then(|at| self.frames.get_mut(*at)) {
            Some(parent) => {
                let mut path = parent.path.clone();
                path.push(parent.children);
                parent.children += 1;
                path
            }
            None => vec![],
        };
        // Places in a deep tree are long as well.
        self.length = self.length.saturating_add(FRAME + 2 * bytes + 8 * path.len());
        self.open.push(self.frames.len());
        let frame = Frame { path, children: 0, action, gas_used: 0, output: Bytes::new(), error: None, created: None };
        self.frames.push(frame);
    }

    fn end(&mut self, result: &InterpreterResult, gas_limit: u64, created: Option<Address>) {
        let Some(at) = self.open.pop() else { return };
        if self.length > self.budget {
            return;
        }
        let error = failure::failure(result.result);
        let dropped = match self.frames.get_mut(at) {
            Some(frame) => {
                frame.error = error;
                frame.created = created.filter(|_| error.is_none());
                frame.gas_used = match error {
                    Some(error) if error != REVERTED => gas_limit,
                    _ => result.gas.total_gas_spent(),
                };
                self.length = self.length.saturating_add(2 * result.output.len());
                frame.output = result.output.clone();
                !self.options.include_precompiles
                    && at > 0
                    && matches!(&frame.action, Action::Call { kind: "call" | "staticcall", to, .. } if self.native.contains(to))
            }
            None => false,
        };
        if dropped {
            // A native contract calls nobody: it is the last frame.
            self.frames.truncate(at);
            if let Some(parent) = self.open.last().and_then(|at| self.frames.get_mut(*at)) {
                parent.children -= 1;
            }
        }
    }

    /// Whether `bytes` more can be written; if not, the answer is too long from now on.
    fn fits(&mut self, bytes: usize) -> bool {
        let fits = self.length.saturating_add(2 * bytes + FRAME) <= self.budget;
        if !fits {
            self.length = usize::MAX;
        }
        fits
    }
}

const REVERTED: &str = "execution reverted";

/// The words of Parity.
fn parity(error: &'static str) -> &'static str {
    match error {
        "out of gas" | "max code size exceeded" => "Out of gas",
        "invalid jump destination" => "Bad jump destination",
        REVERTED => "Reverted",
        "return data out of bounds" => "Out of bounds",
        "stack limit reached" => "Out of stack",
        "stack underflow" => "Stack underflow",
        "invalid opcode" => "Bad instruction",
        "precompile failed" => "Built-in failed",
        other => other,
    }
}

impl<C: ContextTr> Inspector<C> for Flat {
    fn call(&mut self, context: &mut C, inputs: &mut CallInputs) -> Option<CallOutcome> {
        let (kind, from, to) = match inputs.scheme {
            CallScheme::Call => ("call", inputs.caller, inputs.target_address),
            CallScheme::StaticCall => ("staticcall", inputs.caller, inputs.target_address),
            CallScheme::DelegateCall => ("delegatecall", inputs.target_address, inputs.bytecode_address),
            CallScheme::CallCode => ("callcode", inputs.target_address, inputs.bytecode_address),
        };
        let gas = if self.open.is_empty() { context.tx().gas_limit() } else { inputs.gas_limit };
        let value = if inputs.scheme == CallScheme::StaticCall { U256::ZERO } else { inputs.value.get() };
        let input = if self.fits(inputs.input.len()) { inputs.input.bytes(context) } else { Bytes::new() };
        let bytes = input.len();
        self.begin(Action::Call { kind, from, to, gas, input, value }, bytes);
        None
    }

    fn call_end(&mut self, _: &mut C, inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.end(&outcome.result, inputs.gas_limit, None);
    }

    fn create(&mut self, context: &mut C, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        let kind = if matches!(inputs.scheme(), CreateScheme::Create2 { .. }) { "create2" } else { "create" };
        let gas = if self.open.is_empty() { context.tx().gas_limit() } else { inputs.gas_limit() };
        let init = if self.fits(inputs.init_code().len()) { inputs.init_code().clone() } else { Bytes::new() };
        let bytes = init.len();
        self.begin(Action::Create { kind, from: inputs.caller(), gas, init, value: inputs.value() }, bytes);
        None
    }

    fn create_end(&mut self, _: &mut C, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        self.end(&outcome.result, inputs.gas_limit(), outcome.address);
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        self.begin(Action::Suicide { address: contract, balance: value, refund: target }, 0);
        self.open.pop();
    }
}
