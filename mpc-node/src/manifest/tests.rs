//! Tests of manifests and access lists: one encoding, checked signatures, and what is not known is refused by name.

use std::sync::Arc;

use sahara_circuits::graph::{Graph, Op};
use sahara_circuits::testgraph;

use super::*;
use crate::identity::generate;

pub(crate) fn graph(seed: u64) -> Arc<Graph> {
    let (mut graph, weights, _) = testgraph::random(seed);
    graph.weights_root = weights.root(&graph.weights);
    Arc::new(graph)
}

pub(crate) fn manifest(owner: &Identity, graph: &Graph) -> Manifest {
    let share = |assignment| AssignmentShare { assignment, masked: [1; 32], seeds: [[2; 32], [3; 32]] };
    Manifest {
        owner: OwnerKey::Ed25519(owner.public()),
        name: "model".parse().unwrap(),
        version: 1,
        weights_root: graph.weights_root,
        layout: layout_digest(graph),
        graphs: vec![graph.id()],
        committee: [8; 32],
        shares: Shares::Private(Assignment::ALL.map(share).to_vec()),
        client_part: None,
        access: AccessRule::Keys(AccessList { serial: 1, consumers: Consumers::Everyone }),
        noise: None,
    }
}

#[test]
fn only_the_owner_can_sign_and_nothing_can_be_changed() {
    let (owner, thief) = (generate().unwrap(), generate().unwrap());
    let manifest = manifest(&owner, &graph(1));
    assert_eq!(manifest.clone().sign(&thief).unwrap_err(), DecodeError::Signature("manifest"));
    let signed = manifest.sign(&owner).unwrap();
    for at in 0..signed.encode().len() {
        let mut changed = signed.encode().to_vec();
        changed[at] ^= 1;
        assert!(SignedManifest::decode(&changed).is_err(), "byte {at} can be changed");
    }
    // Somebody who puts its own key into the copy of another's manifest names another sharing.
    let own = Manifest { owner: OwnerKey::Ed25519(thief.public()), ..signed.manifest().clone() };
    assert_ne!(own.sign(&thief).unwrap().manifest().sharing(), signed.manifest().sharing());
}

#[test]
fn a_manifest_permits_the_graphs_it_names_with_its_root_and_layout() {
    let (owner, one, other) = (generate().unwrap(), graph(1), graph(2));
    let m = manifest(&owner, &one);
    assert!(m.permits(one.id(), &one));
    assert!(!m.permits(other.id(), &other));
    let named = Manifest { graphs: vec![one.id(), other.id()], ..m.clone() };
    assert!(!named.permits(other.id(), &other), "another root");
    let mut renamed = (*one).clone();
    renamed.weights[0].name.push('x');
    let named = Manifest { graphs: vec![renamed.id()], ..m };
    assert!(!named.permits(renamed.id(), &renamed), "another layout under the same root");
}

#[test]
fn the_layout_tells_products_from_vectors() {
    let one = (1..200).map(graph).find(|g| {
        g.nodes.iter().any(|n| matches!(n.op, Op::MatMulWeight { .. })) && g.weights.iter().any(|w| w.rows == 1)
    });
    let graph = one.expect("some random graph has a product");
    let mut without = (*graph).clone();
    for node in &mut without.nodes {
        if let Op::MatMulWeight { x, .. } = node.op {
            node.op = Op::RowSum { x };
        }
    }
    assert_ne!(layout_digest(&without), layout_digest(&graph), "a product that becomes a vector changes the layout");
}

#[test]
fn lists_have_one_order_and_unknown_kinds_are_named() {
    let owner = generate().unwrap();
    let mut m = manifest(&owner, &graph(1));
    m.graphs = vec![GraphId([9; 32]), GraphId([3; 32]), GraphId([9; 32])];
    if let Shares::Private(shares) = &mut m.shares {
        shares.reverse();
    }
    let signed = m.sign(&owner).unwrap();
    assert_eq!(signed.manifest().graphs, [GraphId([3; 32]), GraphId([9; 32])]);
    assert!(signed.manifest().share(Assignment::ALL[0]).is_some());
    assert_eq!(SignedManifest::decode(signed.encode()).unwrap(), signed);

    let mut wallet = signed.encode().to_vec();
    wallet[10] = 2; // the tag of the owner's key
    let error = SignedManifest::decode(&wallet).unwrap_err().to_string();
    assert!(error.contains("owner's key of type 2 is not known"), "{error}");
    let mut newer = signed.encode().to_vec();
    newer[8] = 9;
    assert!(SignedManifest::decode(&newer).unwrap_err().to_string().contains("version 9"));
    let none = Manifest { graphs: vec![], ..signed.manifest().clone() };
    assert!(none.sign(&owner).is_err(), "a sharing without a graph is of no use");
    let zero = Manifest { version: 0, ..signed.manifest().clone() };
    assert!(zero.sign(&owner).is_err(), "versions begin with 1");
}

