//! `devnet up` and nothing else: a question is answered and paid, its receipt verified; `down` and `up` go on from there, and
//! whatever was interrupted or is over is made anew.

mod common;

use std::process::Command;

use common::{Devnet, Home, MODEL, PATIENCE, Started, free_port_block, interrupt, one_at_a_time, processes_of};
use serde_json::{Value, json};

/// The network's own wallets.
const PASSWORD: &str = "devnet";

fn up(devnet: &Devnet) -> Value {
    devnet.home.json(&["devnet", "up", "--port", &devnet.port.to_string(), "--json"])
}

fn with_password(devnet: &Devnet, words: &[&str]) -> Command {
    let mut command = devnet.home.sahara(words);
    command.env("SAHARA_WALLET_PASSWORD", PASSWORD);
    command
}

/// Asks once; what standard error says of the payment.
fn pays(devnet: &Devnet) {
    let asked = devnet.home.run(&["embed", "a private sentence"]);
    assert_eq!(asked.code, Some(0), "{asked}");
    assert!(asked.stdout.contains("tokens  ["), "the vector: {asked}");
    assert!(asked.stderr.contains("paid 0.004 SAH, receipt "), "price and receipt: {asked}");
    let verified = devnet.home.run(&["receipt", "verify", "last", "--explain"]);
    assert_eq!(verified.code, Some(0), "{verified}");
    assert!(verified.stdout.contains("It does not prove"), "{verified}");
}

#[test]
fn devnet_up_alone_is_the_paid_tour() {
    let _turn = one_at_a_time();
    let devnet = Devnet { home: Home::with_model(), port: free_port_block() };
    // A set-up that was interrupted is gone through again.
    let begun = Started::new(&mut devnet.home.sahara(&["devnet", "up", "--port", &devnet.port.to_string()]));
    let wallets = devnet.home.path().join("devnet/wallets/owner.json");
    let until = std::time::Instant::now() + PATIENCE;
    while !wallets.exists() && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(700));
    interrupt(begun.pid());
    let begun = begun.finish(PATIENCE);
    if begun.code != Some(0) {
        assert_eq!(processes_of(&devnet.home.path().join("devnet")), Vec::<u32>::new(), "{begun}");
    }
    let first = up(&devnet);
    let paid = &first["paid"];
    assert_eq!((&paid["model"], &paid["price"]), (&json!(MODEL), &json!("4000000000000000")), "{first}");
    assert_eq!(first["up"], true, "{first}");
    pays(&devnet);
    let sessions = devnet.home.json(&["session", "ls", "--json"]);
    assert_eq!(sessions[0]["cap_day"], "2000000000000000000", "a cap: {sessions}");
    // Down and up: the same deal.
    devnet.home.output(&["devnet", "down"]);
    assert_eq!(processes_of(&devnet.home.path().join("devnet")), Vec::<u32>::new());
    let second = up(&devnet);
    assert_eq!((&second["paid"], &second["started"]), (paid, &json!(true)));
    pays(&devnet);
    assert_eq!(up(&devnet)["started"], false, "what runs is left alone");
    // Another model is not sold beside it.
    let other = devnet.home.run(&["devnet", "up", "--model", "another"]);
    assert!(other.code == Some(2) && other.stderr.contains("is sold on this network, not another"), "{other}");
    // A session that was closed is made anew.
    let id = paid["session"].as_str().expect("a session");
    let closed = Started::new(&mut with_password(&devnet, &["session", "close", id])).finish(PATIENCE);
    assert_eq!(closed.code, Some(0), "{closed}");
    let third = up(&devnet);
    assert_ne!(third["paid"]["session"], paid["session"], "{third}");
    assert_eq!(third["paid"]["licence"], paid["licence"], "the licence stays");
    pays(&devnet);
    // With a second licence: its session is taken when the first one is closed, and then one of a licence that is good.
    let asset = paid["asset"].as_str().expect("an asset");
    let buy = ["licence", "buy", asset, "--deposit", "1", "--again", "--json"];
    let bought = Started::new(&mut with_password(&devnet, &buy)).finish(PATIENCE);
    assert_eq!(bought.code, Some(0), "{bought}");
    let bought: Value = serde_json::from_str(&bought.stdout).expect("JSON");
    let close = |session: &Value| {
        let id = session.as_str().expect("a session");
        let closed = Started::new(&mut with_password(&devnet, &["session", "close", id])).finish(PATIENCE);
        assert_eq!(closed.code, Some(0), "{closed}");
        let all = devnet.home.json(&["session", "ls", "--json"]);
        let state = all.as_array().expect("a list").iter().find(|one| one["session"] == id).map(|one| &one["state"]);
        assert_eq!(state, Some(&json!("closing")), "at once: {all}");
        Started::new(&mut with_password(&devnet, &["session", "close", id])).finish(PATIENCE)
    };
    let twice = close(&third["paid"]["session"]);
    assert!(twice.code == Some(2) && twice.stderr.contains("the session is closing: wait until"), "{twice}");
    let fourth = up(&devnet);
    assert_eq!(fourth["paid"]["session"], bought["session"]["session"], "{fourth}");
    assert_eq!(fourth["paid"]["licence"], bought["licence"], "{fourth}");
    close(&fourth["paid"]["session"]);
    let fifth = up(&devnet);
    assert_eq!(fifth["paid"]["licence"], bought["licence"], "{fifth}");
    pays(&devnet);
    let shown = devnet.home.json(&["asset", "show", asset, "--json"]);
    assert_eq!(shown["committees"].as_array().map(Vec::len), Some(1), "its nodes are seated once: {shown}");
    let books = devnet.home.run(&["books"]);
    assert!(books.code == Some(0) && books.stdout.contains("the books balance"), "{books}");
}
