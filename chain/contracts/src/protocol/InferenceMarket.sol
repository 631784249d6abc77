// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {COMMITTEE} from "../ICommittee.sol";
import {InferenceReceipt, InferenceReceipts} from "../InferenceReceipts.sol";
import {REGISTRY} from "./IAssetRegistry.sol";
import {REVENUE} from "./IAttribution.sol";
import {IInferenceCallback, IInferenceMarket} from "./IInferenceMarket.sol";
import {LICENCE_BOOK} from "./ILicences.sol";
import {BONDS} from "./IOperators.sol";
import {RECEIPTS} from "./IOwnershipReceipts.sol";
import {LEAST_BOND} from "./Operators.sol";
import {Committee, Session, Terms} from "./Types.sol";

// For how long what is owed can be claimed once a session closes.
uint64 constant CLOSING = 1 days;
// A session lasts no longer, so that every state has an end.
uint64 constant LONGEST_SESSION = 366 days;
// Nor is a committee seated for longer, or longer ahead.
uint64 constant LONGEST_TERM = 2 * LONGEST_SESSION;
// Lanes of a session: what it costs to finish one is bounded.
uint256 constant MOST_LANES = 8;
// And for so many blocks, so that a chain that stood still has not used the time up.
uint256 constant CLOSING_BLOCKS = 600;
// A session gives one price back at most, and not before so many of its calls were paid: a name used twice on purpose gains
// less than this part of them.
uint256 constant REFUND_CALLS = 20;
// Calls that may be unreceipted in a lane.
uint32 constant IN_FLIGHT = 1;
// How long a contract waits for an answer.
uint64 constant ANSWER_TIME = 1 hours;
// What a callback may burn.
uint256 constant CALLBACK_GAS = 200_000;