#[test]
fn an_access_list_is_bound_to_its_sharing_and_owner() {
    let (owner, other) = (generate().unwrap(), generate().unwrap());
    let key = OwnerKey::Ed25519(owner.public());
    let sharing = manifest(&owner, &graph(1)).sharing();
    let list = AccessList { serial: 5, consumers: Consumers::only([PublicKey([9; 32]), PublicKey([2; 32])]) };
    let committee = [4; 32];
    assert!(list.clone().sign(key, sharing, committee, &other).is_err(), "signed by another key");
    let signed = list.sign(key, sharing, committee, &owner).unwrap();
    assert_eq!(signed.committee(), Some(committee));
    assert!(signed.list().admits(&PublicKey([9; 32])) && !signed.list().admits(&PublicKey([3; 32])));
    let bytes = signed.encode();
    assert_eq!(SignedAccess::decode(&bytes).unwrap(), signed);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(SignedAccess::decode(&changed).is_err(), "byte {at} can be changed");
    }
}

#[test]
fn names_of_sharings_cannot_be_paths_or_commands() {
    for name in ["", ".", "..", "-rf", ".x", "a/b", "a b", "ä", "x\u{1b}[2J", &"x".repeat(65)] {
        assert!(name.parse::<SharingName>().is_err(), "{name:?}");
    }
    let owner = generate().unwrap().public();
    let text = format!("{owner}/all-MiniLM-L6-v2");
    assert_eq!(text.parse::<SharingRef>().unwrap().to_string(), text);
    assert!("all-MiniLM-L6-v2".parse::<SharingRef>().unwrap_err().contains("OWNER/NAME"));
}

/// A manifest as it is, signed, without being put in order.
fn raw(manifest: &Manifest, owner: &Identity) -> Result<SignedManifest, DecodeError> {
    let bytes = manifest.canonical();
    SignedManifest::decode(&[&bytes[..], &owner.sign(&bytes)].concat())
}

#[test]
fn what_is_twice_in_a_list_out_of_order_or_too_long_is_refused_though_it_is_signed() {
    let owner = generate().unwrap();
    let good = manifest(&owner, &graph(1));
    let Shares::Private(shares) = good.shares.clone() else { panic!("it is private") };
    assert!(raw(&good, &owner).is_ok());
    let with = |shares: Vec<AssignmentShare>| Manifest { shares: Shares::Private(shares), ..good.clone() };
    let part = |len| Some(ClientPart { digest: [4; 32], len });
    let [one, two] = [[3; 32], [9; 32]].map(GraphId);
    for (wrong, field) in [
        (Manifest { graphs: vec![one, one], ..good.clone() }, "list of graphs"),
        (Manifest { graphs: vec![two, one], ..good.clone() }, "list of graphs"),
        (with(vec![]), "list of assignments"),
        (with(vec![shares[0], shares[0]]), "list of assignments"),
        (with(vec![shares[1], shares[0]]), "list of assignments"),
        (Manifest { client_part: part(0), ..good.clone() }, "length of the client part"),
        (Manifest { client_part: part(MAX_CLIENT_PART + 1), ..good.clone() }, "length of the client part"),
    ] {
        assert_eq!(raw(&wrong, &owner).unwrap_err(), DecodeError::Field { what: WHAT, field });
    }
    for right in [part(1), part(MAX_CLIENT_PART), None] {
        assert!(raw(&Manifest { client_part: right, ..good.clone() }, &owner).is_ok());
    }
    let list = |keys: Vec<PublicKey>| AccessRule::Keys(AccessList { serial: 1, consumers: Consumers::Only(keys) });
    let [low, high] = [[2; 32], [9; 32]].map(PublicKey);
    for (keys, right) in [(vec![low, high], true), (vec![low, low], false), (vec![high, low], false)] {
        let manifest = Manifest { access: list(keys), ..good.clone() };
        assert_eq!(raw(&manifest, &owner).is_ok(), right);
        assert!(manifest.access.list().is_some());
    }
}

