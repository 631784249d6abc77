//! A model and the engine that answers for it: the share nodes, or this machine in the clear.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use sahara::embedding::{Embedding, Engine, PlainEngine, Query};
use sahara::error::Result;
use sahara::home::Home;
use sahara::models::{self, Model};
use sahara::network::{NetworkEngine, NetworkOptions, NodeStatus, Rounding, Visibility};

use crate::errors::{input, sentence};
use crate::job::{Found, Job, Running};

/// Numbers of all answers in the machine's byte order, of a classifier their scores, the tokens of each text, and which texts
/// were cut.
type Answers<'py> = (Bound<'py, PyByteArray>, Option<Bound<'py, PyByteArray>>, Vec<usize>, Vec<usize>);

/// What a node says of itself, or why it says nothing.
#[derive(IntoPyObject)]
struct Node {
    name: String,
    error: Option<String>,
    ready: bool,
    version: String,
    uptime_seconds: u64,
    jobs_running: u32,
    jobs_done: u64,
    jobs_failed: u64,
    packs_ready: u64,
    cpu_seconds: f64,
}

impl From<(String, Result<NodeStatus>)> for Node {
    fn from((name, status): (String, Result<NodeStatus>)) -> Self {
        let (status, error) = match status {
            Ok(status) => (status, None),
            Err(error) => (NodeStatus::default(), Some(sentence(&error))),
        };
        Self {
            name,
            error,
            ready: status.ready,
            uptime_seconds: status.uptime_seconds,
            jobs_running: status.jobs_running,
            jobs_done: status.jobs_done,
            jobs_failed: status.jobs_failed,
            packs_ready: status.packs.iter().map(|(_, count)| u64::from(*count)).sum(),
            cpu_seconds: status.cpu_seconds(),
            version: status.program,
        }
    }
}

/// A model that can be asked.
#[pyclass(frozen, module = "sahara._native")]
pub struct Session {
    model: Arc<Model>,
    engine: Engines,
    running: Running,
}

#[derive(Clone)]
enum Engines {
    Network(Arc<NetworkEngine>),
    Plain(Arc<PlainEngine>),
}

impl Engines {
    fn get(&self) -> &dyn Engine {
        match self {
            Self::Network(engine) => engine.as_ref(),
            Self::Plain(engine) => engine.as_ref(),
        }
    }
}

#[pymethods]
impl Session {
    /// Opens a model on the share nodes; the result is a session.
    #[staticmethod]
    fn connect(
        model: String,
        committee: Option<PathBuf>,
        home: Option<PathBuf>,
        mode: &str,
        weights: Option<&str>,
        jobs: Option<usize>,
    ) -> PyResult<Job> {
        let mut options = NetworkOptions {
            rounding: rounding(mode)?,
            visibility: weights.map(visibility).transpose()?,
            ..NetworkOptions::default()
        };
        if let Some(jobs) = jobs {
            options.jobs = Some(jobs)
                .filter(|jobs| (1..=64).contains(jobs))
                .ok_or_else(|| input(&format!("jobs={jobs} is out of range: give a number from 1 to 64")))?;
        }
        Job::start("opening the model", 0, move |work| {
            let (home, running) = (Home::locate(home)?, Running::default());
            running.add(work);
            let progress = running.progress();
            let model = Arc::new(models::open(&home, &model, committee.as_deref(), &progress)?);
            let engine = NetworkEngine::connect(&home, committee.as_deref(), model.clone(), options, &progress)?;
            Ok(found(Self { model, engine: Engines::Network(Arc::new(engine)), running }))
        })
    }

    /// Opens a model to compute here in the clear; the result is a session.
    #[staticmethod]
    fn local(model: String, home: Option<PathBuf>, threads: usize) -> PyResult<Job> {
        Job::start("opening the model", 0, move |work| {
            let model = Arc::new(models::open_whole(&Home::locate(home)?, &model, &work.progress())?);
            let engine = Engines::Plain(Arc::new(PlainEngine::new(model.clone(), threads)));
            Ok(found(Self { model, engine, running: Running::default() }))
        })
    }

