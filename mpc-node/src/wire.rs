//! Frames and messages on a lane, and their limits.
//!
//! A lane begins with one [`Hello`] each way. Then one side asks and the other answers, one request at a time.
//! A frame is a kind (1 byte), three zero bytes, the payload's length (4 bytes) and the payload; each kind has its own limit,
//! checked before anything is allocated. Every payload is the little-endian form written here, nothing is derived.

use std::fmt;

use crate::codec::{DecodeError, Reader, Writer, hex};
use crate::engine::{Assignment, GraphId, Rounding, Visibility};

/// Version of the lane's language, in the [`Hello`].
pub const VERSION: u16 = 1;
/// Bytes of a frame's header.
pub const HEADER: usize = 8;
/// Largest piece in which bulk data is streamed.
pub const CHUNK: usize = 1 << 20;
/// Largest weights, corrections or graph that are accepted at all, in bytes.
pub const MAX_STREAM: u64 = 4 << 30;
const MAX_TEXT: usize = 1024;
const MAX_TENSORS: usize = 1 << 12;

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
    /// Request: which parts of a model are here, [`HaveModel`].
    HaveModel = 20,
    /// Answer to `HaveModel`: [`ModelParts`].
    ModelParts = 21,
    /// Request: keep a graph; its length, then chunks.
    PutGraph = 22,
    /// Request: keep weight material: [`PutWeights`], then chunks.
    PutWeights = 23,
    /// Request to a helper: [`Prepare`].
    Prepare = 30,
    /// Helper to evaluator: [`Deal`], then (to the second) chunks.
    Deal = 31,
    /// Evaluator to helper: prepared and written; empty.
    DealReady = 32,
    /// Helper to evaluator: keep it; empty.
    DealCommit = 33,
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
}

impl Kind {
    /// The kind with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        use Kind::{
            Chunk, Deal, DealCommit, DealReady, Done, Fail, HaveModel, Hello, Input, ModelParts, OpenJob, OpenReply,
            Prepare, Progress, PutGraph, PutWeights, Round, Run, RunReply, Status, StatusReply, Transcript,
        };
        [
            Hello,
            Fail,
            Done,
            Chunk,
            Progress,
            Status,
            StatusReply,
            HaveModel,
            ModelParts,
            PutGraph,
            PutWeights,
            Prepare,
            Deal,
            DealReady,
            DealCommit,
            Run,
            Input,
            RunReply,
            OpenJob,
            OpenReply,
            Round,
            Transcript,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }

    /// Largest payload of this kind, in bytes.
    pub fn limit(self) -> usize {
        match self {
            Self::Done | Self::Status | Self::DealReady | Self::DealCommit => 0,
            Self::Hello | Self::HaveModel | Self::ModelParts | Self::PutGraph | Self::PutWeights => 256,
            Self::Prepare | Self::Deal | Self::Run | Self::OpenReply | Self::Progress => 256,
            Self::Fail | Self::Transcript => 2048,
            Self::OpenJob => 64 << 10,
            Self::Chunk => CHUNK,
            Self::StatusReply => 256 << 10,
            Self::Input | Self::RunReply => 64 << 20,
            Self::Round => 256 << 20,
        }
    }
}

/// The header of a frame.
pub fn header(kind: Kind, len: usize) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0] = kind as u8;
    bytes[4..].copy_from_slice(&(len as u32).to_le_bytes());
    bytes
}

/// Kind and length in a header, within the kind's limit.
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

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $size]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl $name {
            /// A random one.
            pub fn random() -> Result<Self, getrandom::Error> {
                let mut bytes = [0; $size];
                getrandom::fill(&mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}

id_type!(
    /// Names one job; chosen by the consumer.
    JobId, 16
);
id_type!(
    /// Names one preprocessing pack; chosen by the helper.
    PackId, 16
);
id_type!(
    /// Names one sharing of a model's weights, so that three nodes know that their parts belong together.
    SharingId, 16
);

impl SharingId {
    /// Open weights are the same for everyone: named by their commitment.
    pub fn of_open(root: &[u8; 32]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&root[..16]);
        Self(id)
    }
}

/// What a pack is for and what a job computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// The graph.
    pub graph: GraphId,
    /// Which node is helper.
    pub assignment: Assignment,
    /// How values are rounded.
    pub rounding: Rounding,
    /// Who knows the weights.
    pub visibility: Visibility,
}

