// The four kinds of licences, bought and used with ethers alone; and beside each what must not work.
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import {
  AbiCoder, Contract, JsonRpcProvider, NonceManager, TypedDataEncoder, Wallet, ZeroAddress, ZeroHash, concat, getBytes,
  hexlify, id, keccak256, parseEther, toBeHex, toUtf8Bytes, toUtf8String, zeroPadBytes,
} from "ethers";
import { artifact, failure, keys, tell, url } from "./common.mjs";

const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 50, cacheTimeout: -1 });
const { chainId } = await provider.getNetwork();
const [owner, buyer, stranger] = keys.map((key) => new NonceManager(new Wallet(key, provider)));
const [OWNER, BUYER, STRANGER] = [owner, buyer, stranger].map((one) => one.signer.address);
const place = (end) => `0x${end.padStart(40, "0")}`;
const at = (name, end) => new Contract(place(end), artifact(name).abi, owner);
const registry = at("AssetRegistry", "b00");
const licences = at("Licences", "b20");
const revenue = at("Attribution", "b30");
const operators = at("Operators", "b40");
const market = at("InferenceMarket", "b50");

const encode = (types, values) => AbiCoder.defaultAbiCoder().encode(types, values);
const asset = "tuple(uint8 kind,address owner,bytes32 contentRoot,bytes32 graph,bytes32 manifest,string card,bytes32[] parents,uint256[] parentLicences)";
const TERMS = "tuple(uint8 kind,address token,uint128 price,uint128 royalty,uint128 compute,uint64 duration,uint16 revenueShare,bool transferable,uint64 allowance,bytes32 details)";
const DAY = 86_400;
const seen = {};

const done = async (sent) => (await sent).wait();
const refused = async (asked) => {
  const error = await failure(asked);
  return error.revert?.name ?? error.shortMessage;
};
const now = async () => (await provider.getBlock("latest")).timestamp;
/** Time passes, and so many blocks: windows in which somebody has to act last both. */
const pass = async (seconds, blocks = 1) => {
  await provider.send("evm_increaseTime", [seconds]);
  await provider.send("anvil_mine", [`0x${blocks.toString(16)}`]);
};
const WINDOW = 601;

// An owner registers a model: commit, and reveal in a later block.
const model = {
  kind: 0, owner: OWNER, contentRoot: id("weights"), graph: id("graph"), manifest: id("manifest"), card: "ipfs://card",
  parents: [], parentLicences: [],
};
const salt = id("salt");
const commitment = keccak256(encode(["address", "bytes32", "bytes32"], [OWNER, salt, keccak256(encode([asset], [model]))]));
await done(registry.commit(commitment));
await provider.send("evm_mine", []);
seen.squatter = await refused(registry.connect(stranger).register.staticCall(model, salt));
await done(registry.register(model, salt));
const ID = await registry.idOf(OWNER, model.contentRoot);

const plain = {
  kind: 0, token: ZeroAddress, price: 0n, royalty: 0n, compute: 0n, duration: 0n, revenueShare: 0, transferable: false,
  allowance: 0n, details: ZeroHash,
};
const hashOf = (terms) => keccak256(encode(["bytes32", TERMS], [ID, terms]));

/** Offers terms. */
async function offered(terms) {
  await done(licences.offer(ID, terms));
  return hashOf(terms);
}

/** Buys as the buyer does; the licence's number. */
async function bought(terms) {
  const mine = licences.connect(buyer);
  const receipt = await done(mine.buy(ID, await offered(terms), terms.price, 0, BUYER, { value: terms.price }));
  return receipt.logs.map((log) => licences.interface.parseLog(log)).find((log) => log?.name === "Bought").args.licence;
}

// Three operators with a bond and a node's key; the prefix makes 32 bytes a PKCS #8 key.
const members = [1, 2, 3].map((i) => {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, i)]);
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const key = hexlify(createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(-32));
  return { secret, key, wallet: new NonceManager(new Wallet(id(`operator ${i}`), provider)) };
});
const signed = (member, digest) => hexlify(sign(null, getBytes(digest), member.secret));
const accounts = members.map(({ wallet }) => wallet.signer.address);
for (const [i, member] of members.entries()) {
  await done(owner.sendTransaction({ to: accounts[i], value: parseEther("150") }));
  const theirs = operators.connect(member.wallet);
  const proof = signed(member, await operators.proofDigest(accounts[i], member.key));
  await done(theirs.join(member.key, "localhost:1", "here", proof, { value: parseEther("100"), gasLimit: 500_000n }));
  await done(theirs.setQuote(100n, (await now()) + 300 * DAY));
  await done(theirs.allow(ID, true));
}
const committee = {
  asset: ID, manifest: model.manifest, digest: id("committee"), keys: members.map(({ key }) => key), operators: accounts,
  epoch: 1n, from: BigInt(await now()), until: BigInt((await now()) + 300 * DAY),
};
await done(market.seat(committee));
const lane = await market.committeeId(committee);

