// Deploys and drives OpenZeppelin's contracts with viem.
import { createPublicClient, createWalletClient, defineChain, http, parseEther, publicActions, webSocket } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { artifact, failure, keys, soon, tell, url } from "./common.mjs";

const chain = defineChain({
  id: 1337,
  name: "Sahara",
  nativeCurrency: { name: "token", symbol: "T", decimals: 18 },
  rpcUrls: { default: { http: [url] } },
});
const [owner, friend] = keys.map((key) => privateKeyToAccount(key));
const options = { chain, pollingInterval: 100 };
const client = createWalletClient({ ...options, account: owner, transport: http(url) }).extend(publicActions);
const seen = { chain: await client.getChainId() };

const receipt = (hash) => client.waitForTransactionReceipt({ hash });
async function deploy(name, args) {
  const { abi, bytecode } = artifact(name);
  const { contractAddress } = await receipt(await client.deployContract({ abi, bytecode, args }));
  return { abi, address: contractAddress };
}
const write = async (call) => receipt(await client.writeContract(call));

// ERC-20, simulated first as the library's guide says.
const token = await deploy("Token", [owner.address, parseEther("1000")]);
const wish = { ...token, functionName: "transfer", args: [friend.address, 25n], account: owner };
const { request, result } = await client.simulateContract(wish);
seen.simulated = result;
const transfer = await write(request);
seen.status = transfer.status;
seen.balance = await client.readContract({ ...token, functionName: "balanceOf", args: [friend.address] });
const refused = await failure(client.simulateContract({ ...wish, args: [friend.address, 2n ** 200n] }));
seen.tooMuch = refused.walk((error) => error.name === "ContractFunctionRevertedError").data.errorName;
const everything = { ...token, eventName: "Transfer", fromBlock: 0n };
seen.events = (await client.getContractEvents(everything)).map((log) => log.args.value);

// ERC-721, and a filter that the node keeps.
const badge = await deploy("Badge", [owner.address]);
const filter = await client.createContractEventFilter({ ...badge, eventName: "Transfer" });
await write({ ...badge, functionName: "mint", args: [friend.address, 7n] });
seen.minted = (await client.getFilterChanges({ filter })).map((log) => log.args.tokenId);
seen.owner = (await client.readContract({ ...badge, functionName: "ownerOf", args: [7n] })) === friend.address;

// Blocks, fees and proofs in the shapes that the library expects.
const block = await client.getBlock({ blockNumber: transfer.blockNumber, includeTransactions: true });
seen.inBlock = block.transactions.some((tx) => tx.hash === transfer.transactionHash && tx.typeHex === "0x2");
const history = await client.getFeeHistory({ blockCount: 4, rewardPercentiles: [25, 75] });
seen.fees = history.baseFeePerGas.length >= 2 && history.baseFeePerGas.every((fee) => fee > 0n);
const proof = await client.getProof({ address: token.address, storageKeys: [`0x${"0".repeat(63)}2`] });
seen.proven = proof.storageProof[0].value;

// One transaction sets the code of an account that it does not belong to (EIP-7702).
const account = privateKeyToAccount(generatePrivateKey());
const authorization = await client.signAuthorization({ account, contractAddress: badge.address });
const hash = await client.sendTransaction({ authorizationList: [authorization], to: friend.address });
seen.delegated = (await receipt(hash)).status;
seen.code = (await client.getCode({ address: account.address })) === `0xef0100${badge.address.slice(2).toLowerCase()}`;

// Over WebSocket.
const pushed = createPublicClient({ chain, transport: webSocket(url.replace("http", "ws")) });
const heights = new Promise((resolve) => pushed.watchBlockNumber({ onBlockNumber: resolve }));
const logs = new Promise((resolve, reject) => {
  pushed.watchContractEvent({ ...token, eventName: "Transfer", onLogs: resolve, onError: reject });
});
// One question and its answer: by then both subscriptions have reached the node.
await pushed.getBlockNumber();
await write({ ...token, functionName: "transfer", args: [friend.address, 99n] });
seen.heard = (await soon(logs, "an event"))[0].args.value;
seen.pushed = (await soon(heights, "a block")) > 0n;
tell(seen);
