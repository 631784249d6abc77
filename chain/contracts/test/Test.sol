// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// The cheat codes that these tests and scripts use. forge answers them at a fixed address.
interface Vm {
    function assertEq(bytes32 left, bytes32 right) external pure;
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(address left, address right) external pure;
    function assertTrue(bool condition) external pure;
    function assertFalse(bool condition) external pure;
    function assume(bool condition) external pure;
    function chainId(uint256 id) external;
    function envOr(string calldata name, address otherwise) external view returns (address);
    function expectRevert() external;
    function prank(address sender) external;
    function skip(bool really) external;
    function startBroadcast() external;
    function stopBroadcast() external;
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// forge takes contracts with this mark for tests.
abstract contract Test {
    bool public constant IS_TEST = true;
}

/// forge takes contracts with this mark for scripts.
abstract contract Script {
    bool public constant IS_SCRIPT = true;
}
