//! Rounds at a node: what is open, what was sent for it, and what became of it. All of it is in memory alone: a node that is
//! stopped forgets its rounds, and shares are wiped as soon as they are added up, or nobody closes their round.

mod dealt;
mod places;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::refusal::Refusal;
use super::slots::Slot;
use crate::engine::EvaluatorRole;
use crate::identity::PublicKey;
use crate::protocol::ring::secret::Secret;
use crate::rounds::{RoundId, RoundResult, SignedTerms};
use crate::wire::{FailCode, MAX_ROUNDS, RoundStage};
pub(super) use dealt::{Helping, Order};
pub(super) use places::{Full, MOST_OF_ONE, Place, Places};

/// Most rounds of a committee at a node.
pub(super) const MOST_ROUNDS: usize = MAX_ROUNDS;
/// How long after its time for contributions a round that nobody closes stays.
pub(super) const CLOSES_WITHIN: Duration = Duration::from_secs(600);
/// How long a result, or the reason why there is none, stays.
pub(super) const RESULT_STAYS: Duration = Duration::from_secs(3600);

/// The rounds of a committee at this node.
#[derive(Default)]
pub(super) struct Rounds(Mutex<HashMap<RoundId, Round>>);

/// One round.
pub(super) struct Round {
    pub(super) terms: Arc<SignedTerms>,
    pub(super) attachment: Arc<Vec<u8>>,
    /// Time since the node's start: when it was opened, and when it is forgotten.
    pub(super) opened: Duration,
    pub(super) forgotten: Duration,
    pub(super) stage: Stage,
    /// Places of those who are sending.
    pub(super) coming: BTreeSet<u16>,
    /// What this node deals, if it is the helper.
    pub(super) helping: Helping,
    /// Memory for contributions and checks, until there is a result.
    pub(super) working: Option<Room>,
    /// Memory for attachment and result.
    pub(super) _kept: Room,
}

/// Memory, and what of all that is for rounds it takes.
pub(super) struct Room {
    pub(super) _memory: Slot,
    pub(super) _place: Place,
}

pub(super) enum Stage {
    /// By place in the list of providers.
    Open(BTreeMap<u16, Contribution>),
    Closing,
    Ended(Arc<RoundResult>),
    Failed(String),
    /// As the helper: all is dealt.
    Helped,
}

/// What a provider sent to this node.
pub(super) struct Contribution {
    /// [`crate::rounds::contribution_digest`].
    pub(super) digest: [u8; 32],
    /// A seed at the first evaluator, words at the second.
    pub(super) share: Secret<u8>,
}

impl Rounds {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<RoundId, Round>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is over, and wipes what was sent for rounds that nobody has closed.
    pub(super) fn expire(&self, now: Duration) {
        self.lock().retain(|id, round| {
            let stays = now < round.forgotten;
            if !stays && matches!(round.stage, Stage::Open(_)) {
                tracing::info!(round = %id, "a round that nobody closed is forgotten");
            }
            stays
        });
    }

    /// The round, for its coordinator or one of its providers.
    pub(super) fn of<R>(
        &self,
        id: &RoundId,
        asker: &PublicKey,
        now: Duration,
        work: impl FnOnce(&mut Round) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        self.expire(now);
        let mut rounds = self.lock();
        let concerns = |round: &&mut Round| round.concerns(asker);
        let round = rounds.get_mut(id).filter(concerns).ok_or_else(unknown)?;
        work(round)
    }
}

/// The same for whoever is not concerned as for what there is not.
pub(super) fn unknown() -> Refusal {
    Refusal::new(FailCode::Refused, "no round of this name in which your key has a part is here (any more)")
}

impl Round {
    pub(super) fn concerns(&self, key: &PublicKey) -> bool {
        self.terms.terms().coordinator == *key || self.terms.terms().place_of(key).is_some()
    }

    pub(super) fn stage(&self) -> RoundStage {
        match self.stage {
            Stage::Open(_) => RoundStage::Open,
            Stage::Closing => RoundStage::Closing,
            Stage::Ended(_) => RoundStage::Ended,
            Stage::Failed(_) => RoundStage::Failed,
            Stage::Helped => RoundStage::Helped,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        !matches!(self.stage, Stage::Open(_) | Stage::Closing)
    }

    /// It has a result, or none for good: nothing of what was sent is left.
    pub(super) fn ends(&mut self, stage: Stage, now: Duration) {
        (self.stage, self.working) = (stage, None);
        self.forgotten = now + RESULT_STAYS;
    }

    /// What this node is in it.
    pub(super) fn role(&self, index: u8) -> Option<EvaluatorRole> {
        self.terms.terms().assignment.role(index)
    }
}

impl Round {
    pub(super) fn result(&self) -> Result<Arc<RoundResult>, Refusal> {
        match &self.stage {
            Stage::Ended(result) => Ok(result.clone()),
            Stage::Failed(why) => {
                Err(Refusal::new(FailCode::Refused, format!("the round came to nothing: {why}; open another")))
            }
            Stage::Helped => {
                let text = "this node was the helper of the round, and has no result: ask one of its evaluators";
                Err(Refusal::new(FailCode::Refused, text))
            }
            Stage::Open(_) | Stage::Closing => {
                Err(Refusal::new(FailCode::Busy, "the round has no result yet: its coordinator closes it"))
            }
        }
    }
}
