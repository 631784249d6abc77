//! Paying for jobs: a client with a purse shows its session to each node once, gives a voucher with each job of a sharing that is
//! asked for money, one job after the other, and takes an answer only with the receipt that it paid for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Client, ClientError, LOOK, Stop};
use crate::manifest::{AccessRule, Asset, ManifestId, SignedManifest};
use crate::market::{Complete, JobEnd, Order, Place, Purse, Unpaid};
use crate::meter::Traffic;
use crate::wire::{FailCode, JobId, Kind, LastReceipt, LastReply, MAX_SESSION, MAX_VOUCHER, Present, Run, Task};

/// Most versions of sharings whose places a client remembers; those found first make room.
const MAX_PLACES: usize = 1024;
/// Sessions that are tried besides the first where nodes refuse it.
pub(super) const REFUSALS: u32 = 3;

/// What a client pays with, and what it knows of where.
#[derive(Default)]
pub(super) struct Paying {
    purse: Option<Arc<dyn Purse>>,
    table: Mutex<Table>,
    free: Condvar,
}

#[derive(Default)]
struct Table {
    /// Numbers places by when they were found.
    next: u64,
    /// Versions that are asked for money.
    places: BTreeMap<ManifestId, (u64, Place)>,
    /// Nodes that know this client's session for a version.
    shown: BTreeSet<(ManifestId, u8)>,
    /// Assets of which a job is running: their sessions are paid from one after the other.
    busy: BTreeSet<[u8; 60]>,
}

impl Paying {
    /// With this purse.
    pub(super) fn new(purse: Option<Arc<dyn Purse>>) -> Self {
        Self { purse, ..Self::default() }
    }

    /// What a sharing's manifest says of where it is asked for money.
    pub(super) fn found(&self, signed: &SignedManifest, keys: Option<[crate::identity::PublicKey; 3]>) {
        let manifest = signed.manifest();
        let (AccessRule::Chain(asset), Some(keys)) = (&manifest.access, keys) else { return };
        let mut table = self.lock();
        if table.places.contains_key(&signed.id()) {
            return;
        }
        while table.places.len() >= MAX_PLACES
            && let Some(oldest) = table.places.iter().min_by_key(|(_, (number, _))| *number).map(|(id, _)| *id)
        {
            table.places.remove(&oldest);
            table.shown.retain(|(id, _)| *id != oldest);
        }
        table.next += 1;
        let place = Place { committee: manifest.committee, keys, manifest: signed.id(), asset: *asset };
        let number = table.next;
        table.places.insert(signed.id(), (number, place));
    }

    /// Where a version is asked for money, if it is, and what pays there.
    fn at(&self, manifest: &ManifestId) -> Result<Option<(Place, &dyn Purse)>, ClientError> {
        let place = self.lock().places.get(manifest).map(|(_, place)| place.clone());
        match (place, &self.purse) {
            (None, _) => Ok(None),
            (Some(place), Some(purse)) => Ok(Some((place, &**purse))),
            (Some(_), None) => Err(ClientError::Unpaid("the sharing is asked for money, and nothing here pays".into())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other job of the asset runs.
    fn turn(&self, asset: &Asset, stop: &Stop) -> Result<Turn<'_>, ClientError> {
        let name = asset.bytes();
        let mut table = self.lock();
        while !table.busy.insert(name) {
            stop.check()?;
            table = self.free.wait_timeout(table, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(Turn { paying: self, name })
    }
}

/// The turn of one job to be paid; over when dropped.
struct Turn<'a> {
    paying: &'a Paying,
    name: [u8; 60],
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.paying.lock().busy.remove(&self.name);
        self.paying.free.notify_all();
    }
}

impl From<Unpaid> for ClientError {
    fn from(error: Unpaid) -> Self {
        Self::Unpaid(error.0)
    }
}

/// A job that is being paid.
pub(super) struct Payment<'a> {
    _turn: Turn<'a>,
    purse: &'a dyn Purse,
    pub(super) order: Order,
}

impl Payment<'_> {
    /// The consumer gives the job up by itself.
    pub(super) fn dropped(&self) {
        self.purse.dropped(&self.order);
    }