// A session over a licence, and one call of it.
const session = new Wallet(id("session key"));
const price = 1_000n;
const asker = id("asker");

/** Opens a session as `who`; refused when that must not work. */
async function open(who, licence, nonce, ends) {
  const order = [licence, session.address, asker, [lane], [3n * price], ends ?? (await now()) + 5 * DAY, nonce];
  const mine = market.connect(who);
  await mine.open.staticCall(...order, { value: 3n * price });
  const receipt = await done(mine.open(...order, { value: 3n * price }));
  return receipt.logs.map((log) => market.interface.parseLog(log)).find((log) => log?.name === "Opened").args;
}

/** Settles `number` calls, with the voucher that `sealed` makes of the right one. */
async function settle(opened, number, sealed = (domain, types, value) => session.signTypedData(domain, types, value)) {
  const [name, s] = [opened.session, opened.s.toArray(true)];
  const receipt = {
    job: zeroPadBytes(toBeHex(number, 16), 32), session: name, lane, asset: ID, licence: opened.s.licence,
    sharing: committee.manifest, graph: model.graph, parameters: id("parameters"), request: id("request"),
    output: id("output"), transcript: id("transcript"), previous: ZeroHash, committee: keccak256(concat(committee.keys)),
    epoch: committee.epoch, helper: 2, number, total: BigInt(number) * price, price, time: BigInt(await now()), height: 1n,
  };
  const word = (field) => ({ name: field, type: "bytes32" });
  const types = { Voucher: [word("session"), word("lane"), { name: "total", type: "uint128" }, word("job"), word("request")] };
  const domain = { name: "Sahara Inference Market", version: "1", chainId, verifyingContract: market.target };
  const { total, job, request } = receipt;
  const voucher = await sealed(domain, types, { session: name, lane, total, job, request });
  const fields = Object.entries(receipt).map(([field, value]) => {
    const small = { licence: "uint256", helper: "uint8", total: "uint128", price: "uint128" };
    return { name: field, type: small[field] ?? (typeof value === "string" ? "bytes32" : "uint64") };
  });
  const digest = TypedDataEncoder.hash(
    { ...domain, name: "Sahara Inference Receipt", version: "2" }, { InferenceReceipt: fields }, receipt,
  );
  const signatures = concat(members.map((member) => signed(member, digest)));
  await market.settle.staticCall(s, committee, receipt, voucher, signatures);
  await done(market.settle(s, committee, receipt, voucher, signatures));
}

// API: a price for each call.
const perCall = { ...plain, price: 50n, royalty: 300n, compute: 700n, duration: BigInt(30 * DAY) };
const api = await bought(perCall);
seen.unpaid = await refused(licences.connect(buyer).buy.staticCall(ID, hashOf(perCall), 50n, 0, BUYER, { value: 49n }));
seen.tooDear = await refused(licences.connect(buyer).buy.staticCall(ID, hashOf(perCall), 49n, 0, BUYER, { value: 50n }));
seen.unlicensed = await refused(open(stranger, api, 1n));
const calls = await open(buyer, api, 1n);
seen.forged = await refused(settle(calls, 1, (...what) => new Wallet(id("thief")).signTypedData(...what)));
seen.wrongChain = await refused(
  settle(calls, 1, (domain, ...what) => session.signTypedData({ ...domain, chainId: chainId + 1n }, ...what)),
);
seen.overTheCap = await refused(settle(calls, 4));
await settle(calls, 2);
seen.replayed = await refused(settle(calls, 2));
seen.paid = await market.settled(calls.session, lane);
// The terms change, and the licence keeps its own.
await done(licences.retract(hashOf(perCall)));
await offered({ ...perCall, royalty: 3_000n });
seen.retracted = await refused(licences.connect(buyer).buy.staticCall(ID, hashOf(perCall), 50n, 0, BUYER, { value: 50n }));
seen.keptRoyalty = (await licences.licenceOf(api)).t.royalty;
await settle(calls, 3);

// Long-term: the price vests, and stops with an unanswered complaint.
const term = { ...perCall, kind: 1, price: 1_000n, duration: BigInt(100 * DAY) };
const long = await bought(term);
await settle(await open(buyer, long, 2n), 1);
const idle = await bought(term);
await pass(10 * DAY);
await done(licences.connect(buyer).complain(idle));
seen.tooEarly = await refused(licences.refund.staticCall(idle));
await pass(8 * DAY);
seen.tooFewBlocks = await refused(licences.refund.staticCall(idle));
await pass(1, WINDOW);
await done(licences.refund(idle));
seen.refund = await licences.takeable(BUYER, ZeroAddress);
seen.refundOnce = await refused(licences.refund.staticCall(idle));
await done(licences.connect(buyer).take(ZeroAddress, BUYER));
seen.withdrawnWord = BigInt(
  await provider.getStorage(licences.target, keccak256(encode(["uint256", "uint256"], [idle, 0]))),
) === (await licences.withdrawn(idle));
seen.refundedOpensNothing = await refused(open(buyer, idle, 3n));

