//! Blocks as Ethereum sees them: header, transactions, receipts; how they are stored and found.

use std::sync::Arc;

use alloy_consensus::{Header, ReceiptEnvelope};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

use crate::{
    error::StoreError,
    store::{Batch, Reader, Table},
    tx::Tx,
};

/// What execution found out about a transaction, beside its receipt.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct TxFacts {
    /// Who signed it.
    pub sender: Address,
    /// Gas it used.
    pub gas_used: u64,
    /// The contract it made, or zero.
    pub contract: Address,
}

/// A block with everything known about it.
#[derive(Clone, Debug)]
pub struct Block {
    /// Keccak of the header.
    pub hash: B256,
    /// The header.
    pub header: Header,
    /// Transactions that were executed.
    pub txs: Vec<Arc<Tx>>,
    /// Their receipts.
    pub receipts: Vec<ReceiptEnvelope>,
    /// What else is known of them.
    pub facts: Vec<TxFacts>,
}

/// The stored form, beside the header, which has a table of its own. A field is only ever added at the end, with a new
/// format of the store.
#[derive(RlpEncodable, RlpDecodable)]
struct Stored {
    txs: Vec<Bytes>,
    receipts: Vec<Bytes>,
    facts: Vec<TxFacts>,
}

impl Block {
    /// Puts the block and its indexes into `batch`.
    pub fn store(&self, batch: &mut Batch) {
        let number = self.header.number.to_be_bytes();
        let receipts = self.receipts.iter().map(|r| Bytes::from(alloy_rlp::encode(r))).collect();
        let txs = self.txs.iter().map(|tx| tx.bytes.clone()).collect();
        let stored = Stored { txs, receipts, facts: self.facts.clone() };
        let mut encoded = Vec::with_capacity(stored.length());
        stored.encode(&mut encoded);
        batch.put(Table::Blocks, number, encoded);
        store_header(&self.header, batch);
        for (index, tx) in (0u32..).zip(&self.txs) {
            let place = [number.as_slice(), index.to_be_bytes().as_slice()].concat();
            batch.put(Table::Transactions, tx.hash.as_slice(), place);
        }
    }
}

/// The block at `height`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn block_at(reader: &dyn Reader, height: u64) -> Result<Option<Block>, StoreError> {
    let Some(bytes) = reader.get(Table::Blocks, &height.to_be_bytes())? else { return Ok(None) };
    let bad = |e: String| StoreError::corrupt("read a block", e);
    let header = header_at(reader, height)?.ok_or_else(|| bad("its header is missing".into()))?;
    let stored = Stored::decode(&mut bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
    if stored.txs.len() != stored.facts.len() || stored.txs.len() != stored.receipts.len() {
        return Err(bad("lists of different lengths".into()));
    }
    let txs = stored
        .txs
        .into_iter()
        .zip(&stored.facts)
        .map(|(bytes, facts)| Tx::stored(bytes, facts.sender).map(Arc::new).map_err(|e| bad(e.to_string())));
    let receipts = stored
        .receipts
        .iter()
        .map(|bytes| ReceiptEnvelope::decode(&mut bytes.as_ref()).map_err(|e| bad(e.to_string())));
    Ok(Some(Block {
        hash: header.hash_slow(),
        txs: txs.collect::<Result<_, _>>()?,
        receipts: receipts.collect::<Result<_, _>>()?,
        header,
        facts: stored.facts,
    }))
}

/// Only the header at `height`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn header_at(reader: &dyn Reader, height: u64) -> Result<Option<Header>, StoreError> {
    let Some(bytes) = reader.get(Table::Headers, &height.to_be_bytes())? else { return Ok(None) };
    decode_header(&bytes).map(Some)
}

/// Puts a header and the index by its hash into `batch`, without a block.
pub fn store_header(header: &Header, batch: &mut Batch) {
    let number = header.number.to_be_bytes();
    let encoded = alloy_rlp::encode(header);
    batch.put(Table::BlockHeights, keccak256(&encoded).as_slice(), number);
    batch.put(Table::Headers, number, encoded);
}

/// Reads a stored header.
///
/// # Errors
/// When the bytes are no header.
pub fn decode_header(mut bytes: &[u8]) -> Result<Header, StoreError> {
    Header::decode(&mut bytes).map_err(|e| StoreError::corrupt("read a header", e))
}

/// Removes the block at `height`, its header and what points to it.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn forget(reader: &dyn Reader, height: u64, batch: &mut Batch) -> Result<(), StoreError> {
    let number = height.to_be_bytes();
    if let Some(bytes) = reader.get(Table::Blocks, &number)? {
        let stored = Stored::decode(&mut bytes.as_slice()).map_err(|e| StoreError::corrupt("read a block", e))?;
        for tx in &stored.txs {
            batch.delete(Table::Transactions, keccak256(tx).as_slice());
        }
        batch.delete(Table::Blocks, number);
    }
    if let Some(hash) = hash_at(reader, height)? {
        batch.delete(Table::BlockHeights, hash.as_slice());
        batch.delete(Table::Headers, number);
    }
    Ok(())
}

/// The height of the lowest block that is kept.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn lowest(reader: &dyn Reader) -> Result<Option<u64>, StoreError> {
    reader.first_key(Table::Blocks)?.map(|key| number(&key).map(u64::from_be_bytes)).transpose()
}

/// The hash of the block at `height`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn hash_at(reader: &dyn Reader, height: u64) -> Result<Option<B256>, StoreError> {
    Ok(reader.get(Table::Headers, &height.to_be_bytes())?.map(keccak256))
}

/// The height of the block with `hash`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn height_of(reader: &dyn Reader, hash: B256) -> Result<Option<u64>, StoreError> {
    let bytes = reader.get(Table::BlockHeights, hash.as_slice())?;
    bytes.map(|b| number(&b).map(u64::from_be_bytes)).transpose()
}

/// Height and index of the transaction with `hash`.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn place_of(reader: &dyn Reader, hash: B256) -> Result<Option<(u64, usize)>, StoreError> {
    let Some(bytes) = reader.get(Table::Transactions, hash.as_slice())? else { return Ok(None) };
    let (height, index) = bytes.split_at_checked(8).ok_or_else(|| StoreError::corrupt("read a place", "too short"))?;
    let index = usize::try_from(u32::from_be_bytes(number(index)?)).unwrap_or(usize::MAX);
    Ok(Some((u64::from_be_bytes(number(height)?), index)))
}

fn number<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::corrupt("read a number", format!("{} bytes", bytes.len())))
}
