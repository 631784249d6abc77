//! The history of a budget on disk, and where it stands.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, U256};
use sahara_market::abi;
use sahara_market::budget::{Budget, Grant, ORDERS, Refusal, epsilon};

use super::Cost;

const MAGIC: &[u8; 8] = b"SAHBUDGT";
const VERSION: u32 = 1;
/// ε, ln(1/δ), failure, orders, and whose rows neighbours differ by.
const HEADER: usize = 8 + 4 + 8 + 8 + 8 + 4 + UNIT;
/// Room for what neighbours are, in words.
const UNIT: usize = 64;
/// A kind, a name, what it is about, and the hash of all until then.
const ENTRY: usize = BODY + 32;
const BODY: usize = 1 + 32 + 8 + 8 * ORDERS;
/// Largest file: some fifty thousand jobs.
const MOST_BYTES: u64 = 1 << 26;
/// Whoever uses this machine, to the contract's rules.
const OWNER: Address = Address::repeat_byte(1);
/// A reservation lasts as long as the command that made it.
const NOW: u64 = 0;

const RESERVE: u8 = 1;
const BEGIN: u8 = 2;
const RELEASE: u8 = 3;
const SETTLE: u8 = 4;
const CHANGE: u8 = 5;

/// An open budget; one process at a time.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    file: File,
    length: u64,
    unit: String,
    state: State,
}

/// What the entries say so far.
#[derive(Clone, Debug)]
struct State {
    head: [u8; 32],
    grant: Grant,
    budget: Budget,
    jobs: BTreeMap<[u8; 32], Job>,
    order: Vec<[u8; 32]>,
}

/// One job of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it costs at worst.
    pub cost: Cost,
    /// How far it is.
    pub state: JobState,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Put aside, not spent.
    Reserved,
    /// Spent; nothing is known of what came of it.
    Begun,
    /// Given back: it never began.
    Released,
    /// Spent, with a hash of what came of it.
    Settled([u8; 32]),
}

/// Where a budget stands, in nano of ε and in 10⁻¹⁸ of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is granted.
    pub granted: u64,
    /// What is spent.
    pub spent: u128,
    /// What is spent or reserved.
    pub with_reserved: u128,
    /// The chances of failure that are spent.
    pub failure: u64,
    /// The chances of failure that are granted.
    pub failure_granted: u64,
}

