//! State during a block: committed values underneath, changes on top. Nothing is stored before [`StateView::seal`]'s
//! batch is written, and dropping a view forgets its changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

use super::{
    Account, StoreRoots, chain_store, size,
    trie::{self, EMPTY_ROOT, NodeSource},
};
use crate::{
    error::StoreError,
    store::{Batch, Reader, Table},
};

/// Committed state with changes on top.
#[derive(Clone)]
pub struct StateView {
    reader: Arc<dyn Reader>,
    /// Accounts that were read or written; `None` does not exist.
    accounts: BTreeMap<Address, Option<Account>>,
    slots: BTreeMap<(Address, U256), U256>,
    codes: BTreeMap<B256, Bytes>,
    hashes: BTreeMap<u64, B256>,
    changed_accounts: BTreeSet<Address>,
    changed_slots: BTreeSet<(Address, U256)>,
    /// Accounts whose committed storage no longer counts.
    wiped: BTreeSet<Address>,
    chain: chain_store::Changes,
}

impl StateView {
    /// What `reader` shows, without changes.
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self {
            reader,
            accounts: BTreeMap::new(),
            slots: BTreeMap::new(),
            codes: BTreeMap::new(),
            hashes: BTreeMap::new(),
            changed_accounts: BTreeSet::new(),
            changed_slots: BTreeSet::new(),
            wiped: BTreeSet::new(),
            chain: BTreeMap::new(),
        }
    }

    /// The store underneath.
    pub fn reader(&self) -> &Arc<dyn Reader> {
        &self.reader
    }

    /// The account at `address`, if there is one.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn account(&mut self, address: Address) -> Result<Option<Account>, StoreError> {
        if let Some(known) = self.accounts.get(&address) {
            return Ok(known.clone());
        }
        let mut account = committed_account(self.reader.as_ref(), address)?;
        if let (Some(account), true) = (account.as_mut(), self.wiped.contains(&address)) {
            account.storage_root = EMPTY_ROOT;
        }
        self.accounts.insert(address, account.clone());
        Ok(account)
    }

    /// Sets the account at `address`. Its storage root is kept, whatever `account` says: slots decide it.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn set_account(&mut self, address: Address, mut account: Account) -> Result<(), StoreError> {
        account.storage_root = self.account(address)?.map_or(EMPTY_ROOT, |old| old.storage_root);
        self.accounts.insert(address, Some(account));
        self.changed_accounts.insert(address);
        Ok(())
    }

    /// Removes the account at `address` with its storage.
    pub fn remove_account(&mut self, address: Address) {
        self.wipe_storage(address);
        self.accounts.insert(address, None);
        self.changed_accounts.insert(address);
    }

    /// Forgets all storage of `address`.
    pub fn wipe_storage(&mut self, address: Address) {
        let slots = (address, U256::ZERO)..=(address, U256::MAX);
        let known: Vec<(Address, U256)> = self.slots.range(slots).map(|(key, _)| *key).collect();
        for key in known {
            self.slots.remove(&key);
            self.changed_slots.remove(&key);
        }
        self.wiped.insert(address);
        if let Some(Some(account)) = self.accounts.get_mut(&address) {
            account.storage_root = EMPTY_ROOT;
        }
    }

    /// The word in `slot` of `address`.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn slot(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if let Some(known) = self.slots.get(&(address, slot)) {
            return Ok(*known);
        }
        let value = if self.wiped.contains(&address) {
            U256::ZERO
        } else {
            committed_slot(self.reader.as_ref(), address, slot)?
        };
        self.slots.insert((address, slot), value);
        Ok(value)
    }

    /// Sets the word in `slot` of `address`.
    pub fn set_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.slots.insert((address, slot), value);
        self.changed_slots.insert((address, slot));
    }

    /// The code whose hash is `hash`.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn code(&self, hash: B256) -> Result<Bytes, StoreError> {
        if hash == KECCAK256_EMPTY {
            return Ok(Bytes::new());
        }
        match self.codes.get(&hash) {
            Some(code) => Ok(code.clone()),
            None => committed_code(self.reader.as_ref(), hash),
        }
    }

    /// Keeps `code` and gives its hash.
    pub fn add_code(&mut self, code: Bytes) -> B256 {
        let hash = keccak256(&code);
        if !code.is_empty() {
            self.codes.insert(hash, code);
        }
        hash
    }

    /// Sets a value of the chain's own store; `None` removes it.
    pub fn set_chain_value(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        self.chain.insert(key.to_vec(), value);
    }

    /// The hash of a recent block, for the `BLOCKHASH` instruction.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn block_hash(&mut self, number: u64) -> Result<B256, StoreError> {
        if let Some(hash) = self.hashes.get(&number) {
            return Ok(*hash);
        }
        let hash = crate::block::hash_at(self.reader.as_ref(), number)?.unwrap_or_default();
        self.hashes.insert(number, hash);
        Ok(hash)
    }

    /// Supposes that the block at `number` has `hash`.
    pub fn set_block_hash(&mut self, number: u64, hash: B256) {
        self.hashes.insert(number, hash);
    }

    /// How many accounts and words are changed.
    pub fn changed(&self) -> usize {
        self.changed_accounts.len() + self.changed_slots.len()
    }

    /// Root of the EVM's accounts with all changes, and the batch that stores them.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn evm_root(&mut self) -> Result<(B256, Batch), StoreError> {
        let mut batch = Batch::default();
        for address in &self.wiped {
            for (key, _) in self.reader.scan(Table::Storage, address.as_slice())? {
                batch.delete(Table::Storage, key);
            }
            for (key, _) in self.reader.scan(Table::TrieNodes, &storage_owner(*address))? {
                batch.delete(Table::TrieNodes, key);
            }
        }
        let root = self.put_changes(&mut batch)?;
        Ok((root, batch))
    }

    /// The same root for whoever stores nothing: what is wiped is not read to be removed.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn supposed_root(&mut self) -> Result<B256, StoreError> {
        self.put_changes(&mut Batch::default())
    }

    /// Puts all changes but what is wiped into `batch`; gives the root after them.
    fn put_changes(&mut self, batch: &mut Batch) -> Result<B256, StoreError> {
        for (address, slots) in self.slots_by_account() {
            let root = self.write_storage(address, &slots, batch)?;
            match self.account(address)? {
                // Storage of an account that is gone: it was wiped with it.
                None => continue,
                Some(mut account) => {
                    account.storage_root = root;
                    self.accounts.insert(address, Some(account));
                    self.changed_accounts.insert(address);
                }
            }
        }
        let mut leaves = BTreeMap::new();
        for address in &self.changed_accounts {
            let encoded = self.accounts.get(address).and_then(Option::as_ref).map(Account::encode);
            match &encoded {
                Some(encoded) => batch.put(Table::Accounts, address.as_slice(), encoded.clone()),
                None => batch.delete(Table::Accounts, address.as_slice()),
            }
            leaves.insert(keccak256(address), encoded);
        }
        for (hash, code) in &self.codes {
            batch.put(Table::Code, hash.as_slice(), code.to_vec());
        }
        let source = StoredTrie { reader: self.reader.as_ref(), owner: vec![ACCOUNTS], empty: false };
        let update = trie::update(&source, &leaves)?;
        write_nodes(&source.owner, &update, batch);
        Ok(update.root)
    }

    /// Adds the chain's own store at `height` to `batch` and gives all roots.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn seal(&self, height: u64, evm: B256, batch: &mut Batch) -> Result<StoreRoots, StoreError> {
        let mut chain = self.chain.clone();
        size::count(self.reader.as_ref(), &mut chain, batch)?;
        let chain = chain_store::update(self.reader.as_ref(), height, &chain, batch)?;
        Ok(StoreRoots { chain, evm, ibc: chain_store::EMPTY_TREE })
    }

    /// The same for the state before the first block, which has nothing underneath.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn seal_first(&self, height: u64, evm: B256, batch: &mut Batch) -> Result<StoreRoots, StoreError> {
        let mut chain = self.chain.clone();
        size::count(self.reader.as_ref(), &mut chain, batch)?;
        let values = chain.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let chain = chain_store::rebuild(height, values.collect(), batch)?;
        Ok(StoreRoots { chain, evm, ibc: chain_store::EMPTY_TREE })
    }

    fn slots_by_account(&self) -> BTreeMap<Address, Vec<(U256, U256)>> {
        let mut grouped: BTreeMap<Address, Vec<(U256, U256)>> = BTreeMap::new();
        for key in &self.changed_slots {
            let value = self.slots.get(key).copied().unwrap_or_default();
            grouped.entry(key.0).or_default().push((key.1, value));
        }
        grouped
    }

    fn write_storage(&self, address: Address, slots: &[(U256, U256)], batch: &mut Batch) -> Result<B256, StoreError> {
        let mut leaves = BTreeMap::new();
        for (slot, value) in slots {
            let key = storage_key(address, *slot);
            match value.is_zero() {
                true => batch.delete(Table::Storage, key),
                false => batch.put(Table::Storage, key, value.to_be_bytes::<32>()),
            }
            let leaf = (!value.is_zero()).then(|| alloy_rlp::encode(value));
            leaves.insert(keccak256(slot.to_be_bytes::<32>()), leaf);
        }
        let empty = self.wiped.contains(&address);
        let source = StoredTrie { reader: self.reader.as_ref(), owner: storage_owner(address), empty };
        let update = trie::update(&source, &leaves)?;
        write_nodes(&source.owner, &update, batch);
        Ok(update.root)
    }
}

