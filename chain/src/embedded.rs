//! The embedded driver: one validator in this process. It makes real Tendermint blocks with signed headers, takes time
//! from a callback, and has no network: for development and tests, what anvil is to Ethereum.

use std::sync::Arc;

use alloy_primitives::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use tendermint_proto::v0_38::{
    crypto::{PublicKey, public_key::Sum},
    types::{BlockIdFlag, Data, EvidenceList, SignedHeader, Validator, ValidatorSet},
    version::Consensus,
};

use crate::{
    application::{Application, ChainStart, DecidedBlock, Finalized, Proposal, TxResult, Verdict, Vote},
    consensus::{BLOCK_PROTOCOL, Block, BlockId, Commit, CommitSig, DRIVER_KEY, Header, PartSetHeader, Time, hashes},
    error::{Fault, StoreError},
    failpoint,
    genesis::Genesis,
    ledger::{Change, Ledger},
    store::{Batch, Store, Table},
    validator::{ConsensusKey, ValidatorUpdate},
};

/// Bytes of transactions in a block, as under CometBFT.
pub const MAX_BLOCK_BYTES: u64 = 4 * 1024 * 1024;

const REJECTED: &str = "the ledger rejects its own proposal. If it says above that the beacon secret is missing or another \
     one, put the file beacon-secret of this validator back into its home";

/// Version of that record.
const VERSION: u8 = 1;

/// A block with the signature that commits it.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedBlock {
    /// The block.
    pub block: Block,
    /// Its name.
    pub id: BlockId,
    /// The signature.
    pub commit: Commit,
    /// What became of its transactions.
    pub results: Vec<TxResult>,
}

/// A chain of one validator.
pub struct Embedded<A> {
    app: Arc<A>,
    store: Arc<dyn Store>,
    key: SigningKey,
    chain_id: String,
    validators: Vec<ValidatorUpdate>,
    tip: Tip,
    /// The lowest block that the ledger wants kept.
    lowest: u64,
}

/// What the next block needs of the last one.
#[derive(Clone, Debug, Default)]
struct Tip {
    height: u64,
    time: Time,
    id: BlockId,
    commit: Commit,
    app_hash: Vec<u8>,
    results_hash: Vec<u8>,
}

impl<A: Application> Embedded<A> {
    /// Begins a chain with `genesis` (JSON), or continues the one in `store`.
    ///
    /// # Errors
    /// When no chain can begin with this genesis, its validators do not have `key`, or the store fails.
    pub fn start(
        app: Arc<A>,
        store: Arc<dyn Store>,
        key: SigningKey,
        chain_id: &str,
        genesis: &[u8],
        now: Time,
    ) -> Result<Self, Fault> {
        let own = ValidatorUpdate { key: ConsensusKey(key.verifying_key().to_bytes().into()), power: 1 };
        let mut driver = Self {
            app,
            store,
            key,
            chain_id: chain_id.to_owned(),
            validators: vec![own],
            tip: Tip::default(),
            lowest: 0,
        };
        // Whoever died before the first block was committed begins again: nobody has seen it.
        let begun = driver.app.info().height > 0;
        let stored = driver.store.reader()?.get(Table::Meta, DRIVER_KEY)?.filter(|_| begun);
        match stored {
            Some(bytes) => driver.resume(&bytes)?,
            None => {
                let time = now.seconds();
                let chain_id = driver.chain_id.clone();
                let initial_height = Genesis::read(genesis)?.first_height();
                let start = ChainStart { chain_id, time, app_state: genesis.to_vec(), initial_height, evidence: None };
                let started = driver.app.init_chain(&start)?;
                driver.validators = started.validators;
                // The engine writes the absent name of the block before the first with its parts.
                driver.tip.id.part_set_header = Some(PartSetHeader::default());
                driver.tip.app_hash = started.app_hash.0.to_vec();
                driver.tip.time = now;
                driver.tip.height = initial_height - 1;
                driver.tip.results_hash = hashes::results(&[]).to_vec();
            }
        }
        if !driver.validators.iter().any(|validator| validator.key == own.key) {
            return Err(Fault::Order { call: "the embedded driver", why: "genesis does not name its validator key" });
        }
        Ok(driver)
    }

