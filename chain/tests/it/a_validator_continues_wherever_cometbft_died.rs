//! CometBFT dies at each of its own fail points (before and after it stores a block, has it executed, commits it and
//! stores that), the ledger with it; both go on with the same chain, and every transaction is executed once.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::cluster::{Cluster, Traffic};

/// CometBFT passes ten such points in a block.
const POINTS: usize = 10;

#[test]
fn a_validator_continues_wherever_cometbft_died() {
    let mut cluster = Cluster::lay_out(1);
    let real = cluster.launch.cometbft.clone();
    cluster.run(0);
    cluster.nodes[0].wait_for_height(1);
    let mut traffic = Traffic::of(5);
    for point in 0..POINTS {
        traffic.through(&cluster.nodes[0]);
        cluster.stop(&[0]);

        let script = cluster.folder().join("dying-cometbft");
        fs::write(&script, format!("#!/bin/sh\nFAIL_TEST_INDEX={point} exec '{}' \"$@\"\n", real.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        cluster.launch.cometbft = script;
        cluster.run(0);
        cluster.dies(0);

        cluster.launch.cometbft = real.clone();
        cluster.run(0);
    }
    traffic.through(&cluster.nodes[0]);
    traffic.is_kept(&cluster);
    cluster.agree(1);

    // Another life of the same chain, from its blocks alone, ends in the same place.
    let height = cluster.nodes[0].height();
    let hash = cluster.nodes[0].block(height);
    cluster.stop(&[0]);
    fs::remove_dir_all(cluster.nodes[0].home.join("chain-data")).unwrap();
    cluster.run(0);
    cluster.nodes[0].wait_for_height(height + 1);
    assert_eq!(cluster.nodes[0].block(height), hash);
    traffic.is_kept(&cluster);
}
