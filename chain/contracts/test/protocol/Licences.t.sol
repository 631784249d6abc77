// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {ILicences} from "../../src/protocol/ILicences.sol";
import {FOR_EVER, KIND_FULL_ACCESS, KIND_LONG_TERM, KIND_PARTNERSHIP, Terms} from "../../src/protocol/Types.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

/// Offers, purchases, users and transfers: what all licences have in common.
contract LicencesTest is ProtocolTest {
    bytes32 internal asset;

    function setUp() public override {
        super.setUp();
        asset = newAsset(owner, 1);
    }

    // Offers

    function test_terms_are_named_by_their_hash() public {
        Terms memory t = apiTerms(5);
        bytes32 termsHash = offered(asset, t);
        hevm.assertEq(termsHash, keccak256(abi.encode(asset, t)));
        (bytes32 of_, Terms memory kept, bool on) = licences.termsOf(termsHash);
        hevm.assertTrue(of_ == asset && on);
        hevm.assertEq(keccak256(abi.encode(kept)), keccak256(abi.encode(t)));
    }

    function test_only_the_owner_offers_and_retracts() public {
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotTheOwner.selector, asset, owner));
        hevm.prank(stranger);
        licences.offer(asset, apiTerms(5));
        bytes32 termsHash = offered(asset, apiTerms(5));
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotTheOwner.selector, asset, owner));
        hevm.prank(stranger);
        licences.retract(termsHash);
    }

    function test_terms_that_make_no_sense_are_refused() public {
        Terms memory t = apiTerms(5);
        t.kind = 4;
        refusedTerms(t);
        t.kind = KIND_PARTNERSHIP;
        refusedTerms(t);
        t = longTerms(5, 0);
        refusedTerms(t);
        t = apiTerms(5);
        t.revenueShare = 10_001;
        refusedTerms(t);
        t.revenueShare = 10_000;
        offered(asset, t);
        t = apiTerms(5);
        t.token = stranger;
        refusedTerms(t);
        t = apiTerms(5);
        (t.royalty, t.compute) = (type(uint128).max, 1);
        refusedTerms(t);
        (t.royalty, t.compute) = (type(uint128).max - 1, 1);
        offered(asset, t);
        refusedTerms(sealedTerms(5, 0));
        refusedTerms(sealedTerms(5, "nowhere registered"));
    }

    // Purchases

    function test_a_licence_keeps_the_terms_it_was_bought_under() public {
        Terms memory t = apiTerms(5 ether);
        t.duration = 100;
        uint256 licence = bought(asset, t, buyer);
        hevm.prank(owner);
        licences.retract(keccak256(abi.encode(asset, t)));
        t.price = 9 ether;
        offered(asset, t);
        t.price = 5 ether;

        (bytes32 of_, Terms memory kept, uint64 from, uint64 ends, uint64 withdrawnAt) = licences.licenceOf(licence);
        hevm.assertEq(of_, asset);
        hevm.assertEq(keccak256(abi.encode(kept)), keccak256(abi.encode(t)));
        hevm.assertTrue(from == clock && ends == clock + 100 && withdrawnAt == 0);
    }

    function test_a_duration_of_zero_or_beyond_the_clock_is_for_ever() public {
        Terms memory t = apiTerms(0);
        (,,, uint64 ends,) = licences.licenceOf(bought(asset, t, buyer));
        hevm.assertEq(ends, FOR_EVER);
        t.duration = type(uint64).max;
        (,,, ends,) = licences.licenceOf(bought(asset, t, buyer));
        hevm.assertEq(ends, FOR_EVER);
    }

    function test_a_purchase_is_bound_to_terms_price_and_share() public {
        Terms memory t = apiTerms(5 ether);
        t.revenueShare = 300;
        bytes32 termsHash = offered(asset, t);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.PriceAbove.selector, 5 ether, 5 ether - 1));
        hevm.prank(buyer);
        licences.buy{value: 5 ether}(asset, termsHash, 5 ether - 1, 300, buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.RevenueShareAbove.selector, 300, 299));
        hevm.prank(buyer);
        licences.buy{value: 5 ether}(asset, termsHash, 5 ether, 299, buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 5 ether, 5 ether - 1));
        hevm.prank(buyer);
        licences.buy{value: 5 ether - 1}(asset, termsHash, 5 ether, 300, buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 5 ether, 5 ether + 1));
        hevm.prank(buyer);
        licences.buy{value: 5 ether + 1}(asset, termsHash, 5 ether, 300, buyer);
        bytes32 other = newAsset(owner, 2);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotOffered.selector, termsHash));
        hevm.prank(buyer);
        licences.buy{value: 5 ether}(other, termsHash, 5 ether, 300, buyer);
    }

    function test_who_retracts_before_a_purchase_sells_nothing() public {
        bytes32 termsHash = offered(asset, apiTerms(5));
        hevm.prank(owner);
        licences.retract(termsHash);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotOffered.selector, termsHash));
        hevm.prank(buyer);
        licences.buy{value: 5}(asset, termsHash, 5, 0, buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotOffered.selector, termsHash));
        hevm.prank(owner);
        licences.retract(termsHash);
        // The same terms may be offered again.
        bought(asset, apiTerms(5), buyer);
    }

    function test_the_price_of_an_api_licence_is_the_assets_revenue_at_once() public {
        uint256 licence = bought(asset, apiTerms(5 ether), buyer);
        (, uint256 unripe,) = attribution.waiting(asset, COIN);
        hevm.assertEq(unripe, 5 ether);
        hevm.assertEq(address(licences).balance, 0);
        (ILicences.State state, uint128 paid, uint128 collected,) = licences.moneyOf(licence);
        hevm.assertTrue(state == ILicences.State.Paid && paid == 5 ether && collected == 5 ether);
        hevm.assertEq(licences.collect(licence), 0);
    }

    function test_a_licence_may_be_a_present_even_to_a_contract() public {
        bytes32 termsHash = offered(asset, apiTerms(5));
        hevm.prank(buyer);
        uint256 licence = licences.buy{value: 5}(asset, termsHash, 5, 0, address(market));
        hevm.assertEq(licences.ownerOf(licence), address(market));
    }

    // Users

    function test_holder_and_user_may_use_a_licence_until_it_is_over() public {
        Terms memory t = apiTerms(5);
        t.duration = 100;
        uint256 licence = bought(asset, t, buyer);
        hevm.assertTrue(licences.isUser(licence, buyer));
        hevm.assertFalse(licences.isUser(licence, stranger));
        hevm.assertFalse(licences.isUser(licence, address(0)));
        hevm.assertFalse(licences.isUser(licence + 1, address(0)));

        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotTheHolder.selector, licence, buyer));
        hevm.prank(stranger);
        licences.setUser(licence, stranger, type(uint64).max);
        hevm.prank(buyer);
        licences.setUser(licence, stranger, uint64(clock + 10));
        hevm.assertEq(licences.userOf(licence), stranger);
        hevm.assertEq(licences.userExpires(licence), clock + 10);
        hevm.assertTrue(licences.isUser(licence, stranger) && licences.isUser(licence, buyer));
        pass(10);
        hevm.assertTrue(licences.isUser(licence, stranger));
        pass(1);
        hevm.assertFalse(licences.isUser(licence, stranger));
        hevm.assertEq(licences.userOf(licence), address(0));
        pass(88);
        hevm.assertTrue(licences.isUser(licence, buyer));
        pass(1);
        hevm.assertFalse(licences.isUser(licence, buyer));
    }

    function test_a_withdrawn_licence_is_good_for_nothing() public {
        uint256 licence = bought(asset, apiTerms(0), buyer);
        hevm.prank(owner);
        licences.withdraw(licence);
        hevm.assertFalse(licences.isUser(licence, buyer));
        (,,,, uint64 withdrawnAt) = licences.licenceOf(licence);
        hevm.assertEq(withdrawnAt, clock);
    }

    function test_slot_zero_holds_when_a_licence_was_withdrawn() public {
        uint256 licence = bought(asset, apiTerms(0), buyer);
        bytes32 slot = keccak256(abi.encode(licence, uint256(0)));
        hevm.assertEq(hevm.load(address(licences), slot), 0);
        hevm.prank(owner);
        licences.withdraw(licence);
        hevm.assertEq(hevm.load(address(licences), slot), bytes32(clock));
        hevm.assertEq(licences.withdrawn(licence), clock);
    }

    function test_nothing_is_known_of_a_licence_that_does_not_exist() public {
        bytes memory refusal = abi.encodeWithSelector(ILicences.NoSuchLicence.selector, 9);
        hevm.expectRevert(refusal);
        licences.licenceOf(9);
        hevm.expectRevert(refusal);
        licences.moneyOf(9);
        hevm.expectRevert(refusal);
        licences.collect(9);
        hevm.expectRevert(refusal);
        licences.royaltyInfo(9, 1);
        hevm.assertFalse(licences.isUser(9, buyer));
    }

    // Transfers

    function test_a_licence_moves_only_if_its_terms_say_so() public {
        Terms memory t = apiTerms(5);
        uint256 licence = bought(asset, t, buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotTransferable.selector, licence));
        hevm.prank(buyer);
        licences.transferFrom(buyer, stranger, licence);
        t.transferable = true;
        licence = bought(asset, t, buyer);
        hevm.prank(buyer);
        licences.setUser(licence, owner, type(uint64).max);
        hevm.prank(buyer);
        licences.transferFrom(buyer, stranger, licence);
        hevm.assertEq(licences.ownerOf(licence), stranger);
        hevm.assertTrue(licences.isUser(licence, stranger));
        // The old holder's user goes with the old holder.
        hevm.assertFalse(licences.isUser(licence, owner));
        hevm.assertFalse(licences.isUser(licence, buyer));
    }

    function test_marketplaces_are_told_what_to_pay_whom() public {
        uint256 licence = bought(asset, apiTerms(5), buyer);
        (address receiver, uint256 amount) = licences.royaltyInfo(licence, 1001);
        hevm.assertTrue(receiver == owner && amount == 50);
        (, amount) = licences.royaltyInfo(licence, type(uint256).max);
        hevm.assertEq(amount, type(uint256).max / 20);
    }

    function test_it_says_what_it_is() public view {
        hevm.assertTrue(licences.supportsInterface(0xad092b5c)); // ERC-4907
        hevm.assertTrue(licences.supportsInterface(type(IERC2981).interfaceId));
        hevm.assertTrue(licences.supportsInterface(type(IERC721).interfaceId));
        hevm.assertFalse(licences.supportsInterface(0xffffffff));
        hevm.assertEq(licences.name(), "Sahara Licence");
        hevm.assertEq(licences.symbol(), "SLI");
    }

    function refusedTerms(Terms memory t) private {
        hevm.expectPartialRevert(ILicences.WrongTerms.selector);
        hevm.prank(owner);
        licences.offer(asset, t);
    }
}
