//! Waiting on behalf of somebody who may go: for a slot, or for room for a model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::quota::Payer;
use super::refusal::{Refusal, Trouble, own};
use super::seat::Seat;
use super::slots::{GLANCE, Slot, Slots};
use crate::engine::{Plan, WeightMaterial};
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::models::{ModelError, Work};
use crate::wire::{FailCode, Task};

/// A consumer that says something, or hangs up, before it has its answer has given the job up.
pub(super) fn still_wanted(consumer: &mut Lane) -> Result<(), Trouble> {
    if consumer.readable(Duration::ZERO).map_err(own)? {
        return Err(Refusal::new(FailCode::Refused, "the request was given up").into());
    }
    Ok(())
}

/// The same before the consumer has sent all of its request, which may be on its way: only whether it is there at all.
pub(super) fn still_there(consumer: &mut Lane) -> Result<(), Trouble> {
    if consumer.has_hung_up() {
        return Err(Refusal::new(FailCode::Refused, "the request was given up").into());
    }
    Ok(())
}

/// A slot for a job whose consumer still waits.
pub(super) fn slot(
    slots: &Arc<Slots>,
    size: u64,
    consumer: &mut Lane,
    patience: Duration,
) -> Result<Option<Slot>, Trouble> {
    slot_of(consumer.peer(), slots, size, consumer, patience)
}

/// A slot that counts as this key's, for whoever waits on the lane.
pub(super) fn slot_of(
    key: PublicKey,
    slots: &Arc<Slots>,
    size: u64,
    asker: &mut Lane,
    patience: Duration,
) -> Result<Option<Slot>, Trouble> {
    slots.take_while(key, size, patience, GLANCE, || still_wanted(asker))
}

/// What a job runs with.
pub(super) type Model = (Arc<Plan>, Arc<WeightMaterial>);

/// Plan and weights of a task, if the key may still use them and there is room: both, or nothing is held.
pub(super) fn model(seat: &Seat, task: &Task, key: &PublicKey, leave: Option<Work>) -> Result<Model, ModelError> {
    let permit = seat.models.permit(task, key, leave)?;
    let weights = permit.material()?;
    Ok((permit.plan()?.0, weights))
}

/// Makes something ready for `payer` in its turn, as soon as running jobs leave room for it, if the asker waits so long.
pub(super) fn patiently<T>(
    seat: &Seat,
    payer: impl Into<Payer>,
    asker: &mut Lane,
    patience: Duration,
    make: impl FnMut(Option<Work>) -> Result<T, ModelError>,
) -> Result<T, Trouble> {
    patiently_while(seat, payer, patience, || still_wanted(asker), make)
}

/// The same, as long as `wanted` says so.
pub(super) fn patiently_while<T>(
    seat: &Seat,
    payer: impl Into<Payer>,
    patience: Duration,
    mut wanted: impl FnMut() -> Result<(), Trouble>,
    mut make: impl FnMut(Option<Work>) -> Result<T, ModelError>,
) -> Result<T, Trouble> {
    let (payer, end) = (payer.into(), Instant::now() + patience);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match seat.machine.making.ready(payer, left, &mut wanted, &mut make)? {
            Err(ModelError::Busy) if Instant::now() < end => {
                wanted()?;
                std::thread::sleep(GLANCE);
            }
            result => return Ok(result?),
        }
    }
}
