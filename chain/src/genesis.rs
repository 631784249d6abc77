//! The first state of a chain: a JSON file that people write. What is wrong in it is said by the name of the field.

mod contracts;
mod dev;
pub mod error;

use std::collections::BTreeMap;

use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_primitives::{Address, Bytes, U256};
use serde::{Deserialize, Serialize};

pub use contracts::{ProtocolContract, protocol_contracts};
use dev::CREATE2_FACTORY_CODE;
pub use dev::{CREATE2_FACTORY, DEV_ACCOUNTS};
pub use error::GenesisError;

use crate::{
    application::EvidenceAge,
    beacon::{self, BeaconParams},
    error::{Fault, StoreError},
    evm::{SYSTEM_CODE, check_code, system_contracts},
    fees::FeeParams,
    staking::{self, StakeError, StakingParams},
    state::{Account, StateView},
    validator::ValidatorUpdate,
};

pub use crate::validator::{GenesisValidator, TOKEN};

/// For how long light clients trust a header: stake that signs is liable for as long.
const TRUSTED_SECONDS: u64 = 14 * 24 * 3600;
/// Chain id of networks for development.
pub const DEV_CHAIN_ID: u64 = 1337;

/// The genesis file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What wallets sign for (EIP-155).
    pub chain_id: u64,
    /// Whether accounts may be in it whose keys everybody knows. With the chain id of development networks they may anyway.
    #[serde(default, skip_serializing_if = "is_false")]
    pub development: bool,
    /// Fees and the size of blocks.
    #[serde(default)]
    pub fees: FeeParams,
    /// Stake, rewards and punishment.
    #[serde(default)]
    pub staking: StakingParams,
    /// Randomness.
    #[serde(default)]
    pub beacon: BeaconParams,
    /// Accounts that exist from the start.
    #[serde(default)]
    pub accounts: BTreeMap<Address, GenesisAccount>,
    /// Who makes the first blocks.
    pub validators: Vec<GenesisValidator>,
    /// Where an earlier chain ended, if this one goes on from there. `chain export` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<Exported>,
}

/// What a chain takes over from an earlier one, beside its accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// The last block of the earlier chain: the first one here is the next.
    pub height: u64,
    /// Balance and storage of native contracts, so stake, rewards and punishments. Validators bond nothing anew, and
    /// those without power are known all the same.
    #[serde(default)]
    pub contracts: BTreeMap<Address, GenesisAccount>,
}

/// An account that exists from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// In the smallest unit, decimal or 0x hexadecimal.
    #[serde(default)]
    pub balance: U256,
    /// Transactions it counts as sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nonce: u64,
    /// Contract code.
    #[serde(default, skip_serializing_if = "no_code")]
    pub code: Bytes,
    /// Contract storage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<U256, U256>,
}

/// The longest epoch: a chain that is announced at half is in force within three epochs, and even whoever proposes every
/// block has shown less than the other half by then.
const MAX_EPOCH: u64 = beacon::chain::LENGTH / 8;

/// More weight than this in all, and CometBFT refuses.
const MAX_TOTAL_POWER: u64 = i64::MAX as u64 / 8;

