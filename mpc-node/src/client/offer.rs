//! Handing a model to a committee: masks the weights, signs the manifest, and has all nodes take the pieces before
//! the first puts them in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sahara_circuits::bytes::extend_words;
use sahara_circuits::graph::Graph;
use sahara_circuits::weights::Weights;
use zeroize::{Zeroize, Zeroizing};

use super::{Client, ClientError, Committee, SLOWEST, Sharing};
use crate::engine::{Assignment, EvaluatorRole, GraphId, Visibility, mask_weights, random_seed};
use crate::lane::Lane;
use crate::manifest::{
    AccessList, AccessRule, Asset, AssignmentShare, ClientPart, Consumers, Manifest, NoiseTerms, Shares, SharingId,
    SharingName, SignedManifest, layout_digest, masked_digest, seed_commitment,
};
use crate::meter::Traffic;
use crate::wire::{Begin, Kind, Piece};

/// What an owner hands to a committee.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// What the owner calls it; an offer under the same name is a new version.
    pub name: SharingName,
    /// The graphs that may be run, all of one model.
    pub graphs: &'a [Arc<Graph>],
    /// Its weights.
    pub weights: &'a Weights,
    /// Whether the nodes may know them.
    pub visibility: Visibility,
    /// The assignments that can be used (for private weights each takes space of its own).
    pub assignments: &'a [Assignment],
    /// Who may use it besides the owner.
    pub access: Access,
    /// What consumers need who do not have the model.
    pub client_part: Option<&'a [u8]>,
    /// Whether answers leave with noise only; then `assignments` is the one that the terms name.
    pub noise: Option<NoiseTerms>,
}

/// Who may use what is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// These keys.
    Keys(Consumers),
    /// Whoever holds a licence for an asset, and pays, the owner included: for nodes that serve its market.
    Chain(Asset),
}

impl From<Consumers> for Access {
    fn from(consumers: Consumers) -> Self {
        Self::Keys(consumers)
    }
}

impl Access {
    /// As a manifest has it, whose list would have this serial number.
    fn rule(&self, serial: u64) -> AccessRule {
        match self {
            Self::Keys(consumers) => AccessRule::Keys(AccessList { serial, consumers: consumers.clone() }),
            Self::Chain(asset) => AccessRule::Chain(*asset),
        }
    }
}

