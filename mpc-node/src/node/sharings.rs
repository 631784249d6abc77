//! Requests about sharings: owners upload, replace and delete theirs, consumers find what they may use.

use std::io::Read;

use super::refusal::{Refusal, Trouble, own};
use super::seat::Seat;
use super::slots::Slot;
use crate::channel::{SLOWEST, time_for};
use crate::config::largest;
use crate::identity::PublicKey;
use crate::lane::{Lane, PORTION};
use crate::meter::Traffic;
use crate::models::{Begun, not_for};
use crate::wire::{
    AccountReply, AskAccount, Begin, DeleteSharing, FailCode, FindSharing, GetClientPart, Kind, Message, Piece,
    PutAccess,
};

/// Answers requests about sharings; `None` when it is another kind of request.
pub(super) fn answer(
    seat: &Seat,
    lane: &mut Lane,
    caller: Option<u8>,
    kind: Kind,
    payload: &[u8],
) -> Option<Result<(), Trouble>> {
    Some(match kind {
        Kind::FindSharing => find(seat, lane, payload),
        Kind::ListSharings => lane.send(&seat.models.list(&lane.peer(), caller.is_some())).map_err(own),
        Kind::Begin => upload(seat, lane, caller, payload),
        Kind::PutAccess => put_access(seat, lane, payload),
        Kind::DeleteSharing => delete(seat, lane, payload),
        Kind::AskAccount => account(seat, lane, payload),
        Kind::ClientPart => client_part(seat, lane, caller, payload),
        _ => return None,
    })
}

fn message<M: Message>(lane: &Lane, payload: &[u8]) -> Result<M, Trouble> {
    lane.decode(payload).map_err(own)
}

fn find(seat: &Seat, lane: &mut Lane, payload: &[u8]) -> Result<(), Trouble> {
    let question: FindSharing = message(lane, payload)?;
    lane.send(&seat.models.find(&question, &lane.peer())).map_err(own)
}

fn account(seat: &Seat, lane: &mut Lane, payload: &[u8]) -> Result<(), Trouble> {
    let AskAccount(id) = message(lane, payload)?;
    // What is shown of a sharing, and to whom, is one decision.
    let shown = seat.models.find(&FindSharing::Exactly(id), &lane.peer());
    let signed = shown.manifest.ok_or_else(|| not_for(&id))?;
    let spent = seat.machine.accounts.spent(signed.manifest())?;
    lane.send(&AccountReply(spent.0)).map_err(own)
}

