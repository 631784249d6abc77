//! The ids of small graphs, written down: whatever machine compiles them, whatever its `exp` and `erf`, gives these. A
//! change of the compiler changes them too; then they are written down anew, with the sentence in the changelog.
#![cfg(feature = "compile")]
#![allow(clippy::unwrap_used)]

use sahara_circuits::model::CompiledModel;
use sahara_circuits::testmodel::{SEED, catalogue};

#[test]
fn ids_are_those_that_were_written_down() {
    let mut ids = String::new();
    for case in catalogue() {
        if ["bert-mean", "bert-tanh", "mpnet-max", "bert-classifier"].contains(&case.name) {
            let folder = tempfile::tempdir().unwrap();
            case.folder.write(folder.path(), SEED).unwrap();
            let model = CompiledModel::compile(folder.path(), case.name, &mut |_| {}).unwrap();
            ids += &format!("{} {}\n", case.name, model.graph(32).unwrap().id());
        }
    }
    assert_eq!(ids, include_str!("data/graph-ids.txt"), "now:\n{ids}");
}
