// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// What a committee says it has done, and what it asks for it.
struct InferenceReceipt {
    /// The job, by the name that its market gave it.
    bytes32 job;
    /// Identity of the integer graph that was evaluated.
    bytes32 graph;
    /// Commitment to the weights.
    bytes32 weights;
    /// Salted commitment to the input.
    bytes32 input;
    /// Salted commitment to the answer.
    bytes32 output;
    /// Digest of the transcript that the evaluators agree on: what a dispute would replay.
    bytes32 transcript;
    /// Hash of the committee's keys: see `InferenceReceipts.committeeRoot`.
    bytes32 committee;
    /// Which of the committee's terms it was.
    uint64 epoch;
    /// What the job costs, in the smallest unit.
    uint256 price;
    /// When the answer was given, in seconds since 1970.
    uint64 time;
}

/// @title  The digest that the members of a committee sign.
/// @notice EIP-712, bound to one chain and to the contract that settles the receipt. `COMMITTEE.verifyReceipt` computes
///         the same by itself; this is for contracts that keep the digest, and for comparison.
library InferenceReceipts {
    bytes32 internal constant TYPE = keccak256(
        "InferenceReceipt(bytes32 job,bytes32 graph,bytes32 weights,bytes32 input,bytes32 output,"
        "bytes32 transcript,bytes32 committee,uint64 epoch,uint256 price,uint64 time)"
    );
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("Sahara Inference Receipt");
    bytes32 private constant VERSION = keccak256("1");

    /// @notice The digest of `receipt`, to be settled by `market` on the chain with `chainId`.
    function digest(InferenceReceipt memory receipt, uint256 chainId, address market) internal pure returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPE, NAME, VERSION, chainId, market));
        return keccak256(abi.encodePacked(hex"1901", domain, hash(receipt)));
    }

    /// @notice The digest of `receipt`, to be settled by this contract on this chain.
    function digest(InferenceReceipt memory receipt) internal view returns (bytes32) {
        return digest(receipt, block.chainid, address(this));
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
