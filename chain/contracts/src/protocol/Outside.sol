// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// @title ERC-3009, as far as it is used: payments that somebody else submits.
interface IERC3009 {
    /// @notice Moves `value` from `from` to `to`, which must be the caller, with `from`'s signature.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;
}

/// @title What Licences asks of the market.
interface IServedAt {
    /// @notice When work on `asset` was last settled, in seconds since 1970; zero for never.
    function servedAt(bytes32 asset) external view returns (uint64);
}
