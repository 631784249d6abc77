//! Writes the random models that are compared with the authors' own libraries, and `cases.json`, which says how each is
//! asked: `cargo run --release -p sahara-circuits --example test_models -- FOLDER`.

use sahara_circuits::testmodel::{PAIRS, SEED, TEXTS, catalogue};
use serde_json::json;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: test_models FOLDER")?;
    let folder = Path::new(&folder);
    let mut cases = Vec::new();
    for case in catalogue() {
        case.folder.write(&folder.join(case.name), SEED)?;
        if case.same_as.is_none() {
            cases.push(json!({"name": case.name, "classifies": case.classifies(), "prompt": case.prompt}));
        }
    }
    let all = json!({"texts": TEXTS, "pairs": PAIRS, "cases": cases});
    std::fs::write(folder.join("cases.json"), all.to_string())?;
    Ok(())
}
