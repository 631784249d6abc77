// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {OPERATORS} from "./Addresses.sol";

/// @title  Who serves: bonds, keys, prices, and what they earned.
/// @notice An operator is an account with a bond. It answers for one share node, whose key it has proven to hold. What
///         it earns at the market ripens here before it can be taken out; its bond leaves only after `UNBONDING`, which
///         is longer than any window in which somebody may still complain. Nobody can change these times, or touch a
///         bond other than by evidence that this contract checks itself.
interface IOperators {
    /// What an owner or a consumer says about one operator.
    enum Verdict {
        None,
        Allowed,
        Denied
    }

    /// What can be shown against a node. Each kind is decided by this contract alone, from signatures.
    enum Evidence {
        // Two receipts of one job (same session, lane and number) with different requests, answers or transcripts.
        TwoAnswers,
        // A receipt that no honest node signs: its total is not its number times its price, or it commits to no answer.
        Impossible
    }

    /// @notice An operator joined, topped up its bond or told another address.
    event Joined(address indexed operator, bytes32 indexed node, uint256 bond, string endpoint, string region);
    /// @notice What this operator asks for a call, and until when.
    event Quoted(address indexed operator, uint128 perCall, uint64 until);
    /// @notice Whether this operator is willing to hold that asset's sharing.
    event Allowed(address indexed operator, bytes32 indexed asset, bool willing);
    /// @notice This much of a bond will leave at `due`.
    event Unbonding(address indexed operator, uint256 amount, uint64 due);
    /// @notice A bond has left.
    event Withdrawn(address indexed operator, uint256 amount);
    /// @notice Earnings were taken out.
    event Claimed(address indexed operator, uint256 amount);

    /// @notice Evidence was shown against a node: `burnt` left its operator's bond and earnings for good, `reward` for whoever
    ///         showed it.
    event Slashed(
        address indexed operator, bytes32 indexed node, Evidence kind, uint256 burnt, uint256 reward, address reporter
    );
    /// @notice An owner (scope: the asset) or a consumer (scope: its account) asks this of operators.
    event PolicySet(bytes32 indexed scope, uint128 leastBond, bool onlyAllowed);
    /// @notice What an owner or a consumer says about this operator.
    event Judged(bytes32 indexed scope, address indexed operator, Verdict verdict);

    /// @notice Something needs at least this bond.
    error BondTooSmall(uint256 bond, uint256 least);
    /// @notice The caller has no bond here: join first.
    error NotAnOperator(address who);
    /// @notice The node's key belongs to another account, or the proof is not its signature.
    error NodeNotProven(bytes32 node);
    /// @notice A text is longer than 256 bytes.
    error TooLong(uint256 length);
    /// @notice A quote has to end in the future.
    error QuoteInThePast(uint64 until);
    /// @notice More than the bond.
    error MoreThanBonded(uint256 amount, uint256 bond);
    /// @notice Nothing is due yet.
    error NotDue(uint64 due);
    /// @notice There is nothing to take out.
    error NothingToPay();
    /// @notice Only the market may tell what was earned.
    error NotTheMarket(address caller);
    /// @notice What the market tells does not add up.
    error WrongSum(uint256 sum, uint256 value);
    /// @notice The evidence does not show what its kind says, is about nothing that there is, or not all members signed it.
    error NotEvident();
    /// @notice The node was punished for this before.
    error PunishedBefore();
    /// @notice The asset belongs to somebody else.
    error NotTheOwner(bytes32 asset, address caller);
    /// @notice The operator set of that epoch is not frozen yet.
    error NotFrozen(uint256 epoch);
    /// @notice This one has no place, or can still be drawn, or the caller has a place itself.
    error StillThere(address operator);
    /// @notice Fewer operators than seats.
    error TooFew(uint256 candidates);
    /// @notice The receiver did not take the money.
    error NotTaken(address who, uint256 amount);

    /// @notice Makes the caller an operator, or tops up its bond, renames its address or changes its node's key. The bond in
    ///         force must then be at least `LEAST_BOND`.
    /// @param node     ed25519 key of the share node
    /// @param endpoint where consumers and other nodes reach it
    /// @param region   where it stands, in the operator's words
    /// @param proof    the node key's signature over `proofDigest(caller, node)`
    function join(bytes32 node, string calldata endpoint, string calldata region, bytes calldata proof) external payable;
    /// @notice The 32 bytes that a node's key signs to show that it belongs to `operator`.
    function proofDigest(address operator, bytes32 node) external view returns (bytes32);
    /// @notice What the caller asks for each call, in the smallest unit, until that time (seconds since 1970).
    function setQuote(uint128 perCall, uint64 until) external;
    /// @notice Whether the caller is willing to hold the sharing of `asset`. Its bond is at least `LEAST_BOND` if it is. Who is
    ///         takes one of `MOST_VOLUNTEERS` places. Without one, because all are taken, it may be seated, and is not drawn.
    function allow(bytes32 asset, bool willing) external;
    /// @notice The same as willing, in the place of somebody whom nobody can draw any more: unwilling, without its bond, or not
    ///         admitted by the owner's policy, for `FREEZE` epochs. So a place costs a bond for as long as it is held, and an
    ///         owner clears places by its policy.
    function allowInPlaceOf(bytes32 asset, address gone) external;
    /// @notice Begins to take `amount` of the bond out. What is not there any more seats nobody. A second call moves the time for
    ///         all that is leaving.
    function unbond(uint256 amount) external;
    /// @notice Pays the caller what has unbonded.
    function withdraw() external returns (uint256 paid);
    /// @notice The same to another account, for an operator that takes no coin itself.
    function withdrawTo(address to) external returns (uint256 paid);
    /// @notice Pays the caller what it earned and what nobody can challenge any more.
    function claim() external returns (uint256 paid);
    /// @notice The same to another account.
    function claimTo(address to) external returns (uint256 paid);
    /// @notice The market pays three operators for `calls` calls. For the market only.
    function credit(address[3] calldata operators, uint256[3] calldata amounts, uint256 calls) external payable;

