//! Packs made ahead: after a job its first evaluator has the helper make packs until `packs_ahead` are ready again.
//!
//! What is made counts as the consumer's whose job it was: its dealing time pays for it, and what the helper keeps of the packs
//! lies on its pile of records. No node may spend these at will, so the first evaluator shows what the consumer signed when
//! it asked for the job ([`Asked`]). The helper takes each such request once, on its list of names of jobs, while its time is
//! near, and makes at most as many packs for it as it would have made ahead itself (one at least). What a node can spend
//! of a consumer's is so bounded by what the consumer asks, and told from it by a signature.
//!
//! The alternative, to charge the node that asks, would let one greedy consumer use up what that node has at the helper, for
//! all other consumers, and hide from the helper for whom it works.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::jobs::unnamed;
use super::serve::Refusal;
use super::state::Node;
use crate::identity::PublicKey;
use crate::lane::LaneError;
use crate::meter::Traffic;
use crate::packs::PackKey;
use crate::records::NameError;
use crate::transcript::request_digest;
use crate::wire::{Asked, FailCode, Kind, Prepare, Task};

/// Tasks for which packs are being made ahead, with the requests that wait to be shown for them, oldest first.
#[derive(Default)]
pub(super) struct Refilling(Mutex<HashMap<PackKey, VecDeque<(PublicKey, Asked)>>>);

impl Refilling {
    fn lock(&self) -> MutexGuard<'_, HashMap<PackKey, VecDeque<(PublicKey, Asked)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the first evaluator, after a job that its consumer asked for: has the helper make packs until `packs_ahead` are ready.
pub(super) fn refill(node: &Arc<Node>, key: PackKey, consumer: PublicKey, asked: Asked) {
    let wanted = node.config.packs_ahead;
    if node.packs.count(&key) >= wanted {
        return;
    }
    let mut refilling = node.refilling.lock();
    if let Some(waiting) = refilling.get_mut(&key) {
        // More than there are packs to be made are not needed, and the newest are taken for the longest.
        if waiting.len() >= wanted as usize {
            waiting.pop_front();
        }
        waiting.push_back((consumer, asked));
        return;
    }
    refilling.insert(key, VecDeque::from([(consumer, asked)]));
    drop(refilling);
    let thread_node = node.clone();
    let work = move || {
        while let Some((missing, consumer, asked)) = next(&thread_node, &key, wanted) {
            if let Err(error) = ask_helper(&thread_node, &key, missing, consumer, asked) {
                tracing::warn!(%error, "packs could not be made ahead");
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("packs ahead".into()).spawn(work) {
        tracing::error!(%error, "cannot start a thread");
        node.refilling.lock().remove(&key);
    }
}

/// How many packs are missing, and the request to show for them; without one the task is off the list.
fn next(node: &Node, key: &PackKey, wanted: u32) -> Option<(u32, PublicKey, Asked)> {
    let mut refilling = node.refilling.lock();
    let missing = wanted.saturating_sub(node.packs.count(key));
    let request = refilling.get_mut(key).and_then(VecDeque::pop_front).filter(|_| missing > 0 && !node.is_stopping());
    if request.is_none() {
        refilling.remove(key);
    }
    request.map(|(consumer, asked)| (missing, consumer, asked))
}

fn ask_helper(node: &Node, task: &Task, count: u32, consumer: PublicKey, asked: Asked) -> Result<(), LaneError> {
    let helper = task.assignment.helper();
    let mut lane = node.peer_lane(helper)?;
    lane.begin("while packs were made ahead", Traffic::Setup, node.config.timeouts.request());
    lane.send(&Prepare { task: *task, count, consumer, job: None, asked: Some(asked) })?;
    loop {
        match lane.receive_one_of(&[Kind::Done, Kind::Progress])? {
            (Kind::Progress, _) if !node.is_stopping() => {}
            (Kind::Progress, _) => return Ok(()),
            _ => break,
        }
    }
    node.put_back(helper, lane);
    Ok(())
}

/// As the helper: what a node shows that asks for packs in a consumer's name.
///
/// # Errors
/// When it is not the first evaluator of the task, or shows nothing that this consumer signed for it.
pub(super) fn shown(node: &Node, caller: Option<u8>, request: &Prepare) -> Result<Asked, Refusal> {
    let refuse = |text: &str| Err(Refusal::new(FailCode::Refused, text));
    let [first, _] = request.task.assignment.evaluators();
    let Some(asked) = request.asked.filter(|_| caller == Some(first) && request.job.is_none()) else {
        return refuse(
            "packs are prepared for whoever asks for them only, and ahead for the first evaluator that shows the \
             consumer's request of a job",
        );
    };
    let digest = request_digest(&node.committee.digest(), &asked.job, &request.task, &asked.inputs);
    if !request.consumer.verifies(&digest, &asked.signature) {
        return refuse("the request of a job that packs are to be made for is not signed by its consumer");
    }
    Ok(asked)
}

/// As the helper: takes a consumer's request that was shown, and says how many packs of those asked for are made for it.
///
/// # Errors
/// When it is not of this time, or packs were made for it before.
pub(super) fn granted(node: &Node, request: &Prepare, asked: &Asked) -> Result<u32, Refusal> {
    match node.records.claim(request.consumer, asked.job, SystemTime::now()) {
        Ok(()) => Ok(request.count.min(node.config.packs_ahead.max(1))),
        Err(NameError::Taken) => {
            Err(Refusal::new(FailCode::Refused, "packs were made ahead for this job of the consumer before"))
        }
        Err(error) => Err(unnamed(error)),
    }
}
