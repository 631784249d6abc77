//! What pays for a consumer's questions: the sessions of this home, within what their owner allows.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy_primitives::{B256, U256};
use sahara_light::Options;
use sahara_market::LICENCES;
use sahara_market::slots::{self, CommitteeState, SessionState};
use sahara_mpc::market::{Complete, JobEnd, Order, Place, Purse, Unpaid};

use super::account::{Account, Spent, turn_to_promise};
use super::allowance::Allowance;
use super::bill::{Bill, Deal, Last, Outcome, Promise};
use super::network;
use super::node::Words;
use super::operators::{Accepted, named};
use super::receipts::{self, Kept};
use crate::error::{Error, Result};
use crate::moment::{DAY, now};
use crate::wallet::amount::Amount;
use sahara::home::Home;

/// Seconds before its end at which a session is not begun with any more: the job's time has to be before it.
const MARGIN: u64 = 30;
/// Seconds for which another session is used than one that nodes refused.
const REFUSED: u64 = 600;
/// How long a job waits for another process to be done with the session.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is proven of a chain, by its id.
pub type Chains = Box<dyn Fn(u64) -> Result<Arc<dyn Words>> + Send + Sync>;
/// Tells the person about money.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;
/// Hears of each receipt: its id and what was paid.
pub type Heard = Box<dyn Fn(B256, u128) + Send + Sync>;

/// The consumer's purse.
pub struct HomePurse {
    home: Home,
    chains: Chains,
    clock: fn() -> u64,
    tell: Tell,
    heard: Heard,
    /// The session that is used for each version of a model.
    chosen: Mutex<BTreeMap<[u8; 32], Chosen>>,
    /// The jobs that are under way, by name: nobody else spends from their sessions meanwhile.
    running: Mutex<BTreeMap<[u8; 16], Running>>,
    /// Sessions for which nodes did not work, and when: others are used meanwhile.
    refused: Mutex<BTreeMap<B256, u64>>,
    /// One choice at a time: what several jobs wait for is proven, and told, once.
    choosing: Mutex<()>,
}

/// A session with one of its committees.
#[derive(Clone)]
struct Chosen {
    account: Arc<Account>,
    deal: Deal,
}

struct Running {
    of: Chosen,
    total: u128,
    spent: Spent,
    _turn: File,
}

impl HomePurse {
    /// The purse of a home.
    pub fn new(home: &Home, tell: Tell, heard: Heard) -> Self {
        let of = home.clone();
        let chains: Chains = Box::new(move |chain| {
            let network = network::of_chain(&of, chain)?;
            Ok(Arc::new(network.light(Options::default())))
        });
        Self {
            home: home.clone(),
            chains,
            clock: now,
            tell,
            heard,
            chosen: Mutex::default(),
            running: Mutex::default(),
            refused: Mutex::default(),
            choosing: Mutex::default(),
        }
    }

    /// Chooses the session for a place: for this committee and version, not used up, and open as the chain proves.
    fn choose(&self, place: &Place) -> std::result::Result<(Arc<Account>, Deal), Unpaid> {
        let asset = B256::from(place.asset.asset);
        let again = format!("open another with `sahara session open --asset {asset}`");
        let mut why = format!(
            "asset {asset} is asked for money and you have no session for it: see its price with `sahara asset show {asset}` \
             and buy a licence with `sahara licence buy {asset}`"
        );
        let accepted = Accepted::load(&self.home).map_err(|e| unpaid(&e))?;
        for account in Account::list(&self.home).map_err(|e| unpaid(&e))? {
            let domain = account.domain();
            let Some(deal) = account.deals.iter().find(|deal| deal.fits(&domain, place)).cloned() else {
                if account.chain == place.asset.chain && account.session().is_some_and(|known| known.asset == asset) {
                    why = format!(
                        "your session {} is with another committee or version of it: {again}",
                        short(account.id())
                    );
                }
                continue;
            };
            let spent = account.spent(deal.lane).map_err(|e| unpaid(&e))?;
            if spent.left {
                why = format!(
                    "the committee of session {} took money and did not answer: close it with `sahara session close {}`, and \
                     choose another committee with `sahara session open --with`",
                    short(deal.id),
                    short(deal.id)
                );
            } else if !accepted.has(deal.committee()) {
                why = not_accepted(&deal);
            } else if self.was_refused(deal.id) {
                why = format!(
                    "the nodes do not work for session {}: wait some minutes, or close it with `sahara session close {}` and \
                     open another",
                    short(deal.id),
                    short(deal.id)
                );
            } else if self.has_ended(&deal) {
                why = format!("your session {} has ended: {again}", short(deal.id));
            } else if spent.last.total.saturating_add(deal.price) > deal.cap {
                why = format!("the deposit of your session {} is used up: {again}", short(deal.id));
            } else if let Err(error) = self.prove(&account, &deal) {
                why = error.0;
            } else {
                return Ok((Arc::new(account), deal));
            }
        }
        Err(Unpaid(why))
    }

