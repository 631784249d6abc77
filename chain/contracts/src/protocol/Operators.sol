// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {BEACON} from "../IBeacon.sol";
import {COMMITTEE} from "../ICommittee.sol";
import {InferenceReceipt, InferenceReceipts} from "../InferenceReceipts.sol";
import {INFERENCE_MARKET} from "./Addresses.sol";
import {REGISTRY} from "./IAssetRegistry.sol";
import {IInferenceMarket} from "./IInferenceMarket.sol";
import {IOperators} from "./IOperators.sol";
import {Committee} from "./Types.sol";

// What a market seats nobody below.
uint256 constant LEAST_BOND = 100 ether;
// How long a bond answers after its owner wants it back: longer than every window of the market.
uint64 constant UNBONDING = 21 days;
// Earnings can be taken out between one and two of these after they were paid.
uint64 constant CHALLENGE = 1 days;
// Of the fees burnt with one consumer, so much counts for an operator's reputation: one consumer alone makes nobody great.
uint256 constant CREDIT_CAP = 10 ether;
// Who sits on the committees of an epoch is drawn among those who were there this many epochs before.
uint256 constant FREEZE = 2;
// Places of volunteers for one asset: drawing among all of them costs a bounded amount of work.
uint256 constant MOST_VOLUNTEERS = 256;
// Seats that are drawn: three for the committee, three that stand by.
uint256 constant DRAWN = 6;

