//! Text in, answers out (vectors, or the outputs of a classifier): the same interface for the network, the plain
//! reference and the float model.

#[cfg(feature = "float")]
mod float;

use std::sync::Arc;
use std::thread;

use sahara_circuits::frontend::Encoded;
pub use sahara_circuits::frontend::{Classes, Label, LabelFunction, Length};
use sahara_circuits::graph::Graph;
use sahara_circuits::reference::ExecOptions;
pub use sahara_mpc::client::Stop;

#[cfg(feature = "float")]
pub use float::FloatEngine;

use crate::error::{Error, NetworkError, Result, TextError};
use crate::models::Model;

/// Largest text that is accepted, in bytes; of a pair, each of the two.
pub const MAX_TEXT_BYTES: usize = 1_000_000;

/// One answer.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// Position of the text among the texts given.
    pub index: usize,
    /// Tokens that the model read, special ones included and padding not.
    pub tokens: usize,
    /// The text was longer than the model reads; a part of it was left out.
    pub truncated: bool,
    /// Of an embedding model [`Engine::dimensions`] numbers, of length 1 if its authors meant that; of a classifier one
    /// output a label, of which [`Classes::scores`] makes scores.
    pub vector: Vec<f32>,
    /// The integers of which these were made, one row-major tensor for each output of the graph; none of the float model.
    pub integers: Vec<Vec<i32>>,
    /// What was signed for the money that the answer was paid with, in the form of the purse that paid; none where nothing was.
    pub receipt: Option<Vec<u8>>,
}

/// What is asked of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// The text; many queries may share one.
    pub text: Arc<str>,
    /// A second text that belongs to it, for models that read two.
    pub pair: Option<Arc<str>>,
    /// The prompt to put before the text, by its name in the model; none means the model's default.
    pub prompt: Option<String>,
    /// The most ε of the data's privacy budget that the answer may cost: one that leaves without noise is refused then, and so is one
    /// that costs more. None asks for whatever the model's owner has signed.
    pub most_epsilon: Option<f64>,
}

/// What answers that leave with noise cost of the privacy budget of the data behind a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Privacy {
    /// ε of one answer alone; many together cost less than so much each.
    pub epsilon: f64,
    /// ε of all answers so far, whoever asked.
    pub spent: f64,
    /// How many answers more the budget suffices for, as far as [`Privacy::COUNTED`].
    pub answers: u64,
    /// ε that all answers may cost together.
    pub budget: f64,
    /// δ of all three.
    pub delta: f64,
}

impl Privacy {
    /// More answers than these are not counted ahead.
    pub const COUNTED: u64 = 1_000_000;

    /// What is left of the budget.
    pub fn left(&self) -> f64 {
        (self.budget - self.spent).max(0.0)
    }
}