    fn has_ended(&self, deal: &Deal) -> bool {
        deal.ends() < (self.clock)().saturating_add(MARGIN)
    }

    /// Makes sure that the chain says what the session's file says: nodes that are not the chain's own would be told texts.
    fn prove(&self, account: &Account, deal: &Deal) -> std::result::Result<(), Unpaid> {
        let refused = |why: &str| Err(Unpaid(format!("{why} (session {})", deal.id)));
        let words = (self.chains)(account.chain).map_err(|e| unpaid(&e))?;
        let market = account.domain().market;
        let wanted = [
            (market, slots::session(deal.id)),
            (market, slots::committee(deal.lane)),
            (LICENCES, slots::withdrawn(deal.session().licence)),
        ];
        let proven = words.words(&wanted).map_err(|why| Unpaid(format!("nothing is proven of the chain: {why}")))?;
        let [session, committee, withdrawn] = *proven.words.as_slice() else {
            return refused("the chain's words are not those that were asked for");
        };
        if SessionState::read(session.into()) != SessionState::Open {
            return refused("the chain says that your session is not open: `sahara session ls` shows why");
        }
        match CommitteeState::read(committee.into()) {
            Some(CommitteeState { from, ended: 0 }) if from > 0 && from <= proven.time => {}
            _ => return refused("the chain says that the committee is not seated: open a session with another"),
        }
        match U256::from_be_bytes(withdrawn.0).is_zero() {
            true => Ok(()),
            false => refused("your licence was withdrawn"),
        }
    }

    fn chosen(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Chosen>> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<[u8; 16], Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nodes refused to work for a session not long ago.
    fn was_refused(&self, session: B256) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(&session).is_some_and(|at| (self.clock)().saturating_sub(*at) < REFUSED)
    }

