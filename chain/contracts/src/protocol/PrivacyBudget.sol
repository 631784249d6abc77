// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {AssetKind, Terms} from "./Types.sol";
import {Divergences} from "./Divergences.sol";
import {REGISTRY} from "./IAssetRegistry.sol";
import {LICENCE_BOOK} from "./ILicences.sol";
import {RECEIPTS} from "./IOwnershipReceipts.sol";
import {IPrivacyBudget, Job} from "./IPrivacyBudget.sol";

/// @title Keeps what IPrivacyBudget promises.
contract PrivacyBudget is IPrivacyBudget {
    using Divergences for Divergences.Sum;

    struct Budget {
        uint64 epsilon;
        uint64 logInverseDelta;
        uint64 failure;
        /// Never zero once it is granted.
        uint32 orders;
        uint64 raisedTo;
        uint64 from;
        uint64 fromBlock;
    }

    /// @notice In nano: ε of a thousand, which protects nobody.
    uint64 public constant MOST_EPSILON = 1_000_000_000_000;
    /// @notice In nano: δ of a thousandth.
    uint64 public constant LEAST_LOG = 6_907_755_279;
    /// @notice In nano: δ of 10^-30.
    uint64 public constant MOST_LOG = 69_077_552_790;
    /// @notice In 10^-18: a thousandth.
    uint64 public constant MOST_FAILURE = 1_000_000_000_000_000;
    /// @notice What a cost is at most: it stands for all that is larger.
    uint64 public constant MAX_COST = Divergences.MAX_COST;
    /// @notice Between the announcement of a higher budget and the budget, in seconds: an account's guardians need half of it.
    uint64 public constant RAISE_DELAY = 14 days;
    /// @notice And in blocks, so that a chain that stood still has not used it up.
    uint64 public constant RAISE_BLOCKS = 600;
    /// @notice How long a raise can be carried out: what was announced long ago warns nobody.
    uint64 public constant RAISE_WINDOW = 30 days;
    /// @notice How long a reservation holds at most.
    uint64 public constant LONGEST_RESERVATION = 30 days;
    /// @notice States of a job.
    uint256 public constant RESERVED = 1;
    /// @notice It is spent.
    uint256 public constant BEGUN = 2;
    /// @notice It never began.
    uint256 public constant RELEASED = 3;

    // Share nodes prove words of this first slot: its place and meaning are part of the interface.
    /// @inheritdoc IPrivacyBudget
    mapping(bytes32 job => uint256 word) public override jobs;

    mapping(bytes32 dataset => Budget) private budgets;
    mapping(bytes32 dataset => Divergences.Sum) private spent;
    /// Spent and reserved.
    mapping(bytes32 dataset => Divergences.Sum) private totals;
    mapping(bytes32 dataset => mapping(address spender => uint64)) private allowances;
    /// Spent and reserved by whoever draws.
    mapping(bytes32 dataset => mapping(bytes32 drawer => Divergences.Sum)) private drawn;

    /// @inheritdoc IPrivacyBudget
    function grant(bytes32 dataset, uint64 epsilon, uint64 logInverseDelta, uint64 failure, uint32 orders) external {
        requireOwnerAtEase(dataset);
        (AssetKind kind,,,,,,) = REGISTRY.assetOf(dataset);
        if (kind != AssetKind.Dataset) revert NotADataset(dataset);
        Budget storage b = budgets[dataset];
        if (b.orders != 0) revert GrantedBefore(dataset);
        if (epsilon > MOST_EPSILON) revert WrongGrant("epsilon: at most 1000");
        if (logInverseDelta < LEAST_LOG || logInverseDelta > MOST_LOG) {
            revert WrongGrant("logInverseDelta: delta is between 10^-30 and 10^-3");
        }
        if (failure > MOST_FAILURE) revert WrongGrant("failure: at most 10^-3");
        if (orders == 0) revert WrongGrant("orders: none");
        (b.epsilon, b.logInverseDelta, b.failure, b.orders) = (epsilon, logInverseDelta, failure, orders);
        emit Granted(dataset, epsilon, logInverseDelta, failure, orders);
    }

    /// @inheritdoc IPrivacyBudget
    function lower(bytes32 dataset, uint64 epsilon) external {
        requireOwner(dataset);
        Budget storage b = find(dataset);
        uint256 floor = epsilonIn(b, spent[dataset].read());
        // What is spent is below what is granted, so it fits.
        if (epsilon < floor) epsilon = uint64(floor);
        if (epsilon >= b.epsilon) revert NoChange(b.epsilon);
        b.epsilon = epsilon;
        if (b.from != 0) forget(dataset, b);
        emit Lowered(dataset, epsilon);
    }

    /// @inheritdoc IPrivacyBudget
    function announceRaise(bytes32 dataset, uint64 epsilon) external {
        requireOwnerAtEase(dataset);
        Budget storage b = find(dataset);
        if (epsilon > MOST_EPSILON) revert WrongGrant("epsilon: at most 1000");
        if (epsilon <= b.epsilon) revert NoChange(b.epsilon);
        (uint64 from, uint64 fromBlock) = (uint64(block.timestamp) + RAISE_DELAY, uint64(block.number) + RAISE_BLOCKS);
        (b.raisedTo, b.from, b.fromBlock) = (epsilon, from, fromBlock);
        emit RaiseAnnounced(dataset, epsilon, from, fromBlock);
    }

    /// @inheritdoc IPrivacyBudget
    function cancelRaise(bytes32 dataset) external {
        requireOwner(dataset);
        Budget storage b = find(dataset);
        if (b.from == 0) revert NotRaised(0, 0);
        forget(dataset, b);
    }

    /// @inheritdoc IPrivacyBudget
    function raise(bytes32 dataset) external {
        requireOwnerAtEase(dataset);
        Budget storage b = find(dataset);
        bool due = block.timestamp >= b.from && block.number >= b.fromBlock && block.timestamp <= b.from + RAISE_WINDOW;
        if (b.from == 0 || !due) revert NotRaised(b.from, b.fromBlock);
        uint64 epsilon = b.raisedTo;
        (b.epsilon, b.raisedTo, b.from, b.fromBlock) = (epsilon, 0, 0, 0);
        emit Raised(dataset, epsilon);
    }

    /// @inheritdoc IPrivacyBudget
    function allow(bytes32 dataset, address spender, uint64 epsilon) external {
        if (epsilon > allowances[dataset][spender]) requireOwnerAtEase(dataset);
        else requireOwner(dataset);
        find(dataset);
        allowances[dataset][spender] = epsilon;
        emit AllowanceSet(dataset, spender, epsilon);
    }

    /// @inheritdoc IPrivacyBudget
    function reserve(Job calldata j) external returns (bytes32 job) {
        job = own(j);
        if (jobs[job] != 0) revert WrongState(job, jobs[job]);
        Budget storage b = find(j.dataset);
        requireSensible(j);
        totals[j.dataset].add(j.costs, j.failure);
        drawn[j.dataset][drawerOf(j.spender, j.licence)].add(j.costs, j.failure);
        requireAllowed(b, j);
        // Whoever may have its price back puts nothing aside either.
        if (j.licence != 0) requirePaid(j.licence);
        requireBudget(b, j.dataset, totals[j.dataset].read(), totals[j.dataset].failure);
        jobs[job] = RESERVED;
        emit Reserved(job, j.dataset, j.spender, j);
    }

    /// @inheritdoc IPrivacyBudget
    function begin(Job calldata j) external {
        bytes32 job = own(j);
        if (jobs[job] != RESERVED) revert WrongState(job, jobs[job]);
        if (block.timestamp > j.until) revert TooLate(j.until);
        Budget storage b = find(j.dataset);
        // The owner may have lowered what it was when this was reserved.
        requireAllowed(b, j);
        if (j.licence != 0) requirePaid(j.licence);
        spent[j.dataset].add(j.costs, j.failure);
        requireBudget(b, j.dataset, spent[j.dataset].read(), spent[j.dataset].failure);
        jobs[job] = BEGUN | (block.timestamp << 8);
        emit Begun(job, j.dataset, j.spender);
    }

    /// @inheritdoc IPrivacyBudget
    function release(Job calldata j) external {
        bytes32 job = idOf(j);
        if (jobs[job] != RESERVED) revert WrongState(job, jobs[job]);
        if (msg.sender != j.spender && block.timestamp <= j.until) revert TooEarly(j.until);
        jobs[job] = RELEASED;
        totals[j.dataset].remove(j.costs, j.failure);
        drawn[j.dataset][drawerOf(j.spender, j.licence)].remove(j.costs, j.failure);
        emit Released(job, j.dataset);
    }

    /// @inheritdoc IPrivacyBudget
    function idOf(Job calldata j) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), j));
    }

    /// @inheritdoc IPrivacyBudget
    function grantOf(bytes32 dataset)
        external
        view
        returns (
            uint64 epsilon,
            uint64 logInverseDelta,
            uint64 failure,
            uint32 orders,
            uint64 raisedTo,
            uint64 from,
            uint64 fromBlock
        )
    {
        Budget storage b = budgets[dataset];
        return (b.epsilon, b.logInverseDelta, b.failure, b.orders, b.raisedTo, b.from, b.fromBlock);
    }

    /// @inheritdoc IPrivacyBudget
    function spentOf(bytes32 dataset)
        external
        view
        returns (uint256 spent_, uint256 withReserved, uint256 failure, uint256 failureWithReserved)
    {
        Budget storage b = find(dataset);
        spent_ = epsilonIn(b, spent[dataset].read());
        withReserved = epsilonIn(b, totals[dataset].read());
        return (spent_, withReserved, spent[dataset].failure, totals[dataset].failure);
    }

    /// @inheritdoc IPrivacyBudget
    function divergencesOf(bytes32 dataset)
        external
        view
        returns (uint64[32] memory spent_, uint64[32] memory withReserved)
    {
        return (spent[dataset].read(), totals[dataset].read());
    }

    /// @inheritdoc IPrivacyBudget
    function allowanceOf(bytes32 dataset, address spender, uint256 licence)
        external
        view
        returns (uint256 epsilon, uint256 drawn_)
    {
        Budget storage b = find(dataset);
        epsilon = allowed(dataset, spender, licence);
        drawn_ = epsilonIn(b, drawn[dataset][drawerOf(spender, licence)].read());
    }

    /// @inheritdoc IPrivacyBudget
    function epsilonOf(uint64[32] calldata costs, uint64 logInverseDelta, uint32 orders)
        external
        pure
        returns (uint256)
    {
        if (orders == 0) revert WrongGrant("orders: none");
        return Divergences.epsilon(costs, logInverseDelta, orders);
    }

    /// @inheritdoc IPrivacyBudget
    function ordersInQuarters() external pure returns (uint16[32] memory quarters) {
        for (uint256 i; i < Divergences.COUNT; ++i) {
            quarters[i] = Divergences.quarter(i);
        }
    }

    function find(bytes32 dataset) private view returns (Budget storage b) {
        b = budgets[dataset];
        if (b.orders == 0) revert NotGranted(dataset);
    }

    /// The id of the caller's job.
    function own(Job calldata j) private view returns (bytes32) {
        if (msg.sender != j.spender) revert NotTheSpender(j.spender);
        return idOf(j);
    }

    function requireSensible(Job calldata j) private view {
        bool soon = j.until >= block.timestamp && j.until <= block.timestamp + LONGEST_RESERVATION;
        if (!soon) revert WrongJob("until: now to thirty days from now");
        for (uint256 i = 1; i < Divergences.COUNT; ++i) {
            if (j.costs[i] < j.costs[i - 1]) revert WrongJob("costs: they never fall with the order");
        }
        uint64 highest = j.costs[Divergences.COUNT - 1];
        if (highest == 0) revert WrongJob("costs: what costs nothing needs no budget");
        if (highest > MAX_COST) revert WrongJob("costs: above MAX_COST");
    }

    /// What the job draws on has it, with all that draws on the same.
    function requireAllowed(Budget storage b, Job calldata j) private view {
        if (j.licence != 0 && !LICENCE_BOOK.isUser(j.licence, j.spender)) revert NotAUser(j.licence, j.spender);
        uint256 most = allowed(j.dataset, j.spender, j.licence);
        if (most == 0) revert NotAllowed(j.dataset, j.spender, j.licence);
        Divergences.Sum storage mine = drawn[j.dataset][drawerOf(j.spender, j.licence)];
        uint256 epsilon = epsilonIn(b, mine.read());
        if (epsilon > most) revert OverAllowance(j.dataset, epsilon, most);
        if (most < b.epsilon) requireFailure(mine.failure, uint256(b.failure) * most / b.epsilon);
    }

    function requireBudget(Budget storage b, bytes32 dataset, uint64[32] memory sum, uint64 failure) private view {
        uint256 epsilon = epsilonIn(b, sum);
        if (epsilon > b.epsilon) revert OverBudget(dataset, epsilon, b.epsilon);
        requireFailure(failure, b.failure);
    }

    function requireFailure(uint256 failure, uint256 most) private pure {
        if (failure > most) revert FailureAbove(failure, most);
    }

    /// What is learned cannot be given back, so a price that could come back would be none.
    function requirePaid(uint256 licence) private view {
        (, uint128 paid, uint128 collected,) = LICENCE_BOOK.moneyOf(licence);
        if (collected != paid) revert NotPaidYet(licence);
    }

    /// How much may be drawn: as the owner says, or as the licence's terms say if it is one of this dataset.
    function allowed(bytes32 dataset, address spender, uint256 licence) private view returns (uint256) {
        if (licence == 0) return allowances[dataset][spender];
        (bytes32 asset, Terms memory t,,,) = LICENCE_BOOK.licenceOf(licence);
        return asset == dataset ? t.allowance : 0;
    }

    /// Under which name it is kept who draws: no account has a licence's.
    function drawerOf(address spender, uint256 licence) private pure returns (bytes32) {
        return licence == 0 ? bytes32(uint256(uint160(spender))) : keccak256(abi.encode(licence));
    }

    function epsilonIn(Budget storage b, uint64[32] memory costs) private view returns (uint256) {
        return Divergences.epsilon(costs, b.logInverseDelta, b.orders);
    }

    function forget(bytes32 dataset, Budget storage b) private {
        (b.raisedTo, b.from, b.fromBlock) = (0, 0, 0);
        emit RaiseCancelled(dataset);
    }

    function requireOwner(bytes32 dataset) private view returns (address owner) {
        owner = REGISTRY.ownerOf(dataset);
        if (msg.sender != owner) revert NotTheOwner(dataset, owner);
    }

    /// The owner, of whom nobody says that its key is lost.
    function requireOwnerAtEase(bytes32 dataset) private view {
        address owner = requireOwner(dataset);
        (address heir,,,) = RECEIPTS.recoveryOf(owner);
        if (heir != address(0)) revert RecoveryUnderWay(owner);
    }
}