    /// Checks the receipt of a job that has come to its end, as both evaluators gave it.
    ///
    /// # Errors
    /// When it is not the one that was paid for.
    pub(super) fn paid(&self, end: &JobEnd, receipts: [Option<&Complete>; 2]) -> Result<(), ClientError> {
        let [Some(first), Some(second)] = receipts else {
            return Err(ClientError::Answer("an evaluator gave its half of the answer without a receipt".into()));
        };
        if first != second {
            return Err(ClientError::Answer("the evaluators gave different receipts of the job".into()));
        }
        self.purse.paid(&self.order, end, first).map_err(|why| ClientError::Answer(why.0))
    }
}

impl Client {
    /// The same client, which pays with `purse` for what is asked for money.
    #[must_use]
    pub fn with_purse(self, purse: Option<Arc<dyn Purse>>) -> Self {
        Self { paying: Arc::new(Paying::new(purse)), ..self }
    }

    /// Makes requests about a version of a sharing at some nodes: where it is asked for money, they know this client's session first;
    /// one that has lost it is shown it again, once.
    pub(super) fn shown<T>(
        &self,
        manifest: &ManifestId,
        nodes: &[u8],
        mut request: impl FnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let Some((place, purse)) = self.paying.at(manifest)? else { return request() };
        self.show(&place, purse, nodes)?;
        match request() {
            Err(error) if error.code() == Some(FailCode::Unpresented) => {
                self.forgotten(manifest);
                self.show(&place, purse, nodes)?;
                request()
            }
            result => result,
        }
    }

    /// A node says that it does not know this client's session for a version; perhaps of another one, from which it has heard so.
    pub(super) fn forgotten(&self, manifest: &ManifestId) {
        self.paying.lock().shown.retain(|(id, _)| id != manifest);
    }

    /// Shows this client's session to all nodes that do not know it, for a version that is asked for money.
    pub(super) fn show_all(&self, manifest: &ManifestId) -> Result<(), ClientError> {
        let Some((place, purse)) = self.paying.at(manifest)? else { return Ok(()) };
        self.show(&place, purse, &self.committee.indices().collect::<Vec<_>>())
    }

    fn show(&self, place: &Place, purse: &dyn Purse, nodes: &[u8]) -> Result<(), ClientError> {
        let mut refusals = 0;
        loop {
            let missing: Vec<u8> = {
                let table = self.paying.lock();
                nodes.iter().copied().filter(|node| !table.shown.contains(&(place.manifest, *node))).collect()
            };
            if missing.is_empty() {
                return Ok(());
            }
            let session = purse.session(place)?;
            match self.present(place, session, &missing) {
                // Nodes do not work for this session: perhaps for another.
                Err(error) if error.code() == Some(FailCode::Unpaid) && refusals < REFUSALS && purse.refused(place) => {
                    refusals += 1;
                    self.forgotten(&place.manifest);
                }
                result => return result,
            }
        }
    }

    fn present(&self, place: &Place, session: Vec<u8>, missing: &[u8]) -> Result<(), ClientError> {
        if session.is_empty() || session.len() > MAX_SESSION {
            return Err(ClientError::Request(format!(
                "the purse gave a session of {} bytes, from 1 to {MAX_SESSION} are shown",
                session.len()
            )));
        }
        let present = Present { manifest: place.manifest, session };
        let told = self.at_all(|node| {
            if !missing.contains(&node) {
                return Ok(());
            }
            self.on_lane(node, |lane| {
                // Proving it may take the node questions to others.
                lane.begin("when it was shown a session", Traffic::Setup, self.options.prepare_timeout);
                lane.limit(Some(self.options.prepare_timeout));
                lane.send(&present)?;
                lane.receive_frame(Kind::Done)?;
                Ok(())
            })
        });
        let mut table = self.paying.lock();
        let good = (0u8..).zip(&told).filter(|(node, told)| told.is_ok() && missing.contains(node));
        table.shown.extend(good.map(|(node, _)| (place.manifest, node)));
        drop(table);
        told.into_iter().collect()
    }

    /// The nodes refuse to be paid by the session in use for a version: whether another one pays from now on.
    pub(super) fn refused(&self, manifest: &ManifestId) -> bool {
        let Ok(Some((place, purse))) = self.paying.at(manifest) else { return false };
        let another = purse.refused(&place);
        if another {
            self.forgotten(manifest);
        }
        another
    }