    /// Makes the next block at `now` from what waits in the ledger's pool, and from `candidates` that it lacks.
    ///
    /// # Errors
    /// When the ledger rejects the block, or the store fails: then there is no new one.
    pub fn step(&mut self, candidates: &[Bytes], now: Time) -> Result<SignedBlock, Fault> {
        let height = self.tip.height + 1;
        // Time never stands still in a chain, whatever the clock says.
        let time = now.max(Time(self.tip.time.0 + 1_000_000));
        let votes = self.votes(&self.tip.commit);
        let offer = Proposal {
            height,
            time: time.seconds(),
            proposer: Some(self.own_key().address()),
            txs: candidates,
            votes: &votes,
            offences: &[],
            max_bytes: MAX_BLOCK_BYTES,
        };
        let txs = self.app.prepare(&offer);
        if self.app.process(&Proposal { txs: &txs, ..offer }) == Verdict::Reject {
            return Err(Fault::Order { call: "ProcessProposal", why: REJECTED });
        }
        self.make(&txs, time)
    }

    /// Makes a block of `txs` at `time`, which is later than that of the last one.
    fn make(&mut self, txs: &[Bytes], time: Time) -> Result<SignedBlock, Fault> {
        let height = self.tip.height + 1;
        let block = self.assemble(height, time, txs);
        let id = hashes::block_id(&block);
        let commit = self.sign(height, &id, time);
        let finalized = self.app.finalize(&self.decided(&block, txs.to_vec()))?;
        let tip = self.after(&block, &id, commit.clone(), &finalized);
        // Kept before the ledger commits: after a crash in between, this very block is executed again.
        failpoint::reach("keep");
        self.keep(&block, &tip)?;
        failpoint::reach("kept");
        self.lowest = self.app.commit()?.retain_height;
        failpoint::reach("done");
        self.tip = tip;
        Ok(SignedBlock { block, id, commit, results: finalized.results })
    }

    /// The last height.
    pub fn height(&self) -> u64 {
        self.tip.height
    }

    /// The time of the last block.
    pub fn time(&self) -> Time {
        self.tip.time
    }

    fn assemble(&self, height: u64, time: Time, txs: &[Bytes]) -> Block {
        let validators = hashes::validators(&self.validators).to_vec();
        let header = Header {
            version: Some(Consensus { block: BLOCK_PROTOCOL, app: 0 }),
            chain_id: self.chain_id.clone(),
            height: signed(height),
            time: Some(time.into()),
            last_block_id: Some(self.tip.id.clone()),
            last_commit_hash: hashes::commit(&self.tip.commit).to_vec(),
            data_hash: hashes::data(txs).to_vec(),
            validators_hash: validators.clone(),
            next_validators_hash: validators,
            consensus_hash: hashes::params(signed(MAX_BLOCK_BYTES), -1).to_vec(),
            app_hash: self.tip.app_hash.clone(),
            last_results_hash: self.tip.results_hash.clone(),
            evidence_hash: hashes::data::<&[u8]>(&[]).to_vec(),
            proposer_address: self.own_key().address().0.to_vec(),
        };
        Block {
            header: Some(header),
            data: Some(Data { txs: txs.iter().map(|tx| tx.to_vec()).collect() }),
            evidence: Some(EvidenceList::default()),
            last_commit: Some(self.tip.commit.clone()),
        }
    }

    fn sign(&self, height: u64, id: &BlockId, time: Time) -> Commit {
        let bytes = hashes::precommit(&self.chain_id, signed(height), 0, id, time.into());
        let signature = CommitSig {
            block_id_flag: BlockIdFlag::Commit.into(),
            validator_address: self.own_key().address().0.to_vec(),
            timestamp: Some(time.into()),
            signature: self.key.sign(&bytes).to_bytes().to_vec(),
        };
        Commit { height: signed(height), round: 0, block_id: Some(id.clone()), signatures: vec![signature] }
    }

    /// Who signed, as the ledger hears it.
    fn votes(&self, commit: &Commit) -> Vec<Vote> {
        let validator = self.own_key().address();
        let power = self.validators.iter().find(|v| v.key == self.own_key()).map_or(0, |v| v.power);
        commit.signatures.iter().map(|_| Vote { validator, power, signed: true }).collect()
    }

