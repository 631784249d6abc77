//! Rounds: everything that the gates of an evaluator want opened at the same time travels in one frame.
//!
//! A gate posts its bytes and awaits the peer's bytes at the same place. The awaiting is an ordinary `async`
//! function polled by hand, so a gate reads as straight-line code and stays a deterministic state machine.

use std::future::poll_fn;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use crate::ring::secret::{Secret, make_room};

#[derive(Default)]
struct State {
    outbox: Vec<u8>,
    round: u32,
    received: Option<Arc<Secret<u8>>>,
    /// The node whose gate posted first.
    waiting: Option<u32>,
}

/// The rounds of one evaluator.
#[derive(Default)]
pub(crate) struct Exchange(Mutex<State>);

/// The peer's bytes for what was posted.
pub(crate) struct Received(Arc<Secret<u8>>, Range<usize>);

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[self.1.clone()]
    }
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts the `len` bytes that `write` appends on behalf of node `node`, and waits for as many from the peer.
    pub(crate) async fn round(&self, node: u32, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Received {
        let (round, range) = {
            let mut state = self.lock();
            let start = state.outbox.len();
            make_room(&mut state.outbox, len);
            write(&mut state.outbox);
            debug_assert_eq!(state.outbox.len(), start + len);
            state.waiting.get_or_insert(node);
            (state.round, start..state.outbox.len())
        };
        poll_fn(move |_| {
            let state = self.lock();
            match &state.received {
                Some(bytes) if state.round == round + 1 => Poll::Ready(Received(bytes.clone(), range.clone())),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Takes the frame of this round, if anything was posted, with the node whose gate posted first.
    pub(crate) fn take(&self) -> Option<(Secret<u8>, u32)> {
        let mut state = self.lock();
        let node = state.waiting.take()?;
        Some((std::mem::take(&mut state.outbox).into(), node))
    }

    /// Delivers the peer's frame and opens the next round.
    pub(crate) fn deliver(&self, bytes: Secret<u8>) {
        let mut state = self.lock();
        state.outbox.reserve(bytes.len() / 2);
        state.received = Some(Arc::new(bytes));
        state.round += 1;
    }

    /// Rounds delivered so far.
    pub(crate) fn rounds(&self) -> u32 {
        self.lock().round
    }
}