impl Task {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.bytes(&self.graph.0).u8(self.assignment.helper());
        w.u8(rounding_code(self.rounding)).u8(visibility_code(self.visibility));
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            graph: GraphId(r.array()?),
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
            rounding: match r.u8()? {
                0 => Rounding::Exact,
                1 => Rounding::Faithful,
                _ => return Err(r.field("rounding")),
            },
            visibility: read_visibility(r)?,
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
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The byte form.
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.0
    }

    /// Reads a whole payload.
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
        w.u16(self.code as u16).text(&self.text, MAX_TEXT);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        use FailCode::{Busy, Internal, NoModel, NoPack, Peer, Refused, Stopping};
        let code = r.u16()?;
        let code = [Refused, NoModel, NoPack, Busy, Peer, Internal, Stopping]
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

/// Asks which parts of a model a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HaveModel {
    /// The graph.
    pub graph: GraphId,
    /// [`sahara_circuits::graph::Graph::weights_root`].
    pub root: [u8; 32],
    /// Who knows the weights.
    pub visibility: Visibility,
    /// Which node is helper.
    pub assignment: Assignment,
}

impl Message for HaveModel {
    const KIND: Kind = Kind::HaveModel;
    const NAME: &'static str = "model question";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.graph.0).bytes(&self.root).u8(visibility_code(self.visibility)).u8(self.assignment.helper());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            graph: GraphId(r.array()?),
            root: r.array()?,
            visibility: read_visibility(r)?,
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
        })
    }
}

/// The parts of a model that a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelParts {
    /// The graph is here.
    pub graph: bool,
    /// The weight material for this assignment, and of which sharing it is.
    pub weights: Option<SharingId>,
}

impl Message for ModelParts {
    const KIND: Kind = Kind::ModelParts;
    const NAME: &'static str = "model answer";

    fn write(&self, w: &mut Writer) {
        w.u8(u8::from(self.graph)).u8(u8::from(self.weights.is_some()));
        w.bytes(&self.weights.unwrap_or(SharingId([0; 16])).0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let graph = flag(r, "graph")?;
        let weights = flag(r, "weights")?;
        let id = SharingId(r.array()?);
        Ok(Self { graph, weights: weights.then_some(id) })
    }
}

fn flag(r: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(r.field(field)),
    }
}

/// Announces the canonical bytes of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutGraph {
    /// Its id, checked against the bytes.
    pub graph: GraphId,
    /// Length in bytes.
    pub len: u64,
}

impl Message for PutGraph {
    const KIND: Kind = Kind::PutGraph;
    const NAME: &'static str = "graph announcement";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.graph.0).u64(self.len);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { graph: GraphId(r.array()?), len: stream_length(r)? })
    }
}

fn stream_length(r: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let len = r.u64()?;
    if len > MAX_STREAM { Err(r.field("length")) } else { Ok(len) }
}

/// Announces one node's part of a model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutWeights {
    /// A registered graph that the weights belong to (it gives the shapes).
    pub graph: GraphId,
    /// Who knows the weights.
    pub visibility: Visibility,
    /// Which node is helper.
    pub assignment: Assignment,
    /// Which sharing this is.
    pub sharing: SharingId,
    /// Bytes that follow in chunks.
    pub len: u64,
}

impl Message for PutWeights {
    const KIND: Kind = Kind::PutWeights;
    const NAME: &'static str = "weights announcement";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.graph.0).u8(visibility_code(self.visibility)).u8(self.assignment.helper());
        w.bytes(&self.sharing.0).u64(self.len);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            graph: GraphId(r.array()?),
            visibility: read_visibility(r)?,
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
            sharing: SharingId(r.array()?),
            len: stream_length(r)?,
        })
    }
}

/// Asks a helper to make packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// What they are for.
    pub task: Task,
    /// How many.
    pub count: u32,
}

impl Message for Prepare {
    const KIND: Kind = Kind::Prepare;
    const NAME: &'static str = "preparation request";

    fn write(&self, w: &mut Writer) {
        self.task.write(w);
        w.u32(self.count);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { task: Task::read(r)?, count: r.u32()? })
    }
}

/// A helper deals one pack to an evaluator; wiped from memory when dropped.
pub struct Deal {
    /// The pack's name.
    pub pack: PackId,
    /// What it is for.
    pub task: Task,
    /// The sharing of the weights that it is bound to.
    pub sharing: SharingId,
    /// The seed between helper and this evaluator.
    pub seed: zeroize::Zeroizing<[u8; 32]>,
    /// Bytes of corrections that follow in chunks (none for the first evaluator).
    pub corrections: u64,
}

