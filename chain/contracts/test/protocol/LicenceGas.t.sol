// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ILicences} from "../../src/protocol/ILicences.sol";
import {Asset, KIND_PARTNERSHIP, Terms} from "../../src/protocol/Types.sol";
import {GoodToken} from "./fixtures/Tokens.sol";
import {hevm, ProtocolTest} from "./ProtocolTest.sol";

/// What each call costs as a transaction of its own, data included. `gas.sh` runs this.
///
/// forge-config: default.isolate = true
contract LicenceGasTest is ProtocolTest {
    bytes32 private asset;
    bytes32 private termsHash;

    function setUp() public override {
        super.setUp();
        asset = newAsset(owner, 1);
        termsHash = offered(asset, apiTerms(1000));
    }

    function test_gas_of_assets() public {
        Asset memory a = plain(buyer, "root");
        registry.commit(commitment(a, "salt"));
        note("commit");
        nextBlock();
        hevm.prank(buyer);
        registry.register(a, "salt");
        note("register, no parent");
        a = derivation(stranger, 7, one(asset), one(uint16(500)));
        commit(a);
        hevm.prank(stranger);
        registry.register(a, "salt");
        note("register, 1 parent");
        a = derivation(stranger, 100, many(), shares());
        commit(a);
        hevm.prank(stranger);
        bytes32 wide = registry.register(a, "salt");
        note("register, 64 parents");
        hevm.prank(owner);
        registry.setCommitment(asset, "scheme", "root");
        note("setCommitment");

        attribution.pay{value: 64_000}(wide);
        pass(2 days);
        attribution.release(wide, COIN, 100);
        note("release, 64 ancestors");
    }

    function test_gas_of_receipts_and_recovery() public {
        (address[] memory who, uint16[] memory parts) = (new address[](2), new uint16[](2));
        (who[0], who[1], parts[0], parts[1]) = (owner, buyer, 5000, 5000);
        hevm.prank(owner);
        receipts.issue(asset, who, parts);
        note("issue, 2 contributors");
        bytes32 other = newAsset(owner, 2);
        (who, parts) = (new address[](64), new uint16[](64));
        for (uint256 i; i < 64; ++i) {
            (who[i], parts[i]) = (address(uint160(0x1000 + i)), i == 0 ? 10_000 - 63 * 156 : 156);
        }
        hevm.prank(owner);
        receipts.issue(other, who, parts);
        note("issue, 64 contributors");
        attribution.pay{value: 64_000}(other);
        pass(2 days);
        attribution.release(other, COIN, 100);
        note("release, no ancestor");
        attribution.divide(other, COIN);
        note("divide, 64 contributors");

        hevm.prank(owner);
        receipts.setGuardians(one(stranger), 1);
        note("setGuardians, 1");
        hevm.prank(stranger);
        receipts.approveRecovery(owner, buyer);
        note("approveRecovery, the last");
        pass(7 days);
        hevm.prank(buyer);
        receipts.acceptRecovery(owner);
        note("acceptRecovery");
        receipts.follow(receipts.idOf(asset, owner));
        note("follow a receipt");
        hevm.prank(address(market));
        receipts.credit(asset, stranger, 1000);
        note("credit reputation");
    }

    function test_gas_of_revenue() public {
        attribution.pay{value: 1000}(asset);
        note("pay, first");
        attribution.pay{value: 1000}(asset);
        note("pay, again in the hour");
        pass(1 hours);
        attribution.pay{value: 1000}(asset);
        note("pay, in another hour");
        pass(2 days);
        attribution.release(asset, COIN, 100);
        attribution.divide(asset, COIN);
        note("divide, the owner");
        hevm.prank(owner);
        attribution.claim();
        note("claim");
    }

    function test_gas_of_licences() public {
        hevm.prank(owner);
        licences.offer(asset, apiTerms(1));
        note("offer");
        hevm.prank(buyer);
        uint256 licence = licences.buy{value: 1000}(asset, termsHash, 1000, 0, buyer);
        note("buy, API");
        hevm.prank(buyer);
        licences.setUser(licence, stranger, type(uint64).max);
        note("setUser");
        hevm.prank(owner);
        licences.withdraw{value: 1000}(licence);
        note("withdraw, API");
        hevm.prank(buyer);
        licences.take(COIN, buyer);
        note("take");
        bytes32 longHash = offered(asset, longTerms(1000, 100 days));
        hevm.prank(buyer);
        licence = licences.buy{value: 1000}(asset, longHash, 1000, 0, buyer);
        note("buy, long-term");
        pass(1 days);
        licences.collect(licence);
        note("collect");
        hevm.prank(buyer);
        licences.complain(licence);
        note("complain");
        pass(8 days);
        licences.refund(licence);
        note("refund");

        ILicences.Agreement memory g;
        (g.asset, g.holder, g.deadline) = (asset, owner, uint64(clock));
        Terms memory t = apiTerms(1000);
        t.kind = KIND_PARTNERSHIP;
        hevm.prank(owner);
        licences.partner{value: 1000}(g, t);
        note("partner, sent by both");

        GoodToken token = new GoodToken();
        token.mint(buyer, 1000);
        hevm.prank(buyer);
        token.approve(address(licences), 1000);
        t = apiTerms(1000);
        t.token = address(token);
        bytes32 tokenHash = offered(asset, t);
        hevm.prank(buyer);
        licences.buy(asset, tokenHash, 1000, 0, buyer);
        note("buy, API, in a token");
    }

    function test_gas_of_full_access() public {
        bytes memory piece = new bytes(4096);
        bytes32 root = keccak256(bytes.concat(keccak256(abi.encode(uint256(0), keccak256(piece), bytes32("other")))));
        bytes32 scheme = licences.ciphertextScheme(root);
        hevm.prank(owner);
        registry.setCommitment(asset, scheme, root);
        bytes32 sealedHash = offered(asset, sealedTerms(1000, root));
        hevm.prank(buyer);
        licences.buy{value: 1000}(asset, sealedHash, 1000, 0, buyer);
        note("buy, full access");
        hevm.prank(owner);
        licences.open(asset, root, "key");
        note("open");
        licences.disprove(asset, root, 0, piece, "other", new bytes32[](0));
        note("disprove, 4096 bytes");
    }

    function note(string memory name) private {
        hevm.snapshotGasLastCall("Licences", name);
    }

    function many() private returns (bytes32[] memory list) {
        list = new bytes32[](64);
        for (uint256 i; i < 64; ++i) {
            list[i] = newAsset(owner, 10 + i);
        }
    }

    function shares() private pure returns (uint16[] memory list) {
        list = new uint16[](64);
        for (uint256 i; i < 64; ++i) {
            list[i] = 100;
        }
    }
}
