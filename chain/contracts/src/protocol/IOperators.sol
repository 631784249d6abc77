// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {OPERATORS} from "./Addresses.sol";

/// @title  Who serves: bonds, keys, prices, and what they earned.
/// @notice An operator is an account with a bond. It answers for one share node, whose key it has proven to hold. What
///         it earns at the market ripens here before it can be taken out; its bond leaves only after `UNBONDING`, which
///         is longer than any window in which somebody may still complain. Nobody can change these times, or touch a
///         bond other than by evidence that this contract checks itself.
interface IOperators {
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
    /// @notice The receiver did not take the money.
    error NotTaken(address who, uint256 amount);

    /// @notice Makes the caller an operator, or tops up its bond, renames its address or changes its node's key. The bond in
    ///         force must then be at least `LEAST_BOND`.
    /// @param node     ed25519 key of the share node
    /// @param endpoint where consumers and other nodes reach it
    /// @param region   where it stands, in the operator's words
    /// @param proof    the node key's signature over `proofDigest(caller, node)`
    function join(bytes32 node, string calldata endpoint, string calldata region, bytes calldata proof)
        external
        payable;
    /// @notice The 32 bytes that a node's key signs to show that it belongs to `operator`.
    function proofDigest(address operator, bytes32 node) external view returns (bytes32);
    /// @notice What the caller asks for each call, in the smallest unit, until that time (seconds since 1970).
    function setQuote(uint128 perCall, uint64 until) external;
    /// @notice Whether the caller is willing to hold the sharing of `asset`.
    function allow(bytes32 asset, bool willing) external;
    /// @notice Begins to take `amount` of the bond out. What is not there any more seats nobody. A second call moves the time for
    ///         all that is leaving.
    function unbond(uint256 amount) external;
    /// @notice Pays the caller what has unbonded.
    function withdraw() external returns (uint256 paid);
    /// @notice Pays the caller what it earned and what nobody can challenge any more.
    function claim() external returns (uint256 paid);
    /// @notice The market pays three operators for `calls` calls. For the market only.
    function credit(address[3] calldata operators, uint256[3] calldata amounts, uint256 calls) external payable;

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
    /// @notice How an operator has served: calls that were paid, and requests of contracts left unanswered.
    function recordOf(address operator) external view returns (uint64 calls, uint64 refused);
}

IOperators constant BONDS = IOperators(OPERATORS);
