//! How what is dealt leaves the coroutine that deals it: a chunk at a time, whenever somebody asks for the next.

use std::future::poll_fn;
use std::mem::swap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use crate::ring::bits::CHUNK;
use crate::ring::secret::{Secret, wipe_whole};

/// Bytes of each chunk of corrections, but for the last.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Bytes that the buffer has room for: a gate may write as much again before it hands out what it has.
pub(crate) const BUFFER_BYTES: usize = 2 * CHUNK_BYTES;

/// Where the coroutine leaves the buffer when it pauses, and finds it when it goes on.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<u8>>>);

impl Outbox {
    /// Exchanges the buffer in the outbox for another.
    pub(crate) fn swap(&self, buffer: &mut Vec<u8>) {
        swap(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), buffer);
    }
}

/// The coroutine's side: what it has written and not yet handed out.
pub(crate) struct Outgoing {
    pub(crate) buffer: Vec<u8>,
    /// Room for the halves of one chunk of words.
    pub(crate) words: Secret<u32>,
    outbox: Outbox,
    handed_out: u64,
}

impl Outgoing {
    /// Takes the buffer that lies in the outbox.
    pub(crate) fn new(outbox: Outbox) -> Self {
        let mut buffer = Vec::new();
        outbox.swap(&mut buffer);
        Self { buffer, words: vec![0; CHUNK].into(), outbox, handed_out: 0 }
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.handed_out + self.buffer.len() as u64
    }

    /// If there is a chunk, pauses until it has been handed out.
    pub(crate) async fn pause(&mut self) {
        if self.buffer.len() < CHUNK_BYTES {
            return;
        }
        let before = self.buffer.len();
        self.outbox.swap(&mut self.buffer);
        let mut asked = false;
        poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        // What is left of it, less than a chunk.
        self.outbox.swap(&mut self.buffer);
        self.handed_out += (before - self.buffer.len()) as u64;
    }

    /// Leaves the rest in the outbox.
    pub(crate) fn finish(mut self) {
        self.outbox.swap(&mut self.buffer);
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        wipe_whole(&mut self.buffer, 0);
    }
}
