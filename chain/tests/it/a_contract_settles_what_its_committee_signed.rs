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
            "0xbe863d424fb08ca371a610f15351b455f0faa8861cca31d765fc76123962f5c1",
            "0x3f98c2a3ae5f74ffc317335b839beb29699390831dd3bdc97828e32b48903e1f",
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
