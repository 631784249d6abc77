//! The owner of a model hands it to a committee; a consumer whose home never sees a weight asks it, on the command line
//! and through the gateway, and gets the very numbers that the owner computes in the clear.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use common::{Devnet, Home, PATIENCE, Started, embeddings, free_port_block, one_at_a_time, wait_for_port};
use sahara_circuits::testmodel::TestModel;
use serde_json::Value;

const TEXTS: [&str; 2] = ["the cat sat", "a dog ran far away"];

#[test]
fn journey() {
    let _turn = one_at_a_time();
    let owner = Devnet { home: Home::empty(), port: free_port_block() };
    let folder = owner.home.path().join("folder");
    TestModel::default().write(&folder, 5).expect("a writable home");
    owner.home.output(&["model", "pull", folder.to_str().expect("a plain path"), "--name", "small"]);
    owner.start();
    let committee = owner.committee_file();
    let committee = committee.to_str().expect("a plain path");

    // The consumer tells its key to the operators, who admit it, and to the owner, who names it.
    let consumer = Home::empty();
    let key = consumer.json(&["whoami", "--json"])["key"].as_str().expect("a key").to_owned();
    owner.admit(&key);
    let shared = owner.home.json(&["model", "share", "small", "--access", &key, "--json"]);
    let sharing = shared["sharing"].as_str().expect("OWNER/NAME").to_owned();
    assert_eq!((&shared["version"], &shared["uploaded"]), (&Value::from(1), &Value::from(true)));
    let again = owner.home.json(&["model", "share", "small", "--json"]);
    assert_eq!((&again["version"], &again["uploaded"]), (&Value::from(1), &Value::from(false)), "nothing has changed");
    assert_eq!(again["consumers"], shared["consumers"], "and who may use it stays");

    let expected = owner.home.output(&["embed", "--json", "--plain", "--model", "small", TEXTS[0], TEXTS[1]]);
    let ask = |options: &[&str]| {
        let mut arguments = vec!["embed", "--json", "--committee", committee];
        arguments.extend(options);
        arguments.extend(TEXTS);
        consumer.run(&arguments)
    };
    let seen = consumer.json(&["model", "shared", "--committee", committee, "--json"]);
    assert_eq!((seen[0]["sharing"].as_str(), seen[0]["own"].as_bool()), (Some(sharing.as_str()), Some(false)));
    let first = ask(&["--model", &sharing]); // fetches the client part by itself
    assert_eq!((first.code, first.stdout.as_str()), (Some(0), expected.as_str()), "{first}");
    let fetched = consumer.json(&["model", "get", &sharing, "--committee", committee, "--json"]);
    assert_eq!(fetched["fetched"], Value::from(false), "it is here already");
    for name in ["small", &sharing] {
        let about = consumer.json(&["model", "show", name, "--json"]);
        assert_eq!((&about["sharing"], &about["version"]), (&Value::from(sharing.as_str()), &Value::from(1)));
    }
    let by_name = ask(&["--model", "small"]);
    assert_eq!((by_name.code, by_name.stdout.as_str()), (Some(0), expected.as_str()), "{by_name}");
    let pinned = ask(&["--model", shared["manifest"].as_str().expect("an id")]);
    assert_eq!((pinned.code, pinned.stdout.as_str()), (Some(0), expected.as_str()), "{pinned}");

    let gateway = Gateway::start(&consumer, committee, &sharing);
    gateway.answers("small", &expected);
    gateway.answers(&sharing, &expected);
    no_weight_is_in(&consumer, &owner.home);
    for flag in ["--plain", "--float"] {
        let refused = consumer.run(&["embed", flag, "--model", "small", TEXTS[0]]);
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(refused.stderr.contains("no weights of"), "{refused}");
    }
    let open = ask(&["--model", "small", "--weights", "open"]);
    assert_eq!(open.code, Some(2), "{open}");
    assert!(open.stderr.contains("private weights"), "{open}");

    // Another model under the same name is a new version: the consumer fetches what it needs anew.
    TestModel::default().write(&folder, 6).expect("a writable home");
    owner.home.output(&["model", "pull", "--force", folder.to_str().expect("a plain path"), "--name", "small"]);
    assert_eq!(owner.home.json(&["model", "share", "small", "--json"])["version"], Value::from(2));
    let fresh = owner.home.output(&["embed", "--json", "--plain", "--model", "small", TEXTS[0], TEXTS[1]]);
    assert_ne!(fresh, expected);
    let second = ask(&["--model", "small"]);
    assert_eq!((second.code, second.stdout.as_str()), (Some(0), fresh.as_str()), "{second}");
    gateway.answers(&sharing, &fresh);
    let pinned = ask(&["--model", shared["manifest"].as_str().expect("an id")]);
    assert_eq!(pinned.code, Some(2), "the version that was meant is gone: {pinned}");

    // A node loses what it had: the owner's next question hands the model over again, to whom it was given before.
    owner.home.output(&["devnet", "down"]);
    std::fs::remove_dir_all(owner.node_folder(2).join("sharings")).expect("a folder of a node");
    owner.start();
    assert_eq!(owner.home.output(&["embed", "--json", "--model", "small", TEXTS[0], TEXTS[1]]), fresh);
    assert_eq!(owner.home.json(&["model", "share", "small", "--json"])["uploaded"], Value::from(false));
    let third = ask(&["--model", "small"]);
    assert_eq!((third.code, third.stdout.as_str()), (Some(0), fresh.as_str()), "{third}");

    // A name that the program knows stays that model's: what somebody shares under it is asked as OWNER/NAME only.
    const KNOWN: &str = "all-MiniLM-L6-v2";
    owner.home.output(&["model", "share", "small", "--as", KNOWN, "--access", &key]);
    let known = sharing.replace("small", KNOWN);
    consumer.output(&["model", "get", &known, "--committee", committee]);
    assert_eq!(ask(&["--model", &known]).stdout, fresh);
    let refused = ask(&["--model", KNOWN]);
    assert!(refused.code == Some(2) && refused.stdout.is_empty(), "{refused}");
    consumer.output(&["model", "rm", &known]);
    owner.home.output(&["model", "unshare", KNOWN]);

    // Off the list; and taken back altogether.
    let nobody = "00".repeat(32);
    let own = owner.home.json(&["whoami", "--json"])["key"].clone();
    let listed = owner.home.json(&["model", "share", "small", "--access", &nobody, "--json"]);
    let mut both = vec![Value::from(nobody.as_str()), own];
    both.sort_by_key(ToString::to_string);
    assert_eq!(listed["consumers"], Value::from(both), "the owner stays on its own list");
    let others = owner.home.json(&["model", "share", "small", "--access", &nobody, "--others-only", "--json"]);
    assert_eq!(others["consumers"], Value::from(vec![nobody]));
    let refused = ask(&["--model", &sharing]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("put your key on its list") && refused.stderr.contains(&key), "{refused}");
    gateway.has_no_model(&sharing);
    owner.home.output(&["model", "share", "small", "--access", &key]);
    gateway.answers(&sharing, &fresh);
    owner.home.output(&["model", "unshare", "small"]);
    gateway.has_no_model(&sharing);
    let left = owner.home.json(&["model", "shared", "--json"]);
    assert_eq!(left, Value::Array(Vec::new()));

    // A node that kept what it should have deleted brings nobody back with the owner's next question.
    owner.home.output(&["model", "share", "small", "--access", &key]);
    let (kept, folder) = (owner.home.path().join("kept"), owner.node_folder(1).join("sharings"));
    owner.home.output(&["devnet", "down"]);
    copy_folder(&folder, &kept);
    owner.start();
    owner.home.output(&["model", "unshare", "small"]);
    owner.home.output(&["devnet", "down"]);
    std::fs::remove_dir_all(&folder).expect("a folder of a node");
    std::fs::rename(&kept, &folder).expect("a folder of a node");
    owner.start();
    for again in [&["embed", "--model", "small", TEXTS[0]][..], &["model", "share", "small"]] {
        let own = owner.home.run(again);
        assert!(own.code == Some(2) && own.stderr.contains("was taken back") && own.stderr.contains("node 1"), "{own}");
    }
    let refused = ask(&["--model", &sharing]);
    assert!(refused.code != Some(0), "{refused}");
    owner.home.output(&["model", "unshare", "small"]);
    owner.home.output(&["embed", "--model", "small", TEXTS[0]]);
    let refused = ask(&["--model", &sharing]);
    assert_eq!(refused.code, Some(2), "{refused}");
    owner.home.output(&["model", "unshare", "small"]);
    assert!(consumer.output(&["model", "rm", "small"]).starts_with(&sharing), "by the name that asks it");
    assert_eq!(consumer.json(&["model", "ls", "--json"]), Value::Array(Vec::new()));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable home");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy_folder(&path, &copy) } else { assert!(std::fs::copy(&path, &copy).is_ok()) }
    }
}

