//! Computes what contracts ask, as an evaluator: opens this node's half, and asks this node for it as a consumer would, at the same
//! time and under the same name as the other evaluator does. Many requests wait for their other evaluator at the same time; what fails
//! is tried again, and costs nothing else.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use sahara_market::request::{Binding, Sealed};
use sahara_mpc::client::{Client, ClientError, ClientOptions, Committee, OneHalf};
use sahara_mpc::identity::{self, PublicKey};
use sahara_mpc::manifest::SignedManifest;
use sahara_mpc::transcript::input_commitment;
use sahara_mpc::wire::{FailCode, ManifestId, Task};

use super::book::Book;
use super::half::{self, Half};
use super::seal::Context;
use super::slip::{self, Misfit, Wanted};
use super::turns::{Turn, Turns};

/// How long the other evaluator is waited for: by the first, until both have met; by the second, which does not know whether they have,
/// and by the first after that, as a pack may have to be made.
const MEETING: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the second evaluator waits under one name.
const TURN: Duration = Duration::from_secs(5);
/// Pauses between two questions, at first and at most.
const PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Manifests that are remembered.
const MOST_MANIFESTS: usize = 256;

/// A request, and whether an attempt at it was good for anything.
type Ended = (B256, bool);

/// Computes for one node.
pub struct Work {
    node: PublicKey,
    committees: Vec<Committee>,
    book: Arc<Book>,
    turns: Turns,
    manifests: Arc<Mutex<BTreeMap<ManifestId, SignedManifest>>>,
    /// Attempts that are over.
    ended: Receiver<Ended>,
    ending: Sender<Ended>,
}

/// Tells that an attempt is over, however it ends.
struct Ending(Sender<Ended>, B256, bool);

impl Ending {
    /// It was good for something.
    fn answered(&mut self) {
        self.2 = true;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Whoever counts attempts is gone only when the process is.
        let _ = self.0.send((self.1, self.2));
    }
}

impl Work {
    /// For the node with this key, in its committees.
    pub fn new(node: PublicKey, committees: Vec<Committee>, book: Arc<Book>) -> Self {
        let (turns, manifests) = Default::default();
        let (ending, ended) = channel();
        Self { node, committees, book, turns, manifests, ended, ending }
    }

    /// Begins what is due, each in a thread of its own.
    pub fn round(&mut self, now: u64) {
        for (id, answered) in self.ended.try_iter() {
            self.turns.ended(id, answered, now);
        }
        let (book, node) = (self.book.clone(), self.node);
        let mut waiting = book.to_do();
        // The helper is asked when the receipt is signed.
        waiting.retain(|(wanted, _)| match self.seat(wanted) {
            Some((_, own)) => wanted.task.assignment.evaluators().contains(&own),
            None => {
                tracing::warn!(request = %wanted.id, %node, "a contract's request is for a committee that is not served here");
                book.give_up_hope(wanted.id);
                false
            }
        });
        for turn in self.turns.begin(waiting, now) {
            self.start(turn);
        }
    }

