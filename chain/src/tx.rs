//! A transaction: its canonical bytes, its hash and its sender. Bytes become a [`Tx`] once, at whichever door they come
//! in first; from there on the value travels, and the same bytes at another door are known by comparing them.
#![expect(
    clippy::disallowed_types,
    reason = "the cache is only looked up, never walked through: its order decides nothing"
)]

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_consensus::{
    SignableTransaction, Transaction as _, TxEip1559, TxEnvelope, crypto::secp256k1, transaction::SignerRecoverable,
};
use alloy_eips::{
    eip2718::{Decodable2718, Encodable2718, Typed2718},
    eip7702::SignedAuthorization,
};
use alloy_primitives::{Address, B256, Bytes, Signature, U256, keccak256};

/// Longer transactions are refused before anything is decoded. Geth has the same limit.
pub const MAX_TX_BYTES: usize = 128 * 1024;

/// The type of EIP-4844: blobs have no place on a chain that is not a settlement layer.
const BLOB_TYPE: u8 = 3;

/// A decoded transaction whose signature is valid.
#[derive(Clone, Debug)]
pub struct Tx {
    /// Keccak of the bytes.
    pub hash: B256,
    /// Who signed it.
    pub sender: Address,
    /// The fields.
    pub envelope: TxEnvelope,
    /// As it was sent.
    pub bytes: Bytes,
    /// Whom its authorizations would delegate, once somebody had to know.
    pub(crate) authorities: OnceLock<Box<[Authority]>>,
}

/// An account that a transaction would make run code in its name (EIP-7702), if the account is at this nonce then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Who signed the authorization.
    pub address: Address,
    /// The account's nonce, as the authorization has it: at any other it has no effect.
    pub nonce: u64,
}

/// Why bytes are not a transaction of this chain. The words are those of Ethereum's nodes: tools look for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Over [`MAX_TX_BYTES`].
    #[error("oversized data: transaction size {0}, limit {MAX_TX_BYTES}")]
    TooLong(usize),
    /// Not RLP, or bytes behind it.
    #[error("rlp: {0}")]
    Malformed(String),
    /// A type this chain does not take.
    #[error("transaction type not supported: {0}")]
    Type(u8),
    /// The signature gives no sender.
    #[error("invalid sender: the signature does not recover a key")]
    Signature,
    /// Signed for every chain there is (before EIP-155): whoever saw it elsewhere could play it here.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// In the transaction.
        have: u64,
        /// Of this chain.
        want: u64,
    },
}

impl Tx {
    /// Decodes `bytes` and recovers the sender.
    ///
    /// # Errors
    /// When the bytes are no transaction of this chain, or its signature is none.
    pub fn decode(bytes: &[u8], chain_id: u64) -> Result<Self, TxError> {
        check_length(bytes)?;
        Self::decode_with(bytes, chain_id, false)
    }

    fn decode_with(bytes: &[u8], chain_id: u64, unsigned: bool) -> Result<Self, TxError> {
        let mut rest = bytes;
        let envelope = TxEnvelope::decode_2718(&mut rest).map_err(|e| TxError::Malformed(e.to_string()))?;
        if !rest.is_empty() {
            return Err(TxError::Malformed(format!("{} bytes behind the transaction", rest.len())));
        }
        if envelope.ty() == BLOB_TYPE {
            return Err(TxError::Type(BLOB_TYPE));
        }
        // There must be one encoding only, or one signed transaction would have several hashes.
        if envelope.encoded_2718() != bytes {
            return Err(TxError::Malformed("not in canonical form".into()));
        }
        match envelope.chain_id() {
            None => return Err(TxError::Unprotected),
            Some(have) if have != chain_id => return Err(TxError::ChainId { have, want: chain_id }),
            Some(_) => {}
        }
        let sender = match named_sender(&envelope).filter(|_| unsigned) {
            Some(sender) => sender,
            None => envelope.recover_signer().map_err(|_| TxError::Signature)?,
        };
        Ok(Self::new(keccak256(bytes), sender, envelope, Bytes::copy_from_slice(bytes)))
    }

    /// Decodes bytes that were executed before, whose sender is known.
    ///
    /// # Errors
    /// When the bytes are no transaction.
    pub fn stored(bytes: Bytes, sender: Address) -> Result<Self, TxError> {
        let envelope = TxEnvelope::decode_2718(&mut bytes.as_ref()).map_err(|e| TxError::Malformed(e.to_string()))?;
        Ok(Self::new(keccak256(&bytes), sender, envelope, bytes))
    }

    /// A transaction of parts that belong together.
    pub(crate) fn new(hash: B256, sender: Address, envelope: TxEnvelope, bytes: Bytes) -> Self {
        Self { hash, sender, envelope, bytes, authorities: OnceLock::new() }
    }

    /// Whether nobody signed it: its sender is whom it names. See [`unsigned`].
    pub fn is_unsigned(&self) -> bool {
        named_sender(&self.envelope) == Some(self.sender)
    }

    /// What the sender must own for it to be taken: the value and the most it can pay for gas.
    pub fn max_cost(&self) -> U256 {
        let gas = U256::from(self.envelope.gas_limit()) * U256::from(self.envelope.max_fee_per_gas());
        gas.saturating_add(self.envelope.value())
    }

