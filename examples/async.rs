//! Asks from async code: requests beside each other, answers as they come, and a deadline.
//!
//! ```sh
//! sahara devnet up --free && sahara model pull all-MiniLM-L6-v2
//! cargo run --release --example async -- "good morning" "see you tomorrow"
//! ```

use std::env;
use std::error::Error;
use std::time::Duration;

use sahara::NamedModel;
use sahara::embedding::Query;
use sahara::models::DEFAULT_MODEL;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let texts: Vec<String> = env::args().skip(1).collect();
    println!("{} numbers", run(&sahara::model(DEFAULT_MODEL), &texts).await?);
    Ok(())
}

/// How many numbers came, of two requests beside each other.
///
/// # Errors
/// When there is no such model, or the nodes do not answer in time.
pub async fn run(model: &NamedModel, texts: &[String]) -> Result<usize, Box<dyn Error>> {
    let engine = model.connect_async().await?;
    let (first, last) = texts.split_at(texts.len() / 2);
    let one_by_one = async {
        let mut numbers = 0;
        let mut answers = engine.answers(first.iter().map(Query::from).collect());
        while let Some(answer) = answers.next().await {
            numbers += answer?.vector.len();
        }
        Ok::<_, sahara::Error>(numbers)
    };
    // Whoever drops the future gives the work up, here and on the nodes: so does this deadline.
    let in_time = tokio::time::timeout(Duration::from_secs(60), engine.embed(last));
    let (one_by_one, in_time) = tokio::join!(one_by_one, in_time);
    Ok(one_by_one? + in_time??.iter().map(|answer| answer.vector.len()).sum::<usize>())
}
