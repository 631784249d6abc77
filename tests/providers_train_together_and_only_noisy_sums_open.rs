//! Providers as processes of their own train a model with three nodes as processes of their own. Some go away, some send vectors
//! that are too long or do not fit; the model is as good as one trained centrally with the same ε; nobody spends more than it
//! allows.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sahara_mpc::client::{Client, ClientOptions, Committee, Member};
use sahara_mpc::config::{Config, Parties};
use sahara_mpc::identity::{self, Identity, PublicKey};
use sahara_mpc::tls::Admission;
use sahara_mpc::wire::RoundStage;
use sahara_privacy::noise::{DiscreteGaussian, Generator};
use sahara_privacy::together::{Local, local_update, multiplier, variance_for};
use sahara_privacy::train::{Examples, Network, measure};
use serde_json::Value;

const INPUTS: usize = 20;
const LABELS: [&str; 3] = ["red", "green", "blue"];
const CLIP: f64 = 0.5;
const LOCAL: Local = Local { steps: 5, rate: 0.5 };

/// Rows of a few classes that a linear classifier tells apart, mostly.
fn rows(count: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut generator = Generator::from_seed(*blake3(seed).as_ref());
    let mut unit = || {
        let mut bytes = [0; 4];
        generator.fill(&mut bytes);
        u32::from_le_bytes(bytes) as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    let (mut values, mut classes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let row: Vec<f32> = (0..INPUTS).map(|_| unit()).collect();
        let score = |class: usize| (0..INPUTS).map(|i| row[i] * (((i * 7 + class * 5) % 11) as f32 - 5.0)).sum::<f32>();
        let scores: Vec<f32> = (0..LABELS.len()).map(|class| score(class) + 2.0 * unit()).collect();
        let best = (0..LABELS.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0);
        values.extend_from_slice(&row);
        classes.push(best as u32);
    }
    (values, classes)
}

fn blake3(seed: u64) -> Box<[u8; 32]> {
    Box::new(sahara_mpc::rounds::attachment_hash(&seed.to_le_bytes()))
}

fn csv(values: &[f32], classes: &[u32]) -> String {
    let names: String = (0..INPUTS).map(|i| format!("x{i},")).collect();
    let line = |(row, class): (&[f32], &u32)| {
        let numbers: String = row.iter().map(|x| format!("{x},")).collect();
        format!("{numbers}{}\n", LABELS[*class as usize])
    };
    format!("{names}colour\n") + &values.chunks(INPUTS).zip(classes).map(line).collect::<String>()
}

/// Three nodes, a leader and providers; all in one folder.
struct World {
    folder: tempfile::TempDir,
    nodes: Vec<Child>,
    committee: Committee,
    leader: Identity,
    providers: Vec<Identity>,
}

#[expect(clippy::unwrap_used, reason = "a test's helper")]
impl World {
    fn new(providers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anybody = Parties { owners: Admission::Any, consumers: Admission::Any };
        let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let members = [0, 1, 2].map(|i| {
            let home = folder.path().join(format!("node{i}"));
            let address = sockets[i].local_addr().unwrap();
            let config = Config::init(&home, address, None, &anybody).unwrap();
            let file = home.join("node.toml");
            // All providers come from one address here, and keep a connection each.
            let text = fs::read_to_string(&file).unwrap();
            let text = text.replace("handshakes_per_address = 64", "handshakes_per_address = 128");
            fs::write(&file, text).unwrap();
            let key = config.load_identity().unwrap().public();
            Member { name: format!("node {}", i + 1), address: address.to_string(), key }
        });
        let committee = Committee::new(members).unwrap();
        committee.save(&folder.path().join("committee.toml")).unwrap();
        drop(sockets);
        let nodes = (0..3).map(|i| {
            let home = folder.path().join(format!("node{i}"));
            committee.save(&home.join("committee.toml")).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_sahara"));
            command.arg("--home").arg(&home).args(["operator", "run"]).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        });
        let nodes = nodes.collect();
        let home = |name: String| {
            let home = folder.path().join(name);
            fs::create_dir(&home).unwrap();
            let identity = identity::generate().unwrap();
            identity.save(&home.join("consumer.key")).unwrap();
            identity
        };
        let leader = home("leader".into());
        let providers: Vec<Identity> = (0..providers).map(|i| home(format!("provider{i}"))).collect();
        let world = Self { folder, nodes, committee, leader, providers };
        let client = world.client(&world.folder.path().join("leader"));
        let end = Instant::now() + Duration::from_secs(30);
        while client.status().iter().any(Result::is_err) {
            assert!(Instant::now() < end, "the nodes do not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        world
    }

    fn client(&self, home: &Path) -> Client {
        let identity = identity::load(&home.join("consumer.key")).unwrap();
        Client::new(identity, self.committee.clone(), ClientOptions::default())
    }

    fn home(&self, provider: usize) -> PathBuf {
        self.folder.path().join(format!("provider{provider}"))
    }

    fn sahara(&self, home: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sahara"));
        command.arg("--home").arg(self.folder.path().join(home)).args(["--json", "round"]).args(arguments);
        command.arg("--committee").arg(self.folder.path().join("committee.toml"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn join(&self, provider: usize, epsilon: &str) -> Child {
        let data = self.home(provider).join("rows.csv");
        let leader = self.leader.public().to_string();
        let mut command =
            self.sahara(&format!("provider{provider}"), &["join", "--leader", &leader, "--epsilon", epsilon]);
        command.args(["--delta", "1e-5", "--wait", "60", "--data"]).arg(data);
        command.spawn().unwrap()
    }

    fn lead(&self, keys: &str, rounds: &str, epsilon: &str, more: &[&str]) -> Child {
        fs::write(self.folder.path().join("keys.txt"), keys).unwrap();
        let mut command = self.sahara("leader", &["lead", "--label", "colour", "--labels", "red,green,blue"]);
        command.args(["--range", "*=-1:1", "--delta", "1e-5", "--rounds", rounds, "--epsilon", epsilon]);
        command.args(["--clip", "0.5", "--providers"]).arg(self.folder.path().join("keys.txt"));
        command.arg("--test").arg(self.folder.path().join("test.csv"));
        command.arg("--out").arg(self.folder.path().join(format!("out{}", more.len()))).args(more);
        command.spawn().unwrap()
    }

    fn keys(&self) -> String {
        self.providers.iter().map(|provider| format!("{}\n", provider.public())).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The same training where one who is trusted sees everything and adds noise of the same ε.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn central(parts: &[(Vec<f32>, Vec<u32>)], test: &Examples, rounds: u32, epsilon: f64, seed: u64) -> f64 {
    let network = Network::logistic(INPUTS, LABELS.len()).unwrap();
    let mut weights = vec![0.0_f32; network.parameters()];
    // Noise of one party, of what remains of three: twice the variance of one.
    let bound = 1 << 30;
    let deviation = multiplier(variance_for(epsilon, 1e-5, rounds, bound).unwrap(), bound).unwrap();
    let grid = f64::from(1 << 16);
    let noise = DiscreteGaussian::new(deviation * CLIP * grid).unwrap();
    let mut generator = Generator::from_seed(*blake3(seed).as_ref());
    for _ in 0..rounds {
        let mut sum = vec![0.0_f64; weights.len()];
        for (values, classes) in parts {
            let update = local_update(&weights, values, classes, LABELS.len(), LOCAL);
            let norm = update.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let factor = (CLIP / norm).min(1.0);
            sum.iter_mut().zip(&update).for_each(|(sum, x)| *sum += f64::from(*x) * factor);
        }
        let mut drawn = vec![0_i64; sum.len()];
        noise.fill(&mut generator, &mut drawn);
        for ((weight, sum), drawn) in weights.iter_mut().zip(sum).zip(drawn) {
            *weight += ((sum + drawn as f64 / grid) / parts.len() as f64) as f32;
        }
    }
    measure(&network, &weights, test).unwrap().right as f64 / test.len() as f64
}

/// Trains with so many providers, of whom a tenth goes away and a twentieth sends what is too long or does not fit.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn train(count: usize, each: usize, rounds: u32, epsilon: f64) -> (f64, f64) {
    let world = World::new(count);
    let parts: Vec<(Vec<f32>, Vec<u32>)> = (0..count).map(|i| rows(each, i as u64)).collect();
    let (values, classes) = rows(6000, 1 << 40);
    fs::write(world.folder.path().join("test.csv"), csv(&values, &classes)).unwrap();
    let test = Examples::new(INPUTS, values, classes).unwrap();
    for (i, (values, classes)) in parts.iter().enumerate() {
        fs::write(world.home(i).join("rows.csv"), csv(values, classes)).unwrap();
    }
    let began = Instant::now();
    // A tenth never comes, or sends to one evaluator only; a twentieth is hostile.
    let (gone, hostile) = (count.div_ceil(10), count.div_ceil(20));
    let honest = count - gone - hostile;
    let limit = (epsilon + 0.001).to_string();
    let lead = world.lead(
        &world.keys(),
        &rounds.to_string(),
        &epsilon.to_string(),
        &["--enough", &(honest + hostile).to_string()],
    );
    let mut joined: Vec<Child> = (0..honest).map(|i| world.join(i, &limit)).collect();
    let troubles = std::thread::scope(|scope| {
        let world = &world;
        let troubles = scope.spawn(move || trouble(world, honest, hostile, rounds));
        let output = lead.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        (output, troubles.join().unwrap())
    });
    let (output, sent) = troubles;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers =
        |name: &str| -> Vec<u64> { report[name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect() };
    assert!(sent > 0, "hostile providers were heard");
    assert_eq!(numbers("accepted"), vec![honest as u64; rounds as usize], "honest ones alone, each time: {report}");
    assert!(numbers("included").iter().any(|n| *n > honest as u64), "others were included and found out: {report}");
    assert!(report["epsilon"].as_f64().unwrap() <= epsilon && report["epsilon"].as_f64().unwrap() > 0.99 * epsilon);
    for (i, child) in joined.drain(..).enumerate() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "provider {i}: {}", text(&output));
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(done["rounds"].as_u64(), Some(rounds.into()));
        let spent = done["epsilon"].as_f64().unwrap();
        assert!(spent <= epsilon && spent > 0.99 * epsilon, "{spent}");
    }
    let together = report["test_accuracy"].as_f64().unwrap();
    let seconds = began.elapsed().as_secs_f64();
    // Several draws of the central noise: of one draw the accuracy varies, too.
    let draws = 5;
    let all: f64 = (0..draws).map(|seed| central(&parts, &test, rounds, epsilon, seed)).sum();
    let central = all / f64::from(draws as u32);
    println!(
        "{count} providers ({gone} gone, {hostile} hostile), {rounds} rounds, ε = {epsilon}: {:.2} % right, centrally {:.2} %; {seconds:.1} s",
        100.0 * together,
        100.0 * central
    );
    // Whoever has spent it takes part in nothing more, and sends nothing.
    refuses(&world, &limit);
    (together, central)
}

/// Those who send to one evaluator only, too long vectors, and words that do not fit: how many were sent.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn trouble(world: &World, honest: usize, hostile: usize, rounds: u32) -> usize {
    let clients: Vec<Client> = (honest..world.providers.len()).map(|i| world.client(&world.home(i))).collect();
    let (mut seen, mut sent) = (Vec::new(), 0);
    let end = Instant::now() + Duration::from_secs(300);
    while seen.len() < rounds as usize && Instant::now() < end {
        let open = clients[0].rounds_at(0).unwrap().0.into_iter();
        let open: Vec<_> = open.filter(|(id, stage)| *stage == RoundStage::Open && !seen.contains(id)).collect();
        for (id, _) in open {
            seen.push(id);
            let terms = clients[0].round_at(0, id, false).unwrap().0.terms;
            for node in terms.terms().assignment.evaluators() {
                while clients[0].round_at(node, id, false).is_err() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            let dimension = terms.terms().vectors.dimension();
            for (at, client) in clients.iter().enumerate() {
                let vector: Vec<i32> = if at % 2 == 0 {
                    vec![2000; dimension]
                } else {
                    (0..dimension as i32).map(|i| (1 << 16) - 1500 + i).collect()
                };
                // What does not fit arrives as something else, which is too long as well.
                let contribution = client.contribution(&terms, &vector).unwrap();
                let first = client.send_share(&terms, &contribution, 0);
                if at < hostile {
                    sent += usize::from(client.send_share(&terms, &contribution, 1).is_ok() && first.is_ok());
                }
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    sent
}

/// A provider that has spent what it allows refuses the next training by name, and nothing of it arrives.
#[expect(clippy::unwrap_used, reason = "a test's helper")]
fn refuses(world: &World, limit: &str) {
    let key: PublicKey = world.providers[0].public();
    let lead = world.lead(&format!("{key}\n"), "1", "1", &["--seconds", "2", "--steps", "1"]);
    let output = world.join(0, limit).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("nothing is sent"), "{}", text(&output));
    let output = lead.wait_with_output().unwrap();
    assert!(!output.status.success() && text(&output).contains("0 providers sent both shares"), "{}", text(&output));
}

#[test]
fn a_dozen_train_a_model_as_good_as_a_central_one() {
    let (together, central) = train(12, 200, 3, 30.0);
    assert!(central > 0.7, "there is something to learn: {central}");
    assert!(together > central - 0.05, "{together} {central}");
}

/// `cargo xtask bench rounds`.
#[test]
#[ignore = "a hundred processes"]
fn a_hundred_train_within_a_point_of_a_central_model() {
    let (together, central) = train(100, 60, 10, 8.0);
    assert!(together > central - 0.01, "{together} {central}");
}
