//! `sahara transcript`: what two evaluators wrote down of a job is shown and compared, with exit codes for scripts.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Home;
use sahara_mpc::client::{Assignment, GraphId, JobId, ManifestId, Rounding, Task};
use sahara_mpc::identity::generate;
use sahara_mpc::protocol::Seed;
use sahara_mpc::transcript::{DealtRecord, Opening, PackSeal, Session, Transcript};
use sahara_mpc::wire::PackId;

/// Writes both evaluators' records of a job and the helper's of the pack; `changed` is the round of which the second
/// tells another story. Both signed what they tell after round 16.
fn records(folder: &Path, changed: u32) -> [PathBuf; 3] {
    let [own, other, helper, consumer] = [(); 4].map(|()| generate().expect("randomness"));
    let keys = [&own, &other];
    let task = Task {
        manifest: ManifestId([5; 32]),
        graph: GraphId([3; 32]),
        assignment: Assignment::ALL[0],
        rounding: Rounding::Exact,
    };
    let session = Session {
        committee: [7; 32],
        job: JobId([1; 16]),
        pack: PackId([2; 16]),
        task,
        consumer: consumer.public(),
        evaluators: [own.public(), other.public()],
        helper: helper.public(),
    };
    let seal = PackSeal { seeds: [[1; 32], [2; 32]], corrections: [3; 32] };
    let seal = seal.sign(&session.committee, &session.pack, &task, &helper);
    let opening = Opening { session, inputs: [[4; 32], [5; 32]], seal: seal.seal };
    let salt = || Seed::from_bytes([8; 32]);
    let request = consumer.sign(&opening.request_digest());
    let open = |i: usize| Transcript::open(opening, i, [request, seal.signature], [salt(), salt()], keys[i]);
    let signatures = [open(0).signature(), open(1).signature()];
    // What both sign of the same rounds, and what the second shows afterwards.
    let mut honest = [open(0), open(1)];
    let mut shown = open(1);
    for (i, transcript) in honest.iter_mut().enumerate() {
        transcript.join([&salt(), &salt()], signatures[1 - i]).expect("one opening");
    }
    shown.join([&salt(), &salt()], signatures[0]).expect("one opening");
    for round in 1..=17 {
        let due = [honest[0].checkpoint(&own), honest[1].checkpoint(&other)];
        shown.checkpoint(&other);
        if let Some(theirs) = due[1] {
            honest[0].countersigned(theirs).expect("the second signed it");
        }
        honest[0].round(b"one", b"eins");
        honest[1].round(b"eins", b"one");
        shown.round(b"eins", if round == changed { b"two" } else { b"one" });
    }
    let [first, _] = honest;
    let paths = ["first.transcript", "second.transcript", "pack.dealt"].map(|name| folder.join(name));
    let record = |transcript: Transcript, key| transcript.close(None, Some("the lane broke"), 9, key).0.encode();
    fs::write(&paths[0], record(first, &own)).expect("a writable folder");
    fs::write(&paths[1], record(shown, &other)).expect("a writable folder");
    let dealt = DealtRecord { committee: [7; 32], pack: session.pack, task, helper: helper.public(), seal };
    fs::write(&paths[2], dealt.encode()).expect("a writable folder");
    paths
}

fn words(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().expect("a plain path")).collect()
}

#[test]
fn records_that_agree_and_records_that_part() {
    let home = Home::empty();
    let paths = records(home.path(), 0);
    let [first, second, dealt] = words(&paths)[..] else { panic!("three records") };
    let shown = home.json(&["transcript", "show", first, "--json"]);
    assert_eq!(
        (&shown["rounds"], &shown["signed_by_both"], &shown["failure"]),
        (&17.into(), &16.into(), &"the lane broke".into())
    );
    let told = home.output(&["transcript", "show", first]);
    assert!(told.contains("ended      1970-01-01 00:00:00 UTC"), "{told}");
    assert_eq!(home.run(&["transcript", "show", dealt]).code, Some(0));
    let verdict = home.json(&["transcript", "verify", second, first, dealt, "--json"]);
    assert_eq!((&verdict["agree"], &verdict["contradicted"]), (&true.into(), &serde_json::json!([])));

    let paths = records(home.path(), 5);
    let [first, second, dealt] = words(&paths)[..] else { panic!("three records") };
    let parted = home.run(&["transcript", "verify", first, second, dealt]);
    assert_eq!(parted.code, Some(1), "{parted}");
    for words in ["round 5, first to second", "Contradicted: second evaluator"] {
        assert!(parted.stdout.replace('\n', " ").contains(words), "{words}: {parted}");
    }
    // After the last window that was signed nobody can be blamed.
    let paths = records(home.path(), 17);
    let [first, second, _] = words(&paths)[..] else { panic!("three records") };
    let parted = home.run(&["transcript", "verify", first, second]);
    assert_eq!(parted.code, Some(1), "{parted}");
    assert!(parted.stdout.replace('\n', " ").contains("blames nobody"), "{parted}");
}

#[test]
fn what_is_no_record_or_no_evidence_says_so() {
    let home = Home::empty();
    let paths = records(home.path(), 0);
    let [first, second, dealt] = words(&paths)[..] else { panic!("three records") };
    let missing = home.path().join("none").display().to_string();
    let old = common::data("../compat/v2/transcript.bin").display().to_string();
    for (arguments, word) in [
        (["verify", first, first], "same evaluator"),
        (["verify", first, dealt], "the two of one job"),
        (["verify", first, &missing], "none"),
        (["verify", second, &old], "version 2"),
    ] {
        let refused = home.run(&[&["transcript"], &arguments[..]].concat());
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(refused.stderr.contains(word), "{word}: {refused}");
    }
    let mut bytes = fs::read(first).expect("just written");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(first, bytes).expect("a writable folder");
    let forged = home.run(&["transcript", "show", first]);
    assert_eq!(forged.code, Some(1), "{forged}");
    assert!(forged.stderr.contains("no evidence"), "{forged}");
}
