//! The table of native contracts without state.

use alloy_primitives::Address;

use super::{committee, native::Native};

/// Native contracts without state.
pub const ALL: &[Native] = &[committee::NATIVE];

/// The native contract at `address`.
pub fn at(address: Address) -> Option<&'static Native> {
    ALL.iter().find(|contract| contract.address == address)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use proptest::prelude::*;

    use super::*;
    use crate::evm::native::Frame;

    #[test]
    fn addresses_are_in_our_range_and_none_occurs_twice() {
        for (i, contract) in ALL.iter().enumerate() {
            let number = U256::from_be_bytes(contract.address.into_word().0);
            assert!((U256::from(0x0a00)..U256::from(0x0b00)).contains(&number), "{}", contract.name);
            assert!(ALL[..i].iter().all(|other| other.address != contract.address), "{}", contract.name);
            assert!(contract.base_gas > 0 && contract.max_input > 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_order(input in proptest::collection::vec(any::<u8>(), 0..1000), gas in 0u64..200_000) {
            for contract in ALL {
                let (used, _) = contract.call(&Frame::default(), &input, gas);
                prop_assert!(used <= gas, "{}", contract.name);
            }
        }
    }
}
