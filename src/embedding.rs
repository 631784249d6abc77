//! Text in, unit vectors out: the same interface for the network, the plain reference and the float model.

use std::sync::Arc;
use std::thread;

use sahara_circuits::float::FloatModel;
use sahara_circuits::frontend::Encoded;
pub use sahara_circuits::frontend::Length;
use sahara_circuits::reference::ExecOptions;
pub use sahara_mpc::client::Stop;

use crate::error::{Blame, Error, Result};
use crate::models::Model;

/// Largest text that is accepted, in bytes.
pub const MAX_TEXT_BYTES: usize = 1_000_000;

/// One answer.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// Position of the text among the texts given.
    pub index: usize,
    /// Tokens of the text, special ones included.
    pub tokens: usize,
    /// The text was longer than the model reads; its end was left out.
    pub truncated: bool,
    /// Unit vector.
    pub vector: Vec<f32>,
    /// The integers that came out of the graph (empty for the float model).
    pub integers: Vec<Vec<i32>>,
}

/// Receives answers in the order of the texts.
pub type Sink<'a> = &'a mut dyn FnMut(Embedding) -> Result<()>;

/// Whatever turns texts into embeddings.
pub trait Engine: Send + Sync {
    /// Embeds the texts and hands the answers to `sink` in order; ends early, with an error that says so, once `stop`
    /// is set.
    fn embed_until(&self, texts: &[String], stop: &Stop, sink: Sink<'_>) -> Result<()>;

    /// Embeds the texts, to the end.
    fn embed(&self, texts: &[String], sink: Sink<'_>) -> Result<()> {
        self.embed_until(texts, &Stop::default(), sink)
    }

    /// How long text number `index` is for the model; nothing is computed on it.
    fn length(&self, index: usize, text: &str) -> Result<Length>;

    /// The text that token numbers of the model's own tokenizer stand for; none if one is unknown.
    fn text_of(&self, tokens: &[u32]) -> Option<String>;

    /// Numbers of an embedding.
    fn dimensions(&self) -> usize;

    /// Whether the engine can answer now; the reason if not.
    fn health(&self) -> Result<()> {
        Ok(())
    }
}

/// Refuses texts that no engine accepts, by position.
pub fn check_texts(texts: &[String]) -> Result<()> {
    if texts.is_empty() {
        return Err(Error::user("no text: give at least one, e.g. sahara embed \"good morning\""));
    }
    for (index, text) in texts.iter().enumerate() {
        let which = if texts.len() == 1 { "the text".to_owned() } else { format!("text {index}") };
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::user(format!(
                "{which} has {} bytes, more than {MAX_TEXT_BYTES}: split it into passages",
                text.len()
            )));
        }
    }
    Ok(())
}

/// The reference executor on this machine.
pub struct PlainEngine {
    model: Arc<Model>,
    threads: usize,
}

impl PlainEngine {
    /// With this many threads; 0 takes all cores.
    pub fn new(model: Arc<Model>, threads: usize) -> Self {
        Self { model, threads: if threads == 0 { cores() } else { threads } }
    }
}

impl Engine for PlainEngine {
    fn embed_until(&self, texts: &[String], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        check_texts(texts)?;
        for (index, text) in texts.iter().enumerate() {
            wanted(stop)?;
            let encoded = encode(&self.model, index, text)?;
            let integers = self.run(&encoded)?;
            sink(decode(&self.model, index, &encoded, integers))?;
        }
        Ok(())
    }

    fn length(&self, index: usize, text: &str) -> Result<Length> {
        length(&self.model, index, text)
    }

    fn text_of(&self, tokens: &[u32]) -> Option<String> {
        self.model.compiled.frontend.text_of(tokens)
    }

    fn dimensions(&self) -> usize {
        self.model.compiled.frontend.dimensions()
    }
}

