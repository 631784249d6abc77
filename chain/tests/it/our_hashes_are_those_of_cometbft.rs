//! The hashes by which the embedded driver makes headers and commits are checked against blocks of a real CometBFT.

use alloy_primitives::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use sahara_chain::{
    application::TxResult,
    beacon::Item,
    consensus::{Commit, Header, hashes},
    validator::{ConsensusKey, ValidatorUpdate},
};
use serde_json::{Value, json};

use crate::{
    common::{Chain, key, transfer},
    network::{Network, ask},
};

#[test]
fn our_hashes_are_those_of_cometbft() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path(), 1);
    network.wait_for_height(0, 4);
    let url = &network.validators[0].comet_rpc;
    let signed = ask(url, "commit", json!({ "height": "3" })).unwrap();
    let header: Header = serde_json::from_value(signed["signed_header"]["header"].clone()).unwrap();
    let commit: Commit = serde_json::from_value(signed["signed_header"]["commit"].clone()).unwrap();
    let id = commit.block_id.clone().unwrap();
    assert_eq!(hashes::header(&header).to_vec(), id.hash);

    let next = ask(url, "commit", json!({ "height": "4" })).unwrap();
    let next: Header = serde_json::from_value(next["signed_header"]["header"].clone()).unwrap();
    let stored: Value = ask(url, "block", json!({ "height": "4" })).unwrap();
    let last: Commit = serde_json::from_value(stored["block"]["last_commit"].clone()).unwrap();
    assert_eq!(hashes::commit(&last).to_vec(), next.last_commit_hash);
    // Each block has what its proposer shows for the beacon, and nothing else.
    let shown = |block: &Value| -> Vec<Vec<u8>> {
        let txs = block["block"]["data"]["txs"].as_array().unwrap();
        txs.iter().map(|tx| STANDARD.decode(tx.as_str().unwrap()).unwrap()).collect()
    };
    assert_eq!(hashes::data(&shown(&stored)).to_vec(), next.data_hash);
    let before = shown(&ask(url, "block", json!({ "height": "3" })).unwrap());
    let item = Item::decode(&before[0]).unwrap();
    let data = Bytes::copy_from_slice(item.preimage.as_slice());
    let result = TxResult { code: 0, reason: String::new(), gas_wanted: 0, gas_used: 0, data };
    assert_eq!(before.len(), 1);
    assert_eq!(hashes::results(&[result]).to_vec(), next.last_results_hash);

    let validators = ask(url, "validators", json!({ "height": "3" })).unwrap();
    let one = &validators["validators"][0];
    let bytes: [u8; 32] = STANDARD.decode(one["pub_key"]["value"].as_str().unwrap()).unwrap().try_into().unwrap();
    let power = one["voting_power"].as_str().unwrap().parse().unwrap();
    let update = ValidatorUpdate { key: ConsensusKey(bytes.into()), power };
    assert_eq!(hashes::validators(&[update]).to_vec(), header.validators_hash);
    assert_eq!(update.key.address().0.to_vec(), header.proposer_address);

    let vote = &commit.signatures[0];
    let message = hashes::precommit(&header.chain_id, 3, commit.round, &id, vote.timestamp.unwrap());
    let signature = Signature::from_slice(&vote.signature).unwrap();
    VerifyingKey::from_bytes(&bytes).unwrap().verify_strict(&message, &signature).unwrap();
    network.stop();
}

#[test]
fn embedded_blocks_are_signed_and_linked() {
    let mut chain = Chain::new();
    let mut last = chain.block(&[]);
    for nonce in 0..3 {
        let next = chain.block(&[transfer(0, nonce, Default::default(), 1)]);
        let header = next.block.header.clone().unwrap();
        assert_eq!(header.last_block_id.clone().unwrap(), last.id);
        assert_eq!(next.block.last_commit.clone().unwrap(), last.commit);
        assert_eq!(hashes::header(&header).to_vec(), next.id.hash);
        let vote = &next.commit.signatures[0];
        let message = hashes::precommit(&header.chain_id, header.height, 0, &next.id, vote.timestamp.unwrap());
        let signature = Signature::from_slice(&vote.signature).unwrap();
        key().verifying_key().verify_strict(&message, &signature).unwrap();
        last = next;
    }
    // A header carries the hash after the block before it.
    let before = chain.head().app_hash;
    let next = chain.block(&[]);
    assert_eq!(next.block.header.unwrap().app_hash, before.0.to_vec());
}
