//! How often a question goes to the nodes: twice when this process has asked before and a pack waits (a half of the input to
//! each evaluator), three times more when it is new (where the model is, at each node), three times more when a pack has
//! to be made first (both find none, the helper makes one).

mod common;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

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
    // Hands the model over; the nodes make packs of this length ahead afterwards.
    devnet.embed(&["a private sentence"], &[]);
    let home = Home::locate(Some(devnet.home.path().to_owned())).expect("the home");
    let progress = Progress::silent();
    let model = Arc::new(Store::new(&home).open(common::MODEL, &progress).expect("the model"));
    let connect = || {
        let options = NetworkOptions::default();
        NetworkEngine::connect(&home, None, model.clone(), options, &progress).expect("a network")
    };
    let ask = |engine: &NetworkEngine, text: &str| {
        let before = engine.requests();
        engine.answer_until(&[Query::from(&text.to_owned())], &Stop::default(), &mut |_| Ok(())).expect("an answer");
        engine.requests() - before
    };
    let new = connect();
    assert_eq!(new.requests(), 3, "each node is asked for the model");
    let counts: Vec<u64> = (0..6).map(|_| ask(&new, "another private sentence")).collect();
    assert!(counts.iter().all(|count| [2, 5].contains(count)), "with a pack, or without: {counts:?}");
    // Packs are made ahead for whoever asked.
    let until = Instant::now() + Duration::from_secs(60);
    while ask(&new, "one more") != 2 {
        assert!(Instant::now() < until, "packs are there after a while");
        thread::sleep(Duration::from_millis(200));
    }
    // A text of another length, for which there is no pack.
    assert_eq!(ask(&connect(), &"long ".repeat(40)), 5, "eight in all with those of a new process");
}
