// What genesis.sh runs after the build: collects the code of the protocol's contracts from forge's output.
"use strict";
const fs = require("node:fs");
const { keccak256 } = require("js-sha3");

const FILE = "genesis.json";
const LARGEST = 24_576;

const addresses = Object.fromEntries(
  [...fs.readFileSync("src/protocol/Addresses.sol", "utf8").matchAll(/address constant (\w+) = address\((0x[0-9a-f]+)\);/g)]
    .map(([, name, address]) => [name, `0x${address.slice(2).padStart(40, "0")}`]),
);
const file = (name) => `out/${name}.sol/${name}.json`;
const contractName = (constant) => constant.toLowerCase().replace(/(?:^|_)(\w)/g, (_, letter) => letter.toUpperCase());

function entry(constant) {
  const name = contractName(constant);
  const { abi, deployedBytecode } = JSON.parse(fs.readFileSync(file(name), "utf8"));
  const code = deployedBytecode.object;
  const size = (code.length - 2) / 2;
  const refuse = (why) => {
    throw new Error(`${name} cannot be put into genesis: ${why}`);
  };
  if (abi.some((item) => item.type === "constructor")) refuse("its constructor would never run");
  if (Object.keys(deployedBytecode.immutableReferences ?? {}).length) refuse("it has immutables, which nobody would set");
  if (Object.keys(deployedBytecode.linkReferences ?? {}).length || !/^0x[0-9a-f]+$/.test(code)) refuse("it is not linked");
  if (size > LARGEST) refuse(`its code has ${size} bytes, of ${LARGEST} that are allowed`);
  return { name, address: addresses[constant], code, codeHash: `0x${keccak256(Buffer.from(code.slice(2), "hex"))}` };
}

const known = Object.keys(addresses).filter((constant) => fs.existsSync(file(contractName(constant))));
const entries = known.map(entry).sort((a, b) => (a.address < b.address ? -1 : 1));
const text = `${JSON.stringify(entries, null, 2)}\n`;
if (process.argv[2] !== "--check") {
  fs.writeFileSync(FILE, text);
} else if (!fs.existsSync(FILE) || fs.readFileSync(FILE, "utf8") !== text) {
  process.stderr.write(`${FILE} is not what the sources compile to: run genesis.sh and commit what it writes\n`);
  process.exitCode = 1;
}
