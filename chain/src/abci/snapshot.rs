//! The four calls of state sync.

use tendermint_proto::v0_38::abci::{
    RequestApplySnapshotChunk, RequestLoadSnapshotChunk, RequestOfferSnapshot, ResponseApplySnapshotChunk,
    ResponseListSnapshots, ResponseLoadSnapshotChunk, ResponseOfferSnapshot, Snapshot as AbciSnapshot,
    response_apply_snapshot_chunk::Result as ChunkResult, response_offer_snapshot::Result as OfferResult,
};

use crate::{
    application::{Application, ChunkVerdict, Offer, Snapshot},
    error::Fault,
};

pub fn list(app: &impl Application) -> ResponseListSnapshots {
    let snapshots = app.snapshots().into_iter().map(|s| AbciSnapshot {
        height: s.height,
        format: s.format,
        chunks: s.chunks,
        hash: s.hash.into(),
        metadata: s.metadata.into(),
    });
    ResponseListSnapshots { snapshots: snapshots.collect() }
}

pub fn offer(app: &impl Application, request: RequestOfferSnapshot) -> Result<ResponseOfferSnapshot, Fault> {
    let offered = request.snapshot.unwrap_or_default();
    let offered = Snapshot {
        height: offered.height,
        format: offered.format,
        chunks: offered.chunks,
        hash: offered.hash.to_vec(),
        metadata: offered.metadata.to_vec(),
    };
    let result = match app.offer_snapshot(&offered, &request.app_hash)? {
        Offer::Accept => OfferResult::Accept,
        Offer::Abort => OfferResult::Abort,
        Offer::Reject => OfferResult::Reject,
        Offer::RejectFormat => OfferResult::RejectFormat,
    };
    Ok(ResponseOfferSnapshot { result: result.into() })
}

pub fn load(app: &impl Application, request: RequestLoadSnapshotChunk) -> ResponseLoadSnapshotChunk {
    let chunk = app.snapshot_chunk(request.height, request.format, request.chunk);
    ResponseLoadSnapshotChunk { chunk: chunk.unwrap_or_default().into() }
}

pub fn apply(app: &impl Application, request: RequestApplySnapshotChunk) -> Result<ResponseApplySnapshotChunk, Fault> {
    let answer = |result: ChunkResult| ResponseApplySnapshotChunk { result: result.into(), ..Default::default() };
    Ok(match app.apply_chunk(request.index, &request.chunk)? {
        ChunkVerdict::Accept => answer(ChunkResult::Accept),
        // Whoever sent it is not asked again.
        ChunkVerdict::Retry => ResponseApplySnapshotChunk {
            refetch_chunks: vec![request.index],
            reject_senders: vec![request.sender],
            ..answer(ChunkResult::Retry)
        },
        ChunkVerdict::RejectSnapshot => answer(ChunkResult::RejectSnapshot),
        ChunkVerdict::Abort => answer(ChunkResult::Abort),
    })
}
