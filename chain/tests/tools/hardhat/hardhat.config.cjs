// Hardhat on a running node. The compiler is npm's solc: nothing is downloaded.
const { subtask } = require("hardhat/config");
const { TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD } = require("hardhat/builtin-tasks/task-names");
require("@nomicfoundation/hardhat-ethers");

const version = "0.8.37";
subtask(TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD, async () => ({
  version,
  longVersion: require("solc").version(),
  compilerPath: require.resolve("solc/soljson.js"),
  isSolcJs: true,
}));

module.exports = {
  solidity: { version, settings: { evmVersion: "osaka", optimizer: { enabled: true, runs: 200 } } },
  networks: { sahara: { url: process.env.RPC_URL ?? "http://127.0.0.1:8545", accounts: process.env.KEYS?.split(",") } },
  paths: {
    root: "..",
    sources: "./test/fixtures",
    tests: "./hardhat/test",
    cache: "./hardhat/cache",
    artifacts: "./hardhat/artifacts",
  },
  mocha: { timeout: 120_000 },
};
