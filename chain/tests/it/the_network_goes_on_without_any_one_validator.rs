//! With four validators the loss of one, whichever way it is lost, stops nothing; it comes back with every block, even
//! without its data; and so does a network that was stopped as a whole.

use serde_json::json;

use crate::{
    cluster::{Cluster, Traffic},
    network::{ask, eventually},
};

#[test]
fn the_network_goes_on_without_any_one_validator() {
    let mut cluster = Cluster::start(4);
    let mut traffic = Traffic::of(5);
    traffic.through(&cluster.nodes[3]);

    cluster.kill(3);
    traffic.through(&cluster.nodes[0]);
    cluster.advance(&[0, 1, 2], 2);
    cluster.run(3);
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.through(&cluster.nodes[3]);

    cluster.kill_ledger(0);
    traffic.through(&cluster.nodes[1]);
    cluster.run(0);
    cluster.advance(&[0, 1, 2, 3], 1);

    cluster.pause(1);
    traffic.through(&cluster.nodes[2]);
    cluster.advance(&[0, 2, 3], 2);
    cluster.resume(1);
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.is_kept(&cluster);

    // Everything at once, in good order.
    cluster.stop(&[0, 1, 2, 3]);
    cluster.run(0);
    // Alone it waits for others to tell it how far the chain is, and says so.
    eventually("one to say that it is alone", || {
        let ask = |method| ask(&cluster.nodes[0].rpc(), method, json!([]));
        ask("eth_syncing").is_ok_and(|syncing| syncing.is_object()) && ask("net_peerCount") == Ok(json!("0x0"))
    });
    (1..4).for_each(|index| cluster.run(index));
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.through(&cluster.nodes[0]);
    assert_eq!(cluster.nodes[0].ask("eth_syncing", json!([])), json!(false));
    assert_eq!(cluster.nodes[0].ask("net_peerCount", json!([])), json!("0x3"));

    // Everything at once, without warning.
    (0..4).for_each(|index| cluster.kill(index));
    (0..4).for_each(|index| cluster.run(index));
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.through(&cluster.nodes[2]);

    // One without its data: it executes every block again.
    cluster.stop(&[2]);
    cluster.wipe(2);
    cluster.run(2);
    cluster.advance(&[0, 1, 2, 3], 2);
    traffic.through(&cluster.nodes[2]);
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.is_kept(&cluster);
    cluster.agree(1);
}
