//! What a gateway serves: one model under its names, by an engine that is replaced when the model gets another version.

use std::sync::{Arc, Mutex, PoisonError};

use crate::embeddings::engine_error;
use crate::error::Advice;
use crate::openai::ApiError;
use sahara::embedding::Engine;
use sahara::error::{Error, ErrorKind, NetworkError, Result};

/// Makes an engine for the version that is current now.
pub type Renew = Box<dyn Fn() -> Result<Arc<dyn Engine>> + Send + Sync>;

/// An engine, and how to get one for another version of its model.
pub struct Served {
    engine: Mutex<Arc<dyn Engine>>,
    renew: Option<Renew>,
    /// One renewal at a time.
    renewing: Mutex<()>,
}

impl Served {
    /// An engine whose model stays as it is.
    pub fn only(engine: Arc<dyn Engine>) -> Self {
        Self { engine: Mutex::new(engine), renew: None, renewing: Mutex::default() }
    }

    /// An engine whose model may get another version.
    pub fn renewed_by(engine: Arc<dyn Engine>, renew: Renew) -> Self {
        Self { renew: Some(renew), ..Self::only(engine) }
    }

    /// The engine of the version that was current last.
    pub fn engine(&self) -> Arc<dyn Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers a whole request by one engine; once more, from the beginning, when its model has another version meanwhile.
    pub(crate) fn answer<T>(
        &self,
        advice: &Advice,
        answer: impl Fn(&dyn Engine) -> Result<T, Failure>,
    ) -> Result<T, ApiError> {
        let engine = self.engine();
        match answer(engine.as_ref()) {
            Err(Failure::Engine(error)) if error.kind() == ErrorKind::Changed => {}
            done => return done.map_err(|failure| failure.told(advice)),
        }
        let fresh = self.after(&engine).map_err(|error| engine_error(&error, advice))?;
        answer(fresh.as_ref()).map_err(|failure| failure.told(advice))
    }

    /// The engine after `old`, which another request may have got already.
    fn after(&self, old: &Arc<dyn Engine>) -> Result<Arc<dyn Engine>> {
        let _turn = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.engine();
        let Some(renew) = self.renew.as_ref().filter(|_| Arc::ptr_eq(&current, old)) else { return Ok(current) };
        let fresh = renew()?;
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        Ok(fresh)
    }
}

/// Why a request is not answered: it is refused, or the engine failed.
pub enum Failure {
    /// As the client is told.
    Api(ApiError),
    /// What the engine says.
    Engine(Error),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Self::Engine(error.into())
    }
}

impl Failure {
    /// As the client is told.
    fn told(self, advice: &Advice) -> ApiError {
        match self {
            Self::Api(error) => error,
            Self::Engine(error) => engine_error(&error, advice),
        }
    }
}
