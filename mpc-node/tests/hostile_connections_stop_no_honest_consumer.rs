//! Strangers and admitted keys that mean no good, beside one honest consumer: all of its jobs are answered, the other nodes
//! get in, and a node's memory stays under what its limits add up to. `cargo xtask soak load` does the same at full size, in
//! processes, and measures.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/load.rs"]
mod load;

use std::sync::Arc;

use common::{Network, case};
use load::{Crowd, deeds, member_gets_in, times};
use sahara_mpc::client::{Assignment, Consumers, Offer, Rounding, Visibility};
use sahara_mpc::identity::{self, Identity};

#[test]
fn every_honest_job_is_answered() {
    let identities: Vec<Arc<Identity>> = (0..42).map(|_| Arc::new(identity::generate().unwrap())).collect();
    let [owner, honest, keys @ ..] = &identities[..] else { panic!() };
    let listed: Vec<String> = identities.iter().map(|id| format!("\"{}\"", id.public())).collect();
    let listed = format!("consumers = [{}]", listed.join(", "));
    // Small numbers of everything, so that a small crowd exceeds them.
    let network = Network::start_as(owner, |toml| {
        toml.replacen("consumers = \"any\"", &listed, 1)
            .replacen("owners = \"any\"", &format!("owners = [\"{}\"]", owner.public()), 1)
            .replacen("handshakes = 128", "handshakes = 12", 1)
            .replacen("handshakes_per_address = 64", "handshakes_per_address = 8", 1)
            .replacen("lanes = 256", "lanes = 24", 1)
            .replacen("connect = 5", "connect = 2", 1)
    });
    let case = case(3);
    let owner = network.client_of(owner);
    let share = |name: &str, consumers: Consumers| {
        let offer = Offer { name: name.parse().unwrap(), access: consumers.into(), ..case.offer(Visibility::Private) };
        let sharing = owner.share(&offer, &|_, _| ()).unwrap();
        sharing.task(&case.graph, Assignment::ALL[0], Rounding::Exact).unwrap()
    };
    let task = share("honest", Consumers::only([honest.public()]));
    let own = share("crowd", Consumers::only(keys[..8].iter().map(|key| key.public())));
    let honest = network.client_of(honest);
    case.run(&honest, task, true).unwrap();

    let crowd = Crowd { strangers: 100, keys: 40 };
    let hostile = hostile::Hostile::start(&network.committee, deeds(&crowd, keys, own, task), 6);
    while hostile.connections() < 140 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let member = identity::load(&network.home(1).join("key")).unwrap();
    assert!(member_gets_in(&network.committee, &member));
    assert_eq!(times(&case, &honest, task, 30).len(), 30);
    assert!(member_gets_in(&network.committee, &member));
    assert!(hostile.stop() >= 140);
}
