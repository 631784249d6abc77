//! Makes blocks in this process, on time or when there is something for them; on a chain for development, also when and
//! as a developer wants.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{oneshot, watch};

use super::clock::Clock;
use crate::{
    consensus::Time,
    embedded::{Embedded, Kept},
    error::Fault,
    ledger::Ledger,
    rpc::{Command, Done},
};

/// What wakes whoever makes blocks.
pub enum Wake {
    /// A transaction waits.
    Tx,
    /// Somebody wants the last state proven, and waits until it is: by the header of a block more.
    Follow(oneshot::Sender<()>),
    /// A developer wants something, and waits for the outcome.
    Command(Command, oneshot::Sender<Result<Done, String>>),
}

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Every so often.
    Every(Duration),
    /// For each transaction.
    EachTx,
    /// When a developer wants one.
    OnDemand,
}

/// Snapshots that are remembered; the oldest goes.
const MAX_SNAPSHOTS: usize = 1_000;
/// How new a block without transactions is enough for whoever wants a proof.
const FOLLOWED: Duration = Duration::from_secs(1);
/// Pause after a block that nothing went into, though something waits.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes blocks.
pub struct Maker {
    driver: Embedded<Ledger>,
    ledger: Arc<Ledger>,
    heights: watch::Sender<u64>,
    clock: Clock,
    rhythm: Rhythm,
    /// When the last block was made.
    made: Instant,
    snapshots: Vec<Snapshot>,
    last_snapshot: u64,
}

struct Snapshot {
    id: u64,
    kept: Kept,
    clock: Clock,
}

impl Maker {
    /// Goes on with `driver`'s chain, and tells its heights.
    pub fn new(driver: Embedded<Ledger>, ledger: Arc<Ledger>, heights: watch::Sender<u64>, rhythm: Rhythm) -> Self {
        let clock = Clock::default();
        Self { driver, ledger, heights, clock, rhythm, made: instant(), snapshots: vec![], last_snapshot: 0 }
    }

    /// Makes one block.
    pub fn block(&mut self) -> Result<usize, Fault> {
        let time = self.next_time();
        let block = self.driver.step(&[], time)?;
        self.made = instant();
        self.heights.send_replace(self.driver.height());
        Ok(block.results.len())
    }

    /// Makes blocks until the ledger cannot go on, or nobody can wake it any more.
    pub fn run(mut self, woken: &Receiver<Wake>) -> Fault {
        let gone = Fault::Order { call: "the embedded driver", why: "the node is shutting down" };
        let mut due = instant();
        loop {
            let woke = match self.rhythm {
                // A developer does not wait until everything is done that waits.
                Rhythm::EachTx if self.ledger.pool().has_ready() => Ok(woken.try_recv().unwrap_or(Wake::Tx)),
                Rhythm::EachTx | Rhythm::OnDemand => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Rhythm::Every(pause) => {
                    // A block that took long does not delay the next one; a long sleep of the machine is not made up
                    // for.
                    due = due.max(instant().checked_sub(pause).unwrap_or(due));
                    woken.recv_timeout((due + pause).saturating_duration_since(instant()))
                }
            };
            let made = match (woke, self.rhythm) {
                (Ok(Wake::Command(command, tell)), _) => {
                    let done = self.command(command);
                    let fault = match &done {
                        Err(Failed::Fault(fault)) => Some(fault.to_string()),
                        _ => None,
                    };
                    let told = done.map_err(|failed| match failed {
                        Failed::Fault(fault) => fault.to_string(),
                        Failed::Refused(why) => why,
                    });
                    let _ = tell.send(told);
                    match fault {
                        Some(why) => return Fault::Evm(why),
                        None => continue,
                    }
                }
                (Ok(Wake::Follow(tell)), Rhythm::EachTx) if self.is_unproven() => {
                    let made = self.block().map(|_| 1);
                    let _ = tell.send(());
                    made
                }
                // Otherwise there is one soon, or a developer wants none: the sender is told by dropping it.
                (Ok(Wake::Follow(_)), _) => continue,
                (Ok(Wake::Tx), Rhythm::EachTx) if self.ledger.pool().has_ready() => self.block(),
                (Ok(Wake::Tx), _) => continue,
                (Err(RecvTimeoutError::Timeout), Rhythm::Every(pause)) => {
                    due += pause;
                    self.block().map(|_| 1)
                }
                (Err(RecvTimeoutError::Timeout), _) => continue,
                (Err(RecvTimeoutError::Disconnected), _) => return gone,
            };
            match made {
                Ok(0) => thread::sleep(PAUSE),
                Ok(_) => {}
                Err(fault) => return fault,
            }
        }
    }

