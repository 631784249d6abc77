//! The current version of one sharing: its manifest, and what has been made ready of it in memory. Everything that is
//! read from disk is compared with the manifest again.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sahara_circuits::graph::Graph;
use sahara_circuits::weights::Weights;
use zeroize::{Zeroize, Zeroizing};

use super::files::{MANIFEST, PartHeader, at, damaged, graph_file, part_file, read_limited};
use super::ready::Ready;
use super::{ModelError, part_len};
use crate::codec::{DecodeError, words_from_bytes};
use crate::engine::{
    Assignment, Cost, EvaluatorRole, GraphId, MAX_GRAPH_BYTES, Plan, ProtocolError, Seed, Visibility, WeightMaterial,
    read_graph,
};
use crate::manifest::{MAX_MANIFEST, Manifest, ManifestId, SignedManifest, masked_hasher, seed_commitment};
use crate::wire::Task;

/// One version of a sharing on this node.
pub(super) struct Entry {
    folder: PathBuf,
    signed: SignedManifest,
    /// Bytes of all files.
    pub(super) bytes: u64,
    ready: Arc<Ready>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ready.forget(self.id());
    }
}

impl Entry {
    /// Opens the folder of a version.
    pub(super) fn load(folder: &Path, id: ManifestId, ready: &Arc<Ready>) -> Result<Self, ModelError> {
        let path = folder.join(MANIFEST);
        let bytes = read_limited(&path, MAX_MANIFEST as u64)?;
        let signed = SignedManifest::decode(&bytes).map_err(damaged(&path))?;
        if signed.id() != id {
            return Err(damaged(&path)(DecodeError::Field { what: "manifest", field: "id" }));
        }
        let mut bytes = 0;
        for file in fs::read_dir(folder).map_err(at("list", folder))? {
            bytes += file.and_then(|f| f.metadata()).map_err(at("list", folder))?.len();
        }
        Ok(Self::new(folder.into(), signed, bytes, ready.clone()))
    }