    /// Keeps a receipt and how far the session is with it.
    fn keep(
        &self,
        account: &Account,
        bill: &Bill,
        complete: &Complete,
        spent: &Spent,
        answered: bool,
    ) -> std::result::Result<(), Unpaid> {
        let (domain, now) = (account.domain(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let digest = bill.digest(&domain);
        let at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let kept = Kept { chain: account.chain, at, answered, complete: complete.clone() };
        receipts::keep(&self.home, digest, &kept).map_err(|e| unpaid(&e))?;
        let after = spent.after(bill.last(&domain), day((self.clock)()));
        account.keep(bill.deal.lane, &after).map_err(|e| unpaid(&e))?;
        (self.heard)(digest, bill.receipt.total.saturating_sub(spent.last.total));
        Ok(())
    }

    /// Whether what is spent today at all sessions of the licence, and what may be yet, leaves room for one more call.
    fn within_caps(&self, account: &Account, deal: &Deal) -> std::result::Result<(), Unpaid> {
        // What may be spent can have been changed since the session was chosen.
        let account = account.again().map_err(|e| unpaid(&e))?;
        let all = Account::list(&self.home).map_err(|e| unpaid(&e))?;
        let allowed = Allowance::of(&all, &account, deal, (self.clock)()).map_err(|e| unpaid(&e))?;
        match allowed.why_none() {
            None => Ok(()),
            Some(why) => Err(Unpaid(format!(
                "{why}: `sahara session allow {} --help` says how to raise it",
                short(account.id())
            ))),
        }
    }

    /// Whoever waits for a lock gives up at some time.
    fn patiently(&self) -> impl FnMut() -> sahara::Result<()> + use<> {
        let until = Instant::now() + PATIENCE;
        move || if Instant::now() < until { Ok(()) } else { Err(sahara::Error::Stopped) }
    }
}

impl Purse for HomePurse {
    fn session(&self, place: &Place) -> std::result::Result<Vec<u8>, Unpaid> {
        let key = place.manifest.0;
        let _choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.chosen().get(&key).cloned();
        if let Some(Chosen { account, deal }) = known
            && deal.fits(&account.domain(), place)
            && !self.is_over(&account, &deal)?
        {
            return Ok(deal.encode());
        }
        let (account, deal) = self.choose(place)?;
        let left = deal.cap.saturating_sub(account.spent(deal.lane).map_err(|e| unpaid(&e))?.last.total);
        (self.tell)(&format!(
            "each text costs {}, of {} that are left in session {} (at most {} a day)",
            Amount::from(deal.price),
            Amount::from(left),
            short(deal.id),
            Amount::from(account.caps.day)
        ));
        let shown = deal.encode();
        self.chosen().insert(key, Chosen { account, deal });
        Ok(shown)
    }

    fn voucher(&self, order: &Order) -> std::result::Result<Vec<u8>, Unpaid> {
        let key = order.place.manifest.0;
        let known = self.chosen().get(&key).cloned();
        let Chosen { account, deal } = match known {
            // A session that is used up makes room for the next.
            Some(known) if !self.is_over(&known.account, &known.deal)? => known,
            _ => {
                self.session(&order.place)?;
                let chosen = self.chosen();
                chosen.get(&key).cloned().ok_or_else(|| Unpaid("no session was chosen".to_owned()))?
            }
        };
        if !deal.fits(&account.domain(), &order.place) || deal.asker() != order.asker {
            return Err(Unpaid("the session is not for this committee, model or key".to_owned()));
        }
        let waited = |_| Unpaid("another sahara is spending from this session: wait for it".to_owned());
        let turn = account.turn(self.patiently()).map_err(waited)?;
        // Another process may have spent meanwhile.
        let spent = account.spent(deal.lane).map_err(|e| unpaid(&e))?;
        let total = spent.last.total.saturating_add(deal.price);
        if spent.left {
            return Err(Unpaid(format!("the committee of session {} took money and did not answer", short(deal.id))));
        }
        if total > deal.cap {
            return Err(Unpaid(format!(
                "the deposit of session {} is used up: open another with `sahara session open`",
                short(deal.id)
            )));
        }
        if u64::from(order.job.seconds()) > deal.session().ends {
            return Err(Unpaid(format!(
                "session {} has ended: open another with `sahara session open`",
                short(deal.id)
            )));
        }
        // On disk before anybody sees it, and before another session is asked what may be spent.
        let spent = Spent { promised: spent.promised.max(total), ..spent };
        {
            let _promising = turn_to_promise(&self.home, self.patiently()).map_err(waited)?;
            self.within_caps(&account, &deal)?;
            account.keep(deal.lane, &spent).map_err(|e| unpaid(&e))?;
        }
        let signature = deal
            .voucher(order, total)
            .sign(&account.domain(), &B256::from(*account.signer.bytes()))
            .map_err(|e| Unpaid(e.to_string()))?;
        let promise = Promise { session: deal.id, lane: deal.lane, total, signature };
        let of = Chosen { account, deal };
        self.running().insert(order.job.0, Running { of, total, spent, _turn: turn });
        Ok(promise.encode())
    }

    fn paid(&self, order: &Order, end: &JobEnd, complete: &Complete) -> std::result::Result<(), Unpaid> {
        let nothing = || Unpaid("nothing was to be paid".to_owned());
        let (Chosen { account, deal }, total, last) = {
            let running = self.running();
            let running = running.get(&order.job.0).ok_or_else(nothing)?;
            (running.of.clone(), running.total, running.spent.last)
        };
        let bill =
            Bill::of(&account.domain(), complete).map_err(|e| Unpaid(format!("the receipt does not hold: {e}")))?;
        // The members may have made another receipt of the number before, which is as good.
        let last = Last { digest: bill.receipt.previous, ..last };
        let expected = deal.receipt(order, &Outcome::from(end), &last, bill.receipt.height);
        if bill.deal != deal || expected != Some(bill.receipt) || bill.receipt.total != total {
            return Err(Unpaid("the receipt is not for what was asked and answered".to_owned()));
        }
        let running = self.running().remove(&order.job.0).ok_or_else(nothing)?;
        // It is paid: whatever cannot be kept of it, the answer is the consumer's.
        if let Err(error) = self.keep(&account, &bill, complete, &running.spent, true) {
            (self.tell)(&error.0);
        }
        Ok(())
    }

    fn failed(&self, order: &Order, lasts: &[Complete]) {
        let Some(Running { of: Chosen { account, deal }, spent, _turn, .. }) = self.running().remove(&order.job.0)
        else {
            return;
        };
        let (domain, spent) = (account.domain(), spent.without(order.job.0));
        // A voucher of this session's key is in each that holds: nobody else could have made it.
        let good = lasts.iter().filter_map(|complete| Some((Bill::of(&domain, complete).ok()?, complete)));
        let newer = good.filter(|(bill, _)| bill.deal == deal && bill.receipt.number > spent.last.number);
        let Some((bill, complete)) = newer.max_by_key(|(bill, _)| bill.receipt.number) else {
            if let Err(error) = account.keep(deal.lane, &spent) {
                (self.tell)(&error.report());
            }
            return;
        };
        // Jobs of another process that was ended are nobody's fault.
        let left = spent.failed.iter().any(|job| bill.receipt.job == B256::right_padding_from(job));
        let spent = Spent { left: left || spent.left, ..spent };
        let paid = Amount::from(bill.receipt.total.saturating_sub(spent.last.total));
        let told = match self.keep(&account, &bill, complete, &spent, false) {
            Ok(()) if left => {
                format!("{paid} were paid for an answer that did not arrive: nothing more is paid to this committee")
            }
            Ok(()) => format!("{paid} were paid for a question of before whose answer nobody took"),
            Err(error) => error.0,
        };
        (self.tell)(&told);
    }

    fn dropped(&self, order: &Order) {
        // What was promised is on disk; that the job failed, nobody knows.
        drop(self.running().remove(&order.job.0));
    }

    fn refused(&self, place: &Place) -> bool {
        let Some(Chosen { deal, .. }) = self.chosen().remove(&place.manifest.0) else { return false };
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(deal.id, (self.clock)());
        let another = self.session(place).is_ok();
        if !another {
            // Nothing is better than it: it is tried again.
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(&deal.id);
        }
        another
    }
}

impl HomePurse {
    /// Whether a session has no call left.
    fn is_over(&self, account: &Account, deal: &Deal) -> std::result::Result<bool, Unpaid> {
        let spent = account.spent(deal.lane).map_err(|e| unpaid(&e))?;
        Ok(spent.left || self.has_ended(deal) || spent.last.total.saturating_add(deal.price) > deal.cap)
    }
}

fn unpaid(error: &Error) -> Unpaid {
    Unpaid(error.report())
}

/// Why a committee is not asked whose operators nobody has accepted, and what to do.
pub fn not_accepted(deal: &Deal) -> String {
    format!(
        "you have not accepted who operates the nodes of committee {} in session {}: {}; two of them together read what you \
         ask; `sahara session allow {} --operators` accepts them",
        short(deal.lane),
        short(deal.id),
        named(&deal.committee().operators),
        short(deal.id)
    )
}

/// The beginning of an id, for people.
pub fn short(id: B256) -> String {
    format!("{id:x}")[..12].to_owned()
}

/// Days since 1970.
fn day(seconds: u64) -> u64 {
    seconds / DAY
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use sahara_light::Proven;

    use super::super::account::Caps;
    use super::super::bill::tests::*;
    use super::*;
    use crate::wallet::Secret;

    /// A chain that says the same of everything.
    struct Always(std::result::Result<[U256; 3], String>);

    impl Words for Always {
        fn words(&self, _: &[(Address, B256)]) -> std::result::Result<Proven, String> {
            self.0.clone().map(|words| Proven { height: 5, time: NOW, words: words.map(B256::from).to_vec() })
        }
    }

    struct Bench {
        _dir: tempfile::TempDir,
        home: Home,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let home = Home::locate(Some(dir.path().to_owned())).unwrap();
            Accepted::load(&home).unwrap().accept(&committee()).unwrap();
            Self { _dir: dir, home, told: Arc::default() }
        }
        fn account(&self, caps: Caps) -> Account {
            let signer = Secret::new(&SIGNER.0).unwrap();
            Account::create(&self.home, 1337, caps, signer, &session(1), &[committee()]).unwrap()
        }

        fn purse(&self) -> HomePurse {
            self.purse_on(Ok([U256::ONE, U256::from(5), U256::ZERO]))
        }

        fn purse_on(&self, says: std::result::Result<[U256; 3], String>) -> HomePurse {
            let told = self.told.clone();
            HomePurse {
                home: self.home.clone(),
                chains: Box::new(move |_| Ok(Arc::new(Always(says.clone())))),
                clock: || NOW,
                tell: Box::new(move |words| told.lock().unwrap_or_else(PoisonError::into_inner).push(words.to_owned())),
                heard: Box::new(|_, _| ()),
                chosen: Mutex::default(),
                running: Mutex::default(),
                refused: Mutex::default(),
                choosing: Mutex::default(),
            }
        }
    }

    fn plenty() -> Caps {
        Caps { call: PRICE, day: 1000 }
    }

    /// The order without its voucher.
    fn bare(n: u8) -> Order {
        Order { voucher: vec![], ..order(n, PRICE) }
    }

    /// What the nodes give for an order after the receipts so far.
    fn receipted(order: &Order, voucher: &[u8], n: u8, last: &Last) -> Complete {
        let receipt = deal().receipt(order, &Outcome::from(&end(n)), last, 9).unwrap();
        complete(&Bill { receipt, voucher: Promise::decode(voucher).unwrap().signature, deal: deal() })
    }

    #[test]
    fn a_question_is_paid_by_the_session_that_fits_and_its_price_is_told_first() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let purse = bench.purse();
        assert_eq!(purse.session(&place()).unwrap(), deal().encode());
        assert!(bench.told.lock().unwrap()[0].contains("each text costs 0.000000000000000012 SAH"));
        let voucher = purse.voucher(&bare(1)).unwrap();
        assert_eq!(account.spent(deal().lane).unwrap().promised, PRICE, "kept before it is shown");
        let first = receipted(&bare(1), &voucher, 1, &Last::default());
        purse.paid(&bare(1), &end(1), &first).unwrap();
        let last = account.spent(deal().lane).unwrap().last;
        assert_eq!((last.number, last.total), (1, PRICE));
        assert_eq!(receipts::find(&bench.home, "last").unwrap().complete, first);
        // Another process goes on from there.
        let voucher = bench.purse().voucher(&bare(2)).unwrap();
        assert_eq!(Promise::decode(&voucher).unwrap().total, 2 * PRICE);
        assert!(purse.paid(&bare(1), &end(1), &first).is_err(), "once");
        assert_eq!(bench.told.lock().unwrap().len(), 2);
    }

