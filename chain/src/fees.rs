//! The price of gas: EIP-1559 on gas used, tuned for blocks of about a second, never under a floor.

use alloy_eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use serde::{Deserialize, Serialize};

/// Fees in the genesis file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeParams {
    /// Gas a block can hold.
    pub block_gas_limit: u64,
    /// Base fee of the first block, in the smallest unit.
    pub initial_base_fee: u64,
    /// The base fee never goes below this.
    pub min_base_fee: u64,
    /// A full block raises the base fee by one part in this many. Ethereum has 8 for 12 s, so 96 for 1 s.
    pub base_fee_denominator: u64,
    /// A block of one part in this many of the limit leaves the base fee as it is.
    pub elasticity: u64,
}

impl Default for FeeParams {
    fn default() -> Self {
        Self {
            block_gas_limit: 100_000_000,
            initial_base_fee: 1_000_000_000,
            min_base_fee: 10_000_000,
            base_fee_denominator: 96,
            elasticity: 2,
        }
    }
}

impl FeeParams {
    /// The base fee of the block after one that used `gas_used` at `base_fee`.
    pub fn next_base_fee(&self, gas_used: u64, base_fee: u64) -> u64 {
        let params = BaseFeeParams::new(self.base_fee_denominator.into(), self.elasticity.into());
        calc_next_block_base_fee(gas_used, self.block_gas_limit, base_fee, params).max(self.min_base_fee)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_block_moves_the_fee_by_its_bound_at_most(used in 0u64..=100_000_000, fee in 10_000_000u64..1_000_000_000_000_000) {
            let params = FeeParams::default();
            let next = params.next_base_fee(used, fee);
            let bound = fee / params.base_fee_denominator + 1;
            prop_assert!(next >= params.min_base_fee);
            prop_assert!(next.abs_diff(fee) <= bound);
        }
    }
}
