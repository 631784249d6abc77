//! What a request may cost: bytes of its answer, which are charged while it is written, and work. All that is under way
//! at once draws on one account of bytes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::error::{self, RpcError, RpcResult};

/// Larger requests are refused: a transaction has 128 kB, as hexadecimal twice that, and batches exist. Geth has the same.
pub const MAX_REQUEST: usize = 5 << 20;

/// What the node grants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one answer; of a batch, of all its answers together.
    pub answer: usize,
    /// Bytes of all requests and answers under way.
    pub total: usize,
    /// Those of one address, unless it is this machine.
    pub total_of_one: usize,
    /// Work of one request or batch, in gas: what the machine spends, and for what is read as much as it takes time.
    pub work: u64,
    /// How long one request or batch is worked on before it is given up.
    pub time: Duration,
    /// Questions at once that run the machine or read many blocks.
    pub heavy: usize,
    /// Other questions at once.
    pub light: usize,
    /// Clients at once.
    pub connections: usize,
    /// Clients at once from one address, unless it is this machine.
    pub connections_of_one: usize,
    /// Clients on this machine count like those of any other address. A proxy on it speaks for many, so they do not.
    pub loopback_counts: bool,
    /// How long a client may say nothing in the middle of what it says; a whole request has twice that.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: 32 << 20,
            total: 256 << 20,
            total_of_one: 128 << 20,
            work: 1_000_000_000,
            time: Duration::from_secs(30),
            heavy: std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
            light: 32,
            connections: 500,
            connections_of_one: 100,
            loopback_counts: false,
            patience: Duration::from_secs(15),
        }
    }
}

/// Work of reading a header, in gas.
pub const HEADER: u64 = 5_000;
/// Work of reading a block, in gas; its content is charged by what it weighs.
pub const BLOCK: u64 = 20_000;
/// Work of reading or writing a value of the state, in gas.
pub const VALUE: u64 = 5_000;

/// Bytes that are asked of the common account at once.
const STEP: usize = 64 << 10;

/// The bytes of everything that is under way.
#[derive(Debug)]
pub struct Flight {
    left: AtomicUsize,
    total: usize,
    whose: &'static str,
}

impl Flight {
    /// Nothing is on the way yet, and `total` bytes may be.
    pub fn new(total: usize) -> Arc<Self> {
        Self::of("all together", total)
    }

    /// What one client or address may have of it; `whose` says so in refusals.
    pub fn of(whose: &'static str, total: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(total), total, whose })
    }

    /// Bytes that nobody has reserved.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn take(&self, more: usize) -> RpcResult<()> {
        let taken = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(more));
        taken.map(|_| ()).map_err(|_| {
            error::limit(format!(
                "the node is busy: requests and answers under way have the {} bytes that {} may have, ask again later",
                self.total, self.whose
            ))
        })
    }

    fn give_back(&self, less: usize) {
        self.left.fetch_add(less, Ordering::AcqRel);
    }
}

/// A part of what may be under way; given back when it is dropped.
#[derive(Debug)]
pub struct Reserved {
    flights: Vec<Arc<Flight>>,
    bytes: usize,
}

/// Nothing reserved yet; what is reserved is taken from each.
impl From<Vec<Arc<Flight>>> for Reserved {
    fn from(flights: Vec<Arc<Flight>>) -> Self {
        Self { flights, bytes: 0 }
    }
}

impl Reserved {
    /// Reserves `more` bytes.
    pub fn grow(&mut self, more: usize) -> RpcResult<()> {
        for (index, flight) in self.flights.iter().enumerate() {
            if let Err(e) = flight.take(more) {
                self.flights.iter().take(index).for_each(|taken| taken.give_back(more));
                return Err(e);
            }
        }
        self.bytes += more;
        Ok(())
    }

    /// Nothing yet, of the same accounts.
    pub fn another(&self) -> Self {
        Self::from(self.flights.clone())
    }

    /// Gives `less` bytes back.
    fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.bytes -= less;
        self.flights.iter().for_each(|flight| flight.give_back(less));
    }

    /// What is reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// The answer of one request or batch, and what it may still cost.
