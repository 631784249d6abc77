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
            "0x1173bc6f5b3d0ecba7eea5951158218ad8423745bc5efb32bb54d3b5cde28466",
            "0x5e2cb3c0900a76892c3ff646077af18debf8d7af4f40c35e5fb289982da034d9",
            "0xed10b6d03146335439de58ddf7ea991922e6745a73ad889419a4c1efa7f101f8",
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
