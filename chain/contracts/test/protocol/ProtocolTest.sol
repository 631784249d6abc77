// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC721Metadata} from "@openzeppelin/contracts/token/ERC721/extensions/IERC721Metadata.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {
    ASSET_REGISTRY,
    ATTRIBUTION,
    INFERENCE_MARKET,
    JOURNAL,
    LICENCES,
    OWNERSHIP_RECEIPTS
} from "../../src/protocol/Addresses.sol";
import {Asset, AssetKind, KIND_API, KIND_FULL_ACCESS, KIND_LONG_TERM, Terms} from "../../src/protocol/Types.sol";
import {IAssetRegistry} from "../../src/protocol/IAssetRegistry.sol";
import {IAttribution} from "../../src/protocol/IAttribution.sol";
import {ILicences} from "../../src/protocol/ILicences.sol";
import {IOwnershipReceipts} from "../../src/protocol/IOwnershipReceipts.sol";

/// The cheat codes that the tests of assets, licences and revenue use.
interface Hevm {
    function addr(uint256 key) external pure returns (address);
    function assertEq(bytes32 left, bytes32 right) external pure;
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(uint256 left, uint256 right, string calldata why) external pure;
    function assertEq(address left, address right) external pure;
    function assertEq(string calldata left, string calldata right) external pure;
    function assertTrue(bool condition) external pure;
    function assertTrue(bool condition, string calldata why) external pure;
    function assertFalse(bool condition) external pure;
    function assertLe(uint256 left, uint256 right) external pure;
    function assertLe(uint256 left, uint256 right, string calldata why) external pure;
    function assume(bool condition) external pure;
    function deal(address who, uint256 balance) external;
    function expectEmit(address emitter) external;
    function etch(address where, bytes calldata code) external;
    function expectRevert(bytes calldata data) external;
    function expectRevert(bytes4 selector) external;
    function expectPartialRevert(bytes4 selector) external;
    function getDeployedCode(string calldata name) external view returns (bytes memory);
    function load(address where, bytes32 slot) external view returns (bytes32);
    function prank(address sender) external;
    function roll(uint256 number) external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function chainId(uint256 id) external;
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
    function warp(uint256 time) external;
}

Hevm constant hevm = Hevm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// All that the contracts answer. The tests see only this, so that a change of a contract compiles that contract alone.
interface Receipts is IOwnershipReceipts, IERC721Metadata {
    function DELAY() external view returns (uint64);
    function GRACE() external view returns (uint64);
}

interface AllLicences is ILicences, IERC2981, IERC721Metadata {}

interface Revenue is IAttribution {
    function CHALLENGE() external view returns (uint256);
}

/// What stands at the market's address: it settles when told.
contract SettlingMarket {
    mapping(bytes32 asset => uint64) public servedAt;

    function serve(bytes32 asset) external {
        servedAt[asset] = uint64(block.timestamp);
    }

    receive() external payable {}
}