impl Genesis {
    /// Reads and checks a genesis file.
    ///
    /// # Errors
    /// When it is no genesis file, or breaks a rule.
    pub fn read(json: &[u8]) -> Result<Self, GenesisError> {
        let genesis: Self =
            serde_json::from_slice(json).map_err(|e| GenesisError { field: "(file)".into(), why: e.to_string() })?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Whether a chain can begin like this.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), GenesisError> {
        let need = |holds: bool, field: &str, why: &str| match holds {
            true => Ok(()),
            false => Err(GenesisError { field: field.into(), why: why.into() }),
        };
        let fees = &self.fees;
        need(self.chain_id > 0, "chain_id", "must not be zero")?;
        need(fees.block_gas_limit >= 5_000_000, "fees.block_gas_limit", "must be 5000000 at least")?;
        need(fees.block_gas_limit <= i64::MAX as u64, "fees.block_gas_limit", "must fit 63 bits")?;
        need(fees.min_base_fee > 0, "fees.min_base_fee", "must not be zero")?;
        need(fees.initial_base_fee >= fees.min_base_fee, "fees.initial_base_fee", "is below fees.min_base_fee")?;
        need(fees.base_fee_denominator > 0, "fees.base_fee_denominator", "must not be zero")?;
        need((1..=64).contains(&fees.elasticity), "fees.elasticity", "must be between 1 and 64")?;
        if let Some((field, why)) = self.staking.problem() {
            return need(false, field, why);
        }
        let epoch = self.beacon.epoch_blocks;
        need((1..=MAX_EPOCH).contains(&epoch), "beacon.epoch_blocks", "must be between 1 and 8192")?;
        for (operator, chain) in &self.beacon.chains {
            let field = format!("beacon.chains.{operator}");
            need(self.exported.is_none(), &field, "an exported chain has them in its contracts")?;
            let known = self.validators.iter().any(|validator| validator.operator == *operator);
            need(known, &field, "is the chain of no validator's operator")?;
            need(chain.is_sound(), &field, "must have a tip and 1 to 16777216 steps")?;
        }
        need(!self.validators.is_empty(), "validators", "must not be empty")?;
        for (i, validator) in self.validators.iter().enumerate() {
            let field = format!("validators[{i}]");
            let others = &self.validators[..i];
            need(validator.power > 0 || self.exported.is_some(), &format!("{field}.power"), "must not be zero")?;
            let known = others.iter().any(|other| other.consensus_key == validator.consensus_key);
            need(!known, &format!("{field}.consensus_key"), "another validator has it")?;
            let known = others.iter().any(|other| other.operator == validator.operator);
            need(!known, &format!("{field}.operator"), "it operates another validator already")?;
            let valid = ed25519_dalek::VerifyingKey::from_bytes(&validator.consensus_key.0.0).is_ok();
            need(valid, &format!("{field}.consensus_key"), "is not an ed25519 key")?;
        }
        // Only a network for development does without a beacon, and then wholly.
        let none = self.chain_id == DEV_CHAIN_ID && self.beacon.chains.is_empty();
        for validator in self.validators.iter().filter(|_| self.exported.is_none() && !none) {
            let field = format!("beacon.chains.{}", validator.operator);
            let known = self.beacon.chains.contains_key(&validator.operator);
            need(known, &field, "is missing: each validator has a beacon chain (`sahara chain keys --operator`)")?;
        }
        // An earlier chain's accounts are as they were.
        let public = !self.development && self.chain_id != DEV_CHAIN_ID && self.exported.is_none();
        for (account, _) in DEV_ACCOUNTS.iter().filter(|_| public) {
            let why = "is an account whose key everybody knows: give it nothing, or say development = true";
            need(!self.accounts.contains_key(account), &format!("accounts.{account}"), why)?;
            let operator = self.validators.iter().position(|validator| validator.operator == *account);
            let field = |i: usize| format!("validators[{i}].operator");
            operator.map_or(Ok(()), |i| need(false, &field(i), why))?;
            need(self.staking.governance != *account, "staking.governance", why)?;
        }
        let why = "must be 14 days at least (1209600): share nodes and consumers trust a header for so long, and who signs another \
                   must still have stake to lose (or say development = true)";
        need(!public || self.staking.evidence_seconds >= TRUSTED_SECONDS, "staking.evidence_seconds", why)?;
        let total = self.validators.iter().fold(0u64, |sum, validator| sum.saturating_add(validator.power));
        need(total <= MAX_TOTAL_POWER, "validators", "their power is too large together")?;
        need(total > 0, "validators", "must not all be without power")?;
        let fresh = Exported::default();
        let exported = self.exported.as_ref().unwrap_or(&fresh);
        need(exported.height < i64::MAX as u64 / 2, "exported.height", "is too large")?;
        for (address, contract) in &exported.contracts {
            let field = format!("exported.contracts.{address}");
            need(system_contracts().contains(address), &field, "is not the address of a native contract")?;
            need(contract.code.is_empty() && contract.nonce == 0, &field, "has code or a nonce of its own")?;
        }
        let mut supply = exported.contracts.values().try_fold(U256::ZERO, |sum, c| sum.checked_add(c.balance));
        for (address, account) in &self.accounts {
            supply = supply.and_then(|sum| sum.checked_add(account.balance));
            let reserved = system_contracts().contains(address);
            need(!reserved, &format!("accounts.{address}"), "is the address of a native contract")?;
            // Such an account would have to refuse a contract at its address (EIP-7610); no block can make one.
            let orphaned = !account.storage.is_empty() && account.code.is_empty() && account.nonce == 0;
            need(!orphaned, &format!("accounts.{address}.storage"), "needs code or a nonce beside it")?;
            // What begins like a delegation and is none could not be read again.
            need(check_code(&account.code).is_ok(), &format!("accounts.{address}.code"), "cannot be executed")?;
        }
        // Whoever could bond everything would still fit what the engine can count, and so does the reward of an age.
        let most = TOKEN * U256::from(MAX_TOTAL_POWER / 2);
        need(supply.is_some_and(|sum| sum < most), "accounts", "balances are too large together")
    }

