// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {PRIVACY_BUDGET} from "./Addresses.sol";

/// @notice What somebody wants to learn from a dataset, at worst. Its id is `keccak256(abi.encode(chainid, budget, job))`, so
///         whoever is shown a job needs one word of storage (`jobs`) to know that the chain knows it, and what it may cost.
struct Job {
    bytes32 dataset;
    /// Who reserves, begins and releases.
    address spender;
    /// On whose allowance it draws: a licence of the dataset, or zero for what its owner allowed the spender itself.
    uint256 licence;
    /// Whatever tells it from the spender's other jobs. A repeated opening is another job: it spends again.
    bytes32 name;
    /// Until when it may begin, in seconds since 1970.
    uint64 until;
    /// Chance that its mechanism does not do what `costs` says, in 10^-18: what is lost to tables and truncated tails.
    uint64 failure;
    /// Its Rényi divergence at each of the 32 orders, in nano (10^-9 nats), rounded up; what is not finite, or too large to
    /// be of use, is `MAX_COST`. A bound on a divergence never falls with the order.
    uint64[32] costs;
}

/// @title  How much may be learned from a dataset: a budget of differential privacy that nobody overspends.
/// @notice A dataset's owner grants (ε, δ). What is spent is kept as Rényi divergence at 32 fixed orders, where it adds up
///         (the subsampled Gaussian has no single number that does), and a job is let in if the sum, with everything that is
///         reserved, is below ε at one of them. So jobs that race for the last of it cannot both have it.
///
///         A job is reserved at its worst case, begun, or released. `begin` is irrevocable, and comes before the first share
///         of an opening leaves anybody: share nodes look for `BEGUN` in the job's proven word. Nothing that happens after it
///         gives anything back, an abort neither: whoever stopped has seen what it has seen.
///
///         What counts as one is the owner's to say, with the dataset: the neighbours of a dataset are those with one of
///         these more or less. That a job costs what it says is for the nodes that run it to check: a chain cannot.
///         A dataset that is derived from another one, or the same content under another owner, has a budget of its own.
/// @dev    Conversion by Canonne, Kamath and Steinke (2020), proposition 12: a divergence R at order α is (R + s, δ) with
///         s = ln(1 - 1/α) + (ln(1/δ) - ln α) / (α - 1). Jobs are chosen when others' results are known, so which order will be
///         the good one is, too: each of n orders gets a part 1/n of δ (a union bound over privacy filters, Feldman and
///         Zrnic 2021). Who knows the order beforehand grants that one alone, and pays nothing for the choice. All constants
///         and divisions are rounded against the spender.
interface IPrivacyBudget {
    /// @notice The owner grants this much.
    event Granted(bytes32 indexed dataset, uint64 epsilon, uint64 logInverseDelta, uint64 failure, uint32 orders);
    /// @notice The budget is this much from now on.
    event Lowered(bytes32 indexed dataset, uint64 epsilon);
    /// @notice The owner may make it this much from then on.
    event RaiseAnnounced(bytes32 indexed dataset, uint64 epsilon, uint64 from, uint64 fromBlock);
    /// @notice It may not any more.
    event RaiseCancelled(bytes32 indexed dataset);
    /// @notice The budget is this much from now on.
    event Raised(bytes32 indexed dataset, uint64 epsilon);
    /// @notice `spender` may draw this much of the budget.
    event AllowanceSet(bytes32 indexed dataset, address indexed spender, uint64 epsilon);
    /// @notice The worst case of a job is put aside.
    event Reserved(bytes32 indexed job, bytes32 indexed dataset, address indexed spender, Job details);
    /// @notice It is spent.
    event Begun(bytes32 indexed job, bytes32 indexed dataset, address indexed spender);
    /// @notice It did not begin, and never will.
    event Released(bytes32 indexed job, bytes32 indexed dataset);

    /// @notice Only the dataset's owner may do this.
    error NotTheOwner(bytes32 dataset, address owner);
    /// @notice The asset is no dataset.
    error NotADataset(bytes32 asset);
    /// @notice A recovery of the owner is under way: what is learned stays learned, so it waits.
    error RecoveryUnderWay(address account);
    /// @notice A grant that makes no sense: see the text.
    error WrongGrant(string why);
    /// @notice The budget is granted: lower or raise it.
    error GrantedBefore(bytes32 dataset);
    /// @notice Nothing is granted of this dataset.
    error NotGranted(bytes32 dataset);
    /// @notice Not below, or not above, what it is.
    error NoChange(uint64 epsilon);
    /// @notice No raise is announced, or its time has not come.
    error NotRaised(uint64 from, uint64 fromBlock);
    /// @notice A job that makes no sense: see the text.
    error WrongJob(string why);
    /// @notice Only the job's spender may do this.
    error NotTheSpender(address spender);
    /// @notice Not after this time.
    error TooLate(uint64 until);
    /// @notice Others may release it after this time.
    error TooEarly(uint64 until);
    /// @notice The job is in another state: see `jobs`.
    error WrongState(bytes32 job, uint256 word);
    /// @notice The owner allowed this spender nothing, or the licence has no allowance of this dataset.
    error NotAllowed(bytes32 dataset, address spender, uint256 licence);
    /// @notice The spender is not a user of this licence.
    error NotAUser(uint256 licence, address spender);
    /// @notice The licence's price is not all the owner's, and could come back; what is learned could not.
    error NotPaidYet(uint256 licence);
    /// @notice The dataset's budget would be at `epsilon` of `granted`.
    error OverBudget(bytes32 dataset, uint256 epsilon, uint256 granted);
    /// @notice The allowance would be at `epsilon` of `allowed`.
    error OverAllowance(bytes32 dataset, uint256 epsilon, uint256 allowed);
    /// @notice The chances of failure would sum to this, of so much.
    error FailureAbove(uint256 failure, uint256 granted);

