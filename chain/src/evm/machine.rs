//! Runs transactions and calls on a view of state.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Typed2718;
use alloy_primitives::{Address, B256, Bytes, Log, TxKind, U256};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, Journal, MainBuilder, MainContext,
    context::{BlockEnv, CfgEnv, Evm, TxEnv, either::Either},
    context_interface::{
        Cfg, ContextSetters, ContextTr,
        block::BlobExcessGasAndPrice,
        result::{EVMError, ExecutionResult, HaltReason, Output},
    },
    handler::{EthFrame, instructions::EthInstructions, pre_execution, validation},
    interpreter::interpreter::EthInterpreter,
    primitives::hardfork::SpecId,
    state::Bytecode,
};

use super::{
    database::EvmState,
    provider::{Natives, Precompiles},
    refusal::Refusal,
};
use crate::{
    error::{Fault, StoreError},
    state::StateView,
    tx::Tx,
};

/// What a block tells its transactions.
#[derive(Clone, Debug)]
pub struct BlockContext {
    /// Of the chain.
    pub chain_id: u64,
    /// Height.
    pub number: u64,
    /// Seconds since the epoch.
    pub time: u64,
    /// Who gets the tips.
    pub beneficiary: Address,
    /// Gas of the whole block.
    pub gas_limit: u64,
    /// Price of gas that is burnt.
    pub base_fee: u64,
    /// What `PREVRANDAO` gives: see [`crate::beacon`].
    pub random: B256,
    /// The rules.
    pub spec: SpecId,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it did what it should.
    pub success: bool,
    /// Gas that is paid for.
    pub gas_used: u64,
    /// Returned or reverted bytes.
    pub output: Bytes,
    /// Events.
    pub logs: Vec<Log>,
    /// The contract it made.
    pub contract: Option<Address>,
    /// Why it stopped, if neither success nor revert.
    pub halt: Option<Halt>,
}

/// Why the machine stopped in the middle: what it could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt(HaltReason);

impl Halt {
    /// Whether more gas might have been enough.
    pub fn is_out_of_gas(&self) -> bool {
        matches!(self.0, HaltReason::OutOfGas(_))
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A question to a contract, without a signature.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// In whose name.
    pub from: Address,
    /// Whom; `None` creates.
    pub to: Option<Address>,
    /// Call data or init code.
    pub input: Bytes,
    /// Value sent along.
    pub value: U256,
    /// Gas it may use.
    pub gas_limit: u64,
    /// Price a gas; zero asks nothing of the balance.
    pub gas_price: u128,
    /// Accounts and slots that are warm from the start.
    pub access_list: alloy_eips::eip2930::AccessList,
    /// Accounts that delegate to code.
    pub authorizations: Vec<alloy_eips::eip7702::SignedAuthorization>,
}

/// The outcome of a call, or why it could not begin.
pub type CallResult = Result<Outcome, Refusal>;

pub(super) type Ctx<'a> = Context<BlockEnv, TxEnv, CfgEnv, EvmState<'a>, Journal<EvmState<'a>>, ()>;
type Inner<'a> = Evm<Ctx<'a>, (), EthInstructions<EthInterpreter, Ctx<'a>>, Precompiles, EthFrame<EthInterpreter>>;

/// Which rules of a block hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// All.
    Block,
    /// Those for questions: no nonce, no limit of the block, any account may ask.
    Question,
}

/// The machine, on one view, inside one block.
pub struct Machine<'a> {
    evm: Inner<'a>,
}

impl<'a> Machine<'a> {
    /// A machine that executes the transactions of `block` on `view`.
    pub fn new(view: &'a mut StateView, block: &BlockContext) -> Self {
        Self::on(context(view, block, Rules::Block))
    }

    /// A machine for questions: no nonce, no limit of the block. A call that names no price pays none, in a block
    /// without a base fee.
    pub fn for_calls(view: &'a mut StateView, block: &BlockContext) -> Self {
        Self::for_question(view, block, &Natives::default())
    }

    /// The same with native contracts elsewhere.
    pub fn for_question(view: &'a mut StateView, block: &BlockContext, natives: &Natives) -> Self {
        let context = context(view, block, Rules::Question);
        Self { evm: context.build_mainnet().with_precompiles(Precompiles::with(block.spec, natives.clone())) }
    }

