//! ethers v6 deploys OpenZeppelin's contracts and drives them, on a node of one validator and on CometBFT.

use serde_json::{Value, json};

use crate::{
    network::Network,
    workshop::{DevNode, workshop},
};

#[test]
fn ethers_deploys_and_drives_contracts() {
    let node = DevNode::start();
    check(&workshop().script("ethers.mjs", &node.url));
}

#[test]
fn ethers_deploys_and_drives_contracts_on_cometbft() {
    let shop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path(), 1);
    network.wait_for_height(0, 1);
    check(&shop.script("ethers.mjs", &network.validators[0].rpc));
    network.stop();
}

fn check(seen: &Value) {
    for (what, answer) in [
        ("chain", json!("1337")),
        ("transferred", json!("25")),
        ("balance", json!("25")),
        ("spent", json!("35")),
        ("tooMuch", json!("ERC20InsufficientBalance")),
        ("notOwner", json!("OwnableUnauthorizedAccount")),
        ("permitted", json!("7")),
        ("badge", json!(true)),
        ("noRole", json!("AccessControlUnauthorizedAccount")),
        ("erc721", json!(true)),
        ("events", json!(["25", "10"])),
        ("inBlock", json!(true)),
        ("fees", json!(true)),
        ("code", json!(true)),
        ("received", json!("12")),
        ("delegated", json!(true)),
        ("nonce", json!("NONCE_EXPIRED")),
        ("poor", json!("INSUFFICIENT_FUNDS")),
        ("heard", json!("99")),
        ("pushed", json!(true)),
    ] {
        assert_eq!(seen[what], answer, "{what} in {seen}");
    }
}
