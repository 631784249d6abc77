//! A compiled model: weights, a graph for each padded length, and the frontend; in memory and in a folder.

#[cfg(feature = "compile")]
mod compile;
#[cfg(feature = "compile")]
mod ensemble;

use crate::bytes::DecodeError;
use crate::codec::{GraphDecodeError, GraphId, MAX_GRAPH_BYTES};
use crate::files::{MAX_TOKENIZER, read_at_most, sync_dir};
use crate::frontend::{Frontend, FrontendError};
use crate::graph::Graph;
use crate::reference::{ExecError, ExecOptions, Execution, Executor, PackedWeights};
use crate::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The version of the folder's layout, and of the compiler: what an older one stored is compiled again.
const FORMAT: u32 = 3;
/// Of somebody else's model, which only its owner compiles, these are read, too; but for the largest value of each
/// channel, whose bounds were not right before format 3.
const CLIENT_FORMATS: [u32; 2] = [2, 3];

/// Why a compiled model cannot be stored or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file's bytes were refused.
    #[error("{path}: {source}")]
    Bytes {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DecodeError,
    },
    /// A graph was refused.
    #[error("{path}: {source}")]
    Graph {
        /// The file.
        path: PathBuf,
        /// Why.
        source: GraphDecodeError,
    },
    /// The tokenizer was refused.
    #[error("{path} is not a usable tokenizer: {problem}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The files do not belong together.
    #[error("{path}: {problem}")]
    Inconsistent {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No graph for this length.
    #[error("the model has no graph for {0} tokens")]
    Bucket(u32),
}

/// Why [`CompiledModel::execute`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No such graph.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The executor refused.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

/// A model, ready to run.
pub struct CompiledModel {
    /// The name it was compiled under.
    pub name: String,
    /// Its integer weights; no tensors when only the client's part is here ([`CompiledModel::load_client`]).
    pub weights: Weights,
    /// Text to inputs, outputs to embeddings.
    pub frontend: Frontend,
    graphs: BTreeMap<u32, Arc<Graph>>,
    packed: OnceLock<PackedWeights>,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    name: String,
    /// Padded length and graph id.
    graphs: BTreeMap<u32, String>,
}

impl CompiledModel {
    /// The padded lengths, ascending.
    pub fn buckets(&self) -> Vec<u32> {
        self.graphs.keys().copied().collect()
    }

    /// The graph for a padded length.
    ///
    /// # Errors
    /// When the model has none of this length.
    pub fn graph(&self, bucket: u32) -> Result<Arc<Graph>, ModelError> {
        self.graphs.get(&bucket).cloned().ok_or(ModelError::Bucket(bucket))
    }

    /// Runs the reference executor for one padded length; the weights are packed once and kept.
    ///
    /// # Errors
    /// When the model has no graph of this length or no weights here, or the inputs have other sizes than its graph.
    pub fn execute(&self, bucket: u32, inputs: &[Vec<i32>], opts: &ExecOptions) -> Result<Execution, RunError> {
        let graph = self.graphs.get(&bucket).ok_or(ModelError::Bucket(bucket))?;
        let packed = match self.packed.get() {
            Some(packed) => packed,
            None => {
                let packed = PackedWeights::new(&self.weights, &graph.weights)?;
                self.packed.get_or_init(|| packed)
            }
        };
        Ok(Executor::new(graph, &self.weights, packed)?.run(inputs, opts)?)
    }

