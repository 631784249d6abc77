//! Shares a model with everybody whom the nodes serve, without their learning its weights, lists what is there, and takes
//! it back.
//!
//! ```sh
//! sahara devnet up --free && sahara model pull all-MiniLM-L6-v2
//! cargo run --release --example share
//! ```

use std::error::Error;
use std::path::Path;

use sahara::embedding::Stop;
use sahara::home::Home;
use sahara::keys::Role;
use sahara::models::{DEFAULT_MODEL, Store};
use sahara::network::{Consumers, Owner, ShareOptions, sharings};
use sahara::progress::Progress;

fn main() -> Result<(), Box<dyn Error>> {
    for line in run(&Home::locate(None)?, None, DEFAULT_MODEL)? {
        println!("{line}");
    }
    Ok(())
}

/// What was on the nodes meanwhile, one line a model.
///
/// # Errors
/// When there is no such model, or a node is not reached or refuses.
pub fn run(home: &Home, committee: Option<&Path>, model: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let model = Store::new(home).open(model, &Progress::silent())?;
    let owner = Owner::connect(home, committee)?;
    let options = ShareOptions {
        name: Some("example".parse()?),
        consumers: Some(Consumers::Everyone),
        ..ShareOptions::default()
    };
    let shared = owner.share(&model, &options, &Stop::default(), &Progress::silent())?;
    let listed = sharings(home, committee, &[Role::Owner])?.sharings;
    owner.unshare(&shared.sharing.manifest().name)?;
    Ok(listed.iter().map(|entry| format!("{}/{} version {}", entry.owner, entry.name, entry.version)).collect())
}