    /// A voucher for a job, in its turn; none for a sharing that is not asked for money.
    pub(super) fn pay(
        &self,
        job: JobId,
        task: Task,
        inputs: [[u8; 32]; 2],
    ) -> Result<Option<Payment<'_>>, ClientError> {
        let Some((place, purse)) = self.paying.at(&task.manifest)? else { return Ok(None) };
        let turn = self.paying.turn(&place.asset, &self.stop)?;
        let mut order = Order { place, asker: self.identity.public(), job, task, inputs, voucher: Vec::new() };
        let voucher = purse.voucher(&order)?;
        if voucher.is_empty() || voucher.len() > MAX_VOUCHER {
            purse.failed(&order, &[]);
            let text = format!("the purse gave a voucher of {} bytes, from 1 to {MAX_VOUCHER} are sent", voucher.len());
            return Err(ClientError::Unpaid(text));
        }
        order.voucher = voucher;
        Ok(Some(Payment { _turn: turn, purse, order }))
    }

    /// Tells the purse that a job came to nothing, with what the nodes have as its session's last receipts. Whether one has any.
    pub(super) fn unpaid(&self, payment: &Payment<'_>) -> bool {
        let order = &payment.order;
        let (manifest, consumer) = (order.place.manifest, order.asker);
        let told = self.at_all(|node| {
            self.ask(node, "when asked for the last receipt", |lane| {
                lane.send(&LastReceipt { manifest, consumer, voucher: order.voucher.clone() })?;
                let LastReply(last) = lane.receive()?;
                Ok(last)
            })
        });
        let mut lasts: Vec<Complete> = Vec::new();
        for last in told.into_iter().filter_map(Result::ok).flatten() {
            if !lasts.contains(&last) {
                lasts.push(last);
            }
        }
        payment.purse.failed(order, &lasts);
        !lasts.is_empty()
    }

    /// Puts what pays into the requests for a job.
    pub(super) fn attach(payment: Option<&Payment<'_>>, runs: &mut [Run; 2]) {
        if let Some(payment) = payment {
            runs.iter_mut().for_each(|run| run.voucher.clone_from(&payment.order.voucher));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding};
    use crate::identity::PublicKey;

    /// A purse that takes one receipt only, and counts what failed.
    #[derive(Default)]
    struct Wallet {
        failed: AtomicU32,
        voucher: Vec<u8>,
    }

    impl Purse for Wallet {
        fn session(&self, _: &Place) -> Result<Vec<u8>, Unpaid> {
            Ok(vec![1])
        }

        fn voucher(&self, _: &Order) -> Result<Vec<u8>, Unpaid> {
            Ok(self.voucher.clone())
        }

        fn paid(&self, _: &Order, _: &JobEnd, complete: &Complete) -> Result<(), Unpaid> {
            if complete.receipt == [7] { Ok(()) } else { Err(Unpaid("not that of the job".into())) }
        }

        fn failed(&self, _: &Order, _: &[Complete]) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }

        fn dropped(&self, _: &Order) {}
    }

    const ASSET: Asset = Asset { chain: 1, contract: [2; 20], asset: [3; 32] };

    fn order() -> Order {
        let place =
            Place { committee: [1; 32], keys: [PublicKey([2; 32]); 3], manifest: ManifestId([3; 32]), asset: ASSET };
        let task = Task {
            manifest: place.manifest,
            graph: GraphId([4; 32]),
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        };
        let asker = PublicKey([5; 32]);
        Order { place, asker, job: JobId([6; 16]), task, inputs: [[0; 32]; 2], voucher: vec![1] }
    }

    #[test]
    fn an_answer_needs_the_same_good_receipt_from_both_evaluators() {
        let (paying, purse) = (Paying::default(), Wallet::default());
        let turn = paying.turn(&ASSET, &Stop::default()).unwrap();
        let payment = Payment { _turn: turn, purse: &purse, order: order() };
        let end = JobEnd { outputs: [[0; 32]; 2], transcript: [0; 32], rounds: 1 };
        let receipt = |n| Complete { receipt: vec![n], signatures: [[n; 64]; 3] };
        let (good, other) = (receipt(7), receipt(8));
        payment.paid(&end, [Some(&good), Some(&good)]).unwrap();
        for (receipts, why) in [
            ([None, Some(&good)], "without a receipt"),
            ([Some(&good), None], "without a receipt"),
            ([None, None], "without a receipt"),
            ([Some(&good), Some(&other)], "different receipts"),
            ([Some(&other), Some(&other)], "not that of the job"),
        ] {
            let said = payment.paid(&end, receipts).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        let changed = Complete { signatures: [[9; 64]; 3], ..good.clone() };
        assert!(payment.paid(&end, [Some(&good), Some(&changed)]).is_err());
    }

    #[test]
    fn a_voucher_has_a_length() {
        let identity = crate::identity::generate().unwrap();
        let member = |n: u8| crate::committee::Member {
            name: format!("node {n}"),
            address: format!("127.0.0.1:{n}"),
            key: PublicKey([n; 32]),
        };
        let committee = crate::committee::Committee::new([1, 2, 3].map(member)).unwrap();
        let mut manifest = crate::manifest::tests::manifest(&identity, &crate::manifest::tests::graph(1));
        manifest.access = AccessRule::Chain(ASSET);
        let signed = manifest.sign(&identity).unwrap();
        let identity = Arc::new(identity);
        for (len, failed) in [(0, 1), (1, 0), (MAX_VOUCHER, 0), (MAX_VOUCHER + 1, 1)] {
            let purse = Arc::new(Wallet { voucher: vec![1; len], ..Wallet::default() });
            let client = Client::shared(identity.clone(), committee.clone(), super::super::ClientOptions::default());
            let client = client.with_purse(Some(purse.clone()));
            client.paying.found(&signed, committee.keys());
            let task = Task { manifest: signed.id(), ..order().task };
            let paid =
                client.pay(JobId([6; 16]), task, [[0; 32]; 2]).map(|payment| payment.unwrap().order.voucher.len());
            assert_eq!((paid.ok(), purse.failed.load(Ordering::Relaxed)), ((failed == 0).then_some(len), failed));
        }
    }

    #[test]
    fn jobs_of_one_asset_take_turns_and_those_of_others_do_not_wait_for_them() {
        let paying = Paying::default();
        let stop = Stop::default();
        let turn = paying.turn(&ASSET, &stop).unwrap();
        drop(paying.turn(&Asset { asset: [9; 32], ..ASSET }, &stop).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| paying.turn(&ASSET, &stop).map(drop).is_ok());
            std::thread::sleep(LOOK);
            assert!(!waits.is_finished());
            drop(turn);
            assert!(waits.join().unwrap());
            // Who waits may give up.
            let turn = paying.turn(&ASSET, &stop).unwrap();
            let waits = scope.spawn(|| matches!(paying.turn(&ASSET, &stop), Err(ClientError::Stopped)));
            stop.set();
            assert!(waits.join().unwrap());
            drop(turn);
        });
    }

    #[test]
    fn places_are_remembered_up_to_a_number_of_them() {
        let identity = crate::identity::generate().unwrap();
        let paying = Paying::new(Some(Arc::new(Wallet::default())));
        let keys = [PublicKey([2; 32]); 3];
        let mut manifest = crate::manifest::tests::manifest(&identity, &crate::manifest::tests::graph(1));
        let listed = manifest.clone().sign(&identity).unwrap();
        paying.found(&listed, Some(keys));
        assert!(paying.at(&listed.id()).unwrap().is_none(), "for keys on a list nobody pays");
        manifest.access = AccessRule::Chain(ASSET);
        let mut ids = Vec::new();
        for version in 1..=MAX_PLACES as u64 + 2 {
            manifest.version = version;
            let signed = manifest.clone().sign(&identity).unwrap();
            paying.found(&signed, Some(keys));
            paying.lock().shown.insert((signed.id(), 0));
            ids.push(signed.id());
        }
        assert!(ids[..2].iter().all(|id| paying.at(id).unwrap().is_none()));
        assert!(ids[2..].iter().all(|id| paying.at(id).unwrap().is_some()));
        let table = paying.table.into_inner().unwrap();
        assert_eq!((table.places.len(), table.shown.len()), (MAX_PLACES, MAX_PLACES));
        assert!(matches!(
            Paying { table: Mutex::new(table), ..Paying::default() }.at(&ids[9]),
            Err(ClientError::Unpaid(_))
        ));
    }
}
