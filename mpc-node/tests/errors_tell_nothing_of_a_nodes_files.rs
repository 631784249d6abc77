//! What fails at a node because of its disk is told by what it was doing; files and the system's words stay in its log.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::fs;

use common::{Network, case};
use sahara_mpc::client::{ClientError, Offer, Rounding, Visibility};
use sahara_mpc::wire::FailCode;

#[test]
fn paths_and_the_systems_words_stay_at_home() {
    let on_disk = |toml: String| toml.replacen("pack_memory_megabytes = 1024", "pack_memory_megabytes = 0", 1);
    let mut network = Network::start(on_disk);
    let client = network.client();
    let (model, part) = (case(81), vec![7; 1000]);
    let offer = Offer { client_part: Some(&part), ..model.offer(Visibility::Private) };
    let sharing = client.share(&offer, &|_, _| ()).unwrap();
    let task = sharing.task(&model.graph, sahara_mpc::client::Assignment::ALL[0], Rounding::Exact).unwrap();
    let place = network.dir.path().display().to_string();
    let told = |error: ClientError, say: &str| {
        let text = error.to_string();
        assert!(text.contains(say) && text.contains("in the node's log"), "{text}");
        assert!(!text.contains(&place) && !text.contains("os error") && !text.contains("No such file"), "{text}");
        assert!(matches!(error.code(), Some(FailCode::Internal | FailCode::Peer)), "{text}");
    };
    let folder = |network: &Network, node: usize| network.home(node).join("sharings").join(sharing.id().to_string());

    // Packs have no place to go at the second evaluator; the helper hands on what that one says.
    let packs = network.home(2).join("packs");
    fs::remove_dir_all(&packs).unwrap();
    told(client.prepare(&task, 1, &mut |_| ()).unwrap_err(), "keep or read a pack");
    fs::create_dir(&packs).unwrap();
    client.prepare(&task, 1, &mut |_| ()).unwrap();

    for node in 0..3 {
        fs::remove_file(folder(&network, node).join("client")).unwrap();
    }
    told(client.client_part(&sharing, &mut |_, _| ()).unwrap_err(), "use its files of this sharing");

    // The part of the weights is gone; a restart makes the node read it again.
    network.stop_node(1);
    fs::remove_file(folder(&network, 1).join("part-0")).unwrap();
    network.start_node(1);
    told(model.run(&client, task, false).unwrap_err(), "use its files of this sharing");

    // Nothing can be uploaded where there is no folder.
    fs::remove_dir_all(network.home(0).join("sharings")).unwrap();
    told(client.share(&model.offer(Visibility::Open), &|_, _| ()).map(|_| ()).unwrap_err(), "use its files");

    // Nor does anybody learn why one node does not reach another.
    network.stop_node(2);
    let error = client.prepare(&task, 1, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("cannot connect to node 3") && !error.contains("os error"), "{error}");
}
