//! Ethereum's Merkle-Patricia trie with 32-byte keys, nodes stored by their path: an update overwrites what it
//! replaces, so exactly one version is kept and nothing needs collecting.
//!
//! A batch of sorted updates is applied in one descent; every node that was touched is hashed once.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Decodable;
pub use alloy_trie::EMPTY_ROOT_HASH as EMPTY_ROOT;
use alloy_trie::{
    Nibbles, TrieMask,
    nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode, TrieNode},
};

use crate::error::StoreError;

/// Where stored nodes come from. A path is one nibble a byte.
pub trait NodeSource {
    /// The RLP of the node at `path`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn node(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A trie without stored nodes.
pub struct NoNodes;

impl NodeSource for NoNodes {
    fn node(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

/// What an update leaves: the new root, and nodes to write (`None`: to remove) by path.
#[derive(Debug)]
pub struct Update {
    /// Root after the update.
    pub root: B256,
    /// Changed nodes.
    pub nodes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// Applies `changes` (key to RLP of the value, `None` to remove) to the trie in `source`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn update(source: &dyn NodeSource, changes: &BTreeMap<B256, Option<Vec<u8>>>) -> Result<Update, StoreError> {
    let changes: Vec<Change> = changes.iter().map(|(key, value)| (nibbles(key), value.clone())).collect();
    let mut work = Work { source, loaded: BTreeSet::new() };
    let root = work.load(&[])?.unwrap_or(Node::Empty);
    let root = work.apply(root, &mut Vec::new(), &changes)?;
    let mut nodes = BTreeMap::new();
    // A root is named by its hash, however short it is.
    encode(&root, &mut Vec::new(), &mut nodes);
    let hash = nodes.get([].as_slice()).and_then(Option::as_ref).map_or(EMPTY_ROOT, keccak256);
    for path in work.loaded {
        nodes.entry(path).or_insert(None);
    }
    Ok(Update { root: hash, nodes })
}

/// The nodes from the root towards `key`, as `eth_getProof` gives them: they show its value, or that it has none.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn prove(source: &dyn NodeSource, key: &B256) -> Result<Vec<Bytes>, StoreError> {
    let key = nibbles(key);
    let mut proof = Vec::new();
    let mut path = Vec::new();
    loop {
        let Some(raw) = source.node(&path)? else { return Ok(proof) };
        let node = decode(&raw)?;
        if path.is_empty() || raw.len() >= 32 {
            proof.push(Bytes::from(raw));
        }
        match node {
            Node::Branch(children) => {
                let Some(&nibble) = key.get(path.len()) else { return Ok(proof) };
                if matches!(children[usize::from(nibble)], Link::None) {
                    return Ok(proof);
                }
                path.push(nibble);
            }
            Node::Extension(part, _) if key[path.len()..].starts_with(&part) => path.extend(part),
            _ => return Ok(proof),
        }
    }
}

type Change = ([u8; 64], Option<Vec<u8>>);

enum Node {
    Empty,
    Leaf(Vec<u8>, Vec<u8>),
    Extension(Vec<u8>, Link),
    Branch(Box<[Link; 16]>),
}

enum Link {
    None,
    /// A child that is only in the store: what its parent refers to it by.
    Stored(RlpNode),
    Fresh(Box<Node>),
}

fn nibbles(key: &B256) -> [u8; 64] {
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(key.as_slice()) {
        pair[0] = byte >> 4;
        pair[1] = byte & 15;
    }
    out
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

struct Work<'a> {
    source: &'a dyn NodeSource,
    loaded: BTreeSet<Vec<u8>>,
}

impl Work<'_> {
    fn load(&mut self, path: &[u8]) -> Result<Option<Node>, StoreError> {
        let Some(raw) = self.source.node(path)? else { return Ok(None) };
        self.loaded.insert(path.to_vec());
        decode(&raw).map(Some)
    }

    fn follow(&mut self, link: Link, path: &[u8]) -> Result<Node, StoreError> {
        match link {
            Link::None => Ok(Node::Empty),
            Link::Fresh(node) => Ok(*node),
            Link::Stored(_) => self
                .load(path)?
                .ok_or_else(|| StoreError::corrupt("follow a trie", format!("no node at path {path:02x?}"))),
        }
    }

