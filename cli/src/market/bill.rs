//! What consumers and share nodes pass each other about money, as bytes: a session that is shown, a voucher, and a receipt with
//! all that is needed to check it and to have it paid.

use alloy_primitives::{Address, B256, keccak256};
use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_market::{
    ASSET_REGISTRY, Committee, Domain, PreimageError, Receipt, SIGNATURE_BYTES, Session, Voucher, VoucherError,
};
use sahara_mpc::identity::PublicKey;
use sahara_mpc::market::{Complete, Order, Place};

/// Bytes of a session, at most, as a limit before it is read.
const MAX_SESSION: usize = 4 << 10;
const VERSION: u16 = 1;

/// Why bytes are not what they should be, or do not fit what they are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BillError {
    /// Not in the form.
    Form(DecodeError),
    /// A session or committee that is none.
    Preimage(PreimageError),
    /// A voucher's signature that is none.
    Voucher(VoucherError),
    /// It contradicts itself or what it is about: in words.
    Wrong(&'static str),
}

impl std::fmt::Display for BillError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(error) => error.fmt(f),
            Self::Preimage(error) => error.fmt(f),
            Self::Voucher(error) => error.fmt(f),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BillError {}

impl From<DecodeError> for BillError {
    fn from(error: DecodeError) -> Self {
        Self::Form(error)
    }
}

impl From<PreimageError> for BillError {
    fn from(error: PreimageError) -> Self {
        Self::Preimage(error)
    }
}

impl From<VoucherError> for BillError {
    fn from(error: VoucherError) -> Self {
        Self::Voucher(error)
    }
}

/// A session with one of its committees: under what terms somebody is served. Their names and numbers fit each other; whether
/// the chain knows them is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    session: Session,
    committee: Committee,
    /// The session's name.
    pub id: B256,
    /// The committee's.
    pub lane: B256,
    /// What a call costs.
    pub price: u128,
    /// The most that the lane may be owed.
    pub cap: u128,
}

impl Deal {
    /// A session and a committee of it, for the market of `domain`.
    ///
    /// # Errors
    /// When the committee is none of the session's or for another asset, or no call can be paid.
    pub fn new(domain: &Domain, session: Session, committee: Committee) -> Result<Self, BillError> {
        let (id, lane) = (session.id(domain), committee.id());
        let cap = session.cap(lane).ok_or(BillError::Wrong("the session is with other committees"))?;
        let price = session.price().filter(|price| *price > 0);
        let price = price.ok_or(BillError::Wrong("the session pays nothing for a call"))?;
        if session.asset != committee.asset {
            return Err(BillError::Wrong("the session and the committee are for two assets"));
        }
        if session.inFlight != 1 {
            return Err(BillError::Wrong("the session has more than one call at a time, which is not served yet"));
        }
        Ok(Self { session, committee, id, lane, price, cap })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The committee.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// When the last job may be asked for: in seconds since 1970.
    pub fn ends(&self) -> u64 {
        self.session.ends.min(self.committee.until)
    }

    /// The key with which the consumer asks.
    pub fn asker(&self) -> PublicKey {
        PublicKey(self.session.asker.0)
    }

    /// The committee's keys.
    pub fn keys(&self) -> [PublicKey; 3] {
        keys(&self.committee)
    }

    /// Whether it is about this place: the same committee, keys, version of the sharing and asset.
    pub fn fits(&self, domain: &Domain, place: &Place) -> bool {
        is_at(&self.committee, domain, place)
    }

    /// Bytes that [`Deal::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(SHOWN, VERSION);
        self.write(&mut w);
        w.0
    }

    /// What a consumer shows.
    ///
    /// # Errors
    /// When it is none, or as for [`Deal::new`].
    pub fn decode(domain: &Domain, bytes: &[u8]) -> Result<Self, BillError> {
        let mut r = Reader::new("session", bytes);
        r.header(SHOWN, VERSION)?;
        let deal = Self::read(domain, &mut r)?;
        r.finish()?;
        Ok(deal)
    }