#[test]
fn masks_are_bound_to_the_committee_unless_the_manifest_says_that_they_are_old() {
    let owner = generate().unwrap();
    let bound = manifest(&owner, &graph(1));
    let old = Manifest { shares: Shares::OldPrivate(bound.shares.private().to_vec()), ..bound.clone() };
    let elsewhere = Manifest { committee: [9; 32], ..bound.clone() };
    for assignment in Assignment::ALL {
        let sharing = bound.sharing().0;
        assert_eq!(bound.masks(assignment), MaskDomain::new(sharing, [8; 32], 1, assignment));
        assert_eq!(elsewhere.masks(assignment), MaskDomain::new(sharing, [9; 32], 1, assignment));
        assert_eq!(old.masks(assignment), MaskDomain::old(sharing, 1, assignment));
    }
    for manifest in [&bound, &old] {
        let signed = manifest.clone().sign(&owner).unwrap();
        assert_eq!(signed.manifest(), manifest, "it says which");
        assert_eq!((manifest.visibility(), manifest.shares.private().len()), (Visibility::Private, 3));
        assert!(manifest.serves(Assignment::ALL[2]) && manifest.share(Assignment::ALL[2]).is_some());
    }
}

#[test]
fn a_sharing_serves_the_assignments_that_it_has_and_no_graph_that_it_does_not_name() {
    let (owner, one) = (generate().unwrap(), graph(1));
    let good = manifest(&owner, &one);
    let Shares::Private(shares) = good.shares.clone() else { panic!("it is private") };
    let single = Manifest { shares: Shares::Private(vec![shares[1]]), ..good.clone() };
    let open = Manifest { shares: Shares::Open, ..good.clone() };
    for (n, assignment) in Assignment::ALL.into_iter().enumerate() {
        assert!(good.serves(assignment) && open.serves(assignment) && open.share(assignment).is_none());
        assert_eq!(good.share(assignment), Some(&shares[n]));
        assert_eq!(single.serves(assignment), n == 1);
    }
    let unnamed = Manifest { graphs: vec![GraphId([9; 32])], ..good };
    assert!(!unnamed.permits(one.id(), &one), "the right root and layout are not enough");
}

#[test]
fn commitments_tell_words_parts_and_seeds_apart() {
    let words: Vec<u32> = (0..9_000).collect();
    let digest = commit::masked_digest(&words);
    for at in [0, 4_095, 4_096, 8_999] {
        let mut other = words.clone();
        other[at] += 1;
        assert_ne!(commit::masked_digest(&other), digest, "word {at}");
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(*commit::masked_hasher().update(&bytes).finalize().as_bytes(), digest, "as it is hashed in pieces");
    assert_ne!(*blake3::hash(&bytes).as_bytes(), digest, "a domain of its own");
}

#[test]
fn what_is_longer_than_a_manifest_may_be_is_not_read() {
    let too_long = DecodeError::Field { what: "manifest", field: "length" };
    assert_eq!(SignedManifest::decode(&vec![0; MAX_MANIFEST + 1]).unwrap_err(), too_long);
    assert_ne!(SignedManifest::decode(&vec![0; MAX_MANIFEST]).unwrap_err(), too_long);
}

#[test]
fn the_keys_of_a_list_are_counted() {
    let of = |consumers| AccessList { serial: 1, consumers };
    let [none, two] = [0, 2].map(|count| of(Consumers::only((0..count).map(|n| PublicKey([n; 32])))));
    assert_eq!((none.len(), none.is_empty(), two.len(), two.is_empty()), (0, true, 2, false));
    assert_eq!((of(Consumers::Everyone).len(), of(Consumers::Everyone).is_empty()), (0, true));
}

#[test]
fn a_commitment_to_a_seed_tells_sharings_roles_and_seeds_apart() {
    let owner = generate().unwrap();
    let manifest = manifest(&owner, &graph(1));
    let [one, other] = [0, 1].map(|n| manifest.masks(Assignment::ALL[n]));
    let seeds = [[1; 32], [2; 32]].map(crate::engine::Seed::from_bytes);
    let mut all = Vec::new();
    for domain in [&one, &other] {
        for role in 0..2 {
            all.extend(seeds.iter().map(|seed| seed_commitment(domain, role, seed)));
        }
    }
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), 8);
    assert_eq!(all[0], seed_commitment(&one, 0, &seeds[0]));
}

fn noisy(owner: &Identity) -> Manifest {
    let terms = NoiseTerms {
        noise: NodeNoise::new(vec![1, 4], 800).unwrap(),
        assignment: Assignment::ALL[2],
        dataset: "reviews".parse().unwrap(),
        sensitivity: Sensitivity { l1: 2, l2_squared: 2 },
        budget: Budget::new(2.5, 1e-6).unwrap(),
    };
    let base = manifest(owner, &graph(1));
    let shares = Shares::Private(vec![base.shares.private()[2]]);
    Manifest { noise: Some(terms), shares, ..base }
}

