//! State as revm reads and writes it.
#![expect(
    clippy::disallowed_types,
    reason = "revm hands over changes in its own map; the view sorts them, so its order decides nothing"
)]

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, map::AddressMap};
use revm::{
    Database, DatabaseCommit,
    primitives::hardfork::SpecId,
    state::{Account as EvmAccount, AccountInfo, Bytecode},
};

use crate::{
    error::StoreError,
    state::{Account, StateView},
};

/// A view of state with the code that was analysed for it.
pub struct EvmState<'a> {
    view: &'a mut StateView,
    analysed: BTreeMap<B256, Bytecode>,
    /// A commit cannot fail in revm's interface: a failure waits here.
    failed: Option<StoreError>,
    /// Whether empty accounts vanish when they are touched (EIP-161: always on this chain).
    clears: bool,
}

impl<'a> EvmState<'a> {
    pub fn new(view: &'a mut StateView, spec: SpecId) -> Self {
        let clears = spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
        Self { view, analysed: BTreeMap::new(), failed: None, clears }
    }

    pub fn view(&mut self) -> &mut StateView {
        self.view
    }

    pub fn failure(&mut self) -> Result<(), StoreError> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn apply(&mut self, address: Address, changed: EvmAccount) -> Result<(), StoreError> {
        if !changed.is_touched() {
            return Ok(());
        }
        if changed.is_selfdestructed() || (self.clears && changed.is_empty()) {
            self.view.remove_account(address);
            return Ok(());
        }
        if changed.is_created() {
            self.view.wipe_storage(address);
        }
        if let Some(code) = changed.info.code.filter(|code| !code.is_empty()) {
            let raw = code.original_bytes();
            if self.analysed.insert(changed.info.code_hash, code).is_none() {
                self.view.add_code(raw);
            }
        }
        let account = Account {
            nonce: changed.info.nonce,
            balance: changed.info.balance,
            code_hash: if changed.info.code_hash.is_zero() { KECCAK256_EMPTY } else { changed.info.code_hash },
            ..Account::default()
        };
        self.view.set_account(address, account)?;
        for (slot, word) in changed.storage {
            if word.is_changed() {
                self.view.set_slot(address, slot, word.present_value);
            }
        }
        Ok(())
    }
}

impl Database for EvmState<'_> {
    type Error = StoreError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        Ok(self.view.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: None,
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, StoreError> {
        if let Some(code) = self.analysed.get(&hash) {
            return Ok(code.clone());
        }
        let code =
            Bytecode::new_raw_checked(self.view.code(hash)?).map_err(|e| StoreError::corrupt("analyse code", e))?;
        self.analysed.insert(hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        self.view.slot(address, slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, StoreError> {
        self.view.block_hash(number)
    }
}

impl DatabaseCommit for EvmState<'_> {
    fn commit(&mut self, changes: AddressMap<EvmAccount>) {
        // The map's order is random; the view sorts, so the outcome is not.
        for (address, changed) in changes {
            if let Err(e) = self.apply(address, changed) {
                self.failed.get_or_insert(e);
            }
        }
    }
}
