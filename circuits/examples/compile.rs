//! Compiles a Hugging Face folder and stores it: `cargo run --release -p sahara-circuits --example compile -- FROM TO`

use sahara_circuits::model::CompiledModel;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &args[..] else { return Err("usage: compile FROM TO".into()) };
    CompiledModel::compile(Path::new(from), "compiled", &mut |step| println!("{step}"))?.save(Path::new(to))?;
    Ok(())
}
