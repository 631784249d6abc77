//! Rounds at a node: what is open, what was sent for it, and what became of it. All of it is in memory alone: a node that is
//! stopped forgets its rounds, and shares are wiped as soon as they are added up, or nobody closes their round.
//!
//! A round is at each of three nodes by itself. Whoever opens it reserves what it takes, before anything is sent; whoever is named
//! in it sends once; the first evaluator closes it with the second (`closing`), and both ask the helper (`helping`).

mod closing;
mod contributing;
mod helping;
mod opening;
mod places;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::patience::still_there;
use super::refusal::{Refusal, Trouble, own};
use super::seat::Seat;
use super::slots::{GLANCE, Slot};
use crate::engine::EvaluatorRole;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::protocol::ring::secret::Secret;
use crate::rounds::{RoundId, RoundResult, SignedTerms};
use crate::wire::{
    AbandonRound, FailCode, FetchRound, Kind, MAX_ROUNDS, Message, RoundList, RoundReply, RoundStage, ShowRound,
};
use helping::Helping;
use places::Place;
pub(super) use places::Places;

/// Most rounds of a committee at a node.
const MOST_ROUNDS: usize = MAX_ROUNDS;
/// How long after its time for contributions a round that nobody closes stays.
const CLOSES_WITHIN: Duration = Duration::from_secs(600);
/// How long a result, or the reason why there is none, stays.
const RESULT_STAYS: Duration = Duration::from_secs(3600);

/// Bytes of an answer for which a lane has memory by itself.
const SMALL: usize = 256 << 10;

/// The rounds of a committee at this node.
#[derive(Default)]
pub(super) struct Rounds(Mutex<HashMap<RoundId, Round>>);

/// One round.
struct Round {
    terms: Arc<SignedTerms>,
    attachment: Arc<Vec<u8>>,
    /// Time since the node's start: when it was opened, and when it is forgotten.
    opened: Duration,
    forgotten: Duration,
    stage: Stage,
    /// Places of those who are sending.
    coming: BTreeSet<u16>,
    /// What this node deals, if it is the helper.
    helping: Helping,
    /// Memory for contributions and checks, until there is a result.
    working: Option<Room>,
    /// Memory for attachment and result.
    _kept: Room,
}

/// Memory, and what of all that is for rounds it takes.
struct Room {
    _memory: Slot,
    _place: Place,
}

enum Stage {
    /// By place in the list of providers.
    Open(BTreeMap<u16, Contribution>),
    Closing,
    Ended(Arc<RoundResult>),
    Failed(String),
    /// As the helper: all is dealt.
    Helped,
}

