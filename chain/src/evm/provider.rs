//! Which addresses are native contracts: Ethereum's own, and this chain's from 0x0A00 on (0x0100 is P256VERIFY).
//!
//! The pattern that every native contract follows: price before work, limits before allocation, a malformed input
//! reverts with a reason. `Err` from here would abort the block and with it the chain, so only a failing database may
//! cause it.

use alloy_primitives::{Address, Bytes, Log, LogData, U256, map::AddressSet};
use revm::{
    context::Cfg,
    context_interface::{Block, ContextTr, JournalTr},
    handler::{EthPrecompiles, PrecompileProvider, precompile_output_to_interpreter_result},
    interpreter::{CallInputs, CallScheme, InterpreterResult},
    precompile::{PrecompileHalt, PrecompileOutput},
    primitives::hardfork::SpecId,
};

use super::{abi, committee};
use crate::{error::StoreError, staking};

/// Code that genesis gives to native contracts, so that Solidity's check for code passes. It never runs.
pub const SYSTEM_CODE: Bytes = Bytes::from_static(&[0xfe]);

/// Addresses of this chain's native contracts.
pub fn system_contracts() -> [Address; 2] {
    [committee::ADDRESS, staking::ADDRESS]
}

/// How a native contract ends.
pub enum Ending {
    /// It returns these bytes.
    Return(Bytes),
    /// It undoes everything and gives this reason.
    Revert(String),
    /// The gas does not suffice.
    OutOfGas,
}

/// Ethereum's native contracts and this chain's.
#[derive(Clone, Debug)]
pub struct Precompiles {
    ethereum: EthPrecompiles,
    warm: AddressSet,
}

impl Precompiles {
    /// Those of `spec`.
    pub fn new(spec: SpecId) -> Self {
        let mut all = Self { ethereum: EthPrecompiles::new(spec), warm: AddressSet::default() };
        all.renew();
        all
    }

    fn renew(&mut self) {
        self.warm.clone_from(self.ethereum.warm_addresses());
        self.warm.extend(system_contracts());
    }
}

impl<C: ContextTr<Cfg: Cfg<Spec = SpecId>>> PrecompileProvider<C> for Precompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, spec: SpecId) -> bool {
        let changed = <EthPrecompiles as PrecompileProvider<C>>::set_spec(&mut self.ethereum, spec);
        if changed {
            self.renew();
        }
        changed
    }

    fn run(&mut self, context: &mut C, call: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        if !system_contracts().contains(&call.bytecode_address) {
            return self.ethereum.run(context, call);
        }
        let input = call.input.bytes(context);
        let (gas, ending) = match (foreign_frame(call), call.bytecode_address) {
            (true, _) => (0, Ending::Revert("native contract: call it, do not delegate to it".into())),
            (false, staking::ADDRESS) => stake(context, call, &input).map_err(|e| e.to_string())?,
            (false, _) => committee::run(&input, call.gas_limit),
        };
        let output = match ending {
            Ending::Return(bytes) => PrecompileOutput::new(gas, bytes, call.reservoir),
            Ending::Revert(why) => PrecompileOutput::revert(gas, abi::revert_reason(&why), call.reservoir),
            Ending::OutOfGas => PrecompileOutput::halt(PrecompileHalt::OutOfGas, call.reservoir),
        };
        Ok(Some(precompile_output_to_interpreter_result(output, call.gas_limit)))
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.warm
    }
}

/// A call of the staking contract: its storage and its money are the journal's, so a revert takes them back.
fn stake<C: ContextTr>(context: &mut C, call: &CallInputs, input: &[u8]) -> Result<(u64, Ending), StoreError> {
    let gas = staking::price(input);
    if gas > call.gas_limit {
        return Ok((0, Ending::OutOfGas));
    }
    let failed = |e| StoreError::new("use the stake in a transaction", e);
    let env = staking::Env {
        caller: call.caller,
        value: call.value.get(),
        read_only: call.is_static,
        height: context.block().number().saturating_to(),
        time: context.block().timestamp().saturating_to(),
    };
    // The journal wants an account loaded before its slots, and touched if they are to be kept.
    context.journal_mut().load_account(staking::ADDRESS).map_err(failed)?;
    context.journal_mut().touch_account(staking::ADDRESS);
    let answer = match staking::run(&mut JournalWords(context), &env, input)? {
        Ok(answer) => answer,
        Err(why) => return Ok((gas, Ending::Revert(why))),
    };
    let journal = context.journal_mut();
    if !answer.payout.is_zero()
        && journal.transfer(staking::ADDRESS, call.caller, answer.payout).map_err(failed)?.is_some()
    {
        return Ok((gas, Ending::Revert("staking: the contract cannot pay".into())));
    }
    for log in answer.logs {
        let data = LogData::new_unchecked(log.topics, log.data);
        journal.log(Log { address: staking::ADDRESS, data });
    }
    Ok((gas, Ending::Return(answer.output)))
}

struct JournalWords<'a, C>(&'a mut C);

impl<C: ContextTr> staking::Words for JournalWords<'_, C> {
    fn load(&mut self, slot: U256) -> Result<U256, StoreError> {
        let loaded = self.0.journal_mut().sload(staking::ADDRESS, slot);
        loaded.map(|loaded| loaded.data).map_err(|e| StoreError::new("read stake", e))
    }

    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError> {
        let stored = self.0.journal_mut().sstore(staking::ADDRESS, slot, value);
        stored.map(drop).map_err(|e| StoreError::new("write stake", e))
    }
}

/// Whether the call runs in another contract's name (`DELEGATECALL`, `CALLCODE`).
fn foreign_frame(call: &CallInputs) -> bool {
    matches!(call.scheme, CallScheme::DelegateCall | CallScheme::CallCode)
}
