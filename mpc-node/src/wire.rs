//! Frames and messages on a lane, and their limits.
//!
//! A lane begins with one [`Hello`] each way. Then one side asks and the other answers, one request at a time.
//! A frame is a kind (1 byte), three zero bytes, the payload's length (4 bytes) and the payload; each kind has its own limit.
//! At each point of a lane only certain kinds may come ([`Kind::may_ask`] between requests, what the step waits for within
//! one), and kind and length are checked before anything is allocated. Every payload is the little-endian form written
//! here, nothing is derived.

mod jobs;
mod market;
mod models;
mod names;
mod packs;
mod rounds;

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_protocol::round::MOST_DIMENSION;

use crate::engine::{Assignment, GraphId, Rounding, Visibility};
use crate::ids::{id_type, random_id};
use crate::manifest::MAX_MANIFEST;
pub use crate::manifest::{ManifestId, SharingId};
use crate::rounds::{MOST_PROVIDERS, MOST_TERMS};
pub use jobs::{JobFigures, MAX_PACKS, OpenJob, OpenReply, Run, RunReply, Share};
pub use market::{
    Again, AskSession, Complete, Completed, Cosign, Cosigned, Draft, LastReceipt, LastReply, MAX_RECEIPT, MAX_SEALING,
    MAX_SESSION, MAX_VOUCHER, Present, Sealing,
};
pub use models::{
    AccountReply, AskAccount, Asked, Begin, Deal, DeleteSharing, FindSharing, GetClientPart, ListSharings, MAX_KINDS,
    MAX_SHARINGS, Piece, Prepare, PutAccess, SharingEntry, SharingList, SharingReply,
};
pub(crate) use names::seconds;
pub use packs::{
    AskJob, CountPacks, HandBack, Incarnation, MAX_NAMES, PackCount, PackNames, Presence, Reclaim, Reclaimed,
};

pub use rounds::{
    AbandonRound, CloseRound, Contribute, DealRound, Dealt, FetchRound, JoinRound, ListRounds, MAX_ROUNDS, OpenRound,
    RoundDealt, RoundJoined, RoundList, RoundReply, RoundStage, ShowRound,
};

