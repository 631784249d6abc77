//! Registered models on a node's disk: graphs, and this node's parts of weights, ready for use.
//!
//! Files are written in one step (temporary file and rename) with mode 600, so a restarted node serves what it served.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sahara_circuits::graph::Graph;
use sahara_circuits::weights::Weights;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::{DecodeError, Reader, Writer, hex, unhex, words_from_bytes};
use crate::engine::{
    Assignment, EvaluatorRole, GraphId, GraphRefused, MAX_GRAPH_BYTES, Plan, ProtocolError, Rounding, Seed, Visibility,
    WeightMaterial, read_graph, weight_words,
};
use crate::identity::{PublicKey, private_file};
use crate::status::WeightStatus;
use crate::wire::{SharingId, Task, read_visibility, visibility_code};

const MAGIC: &[u8; 8] = b"SHWPART\0";
const VERSION: u16 = 1;
/// Bytes of a weight part's file before its body.
const PREFIX: usize = 8 + 2 + 32 + 32 + 1 + 1 + 16 + 32 + 8;

/// A model that cannot be kept or used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
    /// Not registered here.
    #[error("{0} is not registered here: register the model first")]
    Missing(String),
    /// Not acceptable.
    #[error("{0}")]
    Refused(String),
    /// A graph from outside.
    #[error(transparent)]
    Graph(#[from] GraphRefused),
    /// The protocol cannot use it.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// What a part of weights is for: one commitment, and for private weights one assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct WeightKey {
    root: [u8; 32],
    /// `None` for open weights, which are the same in every assignment.
    masked_for: Option<Assignment>,
}

impl WeightKey {
    fn new(root: [u8; 32], visibility: Visibility, assignment: Assignment) -> Self {
        Self { root, masked_for: (visibility == Visibility::Private).then_some(assignment) }
    }

    fn file_name(&self) -> String {
        match self.masked_for {
            Some(assignment) => format!("{}-{}.part", hex(&self.root), assignment.helper()),
            None => format!("{}-open.part", hex(&self.root)),
        }
    }
}

/// The front of a weight part's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHeader {
    /// A graph with the shapes of the weights.
    pub graph: GraphId,
    /// Commitment to the weights.
    pub root: [u8; 32],
    /// Who knows the weights.
    pub visibility: Visibility,
    /// Which node is helper.
    pub assignment: Assignment,
    /// Which sharing it is.
    pub sharing: SharingId,
    /// Who registered it.
    pub owner: PublicKey,
    /// Bytes that follow.
    pub len: u64,
}

impl PartHeader {
    /// The byte form.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, VERSION);
        w.bytes(&self.graph.0).bytes(&self.root).u8(visibility_code(self.visibility)).u8(self.assignment.helper());
        w.bytes(&self.sharing.0).bytes(&self.owner.0).u64(self.len);
        w.0
    }

    /// Reads the byte form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("weight part", bytes);
        r.header(MAGIC, VERSION)?;
        let header = Self {
            graph: GraphId(r.array()?),
            root: r.array()?,
            visibility: read_visibility(&mut r)?,
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
            sharing: SharingId(r.array()?),
            owner: PublicKey(r.array()?),
            len: r.u64()?,
        };
        r.finish()?;
        Ok(header)
    }
}

/// The models of one node.
pub struct ModelStore {
    dir: PathBuf,
    node: u8,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    graphs: HashMap<GraphId, Option<Arc<Graph>>>,
    parts: HashMap<WeightKey, PartHeader>,
    material: HashMap<(WeightKey, SharingId), Arc<WeightMaterial>>,
    helper_open: Option<Arc<WeightMaterial>>,
    plans: HashMap<(GraphId, Rounding, Visibility), Arc<Plan>>,
    bytes: u64,
}

