//! The SDK for async code (feature `async`), on a runtime of tokio's.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/first_page.rs"));
//! # #[tokio::main]
//! # async fn main() -> sahara::Result<()> {
//! # let place = tokio::task::spawn_blocking(three_nodes).await.expect("three nodes");
//! let engine = sahara::model("mine").home(place.home).committee(place.committee).connect_async().await?;
//!
//! let (first, second) = tokio::join!(engine.embed(&["good morning"]), engine.embed(&["see you tomorrow"]));
//! assert_ne!(first?[0].vector, second?[0].vector);
//! # Ok(())
//! # }
//! ```
//!
//! The engines block: they compute, or wait for share nodes on threads of their own. So this is a thin face of them: each
//! call is worked on by a thread that tokio keeps for blocking work, and whoever drops the future, or the answers, gives
//! the work up, down to the jobs of the share nodes.
//!
//! # Panics
//! As all of tokio, what is called here outside a runtime panics.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::embedding::{Classes, Embedding, Engine, Query, Stop};
use crate::error::{Error, Result};

/// Answers that wait to be taken; the engine pauses when there are more.
const WAITING: usize = 16;

/// An engine for async code. Clones share it.
#[derive(Clone)]
pub struct AsyncEngine(Arc<dyn Engine>);

impl AsyncEngine {
    /// A face of this engine.
    pub fn new(engine: impl Engine + 'static) -> Self {
        Self(Arc::new(engine))
    }

    /// The answers to these queries, one after the other, as they come. At most 16 wait to be taken; then the engine waits.
    pub fn answers(&self, queries: Vec<Query>) -> Answers {
        let (sender, receiver) = mpsc::channel(WAITING);
        let stop = Stop::default();
        let (engine, given_up) = (self.0.clone(), stop.clone());
        let work = spawn_blocking(move || {
            engine.answer_until(&queries, &given_up, &mut |answer| {
                // Nobody takes them any more.
                sender.blocking_send(answer).map_err(|_| Error::Stopped)
            })
        });
        Answers { receiver, work: Some(work), _given_up: SetWhenDropped(stop) }
    }

    /// All answers to these queries, in order.
    ///
    /// # Errors
    /// The first error of the engine.
    pub async fn answer(&self, queries: Vec<Query>) -> Result<Vec<Embedding>> {
        let mut all = Vec::with_capacity(queries.len());
        let mut answers = self.answers(queries);
        while let Some(answer) = answers.next().await {
            all.push(answer?);
        }
        Ok(all)
    }

    /// Embeds texts with the model's default prompt; one answer a text, in order.
    ///
    /// # Errors
    /// The first error of the engine.
    pub async fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Embedding>> {
        self.answer(texts.iter().map(|text| Query::from(text.as_ref())).collect()).await
    }

    /// Whether the engine can answer now.
    ///
    /// # Errors
    /// The reason if it cannot.
    pub async fn health(&self) -> Result<()> {
        let engine = self.0.clone();
        run(move |_| engine.health()).await
    }

    /// The labels, if the model is a classifier.
    pub fn classes(&self) -> Option<&Classes> {
        self.0.classes()
    }

    /// Numbers of an embedding.
    pub fn dimensions(&self) -> usize {
        self.0.dimensions()
    }
}

/// Answers as they come. Dropped before the last one, it gives up the others.
pub struct Answers {
    receiver: mpsc::Receiver<Embedding>,
    /// What the engine ends with.
    work: Option<JoinHandle<Result<()>>>,
    _given_up: SetWhenDropped,
}

impl Answers {
    /// The next answer; none after the last one, and after an error. It may be dropped and called again: no answer is lost.
    pub async fn next(&mut self) -> Option<Result<Embedding>> {
        if let Some(answer) = self.receiver.recv().await {
            return Some(Ok(answer));
        }
        let done = self.work.as_mut()?.await;
        self.work = None;
        done.map_err(died).flatten().err().map(Err)
    }
}

/// Anything of the SDK that blocks (opening a model, connecting, sharing), for async code. The work is told to stop when the
/// future is dropped.
///
/// # Errors
/// What the work gives.
pub async fn run<T: Send + 'static>(work: impl FnOnce(&Stop) -> Result<T> + Send + 'static) -> Result<T> {
    let stop = Stop::default();
    let _given_up = SetWhenDropped(stop.clone());
    spawn_blocking(move || work(&stop)).await.map_err(died).flatten()
}

/// The thread that worked panicked, or its runtime ends.
fn died(error: JoinError) -> Error {
    Error::engine("working beside async code", error)
}

struct SetWhenDropped(Stop);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.set();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::embedding::{Length, Sink, wanted};
    use crate::error::ErrorKind;

    /// Answers with the text's length; goes on for ever with "slow".
    #[derive(Default)]
    struct Lengths {
        given_up: Arc<AtomicUsize>,
    }

    impl Engine for Lengths {
        fn answer_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
            for (index, query) in queries.iter().enumerate() {
                if &*query.text == "slow" {
                    while !stop.is_set() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    self.given_up.fetch_add(1, Ordering::SeqCst);
                    return wanted(stop);
                }
                assert!(&*query.text != "panic", "as told");
                if &*query.text == "bad" {
                    return Err(Error::sink("bad"));
                }
                let vector = vec![query.text.len() as f32];
                sink(Embedding { index, tokens: 1, truncated: false, vector, integers: vec![], receipt: None })?;
            }
            Ok(())
        }

        fn length(&self, _: usize, _: &Query) -> Result<Length> {
            Ok(Length { tokens: 1, truncated: false })
        }

        fn text_of(&self, _: &[u32]) -> Option<String> {
            None
        }

        fn dimensions(&self) -> usize {
            1
        }
    }

    #[tokio::test]
    async fn answers_come_in_order_until_the_first_error() {
        let engine = AsyncEngine::new(Lengths::default());
        let texts: Vec<String> = (0..100).map(|length| "x".repeat(length)).collect();
        let all = engine.embed(&texts).await.unwrap();
        assert!(all.iter().enumerate().all(|(index, answer)| answer.vector == [index as f32]));
        let mut answers = engine.answers(["a", "bad", "b"].map(Query::from).to_vec());
        assert!(answers.next().await.unwrap().is_ok());
        assert_eq!(answers.next().await.unwrap().unwrap_err().kind(), ErrorKind::Fault);
        assert!(answers.next().await.is_none());
        assert_eq!(run(|_| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn an_engine_that_panics_does_not_look_as_if_it_had_answered_all() {
        let engine = AsyncEngine::new(Lengths::default());
        let mut answers = engine.answers(["a", "panic", "b"].map(Query::from).to_vec());
        assert!(answers.next().await.unwrap().is_ok());
        assert_eq!(answers.next().await.unwrap().unwrap_err().kind(), ErrorKind::Fault);
        assert!(answers.next().await.is_none());
    }

    #[tokio::test]
    async fn whoever_drops_the_answers_gives_the_work_up() {
        let given_up = Arc::<AtomicUsize>::default();
        let engine = AsyncEngine::new(Lengths { given_up: given_up.clone() });
        let mut answers = engine.answers(vec!["a".into(), "slow".into()]);
        assert!(answers.next().await.unwrap().is_ok());
        drop(answers);
        for _ in 0..5000 {
            if given_up.load(Ordering::SeqCst) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the work goes on");
    }
}
