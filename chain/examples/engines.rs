//! Writes blocks of this chain's own into each database that the program has, in pairs, and says which took how long.
//!
//! `cargo run --release --workspace --features sahara-chain/rocksdb --example engines -- [ACCOUNTS] [BLOCKS] [TRANSFERS] [PAIRS]`
//!
//! The blocks are executed once, on a store in memory that remembers what it is told to write: ACCOUNTS accounts first,
//! then BLOCKS blocks of TRANSFERS transfers to accounts that are there. Then each database writes the same batches, each
//! synced, into a folder of its own; the two take turns at being first. Prints its conditions, each pair, and the median
//! ratio; then the same for reading, in an order that no cache expects.
#![allow(clippy::unwrap_used, clippy::float_arithmetic, clippy::disallowed_methods, reason = "a measurement")]

use std::{
    error::Error,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, U256, keccak256};
use ed25519_dalek::SigningKey;
use sahara_chain::{
    consensus::Time,
    embedded::Embedded,
    error::StoreError,
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisAccount, GenesisValidator},
    ledger::Ledger,
    store::{Batch, Engine, MemoryStore, Reader, Store, Table},
    tx::Tx,
    validator::ConsensusKey,
    wallet::{Payment, Wallet},
};

const START: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A store in memory that remembers what it was told to write.
#[derive(Default)]
struct Recorder {
    inner: MemoryStore,
    written: Mutex<Vec<Batch>>,
}

impl Store for Recorder {
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError> {
        self.inner.reader()
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.written.lock().unwrap().push(batch.clone());
        self.inner.write(batch)
    }
}

fn account(number: u64) -> Address {
    Address::from_word(keccak256(number.to_be_bytes()))
}

/// What the chain writes: the first state with its first block, then block by block.
fn blocks(accounts: u64, blocks: u64, transfers: u64) -> Result<Vec<Batch>, Box<dyn Error>> {
    let key = SigningKey::from_bytes(&[9; 32]);
    let consensus_key = ConsensusKey(key.verifying_key().to_bytes().into());
    let validator = GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key, power: 10 };
    let mut genesis = Genesis::development(vec![validator]);
    genesis.fees.block_gas_limit = genesis.fees.block_gas_limit.max(transfers * 21_000 * 2);
    let rich = GenesisAccount { balance: U256::from(1_000_000_000_000_000_000u64), ..GenesisAccount::default() };
    genesis.accounts.extend((0..accounts).map(|number| (account(number), rich.clone())));
    let senders: Vec<Wallet> = (0..transfers)
        .map(|number| Wallet::new(B256::from(U256::from(number + 1)), DEV_CHAIN_ID))
        .collect::<Result<_, _>>()?;
    for wallet in &senders {
        let signed = wallet.pay(&Payment { to: Some(Address::ZERO), ..Payment::default() })?;
        genesis.accounts.insert(Tx::decode(&signed, DEV_CHAIN_ID)?.sender, rich.clone());
    }
    let store = Arc::new(Recorder::default());
    let ledger = Arc::new(Ledger::open(store.clone())?);
    let genesis = serde_json::to_vec(&genesis)?;
    let mut driver = Embedded::start(ledger.clone(), store.clone(), key, "engines", &genesis, Time(START))?;
    driver.step(&[], Time(START + SECOND))?;
    for block in 0..blocks {
        for (number, wallet) in (0u64..).zip(&senders) {
            let to = Some(account((block * transfers + number).wrapping_mul(7_919) % accounts.max(1)));
            let payment = Payment {
                nonce: block,
                to,
                value: U256::from(1),
                gas_limit: 21_000,
                max_fee: 100_000_000_000,
                tip: 1,
                ..Payment::default()
            };
            ledger.receive(&wallet.pay(&payment)?)?;
        }
        let made = driver.step(&[], Time(START + SECOND * (block + 2)))?;
        assert_eq!(made.results.len() as u64, transfers, "a block has all that wait");
    }
    drop((driver, ledger));
    let written = std::mem::take(&mut *store.written.lock().unwrap());
    Ok(written)
}

