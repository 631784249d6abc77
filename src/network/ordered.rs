//! Runs jobs side by side on a few threads and hands their results on in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::error::Result;

/// Calls `work(0..count)` on up to `threads` threads; `sink` gets the results in order, on this thread. The first
/// error, of a job or of the sink, ends everything once the running jobs have ended.
pub fn in_order<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    mut sink: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            let sender = sender.clone();
            let (next, stop, work) = (&next, &stop, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || sender.send((index, work(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let done = drain(&receiver, &mut sink);
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn drain<T>(receiver: &mpsc::Receiver<(usize, Result<T>)>, sink: &mut impl FnMut(T) -> Result<()>) -> Result<()> {
    let mut waiting = BTreeMap::new();
    let mut due = 0;
    for (index, result) in receiver {
        waiting.insert(index, result?);
        while let Some(result) = waiting.remove(&due) {
            sink(result)?;
            due += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::time::Duration;

    #[test]
    fn results_come_in_order_whatever_finishes_first() {
        let mut seen = Vec::new();
        let slow_first = |index: usize| {
            thread::sleep(Duration::from_millis(if index == 0 { 50 } else { 1 }));
            Ok(index * 10)
        };
        in_order(7, 3, slow_first, |value| {
            seen.push(value);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [0, 10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn an_error_of_a_job_or_the_sink_ends_it() {
        let started = AtomicUsize::new(0);
        let work = |index: usize| {
            started.fetch_add(1, Ordering::Relaxed);
            if index == 2 { Err(Error::sink("third")) } else { Ok(index) }
        };
        assert_eq!(in_order(usize::MAX / 2, 2, work, |_| Ok(())).unwrap_err().to_string(), "third");
        assert!(started.load(Ordering::Relaxed) < usize::MAX / 2);
        let full = in_order(10, 2, Ok, |_| Err(Error::sink("full")));
        assert_eq!(full.unwrap_err().to_string(), "full");
        in_order(0, 4, Ok, |_: usize| Ok(())).unwrap();
    }
}
