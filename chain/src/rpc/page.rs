//! What a person sees who opens the address of the node in a browser.

use super::Backend;

/// The page at `GET /`.
pub fn page(backend: &Backend, host: &str) -> String {
    let head = backend.ledger.head();
    let chain = head.as_ref().map_or_else(|| "not known yet".into(), |head| head.params.chain_id.to_string());
    let height = head.as_ref().map_or_else(|| "no block yet".into(), |head| head.height.to_string());
    let kind = match backend.develop {
        None => "",
        Some(_) => "<p>This is a chain for development: its accounts are known to everybody.</p>",
    };
    // The name came with the request: nothing of it but letters of a name is written.
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "[]:.-".contains(*c)).take(100).collect();
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sahara node</title>
<style>body{{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em}}td{{padding:.2em 1em .2em 0}}</style>
</head><body>
<h1>Sahara node</h1>
<p>This is the JSON-RPC of a node of the Sahara chain. Programs ask it with POST; there is nothing to click here.</p>
{kind}
<table>
<tr><td>Chain id</td><td><code>{chain}</code></td></tr>
<tr><td>Symbol</td><td><code>{SYMBOL}</code></td></tr>
<tr><td>Height</td><td><code>{height}</code></td></tr>
<tr><td>RPC URL</td><td><code>http://{host}</code> (WebSocket: <code>ws://{host}</code>)</td></tr>
</table>
<p>To use it from a wallet, add a network by hand with the URL, chain id and symbol above. From a shell:</p>
<pre>curl -H 'Content-Type: application/json' http://{host} \
  -d '{{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}}'
cast block --rpc-url http://{host}</pre>
</body></html>
"#
    )
}

/// How wallets call the token.
pub const SYMBOL: &str = "SAH";
