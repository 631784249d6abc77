//! Every kind of licence is bought and used on a node by a script that knows ethers and the contracts' interfaces, and nothing
//! of ours; beside each stands what must not work, and the reason that the contracts give.

use serde_json::json;

use crate::workshop::{DevNode, workshop};

#[test]
fn four_licences_work_with_ethers_alone() {
    let node = DevNode::start();
    let seen = workshop().script("licences.mjs", &node.url);
    for (what, answer) in [
        ("squatter", json!("NotTheOwner")),
        // A price for each call.
        ("unpaid", json!("WrongValue")),
        ("tooDear", json!("PriceAbove")),
        ("unlicensed", json!("NotAUser")),
        ("forged", json!("WrongVoucher")),
        ("wrongChain", json!("WrongVoucher")),
        ("overTheCap", json!("OverCap")),
        ("replayed", json!("Replayed")),
        ("paid", json!("2000")),
        ("retracted", json!("NotOffered")),
        ("keptRoyalty", json!("300")),
        ("isUser", json!([false, true])),
        ("expired", json!("NotAUser")),
        ("closedByAnybody", json!(1)),
        // A long term.
        ("tooEarly", json!("TooEarly")),
        ("tooFewBlocks", json!("TooEarly")),
        ("refund", json!("900")),
        ("refundOnce", json!("WrongState")),
        ("withdrawnWord", json!(true)),
        ("refundedOpensNothing", json!("NotAUser")),
        ("vested", json!("510")),
        // Full access.
        ("notRegistered", json!("WrongTerms")),
        ("keyOfAStranger", json!("NotTheOwner")),
        ("deciphered", json!(true)),
        ("rightKey", json!("NotDisproved")),
        ("wrongKeyPaidBack", json!("5000")),
        ("openIsNotSold", json!("OpenedBefore")),
        ("delivered", json!("5000")),
        // A partnership.
        ("forgedPartner", json!("NotSigned")),
        ("partnerElsewhere", json!("NotSigned")),
        ("madeTwice", json!("MadeBefore")),
        ("partnership", json!(true)),
        // Prices, what vested, and the royalties of five calls.
        ("claimed", json!((50 + 510 + 5_000 + 77 + 4 * 300 + 1).to_string())),
        ("claimedTwice", json!("NothingToClaim")),
    ] {
        assert_eq!(seen[what], answer, "{what}");
    }
}
