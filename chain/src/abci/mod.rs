//! The ledger under CometBFT: ABCI 2.0 over a socket. Translates, decides nothing.

mod server;
mod snapshot;

use std::{net::SocketAddr, sync::Arc};

use alloy_primitives::Bytes;
use tendermint_proto::v0_38::{
    abci::{
        CheckTxType, CommitInfo, ExecTxResult, Misbehavior, MisbehaviorType, Request, RequestCheckTx,
        RequestFinalizeBlock, RequestInitChain, RequestPrepareProposal, RequestProcessProposal, RequestQuery, Response,
        ResponseCheckTx, ResponseCommit, ResponseEcho, ResponseException, ResponseFinalizeBlock, ResponseInfo,
        ResponseInitChain, ResponsePrepareProposal, ResponseProcessProposal, ResponseQuery, Validator as AbciValidator,
        ValidatorUpdate as AbciUpdate, request::Value, response, response_process_proposal::ProposalStatus,
    },
    crypto::{ProofOp, ProofOps, PublicKey, public_key::Sum},
    types::{BlockIdFlag, EvidenceParams},
};

use crate::{
    application::{
        Application, ChainStart, Check, DecidedBlock, EvidenceAge, Offence, OffenceKind, Proof, Proposal, Query,
        Verdict, Vote,
    },
    consensus::Time,
    error::Fault,
    validator::{ConsensusAddress, ValidatorUpdate},
};

/// What happens around the ledger.
pub trait Events: Send + Sync {
    /// A block was committed.
    fn committed(&self, height: u64);

    /// The ledger cannot go on. Must not return: answering anything would be a lie.
    fn fault(&self, fault: &Fault) -> !;
}

/// An ABCI application around a ledger. Clones share it: CometBFT opens four connections.
pub struct Adapter<A> {
    app: Arc<A>,
    events: Arc<dyn Events>,
}

impl<A> Clone for Adapter<A> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), events: self.events.clone() }
    }
}

impl<A: Application + 'static> Adapter<A> {
    /// An adapter around `app` that tells `events`.
    pub fn new(app: Arc<A>, events: Arc<dyn Events>) -> Self {
        Self { app, events }
    }

    /// Serves CometBFT at `address` until the process ends.
    ///
    /// # Errors
    /// When the address cannot be had, or the listener fails.
    pub fn serve(self, address: SocketAddr) -> std::io::Result<()> {
        server::serve(address, &self)
    }

    fn must<T>(&self, result: Result<T, Fault>) -> T {
        result.unwrap_or_else(|fault| self.events.fault(&fault))
    }
}

impl<A: Application + 'static> server::Dispatch for Adapter<A> {
    fn answer(&self, request: Request) -> Response {
        let value = match request.value {
            None => response::Value::Exception(ResponseException { error: "an empty request".into() }),
            Some(Value::Echo(r)) => response::Value::Echo(ResponseEcho { message: r.message }),
            Some(Value::Flush(_)) => response::Value::Flush(Default::default()),
            Some(Value::Info(_)) => response::Value::Info(self.info()),
            Some(Value::InitChain(r)) => response::Value::InitChain(self.init_chain(r)),
            Some(Value::Query(r)) => response::Value::Query(self.query(r)),
            Some(Value::CheckTx(r)) => response::Value::CheckTx(self.check_tx(&r)),
            Some(Value::Commit(_)) => response::Value::Commit(self.commit()),
            Some(Value::ListSnapshots(_)) => response::Value::ListSnapshots(snapshot::list(self.app.as_ref())),
            Some(Value::OfferSnapshot(r)) => {
                response::Value::OfferSnapshot(self.must(snapshot::offer(self.app.as_ref(), r)))
            }
            Some(Value::LoadSnapshotChunk(r)) => {
                response::Value::LoadSnapshotChunk(snapshot::load(self.app.as_ref(), r))
            }
            Some(Value::ApplySnapshotChunk(r)) => {
                response::Value::ApplySnapshotChunk(self.must(snapshot::apply(self.app.as_ref(), r)))
            }
            Some(Value::PrepareProposal(r)) => response::Value::PrepareProposal(self.prepare_proposal(r)),
            Some(Value::ProcessProposal(r)) => response::Value::ProcessProposal(self.process_proposal(r)),
            // Vote extensions are not enabled.
            Some(Value::ExtendVote(_)) => response::Value::ExtendVote(Default::default()),
            Some(Value::VerifyVoteExtension(_)) => response::Value::VerifyVoteExtension(Default::default()),
            Some(Value::FinalizeBlock(r)) => response::Value::FinalizeBlock(self.finalize_block(r)),
        };
        Response { value: Some(value) }
    }
}

