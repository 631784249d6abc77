//! What genesis fixed for the whole chain, as it is kept in the chain's own store.

use alloy_rlp::{Decodable, Encodable, Header};

use crate::{error::StoreError, fees::FeeParams, genesis::Genesis};

/// Key in the chain's store.
pub const KEY: &[u8] = b"params";

const VERSION: u64 = 1;

/// Parameters of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// For signatures.
    pub chain_id: u64,
    /// For gas.
    pub fees: FeeParams,
}

impl From<&Genesis> for Params {
    fn from(genesis: &Genesis) -> Self {
        Self { chain_id: genesis.chain_id, fees: genesis.fees.clone() }
    }
}

impl Params {
    /// The stored bytes: a list that begins with its version.
    pub fn encode(&self) -> Vec<u8> {
        let fees = &self.fees;
        let fields = [
            VERSION,
            self.chain_id,
            fees.block_gas_limit,
            fees.initial_base_fee,
            fees.min_base_fee,
            fees.base_fee_denominator,
            fees.elasticity,
        ];
        let mut out = Vec::new();
        Header { list: true, payload_length: fields.iter().map(Encodable::length).sum() }.encode(&mut out);
        fields.iter().for_each(|field| field.encode(&mut out));
        out
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// When the bytes are of another form.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, StoreError> {
        let bad = |e: alloy_rlp::Error| StoreError::corrupt("read the parameters", e);
        let mut list = Header::decode_bytes(&mut bytes, true).map_err(bad)?;
        let mut next = || u64::decode(&mut list).map_err(bad);
        let version = next()?;
        if version != VERSION {
            return Err(StoreError::new("read the parameters", format!("unknown version {version}")));
        }
        Ok(Self {
            chain_id: next()?,
            fees: FeeParams {
                block_gas_limit: next()?,
                initial_base_fee: next()?,
                min_base_fee: next()?,
                base_fee_denominator: next()?,
                elasticity: next()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_the_store() {
        let params = Params { chain_id: 7, fees: FeeParams { elasticity: 3, ..FeeParams::default() } };
        assert_eq!(Params::decode(&params.encode()).unwrap(), params);
        assert!(Params::decode(&params.encode()[..5]).is_err());
    }
}