// Full access: a key against a price. The second key is wrong.
const secret = "weights, word by word, for whoever has the key";
const cipher = (key, index, bytes) =>
  hexlify(
    bytes.map((byte, i) => {
      const pad = getBytes(keccak256(encode(["bytes32", "uint256", "uint256"], [key, index, Math.floor(i / 32)])));
      return byte ^ pad[i % 32];
    }),
  );

/** A ciphertext of one piece, registered and offered. */
async function sold(key) {
  const piece = cipher(key, 0, toUtf8Bytes(secret));
  const leaf = [0n, keccak256(piece), keccak256(toUtf8Bytes(secret))];
  const root = keccak256(keccak256(encode(["uint256", "bytes32", "bytes32"], leaf)));
  const terms = { ...plain, kind: 2, price: 5_000n, details: root };
  seen.notRegistered = await refused(licences.offer.staticCall(ID, terms));
  await done(registry.setCommitment(ID, await licences.ciphertextScheme(root), root));
  return { piece, root, leaf, licence: await bought(terms), terms };
}
const right = await sold(id("the key"));
const wrong = await sold(id("another key"));
seen.keyOfAStranger = await refused(licences.connect(stranger).open.staticCall(ID, right.root, id("the key")));
await done(licences.open(ID, right.root, id("the key")));
await done(licences.open(ID, wrong.root, id("not this one")));
const { key } = await licences.openingOf(ID, right.root);
seen.deciphered = toUtf8String(cipher(key, 0, getBytes(right.piece))) === secret;
const accused = ({ root, piece, leaf }) => [ID, root, 0n, piece, leaf[2], []];
seen.rightKey = await refused(licences.connect(buyer).disprove.staticCall(...accused(right)));
await done(licences.connect(buyer).disprove(...accused(wrong)));
await done(licences.refund(wrong.licence));
seen.wrongKeyPaidBack = await licences.takeable(BUYER, ZeroAddress);
seen.openIsNotSold = await refused(
  licences.connect(stranger).buy.staticCall(ID, hashOf(right.terms), 5_000n, 0, STRANGER, { value: 5_000n }),
);
await pass(3 * DAY + 1, WINDOW);
await done(licences.collect(right.licence));
seen.delivered = (await licences.moneyOf(right.licence)).collected;

// Partnership: both sign, anybody submits.
const agreed = { ...plain, kind: 3, price: 77n, royalty: 1n, compute: 999n, details: id("our contract") };
const deal = { asset: ID, termsHash: hashOf(agreed), holder: BUYER, nonce: 1n, deadline: BigInt((await now()) + DAY) };
const types = {
  Partnership: [
    { name: "asset", type: "bytes32" }, { name: "termsHash", type: "bytes32" }, { name: "holder", type: "address" },
    { name: "nonce", type: "uint256" }, { name: "deadline", type: "uint64" },
  ],
};
const domain = { name: "Sahara Licences", version: "1", chainId, verifyingContract: licences.target };
const signatures = async (first, second, where = domain) => ({
  ownerSignature: await first.signer.signTypedData(where, types, deal),
  holderSignature: await second.signer.signTypedData(where, types, deal),
});
const partner = (made) => [{ ...deal, ...made }, agreed, { value: 77n }];
const theirs = licences.connect(stranger);
seen.forgedPartner = await refused(theirs.partner.staticCall(...partner(await signatures(stranger, buyer))));
const elsewhere = await signatures(owner, buyer, { ...domain, chainId: chainId + 1n });
seen.partnerElsewhere = await refused(theirs.partner.staticCall(...partner(elsewhere)));
const made = partner(await signatures(owner, buyer));
await done(theirs.partner(...made));
seen.madeTwice = await refused(theirs.partner.staticCall(...made));
seen.partnership = (await licences.licenceOf(6n)).t.details === id("our contract");
await settle(await open(buyer, 6n, 4n), 1);

// Over: the first licence had thirty days.
await pass(30 * DAY);
seen.isUser = [await licences.isUser(api, BUYER), await licences.isUser(long, BUYER)];
seen.expired = await refused(open(buyer, api, 5n));
seen.closedByAnybody = (await done(market.connect(stranger).close(calls.s.toArray(true)))).status;

// The owner takes what came in: the prices, what vested, four royalties of 300 and one of 1.
await done(licences.collect(long));
await pass(2 * DAY);
seen.claimed = await revenue.claimFrom.staticCall([ID]);
seen.vested = (await licences.moneyOf(long)).collected;
await done(revenue.claimFrom([ID]));
seen.claimedTwice = await refused(revenue.claim.staticCall());
tell(seen);
