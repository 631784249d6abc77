// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ALL} from "./Types.sol";
import {INFERENCE_MARKET} from "./Addresses.sol";
import {IAssetRegistry, REGISTRY} from "./IAssetRegistry.sol";
import {RECEIPTS} from "./IOwnershipReceipts.sol";
import {IAttribution} from "./IAttribution.sol";

/// @title Keeps what IAttribution promises.
/// @dev   Shares are taken of running totals, not of single amounts: whoever releases and divides often gains nothing by
///        the rounding, and every payee has at any time what is its own, rounded down once. What the roundings leave
///        (less than a unit for each payee) stays at the asset and is part of the next division.
contract Attribution is IAttribution, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// What came in within one hour.
    struct Inflow {
        uint64 hour;
        uint192 amount;
    }

    struct Book {
        Inflow[] inflows;
        /// The first of them that was not released.
        uint256 head;
        /// All that was ever released.
        uint256 released;
        /// The asset's own, not divided yet.
        uint256 own;
        /// All that was ever divided among contributors.
        uint256 divided;
    }

    /// @notice How long revenue waits, at least, before it can be released; at most an hour longer.
    uint256 public constant CHALLENGE = 1 days;
    /// Hours of one asset that `claimFrom` releases.
    uint256 private constant HOURS = 500;
    /// The coin, where a token is meant.
    address private constant COIN = address(0);

    mapping(bytes32 asset => mapping(address token => Book)) private books;
    mapping(address account => mapping(address token => uint256)) private credits;

    /// @inheritdoc IAttribution
    function pay(bytes32 asset) external payable {
        take(asset, COIN, msg.value);
    }

    /// @inheritdoc IAttribution
    function payToken(bytes32 asset, address token, uint256 amount) external nonReentrant returns (uint256 arrived) {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        arrived = IERC20(token).balanceOf(address(this)) - before;
        if (arrived == 0) revert NothingArrived(token);
        take(asset, token, arrived);
    }

    /// @inheritdoc IAttribution
    function release(bytes32 asset, address token, uint256 most) public nonReentrant returns (uint256 amount) {
        Book storage b = books[asset][token];
        uint256 head = b.head;
        uint256 length = b.inflows.length;
        for (uint256 n; n < most && head < length && ripe(b.inflows[head].hour); ++n) {
            amount += b.inflows[head].amount;
            delete b.inflows[head++];
        }
        b.head = head;
        if (amount != 0) ascend(asset, token, b, amount);
    }

    /// @inheritdoc IAttribution
    function divide(bytes32 asset, address token) public nonReentrant returns (uint256 amount) {
        Book storage b = books[asset][token];
        amount = b.own;
        if (amount == 0) return 0;
        b.own = 0;
        (address[] memory contributors, uint16[] memory shares) = RECEIPTS.contributorsOf(asset);
        if (contributors.length == 0) {
            give(REGISTRY.ownerOf(asset), asset, token, amount);
            return amount;
        }
        (uint256 before, uint256 total) = (b.divided, b.divided + amount);
        b.divided = total;
        for (uint256 i; i < contributors.length; ++i) {
            give(RECEIPTS.heirOf(contributors[i]), asset, token, grown(before, total, shares[i]));
        }
    }

    /// @inheritdoc IAttribution
    function claimFrom(bytes32[] calldata assets) external returns (uint256 amount) {
        for (uint256 i; i < assets.length; ++i) {
            release(assets[i], COIN, HOURS);
            divide(assets[i], COIN);
        }
        return claimTo(COIN, msg.sender);
    }

    /// @inheritdoc IAttribution
    function claim() external returns (uint256 amount) {
        return claimTo(COIN, msg.sender);
    }

    /// @inheritdoc IAttribution
    function claimTo(address token, address to) public nonReentrant returns (uint256 amount) {
        return hand(msg.sender, token, to);
    }

    /// @inheritdoc IAttribution
    function claimFor(address account, address token, address to) external nonReentrant returns (uint256 amount) {
        return hand(account, token, to);
    }

    /// @inheritdoc IAttribution
    function claimable(address account) external view returns (uint256) {
        return credits[account][COIN];
    }

    /// @inheritdoc IAttribution
    function claimableIn(address account, address token) external view returns (uint256) {
        return credits[account][token];
    }

    /// @inheritdoc IAttribution
    function waiting(bytes32 asset, address token) external view returns (uint256 due, uint256 unripe, uint256 own) {
        Book storage b = books[asset][token];
        for (uint256 i = b.head; i < b.inflows.length; ++i) {
            if (ripe(b.inflows[i].hour)) due += b.inflows[i].amount;
            else unripe += b.inflows[i].amount;
        }
        own = b.own;
    }

    function take(bytes32 asset, address token, uint256 amount) private {
        // The market pays for assets that somebody has a licence of: they exist.
        if (msg.sender != INFERENCE_MARKET && !REGISTRY.exists(asset)) revert IAssetRegistry.NoSuchAsset(asset);
        if (amount == 0) return;
        Inflow[] storage inflows = books[asset][token].inflows;
        uint64 hour = uint64(block.timestamp / 1 hours);
        uint256 length = inflows.length;
        if (length != 0 && inflows[length - 1].hour == hour) {
            inflows[length - 1].amount = SafeCast.toUint192(inflows[length - 1].amount + amount);
        } else {
            inflows.push(Inflow(hour, SafeCast.toUint192(amount)));
        }
        emit Paid(asset, token, msg.sender, amount, ripeAt(hour));
    }

    /// Gives the ancestors their parts, and the asset its own.
    function ascend(bytes32 asset, address token, Book storage b, uint256 amount) private {
        (bytes32[] memory ancestors, uint16[] memory bps) = REGISTRY.ancestors(asset);
        (uint256 before, uint256 total) = (b.released, b.released + amount);
        b.released = total;
        uint256 ownBps = ALL;
        for (uint256 i; i < ancestors.length; ++i) {
            ownBps -= bps[i];
            uint256 part = grown(before, total, bps[i]);
            if (part != 0) books[ancestors[i]][token].own += part;
        }
        uint256 own = grown(before, total, ownBps);
        b.own += own;
        emit Released(asset, token, amount, own);
    }

    function give(address account, bytes32 asset, address token, uint256 amount) private {
        if (amount == 0) return;
        credits[account][token] += amount;
        emit Credited(account, asset, token, amount);
    }

    /// To whoever stands for the account, and to nobody else.
    function hand(address account, address token, address to) private returns (uint256 amount) {
        address heir = RECEIPTS.heirOf(account);
        if (heir != msg.sender) revert Succeeded(account, heir);
        amount = credits[account][token];
        if (amount == 0) revert NothingToClaim(account);
        credits[account][token] = 0;
        emit Claimed(account, token, to, amount);
        send(to, token, amount);
    }

    function send(address to, address token, uint256 amount) private {
        if (token != COIN) return IERC20(token).safeTransfer(to, amount);
        (bool done,) = to.call{value: amount}("");
        if (!done) revert Refused(to);
    }

    /// By how much a share of a running total grew.
    function grown(uint256 before, uint256 total, uint256 bps) private pure returns (uint256) {
        return total * bps / ALL - before * bps / ALL;
    }

    function ripe(uint64 hour) private view returns (bool) {
        return block.timestamp >= ripeAt(hour);
    }

    function ripeAt(uint64 hour) private pure returns (uint256) {
        return (uint256(hour) + 1) * 1 hours + CHALLENGE;
    }
}
