// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

// What the protocol's contracts, the program and the share nodes mean by the same words. Names (ids) are hashes of these
// structures, so that a field can be neither added nor moved without naming everything anew.
// The receipt of a job is in ../InferenceReceipts.sol.

/// What an asset is.
enum AssetKind {
    Model,
    Dataset,
    Adapter,
    Agent
}

/// What an owner registers. Its id is `keccak256(abi.encode(chainid, registry, owner, contentRoot))`.
struct Asset {
    AssetKind kind;
    /// Who registers it, and whose it is from then on.
    address owner;
    /// Commitment to the content.
    bytes32 contentRoot;
    /// Identity of the integer graph, for what can be evaluated; else zero.
    bytes32 graph;
    /// Digest of the sharing's manifest, or zero.
    bytes32 manifest;
    /// Where the card (a description for people) lies.
    string card;
    /// What it is derived from.
    bytes32[] parents;
    /// For each parent, a licence that allows to derive from it.
    uint256[] parentLicences;
}

/// For what a licence is good, and for how much. `termsHash` is `keccak256(abi.encode(asset, terms))`.
struct Terms {
    /// One of the `KIND_` constants.
    uint8 kind;
    /// In what `price` is paid: a token that the owner lists, or zero for the native coin.
    address token;
    /// Paid once, at the purchase.
    uint128 price;
    /// For the owner, each call, in the smallest unit of the native coin.
    uint128 royalty;
    /// For the committee, each call, in the smallest unit of the native coin.
    uint128 compute;
    /// Seconds from the purchase; zero for ever.
    uint64 duration;
    /// Hundredths of a percent of a derived asset's revenue that go to this asset; zero: nothing may be derived.
    uint16 revenueShare;
    /// Whether the holder may pass the licence on.
    bool transferable;
    /// A budget in the asset's own unit, for those who spend it (calls, or privacy loss); zero for none.
    uint64 allowance;
    /// Full access: root of the ciphertext. Partnership: hash of what both signed. Else whatever the owner wants bound.
    bytes32 details;
}

uint8 constant KIND_API = 0;
uint8 constant KIND_LONG_TERM = 1;
uint8 constant KIND_FULL_ACCESS = 2;
uint8 constant KIND_PARTNERSHIP = 3;

// All of it, in hundredths of a percent.
uint16 constant ALL = 10_000;
// When a licence without an end ends.
uint64 constant FOR_EVER = type(uint64).max;

/// Three operators that hold one sharing. Its id (a session's "lane") is `keccak256(abi.encode(committee))`.
struct Committee {
    bytes32 asset;
    /// Digest of the sharing's manifest.
    bytes32 manifest;
    /// The share nodes' own digest of this committee.
    bytes32 digest;
    /// The members' ed25519 keys, in the order of that digest.
    bytes32[3] keys;
    /// The members' accounts, in the same order.
    address[3] operators;
    uint64 epoch;
    /// Seconds since 1970.
    uint64 from;
    uint64 until;
}

/// What a consumer agreed with the market. Its id is `keccak256(abi.encode(chainid, market, session))`.
struct Session {
    uint256 licence;
    bytes32 asset;
    /// Who paid, and gets back what is left.
    address consumer;
    /// Whose secp256k1 signature makes a voucher.
    address signer;
    /// The ed25519 key with which the consumer asks the nodes.
    bytes32 asker;
    uint128 royalty;
    uint128 compute;
    uint64 ends;
    /// How many calls may be unreceipted at a time.
    uint32 inFlight;
    /// Ids of committees, and how much may be spent at each.
    bytes32[] lanes;
    uint128[] caps;
    uint256 nonce;
}
