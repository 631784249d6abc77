//! The helper of a round deals to both evaluators what their checks take, and its noise, each once and only for what both name.

use std::sync::atomic::Ordering;

use zeroize::Zeroizing;

use super::super::open_rounds::{Order, Stage, unknown};
use super::super::refusal::{Refusal, Trouble, own, peer};
use super::super::seat::Seat;
use crate::channel::SLOWEST;
use crate::engine::{EvaluatorRole, Seed};
use crate::lane::Lane;
use crate::meter::{Traffic, thread_cpu_time};
use crate::protocol::ring::secret::Secret;
use crate::protocol::ring::words;
use crate::protocol::round::{CheckDealing, noise_share_from_seed, share_noise};
use crate::wire::{CHUNK, DealRound, FailCode, Kind, RoundDealt};

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
