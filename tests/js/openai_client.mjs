// Drives the unmodified OpenAI client for JavaScript against a gateway; prints what it saw as one JSON object.
//
// usage: node openai_client.mjs BASE_URL MODEL < JSON list of texts

import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const texts = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0, timeout: 300_000 });

const refusal = async (call) => {
  try {
    await call();
    return { status: 200, param: null, kind: null };
  } catch (error) {
    return { status: error.status, param: error.param ?? null, kind: error.constructor.name };
  }
};

const defaults = await client.embeddings.create({ model, input: texts }); // the client asks for base64 and decodes it
const floats = await client.embeddings.create({ model, input: texts, encoding_format: "float" });
const models = [];
for await (const entry of client.models.list()) models.push(entry.id);
console.log(
  JSON.stringify({
    default: defaults.data.map((entry) => entry.embedding),
    floats: floats.data.map((entry) => entry.embedding),
    usage: floats.usage,
    models,
    refusals: {
      empty: await refusal(() => client.embeddings.create({ model, input: ["fine", ""] })),
      model: await refusal(() => client.embeddings.create({ model: "no-such-model", input: "x" })),
      prompt: await refusal(() => client.embeddings.create({ model, input: "x", prompt_name: "query" })),
    },
  }),
);
