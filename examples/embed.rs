//! Embeds texts on three share nodes, none of which learns them.
//!
//! ```sh
//! sahara devnet up --free && sahara model pull all-MiniLM-L6-v2
//! cargo run --release --example embed -- "good morning" "see you tomorrow"
//! ```
//!
//! Another committee's nodes and a model of somebody else's: `COMMITTEE=committee.toml MODEL=OWNER/NAME`.

use std::env;
use std::error::Error;

use sahara::NamedModel;
use sahara::embedding::{Embedding, embed_all};
use sahara::error::ErrorKind;
use sahara::models::DEFAULT_MODEL;

fn main() -> Result<(), Box<dyn Error>> {
    let texts: Vec<String> = env::args().skip(1).collect();
    let mut model = sahara::model(env::var("MODEL").unwrap_or_else(|_| DEFAULT_MODEL.to_owned()));
    if let Some(file) = env::var_os("COMMITTEE") {
        model = model.committee(file);
    }
    match run(&model, &texts) {
        Ok(answers) => answers.iter().for_each(|answer| println!("{:?}", answer.vector)),
        // Nothing is wrong with what was asked: a program may come back later.
        Err(error) if error.kind() == ErrorKind::Unreachable => eprintln!("the nodes are not there: {error}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// One answer a text, in order.
///
/// # Errors
/// When there is no such model, or the nodes do not answer.
pub fn run(model: &NamedModel, texts: &[String]) -> sahara::Result<Vec<Embedding>> {
    let engine = model.connect()?;
    embed_all(&engine, texts)
}
