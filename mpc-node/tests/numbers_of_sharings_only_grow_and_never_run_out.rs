//! Versions and serials only grow, over deletions and over damage; nobody can use them up, nor the places for names.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use common::upload::{ByHand, ask};
use common::{Case, Network, anybody, case, files};
use sahara_mpc::client::Consumers;
use sahara_mpc::config::Limits;
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::lane::LaneError;
use sahara_mpc::manifest::{AccessList, AccessRule};
use sahara_mpc::models::{MAX_JUMP, ModelLimits, ModelStore};
use sahara_mpc::wire::{DeleteSharing, PutAccess};

fn identity() -> Arc<Identity> {
    Arc::new(generate().unwrap())
}

fn refused(result: Result<(), LaneError>, say: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(say), "{error}");
}

fn version(network: &Network, owner: &Identity, model: &Case, version: u64, serial: u64) -> ByHand {
    let mut version = ByHand::new(network, owner, "model", version, model);
    version.manifest.access = AccessRule::Keys(AccessList { serial, consumers: Consumers::Everyone });
    version
}

#[test]
fn versions_and_serials_do_not_jump() {
    let network = Network::start(|toml| toml);
    let owner = identity();
    let model = case(61);
    let upload = |number, serial| version(&network, &owner, &model, number, serial).upload(&network, &owner, 0);
    refused(upload(u64::MAX, 1), "sign one that is nearer");
    refused(upload(MAX_JUMP + 1, 1), "version 4294967297 is more than 4294967296 above 0");
    refused(upload(1, MAX_JUMP + 1), "serial 4294967297 is more than 4294967296 above 0");
    upload(MAX_JUMP, 1).unwrap();
    refused(upload(2 * MAX_JUMP + 1, 2), "version 8589934593 is more than");
    refused(upload(MAX_JUMP + 1, MAX_JUMP + 2), "serial 4294967298 is more than 4294967296 above 1");
    let first = version(&network, &owner, &model, 1, 1).manifest;
    let list = |serial| {
        let list = AccessList { serial, consumers: Consumers::Everyone };
        ask(&network, &owner, 0, &PutAccess(list.sign(first.owner, first.sharing(), first.committee, &owner).unwrap()))
    };
    refused(list(MAX_JUMP + 2), "serial 4294967298 is more than 4294967296 above 1");
    refused(list(u64::MAX), "sign one that is nearer");
    list(MAX_JUMP + 1).unwrap();
    upload(MAX_JUMP + 1, MAX_JUMP + 2).unwrap();
}

#[test]
fn damaged_files_let_nothing_earlier_in_and_are_named_at_the_start() {
    let mut network = Network::start(|toml| toml);
    let owner = identity();
    let model = case(62);
    let upload =
        |network: &Network, number, serial| version(network, &owner, &model, number, serial).upload(network, &owner, 0);
    upload(&network, 5, 5).unwrap();
    let manifest = version(&network, &owner, &model, 5, 5).manifest.sign(&owner).unwrap();
    let sharing = manifest.manifest().sharing();
    let folder = network.home(0).join("sharings");
    let record = folder.join(format!("{sharing}.sharing"));
    let manifest = folder.join(manifest.id().to_string()).join("manifest");
    let spoil = |network: &mut Network, file: &PathBuf, change: &dyn Fn(&PathBuf)| {
        network.stop_node(0);
        let before = fs::read(file).unwrap();
        change(file);
        let damage = damage(network);
        network.start_node(0);
        (before, damage)
    };
    let flip = |at: usize| {
        move |file: &PathBuf| {
            let mut bytes = fs::read(file).unwrap();
            bytes[at] ^= 4;
            fs::write(file, bytes).unwrap();
        }
    };

    // The record: of its numbers nothing is known any more, so nothing is taken.
    let numbers = 8 + 2 + 33 + 4 + "model".len();
    let damages: [&dyn Fn(&PathBuf); 4] =
        [&flip(numbers), &flip(numbers + 8), &flip(0), &|file| fs::write(file, b"").unwrap()];
    for change in damages {
        let (whole, damage) = spoil(&mut network, &record, change);
        assert!(damage.len() == 1 && damage[0].contains(&sharing.to_string()), "{damage:?}");
        for (number, serial) in [(4, 9), (5, 9), (9, 4), (6, 6)] {
            refused(upload(&network, number, serial), "is damaged");
        }
        network.stop_node(0);
        assert!(manifest.exists(), "what may belong to it stays");
        fs::write(&record, whole).unwrap();
        network.start_node(0);
        refused(upload(&network, 4, 9), "not newer than version 5");
    }
    // The version's own files: it still counts as the last one, and a newer one takes its place.
    let (_, damage) = spoil(&mut network, &manifest, &flip(20));
    let name = format!("version 5 of {}/model", owner.public());
    assert!(damage.len() == 1 && damage[0].contains(&name), "{damage:?}");
    for (number, serial, say) in [(4, 9, "not newer"), (5, 9, "not newer"), (9, 5, "higher serial")] {
        refused(upload(&network, number, serial), say);
    }
    upload(&network, 6, 6).unwrap();
    assert!(!manifest.exists(), "the damaged files are gone with their version");
    assert_eq!(damage_after_stop(&mut network), [""; 0]);
    // No record at all, but what its owner has signed.
    let (_, damage) = spoil(&mut network, &record, &|file| fs::remove_file(file).unwrap());
    assert!(damage.len() == 1 && damage[0].contains(&format!("version 6 of {}/model", owner.public())), "{damage:?}");
    for (number, serial, say) in [(6, 9, "not newer"), (9, 6, "higher serial")] {
        refused(upload(&network, number, serial), say);
    }
    // A deleted one, and one whose owner takes it back although it is damaged.
    upload(&network, 7, 7).unwrap();
    let current = files(&folder).into_iter().find(|path| path.ends_with("manifest")).unwrap();
    spoil(&mut network, &current, &flip(20));
    ask(&network, &owner, 0, &DeleteSharing(sharing)).unwrap();
    refused(ask(&network, &owner, 0, &DeleteSharing(sharing)), "no such sharing");
    assert_eq!(files(&folder), [record]);
    refused(upload(&network, 7, 9), "not newer");
}