    /// `block` as the ledger hears of it, with its transactions as they came from the ledger.
    fn decided(&self, block: &Block, txs: Vec<Bytes>) -> DecidedBlock {
        let header = block.header.clone().unwrap_or_default();
        let last = block.last_commit.clone().unwrap_or_default();
        DecidedBlock {
            height: u64::try_from(header.height).unwrap_or_default(),
            time: Time::from(header.time.unwrap_or_default()).seconds(),
            proposer: Some(self.own_key().address()),
            txs,
            votes: self.votes(&last),
            offences: vec![],
        }
    }

    fn after(&self, block: &Block, id: &BlockId, commit: Commit, finalized: &Finalized) -> Tip {
        let header = block.header.clone().unwrap_or_default();
        Tip {
            height: u64::try_from(header.height).unwrap_or_default(),
            time: header.time.unwrap_or_default().into(),
            id: id.clone(),
            commit,
            app_hash: finalized.app_hash.0.to_vec(),
            results_hash: hashes::results(&finalized.results).to_vec(),
        }
    }

    fn keep(&self, block: &Block, tip: &Tip) -> Result<(), StoreError> {
        let mut record = vec![VERSION];
        record.extend(&tip.app_hash);
        record.extend(&tip.results_hash);
        record.extend(u32::try_from(self.validators.len()).unwrap_or_default().to_be_bytes());
        for validator in &self.validators {
            record.extend(validator.key.0);
            record.extend(validator.power.to_be_bytes());
        }
        record.extend(block.encode_to_vec());
        let mut batch = Batch::default();
        batch.put(Table::Meta, DRIVER_KEY, record);
        self.keep_header(block, &tip.commit, &mut batch);
        // As blocks are forgotten, one at a time.
        if let Some(old) = self.lowest.checked_sub(1) {
            batch.delete(Table::Meta, header_key(old));
        }
        self.store.write(&batch)
    }

    /// Keeps the header of `block` with the signature on it, for light clients.
    fn keep_header(&self, block: &Block, commit: &Commit, batch: &mut Batch) {
        let signed = SignedHeader { header: block.header.clone(), commit: Some(commit.clone()) };
        let key = header_key(u64::try_from(commit.height).unwrap_or_default());
        batch.put(Table::Meta, key, [&[VERSION], signed.encode_to_vec().as_slice()].concat());
    }

    /// Takes up the kept block: the ledger has executed it already, or does it now.
    fn resume(&mut self, record: &[u8]) -> Result<(), Fault> {
        let (app_hash, results_hash, validators, block) = read_record(record)
            .ok_or_else(|| StoreError::corrupt("read the embedded driver's last block", "wrong form"))?;
        self.validators = validators;
        let id = hashes::block_id(&block);
        let header = block.header.clone().unwrap_or_default();
        let height = u64::try_from(header.height).unwrap_or_default();
        if header.chain_id != self.chain_id {
            return Err(Fault::Order { call: "the embedded driver", why: "this data folder has another chain" });
        }
        let done = self.app.info().height;
        if done + 1 == height {
            let txs = block.data.clone().unwrap_or_default().txs.into_iter().map(Bytes::from).collect();
            self.app.finalize(&self.decided(&block, txs))?;
            self.app.commit()?;
        } else if done != height {
            return Err(Fault::Height { asked: height, expected: done + 1 });
        }
        let time = Time::from(header.time.unwrap_or_default());
        let commit = self.sign(height, &id, time);
        // A program of before did not keep it.
        let mut batch = Batch::default();
        self.keep_header(&block, &commit, &mut batch);
        self.store.write(&batch)?;
        self.tip = Tip { height, time, id, commit, app_hash, results_hash };
        Ok(())
    }

    fn own_key(&self) -> ConsensusKey {
        ConsensusKey(self.key.verifying_key().to_bytes().into())
    }
}

impl Embedded<Ledger> {
    /// Makes a block at `now` that holds `change` and nothing else, on a ledger for development.
    ///
    /// # Errors
    /// When the ledger or the store fails.
    pub fn change(&mut self, change: &Change, now: Time) -> Result<SignedBlock, Fault> {
        let time = now.max(Time(self.tip.time.0 + 1_000_000));
        let item = self.app.beacon_item(self.own_key().address())?;
        let txs: Vec<Bytes> = item.into_iter().chain([change.encode()]).collect();
        self.make(&txs, time)
    }

