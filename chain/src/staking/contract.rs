//! The staking contract as Solidity calls it.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::{
    Result, StakeError, block,
    delegation::{self, Delegation},
    need,
    params::StakingParams,
    unbonding::{self, Entry},
    validator::{self, Status, Validator},
    words::{Words, of, slot, word},
};
use crate::{
    error::StoreError,
    evm::abi::{self, AbiError, Arguments, words_out},
    genesis::TOKEN,
    validator::ConsensusKey,
};

/// Price of a question and of a change: bounded work each, priced by the slots it touches.
const ASK_GAS: u64 = 20_000;
const CHANGE_GAS: u64 = 120_000;

/// Who calls, when.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// The caller.
    pub caller: Address,
    /// Value that came with the call, already credited.
    pub value: U256,
    /// Whether nothing may change.
    pub read_only: bool,
    /// Height of the block.
    pub height: u64,
    /// Seconds since the epoch.
    pub time: u64,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Hash of its signature, and indexed arguments.
    pub topics: Vec<B256>,
    /// Other arguments.
    pub data: Bytes,
}

/// How a call ends.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What it returns.
    pub output: Bytes,
    /// What the contract pays the caller.
    pub payout: U256,
    /// What it logs.
    pub logs: Vec<Log>,
}

/// Gas of the call, and whether it is known.
pub fn price(input: &[u8]) -> u64 {
    match abi::split(input).and_then(|(selector, _)| function(selector)) {
        Some((Kind::View, _)) => ASK_GAS,
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
    SetCommission,
    Unjail,
    Delegate,
    Undelegate,
    Redelegate,
    Withdraw,
    Claim,
    ClaimCommission,
    ValidatorOf,
    DelegationOf,
    UnbondingOf,
    Count,
    At,
    Pool,
}

fn function(selector: [u8; 4]) -> Option<(Kind, Function)> {
    let all = [
        ("createValidator(bytes32,uint256)", Kind::Payable, Function::CreateValidator),
        ("setCommission(uint256)", Kind::Change, Function::SetCommission),
        ("unjail()", Kind::Change, Function::Unjail),
        ("delegate(address)", Kind::Payable, Function::Delegate),
        ("undelegate(address,uint256)", Kind::Change, Function::Undelegate),
        ("redelegate(address,address,uint256)", Kind::Change, Function::Redelegate),
        ("withdraw()", Kind::Change, Function::Withdraw),
        ("claim(address)", Kind::Change, Function::Claim),
        ("claimCommission()", Kind::Change, Function::ClaimCommission),
        ("validatorOf(address)", Kind::View, Function::ValidatorOf),
        ("delegationOf(address,address)", Kind::View, Function::DelegationOf),
        ("unbondingOf(address)", Kind::View, Function::UnbondingOf),
        ("validatorCount()", Kind::View, Function::Count),
        ("validatorAt(uint256)", Kind::View, Function::At),
        ("pool()", Kind::View, Function::Pool),
    ];
    all.into_iter().find(|(name, _, _)| abi::selector(name) == selector).map(|(_, kind, function)| (kind, function))
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
        Function::CreateValidator => create(words, env, arguments),
        Function::SetCommission => {
            let mut own = Validator::load(words, caller)?;
            own.commission = ok(arguments.small(0))?;
            need(own.commission <= super::params::WHOLE, "commission above 100 percent")?;
            own.store(words)?;
            Ok(Answer::default())
        }
        Function::Unjail => unjail(words, env),
        Function::Delegate => {
            let mut validator = Validator::load(words, ok(arguments.address(0))?)?;
            need(validator.status != Status::Tombstoned, "this validator is tombstoned")?;
            delegation::delegate(words, &mut validator, caller, env.value)?;
            block::mark_changed(words)?;
            Ok(logged("Delegated(address,address,uint256)", validator.operator, caller, env.value))
        }
        Function::Undelegate => undelegate(words, env, arguments),
        Function::Redelegate => redelegate(words, env, arguments),
        Function::Withdraw => {
            let (payout, kept) = unbonding::take_due(words, caller, env.time)?;
            need(!(payout + kept).is_zero(), "nothing is due")?;
            block::to_pool(words, kept)?;
            Ok(Answer { payout, output: words_out(&[payout]), ..Answer::default() })
        }
        Function::Claim => {
            let validator = Validator::load(words, ok(arguments.address(0))?)?;
            let mut own = Delegation::load(words, validator.operator, caller)?;
            own.settle(&validator);
            let payout = std::mem::take(&mut own.owed);
            own.store(words, validator.operator, caller)?;
            Ok(Answer { payout, output: words_out(&[payout]), ..Answer::default() })
        }
        Function::ClaimCommission => {
            let owed = of("commission.owed", caller);
            let payout = words.load(owed)?;
            words.store(owed, U256::ZERO)?;
            Ok(Answer { payout, output: words_out(&[payout]), ..Answer::default() })
        }
        Function::ValidatorOf => {
            let v = Validator::load(words, ok(arguments.address(0))?)?;
            let (status, until) = match v.status {
                Status::Free => (0, 0),
                Status::Jailed(until) => (1, until),
                Status::Tombstoned => (2, 0),
            };
            let key = U256::from_be_bytes(v.key.0.0);
            let numbers = [v.commission, status, until, v.power()].map(U256::from);
            Ok(said(&[&[key, v.tokens, v.shares], numbers.as_slice()].concat()))
        }
        Function::DelegationOf => {
            let validator = Validator::load(words, ok(arguments.address(0))?)?;
            let mut own = Delegation::load(words, validator.operator, ok(arguments.address(1))?)?;
            own.settle(&validator);
            Ok(said(&[validator.worth(own.shares), own.shares, own.owed]))
        }
        Function::UnbondingOf => {
            let entries = unbonding::entries(words, ok(arguments.address(0))?)?;
            let mut out = vec![U256::from(32), U256::from(entries.len())];
            for entry in entries {
                out.extend([word(entry.validator), entry.tokens, U256::from(entry.due)]);
            }
            Ok(said(&out))
        }
        Function::Count => Ok(said(&[U256::from(validator::count(words)?)])),
        Function::At => {
            let index = ok(arguments.small(0))?;
            need(index < validator::count(words)?, "no such validator")?;
            Ok(said(&[word(validator::at(words, index)?)]))
        }
        Function::Pool => Ok(said(&[words.load(slot("pool", &[]))?])),
    }
}

