//! What a contract says when it refuses, in words.

use alloy_primitives::hex;
use alloy_sol_types::{Panic, Revert, SolError, SolInterface};
use sahara_market::abi::AssetRegistry::AssetRegistryErrors;
use sahara_market::abi::Attribution::AttributionErrors;
use sahara_market::abi::InferenceMarket::InferenceMarketErrors;
use sahara_market::abi::Licences::LicencesErrors;
use sahara_market::abi::Operators::OperatorsErrors;

/// Most bytes of a refusal that nobody knows.
const SHOWN: usize = 68;
/// Most characters of one.
const MAX_WORDS: usize = 300;

/// A refusal's data in words: its reason, or the contract's own error by its name and what it says.
pub fn words(data: &[u8]) -> String {
    let words = if let Ok(reason) = Revert::abi_decode_validate(data) {
        reason.reason
    } else if let Ok(panic) = Panic::abi_decode_validate(data) {
        panic.to_string()
    } else {
        named(data).unwrap_or_else(|| format!("0x{}", hex::encode(&data[..data.len().min(SHOWN)])))
    };
    words.chars().take(MAX_WORDS).collect()
}

fn named(data: &[u8]) -> Option<String> {
    // Errors that two contracts have in common look alike in both.
    of::<InferenceMarketErrors>(data)
        .or_else(|| of::<LicencesErrors>(data))
        .or_else(|| of::<OperatorsErrors>(data))
        .or_else(|| of::<AssetRegistryErrors>(data))
        .or_else(|| of::<AttributionErrors>(data))
}

fn of<E: SolInterface + std::fmt::Debug>(data: &[u8]) -> Option<String> {
    let error = E::abi_decode_validate(data).ok()?;
    // `Variant(Name { field: value, … })`: what is within says it.
    let text = format!("{error:?}");
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'))?;
    Some(inner.replace(" { ", "(").replace(" }", ")"))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, U256};
    use sahara_market::abi::{InferenceMarket, Licences};

    use super::*;

    #[test]
    fn the_contracts_own_errors_are_told_by_name_with_what_they_say() {
        let over = InferenceMarket::OverCap { total: U256::from(12), cap: U256::from(10) }.abi_encode();
        assert_eq!(words(&over), "OverCap(total: 12, cap: 10)");
        assert!(words(&InferenceMarket::WrongLanes {}.abi_encode()).starts_with("WrongLanes"));
        let above = Licences::PriceAbove { price: U256::from(3), most: U256::from(2) }.abi_encode();
        assert_eq!(words(&above), "PriceAbove(price: 3, most: 2)");
        let bonded = InferenceMarket::NotBonded { operator: Address::ZERO, bond: U256::ZERO }.abi_encode();
        assert!(words(&bonded).starts_with("NotBonded(operator: 0x0000"), "{}", words(&bonded));
        let twice = InferenceMarket::SeatedBefore { committee: B256::repeat_byte(0xab) }.abi_encode();
        assert!(words(&twice).contains("abababab"));
    }

    #[test]
    fn other_refusals_are_told_as_they_are() {
        assert_eq!(words(&Revert::from("no").abi_encode()), "no");
        assert!(words(&Panic::from(alloy_sol_types::PanicKind::UnderOverflow).abi_encode()).contains("overflow"));
        assert_eq!(words(&[1, 2, 3, 4]), "0x01020304");
        assert_eq!(words(&[9; 5000]).len(), 2 + 2 * SHOWN);
        assert!(words(&Revert::from("x".repeat(5000)).abi_encode()).len() == MAX_WORDS);
    }
}
