//! Nobody but its owner reads, changes, blocks or takes away a sharing; what it permits is what its owner has signed.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;

use common::upload::{ByHand, ask, commit, lane};
use common::{Case, Network, case, copy_folder, files};
use sahara_circuits::graph::{BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, Shape, WeightId};
use sahara_mpc::client::{Assignment, Client, Consumers, Job, Listed, Rounding, SharingRef, Task, Visibility};
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::lane::LaneError;
use sahara_mpc::manifest::{AccessList, AccessRule, Asset, ClientPart, SharingId};
use sahara_mpc::wire::{
    Begin, Deal, DeleteSharing, FailCode, GetClientPart, Incarnation, Kind, PackId, Prepare, PutAccess, Run,
};

fn identity() -> Arc<Identity> {
    Arc::new(generate().unwrap())
}

fn refused(result: Result<(), LaneError>, say: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(say), "{error}");
}

/// The graph that hands every weight tensor of a model to whoever runs it: identity matrices in, tensors out.
fn reading_graph(of: &Graph) -> (Arc<Graph>, Vec<Vec<i32>>) {
    let mut graph = Graph { inputs: vec![], nodes: vec![], outputs: vec![], tables: vec![], ..of.clone() };
    let mut inputs = Vec::new();
    for (w, spec) in of.weights.iter().enumerate() {
        let w = WeightId(w as u32);
        let product = of.nodes.iter().any(|n| matches!(n.op, Op::MatMulWeight { w: used, .. } if used == w));
        let rows = if product { spec.rows } else { 1 };
        let cols = if product { spec.rows } else { spec.cols };
        let x = NodeId(graph.nodes.len() as u32);
        let op = if product { Op::MatMulWeight { x, w } } else { Op::AddWeight { x, w } };
        let shape = Shape::new(1, rows, cols);
        inputs.push((0..rows * cols).map(|i| i32::from(product && i / cols == i % cols)).collect());
        let name = format!("input {}", graph.inputs.len());
        let input = Op::Input(graph.inputs.len() as u32);
        graph.inputs.push(InputSpec {
            name,
            shape,
            bits: 32,
            range: InputRange::Symmetric,
            max_abs: 1,
            max_row_norm: 1,
        });
        for (op, cols) in [(input, cols), (op, spec.cols)] {
            let shape = Shape::new(1, rows, cols);
            let (name, origin) = (format!("node {}", graph.nodes.len()), BoundOrigin::Calibrated);
            graph.nodes.push(Node { name, op, shape, bits: 32, bound: 1 << 20, origin });
        }
        graph.outputs.push(NodeId(x.0 + 1));
    }
    graph.check().unwrap();
    (Arc::new(graph), inputs)
}

#[test]
fn a_graph_that_the_owner_does_not_permit_gets_no_weights() {
    let mut network = Network::start(|toml| toml);
    let (owner, thief) = (network.client(), identity());
    let victim = case(1);
    victim.register(&owner, Visibility::Private); // for everyone: also whoever may ask may not choose the graph
    let good = victim.task(0, Rounding::Exact, Visibility::Private);
    let (reading, inputs) = reading_graph(&victim.graph);
    let steal = Task { graph: reading.id(), ..good };

    let attempt = |network: &Network| {
        let thief = network.client_of(&thief);
        let job = Job { graph: &reading, task: steal, inputs: &inputs, auto_prepare: true };
        let error = thief.infer(&job).unwrap_err();
        assert_eq!(error.code(), Some(FailCode::Refused), "{error}");
        assert!(error.to_string().contains("not one that the owner of the sharing permits"), "{error}");
        assert_eq!(thief.prepare(&steal, 1, &mut |_| ()).unwrap_err().code(), Some(FailCode::Refused));
    };
    attempt(&network);
    // A restart empties every cache: a stranger's graph must not decide how weights lie there either.
    for node in 0..3 {
        network.stop_node(node);
        network.start_node(node);
    }
    attempt(&network);
    assert_eq!(victim.run(&owner, good, true).unwrap().outputs, victim.expected);

    // Under its own key the thief may name the victim's root as it likes: it reads what it has put there itself.
    let client = network.client_of(&thief);
    let own = case(2);
    let mut forged = (*reading).clone();
    forged.weights_root = victim.graph.weights_root;
    let mut weights = victim.weights.clone();
    weights.tensors.iter_mut().flatten().for_each(|w| *w = 7);
    let theirs = Case { graph: Arc::new(forged), weights, inputs: inputs.clone(), expected: vec![], ..own };
    theirs.register(&client, Visibility::Private);
    let task = theirs.task(0, Rounding::Exact, Visibility::Private);
    let read = client.infer(&Job { graph: &theirs.graph, task, inputs: &inputs, auto_prepare: true }).unwrap();
    assert!(read.outputs.iter().flatten().all(|w| *w == 7), "the thief reads its own numbers");
    assert_eq!(victim.run(&owner, good, true).unwrap().outputs, victim.expected, "and the owner is not disturbed");
}

