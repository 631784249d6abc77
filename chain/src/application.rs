//! The port between consensus and the ledger. Whoever drives it owns time, network and keys; whoever implements it is a
//! deterministic state machine: the same calls give the same answers on every machine.

use alloy_primitives::Bytes;

use crate::{
    error::Fault,
    state::AppHash,
    validator::{ConsensusAddress, ValidatorUpdate},
};

/// What a consensus engine asks of a ledger. Calls that read (`info`, `check_tx`, `query`) may come from other threads
/// at any time; `prepare`, `process`, `finalize` and `commit` come one after the other.
pub trait Application: Send + Sync {
    /// The last committed block. An engine replays whatever it has above it.
    fn info(&self) -> Info;

    /// Begins a chain. Called once, before the first block.
    ///
    /// # Errors
    /// When no chain can begin like this, one has begun here, or the store fails.
    fn init_chain(&self, chain: &ChainStart) -> Result<ChainStarted, Fault>;

    /// Whether the mempool should keep `tx`.
    fn check_tx(&self, tx: &[u8], check: Check) -> TxVerdict;

    /// Chooses and orders the transactions of a block that this node proposes.
    fn prepare(&self, proposal: &Proposal<'_>) -> Vec<Bytes>;

    /// Whether a proposed block is one that an honest node could have made.
    fn process(&self, proposal: &Proposal<'_>) -> Verdict;

    /// Executes a decided block in memory. One result for each transaction, always.
    ///
    /// # Errors
    /// When the block is not the next one, or the store fails. A transaction is no cause: each has a result.
    fn finalize(&self, block: &DecidedBlock) -> Result<Finalized, Fault>;

    /// Makes the finalized block durable. Nothing is stored before.
    ///
    /// # Errors
    /// When no block was finalized, or the store fails: then the block before is still the last one.
    fn commit(&self) -> Result<Committed, Fault>;

    /// Answers a question about committed state.
    fn query(&self, query: &Query<'_>) -> Answer;

    /// Snapshots that other nodes can start from, newest first.
    fn snapshots(&self) -> Vec<Snapshot> {
        vec![]
    }

    /// One chunk of a snapshot, if it is here.
    fn snapshot_chunk(&self, _height: u64, _format: u32, _index: u32) -> Option<Vec<u8>> {
        None
    }

    /// Begins to restore a snapshot into an empty ledger. `app_hash` is what the engine trusts at its height.
    ///
    /// # Errors
    /// When the store fails; a snapshot that is not taken is an [`Offer`].
    fn offer_snapshot(&self, _offered: &Snapshot, _app_hash: &[u8]) -> Result<Offer, Fault> {
        Ok(Offer::Abort)
    }

    /// Takes the next chunk of the snapshot that was accepted.
    ///
    /// # Errors
    /// When no snapshot was accepted, or the store fails; a bad chunk is a [`ChunkVerdict`].
    fn apply_chunk(&self, _index: u32, _chunk: &[u8]) -> Result<ChunkVerdict, Fault> {
        Ok(ChunkVerdict::Abort)
    }
}

/// A state in pieces, as nodes tell each other about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last block in it.
    pub height: u64,
    /// Version of its bytes.
    pub format: u32,
    /// Number of pieces.
    pub chunks: u32,
    /// Hash of the metadata.
    pub hash: Vec<u8>,
    /// The manifest: what it is and the hash of each piece.
    pub metadata: Vec<u8>,
}

/// What becomes of a snapshot that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Its chunks are welcome.
    Accept,
    /// This ledger takes no snapshot at all.
    Abort,
    /// Not this one.
    Reject,
    /// None of this format.
    RejectFormat,
}

/// What becomes of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkVerdict {
    /// It is applied.
    Accept,
    /// It is not the chunk that the manifest names: another sender may have that.
    Retry,
    /// The whole snapshot is not what the engine trusts.
    RejectSnapshot,
    /// No snapshot is being restored.
    Abort,
}

/// The last committed block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Its height; zero before the first.
    pub height: u64,
    /// The hash after it.
    pub app_hash: AppHash,
}

/// For how long an engine takes evidence: as long as it is younger than one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceAge {
    /// Seconds.
    pub seconds: u64,
    /// Blocks.
    pub blocks: u64,
}

/// The beginning of a chain, as the engine tells it.
#[derive(Clone, Debug, Default)]
pub struct ChainStart {
    /// The engine's name of the chain.
    pub chain_id: String,
    /// Seconds since the epoch.
    pub time: u64,
    /// The ledger's own genesis, as JSON.
    pub app_state: Vec<u8>,
    /// The first height.
    pub initial_height: u64,
    /// For how long the engine takes evidence, if it takes any.
    pub evidence: Option<EvidenceAge>,
}

