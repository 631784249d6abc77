// A committee signs an inference receipt, and a contract settles it. ethers and viem compute the digest independently.
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { Contract, ContractFactory, JsonRpcProvider, TypedDataEncoder, Wallet, concat, keccak256 } from "ethers";
import { hashTypedData } from "viem";
import { artifact, failure, keys, tell, url } from "./common.mjs";

const primaryType = "InferenceReceipt";
const fields = {
  job: "bytes32", session: "bytes32", lane: "bytes32", asset: "bytes32", licence: "uint256", sharing: "bytes32",
  graph: "bytes32", parameters: "bytes32", request: "bytes32", output: "bytes32", transcript: "bytes32",
  previous: "bytes32", committee: "bytes32", epoch: "uint64", helper: "uint8", number: "uint64", total: "uint128",
  price: "uint128", time: "uint64", height: "uint64",
};
const types = { [primaryType]: Object.entries(fields).map(([name, type]) => ({ name, type })) };

/** The digest, which both libraries must agree on. */
function digest(message, chainId, verifyingContract) {
  const domain = { name: "Sahara Inference Receipt", version: "2", chainId, verifyingContract };
  const ours = TypedDataEncoder.hash(domain, types, message);
  if (ours !== hashTypedData({ domain, types, primaryType, message })) throw new Error("ethers and viem differ");
  return ours;
}

const word = (byte) => `0x${byte.toString(16).padStart(2, "0").repeat(32)}`;
const market = `0x${"11".repeat(20)}`;
const of = (value) => Object.fromEntries(Object.entries(fields).map(([name, type], i) => [name, value(type, i)]));
const bits = (type) => BigInt(type.replace(/[a-z]+/, ""));
const empty = of((type) => (type === "bytes32" ? word(0) : 0n));
const example = of((type, i) => (type === "bytes32" ? word(i + 1) : type === "uint256" ? BigInt(word(i + 1)) : BigInt(i + 1)));
Object.assign(example, { helper: 2n, total: 3n * 10n ** 18n, price: 10n ** 18n, time: 1_700_000_000n });
const most = 2n ** 64n - 1n;
const largest = of((type, i) => (type === "bytes32" ? word(i + 1) : 2n ** bits(type) - 1n));
const seen = {
  digests: [digest(empty, 1337n, market), digest(example, 1337n, market), digest(largest, most, `0x${"ff".repeat(20)}`)],
};

// Three members with ed25519 keys; the prefix makes 32 bytes a PKCS #8 key.
const members = [1, 2, 3].map((i) => {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, i)]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
});
const committee = members.map((member) => {
  const der = createPublicKey(member).export({ format: "der", type: "spki" });
  return `0x${der.subarray(-32).toString("hex")}`;
});
const signed = (which, bytes) =>
  concat(which.map((i) => sign(null, Buffer.from(bytes.slice(2), "hex"), members[i])));

const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 100, cacheTimeout: -1 });
const wallet = new Wallet(keys[0], provider);
const { abi, bytecode } = artifact("ReceiptBook");
const book = await (await new ContractFactory(abi, bytecode, wallet).deploy(committee, 2)).waitForDeployment();
const receipt = { ...example, committee: keccak256(concat(committee)) };
const here = digest(receipt, 1337n, book.target);

// What does not hold is refused, with the reason.
const refused = async (...args) => (await failure(book.settle.staticCall(...args))).revert.name;
seen.oneSigner = await refused(receipt, committee, 0b001n, signed([0], here));
seen.wrongOrder = await refused(receipt, committee, 0b011n, signed([1, 0], here));
seen.otherPrice = await refused({ ...receipt, price: 1n }, committee, 0b011n, signed([0, 1], here));
const elsewhere = digest(receipt, 1337n, market);
seen.otherMarket = await refused(receipt, committee, 0b011n, signed([0, 1], elsewhere));
const reason = async (...args) => (await failure(book.settle.staticCall(...args))).reason;
seen.otherKeys = await reason(receipt, committee.slice(0, 2), 0b011n, signed([0, 1], here));
seen.twice = await reason({ ...receipt }, [committee[0], committee[0], committee[2]], 0n, "0x");
seen.malformed = await reason(receipt, committee, 0b011n, signed([0], here));
const direct = new Contract("0x0000000000000000000000000000000000000a00", artifact("ICommittee").abi, wallet);
const paid = { to: direct.target, value: 1n, data: direct.interface.encodeFunctionData("verify", [here, [], 0, "0x", 1]) };
seen.takesNoValue = (await failure(provider.call({ ...paid, from: wallet.address }))).reason;
seen.delegated = (await failure(book.delegated.staticCall(paid.data))).reason;

// What holds is settled, once; the library in Solidity means the same bytes as the native contract.
seen.library = await book.digestHolds(receipt, committee, 0b110n, signed([1, 2], here));
const done = await (await book.settle(receipt, committee, 0b101n, signed([0, 2], here))).wait();
seen.event = book.interface.parseLog(done.logs[0]).args.job;
seen.settled = (await book.settled(receipt.job)) === here;
seen.gas = done.gasUsed;
seen.again = await refused(receipt, committee, 0b101n, signed([0, 2], here));
tell(seen);
