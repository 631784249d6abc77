//! Hardhat compiles OpenZeppelin's contracts and runs its tests against a node.

use crate::workshop::{DevNode, workshop};

#[test]
fn hardhat_tests_run_on_a_node() {
    let node = DevNode::start();
    let said = workshop().hardhat(&["test"], &node.url).succeeded();
    assert!(said.out.contains("3 passing") && !said.out.contains("failing"), "{}", said.out);
}
