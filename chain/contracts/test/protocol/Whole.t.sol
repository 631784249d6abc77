// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {BEACON} from "../../src/IBeacon.sol";
import {COMMITTEE} from "../../src/ICommittee.sol";
import {InferenceReceipt, InferenceReceipts} from "../../src/InferenceReceipts.sol";
import {INFERENCE_MARKET, OPERATORS} from "../../src/protocol/Addresses.sol";
import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {IOperators} from "../../src/protocol/IOperators.sol";
import {ILicences} from "../../src/protocol/ILicences.sol";
import {Committee, Session, Terms} from "../../src/protocol/Types.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";
import {BeaconStandIn, CommitteeStandIn, signatureOf} from "./StandIns.sol";

/// All contracts together, with stand-ins for the native ones alone: a consumer buys, asks and pays, and everybody in the
/// lineage and on the committee takes what is its own.
contract WholeTest is ProtocolTest {
    uint256 private constant SIGNER_KEY = 0x51;
    uint128 private constant ROYALTY = 7e15 + 1;
    uint128 private constant COMPUTE = 3e15 + 2;
    uint128 private constant PRICE = ROYALTY + COMPUTE;
    IInferenceMarket private constant inference = IInferenceMarket(INFERENCE_MARKET);
    IOperators private constant operators = IOperators(OPERATORS);

    bytes32 private dataset;
    bytes32 private model;
    address private consumer = address(0xc0);
    Committee private committee;

    function setUp() public override {
        super.setUp();
        hevm.etch(address(COMMITTEE), hevm.getDeployedCode("StandIns.sol:CommitteeStandIn"));
        hevm.etch(address(BEACON), hevm.getDeployedCode("StandIns.sol:BeaconStandIn"));
        hevm.etch(OPERATORS, hevm.getDeployedCode("Operators.sol:Operators"));
        hevm.etch(INFERENCE_MARKET, hevm.getDeployedCode("InferenceMarket.sol:InferenceMarket"));
        hevm.deal(consumer, 10 ether);
        dataset = newAsset(buyer, 1);
        (address[] memory who, uint16[] memory shares) = (new address[](2), new uint16[](2));
        (who[0], who[1], shares[0], shares[1]) = (address(0xd1), address(0xd2), 3333, 6667);
        hevm.prank(buyer);
        receipts.issue(dataset, who, shares);
        model = derived(owner, 2, one(dataset), one(uint16(2000)));
        (committee.asset, committee.manifest, committee.digest) = (model, "manifest", "digest");
        (committee.epoch, committee.from, committee.until) = (5, uint64(clock), uint64(clock + 300 days));
        for (uint256 i; i < 3; ++i) {
            join(i);
        }
        hevm.prank(owner);
        inference.seat(committee);
    }

    function test_every_unit_that_a_consumer_pays_reaches_somebody() public {
        uint256 licence = bought(model, callTerms(1001), consumer);
        uint256 before = consumer.balance + 1001;
        Session memory s = opened(licence, 50);
        for (uint64 n = 1; n <= 50; n += 7) {
            settle(s, n);
        }
        hevm.prank(consumer);
        inference.close(s);
        pass(1 days);
        hevm.roll(height += 100_000);
        inference.finish(s);
        hevm.assertEq(inference.balanceOf(consumer), 0);
        hevm.assertEq(before - consumer.balance, 1001 + 50 * uint256(PRICE));

        uint256 royalties = 1001 + 50 * uint256(ROYALTY);
        bytes32[] memory both = new bytes32[](2);
        (both[0], both[1]) = (model, dataset);
        flush(both, COIN);
        uint256 upward = royalties * 2000 / 10_000;
        hevm.assertEq(attribution.claimable(owner), royalties * 8000 / 10_000);
        hevm.assertEq(attribution.claimable(address(0xd1)), upward * 3333 / 10_000);
        hevm.assertEq(attribution.claimable(address(0xd2)), upward * 6667 / 10_000);
        uint256 out = claimed(owner) + claimed(address(0xd1)) + claimed(address(0xd2));
        hevm.assertLe(royalties - out, 3);
        hevm.assertEq(address(attribution).balance, royalties - out);

        (uint256 burnt,) = inference.split(COMPUTE, 50);
        hevm.assertTrue(burnt != 0);
        uint256 compute = inference.ashes(model) + address(0).balance;
        for (uint256 i; i < 3; ++i) {
            (uint256 ripe, uint256 ripening) = operators.earningsOf(account(i));
            compute += ripe + ripening;
        }
        hevm.assertEq(compute, 50 * uint256(COMPUTE));
        hevm.assertEq(receipts.reputationOf(model), burnt);
    }

    function test_a_call_that_was_paid_answers_a_complaint() public {
        Terms memory t = longTerms(1000, 100 days);
        (t.royalty, t.compute) = (ROYALTY, COMPUTE);
        uint256 licence = bought(model, t, consumer);
        Session memory s = opened(licence, 2);
        settle(s, 1);
        pass(10 days);
        hevm.prank(consumer);
        licences.complain(licence);
        hevm.expectPartialRevert(ILicences.NotServedSince.selector);
        licences.answer(licence);
        pass(1 days);
        settle(s, 2);
        licences.answer(licence);
        hevm.assertEq(licences.collect(licence), 110);
    }

    function test_a_withdrawn_licence_closes_its_session_and_loses_nothing() public {
        uint256 licence = bought(model, callTerms(0), consumer);
        Session memory s = opened(licence, 4);
        settle(s, 2);
        hevm.expectPartialRevert(IInferenceMarket.NotTheConsumer.selector);
        inference.close(s);
        hevm.prank(owner);
        licences.withdraw(licence);
        inference.close(s);
        // What was receipted before is still paid.
        settle(s, 3);
        pass(1 days);
        hevm.roll(height += 100_000);
        inference.finish(s);
        hevm.assertEq(inference.balanceOf(consumer), PRICE);
        hevm.expectPartialRevert(IInferenceMarket.NotAUser.selector);
        open(licence, 4, 2);
    }

    function test_an_heir_owns_what_the_lost_key_owned() public {
        hevm.prank(owner);
        receipts.setGuardians(one(stranger), 1);
        hevm.prank(stranger);
        receipts.approveRecovery(owner, address(0x4e1));
        pass(7 days);
        hevm.prank(address(0x4e1));
        receipts.acceptRecovery(owner);
        hevm.expectPartialRevert(IInferenceMarket.StillGood.selector);
        hevm.prank(owner);
        inference.unseat(committee);
        hevm.prank(address(0x4e1));
        inference.unseat(committee);
    }

    // Operators

    function account(uint256 i) private pure returns (address) {
        return address(uint160(0x0be0 + i));
    }

    function join(uint256 i) private {
        bytes32 key = keccak256(abi.encode("node", i));
        hevm.deal(account(i), 200 ether);
        bytes memory proof = signatureOf(key, operators.proofDigest(account(i), key));
        hevm.prank(account(i));
        operators.join{value: 100 ether}(key, "localhost:1", "here", proof);
        hevm.prank(account(i));
        operators.setQuote(9e14, uint64(clock + 300 days));
        hevm.prank(account(i));
        operators.allow(model, true);
        (committee.keys[i], committee.operators[i]) = (key, account(i));
    }

    // Sessions

    function callTerms(uint128 price) private pure returns (Terms memory t) {
        (t.price, t.royalty, t.compute) = (price, ROYALTY, COMPUTE);
    }

    function opened(uint256 licence, uint128 calls) private returns (Session memory s) {
        (s.licence, s.asset, s.consumer, s.signer) = (licence, model, consumer, hevm.addr(SIGNER_KEY));
        (s.asker, s.royalty, s.compute, s.inFlight, s.nonce) = ("asker", ROYALTY, COMPUTE, 1, 1);
        (s.ends, s.lanes, s.caps) = (uint64(clock + 50 days), one(lane()), new uint128[](1));
        s.caps[0] = calls * PRICE;
        hevm.assertEq(open(licence, calls, 1), inference.sessionId(s));
    }

    function open(uint256 licence, uint128 calls, uint256 nonce) private returns (bytes32) {
        uint128[] memory caps = new uint128[](1);
        caps[0] = calls * PRICE;
        uint64 ends = uint64(clock + 50 days);
        hevm.prank(consumer);
        return inference.open{value: caps[0]}(licence, hevm.addr(SIGNER_KEY), "asker", one(lane()), caps, ends, nonce);
    }

    function settle(Session memory s, uint64 number) private {
        InferenceReceipt memory r;
        (r.job, r.session, r.lane) = (bytes32(bytes16(keccak256(abi.encode(number)))), inference.sessionId(s), lane());
        (r.asset, r.licence, r.sharing, r.graph) = (model, s.licence, committee.manifest, "graph");
        (r.parameters, r.request, r.output, r.transcript) = ("parameters", "request", "output", "transcript");
        (r.committee, r.epoch, r.helper) = (keccak256(abi.encodePacked(committee.keys)), 5, 2);
        (r.number, r.price, r.total, r.time) = (number, PRICE, number * PRICE, uint64(clock));
        (uint8 v, bytes32 a, bytes32 b) =
            hevm.sign(SIGNER_KEY, inference.voucherDigest(r.session, r.lane, r.total, r.job, r.request));
        bytes32 digest = InferenceReceipts.digest(r, block.chainid, INFERENCE_MARKET);
        bytes memory all;
        for (uint256 i; i < 3; ++i) {
            all = bytes.concat(all, signatureOf(committee.keys[i], digest));
        }
        inference.settle(s, committee, r, abi.encodePacked(a, b, v), all);
    }

    function lane() private view returns (bytes32) {
        return keccak256(abi.encode(committee));
    }

    function claimed(address who) private returns (uint256) {
        hevm.prank(who);
        return attribution.claim();
    }
}
