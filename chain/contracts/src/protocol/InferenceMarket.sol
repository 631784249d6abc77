// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {InferenceReceipt} from "../InferenceReceipts.sol";
import {IInferenceMarket} from "./IInferenceMarket.sol";
import {keyOfAccount} from "./IJournal.sol";
import {LICENCE_BOOK} from "./ILicences.sol";
import {BONDS} from "./IOperators.sol";
import {RECEIPTS} from "./IOwnershipReceipts.sol";
import {
    CLOSING,
    CLOSING_BLOCKS,
    IN_FLIGHT,
    KEEPING_CALLS,
    LONGEST_SESSION,
    MOST_LANES,
    REFUND_CALLS
} from "./MarketBase.sol";
import {Requests} from "./Requests.sol";
import {Committee, Session, Terms} from "./Types.sol";

/// Sessions: how they are opened, settled and finished. What is below them: requests, seats, books.
contract InferenceMarket is Requests {
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
        _paySession(s, c.operators, _payable(s, from), _payable(s, r.total), _seatedAt(lane, r.time));
    }

    /// @inheritdoc IInferenceMarket
    function secure(
        Session calldata s,
        Committee calldata c,
        InferenceReceipt calldata r,
        bytes calldata voucher,
        bytes calldata signatures
    ) external {
        address[3] calldata members = c.operators;
        if (msg.sender != members[0] && msg.sender != members[1] && msg.sender != members[2]) {
            revert NotAMember(msg.sender);
        }
        (bytes32 session, bytes32 lane, uint256 paid) = _count(s, c, r, voucher, signatures);
        if (unpaid[session][lane] == 0) unpaid[session][lane] = paid + 1;
        _leaveTrace(s.asset, _seatedAt(lane, r.time), 0);
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
        Committee[2] calldata pair,
        InferenceReceipt[2] calldata receipts,
        bytes[2] calldata vouchers,
        bytes[2] calldata signatures
    ) external {
        bytes32 session = _running(s);
        bytes32[2] memory lanes;
        uint256[2] memory places;
        for (uint256 i = 0; i < 2; i++) {
            lanes[i] = committeeId(pair[i]);
            places[i] = _checkReceipt(s, pair[i], receipts[i], session, lanes[i]);
            if (receipts[i].total > settled[session][lanes[i]]) revert NotTwice();
            _checkVoucher(s.signer, receipts[i], vouchers[i]);
            _checkSigned(pair[i], receipts[i], signatures[i]);
        }
        if (places[0] == places[1] || receipts[0].job != receipts[1].job) revert NotTwice();
        if (returned[session] != 0) revert ReturnedBefore(returned[session]);
        (bytes32 gives, bytes32 keeps) = places[0] < places[1] ? (lanes[0], lanes[1]) : (lanes[1], lanes[0]);
        uint256 price = _price(s);
        _calls(session, gives, price, REFUND_CALLS);
        _calls(session, keeps, price, KEEPING_CALLS);
        returned[session] = gives;
        balanceOf[s.consumer] += price;
        emit Returned(session, gives, receipts[0].job, price);
    }

    /// At least so many calls of this lane were paid.
    function _calls(bytes32 session, bytes32 lane, uint256 price, uint256 least) private view {
        uint256 calls = settled[session][lane] / price;
        if (calls < least) revert TooFewCalls(calls);
    }

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
        _note(keyOfAccount(consumer));
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

    /// Plain ECDSA, whatever lies at the signer's address: what a key has signed it cannot repudiate by becoming code.
    function _checkVoucher(address expected, InferenceReceipt calldata r, bytes calldata voucher) private view {
        address signer = ECDSA.recover(voucherDigest(r.session, r.lane, r.total, r.job, r.request), voucher);
        if (signer != expected) revert WrongVoucher(signer);
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
}
