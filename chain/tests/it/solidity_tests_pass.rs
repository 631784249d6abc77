//! The Solidity tests pass, with forge and a compiler that need no network once npm has installed them.

use crate::workshop::workshop;

#[test]
fn solidity_tests_pass() {
    // What each call costs is compared with the tables in snapshots/.
    let said = workshop().forge(["test"], &[("FORGE_SNAPSHOT_CHECK", "true")]).succeeded();
    assert!(said.out.contains("[PASS] test_digest_of_an_example()"), "{}", said.out);
    assert!(said.out.contains(" 0 failed"), "{}", said.out);
    workshop().forge(["fmt", "--check"], &[]).succeeded();
}

#[test]
fn the_code_in_genesis_is_what_the_sources_compile_to() {
    workshop().shell("./genesis.sh", &["--check"]).succeeded();
}
