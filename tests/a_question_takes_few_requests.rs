//! How often a question goes to the nodes: twice where a pack waits (a half of the input to each evaluator), three times
//! where one is made for it; a new process asks each node for the model before.

mod common;

use std::sync::Arc;

use common::{Devnet, one_at_a_time};
use sahara::embedding::{Engine, Query, Stop};
use sahara::home::Home;
use sahara::models::Store;
use sahara::network::{NetworkEngine, NetworkOptions};
use sahara::progress::Progress;

#[test]
fn a_question_takes_few_requests() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    // Hands the model over.
    devnet.embed(&["a private sentence"], &[]);
    let home = Home::locate(Some(devnet.home.path().to_owned())).expect("the home");
    let progress = Progress::silent();
    let model = Arc::new(Store::new(&home).open(common::MODEL, &progress).expect("the model"));
    let connect = || {
        let options = NetworkOptions::default();
        NetworkEngine::connect(&home, None, model.clone(), options, &progress).expect("a network")
    };
    let ask = |engine: &NetworkEngine| {
        let before = engine.requests();
        engine
            .answer_until(&[Query::from(&"another private sentence".to_owned())], &Stop::default(), &mut |_| Ok(()))
            .expect("an answer");
        engine.requests() - before
    };
    let new = connect();
    assert_eq!(new.requests(), 3, "each node is asked for the model");
    assert_eq!(ask(&new), 5, "both evaluators have no pack, the helper makes one, both have it");
    assert_eq!((ask(&new), ask(&new)), (3, 3), "it is made first");
    // One for each node as the helper.
    let three = ["a", "b", "c"].map(|text| Query::from(&text.to_owned()));
    new.prepare(&new.window(&three, 0).expect("a window")).expect("packs");
    let another = connect();
    assert_eq!((ask(&another), another.requests()), (2, 5), "both evaluators take the one that is there");
}
