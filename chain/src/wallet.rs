//! Signs Ethereum transactions with a secret key. Where the key is kept is its caller's business.

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEnvelope,
    crypto::secp256k1::{recover_signer, sign_message},
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use zeroize::Zeroize;

/// A secret key on one chain, wiped when it goes.
#[derive(Clone)]
pub struct Wallet {
    secret: B256,
    address: Address,
    chain_id: u64,
}

impl Drop for Wallet {
    fn drop(&mut self) {
        self.secret.0.zeroize();
    }
}

/// The bytes are not a secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a secp256k1 secret key: it must be between 1 and the order of the curve")]
pub struct BadSecret;

/// What most transactions say.
#[derive(Clone, Debug, Default)]
pub struct Payment {
    /// Number of transactions sent before.
    pub nonce: u64,
    /// Whom; `None` creates a contract.
    pub to: Option<Address>,
    /// How much.
    pub value: U256,
    /// Call data.
    pub input: Bytes,
    /// Gas it may use.
    pub gas_limit: u64,
    /// The most it pays a gas.
    pub max_fee: u128,
    /// What the proposer gets of that.
    pub tip: u128,
}

impl Wallet {
    /// A wallet with `secret` on the chain with `chain_id`.
    ///
    /// # Errors
    /// When the secret is none for secp256k1.
    pub fn new(secret: B256, chain_id: u64) -> Result<Self, BadSecret> {
        let signature = sign_message(secret, B256::ZERO).map_err(|_| BadSecret)?;
        let address = recover_signer(&signature, B256::ZERO).map_err(|_| BadSecret)?;
        Ok(Self { secret, address, chain_id })
    }

    /// Whose it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// A signed EIP-1559 transaction.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn pay(&self, payment: &Payment) -> Result<Bytes, BadSecret> {
        self.sign(TxEip1559 {
            chain_id: self.chain_id,
            nonce: payment.nonce,
            gas_limit: payment.gas_limit,
            max_fee_per_gas: payment.max_fee,
            max_priority_fee_per_gas: payment.tip,
            to: payment.to.map_or(TxKind::Create, TxKind::Call),
            value: payment.value,
            input: payment.input.clone(),
            access_list: Default::default(),
        })
    }

    /// Any transaction, signed.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign<T>(&self, tx: T) -> Result<Bytes, BadSecret>
    where
        T: SignableTransaction<alloy_primitives::Signature>,
        TxEnvelope: From<alloy_consensus::Signed<T>>,
    {
        let signature = self.sign_hash(tx.signature_hash())?;
        Ok(TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into())
    }

    /// A signature over `hash`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign_hash(&self, hash: B256) -> Result<alloy_primitives::Signature, BadSecret> {
        sign_message(self.secret, hash).map_err(|_| BadSecret)
    }
}