/// An account as committed in `reader`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn committed_account(reader: &dyn Reader, address: Address) -> Result<Option<Account>, StoreError> {
    reader.get(Table::Accounts, address.as_slice())?.map(|bytes| Account::decode(&bytes)).transpose()
}

/// A storage word as committed in `reader`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn committed_slot(reader: &dyn Reader, address: Address, slot: U256) -> Result<U256, StoreError> {
    let word = reader.get(Table::Storage, &storage_key(address, slot))?;
    Ok(word.map_or(U256::ZERO, |bytes| U256::from_be_slice(&bytes)))
}

/// All storage of an account as committed in `reader`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn storage_of(reader: &dyn Reader, address: Address) -> Result<BTreeMap<U256, U256>, StoreError> {
    let words = reader.scan(Table::Storage, address.as_slice())?;
    let word = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let slot = key.get(20..).filter(|slot| slot.len() == 32 && value.len() == 32);
        let slot = slot.ok_or_else(|| StoreError::corrupt("read a storage word", "wrong length"))?;
        Ok((U256::from_be_slice(slot), U256::from_be_slice(value)))
    };
    words.iter().map(word).collect()
}

/// Code as committed in `reader`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn committed_code(reader: &dyn Reader, hash: B256) -> Result<Bytes, StoreError> {
    if hash == KECCAK256_EMPTY {
        return Ok(Bytes::new());
    }
    let code = reader.get(Table::Code, hash.as_slice())?;
    code.map(Bytes::from).ok_or_else(|| StoreError::corrupt("read code", format!("none with hash {hash}")))
}

