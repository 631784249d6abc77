// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt} from "../InferenceReceipts.sol";
import {IInferenceCallback, IInferenceMarket} from "./IInferenceMarket.sol";
import {ANSWER_TIME, CALLBACK_GAS} from "./MarketBase.sol";
import {Seats} from "./Seats.sol";
import {Committee} from "./Types.sol";

/// The market's part for contracts that ask.
abstract contract Requests is Seats {
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
        _note(request);
        _note(q.input);
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
        _pay(q.asset, q.ask.compute, c.operators, 0, 1, _seatedAt(r.lane, r.time));
        if (q.ask.royalty != 0) _payRoyalty(q.asset, q.ask.royalty);
        bool told = q.callback != address(0) && _tell(q.callback, request, r.output, publicAnswer);
        _note(request);
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

    /// The id of a request that nobody has answered yet.
    function _waiting(Request calldata q) internal view returns (bytes32 request) {
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
    ) internal pure {
        bool ours = r.session == request && r.licence == 0 && r.request == q.input;
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
        internal
        returns (bool told)
    {
        bytes memory data = abi.encodeCall(IInferenceCallback.inferred, (request, output, publicAnswer));
        if (gasleft() < CALLBACK_GAS * 64 / 63 + 50_000) revert TooLittleGas(gasleft());
        assembly ("memory-safe") {
            told := call(CALLBACK_GAS, callback, 0, add(data, 32), mload(data), 0, 0)
        }
    }
}