#[derive(Debug)]
pub struct Budget {
    out: Vec<u8>,
    reserved: Reserved,
    limit: usize,
    work: u64,
    granted: u64,
    until: Instant,
    time: Duration,
    failed: Option<RpcError>,
    /// Subscriptions that this answer tells the names of.
    pub(super) subscribed: Vec<String>,
}

impl Budget {
    /// Within `limits`, and what may still be under way of all `flights`.
    pub fn new(flights: Vec<Arc<Flight>>, limits: &Limits) -> Self {
        Self {
            out: Vec::new(),
            reserved: flights.into(),
            limit: limits.answer,
            work: limits.work,
            granted: limits.work,
            until: now() + limits.time,
            time: limits.time,
            failed: None,
            subscribed: vec![],
        }
    }

    /// Adds `text` to the answer.
    pub fn text(&mut self, text: &str) -> RpcResult<()> {
        self.room_for(text.len())?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Adds `value` to the answer, as JSON.
    pub fn json(&mut self, value: &(impl Serialize + ?Sized)) -> RpcResult<()> {
        match serde_json::to_writer(&mut *self, value) {
            Ok(()) => Ok(()),
            Err(e) => Err(self.failed.take().unwrap_or_else(|| error::server(format!("writing the answer: {e}")))),
        }
    }

    /// Adds a list: `item` writes each of `items`.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Self, T) -> RpcResult<()>,
    ) -> RpcResult<()> {
        self.text("[")?;
        for (index, one) in items.into_iter().enumerate() {
            if index > 0 {
                self.text(",")?;
            }
            item(self, one)?;
        }
        self.text("]")
    }

    /// Charges `units` of work, and asks the clock.
    pub fn work(&mut self, units: u64) -> RpcResult<()> {
        if now() > self.until {
            return Err(error::limit(format!("execution aborted (timeout = {}s)", self.time.as_secs())));
        }
        self.work = self.work.checked_sub(units).ok_or_else(|| {
            error::limit(format!(
                "this request needs more work than the {} gas that a request or batch may have, ask for less",
                self.granted
            ))
        })?;
        Ok(())
    }

    /// Bytes that the answer may still have.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.out.len())
    }

    /// Reserves all the room that is left, for what is written elsewhere first.
    pub fn borrow(&mut self) -> RpcResult<Borrowed> {
        let mut part = self.reserved.another();
        part.grow(self.room())?;
        Ok(Borrowed(part))
    }

    /// Where the answer stands.
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written since `mark`.
    pub fn undo(&mut self, mark: usize) {
        self.out.truncate(mark);
        self.failed = None;
    }

    /// Adds the little that every answer has around it, beyond the limit if need be.
    pub fn frame(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// The finished answer.
    pub fn finish(self) -> Answer {
        Answer { text: self.out, reserved: self.reserved, subscribed: self.subscribed }
    }

    fn room_for(&mut self, more: usize) -> RpcResult<()> {
        let length = self.out.len().saturating_add(more);
        if length > self.limit {
            return Err(error::too_large(self.limit));
        }
        if length > self.reserved.bytes() {
            // The first answer is short as a rule; a long one grows by half, so that copies stay few.
            let step = more.max(STEP).max(self.out.len() / 2).min(self.limit.max(more));
            self.reserved.grow(step)?;
            self.out.reserve_exact(step);
        }
        Ok(())
    }
}

