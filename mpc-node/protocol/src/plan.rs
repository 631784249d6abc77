//! The plan: a graph with the choices that fix the protocol, and where each gate finds what was dealt for it.

use std::ops::Range;
use std::sync::Arc;

use sahara_circuits::graph::{Graph, Node, NodeId, Op};

use crate::error::{PlanError, ProtocolError};
use crate::gate::{Form, Gate};
use crate::gates::{Tables, gate_of, noise_gate, operands};
use crate::noise::{NodeNoise, Sampler};
use crate::ring::prg::Seed;
use crate::roles::{Rounding, Visibility};
use crate::weight_form::weight_form;

/// A graph, a rounding and the visibility of the weights: everything that all parties must agree on, and the same for
/// every job. One gate a node, in the order of the nodes.
pub struct Plan {
    graph: Arc<Graph>,
    rounding: Rounding,
    visibility: Visibility,
    noise: Option<Arc<Sampler>>,
    pub(crate) gates: Vec<PlannedGate>,
    corrections: usize,
    prepared: usize,
}

/// What is done for one node.
pub(crate) struct PlannedGate {
    pub(crate) gate: Box<dyn Gate>,
    pub(crate) operands: Vec<NodeId>,
    pub(crate) flow: Flow,
    /// Bytes of the pack's corrections.
    pub(crate) corrections: Range<usize>,
    /// Bytes of the pack's prepared products.
    pub(crate) prepared: Range<usize>,
}

/// How a node's value is held and used.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flow {
    /// The shares lack a deficit, known to the helper, when the gate has made them.
    pub(crate) lacks: bool,
    /// The deficit is dealt then.
    pub(crate) settle: bool,
    /// The value is opened under a fresh mask then, for gates that read it so.
    pub(crate) open: bool,
    /// Gates that read it, and one more if it is a result.
    pub(crate) readers: u32,
}

impl Flow {
    /// Readers meet shares that lack a deficit.
    pub(crate) fn stays_deficient(&self) -> bool {
        self.lacks && !self.settle
    }
}

/// How each node's value is held and used, in the order of the nodes, which `gates` follow.
pub(crate) fn flows(graph: &Graph, gates: &[Box<dyn Gate>]) -> Vec<Flow> {
    let mut flows = vec![Flow::default(); graph.nodes.len()];
    for (node, gate) in graph.nodes.iter().zip(gates) {
        let form = gate.reads();
        node.op.operands(|x| {
            let flow = &mut flows[x.0 as usize];
            flow.readers += 1;
            flow.open |= form == Form::Masked;
            flow.settle |= form != Form::Deficient;
        });
    }
    for output in &graph.outputs {
        flows[output.0 as usize].readers += 1;
        flows[output.0 as usize].settle = true;
    }
    for (i, (node, gate)) in graph.nodes.iter().zip(gates).enumerate() {
        let mut operand_lacks = false;
        node.op.operands(|x| operand_lacks |= flows[x.0 as usize].stays_deficient());
        flows[i].lacks = gate.lacks(operand_lacks);
        flows[i].settle &= flows[i].lacks;
    }
    flows
}

impl Plan {
    /// The plan of a graph that passed [`Graph::check`].
    ///
    /// # Errors
    /// When the graph has a shape that the protocol does not evaluate.
    pub fn new(graph: Arc<Graph>, rounding: Rounding, visibility: Visibility) -> Result<Self, PlanError> {
        Self::with_noise(graph, rounding, visibility, None)
    }

