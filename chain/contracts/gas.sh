#!/bin/sh
# Measures what each call of the protocol's contracts costs as a transaction of its own, and writes the tables in snapshots/.
# With --check it compares instead, and fails where a table says anything else. Needs `npm install` before.
set -eu
cd "$(dirname "$0")"
check=false
[ "${1:-}" = "--check" ] && check=true
FORGE_SNAPSHOT_CHECK=$check exec node_modules/@foundry-rs/forge-*/bin/forge test --match-contract Gas --quiet
