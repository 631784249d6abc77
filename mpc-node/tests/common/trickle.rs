//! A node whose bytes somebody carries: at once, or, from some moment on, one now and then.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Between two bytes: far below any time-out.
const PAUSE: Duration = Duration::from_millis(100);

/// A port in front of a node's.
pub struct Trickle {
    pub address: String,
    /// From the first so large piece on, the bytes of a connection come one by one.
    least: Arc<AtomicUsize>,
}

impl Trickle {
    /// Carries the bytes between whoever connects and `node`.
    pub fn start(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let least = Arc::new(AtomicUsize::new(usize::MAX));
        let (node, slow) = (node.to_owned(), least.clone());
        std::thread::spawn(move || {
            for asker in listener.incoming() {
                let (asker, slow) = (asker.unwrap(), slow.clone());
                let Ok(node) = TcpStream::connect(&node) else { continue };
                let halves = (asker.try_clone().unwrap(), node.try_clone().unwrap());
                std::thread::spawn(move || carry(halves.0, halves.1, &AtomicUsize::new(usize::MAX)));
                std::thread::spawn(move || carry(node, asker, &slow));
            }
        });
        Self { address, least }
    }

    /// What the node says comes byte by byte from now on, beginning with a piece of `least` bytes.
    pub fn slow_down(&self, least: usize) {
        self.least.store(least, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, least: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    let mut slow = false;
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        slow |= n >= least.load(Ordering::Relaxed);
        let sent = if slow {
            buffer[..n].chunks(1).try_for_each(|byte| {
                std::thread::sleep(PAUSE);
                to.write_all(byte)
            })
        } else {
            to.write_all(&buffer[..n])
        };
        if sent.is_err() {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}
