// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ILicences} from "../../src/protocol/ILicences.sol";
import {KIND_PARTNERSHIP, Terms} from "../../src/protocol/Types.sol";
import {GreedyPayee, RefusingPayee} from "./fixtures/Payees.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

/// What becomes of the price of each kind of licence.
contract LicenceKindsTest is ProtocolTest {
    bytes32 internal asset;

    function setUp() public virtual override {
        super.setUp();
        asset = newAsset(owner, 1);
    }

    // Withdrawn by the owner

    function test_only_the_owner_withdraws_and_only_once() public {
        uint256 licence = bought(asset, apiTerms(0), buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotTheOwner.selector, asset, owner));
        hevm.prank(buyer);
        licences.withdraw(licence);
        withdraw(licence, 0);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.Over.selector, licence));
        hevm.prank(owner);
        licences.withdraw(licence);
    }

    function test_who_withdraws_a_paid_licence_pays_it_back() public {
        uint256 licence = bought(asset, apiTerms(5 ether), buyer);
        // What is for ever is as good after any time.
        pass(1000 days);
        hevm.assertEq(licences.refundOwed(licence), 5 ether);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 5 ether, 5 ether - 1));
        hevm.prank(owner);
        licences.withdraw{value: 5 ether - 1}(licence);
        withdraw(licence, 6 ether);
        hevm.assertEq(licences.takeable(buyer, COIN), 5 ether);
        hevm.assertEq(licences.takeable(owner, COIN), 1 ether);
        hevm.assertEq(licences.refundOwed(licence), 0);
        taken(buyer, 5 ether);
        taken(owner, 1 ether);
        hevm.assertEq(address(licences).balance, 0);
        (ILicences.State state,,,) = licences.moneyOf(licence);
        hevm.assertTrue(state == ILicences.State.Refunded);
    }

    function test_who_withdraws_a_paid_licence_with_an_end_pays_back_the_time_left() public {
        Terms memory t = apiTerms(1000);
        t.duration = 300;
        uint256 licence = bought(asset, t, buyer);
        pass(100);
        hevm.assertEq(licences.refundOwed(licence), 667);
        withdraw(licence, 667);
        hevm.assertEq(licences.takeable(buyer, COIN), 667);
        licence = bought(asset, t, buyer);
        pass(300);
        hevm.assertEq(licences.refundOwed(licence), 0);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.Over.selector, licence));
        hevm.prank(owner);
        licences.withdraw(licence);
    }

    // Long-term

    function test_a_long_term_price_vests_second_by_second() public {
        uint256 licence = bought(asset, longTerms(1000, 300), buyer);
        hevm.assertEq(licences.collect(licence), 0);
        pass(1);
        hevm.assertEq(licences.collect(licence), 3);
        pass(99);
        hevm.assertEq(licences.collect(licence), 330);
        pass(200);
        hevm.assertEq(licences.collect(licence), 667);
        pass(1000);
        hevm.assertEq(licences.collect(licence), 0);
        (, uint256 unripe,) = attribution.waiting(asset, COIN);
        hevm.assertEq(unripe, 1000);
    }

    function test_a_withdrawn_long_term_gives_back_what_has_not_vested() public {
        uint256 licence = bought(asset, longTerms(1000, 300), buyer);
        pass(100);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 0, 1));
        hevm.prank(owner);
        licences.withdraw{value: 1}(licence);
        hevm.assertEq(licences.refundOwed(licence), 0);
        withdraw(licence, 0);
        hevm.assertEq(licences.takeable(buyer, COIN), 667);
        // Time no longer counts.
        pass(200);
        hevm.assertEq(licences.collect(licence), 333);
        taken(buyer, 667);
        hevm.assertEq(address(licences).balance, 0);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongState.selector, licence, ILicences.State.Refunded));
        licences.refund(licence);
    }

    function test_an_unanswered_complaint_gives_back_what_had_not_vested() public {
        uint256 licence = bought(asset, longTerms(1000, 100 days), buyer);
        pass(10 days);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotTheHolder.selector, licence, buyer));
        hevm.prank(stranger);
        licences.complain(licence);
        hevm.expectEmit(address(licences));
        emit ILicences.Complained(licence, uint64(clock + 7 days));
        complain(licence);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongComplaint.selector, licence));
        hevm.prank(buyer);
        licences.complain(licence);
        pass(7 days);
        // Nothing vests while it is open.
        hevm.assertEq(licences.collect(licence), 100);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.TooEarly.selector, clock + 1));
        licences.refund(licence);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotServedSince.selector, clock - 7 days));
        licences.answer(licence);
        pass(1);
        hevm.prank(stranger);
        hevm.assertEq(licences.refund(licence), 900);
        hevm.assertEq(licences.takeable(buyer, COIN), 900);
        hevm.assertEq(licences.withdrawn(licence), clock);
        hevm.assertEq(licences.collect(licence), 0);
    }

    function test_an_answered_complaint_changes_nothing() public {
        uint256 licence = bought(asset, longTerms(1000, 100 days), buyer);
        market.serve(asset);
        complain(licence);
        // Served before the complaint, or in its second, is no answer.
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotServedSince.selector, clock));
        licences.answer(licence);
        pass(5 days);
        market.serve(asset);
        hevm.prank(stranger);
        licences.answer(licence);
        hevm.assertEq(licences.collect(licence), 50);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongComplaint.selector, licence));
        licences.refund(licence);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongComplaint.selector, licence));
        licences.answer(licence);
        // The holder needs no proof to take its complaint back.
        complain(licence);
        pass(20 days);
        hevm.prank(buyer);
        licences.answer(licence);
        hevm.assertEq(licences.collect(licence), 200);
    }

    function test_who_is_served_after_the_time_to_answer_pays_for_it() public {
        uint256 licence = bought(asset, longTerms(1000, 100 days), buyer);
        complain(licence);
        // A week in which nobody asked, and a holder who stays.
        pass(7 days + 1);
        market.serve(asset);
        hevm.prank(stranger);
        licences.answer(licence);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongComplaint.selector, licence));
        licences.refund(licence);
        pass(93 days);
        hevm.assertEq(licences.collect(licence), 1000);
    }

    function test_without_a_market_that_answers_a_complaint_stands() public {
        uint256 licence = bought(asset, longTerms(1000, 100 days), buyer);
        complain(licence);
        pass(1 days);
        hevm.etch(address(market), hex"00");
        hevm.expectPartialRevert(ILicences.NotServedSince.selector);
        licences.answer(licence);
        pass(7 days);
        hevm.assertEq(licences.refund(licence), 1000);
    }

    function test_complaints_are_for_long_terms_that_run() public {
        uint256 licence = bought(asset, apiTerms(5), buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongState.selector, licence, ILicences.State.Paid));
        hevm.prank(buyer);
        licences.complain(licence);
        licence = bought(asset, longTerms(1000, 10), buyer);
        pass(10);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.Over.selector, licence));
        hevm.prank(buyer);
        licences.complain(licence);
    }

    function test_a_complaint_outlives_the_term() public {
        uint256 licence = bought(asset, longTerms(1000, 10 days), buyer);
        pass(9 days);
        complain(licence);
        pass(2 days);
        hevm.assertEq(licences.collect(licence), 900);
        pass(6 days);
        hevm.assertEq(licences.refund(licence), 100);
    }

    function test_an_owner_withdraws_during_a_complaint_and_gains_nothing() public {
        uint256 licence = bought(asset, longTerms(1000, 100 days), buyer);
        pass(10 days);
        complain(licence);
        pass(5 days);
        withdraw(licence, 0);
        hevm.assertEq(licences.takeable(buyer, COIN), 900);
    }

    // Back to the holder

    function test_what_comes_back_is_taken_once_and_by_its_receiver() public {
        uint256 licence = bought(asset, longTerms(1000, 300), buyer);
        withdraw(licence, 0);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NothingToTake.selector, stranger));
        hevm.prank(stranger);
        licences.take(COIN, stranger);
        taken(buyer, 1000);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NothingToTake.selector, buyer));
        hevm.prank(buyer);
        licences.take(COIN, buyer);
    }

    function test_a_holder_that_refuses_or_calls_back_harms_nobody() public {
        address refusing = address(new RefusingPayee());
        GreedyPayee greedy = new GreedyPayee();
        greedy.aim(address(licences), abi.encodeCall(ILicences.take, (COIN, address(greedy))));
        uint256 first = bought(asset, longTerms(1000, 300), refusing);
        uint256 second = bought(asset, longTerms(1000, 300), address(greedy));
        uint256 third = bought(asset, longTerms(1000, 300), buyer);
        withdraw(first, 0);
        withdraw(second, 0);
        withdraw(third, 0);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.Refused.selector, refusing));
        hevm.prank(refusing);
        licences.take(COIN, refusing);
        greedy.go();
        hevm.assertTrue(greedy.times() == 1 && !greedy.succeeded());
        taken(buyer, 1000);
        hevm.prank(refusing);
        licences.take(COIN, stranger);
        hevm.assertEq(address(licences).balance, 0);
    }

    function test_a_refund_goes_to_who_holds_the_licence_then() public {
        Terms memory t = longTerms(1000, 300);
        t.transferable = true;
        uint256 licence = bought(asset, t, buyer);
        hevm.prank(buyer);
        licences.transferFrom(buyer, stranger, licence);
        withdraw(licence, 0);
        hevm.assertEq(licences.takeable(stranger, COIN), 1000);
        hevm.assertEq(licences.takeable(buyer, COIN), 0);
    }

    function withdraw(uint256 licence, uint256 value) internal {
        hevm.prank(owner);
        licences.withdraw{value: value}(licence);
    }

    function complain(uint256 licence) internal {
        hevm.prank(buyer);
        licences.complain(licence);
    }

    function taken(address who, uint256 amount) internal {
        uint256 before = who.balance;
        hevm.prank(who);
        hevm.assertEq(licences.take(COIN, who), amount);
        hevm.assertEq(who.balance - before, amount);
    }
}