    /// Answers for texts, each read together with the pair of the same place if there are any; the result is `Answers`.
    fn answer(&self, texts: Vec<String>, pairs: Option<Vec<String>>, prompt: Option<String>) -> PyResult<Job> {
        let mut pairs = pairs.unwrap_or_default().into_iter();
        let query = |text: String| Query {
            text: text.into(),
            pair: pairs.next().map(Into::into),
            prompt: prompt.clone(),
            ..Query::default()
        };
        let queries: Vec<Query> = texts.into_iter().map(query).collect();
        let (engine, running, all) = (self.engine.clone(), self.running.clone(), queries.len());
        Job::start(ANSWERING, all, move |work| {
            running.add(work);
            let engine = engine.get();
            let mut answers = Vec::with_capacity(all);
            engine.answer_until(&queries, work.stop(), &mut |answer| {
                answers.push(Embedding { integers: Vec::new(), ..answer });
                work.tick(ANSWERING, answers.len(), all);
                Ok(())
            })?;
            let scores = engine.classes().map(|classes| answers.iter().map(|a| classes.scores(&a.vector)).collect());
            Ok(Box::new(move |py: Python<'_>| collected(py, &answers, scores)?.into_pyobject(py).map(Bound::into_any)))
        })
    }

    /// What each share node says of itself: its name in the committee and either its state or why it says nothing; the result
    /// is a list, empty for a model that is computed here.
    fn status(&self) -> PyResult<Job> {
        let engine = self.engine.clone();
        Job::start("asking the nodes for their status", 0, move |_| {
            let nodes = match &engine {
                Engines::Network(engine) => engine.nodes(),
                Engines::Plain(_) => Vec::new(),
            };
            Ok(Box::new(move |py: Python<'_>| {
                let nodes: Vec<_> = nodes.into_iter().map(Node::from).collect();
                nodes.into_pyobject(py)
            }))
        })
    }

    /// Gives up the answers that are worked on.
    fn close(&self) {
        self.running.stop();
    }

    /// Name of the model on this machine.
    #[getter]
    fn name(&self) -> &str {
        &self.model.info.name
    }

    /// Under which name the share nodes hold it; none if it is computed here.
    #[getter]
    fn sharing(&self) -> Option<String> {
        match &self.engine {
            Engines::Network(engine) => Some(engine.sharing()),
            Engines::Plain(_) => None,
        }
    }

    /// Numbers of an answer.
    #[getter]
    fn dimensions(&self) -> usize {
        self.engine.get().dimensions()
    }

    /// Tokens of a text that the model reads.
    #[getter]
    fn max_tokens(&self) -> usize {
        self.model.compiled.frontend.max_tokens()
    }

    /// The labels of a classifier.
    #[getter]
    fn labels(&self) -> Option<Vec<String>> {
        let classes = self.engine.get().classes();
        classes.map(|classes| classes.labels.iter().map(|label| label.0.clone()).collect())
    }

    /// The model's prompts: name and text.
    #[getter]
    fn prompts(&self) -> Vec<(String, String)> {
        let prompts = self.model.compiled.frontend.prompts().iter();
        prompts.map(|prompt| (prompt.name.clone(), prompt.text.clone())).collect()
    }

    /// Name of the prompt that is taken when none is named.
    #[getter]
    fn default_prompt(&self) -> Option<&str> {
        self.model.compiled.frontend.default_prompt()
    }
}

const ANSWERING: &str = "answering";

/// A session as what a job has found.
fn found(session: Session) -> Found {
    Box::new(move |py| Bound::new(py, session).map(Bound::into_any))
}

/// All answers in one piece of memory each for numbers and scores.
fn collected<'py>(py: Python<'py>, answers: &[Embedding], scores: Option<Vec<Vec<f32>>>) -> PyResult<Answers<'py>> {
    let vectors = answers.iter().map(|answer| answer.vector.as_slice());
    let numbers = packed(py, vectors)?;
    let scores = scores.map(|scores| packed(py, scores.iter().map(Vec::as_slice))).transpose()?;
    let tokens = answers.iter().map(|answer| answer.tokens).collect();
    let cut = answers.iter().filter(|answer| answer.truncated).map(|answer| answer.index).collect();
    Ok((numbers, scores, tokens, cut))
}

/// Rows one after the other, written once and into Python's own memory: numpy takes it as it is.
fn packed<'a, 'py>(
    py: Python<'py>,
    rows: impl Iterator<Item = &'a [f32]> + Clone,
) -> PyResult<Bound<'py, PyByteArray>> {
    let bytes = rows.clone().map(size_of_val).sum();
    PyByteArray::new_with(py, bytes, |mut place| {
        for number in rows.flatten() {
            let Some((here, rest)) = place.split_first_chunk_mut() else { break };
            *here = number.to_ne_bytes();
            place = rest;
        }
        Ok(())
    })
}

fn rounding(mode: &str) -> PyResult<Rounding> {
    match mode {
        "exact" => Ok(Rounding::Exact),
        "faithful" => Ok(Rounding::Faithful),
        other => Err(input(&format!("mode={other:?} is unknown: give \"exact\" or \"faithful\""))),
    }
}

fn visibility(weights: &str) -> PyResult<Visibility> {
    match weights {
        "private" => Ok(Visibility::Private),
        "open" => Ok(Visibility::Open),
        other => Err(input(&format!("weights={other:?} is unknown: give \"private\" or \"open\""))),
    }
}
