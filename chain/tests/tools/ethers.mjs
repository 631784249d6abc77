// Deploys and drives OpenZeppelin's contracts with ethers.
import { Contract, ContractFactory, JsonRpcProvider, NonceManager, Signature, Wallet, WebSocketProvider, parseEther } from "ethers";
import { artifact, failure, keys, soon, tell, url } from "./common.mjs";

// Blocks come faster here than the quarter of a second for which ethers remembers answers.
const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 100, cacheTimeout: -1 });
const [owner, friend, stranger] = keys.map((key) => new Wallet(key, provider));
const seen = { chain: (await provider.getNetwork()).chainId };

async function deploy(name, ...args) {
  const { abi, bytecode } = artifact(name);
  const contract = await new ContractFactory(abi, bytecode, owner).deploy(...args);
  return contract.waitForDeployment();
}

// ERC-20: supply, transfers, an approved spender, a signed permit, and refusals that name their error.
const token = await deploy("Token", owner.address, parseEther("1000"));
const transfer = await (await token.transfer(friend.address, 25n)).wait();
seen.transferred = token.interface.parseLog(transfer.logs[0]).args.value;
seen.balance = await token.balanceOf(friend.address);
await (await token.approve(stranger.address, 10n)).wait();
await (await token.connect(stranger).transferFrom(owner.address, friend.address, 10n)).wait();
seen.spent = await token.balanceOf(friend.address);
seen.tooMuch = (await failure(token.connect(stranger).transfer.staticCall(owner.address, 1n))).revert.name;
seen.notOwner = (await failure(token.connect(friend).mint.staticCall(friend.address, 1n))).revert.name;

const deadline = 2n ** 63n;
const domain = { name: "Test Token", version: "1", chainId: seen.chain, verifyingContract: await token.getAddress() };
const fields = ["owner address", "spender address", "value uint256", "nonce uint256", "deadline uint256"];
const types = { Permit: fields.map((field) => ({ name: field.split(" ")[0], type: field.split(" ")[1] })) };
const permit = { owner: friend.address, spender: stranger.address, value: 7n, nonce: 0n, deadline };
const { v, r, s } = Signature.from(await friend.signTypedData(domain, types, permit));
await (await token.permit(friend.address, stranger.address, 7n, deadline, v, r, s)).wait();
seen.permitted = await token.allowance(friend.address, stranger.address);

// ERC-721 with roles.
const badge = await deploy("Badge", owner.address);
await (await badge.mint(friend.address, 7n)).wait();
seen.badge = (await badge.ownerOf(7n)) === friend.address;
seen.noRole = (await failure(badge.connect(friend).mint.staticCall(friend.address, 8n))).revert.name;
seen.erc721 = await badge.supportsInterface("0x80ac58cd");

// Logs, blocks with their transactions, and what a receipt says.
const events = await token.queryFilter(token.filters.Transfer(null, friend.address), 0, "latest");
seen.events = events.map((event) => event.args.value);
const block = await provider.getBlock(transfer.blockNumber, true);
seen.inBlock = block.prefetchedTransactions.some((tx) => tx.hash === transfer.hash);
const fee = await provider.getFeeData();
seen.fees = fee.maxFeePerGas > fee.maxPriorityFeePerGas && transfer.fee === transfer.gasUsed * transfer.gasPrice;
seen.code = (await provider.getCode(token)).length > 1000;

// Every kind of transaction, many at once, and Ethereum's words for what cannot be.
const to = Wallet.createRandom().address;
const many = new NonceManager(stranger);
const waiting = await Promise.all(Array.from({ length: 10 }, () => many.sendTransaction({ to, value: 1n })));
await Promise.all(waiting.map((tx) => tx.wait()));
await (await friend.sendTransaction({ to, value: 1n, type: 0 })).wait();
const accessList = [{ address: to, storageKeys: [] }];
await (await friend.sendTransaction({ to, value: 1n, type: 1, accessList })).wait();
seen.received = await provider.getBalance(to);
const authorization = await friend.authorize({ address: await badge.getAddress(), nonce: (await friend.getNonce()) });
await (await owner.sendTransaction({ to, type: 4, authorizationList: [authorization] })).wait();
seen.delegated = (await provider.getCode(friend.address)).startsWith("0xef0100");
seen.nonce = (await failure(owner.sendTransaction({ to, nonce: 0 }))).code;
seen.poor = (await failure(Wallet.createRandom(provider).sendTransaction({ to, value: 1n, gasLimit: 21_000n }))).code;

// Over WebSocket: new blocks and events as they come.
const pushed = new WebSocketProvider(url.replace("http", "ws"));
const heard = new Promise((resolve) => {
  new Contract(token.target, token.interface, pushed).once("Transfer", (_from, _to, value) => resolve(value));
});
const height = new Promise((resolve) => pushed.once("block", resolve));
await pushed.getBlockNumber();
await (await token.transfer(friend.address, 99n)).wait();
seen.heard = await soon(heard, "an event");
seen.pushed = (await soon(height, "a block")) > 0;
tell(seen);
