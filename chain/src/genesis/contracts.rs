//! The contracts that a chain begins with: their compiled code, as `contracts/genesis.sh` wrote it from the sources.

use alloy_primitives::{Address, B256, Bytes};
use serde::Deserialize;

use super::GenesisAccount;

/// One contract of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProtocolContract {
    /// What it is called in `contracts/src/protocol`.
    pub name: String,
    /// Where it lives, on every chain.
    pub address: Address,
    /// Its code as it runs.
    pub code: Bytes,
    /// Keccak-256 of that.
    pub code_hash: B256,
}

/// The file that the sources are compiled to; a test of the contracts compiles them again and compares.
const FILE: &str = include_str!("../../contracts/genesis.json");

/// The contracts of the protocol, by address.
///
/// # Errors
/// When the file that this program was built with is damaged.
pub fn protocol_contracts() -> Result<Vec<ProtocolContract>, serde_json::Error> {
    serde_json::from_str(FILE)
}

/// The same as accounts of a genesis; none if the file is damaged, which a test excludes.
pub(super) fn accounts() -> impl Iterator<Item = (Address, GenesisAccount)> {
    protocol_contracts().unwrap_or_default().into_iter().map(|contract| {
        (contract.address, GenesisAccount { nonce: 1, code: contract.code, ..GenesisAccount::default() })
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    /// The longest code that a contract may have (EIP-170).
    const MAX_CODE: usize = 24_576;

    #[test]
    fn each_contract_is_where_programs_look_for_it_and_could_have_been_deployed() {
        use sahara_market::{
            ASSET_REGISTRY, ATTRIBUTION, IDENTITY, INFERENCE_MARKET, JOURNAL, LICENCES, OPERATORS, OWNERSHIP_RECEIPTS,
            PRIVACY_BUDGET,
        };
        let contracts = protocol_contracts().unwrap();
        let places = contracts.iter().map(|contract| (contract.name.as_str(), contract.address)).collect::<Vec<_>>();
        let expected = [
            ("AssetRegistry", ASSET_REGISTRY),
            ("OwnershipReceipts", OWNERSHIP_RECEIPTS),
            ("Licences", LICENCES),
            ("Attribution", ATTRIBUTION),
            ("Operators", OPERATORS),
            ("InferenceMarket", INFERENCE_MARKET),
            ("Identity", IDENTITY),
            ("PrivacyBudget", PRIVACY_BUDGET),
            ("Journal", JOURNAL),
        ];
        assert_eq!(places, expected);
        for contract in contracts {
            assert!((1..=MAX_CODE).contains(&contract.code.len()), "{}: {}", contract.name, contract.code.len());
            assert_eq!(keccak256(&contract.code), contract.code_hash, "{}", contract.name);
        }
    }
}