#[test]
fn who_is_not_on_the_list_is_refused_by_every_node_before_anything_is_done() {
    let network = Network::start(|toml| toml);
    let (owner, friend, stranger) = (network.client(), identity(), identity());
    let model = case(3);
    let mut offer = model.offer(Visibility::Private);
    offer.access = Consumers::only([friend.public()]).into();
    let sharing = owner.share(&offer, &|_, _| ()).unwrap();
    let task = sharing.task(&model.graph, Assignment::ALL[0], Rounding::Exact).unwrap();
    owner.prepare(&task, 2, &mut |_| ()).unwrap();
    let packs = |client: &Client| network.status(client).map(|status| status.packs_for(&task));
    assert_eq!(packs(&owner), [0, 2, 2]);
    let ready = |client: &Client| client.packs_ready(&task).unwrap();
    assert_eq!((ready(&owner), ready(&network.client_of(&stranger))), (2, 0));

    let client = network.client_of(&stranger);
    assert_eq!(client.find(&SharingRef::Manifest(sharing.id())).unwrap(), None);
    assert_eq!(client.sharings().unwrap().sharings, []);
    assert_eq!(packs(&client), [0; 3], "nor is the stranger told of packs");
    assert!(network.status(&client).iter().all(|status| status.sharings == 0));
    let job = sahara_mpc::wire::JobId([1; 16]);
    let prepare = Prepare { task, count: 1, consumer: stranger.public(), job: None, asked: None };
    // Each is refused at once: the input share is never asked for.
    refused(ask(&network, &stranger, 0, &prepare), "is not here");
    for evaluator in [1, 2] {
        refused(
            ask(
                &network,
                &stranger,
                evaluator,
                &Run {
                    job,
                    task,
                    inputs: [[0; 32]; 2],
                    salt: sahara_mpc::engine::Seed::from_bytes([0; 32]),
                    signature: [0; 64],
                    voucher: Vec::new(),
                },
            ),
            "is not here",
        );
    }
    refused(ask(&network, &stranger, 0, &Prepare { consumer: friend.public(), ..prepare }), "whoever asks");
    let mut fetch = lane(&network, &stranger, 1);
    fetch.send(&GetClientPart(sharing.id())).unwrap();
    refused(fetch.receive_frame(Kind::Piece).map(|_| ()), "is not here");
    // A helper that deals for a stranger is refused by the evaluators.
    let helper = sahara_mpc::identity::load(&network.home(0).join("key")).unwrap();
    for evaluator in [1, 2] {
        let seed = zeroize::Zeroizing::new([1; 32]);
        let incarnation = Incarnation([2; 16]);
        let consumer = stranger.public();
        let deal = Deal { pack: PackId([1; 16]), task, consumer, job: None, incarnation, seed, corrections: 0 };
        let mut lane = lane(&network, &helper, evaluator);
        lane.send(&deal).unwrap();
        refused(lane.receive_frame(Kind::DealReady).map(|_| ()), "is not here");
    }
    assert_eq!(packs(&owner), [0, 2, 2], "nothing was used up or made");

    let friend = network.client_of(&friend);
    assert_eq!(ready(&friend), 0, "for a while they are the owner's");
    assert_eq!(model.run(&friend, task, true).unwrap().outputs, model.expected);
    assert_eq!(model.run(&owner, task, false).unwrap().outputs, model.expected, "the owner needs no list");
    assert_eq!(friend.sharings().unwrap().sharings.len(), 1);

    // The owner takes the friend off the list and puts the stranger on it.
    owner.set_consumers(&offer.name, Consumers::only([stranger.public()])).unwrap();
    assert_eq!(model.run(&friend, task, true).unwrap_err().code(), Some(FailCode::NoModel));
    assert_eq!(model.run(&client, task, true).unwrap().outputs, model.expected);
}

