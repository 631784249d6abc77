// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt} from "../../src/InferenceReceipts.sol";
import {INFERENCE_MARKET} from "../../src/protocol/Addresses.sol";
import {IInferenceCallback, IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {ANSWER_TIME} from "../../src/protocol/MarketBase.sol";
import {Committee} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";

/// A contract that asks, and does with the answer what a test wants.
contract Asker is IInferenceCallback {
    enum Mood {
        Glad,
        Angry,
        Hungry,
        Sly
    }

    Mood public mood;
    bytes32 public request;
    bytes32 public output;
    bytes public answer;

    function ask(bytes32 asset, bool isPublic, uint128 maxPrice, Mood mood_) external payable returns (bytes32) {
        mood = mood_;
        IInferenceMarket m = IInferenceMarket(INFERENCE_MARKET);
        return
            m.requestInference{value: msg.value}(
                asset, m.askOf(asset).lane, "sealed", address(this), isPublic, maxPrice
            );
    }

    function inferred(bytes32 request_, bytes32 output_, bytes calldata answer_) external {
        require(msg.sender == INFERENCE_MARKET, "not the market");
        if (mood == Mood.Angry) {
            assembly {
                revert(0, 100000)
            }
        }
        while (mood == Mood.Hungry) {}
        if (mood == Mood.Sly) IInferenceMarket(INFERENCE_MARKET).withdraw();
        (request, output, answer) = (request_, output_, answer_);
    }

    receive() external payable {}
}

contract RequestsTest is MarketTest {
    Asker private asker;
    IInferenceMarket.Request private q;
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        asker = new Asker();
        seated(0);
        cheats.prank(owner);
        market.setAsk(ASSET, terms());
    }

    function test_a_contract_asks_and_is_told() public {
        ask(Asker.Mood.Glad, PRICE + 5, PRICE + 5);
        cheats.assertEq(market.balanceOf(address(asker)), 5);
        answer(good(), "the answer");
        cheats.assertEq(asker.request(), id);
        cheats.assertEq(asker.output(), keccak256("the answer"));
        cheats.assertEq(keccak256(asker.answer()), keccak256("the answer"));
        cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET), PRICE);
        cheats.assertEq(market.requests(id), 2);
    }

    function test_a_second_attempt_has_another_name() public {
        ask(Asker.Mood.Glad, PRICE, PRICE);
        InferenceReceipt memory r = good();
        r.job = bytes32(bytes16(keccak256("another")));
        answer(r, "the answer");
    }

    function test_an_answer_may_stay_private() public {
        isPublic = false;
        ask(Asker.Mood.Glad, PRICE, PRICE);
        refusedAnswer(IInferenceMarket.WrongOutput.selector, good(), "the answer");
        answer(good(), "");
        cheats.assertEq(asker.output(), keccak256("the answer"));
        cheats.assertEq(asker.answer().length, 0);
    }

    function test_whatever_a_callback_does_the_committee_is_paid() public {
        for (uint8 mood = 1; mood < 4; mood++) {
            ask(Asker.Mood(mood), PRICE, PRICE + 5);
            answer(good(), "the answer");
            cheats.assertEq(asker.request(), 0);
            cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET), mood * PRICE);
        }
        cheats.assertEq(market.balanceOf(address(asker)), 15);
    }

    function test_nobody_starves_a_callback() public {
        // With less and less gas, it is told or nothing happens.
        uint256 refusals;
        for (uint256 gas = 700_000; gas > 200_000; gas -= 20_000) {
            asker = new Asker();
            ask(Asker.Mood.Glad, PRICE, PRICE);
            InferenceReceipt memory r = good();
            bytes memory all = signatures(committee(0), r);
            bytes memory data = abi.encodeCall(market.answer, (q, committee(0), r, all, "the answer"));
            (bool done,) = INFERENCE_MARKET.call{gas: gas}(data);
            if (!done) refusals++;
            cheats.assertEq(market.requests(id), done ? 2 : 1);
            cheats.assertEq(asker.request(), done ? id : bytes32(0));
        }
        cheats.assertTrue(refusals > 0 && refusals < 25);
    }

    function test_what_nobody_answers_in_time_is_given_back() public {
        ask(Asker.Mood.Glad, PRICE, PRICE);
        cheats.warp(NOW + ANSWER_TIME);
        cheats.expectPartialRevert(IInferenceMarket.NotYet.selector);
        market.refundRequest(q);
        cheats.warp(NOW + ANSWER_TIME + 1);
        refusedAnswer(IInferenceMarket.TooLate.selector, good(), "");
        market.refundRequest(q);
        cheats.assertEq(market.balanceOf(address(asker)), PRICE);
        cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        market.refundRequest(q);
        cheats.warp(NOW);
        refusedAnswer(IInferenceMarket.WrongState.selector, good(), "");
    }

    function test_five_things_that_an_answer_may_be_wrong_about_have_five_selectors() public {
        ask(Asker.Mood.Glad, PRICE, PRICE);
        InferenceReceipt memory r = good();
        r.graph = keccak256("another");
        refusedAnswer(IInferenceMarket.WrongModel.selector, r, "");
        r = good();
        r.parameters = keccak256("another");
        refusedAnswer(IInferenceMarket.WrongParameters.selector, r, "");
        refusedAnswer(IInferenceMarket.WrongOutput.selector, good(), "another answer");
        refusedAnswer(IInferenceMarket.WrongOutput.selector, good(), "");
        r = good();
        r.epoch += 1;
        refusedAnswer(IInferenceMarket.WrongCommittee.selector, r, "");
        answer(good(), "the answer");
        refusedAnswer(IInferenceMarket.Replayed.selector, good(), "the answer");
        cheats.expectPartialRevert(IInferenceMarket.Replayed.selector);
        market.refundRequest(q);
    }

    function test_an_answer_is_for_one_request_at_its_price() public {
        ask(Asker.Mood.Glad, PRICE, PRICE);
        for (uint256 i = 0; i < 9; i++) {
            InferenceReceipt memory r = good();
            bytes4 selector = IInferenceMarket.WrongSession.selector;
            if (i == 0) r.session = keccak256("another");
            if (i == 1) r.licence = 1;
            if (i == 2) continue;
            if (i == 3) r.request = keccak256("another");
            if (i == 4) r.lane = keccak256("another");
            if (i > 4) selector = IInferenceMarket.WrongPrice.selector;
            if (i == 5) r.price -= 1;
            if (i == 6) r.total -= 1;
            if (i == 7) r.number = 2;
            if (i == 8) (r.time, selector) = (q.until + 1, IInferenceMarket.TooLate.selector);
            refusedAnswer(selector, r, "the answer");
        }
        InferenceReceipt memory signed = good();
        signed.transcript = keccak256("another");
        bytes memory all = signatures(committee(0), signed);
        cheats.expectPartialRevert(IInferenceMarket.NotSigned.selector);
        market.answer(q, committee(0), good(), all, "the answer");
        all = signatures(committee(1), good());
        cheats.expectPartialRevert(IInferenceMarket.WrongCommittee.selector);
        market.answer(q, committee(1), good(), all, "");
    }

    function test_nobody_puts_its_own_account_into_a_committee() public {
        ask(Asker.Mood.Glad, PRICE, PRICE);
        InferenceReceipt memory r = good();
        Committee memory c = committee(0);
        bytes memory all = signatures(c, r);
        c.operators[0] = stranger;
        cheats.expectPartialRevert(IInferenceMarket.WrongCommittee.selector);
        market.answer(q, c, r, all, "the answer");
    }

    function test_owners_say_who_may_ask_and_at_what_price() public {
        cheats.expectPartialRevert(IInferenceMarket.NotTheOwner.selector);
        market.setAsk(ASSET, terms());
        refusedAsk(IInferenceMarket.NotOffered.selector, PRICE - 1, PRICE);
        refusedAsk(IInferenceMarket.WrongDeposit.selector, PRICE, PRICE - 1);
        IInferenceMarket.Ask memory t = terms();
        t.compute = 27e14;
        set(t);
        refusedAsk(IInferenceMarket.QuoteTooHigh.selector, PRICE, PRICE);
        (t.royalty, t.compute) = (0, 0);
        set(t);
        refusedAsk(IInferenceMarket.NotOffered.selector, PRICE, PRICE);
        t = terms();
        t.lane = idOf(committee(1));
        set(t);
        refusedAsk(IInferenceMarket.NotSeated.selector, PRICE, PRICE);
        // Sealed to a committee that the owner does not name any more.
        cheats.expectPartialRevert(IInferenceMarket.NotOffered.selector);
        market.requestInference{value: PRICE}(ASSET, idOf(committee(0)), "sealed", address(0), false, PRICE);
        t.lane = 0;
        set(t);
        refusedAsk(IInferenceMarket.NotOffered.selector, PRICE, PRICE);
        cheats.assertEq(market.askOf(ASSET).compute, COMPUTE);
    }

    function test_new_terms_change_nothing_that_was_asked() public {
        ask(Asker.Mood.Glad, PRICE, PRICE);
        IInferenceMarket.Ask memory t = terms();
        t.royalty *= 2;
        set(t);
        answer(good(), "the answer");
        cheats.assertEq(attribution.paid(ASSET), ROYALTY);
    }

    function terms() private pure returns (IInferenceMarket.Ask memory) {
        return IInferenceMarket.Ask(idOf(committee(0)), keccak256("graph"), keccak256("parameters"), ROYALTY, COMPUTE);
    }

    function set(IInferenceMarket.Ask memory t) private {
        cheats.prank(owner);
        market.setAsk(ASSET, t);
    }

    uint256 private count;
    bool private isPublic = true;

    function ask(Asker.Mood mood, uint128 most, uint256 value) private {
        id = asker.ask{value: value}(ASSET, isPublic, most, mood);
        q = IInferenceMarket.Request(
            ASSET, terms(), keccak256("sealed"), address(asker), address(asker), isPublic, NOW + ANSWER_TIME, ++count
        );
        cheats.assertEq(id, keccak256(abi.encode(block.chainid, INFERENCE_MARKET, q)));
    }

    function refusedAsk(bytes4 selector, uint128 most, uint256 value) private {
        bytes32 lane = market.askOf(ASSET).lane;
        cheats.expectPartialRevert(selector);
        market.requestInference{value: value}(ASSET, lane, "sealed", address(0), false, most);
    }

    function good() private view returns (InferenceReceipt memory r) {
        r = receipt(session(1, 1), committee(0), 1);
        (r.session, r.licence, r.job, r.request) = (id, 0, bytes32(bytes16(id)), keccak256("sealed"));
        r.output = keccak256("the answer");
    }

    function answer(InferenceReceipt memory r, bytes memory text) private {
        bytes memory all = signatures(committee(0), r);
        market.answer(q, committee(0), r, all, text);
    }

    function refusedAnswer(bytes4 selector, InferenceReceipt memory r, bytes memory text) private {
        bytes memory all = signatures(committee(0), r);
        cheats.expectPartialRevert(selector);
        market.answer(q, committee(0), r, all, text);
    }
}
