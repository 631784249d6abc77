//! Two of four validators are too few: they make no block, keep what they were sent, and go on when a third returns.

use std::time::Duration;

use crate::cluster::{Cluster, Traffic};

#[test]
fn two_of_four_validators_halt_safely_and_resume() {
    let mut cluster = Cluster::start(4);
    let mut traffic = Traffic::of(5);
    traffic.through(&cluster.nodes[0]);
    cluster.kill(2);
    cluster.kill(3);
    // A block that was decided already may still arrive.
    let sent = cluster.nodes[0].send(&traffic.next());
    crate::network::eventually("the halt", || {
        let before = cluster.nodes[0].height().max(cluster.nodes[1].height());
        std::thread::sleep(Duration::from_secs(4));
        before == cluster.nodes[0].height().max(cluster.nodes[1].height())
    });
    let halted = cluster.nodes[0].height();
    cluster.run(2);
    cluster.nodes[0].wait_for_height(halted + 2);
    traffic.arrives(&sent, &cluster.nodes[2]);
    cluster.run(3);
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.through(&cluster.nodes[3]);
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.is_kept(&cluster);
    cluster.agree(1);
}
