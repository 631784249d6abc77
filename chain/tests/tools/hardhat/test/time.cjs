// What tests of contracts do to a local chain: they move time, go back, and act for accounts whose keys they lack. By
// Hardhat's own helpers, and by its methods.
const assert = require("node:assert/strict");
const { ethers } = require("hardhat");
const helpers = require("@nomicfoundation/hardhat-network-helpers");

const send = (method, params = []) => ethers.provider.send(method, params);
const WEEK = 7 * 24 * 3600;

async function deployToken() {
  const [owner, friend] = await ethers.getSigners();
  const token = await (await ethers.deployContract("Token", [owner.address, 500n])).waitForDeployment();
  return { token, owner, friend };
}

describe("a chain under development", () => {
  before(() => send("evm_setAutomine", [true]));

  it("goes forward in time as far as a test wants", async () => {
    const before = await helpers.time.latest();
    await helpers.time.increase(WEEK);
    assert(await helpers.time.latest() >= before + WEEK);
    await helpers.time.increaseTo(before + 2 * WEEK);
    assert.equal(await helpers.time.latest(), before + 2 * WEEK);
    await send("evm_increaseTime", [WEEK]);
    await send("evm_mine");
    assert(await helpers.time.latest() >= before + 3 * WEEK);
    const height = await helpers.time.latestBlock();
    await helpers.mine(10, { interval: 60 });
    assert.equal(await helpers.time.latestBlock(), height + 10);
  });

  it("loads a fixture again and again", async () => {
    for (const amount of [7n, 9n]) {
      const { token, friend } = await helpers.loadFixture(deployToken);
      assert.equal(await token.balanceOf(friend.address), 0n, "nothing of the last round is left");
      await (await token.transfer(friend.address, amount)).wait();
      assert.equal(await token.balanceOf(friend.address), amount);
    }
  });

  it("lets a test act for a contract and make accounts as it needs them", async () => {
    const { token, friend } = await deployToken();
    const address = await token.getAddress();
    await (await token.transfer(address, 20n)).wait();
    await helpers.setBalance(address, 10n ** 18n);
    // With keys in its configuration Hardhat sends for no other account by itself; the node does.
    const remote = new ethers.JsonRpcProvider(process.env.RPC_URL, undefined, { cacheTimeout: -1 });
    await helpers.impersonateAccount(address);
    const contract = await remote.getSigner(address);
    await (await token.connect(contract).transfer(friend.address, 20n)).wait();
    assert.equal(await token.balanceOf(friend.address), 20n);
    await helpers.stopImpersonatingAccount(address);
    await assert.rejects(token.connect(contract).transfer(friend.address, 1n));
    // The development accounts need no key either, for projects that say `accounts: "remote"`.
    const unlocked = await remote.getSigner(1);
    assert.equal(unlocked.address, friend.address);
    await (await token.connect(unlocked).transfer(address, 5n)).wait();
    assert.equal(await token.balanceOf(address), 5n);
    remote.destroy();
    const nobody = "0x00000000000000000000000000000000000000ab";
    await helpers.setCode(nobody, "0x5f545f5260205ff3");
    await helpers.setStorageAt(nobody, 0, 77);
    await helpers.setNonce(nobody, 5);
    assert.equal(BigInt(await ethers.provider.call({ to: nobody })), 77n);
    assert.equal(await ethers.provider.getTransactionCount(nobody), 5);
  });
});
