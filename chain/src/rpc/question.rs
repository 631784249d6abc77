//! A question to a contract as tools ask it: a transaction without a signature, the state it is asked on, and what of
//! state and block it wants to be otherwise.

use std::collections::BTreeMap;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, state::AccountOverride};

use super::{
    Backend,
    budget::{Budget, VALUE},
    error::{self, RpcResult},
};
use crate::{
    error::StoreError,
    evm::{self, BlockContext, Call, Machine, Natives, Outcome, SpecId},
    state::StateView,
};

/// Gas of a call that names none, and the most that one gets.
pub const CALL_GAS: u64 = 50_000_000;

/// Accounts whose state is otherwise.
pub type Overrides = BTreeMap<Address, AccountOverride>;

/// Everything that a call needs.
pub struct Question {
    /// The call.
    pub call: Call,
    /// The block it believes to be in.
    pub block: BlockContext,
    /// The state it works on.
    pub view: StateView,
    /// Native contracts that are elsewhere.
    pub natives: Natives,
}

impl Question {
    /// `request` on the state `at`, with `overrides`.
    pub fn new(
        backend: &Backend,
        request: &TransactionRequest,
        at: Option<BlockId>,
        overrides: Option<Overrides>,
        block: Option<BlockOverrides>,
        budget: &mut Budget,
    ) -> RpcResult<Self> {
        let head = backend.state(at, budget)?;
        let pending = matches!(at, Some(BlockId::Number(BlockNumberOrTag::Pending)));
        let mut context = backend.context(&head, pending);
        let mut view = head.view();
        let natives = override_accounts(&mut view, overrides.unwrap_or_default(), context.spec, budget)?;
        override_block(&mut context, block.unwrap_or_default())?;
        Self::on(request, context, view, natives)
    }

    /// `request` on `view` in `block`.
    fn on(request: &TransactionRequest, mut block: BlockContext, view: StateView, natives: Natives) -> RpcResult<Self> {
        let call = read(request, &block)?;
        // Who pays nothing for gas is asked nothing: geth's calls see no base fee then either.
        if call.gas_price == 0 {
            block.base_fee = 0;
        }
        Ok(Self { call, block, view, natives })
    }

    /// Asks, and charges what the machine used.
    pub fn ask(&mut self, budget: &mut Budget) -> RpcResult<Outcome> {
        budget.work(VALUE)?;
        let outcome =
            Machine::for_question(&mut self.view, &self.block, &self.natives).call(&self.call).map_err(error::fault)?;
        let outcome = outcome.map_err(|refusal| error::server(refusal.to_string()))?;
        budget.work(outcome.gas_used)?;
        Ok(outcome)
    }
}

fn read(request: &TransactionRequest, block: &BlockContext) -> RpcResult<Call> {
    if request.gas_price.is_some() && (request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some())
    {
        return Err(error::server("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"));
    }
    if let (Some(fee), Some(tip)) = (request.max_fee_per_gas, request.max_priority_fee_per_gas)
        && tip > fee
    {
        return Err(error::server(format!("maxFeePerGas ({fee}) < maxPriorityFeePerGas ({tip})")));
    }
    if let Some(other) = request.chain_id.filter(|id| *id != block.chain_id) {
        return Err(error::server(format!("chainId does not match node's (have={other}, want={})", block.chain_id)));
    }
    let input = &request.input;
    if let (Some(data), Some(input)) = (&input.data, &input.input)
        && data != input
    {
        return Err(error::server(
            "both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data",
        ));
    }
    let gas_price = match (request.gas_price, request.max_fee_per_gas) {
        (Some(price), _) => price,
        (None, Some(fee)) => {
            let tip = request.max_priority_fee_per_gas.unwrap_or_default();
            fee.min(tip.saturating_add(u128::from(block.base_fee)))
        }
        (None, None) => 0,
    };
    Ok(Call {
        from: request.from.unwrap_or_default(),
        to: request.to.and_then(|to| to.to().copied()),
        input: input.input().cloned().unwrap_or_default(),
        value: request.value.unwrap_or_default(),
        gas_limit: request.gas.unwrap_or(CALL_GAS).min(CALL_GAS),
        gas_price,
        access_list: request.access_list.clone().unwrap_or_default(),
        authorizations: request.authorization_list.clone().unwrap_or_default(),
    })
}

