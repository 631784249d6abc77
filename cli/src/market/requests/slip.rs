//! What travels between share nodes for a request of a contract: in the place of a voucher its name, in the place of a receipt the
//! receipt with the request and the committee, which is all that the market needs to pay.

use alloy_primitives::{B256, keccak256};
use sahara_circuits::bytes::{Reader, Writer};
use sahara_market::request::Request;
use sahara_market::{Committee, Domain, Receipt};
use sahara_mpc::engine::{Assignment, GraphId, Rounding};
use sahara_mpc::identity::PublicKey;
use sahara_mpc::manifest::Manifest;
use sahara_mpc::market::{Complete, Order, Place};
use sahara_mpc::wire::{JobId, ManifestId, Task};

use crate::market::bill::{self, BillError};

const NAMED: &[u8; 8] = b"SHREQST\0";
const SLIP: &[u8; 8] = b"SHREQRC\0";
const VERSION: u16 = 1;

/// What an order brings in the place of a voucher.
pub fn voucher(request: B256) -> Vec<u8> {
    let mut w = Writer::with_header(NAMED, VERSION);
    w.bytes(request.as_slice());
    w.0
}

/// The request that such a voucher names; nothing for one of a session.
pub fn named(voucher: &[u8]) -> Option<B256> {
    let mut r = Reader::new("name of a request", voucher);
    r.header(NAMED, VERSION).ok()?;
    let id = r.array().ok()?;
    r.finish().ok()?;
    Some(B256::from(id))
}

/// Whether bytes are a receipt of a request, and not of a session.
pub fn is_slip(receipt: &[u8]) -> bool {
    receipt.starts_with(SLIP)
}

/// A request and who is to answer it: their names and numbers fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The request.
    pub request: Request,
    /// The committee.
    pub committee: Committee,
    /// The request's name.
    pub id: B256,
    /// What it pays.
    pub price: u128,
    /// What is computed, and in which roles.
    pub task: Task,
}

impl Wanted {
    /// A request and the committee that it names.
    ///
    /// # Errors
    /// When they do not fit, or the owner of the asset lets ask what no committee computes.
    pub fn new(domain: &Domain, request: Request, committee: Committee) -> Result<Self, BillError> {
        let wrong = |why| Err(BillError::Wrong(why));
        if committee.id() != request.ask.lane || committee.asset != request.asset {
            return wrong("the request is for another committee");
        }
        let Some(price) = request.price().filter(|price| *price > 0) else {
            return wrong("the request pays nothing");
        };
        let Some(task) = task(&request, &committee) else {
            return wrong("the request is for parameters that no committee computes with");
        };
        let id = request.id(domain);
        Ok(Self { request, committee, id, price, task })
    }

    /// The committee's keys.
    pub fn keys(&self) -> [PublicKey; 3] {
        bill::keys(&self.committee)
    }

    /// Whether it is about this place.
    pub fn fits(&self, domain: &Domain, place: &Place) -> bool {
        bill::is_at(&self.committee, domain, place)
    }

    /// The receipt of an order for it, with this answer and transcript.
    pub fn receipt(&self, order: &Order, output: B256, transcript: B256, height: u64) -> Receipt {
        Receipt {
            job: bill::job(order),
            session: self.id,
            lane: self.request.ask.lane,
            asset: self.request.asset,
            sharing: self.committee.manifest,
            graph: self.request.ask.graph,
            parameters: self.request.ask.parameters,
            request: self.request.input,
            output,
            transcript,
            committee: self.committee.root(),
            epoch: self.committee.epoch,
            helper: self.task.assignment.helper(),
            number: 1,
            total: self.price,
            price: self.price,
            time: order.job.seconds().into(),
            height,
            ..Receipt::default()
        }
    }
}

/// What is computed, by what the asset's owner lets ask: a hash of one of the few things that there are.
fn task(request: &Request, committee: &Committee) -> Option<Task> {
    let (manifest, graph) = (ManifestId(committee.manifest.0), GraphId(request.ask.graph.0));
    let of = |(assignment, rounding)| Task { manifest, graph, assignment, rounding };
    let all = Assignment::ALL.into_iter().flat_map(|a| [(a, Rounding::Exact), (a, Rounding::Faithful)]);
    all.map(of).find(|task| keccak256(task.encode()) == request.ask.parameters)
}

