// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {BEACON} from "../../src/IBeacon.sol";
import {COMMITTEE} from "../../src/ICommittee.sol";
import {InferenceReceipt, InferenceReceipts} from "../../src/InferenceReceipts.sol";
import {
    ASSET_REGISTRY,
    ATTRIBUTION,
    INFERENCE_MARKET,
    JOURNAL,
    LICENCES,
    OPERATORS,
    OWNERSHIP_RECEIPTS
} from "../../src/protocol/Addresses.sol";
import {InferenceMarket} from "../../src/protocol/InferenceMarket.sol";
import {Journal} from "../../src/protocol/Journal.sol";
import {CLOSING, CLOSING_BLOCKS} from "../../src/protocol/MarketBase.sol";
import {Operators} from "../../src/protocol/Operators.sol";
import {Committee, Session} from "../../src/protocol/Types.sol";
import {
    AttributionStandIn,
    BeaconStandIn,
    CommitteeStandIn,
    LicencesStandIn,
    ReceiptsStandIn,
    RegistryStandIn,
    signatureOf
} from "./StandIns.sol";

/// The cheat codes that the market's tests use.
interface Cheats {
    function addr(uint256 key) external pure returns (address);
    function assertEq(bytes32 left, bytes32 right) external pure;
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(address left, address right) external pure;
    function assertTrue(bool condition) external pure;
    function assertFalse(bool condition) external pure;
    function assume(bool condition) external pure;
    function deal(address who, uint256 balance) external;
    function chainId(uint256 id) external;
    function etch(address where, bytes calldata code) external;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectPartialRevert(bytes4 selector) external;
    function load(address where, bytes32 slot) external view returns (bytes32);
    function prank(address sender) external;
    function prank(address sender, address origin) external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
    function roll(uint256 number) external;
    function fee(uint256 base) external;
    function store(address where, bytes32 slot, bytes32 value) external;
    function toString(uint256 value) external pure returns (string memory);
    function txGasPrice(uint256 price) external;
    function warp(uint256 time) external;
}

Cheats constant cheats = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));

