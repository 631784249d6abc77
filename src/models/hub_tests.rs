//! The client of the hub against a hub of our own, over real sockets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use super::*;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A web server that knows some answers and remembers what it was asked.
struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answers` are whole answers but for the line with their length, by path.
    fn start(answers: BTreeMap<String, (String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let server = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = Arc::clone(&server.heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
                let with_token = head.iter().any(|line| line.to_ascii_lowercase().starts_with("authorization:"));
                let mark = if with_token { " with the token" } else { "" };
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{path}{mark}"));
                let missing = ("404 Not Found\r\nx-error-code: EntryNotFound".to_owned(), Vec::new());
                let (head, body) = answers.get(&path).unwrap_or(&missing);
                let length = body.len();
                let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                // The client may have seen enough.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        server
    }

    fn hub(&self) -> Hub {
        Hub::at(&format!("http://{}/", self.address), Some(Zeroizing::new("secret".to_owned()))).unwrap()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The answers of a hub that has these files of `owner/model`.
fn repository(files: &[(&str, &str)]) -> BTreeMap<String, (String, Vec<u8>)> {
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
        ("0_Transformer/config.json", "{}"),
        ("0_Transformer/vocab.txt", "[PAD]"),
        ("0_Transformer/model.safetensors.index.json", index),
        ("1_Pooling/config.json", "{}"),
        ("2_Dense/config.json", "{}"),
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
fn pointers_are_followed_without_what_comes_with_them_and_the_token_stays_at_the_hub() {
    let files = [("config.json", "{}"), ("tokenizer.json", "{}"), ("model.safetensors", "w")];
    let mut answers = repository(&files);
    let config = format!("/owner/model/resolve/{SHA}/config.json");
    answers.insert("/moved".to_owned(), ("200 OK".to_owned(), b"{}".to_vec()));
    answers.insert(config.clone(), ("307 Moved\r\nLocation: /moved".to_owned(), vec![b'x'; 1 << 20]));
    let hub = Server::start(answers.clone());
    pull(&hub.hub()).0.unwrap();
    assert!(hub.heard().contains(&"/moved with the token".to_owned()), "a place of the hub itself: {:?}", hub.heard());

    for nowhere in ["ftp://elsewhere/", "//elsewhere/x", "", &config] {
        answers.insert(config.clone(), (format!("302 Found\r\nLocation: {nowhere}"), Vec::new()));
        let hub = Server::start(answers.clone());
        let error = pull(&hub.hub()).0.unwrap_err();
        assert!(error.blame() == Blame::Unreachable && error.report().contains("points"), "{}", error.report());
        assert!(hub.heard().len() < 12, "not for ever");
    }
    let odd = Server::start(repository(&[&files[..], &[("\u{1b}[2Kx.json", "{}")]].concat()));
    let names: Vec<String> = pull(&odd.hub()).0.unwrap().into_iter().map(|file| file.name).collect();
    assert!(names.len() == 3 && names.iter().all(|name| !name.contains('\u{1b}')), "{names:?}");
}

#[test]
fn what_would_be_refused_in_a_folder_is_fetched_so_that_it_is_refused() {
    let base = [("config.json", "{}"), ("tokenizer.json", "{}"), ("model.safetensors", "w")];
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
    let said = |answers: BTreeMap<String, (String, Vec<u8>)>| {
        let server = Server::start(answers);
        let error = pull(&server.hub()).0.unwrap_err();
        (error.blame(), error.report(), server.heard())
    };
    let list = "/api/models/owner/model/revision/main".to_owned();
    let gone = ("404 Not Found\r\nx-error-code: RepoNotFound".to_owned(), Vec::new());
    for head in [gone, ("401 Unauthorized".to_owned(), Vec::new()), ("403 Forbidden".to_owned(), Vec::new())] {
        let (blame, text, _) = said([(list.clone(), head)].into());
        assert!(blame == Blame::User && text.contains("no owner/model") && text.contains("HF_TOKEN"), "{text}");
        assert!(!text.contains("secret"));
    }
    let (blame, text, _) = said([(list.clone(), ("503 Busy".to_owned(), Vec::new()))].into());
    assert!(blame == Blame::Unreachable && text.contains("503"), "{text}");
    for nonsense in [&b"<html>"[..], br#"{"sha": "../..", "siblings": []}"#] {
        let (blame, text, _) = said([(list.clone(), ("200 OK".to_owned(), nonsense.to_vec()))].into());
        assert!(blame == Blame::Fault && text.contains("HF_ENDPOINT"), "{text}");
    }
    let pickled = [("config.json", "{}"), ("pytorch_model.bin", "code")];
    let (blame, text, heard) = said(repository(&pickled));
    assert!(blame == Blame::User && text.contains("save_file"), "{text}");
    assert!(!heard.iter().any(|asked| asked.contains("pytorch_model.bin")), "{heard:?}");
    let escaping =
        [("config.json", "{}"), ("model.safetensors.index.json", r#"{"weight_map": {"a": "../x.safetensors"}}"#)];
    let (blame, text, _) = said(repository(&escaping));
    assert!(blame == Blame::User && text.contains("no name of a safetensors file"), "{text}");
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
    assert_eq!(pull(&hub).0.unwrap_err().blame(), Blame::Unreachable);
    let wrong = Hub::at("huggingface", None).err().unwrap();
    assert!(wrong.blame() == Blame::User && wrong.report().contains("HF_ENDPOINT"), "{}", wrong.report());
    let moved = ("302 Found\r\nLocation: http://127.0.0.1:9/".to_owned(), Vec::new());
    let server = Server::start([("/api/models/owner/model/revision/main".to_owned(), moved)].into());
    let (error, _) = pull(&server.hub());
    assert_eq!(error.unwrap_err().blame(), Blame::Unreachable);
}