impl<A: Application + 'static> Adapter<A> {
    fn info(&self) -> ResponseInfo {
        let info = self.app.info();
        // Before the first block there is no hash: CometBFT takes the one of InitChain.
        let last_block_app_hash = if info.height == 0 { vec![] } else { info.app_hash.0.to_vec() };
        ResponseInfo {
            data: "sahara".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            app_version: 0,
            last_block_height: signed(info.height),
            last_block_app_hash: last_block_app_hash.into(),
        }
    }

    fn init_chain(&self, request: RequestInitChain) -> ResponseInitChain {
        let started = self.must(self.app.init_chain(&ChainStart {
            chain_id: request.chain_id,
            time: Time::from(request.time.unwrap_or_default()).seconds(),
            app_state: request.app_state_bytes.to_vec(),
            initial_height: unsigned(request.initial_height),
            evidence: request.consensus_params.and_then(|params| params.evidence).map(evidence_age),
        }));
        ResponseInitChain {
            consensus_params: None,
            validators: started.validators.into_iter().map(abci_update).collect(),
            app_hash: started.app_hash.0.to_vec().into(),
        }
    }

    fn check_tx(&self, request: &RequestCheckTx) -> ResponseCheckTx {
        let check = if request.r#type == i32::from(CheckTxType::Recheck) { Check::Again } else { Check::New };
        let verdict = self.app.check_tx(&request.tx, check);
        ResponseCheckTx {
            code: verdict.code,
            log: verdict.reason,
            gas_wanted: signed(verdict.gas),
            ..ResponseCheckTx::default()
        }
    }

    fn prepare_proposal(&self, request: RequestPrepareProposal) -> ResponsePrepareProposal {
        let txs: Vec<Bytes> = request.txs.into_iter().map(Bytes::from).collect();
        let signed = request.local_last_commit.unwrap_or_default().votes;
        let signed = signed.iter().filter_map(|info| vote(info.validator.as_ref(), info.block_id_flag));
        let chosen = self.app.prepare(&Proposal {
            height: unsigned(request.height),
            time: Time::from(request.time.unwrap_or_default()).seconds(),
            proposer: consensus_address(&request.proposer_address),
            txs: &txs,
            votes: &signed.collect::<Vec<_>>(),
            offences: &request.misbehavior.iter().filter_map(offence).collect::<Vec<_>>(),
            max_bytes: unsigned(request.max_tx_bytes),
        });
        ResponsePrepareProposal { txs: chosen.into_iter().map(|tx| tx.0).collect() }
    }

    fn process_proposal(&self, request: RequestProcessProposal) -> ResponseProcessProposal {
        let txs: Vec<Bytes> = request.txs.into_iter().map(Bytes::from).collect();
        let verdict = self.app.process(&Proposal {
            height: unsigned(request.height),
            time: Time::from(request.time.unwrap_or_default()).seconds(),
            proposer: consensus_address(&request.proposer_address),
            txs: &txs,
            votes: &votes(request.proposed_last_commit),
            offences: &request.misbehavior.iter().filter_map(offence).collect::<Vec<_>>(),
            // CometBFT has measured the block itself.
            max_bytes: u64::MAX,
        });
        let status = match verdict {
            Verdict::Accept => ProposalStatus::Accept,
            Verdict::Reject => ProposalStatus::Reject,
        };
        ResponseProcessProposal { status: status.into() }
    }

    fn finalize_block(&self, request: RequestFinalizeBlock) -> ResponseFinalizeBlock {
        let finalized = self.must(self.app.finalize(&DecidedBlock {
            height: unsigned(request.height),
            time: Time::from(request.time.unwrap_or_default()).seconds(),
            proposer: consensus_address(&request.proposer_address),
            txs: request.txs.into_iter().map(Bytes::from).collect(),
            votes: votes(request.decided_last_commit),
            offences: request.misbehavior.iter().filter_map(offence).collect(),
        }));
        let results = finalized.results.into_iter().map(|result| ExecTxResult {
            code: result.code,
            data: result.data.0,
            log: result.reason,
            gas_wanted: signed(result.gas_wanted),
            gas_used: signed(result.gas_used),
            ..ExecTxResult::default()
        });
        ResponseFinalizeBlock {
            tx_results: results.collect(),
            validator_updates: finalized.validators.into_iter().map(abci_update).collect(),
            app_hash: finalized.app_hash.0.to_vec().into(),
            ..ResponseFinalizeBlock::default()
        }
    }

    fn commit(&self) -> ResponseCommit {
        let committed = self.must(self.app.commit());
        self.events.committed(self.app.info().height);
        ResponseCommit { retain_height: signed(committed.retain_height) }
    }

    fn query(&self, request: RequestQuery) -> ResponseQuery {
        let answer = self.app.query(&Query {
            path: &request.path,
            data: &request.data,
            height: unsigned(request.height),
            prove: request.prove,
        });
        let op = |proof: Proof| ProofOp { r#type: proof.kind.into(), key: proof.key, data: proof.bytes };
        let ops: Vec<ProofOp> = answer.proof.into_iter().map(op).collect();
        ResponseQuery {
            code: answer.code,
            log: answer.reason,
            key: request.data,
            value: answer.value.into(),
            height: signed(answer.height),
            proof_ops: (!ops.is_empty()).then_some(ProofOps { ops }),
            ..ResponseQuery::default()
        }
    }
}

