// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ILicences} from "./ILicences.sol";
import {REVENUE} from "./IAttribution.sol";
import {RECEIPTS} from "./IOwnershipReceipts.sol";

/// @title How money comes into Licences and leaves it. A token of address zero means the native coin.
abstract contract Takings is ILicences, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    mapping(address account => mapping(address token => uint256)) private takings;

    /// @inheritdoc ILicences
    function take(address token, address to) external nonReentrant returns (uint256 amount) {
        return hand(msg.sender, token, to);
    }

    /// @inheritdoc ILicences
    function takeFor(address account, address token, address to) external nonReentrant returns (uint256 amount) {
        return hand(account, token, to);
    }

    /// @inheritdoc ILicences
    function takeable(address account, address token) external view returns (uint256) {
        return takings[account][token];
    }

    /// `account` may take this much.
    function owe(address account, address token, uint256 amount) internal {
        if (amount != 0) takings[account][token] += amount;
    }

    /// Takes exactly the native coin that was sent, or a token from the caller. Returns what arrived.
    function receiveFromCaller(address token, uint256 amount) internal returns (uint256 arrived) {
        if (token == address(0)) {
            if (msg.value != amount) revert WrongValue(amount, msg.value);
            return amount;
        }
        if (msg.value != 0) revert WrongValue(0, msg.value);
        if (amount == 0) return 0;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        return arrivedSince(token, before);
    }

    /// What came in since the balance was `before`: never nothing.
    function arrivedSince(address token, uint256 before) internal view returns (uint256 arrived) {
        arrived = IERC20(token).balanceOf(address(this)) - before;
        if (arrived == 0) revert NothingArrived(token);
    }

    /// Sends the owner's part of a price to the asset's revenue.
    function passOn(bytes32 asset, address token, uint256 amount) internal {
        if (amount == 0) return;
        if (token == address(0)) return REVENUE.pay{value: amount}(asset);
        IERC20(token).forceApprove(address(REVENUE), amount);
        REVENUE.payToken(asset, token, amount);
    }

    /// To whoever stands for the account, and to nobody else.
    function hand(address account, address token, address to) private returns (uint256 amount) {
        address heir = RECEIPTS.heirOf(account);
        if (heir != msg.sender) revert Succeeded(account, heir);
        amount = takings[account][token];
        if (amount == 0) revert NothingToTake(account);
        takings[account][token] = 0;
        emit Taken(account, token, to, amount);
        if (token != address(0)) {
            IERC20(token).safeTransfer(to, amount);
        } else {
            (bool done,) = to.call{value: amount}("");
            if (!done) revert Refused(to);
        }
    }
}
