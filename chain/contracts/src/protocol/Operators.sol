// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {COMMITTEE} from "../ICommittee.sol";
import {INFERENCE_MARKET} from "./Addresses.sol";
import {IOperators} from "./IOperators.sol";

// What a market seats nobody below.
uint256 constant LEAST_BOND = 100 ether;
// How long a bond answers after its owner wants it back: longer than every window of the market.
uint64 constant UNBONDING = 21 days;
// Earnings can be taken out between one and two of these after they were paid.
uint64 constant CHALLENGE = 1 days;

contract Operators is IOperators, ReentrancyGuardTransient {
    struct Operator {
        bytes32 node;
        uint128 bond;
        uint128 leaving;
        uint128 perCall;
        uint64 quoteUntil;
        uint64 due;
        string endpoint;
        string region;
    }

    /// Money by the period in which it came: what is two periods old is ripe.
    struct Earnings {
        uint128 current;
        uint64 period;
        uint64 calls;
        uint128 before;
        uint128 ripe;
    }

    uint256 private constant LONGEST_TEXT = 256;
    bytes32 private constant PROOF = keccak256("Sahara operator");

    mapping(address operator => Operator) private operators;
    mapping(address operator => Earnings) private earnings;
    mapping(address operator => mapping(bytes32 asset => bool)) private willing;
    /// @inheritdoc IOperators
    mapping(bytes32 node => address) public override operatorOf;
    mapping(address operator => uint64) private refused;

    /// @inheritdoc IOperators
    function join(bytes32 node, string calldata endpoint, string calldata region, bytes calldata proof)
        external
        payable
    {
        Operator storage o = operators[msg.sender];
        if (bytes(endpoint).length > LONGEST_TEXT) revert TooLong(bytes(endpoint).length);
        if (bytes(region).length > LONGEST_TEXT) revert TooLong(bytes(region).length);
        uint256 bond = o.bond + msg.value;
        if (bond < LEAST_BOND) revert BondTooSmall(bond, LEAST_BOND);
        if (node != o.node) {
            _prove(node, proof);
            operatorOf[node] = msg.sender;
            o.node = node;
        }
        o.bond = uint128(bond);
        o.endpoint = endpoint;
        o.region = region;
        emit Joined(msg.sender, node, bond, endpoint, region);
    }

    /// @inheritdoc IOperators
    function setQuote(uint128 perCall, uint64 until) external {
        Operator storage o = _caller();
        if (until <= block.timestamp) revert QuoteInThePast(until);
        (o.perCall, o.quoteUntil) = (perCall, until);
        emit Quoted(msg.sender, perCall, until);
    }

    /// @inheritdoc IOperators
    function allow(bytes32 asset, bool really) external {
        _caller();
        willing[msg.sender][asset] = really;
        emit Allowed(msg.sender, asset, really);
    }

    /// @inheritdoc IOperators
    function unbond(uint256 amount) external {
        Operator storage o = _caller();
        if (amount == 0) revert NothingToPay();
        if (amount > o.bond) revert MoreThanBonded(amount, o.bond);
        o.bond -= uint128(amount);
        o.leaving += uint128(amount);
        o.due = uint64(block.timestamp) + UNBONDING;
        emit Unbonding(msg.sender, amount, o.due);
    }

    /// @inheritdoc IOperators
    function withdraw() external nonReentrant returns (uint256 paid) {
        Operator storage o = operators[msg.sender];
        paid = o.leaving;
        if (paid == 0) revert NothingToPay();
        if (block.timestamp < o.due) revert NotDue(o.due);
        o.leaving = 0;
        emit Withdrawn(msg.sender, paid);
        _send(msg.sender, paid);
    }

    /// @inheritdoc IOperators
    function claim() external nonReentrant returns (uint256 paid) {
        Earnings storage e = earnings[msg.sender];
        _turn(e);
        paid = e.ripe;
        if (paid == 0) revert NothingToPay();
        e.ripe = 0;
        emit Claimed(msg.sender, paid);
        _send(msg.sender, paid);
    }

    /// @inheritdoc IOperators
    function credit(address[3] calldata who, uint256[3] calldata amounts, uint256 calls) external payable {
        _onlyMarket();
        uint256 sum = amounts[0] + amounts[1] + amounts[2];
        if (sum != msg.value) revert WrongSum(sum, msg.value);
        for (uint256 i = 0; i < 3; i++) {
            Earnings storage e = earnings[who[i]];
            _turn(e);
            // The money has come, and there is less than 2^128 of it.
            e.current += uint128(amounts[i]);
            // A record that is full stays full: it must never stand in the way of money.
            uint256 record = calls > type(uint64).max - e.calls ? type(uint64).max : e.calls + calls;
            e.calls = uint64(record);
        }
    }

    /// @inheritdoc IOperators
    function proofDigest(address operator, bytes32 node) public view returns (bytes32) {
        return keccak256(abi.encode(PROOF, block.chainid, address(this), operator, node));
    }

    /// @inheritdoc IOperators
    function standing(address operator, bytes32 asset)
        external
        view
        returns (bytes32 node, uint256 bond, uint128 perCall, uint64 quoteUntil, bool isWilling)
    {
        Operator storage o = operators[operator];
        return (o.node, o.bond, o.perCall, o.quoteUntil, willing[operator][asset]);
    }

    /// @inheritdoc IOperators
    function placeOf(address operator) external view returns (string memory endpoint, string memory region) {
        return (operators[operator].endpoint, operators[operator].region);
    }

    /// @inheritdoc IOperators
    function earningsOf(address operator) external view returns (uint256 ripe, uint256 ripening) {
        Earnings memory e = earnings[operator];
        uint256 age = _period() - e.period;
        ripe = e.ripe;
        if (age >= 1) ripe += e.before;
        if (age >= 2) ripe += e.current;
        ripening = uint256(e.ripe) + e.before + e.current - ripe;
    }

    /// @inheritdoc IOperators
    function unbondingOf(address operator) external view returns (uint256 amount, uint64 due) {
        return (operators[operator].leaving, operators[operator].due);
    }

    /// @inheritdoc IOperators
    function recordOf(address operator) external view returns (uint64 calls, uint64 refusals) {
        return (earnings[operator].calls, refused[operator]);
    }

    function _prove(bytes32 node, bytes calldata proof) private view {
        bytes32[] memory keys = new bytes32[](1);
        keys[0] = node;
        address before = operatorOf[node];
        bool taken = before != address(0) && before != msg.sender;
        if (node == 0 || taken || !COMMITTEE.verify(proofDigest(msg.sender, node), keys, 1, proof, 1)) {
            revert NodeNotProven(node);
        }
    }

    /// Moves earnings on to the present period.
    function _turn(Earnings storage e) private {
        uint64 now_ = uint64(_period());
        uint64 age = now_ - e.period;
        if (age == 0) return;
        (uint128 current, uint128 before) = (e.current, e.before);
        if (current != 0 || before != 0) {
            e.ripe += age == 1 ? before : before + current;
            e.before = age == 1 ? current : 0;
            e.current = 0;
        }
        e.period = now_;
    }

    function _caller() private view returns (Operator storage o) {
        o = operators[msg.sender];
        if (o.node == 0) revert NotAnOperator(msg.sender);
    }

    function _period() private view returns (uint256) {
        return block.timestamp / CHALLENGE;
    }

    function _onlyMarket() private view {
        if (msg.sender != INFERENCE_MARKET) revert NotTheMarket(msg.sender);
    }

    function _send(address to, uint256 amount) private {
        (bool taken,) = to.call{value: amount}("");
        if (!taken) revert NotTaken(to, amount);
    }
}
