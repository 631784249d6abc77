// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt} from "../../src/InferenceReceipts.sol";
import {
    ASSET_REGISTRY,
    ATTRIBUTION,
    IDENTITY,
    INFERENCE_MARKET,
    JOURNAL,
    LICENCES,
    OPERATORS,
    OWNERSHIP_RECEIPTS,
    PRIVACY_BUDGET
} from "../../src/protocol/Addresses.sol";
import {AssetRegistry} from "../../src/protocol/AssetRegistry.sol";
import {Attribution} from "../../src/protocol/Attribution.sol";
import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {BLOCKS, keyOfAccount, keyOfOthers} from "../../src/protocol/IJournal.sol";
import {ILicences} from "../../src/protocol/ILicences.sol";
import {Identity} from "../../src/protocol/Identity.sol";
import {InferenceMarket} from "../../src/protocol/InferenceMarket.sol";
import {Journal} from "../../src/protocol/Journal.sol";
import {Licences} from "../../src/protocol/Licences.sol";
import {Operators} from "../../src/protocol/Operators.sol";
import {OwnershipReceipts} from "../../src/protocol/OwnershipReceipts.sol";
import {PrivacyBudget} from "../../src/protocol/PrivacyBudget.sol";
import {Asset, AssetKind, Committee, KIND_API, KIND_LONG_TERM, Session, Terms} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";

interface Records {
    function record() external;
    function accesses(address where) external returns (bytes32[] memory reads, bytes32[] memory writes);
}