impl Message for Deal {
    const KIND: Kind = Kind::Deal;
    const NAME: &'static str = "pack announcement";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.pack.0);
        self.task.write(w);
        w.bytes(&self.sharing.0).bytes(&self.seed[..]).u64(self.corrections);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            pack: PackId(r.array()?),
            task: Task::read(r)?,
            sharing: SharingId(r.array()?),
            seed: zeroize::Zeroizing::new(r.array()?),
            corrections: stream_length(r)?,
        })
    }
}

/// Asks an evaluator to run a job; the input share follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The job's name, the same to both evaluators.
    pub job: JobId,
    /// What to compute.
    pub task: Task,
}

impl Message for Run {
    const KIND: Kind = Kind::Run;
    const NAME: &'static str = "job request";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.job.0);
        self.task.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { job: JobId(r.array()?), task: Task::read(r)? })
    }
}

/// A consumer's share of a graph's inputs, or an evaluator's share of its outputs.
pub struct Share(pub Vec<Vec<u32>>);

impl Message for Share {
    const KIND: Kind = Kind::Input;
    const NAME: &'static str = "input share";

    fn write(&self, w: &mut Writer) {
        w.tensors(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.tensors(MAX_TENSORS)?))
    }
}

/// The first evaluator opens a job with the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenJob {
    /// The job.
    pub job: JobId,
    /// What to compute.
    pub task: Task,
    /// Who asked, so that both evaluators serve the same consumer.
    pub consumer: [u8; 32],
    /// The pack to use up.
    pub pack: PackId,
    /// All packs for this task that the first evaluator holds or is using: the second destroys any other.
    pub held: Vec<PackId>,
}

/// Largest number of packs held for one task.
pub const MAX_PACKS: usize = 1024;

impl Message for OpenJob {
    const KIND: Kind = Kind::OpenJob;
    const NAME: &'static str = "job opening";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.job.0);
        self.task.write(w);
        w.bytes(&self.consumer).bytes(&self.pack.0).u32(self.held.len() as u32);
        for pack in &self.held {
            w.bytes(&pack.0);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            job: JobId(r.array()?),
            task: Task::read(r)?,
            consumer: r.array()?,
            pack: PackId(r.array()?),
            held: (0..r.len("held packs", MAX_PACKS)?).map(|_| r.array().map(PackId)).collect::<Result<_, _>>()?,
        })
    }
}

/// The second evaluator's answer to [`OpenJob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenReply {
    /// Ready for the first round.
    Go,
    /// That pack is not here: destroy it and take another.
    NoSuchPack,
}

impl Message for OpenReply {
    const KIND: Kind = Kind::OpenReply;
    const NAME: &'static str = "job answer";

    fn write(&self, w: &mut Writer) {
        w.u8(match self {
            Self::Go => 0,
            Self::NoSuchPack => 1,
        });
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if flag(r, "answer")? { Self::NoSuchPack } else { Self::Go })
    }
}

/// One evaluator's figures of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobFigures {
    /// Rounds between the evaluators.
    pub rounds: u32,
    /// Bytes this evaluator sent to the other, on the wire.
    pub sent: u64,
    /// Bytes it received from the other, on the wire.
    pub received: u64,
    /// Wall time from the opening of the job to the last round, in microseconds.
    pub wall_micros: u64,
    /// Of that, time spent waiting for the other evaluator (transport included), in microseconds.
    pub waiting_micros: u64,
}

/// The answer to [`Run`].
pub struct RunReply {
    /// Figures of the job.
    pub figures: JobFigures,
    /// The signed transcript, [`crate::transcript::SignedRecord`].
    pub transcript: Vec<u8>,
    /// Output shares.
    pub outputs: Vec<Vec<u32>>,
}

impl Message for RunReply {
    const KIND: Kind = Kind::RunReply;
    const NAME: &'static str = "job result";

    fn write(&self, w: &mut Writer) {
        let f = &self.figures;
        w.u32(f.rounds).u64(f.sent).u64(f.received).u64(f.wall_micros).u64(f.waiting_micros);
        w.u32(self.transcript.len() as u32).bytes(&self.transcript).tensors(&self.outputs);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let figures = JobFigures {
            rounds: r.u32()?,
            sent: r.u64()?,
            received: r.u64()?,
            wall_micros: r.u64()?,
            waiting_micros: r.u64()?,
        };
        let len = r.len("transcript", Kind::Transcript.limit())?;
        Ok(Self { figures, transcript: r.take(len)?.to_vec(), outputs: r.tensors(MAX_TENSORS)? })
    }
}
