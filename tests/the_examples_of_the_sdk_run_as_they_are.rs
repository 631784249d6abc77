//! Whoever begins with the SDK begins with its examples: each is compiled into this test as it is, and does what it says
//! on a network of real processes.

mod common;

use common::{Devnet, Home, MODEL, free_port_block};
use sahara::NamedModel;
use sahara::embedding::{Embedding, Engine, Query, Stop, embed_all};
use sahara::keys::Role;
use sahara_circuits::testmodel::{PAIRS, SEED, catalogue};

#[allow(dead_code)] // each has a main of its own
#[path = "../examples/async.rs"]
mod asynchronous;
#[allow(dead_code)]
#[path = "../examples/classify.rs"]
mod classify;
#[allow(dead_code)]
#[path = "../examples/embed.rs"]
mod embed;
#[allow(dead_code)]
#[path = "../examples/share.rs"]
mod share;

const CLASSIFIER: &str = "mpnet-cross-encoder";

#[test]
fn on_one_network() {
    let home = Home::with_model_and_room();
    let folder = tempfile::tempdir().expect("a folder");
    let case = catalogue().into_iter().find(|case| case.name == CLASSIFIER).expect("a case of the catalogue");
    case.folder.write(folder.path(), SEED).expect("a model folder");
    home.output(&["model", "pull", &folder.path().display().to_string(), "--name", CLASSIFIER]);
    let devnet = Devnet { home, port: free_port_block() };
    devnet.start();
    let model = |name: &str| sahara::model(name).home(devnet.home.path());
    let texts = ["good morning", "see you tomorrow", "is it late?"].map(str::to_owned);

    // The same bytes as in the clear.
    let vectors = |answers: Vec<Embedding>| -> Vec<Vec<f32>> { answers.into_iter().map(|a| a.vector).collect() };
    let in_the_clear =
        |model: NamedModel| vectors(embed_all(&model.local().expect("a model"), &texts).expect("answers"));
    let embedded = embed::run(&model(MODEL), &texts).expect("embed.rs embeds");
    assert_eq!(vectors(embedded), in_the_clear(model(MODEL)));

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let numbers = runtime.block_on(asynchronous::run(&model(MODEL), &texts)).expect("async.rs embeds");
    assert_eq!(numbers, 3 * 384);

    let (text, pair) = PAIRS[0];
    let labels = classify::run(&model(CLASSIFIER), text, Some(pair)).expect("classify.rs classifies");
    let engine = model(CLASSIFIER).local().expect("a model");
    let query = Query { pair: Some(pair.into()), ..text.into() };
    let classes = engine.classes().expect("a classifier");
    let mut expected = Vec::new();
    let told = engine.answer_until(&[query], &Stop::default(), &mut |answer| {
        expected = vec![(classes.labels[0].0.clone(), classes.scores(&answer.vector)[0])];
        Ok(())
    });
    told.expect("an answer");
    assert_eq!(labels, expected);
    assert!(classify::run(&model(MODEL), text, None).is_err_and(|error| error.to_string().contains("no classes")));

    let home = sahara::home::Home::locate(Some(devnet.home.path().to_owned())).expect("a home");
    let listed = share::run(&home, None, MODEL).expect("share.rs shares");
    assert!(listed.iter().any(|line| line.ends_with("/example version 1")), "{listed:?}");
    let left = sahara::network::sharings(&home, None, &[Role::Owner]).expect("a list").sharings;
    assert!(!left.is_empty() && left.iter().all(|entry| entry.name.as_str() != "example"), "taken back: {left:?}");
}