    fn write(&self, w: &mut Writer) {
        let session = self.session.encode();
        w.u32(session.len() as u32).bytes(&session).bytes(&self.committee.encode());
    }

    fn read(domain: &Domain, r: &mut Reader<'_>) -> Result<Self, BillError> {
        let len = r.count("bytes of a session", MAX_SESSION)?;
        let session = Session::decode(r.take(len)?)?;
        let committee = Committee::decode(r.take(Committee::BYTES)?)?;
        Self::new(domain, session, committee)
    }

    /// The receipt of a job that comes after `last`; nothing if no number can hold it.
    pub fn receipt(&self, order: &Order, outcome: &Outcome, last: &Last, height: u64) -> Option<Receipt> {
        let task = &order.task;
        let number = last.number.checked_add(1)?;
        Some(Receipt {
            job: job(order),
            session: self.id,
            lane: self.lane,
            asset: self.session.asset,
            licence: self.session.licence,
            sharing: task.manifest.0.into(),
            graph: task.graph.0.into(),
            parameters: keccak256(task.encode()),
            request: request(order),
            output: outcome.output,
            transcript: outcome.transcript,
            previous: last.digest,
            committee: self.committee.root(),
            epoch: self.committee.epoch,
            helper: task.assignment.helper(),
            number,
            total: u128::from(number).checked_mul(self.price)?,
            price: self.price,
            time: order.job.seconds().into(),
            height,
        })
    }

    /// The voucher that pays up to `total` with this order.
    pub fn voucher(&self, order: &Order, total: u128) -> Voucher {
        Voucher { session: self.id, lane: self.lane, total, job: job(order), request: request(order) }
    }
}

/// What only the evaluators of a job know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Hash of both commitments to the answer.
    pub output: B256,
    /// What both records agree on.
    pub transcript: B256,
}

impl From<&sahara_mpc::market::JobEnd> for Outcome {
    fn from(end: &sahara_mpc::market::JobEnd) -> Self {
        Self { output: keccak256(end.outputs.as_flattened()), transcript: end.transcript.into() }
    }
}

/// The last receipt of a session and lane; all zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Its number.
    pub number: u64,
    /// Its total.
    pub total: u128,
    /// Its digest.
    pub digest: B256,
}

/// A job's name as receipts have it.
pub fn job(order: &Order) -> B256 {
    B256::right_padding_from(&order.job.0)
}

/// What was asked, in one hash.
pub fn request(order: &Order) -> B256 {
    keccak256(order.inputs.as_flattened())
}

const SHOWN: &[u8; 8] = b"SHSESSN\0";
const PROMISED: &[u8; 8] = b"SHVOUCH\0";
const BILL: &[u8; 8] = b"SHBILL\0\0";

/// A voucher as it travels with an order, which has the job and the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Which session.
    pub session: B256,
    /// Which of its committees.
    pub lane: B256,
    /// All that is owed then.
    pub total: u128,
    /// The signature of the session's key.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Promise {
    /// Bytes that [`Promise::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(PROMISED, VERSION);
        w.bytes(self.session.as_slice()).bytes(self.lane.as_slice());
        w.bytes(&self.total.to_le_bytes()).bytes(&self.signature);
        w.0
    }

    /// What comes with an order.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, BillError> {
        let mut r = Reader::new("voucher", bytes);
        r.header(PROMISED, VERSION)?;
        let (session, lane) = (B256::from(r.array()?), B256::from(r.array()?));
        let (total, signature) = (u128::from_le_bytes(r.array()?), r.array()?);
        r.finish()?;
        Ok(Self { session, lane, total, signature })
    }
}

/// A receipt, and what makes it worth money without anything else: the voucher, the session and the committee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// What the members sign.
    pub receipt: Receipt,
    /// The signature of the session's key on the voucher.
    pub voucher: [u8; SIGNATURE_BYTES],
    /// Under which terms.
    pub deal: Deal,
}