#[test]
fn access_lists_and_versions_never_go_back() {
    let mut network = Network::start(|toml| toml);
    let (owner, stranger) = (identity(), identity());
    let model = case(4);
    let first = ByHand::new(&network, &owner, "model", 1, &model);
    let second = ByHand::new(&network, &owner, "model", 2, &model);
    for node in 0..3 {
        first.upload(&network, &owner, node).unwrap();
        second.upload(&network, &owner, node).unwrap();
    }
    let (key, sharing, committee) = (first.manifest.owner, first.manifest.sharing(), first.manifest.committee);
    let list = |serial| {
        let list = AccessList { serial, consumers: Consumers::only([stranger.public()]) };
        PutAccess(list.sign(key, sharing, committee, &owner).unwrap())
    };
    ask(&network, &owner, 1, &list(5)).unwrap();
    for serial in [2, 4, 5] {
        refused(ask(&network, &owner, 1, &list(serial)), "sign one with a higher serial");
    }
    // Nor does somebody else's lane carry the owner's list, however genuine.
    refused(ask(&network, &stranger, 1, &list(9)), "is not here");

    refused(first.upload(&network, &owner, 0), "not newer");
    refused(second.upload(&network, &owner, 0), "sent a Done frame"); // the current version is simply there
    let mut third = ByHand::new(&network, &owner, "model", 3, &model);
    refused(third.upload(&network, &owner, 1), "higher serial"); // its list has serial 3, 5 was seen
    third.manifest.access = AccessRule::Keys(AccessList { serial: 6, consumers: Consumers::Everyone });
    for node in 0..3 {
        third.upload(&network, &owner, node).unwrap();
        ask(&network, &owner, node, &DeleteSharing(sharing)).unwrap();
        network.stop_node(usize::from(node));
        network.start_node(usize::from(node));
        refused(second.upload(&network, &owner, node), "not newer");
    }
    let mut fourth = ByHand::new(&network, &owner, "model", 4, &model);
    fourth.manifest.access = AccessRule::Keys(AccessList { serial: 7, consumers: Consumers::Everyone });
    fourth.upload(&network, &owner, 0).unwrap();
}

#[test]
fn only_the_owner_uploads_replaces_and_deletes() {
    let network = Network::start(|toml| toml);
    let (owner, thief) = (identity(), identity());
    let model = case(5);
    let version = ByHand::new(&network, &owner, "model", 1, &model);
    let signed = version.manifest.clone().sign(&owner).unwrap();
    // Whoever has seen the signed manifest cannot use it, before the owner does or after.
    let replay = || version.begin(&network, &thief, &signed, 0, 0).map(|_| ());
    refused(replay(), "taken from its owner only");
    // The thief comes first with the same name and root: that is another sharing and blocks nobody.
    let own = ByHand::new(&network, &thief, "model", 9, &model);
    for node in 0..3 {
        own.upload(&network, &thief, node).unwrap();
        version.upload(&network, &owner, node).unwrap();
    }
    refused(replay(), "taken from its owner only");
    let sharing = signed.manifest().sharing();
    refused(ask(&network, &thief, 0, &DeleteSharing(sharing)), "no such sharing of yours");
    assert_eq!(SharingId::of(&own.manifest.owner, &own.manifest.name), own.manifest.sharing());
    let task = Task {
        manifest: signed.id(),
        graph: model.graph.id(),
        assignment: Assignment::ALL[0],
        rounding: Rounding::Exact,
    };
    assert_eq!(model.run(&network.client_of(&owner), task, true).unwrap().outputs, model.expected);
    let mut forged = signed.encode().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let mut raw = lane(&network, &owner, 0);
    raw.send_frame(Kind::Begin, &[&7u64.to_le_bytes()[..], &forged].concat()).unwrap();
    refused(raw.receive_frame(Kind::GoOn).map(|_| ()), "does not have its owner's signature");
}

