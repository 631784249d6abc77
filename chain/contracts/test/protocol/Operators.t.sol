// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt, InferenceReceipts} from "../../src/InferenceReceipts.sol";
import {INFERENCE_MARKET, OPERATORS} from "../../src/protocol/Addresses.sol";
import {IOperators} from "../../src/protocol/IOperators.sol";
import {CHALLENGE, CREDIT_CAP, UNBONDING} from "../../src/protocol/Operators.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";
import {signatureOf} from "./StandIns.sol";

/// Bonds, keys, earnings, evidence.
contract OperatorsTest is MarketTest {
    function test_a_key_is_its_accounts_for_good() public {
        cheats.deal(stranger, 1_000 ether);
        // Somebody else's proof, none, and a key that is taken.
        bytes memory proof = signatureOf(node(9), operators.proofDigest(account(9), node(9)));
        refusedJoin(IOperators.NodeNotProven.selector, node(9), proof);
        refusedJoin(IOperators.NodeNotProven.selector, 0, signatureOf(0, operators.proofDigest(stranger, 0)));
        proof = signatureOf(node(1), operators.proofDigest(stranger, node(1)));
        refusedJoin(IOperators.NodeNotProven.selector, node(1), proof);
        // A node gets another key; the old one stays who it was.
        proof = signatureOf(node(9), operators.proofDigest(account(1), node(9)));
        cheats.prank(account(1));
        operators.join(node(9), "localhost:2", "there", proof);
        cheats.assertEq(operators.operatorOf(node(1)), account(1));
        cheats.assertEq(operators.operatorOf(node(9)), account(1));
        (string memory endpoint, string memory region) = operators.placeOf(account(1));
        cheats.assertEq(keccak256(bytes(endpoint)), keccak256("localhost:2"));
        cheats.assertEq(keccak256(bytes(region)), keccak256("there"));
        proof = signatureOf(node(1), operators.proofDigest(account(1), node(1)));
        cheats.prank(account(1));
        operators.join(node(1), "localhost:1", "here", proof);
    }

    function test_joining_takes_the_least_bond_and_short_texts() public {
        cheats.deal(stranger, 1_000 ether);
        bytes memory proof = signatureOf(node(9), operators.proofDigest(stranger, node(9)));
        cheats.prank(stranger);
        cheats.expectPartialRevert(IOperators.BondTooSmall.selector);
        operators.join{value: 100 ether - 1}(node(9), "", "", proof);
        string memory long = string(new bytes(257));
        cheats.prank(stranger);
        cheats.expectPartialRevert(IOperators.TooLong.selector);
        operators.join{value: 100 ether}(node(9), long, "", proof);
        cheats.prank(stranger);
        cheats.expectPartialRevert(IOperators.TooLong.selector);
        operators.join{value: 100 ether}(node(9), "", long, proof);
        cheats.prank(stranger);
        operators.join{value: 100 ether}(node(9), string(new bytes(256)), "", proof);
    }

    function test_only_operators_quote_allow_and_unbond() public {
        cheats.expectPartialRevert(IOperators.NotAnOperator.selector);
        operators.setQuote(1, NOW + 1);
        cheats.expectPartialRevert(IOperators.NotAnOperator.selector);
        operators.allow(ASSET, true);
        cheats.expectPartialRevert(IOperators.NotAnOperator.selector);
        operators.unbond(1);
        cheats.prank(account(0));
        operators.unbond(1);
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.BondTooSmall.selector);
        operators.allow(ASSET, true);
        cheats.prank(account(0));
        operators.allow(ASSET, false);
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.QuoteInThePast.selector);
        operators.setQuote(1, NOW);
    }

    function test_a_bond_comes_back_after_the_time_and_once() public {
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.MoreThanBonded.selector);
        operators.unbond(100 ether + 1);
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.NothingToPay.selector);
        operators.unbond(0);
        cheats.prank(account(0));
        operators.unbond(40 ether);
        cheats.warp(NOW + UNBONDING - 1);
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.NotDue.selector);
        operators.withdraw();
        // A second part moves the time for all of it.
        cheats.prank(account(0));
        operators.unbond(60 ether);
        (uint256 amount, uint64 due) = operators.unbondingOf(account(0));
        cheats.assertEq(amount, 100 ether);
        cheats.assertEq(due, NOW + 2 * UNBONDING - 1);
        cheats.warp(due - 1);
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.NotDue.selector);
        operators.withdraw();
        cheats.warp(due);
        cheats.prank(account(0));
        operators.withdraw();
        cheats.assertEq(account(0).balance, 1_000 ether);
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.NothingToPay.selector);
        operators.withdraw();
    }

    function test_earnings_ripen_for_at_least_a_whole_period() public {
        credit(30);
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.NothingToPay.selector);
        operators.claim();
        uint256 next = (NOW / CHALLENGE + 1) * CHALLENGE;
        cheats.warp(next);
        credit(60);
        expectEarnings(0, 90);
        cheats.warp(next + CHALLENGE - 1);
        expectEarnings(0, 90);
        cheats.warp(next + CHALLENGE);
        expectEarnings(30, 60);
        uint256 before = account(0).balance;
        cheats.prank(account(0));
        operators.claim();
        cheats.assertEq(account(0).balance - before, 30);
        expectEarnings(0, 60);
        cheats.warp(next + 2 * CHALLENGE);
        expectEarnings(60, 0);
        cheats.prank(account(0));
        operators.claim();
        expectEarnings(0, 0);
    }

    function test_an_operator_that_takes_no_coin_sends_it_elsewhere() public {
        credit(30);
        cheats.prank(account(0));
        operators.unbond(100 ether);
        cheats.warp(NOW + UNBONDING);
        cheats.etch(account(0), hex"fd");
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.NotTaken.selector);
        operators.claim();
        cheats.prank(account(0));
        cheats.expectPartialRevert(IOperators.NotTaken.selector);
        operators.withdraw();
        cheats.prank(account(0));
        operators.claimTo(stranger);
        cheats.prank(account(0));
        operators.withdrawTo(stranger);
        cheats.assertEq(stranger.balance, 100 ether + 30);
    }

    function test_what_ripens_is_the_sum_of_what_came(uint32[8] memory waits) public {
        uint256 time = NOW;
        for (uint256 i = 0; i < 8; i++) {
            time += waits[i] % (3 * CHALLENGE);
            cheats.warp(time);
            credit(1 + i);
            (uint256 ripe, uint256 ripening) = operators.earningsOf(account(0));
            cheats.assertEq(ripe + ripening, (i + 1) * (i + 2) / 2);
        }
        cheats.warp(time + 2 * CHALLENGE);
        expectEarnings(36, 0);
    }

    function test_only_the_market_credits_and_notes() public {
        address[3] memory who = [account(0), account(1), account(2)];
        cheats.expectPartialRevert(IOperators.NotTheMarket.selector);
        operators.credit{value: 3}(who, [uint256(1), 1, 1], 1);
        cheats.expectPartialRevert(IOperators.NotTheMarket.selector);
        operators.noteBurnt(who, consumer, 1);
        cheats.deal(INFERENCE_MARKET, 3);
        cheats.prank(INFERENCE_MARKET);
        cheats.expectPartialRevert(IOperators.WrongSum.selector);
        operators.credit{value: 3}(who, [uint256(2), 1, 1], 1);
    }

    function test_one_consumer_alone_makes_nobody_great() public {
        address[3] memory who = [account(0), account(1), account(2)];
        note(who, consumer, CREDIT_CAP - 1);
        note(who, consumer, 5);
        cheats.assertEq(operators.reputationOf(account(0)), CREDIT_CAP);
        note(who, consumer, 1);
        cheats.assertEq(operators.reputationOf(account(0)), CREDIT_CAP);
        note(who, stranger, 7);
        cheats.assertEq(operators.reputationOf(account(2)), CREDIT_CAP + 7);
    }

    function test_reputation_is_what_sessions_burnt() public {
        Session memory s = opened(1);
        settle(s, committee(0), receipt(s, committee(0), 50));
        cheats.assertEq(operators.reputationOf(account(1)), 0);
        finish(s);
        (uint256 burnt,) = market.split(COMPUTE, 50);
        cheats.assertEq(ownership.reputation(ASSET), burnt);
        cheats.assertEq(operators.reputationOf(account(1)), burnt);
    }

    // Evidence

    function test_two_answers_of_one_job_cost_a_tenth() public {
        (InferenceReceipt memory a, InferenceReceipt memory b) = two();
        b.output = keccak256("another");
        credit(100);
        cheats.prank(account(0));
        operators.unbond(50 ether);
        uint256 burnt = address(0).balance;
        cheats.prank(stranger);
        operators.slash(IOperators.Evidence.TwoAnswers, node(0), both(a, b));
        cheats.assertEq(bondOf(0), 45 ether);
        (uint256 leaving,) = operators.unbondingOf(account(0));
        cheats.assertEq(leaving, 45 ether);
        expectEarnings(0, 90);
        uint256 taken = 10 ether + 10;
        cheats.assertEq(address(0).balance - burnt, taken - taken / 20);
        cheats.prank(stranger);
        cheats.assertEq(operators.claim(), taken / 20);
        (, uint64 offences) = operators.recordOf(account(0));
        cheats.assertEq(offences, 1);
        // Once for each session, whatever the job.
        bytes memory evidence = both(b, a);
        cheats.expectPartialRevert(IOperators.PunishedBefore.selector);
        operators.slash(IOperators.Evidence.TwoAnswers, node(0), evidence);
        (a.job, b.job) = ("x", "x");
        evidence = both(a, b);
        cheats.expectPartialRevert(IOperators.PunishedBefore.selector);
        operators.slash(IOperators.Evidence.TwoAnswers, node(0), evidence);
        // The others have signed it, too.
        operators.slash(IOperators.Evidence.TwoAnswers, node(1), evidence);
        cheats.assertEq(bondOf(1), 90 ether);
        // The bond is below the least now: nobody is seated with it, and anybody unseats it.
        market.unseat(committee(0));
    }

    function test_each_of_request_answer_and_transcript_counts() public {
        (InferenceReceipt memory a, InferenceReceipt memory b) = two();
        b.transcript = keccak256("another");
        operators.slash(IOperators.Evidence.TwoAnswers, node(0), both(a, b));
        (a, b) = two();
        b.request = keccak256("another");
        operators.slash(IOperators.Evidence.TwoAnswers, node(1), both(a, b));
    }

    function test_what_is_no_contradiction_costs_nothing() public {
        (InferenceReceipt memory a, InferenceReceipt memory b) = two();
        (b.time, b.height, b.previous) = (NOW + 5, 99, keccak256("another"));
        refusedSlash(IOperators.Evidence.TwoAnswers, both(a, b));
        for (uint256 i = 0; i < 4; i++) {
            (, b) = two();
            b.output = keccak256("another");
            // The same name at the next number: who was the helper before never claimed it.
            if (i == 3) (b.number, b.total) = (2, 2 * PRICE);
            if (i == 0) b.job = keccak256("another");
            if (i == 1) b.session = keccak256("another");
            if (i == 2) b.lane = keccak256("another");
            refusedSlash(IOperators.Evidence.TwoAnswers, both(a, b));
        }
    }

    function test_one_key_that_leaked_makes_up_nothing() public {
        (InferenceReceipt memory a, InferenceReceipt memory b) = two();
        b.output = keccak256("another");
        Committee memory c = committee(0);
        bytes memory right = signatures(c, a);
        // Two members' signatures are not the thief's to make.
        bytes memory forged = signatures(c, b);
        forged[70] ^= 0x01;
        refusedSlash(IOperators.Evidence.TwoAnswers, abi.encode(c, a, right, b, forged));
        refusedSlash(IOperators.Evidence.TwoAnswers, abi.encode(c, b, forged, a, right));
        // Nor does it help to sit on a committee of its own, which nobody seated,
        (c.keys[1], c.keys[2]) = (node(77), node(78));
        (a.lane, b.lane) = (idOf(c), idOf(c));
        refusedSlash(IOperators.Evidence.TwoAnswers, abi.encode(c, a, signatures(c, a), b, signatures(c, b)));
        // or to name a committee that is not the receipt's, or a session that never was.
        (a, b) = two();
        b.output = keccak256("another");
        (a.lane, b.lane) = (keccak256("no lane"), keccak256("no lane"));
        refusedSlash(IOperators.Evidence.TwoAnswers, both(a, b));
        (a, b) = two();
        b.output = keccak256("another");
        (a.session, b.session) = (keccak256("no session"), keccak256("no session"));
        refusedSlash(IOperators.Evidence.TwoAnswers, both(a, b));
        // For another market or chain.
        (a, b) = two();
        b.output = keccak256("another");
        c = committee(0);
        bytes32 elsewhere = InferenceReceipts.digest(b, block.chainid, stranger);
        refusedSlash(IOperators.Evidence.TwoAnswers, abi.encode(c, a, right, b, signaturesOver(c, elsewhere)));
        elsewhere = InferenceReceipts.digest(b, block.chainid + 1, INFERENCE_MARKET);
        refusedSlash(IOperators.Evidence.TwoAnswers, abi.encode(c, a, right, b, signaturesOver(c, elsewhere)));
        // Whose node was not there.
        bytes memory evidence = both(a, b);
        cheats.expectPartialRevert(IOperators.NotEvident.selector);
        operators.slash(IOperators.Evidence.TwoAnswers, node(3), evidence);
        operators.slash(IOperators.Evidence.TwoAnswers, node(2), evidence);
    }

    function test_a_receipt_that_cannot_be_costs_a_twentieth() public {
        (InferenceReceipt memory a,) = two();
        refusedSlash(IOperators.Evidence.Impossible, single(a));
        a.total += 1;
        operators.slash(IOperators.Evidence.Impossible, node(0), single(a));
        cheats.assertEq(bondOf(0), 95 ether);
        (a,) = two();
        a.output = 0;
        operators.slash(IOperators.Evidence.Impossible, node(1), single(a));
        (a,) = two();
        a.helper = 3;
        operators.slash(IOperators.Evidence.Impossible, node(2), single(a));
        cheats.assertEq(operators.penaltyOf(IOperators.Evidence.TwoAnswers), 1_000);
    }

    function test_a_key_answers_for_a_while_after_it_was_replaced() public {
        (InferenceReceipt memory a, InferenceReceipt memory b) = two();
        b.output = keccak256("another");
        for (uint256 i = 0; i < 2; i++) {
            bytes memory proof = signatureOf(node(20 + i), operators.proofDigest(account(i), node(20 + i)));
            cheats.prank(account(i));
            operators.join(node(20 + i), "", "", proof);
        }
        cheats.warp(NOW + UNBONDING);
        operators.slash(IOperators.Evidence.TwoAnswers, node(0), both(a, b));
        cheats.assertEq(bondOf(0), 90 ether);
        cheats.warp(NOW + UNBONDING + 1);
        bytes memory evidence = both(a, b);
        cheats.expectPartialRevert(IOperators.NotEvident.selector);
        operators.slash(IOperators.Evidence.TwoAnswers, node(1), evidence);
        // A key that is in use again answers again.
        bytes memory again = signatureOf(node(1), operators.proofDigest(account(1), node(1)));
        cheats.prank(account(1));
        operators.join(node(1), "", "", again);
        operators.slash(IOperators.Evidence.TwoAnswers, node(1), evidence);
    }

    /// Two receipts of one job, in a session that there is.
    function two() private returns (InferenceReceipt memory a, InferenceReceipt memory b) {
        Session memory s = session(1, 1);
        if (market.sessions(idOf(s)) == 0) openSession(s);
        a = receipt(s, committee(0), 1);
        b = receipt(s, committee(0), 1);
    }

    function single(InferenceReceipt memory a) private view returns (bytes memory) {
        return abi.encode(committee(0), a, signatures(committee(0), a));
    }

    function both(InferenceReceipt memory a, InferenceReceipt memory b) private view returns (bytes memory) {
        Committee memory c = committee(0);
        return abi.encode(c, a, signatures(c, a), b, signatures(c, b));
    }

    function signaturesOver(Committee memory c, bytes32 digest) private pure returns (bytes memory) {
        return
            bytes.concat(signatureOf(c.keys[0], digest), signatureOf(c.keys[1], digest), signatureOf(c.keys[2], digest));
    }

    function bondOf(uint256 i) private view returns (uint256 bond) {
        (, bond,,,) = operators.standing(account(i), ASSET);
    }

    function refusedSlash(IOperators.Evidence kind, bytes memory evidence) private {
        cheats.expectPartialRevert(IOperators.NotEvident.selector);
        operators.slash(kind, node(0), evidence);
    }

    function refusedJoin(bytes4 selector, bytes32 key, bytes memory proof) private {
        cheats.prank(stranger);
        cheats.expectPartialRevert(selector);
        operators.join{value: 100 ether}(key, "", "", proof);
    }

    /// The market pays operator 0 so much, and the others nothing.
    function credit(uint256 amount) private {
        cheats.deal(INFERENCE_MARKET, amount);
        cheats.prank(INFERENCE_MARKET);
        operators.credit{value: amount}([account(0), account(1), account(2)], [amount, 0, 0], 1);
    }

    function note(address[3] memory who, address of_, uint256 burnt) private {
        cheats.prank(INFERENCE_MARKET);
        operators.noteBurnt(who, of_, burnt);
    }

    function expectEarnings(uint256 ripe, uint256 ripening) private view {
        (uint256 now_, uint256 later) = operators.earningsOf(account(0));
        cheats.assertEq(now_, ripe);
        cheats.assertEq(later, ripening);
    }
}