/// A gateway of the consumer's.
struct Gateway {
    address: SocketAddr,
    _runs: Started,
}

impl Gateway {
    fn start(consumer: &Home, committee: &str, sharing: &str) -> Self {
        let address: SocketAddr = ([127, 0, 0, 1], free_port_block()).into();
        let listen = address.to_string();
        let arguments = ["gateway", "--listen", &listen, "--committee", committee, "--model", sharing];
        let runs = Started::new(&mut consumer.sahara(&arguments));
        wait_for_port(address, PATIENCE);
        Self { address, _runs: runs }
    }

    /// Status and body of the answer to the texts.
    fn ask(&self, model: &str) -> (u16, Value) {
        let body = serde_json::json!({"model": model, "input": TEXTS}).to_string();
        let mut stream = TcpStream::connect(self.address).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        write!(
            stream,
            "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .expect("the gateway reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the gateway answers");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let start = answer.find('{').unwrap_or_else(|| panic!("no JSON in {answer}"));
        let end = answer.rfind('}').expect("an end") + 1;
        let body = serde_json::from_str(&answer[start..end]).unwrap_or_else(|error| panic!("{error}: {answer}"));
        (status, body)
    }

    /// Fails unless it answers with these very numbers.
    fn answers(&self, model: &str, expected: &str) {
        let (status, answer) = self.ask(model);
        assert_eq!(status, 200, "{answer}");
        for (index, vector) in embeddings(expected).into_iter().enumerate() {
            let got: Vec<f64> = serde_json::from_value(answer["data"][index]["embedding"].clone()).expect("a vector");
            assert_eq!(got, vector);
        }
    }

    fn has_no_model(&self, model: &str) {
        let (status, answer) = self.ask(model);
        assert_eq!((status, &answer["error"]["code"]), (404, &Value::from("model_not_found")), "{answer}");
    }
}

/// No file of the consumer's home holds a stretch of the weights of the owner's layers.
fn no_weight_is_in(consumer: &Home, owner: &Home) {
    let model = owner.path().join("models").join("small");
    let files = files_below(consumer.path());
    assert!(files.iter().any(|file| file.ends_with("frontend.bin")), "the client part is kept: {files:?}");
    // The embedding table and its first norm are the consumer's; the layers above are not.
    let layers =
        sahara_circuits::model::CompiledModel::load(&model.join("compiled")).expect("the owner's model").weights;
    for file in files {
        let bytes = std::fs::read(&file).expect("a readable home");
        let holds = |window: &[u8]| bytes.windows(window.len()).any(|part| part == window);
        for tensor in layers.tensors.iter().filter(|tensor| tensor.len() >= 64) {
            let window: Vec<u8> = tensor[8..40].iter().flat_map(|word| word.to_le_bytes()).collect();
            assert!(!holds(&window), "{} holds weights", file.display());
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