/// A part of a second counts as one.
fn evidence_age(params: EvidenceParams) -> EvidenceAge {
    let age = params.max_age_duration.unwrap_or_default();
    let seconds = unsigned(age.seconds).saturating_add(u64::from(age.nanos > 0));
    EvidenceAge { seconds, blocks: unsigned(params.max_age_num_blocks) }
}

fn abci_update(update: ValidatorUpdate) -> AbciUpdate {
    let key = PublicKey { sum: Some(Sum::Ed25519(update.key.0.to_vec())) };
    AbciUpdate { pub_key: Some(key), power: signed(update.power) }
}

fn consensus_address(bytes: &[u8]) -> Option<ConsensusAddress> {
    bytes.try_into().ok().map(ConsensusAddress)
}

fn votes(commit: Option<CommitInfo>) -> Vec<Vote> {
    let votes = commit.unwrap_or_default().votes;
    votes.iter().filter_map(|info| vote(info.validator.as_ref(), info.block_id_flag)).collect()
}

fn vote(validator: Option<&AbciValidator>, flag: i32) -> Option<Vote> {
    let validator = validator?;
    let signed = flag == i32::from(BlockIdFlag::Commit) || flag == i32::from(BlockIdFlag::Nil);
    Some(Vote { validator: consensus_address(&validator.address)?, power: unsigned(validator.power), signed })
}

fn offence(misbehavior: &Misbehavior) -> Option<Offence> {
    let kind = match MisbehaviorType::try_from(misbehavior.r#type).ok()? {
        MisbehaviorType::DuplicateVote => OffenceKind::DoubleSign,
        MisbehaviorType::LightClientAttack => OffenceKind::LightClientAttack,
        MisbehaviorType::Unknown => return None,
    };
    let who = misbehavior.validator.as_ref()?;
    let validator = consensus_address(&who.address)?;
    Some(Offence { validator, height: unsigned(misbehavior.height), kind, power: unsigned(who.power) })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
