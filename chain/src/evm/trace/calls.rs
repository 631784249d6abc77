//! Calls and creations, each inside the one that made it (geth's callTracer). The text is written as the machine goes,
//! so neither depth nor size of the tree is a danger.

use std::fmt::Write;

use alloy_primitives::{Address, Bytes, Log, U256};
use revm::{
    Inspector,
    context_interface::{ContextTr, CreateScheme, Transaction},
    interpreter::{CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome, InterpreterResult},
};

use super::{failure, place::hex};
use crate::evm::abi;

/// What is written of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    /// Only the outermost call.
    pub only_top_call: bool,
    /// Logs too.
    pub with_log: bool,
}

/// The watcher of calls.
pub struct Calls {
    options: CallOptions,
    budget: usize,
    out: String,
    open: Vec<Frame>,
    /// Frames below the outermost that are not written.
    hidden: usize,
    /// Where lists of logs belong in `out`: known when a frame ends, dropped when one around it fails.
    logs: Vec<(usize, String)>,
    next_log: usize,
}

#[derive(Default)]
struct Frame {
    children: usize,
    own_logs: Vec<String>,
    /// How many lists of logs there were when it began.
    logs_before: usize,
}

struct Start<'a> {
    kind: &'a str,
    from: Address,
    to: Option<Address>,
    value: Option<U256>,
    gas: u64,
    input: Bytes,
}

impl Calls {
    pub fn new(options: CallOptions, budget: usize, first_log: usize) -> Self {
        Self { options, budget, out: String::new(), open: vec![], hidden: 0, logs: vec![], next_log: first_log }
    }

    /// The answer, unless it is too long. The outermost call used what the transaction pays for.
    pub fn finish(mut self, gas_used: u64) -> Option<String> {
        if self.out.len() > self.budget {
            return None;
        }
        let _ = write!(self.out, ",\"gasUsed\":\"{gas_used:#x}\"}}");
        if self.logs.is_empty() {
            return Some(self.out);
        }
        let mut whole = String::with_capacity(self.out.len());
        let mut done = 0;
        for (at, logs) in &self.logs {
            whole.push_str(self.out.get(done..*at)?);
            whole.push_str(logs);
            done = *at;
        }
        whole.push_str(self.out.get(done..)?);
        Some(whole).filter(|whole| whole.len() <= self.budget)
    }

    /// Whether the frame that begins is written.
    fn shown(&mut self) -> bool {
        let shown = !self.options.only_top_call || self.open.is_empty();
        if !shown {
            self.hidden += 1;
        }
        shown
    }

    fn begin(&mut self, start: &Start<'_>) {
        if let Some(parent) = self.open.last_mut() {
            self.out.push_str(if parent.children == 0 { ",\"calls\":[" } else { "," });
            parent.children += 1;
        }
        self.open.push(Frame { logs_before: self.logs.len(), ..Frame::default() });
        let Start { kind, from, to, value, gas, input } = start;
        let _ = write!(self.out, "{{\"type\":\"{kind}\",\"from\":\"{from:#x}\",\"gas\":\"{gas:#x}\"");
        if let Some(to) = to {
            let _ = write!(self.out, ",\"to\":\"{to:#x}\"");
        }
        if let Some(value) = value {
            let _ = write!(self.out, ",\"value\":\"{value:#x}\"");
        }
        if self.fits(input.len()) {
            let _ = write!(self.out, ",\"input\":{}", hex(input));
        }
    }

    /// Whether `bytes` more can be written; if not, the answer is too long from now on.
    fn fits(&mut self, bytes: usize) -> bool {
        let fits = self.out.len().saturating_add(bytes.saturating_mul(2)) <= self.budget;
        if !fits {
            self.budget = 0;
        }
        fits
    }