    /// Writes the first state into `view`.
    ///
    /// # Errors
    /// When the store fails, or an amount does not fit.
    pub fn apply(&self, view: &mut StateView) -> Result<(), Fault> {
        for (address, account) in &self.accounts {
            put_account(view, *address, account)?;
        }
        for address in system_contracts() {
            let kept = self.exported.as_ref().and_then(|exported| exported.contracts.get(&address));
            let kept = kept.cloned().unwrap_or_default();
            put_account(view, address, &GenesisAccount { nonce: 1, code: SYSTEM_CODE, ..kept })?;
        }
        if self.exported.is_some() {
            self.check_exported(view)?;
            return Ok(self.staking.store(view)?);
        }
        self.staking.store(view)?;
        let mut bonded = U256::ZERO;
        for (i, validator) in self.validators.iter().enumerate() {
            bonded += staking::bond_genesis(view, validator).map_err(|e| match e {
                StakeError::Store(e) => Fault::Store(e),
                StakeError::Refused(why) => GenesisError { field: format!("validators[{i}]"), why: why.into() }.into(),
            })?;
        }
        credit(view, staking::ADDRESS, bonded)?;
        Ok(())
    }

    /// Whether stake is liable for as long as the engine takes evidence.
    ///
    /// # Errors
    /// When stake could leave while evidence against it still counts.
    pub fn check_evidence(&self, age: EvidenceAge) -> Result<(), GenesisError> {
        let wrong = |ours: &str, engine: &str, most: u64, found: u64| {
            let why = format!(
                "is {most}, but consensus_params.evidence.{engine} of the engine's genesis is {found}: that must not be \
                 more, or offenders have left before they are found"
            );
            Err(GenesisError { field: format!("staking.{ours}"), why })
        };
        let StakingParams { evidence_seconds, evidence_blocks, .. } = self.staking;
        if age.seconds > evidence_seconds {
            return wrong("evidence_seconds", "max_age_duration (in seconds)", evidence_seconds, age.seconds);
        }
        if age.blocks > evidence_blocks {
            return wrong("evidence_blocks", "max_age_num_blocks", evidence_blocks, age.blocks);
        }
        Ok(())
    }

    /// Whether this program understands the stake of an exported chain, and the promises to it are kept.
    fn check_exported(&self, view: &mut StateView) -> Result<(), Fault> {
        let wrong = |field: &str, why: String| Err(GenesisError { field: field.into(), why }.into());
        let format = view.slot(staking::ADDRESS, staking::format_slot())?;
        if format != U256::from(staking::FORMAT) {
            let why = format!(
                "its stake has format {format}, this program reads {}: export it with this version",
                staking::FORMAT
            );
            return wrong("exported.contracts", why);
        }
        let old = StakingParams::load(view)?;
        if self.staking.evidence_seconds > old.evidence_seconds || self.staking.evidence_blocks > old.evidence_blocks {
            let why = "and staking.evidence_blocks cannot grow: stake is on its way that answers for the old time only";
            return wrong("staking.evidence_seconds", why.into());
        }
        if self.beacon.epoch_blocks != beacon::state::epoch_blocks(view)? {
            return wrong("beacon.epoch_blocks", "cannot change: epochs go on".into());
        }
        Ok(())
    }

    /// Weights of the first validators.
    pub fn validator_updates(&self) -> Vec<ValidatorUpdate> {
        let active = self.validators.iter().filter(|v| v.power > 0);
        active.map(|v| ValidatorUpdate { key: v.consensus_key, power: v.power }).collect()
    }

    /// The height of the first block.
    pub fn first_height(&self) -> u64 {
        self.exported.as_ref().map_or(1, |exported| exported.height.saturating_add(1))
    }