/// What a store says of a stopped node's files.
fn damage(network: &Network) -> Vec<String> {
    let limits = ModelLimits {
        bytes: 1 << 30,
        owner_bytes: 1 << 30,
        sharings: 10,
        owner_sharings: 10,
        access_keys: 10,
        cost: Limits::default().cost(),
    };
    let (folder, committee) = (network.home(0).join("sharings"), network.committee.digest());
    // On a copy: opening puts in order what it finds.
    let copy = tempfile::tempdir().unwrap();
    for file in files(&folder) {
        let to = copy.path().join(file.strip_prefix(&folder).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    let store = ModelStore::open(copy.path(), 0, committee, anybody(), limits).unwrap();
    store.damage().to_vec()
}

fn damage_after_stop(network: &mut Network) -> Vec<String> {
    network.stop_node(0);
    let damage = damage(network);
    network.start_node(0);
    damage
}

#[test]
fn names_of_strangers_cannot_fill_a_node() {
    let mut network = Network::start(|toml| {
        toml.replacen("\nsharings = 16384", "\nsharings = 5", 1).replacen(
            "owner_sharings = 64",
            "owner_sharings = 2",
            1,
        )
    });
    let (owner, model) = (identity(), case(63));
    let upload = |network: &Network, owner: &Identity, name: &str, number| {
        ByHand::new(network, owner, name, number, &model).upload(network, owner, 0)
    };
    upload(&network, &owner, "honest", 1).unwrap();
    let strangers = [identity(), identity(), identity()];
    let mut accepted = Vec::new();
    for stranger in &strangers {
        for name in ["a", "b", "c"] {
            match upload(&network, stranger, name, 3) {
                Ok(()) => {
                    let sharing = ByHand::new(&network, stranger, name, 3, &model).manifest.sharing();
                    ask(&network, stranger, 0, &DeleteSharing(sharing)).unwrap();
                    accepted.push((stranger, name));
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("limits.sharings") || error.contains("limits.owner_sharings"), "{error}");
                }
            }
        }
    }
    assert_eq!(accepted.len(), 4, "two of one owner, five in all");
    for restarted in [false, true] {
        if restarted {
            network.stop_node(0);
            network.start_node(0);
        }
        assert_eq!(files(&network.home(0).join("sharings")).iter().filter(|f| f.extension().is_some()).count(), 5);
        refused(upload(&network, &identity(), "new", 1), "limits.sharings");
        for (stranger, name) in &accepted {
            refused(upload(&network, stranger, name, 2), "not newer"); // and none was forgotten
        }
    }
    // Names that are there already are their owners' to use.
    upload(&network, &owner, "honest", 2).unwrap();
    let (stranger, name) = accepted[0];
    upload(&network, stranger, name, 4).unwrap();
}