/// Applies `overrides` to `view`; gives where native contracts are then. One whose account is otherwise is gone, one can
/// be elsewhere, as with geth.
pub fn override_accounts(
    view: &mut StateView,
    overrides: Overrides,
    spec: SpecId,
    budget: &mut Budget,
) -> RpcResult<Natives> {
    let mut natives = Natives::default();
    for (address, account) in &overrides {
        let Some(to) = account.move_precompile_to else { continue };
        natives.relocate(*address, to, spec).map_err(error::server)?;
        if to == *address {
            let why = format!("account {address}: movePrecompileToAddress referenced itself in replacement");
            return Err(error::coded(SELF_MOVE, why));
        }
        if overrides.contains_key(&to) {
            return Err(error::server(format!("account {to} is already overridden")));
        }
    }
    for (address, account) in overrides {
        // Each is read before it is otherwise.
        budget.work(VALUE)?;
        natives.replace(address);
        override_account(view, address, account)?;
    }
    Ok(natives)
}

/// A native contract that is to move to where it is; the code is the specification's.
const SELF_MOVE: i32 = -38022;

fn override_account(view: &mut StateView, address: Address, wanted: AccountOverride) -> RpcResult<()> {
    if wanted.state.is_some() && wanted.state_diff.is_some() {
        return Err(error::server(format!("account {address} has both 'state' and 'stateDiff'")));
    }
    if let Some(Err(why)) = wanted.code.as_ref().map(evm::check_code) {
        return Err(error::invalid(format!("account {address}: 'code' cannot be executed: {why}")));
    }
    if wanted == (AccountOverride { move_precompile_to: wanted.move_precompile_to, ..AccountOverride::default() }) {
        // Nothing is otherwise: an account that is not there does not come to be.
        return Ok(());
    }
    let apply = |view: &mut StateView| -> Result<(), StoreError> {
        let mut account = view.account(address)?.unwrap_or_default();
        account.balance = wanted.balance.unwrap_or(account.balance);
        account.nonce = wanted.nonce.unwrap_or(account.nonce);
        if let Some(code) = wanted.code {
            account.code_hash = view.add_code(code);
        }
        if wanted.state.is_some() {
            view.wipe_storage(address);
        }
        view.set_account(address, account)?;
        let word = |word: &B256| U256::from_be_bytes(word.0);
        for (slot, value) in wanted.state.iter().chain(&wanted.state_diff).flatten() {
            view.set_slot(address, word(slot), word(value));
        }
        Ok(())
    };
    apply(view).map_err(error::store)
}

pub fn override_block(block: &mut BlockContext, wanted: BlockOverrides) -> RpcResult<()> {
    if wanted.block_hash.is_some() || wanted.beacon_root.is_some() {
        return Err(error::server("block hashes and beacon roots cannot be overridden"));
    }
    let number = |name: &str, value: U256| {
        u64::try_from(value).map_err(|_| error::invalid(format!("{name} of the block is out of range")))
    };
    if let Some(height) = wanted.number {
        block.number = number("number", height)?;
    }
    if let Some(fee) = wanted.base_fee {
        block.base_fee = number("base fee", fee)?;
    }
    block.time = wanted.time.unwrap_or(block.time);
    block.gas_limit = wanted.gas_limit.unwrap_or(block.gas_limit);
    block.beneficiary = wanted.coinbase.unwrap_or(block.beneficiary);
    block.random = wanted.random.unwrap_or(block.random);
    Ok(())
}