impl Bill {
    /// Bytes that [`Bill::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(BILL, VERSION);
        w.bytes(&self.receipt.encode()).bytes(&self.voucher);
        self.deal.write(&mut w);
        w.0
    }

    /// Reads a receipt, and checks that it fits session, committee and voucher: whatever its members signed, with this it is
    /// what the market pays for. The members' signatures are another matter ([`Bill::of`]).
    ///
    /// # Errors
    /// When it is none, or does not fit.
    pub fn decode(domain: &Domain, bytes: &[u8]) -> Result<Self, BillError> {
        let mut r = Reader::new("receipt", bytes);
        r.header(BILL, VERSION)?;
        let receipt = Receipt::decode(r.take(Receipt::BYTES)?).ok_or(BillError::Wrong("the receipt is damaged"))?;
        let voucher = r.array()?;
        let deal = Deal::read(domain, &mut r)?;
        r.finish()?;
        let bill = Self { receipt, voucher, deal };
        bill.check(domain)?;
        Ok(bill)
    }

    /// A receipt that all members signed.
    ///
    /// # Errors
    /// As [`Bill::decode`], and when a signature is not its member's.
    pub fn of(domain: &Domain, complete: &Complete) -> Result<Self, BillError> {
        let bill = Self::decode(domain, &complete.receipt)?;
        match complete.is_signed(&bill.digest(domain).0, &bill.deal.keys()) {
            true => Ok(bill),
            false => Err(BillError::Wrong("not all three members signed the receipt")),
        }
    }

    /// What the members sign.
    pub fn digest(&self, domain: &Domain) -> B256 {
        self.receipt.digest(domain)
    }

    /// What the next receipt follows.
    pub fn last(&self, domain: &Domain) -> Last {
        Last { number: self.receipt.number, total: self.receipt.total, digest: self.digest(domain) }
    }

    /// Whose signature the voucher has.
    ///
    /// # Errors
    /// When it is no signature.
    pub fn signer(&self, domain: &Domain) -> Result<Address, BillError> {
        let Receipt { session, lane, total, job, request, .. } = self.receipt;
        Ok(Voucher { session, lane, total, job, request }.signer(domain, &self.voucher)?)
    }

    fn check(&self, domain: &Domain) -> Result<(), BillError> {
        let (receipt, deal) = (&self.receipt, &self.deal);
        let (session, committee) = (deal.session(), deal.committee());
        let rules = [
            (receipt.session == deal.id, "the receipt is of another session"),
            (receipt.lane == deal.lane && receipt.committee == committee.root(), "the receipt is of another committee"),
            (receipt.epoch == committee.epoch, "the receipt is of another epoch"),
            (receipt.asset == session.asset, "the receipt is for another asset"),
            (receipt.sharing == committee.manifest, "the receipt is for another version of the model"),
            (receipt.licence == session.licence, "the receipt is for another licence"),
            (receipt.price == deal.price, "the receipt has another price"),
            (receipt.number > 0, "the receipt has no number"),
            (
                u128::from(receipt.number).checked_mul(receipt.price) == Some(receipt.total),
                "the receipt's total is not its number times its price",
            ),
            (receipt.total <= deal.cap, "the receipt's total is above the session's cap"),
            (receipt.time <= session.ends, "the job was asked after the session's end"),
            (receipt.helper < 3, "the receipt names no helper"),
            ((receipt.previous == B256::ZERO) == (receipt.number == 1), "the receipt does not follow another one"),
            (receipt.job.0[16..] == [0; 16], "the receipt's job has no name of a job"),
        ];
        if let Some((_, why)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(BillError::Wrong(why));
        }
        if self.signer(domain)? != session.signer {
            return Err(BillError::Wrong("the voucher is not signed by the session's key"));
        }
        Ok(())
    }
}

/// The keys of a committee's nodes.
pub fn keys(committee: &Committee) -> [PublicKey; 3] {
    committee.keys.map(|key| PublicKey(key.0))
}

