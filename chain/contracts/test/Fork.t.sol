// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

import {Test, vm} from "./Test.sol";
import {Token} from "./fixtures/Token.sol";

/// forge takes the state of a running chain and goes on from there, in its own memory:
///
///     TOKEN=0x… npx forge test --match-contract Fork --fork-url http://127.0.0.1:8545
contract ForkTest is Test {
    Token private token = Token(vm.envOr("TOKEN", address(0)));

    function test_a_token_of_the_chain_can_be_moved_here() public {
        vm.skip(address(token) == address(0));
        address owner = token.owner();
        uint256 before = token.balanceOf(owner);
        vm.assertTrue(before > 0);
        vm.prank(owner);
        token.transfer(address(this), before);
        vm.assertEq(token.balanceOf(address(this)), before);
    }
}