/// Version of the lane's language, in the [`Hello`].
pub const VERSION: u16 = 4;
/// Bytes of a frame's header.
pub const HEADER: usize = 8;
/// Largest frame that begins a request.
pub const MAX_REQUEST: usize = 64 << 10;
/// Largest piece in which bulk data is streamed.
pub const CHUNK: usize = 1 << 20;
/// Largest weights, corrections or graph that are accepted at all, in bytes.
pub const MAX_STREAM: u64 = 4 << 30;
const MAX_TEXT: usize = 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First frame each way: [`Hello`].
    Hello = 1,
    /// The request failed: [`Fail`].
    Fail = 2,
    /// The request is done; empty.
    Done = 3,
    /// A piece of bulk data.
    Chunk = 4,
    /// Something is under way: [`Progress`].
    Progress = 5,
    /// Request: [`crate::status::NodeStatus`].
    Status = 10,
    /// Answer to `Status`.
    StatusReply = 11,
    /// Request: how many packs are ready for one task, [`CountPacks`].
    CountPacks = 12,
    /// Answer to `CountPacks`: [`PackCount`].
    PackCount = 13,
    /// Request: one sharing's manifest, [`FindSharing`].
    FindSharing = 50,
    /// Answer to `FindSharing`: [`SharingReply`].
    SharingReply = 51,
    /// Request: the sharings that the asker owns or may use, [`ListSharings`].
    ListSharings = 52,
    /// Answer to `ListSharings`: [`SharingList`].
    SharingList = 53,
    /// Request of an owner: take a version of a sharing, [`Begin`]. After `GoOn` the pieces follow, then `Commit`.
    Begin = 54,
    /// Answer to `Begin`: send the pieces; empty.
    GoOn = 55,
    /// One piece of an upload, or a client part that was asked for: [`Piece`], then chunks.
    Piece = 56,
    /// All pieces have been sent: put the version in place; empty.
    Commit = 57,
    /// Request of an owner: another list of consumers, [`PutAccess`].
    PutAccess = 58,
    /// Request of an owner: delete a sharing, [`DeleteSharing`].
    DeleteSharing = 59,
    /// Request: the client part of a version, by its manifest's id.
    ClientPart = 60,
    /// Request to a helper: [`Prepare`].
    Prepare = 30,
    /// Helper to evaluator: [`Deal`], then (to the second) chunks.
    Deal = 31,
    /// Evaluator to helper: prepared and written; empty.
    DealReady = 32,
    /// Helper to evaluator: keep it; empty.
    DealCommit = 33,
    /// Evaluator to helper: there is room, deal; empty.
    DealAccept = 38,
    /// Request of an evaluator that stops: [`HandBack`].
    HandBack = 35,
    /// Request of an evaluator that starts: [`Reclaim`].
    Reclaim = 36,
    /// Answer to `Reclaim`: [`Reclaimed`].
    Reclaimed = 37,
    /// Request of the first evaluator to the second: [`AskJob`].
    AskJob = 70,
    /// Answer to `AskJob`: [`Presence`].
    Presence = 71,
    /// Helper to evaluator, after the corrections: what the helper signs of the pack, [`crate::transcript::SignedSeal`].
    Seal = 34,
    /// Request to an evaluator: [`Run`], followed by `Input`.
    Run = 40,
    /// The consumer's share of the inputs.
    Input = 41,
    /// The evaluator's share of the outputs, and figures: [`RunReply`].
    RunReply = 42,
    /// First evaluator to second: [`OpenJob`].
    OpenJob = 43,
    /// Second to first: go, or take another pack: [`OpenReply`].
    OpenReply = 44,
    /// One round of the protocol, each way.
    Round = 45,
    /// The signed transcript, each way, at the end of a job.
    Transcript = 46,
    /// Request of a consumer: its session for a sharing that is asked for money, [`Present`].
    Present = 80,
    /// Request: the last complete receipt of a session, [`LastReceipt`].
    LastReceipt = 81,
    /// Answer to `LastReceipt`: [`LastReply`].
    LastReply = 82,
    /// First evaluator to second, after the last round of a paid job: [`Draft`].
    Draft = 83,
    /// Request of the first evaluator to the helper: [`Cosign`].
    Cosign = 84,
    /// Answer to `Draft` and `Cosign`: [`Cosigned`].
    Cosigned = 85,
    /// First evaluator to second, once the helper has signed: [`Completed`].
    Completed = 86,
    /// Request of a consumer: the answer of a paid job once more, [`Again`].
    Again = 87,
    /// Request of the first evaluator to the helper: whether it knows a session, [`AskSession`].
    AskSession = 88,
    /// Request: with which key something is sealed to this node; empty.
    AskSealing = 89,
    /// Answer to `AskSealing`: [`Sealing`].
    Sealing = 90,
    /// Request: what the noisy answers about the data of a sharing have cost, [`AskAccount`].
    AskAccount = 91,
    /// Answer to `AskAccount`: [`AccountReply`].
    AccountReply = 92,
    /// Request of a coordinator: open a round, [`OpenRound`]. After `GoOn` its attachment follows.
    OpenRound = 100,
    /// Request: the rounds that concern the asker; empty.
    ListRounds = 101,
    /// Answer to `ListRounds`: [`RoundList`].
    RoundList = 102,
    /// Request: one round, [`ShowRound`].
    ShowRound = 103,
    /// Answer to `ShowRound`: [`RoundReply`].
    RoundReply = 104,
    /// Request of a provider: [`Contribute`]. After `GoOn` its share follows.
    Contribute = 105,
    /// A provider's share: a seed for the first evaluator, words for the second.
    Vector = 106,
    /// Request of a coordinator to the first evaluator: [`CloseRound`].
    CloseRound = 107,
    /// Answer to `CloseRound` and `FetchRound`: [`crate::rounds::RoundResult`].
    RoundResult = 108,
    /// Request: the result of a round, [`FetchRound`].
    FetchRound = 109,
    /// Request of the first evaluator to the second: [`JoinRound`].
    JoinRound = 110,
    /// Answer to `JoinRound`: [`RoundJoined`]. Rounds follow.
    RoundJoined = 111,
    /// Request of an evaluator to the helper: [`DealRound`].
    DealRound = 112,
    /// Answer to `DealRound`: [`RoundDealt`], then (to the second) chunks.
    RoundDealt = 113,
    /// Request of a coordinator: [`AbandonRound`].
    AbandonRound = 114,
}

