// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {COMMITTEE} from "../ICommittee.sol";
import {InferenceReceipt, InferenceReceipts} from "../InferenceReceipts.sol";
import {REGISTRY} from "./IAssetRegistry.sol";
import {REVENUE} from "./IAttribution.sol";
import {IInferenceMarket} from "./IInferenceMarket.sol";
import {BLOCKS} from "./IJournal.sol";
import {BONDS} from "./IOperators.sol";
import {Committee, Session} from "./Types.sol";

// For how long what is owed can be claimed once a session closes.
uint64 constant CLOSING = 1 days;
// And for so many blocks, so that a chain that stood still has not used the time up.
uint256 constant CLOSING_BLOCKS = 600;
// A session lasts no longer, so that every state has an end.
uint64 constant LONGEST_SESSION = 366 days;
// Nor is a committee seated for longer, or longer ahead.
uint64 constant LONGEST_TERM = 2 * LONGEST_SESSION;
// Lanes of a session: what it costs to finish one is bounded.
uint256 constant MOST_LANES = 8;
// A session gives one price back at most, and no lane does before so many of its calls were paid: a name used twice on purpose
// gains one call in so many.
uint256 constant REFUND_CALLS = 20;
// And so many calls of the other lane, which keeps its price: as much is burnt of them as one call's computing costs, so a
// committee that a consumer made up for this pays what the two gain.
uint256 constant KEEPING_CALLS = BURNT_PART;
// One hundredth of what is paid for computing is burnt.
uint256 constant BURNT_PART = 100;
// Calls that may be unreceipted in a lane.
uint32 constant IN_FLIGHT = 1;
// How long a contract waits for an answer.
uint64 constant ANSWER_TIME = 1 hours;
// What a callback may burn.
uint256 constant CALLBACK_GAS = 200_000;

