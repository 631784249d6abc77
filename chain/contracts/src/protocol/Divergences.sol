// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title Rényi divergences at 32 orders: sums that never fall short, and the ε that they amount to.
library Divergences {
    /// Orders.
    uint256 internal constant COUNT = 32;
    /// What no divergence of one job is above: it stands for all that is larger.
    uint64 internal constant MAX_COST = 2 ** 48 - 1;
    /// Four times each order, two bytes each.
    bytes private constant QUARTERS =
        hex"00050006000700080009000a000c000e0010001200140018001c002000240028003000380040005000600070008000a000c000e0010001400180020004000800";
    /// For each order α the nano of ln α / (α - 1) - ln(1 - 1/α), rounded down: four bytes each.
    bytes private constant GAINS =
        hex"9521acd571d14e685efa26d452a12c5949b3f69542db925f38e8a73431ec6ad02cb0bce0289802cb25486b35203a05aa1c84dbae19aa59a61764198b1587866712a6a86d1084663e0edd33e90c7487560ac5cf7b098616e2088e5906072598cc062a0dfc056fb43e04df9846040e5271037ce64e02bea38c0187892d00d81ca2";
    /// The nano of ln 1 to ln 32, rounded up: four bytes each.
    bytes private constant LOGARITHMS =
        hex"000000002950962d417b7e4152a12c5a5fee12d96acc146e73fc3b867bf1c28682f6fc82893ea9058eecfa69941caa9a98e2056e9d4cd1b2a169911aa54258b3a8df67a1ac4792aeaf8092c4b28f3f32b577b9c6b83d9096bae3d848bd6d40c7bfdc25b1c2329b9bc4727ac3c69d67dfc8b4db56caba2746ccae7c85ce92eedf";

    /// Four orders a word. A sum that does not fit stays at the largest number: no order is ever counted too low.
    struct Sum {
        uint256[8] words;
        uint64 failure;
    }

    /// Adds a job.
    function add(Sum storage s, uint64[32] calldata costs, uint64 failure) internal {
        for (uint256 i; i < 8; ++i) {
            s.words[i] = joined(s.words[i], costs, i);
        }
        s.failure = plus(s.failure, failure);
    }

    /// Takes a job out that was added.
    function remove(Sum storage s, uint64[32] calldata costs, uint64 failure) internal {
        for (uint256 i; i < 8; ++i) {
            (uint256 word, uint256 left) = (s.words[i], 0);
            for (uint256 j; j < 4; ++j) {
                left |= uint256(minus(uint64(word >> (64 * j)), costs[4 * i + j])) << (64 * j);
            }
            s.words[i] = left;
        }
        s.failure = minus(s.failure, failure);
    }

    /// What is kept, order by order.
    function read(Sum storage s) internal view returns (uint64[32] memory costs) {
        for (uint256 i; i < 8; ++i) {
            uint256 word = s.words[i];
            for (uint256 j; j < 4; ++j) {
                costs[4 * i + j] = uint64(word >> (64 * j));
            }
        }
    }

    /// The ε of these divergences in nano, rounded up: the least that one of the orders gives, each with its part of δ.
    function epsilon(uint64[32] memory costs, uint64 logInverseDelta, uint32 orders) internal pure returns (uint256) {
        uint256 number;
        for (uint256 bits = orders; bits != 0; bits &= bits - 1) {
            ++number;
        }
        // Nothing was learned at all.
        if (costs[COUNT - 1] == 0) return 0;
        uint256 log = logInverseDelta + four(LOGARITHMS, number - 1);
        uint256 least = type(uint256).max;
        bytes memory quarters = QUARTERS;
        bytes memory gains = GAINS;
        for (uint256 i; i < COUNT; ++i) {
            if (orders >> i & 1 == 0) continue;
            uint256 above = two(quarters, i) - 4;
            uint256 whole = costs[i] + (4 * log + above - 1) / above;
            uint256 gain = four(gains, i);
            uint256 here = whole > gain ? whole - gain : 0;
            if (here < least) least = here;
        }
        return least;
    }

    function quarter(uint256 i) internal pure returns (uint16) {
        return uint16(two(QUARTERS, i));
    }

    function joined(uint256 word, uint64[32] calldata costs, uint256 i) private pure returns (uint256 sum) {
        for (uint256 j; j < 4; ++j) {
            sum |= uint256(plus(uint64(word >> (64 * j)), costs[4 * i + j])) << (64 * j);
        }
    }

    function plus(uint64 a, uint64 b) private pure returns (uint64) {
        unchecked {
            return a > type(uint64).max - b ? type(uint64).max : a + b;
        }
    }

    /// What was full once stays full: nobody knows how much was above.
    function minus(uint64 a, uint64 b) private pure returns (uint64) {
        return a == type(uint64).max ? a : a - b;
    }

    function two(bytes memory table, uint256 i) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(240, mload(add(add(table, 32), mul(i, 2))))
        }
    }

    function four(bytes memory table, uint256 i) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(224, mload(add(add(table, 32), mul(i, 4))))
        }
    }
}