    /// A machine with everything spelled out, for conformance tests.
    pub fn with(
        view: &'a mut StateView,
        block: BlockEnv,
        spec: SpecId,
        chain_id: u64,
        adjust: impl FnOnce(&mut CfgEnv),
    ) -> Self {
        Self::on(spelled(view, block, spec, chain_id, adjust))
    }

    fn on(context: Ctx<'a>) -> Self {
        let spec = context.cfg.spec;
        Self { evm: context.build_mainnet().with_precompiles(Precompiles::new(spec)) }
    }

    /// Executes `tx` and keeps its effects in the view.
    ///
    /// # Errors
    /// When the store fails; what the transaction comes to is the result.
    pub fn execute(&mut self, tx: &Tx) -> Result<CallResult, Fault> {
        self.evm.ctx.cfg.disable_eip3607 = tx.is_unsigned();
        self.transact(tx_env(tx.sender, &tx.envelope))
    }

    /// Why `tx` cannot begin, by kind.
    #[cfg(test)]
    pub(super) fn begin(&mut self, tx: &Tx) -> Result<(), EVMError<StoreError>> {
        self.evm.transact(tx_env(tx.sender, &tx.envelope)).map(drop)
    }

    /// Executes `tx`, spelled out, and keeps its effects in the view.
    ///
    /// # Errors
    /// When the store fails; what the transaction comes to is the result.
    pub fn transact(&mut self, tx: TxEnv) -> Result<CallResult, Fault> {
        let (sender, base_fee) = (tx.caller, self.evm.ctx.block.basefee);
        let result = self.evm.transact_commit(tx);
        self.evm.ctx.db_mut().failure()?;
        settle(result, sender, base_fee)
    }

    /// Asks `call`; the view stays as it is.
    ///
    /// # Errors
    /// When the store fails; what the call comes to is the result.
    pub fn call(&mut self, call: &Call) -> Result<CallResult, Fault> {
        let base_fee = self.evm.ctx.block.basefee;
        settle(self.evm.transact(call_env(call)).map(|outcome| outcome.result), call.from, base_fee)
    }

    /// The state it works on.
    pub fn view(&mut self) -> &mut StateView {
        self.evm.ctx.db_mut().view()
    }
}

/// Whether `tx` could be the next of `block` on `view`, which is of no use afterwards: every rule that execution applies
/// before the first instruction, by the functions that it calls for that. Without a machine, which costs more than the
/// signature of a transaction.
///
/// # Errors
/// When the store fails; the rule that it breaks is the inner error.
pub fn admits(view: &mut StateView, block: &BlockContext, tx: &Tx) -> Result<Result<(), Refusal>, Fault> {
    let mut context = context(view, block, Rules::Block);
    context.cfg.disable_eip3607 = tx.is_unsigned();
    context.set_tx(tx_env(tx.sender, &tx.envelope));
    match validate(&mut context) {
        Ok(()) => Ok(Ok(())),
        Err(EVMError::Transaction(why)) => Ok(Err(Refusal::new(&why, tx.sender, block.base_fee))),
        Err(other) => Err(fault(other)),
    }
}

/// The three steps of revm's `Handler::validate`.
fn validate(context: &mut Ctx<'_>) -> Result<(), EVMError<StoreError>> {
    validation::validate_env::<_, EVMError<StoreError>>(&mut *context)?;
    validation::validate_initial_tx_gas_with_gas_params(
        context.tx(),
        context.cfg().spec,
        context.cfg().gas_params(),
        context.cfg().is_eip7623_disabled(),
        context.cfg().is_amsterdam_eip8037_enabled(),
        context.cfg().tx_gas_limit_cap(),
        None,
    )?;
    pre_execution::validate_against_state_and_deduct_caller(context)
}

/// Whether `code` can be the code of an account: what begins like a delegation must be one.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_code(code: &Bytes) -> Result<(), String> {
    Bytecode::new_raw_checked(code.clone()).map(drop).map_err(|e| e.to_string())
}

/// A context on `view` inside `block`.
pub(super) fn context<'a>(view: &'a mut StateView, block: &BlockContext, rules: Rules) -> Ctx<'a> {
    spelled(view, block_env(block), block.spec, block.chain_id, |cfg| {
        if rules == Rules::Question {
            cfg.tx_chain_id_check = false;
            cfg.disable_nonce_check = true;
            cfg.disable_block_gas_limit = true;
            cfg.disable_eip3607 = true;
            cfg.tx_gas_limit_cap = Some(u64::MAX);
        }
    })
}