impl Kind {
    /// The kind with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        use Kind::{
            AbandonRound, AccountReply, Again, AskAccount, AskJob, AskSealing, AskSession, Begin, Chunk, ClientPart,
            CloseRound, Commit, Completed, Contribute, Cosign, Cosigned, CountPacks, Deal, DealAccept, DealCommit,
            DealReady, DealRound, DeleteSharing, Done, Draft, Fail, FetchRound, FindSharing, GoOn, HandBack, Hello,
            Input, JoinRound, LastReceipt, LastReply, ListRounds, ListSharings, OpenJob, OpenReply, OpenRound,
            PackCount, Piece, Prepare, Presence, Present, Progress, PutAccess, Reclaim, Reclaimed, Round, RoundDealt,
            RoundJoined, RoundList, RoundReply, RoundResult, Run, RunReply, Seal, Sealing, SharingList, SharingReply,
            ShowRound, Status, StatusReply, Transcript, Vector,
        };
        [
            Hello,
            Fail,
            Done,
            Chunk,
            Progress,
            Status,
            StatusReply,
            CountPacks,
            PackCount,
            FindSharing,
            SharingReply,
            ListSharings,
            SharingList,
            Begin,
            GoOn,
            Piece,
            Commit,
            PutAccess,
            DeleteSharing,
            ClientPart,
            Prepare,
            Deal,
            DealAccept,
            DealReady,
            DealCommit,
            HandBack,
            Reclaim,
            Reclaimed,
            AskJob,
            Presence,
            Seal,
            Run,
            Input,
            RunReply,
            OpenJob,
            OpenReply,
            Round,
            Transcript,
            Present,
            LastReceipt,
            LastReply,
            Draft,
            Cosign,
            Cosigned,
            Completed,
            Again,
            AskSession,
            AskSealing,
            Sealing,
            AskAccount,
            AccountReply,
            OpenRound,
            ListRounds,
            RoundList,
            ShowRound,
            RoundReply,
            Contribute,
            Vector,
            CloseRound,
            RoundResult,
            FetchRound,
            JoinRound,
            RoundJoined,
            DealRound,
            RoundDealt,
            AbandonRound,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }

    /// Whether a frame of this kind begins a request that this caller may make.
    pub fn may_ask(self, caller: Caller) -> bool {
        match self {
            // Nothing long; what else it asks it is told to show its session for.
            Self::Begin | Self::PutAccess | Self::DeleteSharing if caller == Caller::Stranger => false,
            Self::Status | Self::CountPacks | Self::Prepare | Self::Run | Self::FindSharing | Self::ListSharings => {
                true
            }
            Self::Begin | Self::PutAccess | Self::DeleteSharing | Self::ClientPart => true,
            Self::Present | Self::LastReceipt | Self::Again | Self::AskSealing | Self::AskAccount => true,
            // Members add up what others open and send.
            Self::OpenRound
            | Self::ListRounds
            | Self::ShowRound
            | Self::Contribute
            | Self::CloseRound
            | Self::FetchRound
            | Self::AbandonRound => caller == Caller::Consumer,
            Self::JoinRound | Self::DealRound => caller == Caller::Member,
            Self::Deal
            | Self::HandBack
            | Self::Reclaim
            | Self::AskJob
            | Self::OpenJob
            | Self::Cosign
            | Self::AskSession => caller == Caller::Member,
            _ => false,
        }
    }

    /// Largest payload of this kind, in bytes.
    pub fn limit(self) -> usize {
        match self {
            Self::Done
            | Self::Status
            | Self::DealAccept
            | Self::DealReady
            | Self::DealCommit
            | Self::GoOn
            | Self::AskSealing
            | Self::ListRounds
            | Self::Commit => 0,
            Self::Hello | Self::FindSharing | Self::ListSharings | Self::Piece => 256,
            Self::DeleteSharing | Self::ClientPart | Self::AskAccount => 256,
            Self::AccountReply => 64 + 40 * MAX_KINDS,
            Self::Begin | Self::PutAccess => MAX_MANIFEST + 64,
            Self::SharingReply => 2 * MAX_MANIFEST,
            Self::SharingList => 256 << 10,
            Self::Prepare => 512,
            Self::Deal | Self::Seal | Self::OpenReply | Self::Progress | Self::Cosigned | Self::Completed => 256,
            Self::Run | Self::LastReceipt | Self::Again | Self::AskSession => 256 + MAX_VOUCHER,
            Self::Present => 256 + MAX_SESSION,
            Self::Sealing => MAX_SEALING + 64,
            Self::LastReply | Self::Draft => 256 + MAX_RECEIPT,
            Self::Cosign => 512 + MAX_VOUCHER + MAX_RECEIPT,
            Self::Fail | Self::Transcript => 2048,
            Self::AskJob | Self::Presence | Self::CountPacks | Self::PackCount => 256,
            Self::HandBack | Self::Reclaim | Self::Reclaimed => 48 << 10,
            Self::OpenJob => 64 << 10,
            Self::OpenRound | Self::RoundReply => MOST_TERMS + 256,
            Self::RoundList => 33 * MAX_ROUNDS + 4,
            Self::ShowRound
            | Self::Contribute
            | Self::CloseRound
            | Self::FetchRound
            | Self::DealRound
            | Self::AbandonRound => 256,
            Self::RoundDealt => 64,
            Self::Vector => 2 * MOST_DIMENSION as usize,
            Self::JoinRound | Self::RoundJoined => 34 * MOST_PROVIDERS + 64,
            Self::RoundResult => 4 * MOST_DIMENSION as usize + 35 * MOST_PROVIDERS + 256,
            Self::Chunk => CHUNK,
            Self::StatusReply => 256 << 10,
            Self::Input | Self::RunReply => 64 << 20,
            Self::Round => 256 << 20,
        }
    }
}