#[test]
fn terms_of_noise_are_signed_and_manifests_without_are_as_they_were() {
    let owner = generate().unwrap();
    let clear = manifest(&owner, &graph(1)).sign(&owner).unwrap();
    assert_eq!((clear.encode()[8], clear.manifest().noise.is_none()), (1, true));
    let signed = noisy(&owner).sign(&owner).unwrap();
    assert_eq!((signed.encode()[8], signed.manifest()), (2, &noisy(&owner)));
    for at in 0..signed.encode().len() {
        let mut changed = signed.encode().to_vec();
        changed[at] ^= 1;
        assert!(SignedManifest::decode(&changed).is_err(), "byte {at} can be changed");
    }
    let budget = signed.manifest().noise.as_ref().unwrap().budget;
    assert!((budget.epsilon() - 2.5).abs() < 1e-9 && (budget.delta() - 1e-6).abs() < 1e-15);
    // One assignment, whose evaluators count.
    let serves = Assignment::ALL.map(|assignment| signed.manifest().serves(assignment));
    assert_eq!(serves, [false, false, true]);
    let open = Manifest { shares: Shares::Open, ..noisy(&owner) }.sign(&owner).unwrap();
    assert_eq!(Assignment::ALL.map(|assignment| open.manifest().serves(assignment)), [false, false, true]);
}

#[test]
fn terms_that_make_no_sense_are_refused_though_they_are_signed() {
    let owner = generate().unwrap();
    let with = |edit: &dyn Fn(&mut NoiseTerms)| {
        let mut manifest = noisy(&owner);
        edit(manifest.noise.as_mut().unwrap());
        raw(&manifest, &owner).map(drop)
    };
    assert_eq!(with(&|_| ()), Ok(()));
    let field = |field| Err(DecodeError::Field { what: WHAT, field });
    for assignment in [Assignment::ALL[0], Assignment::ALL[1]] {
        assert_eq!(with(&|t| t.assignment = assignment), field("assignment of noise"));
    }
    let all = manifest(&owner, &graph(1)).shares;
    assert_eq!(raw(&Manifest { shares: all, ..noisy(&owner) }, &owner).map(drop), field("assignment of noise"));
    for (l1, l2_squared, right) in [(2, 2, true), (2, 4, true), (2, 5, false), (3, 2, false), (0, 0, false)] {
        let sensitivity = Sensitivity { l1, l2_squared };
        assert_eq!(with(&|t| t.sensitivity = sensitivity).is_ok(), right, "{sensitivity:?}");
    }
    let wide = Sensitivity { l1: (1 << 29) + 1, l2_squared: 1 << 30 };
    assert_eq!(with(&|t| t.sensitivity = wide), field("sensitivity"));
    let good = Budget::new(1.0, 1e-5).unwrap();
    for budget in [
        Budget { epsilon_micros: 0, ..good },
        Budget { epsilon_micros: 1_000_000_000_001, ..good },
        Budget { delta_femtos: 0, ..good },
        Budget { delta_femtos: 1_000_000_000_000_000, ..good },
    ] {
        assert_eq!(with(&|t| t.budget = budget), field("budget"));
    }
    for (epsilon, delta) in [(0.0, 1e-5), (-1.0, 1e-5), (f64::NAN, 1e-5), (f64::INFINITY, 1e-5), (1.0, 0.0), (1.0, 1.0)]
    {
        assert!(Budget::new(epsilon, delta).is_err(), "{epsilon} {delta}");
    }
}

#[test]
fn answers_cost_what_their_noise_and_sensitivity_say() {
    let cost =
        |variance, l1, l2_squared| AnswerCost { variance, sensitivity: Sensitivity { l1, l2_squared }, numbers: 10 };
    let epsilon = |cost, times| AnswerCost::epsilon(&[(cost, times)], 1e-5).unwrap();
    let base = epsilon(cost(1600, 2, 2), 10);
    assert!(epsilon(cost(800, 2, 2), 10) > 1.3 * base, "less noise");
    assert!(epsilon(cost(1600, 4, 8), 10) > 1.5 * base, "more sensitivity");
    assert!(epsilon(cost(1600, 2, 2), 20) > 1.3 * base, "more answers");
    let both = AnswerCost::epsilon(&[(cost(1600, 2, 2), 10), (cost(800, 2, 2), 10)], 1e-5).unwrap();
    assert!(both > epsilon(cost(800, 2, 2), 10), "other answers about the same data");
}
