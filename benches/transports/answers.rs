//! Times of private answers on a committee across whatever lies between: the model is shared and packs are made first, then each
//! line of standard input is a run, of which a line of JSON tells seconds, bytes of all parties and processor time.
//! `cargo xtask bench transports` runs it on a line with delay and loss.
//!
//! `answers COMMITTEE-FILE TOKENS AT-ONCE RUNS`, with the home of Sahara in `SAHARA_HOME`

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sahara::embedding::{Engine, PlainEngine, Query, embed_all};
use sahara::home::Home;
use sahara::models::{DEFAULT_MODEL, Store};
use sahara::network::{NetworkEngine, NetworkOptions, Visibility};
use sahara::progress::Progress;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [committee, tokens, batch, runs] = &arguments[..] else {
        return Err("answers COMMITTEE-FILE TOKENS AT-ONCE RUNS".into());
    };
    let (tokens, batch, runs): (usize, usize, usize) = (tokens.parse()?, batch.parse()?, runs.parse()?);
    let home = Home::locate(None)?;
    let model = Arc::new(Store::new(&home).open(DEFAULT_MODEL, &Progress::silent())?);
    let options = NetworkOptions { visibility: Some(Visibility::Private), jobs: batch, ..NetworkOptions::default() };
    let network =
        NetworkEngine::connect(&home, Some(Path::new(committee)), model.clone(), options, &Progress::silent())?;
    network.register()?;
    // Each node loads the model once.
    network.embed(&vec!["ready".to_owned(); 3], &mut |_| Ok(()))?;
    // A word is a token, and two more are the model's own.
    let texts: Vec<String> = (0..batch).map(|_| "word ".repeat(tokens.saturating_sub(2))).collect();
    let plain = embed_all(&PlainEngine::new(model, 0), &texts)?;
    let queries: Vec<Query> = texts.iter().map(Query::from).collect();
    let windows = (0..runs).map(|_| network.window(&queries, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut lines = std::io::stdin().lock().lines();
    for window in windows {
        network.prepare(&window)?;
        println!("ready");
        if lines.next().is_none() {
            return Ok(());
        }
        let before = network.figures()?;
        let began = Instant::now();
        let mut equal = 0;
        let result = network.run(window, &mut |answer| {
            equal += usize::from(plain.get(answer.index).is_some_and(|plain| plain.integers == answer.integers));
            Ok(())
        });
        let seconds = began.elapsed().as_secs_f64();
        match result {
            Ok(rounds) => {
                let spent = network.figures()?.since(&before);
                println!(
                    "{{\"seconds\": {seconds:.3}, \"bytes\": {}, \"node_cpu\": {:.3}, \"rounds\": {rounds}, \"equal\": {equal}}}",
                    spent.bytes(),
                    spent.cpu_seconds
                );
            }
            Err(error) => println!("{{\"seconds\": {seconds:.3}, \"error\": {:?}}}", error.to_string()),
        }
    }
    Ok(())
}
