//! The demo: the same sentences on the network, by the reference executor and by the float model, and what each costs.
//!
//! Preprocessing is measured apart from the answers. Processor time is that of the three node processes, which they
//! report themselves, and of this process while it acts as the client; comparisons run outside these stretches.

pub mod market;
mod report;
mod sentences;

use std::sync::Arc;

pub use report::{Report, Row};

use crate::cpu::Stopwatch;
use crate::error::{Error, Result};
use crate::progress::Indicator;
use sahara::embedding::{self, Embedding, Engine, FloatEngine, PlainEngine, Query, embed_all};
use sahara::home::Home;
use sahara::models::Model;
use sahara::network::{Figures, NetworkEngine, NetworkOptions, Rounding, Visibility};

/// What a text that had to be cut counts as longer than the model reads; only its order of magnitude matters.
const LONGER: usize = 12;

/// What the demo embeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// This many of the built-in sentences, and passages joined from them.
    Sentences(usize),
    /// `count` texts of `tokens` tokens each.
    Tokens {
        /// Tokens of each text, special ones included.
        tokens: usize,
        /// Number of texts.
        count: usize,
    },
}

/// The texts themselves.
pub fn texts(model: &Model, wanted: Texts) -> Result<Vec<String>> {
    match wanted {
        Texts::Sentences(count) => Ok(sentences::choose(count)),
        Texts::Tokens { tokens, count } => {
            let counted = |text: &str| {
                let length = embedding::length(model, 0, &text.into())?;
                Ok(if length.truncated { length.tokens + LONGER } else { length.tokens })
            };
            let longest = model.compiled.frontend.max_tokens();
            if tokens > longest {
                return Err(Error::user(format!(
                    "{} reads at most {longest} tokens: choose a smaller --tokens",
                    model.info.name
                )));
            }
            let texts: Vec<String> =
                (0..count).map(|seed| sentences::of_tokens(tokens, seed, &counted)).collect::<Result<_>>()?;
            if let Some(text) = texts.first()
                && counted(text)? > tokens
            {
                return Err(Error::user(format!(
                    "{} reads no text of {tokens} tokens: choose another --tokens",
                    model.info.name
                )));
            }
            Ok(texts)
        }
    }
}

/// Runs the demo on a network that is up.
pub fn run(
    home: &Home,
    model: &Arc<Model>,
    texts: &[String],
    options: NetworkOptions,
    progress: &Indicator,
) -> Result<Report> {
    let network = NetworkEngine::connect(home, None, model.clone(), options.clone(), &progress.events())?;
    let measured = on_the_network(&network, texts, progress)?;

    progress.step("the same sentences in the clear, to compare");
    let (plain, reference_cpu_seconds) = in_the_clear(&PlainEngine::new(model.clone(), 0), texts)?;
    let (float, plaintext_cpu_seconds) = in_the_clear(&FloatEngine::new(model.clone())?, texts)?;
    progress.clear();

    let rows = rows(texts, &measured.answers, &plain, &float);
    let cosines: Vec<f64> = rows.iter().map(|row| row.cosine).collect();
    let count = rows.len() as f64;
    let equal_answers = rows.iter().filter(|row| row.equal).count();
    let Measured { offline, online, .. } = &measured;
    let bytes_offline = offline.figures.bytes() + online.figures.offline;
    let bytes_total = offline.figures.bytes() + online.figures.bytes();
    Ok(Report {
        model: model.info.name.clone(),
        mode: mode_name(options.rounding),
        weights: weights_name(options.visibility.unwrap_or(Visibility::Private)),
        sentences: rows.len(),
        batch: options.jobs.min(rows.len()),
        tokens: rows.iter().map(|row| row.tokens).sum(),
        buckets: measured.buckets.clone(),
        exact_match: equal_answers == rows.len(),
        equal_answers,
        cosine_mean: cosines.iter().sum::<f64>() / count,
        cosine_min: cosines.iter().copied().fold(f64::INFINITY, f64::min),
        cosine_reference_min: measured
            .answers
            .iter()
            .zip(&plain)
            .map(|(a, b)| report::cosine(&a.vector, &b.vector))
            .fold(f64::INFINITY, f64::min),
        cpu_seconds_total: offline.cpu() + online.cpu(),
        cpu_seconds_offline: offline.cpu(),
        cpu_seconds_online: online.cpu(),
        cpu_seconds_client: online.client_cpu,
        wall_seconds_offline: offline.wall,
        wall_seconds_online: online.wall,
        sentences_per_second: count / online.wall.max(1e-9),
        bytes_total,
        bytes_offline,
        bytes_online: bytes_total - bytes_offline,
        bytes_client: online.figures.client,
        rounds: measured.rounds,
        rounds_per_layer: f64::from(measured.rounds) / f64::from(measured.layers.max(1)),
        plaintext_cpu_seconds,
        reference_cpu_seconds,
        wall_seconds_setup: measured.setup.wall,
        cpu_seconds_setup: measured.setup.cpu(),
        bytes_setup: measured.setup.figures.bytes(),
        results: rows,
        market: None,
    })
}