    /// The same, with noise that the three nodes supply.
    ///
    /// # Errors
    /// As [`Plan::new`], and when the graph has an output without the noise ([`NodeNoise::check`]).
    pub fn with_noise(
        graph: Arc<Graph>,
        rounding: Rounding,
        visibility: Visibility,
        noise: Option<NodeNoise>,
    ) -> Result<Self, PlanError> {
        graph.check().map_err(|e| PlanError::Graph(e.to_string()))?;
        weights_used_one_way(&graph)?;
        if let Some(noise) = &noise {
            noise.check(&graph)?;
        }
        let noise = noise.map(Sampler::new).transpose()?.map(Arc::new);
        let mut plan = Self {
            rounding,
            visibility,
            noise,
            gates: Vec::with_capacity(graph.nodes.len()),
            corrections: 0,
            prepared: 0,
            graph: graph.clone(),
        };
        let tables = Tables::new(&graph);
        let noise = plan.noise.clone();
        let gate = |node: &Node| match (&node.op, &noise) {
            (Op::Input(index), Some(sampler)) if sampler.noise.supplies(*index) => noise_gate(node, sampler.clone()),
            _ => gate_of(&graph, node, rounding, visibility, &tables),
        };
        let gates: Vec<Box<dyn Gate>> = graph.nodes.iter().map(gate).collect();
        let flows = flows(&graph, &gates);
        for ((node, gate), flow) in graph.nodes.iter().zip(gates).zip(flows) {
            plan.push(node, gate, flow);
        }
        Ok(plan)
    }

    fn push(&mut self, node: &Node, gate: Box<dyn Gate>, flow: Flow) {
        let cost = gate.cost();
        let corrections = cost.corrections as usize + if flow.settle { 4 * node.shape.len() } else { 0 };
        let prepared = cost.prepared as usize;
        self.gates.push(PlannedGate {
            gate,
            operands: operands(&node.op),
            flow,
            corrections: self.corrections..self.corrections + corrections,
            prepared: self.prepared..self.prepared + prepared,
        });
        self.corrections += corrections;
        self.prepared += prepared;
    }

    /// The graph this is a plan of.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Exact or faithful.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Private or open weights.
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// Length of the consumer's share of each input: nothing of what the nodes supply.
    pub fn shared_lengths(&self) -> Vec<usize> {
        let supplied = |index| self.noise.as_ref().is_some_and(|sampler| sampler.noise.supplies(index));
        let inputs = self.graph.inputs.iter().zip(0..);
        inputs.map(|(input, index)| if supplied(index) { 0 } else { input.shape.len() }).collect()
    }

    /// Puts an evaluator's own noise in the places of its shares of the inputs that the consumer left empty for it. `seed` is fresh
    /// for each job, and nobody else ever knows it.
    ///
    /// # Errors
    /// When the shares do not have the shapes of the graph, or something is there already.
    pub fn draw_noise(&self, shares: &mut [Vec<u32>], seed: &Seed) -> Result<(), ProtocolError> {
        if !shares.iter().map(Vec::len).eq(self.shared_lengths()) {
            return Err(ProtocolError::Inputs);
        }
        let Some(sampler) = &self.noise else { return Ok(()) };
        for &index in sampler.noise.inputs() {
            let len = self.graph.inputs[index as usize].shape.len();
            shares[index as usize] = sampler.of_evaluator(seed, index, len);
        }
        Ok(())
    }

    /// Bytes that the helper sends to the second evaluator for one job.
    pub fn correction_len(&self) -> u64 {
        self.corrections as u64
    }

    /// Bytes that each evaluator prepares by itself for one job.
    pub fn prepared_len(&self) -> u64 {
        self.prepared as u64
    }

    /// Correction bytes of each node, in the order of the graph's nodes: for profiles.
    pub fn corrections_by_node(&self) -> impl Iterator<Item = (&Node, u64)> {
        self.graph.nodes.iter().zip(self.gates.iter().map(|t| t.corrections.len() as u64))
    }

    /// The node's name, for messages.
    pub(crate) fn name(&self, node: u32) -> &str {
        &self.graph.nodes[node as usize].name
    }
}

/// A weight is a matrix of products or a vector, not both: each is stored in the form that its operator reads.
fn weights_used_one_way(graph: &Graph) -> Result<(), PlanError> {
    let mut forms = vec![None; graph.weights.len()];
    for node in &graph.nodes {
        let Some((w, form)) = weight_form(&node.op) else { continue };
        if *forms[w.0 as usize].get_or_insert(form) != form {
            return Err(PlanError::WeightUse(graph.weights[w.0 as usize].name.clone()));
        }
    }
    Ok(())
}
