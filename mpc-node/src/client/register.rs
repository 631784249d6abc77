//! Registering a model: each node gets its own part of the weights, and the graphs.

use std::sync::Arc;

use sahara_circuits::graph::Graph;
use sahara_circuits::weights::Weights;
use zeroize::Zeroizing;

use super::{Client, ClientError, ask_done};
use crate::codec::extend_words;
use crate::engine::{Assignment, EvaluatorRole, Seed, Visibility, mask_weights};
use crate::meter::Traffic;
use crate::wire::{HaveModel, ModelParts, PutGraph, PutWeights, SharingId};

/// What registering has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationStep {
    /// The node that is given its part.
    pub node: u8,
    /// Steps done.
    pub done: u32,
    /// Steps in all.
    pub total: u32,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// Graphs that the nodes did not have.
    pub graphs_sent: u32,
    /// Parts of weights that the nodes did not have.
    pub weights_sent: u32,
}

impl Client {
    /// Makes sure that the nodes have these graphs (all of one model) and their parts of its weights for these
    /// assignments. What is there already is not sent again.
    ///
    /// Private weights are masked afresh for each assignment, so that no node ever meets the same mask in two roles.
    pub fn register_model(
        &self,
        graphs: &[Arc<Graph>],
        weights: &Weights,
        visibility: Visibility,
        assignments: &[Assignment],
        progress: &mut dyn FnMut(RegistrationStep),
    ) -> Result<Registration, ClientError> {
        let first = graphs.first().ok_or_else(|| ClientError::Request("no graph to register".into()))?;
        if graphs.iter().any(|g| g.weights_root != first.weights_root || !weights.matches(&g.weights)) {
            return Err(ClientError::Request("the graphs and the weights are not of one model".into()));
        }
        let mut done = Registration::default();
        let total = (graphs.len() * 3 + assignments.len()) as u32;
        let mut steps = 0;
        let mut step = |node: u8| {
            steps += 1;
            progress(RegistrationStep { node, done: steps, total });
        };
        for graph in graphs {
            for node in 0..3 {
                done.graphs_sent += u32::from(self.put_graph(node, graph, visibility)?);
                step(node);
            }
        }
        for &assignment in assignments {
            done.weights_sent += self.put_weights(first, weights, visibility, assignment)?;
            step(assignment.helper());
        }
        Ok(done)
    }

    fn parts(
        &self,
        node: u8,
        graph: &Graph,
        visibility: Visibility,
        assignment: Assignment,
    ) -> Result<ModelParts, ClientError> {
        self.on_lane(node, |lane| {
            lane.begin("when asked for a model", Traffic::Setup, self.options.connect_timeout);
            lane.send(&HaveModel { graph: graph.id(), root: graph.weights_root, visibility, assignment })?;
            Ok(lane.receive()?)
        })
    }

    fn put_graph(&self, node: u8, graph: &Graph, visibility: Visibility) -> Result<bool, ClientError> {
        if self.parts(node, graph, visibility, Assignment::ALL[0])?.graph {
            return Ok(false);
        }
        let bytes = graph.to_bytes();
        self.on_lane(node, |lane| {
            lane.begin("while it was given a graph", Traffic::Setup, self.options.prepare_timeout);
            ask_done(lane, &PutGraph { graph: graph.id(), len: bytes.len() as u64 }, &bytes)
        })?;
        Ok(true)
    }

    /// Gives all three nodes their parts for one assignment, unless they hold parts of one sharing already.
    fn put_weights(
        &self,
        graph: &Graph,
        weights: &Weights,
        visibility: Visibility,
        assignment: Assignment,
    ) -> Result<u32, ClientError> {
        let held = [0, 1, 2].map(|node| self.parts(node, graph, visibility, assignment));
        let [a, b, c] = held;
        let held = [a?.weights, b?.weights, c?.weights];
        if held[0].is_some() && held.iter().all(|part| *part == held[0]) {
            return Ok(0);
        }
        let sharing = match visibility {
            Visibility::Private => SharingId::random()?,
            Visibility::Open => SharingId::of_open(&graph.weights_root),
        };
        let mut sent = 0;
        for (node, part) in secret_parts(weights, visibility, assignment)? {
            if held[usize::from(node)] == Some(sharing) {
                continue;
            }
            let message = PutWeights { graph: graph.id(), visibility, assignment, sharing, len: part.len() as u64 };
            self.on_lane(node, |lane| {
                lane.begin("while it was given its part of the weights", Traffic::Setup, self.options.prepare_timeout);
                ask_done(lane, &message, &part)
            })?;
            sent += 1;
        }
        Ok(sent)
    }
}

type Part = (u8, Arc<Zeroizing<Vec<u8>>>);

/// What each node is given. Private: the evaluators get the masked weights and the seed they share with the helper;
/// the helper gets both seeds. Open: the evaluators get the weights, the helper nothing.
fn secret_parts(weights: &Weights, visibility: Visibility, assignment: Assignment) -> Result<Vec<Part>, ClientError> {
    let [first, second] = assignment.evaluators();
    let helper = assignment.helper();
    let bytes = |seeds: &[&Seed], words: &[u32]| {
        let mut bytes = Zeroizing::new(Vec::with_capacity(seeds.len() * 32 + words.len() * 4));
        seeds.iter().for_each(|seed| bytes.extend_from_slice(seed.as_bytes()));
        extend_words(&mut bytes, words);
        Arc::new(bytes)
    };
    match visibility {
        Visibility::Private => {
            let seeds = [Seed::random()?, Seed::random()?];
            let masked = mask_weights(weights, assignment, &seeds[0], &seeds[1]);
            let role = |role: EvaluatorRole| bytes(&[&seeds[role as usize]], &masked);
            Ok(vec![
                (helper, bytes(&[&seeds[0], &seeds[1]], &[])),
                (first, role(EvaluatorRole::First)),
                (second, role(EvaluatorRole::Second)),
            ])
        }
        Visibility::Open => {
            let words: Vec<u32> = weights.tensors.iter().flatten().map(|w| *w as u32).collect();
            let plain = bytes(&[], &words);
            Ok(vec![(helper, bytes(&[], &[])), (first, plain.clone()), (second, plain)])
        }
    }
}
