//! Uploads by hand, frame by frame: what an owner's own client would never send.

use std::sync::Arc;
use std::time::Duration;

use sahara_circuits::graph::Graph;
use sahara_mpc::client::{Assignment, Consumers, OwnerKey};
use sahara_mpc::engine::{Seed, mask_weights};
use sahara_mpc::identity::Identity;
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::manifest::{
    AccessList, AccessRule, AssignmentShare, Manifest, Shares, SignedManifest, layout_digest, masked_digest,
    seed_commitment,
};
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::wire::{Begin, Kind, Message, Piece};

use super::{Case, Network};

const TIME: Duration = Duration::from_secs(20);

/// A lane of this key to a node.
pub fn lane(network: &Network, identity: &Identity, node: u8) -> Lane {
    let meter = Arc::new(Meter::default());
    let mut lane = Lane::connect(identity, &network.committee, node, TIME, meter).unwrap();
    lane.begin("in a test", Traffic::Setup, TIME);
    lane
}

/// Asks something that is answered with `Done`.
pub fn ask<M: Message>(network: &Network, identity: &Identity, node: u8, message: &M) -> Result<(), LaneError> {
    let mut lane = lane(network, identity, node);
    lane.send(message)?;
    lane.receive_frame(Kind::Done).map(|_| ())
}

/// A version made by hand: its manifest, which may be changed before it is signed, and its pieces for each node.
pub struct ByHand {
    pub manifest: Manifest,
    pub pieces: [Vec<Vec<u8>>; 3],
}

impl ByHand {
    /// Private weights for the first assignment.
    pub fn new(network: &Network, owner: &Identity, name: &str, version: u64, case: &Case) -> Self {
        Self::with_graphs(network, owner, name, version, case, std::slice::from_ref(&case.graph))
    }

    /// The same as a program of before masks were bound to the committee made it.
    pub fn old(network: &Network, owner: &Identity, name: &str, version: u64, case: &Case) -> Self {
        let graphs = std::slice::from_ref(&case.graph);
        Self::shared_as(Shares::OldPrivate, (network, owner), (name, version), case, graphs)
    }

    pub fn with_graphs(
        network: &Network,
        owner: &Identity,
        name: &str,
        version: u64,
        case: &Case,
        graphs: &[Arc<Graph>],
    ) -> Self {
        Self::shared_as(Shares::Private, (network, owner), (name, version), case, graphs)
    }

    fn shared_as(
        private: fn(Vec<AssignmentShare>) -> Shares,
        (network, owner): (&Network, &Identity),
        (name, version): (&str, u64),
        case: &Case,
        graphs: &[Arc<Graph>],
    ) -> Self {
        let mut manifest = Manifest {
            owner: OwnerKey::Ed25519(owner.public()),
            name: name.parse().unwrap(),
            version,
            weights_root: case.graph.weights_root,
            layout: layout_digest(&case.graph),
            graphs: graphs.iter().map(|graph| graph.id()).collect(),
            committee: network.committee.digest(),
            shares: private(Vec::new()),
            client_part: None,
            access: AccessRule::Keys(AccessList { serial: version, consumers: Consumers::Everyone }),
            noise: None,
        };
        let assignment = Assignment::ALL[0];
        let domain = manifest.masks(assignment);
        let seeds = [[1; 32], [2; 32]].map(Seed::from_bytes);
        let masked = mask_weights(&case.weights, &domain, &seeds[0], &seeds[1]);
        manifest.shares = private(vec![AssignmentShare {
            assignment,
            masked: masked_digest(&masked),
            seeds: [0, 1].map(|role| seed_commitment(&domain, role, &seeds[role])),
        }]);
        let mut sorted = graphs.to_vec();
        sorted.sort_by_key(|graph| graph.id());
        let words: Vec<u8> = masked.iter().flat_map(|word| word.to_le_bytes()).collect();
        let pieces = [0u8, 1, 2].map(|node| {
            let mut pieces: Vec<Vec<u8>> = sorted.iter().map(|graph| graph.to_bytes()).collect();
            pieces.push(match node {
                0 => [*seeds[0].as_bytes(), *seeds[1].as_bytes()].concat(),
                _ => [&seeds[usize::from(node) - 1].as_bytes()[..], &words].concat(),
            });
            pieces
        });
        Self { manifest, pieces }
    }

    pub fn bytes(&self, node: u8) -> u64 {
        self.pieces[usize::from(node)].iter().map(|piece| piece.len() as u64).sum()
    }

    /// Begins the upload at a node and sends the first `count` pieces.
    pub fn begin(
        &self,
        network: &Network,
        identity: &Identity,
        signed: &SignedManifest,
        node: u8,
        count: usize,
    ) -> Result<Lane, LaneError> {
        let mut lane = lane(network, identity, node);
        lane.send(&Begin { manifest: signed.clone(), bytes: self.bytes(node) })?;
        lane.receive_frame(Kind::GoOn)?;
        for piece in self.pieces[usize::from(node)].iter().take(count) {
            lane.send(&Piece { len: piece.len() as u64 })?;
            lane.send_stream(piece)?;
        }
        Ok(lane)
    }

    /// Signs it and uploads it to a node.
    pub fn upload(&self, network: &Network, owner: &Identity, node: u8) -> Result<(), LaneError> {
        let signed = self.manifest.clone().sign(owner).unwrap();
        commit(self.begin(network, owner, &signed, node, usize::MAX)?)
    }
}

pub fn commit(mut lane: Lane) -> Result<(), LaneError> {
    // The node may have refused a piece already: then it is its answer that counts.
    let _ = lane.send_frame(Kind::Commit, &[]);
    lane.receive_frame(Kind::Done).map(|_| ())
}