/// Why a committee never computes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The shared model has no such graph.
    Graph,
    /// The sharing is for other roles.
    Roles,
}

/// What of a task the owner of a sharing does not permit, if anything.
pub fn misfit(manifest: &Manifest, task: &Task) -> Option<Misfit> {
    if !manifest.graphs.contains(&task.graph) {
        return Some(Misfit::Graph);
    }
    (!manifest.serves(task.assignment)).then_some(Misfit::Roles)
}

/// The name of the job of a request's attempt, which both evaluators find by themselves.
pub fn job(request: B256, attempt: u32, seconds: u32) -> JobId {
    let hash = keccak256([&b"sahara request job v1"[..], request.as_slice(), &attempt.to_le_bytes()].concat());
    let mut name = [0; 16];
    name.copy_from_slice(&hash[..16]);
    JobId(name).of(seconds)
}

/// A receipt with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slip {
    /// What the members sign.
    pub receipt: Receipt,
    /// What was asked.
    pub wanted: Wanted,
}

impl Slip {
    /// Bytes that [`Slip::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(SLIP, VERSION);
        w.bytes(&self.receipt.encode()).bytes(&self.wanted.request.encode()).bytes(&self.wanted.committee.encode());
        w.0
    }

    /// Reads a receipt of a request; whether it says what it should is another matter.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(domain: &Domain, bytes: &[u8]) -> Result<Self, BillError> {
        let mut r = Reader::new("receipt of a request", bytes);
        r.header(SLIP, VERSION)?;
        let receipt = Receipt::decode(r.take(Receipt::BYTES)?).ok_or(BillError::Wrong("the receipt is damaged"))?;
        let request = Request::decode(r.take(Request::BYTES)?).ok_or(BillError::Wrong("the request is damaged"))?;
        let committee = Committee::decode(r.take(Committee::BYTES)?)?;
        r.finish()?;
        Ok(Self { receipt, wanted: Wanted::new(domain, request, committee)? })
    }

    /// A receipt that all members signed, of this request.
    ///
    /// # Errors
    /// When it is not.
    pub fn of(domain: &Domain, complete: &Complete, wanted: &Wanted) -> Result<Self, BillError> {
        let slip = Self::decode(domain, &complete.receipt)?;
        if slip.wanted != *wanted || slip.receipt.session != wanted.id {
            return Err(BillError::Wrong("the receipt is of another request"));
        }
        match complete.is_signed(&slip.receipt.digest(domain).0, &wanted.keys()) {
            true => Ok(slip),
            false => Err(BillError::Wrong("not all three members signed the receipt")),
        }
    }
}

#[cfg(test)]
mod tests {
    use sahara_market::ASSET_REGISTRY;
    use sahara_mpc::manifest::{AccessRule, Asset, AssignmentShare, OwnerKey, Shares};

    use super::*;

    #[test]
    fn another_graph_and_other_roles_than_the_owner_shared_are_never_computed() {
        let [shared, other, _] = Assignment::ALL;
        let manifest = Manifest {
            owner: OwnerKey::Ed25519(PublicKey([1; 32])),
            name: "mine".parse().unwrap(),
            version: 1,
            weights_root: [2; 32],
            layout: [3; 32],
            graphs: vec![GraphId([4; 32])],
            committee: [5; 32],
            shares: Shares::Private(vec![AssignmentShare { assignment: shared, masked: [6; 32], seeds: [[7; 32]; 2] }]),
            client_part: None,
            access: AccessRule::Chain(Asset { chain: 7, contract: *ASSET_REGISTRY.0, asset: [8; 32] }),
            noise: None,
        };
        let task = |graph, assignment| {
            let (manifest, rounding) = (ManifestId([9; 32]), Rounding::Exact);
            Task { manifest, graph: GraphId([graph; 32]), assignment, rounding }
        };
        assert_eq!(misfit(&manifest, &task(4, shared)), None);
        assert_eq!(misfit(&manifest, &task(5, shared)), Some(Misfit::Graph));
        assert_eq!(misfit(&manifest, &task(4, other)), Some(Misfit::Roles));
    }
}
