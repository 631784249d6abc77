// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ILicences} from "../../src/protocol/ILicences.sol";
import {KIND_PARTNERSHIP, Terms} from "../../src/protocol/Types.sol";
import {EmptyToken, FeeToken, GoodToken, HookToken} from "./fixtures/Tokens.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

/// Prices in tokens, honest and other.
contract LicenceTokensTest is ProtocolTest {
    uint256 internal constant PAYER_KEY = 0xbea;
    bytes32 internal asset;
    address internal payer = hevm.addr(PAYER_KEY);
    GoodToken internal good;

    function setUp() public override {
        super.setUp();
        asset = newAsset(owner, 1);
        good = new GoodToken();
        good.mint(payer, 10_000);
    }

    function test_a_price_in_a_token_is_the_assets_revenue_in_that_token() public {
        bytes32 termsHash = priced(address(good), 1000);
        hevm.prank(payer);
        good.approve(address(licences), 1000);
        hevm.deal(payer, 1);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 0, 1));
        hevm.prank(payer);
        licences.buy{value: 1}(asset, termsHash, 1000, 0, payer);
        buy(termsHash);
        (, uint256 unripe,) = attribution.waiting(asset, address(good));
        hevm.assertEq(unripe, 1000);
        hevm.assertEq(good.balanceOf(address(licences)), 0);
        hevm.assertEq(good.allowance(address(licences), address(attribution)), 0);
    }

    function test_what_arrives_counts() public {
        FeeToken fee = new FeeToken();
        fee.mint(payer, 1000);
        bytes32 termsHash = priced(address(fee), 1000);
        hevm.prank(payer);
        fee.approve(address(licences), 1000);
        (, uint128 paid, uint128 collected,) = licences.moneyOf(buy(termsHash));
        hevm.assertTrue(paid == 900 && collected == 900);
        (, uint256 unripe,) = attribution.waiting(asset, address(fee));
        hevm.assertEq(unripe, 810);
    }

    function test_a_token_that_moves_nothing_buys_nothing() public {
        bytes32 termsHash = priced(address(new EmptyToken()), 1000);
        hevm.expectPartialRevert(ILicences.NothingArrived.selector);
        hevm.prank(payer);
        licences.buy(asset, termsHash, 1000, 0, payer);
    }

    function test_a_free_licence_in_a_token_asks_for_none() public {
        buy(priced(address(good), 0));
    }

    // Permits

    function test_a_permit_buys_even_when_somebody_has_used_it() public {
        bytes32 termsHash = priced(address(good), 1000);
        ILicences.Permit memory p = permitted(1000);
        // A stranger takes the permit from the pool.
        good.permit(payer, address(licences), p.value, p.deadline, p.v, p.r, p.s);
        hevm.prank(payer);
        licences.buyWithPermit(asset, termsHash, 1000, 0, payer, p);
        hevm.assertEq(good.balanceOf(payer), 9000);

        p = permitted(1000);
        hevm.prank(payer);
        licences.buyWithPermit(asset, termsHash, 1000, 0, payer, p);
        hevm.assertEq(good.balanceOf(payer), 8000);
    }

    function test_a_permit_that_was_never_good_buys_nothing() public {
        bytes32 termsHash = priced(address(good), 1000);
        ILicences.Permit memory p = permitted(1000);
        p.value = 2000;
        hevm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        hevm.prank(payer);
        licences.buyWithPermit(asset, termsHash, 1000, 0, payer, p);
        // Nobody buys with another's permit.
        p = permitted(1000);
        hevm.expectPartialRevert(bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)")));
        hevm.prank(stranger);
        licences.buyWithPermit(asset, termsHash, 1000, 0, stranger, p);
    }

    // Authorizations

    function test_an_authorization_buys_for_whom_it_was_given_and_nothing_else() public {
        bytes32 termsHash = priced(address(good), 1000);
        ILicences.Authorization memory a = authorized(termsHash, 1000, payer);
        // A stranger submits it for itself, or for another maximum.
        hevm.expectRevert(bytes("not signed"));
        hevm.prank(stranger);
        licences.buyWithAuthorization(asset, termsHash, 1000, 0, stranger, a);
        hevm.expectRevert(bytes("not signed"));
        hevm.prank(stranger);
        licences.buyWithAuthorization(asset, termsHash, 1001, 0, payer, a);
        // Other terms of the same price.
        Terms memory t = apiTerms(1000);
        (t.token, t.duration) = (address(good), 1);
        bytes32 worse = offered(asset, t);
        hevm.expectRevert(bytes("not signed"));
        hevm.prank(stranger);
        licences.buyWithAuthorization(asset, worse, 1000, 0, payer, a);

        hevm.prank(stranger);
        uint256 licence = licences.buyWithAuthorization(asset, termsHash, 1000, 0, payer, a);
        hevm.assertEq(licences.ownerOf(licence), payer);
        hevm.assertEq(good.balanceOf(payer), 9000);
        hevm.expectRevert(bytes("used"));
        hevm.prank(stranger);
        licences.buyWithAuthorization(asset, termsHash, 1000, 0, payer, a);
    }

    function test_an_authorization_does_not_pay_above_the_maximum() public {
        bytes32 termsHash = priced(address(good), 1000);
        ILicences.Authorization memory a = authorized(termsHash, 999, payer);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.PriceAbove.selector, 1000, 999));
        licences.buyWithAuthorization(asset, termsHash, 999, 0, payer, a);
    }

    // Tokens that do not behave

    function test_a_token_that_calls_back_finds_every_door_shut() public {
        ILicences.Permit memory p;
        ILicences.Authorization memory a;
        ILicences.Agreement memory g;
        Terms memory t;
        bytes[9] memory doors = [
            abi.encodeCall(ILicences.buy, (asset, 0, 500, 0, payer)),
            abi.encodeCall(ILicences.buyWithPermit, (asset, 0, 500, 0, payer, p)),
            abi.encodeCall(ILicences.buyWithAuthorization, (asset, 0, 500, 0, payer, a)),
            abi.encodeCall(ILicences.partner, (g, t)),
            abi.encodeCall(ILicences.withdraw, (1)),
            abi.encodeCall(ILicences.collect, (1)),
            abi.encodeCall(ILicences.refund, (1)),
            abi.encodeCall(ILicences.take, (address(0), payer)),
            abi.encodeCall(ILicences.takeFor, (payer, address(0), payer))
        ];
        HookToken token = new HookToken();
        token.mint(payer, 9_000);
        token.setHook(address(this));
        hevm.prank(payer);
        token.approve(address(licences), 9_000);
        bytes32 termsHash = priced(address(token), 1000);
        for (uint256 i; i < doors.length; ++i) {
            (door, answer) = (doors[i], "");
            (, uint128 paid,,) = licences.moneyOf(buy(termsHash));
            hevm.assertEq(paid, 1000);
            hevm.assertTrue(bytes4(answer) == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        }
    }

    function test_every_way_to_pay_shuts_the_doors() public {
        HookToken token = new HookToken();
        token.mint(payer, 9_000);
        token.mint(owner, 9_000);
        hevm.prank(payer);
        token.approve(address(licences), 9_000);
        hevm.prank(owner);
        token.approve(address(licences), 9_000);
        bytes32 termsHash = priced(address(token), 1000);
        Terms memory t = longTerms(1000, 100);
        t.token = address(token);
        bytes32 longHash = offered(asset, t);
        t.kind = KIND_PARTNERSHIP;
        ILicences.Agreement memory g;
        (g.asset, g.holder, g.deadline) = (asset, owner, uint64(clock + 1000));
        door = abi.encodeCall(ILicences.buy, (asset, termsHash, 1000, 0, payer));
        token.setHook(address(this));

        ILicences.Permit memory p;
        hevm.prank(payer);
        uint256 licence = licences.buyWithPermit(asset, termsHash, 1000, 0, payer, p);
        shut();
        ILicences.Authorization memory a;
        a.from = payer;
        licences.buyWithAuthorization(asset, termsHash, 1000, 0, payer, a);
        shut();
        hevm.prank(owner);
        licences.partner(g, t);
        shut();
        hevm.prank(owner);
        licences.withdraw(licence);
        shut();
        hevm.prank(payer);
        licences.take(address(token), payer);
        shut();
        hevm.prank(payer);
        licence = licences.buy(asset, longHash, 1000, 0, payer);
        shut();
        pass(50);
        licences.collect(licence);
        shut();
    }

    function test_a_token_that_stops_for_the_owner_still_comes_back_to_the_holder() public {
        HookToken token = new HookToken();
        token.mint(payer, 1000);
        Terms memory t = longTerms(1000, 100);
        t.token = address(token);
        bytes32 termsHash = offered(asset, t);
        hevm.prank(payer);
        token.approve(address(licences), 1000);
        uint256 licence = buy(termsHash);
        pass(40);
        token.setBlocked(address(attribution), true);
        hevm.expectRevert(bytes("blocked"));
        licences.collect(licence);
        hevm.prank(owner);
        licences.withdraw(licence);
        hevm.prank(payer);
        hevm.assertEq(licences.take(address(token), payer), 600);
        hevm.assertEq(token.balanceOf(payer), 600);
        token.setBlocked(address(attribution), false);
        hevm.assertEq(licences.collect(licence), 400);
    }

    function test_who_withdraws_pays_back_in_the_token_of_the_price() public {
        bytes32 termsHash = priced(address(good), 1000);
        hevm.prank(payer);
        good.approve(address(licences), 1000);
        uint256 licence = buy(termsHash);
        good.mint(owner, 1000);
        hevm.prank(owner);
        good.approve(address(licences), 1000);
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 0, 1));
        hevm.prank(owner);
        licences.withdraw{value: 1}(licence);
        hevm.prank(owner);
        licences.withdraw(licence);
        hevm.assertEq(licences.takeable(payer, address(good)), 1000);

        FeeToken fee = new FeeToken();
        fee.mint(payer, 1000);
        fee.mint(owner, 1000);
        termsHash = priced(address(fee), 1000);
        hevm.prank(payer);
        fee.approve(address(licences), 1000);
        licence = buy(termsHash);
        hevm.prank(owner);
        fee.approve(address(licences), 1000);
        // 810 would arrive of the 900 that are owed.
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 900, 810));
        hevm.prank(owner);
        licences.withdraw(licence);
        // Who sends more, so that enough arrives, has the licence ended and the rest back.
        fee.mint(owner, 1010);
        hevm.prank(owner);
        fee.approve(address(licences), 1010);
        hevm.prank(owner);
        licences.withdrawPaying(licence, 1010);
        hevm.assertEq(licences.takeable(payer, address(fee)), 900);
        hevm.assertEq(licences.takeable(owner, address(fee)), 9);
        hevm.assertEq(fee.balanceOf(address(licences)), 909);
        // What is nobody's to pay is not taken.
        fee.mint(payer, 1000);
        hevm.prank(payer);
        fee.approve(address(licences), 1000);
        Terms memory vesting = longTerms(1000, 100);
        vesting.token = address(fee);
        licence = buy(offered(asset, vesting));
        hevm.expectRevert(abi.encodeWithSelector(ILicences.WrongValue.selector, 0, 1));
        hevm.prank(owner);
        licences.withdrawPaying(licence, 1);
    }

    bytes private door;
    bytes private answer;

    /// The token's hook: goes in once more.
    function moving() external {
        (, answer) = address(licences).call(door);
    }

    function shut() private {
        hevm.assertTrue(bytes4(answer) == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        answer = "";
    }

    function priced(address token, uint128 price) private returns (bytes32) {
        Terms memory t = apiTerms(price);
        t.token = token;
        return offered(asset, t);
    }

    function buy(bytes32 termsHash) private returns (uint256) {
        hevm.prank(payer);
        return licences.buy(asset, termsHash, 1000, 0, payer);
    }

    function permitted(uint256 value) private view returns (ILicences.Permit memory p) {
        bytes32 type_ = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        (p.value, p.deadline) = (value, clock);
        bytes32 message = keccak256(abi.encode(type_, payer, address(licences), value, good.nonces(payer), p.deadline));
        (p.v, p.r, p.s) = hevm.sign(PAYER_KEY, typed(message));
    }

    function authorized(bytes32 termsHash, uint128 maxPrice, address holder)
        private
        view
        returns (ILicences.Authorization memory a)
    {
        (a.from, a.validBefore, a.salt) = (payer, clock + 1, "salt");
        bytes32 nonce = keccak256(abi.encode(asset, termsHash, maxPrice, uint16(0), holder, a.salt));
        bytes32 message = keccak256(
            abi.encode(good.RECEIVE(), payer, address(licences), uint256(1000), uint256(0), a.validBefore, nonce)
        );
        (a.v, a.r, a.s) = hevm.sign(PAYER_KEY, typed(message));
    }

    function typed(bytes32 message) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", good.DOMAIN_SEPARATOR(), message));
    }
}
