// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

/// A token of six decimals for tests. Its code needs no constructor: a test writes it, with balances, to an address
/// (`token.hex`, from `forge build` with the settings of `chain/contracts/foundry.toml`).
contract TestToken {
    mapping(address => uint256) public balanceOf; // slot 0
    mapping(address => mapping(address => uint256)) public allowance; // slot 1
    mapping(address => uint256) public nonces; // slot 2
    uint256 public silent; // slot 3: not zero where it knows no permits
    string public constant name = "Test Token";
    string public constant symbol = "TT";
    uint8 public constant decimals = 6;

    error NotPermitted();

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        allowance[from][msg.sender] -= value;
        balanceOf[from] -= value;
        balanceOf[to] += value;
        return true;
    }

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        if (silent != 0) revert NotPermitted();
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
    }

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        bytes32 message = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                owner,
                spender,
                value,
                nonces[owner]++,
                deadline
            )
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", DOMAIN_SEPARATOR(), message));
        if (block.timestamp > deadline || ecrecover(digest, v, r, s) != owner) revert NotPermitted();
        allowance[owner][spender] = value;
    }
}