impl ModelStore {
    /// Opens the store of node `node` in `dir`; files that cannot be read are left alone and not served.
    pub fn open(dir: &Path, node: u8, limit: u64) -> Result<Self, ModelError> {
        fs::create_dir_all(dir).map_err(at("create", dir))?;
        let mut state = State::default();
        for entry in fs::read_dir(dir).map_err(at("list", dir))? {
            let entry = entry.map_err(at("list", dir))?;
            let path = entry.path();
            let len = entry.metadata().map_err(at("read", &path))?.len();
            match path.extension().and_then(|e| e.to_str()) {
                Some("graph") => {
                    if let Some(id) = path.file_stem().and_then(|s| s.to_str()).and_then(unhex::<32>) {
                        state.graphs.insert(GraphId(id), None);
                    }
                }
                Some("part") => match read_part_header(&path) {
                    Ok(header) => {
                        let key = WeightKey::new(header.root, header.visibility, header.assignment);
                        state.parts.insert(key, header);
                    }
                    Err(error) => tracing::warn!(%error, "a registered model cannot be used"),
                },
                Some("partial") => {
                    let _ = fs::remove_file(&path);
                    continue;
                }
                _ => continue,
            }
            state.bytes += len;
        }
        Ok(Self { dir: dir.into(), node, limit, state: Mutex::new(state) })
    }

    /// Keeps a graph.
    pub fn put_graph(&self, id: GraphId, bytes: &[u8]) -> Result<(), ModelError> {
        let graph = read_graph(bytes, id)?;
        if self.lock().graphs.contains_key(&id) {
            return Ok(());
        }
        self.room(bytes.len() as u64)?;
        write_file(&self.graph_path(&id), &[bytes])?;
        let mut state = self.lock();
        state.bytes += bytes.len() as u64;
        state.graphs.insert(id, Some(graph));
        Ok(())
    }