    /// A network for development: ten rich accounts whose keys everybody knows, the contracts of the protocol, and those
    /// that tools expect.
    pub fn development(validators: Vec<GenesisValidator>) -> Self {
        let rich = GenesisAccount { balance: TOKEN * U256::from(1_000_000), ..GenesisAccount::default() };
        let mut accounts: BTreeMap<Address, GenesisAccount> =
            DEV_ACCOUNTS.iter().map(|(address, _)| (*address, rich.clone())).collect();
        let factory = GenesisAccount { nonce: 1, code: CREATE2_FACTORY_CODE, ..GenesisAccount::default() };
        accounts.insert(CREATE2_FACTORY, factory);
        let history = GenesisAccount { nonce: 1, code: HISTORY_STORAGE_CODE.clone(), ..GenesisAccount::default() };
        accounts.insert(HISTORY_STORAGE_ADDRESS, history);
        accounts.extend(contracts::accounts());
        Self {
            chain_id: DEV_CHAIN_ID,
            development: true,
            fees: FeeParams::default(),
            staking: StakingParams::default(),
            beacon: BeaconParams::default(),
            accounts,
            validators,
            exported: None,
        }
    }
}

fn put_account(view: &mut StateView, address: Address, account: &GenesisAccount) -> Result<(), StoreError> {
    let code_hash = view.add_code(account.code.clone());
    view.set_account(
        address,
        Account { nonce: account.nonce, balance: account.balance, code_hash, ..Account::default() },
    )?;
    for (slot, value) in &account.storage {
        view.set_slot(address, *slot, *value);
    }
    Ok(())
}

