// OpenZeppelin's contracts in Hardhat's test runner, on the network that the command line names.
const assert = require("node:assert/strict");
const { ethers, network } = require("hardhat");

/** The call must fail with this error of the contract. */
async function refuses(call, contract, name) {
  const { selector } = contract.interface.getError(name);
  await assert.rejects(call, (error) => JSON.stringify([error.data, error.message]).includes(selector));
}

/** A contract that is there. */
async function deploy(name, ...args) {
  return (await ethers.deployContract(name, args)).waitForDeployment();
}

describe("OpenZeppelin on a running node", () => {
  it("mints, transfers and refuses ERC-20 tokens", async () => {
    assert.equal(network.name, "sahara");
    const [owner, friend] = await ethers.getSigners();
    const token = await deploy("Token", owner.address, 1000n);
    await (await token.transfer(friend.address, 25n)).wait();
    await (await token.mint(friend.address, 5n)).wait();
    assert.equal(await token.balanceOf(friend.address), 30n);
    assert.equal(await token.totalSupply(), 1005n);
    await refuses(token.transfer(friend.address, 10_000n), token, "ERC20InsufficientBalance");
    const events = await token.queryFilter("Transfer", 0);
    assert.deepEqual(events.map((event) => event.args.value), [1000n, 25n, 5n]);
  });

  it("mints ERC-721 tokens by role and moves them", async () => {
    const [owner, friend] = await ethers.getSigners();
    const badge = await deploy("Badge", owner.address);
    await (await badge.mint(owner.address, 1n)).wait();
    await (await badge.transferFrom(owner.address, friend.address, 1n)).wait();
    assert.equal(await badge.ownerOf(1n), friend.address);
    await refuses(badge.connect(friend).mint(friend.address, 2n), badge, "AccessControlUnauthorizedAccount");
  });

  it("reads stake through the native contract", async () => {
    const abi = ["function validatorCount() view returns (uint256)"];
    const staking = new ethers.Contract("0x0000000000000000000000000000000000000a10", abi, ethers.provider);
    assert.equal(await staking.validatorCount(), 1n);
  });
});
