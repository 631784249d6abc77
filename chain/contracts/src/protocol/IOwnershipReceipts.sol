// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {OWNERSHIP_RECEIPTS} from "./Addresses.sol";

/// @title  ERC-5192: tokens that stay where they are.
interface IERC5192 {
    /// @notice The token can no longer be transferred.
    event Locked(uint256 tokenId);
    /// @notice The token can be transferred again. Never emitted here.
    event Unlocked(uint256 tokenId);
    /// @notice Whether the token can not be transferred: always.
    function locked(uint256 tokenId) external view returns (bool);
}

/// @title  Who contributed to an asset, which share of its revenue that is, and what becomes of a lost key.
/// @notice One soulbound token for each contributor and asset. Shares are hundredths of a percent and sum to exactly all;
///         they are set once. An asset without receipts is its owner's alone.
///
///         Guardians: an account may name up to 16 others, `threshold` of which together can name its heir. After DELAY
///         the heir accepts, and from then on stands for the account: the account's assets, receipts, revenue, licences
///         and what came back from them are the heir's. The account can cancel the first attempt; the second it cannot,
///         so that a thief with the key cannot hold off the guardians for ever. So `threshold` guardians together are
///         trusted with all of that; and until the heir has accepted, whoever has the key has it.
///
///         Each delay is also a number of blocks (DELAY_BLOCKS), so that a chain that stands still uses none up.
interface IOwnershipReceipts is IERC5192 {
    /// @notice `contributor` has this share of `asset`, as token `receipt`.
    event Issued(bytes32 indexed asset, address indexed contributor, uint256 indexed receipt, uint16 share);
    /// @notice Settled work on `asset` for `counterparty` burnt fees, of which `counted` made its reputation grow.
    event Reputed(bytes32 indexed asset, address indexed counterparty, uint256 burnt, uint256 counted);
    /// @notice These will be the account's guardians from `from` on, unless a recovery begins before.
    event GuardiansAnnounced(address indexed account, address[] guardians, uint8 threshold, uint64 from);
    /// @notice A guardian wants `heir` to stand for `account`.
    event RecoveryApproved(address indexed account, address indexed heir, address indexed guardian);
    /// @notice A guardian no longer wants it.
    event RecoveryDisapproved(address indexed account, address indexed heir, address indexed guardian);
    /// @notice Enough guardians do; `heir` can accept from `from` until `until`.
    event RecoveryBegun(address indexed account, address indexed heir, uint64 from, uint64 until);
    /// @notice The account cancelled the attempt. It cannot cancel the next.
    event RecoveryCancelled(address indexed account, address indexed heir);
    /// @notice `heir` stands for `account` from now on.
    event Recovered(address indexed account, address indexed heir);

    /// @notice Receipts stay with their contributor.
    error Soulbound();
    /// @notice Only the asset's owner may do this.
    error NotTheOwner(bytes32 asset, address owner);
    /// @notice The asset's receipts are issued, once and for good.
    error IssuedBefore(bytes32 asset);
    /// @notice One share for each contributor, 1 to 64 of them.
    error WrongNumber(uint256 contributors, uint256 shares);
    /// @notice A contributor of address zero, or with a share of zero, or named twice.
    error WrongContributor(address contributor);
    /// @notice The shares sum to this and not to 10000.
    error SharesAreNotAll(uint256 sum);
    /// @notice Only the market may do this.
    error NotTheMarket();
    /// @notice A threshold of zero or above the number of guardians, more than 16 of them, one twice, zero, or the account.
    error WrongGuardians();
    /// @notice The caller is no guardian of this account.
    error NotAGuardian(address account, address caller);
    /// @notice Who has an heir, is the account itself, or zero can be no heir.
    error WrongHeir(address heir);
    /// @notice No recovery is under way, or not to this heir.
    error NoRecovery(address account);
    /// @notice The heir may accept from `from` until `until`.
    error NotNow(uint64 from, uint64 until);
    /// @notice This is the second attempt: its account cannot cancel it.
    error NotCancellable(address account);
    /// @notice A recovery is under way: guardians do not change, and receipts wait.
    error RecoveryUnderWay(address account);
    /// @notice This account was recovered; its heir acts for it.
    error Succeeded(address account, address heir);
    /// @notice Recovered too many times in a row.
    error TooManyHeirs(uint256 limit);

    /// @notice Issues the receipts of an asset, once. By its owner, while no recovery of it is under way.
    function issue(bytes32 asset, address[] calldata contributors, uint16[] calldata shares) external;

    /// @notice Counts fees that were burnt in settled work on `asset` for `counterparty`. By the market. For one
    ///         counterparty at most `REPUTATION_CAP` counts, so that a reputation of R costs whoever fakes it R in burnt
    ///         fees, and R / REPUTATION_CAP accounts that held a deposit.
    function credit(bytes32 asset, address counterparty, uint256 burnt) external;

    /// @notice Names the caller's guardians: at once if it has none and no others were announced, else after DELAY. An
    ///         empty list and a threshold of zero mean none. Announced again, the delay begins anew.
    function setGuardians(address[] calldata guardians, uint8 threshold) external;

    /// @notice As a guardian: `heir` shall stand for `account`. With enough of them the recovery begins. An approval counts for
    ///         GRACE, and can be given again.
    function approveRecovery(address account, address heir) external;

    /// @notice As a guardian: takes an approval back, as long as the recovery has not begun.
    function disapproveRecovery(address account, address heir) external;

    /// @notice As the account: stops the first attempt to recover it.
    function cancelRecovery() external;

    /// @notice As the heir, after the delay: from now on the caller stands for `account`.
    function acceptRecovery(address account) external;

    /// @notice Moves a receipt to its holder's heir, for those who look at the token. The revenue follows by itself.
    function follow(uint256 receipt) external;

    /// @notice Who stands for `account` now: itself, or the last of its heirs.
    function heirOf(address account) external view returns (address);

    /// @notice The contributors of an asset, as they were issued, and their shares. Empty when none were.
    function contributorsOf(bytes32 asset) external view returns (address[] memory contributors, uint16[] memory shares);

    /// @notice What a receipt says.
    function receiptOf(uint256 receipt) external view returns (bytes32 asset, address contributor, uint16 share);

    /// @notice The token of this contributor and asset.
    function idOf(bytes32 asset, address contributor) external pure returns (uint256);

    /// @notice Burnt fees that count for this asset.
    function reputationOf(bytes32 asset) external view returns (uint256);

    /// @notice The guardians in force, and those announced with the time from which they are (zero: none announced).
    function guardiansOf(address account)
        external
        view
        returns (address[] memory guardians, uint8 threshold, address[] memory next, uint8 nextThreshold, uint64 from);

    /// @notice The recovery under way: zeros when there is none. `final_`: the account cannot cancel it.
    function recoveryOf(address account) external view returns (address heir, uint64 from, uint64 until, bool final_);
}

IOwnershipReceipts constant RECEIPTS = IOwnershipReceipts(OWNERSHIP_RECEIPTS);