    fn start(&self, turn: Turn) {
        let Turn { wanted, sealed, attempt: (number, at) } = turn;
        let request = wanted.id;
        let mut ending = Ending(self.ending.clone(), request, false);
        let Some((committee, own)) = self.seat(&wanted).map(|(committee, own)| (committee.clone(), own)) else {
            return;
        };
        let Some(role) = wanted.task.assignment.evaluators().iter().position(|index| *index == own) else { return };
        let opened = match self.open(&wanted, &sealed, role) {
            Ok(half) => half,
            Err(why) => {
                tracing::warn!(%request, why, "a contract's request cannot be answered");
                return self.book.give_up_hope(request);
            }
        };
        let (book, manifests) = (self.book.clone(), self.manifests.clone());
        let attempt = Attempt { book, committee, own, role, wanted, sealed, half: opened };
        let run = move || {
            if let Err(why) = attempt.is_permitted(&manifests) {
                tracing::warn!(%request, why, "a contract's request cannot be answered");
                return attempt.book.give_up_hope(request);
            }
            tracing::info!(%request, attempt = number, "a contract's request is computed");
            match attempt.run(number, at) {
                Ok(()) => {
                    ending.answered();
                    tracing::info!(%request, "a contract's request is answered");
                }
                Err(error) => {
                    tracing::warn!(%request, %error, "a contract's request is not answered yet");
                    attempt.book.in_vain(request);
                }
            }
        };
        // What does not start is tried in the next window.
        if let Err(error) = thread::Builder::new().name("request".to_owned()).spawn(run) {
            tracing::warn!(%request, %error, "no thread computes a contract's request now");
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

/// One evaluator's side of an attempt at a request.
struct Attempt {
    book: Arc<Book>,
    committee: Committee,
    own: u8,
    role: usize,
    wanted: Arc<Wanted>,
    sealed: Arc<Sealed>,
    half: Half,
}

impl Attempt {
    fn client(&self) -> Client {
        let mut options = ClientOptions::default();
        if self.role == 1 {
            options.job_timeout = TURN;
        }
        Client::new(identity::from_secret(&self.half.secret), self.committee.clone(), options)
    }

    /// Whether the owner of the sharing permits what is asked: what it does not permit is never computed, and nobody waits for it.
    fn is_permitted(&self, known: &Mutex<BTreeMap<ManifestId, SignedManifest>>) -> Result<(), &'static str> {
        let (task, lock) = (self.wanted.task, || known.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(signed) = lock().get(&task.manifest) {
            return permits(signed, &task);
        }
        // What this node does not tell now it refuses later, by itself.
        let Ok(Some(signed)) = self.client().manifest_at(self.own, task.manifest) else { return Ok(()) };
        let permitted = permits(&signed, &task);
        let mut known = lock();
        if known.len() >= MOST_MANIFESTS {
            known.clear();
        }
        known.insert(task.manifest, signed);
        permitted
    }

    /// Until the other evaluator is there, too. Nothing is made for it before that, as what was sealed to the other one may be nonsense:
    /// the first evaluator asks with a pack that is ready, and only if there is none, which it hears when they have met, it has one
    /// made, for a second name. The second evaluator waits under both names in turn; a job that was opened goes on when it does not.
    fn run(&self, number: u64, at: u64) -> Result<(), ClientError> {
        let (request, seconds) = (self.wanted.id, u32::try_from(at).unwrap_or(u32::MAX));
        let names = [0, 1].map(|name| slip::job(request, 2 * number as u32 + name, seconds));
        let (client, voucher) = (self.client(), slip::voucher(request));
        let (task, inputs) = (self.wanted.task, self.sealed.inputs);
        let (salt, share) = (&self.half.salt, &self.half.share);
        let began = Instant::now();
        let mut end = began + if self.role == 0 { MEETING } else { PATIENCE };
        let (mut name, mut pause) = (0, PAUSE);
        loop {
            let one = OneHalf { job: names[name], task, inputs, salt, share, voucher: &voucher };
            let error = match client.ask_one(self.own, &one) {
                Ok(()) => return Ok(()),
                Err(_) if self.book.is_done(request) => return Ok(()),
                Err(error) => error,
            };
            if Instant::now() >= end || is_final(&error) {
                return Err(error);
            }
            tracing::debug!(%request, %error, "an attempt is made again");
            if self.role == 1 {
                name = 1 - name;
            } else if name == 0 && error.code() == Some(FailCode::NoPack) {
                (name, end) = (1, began + PATIENCE);
                client.prepare_job(&task, names[1])?;
                continue;
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// Whether waiting within the attempt's time changes nothing.
fn is_final(error: &ClientError) -> bool {
    matches!(error.code(), Some(FailCode::NoModel)) || matches!(error, ClientError::Request(_))
}

fn permits(signed: &SignedManifest, task: &Task) -> Result<(), &'static str> {
    match slip::misfit(signed.manifest(), task) {
        None => Ok(()),
        Some(Misfit::Graph) => {
            Err("it asks for a graph that the shared model does not have: the owner let contracts ask another model's")
        }
        Some(Misfit::Roles) => Err("it asks with roles that the shared model is not for"),
    }
}