/// All contracts together, nothing stood in for but the native ones.
contract AllContractsTest is MarketTest {
    AssetRegistry private constant assets = AssetRegistry(ASSET_REGISTRY);
    Licences private constant book = Licences(LICENCES);
    Attribution private constant revenue = Attribution(ATTRIBUTION);
    address private contributor = address(0xda7a);

    function setUp() public override {
        super.setUp();
        cheats.etch(ASSET_REGISTRY, type(AssetRegistry).runtimeCode);
        cheats.etch(OWNERSHIP_RECEIPTS, type(OwnershipReceipts).runtimeCode);
        cheats.etch(LICENCES, type(Licences).runtimeCode);
        cheats.etch(ATTRIBUTION, type(Attribution).runtimeCode);
    }

    function test_from_a_registered_model_to_everybodys_share() public {
        bytes32 dataset = register(contributor, AssetKind.Dataset, 0, 0);
        Terms memory t;
        (t.kind, t.revenueShare) = (KIND_API, 2_500);
        bytes32 model = register(owner, AssetKind.Model, dataset, buy(dataset, t, owner));
        (t.price, t.royalty, t.compute, t.revenueShare) = (5 ether, ROYALTY, COMPUTE, 0);
        Session memory s = openOn(model, buy(model, t, consumer));
        settle(s, lane(model), receipt(s, lane(model), 40));
        finish(s);
        cheats.assertEq(market.balanceOf(consumer), CAP - 40 * PRICE);
        // What the licence cost and 40 royalties go up the lineage.
        uint256 all = 5 ether + 40 * ROYALTY;
        cheats.assertEq(ATTRIBUTION.balance, all);
        cheats.warp(block.timestamp + 3 days);
        bytes32[] memory both = new bytes32[](2);
        (both[0], both[1]) = (model, dataset);
        cheats.prank(owner);
        uint256 owners = revenue.claimFrom(both);
        cheats.prank(contributor);
        uint256 contributors = revenue.claimFrom(both);
        cheats.assertEq(owners + contributors, all);
        cheats.assertEq(contributors, all / 4);
        cheats.assertEq(owners + contributors + ATTRIBUTION.balance, all);
        (uint256 burnt,) = market.split(COMPUTE, 40);
        cheats.assertEq(OwnershipReceipts(OWNERSHIP_RECEIPTS).reputationOf(model), burnt);
    }

    function test_a_complaint_is_answered_by_a_call_that_was_served_after_it() public {
        bytes32 model = register(owner, AssetKind.Model, 0, 0);
        Terms memory t;
        (t.kind, t.price, t.compute, t.duration) = (KIND_LONG_TERM, 5 ether, COMPUTE, 30 days);
        uint256 licence = buy(model, t, consumer);
        Session memory s = session(1, 1);
        s.royalty = 0;
        s.caps[0] = 100 * COMPUTE;
        s = openOn(model, licence, s);
        InferenceReceipt memory old = receipt(s, lane(model), 1);
        cheats.warp(NOW + 100);
        cheats.prank(consumer);
        book.complain(licence);
        // A receipt of before that was held back answers nothing.
        settle(s, lane(model), old);
        cheats.expectPartialRevert(ILicences.NotServedSince.selector);
        book.answer(licence);
        cheats.warp(NOW + 200);
        InferenceReceipt memory r = receipt(s, lane(model), 2);
        r.time = NOW + 150;
        settle(s, lane(model), r);
        book.answer(licence);
    }

    /// Whoever unseats all committees serves nobody, and what it settles for itself answers no complaint.
    function test_a_committee_that_was_unseated_answers_no_complaint() public {
        bytes32 model = register(owner, AssetKind.Model, 0, 0);
        Terms memory t;
        (t.kind, t.price, t.compute, t.duration) = (KIND_LONG_TERM, 5 ether, COMPUTE, 30 days);
        uint256 licence = buy(model, t, consumer);
        Session memory s = session(1, 1);
        s.royalty = 0;
        s.caps[0] = 100 * COMPUTE;
        s = openOn(model, licence, s);
        cheats.warp(NOW + 100);
        cheats.prank(owner);
        market.unseat(lane(model));
        cheats.prank(consumer);
        book.complain(licence);
        cheats.warp(NOW + 200);
        for (uint64 number = 1; number <= 2; number++) {
            InferenceReceipt memory r = receipt(s, lane(model), number);
            r.time = NOW + 150;
            if (number == 1) settle(s, lane(model), r);
            else secure(s, lane(model), r);
            cheats.expectPartialRevert(ILicences.NotServedSince.selector);
            book.answer(licence);
        }
        cheats.assertEq(market.settled(idOf(s), s.lanes[0]), 2 * COMPUTE);
    }

    function test_a_withdrawn_licence_opens_nothing_and_lets_anybody_close() public {
        bytes32 model = register(owner, AssetKind.Model, 0, 0);
        Terms memory t;
        (t.kind, t.price, t.royalty, t.compute) = (KIND_API, 1 ether, ROYALTY, COMPUTE);
        uint256 licence = buy(model, t, consumer);
        Session memory s = openOn(model, licence);
        cheats.expectPartialRevert(IInferenceMarket.NotTheConsumer.selector);
        market.close(s);
        cheats.deal(owner, 10 ether);
        cheats.prank(owner);
        book.withdraw{value: 1 ether}(licence);
        market.close(s);
        cheats.prank(consumer);
        cheats.expectPartialRevert(IInferenceMarket.NotAUser.selector);
        market.open{value: CAP}(licence, signer, s.asker, s.lanes, s.caps, ENDS, 2);
    }

    function test_each_event_is_found_by_the_block_that_is_written_down_for_it() public {
        cheats.roll(1_000_000);
        bytes32 model = register(owner, AssetKind.Model, 0, 0);
        Terms memory t;
        (t.kind, t.royalty, t.compute) = (KIND_API, ROYALTY, COMPUTE);
        cheats.roll(2_000_000);
        uint256 licence = buy(model, t, consumer);
        cheats.roll(3_000_000);
        Session memory s = openOn(model, licence);
        entry(ASSET_REGISTRY, 0, 1_000_001);
        entry(ASSET_REGISTRY, keyOfAccount(owner), 1_000_001);
        entry(LICENCES, model, 2_000_000);
        entry(LICENCES, keyOfAccount(consumer), 2_000_000);
        entry(INFERENCE_MARKET, model, 3_000_000);
        entry(INFERENCE_MARKET, s.lanes[0], 3_000_000);
        entry(INFERENCE_MARKET, keyOfAccount(consumer), 3_000_000);
        cheats.roll(4_000_000);
        cheats.prank(consumer);
        book.setUser(licence, stranger, NOW + 1);
        entry(LICENCES, keyOfOthers(stranger), 4_000_000);
        cheats.prank(consumer);
        market.close(s);
        cheats.assertEq(market.closedIn(idOf(s)), 4_000_000);
    }

    function test_gifts_stand_apart_from_what_an_account_bought() public {
        bytes32 model = register(owner, AssetKind.Model, 0, 0);
        Terms memory t;
        buy(model, t, consumer);
        bytes32 hash = keccak256(abi.encode(model, t));
        uint256 first = block.number;
        for (uint256 i = 1; i <= 3; i++) {
            cheats.roll(first + i);
            cheats.prank(stranger, stranger);
            book.buy(model, hash, 0, 0, consumer);
        }
        cheats.assertEq(BLOCKS.entryCount(LICENCES, keyOfAccount(consumer)), 1);
        cheats.assertEq(BLOCKS.entryCount(LICENCES, keyOfOthers(consumer)), 3);
    }

    function test_the_key_of_gifts_is_what_programs_compute() public pure {
        cheats.assertEq(keyOfOthers(address(7)), 0x74ab3b50dd48e468ba3afe5afa964a1822a40f3f29072e4ba0aadfc5a325d4ed);
    }

    function test_a_block_is_written_down_once_and_the_newest_come_first() public {
        register(owner, AssetKind.Model, 0, 0);
        register(contributor, AssetKind.Dataset, 0, 0);
        uint64 last = uint64(block.number);
        register(stranger, AssetKind.Dataset, 0, 0);
        Terms memory t;
        bytes32 model = assets.idOf(owner, keccak256(abi.encode(owner)));
        for (uint256 i = 0; i < 3; i++) {
            t.price = uint128(i);
            buy(model, t, consumer);
        }
        cheats.assertEq(BLOCKS.entryCount(LICENCES, keyOfAccount(consumer)), 1);
        cheats.assertEq(BLOCKS.entryCount(ASSET_REGISTRY, 0), 3);
        uint64[] memory two = BLOCKS.entriesOf(ASSET_REGISTRY, 0, 1, 2);
        cheats.assertTrue(two.length == 2 && two[0] == last && two[1] == last - 1);
        cheats.assertEq(BLOCKS.entriesOf(ASSET_REGISTRY, 0, 2, type(uint256).max).length, 1);
        cheats.assertEq(BLOCKS.entriesOf(ASSET_REGISTRY, 0, type(uint256).max, 1).length, 0);
    }

    function entry(address writer, bytes32 key, uint64 number) private view {
        uint64[] memory blocks = BLOCKS.entriesOf(writer, key, 0, 10);
        cheats.assertTrue(blocks.length == 1 && blocks[0] == number);
    }

    /// No constructor runs in genesis: what the code would have stored at its creation, it must not need.
    function test_no_contract_stores_anything_at_its_creation() public {
        untouched(type(AssetRegistry).creationCode, ASSET_REGISTRY);
        untouched(type(OwnershipReceipts).creationCode, OWNERSHIP_RECEIPTS);
        untouched(type(Licences).creationCode, LICENCES);
        untouched(type(Attribution).creationCode, ATTRIBUTION);
        untouched(type(Operators).creationCode, OPERATORS);
        untouched(type(InferenceMarket).creationCode, INFERENCE_MARKET);
        cheats.etch(IDENTITY, type(Identity).runtimeCode);
        untouched(type(Identity).creationCode, IDENTITY);
        cheats.etch(PRIVACY_BUDGET, type(PrivacyBudget).runtimeCode);
        untouched(type(PrivacyBudget).creationCode, PRIVACY_BUDGET);
        untouched(type(Journal).creationCode, JOURNAL);
    }

    function untouched(bytes memory creation, address inGenesis) private {
        Records(address(cheats)).record();
        address made;
        assembly {
            made := create(0, add(creation, 32), mload(creation))
        }
        (, bytes32[] memory writes) = Records(address(cheats)).accesses(made);
        for (uint256 i = 0; i < writes.length; i++) {
            cheats.assertEq(cheats.load(made, writes[i]), 0);
        }
        cheats.assertTrue(made.code.length != 0);
        cheats.assertEq(keccak256(made.code), keccak256(inGenesis.code));
    }

    function register(address who, AssetKind kind, bytes32 parent, uint256 licence) private returns (bytes32) {
        Asset memory a;
        (a.kind, a.owner, a.contentRoot, a.graph) = (kind, who, keccak256(abi.encode(who)), keccak256("graph"));
        (a.parents, a.parentLicences) = (new bytes32[](parent == 0 ? 0 : 1), new uint256[](parent == 0 ? 0 : 1));
        if (parent != 0) (a.parents[0], a.parentLicences[0]) = (parent, licence);
        assets.commit(keccak256(abi.encode(who, bytes32("salt"), keccak256(abi.encode(a)))));
        cheats.roll(block.number + 1);
        cheats.prank(who);
        return assets.register(a, "salt");
    }

    function buy(bytes32 asset, Terms memory t, address who) private returns (uint256) {
        address seller = assets.ownerOf(asset);
        cheats.prank(seller);
        bytes32 hash = book.offer(asset, t);
        cheats.deal(who, 1_000 ether);
        cheats.prank(who, who);
        return book.buy{value: t.price}(asset, hash, t.price, t.revenueShare, who);
    }

    function lane(bytes32 asset) private pure returns (Committee memory c) {
        c = committee(0);
        c.asset = asset;
    }

    function openOn(bytes32 asset, uint256 licence) private returns (Session memory) {
        return openOn(asset, licence, session(1, 1));
    }

    function openOn(bytes32 asset, uint256 licence, Session memory s) private returns (Session memory) {
        for (uint256 i = 0; i < 3; i++) {
            cheats.prank(account(i));
            operators.allow(asset, true);
        }
        Committee memory c = lane(asset);
        cheats.prank(owner);
        market.seat(c);
        (s.asset, s.licence, s.lanes[0]) = (asset, licence, idOf(c));
        cheats.prank(consumer);
        bytes32 id = market.open{value: s.caps[0]}(licence, signer, s.asker, s.lanes, s.caps, s.ends, 1);
        cheats.assertEq(id, idOf(s));
        return s;
    }
}