impl io::Write for Budget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.room_for(bytes.len()) {
            Ok(()) => {
                self.out.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Err(e) => {
                self.failed = Some(e);
                Err(io::Error::other("over the budget"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that are reserved for what is written elsewhere first.
pub struct Borrowed(Reserved);

impl Borrowed {
    /// How many.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// An answer on its way; its bytes count until it is dropped.
#[derive(Debug)]
pub struct Answer {
    /// What is sent.
    pub text: Vec<u8>,
    pub(super) reserved: Reserved,
    pub(super) subscribed: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "how long a question takes is of no concern to the ledger")]
pub fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(answer: usize, total: usize) -> Limits {
        Limits { answer, total, work: 100, ..Limits::default() }
    }

    #[test]
    fn an_answer_is_refused_where_it_would_become_too_long() {
        let limits = limits(10, 1 << 20);
        let flight = Flight::new(limits.total);
        let mut budget = Budget::new(vec![flight.clone()], &limits);
        budget.text("12345").unwrap();
        let mark = budget.mark();
        let error = budget.json(&vec!["too long"; 1_000]).unwrap_err();
        assert!(error.message.contains("10 bytes at most"), "{error:?}");
        assert!(budget.mark() <= 10, "nothing is written beyond the limit");
        budget.undo(mark);
        budget.text("67890").unwrap();
        assert_eq!(budget.finish().text, b"1234567890");
    }

    #[test]
    fn all_answers_together_have_one_account() {
        let limits = limits(200 << 10, 256 << 10);
        let flight = Flight::new(limits.total);
        let long = "x".repeat(190 << 10);
        let mut first = Budget::new(vec![flight.clone()], &limits);
        first.text(&long).unwrap();
        let mut second = Budget::new(vec![flight.clone()], &limits);
        let error = second.text(&long).unwrap_err();
        assert_eq!(error.code, error::LIMIT);
        assert!(error.message.contains("262144 bytes"), "{error:?}");
        // An answer on its way still counts; one that has gone does not.
        let answer = first.finish();
        assert!(second.text(&long).is_err());
        drop(answer);
        second.text(&long).unwrap();
        assert!(Budget::new(vec![flight.clone()], &limits).borrow().is_err(), "what is borrowed counts as well");
        drop(second);
        assert_eq!(flight.left(), limits.total);
    }

    #[test]
    fn work_ends() {
        let limits = limits(10, 10);
        let mut budget = Budget::new(vec![Flight::new(10)], &limits);
        budget.work(60).unwrap();
        let error = budget.work(60).unwrap_err();
        assert!(error.message.contains("100 gas"), "{error:?}");
        let late = Limits { time: Duration::ZERO, ..limits };
        let mut budget = Budget::new(vec![Flight::new(10)], &late);
        std::thread::sleep(Duration::from_millis(2));
        assert!(budget.work(0).unwrap_err().message.contains("timeout"));
    }

    #[test]
    fn one_address_has_its_part_of_the_account() {
        let (all, own) = (Flight::new(1_000), Flight::of("one address", 400));
        let mut first = Reserved::from(vec![all.clone(), own.clone()]);
        first.grow(300).unwrap();
        let mut second = first.another();
        let error = second.grow(200).unwrap_err();
        assert!(error.message.contains("400 bytes that one address"), "{error:?}");
        assert_eq!((all.left(), own.left()), (700, 100), "what is refused takes nothing from anybody");
        Reserved::from(vec![all.clone()]).grow(700).unwrap();
        drop(first);
        assert_eq!((all.left(), own.left()), (1_000, 400));
    }

    #[test]
    fn what_is_reserved_grows_by_half_and_not_before_it_must() {
        let limits = limits(8 << 20, 16 << 20);
        let flight = Flight::new(limits.total);
        let taken = || limits.total - flight.left();
        let mut budget = Budget::new(vec![flight.clone()], &limits);
        budget.text(&"x".repeat(STEP)).unwrap();
        budget.text("").unwrap();
        assert_eq!(taken(), STEP);
        budget.text(&"x".repeat(1 << 20)).unwrap();
        let long = STEP + (1 << 20);
        assert_eq!(taken(), long);
        budget.text("x").unwrap();
        assert_eq!(taken(), long + long / 2);
        let lent = budget.borrow().unwrap();
        assert_eq!(lent.bytes(), (8 << 20) - long - 1, "all the room that is left");
        assert_eq!(taken(), long + long / 2 + lent.bytes());
        let mut part = budget.reserved.another();
        part.grow(10).unwrap();
        part.shrink(4);
        assert_eq!(part.bytes(), 6);
        part.shrink(100);
        drop((part, lent, budget));
        assert_eq!(taken(), 0, "nobody gives back more than it had");
    }

    #[test]
    fn a_list_is_json_and_a_frame_goes_beyond_the_limit() {
        let limits = limits(7, 1 << 20);
        let mut budget = Budget::new(vec![Flight::new(limits.total)], &limits);
        budget.list([1, 2, 3], |budget, one| budget.json(&one)).unwrap();
        assert!(budget.text("x").is_err());
        budget.frame("}");
        assert_eq!(budget.finish().text, b"[1,2,3]}");
    }
}