    fn end(&mut self, result: &InterpreterResult, gas_limit: u64, created: Option<Address>) {
        if self.hidden > 0 {
            self.hidden -= 1;
            return;
        }
        let Some(frame) = self.open.pop() else { return };
        if frame.children > 0 {
            self.out.push(']');
        }
        let error = failure::failure(result.result);
        if error.is_some() {
            self.logs.truncate(frame.logs_before);
        } else if !frame.own_logs.is_empty() {
            self.logs.push((self.out.len(), format!(",\"logs\":[{}]", frame.own_logs.join(","))));
        }
        if let Some(error) = error {
            let _ = write!(self.out, ",\"error\":\"{error}\"");
        } else if let Some(address) = created {
            let _ = write!(self.out, ",\"to\":\"{address:#x}\"");
        }
        let reverted = result.result.is_revert();
        if (error.is_none() || reverted) && !result.output.is_empty() && self.fits(result.output.len()) {
            let _ = write!(self.out, ",\"output\":{}", hex(&result.output));
        }
        if reverted && let Some(reason) = abi::read_reason(&result.output) {
            let _ = write!(self.out, ",\"revertReason\":{}", serde_json::Value::String(reason));
        }
        if !self.open.is_empty() {
            let used = if error.is_some() && !reverted { gas_limit } else { result.gas.total_gas_spent() };
            let _ = write!(self.out, ",\"gasUsed\":\"{used:#x}\"}}");
        }
    }
}

impl<C: ContextTr> Inspector<C> for Calls {
    fn call(&mut self, context: &mut C, inputs: &mut CallInputs) -> Option<CallOutcome> {
        if !self.shown() {
            return None;
        }
        let (kind, from, to) = match inputs.scheme {
            CallScheme::Call => ("CALL", inputs.caller, inputs.target_address),
            CallScheme::StaticCall => ("STATICCALL", inputs.caller, inputs.target_address),
            CallScheme::DelegateCall => ("DELEGATECALL", inputs.target_address, inputs.bytecode_address),
            CallScheme::CallCode => ("CALLCODE", inputs.target_address, inputs.bytecode_address),
        };
        let value = (inputs.scheme != CallScheme::StaticCall).then(|| inputs.value.get());
        let gas = if self.open.is_empty() { context.tx().gas_limit() } else { inputs.gas_limit };
        // The same bytes can be sent along again and again for little gas: they are only copied if there is room.
        let input = if self.fits(inputs.input.len()) { inputs.input.bytes(context) } else { Bytes::new() };
        self.begin(&Start { kind, from, to: Some(to), value, gas, input });
        None
    }

    fn call_end(&mut self, _: &mut C, inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.end(&outcome.result, inputs.gas_limit, None);
    }

    fn create(&mut self, context: &mut C, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        if !self.shown() {
            return None;
        }
        let kind = if matches!(inputs.scheme(), CreateScheme::Create2 { .. }) { "CREATE2" } else { "CREATE" };
        let gas = if self.open.is_empty() { context.tx().gas_limit() } else { inputs.gas_limit() };
        let input = inputs.init_code().clone();
        self.begin(&Start { kind, from: inputs.caller(), to: None, value: Some(inputs.value()), gas, input });
        None
    }

    fn create_end(&mut self, _: &mut C, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        self.end(&outcome.result, inputs.gas_limit(), outcome.address);
    }

    fn log(&mut self, _: &mut C, log: Log) {
        let index = self.next_log;
        self.next_log += 1;
        if !self.options.with_log || self.hidden > 0 || !self.fits(log.data.data.len()) {
            return;
        }
        let Some(frame) = self.open.last_mut() else { return };
        let topics: Vec<String> = log.topics().iter().map(|topic| format!("\"{topic}\"")).collect();
        frame.own_logs.push(format!(
            r#"{{"address":"{:#x}","topics":[{}],"data":{},"index":"{index:#x}","position":"{:#x}"}}"#,
            log.address,
            topics.join(","),
            hex(&log.data.data),
            frame.children
        ));
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        if self.options.only_top_call {
            return;
        }
        let start = Start {
            kind: "SELFDESTRUCT",
            from: contract,
            to: Some(target),
            value: Some(value),
            gas: 0,
            input: Bytes::new(),
        };
        self.begin(&start);
        self.open.pop();
        self.out.push_str(",\"gasUsed\":\"0x0\"}");
    }
}