/// What a provider sent to this node.
struct Contribution {
    /// [`crate::rounds::contribution_digest`].
    digest: [u8; 32],
    /// A seed at the first evaluator, words at the second.
    share: Secret<u8>,
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, HashMap<RoundId, Round>> {
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
    fn of<R>(
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
fn unknown() -> Refusal {
    Refusal::new(FailCode::Refused, "no round of this name in which your key has a part is here (any more)")
}

impl Round {
    fn concerns(&self, key: &PublicKey) -> bool {
        self.terms.terms().coordinator == *key || self.terms.terms().place_of(key).is_some()
    }

    fn stage(&self) -> RoundStage {
        match self.stage {
            Stage::Open(_) => RoundStage::Open,
            Stage::Closing => RoundStage::Closing,
            Stage::Ended(_) => RoundStage::Ended,
            Stage::Failed(_) => RoundStage::Failed,
            Stage::Helped => RoundStage::Helped,
        }
    }

    fn is_over(&self) -> bool {
        !matches!(self.stage, Stage::Open(_) | Stage::Closing)
    }

    /// It has a result, or none for good: nothing of what was sent is left.
    fn ends(&mut self, stage: Stage, now: Duration) {
        (self.stage, self.working) = (stage, None);
        self.forgotten = now + RESULT_STAYS;
    }

    /// What this node is in it.
    fn role(&self, index: u8) -> Option<EvaluatorRole> {
        self.terms.terms().assignment.role(index)
    }
}

/// Answers requests about rounds; `None` when it is another kind of request.
pub(super) fn answer(
    seat: &Seat,
    lane: &mut Lane,
    caller: Option<u8>,
    kind: Kind,
    payload: &[u8],
) -> Option<Result<(), Trouble>> {
    Some(match kind {
        Kind::OpenRound => message(lane, payload).and_then(|open| opening::open(seat, lane, open)),
        Kind::ListRounds => list(seat, lane),
        Kind::ShowRound => message(lane, payload).and_then(|which| show(seat, lane, which)),
        Kind::Contribute => message(lane, payload).and_then(|sent| contributing::contribute(seat, lane, &sent)),
        Kind::CloseRound => message(lane, payload).and_then(|close| closing::close(seat, lane, close)),
        Kind::FetchRound => message(lane, payload).and_then(|which| fetch(seat, lane, which)),
        Kind::AbandonRound => message(lane, payload).and_then(|which| abandon(seat, lane, which)),
        Kind::JoinRound => message(lane, payload).and_then(|join| closing::join(seat, lane, caller, &join)),
        Kind::DealRound => message(lane, payload).and_then(|ask| helping::deal(seat, lane, caller, ask)),
        _ => return None,
    })
}

/// Whether a request about rounds has a small answer, and nothing to read for it.
pub(super) fn has_small_answer(kind: Kind) -> bool {
    use Kind::{CloseRound, Contribute, DealRound, FetchRound, JoinRound, OpenRound, ShowRound};
    !matches!(kind, OpenRound | ShowRound | Contribute | CloseRound | FetchRound | JoinRound | DealRound)
}

fn message<M: Message>(lane: &Lane, payload: &[u8]) -> Result<M, Trouble> {
    lane.decode(payload).map_err(own)
}

fn list(seat: &Seat, lane: &mut Lane) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    seat.rounds.expire(now);
    let mut found: Vec<(Duration, RoundId, RoundStage)> = {
        let rounds = seat.rounds.lock();
        let concern = rounds.iter().filter(|(_, round)| round.concerns(&asker));
        concern.map(|(id, round)| (round.opened, *id, round.stage())).collect()
    };
    found.sort_unstable_by_key(|(opened, id, _)| (*opened, *id));
    let list = found.into_iter().map(|(_, id, stage)| (id, stage)).collect();
    lane.send(&RoundList(list)).map_err(own)
}

fn show(seat: &Seat, lane: &mut Lane, which: ShowRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    let (reply, attachment) = seat.rounds.of(&which.round, &asker, now, |round| {
        let place = round.terms.terms().place_of(&asker);
        let (contributed, own) = match &round.stage {
            Stage::Open(sent) => (sent.len(), place.is_some_and(|place| sent.contains_key(&place))),
            _ => (0, false),
        };
        let terms = SignedTerms::clone(&round.terms);
        let reply = RoundReply { terms, stage: round.stage(), contributed: contributed as u32, own };
        Ok((reply, which.attachment.then(|| round.attachment.clone())))
    })?;
    let _room = bulk(seat, lane, attachment.as_ref().map_or(0, |bytes| bytes.len()))?;
    lane.send(&reply).map_err(own)?;
    if let Some(attachment) = attachment {
        lane.send_stream(&attachment).map_err(own)?;
    }
    lane.pace(None);
    Ok(())
}

fn abandon(seat: &Seat, lane: &mut Lane, AbandonRound(id): AbandonRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    seat.rounds.of(&id, &asker, now, |round| {
        if round.terms.terms().coordinator != asker {
            return Err(Refusal::new(FailCode::Refused, "only its coordinator gives a round up"));
        }
        match (&round.stage, round.role(seat.index)) {
            // Nobody works on it: at the helper a round has no thread of its own.
            (Stage::Open(_), _) | (Stage::Closing, None) => {
                round.ends(Stage::Failed("its coordinator gave it up".into()), now);
                Ok(())
            }
            (Stage::Closing, Some(_)) => Err(Refusal::new(FailCode::Busy, "the round is being closed")),
            (Stage::Ended(_) | Stage::Failed(_) | Stage::Helped, _) => Ok(()),
        }
    })?;
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

fn fetch(seat: &Seat, lane: &mut Lane, FetchRound(id): FetchRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    let result = seat.rounds.of(&id, &asker, now, |round| round.result())?;
    let _room = bulk(seat, lane, 4 * result.sum.len())?;
    lane.send(&*result).map_err(own)?;
    lane.pace(None);
    Ok(())
}

impl Round {
    fn result(&self) -> Result<Arc<RoundResult>, Refusal> {
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

/// Whoever reads slowly has the time of a request, what is sent counts as fetched, and the bytes of an answer take memory.
fn bulk(seat: &Seat, lane: &mut Lane, bytes: usize) -> Result<Option<Slot>, Trouble> {
    let (asker, time) = (lane.peer(), seat.machine.config.timeouts.request());
    seat.machine.quotas.download(asker, asker, bytes as u64, seat.machine.uptime())?;
    lane.pace(Some((time, crate::channel::SLOWEST)));
    if bytes <= SMALL {
        return Ok(None);
    }
    // As they are written, and as they are sent.
    let room = seat.job_memory.take_aside_while(asker, 2 * bytes as u64, time, GLANCE, || still_there(lane))?;
    let busy = || Refusal::new(FailCode::Busy, "this node has no memory for the answer right now, try again");
    room.map(Some).ok_or_else(|| busy().into())
}
