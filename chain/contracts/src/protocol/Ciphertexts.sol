// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {ILicences} from "./ILicences.sol";
import {REGISTRY} from "./IAssetRegistry.sol";

/// @title Ciphertexts that full-access licences sell, and whether their keys open them.
abstract contract Ciphertexts is ILicences {
    struct Opening {
        uint64 openedAt;
        uint64 openedIn;
        bool wrong;
        bytes32 key;
    }

    /// @notice A window is over when its time is *and* so many blocks are: a chain that stood still has not used it up.
    uint256 public constant WINDOW_BLOCKS = 600;
    /// @notice Since the purchase, for the owner to open what was sold.
    uint64 public constant OPENING_TIME = 7 days;
    /// @notice Since the opening, for anybody to show that the key is wrong.
    uint64 public constant DISPUTE_TIME = 3 days;
    /// @notice Bytes of one piece of a ciphertext.
    uint256 public constant MAX_PIECE = 4096;

    mapping(bytes32 asset => mapping(bytes32 root => Opening)) private openings;

    /// @inheritdoc ILicences
    function open(bytes32 asset, bytes32 root, bytes32 key) external {
        address owner = REGISTRY.ownerOf(asset);
        if (msg.sender != owner) revert NotTheOwner(asset, owner);
        Opening storage o = openings[asset][root];
        if (o.openedAt != 0) revert OpenedBefore(root);
        requireCiphertext(asset, root);
        (o.openedAt, o.openedIn, o.key) = (uint64(block.timestamp), uint64(block.number), key);
        emit Opened(asset, root, key);
    }

    /// @inheritdoc ILicences
    function disprove(
        bytes32 asset,
        bytes32 root,
        uint256 index,
        bytes calldata piece,
        bytes32 plaintextHash,
        bytes32[] calldata proof
    ) external {
        Opening storage o = openings[asset][root];
        if (o.openedAt == 0) revert NotOpened(root);
        if (isPast(o.openedAt + DISPUTE_TIME, o.openedIn)) revert TooLate(o.openedAt + DISPUTE_TIME);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(index, keccak256(piece), plaintextHash))));
        bool promised = piece.length <= MAX_PIECE && MerkleProof.verifyCalldata(proof, root, leaf);
        if (o.wrong || !promised || keccak256(deciphered(piece, o.key, index)) == plaintextHash) revert NotDisproved();
        o.wrong = true;
        emit Disproved(asset, root, index);
    }

    /// @inheritdoc ILicences
    function openingOf(bytes32 asset, bytes32 root) external view returns (uint64 openedAt, bytes32 key, bool wrong) {
        Opening storage o = openings[asset][root];
        return (o.openedAt, o.key, o.wrong);
    }

    /// @inheritdoc ILicences
    function ciphertextScheme(bytes32 root) public pure returns (bytes32) {
        return keccak256(abi.encode("Sahara ciphertext 1", root));
    }

    function requireCiphertext(bytes32 asset, bytes32 root) internal view {
        if (root == 0 || REGISTRY.commitmentOf(asset, ciphertextScheme(root)) != root) {
            revert WrongTerms("details: register the ciphertext's root first");
        }
    }

    /// Whether the ciphertext was never opened.
    function isSealed(bytes32 asset, bytes32 root) internal view returns (bool) {
        return openings[asset][root].openedAt == 0;
    }

    /// Whether who bought at `boughtAt`, in the block `boughtIn`, got the right key in time, and nobody can show otherwise
    /// any more.
    function delivered(bytes32 asset, bytes32 root, uint64 boughtAt, uint256 boughtIn) internal view returns (bool) {
        Opening storage o = openings[asset][root];
        return
            o.openedAt != 0 && !failed(asset, root, boughtAt, boughtIn) && isPast(o.openedAt + DISPUTE_TIME, o.openedIn);
    }

    /// Whether who bought at `boughtAt`, in the block `boughtIn`, got no key in time, or a wrong one.
    function failed(bytes32 asset, bytes32 root, uint64 boughtAt, uint256 boughtIn) internal view returns (bool) {
        Opening storage o = openings[asset][root];
        (uint256 time, uint256 number) =
            o.openedAt == 0 ? (block.timestamp, block.number) : (uint256(o.openedAt), uint256(o.openedIn));
        return o.wrong || (time > boughtAt + OPENING_TIME && number > boughtIn + WINDOW_BLOCKS);
    }

    /// Whether a window is over that ends at `until` and began in the block `from`.
    function isPast(uint256 until, uint256 from) internal view returns (bool) {
        return block.timestamp > until && block.number > from + WINDOW_BLOCKS;
    }

    function deciphered(bytes calldata piece, bytes32 key, uint256 index) private pure returns (bytes memory plain) {
        plain = piece;
        for (uint256 j; j * 32 < plain.length; ++j) {
            bytes32 pad = keccak256(abi.encode(key, index, j));
            assembly ("memory-safe") {
                // Memory of `bytes` is whole words, so the last one may be written whole; its length cuts the rest off.
                let word := add(add(plain, 32), mul(j, 32))
                mstore(word, xor(mload(word), pad))
            }
        }
    }
}
