//! Computes what contracts ask, as an evaluator: opens this node's half, and asks this node for it as a consumer would, at the same
//! time and under the same name as the other evaluator does. One request at a time; what fails is tried again, and costs nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use sahara_market::request::{ANSWER_TIME, Binding, Sealed};
use sahara_mpc::client::{Client, ClientError, ClientOptions, Committee, OneHalf};
use sahara_mpc::identity::{self, PublicKey};
use sahara_mpc::transcript::input_commitment;
use sahara_mpc::wire::FailCode;

use super::book::Book;
use super::half::{self, Half};
use super::seal::Context;
use super::slip::{self, Wanted};

/// Seconds of one attempt's time: both evaluators find the attempt's number by their clocks.
const WINDOW: u64 = 60;
/// The attempts of an hour, by their windows.
const ATTEMPTS: [u64; 9] = [0, 1, 2, 4, 8, 16, 32, 48, 56];
/// Until the other evaluator is there, an attempt is made again, for so long.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long the second evaluator waits under one name.
const TURN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(300);

/// Computes for one node.
pub struct Work {
    node: PublicKey,
    committees: Vec<Committee>,
    book: Arc<Book>,
    /// The window of the last attempt at each, and how many there were.
    attempted: BTreeMap<B256, (u64, u32)>,
}

impl Work {
    /// For the node with this key, in its committees.
    pub fn new(node: PublicKey, committees: Vec<Committee>, book: Arc<Book>) -> Self {
        Self { node, committees, book, attempted: BTreeMap::new() }
    }

    /// The next request, if one is due.
    pub fn round(&mut self, now: u64) {
        let mut waiting = self.book.to_do();
        self.attempted.retain(|id, _| waiting.iter().any(|(wanted, _)| wanted.id == *id));
        // What failed before comes after what is new: whoever asks nonsense holds up nobody.
        waiting.sort_by_key(|(wanted, _)| self.attempted.get(&wanted.id).map_or(0, |(_, attempts)| *attempts));
        for (wanted, sealed) in waiting {
            let begun = wanted.request.until.saturating_sub(ANSWER_TIME);
            let window = now.saturating_sub(begun) / WINDOW;
            if !ATTEMPTS.contains(&window) || self.attempted.get(&wanted.id).is_some_and(|(last, _)| *last == window) {
                continue;
            }
            let Some((committee, own)) = self.seat(&wanted).map(|(committee, own)| (committee.clone(), own)) else {
                self.book.give_up_hope(wanted.id);
                continue;
            };
            let evaluators = wanted.task.assignment.evaluators();
            let Some(role) = evaluators.iter().position(|index| *index == own) else {
                continue; // the helper is asked when the receipt is signed
            };
            let attempts = self.attempted.get(&wanted.id).map_or(0, |(_, attempts)| *attempts);
            self.attempted.insert(wanted.id, (window, attempts + 1));
            let request = wanted.id;
            let opened = match self.open(&wanted, &sealed, role) {
                Ok(half) => half,
                Err(why) => {
                    tracing::warn!(%request, why, "a contract's request cannot be answered");
                    self.book.give_up_hope(wanted.id);
                    continue;
                }
            };
            let at = begun + window * WINDOW;
            tracing::info!(%request, attempt = window, "a contract's request is computed");
            match attempt(&self.book, &committee, own, role, (&wanted, &sealed), &opened, (window, at)) {
                Ok(()) => tracing::info!(%request, "a contract's request is answered"),
                Err(error) => tracing::warn!(%request, %error, "a contract's request is not answered yet"),
            }
            return;
        }
    }

    fn seat(&self, wanted: &Wanted) -> Option<(&Committee, u8)> {
        let committee = self.committees.iter().find(|committee| committee.digest() == wanted.committee.digest.0)?;
        Some((committee, committee.index_of(&self.node)?))
    }

    /// What was sealed to this node for this very request, if it is what the head of it says.
    fn open(&self, wanted: &Wanted, sealed: &Sealed, role: usize) -> Result<Half, &'static str> {
        let context = Context::new(self.book.domain(), &Binding::of(&wanted.request), sealed);
        let part = sealed.parts.get(role).ok_or("the role is none")?;
        let bytes = self.book.keys.unseal(part.epoch, &context, role as u8, &part.bytes);
        let bytes = bytes.ok_or("it is not sealed to this node, or not for this request, or too long ago")?;
        let half = half::decode(&bytes).map_err(|_| "what is sealed is no half of an input")?;
        if identity::from_secret(&half.secret).public().0 != sealed.asker {
            return Err("what is sealed is another key than the one that asks");
        }
        if input_commitment(half.salt.as_bytes(), role, &half.share) != sealed.inputs[role] {
            return Err("what is sealed is another half than was committed to");
        }
        Ok(half)
    }
}

/// One attempt: until the other evaluator is there, too. Nothing is made for it before that, as what was sealed to the other one may be
/// nonsense: the first evaluator asks with a pack that is ready, and only if there is none, which it hears when they have met, it has one
/// made, for a second name. The second evaluator waits under both names in turn; a job that was opened goes on when it does not.
fn attempt(
    book: &Book,
    committee: &Committee,
    own: u8,
    role: usize,
    (wanted, sealed): (&Wanted, &Sealed),
    half: &Half,
    (number, at): (u64, u64),
) -> Result<(), ClientError> {
    let seconds = u32::try_from(at).unwrap_or(u32::MAX);
    let names = [0, 1].map(|name| slip::job(wanted.id, 2 * number as u32 + name, seconds));
    let voucher = slip::voucher(wanted.id);
    let mut options = ClientOptions::default();
    if role == 1 {
        options.job_timeout = TURN;
    }
    let client = Client::new(identity::from_secret(&half.secret), committee.clone(), options);
    let (task, inputs) = (wanted.task, sealed.inputs);
    let end = Instant::now() + PATIENCE;
    let mut name = 0;
    loop {
        let one = OneHalf { job: names[name], task, inputs, salt: &half.salt, share: &half.share, voucher: &voucher };
        let error = match client.ask_one(own, &one) {
            Ok(()) => return Ok(()),
            Err(_) if book.is_done(wanted.id) => return Ok(()),
            Err(error) => error,
        };
        if Instant::now() >= end {
            return Err(error);
        }
        tracing::info!(request = %wanted.id, %error, "an attempt is made again");
        if role == 1 {
            name = 1 - name;
        } else if name == 0 && error.code() == Some(FailCode::NoPack) {
            name = 1;
            client.prepare_job(&task, names[1])?;
            continue;
        }
        std::thread::sleep(PAUSE);
    }
}
