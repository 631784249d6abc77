//! A CometBFT that counts what it is asked.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use prost::Message;
use tendermint_proto::v0_38::types::{Commit, Header};

use super::*;

/// Answers as CometBFT does that has `validators` at each height and blocks up to 100.
fn comet(validators: usize) -> (Headers, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let count = count.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                loop {
                    let (mut length, mut line) = (0, String::new());
                    while reader.read_line(&mut line).unwrap_or(0) > 2 {
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    if length == 0 || reader.read_exact(&mut body).is_err() {
                        return;
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let question: Value = serde_json::from_slice(&body).unwrap();
                    let answer = answer(&question, validators).to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
                    stream.write_all([head.as_bytes(), answer.as_bytes()].concat().as_slice()).unwrap();
                }
            });
        }
    });
    (Headers::new(client), asked)
}

fn answer(question: &Value, validators: usize) -> Value {
    let number = |name: &str| question["params"][name].as_str().unwrap().parse::<usize>().unwrap();
    let result = match question["method"].as_str().unwrap() {
        "commit" if number("height") == 7 => {
            return json!({ "id": question["id"], "error": { "code": -32603, "message": "pruned" } });
        }
        "commit" => {
            let height = i64::try_from(number("height")).unwrap();
            let header = Header { chain_id: "c".into(), height, ..Header::default() };
            let commit = Commit { height, ..Commit::default() };
            json!({ "signed_header": Decided { header: Some(header), commit: Some(commit) } })
        }
        "validators" => {
            let (page, size) = (number("page"), number("per_page"));
            let these = (page - 1) * size..(page * size).min(validators);
            let validator =
                |n: usize| Validator { voting_power: i64::try_from(n + 1).unwrap(), ..Validator::default() };
            let these: Vec<Validator> = these.map(validator).collect();
            json!({ "validators": these, "total": validators.to_string() })
        }
        other => panic!("asked {other}"),
    };
    json!({ "id": question["id"], "result": result })
}

#[tokio::test]
async fn new_headers_are_asked_for_once_and_old_ones_each_time() {
    let (headers, asked) = comet(4);
    for _ in 0..3 {
        let found = headers.at(100, 100).await.unwrap().unwrap();
        assert_eq!(Decided::decode(found.signed_header.as_ref()).unwrap().header.unwrap().height, 100);
    }
    assert_eq!(asked.swap(0, Ordering::SeqCst), 3, "the commit and two sets of validators");
    for (height, questions) in [(93, 3), (93, 0), (92, 3), (92, 3)] {
        headers.at(height, 100).await.unwrap().unwrap();
        assert_eq!(asked.swap(0, Ordering::SeqCst), questions, "{height}");
    }
    for height in 101..120 {
        headers.at(height, height).await.unwrap();
    }
    assert_eq!(headers.known().len(), REMEMBERED);
    asked.store(0, Ordering::SeqCst);
    assert_eq!(headers.at(0, 100).await, Ok(None));
    assert_eq!(headers.at(101, 100).await, Ok(None));
    assert_eq!(asked.load(Ordering::SeqCst), 0, "what cannot be there is not asked for");
    assert_eq!(headers.at(7, 100).await, Ok(None), "CometBFT has forgotten it");
}

#[tokio::test]
async fn all_validators_are_told_up_to_a_limit() {
    let (headers, asked) = comet(250);
    let found = headers.at(100, 100).await.unwrap().unwrap();
    for set in [&found.validators, &found.next_validators] {
        let powers: Vec<i64> =
            ValidatorSet::decode(set.as_ref()).unwrap().validators.iter().map(|v| v.voting_power).collect();
        assert_eq!(powers, (1..=250).collect::<Vec<_>>());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1 + 3 + 3);
    let (headers, _) = comet(PAGE * PAGES + 1);
    assert!(headers.at(100, 100).await.unwrap_err().contains("more than 1000 validators"));
}
