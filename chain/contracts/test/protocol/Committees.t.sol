// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {IOperators} from "../../src/protocol/IOperators.sol";
import {LONGEST_TERM} from "../../src/protocol/MarketBase.sol";
import {MOST_VOLUNTEERS} from "../../src/protocol/Operators.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";
import {signatureOf} from "./StandIns.sol";

/// Who may sit on a committee, and who is drawn.
contract CommitteesTest is MarketTest {
    function test_only_the_owner_seats_and_only_once() public {
        Committee memory c = committee(0);
        cheats.expectPartialRevert(IInferenceMarket.NotTheOwner.selector);
        market.seat(c);
        seated(0);
        refusedSeat(IInferenceMarket.SeatedBefore.selector, c);
        cheats.prank(owner);
        market.unseat(c);
        refusedSeat(IInferenceMarket.SeatedBefore.selector, c);
    }

    function test_members_are_three_accounts_with_three_keys() public {
        Committee memory c = committee(0);
        c.operators[2] = c.operators[0];
        c.keys[2] = c.keys[0];
        refusedSeat(IInferenceMarket.NotDistinct.selector, c);
        c = committee(0);
        c.operators[2] = c.operators[1];
        refusedSeat(IInferenceMarket.NotDistinct.selector, c);
        c = committee(0);
        c.keys[1] = node(4);
        refusedSeat(IInferenceMarket.WrongKey.selector, c);
        // Nobody is no operator.
        (c.keys[1], c.operators[1]) = (0, stranger);
        refusedSeat(IInferenceMarket.NotBonded.selector, c);
    }

    function test_members_are_bonded_willing_and_have_a_quote() public {
        Committee memory c = committee(0);
        cheats.prank(account(0));
        operators.setQuote(1, NOW + 1);
        cheats.warp(NOW + 1);
        refusedSeat(IInferenceMarket.NoQuote.selector, c);
        cheats.prank(account(0));
        operators.setQuote(1, NOW + 100);
        cheats.prank(account(1));
        operators.allow(ASSET, false);
        refusedSeat(IInferenceMarket.NotWilling.selector, c);
        cheats.prank(account(1));
        operators.allow(ASSET, true);
        cheats.prank(account(2));
        operators.unbond(1);
        refusedSeat(IInferenceMarket.NotBonded.selector, c);
        bond(2, 1);
        cheats.prank(owner);
        market.seat(c);
    }

    function test_an_owner_chooses_whom_it_trusts() public {
        address[] memory who = new address[](1);
        who[0] = account(2);
        cheats.expectPartialRevert(IOperators.NotTheOwner.selector);
        operators.judge(ASSET, who, IOperators.Verdict.Denied);
        cheats.expectPartialRevert(IOperators.NotTheOwner.selector);
        operators.setPolicy(ASSET, 0, true);
        cheats.prank(owner);
        operators.judge(ASSET, who, IOperators.Verdict.Denied);
        refusedSeat(IInferenceMarket.NotAdmitted.selector, committee(0));
        cheats.prank(owner);
        operators.judge(ASSET, who, IOperators.Verdict.Allowed);
        cheats.prank(owner);
        operators.setPolicy(ASSET, 101 ether, false);
        refusedSeat(IInferenceMarket.NotAdmitted.selector, committee(0));
        for (uint256 i = 0; i < 3; i++) {
            bond(i, 1 ether);
        }
        seated(0);
        (uint128 least, bool only) = operators.policyOf(ASSET);
        cheats.assertEq(least, 101 ether);
        cheats.assertFalse(only);
        cheats.assertTrue(operators.verdictOf(ASSET, account(2)) == IOperators.Verdict.Allowed);
    }

    function test_a_term_ends_and_is_not_endless() public {
        Committee memory c = committee(0);
        c.until = NOW;
        refusedSeat(IInferenceMarket.WrongTime.selector, c);
        (c.from, c.until) = (NOW + 10, NOW + 10);
        refusedSeat(IInferenceMarket.WrongTime.selector, c);
        (c.from, c.until) = (0, NOW + LONGEST_TERM + 1);
        refusedSeat(IInferenceMarket.WrongTime.selector, c);
        c.until -= 1;
        cheats.prank(owner);
        bytes32 id = market.seat(c);
        // Not from before it was seated.
        cheats.assertEq(market.committees(id), NOW);
    }

    function test_strangers_unseat_only_what_is_no_good() public {
        Committee memory c = committee(0);
        cheats.expectPartialRevert(IInferenceMarket.NotSeated.selector);
        market.unseat(c);
        seated(0);
        cheats.expectPartialRevert(IInferenceMarket.StillGood.selector);
        market.unseat(c);
        cheats.prank(account(0));
        operators.unbond(1);
        market.unseat(c);
        cheats.assertEq(market.committees(idOf(c)) >> 64, NOW);
        cheats.expectPartialRevert(IInferenceMarket.NotSeated.selector);
        market.unseat(c);
        c = seated(1);
        cheats.warp(c.until);
        cheats.expectPartialRevert(IInferenceMarket.StillGood.selector);
        market.unseat(c);
        cheats.warp(c.until + 1);
        market.unseat(c);
    }

    function test_a_member_with_another_key_or_no_will_opens_nothing() public {
        Committee memory c = seated(0);
        Session memory s = session(1, 1);
        cheats.prank(account(2));
        operators.allow(ASSET, false);
        refusedOpen(IInferenceMarket.NotWilling.selector, s);
        cheats.prank(account(2));
        operators.allow(ASSET, true);
        bytes memory proof = signatureOf(node(9), operators.proofDigest(account(2), node(9)));
        cheats.prank(account(2));
        operators.join(node(9), "localhost:1", "here", proof);
        refusedOpen(IInferenceMarket.NotSeated.selector, s);
        market.unseat(c);
    }

    function test_what_an_unseated_committee_has_done_is_paid() public {
        Session memory s = opened(1);
        Committee memory c = committee(0);
        cheats.prank(owner);
        market.unseat(c);
        settle(s, c, receipt(s, c, 1));
        cheats.assertTrue(earned(0) > 0);
    }

    function test_a_drawing_gives_the_same_whenever_it_is_asked() public {
        beacon.setEpoch(5);
        address[] memory drawn = operators.propose(ASSET, 5);
        cheats.assertEq(drawn.length, 6);
        for (uint256 i = 0; i < 6; i++) {
            for (uint256 j = 0; j < i; j++) {
                cheats.assertTrue(drawn[i] != drawn[j]);
            }
        }
        bytes32 before = keccak256(abi.encode(drawn));
        // What happens after the set was frozen changes nothing.
        bond(0, 500 ether);
        cheats.prank(account(1));
        operators.allow(ASSET, false);
        cheats.prank(account(2));
        operators.unbond(100 ether);
        join(7);
        beacon.setEpoch(9);
        cheats.assertEq(keccak256(abi.encode(operators.propose(ASSET, 5))), before);
        cheats.assertFalse(keccak256(abi.encode(operators.propose(ASSET, 9))) == before);
        (uint256 bonded, bool willing) = operators.frozen(account(0), ASSET, 3);
        cheats.assertEq(bonded, 100 ether);
        cheats.assertTrue(willing);
        cheats.assertEq(operators.volunteers(ASSET).length, 7);
    }

    function test_who_came_after_the_freeze_is_not_drawn() public {
        beacon.setEpoch(3);
        for (uint256 i = 0; i < 4; i++) {
            cheats.prank(account(i));
            operators.allow(ASSET, false);
        }
        // Epoch 4 draws among those of epoch 2, epoch 5 among those of epoch 3.
        beacon.setEpoch(5);
        cheats.assertEq(operators.propose(ASSET, 4).length, 6);
        cheats.expectPartialRevert(IOperators.TooFew.selector);
        operators.propose(ASSET, 5);
        cheats.expectPartialRevert(IOperators.NotFrozen.selector);
        operators.propose(ASSET, 7);
        // Frozen, but nobody knows the value yet.
        cheats.expectRevert();
        operators.propose(ASSET, 6);
        cheats.expectPartialRevert(IOperators.NotFrozen.selector);
        operators.propose(ASSET, 1);
    }

    function test_nobody_below_the_least_bond_or_denied_is_drawn() public {
        cheats.prank(account(5));
        operators.unbond(1);
        address[] memory who = new address[](1);
        who[0] = account(4);
        cheats.prank(owner);
        operators.judge(ASSET, who, IOperators.Verdict.Denied);
        beacon.setEpoch(2);
        address[] memory drawn = operators.propose(ASSET, 2);
        cheats.assertEq(drawn.length, 4);
        for (uint256 i = 0; i < 4; i++) {
            cheats.assertTrue(drawn[i] != account(4) && drawn[i] != account(5));
        }
    }

    function test_places_are_bounded_and_who_is_gone_makes_room() public {
        for (uint256 i = 6; i < MOST_VOLUNTEERS; i++) {
            join(i);
        }
        beacon.setEpoch(4);
        uint256 gas = gasleft();
        cheats.assertEq(operators.propose(ASSET, 4).length, 6);
        cheats.assertTrue(gas - gasleft() < 8_000_000);
        enrol(1_000);
        withoutPlace(1_000);
        // Nobody loses its place while it can be drawn, and nobody has two.
        refusedPlaceOf(1_000, account(7));
        refusedPlaceOf(1_000, account(2_000));
        cheats.prank(account(7));
        operators.allow(ASSET, false);
        refusedPlaceOf(8, account(7));
        beacon.setEpoch(6);
        // Epoch 7 draws among those of epoch 5, and epoch 5 is after it left.
        beacon.setEpoch(7);
        takePlaceOf(1_000, account(7));
        cheats.assertEq(operators.volunteers(ASSET)[7], account(1_000));
        cheats.assertEq(operators.volunteers(ASSET).length, MOST_VOLUNTEERS);
        // The other one comes back when there is room again.
        withoutPlace(7);
        refusedPlaceOf(7, account(7));
    }

    function test_a_place_is_kept_as_long_as_a_frozen_set_has_it() public {
        beacon.setEpoch(4);
        enrol(1_000);
        cheats.prank(account(5));
        operators.allow(ASSET, false);
        for (uint256 epoch = 4; epoch <= 5; epoch++) {
            beacon.setEpoch(epoch);
            refusedPlaceOf(1_000, account(5));
        }
        cheats.assertEq(operators.propose(ASSET, 5).length, 6);
        beacon.setEpoch(6);
        cheats.assertEq(operators.propose(ASSET, 6).length, 5);
        takePlaceOf(1_000, account(5));
        cheats.assertEq(operators.propose(ASSET, 6).length, 5);
    }

    /// Else somebody who waits beside could choose, when an epoch's value is known, whether to be in its set.
    function test_who_was_ready_before_it_had_a_place_is_in_no_frozen_set() public {
        beacon.setEpoch(4);
        cheats.prank(account(5));
        operators.allow(ASSET, false);
        beacon.setEpoch(7);
        enrol(1_000);
        takePlaceOf(1_000, account(5));
        // It loses the place, comes back, and takes another's long after.
        cheats.prank(account(1_000));
        operators.unbond(1);
        beacon.setEpoch(10);
        cheats.prank(account(5));
        operators.allowInPlaceOf(ASSET, account(1_000));
        bond(1_000, 1);
        cheats.prank(account(4));
        operators.allow(ASSET, false);
        beacon.setEpoch(20);
        cheats.assertEq(operators.propose(ASSET, 20).length, 5);
        takePlaceOf(1_000, account(4));
        cheats.assertEq(operators.propose(ASSET, 20).length, 5);
        beacon.setEpoch(22);
        cheats.assertEq(operators.propose(ASSET, 22).length, 6);
    }

    function test_an_owner_clears_places_by_its_policy() public {
        beacon.setEpoch(4);
        enrol(1_000);
        address[] memory who = new address[](1);
        who[0] = account(3);
        cheats.prank(owner);
        operators.judge(ASSET, who, IOperators.Verdict.Denied);
        takePlaceOf(1_000, account(3));
        cheats.assertEq(operators.volunteers(ASSET)[3], account(1_000));
    }

    /// A bond of half of everything is drawn first in about half of the epochs.
    function test_seats_are_drawn_in_proportion_to_bonds() public {
        bond(3, 400 ether);
        uint256 first = 0;
        for (uint256 epoch = 2; epoch < 202; epoch++) {
            beacon.setEpoch(epoch);
            if (operators.propose(ASSET, epoch)[0] == account(3)) first++;
        }
        cheats.assertTrue(first > 80 && first < 120);
    }

    /// An operator that has volunteered for nothing yet.
    function enrol(uint256 i) private {
        cheats.deal(account(i), 1_000 ether);
        bytes memory proof = signatureOf(node(i), operators.proofDigest(account(i), node(i)));
        cheats.prank(account(i));
        operators.join{value: 100 ether}(node(i), "localhost:1", "here", proof);
    }

    function takePlaceOf(uint256 i, address gone) private {
        cheats.prank(account(i));
        operators.allowInPlaceOf(ASSET, gone);
    }

    function refusedPlaceOf(uint256 i, address gone) private {
        cheats.expectPartialRevert(IOperators.StillThere.selector);
        takePlaceOf(i, gone);
    }

    /// Says that it is willing where all places are taken: it may be seated, and is not drawn.
    function withoutPlace(uint256 i) private {
        cheats.prank(account(i));
        operators.allow(ASSET, true);
        (,,,, bool willing) = operators.standing(account(i), ASSET);
        address[] memory all = operators.volunteers(ASSET);
        cheats.assertTrue(willing && all.length == MOST_VOLUNTEERS);
        for (uint256 j = 0; j < all.length; j++) {
            cheats.assertTrue(all[j] != account(i));
        }
    }

    function bond(uint256 i, uint256 more) private {
        cheats.prank(account(i));
        operators.join{value: more}(node(i), "localhost:1", "here", "");
    }

    function refusedOpen(bytes4 selector, Session memory s) private {
        cheats.prank(s.consumer);
        cheats.expectPartialRevert(selector);
        market.open{value: CAP}(s.licence, s.signer, s.asker, s.lanes, s.caps, s.ends, s.nonce);
    }

    function refusedSeat(bytes4 selector, Committee memory c) private {
        cheats.prank(owner);
        cheats.expectPartialRevert(selector);
        market.seat(c);
    }
}