/// Whether a committee is the one of a place: with the same nodes and keys, for the same version of the sharing and asset.
pub fn is_at(committee: &Committee, domain: &Domain, place: &Place) -> bool {
    place.committee == committee.digest.0
        && place.keys == keys(committee)
        && place.manifest.0 == committee.manifest.0
        && place.asset.chain == domain.chain_id
        && place.asset.contract == *ASSET_REGISTRY.0
        && place.asset.asset == committee.asset.0
}

#[cfg(test)]
pub mod tests {
    use std::sync::LazyLock;

    use alloy_primitives::U256;
    use sahara_market::INFERENCE_MARKET;
    use sahara_mpc::client::{Assignment, GraphId, Rounding};
    use sahara_mpc::identity::{self, Identity};
    use sahara_mpc::market::{Asset, JobEnd, JobId, ManifestId, Task};

    use super::*;

    pub const HERE: Domain = Domain { chain_id: 1337, market: INFERENCE_MARKET };
    /// Secret of the session's key.
    pub const SIGNER: B256 = B256::repeat_byte(7);
    pub const NOW: u64 = 1_800_000_000;
    pub const PRICE: u128 = 12;

    /// The members' keys.
    pub fn members() -> [&'static Identity; 3] {
        static MEMBERS: LazyLock<[Identity; 3]> = LazyLock::new(|| [(); 3].map(|()| identity::generate().unwrap()));
        MEMBERS.each_ref()
    }

    pub fn asker() -> PublicKey {
        PublicKey([9; 32])
    }

    pub fn committee() -> Committee {
        Committee {
            asset: B256::repeat_byte(0xa5),
            manifest: B256::repeat_byte(0x3a),
            digest: B256::repeat_byte(0xd1),
            keys: members().map(|member| member.public().0.into()),
            operators: [1, 2, 3].map(Address::repeat_byte),
            epoch: 4,
            from: NOW - 1000,
            until: NOW + 100_000,
        }
    }

    pub fn session(nonce: u64) -> Session {
        let voucher = Voucher { session: B256::ZERO, lane: B256::ZERO, total: 0, job: B256::ZERO, request: B256::ZERO };
        let signer = voucher.signer(&HERE, &voucher.sign(&HERE, &SIGNER).unwrap()).unwrap();
        Session {
            licence: U256::from(3),
            asset: committee().asset,
            consumer: Address::repeat_byte(2),
            signer,
            asker: asker().0.into(),
            royalty: 5,
            compute: 7,
            ends: NOW + 50_000,
            inFlight: 1,
            lanes: vec![committee().id()],
            caps: vec![10 * PRICE],
            nonce: U256::from(nonce),
        }
    }

    pub fn deal() -> Deal {
        Deal::new(&HERE, session(1), committee()).unwrap()
    }

    pub fn place() -> Place {
        Place {
            committee: [0xd1; 32],
            keys: members().map(|member| member.public()),
            manifest: ManifestId([0x3a; 32]),
            asset: Asset { chain: 1337, contract: *ASSET_REGISTRY.0, asset: [0xa5; 32] },
        }
    }

    /// The `n`th order of the consumer, asked now, with a voucher of this total.
    pub fn order(n: u8, total: u128) -> Order {
        order_of(&deal(), n, total)
    }

    pub fn order_of(deal: &Deal, n: u8, total: u128) -> Order {
        let task = Task {
            manifest: ManifestId([0x3a; 32]),
            graph: GraphId([0x66; 32]),
            assignment: Assignment::ALL[1],
            rounding: Rounding::Exact,
        };
        let job = JobId([n; 16]).of(NOW as u32);
        let bare = Order { place: place(), asker: asker(), job, task, inputs: [[n; 32], [0xee; 32]], voucher: vec![] };
        let signature = deal.voucher(&bare, total).sign(&HERE, &SIGNER).unwrap();
        let promise = Promise { session: deal.id, lane: deal.lane, total, signature };
        Order { voucher: promise.encode(), ..bare }
    }