/// What all parts of the market share: its books, how it pays, and the digests that others sign.
abstract contract MarketBase is IInferenceMarket, ReentrancyGuardTransient {
    struct Seat {
        bytes32 asset;
        bytes32 keys;
        uint64 until;
        address[3] operators;
    }

    /// What a settlement leaves behind for an asset, in one word.
    struct Trace {
        uint64 servedAt;
        uint192 ashes;
    }

    uint256 internal constant OPEN = 1;
    uint256 internal constant CLOSES = 2;
    uint256 internal constant FINISHED = 3;
    uint256 internal constant WAITING = 1;
    uint256 internal constant ANSWERED = 2;
    uint256 internal constant GIVEN_BACK = 3;
    // What a call that is paid for from a signed limit costs beside what is measured: the transaction, its data, the credit.
    uint256 internal constant OVERHEAD = 60_000;
    // What is paid above the block's base fee for such a call, at most.
    uint256 internal constant HIGHEST_TIP = 1 gwei;

    bytes32 internal constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant NAME = keccak256("Sahara Inference Market");
    bytes32 internal constant VERSION = keccak256("1");
    bytes32 internal constant VOUCHER =
        keccak256("Voucher(bytes32 session,bytes32 lane,uint128 total,bytes32 job,bytes32 request)");
    bytes32 internal constant ORDER = keccak256(
        "Open(address consumer,uint256 licence,address signer,bytes32 asker,bytes32[] lanes,uint128[] caps,uint64 ends,"
        "uint256 nonce,uint128 most,uint64 deadline)"
    );

    // Share nodes prove words of the first three slots: their places and meanings are part of the interface.
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 session => uint256) public override sessions;
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 committee => uint256) public override committees;
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 session => mapping(bytes32 lane => uint256)) public override settled;

    mapping(bytes32 committee => Seat) internal seats;
    // One more than the total up to which a lane was paid out, where that is not all; else zero.
    mapping(bytes32 session => mapping(bytes32 lane => uint256)) internal unpaid;
    mapping(bytes32 session => bytes32 lane) internal returned;
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 session => uint256 block) public override closedIn;
    /// @inheritdoc IInferenceMarket
    mapping(address account => uint256) public override balanceOf;
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 asset => uint256) public override owed;
    mapping(bytes32 asset => Trace) internal traces;
    mapping(bytes32 asset => Ask) internal asks;
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 request => uint256) public override requests;
    uint256 internal requestCount;

    /// @inheritdoc IInferenceMarket
    function deposit(address account) external payable {
        balanceOf[account] += msg.value;
        emit Deposited(account, msg.value);
    }

    /// @inheritdoc IInferenceMarket
    function withdraw() external returns (uint256 paid) {
        return withdrawTo(msg.sender);
    }

    /// @inheritdoc IInferenceMarket
    function withdrawTo(address to) public nonReentrant returns (uint256 paid) {
        paid = balanceOf[msg.sender];
        if (paid == 0) revert NothingToPay();
        balanceOf[msg.sender] = 0;
        emit Withdrawn(msg.sender, paid);
        _send(to, paid);
    }

    /// Something about `key` happens in this block. In one place: this contract's code is as long as it may be.
    function _note(bytes32 key) internal {
        BLOCKS.note(key);
    }

    /// @inheritdoc IInferenceMarket
    function forward(bytes32 asset) external nonReentrant {
        uint256 amount = owed[asset];
        if (amount == 0) revert NothingToPay();
        owed[asset] = 0;
        REVENUE.pay{value: amount}(asset);
    }

    /// @inheritdoc IInferenceMarket
    function burn(bytes32 asset) external nonReentrant {
        uint256 amount = traces[asset].ashes;
        if (amount == 0) revert NothingToPay();
        traces[asset].ashes = 0;
        emit Burnt(asset, amount);
        _send(address(0), amount);
    }

    /// @inheritdoc IInferenceMarket
    function sessionId(Session calldata s) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), s));
    }

    /// @inheritdoc IInferenceMarket
    function committeeId(Committee calldata c) public pure returns (bytes32 committee) {
        // Its twelve words, as they lie in the call.
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, c, 0x180)
            committee := keccak256(free, 0x180)
        }
    }

    /// @inheritdoc IInferenceMarket
    function servedAt(bytes32 asset) external view returns (uint64) {
        return traces[asset].servedAt;
    }

    /// @inheritdoc IInferenceMarket
    function ashes(bytes32 asset) external view returns (uint256) {
        return traces[asset].ashes;
    }

    /// @inheritdoc IInferenceMarket
    function askOf(bytes32 asset) external view returns (Ask memory) {
        return asks[asset];
    }

    /// @inheritdoc IInferenceMarket
    function voucherDigest(bytes32 session, bytes32 lane, uint128 total, bytes32 job, bytes32 request)
        public
        view
        returns (bytes32)
    {
        return _typed(keccak256(abi.encode(VOUCHER, session, lane, total, job, request)));
    }

    /// @inheritdoc IInferenceMarket
    function orderDigest(address consumer, Order calldata o, uint128 most, uint64 deadline)
        public
        view
        returns (bytes32)
    {
        bytes32 lanes = keccak256(abi.encodePacked(o.lanes));
        bytes32 caps = keccak256(abi.encodePacked(o.caps));
        bytes memory head = abi.encode(ORDER, consumer, o.licence, o.signer, o.asker, lanes, caps);
        return _typed(keccak256(bytes.concat(head, abi.encode(o.ends, o.nonce, most, deadline))));
    }

    /// @inheritdoc IInferenceMarket
    function split(uint256 compute, uint256 calls) public pure returns (uint256 burnt, uint256[3] memory members) {
        uint256 all = compute * calls;
        burnt = all / BURNT_PART;
        uint256 net = all - burnt;
        members = [(net + 2) / 3, (net + 1) / 3, net / 3];
    }

    /// What every receipt has to say about asset and committee.
    function _checkWork(bytes32 asset, Committee calldata c, InferenceReceipt calldata r) internal pure {
        if (r.asset != asset || r.sharing != c.manifest || r.graph == 0) {
            revert WrongModel(r.asset, r.sharing, r.graph);
        }
        if (r.parameters == 0 || r.helper > 2) revert WrongParameters(r.parameters, r.helper);
        if (r.output == 0) revert WrongOutput(r.output);
        bool ours = r.committee == _root(c) && r.epoch == c.epoch;
        if (!ours) revert WrongCommittee(r.committee);
    }

    function _checkSigned(Committee calldata c, InferenceReceipt calldata r, bytes calldata signatures)
        internal
        view
        returns (bytes32 receipt)
    {
        bytes32[] memory keys = new bytes32[](3);
        (keys[0], keys[1], keys[2]) = (c.keys[0], c.keys[1], c.keys[2]);
        receipt = InferenceReceipts.digestOf(r);
        if (!COMMITTEE.verify(receipt, keys, 7, signatures, 3)) revert NotSigned(receipt);
    }

    function _root(Committee calldata c) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(c.keys));
    }

    /// Pays a committee for the calls after `from` up to `to`, the last of which was asked at `time`. What each gets is a function
    /// of the count alone, so that it does not matter who settles how often.
    function _pay(bytes32 asset, uint256 compute, address[3] memory members, uint256 from, uint256 to, uint64 time)
        internal
    {
        (uint256 burnt, uint256[3] memory amounts) = split(compute, to);
        if (from != 0) {
            (uint256 burntBefore, uint256[3] memory before) = split(compute, from);
            burnt -= burntBefore;
            (amounts[0], amounts[1]) = (amounts[0] - before[0], amounts[1] - before[1]);
            amounts[2] -= before[2];
        }
        _leaveTrace(asset, time, burnt);
        if (from != to) BONDS.credit{value: amounts[0] + amounts[1] + amounts[2]}(members, amounts, to - from);
    }

    /// The time of a call that its committee served, or zero when it was unseated before: such a call is paid, and says nothing
    /// about whether anybody could be served.
    function _seatedAt(bytes32 lane, uint64 time) internal view returns (uint64) {
        uint256 ended = committees[lane] >> 64;
        return ended != 0 && time > ended ? 0 : time;
    }

    /// When an asset last served somebody (by the receipt, not by who holds it back, and never in the future), and what is to be
    /// burnt.
    function _leaveTrace(bytes32 asset, uint64 time, uint256 burnt) internal {
        Trace memory trace = traces[asset];
        if (time > block.timestamp) time = uint64(block.timestamp);
        if (time > trace.servedAt) trace.servedAt = time;
        trace.ashes += uint192(burnt);
        traces[asset] = trace;
    }

    function _payRoyalty(bytes32 asset, uint256 amount) internal {
        try REVENUE.pay{value: amount}(asset) {}
        catch {
            owed[asset] += amount;
        }
    }

    function _typed(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPE, NAME, VERSION, block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _onlyOwner(bytes32 asset) internal view {
        if (msg.sender != REGISTRY.ownerOf(asset)) revert NotTheOwner(asset, msg.sender);
    }

    function _send(address to, uint256 amount) internal {
        (bool taken,) = to.call{value: amount}("");
        if (!taken) revert NotTaken(to, amount);
    }
}