/// A chain with the market's code at its address, five bonded operators, an asset, a consumer with a licence, and everything
/// around the market stood in for.
abstract contract MarketTest {
    bool public constant IS_TEST = true;

    InferenceMarket internal constant market = InferenceMarket(INFERENCE_MARKET);
    Operators internal constant operators = Operators(OPERATORS);
    RegistryStandIn internal constant registry = RegistryStandIn(ASSET_REGISTRY);
    LicencesStandIn internal constant licences = LicencesStandIn(LICENCES);
    AttributionStandIn internal constant attribution = AttributionStandIn(ATTRIBUTION);
    ReceiptsStandIn internal constant ownership = ReceiptsStandIn(OWNERSHIP_RECEIPTS);
    BeaconStandIn internal constant beacon = BeaconStandIn(address(BEACON));

    bytes32 internal constant ASSET = keccak256("asset");
    bytes32 internal constant MANIFEST = keccak256("manifest");
    uint256 internal constant LICENCE = 7;
    uint256 internal constant SIGNER_KEY = 0x51;
    uint256 internal constant CONSUMER_KEY = 0xc0;
    uint128 internal constant ROYALTY = 7e15 + 1;
    uint128 internal constant COMPUTE = 3e15 + 2;
    uint128 internal constant PRICE = ROYALTY + COMPUTE;
    uint128 internal constant CAP = 100 * PRICE;
    uint64 internal constant NOW = 1_800_000_000;
    uint64 internal constant ENDS = NOW + 10 days;

    address internal owner = address(0xabc1);
    address internal consumer = cheats.addr(CONSUMER_KEY);
    address internal signer = cheats.addr(SIGNER_KEY);
    address internal stranger = address(0xabc2);

    function setUp() public virtual {
        cheats.warp(NOW);
        cheats.etch(address(COMMITTEE), type(CommitteeStandIn).runtimeCode);
        cheats.etch(address(BEACON), type(BeaconStandIn).runtimeCode);
        cheats.etch(ASSET_REGISTRY, type(RegistryStandIn).runtimeCode);
        cheats.etch(LICENCES, type(LicencesStandIn).runtimeCode);
        cheats.etch(OWNERSHIP_RECEIPTS, type(ReceiptsStandIn).runtimeCode);
        cheats.etch(ATTRIBUTION, type(AttributionStandIn).runtimeCode);
        cheats.etch(JOURNAL, type(Journal).runtimeCode);
        cheats.etch(OPERATORS, type(Operators).runtimeCode);
        cheats.etch(INFERENCE_MARKET, type(InferenceMarket).runtimeCode);
        registry.give(ASSET, owner);
        licences.give(LICENCE, ASSET, consumer, ROYALTY, COMPUTE, NOW + 30 days);
        cheats.deal(consumer, 1_000 ether);
        cheats.deal(address(this), 1_000 ether);
        for (uint256 i = 0; i < 6; i++) {
            join(i);
        }
    }

    // Operators 0 to 5

    function account(uint256 i) internal pure returns (address) {
        return address(uint160(0x0be0 + i));
    }

    function node(uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("node", i));
    }

    function join(uint256 i) internal {
        cheats.deal(account(i), 1_000 ether);
        bytes memory proof = signatureOf(node(i), operators.proofDigest(account(i), node(i)));
        cheats.prank(account(i));
        operators.join{value: 100 ether}(node(i), "localhost:1", "here", proof);
        cheats.prank(account(i));
        operators.setQuote(9e14, NOW + 400 days);
        cheats.prank(account(i));
        operators.allow(ASSET, true);
    }

    // Committees: the first of operators 0, 1, 2, the second of 3, 4, 5

    function committee(uint256 which) internal pure returns (Committee memory c) {
        (c.asset, c.manifest, c.digest) = (ASSET, MANIFEST, keccak256(abi.encode("digest", which)));
        for (uint256 i = 0; i < 3; i++) {
            (c.keys[i], c.operators[i]) = (node(3 * which + i), account(3 * which + i));
        }
        (c.epoch, c.from, c.until) = (5, NOW, NOW + 60 days);
    }

    function seated(uint256 which) internal returns (Committee memory c) {
        c = committee(which);
        if (market.committees(idOf(c)) != 0) return c;
        cheats.prank(owner);
        market.seat(c);
    }

    function idOf(Committee memory c) internal pure returns (bytes32) {
        return keccak256(abi.encode(c));
    }

    function idOf(Session memory s) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, INFERENCE_MARKET, s));
    }

    // Sessions over the first `lanes` committees

    function session(uint256 lanes, uint256 nonce) internal view returns (Session memory s) {
        (s.licence, s.asset, s.consumer, s.signer, s.asker) = (LICENCE, ASSET, consumer, signer, keccak256("asker"));
        (s.royalty, s.compute, s.ends, s.inFlight, s.nonce) = (ROYALTY, COMPUTE, ENDS, 1, nonce);
        (s.lanes, s.caps) = (new bytes32[](lanes), new uint128[](lanes));
        for (uint256 i = 0; i < lanes; i++) {
            (s.lanes[i], s.caps[i]) = (idOf(committee(i)), CAP);
        }
    }

    function opened(uint256 lanes) internal returns (Session memory) {
        return openSession(session(lanes, 1));
    }

    function openSession(Session memory s) internal returns (Session memory) {
        uint256 sum;
        for (uint256 i = 0; i < s.lanes.length; i++) {
            seated(i);
            sum += s.caps[i];
        }
        cheats.prank(s.consumer);
        bytes32 id = market.open{value: sum}(s.licence, s.signer, s.asker, s.lanes, s.caps, s.ends, s.nonce);
        cheats.assertEq(id, idOf(s));
        return s;
    }

    /// The window of whatever closes now goes by.
    function window() internal {
        cheats.warp(block.timestamp + CLOSING);
        cheats.roll(block.number + CLOSING_BLOCKS);
    }

    /// Closes a session, lets its window go by and finishes it.
    function finish(Session memory s) internal {
        cheats.prank(s.consumer);
        market.close(s);
        window();
        market.finish(s);
    }

    // Receipts, vouchers, signatures

    function receipt(Session memory s, Committee memory c, uint64 number)
        internal
        view
        returns (InferenceReceipt memory r)
    {
        (r.job, r.session, r.lane) = (bytes32(bytes16(keccak256(abi.encode("job", number)))), idOf(s), idOf(c));
        (r.asset, r.licence, r.sharing, r.graph) = (s.asset, s.licence, c.manifest, keccak256("graph"));
        (r.parameters, r.request, r.output) = (keccak256("parameters"), keccak256("request"), keccak256("output"));
        (r.transcript, r.committee, r.epoch) = (keccak256("transcript"), root(c), c.epoch);
        (r.helper, r.number, r.price) = (2, number, s.royalty + s.compute);
        (r.total, r.time, r.height) = (number * r.price, NOW, 12);
    }

    function root(Committee memory c) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(c.keys));
    }

    function vouchers(InferenceReceipt[2] memory two) internal view returns (bytes[2] memory) {
        return [voucher(SIGNER_KEY, two[0]), voucher(SIGNER_KEY, two[1])];
    }

    function voucher(uint256 key, InferenceReceipt memory r) internal view returns (bytes memory) {
        return ecdsa(key, market.voucherDigest(r.session, r.lane, r.total, r.job, r.request));
    }

    function ecdsa(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function signatures(Committee memory c, InferenceReceipt memory r) internal view returns (bytes memory) {
        bytes32 digest = InferenceReceipts.digest(r, block.chainid, INFERENCE_MARKET);
        return
            bytes.concat(signatureOf(c.keys[0], digest), signatureOf(c.keys[1], digest), signatureOf(c.keys[2], digest));
    }

    /// Settles what the members and the signer have signed.
    function settle(Session memory s, Committee memory c, InferenceReceipt memory r) internal {
        bytes memory v = voucher(SIGNER_KEY, r);
        bytes memory all = signatures(c, r);
        market.settle(s, c, r, v, all);
    }

    /// The same, but the money waits.
    function secure(Session memory s, Committee memory c, InferenceReceipt memory r) internal {
        bytes memory v = voucher(SIGNER_KEY, r);
        bytes memory all = signatures(c, r);
        cheats.prank(c.operators[r.number % 3]);
        market.secure(s, c, r, v, all);
    }

    /// The same where a refusal is expected.
    function refused(bytes4 selector, Session memory s, Committee memory c, InferenceReceipt memory r) internal {
        bytes memory v = voucher(SIGNER_KEY, r);
        bytes memory all = signatures(c, r);
        cheats.expectPartialRevert(selector);
        market.settle(s, c, r, v, all);
    }

    // Money

    function earned(uint256 i) internal view returns (uint256) {
        (uint256 ripe, uint256 ripening) = operators.earningsOf(account(i));
        return ripe + ripening;
    }

    function earnedByAll() internal view returns (uint256 sum) {
        for (uint256 i = 0; i < 6; i++) {
            sum += earned(i);
        }
    }
}
