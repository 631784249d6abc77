//! A node's configuration.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sahara_mpc::config::Config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Config::parse(text, Path::new("/node"));
});
