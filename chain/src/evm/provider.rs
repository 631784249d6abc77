//! Which addresses are native contracts: Ethereum's own, and this chain's from 0x0A00 on (0x0100 is P256VERIFY).
//!
//! # The pattern of a native contract
//!
//! A contract without state is a [`Native`](super::native::Native): one file, one line in [`stateless::ALL`]. The steps are the same for
//! each, in this order, and `native` takes them so that no contract can forget one:
//!
//! 1. **Its own name.** `DELEGATECALL` and `CALLCODE` revert: the contract would act in another's name.
//! 2. **Limits before allocation.** The length of the call is checked before its bytes are copied, and every count in it
//!    before anything is made of that size.
//! 3. **Gas before work.** The price follows from counts and lengths. It is measured against `ecrecover` on the same
//!    core, with a factor of two (`cargo run --release -p sahara-chain --example price`), and taken before the work
//!    begins. Too little gas ends like any EVM instruction: everything given is gone.
//! 4. **A reason.** What makes no sense reverts with `Error(string)` and costs what was done so far. A question that
//!    makes sense gets an answer, also when that is "no".
//! 5. **No panic, no `Err`.** revm takes `Err` as the failure of the whole block, and anyone could halt the chain with
//!    it. Only a failing database may cause it.
//!
//! A contract with state (stake, and the beacon, which shares its storage) keeps all of it in its own EVM storage, so that the journal undoes it with the
//! transaction; it loads its account before its slots, and changes nothing in a static call. It has a function of its own
//! here. Nothing that a native contract does may depend on the machine: no clock, no thread, no floating point.
//!
//! Each has a Solidity interface in `contracts/src/`, a test against a running node, and is fuzzed through
//! [`Native::call`](super::native::Native::call).
#![expect(
    clippy::disallowed_types,
    reason = "revm asks for its own set, which is only looked up: its order decides nothing"
)]

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, Bytes, Log, LogData, U256, map::AddressSet};
use revm::{
    context::Cfg,
    context_interface::{Block, ContextTr, JournalTr},
    handler::{EthPrecompiles, PrecompileProvider, precompile_output_to_interpreter_result},
    interpreter::{CallInputs, CallScheme, InterpreterResult},
    precompile::{PrecompileHalt, PrecompileOutput},
    primitives::hardfork::SpecId,
};

use super::{
    abi,
    native::{Ending, Frame},
    stateless,
};
use crate::{beacon, error::StoreError, staking};

/// Code that genesis gives to native contracts, so that Solidity's check for code passes. It never runs.
pub const SYSTEM_CODE: Bytes = Bytes::from_static(&[0xfe]);

/// Addresses of this chain's native contracts.
pub fn system_contracts() -> [Address; stateless::ALL.len() + 2] {
    let stateful = [staking::ADDRESS, beacon::contract::ADDRESS];
    let mut all = stateless::ALL.iter().map(|contract| contract.address).chain(stateful);
    std::array::from_fn(|_| all.next().unwrap_or_default())
}

/// The addresses of Ethereum's native contracts at `spec`.
pub fn ethereum_contracts(spec: SpecId) -> Vec<Address> {
    EthPrecompiles::new(spec).warm_addresses().iter().copied().collect()
}

/// Native contracts that are elsewhere, or not there, for a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Natives {
    /// Where a contract is now, and where it was.
    moved: BTreeMap<Address, Address>,
    /// Addresses that have no native contract any more.
    gone: BTreeSet<Address>,
}

impl Natives {
    /// Moves the contract that is at `from` to `to`.
    ///
    /// # Errors
    /// If there is none at `from`, or it cannot be moved; the words are geth's.
    pub fn relocate(&mut self, from: Address, to: Address, spec: SpecId) -> Result<(), String> {
        // The stake keeps its words under its own address.
        if !ethereum_contracts(spec).contains(&from) && stateless::at(from).is_none() {
            return Err(format!("account {from} is not a precompile"));
        }
        self.gone.insert(from);
        self.moved.insert(to, from);
        Ok(())
    }

    /// The account at `address` is otherwise: what it has is executed instead of a native contract.
    pub fn replace(&mut self, address: Address) {
        self.gone.insert(address);
    }

    /// The contract that answers at `address`.
    fn origin(&self, address: Address) -> Option<Address> {
        match self.moved.get(&address) {
            Some(origin) => Some(*origin),
            None => (!self.gone.contains(&address)).then_some(address),
        }
    }
}

/// Ethereum's native contracts and this chain's.
#[derive(Clone, Debug)]
pub struct Precompiles {
    ethereum: EthPrecompiles,
    warm: AddressSet,
    natives: Natives,
}

impl Precompiles {
    /// Those of `spec`.
    pub fn new(spec: SpecId) -> Self {
        Self::with(spec, Natives::default())
    }

    /// Those of `spec`, as `natives` has them.
    pub fn with(spec: SpecId, natives: Natives) -> Self {
        let mut all = Self { ethereum: EthPrecompiles::new(spec), warm: AddressSet::default(), natives };
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
        let mut here;
        let call = match self.natives.origin(call.bytecode_address) {
            None => return Ok(None),
            Some(origin) if origin == call.bytecode_address => call,
            Some(origin) => {
                here = call.clone();
                here.bytecode_address = origin;
                &here
            }
        };
        let known = stateless::at(call.bytecode_address);
        let stateful = [staking::ADDRESS, beacon::contract::ADDRESS].contains(&call.bytecode_address);
        if known.is_none() && !stateful {
            return self.ethereum.run(context, call);
        }
        let (gas, ending) = if foreign_frame(call) {
            (0, Ending::Revert("native contract: call it, do not delegate to it".into()))
        } else if let Some(contract) = known {
            let frame = Frame { caller: call.caller, chain_id: context.cfg().chain_id(), value: call.value.get() };
            match contract.refuse(&frame, call.input.len(), call.gas_limit) {
                Some(refused) => refused,
                None => contract.call(&frame, &call.input.bytes(context), call.gas_limit),
            }
        } else if call.bytecode_address == beacon::contract::ADDRESS {
            draw(context, call).map_err(|e| e.to_string())?
        } else {
            match call.input.len() > staking::MAX_INPUT {
                true => (0, Ending::Revert("staking: input too long".into())),
                false => {
                    let input = call.input.bytes(context);
                    stake(context, call, &input).map_err(|e| e.to_string())?
                }
            }
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
    let answer = match staking::run(&mut JournalStorage(context), &env, input)? {
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

/// A question to the beacon, whose state is the staking contract's.
fn draw<C: ContextTr>(context: &mut C, call: &CallInputs) -> Result<(u64, Ending), StoreError> {
    let gas = beacon::contract::GAS;
    if gas > call.gas_limit {
        return Ok((0, Ending::OutOfGas));
    }
    let refused = |why: &str| Ok((gas, Ending::Revert(format!("beacon: {why}"))));
    if call.input.len() > beacon::contract::MAX_INPUT {
        return refused("input too long");
    }
    if !call.value.get().is_zero() {
        return refused("takes no value");
    }
    let input = call.input.bytes(context);
    let height = context.block().number().saturating_to();
    let failed = |e| StoreError::new("ask the beacon in a transaction", e);
    context.journal_mut().load_account(staking::ADDRESS).map_err(failed)?;
    match beacon::contract::run(&mut JournalStorage(context), height, &input)? {
        Ok(output) => Ok((gas, Ending::Return(output))),
        Err(why) => refused(why),
    }
}

struct JournalStorage<'a, C>(&'a mut C);

impl<C: ContextTr> staking::Storage for JournalStorage<'_, C> {
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