    pub fn end(n: u8) -> JobEnd {
        JobEnd { outputs: [[n; 32], [0xcc; 32]], transcript: [0x77; 32], rounds: 9 }
    }

    pub fn bill(n: u8, last: &Last) -> Bill {
        let order = order(n, last.total + PRICE);
        let promise = Promise::decode(&order.voucher).unwrap();
        let receipt = deal().receipt(&order, &Outcome::from(&end(n)), last, 55).unwrap();
        Bill { receipt, voucher: promise.signature, deal: deal() }
    }

    pub fn complete(bill: &Bill) -> Complete {
        let digest = bill.digest(&HERE);
        Complete { receipt: bill.encode(), signatures: members().map(|member| member.sign(&digest.0)) }
    }

    #[test]
    fn what_is_shown_and_promised_is_read_as_it_was_written() {
        let deal = deal();
        assert_eq!(Deal::decode(&HERE, &deal.encode()), Ok(deal.clone()));
        let elsewhere = Domain { chain_id: 1, ..HERE };
        assert_ne!(Deal::decode(&elsewhere, &deal.encode()).unwrap().id, deal.id);
        let promise = Promise::decode(&order(1, 12).voucher).unwrap();
        assert_eq!((promise.session, promise.lane, promise.total), (deal.id, deal.lane, 12));
        let bill = bill(1, &Last::default());
        let signed = complete(&bill);
        assert_eq!(Bill::of(&HERE, &signed), Ok(bill));
        assert!(signed.receipt.len() <= sahara_mpc::market::MAX_RECEIPT);
        for bytes in [deal.encode(), order(1, 12).voucher, signed.receipt] {
            for cut in [0, 5, 10, 20, bytes.len() - 1] {
                assert!(Deal::decode(&HERE, &bytes[..cut]).is_err());
                assert!(Promise::decode(&bytes[..cut]).is_err());
                assert!(Bill::decode(&HERE, &bytes[..cut]).is_err());
            }
            let long = [&bytes[..], &[0]].concat();
            assert!(Deal::decode(&HERE, &long).is_err() && Promise::decode(&long).is_err());
            assert!(Bill::decode(&HERE, &long).is_err());
        }
    }

    #[test]
    fn the_largest_bill_fits_where_bills_travel() {
        let lane = committee().id();
        let lanes: Vec<B256> = (1..=8).map(|n| if n == 8 { lane } else { B256::repeat_byte(n) }).collect();
        let session = Session { caps: vec![100; 8], lanes, ..session(1) };
        let deal = Deal::new(&HERE, session, committee()).unwrap();
        let bytes = Bill { deal, ..bill(1, &Last::default()) }.encode();
        assert!(bytes.len() <= sahara_mpc::market::MAX_RECEIPT, "{}", bytes.len());
    }

    #[test]
    fn a_deal_that_does_not_fit_itself_or_the_place_is_none() {
        let wrong = |session: Session, committee: Committee| Deal::new(&HERE, session, committee).is_err();
        assert!(!wrong(session(1), committee()));
        assert!(wrong(session(1), Committee { epoch: 5, ..committee() }), "another committee");
        assert!(wrong(Session { royalty: 0, compute: 0, ..session(1) }, committee()), "for nothing");
        assert!(wrong(Session { royalty: u128::MAX, ..session(1) }, committee()));
        assert!(wrong(Session { inFlight: 2, ..session(1) }, committee()));
        assert!(wrong(Session { asset: B256::ZERO, ..session(1) }, committee()));
        let deal = deal();
        assert!(deal.fits(&HERE, &place()));
        let other = PublicKey([0; 32]);
        let [a, b, c] = place().keys;
        for place in [
            Place { committee: [0; 32], ..place() },
            Place { keys: [b, a, c], ..place() },
            Place { keys: [a, b, other], ..place() },
            Place { manifest: ManifestId([0; 32]), ..place() },
            Place { asset: Asset { chain: 1, ..place().asset }, ..place() },
            Place { asset: Asset { contract: [0; 20], ..place().asset }, ..place() },
            Place { asset: Asset { asset: [0; 32], ..place().asset }, ..place() },
        ] {
            assert!(!deal.fits(&HERE, &place), "{place:?}");
        }
    }

