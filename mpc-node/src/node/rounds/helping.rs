//! The helper of a round deals to both evaluators what their checks take, and its noise, each once and only for what both name.

use std::sync::atomic::Ordering;

use zeroize::Zeroizing;

use super::super::refusal::{Refusal, Trouble, no_random, own, peer};
use super::super::seat::Seat;
use super::{Round, Stage, unknown};
use crate::channel::SLOWEST;
use crate::engine::{EvaluatorRole, Seed, random_seed};
use crate::lane::Lane;
use crate::meter::{Traffic, thread_cpu_time};
use crate::protocol::ring::secret::Secret;
use crate::protocol::ring::words;
use crate::protocol::round::{CheckDealing, NodeNoise, Vectors, noise_share_from_seed, share_noise};
use crate::wire::{CHUNK, DealRound, Dealt, FailCode, Kind, RoundDealt};

/// What the helper of a round has dealt. Whatever an evaluator asks for first, the other has to ask for the same.
#[derive(Default)]
pub(super) struct Helping {
    /// What is checked, and of how many vectors.
    included: Option<([u8; 32], u16)>,
    /// Of each check.
    checks: Vec<Served>,
    /// What is opened, and the noise for it.
    noise: Option<([u8; 32], Seed, Served)>,
}

impl Helping {
    /// Both have all that they will ask for.
    pub(super) fn is_over(&self) -> bool {
        self.noise.as_ref().is_some_and(|(_, _, served)| served.to == [true; 2])
    }
}

/// Seeds that are shared with the evaluators, and who has asked.
struct Served {
    seeds: [Seed; 2],
    to: [bool; 2],
}

impl Served {
    fn new() -> Result<Self, Refusal> {
        Ok(Self { seeds: [random_seed().map_err(no_random)?, random_seed().map_err(no_random)?], to: [false; 2] })
    }

    /// The seeds, to this evaluator for the first time.
    fn serve(&mut self, role: EvaluatorRole) -> Result<[Seed; 2], Refusal> {
        if std::mem::replace(&mut self.to[role as usize], true) {
            return Err(Refusal::new(
                FailCode::Refused,
                "this was dealt to this evaluator already: a mask serves once",
            ));
        }
        Ok(self.seeds.clone())
    }
}

/// What is to be sent.
pub(super) enum Order {
    Check(Vectors, usize, [Seed; 2]),
    /// Dimension, the seed of the noise, and the one that is shared with the first evaluator.
    Noise(Box<NodeNoise>, usize, Seed, Seed),
}

pub(super) fn deal(seat: &Seat, lane: &mut Lane, caller: Option<u8>, ask: DealRound) -> Result<(), Trouble> {
    let (role, coordinator, order) = {
        let mut rounds = seat.rounds.lock();
        let round = rounds.get_mut(&ask.round).ok_or_else(unknown)?;
        let assignment = round.terms.terms().assignment;
        let role = caller.filter(|_| assignment.helper() == seat.index).and_then(|caller| assignment.role(caller));
        let role = role.ok_or_else(|| {
            Refusal::new(FailCode::Refused, "only an evaluator of the round asks, and only its helper deals")
        })?;
        (role, round.terms.terms().coordinator, round.order(role, &ask)?)
    };
    seat.machine.quotas.may_deal(coordinator, seat.machine.uptime())?;
    let time = seat.machine.config.timeouts.request();
    lane.enter("while it was dealt to for a round", Traffic::Offline, time);
    lane.pace(Some((time, SLOWEST)));
    let before = thread_cpu_time();
    let sent = send(seat, lane, role, &order);
    seat.machine.quotas.dealt(coordinator, thread_cpu_time().saturating_sub(before), seat.machine.uptime());
    sent?;
    lane.pace(None);
    if let Some(round) = seat.rounds.lock().get_mut(&ask.round)
        && round.helping.is_over()
    {
        round.ends(Stage::Helped, seat.machine.uptime());
    }
    seat.stats.dealt.fetch_add(u64::from(role == EvaluatorRole::Second), Ordering::Relaxed);
    Ok(())
}