fn spelled(
    view: &mut StateView,
    block: BlockEnv,
    spec: SpecId,
    chain_id: u64,
    adjust: impl FnOnce(&mut CfgEnv),
) -> Ctx<'_> {
    Context::mainnet().with_db(EvmState::new(view, spec)).with_block(block).modify_cfg_chained(|cfg| {
        cfg.set_spec_and_mainnet_gas_params(spec);
        cfg.chain_id = chain_id;
        adjust(cfg);
    })
}

pub(super) fn settle(
    result: Result<ExecutionResult, EVMError<StoreError>>,
    sender: Address,
    base_fee: u64,
) -> Result<CallResult, Fault> {
    match result {
        Ok(result) => Ok(Ok(outcome(result))),
        Err(EVMError::Transaction(why)) => Ok(Err(Refusal::new(&why, sender, base_fee))),
        Err(other) => Err(fault(other)),
    }
}

fn fault(error: EVMError<StoreError>) -> Fault {
    match error {
        EVMError::Database(e) => e.into(),
        other => Fault::Evm(other.to_string()),
    }
}

fn outcome(result: ExecutionResult<HaltReason>) -> Outcome {
    let gas_used = result.tx_gas_used();
    match result {
        ExecutionResult::Success { logs, output, .. } => {
            let contract = match &output {
                Output::Create(_, address) => *address,
                Output::Call(_) => None,
            };
            Outcome { success: true, gas_used, output: output.into_data(), logs, contract, halt: None }
        }
        ExecutionResult::Revert { output, .. } => {
            Outcome { success: false, gas_used, output, logs: vec![], contract: None, halt: None }
        }
        ExecutionResult::Halt { reason, .. } => Outcome {
            success: false,
            gas_used,
            output: Bytes::new(),
            logs: vec![],
            contract: None,
            halt: Some(Halt(reason)),
        },
    }
}

/// Gas of a result before anything is given back, but at least what its bytes cost.
pub(super) fn peak_gas(result: &ExecutionResult<HaltReason>) -> u64 {
    let gas = result.gas();
    gas.total_gas_spent().max(gas.floor_gas())
}

fn block_env(block: &BlockContext) -> BlockEnv {
    BlockEnv {
        number: U256::from(block.number),
        beneficiary: block.beneficiary,
        timestamp: U256::from(block.time),
        gas_limit: block.gas_limit,
        basefee: block.base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(block.random),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice { excess_blob_gas: 0, blob_gasprice: 1 }),
        ..BlockEnv::default()
    }
}

pub(super) fn call_env(call: &Call) -> TxEnv {
    let tx_type = match (call.authorizations.is_empty(), call.access_list.0.is_empty()) {
        (false, _) => 4,
        (true, false) => 1,
        (true, true) => 0,
    };
    TxEnv {
        tx_type,
        caller: call.from,
        gas_limit: call.gas_limit,
        gas_price: call.gas_price,
        kind: call.to.map_or(TxKind::Create, TxKind::Call),
        value: call.value,
        data: call.input.clone(),
        access_list: call.access_list.clone(),
        authorization_list: call.authorizations.iter().cloned().map(Either::Left).collect(),
        chain_id: None,
        ..TxEnv::default()
    }
}

pub(super) fn tx_env(sender: Address, fields: &TxEnvelope) -> TxEnv {
    TxEnv {
        tx_type: fields.ty(),
        caller: sender,
        gas_limit: fields.gas_limit(),
        gas_price: fields.max_fee_per_gas(),
        kind: fields.kind(),
        value: fields.value(),
        data: fields.input().clone(),
        nonce: fields.nonce(),
        chain_id: fields.chain_id(),
        access_list: fields.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: fields.max_priority_fee_per_gas(),
        blob_hashes: fields.blob_versioned_hashes().unwrap_or_default().to_vec(),
        max_fee_per_blob_gas: fields.max_fee_per_blob_gas().unwrap_or_default(),
        authorization_list: fields
            .authorization_list()
            .unwrap_or_default()
            .iter()
            .map(|signed| Either::Left(signed.clone()))
            .collect(),
    }
}
