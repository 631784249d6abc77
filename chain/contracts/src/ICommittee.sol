// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

import {InferenceReceipt} from "./InferenceReceipts.sol";

/// @title  Did enough of a committee sign this?
/// @notice A native contract at 0x0000000000000000000000000000000000000A00. Call it directly: it refuses DELEGATECALL,
///         and it takes no value.
/// @dev    A call costs 100 gas, 20 for each key, 6,500 for each signature, and 600 for the digest of a receipt. What
///         makes no sense reverts with a reason: more than 64 keys, a key that occurs twice, a signer outside the list,
///         signatures of the wrong length, a threshold of zero. What makes sense gets `true` or `false`.
interface ICommittee {
    /// @notice Whether at least `threshold` of `keys` signed `receipt` for the calling contract on this chain, and
    ///         every signature that was handed in holds.
    /// @dev    Reverts unless `receipt.committee` is the hash of `keys`. The digest is bound to `msg.sender`, so that
    ///         only the contract for which the committee signed can settle the receipt. That it settles it once, that
    ///         the committee was the right one for the job, and that the price is what was agreed is the caller's part.
    /// @param receipt    what the committee says it has done
    /// @param keys       ed25519 keys of the committee, in the order of `receipt.committee`
    /// @param signers    bit i says that keys[i] signed
    /// @param signatures 64 bytes for each set bit, lowest bit first
    /// @param threshold  how many must have signed, at least one
    function verifyReceipt(
        InferenceReceipt calldata receipt,
        bytes32[] calldata keys,
        uint256 signers,
        bytes calldata signatures,
        uint256 threshold
    ) external view returns (bool holds);

    /// @notice The same for any digest, which each member signed as 32 bytes.
    function verify(
        bytes32 digest,
        bytes32[] calldata keys,
        uint256 signers,
        bytes calldata signatures,
        uint256 threshold
    ) external view returns (bool holds);
}

ICommittee constant COMMITTEE = ICommittee(0x0000000000000000000000000000000000000A00);