    /// Stores the model in `dir`, replacing what is there; an interruption leaves the old or the new, never a mixture.
    ///
    /// # Errors
    /// When the folder, or one beside it, cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| ModelError::Io { action, path, source }
        };
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = |kind: &str| dir.with_file_name(format!(".{name}.{kind}-{}", std::process::id()));
        let (partial, old) = (beside("partial"), beside("old"));
        for leftover in [&partial, &old] {
            if leftover.exists() {
                std::fs::remove_dir_all(leftover).map_err(io("remove", leftover))?;
            }
        }
        std::fs::create_dir_all(&partial).map_err(io("create", &partial))?;
        let written = self.files().into_iter().try_for_each(|(file, bytes)| {
            let path = partial.join(file);
            let write = || {
                let mut file = std::fs::File::create(&path)?;
                file.write_all(&bytes)?;
                file.sync_all()
            };
            write().map_err(io("write", &path))
        });
        let placed = written.and_then(|()| {
            sync_dir(&partial).map_err(io("write", &partial))?;
            if dir.exists() {
                std::fs::rename(dir, &old).map_err(io("replace", dir))?;
            }
            std::fs::rename(&partial, dir)
                .and_then(|()| dir.parent().map_or(Ok(()), sync_dir))
                .map_err(io("create", dir))
        });
        if placed.is_err() {
            // The error that matters is the first one; nothing half-written stays, and what was there comes back.
            let _ = std::fs::remove_dir_all(&partial);
            if old.exists() && !dir.exists() {
                let _ = std::fs::rename(&old, dir);
            }
            return placed;
        }
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(io("remove", &old))?;
        }
        Ok(())
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.client_files();
        files.push((WEIGHTS.to_owned(), self.weights.to_bytes()));
        files
    }

    /// The files that a consumer needs who does not have the model: everything but the weights.
    pub fn client_files(&self) -> Vec<(String, Vec<u8>)> {
        let ids = self.graphs.iter().map(|(&bucket, graph)| (bucket, graph.id().to_string())).collect();
        let manifest = Manifest { format: FORMAT, name: self.name.clone(), graphs: ids };
        let manifest = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        let mut files = vec![
            ("model.json".to_owned(), manifest),
            ("frontend.bin".to_owned(), self.frontend.to_bytes()),
            ("tokenizer.json".to_owned(), self.frontend.tokenizer_json().to_vec()),
        ];
        files.extend(self.graphs.iter().map(|(bucket, graph)| (graph_file(*bucket), graph.to_bytes())));
        files
    }

    /// Loads what [`CompiledModel::save`] stored, and checks that the parts belong together.
    ///
    /// # Errors
    /// When a file is missing, damaged or of another version, or the parts do not belong together.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        Self::load_files(dir, true)
    }

    /// Loads a folder with [`CompiledModel::client_files`]: a model that can be asked for, and not run here.
    ///
    /// # Errors
    /// As [`CompiledModel::load`].
    pub fn load_client(dir: &Path) -> Result<Self, ModelError> {
        Self::load_files(dir, false)
    }

    /// Whether the weights are here, so that the model can be run.
    pub fn has_weights(&self) -> bool {
        self.graphs.values().all(|graph| self.weights.matches(&graph.weights))
    }

    fn load_files(dir: &Path, with_weights: bool) -> Result<Self, ModelError> {
        let read = |file: &str, most: u64| {
            let path = dir.join(file);
            match read_at_most(&path, most) {
                Ok(Some(bytes)) => Ok((path, bytes)),
                Ok(None) => {
                    let problem = format!("it is larger than {most} bytes, more than such a file can be");
                    Err(ModelError::Inconsistent { path, problem })
                }
                Err(source) => Err(ModelError::Io { action: "read", path, source }),
            }
        };
        let (path, bytes) = read("model.json", MAX_MANIFEST)?;
        let inconsistent = |path: &Path, problem: String| ModelError::Inconsistent { path: path.to_owned(), problem };
        let manifest: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| inconsistent(&path, format!("not a model manifest: {e}")))?;
        let format = manifest.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let known = |known: &u32| u64::from(*known) == format;
        if !(known(&FORMAT) || !with_weights && CLIENT_FORMATS.iter().any(known)) {
            let what = match format > u64::from(FORMAT) {
                true => "a newer program is needed",
                false if with_weights => "it has to be compiled again",
                false => "its owner has to share it again, with a program of today",
            };
            let problem = format!("stored in format {format}, this program reads format {FORMAT}: {what}");
            return Err(inconsistent(&path, problem));
        }
        let manifest: Manifest =
            serde_json::from_value(manifest).map_err(|e| inconsistent(&path, format!("not a model manifest: {e}")))?;
        let mut weights = Weights::default();
        if with_weights {
            let (path, bytes) = read(WEIGHTS, u64::MAX)?;
            weights = Weights::from_bytes(&bytes).map_err(|source| ModelError::Bytes { path, source })?;
        }
        let mut graphs: BTreeMap<u32, Arc<Graph>> = BTreeMap::new();
        for (&bucket, id) in &manifest.graphs {
            let (path, bytes) = read(&graph_file(bucket), MAX_GRAPH_BYTES as u64)?;
            if GraphId(*blake3::hash(&bytes).as_bytes()).to_string() != *id {
                return Err(inconsistent(&path, "the graph is not the one that model.json names".into()));
            }
            let graph = Graph::from_bytes(&bytes).map_err(|source| ModelError::Graph { path: path.clone(), source })?;
            if graph.seq_len != bucket || (with_weights && !weights.matches(&graph.weights)) {
                return Err(inconsistent(&path, "the graph does not fit the weights".into()));
            }
            graphs.insert(bucket, Arc::new(graph));
        }
        match graphs.values().next() {
            Some(graph) if with_weights && weights.root(&graph.weights) != graph.weights_root => {
                return Err(inconsistent(&path, "the weights are not the ones that the graphs commit to".into()));
            }
            Some(_) => {}
            None => return Err(inconsistent(dir, "the model has no graphs".into())),
        }
        if graphs.values().any(|g| Some(g.weights_root) != graphs.values().next().map(|first| first.weights_root)) {
            return Err(inconsistent(dir, "the graphs are for different weights".into()));
        }
        let (path, bytes) = read("frontend.bin", MAX_FRONTEND)?;
        let (tokenizer_path, tokenizer_json) = read("tokenizer.json", MAX_TOKENIZER)?;
        let frontend = Frontend::from_bytes(&bytes, tokenizer_json).map_err(|e| match e {
            FrontendError::Bytes(source) => ModelError::Bytes { path: path.clone(), source },
            FrontendError::Tokenizer(problem) => ModelError::Tokenizer { path: tokenizer_path, problem },
        })?;
        let layers_follow = |graph: &Arc<Graph>| graph.nodes.iter().any(|node| node.name.starts_with("head.0."));
        if !known(&FORMAT) && frontend.pools_largest() && graphs.values().any(layers_follow) {
            let problem = "its bounds are not right for the largest value of each channel: its owner has to share it \
                           again, with a program of today";
            return Err(inconsistent(dir, problem.into()));
        }
        let width = |graph: &Arc<Graph>| match graph.outputs[..] {
            [id] => graph.nodes[id.0 as usize].shape.len(),
            _ => 0,
        };
        if graphs.values().any(|graph| width(graph) != frontend.dimensions()) {
            return Err(inconsistent(&path, "the graphs give other answers than the frontend reads".into()));
        }
        if frontend.buckets() != graphs.keys().copied().collect::<Vec<_>>() {
            return Err(inconsistent(&path, "the frontend does not fit the graphs".into()));
        }
        Ok(Self { name: manifest.name, weights, frontend, graphs, packed: OnceLock::new() })
    }
}

/// Most bytes of `model.json` and of a frontend: somebody else may have written them.
const MAX_MANIFEST: u64 = 64 << 10;
const MAX_FRONTEND: u64 = 1 << 30;
/// The file of the weights.
const WEIGHTS: &str = "weights.bin";

fn graph_file(bucket: u32) -> String {
    format!("graph-{bucket}.bin")
}
