//! Both evaluators close a round: what both have is checked, noise is added, and the sum of what is accepted is opened, once.
//!
//! In this order: who is included (both have a contribution with the same signature) is fixed; vectors are checked, and one bit of
//! each is opened; both agree on the outcome by its hash; only then is noise drawn, by all three; the noisy sum is opened; both sign.
//! Whatever fails after the first step ends the round: what was sent for it is wiped, and nothing is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::open_rounds::{Contribution, Stage, unknown};
use super::super::refusal::{Refusal, Trouble, no_random, own, peer};
use super::super::seat::Seat;
use super::super::slots::{Slot, Slots};
use super::helping;
use crate::channel::SLOWEST;
use crate::engine::{EvaluatorRole, Seed, random_seed};
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::protocol::ring::secret::Secret;
use crate::protocol::ring::words;
use crate::protocol::round::{Check, CheckStep, NodeNoise, RoundError, Sum, share_from_seed};
use crate::rounds::{RoundResult, SignedTerms, included_digest, outcome_digest};
use crate::wire::{CloseRound, DealRound, Dealt, FailCode, JoinRound, RoundJoined};

type Contributions = BTreeMap<u16, Contribution>;
type Places = Vec<(u16, [u8; 32])>;

/// As the first evaluator, for the coordinator.
pub(super) fn close(seat: &Seat, lane: &mut Lane, CloseRound(id): CloseRound) -> Result<(), Trouble> {
    let (now, asker) = (seat.machine.uptime(), lane.peer());
    let known = seat.rounds.of(&id, &asker, now, |round| {
        if round.terms.terms().coordinator != asker {
            return Err(Refusal::new(FailCode::Refused, "only its coordinator closes a round"));
        }
        if round.role(seat.index) != Some(EvaluatorRole::First) {
            return Err(Refusal::new(FailCode::Refused, "a round is closed at its first evaluator"));
        }
        match &round.stage {
            Stage::Open(sent) => Ok(Err((round.terms.clone(), places(sent)))),
            _ => round.result().map(Ok),
        }
    })?;
    let result = match known {
        // Once more: what came out is what it was, with no other noise.
        Ok(result) => result,
        Err((terms, contributions)) => as_first(seat, &terms, contributions)?,
    };
    let _room = super::bulk(seat, lane, 4 * result.sum.len())?;
    lane.send(&*result).map_err(own)?;
    lane.pace(None);
    Ok(())
}

fn places(sent: &Contributions) -> Places {
    sent.iter().map(|(place, sent)| (*place, sent.digest)).collect()
}

fn as_first(seat: &Seat, terms: &Arc<SignedTerms>, contributions: Places) -> Result<Arc<RoundResult>, Trouble> {
    let _slot = slot(&seat.first_slots, terms.terms().coordinator)?;
    let id = terms.id();
    let [_, second] = terms.terms().assignment.evaluators();
    let mut lane = seat.peer_lane(second).map_err(peer)?;
    let time = seat.machine.config.timeouts.request();
    lane.begin("when a round was closed", Traffic::Online, time);
    lane.send(&JoinRound { round: id, contributions: contributions.clone() }).map_err(peer)?;
    // Until it has answered the round is open here: it may be too busy.
    let RoundJoined(included) = lane.receive().map_err(peer)?;
    let closing = Closing::begin(seat, terms.clone(), EvaluatorRole::First)?;
    let result = closing.run(&mut lane, &included, &contributions);
    let result = closing.end(result.map_err(as_peers))?;
    lane.count();
    seat.put_back(second, lane);
    Ok(result)
}

/// Trouble with the other evaluator is no trouble with the coordinator's lane.
fn as_peers(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Lane(error) => peer(error),
        refusal => refusal,
    }
}

