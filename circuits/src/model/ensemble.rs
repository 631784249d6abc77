//! Compiled classifiers of one encoder as one model whose answer is their vote.

use super::CompiledModel;
use crate::frontend::Answer;
use crate::graph::Graph;
use crate::votes::{VoteError, side_by_side, vote, vote_weights};
use crate::weights::Weights;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

impl CompiledModel {
    /// The vote of classifiers that differ in their last linear layer only, and have the same labels: for each label 1 where most
    /// voted, after noise of up to `noise` either way in the last input.
    ///
    /// # Errors
    /// When one is not like the first but for that layer, is no classifier, or its weights are not here.
    pub fn ensemble(name: &str, members: &[&Self], noise: u32) -> Result<Self, VoteError> {
        let Some(first) = members.first() else { return Err(VoteError::Voters(0)) };
        let Some(labels) = first.frontend.classes().map(|classes| &classes.labels) else {
            return Err(VoteError::Misfit("the first model is no classifier"));
        };
        let same = |member: &&Self| {
            let own = member.frontend.classes().map(|classes| &classes.labels);
            own == Some(labels) && member.has_weights() && member.frontend.asks_alike(&first.frontend)
        };
        if !members.iter().all(same) {
            return Err(VoteError::Misfit(
                "one of the models has other labels, or reads text in another way, than the first",
            ));
        }
        let voters = members.len() as u32;
        let mut graphs = BTreeMap::new();
        let mut weights = Weights::default();
        for bucket in first.buckets() {
            let parts: Option<Vec<(&Arc<Graph>, &Weights)>> =
                members.iter().map(|member| Some((member.graphs.get(&bucket)?, &member.weights))).collect();
            let parts = parts.ok_or(VoteError::Misfit("one of the models has other lengths than the first"))?;
            let parts: Vec<_> = parts.iter().map(|(graph, weights)| (graph.as_ref(), *weights)).collect();
            let (mut graph, all) = side_by_side(&parts)?;
            graph.model = name.to_owned();
            if weights.tensors.is_empty() {
                weights = vote_weights(&all, voters, labels.len() as u32);
            }
            graphs.insert(bucket, Arc::new(vote(&graph, &weights, voters, noise)?));
        }
        let frontend =
            first.frontend.voting().map_err(|_| VoteError::Misfit("the first model's tokenizer cannot be read"))?;
        Ok(Self { name: name.to_owned(), weights, frontend, graphs, packed: OnceLock::new() })
    }

    /// Whether the answer is a vote.
    pub fn is_vote(&self) -> bool {
        let votes = self.graphs.values().all(|graph| crate::votes::noise_input(graph).is_some());
        votes && matches!(self.frontend.answer(), Answer::Labels(_))
    }
}