impl Round {
    pub(super) fn order(&mut self, role: EvaluatorRole, ask: &DealRound) -> Result<Order, Refusal> {
        let refused = |text| Err(Refusal::new(FailCode::Refused, text));
        if !matches!(self.stage, Stage::Open(_) | Stage::Closing) {
            return refused("this round is over");
        }
        // From here on nobody else changes what the helper knows of it.
        self.stage = Stage::Closing;
        let terms = self.terms.terms();
        let vectors = terms.vectors;
        match ask.what {
            Dealt::Check(number, count) => {
                let (number, all) = (usize::from(number), usize::from(count));
                let at_a_time = vectors.at_a_time();
                if all == 0 || all > terms.providers.len() || number >= all.div_ceil(at_a_time) {
                    return refused("the round has no such check");
                }
                if *self.helping.included.get_or_insert((ask.digest, count)) != (ask.digest, count) {
                    return refused("the evaluators of the round do not ask for the same contributions");
                }
                while self.helping.checks.len() <= number {
                    self.helping.checks.push(Served::new()?);
                }
                let seeds = self.helping.checks[number].serve(role)?;
                Ok(Order::Check(vectors, at_a_time.min(all - number * at_a_time), seeds))
            }
            Dealt::Noise => {
                let noise = NodeNoise::new(terms.variance).map_err(|e| Refusal::fault("draw noise", e))?;
                if self.helping.included.is_none() {
                    return refused("nothing was checked in this round");
                }
                if self.helping.noise.is_none() {
                    // Only now: what it is added to is fixed.
                    self.helping.noise = Some((ask.digest, random_seed().map_err(no_random)?, Served::new()?));
                }
                match &mut self.helping.noise {
                    Some((digest, seed, served)) if *digest == ask.digest => {
                        let [shared, _] = served.serve(role)?;
                        Ok(Order::Noise(Box::new(noise), vectors.dimension(), seed.clone(), shared))
                    }
                    _ => refused("the evaluators of the round do not ask for noise for the same sum"),
                }
            }
        }
    }
}

fn send(seat: &Seat, lane: &mut Lane, role: EvaluatorRole, order: &Order) -> Result<(), Trouble> {
    let announce = |seed: &Seed, len: usize| RoundDealt { seed: Zeroizing::new(*seed.as_bytes()), len: len as u64 };
    match (order, role) {
        (Order::Check(_, _, seeds), EvaluatorRole::First) => lane.send(&announce(&seeds[0], 0)).map_err(own),
        (Order::Noise(_, _, _, shared), EvaluatorRole::First) => lane.send(&announce(shared, 0)).map_err(own),
        (Order::Check(vectors, count, seeds), EvaluatorRole::Second) => {
            lane.send(&announce(&seeds[1], vectors.correction_len(*count))).map_err(own)?;
            let mut dealing = CheckDealing::new(vectors, *count, [&seeds[0], &seeds[1]]);
            while let Some(chunk) = dealing.next_chunk() {
                if seat.machine.is_stopping() {
                    return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
                }
                lane.send_frame(Kind::Chunk, chunk).map_err(own)?;
            }
            Ok(())
        }
        (Order::Noise(noise, coordinates, seed, shared), EvaluatorRole::Second) => {
            let words = share_noise(&noise.draw(seed, *coordinates), shared);
            let none = Seed::from_bytes([0; 32]);
            lane.send(&announce(&none, 4 * words.len())).map_err(own)?;
            let mut bytes = Zeroizing::new(Vec::with_capacity(4 * words.len()));
            words::encode(4, &words, &mut bytes);
            bytes.chunks(CHUNK).try_for_each(|chunk| lane.send_frame(Kind::Chunk, chunk)).map_err(own)
        }
    }
}

/// As an evaluator: asks the helper for its seed, and what follows it.
pub(super) fn ask(seat: &Seat, helper: u8, ask: &DealRound, expected: usize) -> Result<(Seed, Vec<u8>), Trouble> {
    let time = seat.machine.config.timeouts.request();
    let mut lane = seat.peer_lane(helper).map_err(peer)?;
    lane.begin("when asked to deal for a round", Traffic::Offline, time);
    lane.send(ask).map_err(peer)?;
    let dealt: RoundDealt = lane.receive().map_err(peer)?;
    if dealt.len != expected as u64 {
        let text = format!("{} deals {} bytes for a round, {expected} were expected", lane.who(), dealt.len);
        return Err(Refusal::new(FailCode::Peer, text).into());
    }
    let bytes = lane.receive_stream(expected).map_err(peer)?;
    seat.put_back(helper, lane);
    Ok((Seed::from_bytes(*dealt.seed), bytes))
}

/// As an evaluator: its share of the helper's noise.
pub(super) fn ask_noise(
    seat: &Seat,
    helper: u8,
    ask_for: &DealRound,
    role: EvaluatorRole,
    coordinates: usize,
) -> Result<Secret<u32>, Trouble> {
    match role {
        EvaluatorRole::First => {
            let (seed, _) = ask(seat, helper, ask_for, 0)?;
            Ok(noise_share_from_seed(&seed, coordinates))
        }
        EvaluatorRole::Second => {
            let (_, bytes) = ask(seat, helper, ask_for, 4 * coordinates)?;
            let bytes = Secret::from(bytes);
            let mut share = vec![0; coordinates];
            words::decode(4, &bytes, &mut share);
            Ok(share.into())
        }
    }
}
