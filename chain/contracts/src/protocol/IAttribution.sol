// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ATTRIBUTION} from "./Addresses.sol";

/// @title  Where an asset's revenue goes.
/// @notice Four steps, and each moves money inside the books only, but for the last:
///         `pay` (to the asset; waits for CHALLENGE) → `release` (what waited goes up the lineage) → `divide` (an asset's
///         own part goes to the holders of its ownership receipts) → `claim` (an account takes what is its own).
///         Anybody may take the middle steps for anybody. Every unit that was paid is in exactly one place. A token of
///         address zero means the native coin; each token has books of its own.
interface IAttribution {
    /// @notice Revenue of `asset` came in; it can be released from `ripe` on (seconds since 1970).
    event Paid(bytes32 indexed asset, address indexed token, address indexed from, uint256 amount, uint256 ripe);
    /// @notice Of `amount` that waited at `asset`, `own` stays its own and the rest went to its ancestors.
    event Released(bytes32 indexed asset, address indexed token, uint256 amount, uint256 own);
    /// @notice This much of what `asset` earned is `account`'s.
    event Credited(address indexed account, bytes32 indexed asset, address indexed token, uint256 amount);
    /// @notice `account` took what is its own.
    event Claimed(address indexed account, address indexed token, address to, uint256 amount);

    /// @notice Nothing is here for this account; `release` and `divide` come first.
    error NothingToClaim(address account);
    /// @notice The account was recovered, and this is its heir, who alone claims for it, with `claimFor`.
    error Succeeded(address account, address heir);
    /// @notice The receiver refused the coin; name another with `claimTo`.
    error Refused(address to);
    /// @notice The token kept everything.
    error NothingArrived(address token);

    /// @notice Pays the value to `asset`, which must be registered. Never calls anybody.
    function pay(bytes32 asset) external payable;

    /// @notice Pays a token to `asset`, which the caller has allowed this contract to take; what arrives counts.
    /// @return arrived how much that is
    function payToken(bytes32 asset, address token, uint256 amount) external returns (uint256 arrived);

    /// @notice Sends what has waited long enough up the lineage. At most `most` hours' worth at a time.
    /// @return amount how much that was
    function release(bytes32 asset, address token, uint256 most) external returns (uint256 amount);

    /// @notice Credits what is the asset's own to the holders of its ownership receipts, or to its owner if there are none.
    /// @return amount how much that was
    function divide(bytes32 asset, address token) external returns (uint256 amount);

    /// @notice Releases up to 500 hours' worth of each of these assets in the native coin, divides it, then claims.
    function claimFrom(bytes32[] calldata assets) external returns (uint256 amount);

    /// @notice Takes what is the caller's, in the native coin.
    function claim() external returns (uint256 amount);

    /// @notice Takes what is the caller's in this token, to another account.
    function claimTo(address token, address to) external returns (uint256 amount);

    /// @notice As the heir of `account`, which its guardians have recovered: takes what is that account's.
    function claimFor(address account, address token, address to) external returns (uint256 amount);

    /// @notice What `claim` would take for this account, in the native coin.
    function claimable(address account) external view returns (uint256);

    /// @notice What `claimTo` would take for this account in this token.
    function claimableIn(address account, address token) external view returns (uint256);

    /// @notice What `release` would move now, what waits in the challenge window, and what `divide` would.
    function waiting(bytes32 asset, address token) external view returns (uint256 ripe, uint256 unripe, uint256 own);
}

IAttribution constant REVENUE = IAttribution(ATTRIBUTION);
