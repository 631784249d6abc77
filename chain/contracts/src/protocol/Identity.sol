// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {COMMITTEE} from "../ICommittee.sol";
import {IIdentity} from "./IIdentity.sol";

contract Identity is IIdentity, ERC721("", "") {
    struct Key {
        bytes32 key;
        uint64 since;
    }

    bytes32 private constant PROOF = keccak256("Sahara identity key");
    bytes32 private constant RESERVED = keccak256("agentWallet");
    uint256 private constant LONGEST = 2_048;

    mapping(address account => mapping(bytes32 purpose => Key[])) private keys;
    mapping(uint256 agentId => string) private uris;
    mapping(uint256 agentId => mapping(bytes32 name => bytes)) private metadata;
    uint256 private agents;

    // No constructor runs where this code lies: what ERC721 would have stored is answered here.

    /// @notice The name of the collection of agents.
    function name() public pure override returns (string memory) {
        return "Sahara Agents";
    }

    /// @notice Its symbol.
    function symbol() public pure override returns (string memory) {
        return "AGENT";
    }

    /// @inheritdoc IIdentity
    function setKey(bytes32 purpose, bytes32 key, bytes calldata proof) external {
        Key[] storage history = keys[msg.sender][purpose];
        bytes32[] memory one = new bytes32[](1);
        one[0] = key;
        bytes32 digest = keyDigest(msg.sender, purpose, key, history.length);
        if (key == 0 || !COMMITTEE.verify(digest, one, 1, proof, 1)) revert KeyNotProven(key);
        _push(history, purpose, key);
    }

    /// @inheritdoc IIdentity
    function revokeKey(bytes32 purpose) external {
        _push(keys[msg.sender][purpose], purpose, 0);
    }

    /// @inheritdoc IIdentity
    function keyOf(address account, bytes32 purpose) external view returns (bytes32) {
        return keyAt(account, purpose, uint64(block.timestamp));
    }

    /// @inheritdoc IIdentity
    function keyAt(address account, bytes32 purpose, uint64 time) public view returns (bytes32) {
        Key[] storage history = keys[account][purpose];
        // The first entry after `time`.
        (uint256 low, uint256 high) = (0, history.length);
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (history[middle].since <= time) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? bytes32(0) : history[low - 1].key;
    }

    /// @inheritdoc IIdentity
    function keyCount(address account, bytes32 purpose) external view returns (uint256) {
        return keys[account][purpose].length;
    }

    /// @inheritdoc IIdentity
    function keyDigest(address account, bytes32 purpose, bytes32 key, uint256 count) public view returns (bytes32) {
        return keccak256(abi.encode(PROOF, block.chainid, address(this), account, purpose, key, count));
    }

    /// @inheritdoc IIdentity
    function didOf(address account) external view returns (string memory) {
        string memory chain = Strings.toString(block.chainid);
        return string.concat("did:pkh:eip155:", chain, ":", Strings.toChecksumHexString(account));
    }

    /// @inheritdoc IIdentity
    function register(string calldata agentURI) external returns (uint256 agentId) {
        agentId = ++agents;
        _short(bytes(agentURI).length);
        uris[agentId] = agentURI;
        emit Registered(agentId, agentURI, msg.sender);
        // Not the "safe" form, which would call whoever registers: a contract that asks for an agent can hold one.
        _mint(msg.sender, agentId);
    }

    /// @inheritdoc IIdentity
    function setAgentURI(uint256 agentId, string calldata newURI) external {
        _onlyOwner(agentId);
        _short(bytes(newURI).length);
        uris[agentId] = newURI;
        emit URIUpdated(agentId, newURI, msg.sender);
    }

    /// @inheritdoc IIdentity
    function setMetadata(uint256 agentId, string calldata metadataKey, bytes calldata metadataValue) external {
        _onlyOwner(agentId);
        _short(bytes(metadataKey).length + metadataValue.length);
        // Readers of the standard take this one for an account that agreed to it; here nobody asks that account.
        if (keccak256(bytes(metadataKey)) == RESERVED) revert Reserved(metadataKey);
        metadata[agentId][keccak256(bytes(metadataKey))] = metadataValue;
        emit MetadataSet(agentId, metadataKey, metadataKey, metadataValue);
    }

    /// @inheritdoc IIdentity
    function getMetadata(uint256 agentId, string calldata metadataKey) external view returns (bytes memory) {
        return metadata[agentId][keccak256(bytes(metadataKey))];
    }

    /// @notice Where an agent's registration file lies.
    function tokenURI(uint256 agentId) public view override returns (string memory) {
        _requireOwned(agentId);
        return uris[agentId];
    }

    function _push(Key[] storage history, bytes32 purpose, bytes32 key) private {
        history.push(Key(key, uint64(block.timestamp)));
        emit KeySet(msg.sender, purpose, key, uint64(block.timestamp));
    }

    function _onlyOwner(uint256 agentId) private view {
        if (!_isAuthorized(_requireOwned(agentId), msg.sender, agentId)) revert NotTheAgentsOwner(agentId, msg.sender);
    }

    function _short(uint256 length) private pure {
        if (length > LONGEST) revert TooLong(length);
    }
}