    /// Whether the last block did something that no header commits to yet, or is old.
    fn is_unproven(&self) -> bool {
        let busy = self.ledger.head().is_some_and(|head| head.header.gas_used > 0);
        busy || self.ledger.parent().is_none() || instant().duration_since(self.made) >= FOLLOWED
    }

    fn command(&mut self, command: Command) -> Result<Done, Failed> {
        match command {
            Command::Mine { blocks, time, interval } => {
                if let Some(time) = time {
                    self.clock.set_next(time, self.driver.time()).map_err(Failed::Refused)?;
                }
                for block in 0..blocks {
                    if block > 0 && interval > 0 {
                        let next = self.driver.time().seconds().saturating_add(interval);
                        self.clock.set_next(next, self.driver.time()).map_err(Failed::Refused)?;
                    }
                    self.block()?;
                }
                Ok(Done::It)
            }
            Command::IncreaseTime(seconds) => Ok(Done::Number(self.clock.advance(seconds))),
            Command::SetNextTime(seconds) => {
                self.clock.set_next(seconds, self.driver.time()).map_err(Failed::Refused)?;
                Ok(Done::It)
            }
            Command::Snapshot => {
                self.last_snapshot += 1;
                let (id, kept) = (self.last_snapshot, self.driver.kept().map_err(Fault::from)?);
                self.snapshots.push(Snapshot { id, kept, clock: self.clock.clone() });
                if self.snapshots.len() > MAX_SNAPSHOTS {
                    self.snapshots.remove(0);
                }
                self.pin();
                Ok(Done::Number(id))
            }
            Command::Revert(id) => {
                let Some(at) = self.snapshots.iter().position(|snapshot| snapshot.id == id) else {
                    return Ok(Done::Nothing);
                };
                // As with anvil and Hardhat: the snapshot and those after it are used up.
                let Some(snapshot) = self.snapshots.drain(at..).next() else { return Ok(Done::Nothing) };
                self.driver.go_back(snapshot.kept)?;
                self.clock = snapshot.clock;
                self.made = instant();
                self.pin();
                self.heights.send_replace(self.driver.height());
                Ok(Done::It)
            }
            Command::Change(change) => {
                let time = self.next_time();
                self.driver.change(&change, time)?;
                self.made = instant();
                self.heights.send_replace(self.driver.height());
                Ok(Done::It)
            }
            Command::Automine(on) => {
                self.rhythm = if on { Rhythm::EachTx } else { Rhythm::OnDemand };
                Ok(Done::It)
            }
        }
    }

    /// What the oldest snapshot needs is not forgotten.
    fn pin(&self) {
        self.ledger.pin(self.snapshots.first().map(|snapshot| snapshot.kept.height()));
    }

    fn next_time(&mut self) -> Time {
        let passed = instant().saturating_duration_since(self.made);
        let moment = self.clock.moment(self.driver.time(), now(), passed);
        if let Some(said) = moment.said {
            tracing::warn!("{said}");
        }
        moment.time
    }
}

/// Why a command was not done.
enum Failed {
    /// It makes no sense.
    Refused(String),
    /// The ledger cannot go on.
    Fault(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
fn instant() -> Instant {
    Instant::now()
}

/// What the machine's clock says.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
