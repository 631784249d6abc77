//! Making ready what is not in memory: graphs, plans, weights.
//!
//! It takes processor and disk, and the first message of a request may ask for it. So it counts as dealing of the key that it
//! is done for; one is made after the other, each key's once before any key's twice; and whoever has gone, or finds that
//! another has made it meanwhile, leaves the line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::quota::{Payer, Quotas};
use super::refusal::Trouble;
use super::slots::{GLANCE, Slots};
use crate::meter::thread_cpu_time;
use crate::models::{ModelError, Work};

/// Whose turn it is to make something ready.
pub(super) struct Making {
    plan: Arc<Slots>,
    weights: Arc<Slots>,
    quotas: Arc<Quotas>,
    started: Instant,
}

impl Making {
    /// Nobody waits; time is counted from `started`.
    pub(super) fn new(quotas: Arc<Quotas>, started: Instant) -> Self {
        Self { plan: Slots::new(1), weights: Slots::new(1), quotas, started }
    }

    /// What `make` gives. What it would have to make first it makes for `payer` in its turn, for which `patience` is waited at
    /// most: then, and when it has no room, its own error is the answer.
    ///
    /// # Errors
    /// What `wanted` says, and when the payer has used its time.
    pub(super) fn ready<T>(
        &self,
        payer: impl Into<Payer>,
        patience: Duration,
        wanted: &mut dyn FnMut() -> Result<(), Trouble>,
        make: &mut dyn FnMut(Option<Work>) -> Result<T, ModelError>,
    ) -> Result<Result<T, ModelError>, Trouble> {
        let (payer, end) = (payer.into(), Instant::now() + patience);
        loop {
            let work = match make(None) {
                Err(ModelError::Unready(work)) => work,
                there => return Ok(there),
            };
            self.quotas.may_deal(payer, self.started.elapsed())?;
            let left = end.saturating_duration_since(Instant::now());
            let line = match work {
                Work::Plan => &self.plan,
                Work::Weights => &self.weights,
            };
            let turn = line.take_while(payer.key(), 1, left, GLANCE, || {
                wanted().map_err(Some)?;
                match make(None) {
                    Err(ModelError::Unready(other)) if other == work => Ok(()),
                    _ => Err(None),
                }
            });
            let _turn = match turn {
                Ok(Some(turn)) => turn,
                Err(None) if Instant::now() < end => continue,
                Ok(None) | Err(None) => return Ok(Err(ModelError::Unready(work))),
                Err(Some(trouble)) => return Err(trouble),
            };
            wanted()?;
            // Others of the payer's may have used it up meanwhile.
            self.quotas.may_deal(payer, self.started.elapsed())?;
            let before = thread_cpu_time();
            let made = make(Some(work));
            self.quotas.dealt(payer, thread_cpu_time().saturating_sub(before), self.started.elapsed());
            match made {
                Err(ModelError::Unready(_)) if Instant::now() < end => {}
                made => return Ok(made),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::config::Limits;
    use crate::identity::PublicKey;
    use crate::node::refusal::Refusal;
    use crate::wire::FailCode;

    const LONG: Duration = Duration::from_secs(20);

    fn key(n: u8) -> PublicKey {
        PublicKey([n; 32])
    }

    fn making(dealing_seconds: u32) -> Making {
        Making::new(Quotas::new(&Limits { dealing_seconds, ..Limits::default() }), Instant::now())
    }

    fn refusal(trouble: Trouble) -> Refusal {
        match trouble {
            Trouble::Refusal(refusal) => refusal,
            Trouble::Lane(error) => panic!("{error}"),
        }
    }

    fn work(time: Duration) {
        let end = thread_cpu_time() + time;
        while thread_cpu_time() < end {}
    }

    #[test]
    fn what_is_made_counts_as_dealing_of_its_key_and_what_is_there_does_not() {
        let making = making(1);
        let make = |key, leave_costs: u64| {
            making.ready(key, LONG, &mut || Ok(()), &mut |leave| match leave {
                None => Err::<(), _>(ModelError::Unready(Work::Weights)),
                Some(Work::Weights) => {
                    work(Duration::from_millis(leave_costs));
                    Ok(())
                }
                Some(Work::Plan) => panic!("not what was asked for"),
            })
        };
        make(key(1), 600).ok().unwrap().unwrap();
        make(key(1), 600).ok().unwrap().unwrap();
        let refused = refusal(make(key(1), 0).err().unwrap());
        assert!(refused.code == FailCode::Busy && refused.text.contains("limits.dealing_seconds"), "{}", refused.text);
        make(key(2), 0).ok().unwrap().unwrap();
        let there = making.ready(key(1), LONG, &mut || Ok(()), &mut |_| Ok(7));
        assert_eq!(there.ok().unwrap().unwrap(), 7, "in memory: free");
    }

    #[test]
    fn who_has_gone_leaves_the_line_and_makes_nothing() {
        let making = making(300);
        let _held = making.weights.take(key(9), 1).unwrap();
        let mut looks = 0;
        let mut wanted = || {
            looks += 1;
            if looks < 3 { Ok(()) } else { Err(Refusal::new(FailCode::Refused, "gone").into()) }
        };
        let began = Instant::now();
        let gone = making.ready(key(1), LONG, &mut wanted, &mut |leave| {
            assert_eq!(leave, None);
            Err::<(), _>(ModelError::Unready(Work::Weights))
        });
        assert_eq!(refusal(gone.err().unwrap()).text, "gone");
        assert!(began.elapsed() < LONG / 2);
        // A plan has a line of its own; and it has an end.
        let mut unready = |leave: Option<Work>| match leave {
            Some(Work::Plan) => Ok(1),
            _ => Err(ModelError::Unready(Work::Plan)),
        };
        assert_eq!(making.ready(key(1), LONG, &mut || Ok(()), &mut unready).ok().unwrap().unwrap(), 1);
        let mut never = |_: Option<Work>| Err::<(), _>(ModelError::Unready(Work::Weights));
        let late = making.ready(key(1), Duration::from_millis(20), &mut || Ok(()), &mut never);
        assert!(matches!(late, Ok(Err(ModelError::Unready(Work::Weights)))));
    }

    #[test]
    fn what_another_has_made_meanwhile_is_not_waited_for() {
        let making = making(300);
        let _held = making.weights.take(key(9), 1).unwrap();
        let mut asked = 0;
        let there = making.ready(key(1), LONG, &mut || Ok(()), &mut |leave| {
            assert_eq!(leave, None);
            asked += 1;
            if asked < 3 { Err(ModelError::Unready(Work::Weights)) } else { Ok(5) }
        });
        assert_eq!(there.ok().unwrap().unwrap(), 5);
    }

    #[test]
    fn one_key_with_many_requests_makes_another_wait_for_two_at_most() {
        let making = making(300);
        let held = making.weights.take(key(9), 1).unwrap();
        let order = Mutex::new(Vec::new());
        let waiting = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let ask = |n: u8| {
                let queued = waiting.load(Ordering::SeqCst);
                let (making, order, waiting) = (&making, &order, &waiting);
                scope.spawn(move || {
                    let mut first = true;
                    let mut wanted = || {
                        if std::mem::take(&mut first) {
                            waiting.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(())
                    };
                    let made = making.ready(key(n), LONG, &mut wanted, &mut |leave| match leave {
                        None => Err(ModelError::Unready(Work::Weights)),
                        Some(_) => {
                            order.lock().unwrap().push(n);
                            Ok(())
                        }
                    });
                    assert!(matches!(made, Ok(Ok(()))));
                });
                while waiting.load(Ordering::SeqCst) == queued {
                    std::thread::yield_now();
                }
            };
            (0..8).for_each(|_| ask(1));
            ask(2);
            drop(held);
        });
        let order = order.into_inner().unwrap();
        assert!(order.len() == 9 && order[..2].contains(&2), "{order:?}");
    }
}