contract InferenceMarket is IInferenceMarket, ReentrancyGuardTransient {
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

    uint256 private constant OPEN = 1;
    uint256 private constant CLOSES = 2;
    uint256 private constant FINISHED = 3;
    uint256 private constant WAITING = 1;
    uint256 private constant ANSWERED = 2;
    uint256 private constant GIVEN_BACK = 3;
    // One hundredth of what is paid for computing is burnt.
    uint256 private constant BURNT_PART = 100;
    // What a call that is paid for from a signed limit costs beside what is measured: the transaction, its data, the credit.
    uint256 private constant OVERHEAD = 60_000;
    // What is paid above the block's base fee for such a call, at most.
    uint256 private constant HIGHEST_TIP = 1 gwei;

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("Sahara Inference Market");
    bytes32 private constant VERSION = keccak256("1");
    bytes32 private constant VOUCHER =
        keccak256("Voucher(bytes32 session,bytes32 lane,uint128 total,bytes32 job,bytes32 request)");
    bytes32 private constant ORDER = keccak256(
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

    mapping(bytes32 committee => Seat) private seats;
    // One more than the total up to which a lane was paid out, where that is not all; else zero.
    mapping(bytes32 session => mapping(bytes32 lane => uint256)) private unpaid;
    mapping(bytes32 session => bytes32 lane) private returned;
    mapping(bytes32 session => uint256 block) private closedIn;
    /// @inheritdoc IInferenceMarket
    mapping(address account => uint256) public override balanceOf;
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 asset => uint256) public override owed;
    mapping(bytes32 asset => Trace) private traces;
    mapping(bytes32 asset => Ask) private asks;
    /// @inheritdoc IInferenceMarket
    mapping(bytes32 request => uint256) public override requests;
    uint256 private requestCount;

    // Committees

    /// @inheritdoc IInferenceMarket
    function seat(Committee calldata c) external returns (bytes32 committee) {
        _onlyOwner(c.asset);
        // Encoded anew, so that only clean words have a name here.
        committee = keccak256(abi.encode(c));
        if (committees[committee] != 0) revert SeatedBefore(committee);
        uint256 from = c.from < block.timestamp ? block.timestamp : c.from;
        if (c.until <= from || c.until > block.timestamp + LONGEST_TERM) revert WrongTime(c.until);
        for (uint256 i = 0; i < 3; i++) {
            uint256 next = (i + 1) % 3;
            if (c.keys[i] == c.keys[next] || c.operators[i] == c.operators[next]) revert NotDistinct();
            (bytes32 node,) = _serves(c.operators[i], c.asset);
            if (node != c.keys[i]) revert WrongKey(c.operators[i], c.keys[i]);
            _admitted(c.asset, c.operators[i]);
        }
        committees[committee] = from;
        seats[committee] = Seat(c.asset, _root(c), c.until, c.operators);
        emit Seated(committee, c.asset, c);
    }

    /// @inheritdoc IInferenceMarket
    function unseat(Committee calldata c) external {
        bytes32 committee = committeeId(c);
        uint256 word = committees[committee];
        if (word == 0 || word >> 64 != 0) revert NotSeated(committee);
        if (msg.sender != REGISTRY.ownerOf(c.asset) && block.timestamp <= c.until && _good(c)) {
            revert StillGood(committee);
        }
        committees[committee] = word | (block.timestamp << 64);
        emit Unseated(committee);
    }

    // Sessions

    /// @inheritdoc IInferenceMarket
    function open(
        uint256 licence,
        address signer,
        bytes32 asker,
        bytes32[] calldata lanes,
        uint128[] calldata caps,
        uint64 ends,
        uint256 nonce
    ) external payable nonReentrant returns (bytes32 session) {
        uint256 sum;
        (session, sum) = _open(msg.sender, Order(licence, signer, asker, lanes, caps, ends, nonce));
        if (sum != msg.value) revert WrongDeposit(msg.value, sum);
    }

    /// @inheritdoc IInferenceMarket
    function openFor(address consumer, Order calldata o, uint128 most, uint64 deadline, bytes calldata signature)
        external
        nonReentrant
        returns (bytes32 session)
    {
        uint256 gas = gasleft();
        if (block.timestamp > deadline) revert Expired(deadline);
        address signer = ECDSA.recover(orderDigest(consumer, o, most, deadline), signature);
        if (signer != consumer) revert WrongSignature(signer);
        uint256 sum;
        (session, sum) = _open(consumer, o);
        if (balanceOf[consumer] < sum + most) revert TooLittle(consumer, balanceOf[consumer], sum + most);
        uint256 highest = block.basefee + HIGHEST_TIP;
        uint256 fee = (gas - gasleft() + OVERHEAD) * (tx.gasprice < highest ? tx.gasprice : highest);
        if (fee > most) fee = most;
        balanceOf[consumer] -= sum + fee;
        balanceOf[msg.sender] += fee;
    }

    /// @inheritdoc IInferenceMarket
    function settle(
        Session calldata s,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata voucher,
        bytes calldata signatures
    ) external nonReentrant {
        (bytes32 session, bytes32 lane, uint256 paid) = _count(s, c, r, voucher, signatures);
        uint256 from = _unpaidFrom(session, lane, paid);
        if (from != paid) delete unpaid[session][lane];
        _paySession(s, c.operators, _payable(s, from), _payable(s, r.total), r.time);
    }

    /// @inheritdoc IInferenceMarket
    function secure(
        Session calldata s,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata voucher,
        bytes calldata signatures
    ) external {
        (bytes32 session, bytes32 lane, uint256 paid) = _count(s, c, r, voucher, signatures);
        if (unpaid[session][lane] == 0) unpaid[session][lane] = paid + 1;
    }

    /// @inheritdoc IInferenceMarket
    function payOut(Session calldata s, Committee calldata c) external nonReentrant {
        (bytes32 session, bytes32 lane) = (_running(s), committeeId(c));
        if (unpaid[session][lane] == 0) revert NothingToPay();
        uint256 from = unpaid[session][lane] - 1;
        delete unpaid[session][lane];
        _paySession(s, c.operators, _payable(s, from), _payable(s, settled[session][lane]), 0);
    }

    /// @inheritdoc IInferenceMarket
    function close(Session calldata s) external {
        bytes32 session = sessionId(s);
        uint256 word = sessions[session];
        if (word != OPEN) revert WrongState(session, uint8(word));
        bool over = block.timestamp > s.ends || !LICENCE_BOOK.isUser(s.licence, s.consumer);
        if (msg.sender != s.consumer && !over) revert NotTheConsumer(msg.sender);
        closedIn[session] = block.number;
        uint64 until = uint64(block.timestamp) + CLOSING;
        sessions[session] = CLOSES | (uint256(until) << 8);
        emit Closing(session, until);
    }

    /// @inheritdoc IInferenceMarket
    function finish(Session calldata s) external nonReentrant {
        bytes32 session = sessionId(s);
        uint256 word = sessions[session];
        if (uint8(word) != CLOSES) revert WrongState(session, uint8(word));
        if (block.timestamp < word >> 8 || block.number < closedIn[session] + CLOSING_BLOCKS) revert NotYet(word >> 8);
        sessions[session] = FINISHED | (word >> 8 << 8);
        uint256 left = 0;
        uint256 burnt = 0;
        for (uint256 i = 0; i < s.lanes.length; i++) {
            uint256 total = settled[session][s.lanes[i]];
            left += s.caps[i] - total;
            if (total != 0) burnt += _finishLane(s, session, s.lanes[i], total);
        }
        balanceOf[s.consumer] += left;
        // A record beside the money must not stand in its way.
        if (burnt != 0) try RECEIPTS.credit(s.asset, s.consumer, burnt) {} catch {}
        emit Finished(session, left);
    }

    /// @inheritdoc IInferenceMarket
    function refundTwice(
        Session calldata s,
        Committee[2] calldata committees_,
        InferenceReceipt[2] calldata receipts,
        bytes[2] calldata signatures
    ) external {
        bytes32 session = _running(s);
        bytes32[2] memory lanes;
        uint256[2] memory places;
        for (uint256 i = 0; i < 2; i++) {
            lanes[i] = committeeId(committees_[i]);
            places[i] = _checkReceipt(s, committees_[i], receipts[i], session, lanes[i]);
            if (receipts[i].total > settled[session][lanes[i]]) revert NotTwice();
            _checkSigned(committees_[i], receipts[i], signatures[i]);
        }
        if (places[0] == places[1] || receipts[0].job != receipts[1].job) revert NotTwice();
        if (returned[session] != 0) revert ReturnedBefore(returned[session]);
        uint256 paid = 0;
        for (uint256 i = 0; i < s.lanes.length; i++) {
            paid += settled[session][s.lanes[i]];
        }
        if (paid < REFUND_CALLS * _price(s)) revert TooFewCalls(paid / _price(s));
        bytes32 lane = places[0] < places[1] ? lanes[0] : lanes[1];
        returned[session] = lane;
        balanceOf[s.consumer] += _price(s);
        emit Returned(session, lane, receipts[0].job, _price(s));
    }

    // Contracts that ask

    /// @inheritdoc IInferenceMarket
    function setAsk(bytes32 asset, Ask calldata ask) external {
        _onlyOwner(asset);
        asks[asset] = ask;
        emit Asked(asset, ask);
    }

    /// @inheritdoc IInferenceMarket
    function requestInference(
        bytes32 asset,
        bytes32 lane,
        bytes calldata sealedInput,
        address callback,
        bool isPublic,
        uint128 maxPrice
    ) external payable returns (bytes32 request) {
        Ask memory ask = asks[asset];
        uint256 price = uint256(ask.royalty) + ask.compute;
        if (lane == 0 || ask.lane != lane || price == 0 || price > maxPrice) revert NotOffered(asset, price);
        if (msg.value < price) revert WrongDeposit(msg.value, price);
        uint64 until = uint64(block.timestamp) + ANSWER_TIME;
        _seatedFor(lane, asset, ask.compute, until, msg.sender);
        Request memory q;
        (q.asset, q.ask, q.input, q.asker) = (asset, ask, keccak256(sealedInput), msg.sender);
        (q.callback, q.isPublic, q.until, q.number) = (callback, isPublic, until, ++requestCount);
        request = keccak256(abi.encode(block.chainid, address(this), q));
        requests[request] = WAITING;
        balanceOf[msg.sender] += msg.value - price;
        emit Requested(request, lane, q, sealedInput);
    }

    /// @inheritdoc IInferenceMarket
    function answer(
        Request calldata q,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata signatures,
        bytes calldata publicAnswer
    ) external nonReentrant {
        bytes32 request = _waiting(q);
        if (block.timestamp > q.until) revert TooLate(block.timestamp, q.until);
        _checkAnswer(q, c, r, request, publicAnswer);
        bytes32 receipt = _checkSigned(c, r, signatures);
        requests[request] = ANSWERED;
        _pay(q.asset, q.ask.compute, c.operators, 0, 1, r.time);
        if (q.ask.royalty != 0) _payRoyalty(q.asset, q.ask.royalty);
        bool told = q.callback != address(0) && _tell(q.callback, request, r.output, publicAnswer);
        emit Answered(request, r.output, publicAnswer, receipt, told);
    }

    /// @inheritdoc IInferenceMarket
    function refundRequest(Request calldata q) external {
        bytes32 request = _waiting(q);
        if (block.timestamp <= q.until) revert NotYet(q.until);
        requests[request] = GIVEN_BACK;
        uint256 price = uint256(q.ask.royalty) + q.ask.compute;
        balanceOf[q.asker] += price;
        emit Refunded(request, price);
    }

    // Money

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

    // Names and digests

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

    // Within

    function _open(address consumer, Order memory o) private returns (bytes32 session, uint256 sum) {
        if (o.signer == address(0)) revert NoSigner();
        Session memory s;
        (s.licence, s.consumer, s.signer, s.asker) = (o.licence, consumer, o.signer, o.asker);
        (s.ends, s.inFlight, s.lanes, s.caps, s.nonce) = (o.ends, IN_FLIGHT, o.lanes, o.caps, o.nonce);
        _licensed(s);
        sum = _lanes(s);
        session = keccak256(abi.encode(block.chainid, address(this), s));
        if (sessions[session] != 0) revert OpenedBefore(session);
        sessions[session] = OPEN;
        emit Opened(session, consumer, s);
    }

    /// The licence is this consumer's and outlives the session; calls cost what it says.
    function _licensed(Session memory s) private view {
        if (!LICENCE_BOOK.isUser(s.licence, s.consumer)) revert NotAUser(s.licence, s.consumer);
        (bytes32 asset, Terms memory t,, uint64 licenceEnds,) = LICENCE_BOOK.licenceOf(s.licence);
        if (s.ends > licenceEnds) revert LicenceOver(s.licence);
        if (s.ends <= block.timestamp || s.ends > block.timestamp + LONGEST_SESSION) revert WrongTime(s.ends);
        (s.asset, s.royalty, s.compute) = (asset, t.royalty, t.compute);
        if (t.royalty == 0 && t.compute == 0) revert FreeCalls(s.licence);
    }

    /// Each lane is a committee that is seated for this asset, good for the whole session, and paid enough.
    function _lanes(Session memory s) private view returns (uint256 sum) {
        uint256 count = s.lanes.length;
        if (count == 0 || count > MOST_LANES || count != s.caps.length) revert WrongLanes();
        for (uint256 i = 0; i < count; i++) {
            bytes32 lane = s.lanes[i];
            for (uint256 j = 0; j < i; j++) {
                if (s.lanes[j] == lane) revert WrongLanes();
            }
            if (s.caps[i] < uint256(s.royalty) + s.compute) revert WrongLanes();
            sum += s.caps[i];
            _seatedFor(lane, s.asset, s.compute, s.ends, s.consumer);
        }
    }

    /// The committee is seated for this asset until then; each member is bonded, paid what it asks, and right for the consumer.
    function _seatedFor(bytes32 lane, bytes32 asset, uint256 compute, uint256 until, address consumer) private view {
        uint256 word = committees[lane];
        Seat storage seated = seats[lane];
        bool good = word != 0 && word <= block.timestamp && seated.until >= until && seated.asset == asset;
        if (!good) revert NotSeated(lane);
        // What a member gets of one call, after the fee.
        uint256 offered = (compute - (compute + BURNT_PART - 1) / BURNT_PART) / 3;
        bytes32[3] memory keys;
        for (uint256 i = 0; i < 3; i++) {
            address operator = seated.operators[i];
            uint256 quote;
            (keys[i], quote) = _serves(operator, asset);
            if (quote > offered) revert QuoteTooHigh(operator, quote, offered);
            _admitted(bytes32(uint256(uint160(consumer))), operator);
        }
        if (keccak256(abi.encodePacked(keys)) != seated.keys) revert NotSeated(lane);
    }

    function _admitted(bytes32 scope, address operator) private view {
        if (!BONDS.admits(scope, operator)) revert NotAdmitted(scope, operator);
    }

    /// An operator that can be relied on for this asset now: its node's key, and what it asks.
    function _serves(address operator, bytes32 asset) private view returns (bytes32 node, uint256 quote) {
        uint256 bond;
        uint64 until;
        bool willing;
        (node, bond, quote, until, willing) = BONDS.standing(operator, asset);
        if (bond < LEAST_BOND) revert NotBonded(operator, bond);
        if (!willing) revert NotWilling(operator, asset);
        if (until <= block.timestamp) revert NoQuote(operator, until);
    }

    /// Whether each member still has its bond, and the key with which it was seated.
    function _good(Committee calldata c) private view returns (bool) {
        for (uint256 i = 0; i < 3; i++) {
            (bytes32 node, uint256 bond,,,) = BONDS.standing(c.operators[i], c.asset);
            if (bond < LEAST_BOND || node != c.keys[i]) return false;
        }
        return true;
    }

    function _root(Committee calldata c) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(c.keys));
    }

    /// A voucher and its receipt count: the lane's total is theirs from now on. What it was before.
    function _count(
        Session calldata s,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata voucher,
        bytes calldata signatures
    ) private returns (bytes32 session, bytes32 lane, uint256 paid) {
        (session, lane) = (_running(s), committeeId(c));
        _checkReceipt(s, c, r, session, lane);
        paid = settled[session][lane];
        if (r.total <= paid) revert Replayed(r.total, paid);
        _checkVoucher(s.signer, r, voucher);
        bytes32 receipt = _checkSigned(c, r, signatures);
        settled[session][lane] = r.total;
        emit Settled(session, lane, r.job, r.total - paid, r.total, receipt);
    }

    /// Up to which total a lane's payees have their money: all of it, unless `secure` left some for later.
    function _unpaidFrom(bytes32 session, bytes32 lane, uint256 total) private view returns (uint256) {
        uint256 from = unpaid[session][lane];
        return from == 0 ? total : from - 1;
    }

    /// The id of a session that is open or closing.
    function _running(Session calldata s) private view returns (bytes32 session) {
        session = sessionId(s);
        uint256 state = uint8(sessions[session]);
        if (state != OPEN && state != CLOSES) revert WrongState(session, state);
    }

    /// Whether a receipt is about this session and this lane of it; the lane's place.
    function _checkReceipt(
        Session calldata s,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes32 session,
        bytes32 lane
    ) private pure returns (uint256 place) {
        place = _place(s, lane);
        if (r.session != session || r.lane != lane || r.licence != s.licence) revert WrongSession(r.session, r.lane);
        _checkWork(s.asset, c, r);
        uint256 price = _price(s);
        if (r.price != price || r.total != r.number * price || r.number == 0) revert WrongPrice(r.total, r.price);
        if (r.total > s.caps[place]) revert OverCap(r.total, s.caps[place]);
        if (r.time > s.ends) revert TooLate(r.time, s.ends);
    }

    /// What every receipt has to say about asset and committee.
    function _checkWork(bytes32 asset, Committee calldata c, InferenceReceipt calldata r) private pure {
        if (r.asset != asset || r.sharing != c.manifest || r.graph == 0) revert WrongModel(r.asset, r.sharing, r.graph);
        if (r.parameters == 0 || r.helper > 2) revert WrongParameters(r.parameters, r.helper);
        if (r.output == 0) revert WrongOutput(r.output);
        bool ours = r.committee == _root(c) && r.epoch == c.epoch;
        if (!ours) revert WrongCommittee(r.committee);
    }

    /// Plain ECDSA, whatever lies at the signer's address: what a key has signed it cannot repudiate by becoming code.
    function _checkVoucher(address expected, InferenceReceipt calldata r, bytes calldata voucher) private view {
        address signer = ECDSA.recover(voucherDigest(r.session, r.lane, r.total, r.job, r.request), voucher);
        if (signer != expected) revert WrongVoucher(signer);
    }

    function _checkSigned(Committee calldata c, InferenceReceipt calldata r, bytes calldata signatures)
        private
        view
        returns (bytes32 receipt)
    {
        bytes32[] memory keys = new bytes32[](3);
        (keys[0], keys[1], keys[2]) = (c.keys[0], c.keys[1], c.keys[2]);
        receipt = InferenceReceipts.digestOf(r);
        if (!COMMITTEE.verify(receipt, keys, 7, signatures, 3)) revert NotSigned(receipt);
    }

    function _place(Session calldata s, bytes32 lane) private pure returns (uint256) {
        for (uint256 i = 0; i < s.lanes.length; i++) {
            if (s.lanes[i] == lane) return i;
        }
        revert WrongSession(0, lane);
    }

    function _price(Session calldata s) private pure returns (uint256) {
        return uint256(s.royalty) + s.compute;
    }

    /// Of a lane's `total`, the calls that are paid before the session is finished: where a job may be charged in two lanes,
    /// the last one waits.
    function _payable(Session calldata s, uint256 total) private pure returns (uint256 calls) {
        calls = total / _price(s);
        if (calls != 0 && s.lanes.length > 1) calls -= 1;
    }

    /// What is left to do for a lane that was paid: what waits, and its members' record.
    function _finishLane(Session calldata s, bytes32 session, bytes32 lane, uint256 total)
        private
        returns (uint256 burnt)
    {
        address[3] memory who = seats[lane].operators;
        // The last call is the lane's, unless it gave that back.
        uint256 calls = returned[session] == lane ? _payable(s, total) : total / _price(s);
        _paySession(s, who, _payable(s, _unpaidFrom(session, lane, total)), calls, 0);
        (burnt,) = split(s.compute, calls);
        BONDS.noteBurnt(who, s.consumer, burnt);
    }

    function _paySession(Session calldata s, address[3] memory members, uint256 from, uint256 to, uint64 time) private {
        bytes32 asset = s.asset;
        uint256 royalty = s.royalty;
        _pay(asset, s.compute, members, from, to, time);
        if (royalty != 0 && from != to) _payRoyalty(asset, royalty * (to - from));
    }

    /// Pays a committee for the calls after `from` up to `to`, the last of which was asked at `time`. What each gets is a function
    /// of the count alone, so that it does not matter who settles how often.
    function _pay(
        bytes32 asset,
        uint256 compute,
        address[3] memory members,
        uint256 from,
        uint256 to,
        uint64 time
    ) private {
        (uint256 burnt, uint256[3] memory amounts) = split(compute, to);
        if (from != 0) {
            (uint256 burntBefore, uint256[3] memory before) = split(compute, from);
            burnt -= burntBefore;
            (amounts[0], amounts[1]) = (amounts[0] - before[0], amounts[1] - before[1]);
            amounts[2] -= before[2];
        }
        Trace memory trace = traces[asset];
        // By the receipt, not by who holds it back, and never in the future.
        if (time > block.timestamp) time = uint64(block.timestamp);
        if (time > trace.servedAt) trace.servedAt = time;
        trace.ashes += uint192(burnt);
        traces[asset] = trace;
        if (from != to) BONDS.credit{value: amounts[0] + amounts[1] + amounts[2]}(members, amounts, to - from);
    }

    function _payRoyalty(bytes32 asset, uint256 amount) private {
        try REVENUE.pay{value: amount}(asset) {}
        catch {
            owed[asset] += amount;
        }
    }

    /// The id of a request that nobody has answered yet.
    function _waiting(Request calldata q) private view returns (bytes32 request) {
        request = keccak256(abi.encode(block.chainid, address(this), q));
        uint256 state = requests[request];
        if (state == ANSWERED) revert Replayed(1, 1);
        if (state != WAITING) revert WrongState(request, state);
    }

    /// Whether a receipt is about this request, and the public answer the one that it commits to.
    function _checkAnswer(
        Request calldata q,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes32 request,
        bytes calldata publicAnswer
    ) private pure {
        bool ours = r.session == request && r.licence == 0 && r.job == bytes32(bytes16(request)) && r.request == q.input;
        if (!ours || r.lane != q.ask.lane) revert WrongSession(r.session, r.lane);
        if (committeeId(c) != q.ask.lane) revert WrongCommittee(r.committee);
        _checkWork(q.asset, c, r);
        if (r.graph != q.ask.graph) revert WrongModel(r.asset, r.sharing, r.graph);
        if (r.parameters != q.ask.parameters) revert WrongParameters(r.parameters, r.helper);
        bool right = q.isPublic ? keccak256(publicAnswer) == r.output : publicAnswer.length == 0;
        if (!right) revert WrongOutput(r.output);
        uint256 price = uint256(q.ask.royalty) + q.ask.compute;
        if (r.number != 1 || r.total != price || r.price != price) revert WrongPrice(r.total, r.price);
        if (r.time > q.until) revert TooLate(r.time, q.until);
    }

    /// Whatever the callback does, the market goes on: it gets so much gas and not less, and nothing that it returns is looked
    /// at.
    function _tell(address callback, bytes32 request, bytes32 output, bytes calldata publicAnswer)
        private
        returns (bool told)
    {
        bytes memory data = abi.encodeCall(IInferenceCallback.inferred, (request, output, publicAnswer));
        if (gasleft() < CALLBACK_GAS * 64 / 63 + 50_000) revert TooLittleGas(gasleft());
        assembly ("memory-safe") {
            told := call(CALLBACK_GAS, callback, 0, add(data, 32), mload(data), 0, 0)
        }
    }

    function _typed(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPE, NAME, VERSION, block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _onlyOwner(bytes32 asset) private view {
        if (msg.sender != REGISTRY.ownerOf(asset)) revert NotTheOwner(asset, msg.sender);
    }

    function _send(address to, uint256 amount) private {
        (bool taken,) = to.call{value: amount}("");
        if (!taken) revert NotTaken(to, amount);
    }
}
