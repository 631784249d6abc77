//! Sorts a text into the classes of a classifier on three share nodes, none of which learns it; with a second text for models
//! that read two (cross-encoders).
//!
//! ```sh
//! sahara devnet up --free && sahara model pull cross-encoder/ms-marco-MiniLM-L-6-v2 --name my-reranker
//! cargo run --release --example classify -- my-reranker "is it open?" "It opens at nine."
//! ```

use std::env;
use std::error::Error;

use sahara::NamedModel;
use sahara::embedding::{Engine, Query, Stop};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(model), Some(text)) = (arguments.next(), arguments.next()) else {
        return Err("usage: classify MODEL TEXT [TEXT]".into());
    };
    for (label, score) in run(&sahara::model(model), &text, arguments.next().as_deref())? {
        println!("{score:.4} {label}");
    }
    Ok(())
}

/// Every label with its score, the highest first.
///
/// # Errors
/// When there is no such model, it is no classifier, or the nodes do not answer.
pub fn run(model: &NamedModel, text: &str, pair: Option<&str>) -> Result<Vec<(String, f32)>, Box<dyn Error>> {
    let engine = model.connect()?;
    let classes = engine.classes().ok_or("this model embeds; it has no classes")?;
    let query = Query { pair: pair.map(Into::into), ..Query::from(text) };
    let mut labels = Vec::new();
    // Whoever sets it, from whichever thread, ends the work here and on the nodes.
    let stop = Stop::default();
    engine.answer_until(&[query], &stop, &mut |answer| {
        let scores = classes.scores(&answer.vector);
        labels.extend(classes.labels.iter().map(|label| label.0.clone()).zip(scores));
        Ok(())
    })?;
    labels.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(labels)
}
