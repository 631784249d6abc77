//! The beacon as Solidity asks it: a native contract that only answers. Its state is the staking contract's.

use alloy_primitives::{Address, Bytes, U256, address};
use alloy_sol_types::{SolCall, sol};

use super::state::{self, Chain};
use crate::{
    error::StoreError,
    evm::abi::{self, words_out},
    staking::storage::Storage,
};

/// Where it lives.
pub const ADDRESS: Address = address!("0x0000000000000000000000000000000000000A20");

/// Price of a call: five words of storage at most.
pub const GAS: u64 = 12_000;

/// Longer calls are refused before they are copied.
pub const MAX_INPUT: usize = 4 + 32;

sol! {
    /// `contracts/src/IBeacon.sol` has the same with explanations.
    interface IBeacon {
        function current() external view;
        function valueOf(uint256 epoch) external view;
        function epochBlocks() external view;
        function chainOf(address operator) external view;
    }
}

const CURRENT: [u8; 4] = IBeacon::currentCall::SELECTOR;
const VALUE_OF: [u8; 4] = IBeacon::valueOfCall::SELECTOR;
const EPOCH_BLOCKS: [u8; 4] = IBeacon::epochBlocksCall::SELECTOR;
const CHAIN_OF: [u8; 4] = IBeacon::chainOfCall::SELECTOR;

/// Answers a call in the block at `height`, or says why not.
///
/// # Errors
/// When the store fails; what the contract refuses is the inner error, with the reason of its revert.
pub fn run(
    storage: &mut impl Storage,
    height: u64,
    input: &[u8],
) -> std::result::Result<std::result::Result<Bytes, &'static str>, StoreError> {
    let Some((selector, arguments)) = abi::split(input) else { return Ok(Err("no such function")) };
    let now = state::epoch_of(storage, height)?;
    let out = match selector {
        CURRENT => {
            let value = state::value(storage, now, now)?.unwrap_or_default();
            vec![U256::from(now), value.into()]
        }
        VALUE_OF => {
            let epoch = match arguments.small(0) {
                Ok(epoch) => epoch,
                Err(e) => return Ok(Err(e.reason())),
            };
            match state::value(storage, epoch, now)? {
                Some(value) => vec![value.into()],
                None if epoch > now => return Ok(Err("this epoch has not begun")),
                None => return Ok(Err("the value of this epoch is no longer kept")),
            }
        }
        EPOCH_BLOCKS => vec![U256::from(state::epoch_blocks(storage)?)],
        CHAIN_OF => {
            let operator = match arguments.address(0) {
                Ok(operator) => operator,
                Err(e) => return Ok(Err(e.reason())),
            };
            let chain = Chain::load(storage, operator)?.at(now);
            let (next, from) = chain.next.map_or((U256::ZERO, 0), |(next, from)| (next.tip.into(), from));
            vec![chain.tip.into(), U256::from(chain.left), next, U256::from(from)]
        }
        _ => return Ok(Err("no such function")),
    };
    Ok(Ok(words_out(&out)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_the_interface() {
        for (name, selector) in [
            ("current()", CURRENT),
            ("valueOf(uint256)", VALUE_OF),
            ("epochBlocks()", EPOCH_BLOCKS),
            ("chainOf(address)", CHAIN_OF),
        ] {
            assert_eq!(abi::selector(name), selector, "{name}: {}", alloy_primitives::hex::encode(abi::selector(name)));
        }
    }
}