    #[test]
    fn whatever_bytes_come_are_read_or_refused() {
        use std::hash::{BuildHasher, RandomState};
        let seed = RandomState::new().hash_one(());
        println!("seed {seed}");
        let mut state = seed | 1;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % below.max(1)
        };
        let good = [deal().encode(), order(1, 12).voucher, complete(&bill(1, &Last::default())).receipt];
        for round in 0..3_000 {
            let mut bytes = good[round % good.len()].clone();
            for _ in 0..next(4) {
                let at = next(bytes.len());
                bytes[at] = next(256) as u8;
            }
            bytes.truncate(if next(3) == 0 { next(bytes.len()) } else { bytes.len() });
            let (deal, promise, bill) =
                (Deal::decode(&HERE, &bytes), Promise::decode(&bytes), Bill::decode(&HERE, &bytes));
            // What is read is what was written: there is one form of each.
            assert!(deal.is_err() || deal.is_ok_and(|deal| deal.encode() == bytes));
            assert!(promise.is_err() || promise.is_ok_and(|promise| promise.encode() == bytes));
            assert!(bill.is_err() || bill.is_ok_and(|bill| bill.encode() == bytes));
        }
    }

    #[test]
    fn a_bill_that_differs_in_any_field_is_refused() {
        let good = bill(1, &Last::default());
        let word = B256::repeat_byte(1);
        let receipt = good.receipt;
        for other in [
            Receipt { job: word, ..receipt },
            Receipt { session: word, ..receipt },
            Receipt { lane: word, ..receipt },
            Receipt { asset: word, ..receipt },
            Receipt { licence: U256::from(4), ..receipt },
            Receipt { sharing: word, ..receipt },
            Receipt { request: word, ..receipt },
            Receipt { previous: word, ..receipt },
            Receipt { committee: word, ..receipt },
            Receipt { epoch: 5, ..receipt },
            Receipt { helper: 3, ..receipt },
            Receipt { number: 0, total: 0, ..receipt },
            Receipt { number: 2, ..receipt },
            Receipt { number: 11, total: 11 * PRICE, previous: word, ..receipt },
            Receipt { number: u64::MAX, ..receipt },
            Receipt { total: 13, ..receipt },
            Receipt { price: 6, number: 2, previous: word, ..receipt },
            Receipt { time: NOW + 50_001, ..receipt },
        ] {
            let bytes = Bill { receipt: other, ..good.clone() }.encode();
            assert!(Bill::decode(&HERE, &bytes).is_err(), "{other:?}");
        }
        let mut forged = good.clone();
        forged.voucher[3] ^= 1;
        assert!(Bill::decode(&HERE, &forged.encode()).is_err());
        let mut signed = complete(&good);
        assert!(Bill::of(&HERE, &signed).is_ok());
        signed.signatures.swap(0, 1);
        assert!(Bill::of(&HERE, &signed).is_err());
        // What is not bound by terms or voucher is bound by the members' signatures.
        for other in [
            Receipt { graph: word, ..receipt },
            Receipt { parameters: word, ..receipt },
            Receipt { output: word, ..receipt },
            Receipt { transcript: word, ..receipt },
            Receipt { time: NOW - 1, ..receipt },
            Receipt { height: 1, ..receipt },
        ] {
            let receipt = Bill { receipt: other, ..good.clone() }.encode();
            let signed = Complete { receipt, ..complete(&good) };
            assert!(Bill::decode(&HERE, &signed.receipt).is_ok() && Bill::of(&HERE, &signed).is_err());
        }
    }
}