struct Took {
    /// To write the first state.
    first: Spent,
    /// To write all blocks after it.
    blocks: Spent,
    /// To read accounts.
    reads: Spent,
    bytes: u64,
}

/// What work took: by the clock, and of the processors, which other work on the machine disturbs less.
#[derive(Clone, Copy)]
struct Spent {
    clock: Duration,
    processor: Duration,
}

impl Spent {
    fn on<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<(Self, T), StoreError> {
        let (begun, before) = (Instant::now(), processor());
        let done = work()?;
        Ok((Self { clock: begun.elapsed(), processor: processor().saturating_sub(before) }, done))
    }
}

/// Processor time of this process, with all of its threads.
fn processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

fn run(engine: Engine, batches: &[Batch], accounts: u64) -> Result<Took, Box<dyn Error>> {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let store = engine.open(folder.path())?;
    let (first, rest) = batches.split_at(2.min(batches.len()));
    let (first, ()) = Spent::on(|| first.iter().try_for_each(|batch| store.write(batch)))?;
    let (blocks, ()) = Spent::on(|| rest.iter().try_for_each(|batch| store.write(batch)))?;
    let reader = store.reader()?;
    let (reads, found) = Spent::on(|| {
        let mut found = 0;
        for number in 0..READS {
            let address = account(number.wrapping_mul(104_729) % accounts.max(1));
            found += u64::from(reader.get(Table::Accounts, address.as_slice())?.is_some());
        }
        Ok(found)
    })?;
    assert!(accounts == 0 || found == READS, "every account is there");
    drop(reader);
    drop(store);
    Ok(Took { first, blocks, reads, bytes: size(folder.path())? })
}

/// Accounts that are read.
const READS: u64 = 50_000;

fn size(place: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |usual| numbers.next().unwrap_or(Ok(usual));
    let (accounts, count, transfers, pairs) = (number(200_000)?, number(60)?, number(1_000)?, number(5)?);
    let [one, other] = Engine::built() else {
        return Err("this program has one database only: build it with --features sahara-chain/rocksdb".into());
    };
    let batches = blocks(accounts, count, transfers)?;
    let changes: usize = batches.iter().skip(2).map(Batch::len).sum();
    println!(
        "{accounts} accounts, then {count} blocks of {transfers} transfers: {} changed keys a block, each block synced. {} \
         cores, {} pairs.",
        changes / usize::try_from(count.max(1))?,
        std::thread::available_parallelism()?,
        pairs
    );
    println!("In brackets: processor time.");
    let mut ratios: [Vec<f64>; 4] = Default::default();
    for pair in 0..pairs {
        let order = if pair % 2 == 0 { [*one, *other] } else { [*other, *one] };
        let mut took = vec![];
        for engine in order {
            let done = run(engine, &batches, accounts)?;
            let of =
                |spent: Spent| format!("{:.2} s ({:.2})", spent.clock.as_secs_f64(), spent.processor.as_secs_f64());
            println!(
                "pair {pair}: {engine}: first state {}, blocks {}, {READS} reads {}, {} MiB",
                of(done.first),
                of(done.blocks),
                of(done.reads),
                done.bytes >> 20
            );
            took.push((engine, done));
        }
        took.sort_by_key(|(engine, _)| *engine != *one);
        let [(_, a), (_, b)] = took.as_slice() else { continue };
        let ratio = |of: fn(&Took) -> Duration| of(b).as_secs_f64() / of(a).as_secs_f64();
        ratios[0].push(ratio(|took| took.blocks.clock));
        ratios[1].push(ratio(|took| took.blocks.processor));
        ratios[2].push(ratio(|took| took.reads.clock));
        ratios[3].push(ratio(|took| took.reads.processor));
    }
    let [writes, writing, reads, reading] = ratios.map(median);
    println!(
        "median over the pairs, {other} / {one}: writing blocks {writes:.2} ({writing:.2}), reading {reads:.2} ({reading:.2})"
    );
    Ok(())
}
