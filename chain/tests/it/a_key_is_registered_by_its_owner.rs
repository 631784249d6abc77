//! A consensus key is registered by whoever has its secret, for one account on one chain, and once.

use std::{os::unix::fs::PermissionsExt, process::Command};

use alloy_primitives::{B256, U256, hex};
use ed25519_dalek::{Signer, SigningKey};
use sahara_chain::{
    beacon::Commitment,
    genesis::DEV_CHAIN_ID,
    node::{load_beacon, load_key},
    staking::possession,
    validator::ConsensusKey,
};

use crate::{
    a_node_that_dies_anywhere_goes_on_where_it_was::{Node, init},
    common::{CHAIN, address, key},
    network::{PROGRAM, eventually},
    stake_net::{CREATE, Net, arguments, enter, new_key, new_signer, registration, tokens},
};

const BEACON: Commitment = Commitment { tip: B256::repeat_byte(7), length: 9 };

#[test]
fn a_proof_counts_for_its_account_its_key_and_its_chain() {
    let mut net = Net::new();
    let signed = |signer: &SigningKey, message: &[u8]| signer.sign(message).to_bytes();
    let (own, other) = (new_signer(), SigningKey::from_bytes(&[78; 32]));
    let of = |chain, id, account, key| possession(chain, id, address(account), key);
    let wrong = [
        [0; 64],
        signed(&other, &of(CHAIN, DEV_CHAIN_ID, 1, new_key())),
        signed(&own, &of("sahara-tests", DEV_CHAIN_ID, 1, new_key())),
        signed(&own, &of(CHAIN, DEV_CHAIN_ID + 1, 1, new_key())),
        signed(&own, &of(CHAIN, DEV_CHAIN_ID, 2, new_key())),
        signed(&own, &of(CHAIN, DEV_CHAIN_ID, 1, ConsensusKey(other.verifying_key().to_bytes().into()))),
    ];
    for proof in wrong {
        let said = net.refused(1, tokens(5), CREATE, &arguments(new_key(), 0, &proof, BEACON));
        assert!(said.contains("does not show that this key is yours"), "{said}");
    }
    // The point of order one: any signature of it would hold for a lax verifier.
    let mut one = B256::ZERO;
    one[0] = 1;
    let weak = ConsensusKey(one);
    let said = net.refused(1, tokens(5), CREATE, &arguments(weak, 0, &[0; 64], BEACON));
    assert!(said.contains("not an ed25519 key"), "{said}");
    let mut short = registration(&own, address(1), 0);
    short[5] = U256::from(63);
    assert!(net.refused(1, tokens(5), CREATE, &short).contains("does not show"));
    short[5] = U256::from(65);
    assert!(net.refused(1, tokens(5), CREATE, &short).contains("too many"));
    enter(&mut net);
}

#[test]
fn a_key_is_registered_once() {
    let mut net = Net::new();
    enter(&mut net);
    let said = net.refused(2, tokens(5), CREATE, &registration(&new_signer(), address(2), 0));
    assert!(said.contains("another validator has this key"), "{said}");
    let said = net.refused(2, tokens(5), CREATE, &registration(&key(), address(2), 0));
    assert!(said.contains("another validator has this key"), "{said}");
}

#[test]
fn a_validator_brings_a_beacon_chain() {
    let mut net = Net::new();
    let proof = new_signer().sign(&possession(CHAIN, DEV_CHAIN_ID, address(1), new_key())).to_bytes();
    for beacon in [
        Commitment { tip: B256::ZERO, ..BEACON },
        Commitment { length: 0, ..BEACON },
        Commitment { length: (1 << 24) + 1, ..BEACON },
    ] {
        let said = net.refused(1, tokens(5), CREATE, &arguments(new_key(), 0, &proof, beacon));
        assert!(said.contains("must have a tip"), "{said}");
    }
}

#[test]
fn a_home_tells_what_its_validator_registers_and_keeps_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    init(home);
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).arg("keys").args(arguments).arg("--home").arg(home).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let operator = address(4).to_string();
    let text = run(&["--operator", &operator]);
    let told: serde_json::Value = serde_json::from_str(&run(&["--operator", &operator, "--json"])).unwrap();
    let told = &told["registration"];
    let own = load_key(home).unwrap();
    let consensus_key = ConsensusKey(own.verifying_key().to_bytes().into());
    assert_eq!(told["consensus_key"], serde_json::to_value(consensus_key).unwrap());
    let proof = own.sign(&possession("sahara-dev", DEV_CHAIN_ID, address(4), consensus_key)).to_bytes();
    assert_eq!(told["proof"], hex::encode_prefixed(proof));
    assert!(text.contains(told["proof"].as_str().unwrap()) && text.contains(told["beacon_tip"].as_str().unwrap()));
    for name in ["validator-key", "beacon-secret"] {
        let path = home.join(name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        let secret = std::fs::read_to_string(path).unwrap();
        assert!(!text.contains(&secret) && !told.to_string().contains(&secret), "{name} is printed");
    }
    assert!(std::fs::read_dir(home).unwrap().all(|entry| !entry.unwrap().path().ends_with(".draft")));
}

#[test]
fn a_beacon_chain_that_was_announced_is_not_offered_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    init(home);
    let operator = address(0).to_string();
    let offered = || {
        let asked = ["keys", "--json", "--operator", &operator, "--home"];
        let output = Command::new(PROGRAM).args(asked).arg(home).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let tip = told["registration"]["beacon_tip"].as_str().map(|tip| tip.parse::<B256>().unwrap());
        tip.ok_or_else(|| String::from_utf8(output.stderr).unwrap())
    };
    let mut own = load_beacon(home).unwrap().unwrap();
    let [first, second] = [0, 1].map(|number| own.commitment(number).tip);
    assert_eq!(offered(), Ok(first), "nothing was shown");
    let node = Node::start(home, "").map_err(|(_, said)| said).unwrap();
    eventually("a few blocks", || node.newest().is_some_and(|(height, _)| height >= 3));
    // Its settings do not say where it answers, and the database is its own.
    let why = offered().unwrap_err();
    assert!(why.contains("which beacon chains") && why.contains("start this node"), "{why}");
    let path = home.join("chain.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let found = settings.replace("127.0.0.1:0", node.rpc.trim_start_matches("http://"));
    std::fs::write(&path, found).unwrap();
    assert_eq!(offered(), Ok(second), "as the node says");
    node.end("-TERM");
    assert_eq!(offered(), Ok(second), "as its database says");
}
