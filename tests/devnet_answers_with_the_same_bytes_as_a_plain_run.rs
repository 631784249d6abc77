//! The main journey: three processes answer, and in exact mode they print the very bytes of a run in the clear.

mod common;

use common::{Devnet, cosine, embeddings, one_at_a_time};

const PROMPTS: [&str; 4] = [
    "The kettle boils.",
    "How do I cancel a subscription before the trial ends?",
    "Die Katze schläft auf dem warmen Fensterbrett, и это хорошо.",
    "Secret sharing splits a value into several pieces in such a way that each piece on its own is a uniformly random \
     number and says nothing about the value, while all the pieces together give it back.",
];

#[test]
fn private_weights_exact() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let plain = devnet.embed_output(&PROMPTS, &["--plain"]);
    assert_eq!(devnet.embed_output(&PROMPTS, &["--mode", "exact", "--weights", "private"]), plain);
    let vectors = embeddings(&plain);
    assert_eq!(vectors.len(), PROMPTS.len());
    for vector in &vectors {
        assert_eq!(vector.len(), 384);
        let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "the answer has unit length, not {length}");
    }
}

#[test]
fn open_weights_exact() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let plain = devnet.embed_output(&PROMPTS, &["--plain"]);
    assert_eq!(devnet.embed_output(&PROMPTS, &["--mode", "exact", "--weights", "open"]), plain);
}

#[test]
fn faithful_mode_is_close_to_the_plain_run() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let plain = embeddings(&devnet.embed_output(&PROMPTS, &["--plain"]));
    for weights in ["private", "open"] {
        let answers = devnet.embed(&PROMPTS, &["--mode", "faithful", "--weights", weights]);
        for (prompt, (answer, plain)) in PROMPTS.iter().zip(answers.iter().zip(&plain)) {
            let similarity = cosine(answer, plain);
            assert!(similarity > 0.98, "{weights} weights, {prompt:?}: cosine {similarity} to the plain run");
        }
    }
}
