//! The newest state as a genesis file, from which a new chain goes on at the next height.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};

use super::head::Head;
use crate::{
    beacon::{BeaconParams, state::epoch_blocks},
    error::StoreError,
    evm::system_contracts,
    genesis::{Exported, Genesis, GenesisAccount},
    staking::StakingParams,
    state::{
        Account,
        view::{committed_code, storage_of},
    },
    store::{Reader, Table},
};

/// Accounts that are read at once.
const PAGE: usize = 1_000;

/// What `head` is made of. Heights go on: what stake remembers by height stays true.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn export(head: &Head) -> Result<Genesis, StoreError> {
    let reader = head.reader.as_ref();
    let mut fees = head.params.fees.clone();
    fees.initial_base_fee = head.next_base_fee();
    let mut genesis = Genesis {
        chain_id: head.params.chain_id,
        development: false,
        fees,
        staking: StakingParams::load(&mut head.view())?,
        beacon: BeaconParams { epoch_blocks: epoch_blocks(&mut head.view())?, ..BeaconParams::default() },
        accounts: BTreeMap::new(),
        validators: head.validators.values().cloned().collect(),
        exported: Some(Exported { height: head.height, contracts: BTreeMap::new() }),
    };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = reader.page(Table::Accounts, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(genesis) };
        after = Some(last.clone());
        for (key, value) in &page {
            let address =
                Address::try_from(key.as_slice()).map_err(|e| StoreError::corrupt("read the key of an account", e))?;
            let mut account = read(reader, address, &Account::decode(value)?)?;
            match genesis.exported.as_mut().filter(|_| system_contracts().contains(&address)) {
                Some(exported) => {
                    // Every chain has them; what they remember is its own.
                    account.code = Default::default();
                    account.nonce = 0;
                    exported.contracts.insert(address, account);
                }
                None => {
                    genesis.accounts.insert(address, account);
                }
            }
        }
    }
}

fn read(reader: &dyn Reader, address: Address, account: &Account) -> Result<GenesisAccount, StoreError> {
    let storage: BTreeMap<U256, U256> = storage_of(reader, address)?;
    let code = committed_code(reader, account.code_hash)?;
    Ok(GenesisAccount { balance: account.balance, nonce: account.nonce, code, storage })
}
