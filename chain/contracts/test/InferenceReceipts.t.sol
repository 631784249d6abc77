// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

import {InferenceReceipt, InferenceReceipts} from "../src/InferenceReceipts.sol";
import {Test, vm} from "./Test.sol";

/// The digests are those that other libraries compute: `tests/tools/receipt.mjs` asks ethers and viem.
contract InferenceReceiptsTest is Test {
    address private constant MARKET = 0x1111111111111111111111111111111111111111;

    /// Words are their field's place in the structure, 32 times; numbers too, but for the last ones.
    function example() private pure returns (InferenceReceipt memory r) {
        (r.job, r.session, r.lane, r.asset, r.licence) = (word(1), word(2), word(3), word(4), uint256(word(5)));
        (r.sharing, r.graph, r.parameters, r.request) = (word(6), word(7), word(8), word(9));
        (r.output, r.transcript, r.previous, r.committee) = (word(10), word(11), word(12), word(13));
        (r.epoch, r.helper, r.number, r.total) = (14, 2, 16, 3 ether);
        (r.price, r.time, r.height) = (1 ether, 1_700_000_000, 20);
    }

    /// The same byte 32 times.
    function word(uint256 value) private pure returns (bytes32) {
        return bytes32(value * (type(uint256).max / 255));
    }

    function test_digest_of_an_empty_receipt() public pure {
        InferenceReceipt memory empty;
        bytes32 expected = 0x1173bc6f5b3d0ecba7eea5951158218ad8423745bc5efb32bb54d3b5cde28466;
        vm.assertEq(InferenceReceipts.digest(empty, 1337, MARKET), expected);
    }

    function test_digest_of_an_example() public pure {
        bytes32 expected = 0xbe863d424fb08ca371a610f15351b455f0faa8861cca31d765fc76123962f5c1;
        vm.assertEq(InferenceReceipts.digest(example(), 1337, MARKET), expected);
    }

    function test_digest_of_the_largest_numbers() public pure {
        InferenceReceipt memory receipt = example();
        (receipt.licence, receipt.helper, receipt.epoch) = (type(uint256).max, type(uint8).max, type(uint64).max);
        (receipt.number, receipt.time, receipt.height) = (type(uint64).max, type(uint64).max, type(uint64).max);
        (receipt.total, receipt.price) = (type(uint128).max, type(uint128).max);
        address market = 0xFFfFfFffFFfffFFfFFfFFFFFffFFFffffFfFFFfF;
        bytes32 expected = 0x3f98c2a3ae5f74ffc317335b839beb29699390831dd3bdc97828e32b48903e1f;
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
