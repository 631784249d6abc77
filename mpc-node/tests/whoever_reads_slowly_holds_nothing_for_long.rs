//! Answers and client parts that nobody reads, or that somebody reads as slowly as they can: their memory counts while they are
//! held, their job is on record before, and they end.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/raw.rs"]
mod raw;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Case, Network, files, product};
use raw::{dial, frame};
use sahara_mpc::client::{Assignment, JobId, Offer, Rounding, Task, Visibility};
use sahara_mpc::engine::{Cost, random_seed, share_inputs};
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::{GetClientPart, Share};

const TIME: Duration = Duration::from_secs(20);

/// Asks both evaluators for a job by hand: the sockets, of which nothing is read.
fn ask(network: &Network, who: &Identity, case: &Case, task: Task) -> [TcpStream; 2] {
    let shares = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
    let job = JobId::random().unwrap();
    let runs = sign_requests(who, &network.committee.digest(), job, task, &shares).unwrap();
    let evaluators = task.assignment.evaluators();
    [0, 1].map(|i| dial(network, who, evaluators[i], &[frame(&runs[i]), frame(&shares[i])].concat()))
}

/// What the system still holds comes at once; then the connection ends, before all of it has come.
fn check_cut(what: &str, mut socket: TcpStream, mut got: usize, all: usize) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) => {
                let timeout = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                assert!(!timeout.contains(&error.kind()), "{what}: still connected after {got} bytes");
                break;
            }
        }
    }
    assert!(got < all, "{what}: {got} bytes");
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + TIME;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn shared(network: &Network, case: &Case, client_part: Option<&[u8]>) -> Task {
    let offer = Offer { client_part, ..case.offer(Visibility::Open) };
    let sharing = network.client().share(&offer, &|_, _| ()).unwrap();
    sharing.task(&case.graph, Assignment::new(0).unwrap(), Rounding::Exact).unwrap()
}

#[test]
fn an_answer_is_on_record_before_it_leaves_and_counts_as_memory_until_it_has_left() {
    let case = product([512, 1, 4096]);
    let cost = Cost::of(&case.graph, Rounding::Exact, Visibility::Open);
    // There is room for one with its input, and not for two.
    assert!(cost.helper_memory <= cost.evaluator_memory);
    let megabytes = cost.evaluator_memory.div_ceil(1 << 20) * 7 / 5;
    let network = Network::start(|toml| {
        let toml = toml.replacen("job_megabytes = 8192", &format!("job_megabytes = {megabytes}"), 1);
        toml.replacen("request = 60", "request = 5", 1)
    });
    let task = shared(&network, &case, None);
    let next = network.client();
    // One for each of the two jobs.
    let slow = Arc::new(generate().unwrap());
    network.client_of(&slow).prepare(&task, 1, &mut |_| ()).unwrap();
    next.prepare(&task, 1, &mut |_| ()).unwrap();
    let unread = ask(&network, &slow, &case, task);
    let both = [1, 2];
    until("the job is not done", || both.iter().all(|&i| network.status(&next)[i].jobs_done == 1));
    let recorded = |i: usize| {
        let transcripts = files(&network.home(i).join("transcripts"));
        transcripts.iter().any(|path| path.extension().is_some_and(|e| e == "transcript"))
    };
    until("no record while the answer is unread", || both.iter().all(|&i| recorded(i)));
    // It waits for as long as the nodes wait for the answer to be taken.
    match case.run(&next, task, false) {
        Ok(_) => unread.into_iter().for_each(|socket| check_cut("an evaluator", socket, 0, 8 << 20)),
        Err(error) => {
            let text = error.to_string();
            let ends = ["as many jobs as it can", "did not open it", "given up at the other evaluator"];
            assert!(ends.iter().any(|end| text.contains(end)), "{text}");
            drop(unread);
        }
    }
    until("the memory of an answer that cannot leave is not free", || {
        case.run(&next, task, true).is_ok_and(|answer| answer.outputs == case.expected)
    });
}

#[test]
fn whoever_takes_an_answer_or_a_client_part_at_a_trickle_loses_the_connection() {
    const REQUEST: u64 = 8;
    // More than the system takes at once for a reader that does not read, and than is read below.
    const BYTES: usize = 2 << 20;
    let case = product([BYTES as u32 / 4096, 1, 1024]);
    let network = Network::start(|toml| toml.replacen("request = 60", &format!("request = {REQUEST}"), 1));
    let task = shared(&network, &case, Some(&vec![7; BYTES]));
    let who = Arc::new(generate().unwrap());
    network.client_of(&who).prepare(&task, 1, &mut |_| ()).unwrap();
    let [first, second] = ask(&network, &who, &case, task);
    let part = dial(&network, &who, 0, &frame(&GetClientPart(task.manifest)));
    let mut slow = [("first evaluator", first), ("second evaluator", second), ("client part", part)].map(|s| (s, 0));
    // What 256 KiB a second takes, and the time of a request. The node can send on well within its time each time.
    let most = Duration::from_secs(REQUEST + (BYTES >> 18) as u64);
    let began = Instant::now();
    let mut buffer = vec![0; 6 << 10];
    while began.elapsed() < most + Duration::from_secs(2) {
        for ((_, socket), got) in &mut slow {
            *got += socket.read(&mut buffer).unwrap_or(0);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    slow.into_iter().for_each(|((what, socket), got)| check_cut(what, socket, got, BYTES));
}

#[test]
fn an_answer_of_which_nothing_is_taken_is_given_up_after_the_time_of_a_round() {
    let case = product([512, 1, 4096]);
    let network = Network::start(|toml| toml.replacen("round = 10", "round = 3", 1));
    let task = shared(&network, &case, None);
    let who = Arc::new(generate().unwrap());
    network.client_of(&who).prepare(&task, 1, &mut |_| ()).unwrap();
    let unread = ask(&network, &who, &case, task);
    let next = network.client();
    until("the job is not done", || [1, 2].iter().all(|&i| network.status(&next)[i].jobs_done == 1));
    // A request has sixty seconds, and the slowest answer of this length half as many.
    std::thread::sleep(Duration::from_secs(7));
    unread.into_iter().for_each(|socket| check_cut("an evaluator", socket, 0, 8 << 20));
}
