//! A chain that stands still proves nothing any more: what was proven of it counts for as long as the nodes' `max-header-age` says,
//! then they refuse and say why. When it goes on, so do they, and every call is paid once.

mod common;

use std::time::{Duration, Instant};

use common::clients::{gateway_with, post};
use common::{Devnet, Home, free_port_block, one_at_a_time};
use serde_json::Value;

/// The nodes' `max-header-age`, in seconds: the least that there is.
const AGE: u64 = 10;
/// How long the chain stands still.
const STANDS: Duration = Duration::from_secs(60);

fn signal(name: &str, pid: u64) {
    let status = std::process::Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill {name} {pid}");
}

#[test]
#[ignore = "two minutes: cargo test --release -p sahara-cli --test paid_answers_stop_while_the_chain_stands_still -- --ignored"]
fn paid_answers_stop_while_the_chain_stands_still() {
    let _turn = one_at_a_time();
    let devnet = Devnet { home: Home::with_model(), port: free_port_block() };
    let port = devnet.port.to_string();
    devnet.home.output(&["devnet", "up", "--port", &port]);
    // The nodes take what their files say when they start.
    devnet.home.output(&["devnet", "down"]);
    for number in 1..=3 {
        let file = devnet.node_folder(number).join("market.toml");
        let text = std::fs::read_to_string(&file).expect("the market's file");
        std::fs::write(&file, format!("{text}max-header-age = {AGE}\n")).expect("the market's file is written");
    }
    devnet.home.output(&["devnet", "up", "--port", &port]);
    let chain = devnet.status()["chain"]["pid"].as_u64().expect("the chain's process");
    let (_gateway, address) = gateway_with(&devnet, &[]);
    let (_, models) = common::clients::get(address, "/v1/models");
    let models: Value = serde_json::from_str(&models).expect("models");
    let model = models["data"][0]["id"].as_str().expect("a model").to_owned();
    let ask = |text: &str| {
        let body = serde_json::json!({"model": model, "input": text}).to_string();
        post(address, "/v1/embeddings", &body)
    };
    let mut answers = 0;
    let mut answered = |text: &str, limit: Duration| {
        let begun = Instant::now();
        loop {
            let (status, body) = ask(text);
            if status == 200 {
                answers += 1;
                return;
            }
            assert!(begun.elapsed() < limit, "{status}: {body}");
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    answered("The chain is up.", Duration::from_secs(60));

    signal("-STOP", chain);
    let stopped = Instant::now();
    std::thread::sleep(Duration::from_secs(AGE + 5));
    let mut refusals = 0;
    while stopped.elapsed() < STANDS {
        let (status, body) = ask("The chain stands still.");
        assert_ne!(status, 200, "answered {:?} after the chain stopped: {body}", stopped.elapsed());
        let named = ["no node of", "too old", "did not answer", "nothing is proven", "show it (again)"];
        assert!(named.iter().any(|words| body.contains(words)), "it does not say why: {body}");
        refusals += 1;
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(refusals > 0);
    signal("-CONT", chain);
    for text in ["The chain goes on.", "So does everybody."] {
        answered(text, Duration::from_secs(90));
    }

    // Every answer has one receipt, the last of which all nodes have, and whose total is that of so many calls.
    let receipts = devnet.home.json(&["receipt", "ls", "--json"]);
    let receipts = receipts.as_array().expect("receipts").clone();
    assert_eq!(receipts.len(), answers, "{receipts:?}");
    assert!(receipts.iter().all(|receipt| receipt["answered"] == true), "{receipts:?}");
    let folders: Vec<String> = (1..=3).map(|number| devnet.node_folder(number).display().to_string()).collect();
    let mut words = vec!["books", "--json"];
    folders.iter().for_each(|folder| words.extend(["--node", folder]));
    let books = devnet.home.json(&words);
    assert_eq!(books["balance"], true, "{books}");
}
