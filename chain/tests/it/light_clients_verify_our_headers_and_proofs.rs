//! CometBFT's light client verifies our headers from one that it trusts; against such a header, whatever an untrusted
//! node answers is proven: keys of the chain's store and their absence (ICS-23), and an account with a storage word
//! (`eth_getProof`) through the state root up to the application hash.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use alloy_primitives::{Address, B256, Bytes, U256, bytes, hex, keccak256};
use alloy_trie::{Nibbles, TrieAccount, proof::verify_proof};
use base64::{Engine, engine::general_purpose::STANDARD};
use ics23::{CommitmentProof, HostFunctionsManager, ProofSpec, verify_membership, verify_non_membership};
use prost::Message;
use sahara_chain::{comet::PortBlock, genesis::TOKEN, staking, wallet::Payment};
use serde_json::{Value, json};

use crate::{
    cluster::{CHAIN, Cluster, Node, quantity, staking_input},
    common::{address, pay},
    network::{ask, eventually},
};

/// Deploys: SSTORE(0, CALLVALUE + 1), STOP.
const INIT: Bytes = bytes!("600a600c600039600a6000f3" "34600101600055000000");

/// A light client that trusts the header of height 1 with `hash`.
struct Light {
    process: Child,
    url: String,
}

impl Light {
    fn trusting(cluster: &Cluster, hash: &str, name: &str) -> Self {
        let port = cluster.ports.of(PortBlock::VALIDATORS - 1).rpc;
        let process = Command::new(&cluster.launch.cometbft)
            .args(["light", CHAIN, "--height", "1", "--hash", hash, "--trusting-period", "1h"])
            .args(["--primary", &cluster.nodes[0].comet_rpc(), "--witnesses", &cluster.nodes[1].comet_rpc()])
            .args(["--laddr", &format!("tcp://127.0.0.1:{port}"), "--home-dir"])
            .arg(cluster.folder().join(name))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }

