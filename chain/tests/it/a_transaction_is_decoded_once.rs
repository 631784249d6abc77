//! Bytes become a transaction once: hashed, decoded, its signer recovered. Whatever door they come in by afterwards, and
//! wherever they are proposed, voted on and executed, they are known.

use std::{fs, path::Path};

use alloy_primitives::{Address, Bytes};
use sahara_chain::application::{Application, Check, DecidedBlock, Proposal, Verdict};
use serde_json::json;

use crate::{
    common::{Chain, transfer},
    rpc::Rpc,
};

/// The same bytes as the engine hands them over: elsewhere in memory.
fn copy(tx: &Bytes) -> Bytes {
    Bytes::copy_from_slice(tx)
}

/// Everything that an engine asks about `tx` until a block with it is committed. The times differ, so that no execution
/// is one that is known already.
fn through_consensus(chain: &Chain, tx: &Bytes) {
    let ledger = &chain.ledger;
    for check in [Check::New, Check::Again] {
        assert_eq!(ledger.check_tx(&copy(tx), check).code, 0);
    }
    let (height, seconds) = (chain.driver.height() + 1, chain.driver.time().seconds());
    let txs = [copy(tx)];
    let offer =
        |later| Proposal { height, time: seconds + later, txs: &txs, max_bytes: 100_000, ..Proposal::default() };
    assert_eq!(ledger.prepare(&offer(1)), txs);
    assert_eq!(ledger.process(&offer(2)), Verdict::Accept);
    let block = DecidedBlock { height, time: seconds + 3, txs: vec![copy(tx)], ..DecidedBlock::default() };
    let results = ledger.finalize(&block).unwrap().results;
    assert!(results.iter().all(|result| result.code == 0), "{results:?}");
    ledger.commit().unwrap();
    assert_eq!(ledger.executions(), 3 + height - 1, "proposed, judged and executed apart");
}

#[test]
fn a_transaction_is_decoded_once() {
    let tx = transfer(1, 0, Address::repeat_byte(7), 5);
    let rpc = Rpc::new();
    let hash = rpc.ask("eth_sendRawTransaction", json!([tx]));
    assert_eq!(hash, json!(alloy_primitives::keccak256(&tx)));
    assert_eq!(rpc.refuses("eth_sendRawTransaction", json!([tx])).1, "already known");
    through_consensus(&rpc.chain, &tx);
    assert_eq!(rpc.chain.ledger.decodings(), 1, "by the node that a client gave it to");

    let mut other = Chain::new();
    other.block(&[]);
    through_consensus(&other, &tx);
    assert_eq!(other.ledger.decodings(), 1, "by another validator");

    let mut embedded = Chain::new();
    embedded.block(&[]);
    embedded.ledger.receive(&tx).unwrap();
    assert_eq!(embedded.block(&[]).results.len(), 1);
    assert_eq!(embedded.ledger.decodings(), 1, "under the embedded driver");
}

/// Who hashes bytes on the way of a transaction does again what [`sahara_chain::tx::Tx`] holds.
#[test]
fn nothing_on_the_way_of_a_transaction_hashes_bytes() {
    // Of what a client wants hashed, of what nobody signed, of values and names.
    let others = ["rpc/account.rs", "rpc/supposed.rs"];
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = ["abci", "comet", "ledger", "node", "pool", "rpc"].map(|folder| sources.join(folder)).to_vec();
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&sources).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.contains("test") && !others.contains(&name.as_str()) {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                assert!(!code.contains("keccak256("), "{name} hashes bytes: a transaction's hash is Tx::hash");
                read += 1;
            }
        }
    }
    assert!(read > 50, "{read} files");
}
