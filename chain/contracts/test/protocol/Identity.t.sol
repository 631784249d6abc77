// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IDENTITY} from "../../src/protocol/Addresses.sol";
import {IIdentity} from "../../src/protocol/IIdentity.sol";
import {Identity} from "../../src/protocol/Identity.sol";
import {MarketTest, cheats} from "./MarketTest.sol";
import {signatureOf} from "./StandIns.sol";

contract IdentityTest is MarketTest {
    Identity private constant identity = Identity(IDENTITY);
    bytes32 private constant SIGNING = keccak256("signing");

    function setUp() public override {
        super.setUp();
        cheats.etch(IDENTITY, type(Identity).runtimeCode);
    }

    function test_keys_change_and_stay_readable() public {
        cheats.assertEq(identity.keyOf(consumer, SIGNING), 0);
        set(consumer, node(1));
        cheats.warp(NOW + 100);
        set(consumer, node(2));
        cheats.warp(NOW + 200);
        cheats.prank(consumer);
        identity.revokeKey(SIGNING);
        cheats.assertEq(identity.keyOf(consumer, SIGNING), 0);
        cheats.assertEq(identity.keyAt(consumer, SIGNING, NOW - 1), 0);
        cheats.assertEq(identity.keyAt(consumer, SIGNING, NOW), node(1));
        cheats.assertEq(identity.keyAt(consumer, SIGNING, NOW + 99), node(1));
        cheats.assertEq(identity.keyAt(consumer, SIGNING, NOW + 100), node(2));
        cheats.assertEq(identity.keyAt(consumer, SIGNING, NOW + 200), 0);
        cheats.assertEq(identity.keyCount(consumer, SIGNING), 3);
    }

    function test_nobody_takes_a_key_that_it_does_not_hold() public {
        bytes memory proof = signatureOf(node(1), identity.keyDigest(consumer, SIGNING, node(1), 0));
        cheats.expectPartialRevert(IIdentity.KeyNotProven.selector);
        identity.setKey(SIGNING, node(1), proof);
        cheats.prank(consumer);
        cheats.expectPartialRevert(IIdentity.KeyNotProven.selector);
        identity.setKey(keccak256("another purpose"), node(1), proof);
        cheats.prank(consumer);
        identity.setKey(SIGNING, node(1), proof);
        // A proof is good once: what was revoked does not come back by it.
        cheats.prank(consumer);
        identity.revokeKey(SIGNING);
        cheats.prank(consumer);
        cheats.expectPartialRevert(IIdentity.KeyNotProven.selector);
        identity.setKey(SIGNING, node(1), proof);
        proof = signatureOf(0, identity.keyDigest(consumer, SIGNING, 0, 2));
        cheats.prank(consumer);
        cheats.expectPartialRevert(IIdentity.KeyNotProven.selector);
        identity.setKey(SIGNING, 0, proof);
    }

    function test_a_did_is_what_other_resolvers_read() public view {
        string memory did = identity.didOf(0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed);
        bytes32 expected = keccak256("did:pkh:eip155:31337:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed");
        cheats.assertEq(keccak256(bytes(did)), expected);
    }

    function test_agents_are_tokens_that_their_owners_describe() public {
        cheats.prank(consumer);
        uint256 agent = identity.register("https://example.org/agent.json");
        cheats.assertEq(identity.ownerOf(agent), consumer);
        cheats.expectPartialRevert(IIdentity.NotTheAgentsOwner.selector);
        identity.setAgentURI(agent, "elsewhere");
        cheats.expectPartialRevert(IIdentity.NotTheAgentsOwner.selector);
        identity.setMetadata(agent, "model", "x");
        cheats.prank(consumer);
        identity.setAgentURI(agent, "elsewhere");
        cheats.assertEq(keccak256(bytes(identity.tokenURI(agent))), keccak256("elsewhere"));
        cheats.prank(consumer);
        identity.setMetadata(agent, "model", "x");
        cheats.assertEq(keccak256(identity.getMetadata(agent, "model")), keccak256("x"));
        cheats.prank(consumer);
        identity.transferFrom(consumer, stranger, agent);
        cheats.prank(consumer);
        cheats.expectPartialRevert(IIdentity.NotTheAgentsOwner.selector);
        identity.setAgentURI(agent, "back");
        cheats.assertEq(keccak256(bytes(identity.name())), keccak256("Sahara Agents"));
        cheats.assertEq(keccak256(bytes(identity.symbol())), keccak256("AGENT"));
        cheats.expectRevert();
        identity.tokenURI(agent + 1);
    }

    function test_nobody_names_a_wallet_that_did_not_agree() public {
        uint256 agent = identity.register("");
        cheats.expectPartialRevert(IIdentity.Reserved.selector);
        identity.setMetadata(agent, "agentWallet", abi.encodePacked(stranger));
    }

    function test_texts_are_short() public {
        string memory long = string(new bytes(2_049));
        cheats.expectPartialRevert(IIdentity.TooLong.selector);
        identity.register(long);
        uint256 agent = identity.register(string(new bytes(2_048)));
        cheats.expectPartialRevert(IIdentity.TooLong.selector);
        identity.setAgentURI(agent, long);
        cheats.expectPartialRevert(IIdentity.TooLong.selector);
        identity.setMetadata(agent, "k", bytes(long));
    }

    function set(address account, bytes32 key) private {
        uint256 count = identity.keyCount(account, SIGNING);
        bytes memory proof = signatureOf(key, identity.keyDigest(account, SIGNING, key, count));
        cheats.prank(account);
        identity.setKey(SIGNING, key, proof);
    }
}
