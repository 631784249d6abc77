#!/bin/sh
# Compiles the protocol's contracts and writes their code, as genesis puts it to their addresses, to genesis.json.
# With --check it compares instead, and fails where the file says anything else. Needs `npm install` before.
set -eu
cd "$(dirname "$0")"
set -- "${1:-}" node_modules/@foundry-rs/forge-*/bin/forge
"$2" build src --quiet
node genesis.cjs "$1"
