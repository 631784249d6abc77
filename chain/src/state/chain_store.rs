//! The chain's own store: plain keys and values, committed to by a Jellyfish Merkle tree (SHA-256), whose proofs are
//! ICS-23 and so mean something to other chains.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use jmt::{
    KeyHash, OwnedValue, RootHash, Sha256Jmt, Version,
    storage::{HasPreimage, LeafNode, Node, NodeKey, TreeReader},
};
use sha2::{Digest, Sha256};

use crate::{
    error::StoreError,
    store::{Batch, Entry, Reader, Table},
};

/// The root of a tree without values.
pub const EMPTY_TREE: B256 = B256::new(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__");

/// Changes to the chain's store: `None` removes.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The committed value of `key`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn get(reader: &dyn Reader, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    reader.get(Table::ChainState, key)
}

/// Puts `changes` into `batch` as version `height` and gives the new root. Heights follow each other without gaps.
///
/// # Errors
/// When the store cannot be read, or has no version before this one.
pub fn update(reader: &dyn Reader, height: u64, changes: &Changes, batch: &mut Batch) -> Result<B256, StoreError> {
    let view = Nodes { reader };
    let tree = Sha256Jmt::new(&view);
    let hashed = changes.iter().map(|(key, value)| (key_hash(key), value.clone()));
    let (RootHash(root), update) =
        tree.put_value_set(hashed, height).map_err(|e| StoreError::new("update the chain's tree", e))?;
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(Table::ChainState, key.clone(), value.clone()),
            None => batch.delete(Table::ChainState, key.clone()),
        }
    }
    for (key, node) in update.node_batch.nodes() {
        let encoded = borsh::to_vec(node).map_err(|e| StoreError::new("encode a node", e))?;
        batch.put(Table::TreeNodes, node_key(key)?, encoded);
    }
    let names: BTreeMap<[u8; 32], &[u8]> = changes.keys().map(|key| (key_hash(key).0, key.as_slice())).collect();
    for ((version, hash), value) in update.node_batch.values() {
        match (value, names.get(&hash.0)) {
            (Some(value), Some(name)) => batch.put(Table::TreeValues, hash.0, leaf_row(*version, name, value)?),
            _ => batch.delete(Table::TreeValues, hash.0),
        }
    }
    for stale in &update.stale_node_index_batch {
        batch.delete(Table::TreeNodes, node_key(&stale.node_key)?);
    }
    Ok(B256::from(root))
}

/// The root of version `height` in `reader`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn root(reader: &dyn Reader, height: u64) -> Result<B256, StoreError> {
    let view = Nodes { reader };
    let root = Sha256Jmt::new(&view).get_root_hash(height);
    root.map(|RootHash(root)| B256::from(root)).map_err(|e| StoreError::new("find the root of the chain's tree", e))
}

/// Puts the tree of all `values` into `batch` as version `height`, as if nothing had been there, and gives its root.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn rebuild(height: u64, values: Vec<Entry>, batch: &mut Batch) -> Result<B256, StoreError> {
    let changes = values.into_iter().map(|(key, value)| (key, Some(value))).collect();
    update(&Nothing, height, &changes, batch)
}

/// A store with nothing but the root of an empty tree, whatever the version before.
struct Nothing;

impl Reader for Nothing {
    fn get(&self, table: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if table != Table::TreeNodes {
            return Ok(None);
        }
        borsh::to_vec(&Node::Null).map(Some).map_err(|e| StoreError::new("encode a node", e))
    }

    fn scan(&self, _: Table, _: &[u8]) -> Result<Vec<Entry>, StoreError> {
        Ok(vec![])
    }
}

pub(super) fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(Sha256::digest(key).into())
}

fn node_key(key: &NodeKey) -> Result<Vec<u8>, StoreError> {
    borsh::to_vec(key).map_err(|e| StoreError::new("encode the key of a node", e))
}

/// What the tree's leaves stand for, one row for each key, by its hash: version, name, value. Like the nodes, values that a
/// block replaces are gone with it; what past states need of them is in the rows of history.
fn leaf_row(version: Version, name: &[u8], value: &OwnedValue) -> Result<Vec<u8>, StoreError> {
    let length = u32::try_from(name.len()).map_err(|e| StoreError::new("encode a value", e))?;
    Ok([version.to_be_bytes().as_slice(), &length.to_be_bytes(), name, value].concat())
}

/// Version, name and value of a row.
fn read_leaf(row: &[u8]) -> Option<(Version, &[u8], &[u8])> {
    let (version, rest) = row.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (name, value) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((Version::from_be_bytes(*version), name, value))
}

/// The tree's nodes as they are stored.
pub(super) struct Nodes<'a> {
    pub reader: &'a dyn Reader,
}