#[test]
fn what_is_uploaded_is_what_was_signed() {
    let network = Network::start(|toml| toml);
    let owner = identity();
    let (model, other) = (case(6), case(7));
    let fresh = |version| ByHand::new(&network, &owner, "model", version, &model);
    // A graph with other weights, one with another layout under the same root, masked words, seeds: all are compared.
    let mut graphs = vec![model.graph.clone(), other.graph.clone()];
    let two = ByHand::with_graphs(&network, &owner, "model", 1, &model, &graphs);
    refused(two.upload(&network, &owner, 0), "weights root and the weight layout");
    let mut renamed = (*model.graph).clone();
    renamed.weights[0].name.push('x');
    graphs[1] = Arc::new(renamed);
    let two = ByHand::with_graphs(&network, &owner, "model", 1, &model, &graphs);
    refused(two.upload(&network, &owner, 0), "weights root and the weight layout");
    for (node, byte, say) in [(0, 0, "seeds"), (0, 40, "seeds"), (1, 0, "seeds"), (1, 40, "masked weights")] {
        let mut changed = fresh(1);
        changed.pieces[node].last_mut().unwrap()[byte] ^= 1;
        refused(changed.upload(&network, &owner, node as u8), say);
    }
    let mut longer = fresh(1);
    longer.pieces[1].last_mut().unwrap().push(0);
    refused(longer.upload(&network, &owner, 1), "does not fit");
    let mut part = fresh(1);
    let bytes = b"tokenizer and tables".to_vec();
    part.manifest.client_part = Some(ClientPart { digest: *blake3::hash(&bytes).as_bytes(), len: bytes.len() as u64 });
    part.pieces.iter_mut().for_each(|pieces| pieces.push(bytes.clone()));
    part.pieces[2].last_mut().unwrap()[3] ^= 1;
    refused(part.upload(&network, &owner, 2), "the client part is not the one that the manifest commits to");
    let signed = part.manifest.clone().sign(&owner).unwrap();
    for pieces in 0..3 {
        refused(commit(part.begin(&network, &owner, &signed, 1, pieces).unwrap()), "sent a Commit frame");
    }
    let mut elsewhere = fresh(1);
    elsewhere.manifest.committee = [7; 32];
    refused(elsewhere.upload(&network, &owner, 1), "another committee");
    let mut chained = fresh(1);
    chained.manifest.access = AccessRule::Chain(Asset { chain: 5, contract: [1; 20], asset: [2; 32] });
    refused(chained.upload(&network, &owner, 1), "an asset on chain 5 is not served");
    // Nothing of all that stays, and the owner's upload is as welcome as ever.
    for node in 0..3 {
        assert_eq!(files(&network.home(node).join("sharings")), Vec::<std::path::PathBuf>::new());
        fresh(1).upload(&network, &owner, node as u8).unwrap();
    }
}

