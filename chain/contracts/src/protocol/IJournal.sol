// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {JOURNAL} from "./Addresses.sol";

/// @title Where to look for a contract's events: the blocks in which there was something about a key.
/// @dev A node gives the events of a few thousand blocks at a time, and none of blocks that it has dropped. Whoever asks for what
/// concerns one asset, one account or one committee finds here which blocks to ask for.
interface IJournal {
    /// @notice Writes this block down for one of the caller's own keys.
    function note(bytes32 key) external;

    /// @notice How many blocks `writer` has written down for `key`. The protocol's contracts write for an asset, a committee, an
    /// account (in the low 20 bytes), and the registry for everything under zero.
    function entryCount(address writer, bytes32 key) external view returns (uint256);

    /// @notice At most `count` of them, newest first, the newest `skip` left out. Each block is there once.
    function entriesOf(address writer, bytes32 key, uint256 skip, uint256 count)
        external
        view
        returns (uint64[] memory blocks);
}

IJournal constant BLOCKS = IJournal(JOURNAL);

/// The key of an account.
function keyOfAccount(address account) pure returns (bytes32) {
    return bytes32(uint256(uint160(account)));
}

/// The key of what others did for an account, where that is kept apart: gifts, loans.
function keyOfOthers(address account) pure returns (bytes32) {
    return keccak256(abi.encode("others", account));
}
