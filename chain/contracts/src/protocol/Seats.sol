// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {REGISTRY} from "./IAssetRegistry.sol";
import {IInferenceMarket} from "./IInferenceMarket.sol";
import {BONDS} from "./IOperators.sol";
import {BURNT_PART, LONGEST_TERM, MarketBase} from "./MarketBase.sol";
import {LEAST_BOND} from "./Operators.sol";
import {Committee} from "./Types.sol";

/// The market's part that seats committees.
abstract contract Seats is MarketBase {
    /// @inheritdoc IInferenceMarket
    function seat(Committee calldata c) external returns (bytes32 committee) {
        _onlyOwner(c.asset);
        // Encoded anew, so that only clean words have a name here.
        committee = keccak256(abi.encode(c));
        if (committees[committee] != 0) revert SeatedBefore(committee);
        uint256 from = c.from < block.timestamp ? block.timestamp : c.from;
        if (c.until <= from || c.until > block.timestamp + LONGEST_TERM) revert WrongTime(c.until);
        for (uint256 i = 0; i < 3; i++) {
            uint256 next = (i + 1) % 3;
            if (c.operators[i] == c.operators[next]) revert NotDistinct();
            (bytes32 node,) = _serves(c.operators[i], c.asset);
            if (node != c.keys[i]) revert WrongKey(c.operators[i], c.keys[i]);
            _admitted(c.asset, c.operators[i]);
        }
        committees[committee] = from;
        seats[committee] = Seat(c.asset, _root(c), c.until, c.operators);
        _note(c.asset);
        _note(committee);
        emit Seated(committee, c.asset, c);
    }

    /// @inheritdoc IInferenceMarket
    function unseat(Committee calldata c) external {
        bytes32 committee = committeeId(c);
        uint256 word = committees[committee];
        if (word == 0 || word >> 64 != 0) revert NotSeated(committee);
        if (msg.sender != REGISTRY.ownerOf(c.asset) && block.timestamp <= c.until && _good(c)) {
            revert StillGood(committee);
        }
        committees[committee] = word | (block.timestamp << 64);
        emit Unseated(committee);
    }

    /// The committee is seated for this asset until then; each member is bonded, paid what it asks, and right for the consumer.
    function _seatedFor(bytes32 lane, bytes32 asset, uint256 compute, uint256 until, address consumer) internal view {
        uint256 word = committees[lane];
        Seat storage seated = seats[lane];
        bool good = word != 0 && word <= block.timestamp && seated.until >= until && seated.asset == asset;
        if (!good) revert NotSeated(lane);
        // What a member gets of one call, after the fee.
        uint256 offered = (compute - (compute + BURNT_PART - 1) / BURNT_PART) / 3;
        bytes32[3] memory keys;
        for (uint256 i = 0; i < 3; i++) {
            address operator = seated.operators[i];
            uint256 quote;
            (keys[i], quote) = _serves(operator, asset);
            if (quote > offered) revert QuoteTooHigh(operator, quote, offered);
            _admitted(bytes32(uint256(uint160(consumer))), operator);
        }
        if (keccak256(abi.encodePacked(keys)) != seated.keys) revert NotSeated(lane);
    }

    function _admitted(bytes32 scope, address operator) internal view {
        if (!BONDS.admits(scope, operator)) revert NotAdmitted(scope, operator);
    }

    /// An operator that can be relied on for this asset now: its node's key, and what it asks.
    function _serves(address operator, bytes32 asset) internal view returns (bytes32 node, uint256 quote) {
        uint256 bond;
        uint64 until;
        bool willing;
        (node, bond, quote, until, willing) = BONDS.standing(operator, asset);
        if (bond < LEAST_BOND) revert NotBonded(operator, bond);
        if (!willing) revert NotWilling(operator, asset);
        if (until <= block.timestamp) revert NoQuote(operator, until);
    }

    /// Whether each member still has its bond, and the key with which it was seated.
    function _good(Committee calldata c) internal view returns (bool) {
        for (uint256 i = 0; i < 3; i++) {
            (bytes32 node, uint256 bond,,,) = BONDS.standing(c.operators[i], c.asset);
            if (bond < LEAST_BOND || node != c.keys[i]) return false;
        }
        return true;
    }
}