/// Answers and processor seconds of an engine on this machine, once it has warmed up: a first touch of the weights is
/// no part of what plaintext costs.
fn in_the_clear(engine: &dyn Engine, texts: &[String]) -> Result<(Vec<Embedding>, f64)> {
    embed_all(engine, &texts[..1.min(texts.len())])?;
    let watch = Stopwatch::start();
    let answers = embed_all(engine, texts)?;
    Ok((answers, watch.cpu_seconds()))
}

/// A stretch of work by all parties.
#[derive(Default)]
struct Stretch {
    wall: f64,
    client_cpu: f64,
    figures: Figures,
}

impl Stretch {
    fn cpu(&self) -> f64 {
        self.client_cpu + self.figures.cpu_seconds
    }

    /// Does the work and adds its costs; the nodes are asked before and after.
    fn measure<T>(&mut self, network: &NetworkEngine, work: impl FnOnce() -> sahara::Result<T>) -> Result<T> {
        let before = network.figures()?;
        let watch = Stopwatch::start();
        let done = work()?;
        self.wall += watch.wall_seconds();
        self.client_cpu += watch.cpu_seconds();
        self.figures.add(&network.figures()?.since(&before));
        Ok(done)
    }
}

struct Measured {
    answers: Vec<Embedding>,
    buckets: Vec<(u32, usize)>,
    offline: Stretch,
    online: Stretch,
    rounds: u32,
    layers: u32,
    setup: Stretch,
}

/// Hands the model to the nodes if they do not have it, and has each of them load it: one short text for every choice
/// of helper. Both happen once, for the model's life and for a node's, and are counted apart.
fn get_ready(network: &NetworkEngine) -> sahara::Result<()> {
    network.register()?;
    let texts = vec!["ready".to_owned(); 3];
    network.embed(&texts, &mut |_| Ok(()))
}

fn on_the_network(network: &NetworkEngine, texts: &[String], progress: &Indicator) -> Result<Measured> {
    let buckets = network.buckets_of(texts)?;
    let mut setup = Stretch::default();
    setup.measure(network, || get_ready(network))?;
    let mut measured = Measured {
        answers: Vec::with_capacity(texts.len()),
        buckets,
        offline: Stretch::default(),
        online: Stretch::default(),
        rounds: 0,
        layers: network.layers()?,
        setup,
    };
    progress.count("embedding on the three nodes", texts.len() as u64);
    let mut start = 0;
    let queries: Vec<Query> = texts.iter().map(Query::from).collect();
    while start < queries.len() {
        // Tokenising and the first norm are the client's online work; they come first because the packs depend on
        // the length of the texts.
        let window = measured.online.measure(network, || network.window(&queries, start))?;
        start += window.len();
        measured.offline.measure(network, || network.prepare(&window))?;
        let answers = &mut measured.answers;
        let rounds = measured.online.measure(network, || {
            network.run(window, &mut |answer| {
                progress.tick();
                answers.push(answer);
                Ok(())
            })
        })?;
        measured.rounds = measured.rounds.max(rounds);
    }
    Ok(measured)
}

fn rows(texts: &[String], answers: &[Embedding], plain: &[Embedding], float: &[Embedding]) -> Vec<Row> {
    let vectors: Vec<&[f32]> = answers.iter().map(|answer| answer.vector.as_slice()).collect();
    let nearest = report::nearest(&vectors);
    answers
        .iter()
        .zip(plain.iter().zip(float))
        .zip(nearest)
        .map(|((answer, (plain, float)), near)| Row {
            index: answer.index,
            text: texts[answer.index].clone(),
            tokens: answer.tokens,
            cosine: report::cosine(&answer.vector, &float.vector),
            equal: answer.integers == plain.integers,
            nearest: near.map(|(index, _)| index),
            nearest_cosine: near.map(|(_, cosine)| cosine),
        })
        .collect()
}

fn mode_name(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Exact => "exact",
        Rounding::Faithful => "faithful",
    }
}

fn weights_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Private => "private",
        Visibility::Open => "open",
    }
}