impl PlainEngine {
    fn run(&self, encoded: &Encoded) -> Result<Vec<Vec<i32>>> {
        let options = ExecOptions { threads: self.threads, ..ExecOptions::default() };
        let compiled = &self.model.compiled;
        let done = compiled
            .execute(encoded.bucket, &encoded.inputs, &options)
            .map_err(|e| Error::fault_from("running the graph in the clear", e))?;
        Ok(done.outputs)
    }
}

/// The float model, as published.
pub struct FloatEngine {
    float: FloatModel,
    model: Arc<Model>,
}

impl FloatEngine {
    /// Loads the float weights of a model.
    pub fn new(model: Arc<Model>) -> Result<Self> {
        let float =
            FloatModel::load(&model.folder).map_err(|e| Error::wrap("loading the float model", Blame::User, e))?;
        Ok(Self { float, model })
    }
}

impl Engine for FloatEngine {
    fn embed_until(&self, texts: &[String], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        check_texts(texts)?;
        for (index, text) in texts.iter().enumerate() {
            wanted(stop)?;
            let encoded = encode(&self.model, index, text)?;
            let vector = self.float.embed(text).map_err(|e| Error::fault_from("running the float model", e))?;
            let answer =
                Embedding { index, tokens: encoded.tokens, truncated: encoded.truncated, vector, integers: Vec::new() };
            sink(answer)?;
        }
        Ok(())
    }

    fn length(&self, index: usize, text: &str) -> Result<Length> {
        length(&self.model, index, text)
    }

    fn text_of(&self, tokens: &[u32]) -> Option<String> {
        self.model.compiled.frontend.text_of(tokens)
    }

    fn dimensions(&self) -> usize {
        self.model.compiled.frontend.dimensions()
    }
}

/// Collects all answers of an engine.
pub fn embed_all(engine: &dyn Engine, texts: &[String]) -> Result<Vec<Embedding>> {
    let mut all = Vec::with_capacity(texts.len());
    engine.embed(texts, &mut |answer| {
        all.push(answer);
        Ok(())
    })?;
    Ok(all)
}

/// An error once the work was given up.
pub(crate) fn wanted(stop: &Stop) -> Result<()> {
    if stop.is_set() { Err(Error::stopped()) } else { Ok(()) }
}

/// How long a text is for a model.
pub(crate) fn length(model: &Model, index: usize, text: &str) -> Result<Length> {
    model.compiled.frontend.length(text).map_err(|e| Error::wrap(&format!("text {index}"), Blame::User, e))
}

/// The client's part before the network: tokens, embedding lookup, first norm.
pub(crate) fn encode(model: &Model, index: usize, text: &str) -> Result<Encoded> {
    model.compiled.frontend.encode(text).map_err(|e| Error::wrap(&format!("text {index}"), Blame::User, e))
}

/// The client's part after the network.
pub(crate) fn decode(model: &Model, index: usize, encoded: &Encoded, integers: Vec<Vec<i32>>) -> Embedding {
    let vector = model.compiled.frontend.decode(encoded, &integers);
    Embedding { index, tokens: encoded.tokens, truncated: encoded.truncated, vector, integers }
}

/// The model's graph for a padded length.
pub(crate) fn graph(model: &Model, bucket: u32) -> Result<Arc<sahara_circuits::graph::Graph>> {
    model
        .compiled
        .graph(bucket)
        .map_err(|e| Error::wrap(&format!("building the graph for {bucket} tokens"), Blame::Fault, e))
}

/// Cores of this machine.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_texts_are_refused_by_position_and_blank_ones_are_texts() {
        let huge = "x".repeat(10 << 20);
        let error = check_texts(std::slice::from_ref(&huge)).unwrap_err();
        assert!(error.report().contains("the text has 10485760 bytes"));
        let second = check_texts(&["a".into(), huge]).unwrap_err();
        assert!(second.report().contains("text 1 has"));
        assert_eq!(second.exit_code(), 2);
        check_texts(&[String::new(), " ".into()]).unwrap();
        assert_eq!(check_texts(&[]).unwrap_err().exit_code(), 2);
    }
}
