// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

import {InferenceReceipt, InferenceReceipts} from "../src/InferenceReceipts.sol";
import {Test, vm} from "./Test.sol";

/// The digests are those that other libraries compute: `tests/tools/receipt.mjs` asks ethers and viem.
contract InferenceReceiptsTest is Test {
    address private constant MARKET = 0x1111111111111111111111111111111111111111;

    function example() private pure returns (InferenceReceipt memory) {
        return InferenceReceipt({
            job: word(1),
            graph: word(2),
            weights: word(3),
            input: word(4),
            output: word(5),
            transcript: word(6),
            committee: word(7),
            epoch: 8,
            price: 1 ether,
            time: 1_700_000_000
        });
    }

    /// The same byte 32 times.
    function word(uint256 value) private pure returns (bytes32) {
        return bytes32(value * (type(uint256).max / 255));
    }

    function test_digest_of_an_empty_receipt() public pure {
        InferenceReceipt memory empty;
        bytes32 expected = 0x5589c3abb2a750af3b521e7393dc6f138acf294f2f374994998e1ce372b4d244;
        vm.assertEq(InferenceReceipts.digest(empty, 1337, MARKET), expected);
    }

    function test_digest_of_an_example() public pure {
        bytes32 expected = 0x35ea22d60122497415e6e7c1e438016482a1fc6d31cef680f7fcc179ad935d58;
        vm.assertEq(InferenceReceipts.digest(example(), 1337, MARKET), expected);
    }

    function test_digest_of_the_largest_numbers() public pure {
        InferenceReceipt memory receipt = example();
        (receipt.epoch, receipt.price, receipt.time) = (type(uint64).max, type(uint256).max, type(uint64).max);
        address market = 0xFFfFfFffFFfffFFfFFfFFFFFffFFFffffFfFFFfF;
        bytes32 expected = 0xf9c8735270703e610cc17d79a586e85c35b1109ee1279334af6379ef4cde9856;
        vm.assertEq(InferenceReceipts.digest(receipt, type(uint64).max, market), expected);
    }

    function test_committee_root() public pure {
        bytes32[] memory keys = new bytes32[](3);
        (keys[0], keys[1], keys[2]) = (word(1), word(2), word(3));
        bytes32 expected = 0x0918b65016ec47e1613e6629a797fb3685353e3b8101d0e5250ab52e53f27b88;
        vm.assertEq(InferenceReceipts.committeeRoot(keys), expected);
    }

    function test_the_short_form_is_for_this_contract_and_chain() public {
        vm.chainId(77);
        bytes32 here = InferenceReceipts.digest(example());
        vm.assertEq(here, InferenceReceipts.digest(example(), 77, address(this)));
    }

    /// No two receipts, chains or markets share a digest.
    function test_every_change_changes_the_digest(
        InferenceReceipt memory a,
        InferenceReceipt memory b,
        uint64 chain,
        address market
    ) public pure {
        bool same = keccak256(abi.encode(a)) == keccak256(abi.encode(b));
        bytes32 digest = InferenceReceipts.digest(a, chain, market);
        vm.assertTrue(same == (digest == InferenceReceipts.digest(b, chain, market)));
        vm.assertFalse(digest == InferenceReceipts.digest(a, uint256(chain) + 1, market));
        vm.assertFalse(digest == InferenceReceipts.digest(a, chain, address(uint160(market) ^ 1)));
    }
}