/// A chain with the code at its addresses as genesis puts it there: no constructor has run.
abstract contract ProtocolTest {
    bool public constant IS_TEST = true;
    address internal constant COIN = address(0);

    IAssetRegistry internal constant registry = IAssetRegistry(ASSET_REGISTRY);
    Receipts internal constant receipts = Receipts(OWNERSHIP_RECEIPTS);
    AllLicences internal constant licences = AllLicences(LICENCES);
    Revenue internal constant attribution = Revenue(ATTRIBUTION);
    SettlingMarket internal constant market = SettlingMarket(payable(INFERENCE_MARKET));

    address internal owner = address(0xa11ce);
    address internal buyer = address(0xb0b);
    address internal stranger = address(0xe5e);
    /// The clock and the height, as the tests set them.
    uint256 internal clock = 1_800_000_000;
    uint256 internal height = 100;

    function setUp() public virtual {
        hevm.warp(clock);
        hevm.roll(height);
        hevm.etch(ASSET_REGISTRY, hevm.getDeployedCode("AssetRegistry.sol:AssetRegistry"));
        hevm.etch(OWNERSHIP_RECEIPTS, hevm.getDeployedCode("OwnershipReceipts.sol:OwnershipReceipts"));
        hevm.etch(JOURNAL, hevm.getDeployedCode("Journal.sol:Journal"));
        hevm.etch(LICENCES, hevm.getDeployedCode("Licences.sol:Licences"));
        hevm.etch(ATTRIBUTION, hevm.getDeployedCode("Attribution.sol:Attribution"));
        hevm.etch(INFERENCE_MARKET, type(SettlingMarket).runtimeCode);
        hevm.deal(owner, 1000 ether);
        hevm.deal(buyer, 1000 ether);
        hevm.deal(stranger, 1000 ether);
    }

    // Time

    /// Time goes by, and a block is made every six seconds.
    function pass(uint256 time) internal {
        height += time / 6;
        hevm.roll(height);
        clock += time;
        hevm.warp(clock);
    }

    function nextBlock() internal {
        hevm.roll(++height);
    }

    // Assets

    function plain(address who, bytes32 root) internal pure returns (Asset memory a) {
        (a.kind, a.owner, a.contentRoot, a.card) = (AssetKind.Model, who, root, "ipfs://card");
        (a.parents, a.parentLicences) = (new bytes32[](0), new uint256[](0));
    }

    function register(Asset memory a) internal returns (bytes32 asset) {
        commit(a);
        hevm.prank(a.owner);
        return registry.register(a, "salt");
    }

    function commit(Asset memory a) internal {
        registry.commit(commitment(a, "salt"));
        nextBlock();
    }

    function commitment(Asset memory a, bytes32 salt) internal pure returns (bytes32) {
        return keccak256(abi.encode(a.owner, salt, keccak256(abi.encode(a))));
    }

    function newAsset(address who, uint256 seed) internal returns (bytes32) {
        return register(plain(who, keccak256(abi.encode("content", seed))));
    }

    /// An asset derived from `parents`, each of which asks for its share; all are `who`'s.
    function derived(address who, uint256 seed, bytes32[] memory parents, uint16[] memory shares)
        internal
        returns (bytes32)
    {
        return register(derivation(who, seed, parents, shares));
    }

    function derivation(address who, uint256 seed, bytes32[] memory parents, uint16[] memory shares)
        internal
        returns (Asset memory a)
    {
        a = plain(who, keccak256(abi.encode("content", seed)));
        (a.parents, a.parentLicences) = (parents, new uint256[](parents.length));
        for (uint256 i; i < parents.length; ++i) {
            Terms memory t;
            t.revenueShare = shares[i];
            a.parentLicences[i] = bought(parents[i], t, who);
        }
    }

    // Licences

    function apiTerms(uint128 price) internal pure returns (Terms memory t) {
        (t.kind, t.price, t.royalty, t.compute) = (KIND_API, price, 7, 3);
    }

    function longTerms(uint128 price, uint64 duration) internal pure returns (Terms memory t) {
        (t.kind, t.price, t.duration) = (KIND_LONG_TERM, price, duration);
    }

    function sealedTerms(uint128 price, bytes32 root) internal pure returns (Terms memory t) {
        (t.kind, t.price, t.details) = (KIND_FULL_ACCESS, price, root);
    }

    function offered(bytes32 asset, Terms memory t) internal returns (bytes32) {
        hevm.prank(registry.ownerOf(asset));
        return licences.offer(asset, t);
    }

    /// Offers and buys, for a price in the coin.
    function bought(bytes32 asset, Terms memory t, address who) internal returns (uint256) {
        bytes32 termsHash = offered(asset, t);
        if (who.balance < t.price) hevm.deal(who, t.price);
        hevm.prank(who);
        return licences.buy{value: t.price}(asset, termsHash, t.price, t.revenueShare, who);
    }

    // Revenue

    /// Everything that waits at these assets goes to accounts.
    function flush(bytes32[] memory assets, address token) internal {
        pass(attribution.CHALLENGE() + 1 hours);
        for (uint256 i; i < assets.length; ++i) {
            attribution.release(assets[i], token, type(uint256).max);
        }
        for (uint256 i; i < assets.length; ++i) {
            attribution.divide(assets[i], token);
        }
    }

    function one(bytes32 asset) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](1);
        list[0] = asset;
    }

    function one(address who) internal pure returns (address[] memory list) {
        list = new address[](1);
        list[0] = who;
    }

    function one(uint16 share) internal pure returns (uint16[] memory list) {
        list = new uint16[](1);
        list[0] = share;
    }
}
