//! The client of the hub against a hub of our own, over real sockets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::error::ErrorKind;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A small model's settings.
const CONFIG: &str = r#"{"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 8, "max_position_embeddings": 8}"#;
/// What comes in chunks without end ends here.
const ENDLESS: u64 = 256 << 20;

/// Whole answers but for the line with their length, by path. The body of one in chunks comes again and again.
type Answers = BTreeMap<String, (String, Vec<u8>)>;

/// A web server that knows some answers and remembers what it was asked.
struct Server {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    heard: Arc<Mutex<Vec<String>>>,
    /// Bytes of bodies without end that were taken.
    taken: Arc<AtomicU64>,
}

impl Server {
    fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let answers = Arc::new(Mutex::new(answers));
        let server =
            Self { address: listener.local_addr().unwrap(), answers, heard: Arc::default(), taken: Arc::default() };
        let (answers, heard, taken) =
            (Arc::clone(&server.answers), Arc::clone(&server.heard), Arc::clone(&server.taken));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
                let with_token = head.iter().any(|line| line.contains("Bearer secret"));
                let mark = if with_token { " with the token" } else { "" };
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{path}{mark}"));
                let missing = ("404 Not Found\r\nx-error-code: EntryNotFound".to_owned(), Vec::new());
                let known = answers.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
                let (head, body) = known.unwrap_or(missing);
                let endless = head.contains("chunked");
                let length = if head.contains("Content-Length") || endless {
                    String::new()
                } else {
                    format!("Content-Length: {}\r\n", body.len())
                };
                let head = format!("HTTP/1.1 {head}\r\n{length}Connection: close\r\n\r\n");
                // The client may have seen enough.
                let sent = stream.write_all(head.as_bytes());
                if endless {
                    taken.fetch_add(without_end(&mut stream, &body), Ordering::Relaxed);
                } else {
                    let _ = sent.and_then(|()| stream.write_all(&body));
                }
            }
        });
        server
    }

    fn answer(&self, path: &str, head: &str, body: &[u8]) {
        let answer = (head.to_owned(), body.to_owned());
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), answer);
    }

    fn hub(&self) -> Hub {
        Hub::at(&format!("http://{}/", self.address), Some(Zeroizing::new("secret".to_owned()))).unwrap()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends this in chunks for as long as they are taken, and not for ever; how many bytes were.
fn without_end(stream: &mut TcpStream, body: &[u8]) -> u64 {
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
    let mut taken = 0;
    while taken < ENDLESS && stream.write_all(&chunk).is_ok() {
        taken += body.len() as u64;
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    taken
}

/// The answers of a hub that has these files of `owner/model`.
fn repository(files: &[(&str, &str)]) -> Answers {
    let siblings: Vec<_> = files.iter().map(|(name, _)| serde_json::json!({"rfilename": name})).collect();
    let listing = serde_json::json!({"id": "owner/model", "sha": SHA, "siblings": siblings}).to_string();
    let file = |(name, text): &(&str, &str)| {
        (format!("/owner/model/resolve/{SHA}/{name}"), ("200 OK".to_owned(), text.as_bytes().to_vec()))
    };
    let list = ("/api/models/owner/model/revision/main".to_owned(), ("200 OK".to_owned(), listing.into_bytes()));
    files.iter().map(file).chain([list]).collect()
}

fn pull(hub: &Hub) -> (Result<Vec<FetchedFile>>, tempfile::TempDir) {
    let into = tempfile::tempdir().unwrap();
    (hub.model("owner/model", into.path(), &Progress::silent()), into)
}

const MODULES: &str = r#"[
    {"name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
    {"name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;

#[test]
fn a_sharded_model_with_modules_comes_whole_and_the_token_stays_with_the_hub() {
    let store = Server::start([("/blob".to_owned(), ("200 OK".to_owned(), b"second".to_vec()))].into());
    let index = r#"{"weight_map": {"a": "model-1 of 2.safetensors", "b": "model-2.safetensors"}}"#;
    let mut answers = repository(&[
        ("README.md", "words"),
        ("modules.json", MODULES),
        ("0_Transformer/config.json", CONFIG),
        ("0_Transformer/vocab.txt", "[PAD]"),
        ("0_Transformer/model.safetensors.index.json", index),
        ("1_Pooling/config.json", "{}"),
        ("2_Dense/config.json", r#"{"in_features": 8, "out_features": 8}"#),
        ("2_Dense/model.safetensors", "dense"),
        ("onnx/config.json", "{}"),
        ("onnx/model.onnx", "other"),
        ("0_Transformer/generation_config.json", "{}"),
    ]);
    let resolve = |file: &str| format!("/owner/model/resolve/{SHA}/0_Transformer/{file}");
    answers.insert(resolve("model-1%20of%202.safetensors"), ("200 OK".to_owned(), b"first".to_vec()));
    let moved = format!("302 Found\r\nLocation: http://{}/blob", store.address);
    answers.insert(resolve("model-2.safetensors"), (moved, Vec::new()));
    let hub = Server::start(answers);
    let (files, into) = pull(&hub.hub());
    let names: Vec<String> = files.unwrap().into_iter().map(|file| file.name).collect();
    let transformer =
        ["config.json", "vocab.txt", "model.safetensors.index.json"].map(|n| format!("0_Transformer/{n}"));
    for name in transformer.iter().map(String::as_str).chain(["modules.json", "1_Pooling/config.json"]) {
        assert!(names.iter().any(|fetched| fetched == name), "{name} is missing of {names:?}");
    }
    assert_eq!(names.len(), 9, "{names:?}");
    let read = |name: &str| fs::read(into.path().join(name)).unwrap();
    assert_eq!(read("0_Transformer/model-1 of 2.safetensors"), b"first");
    assert_eq!(read("0_Transformer/model-2.safetensors"), b"second");
    assert_eq!(read("2_Dense/model.safetensors"), b"dense");
    assert!(hub.heard().iter().all(|asked| asked.ends_with(" with the token")), "{:?}", hub.heard());
    assert_eq!(store.heard(), ["/blob"], "the token went to another host");
}

#[test]
fn pointers_are_followed_without_what_comes_with_them_and_not_for_ever() {
    let files = [("config.json", CONFIG), ("tokenizer.json", "{}"), ("model.safetensors", "w")];
    let mut answers = repository(&files);
    let config = format!("/owner/model/resolve/{SHA}/config.json");
    answers.insert("/moved".to_owned(), ("200 OK".to_owned(), CONFIG.as_bytes().to_vec()));
    let endless = "307 Moved\r\nTransfer-Encoding: chunked\r\nLocation: /moved".to_owned();
    answers.insert(config.clone(), (endless, vec![b'x'; 1 << 20]));
    let hub = Server::start(answers.clone());
    pull(&hub.hub()).0.unwrap();
    assert!(hub.taken.load(Ordering::Relaxed) < ENDLESS / 4, "a pointer's body was read");

    for nowhere in ["ftp://elsewhere/", "//elsewhere/x", "", &config] {
        answers.insert(config.clone(), (format!("302 Found\r\nLocation: {nowhere}"), Vec::new()));
        let hub = Server::start(answers.clone());
        let error = pull(&hub.hub()).0.unwrap_err();
        assert!(error.kind() == ErrorKind::Unreachable && error.to_string().contains("points"), "{error}");
        assert!(hub.heard().len() < 12, "not for ever");
    }
    let odd = Server::start(repository(&[&files[..], &[("\u{1b}[2Kx.json", "{}")]].concat()));
    let names: Vec<String> = pull(&odd.hub()).0.unwrap().into_iter().map(|file| file.name).collect();
    assert!(names.len() == 3 && names.iter().all(|name| !name.contains('\u{1b}')), "{names:?}");
}

#[test]
fn the_token_goes_to_the_hubs_own_host_at_each_step_and_to_no_other() {
    let files = [("config.json", CONFIG), ("tokenizer.json", "{}"), ("vocab.txt", "v"), ("model.safetensors", "w")];
    let below = |(path, answer): (String, (String, Vec<u8>))| (format!("/mirror{path}"), answer);
    let hub = Server::start(repository(&files).into_iter().map(below).collect());
    let other = Server::start(BTreeMap::new());
    let (here, there) = (hub.address, other.address);
    let moved =
        |server: &Server, from: &str, to: &str| server.answer(from, &format!("302 Found\r\nLocation: {to}"), b"");
    let file = |name: &str| format!("/mirror/owner/model/resolve/{SHA}/{name}");
    moved(&hub, &file("config.json"), "/elsewhere/config");
    hub.answer("/elsewhere/config", "200 OK", CONFIG.as_bytes());
    moved(&hub, &file("tokenizer.json"), &format!("http://{here}/elsewhere/tokenizer"));
    hub.answer("/elsewhere/tokenizer", "200 OK", b"{}");
    // The same machine by another name is another host.
    moved(&hub, &file("vocab.txt"), &format!("http://localhost:{}/elsewhere/vocab", here.port()));
    hub.answer("/elsewhere/vocab", "200 OK", b"v");
    // A path is one of the host that names it.
    moved(&hub, &file("model.safetensors"), &format!("http://{there}/blob"));
    moved(&other, "/blob", "/elsewhere/weights");
    hub.answer("/elsewhere/weights", "200 OK", b"the hub's");
    moved(&other, "/elsewhere/weights", &format!("http://{here}@{there}/end"));
    other.answer("/end", "200 OK", b"w");
    let at_mirror = Hub::at(&format!("http://{here}/mirror"), Some(Zeroizing::new("secret".to_owned()))).unwrap();
    let (fetched, into) = pull(&at_mirror);
    assert_eq!(fetched.unwrap().len(), 4);
    assert_eq!(fs::read(into.path().join("model.safetensors")).unwrap(), b"w");
    let elsewhere: Vec<String> = hub.heard().into_iter().filter(|asked| asked.contains("/elsewhere")).collect();
    let mut expected = ["/elsewhere/config with the token", "/elsewhere/tokenizer with the token", "/elsewhere/vocab"]
        .map(str::to_owned);
    expected.sort();
    assert_eq!(elsewhere.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(other.heard(), ["/blob", "/elsewhere/weights", "/end"]);
}

#[test]
fn all_weights_together_are_as_large_as_the_settings_ask_for_or_refused_by_name() {
    let shards: BTreeMap<String, String> =
        (0..256).map(|i| (format!("t{i}"), format!("model-{i:03}.safetensors"))).collect();
    let index = serde_json::json!({ "weight_map": shards }).to_string();
    let files = [("config.json", CONFIG), ("tokenizer.json", "{}"), ("model.safetensors.index.json", &index)];
    let shard = |i: usize| format!("/owner/model/resolve/{SHA}/model-{i:03}.safetensors");
    let too_large = |fill: &dyn Fn(&Server)| {
        let hub = Server::start(repository(&files));
        fill(&hub);
        let error = pull(&hub.hub()).0.unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Input && text.contains("than config.json asks for"), "{text}");
        assert!(text.contains("owner/model") && text.contains("bytes"), "{text}");
        let asked = hub.heard().iter().filter(|asked| asked.contains("/model-")).count();
        (asked, hub.taken.load(Ordering::Relaxed))
    };
    let announced = too_large(&|hub| {
        (0..256).for_each(|i| hub.answer(&shard(i), "200 OK\r\nContent-Length: 8589934592", b"w"));
    });
    assert_eq!(announced, (1, 0), "refused before it comes");
    let (asked, taken) = too_large(&|hub| hub.answer(&shard(0), "200 OK\r\nTransfer-Encoding: chunked", &[0; 1 << 20]));
    assert!(asked == 1 && taken < ENDLESS / 4, "{taken}");
    let ten = vec![0; 10 << 20];
    let (asked, _) = too_large(&|hub| (0..256).for_each(|i| hub.answer(&shard(i), "200 OK", &ten)));
    assert_eq!(asked, 2, "each of them would do, both do not");
}

#[test]
fn a_download_that_crawls_ends_and_says_that_it_can_be_tried_again() {
    let progress = Progress::silent();
    let mut slow = Told::new(&b"a few bytes"[..], None, "downloading x", &progress);
    let mut buffer = [0; 4];
    assert_eq!(slow.read(&mut buffer).unwrap(), 4);
    slow.since = Instant::now().checked_sub(STALLED + Duration::from_secs(2)).unwrap();
    assert_eq!(slow.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::TimedOut);

    let cut = Server::start(repository(&[("config.json", CONFIG), ("model.safetensors", "w")]));
    cut.answer(&format!("/owner/model/resolve/{SHA}/config.json"), "200 OK\r\nContent-Length: 99", b"half");
    let error = pull(&cut.hub()).0.unwrap_err();
    assert!(error.kind() == ErrorKind::Unreachable && error.to_string().contains("try again"), "{error}");
}

#[test]
fn what_would_be_refused_in_a_folder_is_fetched_so_that_it_is_refused() {
    let base = [("config.json", CONFIG), ("tokenizer.json", "{}"), ("model.safetensors", "w")];
    for odd in ["adapter_config.json", "something_else.json"] {
        let hub = Server::start(repository(&[&base[..], &[(odd, "{}")]].concat()));
        let (files, into) = pull(&hub.hub());
        files.unwrap();
        let refused = folder::files(into.path()).unwrap_err().to_string();
        assert!(refused.contains(odd), "{refused}");
    }
    let hub = Server::start(repository(&[&base[..], &[("1_Pooling/config.json", "{}")]].concat()));
    let (files, into) = pull(&hub.hub());
    files.unwrap();
    assert!(folder::files(into.path()).unwrap_err().to_string().contains("1_Pooling"));
}

#[test]
fn what_the_hub_does_not_have_or_show_is_said() {
    let said = |answers: Answers| {
        let server = Server::start(answers);
        let error = pull(&server.hub()).0.unwrap_err();
        (error.kind(), error.to_string(), server.heard())
    };
    let list = "/api/models/owner/model/revision/main".to_owned();
    let gone = ("404 Not Found\r\nx-error-code: RepoNotFound".to_owned(), Vec::new());
    for head in [gone, ("401 Unauthorized".to_owned(), Vec::new()), ("403 Forbidden".to_owned(), Vec::new())] {
        let (kind, text, _) = said([(list.clone(), head)].into());
        assert!(kind == ErrorKind::Input && text.contains("no owner/model") && text.contains("HF_TOKEN"), "{text}");
        assert!(!text.contains("secret"));
    }
    let (kind, text, _) = said([(list.clone(), ("503 Busy".to_owned(), Vec::new()))].into());
    assert!(kind == ErrorKind::Unreachable && text.contains("503"), "{text}");
    for nonsense in [&b"<html>"[..], br#"{"sha": "../..", "siblings": []}"#] {
        let (kind, text, _) = said([(list.clone(), ("200 OK".to_owned(), nonsense.to_vec()))].into());
        assert!(kind == ErrorKind::Fault && text.contains("HF_ENDPOINT"), "{text}");
    }
    let pickled = [("config.json", CONFIG), ("pytorch_model.bin", "code")];
    let (kind, text, heard) = said(repository(&pickled));
    assert!(kind == ErrorKind::Input && text.contains("save_file"), "{text}");
    assert!(!heard.iter().any(|asked| asked.contains("pytorch_model.bin")), "{heard:?}");
    let escaping =
        [("config.json", CONFIG), ("model.safetensors.index.json", r#"{"weight_map": {"a": "../x.safetensors"}}"#)];
    let (kind, text, _) = said(repository(&escaping));
    assert!(kind == ErrorKind::Input && text.contains("no name of a safetensors file"), "{text}");
    let many: Vec<String> = (0..=MAX_FILES).map(|i| format!("{i}.json")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "{}")).collect();
    let (_, text, heard) = said(repository(&many));
    assert!(text.contains("65 files of settings") && heard.len() == 1, "{text}");
    let large = "x".repeat(folder::limit(Path::new("config.json")) as usize + 1);
    let (_, text, _) = said(repository(&[("config.json", &large), ("model.safetensors", "w")]));
    assert!(text.contains("larger than"), "{text}");
}

#[test]
fn an_address_without_a_hub_is_unreachable_and_a_wrong_one_the_persons() {
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let hub = Hub::at(&format!("http://{closed}"), None).unwrap();
    assert_eq!(pull(&hub).0.unwrap_err().kind(), ErrorKind::Unreachable);
    let wrong = Hub::at("huggingface", None).err().unwrap();
    assert!(wrong.kind() == ErrorKind::Input && wrong.to_string().contains("HF_ENDPOINT"), "{wrong}");
    let moved = ("302 Found\r\nLocation: http://127.0.0.1:9/".to_owned(), Vec::new());
    let server = Server::start([("/api/models/owner/model/revision/main".to_owned(), moved)].into());
    let (error, _) = pull(&server.hub());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unreachable);
}