/// Who is at the other end of a lane, once it has proved its key and greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Another node of the committee.
    Member,
    /// Any other admitted key.
    Consumer,
    /// A key that is in no list, at a node that serves a market: it may look at what is for sale, and show a session.
    Stranger,
}

/// The header of a frame.
pub fn header(kind: Kind, len: usize) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0] = kind as u8;
    bytes[4..].copy_from_slice(&(len as u32).to_le_bytes());
    bytes
}

/// Kind and length in a header, within the kind's limit.
///
/// # Errors
/// When the kind is unknown, or the length above its limit.
pub fn parse_header(bytes: [u8; HEADER]) -> Result<(Kind, usize), FrameError> {
    let [code, a, b, c, len @ ..] = bytes;
    let kind = Kind::from_code(code).filter(|_| [a, b, c] == [0; 3]).ok_or(FrameError::Kind(code))?;
    let len = u32::from_le_bytes(len) as usize;
    if len > kind.limit() {
        return Err(FrameError::Length { kind, len, limit: kind.limit() });
    }
    Ok((kind, len))
}

/// A frame header outside the language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not a kind of frame.
    #[error("sent a frame of unknown kind {0}")]
    Kind(u8),
    /// Too long.
    #[error("sent a {kind:?} frame of {len} bytes, at most {limit} are allowed")]
    Length {
        /// The kind.
        kind: Kind,
        /// The announced length.
        len: usize,
        /// The limit.
        limit: usize,
    },
}

id_type!(
    /// Names one job; chosen by the consumer. Its first four bytes say when ([`JobId::seconds`]).
    JobId, 16
);
id_type!(
    /// Names one preprocessing pack; chosen by the helper.
    PackId, 16
);
random_id!(PackId, 16);

/// What a pack is for and what a job computes. The manifest says whose weights, and who may know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// One version of a sharing.
    pub manifest: ManifestId,
    /// The graph, one of those that the manifest permits.
    pub graph: GraphId,
    /// Which node is helper.
    pub assignment: Assignment,
    /// How values are rounded.
    pub rounding: Rounding,
}

impl Task {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.bytes(&self.manifest.0).bytes(&self.graph.0);
        w.u8(self.assignment.helper()).u8(rounding_code(self.rounding));
    }

    /// The byte form: manifest, graph, the helper's index and the rounding's code.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.0
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            manifest: ManifestId(r.array()?),
            graph: GraphId(r.array()?),
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
            rounding: match r.u8()? {
                0 => Rounding::Exact,
                1 => Rounding::Faithful,
                _ => return Err(r.field("rounding")),
            },
        })
    }
}