    /// How many authorizations (EIP-7702) it carries, whatever they are worth.
    pub fn authorizations(&self) -> usize {
        self.envelope.authorization_list().map_or(0, <[_]>::len)
    }

    /// The accounts that it could delegate: those whose authorization is for this chain or for all, and can still have an
    /// effect when its turn comes. Each costs the recovery of a signature, once however often this is asked: ask only of a
    /// transaction whose sender can pay for its gas, and never while others wait for a lock.
    pub fn authorities(&self) -> &[Authority] {
        self.authorities.get_or_init(|| {
            let signed = self.envelope.authorization_list().unwrap_or_default();
            signed.iter().filter_map(|authorization| self.authority(authorization)).collect()
        })
    }

    /// The same if it costs nothing: there is no authorization, or [`Self::authorities`] was asked before.
    pub fn known_authorities(&self) -> Option<&[Authority]> {
        match self.authorizations() {
            0 => Some(&[]),
            _ => self.authorities.get().map(AsRef::as_ref),
        }
    }

    fn authority(&self, authorization: &SignedAuthorization) -> Option<Authority> {
        let (chain_id, nonce) = (authorization.chain_id, authorization.nonce);
        let here = chain_id.is_zero() || self.envelope.chain_id().is_some_and(|own| chain_id == U256::from(own));
        if !here || nonce == u64::MAX {
            return None;
        }
        let signature = authorization.signature().ok()?;
        let address = secp256k1::recover_signer(&signature, authorization.signature_hash()).ok()?;
        // Its own sender has the next nonce by then.
        (address != self.sender || nonce > self.envelope.nonce()).then_some(Authority { address, nonce })
    }
}

/// `fields` as a transaction of `sender`, who signed nothing. The signature says so in a form that no key makes: the
/// address, and the number one. Only a ledger for development takes it.
pub fn unsigned(fields: TxEip1559, sender: Address) -> TxEnvelope {
    let signature = Signature::new(U256::from_be_slice(sender.as_slice()), U256::ONE, false);
    TxEnvelope::Eip1559(fields.into_signed(signature))
}

/// Who is meant by a transaction that [`unsigned`] made.
fn named_sender(envelope: &TxEnvelope) -> Option<Address> {
    let TxEnvelope::Eip1559(signed) = envelope else { return None };
    let signature = signed.signature();
    let word = signature.r().to_be_bytes::<32>();
    let named = signature.s() == U256::ONE && !signature.v() && word[..12] == [0; 12];
    named.then(|| Address::from_slice(&word[12..]))
}

fn check_length(bytes: &[u8]) -> Result<(), TxError> {
    if bytes.len() > MAX_TX_BYTES {
        return Err(TxError::TooLong(bytes.len()));
    }
    Ok(())
}

/// Decoded transactions by their bytes: what one door has decoded is neither hashed nor recovered again at another, in a
/// proposal, in a vote on it, or in its execution.
pub struct TxCache {
    max_bytes: usize,
    /// Transactions that nobody signed are taken.
    unsigned: bool,
    decodings: AtomicU64,
    inner: Mutex<CacheInner>,
}

#[derive(Default)]
struct CacheInner {
    /// The key is the transaction's own [`Tx::bytes`]. Anybody may choose it, so the table's hash has a secret.
    by_bytes: HashMap<Bytes, Arc<Tx>>,
    /// Oldest first, each with what it weighs.
    order: VecDeque<(Bytes, usize)>,
    bytes: usize,
}

/// What a decoded transaction weighs beside its bytes, which it has twice: as they are, and in its fields.
const OVERHEAD: usize = 500;

/// What `tx` weighs, whoever its authorizations are found to be of.
fn weight(tx: &Tx) -> usize {
    2 * tx.bytes.len() + OVERHEAD + tx.authorizations() * size_of::<Authority>()
}

impl TxCache {
    /// Remembers the last transactions that fit into `max_bytes` of memory.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, unsigned: false, decodings: AtomicU64::new(0), inner: Mutex::default() }
    }

    /// The same for a chain for development, which takes transactions that nobody signed.
    pub fn for_development(self) -> Self {
        Self { unsigned: true, ..self }
    }

    /// The decoded form of `bytes`.
    ///
    /// # Errors
    /// When the bytes are no transaction of this chain, or its signature is none.
    pub fn decode(&self, bytes: &[u8], chain_id: u64) -> Result<Arc<Tx>, TxError> {
        check_length(bytes)?;
        if let Some(known) = self.lock().by_bytes.get(bytes) {
            return Ok(known.clone());
        }
        self.decodings.fetch_add(1, Ordering::Relaxed);
        let tx = Arc::new(Tx::decode_with(bytes, chain_id, self.unsigned)?);
        let mut inner = self.lock();
        if inner.by_bytes.insert(tx.bytes.clone(), tx.clone()).is_none() {
            let weight = weight(&tx);
            inner.order.push_back((tx.bytes.clone(), weight));
            inner.bytes += weight;
        }
        while inner.bytes > self.max_bytes
            && let Some((oldest, weight)) = inner.order.pop_front()
        {
            inner.by_bytes.remove(&oldest);
            inner.bytes -= weight;
        }
        Ok(tx)
    }

    /// How often bytes were decoded that were not known.
    pub fn decodings(&self) -> u64 {
        self.decodings.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CacheInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
