// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title Storage slot 0 of Licences. Share nodes prove its words, so this comes first among the contract's ancestors.
abstract contract FirstSlot {
    /// Zero, or since when a licence is withdrawn.
    mapping(uint256 licence => uint256 since) internal withdrawals;
}