    /// The application hash after `height`, from the verified header that follows it.
    fn app_hash(&self, height: u64) -> Vec<u8> {
        let next = json!({ "height": (height + 1).to_string() });
        let mut header = Value::Null;
        eventually("the light client to verify a header", || {
            header =
                ask(&self.url, "commit", next.clone()).map_or(Value::Null, |c| c["signed_header"]["header"].clone());
            !header.is_null()
        });
        hex::decode(header["app_hash"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A proven answer of an untrusted node.
struct Proven {
    height: u64,
    value: Vec<u8>,
    proofs: Vec<CommitmentProof>,
}

fn query(node: &Node, path: &str, key: &[u8]) -> Proven {
    let params = json!({ "path": path, "data": hex::encode(key), "height": "0", "prove": true });
    let answer = node.ask_comet("abci_query", params)["response"].clone();
    assert_eq!(answer["code"], 0, "{answer}");
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
    let ops = answer["proofOps"]["ops"].as_array().unwrap();
    Proven {
        height: answer["height"].as_str().unwrap().parse().unwrap(),
        value: decode(&answer["value"]),
        proofs: ops.iter().map(|op| CommitmentProof::decode(decode(&op["data"]).as_slice()).unwrap()).collect(),
    }
}

fn holds(proof: &CommitmentProof, spec: &ProofSpec, root: &[u8], key: &[u8], value: &[u8]) -> bool {
    verify_membership::<HostFunctionsManager>(proof, spec, &root.to_vec(), key, value)
}

/// The root of a store that a proof of a key ends in: whoever verifies computes it.
fn store_root(proof: &CommitmentProof) -> Vec<u8> {
    use ics23::commitment_proof::Proof;
    let existence = match proof.proof.clone().unwrap() {
        Proof::Exist(proof) => proof,
        Proof::Nonexist(proof) => proof.left.or(proof.right).unwrap(),
        _ => panic!("not a proof of one key"),
    };
    ics23::calculate_existence_root::<HostFunctionsManager>(&existence).unwrap()
}

#[test]
fn light_clients_verify_our_headers_and_proofs() {
    let cluster = Cluster::start(4);
    let nodes = &cluster.nodes;
    // Another set of validators than the trusted header knows, and a contract whose slot 0 is 42.
    let delegate = Payment {
        to: Some(staking::ADDRESS),
        value: TOKEN * U256::from(30),
        input: staking_input("delegate(address)", &[U256::from_be_slice(address(2).as_slice())]),
        gas_limit: 300_000,
        ..Payment::default()
    };
    nodes[2].succeed(&pay(7, delegate));
    let contract = address(6).create(0);
    nodes[2].succeed(&pay(6, Payment { input: INIT, gas_limit: 200_000, ..Payment::default() }));
    let call =
        Payment { nonce: 1, to: Some(contract), value: U256::from(41), gas_limit: 100_000, ..Payment::default() };
    nodes[2].succeed(&pay(6, call));

    let trusted = nodes[0].ask_comet("commit", json!({ "height": "1" }))["signed_header"]["commit"].clone();
    let trusted = trusted["block_id"]["hash"].as_str().unwrap();
    let mut deceived = Light::trusting(&cluster, &format!("00{}", &trusted[2..]), "deceived");
    assert!(!deceived.process.wait().unwrap().success(), "a light client took a header that is not the trusted one");
    let light = Light::trusting(&cluster, trusted, "light");

    // The EVM's block hash, from a node that nobody trusts.
    let (tree, whole) = (jmt::ics23_spec(), ics23::tendermint_spec());
    let block = query(&nodes[3], "/store/chain/key", b"block");
    let app_hash = light.app_hash(block.height);
    let root = store_root(&block.proofs[0]);
    assert!(holds(&block.proofs[0], &tree, &root, b"block", &block.value));
    assert!(holds(&block.proofs[1], &whole, &app_hash, b"chain", &root));
    assert!(!holds(&block.proofs[1], &whole, &light.app_hash(block.height - 1), b"chain", &root));
    assert_eq!(json!(B256::from_slice(&block.value)), nodes[0].block(block.height));

    let nothing = query(&nodes[3], "/store/chain/key", b"nothing");
    let root = store_root(&nothing.proofs[0]);
    assert!(nothing.value.is_empty());
    assert!(verify_non_membership::<HostFunctionsManager>(&nothing.proofs[0], &tree, &root, b"nothing"));
    assert!(!verify_non_membership::<HostFunctionsManager>(&nothing.proofs[0], &tree, &root, b"block"));
    assert!(holds(&nothing.proofs[1], &whole, &light.app_hash(nothing.height), b"chain", &root));

    // An account and a word of its storage: proofs are for the newest block, so both answers must be of the same one.
    let mut found = None;
    eventually("a proof of the same block as its root", || {
        let root = query(&nodes[3], "/root/evm", b"");
        let params = json!([contract, ["0x0"], format!("{:#x}", root.height)]);
        found = ask(&nodes[3].rpc(), "eth_getProof", params).ok().map(|proof| (root, proof));
        found.is_some()
    });
    let (root, proof) = found.unwrap();
    assert!(holds(&root.proofs[0], &whole, &light.app_hash(root.height), b"evm", &root.value));
    verify_account(&proof, contract, B256::from_slice(&root.value));
    drop(light);
    assert!(Path::new(&cluster.folder().join("light")).exists());
}

fn verify_account(answer: &Value, address: Address, state_root: B256) {
    let field = |value: &Value| serde_json::from_value::<B256>(value.clone()).unwrap();
    let nodes = |value: &Value| serde_json::from_value::<Vec<Bytes>>(value.clone()).unwrap();
    let account = TrieAccount {
        nonce: quantity(&answer["nonce"]),
        balance: serde_json::from_value(answer["balance"].clone()).unwrap(),
        storage_root: field(&answer["storageHash"]),
        code_hash: field(&answer["codeHash"]),
    };
    let key = Nibbles::unpack(keccak256(address));
    let told = Some(alloy_rlp::encode(account));
    verify_proof(state_root, key, told, &nodes(&answer["accountProof"])).unwrap();
    let slot = &answer["storageProof"][0];
    assert_eq!(slot["value"], "0x2a");
    let key = Nibbles::unpack(keccak256(B256::ZERO));
    let word = Some(alloy_rlp::encode(U256::from(42)));
    verify_proof(account.storage_root, key, word, &nodes(&slot["proof"])).unwrap();
    let other = Some(alloy_rlp::encode(U256::from(43)));
    assert!(verify_proof(account.storage_root, key, other, &nodes(&slot["proof"])).is_err());
}
