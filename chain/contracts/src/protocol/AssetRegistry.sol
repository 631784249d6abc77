// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {ALL, Asset, AssetKind, Terms} from "./Types.sol";
import {LICENCES} from "./Addresses.sol";
import {IAssetRegistry} from "./IAssetRegistry.sol";
import {BLOCKS, keyOfAccount} from "./IJournal.sol";
import {LICENCE_BOOK} from "./ILicences.sol";
import {RECEIPTS} from "./IOwnershipReceipts.sol";
import {Lineage} from "./Lineage.sol";

/// @title Keeps what IAssetRegistry promises.
contract AssetRegistry is IAssetRegistry {
    struct Record {
        address registrant;
        AssetKind kind;
        uint64 committed;
        bytes32 contentRoot;
        bytes32 graph;
        bytes32 manifest;
        string card;
        bytes32[] ancestors;
        uint16[] bps;
    }

    /// @notice Bytes of a card's address.
    uint256 public constant MAX_CARD = 2048;

    mapping(bytes32 commitment => uint256 blockNumber) public committedAt;
    mapping(bytes32 asset => Record) private records;
    mapping(bytes32 contentRoot => bytes32[]) private byContent;
    mapping(bytes32 asset => mapping(bytes32 scheme => bytes32 root)) private commitments;

    /// @inheritdoc IAssetRegistry
    function commit(bytes32 commitment) external {
        // Who repeats another's commitment must not be able to put off its reveal.
        if (committedAt[commitment] != 0) return;
        committedAt[commitment] = block.number;
        emit Committed(commitment);
    }

    /// @inheritdoc IAssetRegistry
    function register(Asset calldata a, bytes32 salt) external returns (bytes32 asset) {
        asset = idOf(a.owner, a.contentRoot);
        if (msg.sender != a.owner) revert NotTheOwner(asset, a.owner);
        if (a.contentRoot == 0) revert Empty();
        if (bytes(a.card).length > MAX_CARD) revert CardTooLong(MAX_CARD);
        if (exists(asset)) revert RegisteredBefore(asset);
        uint256 committed = revealed(keccak256(abi.encode(msg.sender, salt, keccak256(abi.encode(a)))));
        record(asset, a, committed);
        inherit(asset, a.parents, a.parentLicences);
        byContent[a.contentRoot].push(asset);
        BLOCKS.note(0);
        BLOCKS.note(keyOfAccount(a.owner));
        emit Registered(asset, a.owner, a.contentRoot, committed, a);
    }

    /// @inheritdoc IAssetRegistry
    function setCommitment(bytes32 asset, bytes32 scheme, bytes32 root) external {
        address owner = ownerOf(asset);
        if (msg.sender != owner) revert NotTheOwner(asset, owner);
        (address heir,,,) = RECEIPTS.recoveryOf(owner);
        if (heir != address(0)) revert RecoveryUnderWay(owner);
        if (scheme == 0 || root == 0) revert Empty();
        if (commitments[asset][scheme] != 0) revert CommitmentIsSet(asset, scheme);
        commitments[asset][scheme] = root;
        emit CommitmentSet(asset, scheme, root);
    }

    /// @inheritdoc IAssetRegistry
    function ownerOf(bytes32 asset) public view returns (address) {
        if (!exists(asset)) revert NoSuchAsset(asset);
        return RECEIPTS.heirOf(records[asset].registrant);
    }

    /// @inheritdoc IAssetRegistry
    function exists(bytes32 asset) public view returns (bool) {
        return records[asset].registrant != address(0);
    }

    /// @inheritdoc IAssetRegistry
    function assetOf(bytes32 asset)
        external
        view
        returns (
            AssetKind kind,
            address registrant,
            bytes32 contentRoot,
            bytes32 graph,
            bytes32 manifest,
            string memory card,
            uint64 committed
        )
    {
        if (!exists(asset)) revert NoSuchAsset(asset);
        Record storage r = records[asset];
        return (r.kind, r.registrant, r.contentRoot, r.graph, r.manifest, r.card, r.committed);
    }

    /// @inheritdoc IAssetRegistry
    function ancestors(bytes32 asset) external view returns (bytes32[] memory assets, uint16[] memory bps) {
        return (records[asset].ancestors, records[asset].bps);
    }

    /// @inheritdoc IAssetRegistry
    function claims(bytes32 contentRoot) external view returns (bytes32[] memory) {
        return byContent[contentRoot];
    }

    /// @inheritdoc IAssetRegistry
    function claimCount(bytes32 contentRoot) external view returns (uint256) {
        return byContent[contentRoot].length;
    }

    /// @inheritdoc IAssetRegistry
    function claimAt(bytes32 contentRoot, uint256 index) external view returns (bytes32) {
        return byContent[contentRoot][index];
    }

    /// @inheritdoc IAssetRegistry
    function commitmentOf(bytes32 asset, bytes32 scheme) external view returns (bytes32) {
        return commitments[asset][scheme];
    }

    /// @inheritdoc IAssetRegistry
    function idOf(address owner, bytes32 contentRoot) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), owner, contentRoot));
    }

    function revealed(bytes32 commitment) private view returns (uint256 committed) {
        committed = committedAt[commitment];
        if (committed == 0 || committed == block.number) revert NotCommitted(commitment);
    }

    function record(bytes32 asset, Asset calldata a, uint256 committed) private {
        Record storage r = records[asset];
        (r.registrant, r.kind, r.committed) = (a.owner, a.kind, uint64(committed));
        (r.contentRoot, r.graph, r.manifest, r.card) = (a.contentRoot, a.graph, a.manifest, a.card);
    }

    /// Flattens the lineage. No circle is possible: a parent was registered before, and what it is derived from stays.
    function inherit(bytes32 asset, bytes32[] calldata parents, uint256[] calldata licences) private {
        if (parents.length != licences.length) revert LicencesDoNotMatch(parents.length, licences.length);
        if (parents.length == 0) return;
        if (parents.length > Lineage.LIMIT) revert TooManyAncestors(Lineage.LIMIT);
        Lineage.Builder memory line = Lineage.start();
        uint256 asked;
        for (uint256 i; i < parents.length; ++i) {
            for (uint256 j; j < i; ++j) {
                if (parents[j] == parents[i]) revert ParentTwice(parents[i]);
            }
            uint256 share = derivative(parents[i], licences[i]);
            asked += share;
            if (asked > ALL) revert SharesExceedAll(asked);
            Record storage parent = records[parents[i]];
            if (!Lineage.add(line, parents[i], share, parent.ancestors, parent.bps)) {
                revert TooManyAncestors(Lineage.LIMIT);
            }
        }
        (records[asset].ancestors, records[asset].bps) = Lineage.finish(line);
    }

    /// The share that `parent` asks for under this licence.
    function derivative(bytes32 parent, uint256 licence) private view returns (uint256) {
        (bytes32 licensed, Terms memory t,, uint64 ends, uint64 withdrawnAt) = LICENCE_BOOK.licenceOf(licence);
        bool holds = licensed == parent && t.revenueShare != 0 && ends > block.timestamp && withdrawnAt == 0
            && IERC721(LICENCES).ownerOf(licence) == msg.sender;
        if (!holds) revert NotLicensed(parent, licence);
        // What is derived stays, so a price that could come back would be none.
        (, uint128 paid, uint128 collected,) = LICENCE_BOOK.moneyOf(licence);
        if (collected != paid) revert NotPaidYet(licence);
        return t.revenueShare;
    }
}
