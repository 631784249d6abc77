// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {Asset, AssetKind} from "./Types.sol";
import {ASSET_REGISTRY} from "./Addresses.sol";

/// @title  Models, datasets, adapters and agents, and who registered them.
/// @notice An asset is named by its owner and its content root together, so that nobody can take a root away from anybody:
///         who registers the same root stands beside the others in `claims`. Commit first and reveal in a later block,
///         and nobody who reads the reveal can have a claim with an earlier commitment.
///         An asset never changes; what it is derived from is settled when it is registered.
interface IAssetRegistry {
    /// @notice Somebody will register something.
    event Committed(bytes32 indexed commitment);
    /// @notice `asset` is registered. `committed` is the block of its commitment, which orders competing claims.
    event Registered(
        bytes32 indexed asset, address indexed owner, bytes32 indexed contentRoot, uint256 committed, Asset details
    );
    /// @notice The owner bound `root` to the asset under `scheme`.
    event CommitmentSet(bytes32 indexed asset, bytes32 indexed scheme, bytes32 root);

    /// @notice Nothing has this id.
    error NoSuchAsset(bytes32 asset);
    /// @notice Only the owner may do this.
    error NotTheOwner(bytes32 asset, address owner);
    /// @notice This owner has registered this content before.
    error RegisteredBefore(bytes32 asset);
    /// @notice Call `commit` with this value first, and register in a later block.
    error NotCommitted(bytes32 commitment);
    /// @notice A content root, scheme or root of zero.
    error Empty();
    /// @notice The card is longer than `limit` bytes.
    error CardTooLong(uint256 limit);
    /// @notice One licence is needed for each parent.
    error LicencesDoNotMatch(uint256 parents, uint256 licences);
    /// @notice A parent may be named once.
    error ParentTwice(bytes32 parent);
    /// @notice The licence is not one of this parent, or not held by the caller, or over, or does not allow to derive.
    error NotLicensed(bytes32 parent, uint256 licence);
    /// @notice The licence's price is not all the owner's, and could come back. A sealed one is after `ILicences.collect`.
    error NotPaidYet(uint256 licence);
    /// @notice The parents ask for more than all revenue together.
    error SharesExceedAll(uint256 asked);
    /// @notice More than `limit` different assets above this one.
    error TooManyAncestors(uint256 limit);
    /// @notice A commitment under this scheme is there, and stays: name a new scheme.
    error CommitmentIsSet(bytes32 asset, bytes32 scheme);
    /// @notice A recovery of the owner is under way: what is for good waits.
    error RecoveryUnderWay(address account);

    /// @notice Says that something will be registered, and hides what. Said twice, the first time counts.
    /// @param commitment `keccak256(abi.encode(registrant, salt, keccak256(abi.encode(asset))))`
    function commit(bytes32 commitment) external;

    /// @notice Registers what was committed to in an earlier block, by its owner.
    /// @dev    For each parent the caller holds a licence of it with a revenue share, neither over nor withdrawn, whose
    ///         price is all the owner's (so not a long term's, unless it is free). That share of this asset's revenue goes
    ///         to the parent for good, and from there on as the parent's own lineage says; what is less than a hundredth of a percent stays with the parent.
    /// @param a    what to register; `a.owner` is the caller
    /// @param salt what hid the commitment
    /// @return asset the id
    function register(Asset calldata a, bytes32 salt) external returns (bytes32 asset);

    /// @notice Binds a root to an asset once and for good, for proofs that come later. By the owner, while
    ///         no recovery of it is under way.
    /// @param scheme what the root is: a hash of its documentation, or `ILicences.ciphertextScheme`
    function setCommitment(bytes32 asset, bytes32 scheme, bytes32 root) external;

    /// @notice Who owns `asset` now: who registered it, or whom that account's guardians brought it to.
    function ownerOf(bytes32 asset) external view returns (address);

    /// @notice Whether `asset` is registered.
    function exists(bytes32 asset) external view returns (bool);

    /// @notice What was registered, without its lineage. `committed` is the block of the commitment.
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
        );

    /// @notice Everything above `asset`, each once, and the hundredths of a percent of its revenue that go there. At
    ///         most 64, together at most all.
    function ancestors(bytes32 asset) external view returns (bytes32[] memory assets, uint16[] memory bps);

    /// @notice All assets with this content, in the order of their registration. None is truer than another: compare the
    ///         blocks of their commitments and whom you know.
    function claims(bytes32 contentRoot) external view returns (bytes32[] memory);

    /// @notice How many claims there are, and each of them: for a root that squatters have registered very often.
    function claimCount(bytes32 contentRoot) external view returns (uint256);

    /// @notice The claim at `index`, from zero on.
    function claimAt(bytes32 contentRoot, uint256 index) external view returns (bytes32);

    /// @notice The root under `scheme`, or zero.
    function commitmentOf(bytes32 asset, bytes32 scheme) external view returns (bytes32);

    /// @notice The id of what `owner` would register with this content.
    function idOf(address owner, bytes32 contentRoot) external view returns (bytes32);
}

IAssetRegistry constant REGISTRY = IAssetRegistry(ASSET_REGISTRY);
