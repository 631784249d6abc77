//! Answers of paid jobs, kept for whoever paid and did not hear: a consumer whose lane broke, or whose receipt became complete later
//! than somebody wanted to wait. Kept in memory only, the last of each consumer and asset, for an hour, as far as there is room;
//! given out for the same request, and only where its receipt is the last complete one here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sahara_protocol::ring::secret::Secret;

use crate::identity::PublicKey;
use crate::market::{JobId, Order};

/// Bytes of the longest answer that is kept, and of all.
const LONGEST: usize = 1 << 20;
const ALL: usize = 8 << 20;
/// How long one is kept.
const FOR: Duration = Duration::from_secs(3600);

/// This node's half of an answer.
pub(super) struct Answer {
    /// What was asked for and paid.
    pub(super) order: Order,
    /// The receipt that this node has signed for it.
    pub(super) receipt: Vec<u8>,
    /// Whether all members have signed that.
    pub(super) paid: bool,
    /// Whether somebody asked in another one's name: whoever may fetch it did not choose that, and loses nothing else by it.
    pub(super) apart: bool,
    /// The reply without the signatures.
    pub(super) reply: Secret<u8>,
    /// When, as the node counts time.
    pub(super) at: Duration,
}

/// Answers, and the paid jobs that run.
#[derive(Default)]
pub(super) struct Kept(Mutex<Table>);

#[derive(Default)]
struct Table {
    answers: HashMap<Whose, Arc<Answer>>,
    running: HashSet<Name>,
}

/// Committee, consumer and asset; and the job, where somebody else asked it.
type Whose = ([u8; 32], PublicKey, [u8; 60], Option<JobId>);
/// Committee, consumer and job.
type Name = ([u8; 32], PublicKey, JobId);

fn whose(Answer { order, apart, .. }: &Answer) -> Whose {
    (order.place.committee, order.asker, order.place.asset.bytes(), apart.then_some(order.job))
}

fn name(order: &Order) -> Name {
    (order.place.committee, order.asker, order.job)
}

/// What is known of a paid job.
pub(super) enum Known {
    /// It runs.
    Running,
    /// It has come to an answer.
    Answered(Arc<Answer>),
    /// Nothing.
    Nothing,
}

impl Kept {
    /// A paid job runs, unless one of its name does already.
    pub(super) fn begins(&self, order: &Order) -> bool {
        self.lock().running.insert(name(order))
    }

    /// It does not run any more.
    pub(super) fn ends(&self, order: &Order) {
        self.lock().running.remove(&name(order));
    }

    /// Keeps an answer, in the place of the one before of its consumer and asset. Others make room, first those that are not paid for,
    /// the oldest first; one that is paid for makes none for one that is not, which is not kept then.
    pub(super) fn keep(&self, answer: Answer) {
        let mut table = self.lock();
        table.answers.remove(&whose(&answer));
        if answer.reply.len() > LONGEST {
            return;
        }
        table.answers.retain(|_, other| answer.at.saturating_sub(other.at) < FOR);
        while table.answers.values().map(|other| other.reply.len()).sum::<usize>() + answer.reply.len() > ALL {
            let others = table.answers.iter().filter(|(_, other)| answer.paid || !other.paid);
            match others.min_by_key(|(_, other)| (other.paid, other.at)).map(|(whose, _)| *whose) {
                Some(first) => drop(table.answers.remove(&first)),
                None => return,
            }
        }
        table.answers.insert(whose(&answer), Arc::new(answer));
    }