/// Why a budget cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file system refuses.
    #[error("{doing} the budget {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the budget {0} is in use by another process")]
    Busy(PathBuf),
    /// There is one already.
    #[error("there is a budget {0} already")]
    Exists(PathBuf),
    /// It is not what this program wrote.
    #[error("the budget {0} was changed or damaged: what is spent is not known, so nothing can be drawn on it")]
    Changed(PathBuf),
    /// It is full.
    #[error("the budget {0} has as many entries as it can")]
    Full(PathBuf),
    /// What neighbours are cannot be written in 64 bytes.
    #[error("what neighbours are is said in 1 to 64 bytes")]
    Unit,
    /// The rules of the budget refuse.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Book {
    /// Begins the budget of a dataset. `unit` says what neighbours are, in words (1 to 64 bytes); it never changes.
    ///
    /// # Errors
    /// When there is one already, the grant makes no sense, or the file system refuses.
    pub fn create(path: &Path, grant: Grant, unit: &str) -> Result<Self, BudgetError> {
        let failed = |doing| move |source| BudgetError::File { doing, path: path.to_owned(), source };
        if unit.is_empty() || unit.len() > UNIT || unit.contains('\0') {
            return Err(BudgetError::Unit);
        }
        State::new(grant, &[])?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        [grant.epsilon, grant.log_inverse_delta, grant.failure].iter().for_each(|n| header.extend(n.to_le_bytes()));
        header.extend_from_slice(&grant.orders.to_le_bytes());
        header.extend_from_slice(unit.as_bytes());
        header.resize(HEADER, 0);
        // Whole under another name first, so that there is never half of one; a link does not replace what is there.
        let draft = path.with_extension(format!("new-{}", std::process::id()));
        let written = File::create(&draft).and_then(|mut file| file.write_all(&header).and_then(|()| file.sync_all()));
        let linked = written.and_then(|()| fs::hard_link(&draft, path));
        let removed = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BudgetError::Exists(path.to_owned()));
            }
            done => done.and(removed).map_err(failed("making"))?,
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("making"))?;
        }
        Self::open(path)
    }

    /// Opens a budget. What was reserved by a process that died before it began is released.
    ///
    /// # Errors
    /// When there is none, it is in use, or it was changed.
    pub fn open(path: &Path) -> Result<Self, BudgetError> {
        let failed = |doing| move |source| BudgetError::File { doing, path: path.to_owned(), source };
        let changed = || BudgetError::Changed(path.to_owned());
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed("opening"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(BudgetError::Busy(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(failed("locking")(source)),
        }
        let size = file.metadata().map_err(failed("reading"))?.len();
        if size > MOST_BYTES {
            return Err(changed());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        (&file).take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed("reading"))?;
        let (header, entries) = bytes.split_at_checked(HEADER).ok_or_else(changed)?;
        let (grant, unit) = read_header(header).ok_or_else(changed)?;
        let mut state = State::new(grant, header).map_err(|_| changed())?;
        let (entries, torn) = entries.as_chunks::<ENTRY>();
        for entry in entries {
            let (body, hash) = entry.split_at(BODY);
            let head = chained(&state.head, body);
            // The rules that let it in once let it in again.
            if head != hash || state.play(body).is_none_or(|played| played.is_err()) {
                return Err(changed());
            }
            state.head = head;
        }
        // The beginning of an entry that was never durable: nothing was done on its account.
        let length = (bytes.len() - torn.len()) as u64;
        file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length))).map_err(failed("opening"))?;
        let mut book = Self { path: path.to_owned(), file, length, unit, state };
        for name in book.in_state(JobState::Reserved) {
            book.release(&name)?;
        }
        Ok(book)
    }

    /// What neighbours are.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// What is granted now; δ is as it was at first.
    pub fn grant(&self) -> Grant {
        Grant { epsilon: self.state.budget.granted(), ..self.state.grant }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let budget = &self.state.budget;
        Standing {
            granted: budget.granted(),
            spent: budget.spent(),
            with_reserved: budget.with_reserved(),
            failure: budget.failures().0,
            failure_granted: self.state.grant.failure,
        }
    }

    /// What would be spent, in nano of ε, if this were begun, too.
    pub fn with(&self, cost: &Cost) -> u128 {
        let jobs = self.state.jobs.values().filter(|job| job.state != JobState::Released);
        let mut sums = cost.costs;
        for job in jobs {
            sums.iter_mut().zip(job.cost.costs).for_each(|(sum, cost)| *sum = sum.saturating_add(cost));
        }
        epsilon(&sums, self.state.grant.log_inverse_delta, self.state.grant.orders)
    }

    /// A job by its name.
    pub fn job(&self, name: &[u8; 32]) -> Option<&Job> {
        self.state.jobs.get(name)
    }

    /// All jobs, in the order in which they were reserved.
    pub fn jobs(&self) -> impl Iterator<Item = (&[u8; 32], &Job)> {
        self.state.order.iter().filter_map(|name| self.state.jobs.get_key_value(name))
    }

    /// Puts the worst case of a job aside.
    ///
    /// # Errors
    /// [`BudgetError::Refused`] when the budget does not suffice or there was such a job: then nothing was written.
    pub fn reserve(&mut self, name: &[u8; 32], cost: &Cost) -> Result<(), BudgetError> {
        let mut body = body(RESERVE, name);
        body[33..41].copy_from_slice(&cost.failure.to_le_bytes());
        let (room, _) = body[41..].as_chunks_mut::<8>();
        room.iter_mut().zip(cost.costs).for_each(|(room, cost)| *room = cost.to_le_bytes());
        self.write(&body)
    }

    /// Spends it, for good: from now on it is spent, whatever happens.
    ///
    /// # Errors
    /// When it is not reserved, or the file system refuses: then nothing may be done on its account.
    pub fn begin(&mut self, name: &[u8; 32]) -> Result<(), BudgetError> {
        self.write(&body(BEGIN, name))
    }

    /// Gives back what did not begin.
    ///
    /// # Errors
    /// When it is not reserved, or the file system refuses.
    pub fn release(&mut self, name: &[u8; 32]) -> Result<(), BudgetError> {
        self.write(&body(RELEASE, name))
    }

    /// Writes down a hash of what came of a job that began.
    ///
    /// # Errors
    /// When it has not begun or is settled, or the file system refuses.
    pub fn settle(&mut self, name: &[u8; 32], outcome: &[u8; 32]) -> Result<(), BudgetError> {
        let mut body = body(SETTLE, name);
        body[41..73].copy_from_slice(outcome);
        self.write(&body)
    }

    /// Changes what is granted, in nano: a lower ε becomes what is spent at least; a higher one comes with what the chances of failure
    /// may sum to from then on (in 10⁻¹⁸), within which those that are spent have to be. It is the owner's machine: unlike on a
    /// chain, a raise has no delay; it stays written down.
    ///
    /// # Errors
    /// When nothing would change, what is spent would be beyond it, or the file system refuses.
    pub fn change(&mut self, epsilon: u64, failure: u64) -> Result<(), BudgetError> {
        let mut body = body(CHANGE, &[0; 32]);
        body[33..41].copy_from_slice(&epsilon.to_le_bytes());
        body[41..49].copy_from_slice(&failure.to_le_bytes());
        self.write(&body)
    }

    /// Jobs that are so far.
    pub fn in_state(&self, state: JobState) -> Vec<[u8; 32]> {
        self.jobs().filter(|(_, job)| job.state == state).map(|(name, _)| *name).collect()
    }

    /// Tries an entry, makes it durable, and only then lets it be true.
    fn write(&mut self, body: &[u8; BODY]) -> Result<(), BudgetError> {
        let mut next = self.state.clone();
        match next.play(body) {
            Some(played) => played?,
            None => return Err(Refusal::WrongState.into()),
        }
        if self.length + ENTRY as u64 > MOST_BYTES {
            return Err(BudgetError::Full(self.path.clone()));
        }
        next.head = chained(&self.state.head, body);
        let entry = [body.as_slice(), &next.head].concat();
        let written = self.file.write_all(&entry).and_then(|()| self.file.sync_all());
        if let Err(source) = written {
            // What of it is there is not known: it is cut off, or else found torn or whole when the book is opened again.
            let _ = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            return Err(BudgetError::File { doing: "writing", path: self.path.clone(), source });
        }
        self.length += ENTRY as u64;
        self.state = next;
        Ok(())
    }
}