    /// @notice A session of `consumer` with this committee is over, for which this much was burnt. For the market only.
    function noteBurnt(address[3] calldata operators, address consumer, uint256 burnt) external;
    /// @notice Punishes whoever answers for `node`, once for each kind and session. By anybody; a twentieth of what is taken is
    ///         the caller's, and can be claimed like earnings. (Evidence in a pool can be copied: it is whose comes first.)
    /// @dev    What all three members of a seated committee signed, about a session that was opened: one key that leaked, or one
    ///         member alone, makes up nothing. A key answers for `UNBONDING` after it was replaced.
    /// @param evidence `abi.encode(Committee, InferenceReceipt, bytes signatures)`, for `TwoAnswers` with the second receipt and its
    ///                 signatures behind; signatures are three, as in `settle`
    function slash(Evidence kind, bytes32 node, bytes calldata evidence) external;
    /// @notice The table: how much of bond and unripe earnings a kind of evidence costs, in hundredths of a percent.
    function penaltyOf(Evidence kind) external pure returns (uint256);

    /// @notice What the owner of `asset` asks of whoever is seated for it, from now on.
    function setPolicy(bytes32 asset, uint128 leastBond, bool onlyAllowed) external;
    /// @notice What the owner of `asset` says about these operators.
    function judge(bytes32 asset, address[] calldata operators, Verdict verdict) external;
    /// @notice What the caller asks, as a consumer, of the operators in its sessions.
    function setMyPolicy(uint128 leastBond, bool onlyAllowed) external;
    /// @notice What the caller says, as a consumer, about these operators.
    function judgeForMe(address[] calldata operators, Verdict verdict) external;
    /// @notice Whether a policy lets this operator in. Scope: an asset, or a consumer's account as a number.
    function admits(bytes32 scope, address operator) external view returns (bool);
    /// @notice A policy.
    function policyOf(bytes32 scope) external view returns (uint128 leastBond, bool onlyAllowed);
    /// @notice A verdict.
    function verdictOf(bytes32 scope, address operator) external view returns (Verdict);

    /// @notice Who is drawn for `asset` in `epoch`, by a rule that anybody can recompute: among the operators who were bonded
    ///         and willing when the epoch two before it ended, and whom the owner's policy admits, one after the other, each
    ///         with a chance in proportion to its bond at that time; the randomness is the beacon's value of `epoch`, which
    ///         nobody knew then. The first three are the committee, in this order, the others stand by. For an epoch that is
    ///         over, ask the chain's state of that time: places and the owner's policy may have changed since.
    function propose(bytes32 asset, uint256 epoch) external view returns (address[] memory drawn);
    /// @notice Who has a place among the volunteers for `asset`, by place: at most `MOST_VOLUNTEERS`.
    function volunteers(bytes32 asset) external view returns (address[] memory);
    /// @notice An operator's bond at the end of an epoch, and whether it was willing then.
    function frozen(address operator, bytes32 asset, uint256 epoch) external view returns (uint256 bond, bool willing);
    /// @notice Fees burnt for sessions that this operator served, each consumer counted up to `CREDIT_CAP`.
    function reputationOf(address operator) external view returns (uint256);

    /// @notice What somebody who wants to seat an operator has to know. `bond` is what is in force, without what is leaving.
    function standing(address operator, bytes32 asset)
        external
        view
        returns (bytes32 node, uint256 bond, uint128 perCall, uint64 quoteUntil, bool willing);
    /// @notice Where an operator is reached.
    function placeOf(address operator) external view returns (string memory endpoint, string memory region);
    /// @notice What an operator has earned and not taken out: what it can claim now, and what still ripens.
    function earningsOf(address operator) external view returns (uint256 ripe, uint256 ripening);
    /// @notice What is leaving, and when it is due.
    function unbondingOf(address operator) external view returns (uint256 amount, uint64 due);
    /// @notice Whose node this is, or zero. A key stays its account's for ever.
    function operatorOf(bytes32 node) external view returns (address);
    /// @notice How an operator has served: calls that were paid (cheap to make for whoever pays itself: no rule counts them), and
    ///         how often evidence against it was shown. What it did not answer is nowhere: nobody can prove having asked.
    function recordOf(address operator) external view returns (uint64 calls, uint64 offences);
}

IOperators constant BONDS = IOperators(OPERATORS);
