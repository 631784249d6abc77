// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IAssetRegistry} from "../../src/protocol/IAssetRegistry.sol";
import {Asset, AssetKind, Terms} from "../../src/protocol/Types.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

contract AssetRegistryTest is ProtocolTest {
    function test_an_asset_is_named_by_its_owner_and_content() public {
        Asset memory a = plain(owner, "root");
        (a.graph, a.manifest, a.kind) = ("graph", "manifest", AssetKind.Adapter);
        bytes32 asset = register(a);
        hevm.assertEq(asset, keccak256(abi.encode(block.chainid, address(registry), owner, bytes32("root"))));
        hevm.assertEq(registry.ownerOf(asset), owner);
        (AssetKind kind, address who, bytes32 root, bytes32 graph, bytes32 manifest, string memory card, uint64 at_) =
            registry.assetOf(asset);
        hevm.assertTrue(kind == AssetKind.Adapter && who == owner && root == "root");
        hevm.assertTrue(graph == "graph" && manifest == "manifest" && at_ == height - 1);
        hevm.assertEq(card, "ipfs://card");
    }

    function test_a_reveal_needs_a_commitment_of_an_earlier_block() public {
        Asset memory a = plain(owner, "root");
        bytes memory refusal = abi.encodeWithSelector(IAssetRegistry.NotCommitted.selector, commitment(a, "salt"));
        hevm.expectRevert(refusal);
        hevm.prank(owner);
        registry.register(a, "salt");
        registry.commit(commitment(a, "salt"));
        hevm.expectRevert(refusal);
        hevm.prank(owner);
        registry.register(a, "salt");
        nextBlock();
        hevm.prank(owner);
        registry.register(a, "salt");
    }

    function test_a_commitment_holds_for_nothing_else() public {
        Asset memory a = plain(owner, "root");
        commit(a);
        a.card = "ipfs://other";
        hevm.expectPartialRevert(IAssetRegistry.NotCommitted.selector);
        hevm.prank(owner);
        registry.register(a, "salt");
    }

    function test_who_repeats_a_commitment_cannot_put_off_its_reveal() public {
        Asset memory a = plain(owner, "root");
        commit(a);
        hevm.prank(stranger);
        registry.commit(commitment(a, "salt"));
        hevm.prank(owner);
        registry.register(a, "salt");
    }

    function test_who_sees_a_reveal_has_only_a_later_claim_beside_it() public {
        Asset memory a = plain(owner, "root");
        commit(a);
        // The squatter sees the reveal in the pool and is quicker with everything that it can do.
        Asset memory copy = plain(stranger, "root");
        registry.commit(commitment(copy, "salt"));
        hevm.prank(stranger);
        hevm.expectPartialRevert(IAssetRegistry.NotCommitted.selector);
        registry.register(copy, "salt");
        // Nor can it reveal in the owner's place.
        hevm.expectPartialRevert(IAssetRegistry.NotTheOwner.selector);
        hevm.prank(stranger);
        registry.register(a, "salt");
        hevm.prank(owner);
        bytes32 asset = registry.register(a, "salt");
        nextBlock();
        hevm.prank(stranger);
        bytes32 other = registry.register(copy, "salt");

        bytes32[] memory claims = registry.claims("root");
        hevm.assertTrue(claims.length == 2 && claims[0] == asset && claims[1] == other);
        hevm.assertEq(registry.claimCount("root"), 2);
        hevm.assertEq(registry.claimAt("root", 1), other);
        (,,,,,, uint64 first) = registry.assetOf(asset);
        (,,,,,, uint64 second) = registry.assetOf(other);
        hevm.assertTrue(first < second);
    }

    function test_nothing_is_registered_twice_or_empty_or_with_a_long_card() public {
        Asset memory a = plain(owner, "root");
        bytes32 asset = register(a);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.RegisteredBefore.selector, asset));
        hevm.prank(owner);
        registry.register(a, "salt");

        a = plain(owner, 0);
        hevm.expectRevert(IAssetRegistry.Empty.selector);
        hevm.prank(owner);
        registry.register(a, "salt");

        a = plain(owner, "other");
        a.card = string(new bytes(2049));
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.CardTooLong.selector, 2048));
        hevm.prank(owner);
        registry.register(a, "salt");
        a.card = string(new bytes(2048));
        register(a);
    }

    function test_commitments_are_the_owners_and_stay() public {
        bytes32 asset = newAsset(owner, 1);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.NotTheOwner.selector, asset, owner));
        hevm.prank(stranger);
        registry.setCommitment(asset, "scheme", "root");
        hevm.prank(owner);
        registry.setCommitment(asset, "scheme", "root");
        hevm.assertEq(registry.commitmentOf(asset, "scheme"), "root");
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.CommitmentIsSet.selector, asset, bytes32("scheme")));
        hevm.prank(owner);
        registry.setCommitment(asset, "scheme", "other");
        hevm.expectRevert(IAssetRegistry.Empty.selector);
        hevm.prank(owner);
        registry.setCommitment(asset, "other", 0);
        hevm.expectRevert(IAssetRegistry.Empty.selector);
        hevm.prank(owner);
        registry.setCommitment(asset, 0, "root");
    }

    function test_what_is_not_registered_has_no_owner() public {
        hevm.assertFalse(registry.exists("nothing"));
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.NoSuchAsset.selector, bytes32("nothing")));
        registry.ownerOf("nothing");
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.NoSuchAsset.selector, bytes32("nothing")));
        registry.assetOf("nothing");
    }

    // Lineage

    function test_a_parent_gets_the_share_that_its_licence_asks() public {
        bytes32 grandparent = newAsset(owner, 1);
        bytes32 parent = derived(buyer, 2, one(grandparent), one(uint16(2000)));
        bytes32 child = derived(stranger, 3, one(parent), one(uint16(5000)));
        (bytes32[] memory above, uint16[] memory bps) = registry.ancestors(child);
        hevm.assertTrue(above.length == 2 && above[0] == grandparent && above[1] == parent);
        hevm.assertEq(bps[0], 1000);
        hevm.assertEq(bps[1], 4000);
    }

    function test_an_ancestor_on_two_ways_is_one_ancestor() public {
        bytes32 root = newAsset(owner, 1);
        bytes32 left = derived(buyer, 2, one(root), one(uint16(1000)));
        bytes32 right = derived(buyer, 3, one(root), one(uint16(3000)));
        (bytes32[] memory parents, uint16[] memory shares) = (new bytes32[](3), new uint16[](3));
        (parents[0], parents[1], parents[2]) = (left, right, root);
        (shares[0], shares[1], shares[2]) = (5000, 4000, 1000);
        (bytes32[] memory above, uint16[] memory bps) = registry.ancestors(derived(stranger, 4, parents, shares));
        hevm.assertEq(above.length, 3);
        hevm.assertTrue(above[0] == root && above[1] == left && above[2] == right);
        hevm.assertTrue(bps[0] == 500 + 1200 + 1000 && bps[1] == 4500 && bps[2] == 2800);
    }

    function test_shares_above_all_revenue_are_refused() public {
        (bytes32[] memory parents, uint16[] memory shares) = (new bytes32[](2), new uint16[](2));
        (parents[0], parents[1]) = (newAsset(owner, 1), newAsset(owner, 2));
        (shares[0], shares[1]) = (5000, 5001);
        Asset memory a = derivation(buyer, 3, parents, shares);
        commit(a);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.SharesExceedAll.selector, 10001));
        hevm.prank(buyer);
        registry.register(a, "salt");
        shares[1] = 5000;
        derived(buyer, 4, parents, shares);
    }

    function test_deriving_needs_a_licence_that_allows_it() public {
        bytes32 parent = newAsset(owner, 1);
        bytes32 other = newAsset(owner, 2);
        Asset memory a = plain(buyer, "child");
        (a.parents, a.parentLicences) = (one(parent), new uint256[](1));

        Terms memory t;
        a.parentLicences[0] = bought(parent, t, buyer);
        refused(a, "no derivatives");
        t.revenueShare = 100;
        a.parentLicences[0] = bought(other, t, buyer);
        refused(a, "another asset's");
        a.parentLicences[0] = bought(parent, t, stranger);
        refused(a, "another holder's");
        // A user may use the asset, and not derive from it.
        hevm.prank(stranger);
        licences.setUser(a.parentLicences[0], buyer, type(uint64).max);
        refused(a, "rented");
        t.duration = 10;
        a.parentLicences[0] = bought(parent, t, buyer);
        pass(10);
        refused(a, "over");
        t.duration = 0;
        a.parentLicences[0] = bought(parent, t, buyer);
        hevm.prank(owner);
        licences.withdraw(a.parentLicences[0]);
        refused(a, "withdrawn");
        a.parentLicences[0] = bought(parent, t, buyer);
        register(a);
    }

    function test_nothing_is_derived_under_a_price_that_can_come_back() public {
        bytes32 parent = newAsset(owner, 1);
        bytes32 scheme = licences.ciphertextScheme("sealed");
        hevm.prank(owner);
        registry.setCommitment(parent, scheme, "sealed");
        Asset memory a = plain(buyer, "child");
        (a.parents, a.parentLicences) = (one(parent), new uint256[](1));

        Terms memory t = longTerms(1000, 100 days);
        t.revenueShare = 1;
        a.parentLicences[0] = bought(parent, t, buyer);
        pass(50 days);
        licences.collect(a.parentLicences[0]);
        refusedAsUnpaid(a);

        t = sealedTerms(1000, "sealed");
        t.revenueShare = 1;
        a.parentLicences[0] = bought(parent, t, buyer);
        refusedAsUnpaid(a);
        hevm.prank(owner);
        licences.open(parent, "sealed", "key");
        pass(3 days);
        licences.collect(a.parentLicences[0]);
        refusedAsUnpaid(a);
        pass(1);
        licences.collect(a.parentLicences[0]);
        register(a);
    }

    function test_what_is_free_is_derived_from_at_once() public {
        bytes32 parent = newAsset(owner, 1);
        Terms memory t = longTerms(0, 100 days);
        t.revenueShare = 1;
        Asset memory a = plain(buyer, "child");
        (a.parents, a.parentLicences) = (one(parent), new uint256[](1));
        a.parentLicences[0] = bought(parent, t, buyer);
        register(a);
    }

    function test_lists_that_do_not_match_are_refused() public {
        bytes32 parent = newAsset(owner, 1);
        Asset memory a = derivation(buyer, 2, one(parent), one(uint16(1)));
        a.parentLicences = new uint256[](0);
        commit(a);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.LicencesDoNotMatch.selector, 1, 0));
        hevm.prank(buyer);
        registry.register(a, "salt");

        (bytes32[] memory parents, uint16[] memory shares) = (new bytes32[](2), new uint16[](2));
        (parents[0], parents[1], shares[0], shares[1]) = (parent, parent, 1, 1);
        a = derivation(buyer, 2, parents, shares);
        commit(a);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.ParentTwice.selector, parent));
        hevm.prank(buyer);
        registry.register(a, "salt");
    }

    function test_nothing_is_its_own_parent() public {
        Asset memory a = plain(owner, "root");
        (a.parents, a.parentLicences) = (one(registry.idOf(owner, "root")), new uint256[](1));
        a.parentLicences[0] = 1;
        commit(a);
        hevm.expectPartialRevert(bytes4(keccak256("NoSuchLicence(uint256)")));
        hevm.prank(owner);
        registry.register(a, "salt");
    }

    function test_sixty_four_ancestors_are_taken_and_not_one_more() public {
        (bytes32[] memory parents, uint16[] memory shares) = (new bytes32[](64), new uint16[](64));
        for (uint256 i; i < 64; ++i) {
            (parents[i], shares[i]) = (newAsset(owner, i), 100);
        }
        bytes32 child = derived(buyer, 100, parents, shares);
        (bytes32[] memory above,) = registry.ancestors(child);
        hevm.assertEq(above.length, 64);

        Asset memory a = derivation(stranger, 101, one(child), one(uint16(100)));
        commit(a);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.TooManyAncestors.selector, 64));
        hevm.prank(stranger);
        registry.register(a, "salt");

        a.parents = new bytes32[](65);
        a.parentLicences = new uint256[](65);
        commit(a);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.TooManyAncestors.selector, 64));
        hevm.prank(stranger);
        registry.register(a, "salt");
    }

    /// Whatever is derived from whatever: together the ancestors get what the parents asked for, to the last part.
    function testFuzz_shares_are_passed_on_and_never_made(uint256 seed) public {
        bytes32[] memory all = new bytes32[](9);
        for (uint256 i; i < all.length; ++i) {
            uint256 number = i < 2 ? 0 : 1 + uint256(keccak256(abi.encode(seed, i))) % (i < 4 ? i : 4);
            (bytes32[] memory parents, uint16[] memory shares) = (new bytes32[](number), new uint16[](number));
            uint256 asked;
            for (uint256 j; j < number; ++j) {
                parents[j] = all[(i + j) % i];
                shares[j] = uint16(1 + uint256(keccak256(abi.encode(seed, i, j))) % (10_000 / number));
                asked += shares[j];
            }
            all[i] = derived(owner, i, parents, shares);
            (bytes32[] memory above, uint16[] memory bps) = registry.ancestors(all[i]);
            uint256 sum;
            for (uint256 j; j < above.length; ++j) {
                sum += bps[j];
                for (uint256 k; k < j; ++k) {
                    hevm.assertTrue(above[j] != above[k]);
                }
            }
            hevm.assertEq(sum, asked);
        }
    }

    function refusedAsUnpaid(Asset memory a) private {
        commit(a);
        hevm.expectRevert(abi.encodeWithSelector(IAssetRegistry.NotPaidYet.selector, a.parentLicences[0]));
        hevm.prank(buyer);
        registry.register(a, "salt");
    }

    function refused(Asset memory a, string memory why) private {
        commit(a);
        hevm.prank(buyer);
        try registry.register(a, "salt") {
            hevm.assertTrue(false, why);
        } catch (bytes memory reason) {
            hevm.assertTrue(bytes4(reason) == IAssetRegistry.NotLicensed.selector, why);
        }
    }
}
