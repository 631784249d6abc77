//! The current version of one sharing: its manifest, and what has been made ready of it in memory. Everything that is
//! read from disk is compared with the manifest again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sahara_circuits::bytes::DecodeError;
use sahara_circuits::graph::Graph;

use super::error::{ModelError, Work};
use super::files::{MANIFEST, PartHeader, at, damaged, graph_file, part_file, read_limited};
use super::part::{part_len, read_material, scratch};
use super::ready::Ready;
use crate::engine::{
    Assignment, Cost, EvaluatorRole, GraphId, MAX_GRAPH_BYTES, Plan, Visibility, WeightMaterial, read_graph,
};
use crate::manifest::{MAX_MANIFEST, Manifest, ManifestId, SignedManifest};
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
    pub(super) fn graph(&self, id: GraphId, leave: Option<Work>) -> Result<Arc<Graph>, ModelError> {
        if self.manifest().graphs.binary_search(&id).is_err() {
            return Err(not_permitted(&id));
        }
        self.ready.graph(self.id(), id, leave, || {
            let graph = read_graph(&read_limited(&self.folder.join(graph_file(&id)), MAX_GRAPH_BYTES as u64)?, id)?;
            // The upload has checked it; this is where a bug there would end.
            if self.manifest().permits(id, &graph) { Ok(graph) } else { Err(not_permitted(&id)) }
        })
    }

    /// The plan of a permitted graph, and what a job costs.
    pub(super) fn plan(
        &self,
        graph: &Arc<Graph>,
        task: &Task,
        leave: Option<Work>,
    ) -> Result<(Arc<Plan>, Cost), ModelError> {
        let (visibility, noise) = (self.manifest().visibility(), self.manifest().node_noise());
        self.ready.plan((self.id(), task.graph, task.rounding), graph, (visibility, noise), leave)
    }

    /// The weight material of node `node`, one for all graphs: they have one layout. `cost` is that of one of them.
    pub(super) fn material(
        &self,
        graph: &Graph,
        cost: &Cost,
        assignment: Assignment,
        node: u8,
        leave: Option<Work>,
    ) -> Result<Arc<WeightMaterial>, ModelError> {
        let role = assignment.role(node);
        let masked_for = match self.manifest().visibility() {
            Visibility::Private => Some(assignment),
            Visibility::Open if role.is_none() => return Ok(Arc::new(WeightMaterial::helper_open())),
            Visibility::Open => None,
        };
        let [evaluator, helper] = cost.material_memory;
        let bytes = if role.is_some() { evaluator } else { helper };
        let scratch = scratch(graph, self.manifest().visibility(), role.is_some());
        self.ready.material((self.id(), masked_for), [bytes, scratch], leave, || self.part(graph, masked_for, role))
    }

    fn part(
        &self,
        graph: &Graph,
        masked_for: Option<Assignment>,
        role: Option<EvaluatorRole>,
    ) -> Result<WeightMaterial, ModelError> {
        let path = self.folder.join(part_file(masked_for));
        let len = part_len(graph, self.manifest().visibility(), role.is_some());
        let header = PartHeader { manifest: self.id(), masked_for, len };
        read_material(&path, &header, self.manifest(), graph, role)
    }
}

fn not_permitted(id: &GraphId) -> ModelError {
    ModelError::Refused(format!("graph {:.16}… is not one that the owner of the sharing permits", id.to_string()))
}
