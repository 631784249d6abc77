// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt} from "../../src/InferenceReceipts.sol";
import {INFERENCE_MARKET} from "../../src/protocol/Addresses.sol";
import {IInferenceMarket} from "../../src/protocol/IInferenceMarket.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {MarketTest, cheats} from "./MarketTest.sol";

contract InferenceMarketTest is MarketTest {
    function test_the_words_that_nodes_prove_lie_in_the_first_three_slots() public {
        Session memory s = opened(1);
        bytes32 id = idOf(s);
        bytes32 lane = s.lanes[0];
        settle(s, committee(0), receipt(s, committee(0), 3));
        cheats.assertEq(uint256(cheats.load(INFERENCE_MARKET, keccak256(abi.encode(id, 0)))), 1);
        cheats.assertEq(uint256(cheats.load(INFERENCE_MARKET, keccak256(abi.encode(lane, 1)))), NOW);
        bytes32 inner = keccak256(abi.encode(id, 2));
        cheats.assertEq(uint256(cheats.load(INFERENCE_MARKET, keccak256(abi.encode(lane, inner)))), 3 * PRICE);
        cheats.prank(consumer);
        market.close(s);
        uint256 word = uint256(cheats.load(INFERENCE_MARKET, keccak256(abi.encode(id, 0))));
        cheats.assertEq(word, 2 | (uint256(NOW + 1 days) << 8));
        window();
        market.finish(s);
        cheats.assertEq(uint8(market.sessions(id)), 3);
        Committee memory c = committee(0);
        cheats.prank(owner);
        market.unseat(c);
        word = uint256(cheats.load(INFERENCE_MARKET, keccak256(abi.encode(lane, 1))));
        cheats.assertEq(word, NOW | (uint256(NOW + 1 days) << 64));
    }

    /// What ethers and viem compute, and the program.
    function test_the_digest_of_a_voucher() public {
        cheats.chainId(1337);
        bytes32 digest = market.voucherDigest(word(1), word(2), 3_000, word(4), word(5));
        cheats.assertEq(digest, 0xd2289c301f638382293ff71a90706fb004c1c606f151116484e9a70e51414703);
    }

    function word(uint256 value) private pure returns (bytes32) {
        return bytes32(value * (type(uint256).max / 255));
    }

    function test_a_session_pays_everybody_to_the_last_unit() public {
        Session memory s = opened(1);
        settle(s, committee(0), receipt(s, committee(0), 1));
        settle(s, committee(0), receipt(s, committee(0), 5));
        cheats.assertEq(attribution.paid(ASSET), 5 * ROYALTY);
        (uint256 burnt, uint256[3] memory members) = market.split(COMPUTE, 5);
        cheats.assertEq(burnt, uint256(5) * COMPUTE / 100);
        cheats.assertEq(burnt + members[0] + members[1] + members[2], 5 * COMPUTE);
        for (uint256 i = 0; i < 3; i++) {
            cheats.assertEq(earned(i), members[i]);
        }
        cheats.assertEq(market.ashes(ASSET), burnt);
        cheats.prank(consumer);
        market.close(s);
        window();
        market.finish(s);
        cheats.assertEq(market.balanceOf(consumer), CAP - 5 * PRICE);
        uint256 before = consumer.balance;
        cheats.prank(consumer);
        market.withdraw();
        cheats.assertEq(consumer.balance - before, CAP - 5 * PRICE);
        market.burn(ASSET);
        cheats.assertEq(INFERENCE_MARKET.balance, 0);
        cheats.expectPartialRevert(IInferenceMarket.NothingToPay.selector);
        market.burn(ASSET);
        cheats.prank(consumer);
        cheats.expectPartialRevert(IInferenceMarket.NothingToPay.selector);
        market.withdraw();
    }

    function test_five_things_that_a_receipt_may_be_wrong_about_have_five_selectors() public {
        Session memory s = opened(1);
        Committee memory c = committee(0);
        InferenceReceipt memory r = receipt(s, c, 1);
        (r.asset) = keccak256("another");
        refused(IInferenceMarket.WrongModel.selector, s, c, r);
        r = receipt(s, c, 1);
        r.sharing = keccak256("another");
        refused(IInferenceMarket.WrongModel.selector, s, c, r);
        r = receipt(s, c, 1);
        r.graph = 0;
        refused(IInferenceMarket.WrongModel.selector, s, c, r);
        r = receipt(s, c, 1);
        r.parameters = 0;
        refused(IInferenceMarket.WrongParameters.selector, s, c, r);
        r = receipt(s, c, 1);
        r.helper = 3;
        refused(IInferenceMarket.WrongParameters.selector, s, c, r);
        r = receipt(s, c, 1);
        r.output = 0;
        refused(IInferenceMarket.WrongOutput.selector, s, c, r);
        r = receipt(s, c, 1);
        r.committee = root(committee(1));
        refused(IInferenceMarket.WrongCommittee.selector, s, c, r);
        r = receipt(s, c, 1);
        r.epoch += 1;
        refused(IInferenceMarket.WrongCommittee.selector, s, c, r);
        r = receipt(s, c, 1);
        settle(s, c, r);
        refused(IInferenceMarket.Replayed.selector, s, c, r);
    }

    function test_what_members_signed_is_what_counts() public {
        Session memory s = opened(1);
        Committee memory c = committee(0);
        InferenceReceipt memory r = receipt(s, c, 1);
        bytes memory v = voucher(SIGNER_KEY, r);
        bytes memory all = signatures(c, r);
        r.output = keccak256("another answer");
        cheats.expectPartialRevert(IInferenceMarket.NotSigned.selector);
        market.settle(s, c, r, v, all);
        r = receipt(s, c, 1);
        all = signatures(committee(1), r);
        cheats.expectPartialRevert(IInferenceMarket.NotSigned.selector);
        market.settle(s, c, r, v, all);
    }
}
