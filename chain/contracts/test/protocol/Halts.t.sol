// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ILicences} from "../../src/protocol/ILicences.sol";
import {IOwnershipReceipts} from "../../src/protocol/IOwnershipReceipts.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

/// A chain that stands still uses up nobody's time: each window also lasts a number of blocks.
contract HaltsTest is ProtocolTest {
    uint256 private constant BLOCKS = 600;
    bytes32 private asset;
    bytes32 private root;
    bytes private piece = "what the root promises is another";

    function setUp() public override {
        super.setUp();
        asset = newAsset(owner, 1);
        root = keccak256(bytes.concat(keccak256(abi.encode(uint256(0), keccak256(piece), bytes32("other")))));
        bytes32 scheme = licences.ciphertextScheme(root);
        hevm.prank(owner);
        registry.setCommitment(asset, scheme, root);
    }

    function test_a_halt_does_not_eat_the_time_to_dispute_a_key() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        open();
        halt(3 days + 1);
        hevm.assertEq(licences.collect(licence), 0);
        blocks(BLOCKS);
        hevm.assertEq(licences.collect(licence), 0);
        licences.disprove(asset, root, 0, piece, "other", new bytes32[](0));
        hevm.assertEq(licences.refund(licence), 1000);
    }

    function test_a_key_is_settled_when_time_and_blocks_are_over() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        open();
        halt(3 days + 1);
        blocks(BLOCKS + 1);
        hevm.expectPartialRevert(ILicences.TooLate.selector);
        licences.disprove(asset, root, 0, piece, "other", new bytes32[](0));
        hevm.assertEq(licences.collect(licence), 1000);
    }

    function test_a_halt_does_not_eat_the_time_to_open() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        halt(7 days + 1);
        blocks(BLOCKS);
        hevm.expectPartialRevert(ILicences.WrongState.selector);
        licences.refund(licence);
        open();
        // In time: what follows is for who looks at the key.
        blocks(1);
        hevm.expectPartialRevert(ILicences.WrongState.selector);
        licences.refund(licence);
        pass(3 days + 1);
        hevm.assertEq(licences.collect(licence), 1000);
    }

    function test_a_key_that_comes_after_time_and_blocks_is_too_late() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        halt(7 days + 1);
        blocks(BLOCKS + 1);
        open();
        pass(4 days);
        hevm.assertEq(licences.collect(licence), 0);
        hevm.assertEq(licences.refund(licence), 1000);
    }

    function test_a_halt_does_not_eat_the_time_to_answer_a_complaint() public {
        uint256 licence = bought(asset, longTerms(1000, 100 days), buyer);
        pass(10 days);
        hevm.prank(buyer);
        licences.complain(licence);
        halt(7 days + 1);
        blocks(BLOCKS);
        hevm.expectPartialRevert(ILicences.TooEarly.selector);
        licences.refund(licence);
        blocks(1);
        hevm.assertEq(licences.refund(licence), 900);
    }

    function test_a_halt_does_not_eat_the_time_to_cancel_a_recovery() public {
        begin();
        halt(7 days);
        blocks(BLOCKS - 1);
        refusedToAccept(IOwnershipReceipts.NotNow.selector);
        hevm.prank(owner);
        receipts.cancelRecovery();
        blocks(1);
        refusedToAccept(IOwnershipReceipts.NoRecovery.selector);
    }

    function test_a_halt_does_not_eat_the_heirs_time() public {
        begin();
        halt(60 days);
        blocks(2 * BLOCKS);
        hevm.prank(buyer);
        receipts.acceptRecovery(owner);
        hevm.assertEq(receipts.heirOf(owner), buyer);
    }

    function test_an_heirs_time_is_over_when_its_blocks_are() public {
        begin();
        halt(60 days);
        blocks(2 * BLOCKS + 1);
        refusedToAccept(IOwnershipReceipts.NotNow.selector);
        (address heir,,,) = receipts.recoveryOf(owner);
        hevm.assertEq(heir, address(0));
    }

    function test_a_halt_does_not_put_announced_guardians_in_force() public {
        guard();
        hevm.prank(owner);
        receipts.setGuardians(one(buyer), 1);
        halt(7 days);
        blocks(BLOCKS - 1);
        (address[] memory now_,,,,) = receipts.guardiansOf(owner);
        hevm.assertEq(now_[0], stranger);
        blocks(1);
        (now_,,,,) = receipts.guardiansOf(owner);
        hevm.assertEq(now_[0], buyer);
    }

    function guard() private {
        hevm.prank(owner);
        receipts.setGuardians(one(stranger), 1);
    }

    function begin() private {
        guard();
        hevm.prank(stranger);
        receipts.approveRecovery(owner, buyer);
    }

    function refusedToAccept(bytes4 selector) private {
        hevm.expectPartialRevert(selector);
        hevm.prank(buyer);
        receipts.acceptRecovery(owner);
    }

    function open() private {
        hevm.prank(owner);
        licences.open(asset, root, "another key");
    }

    /// Time goes by, and no block is made.
    function halt(uint256 time) private {
        clock += time;
        hevm.warp(clock);
    }

    /// Blocks are made, and no time goes by.
    function blocks(uint256 number) private {
        height += number;
        hevm.roll(height);
    }
}