    #[test]
    fn without_a_session_that_the_chain_knows_nothing_is_paid() {
        let bench = Bench::new();
        let why = |purse: HomePurse| purse.session(&place()).unwrap_err().0;
        assert!(why(bench.purse()).contains("sahara licence buy"));
        bench.account(plenty());
        let says = |session, committee, withdrawn| Ok([session, committee, withdrawn].map(U256::from));
        assert!(why(bench.purse_on(says(2, 5, 0))).contains("not open"));
        assert!(why(bench.purse_on(says(0, 5, 0))).contains("not open"));
        assert!(why(bench.purse_on(says(1, 0, 0))).contains("not seated"));
        assert!(
            why(bench.purse_on(Ok([U256::ONE, U256::from(5) | U256::ONE << 64, U256::ZERO]))).contains("not seated")
        );
        assert!(why(bench.purse_on(says(1, 5, 9))).contains("withdrawn"));
        assert!(why(bench.purse_on(Err("too old".into()))).contains("too old"));
        let elsewhere = Place { committee: [0; 32], ..place() };
        assert!(bench.purse().session(&elsewhere).unwrap_err().0.contains("another committee"));
    }

    #[test]
    fn operators_that_were_not_accepted_are_asked_nothing_and_named() {
        let bench = Bench::new();
        bench.account(plenty());
        std::fs::remove_file(super::super::account::folder(&bench.home).join("operators")).unwrap();
        let why = bench.purse().session(&place()).unwrap_err().0;
        assert!(committee().operators.iter().all(|operator| why.contains(&operator.to_string())), "{why}");
        assert!(why.contains("--operators"), "{why}");
        Accepted::load(&bench.home).unwrap().accept(&committee()).unwrap();
        bench.purse().session(&place()).unwrap();
    }

