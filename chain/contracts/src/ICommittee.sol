// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// Did enough of a committee sign this digest? A native contract at 0x0000000000000000000000000000000000000A00.
interface ICommittee {
    /// @param digest     what was signed, 32 bytes as they are
    /// @param keys       ed25519 keys of the committee, 64 at most, none twice
    /// @param signers    bit i says that keys[i] signed
    /// @param signatures 64 bytes for each set bit, lowest first
    /// @param threshold  how many must have signed, at least one
    /// @return whether at least `threshold` signed and every signature holds
    /// Costs 2,000 gas and 3,000 for each signature. Reverts with a reason if the arguments make no sense.
    function verify(
        bytes32 digest,
        bytes32[] calldata keys,
        uint256 signers,
        bytes calldata signatures,
        uint256 threshold
    ) external view returns (bool);
}

ICommittee constant COMMITTEE = ICommittee(0x0000000000000000000000000000000000000A00);