impl Client {
    /// Hands a model to the committee as a new version, in one step: all nodes take the pieces, then each puts them in
    /// place. `progress` hears bytes sent and bytes in all.
    ///
    /// Private weights are masked afresh for each assignment and version, so that no node ever meets the same mask
    /// twice.
    ///
    /// # Errors
    /// When the offer does not fit together, a node refuses or cannot be reached, or it is given up (see [`Client::until`]);
    /// then nothing has changed, unless a node failed at the very end, which the next attempt puts right.
    pub fn share(&self, offer: &Offer<'_>, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Sharing, ClientError> {
        let first = offer.graphs.first().ok_or_else(|| ClientError::Request("no graph to share".into()))?;
        if !offer.weights.matches(&first.weights) {
            return Err(ClientError::Request("the graphs and the weights are not of one model".into()));
        }
        let seen = self.seen(SharingId::of(&self.owner_key(), &offer.name))?;
        let (version, serial) = (seen.next_version(&self.committee)?, seen.next_serial()?);
        let (signed, parts) = self.signed(offer, version, serial)?;
        let mut graphs: Vec<(GraphId, Vec<u8>)> = offer.graphs.iter().map(|g| (g.id(), g.to_bytes())).collect();
        graphs.sort_unstable_by_key(|(id, _)| *id);
        graphs.dedup_by_key(|(id, _)| *id);
        let pieces_of = |node| {
            let graphs = graphs.iter().map(|(_, bytes)| [&[][..], bytes.as_slice()]);
            let parts = parts.iter().map(|part| part.of(node));
            graphs.chain(parts).chain(offer.client_part.map(|part| [&[][..], part])).collect()
        };
        let pieces: Vec<(u8, Vec<Pieces<'_>>)> = self.committee.indices().map(|node| (node, pieces_of(node))).collect();
        let total = pieces.iter().flat_map(|(_, pieces)| pieces).map(length).sum();
        let sent = AtomicU64::new(0);
        let report = |bytes: usize| {
            progress(sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64, total);
        };
        // All hold everything before the first puts it in place.
        let lanes = std::thread::scope(|scope| {
            let (signed, report) = (&signed, &report);
            let died = || ClientError::Answer("internal: an upload thread died".into());
            let threads: Vec<_> = pieces
                .iter()
                .map(|(node, pieces)| scope.spawn(move || Ok((*node, self.upload(*node, signed, pieces, report)?))))
                .collect();
            let lanes: Vec<_> =
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(died()))).collect();
            lanes.into_iter().collect::<Result<Vec<(u8, Lane)>, ClientError>>()
        })?;
        // The last moment for that: from here on it is with all or with none.
        self.stop.check()?;
        for (node, mut lane) in lanes {
            // Whoever gives it up now would leave a new version at one node and the old one at another.
            lane.stop_with(None);
            lane.begin("while it put the model in place", Traffic::Setup, self.options.prepare_timeout);
            lane.pace(Some((self.options.prepare_timeout, SLOWEST)));
            lane.send_frame(Kind::Commit, &[])?;
            lane.receive_frame(Kind::Done)?;
            self.put_back(node, lane);
        }
        self.paying.found(&signed, self.committee.keys());
        Ok(Sharing(signed))
    }

    fn upload(
        &self,
        node: u8,
        signed: &SignedManifest,
        pieces: &[Pieces<'_>],
        report: &(dyn Fn(usize) + Sync),
    ) -> Result<Lane, ClientError> {
        let mut lane = self.lane(node)?;
        lane.begin("while it was given a model", Traffic::Setup, self.options.prepare_timeout);
        let bytes = pieces.iter().map(length).sum();
        lane.send(&Begin { manifest: signed.clone(), bytes })?;
        lane.receive_frame(Kind::GoOn)?;
        for piece in pieces {
            lane.pace(Some((self.options.prepare_timeout, SLOWEST)));
            lane.send(&Piece { len: length(piece) })?;
            for chunk in piece.iter().flat_map(|part| part.chunks(crate::wire::CHUNK)) {
                self.stop.check()?;
                lane.send_frame(Kind::Chunk, chunk)?;
                report(chunk.len());
            }
        }
        Ok(lane)
    }

    /// The signed manifest, and the parts of the weights in the order of the manifest.
    fn signed(
        &self,
        offer: &Offer<'_>,
        version: u64,
        serial: u64,
    ) -> Result<(SignedManifest, Vec<WeightPart>), ClientError> {
        let first = offer.graphs.first().ok_or_else(|| ClientError::Request("no graph to share".into()))?;
        let mut manifest = Manifest {
            owner: self.owner_key(),
            name: offer.name.clone(),
            version,
            weights_root: first.weights_root,
            layout: layout_digest(first),
            graphs: offer.graphs.iter().map(|graph| graph.id()).collect(),
            committee: self.committee.digest(),
            shares: Shares::Open,
            client_part: offer
                .client_part
                .map(|bytes| ClientPart { digest: *blake3::hash(bytes).as_bytes(), len: bytes.len() as u64 }),
            access: offer.access.rule(serial),
            noise: offer.noise.clone(),
        };
        for (id, graph) in manifest.graphs.iter().zip(offer.graphs) {
            if graph.weights_root != manifest.weights_root || layout_digest(graph) != manifest.layout {
                let text = format!("graph {id} does not belong to the weights of the others");
                return Err(ClientError::Request(text));
            }
        }
        let mut parts = Vec::new();
        match offer.visibility {
            Visibility::Private => {
                let mut assignments = offer.assignments.to_vec();
                assignments.sort_by_key(|assignment| assignment.helper());
                assignments.dedup();
                let mut shares = Vec::new();
                for assignment in assignments {
                    self.stop.check()?;
                    let (share, part) = masked_part(offer.weights, &manifest, assignment, &self.committee)?;
                    shares.push(share);
                    parts.push(part);
                }
                manifest.shares = Shares::Private(shares);
            }
            Visibility::Open => {
                let words: Vec<u32> = offer.weights.tensors.iter().flatten().map(|w| *w as u32).collect();
                parts.push(WeightPart { seeds: Vec::new(), words: word_bytes(&words), helper: None });
            }
        }
        let refused = |e| ClientError::Request(format!("the offer cannot be signed: {e}"));
        Ok((manifest.sign(&self.identity).map_err(refused)?, parts))
    }
}

/// A piece of an upload, in two stretches.
type Pieces<'a> = [&'a [u8]; 2];

fn length(piece: &Pieces<'_>) -> u64 {
    piece.iter().map(|part| part.len() as u64).sum()
}

/// One part of the weights. The words are the same for both evaluators and are kept once.
struct WeightPart {
    /// For each node the seeds that it gets; for none, if there are none.
    seeds: Vec<Zeroizing<Vec<u8>>>,
    words: Zeroizing<Vec<u8>>,
    /// The node that gets seeds only.
    helper: Option<u8>,
}

impl WeightPart {
    fn of(&self, node: u8) -> Pieces<'_> {
        let words = if self.helper == Some(node) { &[][..] } else { &self.words };
        [self.seeds.get(usize::from(node)).map_or(&[], |seeds| seeds), words]
    }
}

/// What each node is given for one assignment of private weights: the evaluators get the masked weights and the seed
/// they share with the helper; the helper gets both seeds. And what the manifest says of it.
fn masked_part(
    weights: &Weights,
    manifest: &Manifest,
    assignment: Assignment,
    committee: &Committee,
) -> Result<(AssignmentShare, WeightPart), ClientError> {
    let domain = manifest.masks(assignment);
    let seeds = [random_seed()?, random_seed()?];
    let mut masked = mask_weights(weights, &domain, &seeds[0], &seeds[1]);
    let commitments = [0, 1].map(|role| seed_commitment(&domain, role, &seeds[role]));
    let share = AssignmentShare { assignment, masked: masked_digest(&masked), seeds: commitments };
    let of = |node: u8| match assignment.role(node) {
        Some(EvaluatorRole::First) => Zeroizing::new(seeds[0].as_bytes().to_vec()),
        Some(EvaluatorRole::Second) => Zeroizing::new(seeds[1].as_bytes().to_vec()),
        None => Zeroizing::new([*seeds[0].as_bytes(), *seeds[1].as_bytes()].concat()),
    };
    let words = word_bytes(&masked);
    masked.zeroize();
    Ok((share, WeightPart { seeds: committee.indices().map(of).collect(), words, helper: Some(assignment.helper()) }))
}

fn word_bytes(words: &[u32]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(words.len() * 4));
    extend_words(&mut bytes, words);
    bytes
}
