//! Small random models of other families, from a folder to the share nodes: an MPNet embedding model with max pooling and
//! a prompt, and an MPNet cross-encoder. The network prints the very bytes of a run in the clear, the float model is
//! near, and what is cut off is said.

mod common;

use common::clients::{gateway_with, post, python_client, python_with};
use common::{Devnet, Home, cosine, embeddings, free_port_block, one_at_a_time};
use sahara_circuits::testmodel::{PAIRS, SEED, TEXTS, catalogue};
use serde_json::{Value, json};

fn pull(home: &Home, name: &str, change: impl FnOnce(&mut sahara_circuits::testmodel::TestFolder)) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut case = catalogue().into_iter().find(|case| case.name == name).expect("a case of the catalogue");
    change(&mut case.folder);
    case.folder.write(folder.path(), SEED).expect("a model folder");
    home.output(&["model", "pull", &folder.path().display().to_string(), "--name", name]);
}

#[test]
fn an_embedding_model_and_a_cross_encoder() {
    let _turn = one_at_a_time();
    let home = Home::empty();
    pull(&home, "mpnet-max", |folder| {
        folder.prompts = Some(json!({"prompts": {"query": "query: "}, "default_prompt_name": null}));
        folder.sentence = Some(json!({"max_seq_length": 20, "do_lower_case": false}));
    });
    pull(&home, "mpnet-cross-encoder", |_| {});
    let devnet = Devnet { home, port: free_port_block() };
    devnet.start();

    let options = ["--model", "mpnet-max", "--prompt", "query"];
    let with = |more: &[&'static str]| [&options[..], more].concat();
    let network = devnet.embed_output(&TEXTS[..], &with(&[]));
    assert_eq!(network, devnet.embed_output(&TEXTS[..], &with(&["--plain"])));
    let float = embeddings(&devnet.embed_output(&TEXTS[..], &with(&["--float"])));
    for (text, (answer, float)) in TEXTS.iter().zip(embeddings(&network).iter().zip(&float)) {
        assert!(cosine(answer, float) > 0.99, "{text:?}: {}", cosine(answer, float));
    }
    let without = embeddings(&devnet.embed_output(&TEXTS[..1], &["--model", "mpnet-max", "--plain"]));
    assert!(cosine(&without[0], &embeddings(&network)[0]) < 0.999, "the prompt counts");
    let last: Value = serde_json::from_str(network.lines().last().expect("a line")).expect("JSON");
    assert_eq!((last["truncated"].as_bool(), last["tokens"].as_u64()), (Some(true), Some(20)));
    let wrong = devnet.home.run(&["embed", "--plain", "--model", "mpnet-max", "--prompt", "other", "a"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("\"other\": it has query"), "{wrong}");

    let (text, pair) = PAIRS[0];
    let classify = |more: &[&str]| {
        let own = ["classify", "--json", "--model", "mpnet-cross-encoder", text, "--pair", pair];
        devnet.home.output(&[&own[..], more].concat())
    };
    let network = classify(&[]);
    assert_eq!(network, classify(&["--plain"]));
    let score = |line: &str| -> f64 {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["label"], "LABEL_0");
        line["scores"][0]["score"].as_f64().expect("a score")
    };
    assert!((score(&network) - score(&classify(&["--float"]))).abs() < 0.02);
    let wrong = devnet.home.run(&["embed", "--plain", "--model", "mpnet-cross-encoder", "a"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("sahara classify"), "{wrong}");

    let (_gateway, address) = gateway_with(&devnet, &["--model", "mpnet-cross-encoder"]);
    let body = json!({"query": DOCUMENTS[0], "documents": DOCUMENTS[1..], "top_n": 2}).to_string();
    let (status, answer) = post(address, "/v1/rerank", &body);
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let results = answer["results"].as_array().expect("results").iter();
    let results: Vec<(u64, f32)> = results.map(|one| place(&one["index"], &one["relevance_score"])).collect();
    assert_eq!(results, ranked(&devnet));
}

/// A query, and documents to rank for it.
const DOCUMENTS: [&str; 4] = [
    "When does the train leave?",
    "The kettle boils.",
    "Our train leaves from platform nine at noon.",
    "We meet at the station at eight tomorrow.",
];

/// The two most relevant documents and their scores, by `sahara classify` of each with the query.
fn ranked(devnet: &Devnet) -> Vec<(u64, f32)> {
    let classify = ["classify", "--json", "--plain", "--model", "mpnet-cross-encoder", DOCUMENTS[0], "--pair"];
    let line = |document| devnet.home.json(&[&classify[..], &[document]].concat());
    let mut scores: Vec<(u64, f32)> =
        (0..).zip(&DOCUMENTS[1..]).map(|(at, text)| place(&json!(at), &line(text)["scores"][0]["score"])).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.truncate(2);
    scores
}

fn place(index: &Value, score: &Value) -> (u64, f32) {
    (index.as_u64().expect("an index"), score.as_f64().expect("a score") as f32)
}

/// Cohere's client and LlamaIndex's for Jina, unmodified.
#[test]
#[ignore = "installs 320 MB of Python packages: cargo xtask test --peers rerank"]
fn rerankers_of_cohere_and_jina_get_the_order() {
    let _turn = one_at_a_time();
    let import = "import cohere, llama_index.postprocessor.jinaai_rerank";
    let python = python_with("rerank", "requirements-rerank.txt", import);
    let home = Home::empty();
    pull(&home, "mpnet-cross-encoder", |_| {});
    let devnet = Devnet { home, port: free_port_block() };
    devnet.start();
    let (_gateway, address) = gateway_with(&devnet, &["--model", "mpnet-cross-encoder"]);
    let answer = python_client(&python, "rerank_client.py", address, "mpnet-cross-encoder", &DOCUMENTS);
    for client in ["cohere", "cohere_v2", "jina"] {
        let seen = answer[client].as_array().expect("a list").iter();
        assert_eq!(seen.map(|one| place(&one[0], &one[1])).collect::<Vec<_>>(), ranked(&devnet), "{client}");
    }
}
