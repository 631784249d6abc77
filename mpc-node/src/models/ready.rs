//! What was made ready in memory of all sharings together: graphs, plans, weight material. Bounded in bytes, of which
//! everything takes its part that is alive, in use or in the making; what was not used for longest goes first. What a graph
//! costs is asked before anything is made of it.

use std::sync::Arc;

use sahara_circuits::graph::{Graph, Node, Op};

use super::error::{ModelError, Work};
use super::part::scratch;
use crate::cache::{Cache, Room, Shared, Watch};
use crate::engine::{Assignment, Cost, CostLimits, GraphId, NodeNoise, Plan, Rounding, Visibility, WeightMaterial};
use crate::manifest::ManifestId;

/// Everything that was made ready.
pub(super) struct Ready {
    limits: CostLimits,
    cache: Cache<Key, Made>,
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

impl Shared for Made {
    fn is_in_use(&self) -> bool {
        match self {
            Self::Graph(graph) => graph.is_in_use(),
            Self::Plan(plan, _) => plan.is_in_use(),
            Self::Material(material) => material.is_in_use(),
        }
    }

    fn watch(&self) -> Watch {
        match self {
            Self::Graph(graph) => graph.watch(),
            Self::Plan(plan, _) => plan.watch(),
            Self::Material(material) => material.watch(),
        }
    }
}

impl Ready {
    pub(super) fn new(limits: CostLimits) -> Arc<Self> {
        let cache = Cache::new(limits.cache_memory);
        Arc::new(Self { limits, cache })
    }

    /// Refuses a graph that costs too much even in the cheapest way to run it.
    /// And one out of which something would leave without the noise that the nodes are to supply.
    pub(super) fn admit(
        &self,
        graph: &Graph,
        visibility: Visibility,
        noise: Option<&NodeNoise>,
    ) -> Result<(), ModelError> {
        if let Some(noise) = noise {
            noise.check(graph).map_err(|e| ModelError::Refused(e.to_string()))?;
        }
        self.check(graph, visibility, &Cost::with_noise(graph, Rounding::Faithful, visibility, noise))
    }

    fn check(&self, graph: &Graph, visibility: Visibility, cost: &Cost) -> Result<(), ModelError> {
        cost.check(&graph.model, &self.limits)?;
        // What a job holds at once has room, if nobody else holds anything: the graph is there for itself and in the plan.
        let weights = [true, false]
            .into_iter()
            .zip(cost.material_memory)
            .map(|(evaluator, bytes)| bytes.saturating_add(scratch(graph, visibility, evaluator)))
            .fold(0, u64::max);
        let held = cost.plan_memory.saturating_add(2 * graph_memory(graph)).saturating_add(weights);
        if held > self.limits.cache_memory {
            let [held, limit] = [held, self.limits.cache_memory].map(|bytes| bytes.div_ceil(1 << 20));
            let text = format!(
                "graph `{}` needs {held} MB for itself, its plan and its weights while they are read, more than this node's limit of {limit} MB (limits.cache_megabytes)",
                graph.model
            );
            return Err(ModelError::Refused(text));
        }
        Ok(())
    }

    pub(super) fn graph(
        &self,
        manifest: ManifestId,
        id: GraphId,
        leave: Option<Work>,
        make: impl FnOnce() -> Result<Arc<Graph>, ModelError>,
    ) -> Result<Arc<Graph>, ModelError> {
        let made = self.get(Key::Graph(manifest, id), leave, |key| {
            let graph = make()?;
            let bytes = graph_memory(&graph);
            self.room(bytes)?.keep(key, Made::Graph(graph.clone()), bytes);
            Ok(Made::Graph(graph))
        })?;
        match made {
            Made::Graph(graph) => Ok(graph),
            _ => unreachable!("a graph's key has a graph"),
        }
    }

    /// The plan, and what a job costs; refused before it is made if that is too much.
    pub(super) fn plan(
        &self,
        (manifest, id, rounding): (ManifestId, GraphId, Rounding),
        graph: &Arc<Graph>,
        (visibility, noise): (Visibility, Option<&NodeNoise>),
        leave: Option<Work>,
    ) -> Result<(Arc<Plan>, Cost), ModelError> {
        let made = self.get(Key::Plan(manifest, id, rounding), leave, |key| {
            let cost = Cost::with_noise(graph, rounding, visibility, noise);
            self.check(graph, visibility, &cost)?;
            let bytes = cost.plan_memory.saturating_add(graph_memory(graph));
            let room = self.room(bytes)?;
            // A graph of its own: else a plan that nobody uses would keep the graph in use.
            let own = Arc::new(Graph::clone(graph));
            let plan = Plan::with_noise(own, rounding, visibility, noise.cloned());
            let plan = plan.map_err(|e| ModelError::Refused(e.to_string()))?;
            let made = Made::Plan(Arc::new(plan), cost);
            room.keep(key, made.clone(), bytes);
            Ok(made)
        })?;
        match made {
            Made::Plan(plan, cost) => Ok((plan, cost)),
            _ => unreachable!("a plan's key has a plan"),
        }
    }

    /// Weight material of `bytes` bytes; making it takes `scratch` bytes more for a while.
    pub(super) fn material(
        &self,
        (manifest, masked_for): (ManifestId, Option<Assignment>),
        [bytes, scratch]: [u64; 2],
        leave: Option<Work>,
        make: impl FnOnce() -> Result<WeightMaterial, ModelError>,
    ) -> Result<Arc<WeightMaterial>, ModelError> {
        let made = self.get(Key::Material(manifest, masked_for), leave, |key| {
            let room = self.room(bytes.saturating_add(scratch))?;
            let made = Made::Material(Arc::new(make()?));
            room.keep(key, made.clone(), bytes);
            Ok(made)
        })?;
        match made {
            Made::Material(material) => Ok(material),
            _ => unreachable!("a material's key has material"),
        }
    }

    fn room(&self, bytes: u64) -> Result<Room<'_, Key, Made>, ModelError> {
        self.cache.room(bytes).ok_or(ModelError::Busy)
    }

    /// Forgets everything of a version.
    pub(super) fn forget(&self, gone: ManifestId) {
        self.cache.retain(|key| {
            let (Key::Graph(of, _) | Key::Plan(of, ..) | Key::Material(of, _)) = key;
            *of != gone
        });
    }

    /// Bytes of everything that was made ready.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.cache.bytes()
    }

    fn get(
        &self,
        key: Key,
        leave: Option<Work>,
        make: impl FnOnce(Key) -> Result<Made, ModelError>,
    ) -> Result<Made, ModelError> {
        let work = key.work();
        match self.cache.get(&key) {
            Some(made) => Ok(made),
            None if leave == Some(work) => make(key),
            None => Err(ModelError::Unready(work)),
        }
    }
}

impl Key {
    /// What makes it.
    fn work(&self) -> Work {
        match self {
            Self::Graph(..) | Self::Plan(..) => Work::Plan,
            Self::Material(..) => Work::Weights,
        }
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