impl TreeReader for Nodes<'_> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let Some(bytes) = self.reader.get(Table::TreeNodes, &node_key(key)?)? else { return Ok(None) };
        Ok(Some(borsh::from_slice(&bytes)?))
    }

    fn get_value_option(&self, max: Version, hash: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        let Some(row) = self.reader.get(Table::TreeValues, &hash.0)? else { return Ok(None) };
        let (version, _, value) = read_leaf(&row).ok_or_else(damaged)?;
        Ok((version <= max).then(|| value.to_vec()))
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("only asked for while restoring a tree, which this store does from values")
    }
}

impl HasPreimage for Nodes<'_> {
    /// The name of a key: a proof of absence shows the neighbours by theirs.
    fn preimage(&self, hash: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(row) = self.reader.get(Table::TreeValues, &hash.0)? else { return Ok(None) };
        let (_, name, _) = read_leaf(&row).ok_or_else(damaged)?;
        Ok(Some(name.to_vec()))
    }
}

fn damaged() -> StoreError {
    StoreError::corrupt("read a value of the chain's tree", "wrong form")
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{
        state::proof::prove_key,
        store::{MemoryStore, Store},
    };

    /// Counts what is read, and refuses to list anything.
    struct Counting {
        inner: Arc<dyn Reader>,
        reads: AtomicUsize,
    }

    impl Reader for Counting {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.inner.get(table, key)
        }

        fn scan(&self, table: Table, _: &[u8]) -> Result<Vec<Entry>, StoreError> {
            Err(StoreError::new("list a table", format!("{table:?}")))
        }
    }

    #[test]
    fn a_proof_costs_the_same_after_many_blocks_and_the_tables_do_not_grow() {
        let store = MemoryStore::default();
        let measure = |height: u64| {
            let inner = store.reader().unwrap();
            let rows = [Table::TreeValues, Table::TreeNodes].map(|table| inner.scan(table, b"").unwrap().len());
            let counting = Counting { inner, reads: AtomicUsize::new(0) };
            let present = prove_key(&counting, height, b"block").unwrap().0;
            assert_eq!(present.as_deref(), Some(height.to_be_bytes().as_slice()));
            assert_eq!(prove_key(&counting, height, b"absent").unwrap().0, None);
            (rows, counting.reads.into_inner())
        };
        let mut early = None;
        for height in 0..500u64 {
            let mut changes = Changes::from([(b"block".to_vec(), Some(height.to_be_bytes().to_vec()))]);
            if height == 0 {
                changes.extend((0u8..9).map(|i| (vec![i], Some(vec![i]))));
            }
            let mut batch = Batch::default();
            update(store.reader().unwrap().as_ref(), height, &changes, &mut batch).unwrap();
            store.write(&batch).unwrap();
            if height == 3 {
                early = Some(measure(height));
            }
        }
        assert_eq!(Some(measure(499)), early);
    }

    #[test]
    fn the_root_depends_on_content_only_and_old_nodes_go() {
        let build = |steps: &[&[(&str, Option<&str>)]]| {
            let store = MemoryStore::default();
            let mut root = EMPTY_TREE;
            for (height, step) in steps.iter().enumerate() {
                let changes =
                    step.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.map(|v| v.as_bytes().to_vec()))).collect();
                let mut batch = Batch::default();
                root = update(store.reader().unwrap().as_ref(), height as u64, &changes, &mut batch).unwrap();
                store.write(&batch).unwrap();
            }
            (root, store.reader().unwrap().scan(Table::TreeNodes, b"").unwrap().len())
        };
        let (one, nodes_one) = build(&[&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]]);
        let (two, nodes_two) = build(&[
            &[("a", Some("9")), ("d", Some("4"))],
            &[("c", Some("3")), ("d", None)],
            &[("a", Some("1")), ("b", Some("2"))],
        ]);
        assert_eq!(one, two);
        assert_eq!(nodes_one, nodes_two);
        assert_ne!(one, EMPTY_TREE);
        for height in [0, 1, 70] {
            let store = MemoryStore::default();
            let values = [("a", "1"), ("b", "2"), ("c", "3")].map(|(k, v)| (k.as_bytes().to_vec(), v.into()));
            let mut batch = Batch::default();
            assert_eq!(rebuild(height, values.to_vec(), &mut batch).unwrap(), one);
            store.write(&batch).unwrap();
            // And it goes on from there.
            let changes = [(b"a".to_vec(), None), (b"d".to_vec(), Some(b"4".to_vec()))].into_iter().collect();
            let mut batch = Batch::default();
            update(store.reader().unwrap().as_ref(), height + 1, &changes, &mut batch).unwrap();
            store.write(&batch).unwrap();
            let changes = [(b"a".to_vec(), Some(b"1".to_vec())), (b"d".to_vec(), None)].into_iter().collect();
            let root = update(store.reader().unwrap().as_ref(), height + 2, &changes, &mut Batch::default()).unwrap();
            assert_eq!(root, one);
        }
    }
}