/// What the chain begins with.
#[derive(Clone, Debug)]
pub struct ChainStarted {
    /// Validators of the first block.
    pub validators: Vec<ValidatorUpdate>,
    /// The hash before the first block.
    pub app_hash: AppHash,
}

/// The first look at a transaction, or another one after a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It has just arrived.
    New,
    /// It waits in the mempool, and a block was committed since.
    Again,
}

/// What becomes of a transaction in the mempool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxVerdict {
    /// Zero: it is kept.
    pub code: u32,
    /// Why not.
    pub reason: String,
    /// Gas it may use.
    pub gas: u64,
}

/// A block that is being proposed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proposal<'a> {
    /// Its height.
    pub height: u64,
    /// Seconds since the epoch.
    pub time: u64,
    /// Who proposes it.
    pub proposer: Option<ConsensusAddress>,
    /// Candidates, or the proposed content.
    pub txs: &'a [Bytes],
    /// Validators of the block before, and whether they signed it.
    pub votes: &'a [Vote],
    /// Proven offences.
    pub offences: &'a [Offence],
    /// Bytes that the transactions may have together.
    pub max_bytes: u64,
}

impl Proposal<'_> {
    /// The block that it becomes with `txs`, if consensus decides on it.
    pub fn block(&self, txs: Vec<Bytes>) -> DecidedBlock {
        let Self { height, time, proposer, txs: _, votes, offences, max_bytes: _ } = *self;
        DecidedBlock { height, time, proposer, txs, votes: votes.to_vec(), offences: offences.to_vec() }
    }
}

/// Vote on a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An honest node could have made it.
    Accept,
    /// No honest node made it.
    Reject,
}

/// A block that consensus decided on: everything that its execution may depend on beside the state before it. A
/// proposer knows all of it, so that what was executed for a proposal need not be executed again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecidedBlock {
    /// Its height.
    pub height: u64,
    /// Seconds since the epoch.
    pub time: u64,
    /// Who proposed it.
    pub proposer: Option<ConsensusAddress>,
    /// Its transactions.
    pub txs: Vec<Bytes>,
    /// Validators of the block before, and whether they signed it.
    pub votes: Vec<Vote>,
    /// Proven offences.
    pub offences: Vec<Offence>,
}

/// A validator's part in the last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub validator: ConsensusAddress,
    /// Weight in that block.
    pub power: u64,
    /// Whether a signature is there.
    pub signed: bool,
}

/// Proof of misbehaviour, verified by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offence {
    /// Who.
    pub validator: ConsensusAddress,
    /// When.
    pub height: u64,
    /// What.
    pub kind: OffenceKind,
    /// Its weight at that height.
    pub power: u64,
}

/// Kinds of misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffenceKind {
    /// Two votes for one height and round.
    DoubleSign = 1,
    /// Part of an attack on light clients.
    LightClientAttack = 2,
}

/// The effects of a block, not yet durable.
#[derive(Clone, Debug)]
pub struct Finalized {
    /// One for each transaction, in order.
    pub results: Vec<TxResult>,
    /// New weights; they count from two blocks later.
    pub validators: Vec<ValidatorUpdate>,
    /// The hash after the block.
    pub app_hash: AppHash,
}

/// What became of a transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxResult {
    /// Zero: executed and succeeded. One: executed and reverted, gas paid. Higher: not executed.
    pub code: u32,
    /// Why not, in words.
    pub reason: String,
    /// Gas it could use.
    pub gas_wanted: u64,
    /// Gas it used.
    pub gas_used: u64,
    /// Output of the call.
    pub data: Bytes,
}

impl TxResult {
    /// Whether it was executed, and so paid for.
    pub fn was_executed(&self) -> bool {
        self.code < 2
    }
}

/// After a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The engine may forget blocks below this; zero keeps all.
    pub retain_height: u64,
}

/// A question about committed state.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// What is asked.
    pub path: &'a str,
    /// Arguments.
    pub data: &'a [u8],
    /// The block after which it is asked; zero is the newest.
    pub height: u64,
    /// Whether the answer must be proven.
    pub prove: bool,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Zero: there is a value.
    pub code: u32,
    /// Why not.
    pub reason: String,
    /// The value.
    pub value: Vec<u8>,
    /// The height it belongs to.
    pub height: u64,
    /// From the value up to the application hash after that height, if that was asked for.
    pub proof: Vec<Proof>,
}

/// A step of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What kind of tree it is about.
    pub kind: &'static str,
    /// The key whose value it proves.
    pub key: Vec<u8>,
    /// The proof itself, in the form of its kind.
    pub bytes: Vec<u8>,
}
