// What the scripts share: where the node is, accounts that can pay, compiled contracts, and how a script answers.
import { readFileSync } from "node:fs";

export const url = process.env.RPC_URL;
export const keys = process.env.KEYS.split(",");

/** ABI and bytecode of a contract that forge compiled. */
export function artifact(name) {
  const { abi, bytecode } = JSON.parse(readFileSync(`out/${name}.sol/${name}.json`, "utf8"));
  return { abi, bytecode: bytecode.object };
}

/** The error of something that must fail. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("this should have failed");
}

/** Prints what the script has seen, for the test to judge, and ends: open sockets do not keep it. */
export function tell(seen) {
  const plain = (_, value) => (typeof value === "bigint" ? value.toString() : value);
  process.stdout.write(`${JSON.stringify(seen, plain)}\n`, () => process.exit(0));
}

/** A promise that gives up after a minute. */
export function soon(promise, what) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`waited a minute for ${what}`)), 60_000));
  return Promise.race([promise, late]);
}