    /// @notice Grants a budget, once. By the dataset's owner: at its registration, or later; before that nothing is spent.
    /// @param epsilon         ε in nano, at most `MOST_EPSILON`
    /// @param logInverseDelta ln(1/δ) in nano, `LEAST_LOG` (δ = 10^-3) to `MOST_LOG` (δ = 10^-30): it never changes
    /// @param failure         what jobs' chances of failure may sum to, in 10^-18; the whole δ is e^-logInverseDelta and this
    /// @param orders          which orders may decide, as bits; all of them are 2^32 - 1
    function grant(bytes32 dataset, uint64 epsilon, uint64 logInverseDelta, uint64 failure, uint32 orders) external;

    /// @notice Lowers the budget at once, to what is spent at least. By the dataset's owner. What is reserved and does not fit
    ///         any more cannot begin: a reservation holds against other spenders, not against the owner. A raise that was
    ///         announced is cancelled.
    function lower(bytes32 dataset, uint64 epsilon) external;

    /// @notice Announces a higher budget. By the dataset's owner, who can `raise` to it, for RAISE_WINDOW, when RAISE_DELAY and RAISE_BLOCKS are
    ///         over: so a stolen key opens no more before the account's guardians can act. Announced again, the time begins anew.
    function announceRaise(bytes32 dataset, uint64 epsilon) external;

    /// @notice Takes that back. By the dataset's owner.
    function cancelRaise(bytes32 dataset) external;

    /// @notice Raises the budget as announced. By the dataset's owner.
    function raise(bytes32 dataset) external;

    /// @notice How much `spender` may draw itself, in nano; zero, and it draws no more. By the dataset's owner. A licence's
    ///         allowance is in its terms. All draw on the one budget, at its δ, and on as large a part of `failure` as of ε.
    function allow(bytes32 dataset, address spender, uint64 epsilon) external;

    /// @notice Puts the worst case of a job aside. By its spender.
    /// @return job the id
    function reserve(Job calldata j) external returns (bytes32 job);

    /// @notice Spends it, for good. By its spender, until `j.until`, before any share of what it opens has left anybody. A
    ///         licence's price must be all the owner's.
    function begin(Job calldata j) external;

    /// @notice Gives back what did not begin. By its spender; by anybody after `j.until`.
    function release(Job calldata j) external;

    /// @notice Zero, or `RESERVED` (1), `BEGUN` (2) with the time in seconds since 1970 from bit 8 on, `RELEASED` (3). Slot 0 of
    ///         this contract's storage: share nodes prove it.
    function jobs(bytes32 job) external view returns (uint256 word);

    /// @notice The id of a job.
    function idOf(Job calldata j) external view returns (bytes32);

    /// @notice The grant, and the raise that is announced (zeros: none is).
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
        );

    /// @notice For people: the ε that is spent, and with what is reserved, in nano at the grant's δ; and the same of failures.
    function spentOf(bytes32 dataset)
        external
        view
        returns (uint256 spent, uint256 withReserved, uint256 failure, uint256 failureWithReserved);

    /// @notice The divergences at each order: what is spent, and with what is reserved.
    function divergencesOf(bytes32 dataset)
        external
        view
        returns (uint64[32] memory spent, uint64[32] memory withReserved);

    /// @notice Of an allowance: how much there is, and the ε that is drawn of it, reserved or spent, in nano.
    function allowanceOf(bytes32 dataset, address spender, uint256 licence)
        external
        view
        returns (uint256 epsilon, uint256 drawn);

    /// @notice The ε of divergences, in nano: the best that one of these orders gives.
    function epsilonOf(uint64[32] calldata costs, uint64 logInverseDelta, uint32 orders)
        external
        pure
        returns (uint256 epsilon);

    /// @notice The 32 orders, in quarters: 1.25 to 512.
    function ordersInQuarters() external pure returns (uint16[32] memory);
}

IPrivacyBudget constant BUDGETS = IPrivacyBudget(PRIVACY_BUDGET);