/// As the second evaluator, for the first.
pub(super) fn join(seat: &Seat, lane: &mut Lane, caller: Option<u8>, join: &JoinRound) -> Result<(), Trouble> {
    let terms = {
        let rounds = seat.rounds.lock();
        let round = rounds.get(&join.round).ok_or_else(unknown)?;
        let [first, second] = round.terms.terms().assignment.evaluators();
        if caller != Some(first) || seat.index != second {
            let text = "only the first evaluator of a round closes it, with the second";
            return Err(Refusal::new(FailCode::Refused, text).into());
        }
        if !matches!(round.stage, Stage::Open(_)) {
            return Err(Refusal::new(FailCode::Refused, "the round is closed here already").into());
        }
        round.terms.clone()
    };
    let _slot = slot(&seat.second_slots, terms.terms().coordinator)?;
    let closing = Closing::begin(seat, terms, EvaluatorRole::Second)?;
    let theirs: BTreeMap<u16, [u8; 32]> = join.contributions.iter().copied().collect();
    let mut included = places(&closing.sent);
    included.retain(|(place, digest)| theirs.get(place) == Some(digest));
    let time = seat.machine.config.timeouts.request();
    lane.enter("when a round was closed", Traffic::Online, time);
    lane.pace(None);
    let result = lane.send(&RoundJoined(included.clone())).map_err(own);
    let result = result.and_then(|()| closing.run(lane, &included, &join.contributions));
    closing.end(result)?;
    lane.count();
    Ok(())
}

fn slot(slots: &Arc<Slots>, key: PublicKey) -> Result<Slot, Refusal> {
    let busy = || Refusal::new(FailCode::Busy, "this node runs as many jobs as it can: close the round again");
    slots.take(key, 1).ok_or_else(busy)
}

/// A round that takes nothing any more; failed, unless it ends otherwise.
struct Closing<'a> {
    seat: &'a Seat,
    terms: Arc<SignedTerms>,
    role: EvaluatorRole,
    sent: Contributions,
}

impl<'a> Closing<'a> {
    fn begin(seat: &'a Seat, terms: Arc<SignedTerms>, role: EvaluatorRole) -> Result<Self, Refusal> {
        let mut rounds = seat.rounds.lock();
        let round = rounds.get_mut(&terms.id()).ok_or_else(unknown)?;
        match std::mem::replace(&mut round.stage, Stage::Closing) {
            Stage::Open(sent) => {
                // Nobody forgets it while it is worked on.
                round.forgotten = Duration::MAX;
                Ok(Self { seat, terms, role, sent })
            }
            other => {
                round.stage = other;
                Err(Refusal::new(FailCode::Refused, "the round is being closed, or is closed already"))
            }
        }
    }

    /// Keeps what became of the round.
    fn end(self, result: Result<RoundResult, Trouble>) -> Result<Arc<RoundResult>, Trouble> {
        let result = result.map(Arc::new);
        let stage = match &result {
            Ok(result) => Stage::Ended(result.clone()),
            Err(Trouble::Refusal(refusal)) => Stage::Failed(refusal.text.clone()),
            Err(Trouble::Lane(error)) => Stage::Failed(error.told()),
        };
        let now = self.seat.machine.uptime();
        if let Some(round) = self.seat.rounds.lock().get_mut(&self.terms.id()) {
            round.ends(stage, now);
        }
        if let Ok(result) = &result {
            let (included, accepted) = (result.included.len(), result.count());
            tracing::info!(round = %self.terms.id(), included, accepted, "a round has ended");
        }
        result
    }

    /// From agreed places to a signed result.
    fn run(&self, lane: &mut Lane, included: &Places, theirs: &Places) -> Result<RoundResult, Trouble> {
        let own = places(&self.sent);
        if !included.iter().all(|place| own.contains(place) && theirs.contains(place)) {
            return Err(refused("the other evaluator includes contributions that were not sent to both"));
        }
        let terms = self.terms.terms();
        let id = self.terms.id();
        let digest = included_digest(&id, included);
        self.enough(included.len(), "sent both shares")?;
        let mut sum = Sum::new(&terms.vectors);
        let mut accepted = Vec::with_capacity(included.len());
        for (number, batch) in included.chunks(terms.vectors.at_a_time()).enumerate() {
            let ask = DealRound { round: id, digest, what: Dealt::Check(number as u16, included.len() as u16) };
            self.check(lane, &ask, batch, &mut sum, &mut accepted)?;
        }
        let outcome = outcome_digest(&digest, &accepted);
        self.agree(lane, &outcome)?;
        let count = accepted.iter().filter(|accepted| **accepted).count();
        self.enough(count, "sent vectors that are no longer than allowed")?;
        self.add_noise(&mut sum, DealRound { round: id, digest: outcome, what: Dealt::Noise })?;
        // Not before both have all noise.
        self.agree(lane, &outcome)?;
        let frame = sum.frame();
        let theirs = self.exchange(lane, &frame)?;
        let sum = sum.open(&theirs).map_err(fault)?;
        self.sign(lane, RoundResult { round: id, included: included.clone(), accepted, sum, signatures: [[0; 64]; 2] })
    }