    pub(super) fn new(folder: PathBuf, signed: SignedManifest, bytes: u64, ready: Arc<Ready>) -> Self {
        Self { folder, signed, bytes, ready }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn signed(&self) -> &SignedManifest {
        &self.signed
    }

    pub(super) fn manifest(&self) -> &Manifest {
        self.signed.manifest()
    }

    pub(super) fn id(&self) -> ManifestId {
        self.signed.id()
    }

    /// A graph that the manifest permits.
    pub(super) fn graph(&self, id: GraphId) -> Result<Arc<Graph>, ModelError> {
        if self.manifest().graphs.binary_search(&id).is_err() {
            return Err(not_permitted(&id));
        }
        self.ready.graph(self.id(), id, || {
            let graph = read_graph(&read_limited(&self.folder.join(graph_file(&id)), MAX_GRAPH_BYTES as u64)?, id)?;
            // The upload has checked it; this is where a bug there would end.
            if self.manifest().permits(id, &graph) { Ok(graph) } else { Err(not_permitted(&id)) }
        })
    }

    /// The plan of a permitted graph, and what a job costs.
    pub(super) fn plan(&self, graph: &Arc<Graph>, task: &Task) -> Result<(Arc<Plan>, Cost), ModelError> {
        self.ready.plan(self.id(), task.graph, graph, task.rounding, self.manifest().visibility())
    }

    /// The weight material of node `node`, one for all graphs: they have one layout. `cost` is that of one of them.
    pub(super) fn material(
        &self,
        graph: &Graph,
        cost: &Cost,
        assignment: Assignment,
        node: u8,
    ) -> Result<Arc<WeightMaterial>, ModelError> {
        let role = assignment.role(node);
        let masked_for = match self.manifest().visibility() {
            Visibility::Private => Some(assignment),
            Visibility::Open if role.is_none() => return Ok(Arc::new(WeightMaterial::helper_open())),
            Visibility::Open => None,
        };
        let [evaluator, helper] = cost.material_memory;
        let bytes = if role.is_some() { evaluator } else { helper };
        // The part as it is read, and its words.
        let scratch = part_len(graph, self.manifest().visibility(), role.is_some()).saturating_mul(2);
        self.ready.material(self.id(), masked_for, [bytes, scratch], || self.part(graph, masked_for, role))
    }

    fn part(
        &self,
        graph: &Graph,
        masked_for: Option<Assignment>,
        role: Option<EvaluatorRole>,
    ) -> Result<WeightMaterial, ModelError> {
        let path = self.folder.join(part_file(masked_for));
        let len = part_len(graph, self.manifest().visibility(), role.is_some());
        let body = read_part(&path, &PartHeader { manifest: self.id(), masked_for, len })?;
        read_material(self.manifest(), graph, masked_for, role, &body)
    }
}

/// Makes material of a part of the weights, after comparing it with what the manifest commits to.
pub(super) fn read_material(
    manifest: &Manifest,
    graph: &Graph,
    masked_for: Option<Assignment>,
    role: Option<EvaluatorRole>,
    body: &[u8],
) -> Result<WeightMaterial, ModelError> {
    check_part(manifest, graph, masked_for, role, body)?;
    let Some(assignment) = masked_for else {
        return Ok(WeightMaterial::evaluator_open(graph, &words_from_bytes(body))?);
    };
    let (seeds, words) = split_part(role, body)?;
    let domain = manifest.masks(assignment);
    match (role, &seeds[..]) {
        (Some(role), [seed]) => {
            let mut words = words_from_bytes(words);
            let material = WeightMaterial::evaluator_private(graph, &domain, role, &words, seed);
            words.zeroize();
            Ok(material?)
        }
        (None, [one, two]) => Ok(WeightMaterial::helper_private(graph, &domain, one, two)),
        _ => Err(ProtocolError::WeightLength.into()),
    }
}

/// Compares a part of the weights with what the manifest commits to.
pub(super) fn check_part(
    manifest: &Manifest,
    graph: &Graph,
    masked_for: Option<Assignment>,
    role: Option<EvaluatorRole>,
    body: &[u8],
) -> Result<(), ModelError> {
    let wrong = |what: &str| ModelError::Refused(format!("{what} are not those that the manifest commits to"));
    let Some(assignment) = masked_for else {
        let root = open_root(graph, body)?;
        return if root == manifest.weights_root { Ok(()) } else { Err(wrong("the weights")) };
    };
    let share = manifest.share(assignment).ok_or_else(|| wrong("the weights of this assignment"))?;
    let domain = manifest.masks(assignment);
    let (seeds, words) = split_part(role, body)?;
    let first = role.map_or(0, |role| role as usize);
    let committed = seeds.iter().enumerate().map(|(i, seed)| (first + i, seed));
    for (index, seed) in committed {
        if share.seeds.get(index) != Some(&seed_commitment(&domain, index, seed)) {
            return Err(wrong("the seeds of the masks"));
        }
    }
    if role.is_some() {
        let mut hasher = masked_hasher();
        hasher.update(words);
        if *hasher.finalize().as_bytes() != share.masked {
            return Err(wrong("the masked weights"));
        }
    }
    Ok(())
}

/// The seeds at the front of a private part, and the masked tensors behind them.
fn split_part(role: Option<EvaluatorRole>, body: &[u8]) -> Result<(Vec<Seed>, &[u8]), ProtocolError> {
    let count = if role.is_some() { 1 } else { 2 };
    let mut rest = body;
    let mut seeds = Vec::with_capacity(count);
    for _ in 0..count {
        let (seed, after) = rest.split_first_chunk::<32>().ok_or(ProtocolError::WeightLength)?;
        seeds.push(Seed::from_bytes(*seed));
        rest = after;
    }
    Ok((seeds, rest))
}

fn open_root(graph: &Graph, body: &[u8]) -> Result<[u8; 32], ModelError> {
    let mut rest = body;
    let mut tensors = Vec::with_capacity(graph.weights.len());
    for spec in &graph.weights {
        let len = spec.rows as usize * spec.cols as usize * 4;
        let (part, after) = rest.split_at_checked(len).ok_or(ProtocolError::WeightLength)?;
        tensors.push(words_from_bytes(part).into_iter().map(|w| w as i32).collect());
        rest = after;
    }
    if !rest.is_empty() {
        return Err(ProtocolError::WeightLength.into());
    }
    Ok(Weights { tensors }.root(&graph.weights))
}

fn read_part(path: &Path, expected: &PartHeader) -> Result<Zeroizing<Vec<u8>>, ModelError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut front = [0; PartHeader::LEN];
    file.read_exact(&mut front).map_err(at("read", path))?;
    let header = PartHeader::decode(&front).map_err(damaged(path))?;
    let len = file.metadata().map_err(at("read", path))?.len();
    if header != *expected || len != header.len + PartHeader::LEN as u64 {
        return Err(damaged(path)(DecodeError::Field { what: "weight part", field: "header or length" }));
    }
    let mut body = Zeroizing::new(Vec::with_capacity(header.len as usize));
    file.read_to_end(&mut body).map_err(at("read", path))?;
    Ok(body)
}

fn not_permitted(id: &GraphId) -> ModelError {
    ModelError::Refused(format!("graph {:.16}… is not one that the owner of the sharing permits", id.to_string()))
}
