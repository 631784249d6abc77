//! viem deploys OpenZeppelin's contracts and drives them.

use serde_json::json;

use crate::workshop::{DevNode, workshop};

#[test]
fn viem_deploys_and_drives_contracts() {
    let node = DevNode::start();
    let seen = workshop().script("viem.mjs", &node.url);
    for (what, answer) in [
        ("chain", json!(1337)),
        ("simulated", json!(true)),
        ("status", json!("success")),
        ("balance", json!("25")),
        ("tooMuch", json!("ERC20InsufficientBalance")),
        ("events", json!(["1000000000000000000000", "25"])),
        ("minted", json!(["7"])),
        ("owner", json!(true)),
        ("inBlock", json!(true)),
        ("fees", json!(true)),
        ("proven", json!("1000000000000000000000")),
        ("delegated", json!("success")),
        ("code", json!(true)),
        ("heard", json!("99")),
        ("pushed", json!(true)),
    ] {
        assert_eq!(seen[what], answer, "{what} in {seen}");
    }
}