    fn enough(&self, count: usize, what: &str) -> Result<(), Refusal> {
        let least = self.terms.terms().least;
        if count >= least as usize {
            return Ok(());
        }
        let text = format!("{count} providers {what}, and the sum of fewer than {least} is not opened");
        Err(Refusal::new(FailCode::Refused, text))
    }

    /// Checks some vectors, and adds those that are accepted.
    fn check(
        &self,
        lane: &mut Lane,
        ask: &DealRound,
        batch: &[(u16, [u8; 32])],
        sum: &mut Sum,
        accepted: &mut Vec<bool>,
    ) -> Result<(), Trouble> {
        let vectors = self.terms.terms().vectors;
        let expected = if self.role == EvaluatorRole::First { 0 } else { vectors.correction_len(batch.len()) };
        let (seed, corrections) = helping::ask(self.seat, self.helper(), ask, expected)?;
        let mut shares = Secret::from(vec![0; batch.len() * vectors.dimension()]);
        for ((place, _), words) in batch.iter().zip(shares.chunks_mut(vectors.dimension())) {
            let share = self.sent.get(place).map(|sent| &sent.share[..]).unwrap_or_default();
            match self.role {
                EvaluatorRole::First => {
                    let seed = share.first_chunk().map(|seed| Seed::from_bytes(*seed));
                    let seed = seed.ok_or_else(|| refused("a share of the round is not a seed"))?;
                    words.copy_from_slice(&share_from_seed(&vectors, &seed));
                }
                EvaluatorRole::Second => {
                    words::decode(vectors.width(), share, words);
                    let low = words::low_bits(vectors.bits());
                    words.iter_mut().for_each(|word| *word &= low);
                }
            }
        }
        let mut check = Check::new(vectors, self.role, seed, corrections, shares).map_err(fault)?;
        let mut received = None;
        loop {
            match check.step(received.take()).map_err(fault)? {
                CheckStep::Exchange { send, .. } => received = Some(self.exchange(lane, &send)?),
                CheckStep::Done(checked) => {
                    sum.add_accepted(&checked);
                    accepted.extend_from_slice(&checked.accepted);
                    return Ok(());
                }
            }
        }
    }

    /// This node's own noise, and its share of the helper's.
    fn add_noise(&self, sum: &mut Sum, ask: DealRound) -> Result<(), Trouble> {
        let terms = self.terms.terms();
        let coordinates = terms.vectors.dimension();
        let noise = NodeNoise::new(terms.variance).map_err(fault)?;
        sum.add(&noise.draw(&random_seed().map_err(no_random)?, coordinates));
        sum.add(&helping::ask_noise(self.seat, self.helper(), &ask, self.role, coordinates)?);
        Ok(())
    }

    /// Both evaluators go by the same.
    fn agree(&self, lane: &mut Lane, digest: &[u8; 32]) -> Result<(), Trouble> {
        let theirs = self.exchange(lane, digest)?;
        if theirs[..] == digest[..] { Ok(()) } else { Err(refused("the other evaluator has another outcome")) }
    }

    fn sign(&self, lane: &mut Lane, mut result: RoundResult) -> Result<RoundResult, Trouble> {
        let digest = result.digest();
        let signature = self.seat.machine.identity.sign(&digest);
        let theirs = self.exchange(lane, &signature)?;
        let theirs = theirs.first_chunk::<64>().copied().unwrap_or([0; 64]);
        if !lane.peer().verifies(&digest, &theirs) {
            return Err(refused("the other evaluator signs another result"));
        }
        result.signatures = match self.role {
            EvaluatorRole::First => [signature, theirs],
            EvaluatorRole::Second => [theirs, signature],
        };
        Ok(result)
    }

    fn exchange(&self, lane: &mut Lane, send: &[u8]) -> Result<Secret<u8>, Trouble> {
        // The other may still be asking the helper for what this one has.
        lane.pace(Some((self.seat.machine.config.timeouts.request(), SLOWEST)));
        let (_, received) = lane.exchange(None, send).map_err(own)?;
        lane.pace(None);
        Ok(received)
    }

    fn helper(&self) -> u8 {
        self.terms.terms().assignment.helper()
    }
}

fn refused(text: &str) -> Trouble {
    Refusal::new(FailCode::Peer, text).into()
}

fn fault(error: RoundError) -> Trouble {
    Refusal::new(FailCode::Internal, error.to_string()).into()
}