impl From<&str> for Query {
    fn from(text: &str) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl From<&String> for Query {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// Receives answers in the order of the texts. Its error ends the work of the engine, which gives it back.
pub type Sink<'a> = &'a mut dyn FnMut(Embedding) -> Result<()>;

/// Whatever turns texts into embeddings.
pub trait Engine: Send + Sync {
    /// Answers in order, each to `sink`; ends early once `stop` is set.
    ///
    /// # Errors
    /// When a text cannot be answered; the sink's error, if it gives one; [`Error::Stopped`].
    fn answer_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()>;

    /// Embeds the texts with the model's default prompt, as [`Engine::answer_until`].
    ///
    /// # Errors
    /// As there.
    fn embed_until(&self, texts: &[String], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        self.answer_until(&texts.iter().map(Query::from).collect::<Vec<_>>(), stop, sink)
    }

    /// Embeds the texts, to the end.
    ///
    /// # Errors
    /// As [`Engine::answer_until`].
    fn embed(&self, texts: &[String], sink: Sink<'_>) -> Result<()> {
        self.embed_until(texts, &Stop::default(), sink)
    }

    /// How long text number `index` is for the model; nothing is computed on it.
    ///
    /// # Errors
    /// When the model cannot read it.
    fn length(&self, index: usize, query: &Query) -> Result<Length>;

    /// The labels, if the model is a classifier.
    fn classes(&self) -> Option<&Classes> {
        None
    }

    /// The text that token numbers of the model's own tokenizer stand for; none if one is unknown.
    fn text_of(&self, tokens: &[u32]) -> Option<String>;

    /// Numbers of an embedding.
    fn dimensions(&self) -> usize;

    /// What an answer costs, and what all have cost so far; nothing where answers leave without noise.
    ///
    /// # Errors
    /// When the nodes do not say.
    fn privacy(&self) -> Result<Option<Privacy>> {
        Ok(None)
    }

    /// Whether the engine can answer now.
    ///
    /// # Errors
    /// The reason if it cannot.
    fn health(&self) -> Result<()> {
        Ok(())
    }
}

/// An engine of one model: what is not computed, the model's own frontend says.
pub trait ModelEngine: Send + Sync {
    /// Whose answers it gives.
    fn model(&self) -> &Model;

    /// Computes answers: [`Engine::answer_until`].
    ///
    /// # Errors
    /// As there.
    fn compute_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()>;

    /// What an answer costs: [`Engine::privacy`].
    ///
    /// # Errors
    /// As there.
    fn cost(&self) -> Result<Option<Privacy>> {
        Ok(None)
    }

    /// Whether it can compute now: [`Engine::health`].
    ///
    /// # Errors
    /// The reason if it cannot.
    fn ready(&self) -> Result<()> {
        Ok(())
    }
}

impl<E: ModelEngine> Engine for E {
    fn answer_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        self.compute_until(queries, stop, sink)
    }

    fn length(&self, index: usize, query: &Query) -> Result<Length> {
        length(self.model(), index, query)
    }

    fn classes(&self) -> Option<&Classes> {
        self.model().compiled.frontend.classes()
    }

    fn text_of(&self, tokens: &[u32]) -> Option<String> {
        self.model().compiled.frontend.text_of(tokens)
    }

    fn dimensions(&self) -> usize {
        self.model().compiled.frontend.dimensions()
    }

    fn privacy(&self) -> Result<Option<Privacy>> {
        self.cost()
    }

    fn health(&self) -> Result<()> {
        self.ready()
    }
}

/// Refuses texts that no engine accepts, by position.
///
/// # Errors
/// When there is none, or one is too long.
pub fn check_queries(queries: &[Query]) -> Result<()> {
    if queries.is_empty() {
        return Err(TextError::None.into());
    }
    let texts = queries.iter().enumerate().flat_map(|(i, q)| [Some(&q.text), q.pair.as_ref()].map(|text| (i, text)));
    for (index, text) in texts.filter_map(|(index, text)| Some((index, text?))) {
        if text.len() > MAX_TEXT_BYTES {
            let index = (queries.len() > 1).then_some(index);
            return Err(TextError::TooLong { index, bytes: text.len() }.into());
        }
    }
    Ok(())
}

/// Refuses queries that ask for noise where nobody adds any.
pub(crate) fn check_unlimited(queries: &[Query]) -> Result<()> {
    match queries.iter().any(|query| query.most_epsilon.is_some()) {
        true => Err(NetworkError::NoNoise.into()),
        false => Ok(()),
    }
}

/// The reference executor: it computes on this machine, in the clear, the integers that share nodes compute in exact mode.
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

impl ModelEngine for PlainEngine {
    fn model(&self) -> &Model {
        &self.model
    }

    fn compute_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        check_queries(queries)?;
        check_unlimited(queries)?;
        for (index, query) in queries.iter().enumerate() {
            wanted(stop)?;
            let encoded = encode(&self.model, index, query)?;
            let integers = self.run(&encoded)?;
            sink(decode(&self.model, index, &encoded, integers))?;
        }
        Ok(())
    }
}