impl State {
    fn new(grant: Grant, header: &[u8]) -> Result<Self, Refusal> {
        let head = *blake3::hash(header).as_bytes();
        Ok(Self { head, grant, budget: granted(grant)?, jobs: BTreeMap::new(), order: Vec::new() })
    }

    /// What an entry does; nothing if it is none.
    fn play(&mut self, body: &[u8]) -> Option<Result<(), Refusal>> {
        let name: [u8; 32] = *body.get(1..)?.first_chunk()?;
        let number = u64::from_le_bytes(*body.get(33..)?.first_chunk()?);
        let rest = body.get(41..BODY)?;
        if body[0] == CHANGE {
            return Some(self.change(number, u64::from_le_bytes(*rest.first_chunk()?)));
        }
        if body[0] == RESERVE {
            if self.jobs.contains_key(&name) {
                return Some(Err(Refusal::WrongState));
            }
            let (costs, _) = rest.as_chunks::<8>();
            let mut cost = Cost { costs: [0; ORDERS], failure: number };
            cost.costs.iter_mut().zip(costs).for_each(|(cost, bytes)| *cost = u64::from_le_bytes(*bytes));
            let played = self.budget.reserve(B256::from(name), &job(&name, &cost), NOW);
            if played.is_ok() {
                self.jobs.insert(name, Job { cost, state: JobState::Reserved });
                self.order.push(name);
            }
            return Some(played);
        }
        let known = self.jobs.get_mut(&name)?;
        let (id, details) = (B256::from(name), job(&name, &known.cost));
        let (played, state) = match (body[0], known.state) {
            (BEGIN, _) => (self.budget.begin(id, &details, NOW), JobState::Begun),
            (RELEASE, _) => (self.budget.release(id, &details, OWNER, NOW), JobState::Released),
            (SETTLE, JobState::Begun) => (Ok(()), JobState::Settled(*rest.first_chunk()?)),
            (SETTLE, _) => (Err(Refusal::WrongState), known.state),
            _ => return None,
        };
        if played.is_ok() {
            known.state = state;
        }
        Some(played)
    }

    /// A raise is a grant of which everything is spent again that was spent.
    fn change(&mut self, epsilon: u64, failure: u64) -> Result<(), Refusal> {
        if epsilon <= self.budget.granted() {
            return self.budget.lower(epsilon);
        }
        let grant = Grant { epsilon, failure, ..self.grant };
        let mut budget = granted(grant)?;
        for (name, known) in self.order.iter().filter_map(|name| self.jobs.get_key_value(name)) {
            let (id, details) = (B256::from(*name), job(name, &known.cost));
            if known.state != JobState::Released {
                budget.reserve(id, &details, NOW)?;
            }
            if matches!(known.state, JobState::Begun | JobState::Settled(_)) {
                budget.begin(id, &details, NOW)?;
            }
        }
        (self.grant, self.budget) = (grant, budget);
        Ok(())
    }
}

/// A budget of which its owner may draw everything.
fn granted(grant: Grant) -> Result<Budget, Refusal> {
    let mut budget = Budget::grant(grant)?;
    budget.allow(OWNER, u64::MAX);
    Ok(budget)
}

/// As the contract's rules know it.
fn job(name: &[u8; 32], cost: &Cost) -> abi::Job {
    abi::Job {
        dataset: B256::ZERO,
        spender: OWNER,
        licence: U256::ZERO,
        name: B256::from(*name),
        until: NOW,
        failure: cost.failure,
        costs: cost.costs,
    }
}

fn body(kind: u8, name: &[u8; 32]) -> [u8; BODY] {
    let mut body = [0; BODY];
    body[0] = kind;
    body[1..33].copy_from_slice(name);
    body
}

fn read_header(header: &[u8]) -> Option<(Grant, String)> {
    let number = |at: usize| header.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
    if &header[..8] != MAGIC || header[8..12] != VERSION.to_le_bytes() {
        return None;
    }
    let orders = u32::from_le_bytes(*header.get(36..)?.first_chunk()?);
    let grant = Grant { epsilon: number(12)?, log_inverse_delta: number(20)?, failure: number(28)?, orders };
    let unit = header.get(40..)?;
    let end = unit.iter().position(|byte| *byte == 0).unwrap_or(unit.len());
    let (unit, rest) = unit.split_at(end);
    let unit = std::str::from_utf8(unit).ok().filter(|unit| !unit.is_empty() && rest.iter().all(|byte| *byte == 0))?;
    Some((grant, unit.to_owned()))
}

fn chained(head: &[u8; 32], body: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(head).update(body).finalize().as_bytes()
}
