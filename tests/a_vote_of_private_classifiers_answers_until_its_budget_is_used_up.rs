//! Five classifiers, each trained on a file of its own, vote on share nodes that add the noise and count the answers: everybody is told
//! what one costs, whoever accepts less is refused, and beyond the budget nobody is answered, not after a restart either.

mod common;

use std::net::SocketAddr;

use common::clients::{gateway_with, post};
use common::{Devnet, Finished, Home, free_port_block, one_at_a_time};
use sahara_circuits::testmodel::{SEED, catalogue};
use sahara_circuits::votes::{L1, L2_SQUARED};
use sahara_mpc::manifest::{AnswerCost, Sensitivity};
use serde_json::{Value, json};

const DELTA: f64 = 1e-3;
const VOTERS: [&str; 5] = ["clinic-1", "clinic-2", "clinic-3", "clinic-4", "clinic-5"];
const GOOD: &str = "the film by the river was very good";

/// The texts of one voter: what is said of a thing is its label.
fn texts(voter: usize) -> String {
    let things = ["film", "dog", "doctor", "bank", "river", "network", "query"];
    let places = ["in the world", "by the river", "of the doctor", "in a private network", ""];
    let line = |i: usize| {
        let label = ["good", "bad"][i % 2];
        format!("the {} {} was very {label}\t{label}\n", things[i % 7], places[i / 7 % 5])
    };
    (voter * 70..voter * 70 + 70).map(line).collect()
}

/// ε of so many answers by a vote whose noise has a deviation of √2 for whoever knows one node's part.
fn epsilon(answers: u64) -> f64 {
    let sensitivity = Sensitivity { l1: L1, l2_squared: L2_SQUARED };
    AnswerCost::epsilon(&[(AnswerCost { variance: 2, sensitivity, numbers: 2 }, answers)], DELTA).expect("an ε")
}

/// What is within so many answers, and not within one more.
fn enough_for(answers: u64) -> String {
    format!("{:.4}", (epsilon(answers) + epsilon(answers + 1)) / 2.0)
}

fn train_and_pull(home: &Home) {
    let place = |name: &str| home.path().join(name).display().to_string();
    let base = catalogue().into_iter().find(|case| case.name == "bert-mean-normalize").expect("a case");
    base.folder.write(&home.path().join("base"), SEED).expect("a model folder");
    home.output(&["model", "pull", &place("base"), "--name", "base"]);
    for (number, voter) in VOTERS.into_iter().enumerate() {
        let data = format!("{voter}.tsv");
        std::fs::write(home.path().join(&data), texts(number)).expect("a file of texts");
        let (data, out) = (place(&data), place(voter));
        let train = ["train", "classify", "--model", "base", "--labels", "bad,good", "--provable", "--without-privacy"];
        home.output(&[&train[..], &["--data", &data, "--out", &out]].concat());
        home.output(&["model", "pull", &place(&format!("{voter}/release")), "--name", voter]);
    }
}

fn share(home: &Home, budget: &str, access: &[&str]) -> Finished {
    let delta = DELTA.to_string();
    let terms = ["--dataset", "clinics", "--noise", "1.4", "--epsilon", budget, "--delta", &delta];
    home.run(&[&["model", "share", "vote"][..], &terms, access].concat())
}

fn classify(home: &Home, more: &[&str]) -> Finished {
    home.run(&[&["classify", "--json", "--model", "vote"][..], more].concat())
}

/// An answer that was given: one label or, of equal counts, both; and what is said of the budget after it.
fn answered(finished: &Finished, spent: u64, left: u64) -> bool {
    assert_eq!(finished.code, Some(0), "{finished}");
    let answer: Value = serde_json::from_str(&finished.stdout).expect("an object");
    let outputs: Vec<f64> = answer["outputs"].as_array().expect("outputs").iter().filter_map(Value::as_f64).collect();
    assert!(outputs.len() == 2 && outputs.contains(&1.0) && outputs.iter().all(|y| [0.0, 1.0].contains(y)), "{answer}");
    costs(&answer["dp"], spent, left);
    // Said twice: before anything is spent, and of what is left after it.
    let one = format!("an answer costs ε = {:.4} at δ = {DELTA:e}", epsilon(1));
    assert!(finished.stderr.contains(&one) && finished.stderr.matches("is spent by all").count() == 2, "{finished}");
    answer["label"] == "good"
}

fn costs(dp: &Value, spent: u64, left: u64) {
    let close = |name: &str, want: f64| {
        assert!(dp[name].as_f64().is_some_and(|told| (told - want).abs() < 1e-9), "{name}, not {want}: {dp}");
    };
    close("epsilon", epsilon(1));
    close("spent", epsilon(spent));
    close("delta", DELTA);
    assert_eq!(dp["answers_left"], left, "{dp}");
}

fn ask_gateway(address: SocketAddr, body: &Value) -> (u16, Value) {
    let (status, body) = post(address, "/v1/classify", &body.to_string());
    (status, serde_json::from_str(&body).expect("JSON"))
}

