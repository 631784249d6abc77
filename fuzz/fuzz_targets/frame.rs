//! A frame: eight bytes of header, then the payload of that kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::status::NodeStatus;
use sahara_mpc::transcript::SignedRecord;
use sahara_mpc::wire::{
    Deal, Fail, HaveModel, Hello, Kind, Message, ModelParts, OpenJob, OpenReply, Prepare, Progress, PutGraph,
    PutWeights, Run, RunReply, Share, parse_header,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, payload)) = bytes.split_first_chunk::<8>() else { return };
    let Ok((kind, len)) = parse_header(*head) else { return };
    assert!(len <= kind.limit());
    match kind {
        Kind::Hello => drop(Hello::decode(payload)),
        Kind::Fail => drop(Fail::decode(payload)),
        Kind::Progress => drop(Progress::decode(payload)),
        Kind::StatusReply => drop(NodeStatus::decode(payload)),
        Kind::HaveModel => drop(HaveModel::decode(payload)),
        Kind::ModelParts => drop(ModelParts::decode(payload)),
        Kind::PutGraph => drop(PutGraph::decode(payload)),
        Kind::PutWeights => drop(PutWeights::decode(payload)),
        Kind::Prepare => drop(Prepare::decode(payload)),
        Kind::Deal => drop(Deal::decode(payload)),
        Kind::Run => drop(Run::decode(payload)),
        Kind::Input => drop(Share::decode(payload)),
        Kind::RunReply => drop(RunReply::decode(payload)),
        Kind::OpenJob => drop(OpenJob::decode(payload)),
        Kind::OpenReply => drop(OpenReply::decode(payload)),
        Kind::Transcript => drop(SignedRecord::decode(payload)),
        Kind::Done | Kind::Chunk | Kind::Status | Kind::DealReady | Kind::DealCommit | Kind::Round => {}
    }
});