fn rounding_code(rounding: Rounding) -> u8 {
    match rounding {
        Rounding::Exact => 0,
        Rounding::Faithful => 1,
    }
}

pub(crate) fn visibility_code(visibility: Visibility) -> u8 {
    match visibility {
        Visibility::Private => 0,
        Visibility::Open => 1,
    }
}

pub(crate) fn read_visibility(r: &mut Reader<'_>) -> Result<Visibility, DecodeError> {
    match r.u8()? {
        0 => Ok(Visibility::Private),
        1 => Ok(Visibility::Open),
        _ => Err(r.field("visibility")),
    }
}

/// A message with one canonical byte form.
pub trait Message: Sized {
    /// The frame it travels in.
    const KIND: Kind;
    /// Appends the byte form.
    fn write(&self, w: &mut Writer);
    /// Reads the byte form.
    ///
    /// # Errors
    /// When the bytes end early, or a field is out of range.
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The byte form.
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.0
    }

    /// Reads a whole payload.
    ///
    /// # Errors
    /// When the bytes end early or go on, or a field is out of range.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(Self::NAME, bytes);
        let message = Self::read(&mut r)?;
        r.finish()?;
        Ok(message)
    }

    /// What errors call it.
    const NAME: &'static str;
}

/// First frame each way: the language, its version and the committee meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`crate::committee::Committee::digest`].
    pub committee: [u8; 32],
}

const HELLO: &[u8; 8] = b"SHLANE\0\0";

impl Message for Hello {
    const KIND: Kind = Kind::Hello;
    const NAME: &'static str = "lane greeting";

    fn write(&self, w: &mut Writer) {
        w.bytes(HELLO).u16(VERSION).bytes(&self.committee);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.header(HELLO, VERSION)?;
        Ok(Self { committee: r.array()? })
    }
}

/// Why a request failed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FailCode {
    /// The request is not allowed or does not make sense.
    Refused = 1,
    /// The graph or the weights are not registered here.
    NoModel = 2,
    /// No preprocessing pack is left for this task.
    NoPack = 3,
    /// Too much to do, try later.
    Busy = 4,
    /// Another node failed while this one was waiting for it.
    Peer = 5,
    /// This node failed.
    Internal = 6,
    /// This node is shutting down.
    Stopping = 7,
    /// What is asked costs money, and nothing that counts pays for it.
    Unpaid = 8,
    /// What is asked costs money, and this node knows no session of the asker's: show it, also again after a restart.
    Unpresented = 9,
    /// What is asked would cost more of the privacy budget of the data than is left.
    UsedUp = 10,
}

/// The request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fail {
    /// For programs.
    pub code: FailCode,
    /// For people: one line, naming node and step where there is one.
    pub text: String,
}

impl Message for Fail {
    const KIND: Kind = Kind::Fail;
    const NAME: &'static str = "failure report";

    fn write(&self, w: &mut Writer) {
        w.u16(self.code as u16).text_up_to(&self.text, MAX_TEXT);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        use FailCode::{Busy, Internal, NoModel, NoPack, Peer, Refused, Stopping, Unpaid, Unpresented, UsedUp};
        let code = r.u16()?;
        let code = [Refused, NoModel, NoPack, Busy, Peer, Internal, Stopping, Unpaid, Unpresented, UsedUp]
            .into_iter()
            .find(|c| *c as u16 == code)
            .ok_or_else(|| r.field("code"))?;
        let text = r.text("text", MAX_TEXT)?;
        // Text from outside ends up on terminals and in logs.
        Ok(Self { code, text: text.chars().filter(|c| !c.is_control()).collect() })
    }
}

/// How far a long request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Units done (packs).
    pub done: u32,
    /// Units asked for.
    pub total: u32,
}

impl Message for Progress {
    const KIND: Kind = Kind::Progress;
    const NAME: &'static str = "progress report";

    fn write(&self, w: &mut Writer) {
        w.u32(self.done).u32(self.total);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { done: r.u32()?, total: r.u32()? })
    }
}

fn flag(r: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(r.field(field)),
    }
}
