//! A frame: eight bytes of header, then the payload of that kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::status::NodeStatus;
use sahara_mpc::transcript::{SignedRecord, SignedSeal};
use sahara_mpc::rounds::RoundResult;
use sahara_mpc::wire::{
    AbandonRound, CloseRound, Contribute, DealRound, FetchRound, JoinRound, OpenRound, RoundDealt, RoundJoined, RoundList, RoundReply, Sealing, ShowRound,
    Again, AskJob, AskSession, Begin, Completed, Cosign, Cosigned, CountPacks, Deal, DeleteSharing, Draft, Fail, FindSharing, GetClientPart, HandBack,
    Hello, Kind, LastReceipt, LastReply, Message, OpenJob, OpenReply, PackCount, Piece, Prepare, Presence, Present, Progress,
    PutAccess, Reclaim, Reclaimed, Run, RunReply, Share, SharingList, SharingReply, parse_header,
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
        Kind::CountPacks => drop(CountPacks::decode(payload)),
        Kind::PackCount => drop(PackCount::decode(payload)),
        Kind::FindSharing => drop(FindSharing::decode(payload)),
        Kind::SharingReply => drop(SharingReply::decode(payload)),
        Kind::SharingList => drop(SharingList::decode(payload)),
        Kind::Begin => drop(Begin::decode(payload)),
        Kind::Piece => drop(Piece::decode(payload)),
        Kind::PutAccess => drop(PutAccess::decode(payload)),
        Kind::DeleteSharing => drop(DeleteSharing::decode(payload)),
        Kind::ClientPart => drop(GetClientPart::decode(payload)),
        Kind::Prepare => drop(Prepare::decode(payload)),
        Kind::Deal => drop(Deal::decode(payload)),
        Kind::HandBack => drop(HandBack::decode(payload)),
        Kind::Reclaim => drop(Reclaim::decode(payload)),
        Kind::Reclaimed => drop(Reclaimed::decode(payload)),
        Kind::AskJob => drop(AskJob::decode(payload)),
        Kind::Presence => drop(Presence::decode(payload)),
        Kind::Run => drop(Run::decode(payload)),
        Kind::Input => drop(Share::decode(payload)),
        Kind::RunReply => drop(RunReply::decode(payload)),
        Kind::OpenJob => drop(OpenJob::decode(payload)),
        Kind::OpenReply => drop(OpenReply::decode(payload)),
        Kind::Transcript => drop(SignedRecord::decode(payload)),
        Kind::Seal => drop(SignedSeal::decode(payload)),
        Kind::Present => drop(Present::decode(payload)),
        Kind::LastReceipt => drop(LastReceipt::decode(payload)),
        Kind::LastReply => drop(LastReply::decode(payload)),
        Kind::Draft => drop(Draft::decode(payload)),
        Kind::Cosign => drop(Cosign::decode(payload)),
        Kind::Cosigned => drop(Cosigned::decode(payload)),
        Kind::Completed => drop(Completed::decode(payload)),
        Kind::Again => drop(Again::decode(payload)),
        Kind::AskSession => drop(AskSession::decode(payload)),
        Kind::OpenRound => drop(OpenRound::decode(payload)),
        Kind::RoundList => drop(RoundList::decode(payload)),
        Kind::ShowRound => drop(ShowRound::decode(payload)),
        Kind::RoundReply => drop(RoundReply::decode(payload)),
        Kind::Contribute => drop(Contribute::decode(payload)),
        Kind::CloseRound => drop(CloseRound::decode(payload)),
        Kind::FetchRound => drop(FetchRound::decode(payload)),
        Kind::AbandonRound => drop(AbandonRound::decode(payload)),
        Kind::RoundResult => drop(RoundResult::decode(payload)),
        Kind::JoinRound => drop(JoinRound::decode(payload)),
        Kind::RoundJoined => drop(RoundJoined::decode(payload)),
        Kind::DealRound => drop(DealRound::decode(payload)),
        Kind::RoundDealt => drop(RoundDealt::decode(payload)),
        Kind::AskSealing => {}
        Kind::Sealing => drop(Sealing::decode(payload)),
        Kind::ListRounds | Kind::Vector | Kind::ListSharings | Kind::GoOn | Kind::Commit => {}
        Kind::Done | Kind::Chunk | Kind::Status | Kind::DealAccept | Kind::DealReady | Kind::DealCommit | Kind::Round => {}
    }
});
