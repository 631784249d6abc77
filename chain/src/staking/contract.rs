//! The staking contract as Solidity calls it.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy_primitives::U256;

use super::{
    block,
    call::{Answer, Env, ok, paid, said},
    candidates,
    delegation::Delegation,
    error::{Result, StakeError, need},
    governance,
    params::{StakingParams, WHOLE},
    stake::{self, Registration},
    unbonding,
    validator::{Status, Validator},
    words::{Words, slot, word},
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
        Some((Kind::View, _)) => ASK_GAS,
        Some((_, Function::CreateValidator)) => CREATE_GAS + SIGNATURE_GAS,
        Some((_, Function::Undelegate | Function::Redelegate)) => MOVE_GAS,
        Some(_) => CHANGE_GAS,
        None => 2_000,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    View,
    Change,
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
    SetGovernance,
    TakePool,
    ValidatorOf,
    DelegationOf,
    UnbondingOf,
    Count,
    At,
    Pool,
    Parameters,
    Governance,
}

type Known = (Kind, Function);

/// Every function by its selector, computed once.
static FUNCTIONS: LazyLock<BTreeMap<[u8; 4], Known>> = LazyLock::new(|| {
    let all = [
        ("createValidator(bytes32,uint256,bytes,bytes32,uint256)", Kind::Payable, Function::CreateValidator),
        ("announceBeaconChain(bytes32,uint256)", Kind::Change, Function::AnnounceChain),
        ("setCommission(uint256)", Kind::Change, Function::SetCommission),
        ("unjail()", Kind::Change, Function::Unjail),
        ("delegate(address)", Kind::Payable, Function::Delegate),
        ("undelegate(address,uint256)", Kind::Change, Function::Undelegate),
        ("redelegate(address,address,uint256)", Kind::Change, Function::Redelegate),
        ("settle(address,address)", Kind::Change, Function::Settle),
        ("withdraw()", Kind::Change, Function::Withdraw),
        ("claim(address)", Kind::Change, Function::Claim),
        ("claimCommission()", Kind::Change, Function::ClaimCommission),
        (
            "setParameters((uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256))",
            Kind::Change,
            Function::SetParameters,
        ),
        ("setGovernance(address)", Kind::Change, Function::SetGovernance),
        ("takePool(uint256)", Kind::Change, Function::TakePool),
        ("validatorOf(address)", Kind::View, Function::ValidatorOf),
        ("delegationOf(address,address)", Kind::View, Function::DelegationOf),
        ("unbondingOf(address)", Kind::View, Function::UnbondingOf),
        ("validatorCount()", Kind::View, Function::Count),
        ("validatorAt(uint256)", Kind::View, Function::At),
        ("pool()", Kind::View, Function::Pool),
        ("parameters()", Kind::View, Function::Parameters),
        ("governance()", Kind::View, Function::Governance),
    ];
    all.into_iter().map(|(name, kind, function)| (abi::selector(name), (kind, function))).collect()
});

fn function(selector: [u8; 4]) -> Option<Known> {
    FUNCTIONS.get(&selector).copied()
}

/// Runs a call. A refusal is a revert with that reason; an error is the database's.
pub fn run(
    words: &mut impl Words,
    env: &Env,
    input: &[u8],
) -> std::result::Result<std::result::Result<Answer, String>, StoreError> {
    match answer(words, env, input) {
        Ok(answer) => Ok(Ok(answer)),
        Err(StakeError::Store(e)) => Err(e),
        Err(refused) => Ok(Err(refused.to_string())),
    }
}

