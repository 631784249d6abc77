// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {InferenceReceipt} from "../../src/InferenceReceipts.sol";
import {ATTRIBUTION, INFERENCE_MARKET} from "../../src/protocol/Addresses.sol";
import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {CLOSING, CLOSING_BLOCKS} from "../../src/protocol/MarketBase.sol";
import {CHALLENGE, UNBONDING} from "../../src/protocol/Operators.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";

/// Says what it is told to whoever asks whether a signature is its own (ERC-1271), and takes no money.
contract Wallet {
    bytes4 private immutable verdict;

    constructor(bytes4 verdict_) {
        verdict = verdict_;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        return verdict;
    }
}

/// Withdraws, and tries everything again when the money comes.
contract Greedy {
    uint256 public times;

    function take() external {
        IInferenceMarket(INFERENCE_MARKET).withdraw();
    }

    receive() external payable {
        times++;
        try IInferenceMarket(INFERENCE_MARKET).withdraw() {} catch {}
        try IInferenceMarket(INFERENCE_MARKET).burn(0) {} catch {}
    }
}

/// Takes no money, loudly.
contract Angry {
    receive() external payable {
        assembly {
            revert(0, 100000)
        }
    }
}

/// Burns whatever gas it gets.
contract Hungry {
    fallback() external payable {
        while (true) {}
    }
}

