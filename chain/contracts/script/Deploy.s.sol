// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

import {Script, vm} from "../test/Test.sol";
import {Badge} from "../test/fixtures/Badge.sol";
import {Token} from "../test/fixtures/Token.sol";

/// Deploys a token and a badge, and hands some out.
///
///     npx forge script script/Deploy.s.sol --rpc-url http://127.0.0.1:8545 --private-key KEY --broadcast
contract Deploy is Script {
    address private constant FRIEND = 0x70997970C51812dc3A010C7d01b50e0d17dc79C8;

    function run() external {
        vm.startBroadcast();
        Token token = new Token(msg.sender, 1_000 ether);
        Badge badge = new Badge{salt: "sahara"}(msg.sender);
        token.transfer(FRIEND, 25 ether);
        badge.mint(FRIEND, 7);
        vm.stopBroadcast();
    }
}