/// Full access: a key against a price.
contract FullAccessTest is ProtocolTest {
    bytes32 internal constant KEY = "the key of the ciphertext";
    bytes32 internal asset;
    bytes32 internal root;
    bytes[] internal pieces;
    bytes32[] internal plaintexts;

    function setUp() public override {
        super.setUp();
        asset = newAsset(owner, 1);
        pieces = new bytes[](2);
        plaintexts = new bytes32[](2);
        for (uint256 i; i < 2; ++i) {
            // Not whole words: a piece may end anywhere.
            bytes memory plaintext = abi.encodePacked(keccak256(abi.encode(i)), keccak256("more"), "and the rest");
            plaintexts[i] = keccak256(plaintext);
            pieces[i] = ciphered(plaintext, KEY, i);
        }
        root = pair(leaf(0), leaf(1));
        registerRoot(root);
    }

    function test_the_price_is_the_owners_when_the_key_stood_the_dispute_time() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        hevm.assertEq(licences.collect(licence), 0);
        open(KEY);
        pass(3 days);
        hevm.assertEq(licences.collect(licence), 0);
        notRefunded(licence);
        pass(1);
        hevm.assertEq(licences.collect(licence), 1000);
        notRefunded(licence);
        (uint64 openedAt, bytes32 key, bool wrong) = licences.openingOf(asset, root);
        hevm.assertTrue(openedAt == clock - 3 days - 1 && key == KEY && !wrong);
    }

    function test_the_price_comes_back_when_the_key_does_not_come() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        pass(7 days);
        notRefunded(licence);
        pass(1);
        hevm.prank(stranger);
        hevm.assertEq(licences.refund(licence), 1000);
        hevm.assertEq(licences.takeable(buyer, COIN), 1000);
        hevm.assertTrue(licences.withdrawn(licence) != 0);
        notRefunded(licence);
        hevm.assertEq(licences.collect(licence), 0);
    }

    function test_a_key_that_comes_too_late_earns_nothing() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        pass(7 days + 1);
        open(KEY);
        pass(4 days);
        hevm.assertEq(licences.collect(licence), 0);
        hevm.assertEq(licences.refund(licence), 1000);
    }

    function test_a_key_that_comes_in_the_last_second_is_in_time() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        pass(7 days);
        open(KEY);
        pass(1);
        notRefunded(licence);
        pass(3 days);
        notRefunded(licence);
        hevm.assertEq(licences.collect(licence), 1000);
    }

    function test_a_wrong_key_is_shown_by_one_piece_and_all_buyers_are_paid_back() public {
        uint256 first = bought(asset, sealedTerms(1000, root), buyer);
        uint256 second = bought(asset, sealedTerms(1000, root), stranger);
        open("another key");
        pass(3 days);
        hevm.prank(stranger);
        licences.disprove(asset, root, 1, pieces[1], plaintexts[1], proof(0));
        (,, bool wrong) = licences.openingOf(asset, root);
        hevm.assertTrue(wrong);
        hevm.expectRevert(ILicences.NotDisproved.selector);
        licences.disprove(asset, root, 1, pieces[1], plaintexts[1], proof(0));
        hevm.assertEq(licences.refund(first), 1000);
        pass(10 days);
        hevm.assertEq(licences.collect(second), 0);
        hevm.assertEq(licences.refund(second), 1000);
    }

    function test_the_right_key_cannot_be_disproved() public {
        bought(asset, sealedTerms(1000, root), buyer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotOpened.selector, root));
        licences.disprove(asset, root, 0, pieces[0], plaintexts[0], proof(1));
        open(KEY);
        for (uint256 i; i < 2; ++i) {
            hevm.expectRevert(ILicences.NotDisproved.selector);
            licences.disprove(asset, root, i, pieces[i], plaintexts[i], proof(1 - i));
        }
        // Nor with what the root does not promise.
        hevm.expectRevert(ILicences.NotDisproved.selector);
        licences.disprove(asset, root, 1, pieces[0], plaintexts[0], proof(1));
        hevm.expectRevert(ILicences.NotDisproved.selector);
        licences.disprove(asset, root, 0, pieces[0], plaintexts[1], proof(1));
        hevm.expectRevert(ILicences.NotDisproved.selector);
        licences.disprove(asset, root, 0, pieces[1], plaintexts[0], proof(1));
    }

    function test_a_wrong_key_is_no_ones_business_after_the_dispute_time() public {
        uint256 licence = bought(asset, sealedTerms(1000, root), buyer);
        open("another key");
        pass(3 days + 1);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.TooLate.selector, clock - 1));
        licences.disprove(asset, root, 0, pieces[0], plaintexts[0], proof(1));
        hevm.assertEq(licences.collect(licence), 1000);
    }

    function test_a_piece_longer_than_the_limit_cannot_be_disproved() public {
        bytes memory plaintext = new bytes(4097);
        pieces[0] = ciphered(plaintext, KEY, 0);
        plaintexts[0] = keccak256(plaintext);
        bytes32 single = leaf(0);
        registerRoot(single);
        root = single;
        open("another key");
        hevm.expectRevert(ILicences.NotDisproved.selector);
        licences.disprove(asset, single, 0, pieces[0], plaintexts[0], new bytes32[](0));
    }

    function test_what_is_open_is_not_sold_any_more() public {
        bytes32 termsHash = offered(asset, sealedTerms(1000, root));
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotTheOwner.selector, asset, owner));
        hevm.prank(stranger);
        licences.open(asset, root, KEY);
        hevm.expectPartialRevert(ILicences.WrongTerms.selector);
        hevm.prank(owner);
        licences.open(asset, "not registered", KEY);
        open(KEY);
        bytes memory refusal = abi.encodeWithSelector(ILicences.OpenedBefore.selector, root);
        hevm.expectRevert(refusal);
        hevm.prank(owner);
        licences.open(asset, root, KEY);
        hevm.expectRevert(refusal);
        hevm.prank(buyer);
        licences.buy{value: 1000}(asset, termsHash, 1000, 0, buyer);
        hevm.expectRevert(refusal);
        hevm.prank(owner);
        licences.offer(asset, sealedTerms(1000, root));
    }

    function test_an_owner_that_withdraws_gives_all_back() public {
        uint256 sealed_ = bought(asset, sealedTerms(1000, root), buyer);
        uint256 paid = bought(asset, sealedTerms(500, root), buyer);
        hevm.prank(owner);
        licences.withdraw(sealed_);
        hevm.assertEq(licences.takeable(buyer, COIN), 1000);
        open(KEY);
        pass(3 days + 1);
        // Delivered, and collected or not: the price is the owner's, who pays it back.
        hevm.assertEq(licences.refundOwed(paid), 500);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 500, 0));
        hevm.prank(owner);
        licences.withdraw(paid);
        hevm.prank(owner);
        licences.withdraw{value: 500}(paid);
        hevm.assertEq(licences.takeable(buyer, COIN), 1500);
        hevm.assertEq(licences.collect(paid), 500);
        hevm.prank(buyer);
        licences.take(COIN, buyer);
        hevm.assertEq(address(licences).balance, 0);
    }

    function registerRoot(bytes32 which) private {
        bytes32 scheme = licences.ciphertextScheme(which);
        hevm.prank(owner);
        registry.setCommitment(asset, scheme, which);
    }

    function open(bytes32 key) private {
        hevm.prank(owner);
        licences.open(asset, root, key);
    }

    function notRefunded(uint256 licence) private {
        hevm.expectPartialRevert(ILicences.WrongState.selector);
        licences.refund(licence);
    }

    function ciphered(bytes memory text, bytes32 key, uint256 index) private pure returns (bytes memory out) {
        out = new bytes(text.length);
        for (uint256 i; i < text.length; ++i) {
            out[i] = text[i] ^ keccak256(abi.encode(key, index, i / 32))[i % 32];
        }
    }

    function leaf(uint256 i) private view returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(i, keccak256(pieces[i]), plaintexts[i]))));
    }

    function proof(uint256 sibling) private view returns (bytes32[] memory) {
        return one(leaf(sibling));
    }

    function pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }
}