#[test]
fn an_interrupted_upload_vanishes_and_what_changed_meanwhile_counts() {
    let mut network = Network::start(|toml| toml);
    let owner = identity();
    let model = case(8);
    let first = ByHand::new(&network, &owner, "model", 1, &model);
    (0..3).for_each(|node| first.upload(&network, &owner, node).unwrap());
    let second = ByHand::new(&network, &owner, "model", 2, &model);
    let signed = second.manifest.clone().sign(&owner).unwrap();
    // The connection ends in the middle.
    drop(second.begin(&network, &owner, &signed, 0, 1).unwrap());
    let waiting = std::time::Instant::now();
    while files(&network.home(0).join("sharings")).iter().any(|path| path.to_string_lossy().contains("upload")) {
        assert!(waiting.elapsed() < std::time::Duration::from_secs(20), "half an upload stays");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // One upload at a time; and at its end everything is asked again.
    let parked = second.begin(&network, &owner, &signed, 1, usize::MAX).unwrap();
    let third = ByHand::new(&network, &owner, "model", 3, &model);
    refused(third.upload(&network, &owner, 1), "another upload of this owner is under way");
    let list = AccessList { serial: 9, consumers: Consumers::Everyone };
    let list = list.sign(first.manifest.owner, first.manifest.sharing(), first.manifest.committee, &owner).unwrap();
    ask(&network, &owner, 1, &PutAccess(list)).unwrap();
    refused(commit(parked), "higher serial");
    // A node that dies in the middle of an upload starts without it, and serves what was there.
    let folder = network.home(2).join("sharings");
    let parked = second.begin(&network, &owner, &signed, 2, 1).unwrap();
    let half = folder.join(format!("upload-{}", owner.public()));
    assert!(half.is_dir());
    network.stop_node(2);
    drop(parked);
    std::fs::create_dir_all(&half).unwrap();
    network.start_node(2);
    assert!(!half.exists());
    let served = network.client_of(&owner).find(&SharingRef::Named(first.manifest.owner, "model".parse().unwrap()));
    assert_eq!(served.unwrap().unwrap().manifest().version, 1);
}

#[test]
fn room_is_asked_for_before_a_byte_is_taken() {
    let network = Network::start(|toml| {
        toml.replacen("owner_megabytes = 2048", "owner_megabytes = 1", 1).replacen(
            "owner_sharings = 64",
            "owner_sharings = 2",
            1,
        )
    });
    let (owner, other) = (identity(), identity());
    let model = case(9);
    let large = ByHand::new(&network, &owner, "model", 1, &model);
    let signed = large.manifest.clone().sign(&owner).unwrap();
    let mut lane = lane(&network, &owner, 0);
    lane.send(&Begin { manifest: signed, bytes: 2 << 20 }).unwrap();
    refused(lane.receive_frame(Kind::GoOn).map(|_| ()), "limits.owner_megabytes");
    // More than was announced is not taken, whoever says what.
    let mut small = ByHand::new(&network, &owner, "model", 1, &model);
    let all = small.pieces[0].clone();
    small.pieces[0].truncate(1);
    let signed = small.manifest.clone().sign(&owner).unwrap();
    let mut lane = small.begin(&network, &owner, &signed, 0, 1).unwrap();
    lane.send(&sahara_mpc::wire::Piece { len: all[1].len() as u64 }).unwrap();
    refused(lane.receive_frame(Kind::Done).map(|_| ()), "does not fit");
    for (name, sharing) in [("a", true), ("b", true), ("c", false)] {
        let version = ByHand::new(&network, &owner, name, 1, &model);
        let result = version.upload(&network, &owner, 0);
        assert_eq!(result.is_ok(), sharing, "{name}: {result:?}");
    }
    ByHand::new(&network, &other, "c", 1, &model).upload(&network, &other, 0).unwrap();
}

#[test]
fn a_replaced_version_takes_its_packs_with_it_and_answers_stay_right() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let (old, new) = (case(10), case(11));
    old.register(&client, Visibility::Private);
    let task = old.task(0, Rounding::Exact, Visibility::Private);
    client.prepare(&task, 2, &mut |_| ()).unwrap();
    assert_eq!(files(&network.home(1).join("sharings")).len(), 2 + 1 + 3, "a record; manifest, graph, three parts");
    new.register(&client, Visibility::Private); // under the same name
    assert_eq!(old.run(&client, task, true).unwrap_err().code(), Some(FailCode::NoModel));
    let task = new.task(0, Rounding::Exact, Visibility::Private);
    assert_eq!(new.run(&client, task, true).unwrap().outputs, new.expected);
    assert_eq!(files(&network.home(1).join("sharings")).len(), 2 + 1 + 3, "the old version's files are gone");
    let name = new.offer(Visibility::Private).name;
    assert!(client.unshare(&name).unwrap() && !client.unshare(&name).unwrap());
    assert_eq!(new.run(&client, task, true).unwrap_err().code(), Some(FailCode::NoModel));
    assert!(network.status(&client).iter().all(|status| status.packs.is_empty() && status.sharings == 0));
}

