//! Each step of the machine: program counter, instruction, gas, and on demand stack, memory, storage (geth's struct
//! logger).

use std::{collections::BTreeMap, fmt::Write};

use alloy_primitives::{Address, B256, U256, hex::encode_prefixed};
use revm::{
    Inspector,
    bytecode::opcode::{OpCode, SLOAD, SSTORE},
    context_interface::{ContextTr, JournalTr},
    interpreter::{
        FrameInput, Interpreter, InterpreterAction,
        interpreter_types::{InputsTr, Jumps, LoopControl, MemoryTr, ReturnData},
    },
};

use super::{failure, place::hex};
use crate::evm::Outcome;

/// What is written of a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepOptions {
    /// Leaves out the stack.
    pub disable_stack: bool,
    /// Leaves out the storage of the contract.
    pub disable_storage: bool,
    /// Writes the memory.
    pub enable_memory: bool,
    /// Writes what the last call returned.
    pub enable_return_data: bool,
    /// Steps at most; zero is all.
    pub limit: u64,
}

/// The watcher of steps.
pub struct Steps {
    options: StepOptions,
    budget: usize,
    out: String,
    count: u64,
    /// The step that runs: what is known before it.
    open: Option<Open>,
    storage: BTreeMap<Address, BTreeMap<U256, U256>>,
    /// Refunds of the frames down to the running one.
    refunds: Vec<i64>,
}

struct Open {
    pc: usize,
    gas: u64,
    op: u8,
    /// The slot that is read, whose value is known after.
    loads: Option<(Address, U256)>,
    tail: String,
}

impl Steps {
    pub fn new(options: StepOptions, budget: usize) -> Self {
        Self {
            options,
            budget,
            out: String::new(),
            count: 0,
            open: None,
            storage: BTreeMap::new(),
            refunds: Vec::new(),
        }
    }

    /// The answer, unless it is too long.
    pub fn finish(self, outcome: Option<&Outcome>) -> Option<String> {
        if self.out.len() > self.budget {
            return None;
        }
        let outcome = outcome?;
        let (gas, failed, output) = (outcome.gas_used, !outcome.success, hex(&outcome.output));
        Some(format!(r#"{{"gas":{gas},"failed":{failed},"returnValue":{output},"structLogs":[{}]}}"#, self.out))
    }

    fn full(&self) -> bool {
        self.out.len() > self.budget || (self.options.limit > 0 && self.count >= self.options.limit)
    }
}

impl<C: ContextTr> Inspector<C> for Steps {
    fn step(&mut self, interp: &mut Interpreter, context: &mut C) {
        let depth = context.journal_ref().depth();
        self.refunds.resize(depth.saturating_sub(1), 0);
        self.refunds.push(interp.gas.refunded());
        self.open = None;
        if self.full() {
            return;
        }
        let op = interp.bytecode.opcode();
        let mut tail = format!(",\"depth\":{depth}");
        let refund: i64 = self.refunds.iter().sum();
        if refund > 0 {
            let _ = write!(tail, ",\"refund\":{refund}");
        }
        let stack = interp.stack.data().as_slice();
        if !self.options.disable_stack {
            list(&mut tail, "stack", stack.iter().map(|word| format!("{word:#x}")));
        }
        if self.options.enable_memory && interp.memory.size() > 0 {
            let memory = interp.memory.slice(0..interp.memory.size());
            // One step could write more than the budget: that is seen before it is written.
            if memory.len().saturating_mul(2) <= self.budget {
                list(&mut tail, "memory", memory.chunks(32).map(encode_prefixed));
            }
        }
        if self.options.enable_return_data && !interp.return_data.buffer().is_empty() {
            let _ = write!(tail, ",\"returnData\":{}", hex(interp.return_data.buffer()));
        }
        let mut loads = None;
        if !self.options.disable_storage {
            let contract = interp.input.target_address();
            match (op, stack) {
                (SLOAD, [.., slot]) => loads = Some((contract, *slot)),
                (SSTORE, [.., value, slot]) => {
                    self.storage.entry(contract).or_default().insert(*slot, *value);
                    self.write_storage(&mut tail, contract);
                }
                _ => {}
            }
        }
        self.open = Some(Open { pc: interp.bytecode.pc(), gas: interp.gas.remaining(), op, loads, tail });
    }

    fn step_end(&mut self, interp: &mut Interpreter, _: &mut C) {
        let Some(Open { pc, gas, op, loads, tail }) = self.open.take() else { return };
        let mut cost = gas.saturating_sub(interp.gas.remaining());
        let mut error = None;
        match interp.bytecode.action() {
            // Gas that goes to the new contract is no price of the instruction.
            Some(InterpreterAction::NewFrame(FrameInput::Create(inputs))) => {
                cost = cost.saturating_sub(inputs.gas_limit());
            }
            Some(InterpreterAction::Return(result)) => error = failure::failure(result.result),
            _ => {}
        }
        if self.count > 0 {
            self.out.push(',');
        }
        self.count += 1;
        let name = OpCode::new(op).map_or_else(|| format!("opcode 0x{op:x} not defined"), |op| op.as_str().to_owned());
        let _ = write!(self.out, r#"{{"pc":{pc},"op":"{name}","gas":{gas},"gasCost":{cost}{tail}"#);
        if let (Some((contract, slot)), Some(value)) = (loads, interp.stack.data().last().copied())
            && error.is_none()
        {
            self.storage.entry(contract).or_default().insert(slot, value);
            let mut text = String::new();
            self.write_storage(&mut text, contract);
            self.out.push_str(&text);
        }
        // A revert is an instruction that succeeds.
        if let Some(error) = error.filter(|error| *error != "execution reverted") {
            let _ = write!(self.out, ",\"error\":\"{error}\"");
        }
        self.out.push('}');
    }
}

impl Steps {
    fn write_storage(&self, out: &mut String, contract: Address) {
        let Some(words) = self.storage.get(&contract) else { return };
        let words = words.iter().map(|(slot, value)| format!("\"{}\":\"{}\"", B256::from(*slot), B256::from(*value)));
        let _ = write!(out, ",\"storage\":{{{}}}", words.collect::<Vec<_>>().join(","));
    }
}

fn list(out: &mut String, name: &str, words: impl Iterator<Item = String>) {
    let _ = write!(out, ",\"{name}\":[");
    for (index, word) in words.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{word}\"");
    }
    out.push(']');
}
