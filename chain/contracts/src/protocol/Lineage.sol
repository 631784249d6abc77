// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ALL} from "./Types.sol";

/// @title Flattens what an asset is derived from into one list of ancestors and their shares of its revenue.
library Lineage {
    /// Different ancestors of one asset.
    uint256 internal constant LIMIT = 64;

    struct Builder {
        bytes32[] assets;
        uint16[] bps;
        uint256 length;
    }

    function start() internal pure returns (Builder memory) {
        return Builder(new bytes32[](LIMIT), new uint16[](LIMIT), 0);
    }

    /// Adds a parent that gets `share` and passes on of it what its own lineage asks. False when that is too many.
    function add(Builder memory line, bytes32 parent, uint256 share, bytes32[] memory above, uint16[] memory aboveBps)
        internal
        pure
        returns (bool)
    {
        uint256 left = share;
        for (uint256 i; i < above.length; ++i) {
            uint256 part = share * aboveBps[i] / ALL;
            left -= part;
            if (!credit(line, above[i], part)) return false;
        }
        return credit(line, parent, left);
    }

    /// The lists, as long as they came to be.
    function finish(Builder memory line) internal pure returns (bytes32[] memory assets, uint16[] memory bps) {
        (assets, bps) = (line.assets, line.bps);
        uint256 length = line.length;
        assembly ("memory-safe") {
            mstore(assets, length)
            mstore(bps, length)
        }
    }

    function credit(Builder memory line, bytes32 asset, uint256 bps) private pure returns (bool) {
        uint256 slot;
        while (slot < line.length && line.assets[slot] != asset) ++slot;
        if (slot == LIMIT) return false;
        if (slot == line.length) (line.assets[slot], line.length) = (asset, slot + 1);
        // Together they are at most all: the caller checks the parents' shares, and each is only passed on.
        line.bps[slot] += uint16(bps);
        return true;
    }
}
