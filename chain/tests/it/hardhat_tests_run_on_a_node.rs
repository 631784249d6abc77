//! Hardhat compiles OpenZeppelin's contracts and runs tests against a node, which move time, go back and act for others.

use crate::workshop::{DevNode, workshop};

#[test]
fn hardhat_tests_run_on_a_node() {
    let node = DevNode::start();
    let said = workshop().hardhat(&["test"], &node.url).succeeded();
    assert!(said.out.contains("6 passing") && !said.out.contains("failing"), "{}", said.out);
}
