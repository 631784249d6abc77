// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// Randomness that no proposer chooses. A native contract at 0x0000000000000000000000000000000000000a20.
/// Call it directly: it refuses DELEGATECALL.
///
/// Blocks are counted in epochs. The value of an epoch mixes what the validators of the epoch before had to show, fixed
/// long before; from the epoch's first block on everybody knows it, and every PREVRANDAO in it.
///
/// To draw fairly: let everybody commit in epoch E, then draw from `valueOf(E + 2)`. The value of E + 1 is already being
/// made in E. A validator can influence a value by one bit for each of its turns that it forfeits, so do not hang more on
/// one draw than such turns are worth. Never draw from a block hash: its proposer chooses that.
interface IBeacon {
    /// The epoch of this block, and its value.
    function current() external view returns (uint256 epoch, bytes32 value);
    /// The value of `epoch`: reverts before it begins, and when it is more than 4095 epochs old.
    function valueOf(uint256 epoch) external view returns (bytes32);
    /// Blocks in an epoch: that of block `n` is `n / epochBlocks()`.
    function epochBlocks() external view returns (uint256);
    /// The hash chain of an operator's validator: its tip, how many preimages it can still show, and the tip that replaces
    /// it from which epoch on (zero, if none was announced).
    function chainOf(address operator)
        external
        view
        returns (bytes32 tip, uint256 left, bytes32 nextTip, uint256 fromEpoch);
}

IBeacon constant BEACON = IBeacon(0x0000000000000000000000000000000000000A20);
