//! The staking contract as Solidity calls it.

use alloy_primitives::U256;
use alloy_sol_types::SolCall;

use super::{
    block,
    call::{Answer, Env, ok, paid, said},
    candidates,
    delegation::Delegation,
    error::{Result, StakeError, need},
    governance,
    interface::IStaking as calls,
    params::{StakingParams, WHOLE},
    stake::{self, Registration},
    storage::{Storage, slot, word},
    timelock::Waiting,
    unbonding,
    validator::{Status, Validator},
};
use crate::{
    beacon::Commitment,
    error::StoreError,
    evm::{abi, committee::SIGNATURE_GAS},
    validator::ConsensusKey,
};

/// Price of a question, of a change, of one that makes new records, and of a new validator: bounded work each, priced by
/// the slots it touches.
const ASK_GAS: u64 = 20_000;
const CHANGE_GAS: u64 = 120_000;
const MOVE_GAS: u64 = 250_000;
const CREATE_GAS: u64 = 400_000;

/// Longer calls are refused before they are copied: the longest has eight words.
pub const MAX_INPUT: usize = 1024;

/// Gas of the call, and of one that is not known.
pub fn price(input: &[u8]) -> u64 {
    match abi::split(input).and_then(|(selector, _)| function(selector)) {
        Some((Mutability::View, _)) => ASK_GAS,
        Some((_, Function::CreateValidator)) => CREATE_GAS + SIGNATURE_GAS,
        Some((_, Function::Undelegate | Function::Redelegate)) => MOVE_GAS,
        Some(_) => CHANGE_GAS,
        None => 2_000,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mutability {
    View,
    NonPayable,
    Payable,
}

#[derive(Clone, Copy)]
enum Function {
    CreateValidator,
    AnnounceChain,
    SetCommission,
    Unjail,
    Delegate,
    Undelegate,
    Redelegate,
    Settle,
    Withdraw,
    Claim,
    ClaimCommission,
    SetParameters,
    CancelParameters,
    SetGovernance,
    TakePool,
    CollectPool,
    CancelPool,
    ValidatorOf,
    DelegationOf,
    UnbondingOf,
    Count,
    At,
    Pool,
    PendingPool,
    Parameters,
    PendingParameters,
    Governance,
}

type Known = (Mutability, Function);

/// The function with this selector.
fn function(selector: [u8; 4]) -> Option<Known> {
    Some(match selector {
        calls::createValidatorCall::SELECTOR => (Mutability::Payable, Function::CreateValidator),
        calls::announceBeaconChainCall::SELECTOR => (Mutability::NonPayable, Function::AnnounceChain),
        calls::setCommissionCall::SELECTOR => (Mutability::NonPayable, Function::SetCommission),
        calls::unjailCall::SELECTOR => (Mutability::NonPayable, Function::Unjail),
        calls::delegateCall::SELECTOR => (Mutability::Payable, Function::Delegate),
        calls::undelegateCall::SELECTOR => (Mutability::NonPayable, Function::Undelegate),
        calls::redelegateCall::SELECTOR => (Mutability::NonPayable, Function::Redelegate),
        calls::settleCall::SELECTOR => (Mutability::NonPayable, Function::Settle),
        calls::withdrawCall::SELECTOR => (Mutability::NonPayable, Function::Withdraw),
        calls::claimCall::SELECTOR => (Mutability::NonPayable, Function::Claim),
        calls::claimCommissionCall::SELECTOR => (Mutability::NonPayable, Function::ClaimCommission),
        calls::setParametersCall::SELECTOR => (Mutability::NonPayable, Function::SetParameters),
        calls::cancelParametersCall::SELECTOR => (Mutability::NonPayable, Function::CancelParameters),
        calls::collectPoolCall::SELECTOR => (Mutability::NonPayable, Function::CollectPool),
        calls::cancelPoolCall::SELECTOR => (Mutability::NonPayable, Function::CancelPool),
        calls::pendingPoolCall::SELECTOR => (Mutability::View, Function::PendingPool),
        calls::pendingParametersCall::SELECTOR => (Mutability::View, Function::PendingParameters),
        calls::setGovernanceCall::SELECTOR => (Mutability::NonPayable, Function::SetGovernance),
        calls::takePoolCall::SELECTOR => (Mutability::NonPayable, Function::TakePool),
        calls::validatorOfCall::SELECTOR => (Mutability::View, Function::ValidatorOf),
        calls::delegationOfCall::SELECTOR => (Mutability::View, Function::DelegationOf),
        calls::unbondingOfCall::SELECTOR => (Mutability::View, Function::UnbondingOf),
        calls::validatorCountCall::SELECTOR => (Mutability::View, Function::Count),
        calls::validatorAtCall::SELECTOR => (Mutability::View, Function::At),
        calls::poolCall::SELECTOR => (Mutability::View, Function::Pool),
        calls::parametersCall::SELECTOR => (Mutability::View, Function::Parameters),
        calls::governanceCall::SELECTOR => (Mutability::View, Function::Governance),
        _ => return None,
    })
}

/// Runs a call. A refusal is a revert with that reason; an error is the database's.
///
/// # Errors
/// When the store fails; what the contract refuses is the inner error, with the reason of its revert.
pub fn run(
    storage: &mut impl Storage,
    env: &Env,
    input: &[u8],
) -> std::result::Result<std::result::Result<Answer, String>, StoreError> {
    match answer(storage, env, input) {
        Ok(answer) => Ok(Ok(answer)),
        Err(StakeError::Store(e)) => Err(e),
        Err(refused) => Ok(Err(refused.to_string())),
    }
}

fn answer(storage: &mut impl Storage, env: &Env, input: &[u8]) -> Result<Answer> {
    let known = abi::split(input).and_then(|(selector, arguments)| Some((function(selector)?, arguments)));
    let Some(((mutability, function), arguments)) = known else { return Err(StakeError::Refused("no such function")) };
    need(mutability == Mutability::Payable || env.value.is_zero(), "this function takes no value")?;
    need(mutability == Mutability::View || !env.read_only, "nothing may change in a static call")?;
    let caller = env.caller;
    match function {
        Function::CreateValidator => {
            let beacon = Commitment { tip: ok(arguments.word(3))?, length: ok(arguments.small(4))? };
            let (key, commission) = (ConsensusKey(ok(arguments.word(0))?), ok(arguments.small(1))?);
            let proof = ok(arguments.bytes(2, 64))?;
            stake::create(storage, env, &Registration { key, commission, proof, beacon })
        }
        Function::AnnounceChain => {
            let next = Commitment { tip: ok(arguments.word(0))?, length: ok(arguments.small(1))? };
            stake::announce_chain(storage, env, next)
        }
        Function::SetCommission => {
            let mut own = Validator::load(storage, caller)?;
            own.commission = ok(arguments.small(0))?;
            need(own.commission <= WHOLE, "commission above 100 percent")?;
            own.store(storage)?;
            Ok(Answer::default())
        }
        Function::Unjail => stake::unjail(storage, env),
        Function::Delegate => stake::delegate(storage, env, ok(arguments.address(0))?),
        Function::Undelegate => stake::undelegate(storage, env, ok(arguments.address(0))?, ok(arguments.number(1))?),
        Function::Redelegate => {
            let (from, to) = (ok(arguments.address(0))?, ok(arguments.address(1))?);
            stake::redelegate(storage, env, from, to, ok(arguments.number(2))?)
        }
        Function::Settle => {
            let (mut validator, own) =
                stake::settled(storage, env, ok(arguments.address(0))?, ok(arguments.address(1))?)?;
            own.store(storage, validator.operator, ok(arguments.address(1))?)?;
            stake::keep(storage, &mut validator)?;
            Ok(Answer::default())
        }
        Function::Withdraw => {
            let (payout, kept) = unbonding::take_due(storage, caller, env.height, env.time)?;
            need(!(payout + kept).is_zero(), "nothing is due")?;
            block::to_pool(storage, kept)?;
            Ok(paid(payout))
        }
        Function::Claim => {
            let (mut validator, mut own) = stake::settled(storage, env, ok(arguments.address(0))?, caller)?;
            let payout = std::mem::take(&mut own.owed);
            own.store(storage, validator.operator, caller)?;
            stake::keep(storage, &mut validator)?;
            Ok(paid(payout))
        }
        Function::ClaimCommission => {
            let mut own = Validator::load(storage, caller)?;
            let payout = std::mem::take(&mut own.owed);
            own.store(storage)?;
            Ok(paid(payout))
        }
        Function::SetParameters => governance::set_parameters(storage, env, arguments),
        Function::SetGovernance => governance::hand_over(storage, caller, ok(arguments.address(0))?),
        Function::TakePool => governance::take_pool(storage, env, ok(arguments.number(0))?),
        Function::CollectPool => governance::collect_pool(storage, env),
        Function::CancelParameters => governance::cancel(storage, caller, Waiting::Parameters),
        Function::CancelPool => governance::cancel(storage, caller, Waiting::Pool),
        Function::PendingPool => governance::pending(storage, Waiting::Pool),
        Function::PendingParameters => governance::pending(storage, Waiting::Parameters),
        Function::ValidatorOf => {
            let v = Validator::load(storage, ok(arguments.address(0))?)?;
            let (status, until) = match v.status {
                Status::Active => (0, 0),
                Status::Jailed(until) => (1, until),
                Status::Tombstoned(_) => (2, 0),
            };
            let key = U256::from_be_bytes(v.key.0.0);
            let numbers = [v.commission, status, until, v.power()].map(U256::from);
            Ok(said(&[&[key, v.tokens, v.shares], numbers.as_slice()].concat()))
        }
        Function::DelegationOf => {
            let mut validator = Validator::load(storage, ok(arguments.address(0))?)?;
            let mut own = Delegation::load(storage, validator.operator, ok(arguments.address(1))?)?;
            own.settle(storage, &mut validator, env.height, env.time)?;
            Ok(said(&[validator.worth(own.shares), own.shares, own.owed]))
        }
        Function::UnbondingOf => {
            let entries = unbonding::entries(storage, ok(arguments.address(0))?)?;
            let mut out = vec![U256::from(32), U256::from(entries.len())];
            for entry in entries {
                out.extend([word(entry.left.validator), entry.tokens, U256::from(entry.due)]);
            }
            Ok(said(&out))
        }
        Function::Count => Ok(said(&[U256::from(candidates::count(storage)?)])),
        Function::At => {
            let index = ok(arguments.small(0))?;
            need(index < candidates::count(storage)?, "no such validator")?;
            Ok(said(&[word(candidates::at(storage, index)?.operator)]))
        }
        Function::Pool => Ok(said(&[storage.load(slot("pool", &[]))?])),
        Function::Parameters => Ok(said(&StakingParams::load(storage)?.numbers().map(U256::from))),
        Function::Governance => Ok(said(&[word(StakingParams::load(storage)?.governance)])),
    }
}
