//! How the thread that uses a channel learns that QUIC's own threads have something for it: a waker that wakes a thread, or, at the
//! door, rings a bell that can be polled with sockets.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Instant;

use super::super::transport::Closing;

/// Wakes the one thread that waits.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rung: bool,
    /// Another thread has ended the channel.
    closed: bool,
    /// Rung, too, as long as the channel is at the door.
    bell: Option<Arc<Bell>>,
}

impl Signal {
    /// A signal that has rung already: there is a first time to look. At the door, its bell has, too.
    pub(super) fn at(bell: Option<Arc<Bell>>) -> Arc<Self> {
        let signal = Arc::new(Self::default());
        signal.lock().bell = bell;
        signal.ring(false);
        signal
    }

    /// Forgets what was rung before: whoever polls next sees what it was for.
    pub(super) fn clear(&self) {
        self.lock().rung = false;
    }

    pub(super) fn has_rung(&self) -> bool {
        self.lock().rung
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The channel has left the door.
    pub(super) fn leave_door(&self) {
        self.lock().bell = None;
    }

    /// Waits until it is rung, but not after `until`; says whether it was.
    pub(super) fn wait(&self, until: Instant) -> bool {
        let mut state = self.lock();
        while !state.rung {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn ring(&self, close: bool) {
        let bell = {
            let mut state = self.lock();
            state.rung = true;
            state.closed |= close;
            state.bell.clone()
        };
        self.changed.notify_one();
        if let Some(bell) = bell {
            bell.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.ring(false);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring(false);
    }
}

impl Closing for Signal {
    /// What was sent before still arrives: the thread that uses the channel ends it.
    fn close(&self) {
        self.ring(true);
    }
}

/// A bell that can be polled like a socket.
pub(super) struct Bell {
    rings: UnixStream,
    heard: UnixStream,
}

impl Bell {
    pub(super) fn new() -> std::io::Result<Self> {
        let (rings, heard) = UnixStream::pair()?;
        rings.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Self { rings, heard })
    }

    pub(super) fn ring(&self) {
        let _ = (&self.rings).write(&[1]); // a full one rings already
    }

    /// What to poll.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }

    /// Rings no more until it is rung again.
    pub(super) fn quieten(&self) {
        let mut rings = [0; 256];
        loop {
            match (&self.heard).read(&mut rings) {
                Ok(read) if read == rings.len() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_rung_before_the_wait_is_not_missed_and_silence_ends_in_time() {
        let bell = Arc::new(Bell::new().unwrap());
        let signal = Signal::at(Some(bell.clone()));
        let soon = || Instant::now() + Duration::from_millis(50);
        assert!(signal.has_rung() && (&bell.heard).read(&mut [0; 8]).unwrap() == 1, "there is a first time to look");
        signal.clear();
        assert!(!signal.wait(soon()));
        signal.wake_by_ref();
        assert!(signal.has_rung() && signal.wait(Instant::now()) && signal.wait(soon()), "until it is cleared");
        signal.clear();
        let waking = signal.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                waking.close();
            });
            assert!(signal.wait(Instant::now() + Duration::from_secs(10)));
        });
        assert!(signal.is_closed());
        let mut byte = [0; 1];
        (&bell.heard).read_exact(&mut byte).unwrap();
        signal.ring(false);
        bell.quieten();
        assert_eq!((&bell.heard).read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
        signal.leave_door();
        signal.ring(false);
        assert_eq!((&bell.heard).read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