    /// A registered graph.
    pub fn graph(&self, id: GraphId) -> Result<Arc<Graph>, ModelError> {
        match self.lock().graphs.get(&id) {
            None => return Err(ModelError::Missing(format!("graph {id}"))),
            Some(Some(graph)) => return Ok(graph.clone()),
            Some(None) => {}
        }
        let path = self.graph_path(&id);
        let file = File::open(&path).map_err(at("open", &path))?;
        let mut bytes = Vec::new();
        file.take(MAX_GRAPH_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(at("read", &path))?;
        let graph = read_graph(&bytes, id)?;
        self.lock().graphs.insert(id, Some(graph.clone()));
        Ok(graph)
    }

    /// Whether a graph is registered.
    pub fn has_graph(&self, id: &GraphId) -> bool {
        self.lock().graphs.contains_key(id)
    }

    /// Which sharing of weights is here for an assignment.
    pub fn sharing(&self, root: &[u8; 32], visibility: Visibility, assignment: Assignment) -> Option<SharingId> {
        if visibility == Visibility::Open && assignment.role(self.node).is_none() {
            return Some(SharingId::of_open(root)); // the helper needs nothing
        }
        let key = WeightKey::new(*root, visibility, assignment);
        self.lock().parts.get(&key).map(|part| part.sharing)
    }

    /// Bytes that this node's part of the weights must have.
    pub fn part_len(&self, graph: &Graph, visibility: Visibility, assignment: Assignment) -> u64 {
        match (visibility, assignment.role(self.node)) {
            (Visibility::Private, Some(_)) => 32 + 4 * weight_words(graph),
            (Visibility::Private, None) => 64,
            (Visibility::Open, Some(_)) => 4 * weight_words(graph),
            (Visibility::Open, None) => 0,
        }
    }

    /// Whether `owner` may register weights: only who registered them may replace them.
    pub fn may_put(
        &self,
        graph: &Graph,
        visibility: Visibility,
        assignment: Assignment,
        owner: PublicKey,
    ) -> Result<(), ModelError> {
        let key = WeightKey::new(graph.weights_root, visibility, assignment);
        let registered_by = self.lock().parts.get(&key).map(|part| part.owner);
        match registered_by {
            Some(other) if other != owner => Err(ModelError::Refused(format!(
                "the weights were registered by {other} and only that key may replace them"
            ))),
            _ => self.room(self.part_len(graph, visibility, assignment)),
        }
    }

    /// Keeps this node's part of the weights.
    pub fn put_part(&self, header: PartHeader, body: &[u8]) -> Result<(), ModelError> {
        let graph = self.graph(header.graph)?;
        if self.part_len(&graph, header.visibility, header.assignment) != body.len() as u64 {
            return Err(ModelError::Refused("the weights do not have the length that the graph asks for".into()));
        }
        if body.is_empty() {
            return Ok(()); // an open model's helper
        }
        if header.visibility == Visibility::Open {
            check_open_weights(&graph, &header, body)?;
        }
        let material = Arc::new(self.build(&graph, &header, body)?);
        let key = WeightKey::new(header.root, header.visibility, header.assignment);
        write_file(&self.dir.join(key.file_name()), &[&header.encode(), body])?;
        let mut state = self.lock();
        if state.parts.insert(key, header).is_none() {
            state.bytes += (PREFIX + body.len()) as u64;
        }
        state.material.retain(|(k, _), _| *k != key);
        state.material.insert((key, header.sharing), material);
        Ok(())
    }

    /// This node's weight material for a graph, and which sharing it is.
    pub fn material(
        &self,
        graph: &Graph,
        visibility: Visibility,
        assignment: Assignment,
    ) -> Result<(Arc<WeightMaterial>, SharingId), ModelError> {
        if visibility == Visibility::Open && assignment.role(self.node).is_none() {
            let mut state = self.lock();
            let material = state.helper_open.get_or_insert_with(|| Arc::new(WeightMaterial::helper_open()));
            return Ok((material.clone(), SharingId::of_open(&graph.weights_root)));
        }
        let key = WeightKey::new(graph.weights_root, visibility, assignment);
        let header = {
            let state = self.lock();
            let header = *state
                .parts
                .get(&key)
                .ok_or_else(|| ModelError::Missing(format!("a part of the weights of model `{}`", graph.model)))?;
            if let Some(material) = state.material.get(&(key, header.sharing)) {
                return Ok((material.clone(), header.sharing));
            }
            header
        };
        let path = self.dir.join(key.file_name());
        let body = read_part_body(&path, &header)?;
        let material = Arc::new(self.build(graph, &header, &body)?);
        self.lock().material.insert((key, header.sharing), material.clone());
        Ok((material, header.sharing))
    }

    /// The plan for a task.
    pub fn plan(&self, task: &Task) -> Result<Arc<Plan>, ModelError> {
        let key = (task.graph, task.rounding, task.visibility);
        if let Some(plan) = self.lock().plans.get(&key) {
            return Ok(plan.clone());
        }
        let graph = self.graph(task.graph)?;
        let plan = Plan::new(graph, task.rounding, task.visibility).map_err(|e| ModelError::Refused(e.to_string()))?;
        let plan = Arc::new(plan);
        self.lock().plans.insert(key, plan.clone());
        Ok(plan)
    }

    /// Registered graphs.
    pub fn graphs(&self) -> Vec<GraphId> {
        let mut graphs: Vec<_> = self.lock().graphs.keys().copied().collect();
        graphs.sort_unstable();
        graphs
    }

    /// Registered weights.
    pub fn parts(&self) -> Vec<WeightStatus> {
        let state = self.lock();
        let status = |p: &PartHeader| WeightStatus {
            root: p.root,
            visibility: p.visibility,
            assignment: p.assignment,
            sharing: p.sharing,
        };
        state.parts.values().map(status).collect()
    }

    fn build(&self, graph: &Graph, header: &PartHeader, body: &[u8]) -> Result<WeightMaterial, ModelError> {
        let assignment = header.assignment;
        let role = assignment.role(self.node);
        let short = || ModelError::Protocol(ProtocolError::WeightLength);
        let seed = |bytes: &[u8; 32]| Seed::from_bytes(*bytes);
        Ok(match (header.visibility, role) {
            (Visibility::Private, Some(role)) => {
                let (key, rest) = body.split_first_chunk::<32>().ok_or_else(short)?;
                let mut words = words_from_bytes(rest);
                let material = WeightMaterial::evaluator_private(graph, assignment, role, &words, &seed(key));
                words.zeroize();
                material?
            }
            (Visibility::Private, None) => {
                let (one, rest) = body.split_first_chunk::<32>().ok_or_else(short)?;
                let (two, _) = rest.split_first_chunk::<32>().ok_or_else(short)?;
                WeightMaterial::helper_private(graph, assignment, &seed(one), &seed(two))
            }
            (Visibility::Open, Some(EvaluatorRole::First | EvaluatorRole::Second)) => {
                WeightMaterial::evaluator_open(graph, &words_from_bytes(body))?
            }
            (Visibility::Open, None) => WeightMaterial::helper_open(),
        })
    }

    fn room(&self, more: u64) -> Result<(), ModelError> {
        if self.lock().bytes.saturating_add(more) > self.limit {
            let text = format!(
                "registered models would take more than the limit of {} MB (limits.model_megabytes)",
                self.limit >> 20
            );
            return Err(ModelError::Refused(text));
        }
        Ok(())
    }

    fn graph_path(&self, id: &GraphId) -> PathBuf {
        self.dir.join(format!("{id}.graph"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_open_weights(graph: &Graph, header: &PartHeader, body: &[u8]) -> Result<(), ModelError> {
    let mut rest = body;
    let mut tensors = Vec::with_capacity(graph.weights.len());
    for spec in &graph.weights {
        let len = spec.rows as usize * spec.cols as usize * 4;
        let (part, after) = rest.split_at_checked(len).ok_or(ProtocolError::WeightLength)?;
        tensors.push(words_from_bytes(part).into_iter().map(|w| w as i32).collect());
        rest = after;
    }
    let root = Weights { tensors }.root(&graph.weights);
    if root != graph.weights_root || header.sharing != SharingId::of_open(&root) {
        return Err(ModelError::Refused("the weights are not those that the graph commits to".into()));
    }
    Ok(())
}

fn read_part_header(path: &Path) -> Result<PartHeader, ModelError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut prefix = [0; PREFIX];
    file.read_exact(&mut prefix).map_err(at("read", path))?;
    let damaged = |source| ModelError::Damaged { path: path.into(), source };
    let header = PartHeader::decode(&prefix).map_err(damaged)?;
    let len = file.metadata().map_err(at("read", path))?.len();
    if len.checked_sub(PREFIX as u64) != Some(header.len) {
        return Err(damaged(DecodeError::Field { what: "weight part", field: "length" }));
    }
    Ok(header)
}

fn read_part_body(path: &Path, header: &PartHeader) -> Result<Zeroizing<Vec<u8>>, ModelError> {
    let damaged = |source| ModelError::Damaged { path: path.into(), source };
    if read_part_header(path)? != *header {
        return Err(damaged(DecodeError::Field { what: "weight part", field: "header" }));
    }
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut body = Zeroizing::new(Vec::with_capacity(PREFIX + header.len as usize));
    file.read_to_end(&mut body).map_err(at("read", path))?;
    body.drain(..PREFIX);
    Ok(body)
}

/// Writes a private file in one step.
pub(crate) fn write_file(path: &Path, parts: &[&[u8]]) -> Result<(), ModelError> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let write = || -> io::Result<()> {
        let mut file = private_file(&partial)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&partial);
        ModelError::Io { action: "write", path: path.into(), source }
    })
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_path_buf();
    move |source| ModelError::Io { action, path, source }
}