/// Terms that two have signed.
contract PartnershipTest is ProtocolTest {
    uint256 internal constant OWNER_KEY = 0xa1;
    uint256 internal constant HOLDER_KEY = 0xb2;
    bytes32 internal asset;
    Terms internal terms;
    ILicences.Agreement internal deal;

    function setUp() public override {
        super.setUp();
        owner = hevm.addr(OWNER_KEY);
        buyer = hevm.addr(HOLDER_KEY);
        asset = newAsset(owner, 1);
        (terms.kind, terms.price, terms.royalty, terms.details) = (KIND_PARTNERSHIP, 1000, 5, "our contract");
        (deal.asset, deal.holder, deal.nonce, deal.deadline) = (asset, buyer, 7, uint64(clock + 100));
        sign(OWNER_KEY, HOLDER_KEY);
    }

    function test_a_partnership_needs_both_signatures_and_is_made_once() public {
        uint256 licence = submit(stranger, "");
        hevm.assertEq(licences.ownerOf(licence), buyer);
        (, Terms memory t,,,) = licences.licenceOf(licence);
        hevm.assertEq(t.details, "our contract");
        (, uint256 unripe,) = attribution.waiting(asset, COIN);
        hevm.assertEq(unripe, 1000);
        submit(stranger, abi.encodeWithSelector(ILicences.MadeBefore.selector, digest()));
        deal.nonce = 8;
        sign(OWNER_KEY, HOLDER_KEY);
        submit(stranger, "");
        // Nobody can buy by it.
        bytes32 termsHash = keccak256(abi.encode(asset, terms));
        hevm.expectRevert(abi.encodeWithSelector(ILicences.NotOffered.selector, termsHash));
        hevm.prank(stranger);
        licences.buy{value: 1000}(asset, termsHash, 1000, 0, stranger);
    }

    function test_who_sends_it_need_not_sign() public {
        deal.ownerSignature = "";
        submit(stranger, abi.encodeWithSelector(ILicences.NotSigned.selector, owner));
        submit(owner, "");
        sign(OWNER_KEY, HOLDER_KEY);
        deal.nonce = 8;
        sign(OWNER_KEY, HOLDER_KEY);
        deal.holderSignature = "";
        submit(owner, abi.encodeWithSelector(ILicences.NotSigned.selector, buyer));
        submit(buyer, "");
    }

    function test_forged_and_changed_partnerships_are_refused() public {
        sign(HOLDER_KEY, HOLDER_KEY);
        submit(stranger, abi.encodeWithSelector(ILicences.NotSigned.selector, owner));
        sign(OWNER_KEY, OWNER_KEY);
        submit(stranger, abi.encodeWithSelector(ILicences.NotSigned.selector, buyer));
        sign(OWNER_KEY, HOLDER_KEY);
        terms.price = 999;
        submit(stranger, abi.encodeWithSelector(ILicences.NotSigned.selector, owner));
        terms.price = 1000;
        deal.holder = stranger;
        submit(stranger, abi.encodeWithSelector(ILicences.NotSigned.selector, owner));
        deal.holder = buyer;
        deal.deadline += 1;
        submit(stranger, abi.encodeWithSelector(ILicences.NotSigned.selector, owner));
        deal.deadline -= 1;
        // The wrong chain.
        hevm.chainId(block.chainid + 1);
        asset = newAsset(owner, 1);
        deal.asset = asset;
        submit(stranger, abi.encodeWithSelector(ILicences.NotSigned.selector, owner));
    }

    function test_a_partnership_has_a_deadline_and_is_of_its_kind() public {
        pass(100);
        terms.kind = 0;
        submit(stranger, abi.encodeWithSelector(ILicences.WrongTerms.selector, "kind: not a partnership"));
        terms.kind = KIND_PARTNERSHIP;
        terms.revenueShare = 10_001;
        submit(stranger, abi.encodeWithSelector(ILicences.WrongTerms.selector, "revenueShare: more than all"));
        terms.revenueShare = 0;
        pass(1);
        submit(stranger, abi.encodeWithSelector(ILicences.TooLate.selector, clock - 1));
    }

    function test_the_asset_must_exist() public {
        deal.asset = "nothing";
        submit(stranger, abi.encodeWithSelector(bytes4(keccak256("NoSuchAsset(bytes32)")), bytes32("nothing")));
    }

    function submit(address who, bytes memory refusal) private returns (uint256 licence) {
        hevm.deal(who, 1 ether);
        if (refusal.length != 0) hevm.expectRevert(refusal);
        hevm.prank(who);
        return licences.partner{value: terms.price}(deal, terms);
    }

    function digest() private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Sahara Licences"),
                keccak256("1"),
                block.chainid,
                address(licences)
            )
        );
        bytes32 message = keccak256(
            abi.encode(
                keccak256("Partnership(bytes32 asset,bytes32 termsHash,address holder,uint256 nonce,uint64 deadline)"),
                deal.asset,
                keccak256(abi.encode(deal.asset, terms)),
                deal.holder,
                deal.nonce,
                deal.deadline
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    function sign(uint256 first, uint256 second) private {
        (deal.ownerSignature, deal.holderSignature) = (signature(first), signature(second));
    }

    function signature(uint256 key) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = hevm.sign(key, digest());
        return abi.encodePacked(r, s, v);
    }
}
