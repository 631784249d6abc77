// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt} from "../../src/InferenceReceipts.sol";
import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {IOperators} from "../../src/protocol/IOperators.sol";
import {CLOSING, CLOSING_BLOCKS} from "../../src/protocol/MarketBase.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";

/// How sessions are opened, closed and finished, and what a job that was charged in two lanes gives back.
contract SessionsTest is MarketTest {
    function test_only_a_user_of_the_licence_opens() public {
        seated(0);
        Session memory s = session(1, 1);
        s.consumer = stranger;
        cheats.deal(stranger, 100 ether);
        refusedOpen(IInferenceMarket.NotAUser.selector, s, CAP);
    }

    function test_the_value_is_the_sum_of_the_caps() public {
        seated(0);
        seated(1);
        refusedOpen(IInferenceMarket.WrongDeposit.selector, session(2, 1), 2 * CAP - 1);
        refusedOpen(IInferenceMarket.WrongDeposit.selector, session(2, 1), 2 * CAP + 1);
        openSession(session(2, 1));
    }

    function test_lanes_are_few_distinct_and_worth_a_call() public {
        seated(0);
        Session memory s = session(1, 1);
        s.caps[0] = PRICE - 1;
        refusedOpen(IInferenceMarket.WrongLanes.selector, s, PRICE - 1);
        (s.lanes, s.caps) = (new bytes32[](0), new uint128[](0));
        refusedOpen(IInferenceMarket.WrongLanes.selector, s, 0);
        (s.lanes, s.caps) = (new bytes32[](9), new uint128[](9));
        refusedOpen(IInferenceMarket.WrongLanes.selector, s, 0);
        (s.lanes, s.caps) = (new bytes32[](1), new uint128[](2));
        refusedOpen(IInferenceMarket.WrongLanes.selector, s, 0);
        s = session(2, 1);
        s.lanes[1] = s.lanes[0];
        refusedOpen(IInferenceMarket.WrongLanes.selector, s, 2 * CAP);
    }

    function test_eight_lanes_are_the_most_and_each_has_a_cap() public {
        Session memory s = session(1, 1);
        (s.lanes, s.caps) = (new bytes32[](9), new uint128[](9));
        for (uint256 i = 0; i < 9; i++) {
            Committee memory c = committee(0);
            c.digest = bytes32(i);
            cheats.prank(owner);
            (s.lanes[i], s.caps[i]) = (market.seat(c), PRICE);
        }
        refusedOpen(IInferenceMarket.WrongLanes.selector, s, 9 * PRICE);
        bytes32[] memory nine = s.lanes;
        s.lanes = new bytes32[](8);
        for (uint256 i = 0; i < 8; i++) {
            s.lanes[i] = nine[i];
        }
        refusedOpen(IInferenceMarket.WrongLanes.selector, s, 8 * PRICE);
        s.caps = new uint128[](8);
        for (uint256 i = 0; i < 8; i++) {
            s.caps[i] = PRICE;
        }
        cheats.prank(consumer);
        market.open{value: 8 * PRICE}(s.licence, s.signer, s.asker, s.lanes, s.caps, s.ends, s.nonce);
    }

    function test_a_session_has_a_signer_and_is_opened_once() public {
        Session memory s = opened(1);
        refusedOpen(IInferenceMarket.OpenedBefore.selector, s, CAP);
        s.signer = address(0);
        refusedOpen(IInferenceMarket.NoSigner.selector, s, CAP);
        finish(s = openSession(session(1, 2)));
        refusedOpen(IInferenceMarket.OpenedBefore.selector, s, CAP);
    }

    function test_what_is_left_after_the_fee_covers_each_members_quote() public {
        seated(0);
        // What the last member gets of the cheapest call.
        uint128 offered = (COMPUTE - (COMPUTE + 99) / 100) / 3;
        cheats.prank(account(2));
        operators.setQuote(offered, NOW + 5);
        Session memory s = opened(1);
        cheats.prank(account(2));
        operators.setQuote(offered + 1, NOW + 5);
        refusedOpen(IInferenceMarket.QuoteTooHigh.selector, session(1, 2), CAP);
        cheats.warp(NOW + 5);
        refusedOpen(IInferenceMarket.NoQuote.selector, session(1, 2), CAP);
        // What is open goes on at its price.
        settle(s, committee(0), receipt(s, committee(0), 1));
    }

    function test_consumers_choose_whom_they_trust() public {
        seated(0);
        address[] memory who = new address[](1);
        who[0] = account(1);
        bytes32 mine = bytes32(uint256(uint160(consumer)));
        cheats.prank(consumer);
        operators.judgeForMe(who, IOperators.Verdict.Denied);
        cheats.assertFalse(operators.admits(mine, account(1)));
        refusedOpen(IInferenceMarket.NotAdmitted.selector, session(1, 1), CAP);
        cheats.prank(consumer);
        operators.judgeForMe(who, IOperators.Verdict.None);
        cheats.prank(consumer);
        operators.setMyPolicy(100 ether + 1, false);
        refusedOpen(IInferenceMarket.NotAdmitted.selector, session(1, 1), CAP);
        cheats.prank(consumer);
        operators.setMyPolicy(100 ether, true);
        refusedOpen(IInferenceMarket.NotAdmitted.selector, session(1, 1), CAP);
        who = new address[](3);
        (who[0], who[1], who[2]) = (account(0), account(1), account(2));
        cheats.prank(consumer);
        operators.judgeForMe(who, IOperators.Verdict.Allowed);
        openSession(session(1, 1));
    }

    function test_another_session_than_the_one_that_was_opened_is_none() public {
        Session memory s = opened(1);
        s.caps[0] += 1;
        refused(IInferenceMarket.WrongState.selector, s, committee(0), receipt(s, committee(0), 1));
        cheats.prank(consumer);
        cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        market.close(s);
        cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        market.finish(s);
    }

    function test_what_is_owed_can_be_claimed_while_a_session_closes_and_not_after() public {
        Session memory s = opened(1);
        cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        market.finish(s);
        cheats.prank(consumer);
        market.close(s);
        cheats.prank(consumer);
        cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        market.close(s);
        cheats.warp(NOW + CLOSING - 1);
        cheats.roll(block.number + CLOSING_BLOCKS);
        cheats.expectPartialRevert(IInferenceMarket.NotYet.selector);
        market.finish(s);
        settle(s, committee(0), receipt(s, committee(0), 1));
        cheats.warp(NOW + CLOSING);
        market.finish(s);
        refused(IInferenceMarket.WrongState.selector, s, committee(0), receipt(s, committee(0), 2));
        cheats.expectPartialRevert(IInferenceMarket.WrongState.selector);
        market.finish(s);
        cheats.assertEq(market.balanceOf(consumer), CAP - PRICE);
    }

    function test_what_is_secured_is_paid_once_by_whatever_comes_next() public {
        for (uint256 i = 0; i < 3; i++) {
            Session memory s = openSession(session(1, 10 + i));
            uint256 before = earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET);
            settle(s, committee(0), receipt(s, committee(0), 2));
            secure(s, committee(0), receipt(s, committee(0), 5));
            secure(s, committee(0), receipt(s, committee(0), 7));
            cheats.assertEq(market.settled(idOf(s), s.lanes[0]), 7 * PRICE);
            refused(IInferenceMarket.Replayed.selector, s, committee(0), receipt(s, committee(0), 7));
            cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET) - before, 2 * PRICE);
            uint64 calls = 7;
            if (i == 0) market.payOut(s, committee(0));
            if (i == 1) settle(s, committee(0), receipt(s, committee(0), calls = 9));
            if (i == 2) finish(s);
            cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET) - before, calls * PRICE);
            cheats.expectPartialRevert(
                i == 2 ? IInferenceMarket.WrongState.selector : IInferenceMarket.NothingToPay.selector
            );
            market.payOut(s, committee(0));
            if (i != 2) finish(s);
            cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET) - before, calls * PRICE);
        }
    }

    function test_what_was_secured_was_served() public {
        Session memory s = opened(1);
        secure(s, committee(0), receipt(s, committee(0), 1));
        cheats.assertEq(market.servedAt(ASSET), NOW);
    }

    function test_only_members_let_money_wait() public {
        Session memory s = opened(1);
        InferenceReceipt memory r = receipt(s, committee(0), 1);
        bytes memory v = voucher(SIGNER_KEY, r);
        bytes memory all = signatures(committee(0), r);
        cheats.prank(account(3));
        cheats.expectPartialRevert(IInferenceMarket.NotAMember.selector);
        market.secure(s, committee(0), r, v, all);
    }

    // Two lanes

    function test_with_a_standby_the_last_call_of_each_lane_is_paid_at_the_end() public {
        Session memory s = opened(2);
        settle(s, committee(0), receipt(s, committee(0), 1));
        cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET), 0);
        settle(s, committee(0), receipt(s, committee(0), 3));
        settle(s, committee(1), receipt(s, committee(1), 2));
        cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET), 3 * PRICE);
        finish(s);
        cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET), 5 * PRICE);
        cheats.assertEq(market.balanceOf(consumer), 2 * CAP - 5 * PRICE);
    }

    function test_a_job_that_was_charged_in_two_lanes_is_paid_once() public {
        Session memory s = served(20, 100);
        twice(s, 20, 100);
        cheats.assertEq(market.balanceOf(consumer), PRICE);
        // Once a session, in whatever order the two are shown.
        refusedTwice(IInferenceMarket.ReturnedBefore.selector, s, 20, 100);
        finish(s);
        cheats.assertEq(market.balanceOf(consumer), 2 * CAP - 119 * PRICE);
        cheats.assertEq(earnedByAll() + attribution.paid(ASSET) + market.ashes(ASSET), 119 * PRICE);
        cheats.assertEq(address(market).balance, market.balanceOf(consumer) + market.ashes(ASSET));
    }

    function test_the_lane_that_was_named_first_gives_the_price_back() public {
        Session memory s = served(20, 100);
        InferenceReceipt[2] memory both = jobs(s, 20, 100);
        bytes[2] memory all = signed(s, 20, 100);
        market.refundTwice(s, pair(1, 0), swapped(both), swapped(vouchers(both)), swapped(all));
        finish(s);
        (, uint256[3] memory members) = market.split(COMPUTE, 19);
        cheats.assertEq(earned(0), members[0]);
        (, members) = market.split(COMPUTE, 100);
        cheats.assertEq(earned(3), members[0]);
    }

    /// Else eight lanes of one call each and one name would be eight answers for one price, and calls in one's own lane would
    /// buy another one's.
    function test_a_name_used_twice_on_purpose_gains_little() public {
        Session memory s = served(19, 99);
        refusedTwice(IInferenceMarket.TooFewCalls.selector, s, 19, 99);
        settle(s, committee(0), receipt(s, committee(0), 20));
        refusedTwice(IInferenceMarket.TooFewCalls.selector, s, 19, 99);
        settle(s, committee(1), receipt(s, committee(1), 100));
        twice(s, 19, 99);
        // What a made-up lane burns is no less than what it gets for its consumer.
        (uint256 burnt,) = market.split(COMPUTE, 100);
        cheats.assertTrue(burnt + 100 * ROYALTY >= PRICE);
    }

    function test_only_the_consumer_names_a_job_twice() public {
        Session memory s = served(20, 100);
        InferenceReceipt[2] memory both = jobs(s, 20, 100);
        bytes[2] memory all = signed(s, 20, 100);
        for (uint256 i = 0; i < 2; i++) {
            bytes[2] memory own = vouchers(both);
            own[i] = voucher(CONSUMER_KEY, both[i]);
            cheats.expectPartialRevert(IInferenceMarket.WrongVoucher.selector);
            market.refundTwice(s, pair(0, 1), both, own, all);
        }
    }

    function test_nothing_comes_back_for_two_jobs_or_what_was_not_charged() public {
        Session memory s = served(4, 3);
        InferenceReceipt[2] memory both = jobs(s, 4, 3);
        bytes[2] memory all = signed(s, 4, 3);
        both[1] = receipt(s, committee(1), 3);
        all[1] = signatures(committee(1), both[1]);
        refusedTwice(IInferenceMarket.NotTwice.selector, s, both, all);
        // Receipted in both, but charged in one only.
        refusedTwice(IInferenceMarket.NotTwice.selector, s, 4, 4);
        Committee[2] memory same = pair(0, 0);
        both = jobs(s, 4, 4);
        all = signed(s, 4, 4);
        (both[1], all[1]) = (both[0], all[0]);
        bytes[2] memory promised = vouchers(both);
        cheats.expectPartialRevert(IInferenceMarket.NotTwice.selector);
        market.refundTwice(s, same, both, promised, all);
        settle(s, committee(1), receipt(s, committee(1), 4));
        all[1] = bytes.concat(all[0]);
        both = jobs(s, 4, 4);
        promised = vouchers(both);
        cheats.expectPartialRevert(IInferenceMarket.NotSigned.selector);
        market.refundTwice(s, pair(0, 1), both, promised, all);
        finish(s);
        refusedTwice(IInferenceMarket.WrongState.selector, s, 4, 4);
    }

    // Somebody else submits

    function test_a_consumer_without_a_coin_opens_by_signature() public {
        (IInferenceMarket.Order memory o, bytes memory signature) = order(1 ether, NOW);
        cheats.deal(consumer, 0);
        market.deposit{value: CAP + 1 ether}(consumer);
        cheats.txGasPrice(1 gwei);
        cheats.prank(stranger);
        bytes32 id = market.openFor(consumer, o, 1 ether, NOW, signature);
        cheats.assertEq(id, idOf(session(1, 9)));
        uint256 fee = market.balanceOf(stranger);
        cheats.assertTrue(fee > 100_000 gwei && fee < 1_000_000 gwei);
        cheats.assertEq(market.balanceOf(consumer), 1 ether - fee);
        market.deposit{value: CAP + 1 ether}(consumer);
        cheats.expectPartialRevert(IInferenceMarket.OpenedBefore.selector);
        market.openFor(consumer, o, 1 ether, NOW, signature);
    }

    function test_the_gas_that_is_deducted_is_at_most_what_was_signed() public {
        (IInferenceMarket.Order memory o, bytes memory signature) = order(5, NOW);
        market.deposit{value: CAP + 5}(consumer);
        cheats.txGasPrice(1 ether);
        cheats.prank(stranger);
        market.openFor(consumer, o, 5, NOW, signature);
        cheats.assertEq(market.balanceOf(stranger), 5);
        cheats.assertEq(market.balanceOf(consumer), 0);
    }

    function test_what_the_consumer_did_not_sign_opens_nothing() public {
        (IInferenceMarket.Order memory o, bytes memory signature) = order(5, NOW);
        cheats.expectPartialRevert(IInferenceMarket.TooLittle.selector);
        market.openFor(consumer, o, 5, NOW, signature);
        market.deposit{value: CAP + 100}(consumer);
        cheats.expectPartialRevert(IInferenceMarket.WrongSignature.selector);
        market.openFor(consumer, o, 6, NOW, signature);
        cheats.expectPartialRevert(IInferenceMarket.WrongSignature.selector);
        market.openFor(consumer, o, 5, NOW + 1, signature);
        o.ends -= 1;
        cheats.expectPartialRevert(IInferenceMarket.WrongSignature.selector);
        market.openFor(consumer, o, 5, NOW, signature);
        o.ends += 1;
        cheats.warp(NOW + 1);
        cheats.expectPartialRevert(IInferenceMarket.Expired.selector);
        market.openFor(consumer, o, 5, NOW, signature);
    }

    function order(uint128 most, uint64 deadline)
        private
        returns (IInferenceMarket.Order memory o, bytes memory signature)
    {
        seated(0);
        Session memory s = session(1, 9);
        o = IInferenceMarket.Order(s.licence, s.signer, s.asker, s.lanes, s.caps, s.ends, s.nonce);
        signature = ecdsa(CONSUMER_KEY, market.orderDigest(consumer, o, most, deadline));
    }

    function pair(uint256 a, uint256 b) private pure returns (Committee[2] memory) {
        return [committee(a), committee(b)];
    }

    /// A session with two lanes, of which so many calls are paid.
    function served(uint64 a, uint64 b) private returns (Session memory s) {
        s = opened(2);
        settle(s, committee(0), receipt(s, committee(0), a));
        settle(s, committee(1), receipt(s, committee(1), b));
    }

    /// One job, as the call of this number in each lane.
    function jobs(Session memory s, uint64 a, uint64 b) private view returns (InferenceReceipt[2] memory both) {
        both = [receipt(s, committee(0), a), receipt(s, committee(1), b)];
        both[1].job = both[0].job;
    }

    function signed(Session memory s, uint64 a, uint64 b) private view returns (bytes[2] memory) {
        InferenceReceipt[2] memory both = jobs(s, a, b);
        return [signatures(committee(0), both[0]), signatures(committee(1), both[1])];
    }

    function swapped(InferenceReceipt[2] memory two) private pure returns (InferenceReceipt[2] memory) {
        return [two[1], two[0]];
    }

    function swapped(bytes[2] memory two) private pure returns (bytes[2] memory) {
        return [two[1], two[0]];
    }

    function twice(Session memory s, uint64 a, uint64 b) private {
        InferenceReceipt[2] memory both = jobs(s, a, b);
        market.refundTwice(s, pair(0, 1), both, vouchers(both), signed(s, a, b));
    }

    function refusedTwice(bytes4 selector, Session memory s, uint64 a, uint64 b) private {
        refusedTwice(selector, s, jobs(s, a, b), signed(s, a, b));
    }

    function refusedTwice(bytes4 selector, Session memory s, InferenceReceipt[2] memory both, bytes[2] memory all)
        private
    {
        bytes[2] memory promised = vouchers(both);
        cheats.expectPartialRevert(selector);
        market.refundTwice(s, pair(0, 1), both, promised, all);
        cheats.expectPartialRevert(selector);
        market.refundTwice(s, pair(1, 0), swapped(both), swapped(promised), swapped(all));
    }

    function refusedOpen(bytes4 selector, Session memory s, uint256 value) private {
        cheats.prank(s.consumer);
        cheats.expectPartialRevert(selector);
        market.open{value: value}(s.licence, s.signer, s.asker, s.lanes, s.caps, s.ends, s.nonce);
    }
}