    #[test]
    fn another_session_is_used_where_nodes_do_not_work_for_the_first() {
        let bench = Bench::new();
        let first = bench.account(plenty());
        let purse = bench.purse();
        let chosen = |purse: &HomePurse| Deal::decode(&HERE, &purse.session(&place()).unwrap()).unwrap().id;
        let used = chosen(&purse);
        assert!(!purse.refused(&place()), "there is no other");
        assert_eq!(chosen(&purse), used, "so it is tried again");
        let signer = Secret::new(&SIGNER.0).unwrap();
        let second = Account::create(&bench.home, 1337, plenty(), signer, &session(2), &[committee()]).unwrap();
        let used = chosen(&purse);
        assert!(purse.refused(&place()));
        let other = chosen(&purse);
        assert!(other != used && [first.id(), second.id()].contains(&other));
        assert_eq!(Promise::decode(&purse.voucher(&bare(1)).unwrap()).unwrap().session, other);
        purse.failed(&bare(1), &[]);
        assert!(!purse.refused(&place()), "both were refused");
        assert_eq!(chosen(&purse), other);
    }

    #[test]
    fn a_job_under_way_outlives_the_choice_of_another_session() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let purse = bench.purse();
        let voucher = purse.voucher(&bare(1)).unwrap();
        let signer = Secret::new(&SIGNER.0).unwrap();
        Account::create(&bench.home, 1337, plenty(), signer, &session(2), &[committee()]).unwrap();
        purse.refused(&place());
        purse.paid(&bare(1), &end(1), &receipted(&bare(1), &voucher, 1, &Last::default())).unwrap();
        assert_eq!(account.spent(deal().lane).unwrap().last.number, 1);
    }

    #[test]
    fn the_caps_of_its_owner_hold() {
        let bench = Bench::new();
        let mut account = bench.account(Caps { call: PRICE - 1, day: 1000 });
        let refused = |bench: &Bench| bench.purse().voucher(&bare(1)).unwrap_err().0;
        assert!(refused(&bench).contains("more than"));
        account.allow(Caps { call: PRICE, day: 2 * PRICE - 1 }).unwrap();
        let purse = bench.purse();
        let voucher = purse.voucher(&bare(1)).unwrap();
        purse.paid(&bare(1), &end(1), &receipted(&bare(1), &voucher, 1, &Last::default())).unwrap();
        assert!(refused(&bench).contains("a day"));
        account.allow(plenty()).unwrap();
        let last = Last { number: 10, total: deal().cap, digest: B256::ZERO };
        account.keep(deal().lane, &Spent { last, ..Spent::default() }).unwrap();
        assert!(refused(&bench).contains("used up"));
        assert!(purse.voucher(&bare(2)).is_err(), "also by who has chosen it before");
    }

    #[test]
    fn a_failed_job_is_asked_again_at_the_same_total_unless_it_was_receipted() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let purse = bench.purse();
        let total = |voucher: &[u8]| Promise::decode(voucher).unwrap().total;
        let first = purse.voucher(&bare(1)).unwrap();
        purse.failed(&bare(1), &[]);
        let second = purse.voucher(&bare(2)).unwrap();
        assert_eq!([total(&first), total(&second)], [PRICE; 2]);
        // What the session's key did not sign, or the members did not, is nothing.
        let receipt = receipted(&bare(1), &first, 1, &Last::default());
        let mut forged = receipt.clone();
        forged.signatures[0][0] ^= 1;
        purse.failed(&bare(2), std::slice::from_ref(&forged));
        assert_eq!(account.spent(deal().lane).unwrap().last.number, 0);
        purse.voucher(&bare(3)).unwrap();
        purse.failed(&bare(3), std::slice::from_ref(&receipt));
        assert_eq!(account.spent(deal().lane).unwrap().last.total, PRICE);
        assert!(!receipts::find(&bench.home, "last").unwrap().answered);
        assert!(bench.told.lock().unwrap().last().unwrap().contains("did not arrive"));
        // Whoever takes money for no answer gets no more.
        assert!(purse.voucher(&bare(4)).is_err() && bench.purse().voucher(&bare(4)).is_err());
        assert!(bench.purse().session(&place()).unwrap_err().0.contains("did not answer"));
    }

    #[test]
    fn what_a_process_that_was_killed_has_paid_is_nobodys_fault() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let total = |voucher: &[u8]| Promise::decode(voucher).unwrap().total;
        let killed = bench.purse().voucher(&bare(1)).unwrap();
        let receipt = receipted(&bare(1), &killed, 1, &Last::default());
        let purse = bench.purse();
        purse.voucher(&bare(2)).unwrap();
        purse.failed(&bare(2), std::slice::from_ref(&receipt));
        assert_eq!(account.spent(deal().lane).unwrap().last.total, PRICE);
        assert_eq!(total(&purse.voucher(&bare(4)).unwrap()), 2 * PRICE);
        purse.failed(&bare(4), std::slice::from_ref(&receipt));
        assert_eq!(account.spent(deal().lane).unwrap().last.total, PRICE, "an older one changes nothing");
    }

    #[test]
    fn a_receipt_that_turns_up_later_counts_and_the_highest_of_several() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let purse = bench.purse();
        let voucher = purse.voucher(&bare(1)).unwrap();
        let first = receipted(&bare(1), &voucher, 1, &Last::default());
        purse.failed(&bare(1), &[]);
        assert_eq!(account.spent(deal().lane).unwrap().failed, [bare(1).job.0]);
        let mut forged = first.clone();
        forged.signatures[1] = [0; 64];
        purse.voucher(&bare(1)).unwrap();
        purse.failed(&bare(1), &[forged, first]);
        let spent = account.spent(deal().lane).unwrap();
        assert_eq!((spent.last.total, spent.left, spent.failed.len()), (PRICE, true, 0));
    }

    #[test]
    fn a_job_that_another_process_gave_up_and_was_paid_is_remembered() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let voucher = bench.purse().voucher(&bare(1)).unwrap();
        let purse = bench.purse();
        let receipt = receipted(&bare(1), &voucher, 1, &Last::default());
        purse.voucher(&bare(1)).unwrap();
        purse.failed(&bare(1), &[]);
        // The next command finds the receipt, and knows that the answer did not come.
        let next = bench.purse();
        next.voucher(&bare(2)).unwrap();
        next.failed(&bare(2), std::slice::from_ref(&receipt));
        assert!(account.spent(deal().lane).unwrap().left);
    }

    #[test]
    fn a_receipt_that_was_refused_may_be_followed_by_the_one_that_counts() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let purse = bench.purse();
        let voucher = purse.voucher(&bare(1)).unwrap();
        let first = receipted(&bare(1), &voucher, 1, &Last::default());
        assert!(purse.paid(&bare(1), &end(2), &first).is_err());
        purse.failed(&bare(1), std::slice::from_ref(&first));
        assert_eq!(account.spent(deal().lane).unwrap().last.total, PRICE);
        let after = Account::list(&bench.home).unwrap().remove(0);
        account.keep(deal().lane, &Spent { left: false, ..account.spent(deal().lane).unwrap() }).unwrap();
        // The members have another receipt of that number: the next one follows theirs.
        let purse = bench.purse();
        let voucher = purse.voucher(&bare(2)).unwrap();
        let twin = Last { digest: B256::repeat_byte(9), ..after.spent(deal().lane).unwrap().last };
        purse.paid(&bare(2), &end(2), &receipted(&bare(2), &voucher, 2, &twin)).unwrap();
        assert_eq!(account.spent(deal().lane).unwrap().last.number, 2);
    }

    #[test]
    fn what_other_sessions_of_the_licence_may_owe_counts_for_the_day() {
        let bench = Bench::new();
        let mut first = bench.account(Caps { call: PRICE, day: 2 * PRICE });
        let signer = Secret::new(&SIGNER.0).unwrap();
        let caps = Caps { call: PRICE, day: 2 * PRICE };
        let other = Account::create(&bench.home, 1337, caps, signer, &session(2), &[committee()]).unwrap();
        // Of the other one nothing is left, so that it is not chosen.
        let last = Last { number: 10, total: deal().cap, digest: B256::repeat_byte(1) };
        other.keep(deal().lane, &Spent { last, promised: last.total + 2 * PRICE, ..Spent::default() }).unwrap();
        let purse = bench.purse();
        assert!(purse.voucher(&bare(1)).unwrap_err().0.contains("a day"));
        // What is changed while a purse is at work holds at once.
        first.allow(Caps { call: PRICE, day: 3 * PRICE }).unwrap();
        purse.voucher(&bare(1)).unwrap();
    }

    #[test]
    fn a_job_that_was_given_up_here_is_no_fault_of_the_committee() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let purse = bench.purse();
        let first = purse.voucher(&bare(1)).unwrap();
        purse.dropped(&bare(1));
        purse.voucher(&bare(2)).unwrap();
        let receipt = receipted(&bare(1), &first, 1, &Last::default());
        purse.failed(&bare(2), std::slice::from_ref(&receipt));
        let spent = account.spent(deal().lane).unwrap();
        assert_eq!((spent.last.total, spent.left), (PRICE, false));
    }

    #[test]
    fn a_receipt_for_something_else_is_not_taken() {
        let bench = Bench::new();
        let account = bench.account(plenty());
        let purse = bench.purse();
        let voucher = purse.voucher(&bare(1)).unwrap();
        let good = receipted(&bare(1), &voucher, 1, &Last::default());
        assert!(purse.paid(&bare(1), &end(2), &good).is_err(), "another answer");
        purse.failed(&bare(1), &[]);
        let purse = bench.purse();
        let voucher = purse.voucher(&bare(1)).unwrap();
        let other =
            Bill { deal: Deal::new(&HERE, session(2), committee()).unwrap(), ..Bill::of(&HERE, &good).unwrap() };
        assert!(purse.paid(&bare(1), &end(1), &complete(&other)).is_err(), "another session's");
        let _ = voucher;
        let unsigned = Complete { signatures: [[0; 64]; 3], ..good };
        assert!(purse.paid(&bare(1), &end(1), &unsigned).is_err());
        assert_eq!(account.spent(deal().lane).unwrap().last.number, 0);
    }
}