fn answer(words: &mut impl Words, env: &Env, input: &[u8]) -> Result<Answer> {
    let known = abi::split(input).and_then(|(selector, arguments)| Some((function(selector)?, arguments)));
    let Some(((kind, function), arguments)) = known else { return Err(StakeError::Refused("no such function")) };
    need(kind == Kind::Payable || env.value.is_zero(), "this function takes no value")?;
    need(kind == Kind::View || !env.read_only, "nothing may change in a static call")?;
    let caller = env.caller;
    match function {
        Function::CreateValidator => {
            let beacon = Commitment { tip: ok(arguments.word(3))?, length: ok(arguments.small(4))? };
            let (key, commission) = (ConsensusKey(ok(arguments.word(0))?), ok(arguments.small(1))?);
            let proof = ok(arguments.bytes(2, 64))?;
            stake::create(words, env, &Registration { key, commission, proof, beacon })
        }
        Function::AnnounceChain => {
            let next = Commitment { tip: ok(arguments.word(0))?, length: ok(arguments.small(1))? };
            stake::announce_chain(words, env, next)
        }
        Function::SetCommission => {
            let mut own = Validator::load(words, caller)?;
            own.commission = ok(arguments.small(0))?;
            need(own.commission <= WHOLE, "commission above 100 percent")?;
            own.store(words)?;
            Ok(Answer::default())
        }
        Function::Unjail => stake::unjail(words, env),
        Function::Delegate => stake::delegate(words, env, ok(arguments.address(0))?),
        Function::Undelegate => stake::undelegate(words, env, ok(arguments.address(0))?, ok(arguments.number(1))?),
        Function::Redelegate => {
            let (from, to) = (ok(arguments.address(0))?, ok(arguments.address(1))?);
            stake::redelegate(words, env, from, to, ok(arguments.number(2))?)
        }
        Function::Settle => {
            let (mut validator, own) =
                stake::settled(words, env, ok(arguments.address(0))?, ok(arguments.address(1))?)?;
            own.store(words, validator.operator, ok(arguments.address(1))?)?;
            stake::keep(words, &mut validator)?;
            Ok(Answer::default())
        }
        Function::Withdraw => {
            let (payout, kept) = unbonding::take_due(words, caller, env.height, env.time)?;
            need(!(payout + kept).is_zero(), "nothing is due")?;
            block::to_pool(words, kept)?;
            Ok(paid(payout))
        }
        Function::Claim => {
            let (mut validator, mut own) = stake::settled(words, env, ok(arguments.address(0))?, caller)?;
            let payout = std::mem::take(&mut own.owed);
            own.store(words, validator.operator, caller)?;
            stake::keep(words, &mut validator)?;
            Ok(paid(payout))
        }
        Function::ClaimCommission => {
            let mut own = Validator::load(words, caller)?;
            let payout = std::mem::take(&mut own.owed);
            own.store(words)?;
            Ok(paid(payout))
        }
        Function::SetParameters => governance::set_parameters(words, caller, arguments),
        Function::SetGovernance => governance::hand_over(words, caller, ok(arguments.address(0))?),
        Function::TakePool => governance::take_pool(words, caller, ok(arguments.number(0))?),
        Function::ValidatorOf => {
            let v = Validator::load(words, ok(arguments.address(0))?)?;
            let (status, until) = match v.status {
                Status::Free => (0, 0),
                Status::Jailed(until) => (1, until),
                Status::Tombstoned(_) => (2, 0),
            };
            let key = U256::from_be_bytes(v.key.0.0);
            let numbers = [v.commission, status, until, v.power()].map(U256::from);
            Ok(said(&[&[key, v.tokens, v.shares], numbers.as_slice()].concat()))
        }
        Function::DelegationOf => {
            let mut validator = Validator::load(words, ok(arguments.address(0))?)?;
            let mut own = Delegation::load(words, validator.operator, ok(arguments.address(1))?)?;
            own.settle(words, &mut validator, env.height, env.time)?;
            Ok(said(&[validator.worth(own.shares), own.shares, own.owed]))
        }
        Function::UnbondingOf => {
            let entries = unbonding::entries(words, ok(arguments.address(0))?)?;
            let mut out = vec![U256::from(32), U256::from(entries.len())];
            for entry in entries {
                out.extend([word(entry.left.validator), entry.tokens, U256::from(entry.due)]);
            }
            Ok(said(&out))
        }
        Function::Count => Ok(said(&[U256::from(candidates::count(words)?)])),
        Function::At => {
            let index = ok(arguments.small(0))?;
            need(index < candidates::count(words)?, "no such validator")?;
            Ok(said(&[word(candidates::at(words, index)?.operator)]))
        }
        Function::Pool => Ok(said(&[words.load(slot("pool", &[]))?])),
        Function::Parameters => Ok(said(&StakingParams::load(words)?.numbers().map(U256::from))),
        Function::Governance => Ok(said(&[word(StakingParams::load(words)?.governance)])),
    }
}