fn refused(answer: &(u16, Value), code: &str, says: &str) {
    let error = &answer.1["error"];
    assert_eq!((answer.0, error["code"].as_str()), (400, Some(code)), "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(says)), "{error}");
}

#[test]
fn train_vote_share_ask_and_use_up() {
    let _turn = one_at_a_time();
    let devnet = Devnet { home: Home::empty(), port: free_port_block() };
    let home = &devnet.home;
    train_and_pull(home);
    home.output(&[&["model", "ensemble", "vote"][..], &VOTERS].concat());
    let twice = home.run(&["model", "ensemble", "twice", "clinic-1", "clinic-2", "clinic-1"]);
    assert!(twice.code == Some(2) && twice.stderr.contains("are the same"), "{twice}");
    let taken = home.run(&["model", "ensemble", "vote", "clinic-1", "clinic-2"]);
    assert!(taken.code == Some(2) && taken.stderr.contains("sahara model rm vote"), "{taken}");
    // Without noise, where all weights are; there is nothing to bound, and no float model of a vote.
    let plain = home.json(&["classify", "--json", "--plain", "--model", "vote", GOOD]);
    assert!(plain["label"] == "good" && plain["dp"].is_null(), "{plain}");
    for (way, says) in [("--plain", "leaves without noise"), ("--float", "no files of its own")] {
        let none = classify(home, &[way, "--dp-epsilon", "9", GOOD]);
        assert!(none.code == Some(2) && none.stderr.contains(says), "{none}");
    }

    devnet.start();
    // A vote is not handed over by asking it: its owner has to say what answers may cost.
    let unsaid = classify(home, &[GOOD]);
    assert!(unsaid.code == Some(2) && unsaid.stderr.contains("sahara model share --help"), "{unsaid}");
    let clear =
        home.run(&["model", "share", "clinic-1", "--dataset", "d", "--noise", "9", "--epsilon", "1", "--delta", "0.1"]);
    assert!(clear.code == Some(2) && clear.stderr.contains("is no vote"), "{clear}");
    let shared = share(home, &enough_for(3), &[]);
    assert_eq!(shared.code, Some(0), "{shared}");

    let enough = format!("{:.4}", epsilon(1) + 0.001);
    let less = format!("{:.4}", epsilon(1) - 0.001);
    let dear = classify(home, &["--dp-epsilon", &less, GOOD]);
    assert!(dear.code == Some(2) && dear.stderr.contains(&format!("more than the {less}")), "{dear}");
    let mut right = 0;
    right += u32::from(answered(&classify(home, &["--dp-epsilon", &enough, GOOD]), 1, 2));
    let many = classify(home, &[GOOD, GOOD, GOOD]);
    assert!(many.code == Some(2) && many.stdout.is_empty() && many.stderr.contains("suffices for 2 more"), "{many}");
    // Who sets no limit is told the same.
    right += u32::from(answered(&classify(home, &[GOOD]), 2, 1));
    let embedded = home.run(&["embed", "--model", "vote", GOOD]);
    assert!(embedded.code == Some(2) && embedded.stderr.contains("sahara classify"), "{embedded}");

    let (gateway, address) = gateway_with(&devnet, &["--model", "vote"]);
    let ask = |dp: Value| ask_gateway(address, &json!({"input": GOOD, "dp": dp}));
    refused(&ask(json!({"epsilon": epsilon(1) - 0.001})), "costs_more_epsilon", "an answer costs");
    let many = ask_gateway(address, &json!({"input": [GOOD, GOOD]}));
    refused(&many, "privacy_budget_used_up", "suffices for 1 more");
    let (status, answer) = ask(json!({"epsilon": epsilon(1) + 0.001}));
    assert_eq!(status, 200, "{answer}");
    costs(&answer["dp"], 3, 0);
    right += u32::from(answer["results"][0]["label"] == "good");
    // All five say so; each is wrong by chance once in fifty times.
    assert!(right >= 1, "no answer of three is right");
    for dp in [Value::Null, json!({"epsilon": 1e6})] {
        refused(&ask(dp), "privacy_budget_used_up", "the budget of `clinics` is used up");
    }
    drop(gateway);

    // All nodes go down and come up again.
    let consumer = Home::empty();
    let key = consumer.json(&["whoami", "--json"])["key"].as_str().expect("a key").to_owned();
    devnet.admit(&key);
    for more in [&[GOOD][..], &["--dp-epsilon", &enough, GOOD]] {
        let over = classify(home, more);
        assert!(over.code == Some(2) && over.stdout.is_empty(), "{over}");
        assert!(over.stderr.contains("the budget of `clinics` is used up"), "{over}");
    }
    // One voter alone is asked without noise; who wants a bound is told that there is none.
    let (gateway, address) = gateway_with(&devnet, &["--model", "clinic-1"]);
    let answer = ask_gateway(address, &json!({"input": GOOD, "dp": {"epsilon": 100}}));
    refused(&answer, "no_noise", "leaves without noise");
    let (status, answer) = ask_gateway(address, &json!({"input": GOOD}));
    assert!(status == 200 && answer["dp"].is_null() && answer["results"][0]["label"] == "good", "{answer}");
    drop(gateway);
    // The same data under a greater budget goes on from what is spent, for somebody who has no weights, too.
    let shared = share(home, &enough_for(6), &["--access", &key]);
    assert!(shared.code == Some(0) && shared.stdout.contains("sahara classify --committee FILE"), "{shared}");
    let all = home.json(&["model", "shared", "--json"]);
    let vote = all.as_array().and_then(|all| all.iter().find(|one| one["name"] == "vote")).expect("it is shared");
    let sharing = vote["sharing"].as_str().expect("OWNER/NAME").to_owned();
    let both = classify(home, &["--dp-epsilon", &enough, GOOD, GOOD]);
    let lines: Vec<Value> = both.stdout.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(both.code == Some(0) && lines.len() == 2, "{both}");
    costs(&lines[1]["dp"], 5, 1);
    let committee = devnet.committee_file().display().to_string();
    let ask = || consumer.run(&["classify", "--json", "--committee", &committee, "--model", &sharing, GOOD]);
    answered(&ask(), 6, 0);
    let over = ask();
    assert!(over.code == Some(2) && over.stderr.contains("is used up"), "{over}");
}
