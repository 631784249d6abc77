//! A sharing that an older program made has masks that are not bound to the committee: it goes on giving the right answers, and
//! the next version of it is bound.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;

use common::upload::ByHand;
use common::{Network, case};
use sahara_mpc::client::{Assignment, Client, Offer, OwnerKey, Rounding, Sharing, SharingRef, Visibility};
use sahara_mpc::identity::generate;
use sahara_mpc::manifest::Shares;

#[test]
fn an_old_sharing_answers_over_a_restart_and_its_next_version_is_bound() {
    let mut network = Network::start(|toml| toml);
    let (owner, case) = (Arc::new(generate().unwrap()), case(47));
    let old = ByHand::old(&network, &owner, "model", 1, &case);
    (0..3).for_each(|node| old.upload(&network, &owner, node).unwrap());
    let client = network.client_of(&owner);
    let which = SharingRef::Named(OwnerKey::Ed25519(owner.public()), "model".parse().unwrap());
    let answers = |client: &Client| -> Sharing {
        let sharing = client.find(&which).unwrap().unwrap();
        let task = sharing.task(&case.graph, Assignment::ALL[0], Rounding::Exact).unwrap();
        assert_eq!(case.run(client, task, true).unwrap().outputs, case.expected);
        sharing
    };
    for _ in 0..2 {
        assert!(matches!(answers(&client).manifest().shares, Shares::OldPrivate(_)));
        (0..3).for_each(|node| network.stop_node(node));
        (0..3).for_each(|node| network.start_node(node));
    }
    let offer = Offer { name: "model".parse().unwrap(), ..case.offer(Visibility::Private) };
    client.share(&offer, &|_, _| ()).unwrap();
    let sharing = answers(&client);
    assert!(sharing.manifest().version == 2 && matches!(sharing.manifest().shares, Shares::Private(_)));
}

#[test]
fn a_manifest_that_says_the_other_derivation_is_not_that_of_its_seeds() {
    let network = Network::start(|toml| toml);
    let (owner, case) = (generate().unwrap(), case(48));
    let mut bound = ByHand::new(&network, &owner, "bound", 1, &case);
    let mut old = ByHand::old(&network, &owner, "old", 1, &case);
    bound.manifest.shares = Shares::OldPrivate(bound.manifest.shares.private().to_vec());
    old.manifest.shares = Shares::Private(old.manifest.shares.private().to_vec());
    for model in [bound, old] {
        for node in 0..3 {
            let error = model.upload(&network, &owner, node).unwrap_err().to_string();
            assert!(error.contains("the seeds of the masks are not those that the manifest commits to"), "{error}");
        }
    }
}
