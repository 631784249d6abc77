#!/usr/bin/env node
// Lets forge use npm's solc as if it were the native compiler: answers `--version` and `--standard-json`.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const soljson = require("solc");

const args = process.argv.slice(2);
const option = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);

function main() {
  if (args.includes("--version")) {
    // "0.8.37+commit.1234abcd.Emscripten.clang": forge wants the name of a native platform at the end.
    const version = soljson.version().replace("Emscripten.clang", "Linux.g++");
    return print(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
  }
  if (!args.includes("--standard-json")) {
    process.stderr.write("solc.cjs answers --version and --standard-json only\n");
    process.exitCode = 2;
    return;
  }
  const folders = [option("--base-path") ?? process.cwd(), option("--include-path")].filter(Boolean);
  print(soljson.compile(fs.readFileSync(0, "utf8"), { import: (file) => read(folders, file) }));
}

// forge hands in every source; this serves what it leaves to the compiler.
function read(folders, file) {
  const found = folders.map((folder) => path.resolve(folder, file)).find((candidate) => fs.existsSync(candidate));
  return found ? { contents: fs.readFileSync(found, "utf8") } : { error: `file not found: ${file}` };
}

// Standard output may be a pipe, which takes large answers in pieces.
function print(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

main();
