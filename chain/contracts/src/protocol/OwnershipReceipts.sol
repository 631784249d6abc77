// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ALL} from "./Types.sol";
import {INFERENCE_MARKET} from "./Addresses.sol";
import {REGISTRY} from "./IAssetRegistry.sol";
import {IERC5192, IOwnershipReceipts} from "./IOwnershipReceipts.sol";
import {Recovery} from "./Recovery.sol";

/// @title Keeps what IOwnershipReceipts promises.
contract OwnershipReceipts is Recovery, ERC721("", "") {
    struct Receipt {
        bytes32 asset;
        address contributor;
        uint16 share;
    }

    /// @notice Contributors of one asset.
    uint256 public constant MAX_CONTRIBUTORS = 64;
    /// @notice Burnt fees of one counterparty that count for one asset, in the smallest unit.
    uint256 public constant REPUTATION_CAP = 1 ether;

    mapping(uint256 receipt => Receipt) private receipts;
    mapping(bytes32 asset => uint256[]) private issued;
    mapping(bytes32 asset => uint256) private reputation;
    mapping(bytes32 asset => mapping(address counterparty => uint256)) private counted;

    /// @inheritdoc IOwnershipReceipts
    function issue(bytes32 asset, address[] calldata contributors, uint16[] calldata shares) external {
        address owner = REGISTRY.ownerOf(asset);
        if (msg.sender != owner) revert NotTheOwner(asset, owner);
        // Shares are for good: who has stolen the owner's key must not give itself all that the heir would have.
        if (underWay(owner)) revert RecoveryUnderWay(owner);
        if (issued[asset].length != 0) revert IssuedBefore(asset);
        uint256 number = contributors.length;
        if (number == 0 || number > MAX_CONTRIBUTORS || number != shares.length) {
            revert WrongNumber(number, shares.length);
        }
        uint256 sum;
        for (uint256 i; i < number; ++i) {
            sum += shares[i];
            mintReceipt(asset, contributors[i], shares[i]);
        }
        if (sum != ALL) revert SharesAreNotAll(sum);
    }

    /// @inheritdoc IOwnershipReceipts
    function credit(bytes32 asset, address counterparty, uint256 burnt) external {
        if (msg.sender != INFERENCE_MARKET) revert NotTheMarket();
        uint256 before = counted[asset][counterparty];
        uint256 left = REPUTATION_CAP - before;
        uint256 counts = burnt < left ? burnt : left;
        if (counts != 0) {
            counted[asset][counterparty] = before + counts;
            reputation[asset] += counts;
        }
        emit Reputed(asset, counterparty, burnt, counts);
    }

    /// @inheritdoc IOwnershipReceipts
    function follow(uint256 receipt) external {
        address holder = _requireOwned(receipt);
        address heir = heirOf(holder);
        if (heir != holder) _transfer(holder, heir, receipt);
    }

    /// @inheritdoc IERC5192
    function locked(uint256 tokenId) external view returns (bool) {
        _requireOwned(tokenId);
        return true;
    }

    /// @inheritdoc IOwnershipReceipts
    function contributorsOf(bytes32 asset)
        external
        view
        returns (address[] memory contributors, uint16[] memory shares)
    {
        uint256[] memory ids = issued[asset];
        contributors = new address[](ids.length);
        shares = new uint16[](ids.length);
        for (uint256 i; i < ids.length; ++i) {
            Receipt storage r = receipts[ids[i]];
            (contributors[i], shares[i]) = (r.contributor, r.share);
        }
    }

    /// @inheritdoc IOwnershipReceipts
    function receiptOf(uint256 receipt) external view returns (bytes32 asset, address contributor, uint16 share) {
        _requireOwned(receipt);
        Receipt storage r = receipts[receipt];
        return (r.asset, r.contributor, r.share);
    }

    /// @inheritdoc IOwnershipReceipts
    function idOf(bytes32 asset, address contributor) public pure returns (uint256) {
        return uint256(keccak256(abi.encode(asset, contributor)));
    }

    /// @inheritdoc IOwnershipReceipts
    function reputationOf(bytes32 asset) external view returns (uint256) {
        return reputation[asset];
    }

    /// @notice The name of this collection.
    function name() public pure override returns (string memory) {
        return "Sahara Ownership Receipt";
    }

    /// @notice Its symbol.
    function symbol() public pure override returns (string memory) {
        return "SOR";
    }

    /// @notice Nobody may be approved: receipts do not move.
    function approve(address, uint256) public pure override {
        revert Soulbound();
    }

    /// @notice Nobody may be approved: receipts do not move.
    function setApprovalForAll(address, bool) public pure override {
        revert Soulbound();
    }

    /// @notice ERC-165.
    function supportsInterface(bytes4 id) public view override returns (bool) {
        return id == type(IERC5192).interfaceId || super.supportsInterface(id);
    }

    function mintReceipt(bytes32 asset, address contributor, uint16 share) private {
        uint256 receipt = idOf(asset, contributor);
        if (contributor == address(0) || share == 0 || _ownerOf(receipt) != address(0)) {
            revert WrongContributor(contributor);
        }
        receipts[receipt] = Receipt(asset, contributor, share);
        issued[asset].push(receipt);
        _mint(contributor, receipt);
        emit Issued(asset, contributor, receipt, share);
        emit Locked(receipt);
    }

    /// Transfers that somebody asks for name who asks; minting and following an heir do not.
    function _update(address to, uint256 receipt, address auth) internal override returns (address) {
        if (auth != address(0)) revert Soulbound();
        return super._update(to, receipt, auth);
    }
}