fn upload(seat: &Seat, lane: &mut Lane, caller: Option<u8>, payload: &[u8]) -> Result<(), Trouble> {
    let Begin { manifest, bytes } = message(lane, payload)?;
    if caller.is_none() {
        seat.machine.quotas.upload(lane.peer(), bytes, seat.machine.uptime())?;
    }
    let described = manifest.manifest().clone();
    let mut upload = match seat.models.begin(lane.peer(), manifest, bytes)? {
        Begun::Here => return lane.send_frame(Kind::Done, &[]).map_err(own),
        Begun::Upload(upload) => upload,
    };
    seat.machine.accounts.check(&described)?;
    lane.enter("while it sent a model", Traffic::Setup, seat.machine.config.timeouts.request());
    lane.pace(Some((seat.machine.config.timeouts.request(), SLOWEST)));
    lane.send_frame(Kind::GoOn, &[]).map_err(own)?;
    while !upload.is_complete() {
        if seat.machine.is_stopping() {
            return Err(Refusal::new(FailCode::Stopping, "this node is shutting down").into());
        }
        let piece: Piece = lane.receive().map_err(own)?;
        upload.receive::<Trouble>(piece.len, |write| {
            let mut written = Ok(());
            lane.receive_chunks(piece.len, &mut |chunk| {
                if written.is_ok() {
                    written = write(chunk);
                }
                written.is_ok()
            })
            .map_err(own)?;
            Ok(written?)
        })?;
        // Memory is taken once everything is here, and never while an owner sends.
        let _memory = room_to_check(seat, lane.peer(), upload.scratch())?;
        upload.check()?;
    }
    lane.receive_frame(Kind::Commit).map_err(own)?;
    lane.pace(None);
    // Only now, when what is shared takes one of the places of its owner: who counts is known before anybody asks.
    seat.machine.accounts.make(&described)?;
    let done = upload.commit()?;
    let destroyed = destroy_stale_packs(seat)?;
    tracing::info!(
        owner = %described.owner,
        name = %described.name,
        version = described.version,
        manifest = %done.id,
        replaced = done.replaced.map(|id| id.to_string()),
        visibility = ?described.visibility(),
        bytes,
        packs_destroyed = destroyed,
        "a model was shared"
    );
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

/// Memory to look at a piece in, if it is not compared already.
fn room_to_check(seat: &Seat, key: PublicKey, bytes: u64) -> Result<Option<Slot>, Trouble> {
    if bytes == 0 {
        return Ok(None);
    }
    let patience = seat.machine.config.timeouts.request();
    let room = seat.job_memory.take_while(key, bytes, patience, patience, || Ok::<_, Trouble>(()))?;
    let refusal = || {
        let megabytes = bytes.div_ceil(1 << 20);
        let (code, text) = match bytes > largest(seat.machine.config.limits.job_megabytes << 20) {
            true => (FailCode::Refused, "more than a job may have here (three quarters of limits.job_megabytes)"),
            false => (FailCode::Busy, "which this node does not have right now (limits.job_megabytes), try again"),
        };
        Refusal::new(code, format!("checking a piece of the upload takes {megabytes} MB, {text}"))
    };
    Ok(Some(room.ok_or_else(refusal)?))
}

fn put_access(seat: &Seat, lane: &mut Lane, payload: &[u8]) -> Result<(), Trouble> {
    let PutAccess(access) = message(lane, payload)?;
    let (sharing, serial) = (access.sharing(), access.list().serial);
    seat.models.put_access(&lane.peer(), access)?;
    tracing::info!(%sharing, serial, "an access list was replaced");
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

fn delete(seat: &Seat, lane: &mut Lane, payload: &[u8]) -> Result<(), Trouble> {
    let DeleteSharing(sharing) = message(lane, payload)?;
    if !seat.models.delete(&lane.peer(), &sharing)? {
        return Err(Refusal::new(FailCode::NoModel, "no such sharing of yours is here").into());
    }
    let destroyed = destroy_stale_packs(seat)?;
    tracing::info!(%sharing, packs_destroyed = destroyed, "a sharing was deleted");
    lane.send_frame(Kind::Done, &[]).map_err(own)
}

fn client_part(seat: &Seat, lane: &mut Lane, caller: Option<u8>, payload: &[u8]) -> Result<(), Trouble> {
    let GetClientPart(manifest) = message(lane, payload)?;
    let (mut file, len, owner) = seat.models.client_part(&manifest, &lane.peer())?;
    if caller.is_none() {
        seat.machine.quotas.download(lane.peer(), owner, len, seat.machine.uptime())?;
    }
    lane.enter("while it fetched a client part", Traffic::Setup, seat.machine.config.timeouts.request());
    lane.limit(Some(seat.machine.config.timeouts.request() + time_for(len)));
    lane.send(&Piece { len }).map_err(own)?;
    let mut left = len;
    let mut buffer = vec![0; PORTION];
    while left > 0 {
        let chunk = &mut buffer[..left.min(PORTION as u64) as usize];
        file.read_exact(chunk).map_err(|error| Refusal::fault("read the client part", error))?;
        lane.send_frame(Kind::Chunk, chunk).map_err(own)?;
        left -= chunk.len() as u64;
    }
    lane.limit(None);
    Ok(())
}

/// Destroys the packs of versions that are not current: they fit no job that will be taken.
pub(super) fn destroy_stale_packs(seat: &Seat) -> Result<usize, Trouble> {
    Ok(seat.packs.retain(|task| seat.models.is_current(&task.manifest))?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::trial;
    use super::*;
    use crate::engine::{Assignment, EvaluatorRole, GraphId, PackContents, Rounding, Seed};
    use crate::packs::{PackHeader, Purpose};
    use crate::transcript::{PackSeal, SignedSeal};
    use crate::wire::{Incarnation, ManifestId, PackId, Task};

    #[test]
    fn whoever_checks_a_piece_takes_memory_for_it_or_is_told_whether_to_come_again() {
        // Nobody is waited for.
        let trial = trial::node(|config| (config.limits.job_megabytes, config.timeouts.request) = (4, 0));
        let (seat, key) = (&trial.seat, trial.others[0].public());
        let told = |bytes| match room_to_check(seat, key, bytes) {
            Err(Trouble::Refusal(refusal)) => (refusal.code, refusal.text),
            Err(Trouble::Lane(error)) => panic!("{error}"),
            Ok(_) => panic!("there is room"),
        };
        assert!(room_to_check(seat, key, 0).is_ok_and(|room| room.is_none()), "what is compared already takes nothing");
        let room = room_to_check(seat, key, 3 << 20).ok().flatten().expect("three quarters are free");
        assert!(seat.job_memory.take(key, (1 << 20) + 1).is_none(), "it is taken");
        let (code, text) = told(3 << 20);
        assert!(
            code == FailCode::Busy && text.contains("takes 3 MB, which this node does not have right now"),
            "{text}"
        );
        drop(room);
        let (code, text) = told((3 << 20) + 1);
        assert!(code == FailCode::Refused && text.contains("takes 4 MB, more than a job may have here"), "{text}");
        assert!(room_to_check(seat, key, 3 << 20).is_ok());
    }

    #[test]
    fn packs_of_versions_that_are_not_current_are_destroyed() {
        let trial = trial::node(|_| ());
        let packs = &trial.seat.packs;
        let key = Task {
            manifest: ManifestId([5; 32]),
            graph: GraphId([3; 32]),
            assignment: Assignment::ALL[1],
            rounding: Rounding::Exact,
        };
        let seal = PackSeal { seeds: [[1; 32], [2; 32]], corrections: [3; 32] };
        let header = PackHeader {
            id: PackId([1; 16]),
            key,
            incarnation: Incarnation([9; 16]),
            role: EvaluatorRole::First,
            corrections: 100,
            prepared: 8,
            seal: SignedSeal { seal, signature: [4; 64] },
        };
        let contents =
            PackContents { seed: Seed::from_bytes([1; 32]), corrections: vec![1; 100], prepared: vec![1; 8] };
        let purpose = Purpose { asked_by: trial.others[0].public(), job: None };
        let promised = packs.promise(key, header.file_len().unwrap(), purpose).unwrap();
        promised.stage(header, contents).unwrap().commit(Instant::now());
        assert_eq!(packs.count(&key), 1);
        for destroyed in [1, 0] {
            assert_eq!(destroy_stale_packs(&trial.seat).ok(), Some(destroyed));
            assert_eq!(packs.count(&key), 0);
        }
    }
}
