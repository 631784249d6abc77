// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IAssetRegistry} from "../../src/protocol/IAssetRegistry.sol";
import {IAttribution} from "../../src/protocol/IAttribution.sol";
import {BurningPayee, GreedyPayee, RefusingPayee} from "./fixtures/Payees.sol";
import {EmptyToken, FeeToken, GoodToken, HookToken} from "./fixtures/Tokens.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

contract AttributionTest is ProtocolTest {
    bytes32 internal asset;

    function setUp() public override {
        super.setUp();
        asset = newAsset(owner, 1);
    }

    // Into the books

    function test_nothing_can_be_paid_to_nobody() public {
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.NoSuchAsset.selector, bytes32("nothing")));
        attribution.pay{value: 1}("nothing");
    }

    function test_a_payment_of_nothing_is_no_payment() public {
        attribution.pay(asset);
        (uint256 ripe, uint256 unripe, uint256 own) = attribution.waiting(asset, COIN);
        hevm.assertTrue(ripe == 0 && unripe == 0 && own == 0);
    }

    function test_a_payment_waits_for_the_challenge_window() public {
        hevm.expectEmit(address(attribution));
        emit IAttribution.Paid(asset, COIN, address(this), 10, clock + 25 hours);
        attribution.pay{value: 10}(asset);
        pass(attribution.CHALLENGE());
        hevm.assertEq(attribution.release(asset, COIN, 9), 0);
        // 1,800,000,000 is a whole hour.
        pass(1 hours - 1);
        hevm.assertEq(attribution.release(asset, COIN, 9), 0);
        pass(1);
        (uint256 ripe, uint256 unripe,) = attribution.waiting(asset, COIN);
        hevm.assertTrue(ripe == 10 && unripe == 0);
        hevm.assertEq(attribution.release(asset, COIN, 9), 10);
        hevm.assertEq(attribution.divide(asset, COIN), 10);
        hevm.assertEq(attribution.claimable(owner), 10);
    }

    function test_many_hours_can_be_released_a_few_at_a_time() public {
        for (uint256 i; i < 5; ++i) {
            attribution.pay{value: 1}(asset);
            attribution.pay{value: 1}(asset);
            pass(1 hours);
        }
        pass(2 days);
        hevm.assertEq(attribution.release(asset, COIN, 2), 4);
        hevm.assertEq(attribution.release(asset, COIN, 2), 4);
        hevm.assertEq(attribution.release(asset, COIN, 2), 2);
        hevm.assertEq(attribution.release(asset, COIN, 2), 0);
        attribution.pay{value: 3}(asset);
        hevm.assertEq(attribution.release(asset, COIN, 2), 0);
    }

    // Up the lineage and to contributors

    function test_revenue_flows_up_and_to_contributors() public {
        bytes32 parent = derived(buyer, 2, one(asset), one(uint16(2500)));
        bytes32 child = derived(stranger, 3, one(parent), one(uint16(4000)));
        address[] memory who = new address[](2);
        uint16[] memory shares = new uint16[](2);
        (who[0], who[1], shares[0], shares[1]) = (address(0x11), address(0x12), 2500, 7500);
        hevm.prank(owner);
        receipts.issue(asset, who, shares);

        attribution.pay{value: 10_000}(child);
        bytes32[] memory all = new bytes32[](3);
        (all[0], all[1], all[2]) = (child, parent, asset);
        flush(all, COIN);
        hevm.assertEq(attribution.claimable(stranger), 6000);
        hevm.assertEq(attribution.claimable(buyer), 3000);
        hevm.assertEq(attribution.claimable(address(0x11)), 250);
        hevm.assertEq(attribution.claimable(address(0x12)), 750);
    }

    function test_who_divides_often_gains_nothing_by_rounding() public {
        bytes32 child = derived(buyer, 2, one(asset), one(uint16(1000)));
        address[] memory who = new address[](2);
        uint16[] memory shares = new uint16[](2);
        (who[0], who[1], shares[0], shares[1]) = (address(0x11), address(0x12), 9900, 100);
        hevm.prank(owner);
        receipts.issue(asset, who, shares);
        bytes32[] memory all = new bytes32[](2);
        (all[0], all[1]) = (child, asset);
        for (uint256 i; i < 1000; ++i) {
            attribution.pay{value: 1}(child);
            flush(all, COIN);
        }
        hevm.assertEq(attribution.claimable(buyer), 900);
        hevm.assertEq(attribution.claimable(address(0x11)), 99);
        hevm.assertEq(attribution.claimable(address(0x12)), 1);
    }

    function test_receipts_issued_late_take_nothing_that_is_not_there() public {
        // The owner alone has divided a total at which many shares would step up together.
        attribution.pay{value: 9_999}(asset);
        flush(one(asset), COIN);
        hevm.assertEq(attribution.claimable(owner), 9_999);
        address[] memory who = new address[](50);
        uint16[] memory shares = new uint16[](50);
        for (uint256 i; i < 50; ++i) {
            (who[i], shares[i]) = (address(uint160(0x1000 + i)), 200);
        }
        hevm.prank(owner);
        receipts.issue(asset, who, shares);
        attribution.pay{value: 1}(asset);
        flush(one(asset), COIN);
        for (uint256 i; i < 50; ++i) {
            hevm.assertEq(attribution.claimable(who[i]), 0);
        }
        attribution.pay{value: 49}(asset);
        flush(one(asset), COIN);
        for (uint256 i; i < 50; ++i) {
            hevm.assertEq(attribution.claimable(who[i]), 1);
        }
    }

    // Out of the books

    function test_claims_pay_once() public {
        attribution.pay{value: 10}(asset);
        pass(2 days);
        uint256 before = owner.balance;
        hevm.prank(owner);
        hevm.assertEq(attribution.claimFrom(one(asset)), 10);
        hevm.assertEq(owner.balance - before, 10);
        hevm.expectRevert(abi.encodeWithSelector(IAttribution.NothingToClaim.selector, owner));
        hevm.prank(owner);
        attribution.claim();
    }

    function test_payees_that_refuse_or_burn_gas_harm_nobody_else() public {
        address refusing = address(new RefusingPayee());
        address burning = address(new BurningPayee());
        address[] memory who = new address[](3);
        uint16[] memory shares = new uint16[](3);
        (who[0], who[1], who[2]) = (refusing, burning, buyer);
        (shares[0], shares[1], shares[2]) = (3000, 3000, 4000);
        hevm.prank(owner);
        receipts.issue(asset, who, shares);
        attribution.pay{value: 10_000}(asset);
        flush(one(asset), COIN);

        hevm.expectRevert(abi.encodeWithSelector(IAttribution.Refused.selector, refusing));
        hevm.prank(refusing);
        attribution.claim();
        (bool done,) = address(this).call{gas: 500_000}(abi.encodeCall(this.claimAs, (burning)));
        hevm.assertFalse(done);
        uint256 before = buyer.balance;
        hevm.prank(buyer);
        attribution.claim();
        hevm.assertEq(buyer.balance - before, 4000);
        // Nor is what they could not take lost.
        hevm.prank(refusing);
        attribution.claimTo(COIN, stranger);
        hevm.prank(burning);
        attribution.claimTo(COIN, stranger);
        hevm.assertEq(address(attribution).balance, 0);
    }

    function test_a_payee_that_calls_back_gets_nothing_twice() public {
        GreedyPayee greedy = new GreedyPayee();
        greedy.aim(address(attribution), abi.encodeCall(IAttribution.claim, ()));
        address[] memory who = new address[](2);
        uint16[] memory shares = new uint16[](2);
        (who[0], who[1], shares[0], shares[1]) = (address(greedy), buyer, 5000, 5000);
        hevm.prank(owner);
        receipts.issue(asset, who, shares);
        attribution.pay{value: 10_000}(asset);
        flush(one(asset), COIN);
        greedy.go();
        hevm.assertTrue(greedy.times() == 1 && !greedy.succeeded());
        hevm.assertEq(address(greedy).balance, 5000);
        hevm.assertEq(address(attribution).balance, 5000);
    }

    // Tokens

    function test_each_token_has_books_of_its_own() public {
        GoodToken good = new GoodToken();
        FeeToken fee = new FeeToken();
        good.mint(address(this), 100);
        fee.mint(address(this), 100);
        good.approve(address(attribution), 100);
        fee.approve(address(attribution), 100);
        hevm.assertEq(attribution.payToken(asset, address(good), 100), 100);
        // What arrives counts.
        hevm.assertEq(attribution.payToken(asset, address(fee), 100), 90);
        flush(one(asset), address(good));
        flush(one(asset), address(fee));
        hevm.assertEq(attribution.claimableIn(owner, address(good)), 100);
        hevm.assertEq(attribution.claimableIn(owner, address(fee)), 90);
        hevm.assertEq(attribution.claimable(owner), 0);
        hevm.prank(owner);
        attribution.claimTo(address(good), buyer);
        hevm.assertEq(good.balanceOf(buyer), 100);
        hevm.prank(owner);
        attribution.claimTo(address(fee), buyer);
        hevm.assertEq(fee.balanceOf(buyer), 81);
    }

    function test_a_token_that_moves_nothing_pays_nothing() public {
        address empty = address(new EmptyToken());
        hevm.expectRevert(abi.encodeWithSelector(IAttribution.NothingArrived.selector, empty));
        attribution.payToken(asset, empty, 100);
    }

    function test_a_token_that_calls_back_finds_every_door_shut() public {
        HookToken token = new HookToken();
        token.mint(address(this), 500);
        token.approve(address(attribution), 500);
        token.setHook(address(this));
        bytes[7] memory doors = [
            abi.encodeCall(IAttribution.payToken, (asset, address(token), 40)),
            abi.encodeCall(IAttribution.release, (asset, COIN, 9)),
            abi.encodeCall(IAttribution.divide, (asset, COIN)),
            abi.encodeCall(IAttribution.claimFrom, (one(asset))),
            abi.encodeCall(IAttribution.claim, ()),
            abi.encodeCall(IAttribution.claimTo, (COIN, owner)),
            abi.encodeCall(IAttribution.claimFor, (owner, COIN, owner))
        ];
        for (uint256 i; i < doors.length; ++i) {
            (door, answer) = (doors[i], "");
            attribution.payToken(asset, address(token), 60);
            hevm.assertTrue(bytes4(answer) == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        }
        (, uint256 unripe,) = attribution.waiting(asset, address(token));
        hevm.assertEq(unripe, 420);
        hevm.assertEq(token.balanceOf(address(attribution)), 420);
        flush(one(asset), address(token));
        answer = "";
        hevm.prank(owner);
        attribution.claimTo(address(token), owner);
        hevm.assertTrue(bytes4(answer) == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
    }

    function test_a_blocked_payee_of_a_token_harms_nobody_else() public {
        HookToken token = new HookToken();
        token.mint(address(this), 100);
        token.approve(address(attribution), 100);
        attribution.payToken(asset, address(token), 100);
        attribution.pay{value: 7}(asset);
        flush(one(asset), address(token));
        flush(one(asset), COIN);
        token.setBlocked(owner, true);
        hevm.expectRevert(bytes("blocked"));
        hevm.prank(owner);
        attribution.claimTo(address(token), owner);
        hevm.prank(owner);
        attribution.claim();
        hevm.prank(owner);
        attribution.claimTo(address(token), buyer);
        hevm.assertEq(token.balanceOf(buyer), 100);
    }

    bytes private door;
    bytes private answer;

    /// The token's hook: goes in once more.
    function moving() external {
        (, answer) = address(attribution).call(door);
    }

    function claimAs(address payee) external {
        hevm.prank(payee);
        attribution.claim();
    }
}