#[test]
fn jobs_that_run_while_their_version_is_replaced_end_in_order() {
    let network = Network::start(|toml| toml);
    let owner = identity();
    let client = network.client_of(&owner);
    let model = case(15);
    model.register(&client, Visibility::Private);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let client = network.client_of(&owner);
            let (mut right, mut gone) = (0, 0);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let task = model.task(1, Rounding::Exact, Visibility::Private);
                match model.run(&client, task, true) {
                    Ok(answer) => {
                        assert_eq!(answer.outputs, model.expected);
                        right += 1;
                    }
                    Err(error) => {
                        // The version, its pack or the other evaluator's half of the job was gone: said, not guessed.
                        let code = error.code();
                        let said = [FailCode::NoModel, FailCode::NoPack, FailCode::Peer, FailCode::Refused];
                        assert!(code.is_some_and(|code| said.contains(&code)), "{error}");
                        gone += 1;
                    }
                }
            }
            (right, gone)
        };
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        for _ in 0..10 {
            model.register(&client, Visibility::Private);
            std::thread::sleep(std::time::Duration::from_millis(40));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let right: u32 = askers.map(|asker| asker.join().unwrap().0).iter().sum();
        assert!(right > 0, "some jobs ran between the replacements");
    });
    let task = model.task(1, Rounding::Exact, Visibility::Private);
    assert_eq!(model.run(&client, task, true).unwrap().outputs, model.expected);
    let stale = network.status(&client)[2].packs.iter().filter(|(t, _)| t.manifest != task.manifest).count();
    assert_eq!(stale, 0, "no pack of an old version is left");
}

#[test]
fn a_part_that_changed_on_disk_is_refused_not_used() {
    let mut network = Network::start(|toml| toml);
    let client = network.client();
    let model = case(12);
    model.register(&client, Visibility::Private);
    let task = model.task(0, Rounding::Exact, Visibility::Private);
    network.stop_node(1);
    let parts = files(&network.home(1).join("sharings"));
    let part = parts.iter().find(|path| path.ends_with("part-0")).unwrap();
    let mut bytes = std::fs::read(part).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(part, bytes).unwrap();
    network.start_node(1);
    let error = model.run(&client, task, true).unwrap_err();
    assert!(error.to_string().contains("not those that the manifest commits to"), "{error}");
}

#[test]
fn a_client_uses_what_its_owner_permits_and_all_nodes_hold() {
    let network = Network::start(|toml| toml);
    let owner = identity();
    let model = case(13);
    let first = ByHand::new(&network, &owner, "model", 1, &model);
    (0..3).for_each(|node| first.upload(&network, &owner, node).unwrap());
    let named = SharingRef::Named(first.manifest.owner, first.manifest.name.clone());
    let client = network.client();
    let found = client.find(&named).unwrap().unwrap();
    let exactly = SharingRef::Manifest(found.id());
    assert_eq!(client.find(&exactly).unwrap().unwrap(), found);
    assert!(found.task(&case(14).graph, Assignment::ALL[0], Rounding::Exact).is_err(), "a graph of another model");
    assert!(found.task(&model.graph, Assignment::ALL[1], Rounding::Exact).is_err(), "an assignment not shared");
    // One node has another version: nobody can tell which is meant.
    ByHand::new(&network, &owner, "model", 2, &model).upload(&network, &owner, 1).unwrap();
    let error = client.find(&named).unwrap_err().to_string();
    assert!(error.contains("different versions") && error.contains("node 2: version 2"), "{error}");
    assert!(client.find(&exactly).is_err(), "and the version that was meant is not everywhere");
}

