// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IAttribution} from "../../src/protocol/IAttribution.sol";
import {ILicences} from "../../src/protocol/ILicences.sol";
import {IOwnershipReceipts} from "../../src/protocol/IOwnershipReceipts.sol";
import {Terms} from "../../src/protocol/Types.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

contract OwnershipReceiptsTest is ProtocolTest {
    bytes32 internal asset;
    address[] internal guardians;
    address internal heir = address(0x4e1);
    uint64 internal delay;
    uint64 internal grace;

    function setUp() public override {
        super.setUp();
        asset = newAsset(owner, 1);
        guardians = [address(0x61), address(0x62), address(0x63)];
        (delay, grace) = (receipts.DELAY(), receipts.GRACE());
    }

    // Receipts

    function test_each_contributor_has_one_receipt_with_its_share() public {
        issue();
        (address[] memory who, uint16[] memory shares) = receipts.contributorsOf(asset);
        hevm.assertTrue(who.length == 2 && who[0] == owner && who[1] == buyer);
        hevm.assertTrue(shares[0] == 9999 && shares[1] == 1);
        uint256 receipt = receipts.idOf(asset, buyer);
        hevm.assertEq(receipts.ownerOf(receipt), buyer);
        (bytes32 of_, address contributor, uint16 share) = receipts.receiptOf(receipt);
        hevm.assertTrue(of_ == asset && contributor == buyer && share == 1);
    }

    function test_shares_are_exactly_all_of_it() public {
        (address[] memory who, uint16[] memory shares) = (new address[](2), new uint16[](2));
        (who[0], who[1], shares[0]) = (owner, buyer, 9999);
        refused(who, shares, abi.encodeWithSelector(IOwnershipReceipts.WrongContributor.selector, buyer));
        shares[1] = 2;
        refused(who, shares, abi.encodeWithSelector(IOwnershipReceipts.SharesAreNotAll.selector, 10_001));
        shares[0] = 9997;
        refused(who, shares, abi.encodeWithSelector(IOwnershipReceipts.SharesAreNotAll.selector, 9_999));
        shares[0] = 9998;
        who[1] = owner;
        refused(who, shares, abi.encodeWithSelector(IOwnershipReceipts.WrongContributor.selector, owner));
        who[1] = address(0);
        refused(who, shares, abi.encodeWithSelector(IOwnershipReceipts.WrongContributor.selector, address(0)));
        refused(who, one(uint16(10_000)), abi.encodeWithSelector(IOwnershipReceipts.WrongNumber.selector, 2, 1));
        refused(
            new address[](0), new uint16[](0), abi.encodeWithSelector(IOwnershipReceipts.WrongNumber.selector, 0, 0)
        );
        refused(
            new address[](65), new uint16[](65), abi.encodeWithSelector(IOwnershipReceipts.WrongNumber.selector, 65, 65)
        );
    }

    function test_receipts_are_issued_once_and_by_the_owner() public {
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotTheOwner.selector, asset, owner));
        hevm.prank(stranger);
        receipts.issue(asset, one(stranger), one(uint16(10_000)));
        issue();
        refused(
            one(owner), one(uint16(10_000)), abi.encodeWithSelector(IOwnershipReceipts.IssuedBefore.selector, asset)
        );
    }

    function test_receipts_do_not_move() public {
        issue();
        uint256 receipt = receipts.idOf(asset, buyer);
        hevm.expectRevert(IOwnershipReceipts.Soulbound.selector);
        hevm.prank(buyer);
        receipts.transferFrom(buyer, stranger, receipt);
        hevm.expectRevert(IOwnershipReceipts.Soulbound.selector);
        hevm.prank(buyer);
        receipts.safeTransferFrom(buyer, stranger, receipt);
        hevm.expectRevert(IOwnershipReceipts.Soulbound.selector);
        hevm.prank(buyer);
        receipts.approve(stranger, receipt);
        hevm.expectRevert(IOwnershipReceipts.Soulbound.selector);
        hevm.prank(buyer);
        receipts.setApprovalForAll(stranger, true);
        hevm.assertTrue(receipts.locked(receipt));
        hevm.expectPartialRevert(bytes4(keccak256("ERC721NonexistentToken(uint256)")));
        receipts.locked(1);
        // Nor by following somebody who has no heir.
        receipts.follow(receipt);
        hevm.assertEq(receipts.ownerOf(receipt), buyer);
    }

    function test_it_says_what_it_is() public view {
        hevm.assertTrue(receipts.supportsInterface(0xb45a3c0e)); // ERC-5192
        hevm.assertTrue(receipts.supportsInterface(type(IERC721).interfaceId));
        hevm.assertFalse(receipts.supportsInterface(0xffffffff));
        hevm.assertEq(receipts.name(), "Sahara Ownership Receipt");
        hevm.assertEq(receipts.symbol(), "SOR");
    }

    // Reputation

    function test_reputation_is_what_was_burnt_capped_for_each_counterparty() public {
        hevm.expectRevert(IOwnershipReceipts.NotTheMarket.selector);
        receipts.credit(asset, buyer, 1);
        credit(buyer, 0.7 ether);
        credit(buyer, 0.7 ether);
        hevm.assertEq(receipts.reputationOf(asset), 1 ether);
        credit(buyer, type(uint256).max);
        hevm.assertEq(receipts.reputationOf(asset), 1 ether);
        credit(stranger, 0.2 ether);
        hevm.assertEq(receipts.reputationOf(asset), 1.2 ether);
    }

    // Recovery

    function test_guardians_bring_everything_to_an_heir() public {
        issue();
        attribution.pay{value: 10_000}(asset);
        flush(one(asset), COIN);
        attribution.pay{value: 10_000}(asset);
        guard(owner);
        recover(owner, heir);

        hevm.assertEq(receipts.heirOf(owner), heir);
        hevm.assertEq(registry.ownerOf(asset), heir);
        uint256 receipt = receipts.idOf(asset, owner);
        hevm.assertEq(receipts.ownerOf(receipt), owner);
        receipts.follow(receipt);
        hevm.assertEq(receipts.ownerOf(receipt), heir);
        // What was credited before goes to the heir and never to the lost key; what comes later is the heir's.
        hevm.expectRevert(abi.encodeWithSelector(IAttribution.Succeeded.selector, owner, heir));
        hevm.prank(owner);
        attribution.claim();
        hevm.expectRevert(abi.encodeWithSelector(IAttribution.Succeeded.selector, owner, heir));
        hevm.prank(stranger);
        attribution.claimFor(owner, COIN, stranger);
        hevm.prank(heir);
        attribution.claimFor(owner, COIN, address(0x4e2));
        hevm.assertEq(address(0x4e2).balance, 9_999);
        flush(one(asset), COIN);
        hevm.assertEq(attribution.claimable(heir), 9_999);
        hevm.assertEq(attribution.claimable(owner), 0);
    }

    function test_an_heir_has_the_licences_and_what_came_back() public {
        uint256 kept = bought(asset, apiTerms(5), buyer);
        uint256 ended = bought(asset, longTerms(1000, 100), buyer);
        hevm.prank(owner);
        licences.withdraw(ended);
        hevm.prank(buyer);
        licences.setUser(kept, stranger, type(uint64).max);
        licences.follow(kept);
        hevm.assertEq(licences.ownerOf(kept), buyer);
        // Nobody takes the user away by following who has no heir.
        hevm.assertEq(licences.userOf(kept), stranger);
        guard(buyer);
        recover(buyer, heir);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.Succeeded.selector, buyer, heir));
        hevm.prank(buyer);
        licences.take(COIN, buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.Succeeded.selector, buyer, heir));
        hevm.prank(stranger);
        licences.takeFor(buyer, COIN, stranger);
        hevm.prank(heir);
        hevm.assertEq(licences.takeFor(buyer, COIN, address(0x4e2)), 1000);
        hevm.assertEq(address(0x4e2).balance, 1000);
        // Though nobody could transfer it.
        licences.follow(kept);
        hevm.assertEq(licences.ownerOf(kept), heir);
        hevm.assertTrue(licences.isUser(kept, heir) && !licences.isUser(kept, buyer));
        hevm.expectPartialRevert(bytes4(keccak256("ERC721NonexistentToken(uint256)")));
        licences.follow(99);
    }

    function test_a_stolen_key_settles_nothing_for_good_while_guardians_act() public {
        guard(owner);
        begin(owner, heir);
        bytes memory refusal = abi.encodeWithSelector(IOwnershipReceipts.RecoveryUnderWay.selector, owner);
        refused(one(stranger), one(uint16(10_000)), refusal);
        hevm.expectRevert(refusal);
        hevm.prank(owner);
        registry.setCommitment(asset, "scheme", "wrong");
        pass(delay);
        hevm.prank(heir);
        receipts.acceptRecovery(owner);
        // All of it is the heir's, who says what becomes of it.
        hevm.prank(heir);
        registry.setCommitment(asset, "scheme", "right");
        hevm.prank(heir);
        receipts.issue(asset, one(heir), one(uint16(10_000)));
        attribution.pay{value: 10_000}(asset);
        flush(one(asset), COIN);
        hevm.assertEq(attribution.claimable(heir), 10_000);
    }

    function test_an_attempt_that_is_over_keeps_nobody_from_issuing() public {
        guard(owner);
        begin(owner, heir);
        hevm.prank(owner);
        receipts.cancelRecovery();
        hevm.prank(owner);
        registry.setCommitment(asset, "scheme", "root");
        begin(owner, heir);
        pass(delay + grace + 1);
        issue();
    }

    function test_a_lost_key_uses_no_licence_after_its_heir_accepted() public {
        Terms memory t = longTerms(1000, 100 days);
        t.transferable = true;
        uint256 licence = bought(asset, t, buyer);
        hevm.prank(buyer);
        licences.approve(stranger, licence);
        guard(buyer);
        recover(buyer, heir);
        bytes memory refusal = abi.encodeWithSelector(ILicences.Succeeded.selector, buyer, heir);
        hevm.expectRevert(refusal);
        hevm.prank(buyer);
        licences.transferFrom(buyer, stranger, licence);
        hevm.expectRevert(refusal);
        hevm.prank(stranger);
        licences.transferFrom(buyer, stranger, licence);
        hevm.expectRevert(refusal);
        hevm.prank(stranger);
        licences.setUser(licence, stranger, type(uint64).max);
        hevm.expectRevert(refusal);
        hevm.prank(buyer);
        licences.complain(licence);
        licences.follow(licence);
        hevm.assertEq(licences.ownerOf(licence), heir);
        hevm.prank(heir);
        licences.complain(licence);
        hevm.prank(heir);
        licences.transferFrom(heir, stranger, licence);
    }

    function test_a_lost_key_takes_no_complaint_back_after_its_heir_accepted() public {
        uint256 licence = bought(asset, longTerms(1000, 100 days), buyer);
        guard(buyer);
        hevm.prank(buyer);
        licences.complain(licence);
        recover(buyer, heir);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.Succeeded.selector, buyer, heir));
        hevm.prank(buyer);
        licences.answer(licence);
        licences.follow(licence);
        hevm.prank(heir);
        licences.answer(licence);
    }

    function test_fewer_than_the_threshold_do_nothing() public {
        guard(owner);
        approve(guardians[0], owner, heir);
        approve(guardians[0], owner, heir);
        approve(guardians[1], owner, stranger);
        noRecovery(owner);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotAGuardian.selector, owner, stranger));
        hevm.prank(stranger);
        receipts.approveRecovery(owner, heir);
        hevm.expectEmit(address(receipts));
        emit IOwnershipReceipts.RecoveryBegun(owner, heir, uint64(clock) + delay, uint64(clock) + delay + grace);
        approve(guardians[1], owner, heir);
        (address to, uint64 from, uint64 until, bool final_) = receipts.recoveryOf(owner);
        hevm.assertTrue(to == heir && from == clock + delay && until == clock + delay + grace && !final_);
    }

    function test_an_approval_does_not_last_for_ever() public {
        guard(owner);
        approve(guardians[0], owner, heir);
        pass(grace);
        approve(guardians[1], owner, heir);
        (address to,,,) = receipts.recoveryOf(owner);
        hevm.assertEq(to, heir);
        hevm.prank(owner);
        receipts.cancelRecovery();
        approve(guardians[0], owner, heir);
        pass(grace + 1);
        approve(guardians[1], owner, heir);
        noRecovery(owner);
        // Given again, it counts.
        approve(guardians[0], owner, heir);
        (to,,,) = receipts.recoveryOf(owner);
        hevm.assertEq(to, heir);
    }

    function test_a_guardian_takes_its_approval_back() public {
        guard(owner);
        approve(guardians[0], owner, heir);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotAGuardian.selector, owner, stranger));
        hevm.prank(stranger);
        receipts.disapproveRecovery(owner, heir);
        hevm.expectEmit(address(receipts));
        emit IOwnershipReceipts.RecoveryDisapproved(owner, heir, guardians[0]);
        hevm.prank(guardians[0]);
        receipts.disapproveRecovery(owner, heir);
        approve(guardians[1], owner, heir);
        noRecovery(owner);
        approve(guardians[2], owner, heir);
        // Too late for a recovery that has begun.
        hevm.prank(guardians[1]);
        receipts.disapproveRecovery(owner, heir);
        (address to,,,) = receipts.recoveryOf(owner);
        hevm.assertEq(to, heir);
    }

    function test_an_heir_accepts_after_the_delay_and_not_for_ever() public {
        guard(owner);
        begin(owner, heir);
        uint64 from = uint64(clock) + delay;
        pass(delay - 1);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotNow.selector, from, from + grace));
        hevm.prank(heir);
        receipts.acceptRecovery(owner);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NoRecovery.selector, owner));
        hevm.prank(stranger);
        receipts.acceptRecovery(owner);
        pass(grace + 2);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotNow.selector, from, from + grace));
        hevm.prank(heir);
        receipts.acceptRecovery(owner);
        // The attempt is over: the account can do as it likes, and so can its guardians.
        noRecovery(owner);
        hevm.prank(owner);
        receipts.setGuardians(guardians, 3);
        recover(owner, heir);
    }

    function test_an_heir_accepts_in_the_last_second() public {
        guard(owner);
        begin(owner, heir);
        pass(delay + grace);
        hevm.prank(heir);
        receipts.acceptRecovery(owner);
    }

    function test_the_account_cancels_the_first_attempt_and_not_the_second() public {
        guard(owner);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NoRecovery.selector, owner));
        hevm.prank(owner);
        receipts.cancelRecovery();
        begin(owner, heir);
        hevm.prank(owner);
        receipts.cancelRecovery();
        noRecovery(owner);
        pass(delay);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NoRecovery.selector, owner));
        hevm.prank(heir);
        receipts.acceptRecovery(owner);

        begin(owner, heir);
        (,,, bool final_) = receipts.recoveryOf(owner);
        hevm.assertTrue(final_);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotCancellable.selector, owner));
        hevm.prank(owner);
        receipts.cancelRecovery();
        pass(delay);
        hevm.prank(heir);
        receipts.acceptRecovery(owner);
    }

    function test_a_thief_cannot_replace_the_guardians_in_time() public {
        guard(owner);
        // With the key, the thief announces guardians of its own and cancels the first attempt.
        announce(owner, one(stranger), 1);
        pass(delay - 1);
        begin(owner, heir);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.RecoveryUnderWay.selector, owner));
        hevm.prank(owner);
        receipts.setGuardians(one(stranger), 1);
        hevm.prank(owner);
        receipts.cancelRecovery();
        pass(1);
        // What was announced is void: the old ones are still the guardians.
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotAGuardian.selector, owner, stranger));
        hevm.prank(stranger);
        receipts.approveRecovery(owner, stranger);
        announce(owner, one(stranger), 1);
        recover(owner, heir);
        hevm.assertEq(receipts.heirOf(owner), heir);
    }

    function test_changed_guardians_wait_and_begin_anew() public {
        guard(owner);
        begin(owner, heir);
        hevm.prank(owner);
        receipts.cancelRecovery();
        approve(guardians[0], owner, heir);
        address[] memory others = new address[](2);
        (others[0], others[1]) = (guardians[1], stranger);
        hevm.expectEmit(address(receipts));
        emit IOwnershipReceipts.GuardiansAnnounced(owner, others, 2, uint64(clock) + delay);
        announce(owner, others, 2);
        (address[] memory now_, uint8 threshold, address[] memory next, uint8 nextThreshold, uint64 from) =
            receipts.guardiansOf(owner);
        hevm.assertTrue(now_.length == 3 && threshold == 2 && next.length == 2 && nextThreshold == 2);
        hevm.assertEq(from, clock + delay);
        pass(delay);
        (now_, threshold, next,, from) = receipts.guardiansOf(owner);
        hevm.assertTrue(now_.length == 2 && threshold == 2 && next.length == 0 && from == 0);
        // An old guardian's approval no longer counts, and neither does the old one itself.
        approve(guardians[1], owner, heir);
        noRecovery(owner);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotAGuardian.selector, owner, guardians[0]));
        hevm.prank(guardians[0]);
        receipts.approveRecovery(owner, heir);
        approve(stranger, owner, heir);
        // New guardians, whom the account trusts: their first attempt can be cancelled again.
        (,,, bool final_) = receipts.recoveryOf(owner);
        hevm.assertFalse(final_);
    }

    function test_guardians_can_be_given_up_after_the_delay() public {
        guard(owner);
        announce(owner, new address[](0), 0);
        pass(delay);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotAGuardian.selector, owner, guardians[0]));
        hevm.prank(guardians[0]);
        receipts.approveRecovery(owner, heir);
        // And named again at once.
        announce(owner, one(stranger), 1);
        approve(stranger, owner, heir);
        (address to,,,) = receipts.recoveryOf(owner);
        hevm.assertEq(to, heir);
    }

    function test_guardians_may_change_their_mind_about_the_heir() public {
        guard(owner);
        begin(owner, stranger);
        pass(3);
        begin(owner, heir);
        (address to, uint64 from,,) = receipts.recoveryOf(owner);
        hevm.assertTrue(to == heir && from == clock + delay);
    }

    function test_a_guardians_heir_is_a_guardian() public {
        guard(owner);
        hevm.prank(guardians[0]);
        receipts.setGuardians(one(stranger), 1);
        approve(stranger, guardians[0], address(0x77));
        pass(delay);
        hevm.prank(address(0x77));
        receipts.acceptRecovery(guardians[0]);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.NotAGuardian.selector, owner, guardians[0]));
        hevm.prank(guardians[0]);
        receipts.approveRecovery(owner, heir);
        approve(address(0x77), owner, heir);
        approve(guardians[1], owner, heir);
        (address to,,,) = receipts.recoveryOf(owner);
        hevm.assertEq(to, heir);
    }

    function test_guardians_that_make_no_sense_are_refused() public {
        refusedGuardians(guardians, 0);
        refusedGuardians(guardians, 4);
        refusedGuardians(new address[](0), 1);
        refusedGuardians(one(owner), 1);
        refusedGuardians(one(address(0)), 1);
        address[] memory twice = new address[](2);
        (twice[0], twice[1]) = (stranger, stranger);
        refusedGuardians(twice, 1);
        address[] memory many = new address[](17);
        for (uint256 i; i < 17; ++i) {
            many[i] = address(uint160(0x100 + i));
        }
        refusedGuardians(many, 1);
    }

    function test_heirs_that_make_no_sense_are_refused() public {
        guard(owner);
        refusedHeir(guardians[0], owner, address(0));
        refusedHeir(guardians[0], owner, owner);
        guard(buyer);
        begin(owner, heir);
        // Who has an heir by then cannot accept: no circle.
        guard(heir);
        begin(heir, owner);
        pass(delay);
        hevm.prank(owner);
        receipts.acceptRecovery(heir);
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.WrongHeir.selector, heir));
        hevm.prank(heir);
        receipts.acceptRecovery(owner);
        refusedHeir(guardians[0], buyer, heir);
    }

    function test_a_recovered_account_does_nothing_more() public {
        guard(owner);
        recover(owner, heir);
        bytes memory refusal = abi.encodeWithSelector(IOwnershipReceipts.Succeeded.selector, owner, heir);
        hevm.expectRevert(refusal);
        hevm.prank(owner);
        receipts.setGuardians(guardians, 1);
        hevm.expectRevert(refusal);
        hevm.prank(guardians[0]);
        receipts.approveRecovery(owner, stranger);
    }

    function test_sixteen_heirs_in_a_row_and_not_one_more() public {
        address account = owner;
        for (uint256 i; i < 17; ++i) {
            address next = address(uint160(0x9000 + i));
            guard(account);
            begin(account, next);
            pass(delay);
            if (i == 16) hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.TooManyHeirs.selector, 16));
            hevm.prank(next);
            receipts.acceptRecovery(account);
            if (i < 16) account = next;
        }
        hevm.assertEq(receipts.heirOf(owner), account);
    }

    function issue() private {
        (address[] memory who, uint16[] memory shares) = (new address[](2), new uint16[](2));
        (who[0], who[1], shares[0], shares[1]) = (owner, buyer, 9999, 1);
        hevm.prank(owner);
        receipts.issue(asset, who, shares);
    }

    function refused(address[] memory who, uint16[] memory shares, bytes memory refusal) private {
        hevm.expectRevert(refusal);
        hevm.prank(owner);
        receipts.issue(asset, who, shares);
    }

    function credit(address counterparty, uint256 burnt) private {
        hevm.prank(address(market));
        receipts.credit(asset, counterparty, burnt);
    }

    function guard(address account) private {
        announce(account, guardians, 2);
    }

    function announce(address account, address[] memory who, uint8 threshold) private {
        hevm.prank(account);
        receipts.setGuardians(who, threshold);
    }

    function approve(address guardian, address account, address to) private {
        hevm.prank(guardian);
        receipts.approveRecovery(account, to);
    }

    function begin(address account, address to) private {
        approve(guardians[0], account, to);
        approve(guardians[2], account, to);
    }

    function recover(address account, address to) private {
        begin(account, to);
        pass(delay);
        hevm.prank(to);
        receipts.acceptRecovery(account);
    }

    function noRecovery(address account) private view {
        (address to,,,) = receipts.recoveryOf(account);
        hevm.assertEq(to, address(0));
    }

    function refusedGuardians(address[] memory who, uint8 threshold) private {
        hevm.expectRevert(IOwnershipReceipts.WrongGuardians.selector);
        hevm.prank(owner);
        receipts.setGuardians(who, threshold);
    }

    function refusedHeir(address guardian, address account, address to) private {
        hevm.expectRevert(abi.encodeWithSelector(IOwnershipReceipts.WrongHeir.selector, to));
        hevm.prank(guardian);
        receipts.approveRecovery(account, to);
    }
}