contract Operators is IOperators, ReentrancyGuardTransient {
    using Checkpoints for Checkpoints.Trace160;

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

    /// Money by the period in which it came: what is two periods old is ripe. One word is written when money comes.
    struct Earnings {
        uint128 current;
        uint64 period;
        uint64 calls;
    }

    /// What came before.
    struct Earlier {
        uint128 before;
        uint128 ripe;
    }

    /// A volunteer's place: one more than its index, zero for none, and since which epoch.
    struct Place {
        uint128 number;
        uint128 since;
    }

    /// What an owner or a consumer asks of operators.
    struct Policy {
        uint128 leastBond;
        bool onlyAllowed;
    }

    uint256 private constant LONGEST_TEXT = 256;
    // A twentieth of what is slashed is for whoever showed the evidence.
    uint256 private constant REWARD_PART = 20;
    uint256 private constant ALL = 10_000;
    bytes32 private constant PROOF = keccak256("Sahara operator");

    mapping(address operator => Operator) private operators;
    mapping(address operator => Earnings) private earnings;
    mapping(address operator => Earlier) private earlier;
    mapping(address operator => mapping(bytes32 asset => Checkpoints.Trace160)) private willingness;
    mapping(address operator => Checkpoints.Trace160) private bonds;
    mapping(bytes32 asset => address[]) private places;
    mapping(bytes32 asset => mapping(address operator => Place)) private placeIn;
    mapping(bytes32 scope => Policy) private policies;
    mapping(bytes32 scope => mapping(address operator => Verdict)) private verdicts;
    mapping(bytes32 node => uint256) private retiredAt;
    mapping(bytes32 offence => bool) private punished;
    mapping(address operator => mapping(address consumer => uint256)) private counted;
    /// @inheritdoc IOperators
    mapping(address operator => uint256) public override reputationOf;
    /// @inheritdoc IOperators
    mapping(bytes32 node => address) public override operatorOf;
    mapping(address operator => uint64) private offences;

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
        if (node == 0 || node != o.node) {
            _prove(node, proof);
            operatorOf[node] = msg.sender;
            retiredAt[o.node] = block.timestamp;
            delete retiredAt[node];
            o.node = node;
        }
        _setBond(o, msg.sender, bond);
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
        _setWilling(asset, really);
        address[] storage all = places[asset];
        if (!really || placeIn[asset][msg.sender].number != 0 || all.length == MOST_VOLUNTEERS) return;
        all.push(msg.sender);
        placeIn[asset][msg.sender] = Place(uint128(all.length), _epoch());
    }

    /// @inheritdoc IOperators
    function allowInPlaceOf(bytes32 asset, address gone) external {
        uint128 number = placeIn[asset][gone].number;
        if (number == 0 || placeIn[asset][msg.sender].number != 0 || !_isGone(asset, gone)) revert StillThere(gone);
        _setWilling(asset, true);
        delete placeIn[asset][gone];
        places[asset][number - 1] = msg.sender;
        // Whoever was willing and bonded long before is in no set that is frozen.
        placeIn[asset][msg.sender] = Place(number, _epoch());
    }

    /// @inheritdoc IOperators
    function unbond(uint256 amount) external {
        Operator storage o = _caller();
        if (amount == 0) revert NothingToPay();
        if (amount > o.bond) revert MoreThanBonded(amount, o.bond);
        _setBond(o, msg.sender, o.bond - amount);
        o.leaving += uint128(amount);
        o.due = uint64(block.timestamp) + UNBONDING;
        emit Unbonding(msg.sender, amount, o.due);
    }

    /// @inheritdoc IOperators
    function withdraw() external returns (uint256 paid) {
        return withdrawTo(msg.sender);
    }

    /// @inheritdoc IOperators
    function withdrawTo(address to) public nonReentrant returns (uint256 paid) {
        Operator storage o = operators[msg.sender];
        paid = o.leaving;
        if (paid == 0) revert NothingToPay();
        if (block.timestamp < o.due) revert NotDue(o.due);
        o.leaving = 0;
        emit Withdrawn(msg.sender, paid);
        _send(to, paid);
    }

    /// @inheritdoc IOperators
    function claim() external returns (uint256 paid) {
        return claimTo(msg.sender);
    }

    /// @inheritdoc IOperators
    function claimTo(address to) public nonReentrant returns (uint256 paid) {
        earnings[msg.sender] = _turned(msg.sender);
        paid = earlier[msg.sender].ripe;
        if (paid == 0) revert NothingToPay();
        earlier[msg.sender].ripe = 0;
        emit Claimed(msg.sender, paid);
        _send(to, paid);
    }

    /// @inheritdoc IOperators
    function credit(address[3] calldata who, uint256[3] calldata amounts, uint256 calls) external payable {
        _onlyMarket();
        uint256 sum = amounts[0] + amounts[1] + amounts[2];
        if (sum != msg.value) revert WrongSum(sum, msg.value);
        for (uint256 i = 0; i < 3; i++) {
            Earnings memory e = _turned(who[i]);
            unchecked {
                // The money has come, and there is less than 2^128 of it.
                e.current += uint128(amounts[i]);
                // A record that is full stays full: it must never stand in the way of money.
                e.calls = calls > type(uint64).max - e.calls ? type(uint64).max : e.calls + uint64(calls);
            }
            earnings[who[i]] = e;
        }
    }

    /// @inheritdoc IOperators
    function noteBurnt(address[3] calldata who, address consumer, uint256 burnt) external {
        _onlyMarket();
        for (uint256 i = 0; i < 3; i++) {
            uint256 room = CREDIT_CAP - counted[who[i]][consumer];
            uint256 more = burnt < room ? burnt : room;
            if (more == 0) continue;
            counted[who[i]][consumer] += more;
            reputationOf[who[i]] += more;
        }
    }

    /// @inheritdoc IOperators
    function slash(Evidence kind, bytes32 node, bytes calldata evidence) external nonReentrant {
        address operator = operatorOf[node];
        bytes32 offence = keccak256(abi.encode(operator, kind, _judge(kind, node, evidence)));
        if (punished[offence]) revert PunishedBefore();
        punished[offence] = true;
        offences[operator] += 1;
        uint256 taken = _take(operator, penaltyOf(kind));
        uint256 reward = taken / REWARD_PART;
        earlier[msg.sender].ripe += uint128(reward);
        emit Slashed(operator, node, kind, taken - reward, reward, msg.sender);
        _send(address(0), taken - reward);
    }

    /// @inheritdoc IOperators
    function penaltyOf(Evidence kind) public pure returns (uint256) {
        return kind == Evidence.TwoAnswers ? 1_000 : 500;
    }

    /// @inheritdoc IOperators
    function setPolicy(bytes32 asset, uint128 leastBond, bool onlyAllowed) external {
        _setPolicy(_ownScope(asset), leastBond, onlyAllowed);
    }

    /// @inheritdoc IOperators
    function judge(bytes32 asset, address[] calldata who, Verdict verdict) external {
        _setVerdicts(_ownScope(asset), who, verdict);
    }

    /// @inheritdoc IOperators
    function setMyPolicy(uint128 leastBond, bool onlyAllowed) external {
        _setPolicy(_scopeOf(msg.sender), leastBond, onlyAllowed);
    }

    /// @inheritdoc IOperators
    function judgeForMe(address[] calldata who, Verdict verdict) external {
        _setVerdicts(_scopeOf(msg.sender), who, verdict);
    }

    /// @inheritdoc IOperators
    function admits(bytes32 scope, address operator) external view returns (bool) {
        return _admits(scope, operator, operators[operator].bond);
    }

    /// @inheritdoc IOperators
    function policyOf(bytes32 scope) external view returns (uint128 leastBond, bool onlyAllowed) {
        return (policies[scope].leastBond, policies[scope].onlyAllowed);
    }

    /// @inheritdoc IOperators
    function verdictOf(bytes32 scope, address operator) external view returns (Verdict) {
        return verdicts[scope][operator];
    }

    /// @inheritdoc IOperators
    function propose(bytes32 asset, uint256 epoch) external view returns (address[] memory drawn) {
        if (epoch < FREEZE || epoch - FREEZE >= _epoch()) revert NotFrozen(epoch);
        bytes32 seed = keccak256(abi.encode(BEACON.valueOf(epoch), asset, epoch));
        (address[] memory candidates, uint256[] memory weights, uint256 total) = _candidates(asset, epoch - FREEZE);
        uint256 count = candidates.length;
        if (count < 3) revert TooFew(count);
        drawn = new address[](count < DRAWN ? count : DRAWN);
        for (uint256 seat = 0; seat < drawn.length; seat++) {
            uint256 point = uint256(keccak256(abi.encode(seed, seat))) % total;
            uint256 i = 0;
            while (point >= weights[i]) {
                point -= weights[i];
                i++;
            }
            drawn[seat] = candidates[i];
            total -= weights[i];
            weights[i] = 0;
        }
    }

    /// @inheritdoc IOperators
    function volunteers(bytes32 asset) external view returns (address[] memory) {
        return places[asset];
    }

    /// @inheritdoc IOperators
    function frozen(address operator, bytes32 asset, uint256 epoch) public view returns (uint256 bond, bool isWilling) {
        bond = bonds[operator].upperLookupRecent(uint96(epoch));
        isWilling = willingness[operator][asset].upperLookupRecent(uint96(epoch)) == 1;
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
        return (o.node, o.bond, o.perCall, o.quoteUntil, willingness[operator][asset].latest() == 1);
    }

    /// @inheritdoc IOperators
    function placeOf(address operator) external view returns (string memory endpoint, string memory region) {
        return (operators[operator].endpoint, operators[operator].region);
    }

    /// @inheritdoc IOperators
    function earningsOf(address operator) external view returns (uint256 ripe, uint256 ripening) {
        Earnings memory e = earnings[operator];
        Earlier memory l = earlier[operator];
        uint256 age = _period() - e.period;
        ripe = l.ripe;
        if (age >= 1) ripe += l.before;
        if (age >= 2) ripe += e.current;
        ripening = uint256(l.ripe) + l.before + e.current - ripe;
    }

    /// @inheritdoc IOperators
    function unbondingOf(address operator) external view returns (uint256 amount, uint64 due) {
        return (operators[operator].leaving, operators[operator].due);
    }

    /// @inheritdoc IOperators
    function recordOf(address operator) external view returns (uint64 calls, uint64 shown) {
        return (earnings[operator].calls, offences[operator]);
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

    function _setBond(Operator storage o, address operator, uint256 bond) private {
        o.bond = uint128(bond);
        bonds[operator].push(_epoch(), uint160(bond));
    }

    /// Those among whom `propose` draws, in the order of their places, and their weights.
    function _candidates(bytes32 asset, uint256 epoch)
        private
        view
        returns (address[] memory candidates, uint256[] memory weights, uint256 total)
    {
        address[] storage all = places[asset];
        (candidates, weights) = (new address[](all.length), new uint256[](all.length));
        uint256 count = 0;
        for (uint256 i = 0; i < all.length; i++) {
            (bool may, uint256 bond) = _mayBeDrawn(asset, all[i], epoch);
            if (!may) continue;
            (candidates[count], weights[count]) = (all[i], bond);
            total += bond;
            count++;
        }
        assembly ("memory-safe") {
            mstore(candidates, count)
            mstore(weights, count)
        }
    }

    function _mayBeDrawn(bytes32 asset, address who, uint256 epoch) private view returns (bool may, uint256 bond) {
        bool isWilling;
        (bond, isWilling) = frozen(who, asset, epoch);
        may = isWilling && bond >= LEAST_BOND && placeIn[asset][who].since <= epoch && _admits(asset, who, bond);
    }

    /// Whether nobody can draw this one, neither now nor in the two epochs whose sets are frozen or about to be.
    function _isGone(bytes32 asset, address who) private view returns (bool) {
        uint256 epoch = _epoch();
        for (uint256 i = 0; i <= FREEZE && i <= epoch; i++) {
            (bool may,) = _mayBeDrawn(asset, who, epoch - i);
            if (may) return false;
        }
        return true;
    }

    function _setWilling(bytes32 asset, bool really) private {
        uint256 bond = _caller().bond;
        if (really && bond < LEAST_BOND) revert BondTooSmall(bond, LEAST_BOND);
        willingness[msg.sender][asset].push(_epoch(), really ? 1 : 0);
        emit Allowed(msg.sender, asset, really);
    }

    function _admits(bytes32 scope, address operator, uint256 bond) private view returns (bool) {
        Policy storage policy = policies[scope];
        Verdict verdict = verdicts[scope][operator];
        return
            bond >= policy.leastBond && verdict != Verdict.Denied && (!policy.onlyAllowed || verdict == Verdict.Allowed);
    }

    function _ownScope(bytes32 asset) private view returns (bytes32) {
        if (REGISTRY.ownerOf(asset) != msg.sender) revert NotTheOwner(asset, msg.sender);
        return asset;
    }

    function _scopeOf(address consumer) private pure returns (bytes32) {
        return bytes32(uint256(uint160(consumer)));
    }

    function _setPolicy(bytes32 scope, uint128 leastBond, bool onlyAllowed) private {
        policies[scope] = Policy(leastBond, onlyAllowed);
        emit PolicySet(scope, leastBond, onlyAllowed);
    }

    function _setVerdicts(bytes32 scope, address[] calldata who, Verdict verdict) private {
        for (uint256 i = 0; i < who.length; i++) {
            verdicts[scope][who[i]] = verdict;
            emit Judged(scope, who[i], verdict);
        }
    }

    /// Whether the evidence shows what its kind says about a session and a committee that there are; the session.
    function _judge(Evidence kind, bytes32 node, bytes calldata evidence) private view returns (bytes32 session) {
        Committee memory c;
        InferenceReceipt memory a;
        InferenceReceipt memory b;
        bytes memory signatures;
        bool evident;
        if (kind == Evidence.TwoAnswers) {
            bytes memory second;
            (c, a, signatures, b, second) =
                abi.decode(evidence, (Committee, InferenceReceipt, bytes, InferenceReceipt, bytes));
            bool same = a.job == b.job && a.session == b.session && a.lane == b.lane && a.number == b.number;
            bool alike = a.request == b.request && a.output == b.output && a.transcript == b.transcript;
            evident = same && !alike && _signed(c, b, second);
        } else {
            (c, a, signatures) = abi.decode(evidence, (Committee, InferenceReceipt, bytes));
            evident = a.total != uint256(a.number) * a.price || a.output == 0 || a.helper > 2;
        }
        bool member = node == c.keys[0] || node == c.keys[1] || node == c.keys[2];
        if (!evident || !member || !_answers(node) || !_known(c, a) || !_signed(c, a, signatures)) revert NotEvident();
        return a.session;
    }

    /// Whether this is some operator's node, or was until not long ago.
    function _answers(bytes32 node) private view returns (bool) {
        uint256 retired = retiredAt[node];
        return operatorOf[node] != address(0) && (retired == 0 || block.timestamp <= retired + UNBONDING);
    }

    /// Whether the receipt is about a committee that was seated and a session that was opened.
    function _known(Committee memory c, InferenceReceipt memory r) private view returns (bool) {
        IInferenceMarket market = IInferenceMarket(INFERENCE_MARKET);
        return keccak256(abi.encode(c)) == r.lane && market.committees(r.lane) != 0 && market.sessions(r.session) != 0;
    }

    function _signed(Committee memory c, InferenceReceipt memory r, bytes memory signatures)
        private
        view
        returns (bool)
    {
        bytes32[] memory keys = new bytes32[](3);
        (keys[0], keys[1], keys[2]) = (c.keys[0], c.keys[1], c.keys[2]);
        bytes32 digest = InferenceReceipts.digest(r, block.chainid, INFERENCE_MARKET);
        return COMMITTEE.verify(digest, keys, 7, signatures, 3);
    }

    /// Takes this part of a bond, of what is leaving of it, and of what was earned and can still be challenged.
    function _take(address operator, uint256 part) private returns (uint256 taken) {
        Operator storage o = operators[operator];
        Earnings memory e = _turned(operator);
        Earlier storage l = earlier[operator];
        uint256 fromBond = o.bond * part / ALL;
        uint256 fromLeaving = o.leaving * part / ALL;
        uint256 fromCurrent = e.current * part / ALL;
        uint256 fromBefore = l.before * part / ALL;
        _setBond(o, operator, o.bond - fromBond);
        o.leaving -= uint128(fromLeaving);
        e.current -= uint128(fromCurrent);
        earnings[operator] = e;
        l.before -= uint128(fromBefore);
        return fromBond + fromLeaving + fromCurrent + fromBefore;
    }

    function _epoch() private view returns (uint96) {
        (uint256 epoch,) = BEACON.current();
        return uint96(epoch);
    }

    /// Earnings in the present period, once those of earlier ones are where they belong. The caller stores them.
    function _turned(address operator) private returns (Earnings memory e) {
        e = earnings[operator];
        uint64 now_ = uint64(_period());
        if (e.period == now_) return e;
        Earlier storage l = earlier[operator];
        bool next = e.period + 1 == now_;
        uint128 before = l.before;
        if (e.current != 0 || before != 0) {
            l.ripe += next ? before : before + e.current;
            l.before = next ? e.current : 0;
        }
        (e.current, e.period) = (0, now_);
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
