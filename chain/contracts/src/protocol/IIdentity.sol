// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IDENTITY} from "./Addresses.sol";

/// @title  Who people and agents are.
/// @notice A person's or organisation's id is its account (`did:pkh`, which other resolvers read without this contract). To
///         it belong ed25519 keys, each for a purpose, which can be changed; old ones stay readable with their time, so that
///         what was signed then can be checked now. An agent is a token (ERC-721, in the shape of ERC-8004's identity
///         registry) with the address of its registration file and named metadata.
interface IIdentity {
    /// @notice From `since` on this is the account's key for that purpose; zero: none.
    event KeySet(address indexed account, bytes32 indexed purpose, bytes32 key, uint64 since);
    /// @notice An agent was registered.
    event Registered(uint256 indexed agentId, string agentURI, address indexed owner);
    /// @notice An agent's registration file lies elsewhere now.
    event URIUpdated(uint256 indexed agentId, string newURI, address indexed updatedBy);
    /// @notice An agent's metadata changed.
    event MetadataSet(
        uint256 indexed agentId, string indexed indexedMetadataKey, string metadataKey, bytes metadataValue
    );

    /// @notice The proof is not the key's signature.
    error KeyNotProven(bytes32 key);
    /// @notice Neither the agent's owner nor approved by it.
    error NotTheAgentsOwner(uint256 agentId, address caller);
    /// @notice This name of metadata is not the owner's to set.
    error Reserved(string metadataKey);
    /// @notice A text or value is longer than allowed.
    error TooLong(uint256 length);

    /// @notice Makes `key` the caller's key for `purpose` from now on, instead of the one before.
    /// @param proof the key's signature over `keyDigest(caller, purpose, key, keyCount(caller, purpose))`
    function setKey(bytes32 purpose, bytes32 key, bytes calldata proof) external;
    /// @notice From now on the caller has no key for `purpose`.
    function revokeKey(bytes32 purpose) external;
    /// @notice The account's key for a purpose, or zero.
    function keyOf(address account, bytes32 purpose) external view returns (bytes32);
    /// @notice The same as it was at that time (seconds since 1970).
    function keyAt(address account, bytes32 purpose, uint64 time) external view returns (bytes32);
    /// @notice How often a key was set or revoked.
    function keyCount(address account, bytes32 purpose) external view returns (uint256);
    /// @notice The 32 bytes that a key signs to show that its holder wants this.
    function keyDigest(address account, bytes32 purpose, bytes32 key, uint256 count) external view returns (bytes32);
    /// @notice The account's decentralised identifier, `did:pkh:eip155:…`.
    function didOf(address account) external view returns (string memory);

    /// @notice Registers an agent of the caller.
    function register(string calldata agentURI) external returns (uint256 agentId);
    /// @notice Says where an agent's registration file lies. By its owner.
    function setAgentURI(uint256 agentId, string calldata newURI) external;
    /// @notice Sets one piece of an agent's metadata. By its owner.
    function setMetadata(uint256 agentId, string calldata metadataKey, bytes calldata metadataValue) external;
    /// @notice One piece of an agent's metadata, or nothing.
    function getMetadata(uint256 agentId, string calldata metadataKey) external view returns (bytes memory);
}

IIdentity constant IDENTITIES = IIdentity(IDENTITY);
