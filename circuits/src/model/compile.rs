//! From a Hugging Face folder to a compiled model.

use super::CompiledModel;
use crate::bert::{CompileOptions, Compiler, rows};
use crate::frontend::Frontend;
use crate::hf::{CompileError, Parameters, Table};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

impl CompiledModel {
    /// Compiles a Hugging Face folder; `progress` is told what is being done.
    ///
    /// # Errors
    /// When the folder cannot be read, or holds what would change an answer and is not supported.
    pub fn compile(folder: &Path, name: &str, progress: &mut dyn FnMut(&str)) -> Result<Self, CompileError> {
        Self::compile_with(folder, name, CompileOptions::default(), progress)
    }

    /// [`CompiledModel::compile`] with other choices than the default ones.
    ///
    /// # Errors
    /// As [`CompiledModel::compile`].
    pub fn compile_with(
        folder: &Path,
        name: &str,
        options: CompileOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, CompileError> {
        progress("reading the model");
        if let Some(table) = Table::of(folder)? {
            let (graph, weights, frontend) = rows::compile(name, table, &options)?;
            let graphs = BTreeMap::from([(1, Arc::new(graph))]);
            return Ok(Self { name: name.to_owned(), weights, frontend, graphs, packed: OnceLock::new() });
        }
        let parameters = Parameters::read(folder)?;
        let compiler = Compiler::new(name, &parameters, options, progress)?;
        let frontend = Frontend::new(parameters, compiler.compiled());
        let mut graphs = BTreeMap::new();
        for bucket in frontend.buckets() {
            graphs.insert(bucket, Arc::new(compiler.graph(bucket)?));
        }
        Ok(Self { name: name.to_owned(), weights: compiler.weights, frontend, graphs, packed: OnceLock::new() })
    }
}