fn create(words: &mut impl Words, env: &Env, arguments: Arguments<'_>) -> Result<Answer> {
    let key = ConsensusKey(ok(arguments.word(0))?);
    let commission = ok(arguments.small(1))?;
    let least = TOKEN * U256::from(StakingParams::load(words)?.min_self_bond);
    need(env.value >= least, "the operator must bond more itself")?;
    let mut validator = Validator::create(words, env.caller, key, commission)?;
    delegation::delegate(words, &mut validator, env.caller, env.value)?;
    block::mark_changed(words)?;
    Ok(logged("Delegated(address,address,uint256)", env.caller, env.caller, env.value))
}

fn unjail(words: &mut impl Words, env: &Env) -> Result<Answer> {
    let mut own = Validator::load(words, env.caller)?;
    match own.status {
        Status::Jailed(until) => need(env.time >= until, "too early")?,
        Status::Free => return Err(StakeError::Refused("not in jail")),
        Status::Tombstoned => return Err(StakeError::Refused("tombstoned: for ever")),
    }
    let bonded = Delegation::load(words, own.operator, own.operator)?.shares;
    let least = TOKEN * U256::from(StakingParams::load(words)?.min_self_bond);
    need(own.worth(bonded) >= least, "the operator must bond more itself")?;
    own.status = Status::Free;
    own.store(words)?;
    block::mark_changed(words)?;
    Ok(Answer::default())
}

fn undelegate(words: &mut impl Words, env: &Env, arguments: Arguments<'_>) -> Result<Answer> {
    let mut validator = Validator::load(words, ok(arguments.address(0))?)?;
    let tokens = delegation::withdraw(words, &mut validator, env.caller, ok(arguments.number(1))?)?;
    let due = env.time.saturating_add(StakingParams::load(words)?.unbonding_seconds);
    let entry = Entry { validator: validator.operator, tokens, height: env.height, due };
    unbonding::push(words, env.caller, entry)?;
    block::mark_changed(words)?;
    Ok(logged("Undelegated(address,address,uint256)", validator.operator, env.caller, tokens))
}

/// Moves stake at once. It stays staked, so it must not be a way around the wait: the stake of a validator that is in
/// jail or worse cannot move, and moved stake cannot move again before the time in which an offence can be proven.
fn redelegate(words: &mut impl Words, env: &Env, arguments: Arguments<'_>) -> Result<Answer> {
    let mut from = Validator::load(words, ok(arguments.address(0))?)?;
    let to = ok(arguments.address(1))?;
    need(from.operator != to, "from and to are the same")?;
    need(from.status == Status::Free, "stake cannot leave a jailed validator this way")?;
    let until = super::words::between("moved", from.operator, env.caller);
    need(words.load(until)? <= U256::from(env.time), "this stake was moved here too recently")?;
    let tokens = delegation::withdraw(words, &mut from, env.caller, ok(arguments.number(2))?)?;
    let mut validator = Validator::load(words, to)?;
    need(validator.status != Status::Tombstoned, "this validator is tombstoned")?;
    delegation::delegate(words, &mut validator, env.caller, tokens)?;
    let free = env.time.saturating_add(StakingParams::load(words)?.unbonding_seconds);
    words.store(super::words::between("moved", to, env.caller), U256::from(free))?;
    block::mark_changed(words)?;
    Ok(logged("Delegated(address,address,uint256)", to, env.caller, tokens))
}

fn ok<T>(argument: std::result::Result<T, AbiError>) -> Result<T> {
    argument.map_err(|e| StakeError::Refused(e.reason()))
}

fn said(words: &[U256]) -> Answer {
    Answer { output: words_out(words), ..Answer::default() }
}

fn logged(event: &str, validator: Address, delegator: Address, tokens: U256) -> Answer {
    let topics = vec![keccak256(event), validator.into_word(), delegator.into_word()];
    Answer { logs: vec![Log { topics, data: words_out(&[tokens]) }], ..Answer::default() }
}