    /// `node` sits at `path`; every change's key begins with `path`, in order of keys.
    fn apply(&mut self, node: Node, path: &mut Vec<u8>, changes: &[Change]) -> Result<Node, StoreError> {
        if changes.is_empty() {
            return Ok(node);
        }
        let depth = path.len();
        match node {
            Node::Empty => Ok(build(depth, &changes.iter().filter_map(present).collect::<Vec<_>>())),
            Node::Leaf(rest, value) => {
                let mut key = [0; 64];
                key[..depth].copy_from_slice(path);
                key[depth..].copy_from_slice(&rest);
                let mut all: Vec<(&[u8; 64], &[u8])> = changes.iter().filter_map(present).collect();
                if changes.binary_search_by(|(k, _)| k.cmp(&key)).is_err() {
                    let at = all.partition_point(|(k, _)| **k < key);
                    all.insert(at, (&key, &value));
                }
                Ok(build(depth, &all))
            }
            Node::Extension(part, child) => {
                let shared = changes.iter().map(|(key, _)| common(&key[depth..], &part)).min().unwrap_or(0);
                if shared == part.len() {
                    path.extend_from_slice(&part);
                    let child = self.follow(child, path)?;
                    let child = self.apply(child, path, changes)?;
                    path.truncate(depth);
                    return Ok(prefix(&part, child));
                }
                // The extension forks: a branch takes the place of its nibble at `shared`.
                let tail = &part[shared + 1..];
                let below =
                    if tail.is_empty() { child } else { Link::Fresh(Box::new(Node::Extension(tail.to_vec(), child))) };
                let mut children = empty_branch();
                children[usize::from(part[shared])] = below;
                path.extend_from_slice(&part[..shared]);
                let branch = self.apply(Node::Branch(children), path, changes)?;
                path.truncate(depth);
                Ok(prefix(&part[..shared], branch))
            }
            Node::Branch(mut children) => {
                let mut rest = changes;
                while let Some((first, _)) = rest.first() {
                    let nibble = first[depth];
                    let (group, after) = rest.split_at(rest.partition_point(|(key, _)| key[depth] <= nibble));
                    rest = after;
                    let slot = &mut children[usize::from(nibble)];
                    path.push(nibble);
                    let child = self.follow(std::mem::replace(slot, Link::None), path)?;
                    *slot = match self.apply(child, path, group)? {
                        Node::Empty => Link::None,
                        node => Link::Fresh(Box::new(node)),
                    };
                    path.pop();
                }
                self.collapse(children, path)
            }
        }
    }

