//! The Solidity tests pass, with forge and a compiler that need no network once npm has installed them.

use crate::workshop::workshop;

#[test]
fn solidity_tests_pass() {
    let said = workshop().forge(["test"], &[]).succeeded();
    assert!(said.out.contains("[PASS] test_digest_of_an_example()"), "{}", said.out);
    assert!(said.out.contains(" 0 failed"), "{}", said.out);
    workshop().forge(["fmt", "--check"], &[]).succeeded();
}
