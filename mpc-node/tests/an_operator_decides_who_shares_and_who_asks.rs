//! The lists and limits in `node.toml`, and what a node makes of its disk: a key that may share is no consumer for that,
//! owners cannot fill a node together, and what a node serves is what the owner has signed.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;

use common::upload::{ByHand, lane};
use common::{Network, case};
use sahara_mpc::client::{Assignment, Consumers, Offer, Rounding, SharingRef, Visibility};
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::wire::{Begin, FailCode, Kind};

fn identity() -> Arc<Identity> {
    Arc::new(generate().unwrap())
}

/// The file's list with these keys.
fn list(name: &str, keys: &[&Arc<Identity>]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", key.public())).collect();
    format!("{name} = [{}]", keys.join(", "))
}

#[test]
fn who_may_share_may_not_ask_for_what_others_share() {
    let [owner, other, consumer] = [identity(), identity(), identity()];
    // The key with which the test looks whether a node is up is a consumer, too.
    let mut network = Network::start(|toml| toml);
    let watcher = network.client_of(&consumer);
    for node in 0..3 {
        network.stop_node(node);
        let file = network.home(node).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replacen("owners = \"any\"", &list("owners", &[&owner, &other]), 1);
        let text = text.replacen("consumers = \"any\"", &list("consumers", &[&consumer]), 1);
        std::fs::write(&file, text).unwrap();
        network.start_node_for(node, &watcher);
    }
    let model = case(21);
    let sharing = network.client_of(&owner).share(&model.offer(Visibility::Private), &|_, _| ()).unwrap(); // for everyone
    let task = sharing.task(&model.graph, Assignment::ALL[0], Rounding::Exact).unwrap();
    for (key, may) in [(&owner, true), (&consumer, true), (&other, false)] {
        let result = model.run(&network.client_of(key), task, true);
        match may {
            true => assert_eq!(result.unwrap().outputs, model.expected),
            false => assert_eq!(result.unwrap_err().code(), Some(FailCode::NoModel)),
        }
    }
    assert_eq!(network.client_of(&other).find(&SharingRef::Manifest(sharing.id())).unwrap(), None);
    let refused = network.client_of(&consumer).share(&model.offer(Visibility::Open), &|_, _| ()).unwrap_err();
    assert!(refused.to_string().contains("has to add the key to `owners`"), "{refused}");
}

#[test]
fn owners_cannot_fill_a_node_together() {
    let network = Network::start(|toml| toml.replacen("model_megabytes = 8192", "model_megabytes = 1", 1));
    let [one, two] = [identity(), identity()];
    let model = case(22);
    let announce = |owner: &Arc<Identity>, bytes: u64| {
        let signed = ByHand::new(&network, owner, "model", 1, &model).manifest.sign(owner).unwrap();
        let mut lane = lane(&network, owner, 0);
        lane.send(&Begin { manifest: signed, bytes }).unwrap();
        lane.receive_frame(Kind::GoOn).map(|_| lane)
    };
    let parked = announce(&one, 900 << 10).unwrap();
    let error = announce(&two, 900 << 10).err().unwrap().to_string();
    assert!(error.contains("limits.model_megabytes"), "{error}");
    drop(parked);
    let waiting = std::time::Instant::now();
    while let Err(error) = announce(&two, 900 << 10) {
        assert!(waiting.elapsed() < std::time::Duration::from_secs(20), "room that nobody uses comes back: {error}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_client_part_is_the_one_that_the_owner_has_signed() {
    let mut network = Network::start(|toml| toml);
    let client = network.client();
    let model = case(23);
    let part: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let offer = Offer { client_part: Some(&part), ..model.offer(Visibility::Private) };
    let sharing = client.share(&offer, &|_, _| ()).unwrap();
    assert_eq!(client.client_part(&sharing, &mut |_, _| ()).unwrap(), part);
    let spoil = |network: &mut Network, node: usize| {
        network.stop_node(node);
        let file = network.home(node).join("sharings").join(sharing.id().to_string()).join("client");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[1_500_000] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        // And a folder that belongs to no sharing, as a crash at the wrong moment leaves it.
        let orphan = network.home(node).join("sharings").join("ab".repeat(32));
        std::fs::create_dir(&orphan).unwrap();
        network.start_node(node);
        assert!(!orphan.exists());
    };
    spoil(&mut network, 0);
    spoil(&mut network, 1);
    assert_eq!(client.client_part(&sharing, &mut |_, _| ()).unwrap(), part, "the third node has the right one");
    spoil(&mut network, 2);
    let error = client.client_part(&sharing, &mut |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("sent another client part than the owner's"), "{error}");
    let without = client.share(&model.offer(Visibility::Open), &|_, _| ()).unwrap();
    assert!(client.client_part(&without, &mut |_, _| ()).is_err());
}

#[test]
fn what_a_key_fetches_in_an_hour_is_limited_on_each_node() {
    let little = |toml: String| toml.replacen("download_megabytes = 4096", "download_megabytes = 4", 1);
    let network = Network::start(little);
    let (one, two, model) = (network.client(), network.client(), case(24));
    let part = vec![7; 3 << 20];
    let offer = Offer { client_part: Some(&part), ..model.offer(Visibility::Private) };
    let sharing = one.share(&offer, &|_, _| ()).unwrap();
    for _ in 0..3 {
        assert_eq!(one.client_part(&sharing, &mut |_, _| ()).unwrap(), part, "a node that refuses is passed over");
    }
    let error = one.client_part(&sharing, &mut |_, _| ()).unwrap_err();
    assert_eq!(error.code(), Some(FailCode::Busy), "{error}");
    assert!(error.to_string().contains("limits.download_megabytes"), "{error}");
    assert_eq!(two.client_part(&sharing, &mut |_, _| ()).unwrap(), part, "another key is not concerned");
    let other = two.share(&offer, &|_, _| ()).unwrap();
    assert_eq!(one.client_part(&other, &mut |_, _| ()).unwrap(), part, "nor is what others own");
}

#[test]
fn the_keys_on_all_access_lists_are_limited() {
    let network = Network::start(|toml| toml.replacen("access_keys = 1048576", "access_keys = 8", 1));
    let (client, model) = (network.client(), case(25));
    let some = |n: usize| Consumers::only((0..n).map(|_| identity().public()));
    let share = |name: &str, consumers: Consumers| {
        let offer = Offer { name: name.parse().unwrap(), access: consumers.into(), ..model.offer(Visibility::Open) };
        client.share(&offer, &|_, _| ())
    };
    // Each first list has a place for a later one of its length.
    share("one", some(2)).unwrap();
    share("two", some(2)).unwrap();
    let error = share("three", some(1)).unwrap_err();
    assert_eq!(error.code(), Some(FailCode::Refused), "{error}");
    assert!(error.to_string().contains("limits.access_keys"), "{error}");
    share("three", Consumers::Everyone).unwrap();
    share("two", some(2)).unwrap();
    let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
    let error = client.set_consumers(&one, some(3)).unwrap_err().to_string();
    assert!(error.contains("limits.access_keys"), "the signed list stays beside the later one: {error}");
    client.set_consumers(&one, some(1)).unwrap();
    client.set_consumers(&one, some(2)).unwrap();
    client.unshare(&two).unwrap();
    client.set_consumers(&one, some(3)).unwrap();
}