impl PlainEngine {
    fn run(&self, encoded: &Encoded) -> Result<Vec<Vec<i32>>> {
        let options = ExecOptions { threads: self.threads, ..ExecOptions::default() };
        let compiled = &self.model.compiled;
        let mut inputs = encoded.inputs.clone();
        // What the nodes would add noise by: there is none here.
        let lengths = graph(&self.model, encoded.bucket)?;
        inputs.extend(lengths.inputs.iter().skip(inputs.len()).map(|spec| vec![0; spec.shape.len()]));
        let done = compiled
            .execute(encoded.bucket, &inputs, &options)
            .map_err(|e| Error::engine("running the graph in the clear", e))?;
        Ok(done.outputs)
    }
}

/// All answers of an engine to these texts, with the model's default prompt.
///
/// # Errors
/// The first error of the engine.
pub fn embed_all(engine: &dyn Engine, texts: &[impl AsRef<str>]) -> Result<Vec<Embedding>> {
    let queries: Vec<Query> = texts.iter().map(|text| Query::from(text.as_ref())).collect();
    let mut all = Vec::with_capacity(queries.len());
    engine.answer_until(&queries, &Stop::default(), &mut |answer| {
        all.push(answer);
        Ok(())
    })?;
    Ok(all)
}

/// Whether the work is still wanted.
///
/// # Errors
/// [`Error::Stopped`] once it was given up.
pub fn wanted(stop: &Stop) -> Result<()> {
    if stop.is_set() { Err(Error::Stopped) } else { Ok(()) }
}

/// How long text number `index` is for a model; nothing is computed on it.
///
/// # Errors
/// When the model cannot read it.
pub fn length(model: &Model, index: usize, query: &Query) -> Result<Length> {
    let frontend = &model.compiled.frontend;
    let length = match &query.pair {
        Some(pair) => frontend.length_of_pair(&query.text, pair),
        None => frontend.length(&query.text, query.prompt.as_deref()),
    };
    length.map_err(|source| TextError::Unreadable { index, source }.into())
}

/// The client's part before the network: tokens, embedding lookup, first norm.
pub(crate) fn encode(model: &Model, index: usize, query: &Query) -> Result<Encoded> {
    let frontend = &model.compiled.frontend;
    let encoded = match &query.pair {
        Some(pair) => frontend.encode_pair(&query.text, pair),
        None => frontend.encode_prompted(&query.text, query.prompt.as_deref()),
    };
    encoded.map_err(|source| TextError::Unreadable { index, source }.into())
}

/// The client's part after the network.
pub(crate) fn decode(model: &Model, index: usize, encoded: &Encoded, integers: Vec<Vec<i32>>) -> Embedding {
    let vector = model.compiled.frontend.decode(encoded, &integers);
    Embedding { index, tokens: encoded.tokens, truncated: encoded.truncated, vector, integers, receipt: None }
}

/// The model's graph for a padded length.
///
/// # Errors
/// When it has none.
pub fn graph(model: &Model, bucket: u32) -> Result<Arc<Graph>> {
    model.compiled.graph(bucket).map_err(|e| Error::engine(format!("building the graph for {bucket} tokens"), e))
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
        let huge = Query::from(&huge);
        let error = check_queries(std::slice::from_ref(&huge)).unwrap_err();
        assert!(error.to_string().contains("the text has 10485760 bytes"));
        let second = check_queries(&["a".into(), huge.clone()]).unwrap_err();
        assert!(second.to_string().contains("text 1 has"));
        assert!(matches!(second, Error::Text(TextError::TooLong { index: Some(1), .. })));
        check_queries(&["".into(), " ".into()]).unwrap();
        let pair = Query { pair: Some(huge.text), ..Query::from("a") };
        assert!(check_queries(&[pair]).unwrap_err().to_string().contains("10485760 bytes"));
        assert!(matches!(check_queries(&[]), Err(Error::Text(TextError::None))));
    }
}
