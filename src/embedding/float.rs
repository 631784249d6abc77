//! The engine of the original model, in floating point: the yardstick of quality.

use std::sync::Arc;

use sahara_circuits::float::FloatModel;

use super::{Embedding, ModelEngine, Query, Sink, Stop, check_queries, check_unlimited, encode, wanted};
use crate::error::{Error, Result};
use crate::models::{Model, StoreError, check_unchanged};

/// The float model, as published.
pub struct FloatEngine {
    float: FloatModel,
    model: Arc<Model>,
}

impl FloatEngine {
    /// Loads the float weights of a model.
    ///
    /// # Errors
    /// When its files are not here, or not as they were when it was pulled.
    pub fn new(model: Arc<Model>) -> Result<Self> {
        model.info.check_files()?;
        check_unchanged(&model.info, &model.folder)?;
        let unusable =
            |source| StoreError::Unusable { what: format!("the float model of {}", model.info.name), source };
        let float = FloatModel::load(&model.folder).map_err(unusable)?;
        Ok(Self { float, model })
    }
}

impl ModelEngine for FloatEngine {
    fn model(&self) -> &Model {
        &self.model
    }

    fn compute_until(&self, queries: &[Query], stop: &Stop, sink: Sink<'_>) -> Result<()> {
        check_queries(queries)?;
        check_unlimited(queries)?;
        for (index, query) in queries.iter().enumerate() {
            wanted(stop)?;
            let encoded = encode(&self.model, index, query)?;
            let vector = match &query.pair {
                Some(pair) => self.float.embed_pair(&query.text, pair),
                None => self.float.embed_prompted(&query.text, query.prompt.as_deref()),
            };
            let vector = vector.map_err(|e| Error::engine("running the float model", e))?;
            let answer = Embedding {
                index,
                tokens: encoded.tokens,
                truncated: encoded.truncated,
                vector,
                integers: Vec::new(),
                receipt: None,
            };
            sink(answer)?;
        }
        Ok(())
    }
}
