// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IOwnershipReceipts} from "./IOwnershipReceipts.sol";

/// @title Guardians of accounts, and who stands for an account whose key is lost.
abstract contract Recovery is IOwnershipReceipts {
    struct Guard {
        address[] members;
        uint8 threshold;
        uint8 nextThreshold;
        /// When `next` takes over, and in which block at the earliest; zero when nothing is announced.
        uint64 from;
        uint64 fromBlock;
        /// Approvals count within one round.
        uint64 round;
        /// The account has cancelled an attempt of these guardians.
        bool cancelled;
        address[] next;
    }

    struct Attempt {
        address heir;
        uint64 from;
        uint64 until;
        uint64 fromBlock;
        bool cancellable;
    }

    /// @notice Between an announcement, or enough approvals, and what follows.
    uint64 public constant DELAY = 7 days;
    /// @notice Beside each of these times so many blocks must be made: a chain that stands still uses none up.
    uint64 public constant DELAY_BLOCKS = 600;
    /// @notice How long an heir can accept, and for how long a guardian's approval counts.
    uint64 public constant GRACE = 30 days;
    /// @notice Guardians of one account.
    uint256 public constant MAX_GUARDIANS = 16;
    /// @notice Recoveries in a row, each of the heir before.
    uint256 public constant MAX_HEIRS = 16;

    mapping(address account => Guard) private guards;
    mapping(address account => Attempt) private attempts;
    mapping(address account => address) private successor;
    /// The longest way of recoveries that ends here.
    mapping(address account => uint256) private depth;
    mapping(bytes32 approval => uint256 time) private approvedAt;

    /// @inheritdoc IOwnershipReceipts
    function setGuardians(address[] calldata guardians, uint8 threshold) external {
        if (successor[msg.sender] != address(0)) revert Succeeded(msg.sender, heirOf(msg.sender));
        if (underWay(msg.sender)) revert RecoveryUnderWay(msg.sender);
        requireSensible(guardians, threshold);
        Guard storage g = ripen(msg.sender);
        uint64 from = uint64(block.timestamp);
        if (g.threshold == 0) {
            (g.members, g.threshold) = (guardians, threshold);
        } else {
            from += DELAY;
            (g.next, g.nextThreshold, g.from) = (guardians, threshold, from);
            g.fromBlock = uint64(block.number) + DELAY_BLOCKS;
        }
        emit GuardiansAnnounced(msg.sender, guardians, threshold, from);
    }

    /// @inheritdoc IOwnershipReceipts
    function approveRecovery(address account, address heir) external {
        requireHeir(account, heir);
        Guard storage g = ripen(account);
        bool guards_;
        uint256 count;
        uint256 length = g.members.length;
        for (uint256 i; i < length; ++i) {
            address guardian = g.members[i];
            bytes32 approval = approvalOf(account, g.round, heir, guardian);
            if (heirOf(guardian) == msg.sender) {
                guards_ = true;
                approvedAt[approval] = block.timestamp;
                emit RecoveryApproved(account, heir, guardian);
            }
            uint256 given = approvedAt[approval];
            if (given != 0 && block.timestamp <= given + GRACE) ++count;
        }
        if (!guards_) revert NotAGuardian(account, msg.sender);
        if (count >= g.threshold) begin(account, heir, g);
    }

    /// @inheritdoc IOwnershipReceipts
    function disapproveRecovery(address account, address heir) external {
        Guard storage g = ripen(account);
        bool guards_;
        uint256 length = g.members.length;
        for (uint256 i; i < length; ++i) {
            address guardian = g.members[i];
            if (heirOf(guardian) != msg.sender) continue;
            guards_ = true;
            delete approvedAt[approvalOf(account, g.round, heir, guardian)];
            emit RecoveryDisapproved(account, heir, guardian);
        }
        if (!guards_) revert NotAGuardian(account, msg.sender);
    }

    /// @inheritdoc IOwnershipReceipts
    function cancelRecovery() external {
        if (!underWay(msg.sender)) revert NoRecovery(msg.sender);
        Attempt memory a = attempts[msg.sender];
        if (!a.cancellable) revert NotCancellable(msg.sender);
        delete attempts[msg.sender];
        Guard storage g = guards[msg.sender];
        (g.cancelled, g.round) = (true, g.round + 1);
        emit RecoveryCancelled(msg.sender, a.heir);
    }

    /// @inheritdoc IOwnershipReceipts
    function acceptRecovery(address account) external {
        Attempt memory a = attempts[account];
        if (a.heir == address(0) || a.heir != msg.sender) revert NoRecovery(account);
        if (block.timestamp < a.from || block.number < a.fromBlock || isPast(a)) revert NotNow(a.from, a.until);
        requireHeir(account, msg.sender);
        uint256 steps = depth[account] + 1;
        if (steps > MAX_HEIRS) revert TooManyHeirs(MAX_HEIRS);
        if (depth[msg.sender] < steps) depth[msg.sender] = steps;
        successor[account] = msg.sender;
        delete attempts[account];
        emit Recovered(account, msg.sender);
    }

    /// @inheritdoc IOwnershipReceipts
    function heirOf(address account) public view returns (address) {
        // At most MAX_HEIRS steps, and no circle: who has an heir never becomes one.
        for (address next = successor[account]; next != address(0); next = successor[account]) {
            account = next;
        }
        return account;
    }

    /// @inheritdoc IOwnershipReceipts
    function guardiansOf(address account)
        external
        view
        returns (address[] memory guardians, uint8 threshold, address[] memory next, uint8 nextThreshold, uint64 from)
    {
        Guard storage g = guards[account];
        if (ripe(g)) return (g.next, g.nextThreshold, new address[](0), 0, 0);
        return (g.members, g.threshold, g.next, g.nextThreshold, g.from);
    }

    /// @inheritdoc IOwnershipReceipts
    function recoveryOf(address account) external view returns (address heir, uint64 from, uint64 until, bool final_) {
        Attempt memory a = attempts[account];
        if (underWay(account)) return (a.heir, a.from, a.until, !a.cancellable);
    }

    /// From now on the delay runs. Guardians that were announced are not: else a thief could replace those who recover.
    function begin(address account, address heir, Guard storage g) private {
        uint64 from = uint64(block.timestamp) + DELAY;
        attempts[account] = Attempt(heir, from, from + GRACE, uint64(block.number) + DELAY_BLOCKS, !g.cancelled);
        delete g.next;
        (g.nextThreshold, g.from, g.fromBlock, g.round) = (0, 0, 0, g.round + 1);
        emit RecoveryBegun(account, heir, from, from + GRACE);
    }

    /// Puts announced guardians in force whose time has come.
    function ripen(address account) private returns (Guard storage g) {
        g = guards[account];
        if (!ripe(g)) return g;
        (g.members, g.threshold) = (g.next, g.nextThreshold);
        delete g.next;
        (g.nextThreshold, g.from, g.fromBlock, g.round, g.cancelled) = (0, 0, 0, g.round + 1, false);
    }

    function ripe(Guard storage g) private view returns (bool) {
        return g.from != 0 && g.from <= block.timestamp && g.fromBlock <= block.number;
    }

    function underWay(address account) internal view returns (bool) {
        return attempts[account].heir != address(0) && !isPast(attempts[account]);
    }

    /// Whether the heir has let its time go by.
    function isPast(Attempt memory a) private view returns (bool) {
        return block.timestamp > a.until && block.number > a.fromBlock + DELAY_BLOCKS;
    }

    /// Under which name a guardian's approval is kept: no other set of guardians, and no other attempt, knows it.
    function approvalOf(address account, uint64 round, address heir, address guardian) private pure returns (bytes32) {
        return keccak256(abi.encode(account, round, heir, guardian));
    }

    function requireHeir(address account, address heir) private view {
        if (successor[account] != address(0)) revert Succeeded(account, heirOf(account));
        if (heir == address(0) || heir == account || successor[heir] != address(0)) revert WrongHeir(heir);
    }

    function requireSensible(address[] calldata guardians, uint8 threshold) private view {
        bool none = guardians.length == 0 && threshold == 0;
        if (!none && (threshold == 0 || threshold > guardians.length || guardians.length > MAX_GUARDIANS)) {
            revert WrongGuardians();
        }
        for (uint256 i; i < guardians.length; ++i) {
            if (guardians[i] == address(0) || guardians[i] == msg.sender) revert WrongGuardians();
            for (uint256 j; j < i; ++j) {
                if (guardians[j] == guardians[i]) revert WrongGuardians();
            }
        }
    }
}