    /// The chain as it is, to go back to.
    ///
    /// # Errors
    /// When there is no block yet, or the store cannot be read.
    pub fn kept(&self) -> Result<Kept, StoreError> {
        let record = self.store.reader()?.get(Table::Meta, DRIVER_KEY)?;
        let record = record.ok_or_else(|| StoreError::new("remember the chain", "it has no block yet"))?;
        Ok(Kept { record, tip: self.tip.clone() })
    }

    /// Goes back to `kept`.
    ///
    /// # Errors
    /// When that state is not kept any more, or the store fails.
    pub fn go_back(&mut self, kept: Kept) -> Result<(), Fault> {
        // The driver first: a node that dies on the way finishes it when it starts.
        let mut batch = Batch::default();
        batch.put(Table::Meta, DRIVER_KEY, kept.record);
        self.store.write(&batch)?;
        self.app.rewind(kept.tip.height)?;
        self.tip = kept.tip;
        Ok(())
    }
}

/// A chain as it was at a height.
#[derive(Clone, Debug)]
pub struct Kept {
    record: Vec<u8>,
    tip: Tip,
}

impl Kept {
    /// The height.
    pub fn height(&self) -> u64 {
        self.tip.height
    }
}

/// The height of the driver's last block in `store`, if it has one.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn kept_height(store: &dyn Store) -> Result<Option<u64>, StoreError> {
    let record = store.reader()?.get(Table::Meta, DRIVER_KEY)?;
    let header = record.and_then(|record| read_record(&record)?.3.header);
    Ok(header.and_then(|header| u64::try_from(header.height).ok()))
}

/// The header at `height` with the signature on it, and its validators: here they never change. Nothing where there is
/// no block, or where a program wrote it that did not keep headers.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn signed_header(store: &dyn Store, height: u64) -> Result<Option<(SignedHeader, ValidatorSet)>, StoreError> {
    let reader = store.reader()?;
    let damaged = || StoreError::corrupt("read a signed header", "wrong form");
    let Some(record) = reader.get(Table::Meta, DRIVER_KEY)? else { return Ok(None) };
    let (_, _, validators, last) = read_record(&record).ok_or_else(damaged)?;
    // Of a chain that went back there may be headers above its last block.
    if last.header.is_none_or(|last| signed(height) > last.height) {
        return Ok(None);
    }
    let Some(kept) = reader.get(Table::Meta, &header_key(height))? else { return Ok(None) };
    let bytes = kept.strip_prefix(&[VERSION]).ok_or_else(damaged)?;
    let header = SignedHeader::decode(bytes).map_err(|_| damaged())?;
    let validators = validators.iter().map(|validator| Validator {
        address: validator.key.address().0.to_vec(),
        pub_key: Some(PublicKey { sum: Some(Sum::Ed25519(validator.key.0.to_vec())) }),
        voting_power: signed(validator.power),
        proposer_priority: 0,
    });
    Ok(Some((header, ValidatorSet { validators: validators.collect(), ..ValidatorSet::default() })))
}

fn header_key(height: u64) -> Vec<u8> {
    [DRIVER_KEY, b"/header/", &height.to_be_bytes()].concat()
}

type Record = (Vec<u8>, Vec<u8>, Vec<ValidatorUpdate>, Block);

fn read_record(record: &[u8]) -> Option<Record> {
    let ([version], rest) = record.split_first_chunk::<1>()?;
    let (app_hash, rest) = rest.split_first_chunk::<32>()?;
    let (results_hash, rest) = rest.split_first_chunk::<32>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut validators = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (key, after) = rest.split_first_chunk::<32>()?;
        let (power, after) = after.split_first_chunk::<8>()?;
        validators.push(ValidatorUpdate { key: ConsensusKey(key.into()), power: u64::from_be_bytes(*power) });
        rest = after;
    }
    let block = Block::decode(rest).ok()?;
    (*version == VERSION).then(|| (app_hash.to_vec(), results_hash.to_vec(), validators, block))
}

fn signed(height: u64) -> i64 {
    i64::try_from(height).unwrap_or(i64::MAX)
}
