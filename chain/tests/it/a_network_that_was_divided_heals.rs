//! A validator that is cut off is not missed and catches up; two halves decide nothing, whatever they are sent, and
//! agree again when they meet.

use std::time::Duration;

use crate::{
    cluster::{Cluster, Traffic},
    links::Links,
    network::eventually,
};

#[test]
fn a_network_that_was_divided_heals() {
    let mut cluster = Cluster::lay_out(4);
    let links = Links::between(&cluster);
    (0..4).for_each(|index| cluster.run(index));
    (0..4).for_each(|index| cluster.nodes[index].wait_for_height(2));
    let mut traffic = Traffic::of(5);
    traffic.through(&cluster.nodes[0]);

    links.cut_off(&[0]);
    traffic.through(&cluster.nodes[3]);
    cluster.advance(&[1, 2, 3], 3);
    let (alone, others) = (cluster.nodes[0].height(), cluster.nodes[1].height());
    assert!(alone + 2 < others, "validator 0 made blocks without the others");
    links.heal();
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.through(&cluster.nodes[0]);

    links.cut_off(&[0, 1]);
    let tallest = |cluster: &Cluster| cluster.nodes.iter().map(crate::cluster::Node::height).max().unwrap();
    eventually("both halves to stand still", || {
        let before = tallest(&cluster);
        std::thread::sleep(Duration::from_secs(4));
        before == tallest(&cluster)
    });
    let sent = cluster.nodes[0].send(&traffic.next());
    links.heal();
    traffic.arrives(&sent, &cluster.nodes[3]);
    traffic.through(&cluster.nodes[0]);
    cluster.advance(&[0, 1, 2, 3], 1);
    traffic.is_kept(&cluster);
    cluster.agree(1);
}
