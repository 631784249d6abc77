// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// What three share nodes say they have done together, and what it costs. They sign it before the answer is let go, so that
/// an answer exists only where the claim to be paid exists.
struct InferenceReceipt {
    /// The job, by the share nodes' name for it: 16 bytes, left-aligned.
    bytes32 job;
    /// For what it was done: a session of the market, or one request of a contract.
    bytes32 session;
    /// The committee's id at the market.
    bytes32 lane;
    /// The asset, and the licence under which it was asked.
    bytes32 asset;
    uint256 licence;
    /// Digest of the sharing's manifest.
    bytes32 sharing;
    /// Identity of the integer graph that was evaluated.
    bytes32 graph;
    /// keccak256 of what else decides the answer: rounding, and who had which part.
    bytes32 parameters;
    /// keccak256 of both evaluators' commitments to the input.
    bytes32 request;
    /// keccak256 of both evaluators' commitments to the answer.
    bytes32 output;
    /// Digest of the transcript that the evaluators agree on: what a dispute would replay.
    bytes32 transcript;
    /// Digest of this lane's receipt before this one, or zero.
    bytes32 previous;
    /// Hash of the committee's keys: see `InferenceReceipts.committeeRoot`.
    bytes32 committee;
    /// Which of the committee's terms it was.
    uint64 epoch;
    /// Which member was the helper: 0, 1 or 2.
    uint8 helper;
    /// 1, 2, 3 … in this session and lane.
    uint64 number;
    /// What this session owes this lane with this job, in the smallest unit.
    uint128 total;
    /// What this job costs.
    uint128 price;
    /// When it was asked, in seconds since 1970.
    uint64 time;
    /// The height of the chain that the proposing evaluator believed.
    uint64 height;
}

/// @title  The digest that the members of a committee sign.
/// @notice EIP-712, bound to one chain and to the contract that settles the receipt. `COMMITTEE.verifyReceipt` computes
///         the same by itself; this is for contracts that keep the digest, and for comparison.
library InferenceReceipts {
    bytes32 internal constant TYPE = keccak256(
        "InferenceReceipt(bytes32 job,bytes32 session,bytes32 lane,bytes32 asset,uint256 licence,bytes32 sharing,"
        "bytes32 graph,bytes32 parameters,bytes32 request,bytes32 output,bytes32 transcript,bytes32 previous,"
        "bytes32 committee,uint64 epoch,uint8 helper,uint64 number,uint128 total,uint128 price,uint64 time,uint64 height)"
    );
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("Sahara Inference Receipt");
    bytes32 private constant VERSION = keccak256("2");

    /// @notice The digest of `receipt`, to be settled by `market` on the chain with `chainId`.
    function digest(InferenceReceipt memory receipt, uint256 chainId, address market) internal pure returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPE, NAME, VERSION, chainId, market));
        return keccak256(abi.encodePacked(hex"1901", domain, hash(receipt)));
    }

    /// @notice The digest of `receipt`, to be settled by this contract on this chain.
    function digest(InferenceReceipt memory receipt) internal view returns (bytes32) {
        return digest(receipt, block.chainid, address(this));
    }

    /// @notice The same for a receipt that came with a call, cheaper: its words are hashed as they lie there. A number that is
    ///         too large for its field has a digest that nobody signs.
    function digestOf(InferenceReceipt calldata receipt) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPE, NAME, VERSION, block.chainid, address(this)));
        bytes32 type_ = TYPE;
        bytes32 struct_;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, type_)
            calldatacopy(add(free, 0x20), receipt, 0x280)
            struct_ := keccak256(free, 0x2a0)
        }
        return keccak256(abi.encodePacked(hex"1901", domain, struct_));
    }

    /// @notice EIP-712's `hashStruct`.
    function hash(InferenceReceipt memory receipt) internal pure returns (bytes32) {
        return keccak256(abi.encode(TYPE, receipt));
    }

    /// @notice One hash over the ed25519 keys of a committee, in their order.
    function committeeRoot(bytes32[] memory keys) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(keys));
    }
}
