//! What was made ready in memory of all sharings together: graphs, plans, weight material. Bounded in bytes; what was not
//! used for longest goes first. What a graph costs is asked before anything is made of it.

use std::sync::{Arc, Mutex, PoisonError};

use sahara_circuits::graph::{Graph, Node, Op};

use super::ModelError;
use crate::cache::Cache;
use crate::engine::{Assignment, Cost, CostLimits, GraphId, Plan, Rounding, Visibility, WeightMaterial};
use crate::manifest::ManifestId;

/// Everything that was made ready.
pub(super) struct Ready {
    limits: CostLimits,
    cache: Cache<Key, Made>,
    /// One thing is made at a time, so that many who want the same make it once.
    making: Mutex<()>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Graph(ManifestId, GraphId),
    Plan(ManifestId, GraphId, Rounding),
    Material(ManifestId, Option<Assignment>),
}

#[derive(Clone)]
enum Made {
    Graph(Arc<Graph>),
    Plan(Arc<Plan>, Cost),
    Material(Arc<WeightMaterial>),
}

impl Ready {
    pub(super) fn new(limits: CostLimits) -> Arc<Self> {
        Arc::new(Self { limits, cache: Cache::new(limits.cache_memory), making: Mutex::new(()) })
    }

    /// Refuses a graph that costs too much even in the cheapest way to run it.
    pub(super) fn admit(&self, graph: &Graph, visibility: Visibility) -> Result<(), ModelError> {
        Ok(Cost::of(graph, Rounding::Faithful, visibility).check(&graph.model, &self.limits)?)
    }

    pub(super) fn graph(
        &self,
        manifest: ManifestId,
        id: GraphId,
        make: impl FnOnce() -> Result<Arc<Graph>, ModelError>,
    ) -> Result<Arc<Graph>, ModelError> {
        let make = || make().map(|graph| (graph_memory(&graph), Made::Graph(graph)));
        match self.get(Key::Graph(manifest, id), make)? {
            Made::Graph(graph) => Ok(graph),
            _ => unreachable!("a graph's key has a graph"),
        }
    }

    /// The plan, and what a job costs; refused before it is made if that is too much.
    pub(super) fn plan(
        &self,
        manifest: ManifestId,
        id: GraphId,
        graph: &Arc<Graph>,
        rounding: Rounding,
        visibility: Visibility,
    ) -> Result<(Arc<Plan>, Cost), ModelError> {
        let make = || {
            let cost = Cost::of(graph, rounding, visibility);
            cost.check(&graph.model, &self.limits)?;
            let plan =
                Plan::new(graph.clone(), rounding, visibility).map_err(|e| ModelError::Refused(e.to_string()))?;
            Ok((cost.plan_memory + graph_memory(graph), Made::Plan(Arc::new(plan), cost)))
        };
        match self.get(Key::Plan(manifest, id, rounding), make)? {
            Made::Plan(plan, cost) => Ok((plan, cost)),
            _ => unreachable!("a plan's key has a plan"),
        }
    }

    /// Weight material of `bytes` bytes.
    pub(super) fn material(
        &self,
        manifest: ManifestId,
        masked_for: Option<Assignment>,
        bytes: u64,
        make: impl FnOnce() -> Result<WeightMaterial, ModelError>,
    ) -> Result<Arc<WeightMaterial>, ModelError> {
        let make = || make().map(|material| (bytes, Made::Material(Arc::new(material))));
        match self.get(Key::Material(manifest, masked_for), make)? {
            Made::Material(material) => Ok(material),
            _ => unreachable!("a material's key has material"),
        }
    }

    /// Forgets everything of a version.
    pub(super) fn forget(&self, gone: ManifestId) {
        self.cache.retain(|key| {
            let (Key::Graph(of, _) | Key::Plan(of, ..) | Key::Material(of, _)) = key;
            *of != gone
        });
    }

    fn get(&self, key: Key, make: impl FnOnce() -> Result<(u64, Made), ModelError>) -> Result<Made, ModelError> {
        if let Some(made) = self.cache.get(&key) {
            return Ok(made);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.cache.get(&key) {
            return Ok(made);
        }
        let (bytes, made) = make()?;
        self.cache.put(key, made.clone(), bytes);
        Ok(made)
    }
}

/// Bytes of a graph in memory.
fn graph_memory(graph: &Graph) -> u64 {
    let node = |node: &Node| {
        let own = match &node.op {
            Op::Step { steps, .. } => size_of_val(&steps[..]),
            Op::ConcatCols { parts } => size_of_val(&parts[..]),
            _ => 0,
        };
        (size_of::<Node>() + node.name.len() + own) as u64
    };
    let tables = graph.tables.iter().map(|table| 4 * table.entries.len() as u64 + 64);
    let weights = graph.weights.iter().map(|weight| 64 + weight.name.len() as u64);
    graph.nodes.iter().map(node).chain(tables).chain(weights).sum()
}
