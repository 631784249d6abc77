//! A contract settles an inference receipt that its committee signed, once; whatever else is shown to it is refused with
//! the reason. The digest is that of ethers, viem, our library in Solidity, and the native contract.

use serde_json::json;

use crate::workshop::{DevNode, workshop};

#[test]
fn a_contract_settles_what_its_committee_signed() {
    let node = DevNode::start();
    let seen = workshop().script("receipt.mjs", &node.url);
    // Rust and Solidity are tested with the same three.
    assert_eq!(
        seen["digests"],
        json!([
            "0x5589c3abb2a750af3b521e7393dc6f138acf294f2f374994998e1ce372b4d244",
            "0x35ea22d60122497415e6e7c1e438016482a1fc6d31cef680f7fcc179ad935d58",
            "0xf9c8735270703e610cc17d79a586e85c35b1109ee1279334af6379ef4cde9856",
        ])
    );
    for (what, answer) in [
        ("oneSigner", json!("NotSigned")),
        ("wrongOrder", json!("NotSigned")),
        ("otherPrice", json!("NotSigned")),
        ("otherMarket", json!("NotSigned")),
        ("otherKeys", json!("committee: these keys are not the receipt's committee")),
        ("twice", json!("committee: a key occurs twice")),
        ("malformed", json!("committee: argument out of range")),
        ("takesNoValue", json!("committee: takes no value")),
        ("delegated", json!("native contract: call it, do not delegate to it")),
        ("library", json!(true)),
        ("event", json!(format!("0x{}", "01".repeat(32)))),
        ("settled", json!(true)),
        ("again", json!("SettledBefore")),
    ] {
        assert_eq!(seen[what], answer, "{what}");
    }
}