    /// What is known at `now` of a consumer's job.
    pub(super) fn of(&self, committee: [u8; 32], consumer: PublicKey, job: JobId, now: Duration) -> Known {
        let table = self.lock();
        if table.running.contains(&(committee, consumer, job)) {
            return Known::Running;
        }
        let is_it = |answer: &&Arc<Answer>| {
            name(&answer.order) == (committee, consumer, job) && now.saturating_sub(answer.at) < FOR
        };
        table.answers.values().find(is_it).map_or(Known::Nothing, |answer| Known::Answered(answer.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding};
    use crate::market::{Asset, ManifestId, Place, Task};

    fn answer(consumer: u8, asset: u8, job: u8, bytes: usize, at: u64) -> Answer {
        let asset = Asset { chain: 1, contract: [2; 20], asset: [asset; 32] };
        let place = Place { committee: [1; 32], keys: [PublicKey([2; 32]); 3], manifest: ManifestId([3; 32]), asset };
        let (assignment, rounding) = (Assignment::ALL[0], Rounding::Exact);
        let task = Task { manifest: place.manifest, graph: GraphId([4; 32]), assignment, rounding };
        let (asker, job, voucher) = (PublicKey([consumer; 32]), JobId([job; 16]), vec![1]);
        let order = Order { place, asker, job, task, inputs: [[0; 32]; 2], voucher };
        let (reply, at) = (Secret::from(vec![7; bytes]), Duration::from_secs(at));
        Answer { order, receipt: vec![9], paid: true, apart: false, reply, at }
    }

    fn has(kept: &Kept, consumer: u8, job: u8, now: u64) -> bool {
        let now = Duration::from_secs(now);
        matches!(kept.of([1; 32], PublicKey([consumer; 32]), JobId([job; 16]), now), Known::Answered(_))
    }

    #[test]
    fn the_last_answer_of_a_consumer_and_an_asset_is_kept_for_an_hour() {
        let kept = Kept::default();
        kept.keep(answer(1, 1, 1, 10, 100));
        kept.keep(answer(1, 2, 2, 10, 100));
        kept.keep(answer(2, 1, 3, 10, 100));
        assert!(has(&kept, 1, 1, 100) && has(&kept, 1, 2, 100) && has(&kept, 2, 3, 100));
        assert!(!has(&kept, 2, 1, 100) && !has(&kept, 3, 1, 100), "another's");
        kept.keep(answer(1, 1, 4, 10, 200));
        assert!(!has(&kept, 1, 1, 200) && has(&kept, 1, 4, 200) && has(&kept, 1, 2, 200));
        assert!(has(&kept, 1, 4, 3799) && !has(&kept, 1, 4, 3800));
        kept.keep(answer(5, 1, 5, 10, 3700));
        assert_eq!(kept.lock().answers.len(), 2, "what is old goes");
    }

    #[test]
    fn answers_take_as_much_room_as_there_is_and_the_oldest_go_first() {
        let kept = Kept::default();
        kept.keep(answer(1, 1, 1, LONGEST + 1, 1));
        assert!(!has(&kept, 1, 1, 1), "too long");
        (1..=10).for_each(|n| kept.keep(answer(n, 1, n, LONGEST, n.into())));
        assert!(!has(&kept, 1, 1, 10) && !has(&kept, 2, 2, 10));
        assert!((3..=10).all(|n| has(&kept, n, n, 10)));
    }

    #[test]
    fn answers_that_nobody_paid_for_push_none_out_that_were_paid() {
        let kept = Kept::default();
        let unpaid = |n: u8| Answer { paid: false, ..answer(n, 1, n, LONGEST, n.into()) };
        (1..=4).for_each(|n| kept.keep(answer(n, 1, n, LONGEST, n.into())));
        (5..=30).for_each(|n| kept.keep(unpaid(n)));
        assert!((1..=4).all(|n| has(&kept, n, n, 30)), "paid");
        assert!((27..=30).all(|n| has(&kept, n, n, 30)) && !has(&kept, 26, 26, 30), "the rest is for the others");
        (31..=34).for_each(|n| kept.keep(answer(n, 1, n, LONGEST, n.into())));
        assert!((1..=4).chain(31..=34).all(|n| has(&kept, n, n, 34)) && !has(&kept, 30, 30, 34));
        kept.keep(unpaid(35));
        assert!(!has(&kept, 35, 35, 35) && has(&kept, 1, 1, 35), "there is no room");
    }

    #[test]
    fn a_job_that_runs_is_known_until_it_ends() {
        let (kept, one) = (Kept::default(), answer(1, 1, 1, 10, 1));
        assert!(kept.begins(&one.order) && !kept.begins(&one.order), "once at a time");
        let known = |kept: &Kept| kept.of([1; 32], PublicKey([1; 32]), JobId([1; 16]), Duration::ZERO);
        assert!(matches!(known(&kept), Known::Running));
        kept.ends(&one.order);
        assert!(matches!(known(&kept), Known::Nothing));
    }

    #[test]
    fn what_somebody_asks_in_another_ones_name_pushes_nothing_of_theirs_out() {
        let kept = Kept::default();
        let there = |job| {
            matches!(kept.of([1; 32], PublicKey([5; 32]), JobId([job; 16]), Duration::from_secs(9)), Known::Answered(_))
        };
        kept.keep(answer(5, 6, 1, 10, 1));
        kept.keep(Answer { apart: true, ..answer(5, 6, 2, 10, 2) });
        kept.keep(Answer { apart: true, ..answer(5, 6, 3, 10, 3) });
        assert!(there(1) && there(2) && there(3));
        kept.keep(answer(5, 6, 4, 10, 4));
        assert!(!there(1) && there(2) && there(3) && there(4), "only what one asked oneself takes the place of that");
    }
}
