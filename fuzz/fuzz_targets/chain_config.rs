//! chain.toml: the settings of a node of the chain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_chain::node::{CONFIG_FILE, Config};

fuzz_target!(|bytes: &[u8]| {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join(CONFIG_FILE), bytes).expect("a file");
    if let Ok(config) = Config::load(home.path()) {
        let _ = config.driver.describe();
    }
});