#[test]
fn a_node_that_does_not_answer_keeps_no_model_and_no_key_with_the_others() {
    let mut network = Network::start(|toml| toml);
    let (owner, friend) = (network.client(), identity());
    let sharing = case(6).register_for(&owner, Visibility::Private, &Assignment::ALL);
    let name = sharing.manifest().name.clone();
    owner.set_consumers(&name, Consumers::only([friend.public()])).unwrap();
    network.stop_node(0);
    owner.set_consumers(&name, Consumers::Only(Vec::new())).unwrap_err();
    let held = owner.held(&name).unwrap().unwrap();
    let nobody = Listed::Keys(Consumers::Only(Vec::new()));
    assert_eq!((held.listed, held.settled), (nobody, true), "the others were told");
    owner.unshare(&name).unwrap_err();
    network.start_node(0);
    let which = SharingRef::Named(owner.owner_key(), name.clone());
    let held = owner.find(&which).unwrap_err().to_string();
    assert!(held.contains("node 2: nothing") && held.contains("node 3: nothing"), "{held}");
    let held = owner.held(&name).unwrap().unwrap();
    assert_eq!((held.sharing, held.settled), (None, false));
    assert_eq!(held.listed, Listed::TakenBack { shown_by: vec![1] }, "what one node kept lets nobody in again");
    assert!(owner.unshare(&name).unwrap(), "the next attempt puts it right");
    assert!(owner.find(&which).unwrap().is_none());
}

/// What an owner would let in again, or leave in, if it believed the first node that it asked.
#[test]
fn an_owner_sees_the_latest_list_and_who_does_not_go_by_it() {
    let mut network = Network::start(|toml| toml);
    let (owner, friend) = (network.client(), identity());
    let case = case(6);
    let sharing = case.register_for(&owner, Visibility::Private, &Assignment::ALL);
    let name = sharing.manifest().name.clone();
    let folder = |network: &Network, node| network.home(node).join("sharings");
    let let_in = Consumers::only([friend.public()]);
    owner.set_consumers(&name, let_in.clone()).unwrap();
    let older = tempfile::tempdir().unwrap();
    network.stop_node(2);
    copy_folder(&folder(&network, 2), older.path());
    network.start_node(2);
    let now = Consumers::only([owner.key(), friend.public()]);
    owner.set_consumers(&name, now.clone()).unwrap();
    let held = owner.held(&name).unwrap().unwrap();
    assert_eq!((held.sharing.as_ref(), held.listed.keys(), held.settled), (Some(&sharing), Some(&now), true));

    // The third node goes back to what it had before.
    network.stop_node(2);
    std::fs::remove_dir_all(folder(&network, 2)).unwrap();
    copy_folder(older.path(), &folder(&network, 2));
    network.start_node(2);
    let held = owner.held(&name).unwrap().unwrap();
    assert_eq!((held.sharing.as_ref(), held.listed.keys(), held.settled), (Some(&sharing), Some(&now), false));
    owner.set_consumers(&name, now.clone()).unwrap();
    assert!(owner.held(&name).unwrap().unwrap().settled);

    // It loses everything: the model has to be shared again, and the list is known from the others.
    network.stop_node(2);
    std::fs::remove_dir_all(folder(&network, 2)).unwrap();
    network.start_node(2);
    let held = owner.held(&name).unwrap().unwrap();
    assert_eq!((held.sharing, held.listed, held.settled), (None, Listed::Keys(now), false));
}
