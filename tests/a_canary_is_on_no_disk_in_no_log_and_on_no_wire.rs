//! A prompt with unmistakable words goes through the network while every byte between client and nodes, and between the
//! nodes, passes through recorders. Neither the words nor the integers made of them turn up anywhere.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{Devnet, MODEL, PATIENCE, Started, contains, files_under, free_port_block, one_at_a_time, wait_for_port};
use sahara_circuits::model::CompiledModel;
use sahara_mpc::committee::Committee;

const PROMPT: &str = "The zanzibar quokka whispered vermilion passwords to Hieronymus at 7731 Larkspur Lane.";
const WORDS: [&str; 5] = ["quokka", "vermilion", "Hieronymus", "hieronymus", "Larkspur"];

#[test]
fn canary() {
    let _turn = one_at_a_time();
    let devnet = Devnet::up();
    let expected = devnet.embed_output(&[PROMPT], &["--plain"]);
    devnet.home.output(&["devnet", "down"]);

    let needles = needles(&devnet);
    let recorder = Arc::new(Recorder { needles: needles.clone(), bytes: AtomicU64::new(0), found: Mutex::default() });
    let (tapped, nodes) = tap(&devnet, &recorder);
    for mode in ["exact", "faithful"] {
        let arguments = ["embed", "--json", "--committee", &tapped, "--mode", mode, PROMPT];
        let answer = devnet.home.output(&arguments);
        assert!(mode != "exact" || answer == expected, "the recorders do not change the answer");
    }

    let megabytes = recorder.bytes.load(Ordering::Relaxed) / 1_000_000;
    assert!(megabytes > 20, "the recorders saw only {megabytes} MB: the traffic took another way");
    assert_eq!(*recorder.found.lock().expect("no recorder panicked"), Vec::<String>::new(), "on the wire");
    let files = files_under(&devnet.home.path().join("devnet"));
    assert!(files.keys().any(|path| path.to_string_lossy().contains("node-1")), "there are files to look at");
    for (path, bytes) in &files {
        for (name, needle) in &needles {
            assert!(!contains(bytes, needle), "{name} in {}", path.display());
        }
    }
    for mut node in nodes {
        assert!(node.is_running(), "a node died");
        assert!(Command::new("kill").arg(node.pid().to_string()).status().is_ok_and(|status| status.success()));
        let finished = node.finish(Duration::from_secs(60));
        assert_eq!(finished.code, Some(0), "SIGTERM is a graceful end: {finished}");
        for word in WORDS {
            assert!(!finished.stdout.contains(word) && !finished.stderr.contains(word), "{word} in a log: {finished}");
        }
    }
    println!("{megabytes} MB on the wire and {} files without a trace", files.len());
}

/// What must not be seen: the words, and rows of the integers that the client makes of them.
fn needles(devnet: &Devnet) -> Vec<(String, Vec<u8>)> {
    let mut needles: Vec<(String, Vec<u8>)> =
        WORDS.iter().map(|word| ((*word).to_owned(), word.as_bytes().to_vec())).collect();
    let folder = devnet.home.path().join("models").join(MODEL).join("compiled");
    let model = CompiledModel::load(&folder).expect("the pulled model");
    let encoded = model.frontend.encode(PROMPT).expect("a prompt");
    let width = 384;
    for token in 1..encoded.tokens - 1 {
        let row = &encoded.inputs[0][token * width..][..8];
        needles.push((format!("token {token}"), row.iter().flat_map(|number| number.to_le_bytes()).collect()));
    }
    needles
}

/// Starts the three nodes so that they and the client reach each other through recorders only.
/// The committee file for the client, and the nodes.
fn tap(devnet: &Devnet, recorder: &Arc<Recorder>) -> (String, Vec<Started>) {
    let committee = Committee::load(&devnet.committee_file()).expect("the devnet's committee");
    let mut members = committee.members().to_vec();
    let base = free_port_block();
    let mut behind = Vec::new();
    for (number, member) in members.iter_mut().enumerate() {
        let node: SocketAddr = member.address.parse().expect("an address");
        let front: SocketAddr = format!("127.0.0.1:{}", base as usize + number).parse().expect("an address");
        record(front, node, recorder.clone());
        member.address = front.to_string();
        behind.push(node);
    }
    let committee = Committee::new(members.try_into().expect("three nodes")).expect("the same nodes elsewhere");
    let tapped = devnet.home.path().join("tapped.toml");
    committee.save(&tapped).expect("a writable home");
    let nodes: Vec<Started> = (1..=3)
        .map(|number| {
            let home = devnet.node_folder(number);
            committee.save(&home.join("committee.toml")).expect("a writable home");
            Started::new(&mut devnet.home.sahara(&["operator", "run", "--home", home.to_str().expect("a plain path")]))
        })
        .collect();
    for node in behind {
        wait_for_port(node, PATIENCE);
    }
    (tapped.to_str().expect("a plain path").to_owned(), nodes)
}

/// Looks for needles in everything that passes.
struct Recorder {
    needles: Vec<(String, Vec<u8>)>,
    bytes: AtomicU64,
    found: Mutex<Vec<String>>,
}

impl Recorder {
    /// Passes bytes on in one direction until the end.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let longest = self.needles.iter().map(|(_, needle)| needle.len()).max().unwrap_or(0);
        // Keeps the end of the last piece, so that a needle across two pieces is seen.
        let mut window: Vec<u8> = Vec::new();
        let mut piece = vec![0; 256 << 10];
        while let Ok(length) = from.read(&mut piece) {
            if length == 0 || to.write_all(&piece[..length]).is_err() {
                break;
            }
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
            window.extend_from_slice(&piece[..length]);
            for (name, needle) in &self.needles {
                if contains(&window, needle) {
                    self.found.lock().expect("no recorder panicked").push(name.clone());
                }
            }
            let keep = window.len().min(longest);
            window.drain(..window.len() - keep);
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}

fn record(front: SocketAddr, behind: SocketAddr, recorder: Arc<Recorder>) {
    let listener = TcpListener::bind(front).expect("a free port");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(node) = TcpStream::connect(behind) else { continue };
            let _ = (client.set_nodelay(true), node.set_nodelay(true));
            let (Ok(client_twin), Ok(node_twin)) = (client.try_clone(), node.try_clone()) else { continue };
            let (one, two) = (recorder.clone(), recorder.clone());
            thread::spawn(move || one.pass(client, node));
            thread::spawn(move || two.pass(node_twin, client_twin));
        }
    });
}
