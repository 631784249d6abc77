// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {InferenceReceipt, InferenceReceipts} from "../../src/InferenceReceipts.sol";
import {Terms} from "../../src/protocol/Types.sol";

// What stands in for the contracts around the market in its tests.

/// What a member "signs" here: 64 bytes that depend on its key and on the digest, so that nothing else passes for it.
function signatureOf(bytes32 key, bytes32 digest) pure returns (bytes memory) {
    bytes32 first = keccak256(abi.encode(key, digest));
    return abi.encodePacked(first, keccak256(abi.encode(first)));
}

/// The native contract COMMITTEE, with its refusals.
contract CommitteeStandIn {
    function verifyReceipt(
        InferenceReceipt calldata receipt,
        bytes32[] calldata keys,
        uint256 signers,
        bytes calldata signatures,
        uint256 threshold
    ) external view returns (bool) {
        require(
            receipt.committee == InferenceReceipts.committeeRoot(keys), "these keys are not the receipt's committee"
        );
        return
            verify(InferenceReceipts.digest(receipt, block.chainid, msg.sender), keys, signers, signatures, threshold);
    }

    function verify(
        bytes32 digest,
        bytes32[] calldata keys,
        uint256 signers,
        bytes calldata signatures,
        uint256 threshold
    ) public pure returns (bool) {
        require(threshold > 0 && keys.length <= 64 && signers >> keys.length == 0, "makes no sense");
        uint256 seen;
        for (uint256 i = 0; i < keys.length; i++) {
            for (uint256 j = 0; j < i; j++) {
                require(keys[i] != keys[j], "a key occurs twice");
            }
            if (signers >> i & 1 == 0) continue;
            require(signatures.length >= 64 * (seen + 1), "wrong length");
            bytes calldata signature = signatures[64 * seen:64 * seen + 64];
            if (keccak256(signature) != keccak256(signatureOf(keys[i], digest))) return false;
            seen++;
        }
        require(signatures.length == 64 * seen, "wrong length");
        return seen >= threshold;
    }
}

/// The native contract BEACON: an epoch that tests set, and a value for each.
contract BeaconStandIn {
    uint256 public epoch;

    function setEpoch(uint256 to) external {
        epoch = to;
    }

    function current() external view returns (uint256, bytes32) {
        return (epoch, valueOf(epoch));
    }

    function valueOf(uint256 which) public view returns (bytes32) {
        require(which <= epoch, "not yet");
        return keccak256(abi.encode("beacon", which));
    }

    function epochBlocks() external pure returns (uint256) {
        return 100;
    }
}

/// The asset registry: who owns what.
contract RegistryStandIn {
    mapping(bytes32 => address) public ownerOf;

    function give(bytes32 asset, address owner) external {
        ownerOf[asset] = owner;
    }
}

/// The licences: one holder each.
contract LicencesStandIn {
    struct Licence {
        bytes32 asset;
        Terms terms;
        uint64 ends;
        uint64 withdrawnAt;
        address user;
    }

    mapping(uint256 => Licence) private licences;

    function give(uint256 licence, bytes32 asset, address user, uint128 royalty, uint128 compute, uint64 ends)
        external
    {
        Licence storage l = licences[licence];
        (l.asset, l.user, l.ends, l.withdrawnAt) = (asset, user, ends, 0);
        (l.terms.royalty, l.terms.compute) = (royalty, compute);
    }

    function sell(uint256 licence, address to) external {
        licences[licence].user = to;
    }

    function withdraw(uint256 licence) external {
        licences[licence].withdrawnAt = uint64(block.timestamp);
    }

    function licenceOf(uint256 licence)
        external
        view
        returns (bytes32, Terms memory, uint64 boughtAt, uint64 ends, uint64 withdrawnAt)
    {
        Licence storage l = licences[licence];
        return (l.asset, l.terms, 1, l.ends, l.withdrawnAt);
    }

    function isUser(uint256 licence, address who) external view returns (bool) {
        Licence storage l = licences[licence];
        return l.user == who && l.withdrawnAt == 0 && block.timestamp < l.ends;
    }
}

/// The receipts of ownership: reputation, or a refusal when told so.
contract ReceiptsStandIn {
    mapping(bytes32 => uint256) public reputation;
    bool private refuses;

    function refuse(bool really) external {
        refuses = really;
    }

    function credit(bytes32 asset, address, uint256 burnt) external {
        require(!refuses, "refused");
        reputation[asset] += burnt;
    }
}

/// Attribution: takes money, or refuses it when told so.
contract AttributionStandIn {
    mapping(bytes32 => uint256) public paid;
    bool public refuses;

    function refuse(bool really) external {
        refuses = really;
    }

    function pay(bytes32 asset) external payable {
        require(!refuses, "refused");
        paid[asset] += msg.value;
    }
}
