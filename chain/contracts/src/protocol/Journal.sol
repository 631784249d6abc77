// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IJournal} from "./IJournal.sol";

/// @title Keeps what IJournal promises. Each writer has keys of its own, so that anybody may write and nobody for another.
contract Journal is IJournal {
    mapping(address writer => mapping(bytes32 key => uint64[])) private blocks;

    /// @inheritdoc IJournal
    function note(bytes32 key) external {
        uint64[] storage all = blocks[msg.sender][key];
        uint256 length = all.length;
        if (length == 0 || all[length - 1] != block.number) all.push(uint64(block.number));
    }

    /// @inheritdoc IJournal
    function entryCount(address writer, bytes32 key) external view returns (uint256) {
        return blocks[writer][key].length;
    }

    /// @inheritdoc IJournal
    function entriesOf(address writer, bytes32 key, uint256 skip, uint256 count)
        external
        view
        returns (uint64[] memory found)
    {
        uint64[] storage all = blocks[writer][key];
        uint256 left = all.length > skip ? all.length - skip : 0;
        found = new uint64[](count < left ? count : left);
        for (uint256 i = 0; i < found.length; i++) {
            found[i] = all[left - 1 - i];
        }
    }
}