/// Makes `amount` and gives it to `address`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn credit(view: &mut StateView, address: Address, amount: U256) -> Result<(), StoreError> {
    let account = view.account(address)?.unwrap_or_default();
    view.set_account(address, Account { balance: account.balance.saturating_add(amount), ..account })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn no_code(code: &Bytes) -> bool {
    code.is_empty()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::{beacon::Commitment, validator::ConsensusKey};

    fn good() -> Genesis {
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
        let operator = DEV_ACCOUNTS[0].0;
        Genesis::development(vec![GenesisValidator { operator, consensus_key: ConsensusKey(key.into()), power: 10 }])
    }

    #[test]
    fn a_genesis_survives_the_file() {
        let genesis = good();
        let json = serde_json::to_vec_pretty(&genesis).unwrap();
        assert_eq!(Genesis::read(&json).unwrap(), genesis);
    }

    #[test]
    fn an_engine_that_takes_older_evidence_than_stake_answers_for_is_refused() {
        let genesis = good();
        let StakingParams { evidence_seconds: seconds, evidence_blocks: blocks, .. } = genesis.staking;
        let check = |seconds, blocks| genesis.check_evidence(EvidenceAge { seconds, blocks }).map_err(|e| e.field);
        assert_eq!(check(seconds, blocks), Ok(()));
        assert_eq!(check(seconds + 1, blocks), Err("staking.evidence_seconds".into()));
        assert_eq!(check(seconds, blocks + 1), Err("staking.evidence_blocks".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |change: &dyn Fn(&mut Genesis)| {
            let mut genesis = good();
            change(&mut genesis);
            genesis.check().unwrap_err().field
        };
        assert_eq!(wrong(&|g| g.chain_id = 0), "chain_id");
        assert_eq!(wrong(&|g| g.fees.initial_base_fee = 1), "fees.initial_base_fee");
        assert_eq!(wrong(&|g| g.validators.clear()), "validators");
        assert_eq!(wrong(&|g| g.validators[0].power = 0), "validators[0].power");
        assert_eq!(wrong(&|g| g.validators.push(g.validators[0].clone())), "validators[1].consensus_key");
        assert_eq!(wrong(&|g| g.staking.evidence_blocks = 0), "staking.evidence_blocks");
        assert_eq!(
            wrong(&|g| g.staking.unbonding_seconds = g.staking.evidence_seconds + 3599),
            "staking.unbonding_seconds"
        );
        assert_eq!(wrong(&|g| g.beacon.epoch_blocks = 0), "beacon.epoch_blocks");
        assert_eq!(wrong(&|g| g.beacon.epoch_blocks = MAX_EPOCH + 1), "beacon.epoch_blocks");
        assert_eq!(MAX_EPOCH, 8192, "as the message says");
        let chain = Commitment { tip: B256::repeat_byte(1), length: 5 };
        let stranger = wrong(&|g| g.beacon.chains.extend([(DEV_ACCOUNTS[7].0, chain)]));
        assert_eq!(stranger, format!("beacon.chains.{}", DEV_ACCOUNTS[7].0));
        let endless =
            wrong(&|g| g.beacon.chains.extend([(DEV_ACCOUNTS[0].0, Commitment { length: 1 << 25, ..chain })]));
        assert_eq!(endless, format!("beacon.chains.{}", DEV_ACCOUNTS[0].0));
        let at = Address::repeat_byte(7);
        let bad = GenesisAccount { code: alloy_primitives::bytes!("ef0100"), ..GenesisAccount::default() };
        let code = wrong(&|g| drop(g.accounts.insert(at, bad.clone())));
        assert_eq!(code, format!("accounts.{at}.code"));
        let mut json = serde_json::to_value(good()).unwrap();
        json["fees"]["elastcity"] = 3.into();
        let error = Genesis::read(json.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("elastcity"), "{error}");
    }

    #[test]
    fn accounts_whose_keys_everybody_knows_are_in_no_public_genesis() {
        let (known, own) = (DEV_ACCOUNTS[3].0, Address::repeat_byte(0x77));
        let public = |change: &dyn Fn(&mut Genesis)| {
            let mut genesis = good();
            (genesis.chain_id, genesis.development) = (5, false);
            genesis.accounts.retain(|account, _| DEV_ACCOUNTS.iter().all(|(dev, _)| dev != account));
            genesis.validators[0].operator = own;
            genesis.staking.governance = own;
            genesis.beacon.chains = [(own, Commitment { tip: B256::repeat_byte(1), length: 5 })].into();
            change(&mut genesis);
            genesis.check().map_err(|e| e.field)
        };
        assert_eq!(public(&|_| ()), Ok(()));
        let short = |g: &mut Genesis| g.staking.evidence_seconds = TRUSTED_SECONDS - 1;
        assert_eq!(public(&short), Err("staking.evidence_seconds".into()));
        let rich = |g: &mut Genesis| drop(g.accounts.insert(known, GenesisAccount::default()));
        assert_eq!(public(&rich), Err(format!("accounts.{known}")));
        assert_eq!(public(&|g| g.staking.governance = known), Err("staking.governance".into()));
        let chain = Commitment { tip: B256::repeat_byte(1), length: 5 };
        let operator = |g: &mut Genesis| {
            g.validators[0].operator = known;
            g.beacon.chains = [(known, chain)].into();
        };
        assert_eq!(public(&operator), Err("validators[0].operator".into()));
        let said = |g: &mut Genesis| {
            rich(g);
            g.development = true;
        };
        assert_eq!(public(&said), Ok(()));
    }

    #[test]
    fn each_validator_has_a_beacon_chain_unless_a_network_for_development_has_none_at_all() {
        let chain = Commitment { tip: B256::repeat_byte(1), length: 5 };
        let missing = |change: &dyn Fn(&mut Genesis)| {
            let mut genesis = good();
            let key = ed25519_dalek::SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes();
            let operator = DEV_ACCOUNTS[1].0;
            let second = GenesisValidator { operator, consensus_key: ConsensusKey(key.into()), power: 10 };
            genesis.validators.push(second);
            change(&mut genesis);
            genesis.check().map_err(|e| e.field)
        };
        let named = |i: usize| Err(format!("beacon.chains.{}", DEV_ACCOUNTS[i].0));
        assert_eq!(missing(&|_| ()), Ok(()), "a network for development");
        assert_eq!(missing(&|g| g.chain_id = 5), named(0));
        assert_eq!(missing(&|g| g.beacon.chains.extend([(DEV_ACCOUNTS[0].0, chain)])), named(1));
        let all = |g: &mut Genesis| {
            g.chain_id = 5;
            g.beacon.chains = [0, 1].map(|i| (DEV_ACCOUNTS[i].0, chain)).into();
        };
        assert_eq!(missing(&all), Ok(()));
        let exported = Some(Exported::default());
        assert_eq!(missing(&|g| (g.chain_id, g.exported) = (5, exported.clone())), Ok(()), "it has them already");
    }
}