/// What went wrong in an earlier market, and cannot here.
contract LessonsTest is MarketTest {
    function test_no_count_of_calls_locks_a_settlement() public {
        quoteAll(0);
        licences.give(LICENCE, ASSET, consumer, 1, 0, NOW + 30 days);
        for (uint256 i = 1; i < 4; i++) {
            Session memory s = session(1, i);
            (s.royalty, s.compute, s.caps[0]) = (1, 0, type(uint64).max);
            openSession(s);
            settle(s, committee(0), receipt(s, committee(0), type(uint64).max));
        }
        (uint64 calls,) = operators.recordOf(account(0));
        cheats.assertEq(calls, type(uint64).max);
        cheats.assertEq(attribution.paid(ASSET), uint256(type(uint64).max) * 3);
    }

    function test_the_largest_amounts_fit() public {
        quoteAll(0);
        uint128 half = type(uint128).max / 2;
        licences.give(LICENCE, ASSET, consumer, half, half, NOW + 30 days);
        Session memory s = session(1, 1);
        (s.royalty, s.compute, s.caps[0]) = (half, half, type(uint128).max);
        cheats.deal(consumer, type(uint128).max);
        openSession(s);
        settle(s, committee(0), receipt(s, committee(0), 1));
        cheats.assertEq(INFERENCE_MARKET.balance, 1 + market.ashes(ASSET));
    }

    function test_vouchers_count_in_any_order_and_the_highest_alone_matters(uint64[6] memory numbers) public {
        Session memory s = opened(1);
        uint256 highest = 0;
        for (uint256 i = 0; i < numbers.length; i++) {
            uint64 number = 1 + numbers[i] % 100;
            InferenceReceipt memory r = receipt(s, committee(0), number);
            if (number <= highest) {
                refused(IInferenceMarket.Replayed.selector, s, committee(0), r);
            } else {
                settle(s, committee(0), r);
                highest = number;
            }
            (uint256 burnt, uint256[3] memory members) = market.split(COMPUTE, highest);
            cheats.assertEq(market.settled(idOf(s), s.lanes[0]), highest * PRICE);
            cheats.assertEq(earned(0), members[0]);
            cheats.assertEq(earned(1), members[1]);
            cheats.assertEq(earned(2), members[2]);
            cheats.assertEq(market.ashes(ASSET), burnt);
            cheats.assertEq(attribution.paid(ASSET), highest * ROYALTY);
        }
    }

    function test_a_receipt_is_good_for_its_own_session_and_lane_alone() public {
        Session memory s = opened(1);
        Session memory other = openSession(session(2, 2));
        InferenceReceipt memory r = receipt(s, committee(0), 1);
        refused(IInferenceMarket.WrongSession.selector, other, committee(0), r);
        r = receipt(other, committee(1), 1);
        refused(IInferenceMarket.WrongSession.selector, other, committee(0), r);
        refused(IInferenceMarket.WrongSession.selector, s, committee(1), r);
        r = receipt(s, committee(0), 1);
        r.licence += 1;
        refused(IInferenceMarket.WrongSession.selector, s, committee(0), r);
    }

    function test_a_total_is_its_number_times_the_price_that_was_agreed() public {
        Session memory s = opened(1);
        InferenceReceipt memory r = receipt(s, committee(0), 2);
        r.total += 1;
        refused(IInferenceMarket.WrongPrice.selector, s, committee(0), r);
        r = receipt(s, committee(0), 2);
        (r.price, r.total) = (PRICE + 1, 2 * (PRICE + 1));
        refused(IInferenceMarket.WrongPrice.selector, s, committee(0), r);
        r = receipt(s, committee(0), 2);
        r.price = PRICE + 1;
        refused(IInferenceMarket.WrongPrice.selector, s, committee(0), r);
        r = receipt(s, committee(0), 2);
        (r.number, r.total) = (0, 0);
        refused(IInferenceMarket.WrongPrice.selector, s, committee(0), r);
        r = receipt(s, committee(0), 101);
        refused(IInferenceMarket.OverCap.selector, s, committee(0), r);
        settle(s, committee(0), receipt(s, committee(0), 100));
    }

    function test_a_voucher_is_for_one_session_lane_total_job_and_request() public {
        Session memory s = opened(1);
        Committee memory c = committee(0);
        InferenceReceipt memory r = receipt(s, c, 1);
        bytes memory all = signatures(c, r);
        for (uint256 i = 0; i < 6; i++) {
            InferenceReceipt memory signed = receipt(s, c, 1);
            uint256 key = SIGNER_KEY;
            if (i == 0) signed.session = keccak256("another");
            if (i == 1) signed.lane = keccak256("another");
            if (i == 2) signed.total = 2 * PRICE;
            if (i == 3) signed.job = bytes32(bytes16(keccak256("another")));
            if (i == 4) signed.request = keccak256("another");
            if (i == 5) key = CONSUMER_KEY;
            bytes memory v = voucher(key, signed);
            cheats.expectPartialRevert(IInferenceMarket.WrongVoucher.selector);
            market.settle(s, c, r, v, all);
        }
        cheats.expectPartialRevert(ECDSA.ECDSAInvalidSignatureLength.selector);
        market.settle(s, c, r, "", all);
        cheats.expectPartialRevert(ECDSA.ECDSAInvalidSignature.selector);
        market.settle(s, c, r, new bytes(65), all);
    }

    function test_a_receipt_without_all_three_is_worth_nothing() public {
        Session memory s = opened(1);
        Committee memory c = committee(0);
        InferenceReceipt memory r = receipt(s, c, 1);
        bytes memory v = voucher(SIGNER_KEY, r);
        bytes memory all = signatures(c, r);
        for (uint256 i = 0; i < 3; i++) {
            all[64 * i + 5] ^= 0x01;
            cheats.expectPartialRevert(IInferenceMarket.NotSigned.selector);
            market.settle(s, c, r, v, all);
            all[64 * i + 5] ^= 0x01;
        }
        market.settle(s, c, r, v, all);
    }

    function test_a_signer_that_becomes_code_repudiates_nothing() public {
        Session memory s = opened(1);
        // What EIP-7702 does to an account, and a wallet that says no.
        cheats.etch(signer, address(new Wallet(0xffffffff)).code);
        settle(s, committee(0), receipt(s, committee(0), 1));
        cheats.assertEq(market.settled(idOf(s), s.lanes[0]), PRICE);
    }

    function test_a_wallet_that_says_yes_signs_nothing() public {
        Session memory s = session(1, 1);
        s.signer = address(new Wallet(0x1626ba7e));
        openSession(s);
        refused(IInferenceMarket.WrongVoucher.selector, s, committee(0), receipt(s, committee(0), 1));
    }

    function test_a_session_ends_no_later_than_its_licence() public {
        seated(0);
        Session memory s = session(1, 1);
        s.ends = NOW + 30 days + 1;
        refusedOpen(IInferenceMarket.LicenceOver.selector, s);
        s.ends = NOW;
        refusedOpen(IInferenceMarket.WrongTime.selector, s);
        s.ends = NOW + 367 days;
        licences.give(LICENCE, ASSET, consumer, ROYALTY, COMPUTE, type(uint64).max);
        refusedOpen(IInferenceMarket.WrongTime.selector, s);
        licences.withdraw(LICENCE);
        refusedOpen(IInferenceMarket.NotAUser.selector, session(1, 1));
    }

    function test_what_is_asked_after_the_end_of_a_session_is_not_paid() public {
        Session memory s = opened(1);
        InferenceReceipt memory r = receipt(s, committee(0), 1);
        r.time = ENDS + 1;
        refused(IInferenceMarket.TooLate.selector, s, committee(0), r);
        r.time = ENDS;
        cheats.warp(ENDS + 5);
        settle(s, committee(0), r);
    }

    function test_anybody_closes_a_session_that_is_over_or_whose_licence_is_not_the_consumers() public {
        Session memory s = opened(1);
        cheats.warp(ENDS);
        cheats.expectPartialRevert(IInferenceMarket.NotTheConsumer.selector);
        market.close(s);
        cheats.warp(ENDS + 1);
        market.close(s);
        cheats.warp(NOW);
        s = openSession(session(1, 2));
        licences.withdraw(LICENCE);
        market.close(s);
        licences.give(LICENCE, ASSET, consumer, ROYALTY, COMPUTE, type(uint64).max);
        s = openSession(session(1, 3));
        licences.sell(LICENCE, stranger);
        market.close(s);
    }

    function test_a_chain_that_stood_still_has_not_used_the_window_up() public {
        Session memory s = opened(1);
        cheats.prank(consumer);
        market.close(s);
        cheats.warp(NOW + 10 * CLOSING);
        cheats.roll(block.number + CLOSING_BLOCKS - 1);
        cheats.expectPartialRevert(IInferenceMarket.NotYet.selector);
        market.finish(s);
        settle(s, committee(0), receipt(s, committee(0), 1));
        cheats.roll(block.number + 1);
        market.finish(s);
    }

    function test_what_is_held_back_does_not_make_an_asset_served_later() public {
        Session memory s = opened(1);
        InferenceReceipt memory r = receipt(s, committee(0), 1);
        cheats.warp(NOW + 1000);
        settle(s, committee(0), r);
        cheats.assertEq(market.servedAt(ASSET), NOW);
        r = receipt(s, committee(0), 2);
        r.time = NOW + 5 days;
        settle(s, committee(0), r);
        cheats.assertEq(market.servedAt(ASSET), NOW + 1000);
        r = receipt(s, committee(0), 3);
        settle(s, committee(0), r);
        cheats.assertEq(market.servedAt(ASSET), NOW + 1000);
    }

    function test_no_session_on_a_committee_that_is_over_or_lost_a_bond() public {
        Committee memory c = seated(0);
        Session memory s = session(1, 1);
        licences.give(LICENCE, ASSET, consumer, ROYALTY, COMPUTE, NOW + 300 days);
        s.ends = c.until + 1;
        refusedOpen(IInferenceMarket.NotSeated.selector, s);
        s = session(1, 1);
        cheats.prank(account(1));
        operators.unbond(1);
        refusedOpen(IInferenceMarket.NotBonded.selector, s);
        market.unseat(c);
        refusedOpen(IInferenceMarket.NotSeated.selector, s);
    }

    function test_no_session_on_a_committee_before_its_time_or_of_another_asset() public {
        Committee memory c = committee(0);
        c.from = NOW + 100;
        cheats.prank(owner);
        market.seat(c);
        Session memory s = session(1, 1);
        s.lanes[0] = idOf(c);
        refusedOpen(IInferenceMarket.NotSeated.selector, s);
        seated(0);
        licences.give(LICENCE, keccak256("another"), consumer, ROYALTY, COMPUTE, NOW + 300 days);
        refusedOpen(IInferenceMarket.NotSeated.selector, session(1, 1));
        s.lanes[0] = keccak256("never seated");
        refusedOpen(IInferenceMarket.NotSeated.selector, s);
    }

    function test_a_consumer_gets_its_rest_whatever_other_payees_do() public {
        Session memory s = opened(1);
        attribution.refuse(true);
        ownership.refuse(true);
        cheats.etch(account(0), type(Angry).runtimeCode);
        cheats.etch(account(1), type(Hungry).runtimeCode);
        cheats.etch(owner, type(Angry).runtimeCode);
        settle(s, committee(0), receipt(s, committee(0), 10));
        finish(s);
        cheats.assertEq(market.balanceOf(consumer), CAP - 10 * PRICE);
        cheats.assertEq(market.owed(ASSET), 10 * ROYALTY);
        cheats.prank(consumer);
        market.withdraw();
        // The other two operators are paid, too.
        cheats.warp(NOW + 4 days);
        cheats.prank(account(2));
        operators.claim();
        cheats.expectRevert();
        market.forward(ASSET);
        attribution.refuse(false);
        market.forward(ASSET);
        cheats.assertEq(ATTRIBUTION.balance, 10 * ROYALTY);
        cheats.expectPartialRevert(IInferenceMarket.NothingToPay.selector);
        market.forward(ASSET);
    }

    function test_a_consumer_that_takes_no_money_sends_it_elsewhere() public {
        cheats.etch(consumer, "");
        Session memory s = opened(1);
        finish(s);
        cheats.etch(consumer, type(Angry).runtimeCode);
        cheats.prank(consumer);
        cheats.expectPartialRevert(IInferenceMarket.NotTaken.selector);
        market.withdraw();
        cheats.prank(consumer);
        market.withdrawTo(stranger);
        cheats.assertEq(stranger.balance, CAP);
    }

    function test_calls_of_a_free_licence_are_not_charged() public {
        quoteAll(0);
        seated(0);
        licences.give(LICENCE, ASSET, consumer, 0, 0, NOW + 300 days);
        refusedOpen(IInferenceMarket.FreeCalls.selector, session(1, 1));
    }

    function test_nobody_withdraws_twice_by_coming_back() public {
        Greedy greedy = new Greedy();
        market.deposit{value: 3 ether}(address(greedy));
        market.deposit{value: 5 ether}(stranger);
        greedy.take();
        cheats.assertEq(address(greedy).balance, 3 ether);
        cheats.assertEq(greedy.times(), 1);
        cheats.assertEq(INFERENCE_MARKET.balance, 5 ether);
    }

    function test_no_split_loses_or_makes_a_unit(uint128 compute, uint64 a, uint64 b) public view {
        (uint64 from, uint64 to) = a < b ? (a, b) : (b, a);
        (uint256 burntFrom, uint256[3] memory before) = market.split(compute, from);
        (uint256 burnt, uint256[3] memory members) = market.split(compute, to);
        cheats.assertEq(burnt + members[0] + members[1] + members[2], uint256(compute) * to);
        cheats.assertTrue(burnt >= burntFrom);
        for (uint256 i = 0; i < 3; i++) {
            cheats.assertTrue(members[i] >= before[i]);
            cheats.assertTrue(members[0] - members[i] <= 1);
        }
    }

    function test_bonds_answer_longer_than_any_window() public pure {
        cheats.assertTrue(UNBONDING > CLOSING + 2 * CHALLENGE);
    }

    receive() external payable {}

    function quoteAll(uint128 perCall) private {
        for (uint256 i = 0; i < 6; i++) {
            cheats.prank(account(i));
            operators.setQuote(perCall, NOW + 300 days);
        }
    }

    function refusedOpen(bytes4 selector, Session memory s) private {
        cheats.prank(s.consumer);
        cheats.expectPartialRevert(selector);
        market.open{value: s.caps[0]}(s.licence, s.signer, s.asker, s.lanes, s.caps, s.ends, s.nonce);
    }
}