/// Proof of an account against the EVM's root in `reader`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn prove_account(reader: &dyn Reader, address: Address) -> Result<Vec<Bytes>, StoreError> {
    let source = StoredTrie { reader, owner: vec![ACCOUNTS], empty: false };
    trie::prove(&source, &keccak256(address))
}

/// Proof of a storage word against its account's storage root in `reader`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn prove_slot(reader: &dyn Reader, address: Address, slot: U256) -> Result<Vec<Bytes>, StoreError> {
    let source = StoredTrie { reader, owner: storage_owner(address), empty: false };
    trie::prove(&source, &keccak256(slot.to_be_bytes::<32>()))
}

/// Owner of the accounts' trie; storage tries are owned by `STORAGE` and the address.
const ACCOUNTS: u8 = 0;
const STORAGE: u8 = 1;

fn storage_owner(address: Address) -> Vec<u8> {
    [&[STORAGE], address.as_slice()].concat()
}

fn storage_key(address: Address, slot: U256) -> Vec<u8> {
    [address.as_slice(), slot.to_be_bytes::<32>().as_slice()].concat()
}

fn write_nodes(owner: &[u8], update: &trie::Update, batch: &mut Batch) {
    for (path, node) in &update.nodes {
        let key = [owner, path].concat();
        match node {
            Some(node) => batch.put(Table::TrieNodes, key, node.clone()),
            None => batch.delete(Table::TrieNodes, key),
        }
    }
}

struct StoredTrie<'a> {
    reader: &'a dyn Reader,
    owner: Vec<u8>,
    empty: bool,
}

impl NodeSource for StoredTrie<'_> {
    fn node(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.empty {
            return Ok(None);
        }
        self.reader.get(Table::TrieNodes, &[&self.owner, path].concat())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::address;

    use super::*;
    use crate::store::{MemoryStore, Store};

    const ALICE: Address = address!("0x00000000000000000000000000000000000a11ce");

    fn commit(store: &MemoryStore, view: &mut StateView) -> B256 {
        let (root, batch) = view.evm_root().unwrap();
        store.write(&batch).unwrap();
        root
    }

    #[test]
    fn wiping_and_rewriting_leaves_what_a_fresh_account_has() {
        let rich = Account { nonce: 1, ..Account::default() };
        let with = |steps: &dyn Fn(&mut StateView)| {
            let store = MemoryStore::default();
            let mut view = StateView::new(store.reader().unwrap());
            view.set_account(ALICE, rich.clone()).unwrap();
            view.set_slot(ALICE, U256::from(1), U256::from(7));
            view.set_slot(ALICE, U256::from(3), U256::from(7));
            commit(&store, &mut view);
            let mut view = StateView::new(store.reader().unwrap());
            steps(&mut view);
            let root = commit(&store, &mut view);
            let reader = store.reader().unwrap();
            (root, reader.scan(Table::TrieNodes, b"").unwrap(), reader.scan(Table::Storage, b"").unwrap())
        };
        let wiped = with(&|view| {
            view.remove_account(ALICE);
            view.set_account(ALICE, rich.clone()).unwrap();
            view.set_slot(ALICE, U256::from(2), U256::from(9));
        });
        let cleared = with(&|view| {
            assert_eq!(view.slot(ALICE, U256::from(1)).unwrap(), U256::from(7));
            view.set_slot(ALICE, U256::from(1), U256::ZERO);
            view.set_slot(ALICE, U256::from(3), U256::ZERO);
            view.set_slot(ALICE, U256::from(2), U256::from(9));
        });
        assert_eq!(wiped, cleared);
        let gone = with(&|view| view.remove_account(ALICE));
        assert_eq!(gone, (EMPTY_ROOT, vec![], vec![]));
    }
}
