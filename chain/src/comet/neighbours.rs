//! Asks CometBFT about other nodes.

use std::time::Duration;

use serde_json::{Value, json};

use super::Client;
use crate::rpc::Neighbours;

/// CometBFT answers these questions from memory.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the CometBFT behind `client` knows of other nodes, for a ledger that began at height `began`.
pub async fn ask(client: &Client, began: u64) -> Result<Neighbours, String> {
    let asked = tokio::time::timeout(PATIENCE, async {
        let peers = client.ask("net_info", json!({})).await?;
        let status = client.ask("status", json!({})).await?;
        let syncing = match status["sync_info"]["catching_up"] == true {
            true => Some((began, highest(&client.ask("dump_consensus_state", json!({})).await?))),
            false => None,
        };
        Ok(Neighbours { peers: number(&peers["n_peers"]), syncing })
    });
    asked.await.unwrap_or_else(|_| Err("CometBFT does not answer: is it stopped?".into()))
}

/// The last block that some peer has: it is at work on the one after it.
fn highest(state: &Value) -> u64 {
    let peers = state["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let heights = peers.iter().map(|peer| number(&peer["peer_state"]["round_state"]["height"]));
    heights.max().unwrap_or(0).saturating_sub(1)
}

/// A number as CometBFT writes it.
fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}