    /// A branch needs two children; with one it becomes part of it, with none it is gone.
    fn collapse(&mut self, mut children: Box<[Link; 16]>, path: &mut Vec<u8>) -> Result<Node, StoreError> {
        let mut taken = (0u8..16).filter(|n| !matches!(children[usize::from(*n)], Link::None));
        match (taken.next(), taken.next()) {
            (None, _) => Ok(Node::Empty),
            (Some(_), Some(_)) => Ok(Node::Branch(children)),
            (Some(nibble), None) => {
                path.push(nibble);
                let only = std::mem::replace(&mut children[usize::from(nibble)], Link::None);
                let child = self.follow(only, path)?;
                path.pop();
                Ok(prefix(&[nibble], child))
            }
        }
    }
}

fn present(change: &Change) -> Option<(&[u8; 64], &[u8])> {
    change.1.as_deref().map(|value| (&change.0, value))
}

fn empty_branch() -> Box<[Link; 16]> {
    Box::new([const { Link::None }; 16])
}

/// `node` below the nibbles of `part`.
fn prefix(part: &[u8], node: Node) -> Node {
    if part.is_empty() {
        return node;
    }
    match node {
        Node::Empty => Node::Empty,
        Node::Leaf(rest, value) => Node::Leaf([part, &rest].concat(), value),
        Node::Extension(rest, child) => Node::Extension([part, &rest].concat(), child),
        branch @ Node::Branch(_) => Node::Extension(part.to_vec(), Link::Fresh(Box::new(branch))),
    }
}

/// The trie of `entries`, which are sorted, differ, and agree on their first `depth` nibbles.
fn build(depth: usize, entries: &[(&[u8; 64], &[u8])]) -> Node {
    match entries {
        [] => Node::Empty,
        [(key, value)] => Node::Leaf(key[depth..].to_vec(), value.to_vec()),
        [(first, _), .., (last, _)] => {
            let shared = common(&first[depth..], &last[depth..]);
            let fork = depth + shared;
            let mut children = empty_branch();
            let mut rest = entries;
            while let Some((key, _)) = rest.first() {
                let nibble = key[fork];
                let (group, after) = rest.split_at(rest.partition_point(|(k, _)| k[fork] <= nibble));
                children[usize::from(nibble)] = Link::Fresh(Box::new(build(fork + 1, group)));
                rest = after;
            }
            prefix(&first[depth..fork], Node::Branch(children))
        }
    }
}

/// Writes `node` and its fresh children into `nodes`; gives what a parent refers to it by, if there is a node.
fn encode(node: &Node, path: &mut Vec<u8>, nodes: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Option<RlpNode> {
    let mut raw = Vec::new();
    let reference = match node {
        Node::Empty => return None,
        Node::Leaf(rest, value) => LeafNodeRef::new(&Nibbles::from_nibbles_unchecked(rest), value).rlp(&mut raw),
        Node::Extension(part, child) => {
            let depth = path.len();
            path.extend_from_slice(part);
            let child = encode_link(child, path, nodes)?;
            path.truncate(depth);
            ExtensionNodeRef::new(&Nibbles::from_nibbles_unchecked(part), &child).rlp(&mut raw)
        }
        Node::Branch(children) => {
            let (mut stack, mut mask) = (Vec::with_capacity(children.len()), TrieMask::default());
            for (nibble, child) in (0u8..).zip(children.iter()) {
                path.push(nibble);
                if let Some(child) = encode_link(child, path, nodes) {
                    stack.push(child);
                    mask.set_bit(nibble);
                }
                path.pop();
            }
            BranchNodeRef::new(&stack, mask).rlp(&mut raw)
        }
    };
    nodes.insert(path.clone(), Some(raw));
    Some(reference)
}

fn encode_link(link: &Link, path: &mut Vec<u8>, nodes: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Option<RlpNode> {
    match link {
        Link::None => None,
        Link::Stored(reference) => Some(reference.clone()),
        Link::Fresh(node) => encode(node, path, nodes),
    }
}

fn decode(mut raw: &[u8]) -> Result<Node, StoreError> {
    match TrieNode::decode(&mut raw).map_err(|e| StoreError::corrupt("read a trie node", e))? {
        TrieNode::EmptyRoot => Err(StoreError::corrupt("read a trie node", "it is empty")),
        TrieNode::Leaf(leaf) => Ok(Node::Leaf(leaf.key.to_vec(), leaf.value)),
        TrieNode::Extension(extension) => Ok(Node::Extension(extension.key.to_vec(), Link::Stored(extension.child))),
        TrieNode::Branch(branch) => {
            let mut children = empty_branch();
            for (nibble, child) in branch.state_mask.iter().zip(branch.stack) {
                children[usize::from(nibble)] = Link::Stored(child);
            }
            Ok(Node::Branch(children))
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_trie::{HashBuilder, proof::verify_proof};
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Nodes(BTreeMap<Vec<u8>, Vec<u8>>);

    impl NodeSource for Nodes {
        fn node(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(self.0.get(path).cloned())
        }
    }

    impl Nodes {
        fn apply(&mut self, changes: &BTreeMap<B256, Option<Vec<u8>>>) -> B256 {
            let update = update(self, changes).unwrap();
            for (path, node) in update.nodes {
                match node {
                    Some(node) => self.0.insert(path, node),
                    None => self.0.remove(&path),
                };
            }
            update.root
        }
    }

    fn expected(all: &BTreeMap<B256, Vec<u8>>) -> B256 {
        let mut builder = HashBuilder::default();
        for (key, value) in all {
            builder.add_leaf(Nibbles::unpack(key), value);
        }
        builder.root()
    }

    /// Keys that share long prefixes and values that are short enough to be embedded: the cases that go wrong.
    fn key() -> impl Strategy<Value = B256> {
        (0usize..4, 0u8..4, 0u8..8, any::<bool>()).prop_map(|(place, high, low, spread)| {
            let mut key = B256::repeat_byte(if spread { high << 4 } else { 0 });
            key[place * 10] |= high << 4 | low;
            key[31] = low;
            key
        })
    }

    proptest! {
        #[test]
        fn any_batches_give_the_root_and_proofs_of_another_implementation(
            batches in proptest::collection::vec(
                proptest::collection::btree_map(key(), proptest::option::of(1u8..200), 1..12), 1..8)
        ) {
            let mut nodes = Nodes::default();
            let mut all = BTreeMap::new();
            for batch in &batches {
                let changes: BTreeMap<B256, Option<Vec<u8>>> = batch
                    .iter()
                    .map(|(k, v)| (*k, v.map(|v| if v % 2 == 0 { vec![v; 40] } else { vec![v] })))
                    .collect();
                for (key, value) in &changes {
                    match value {
                        Some(value) => all.insert(*key, value.clone()),
                        None => all.remove(key),
                    };
                }
                let root = nodes.apply(&changes);
                prop_assert_eq!(root, expected(&all));
                // No node is left behind: building from nothing stores the same ones.
                let mut fresh = Nodes::default();
                fresh.apply(&all.iter().map(|(k, v)| (*k, Some(v.clone()))).collect());
                prop_assert_eq!(&fresh.0, &nodes.0);
                for key in batch.keys() {
                    let proof = prove(&nodes, key).unwrap();
                    let value = all.get(key).cloned();
                    prop_assert!(verify_proof(root, Nibbles::unpack(key), value, &proof).is_ok());
                }
            }
        }
    }
}
