//! Two transcripts of one job, told alike and otherwise; who is blamed, and who is not.

use super::*;
use crate::engine::{Assignment, GraphId, JobSecret, Rounding, Seed};
use crate::identity::{Identity, generate};
use crate::wire::{ManifestId, Message};

struct Cast {
    evaluators: [Identity; 2],
    helper: Identity,
    consumer: Identity,
}

fn cast() -> Cast {
    let new = || generate().unwrap();
    Cast { evaluators: [new(), new()], helper: new(), consumer: new() }
}

fn opening(cast: &Cast) -> Opening {
    let session = Session {
        committee: [1; 32],
        job: JobId([2; 16]),
        pack: PackId([3; 16]),
        task: Task {
            manifest: ManifestId([5; 32]),
            graph: GraphId([4; 32]),
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        },
        consumer: cast.consumer.public(),
        evaluators: [cast.evaluators[0].public(), cast.evaluators[1].public()],
        helper: cast.helper.public(),
    };
    let seal = PackSeal { seeds: [[6; 32], [7; 32]], corrections: [8; 32] };
    Opening { session, inputs: [[9; 32], [10; 32]], seal }
}

fn seed(n: u8) -> Seed {
    Seed::from_bytes([n; 32])
}

fn start(cast: &Cast, opening: &Opening, own: usize) -> Transcript {
    let consumer = cast.consumer.sign(&opening.request_digest());
    let helper = cast.helper.sign(&opening.seal_digest());
    Transcript::open(*opening, own, [consumer, helper], [seed(20), seed(21 + own as u8)], &cast.evaluators[own])
}

/// Runs both transcripts over the same rounds, but for what the second is told in `round` (from 1) of `direction`.
/// Gives both, and the round at which one of them noticed.
fn play(cast: &Cast, rounds: u32, changed: Option<(u32, usize)>) -> ([Transcript; 2], Option<u32>) {
    let mut both = [0, 1].map(|own| start(cast, &opening(cast), own));
    let signatures = both.each_ref().map(Transcript::signature);
    for own in 0..2 {
        both[own].join([&seed(30), &seed(31)], signatures[1 - own]).unwrap();
    }
    for round in 1..=rounds {
        let [a, b] = [0, 1].map(|own| both[own].checkpoint(&cast.evaluators[own]));
        if let (Some(a), Some(b)) = (a, b)
            && (both[0].countersigned(b).is_err() | both[1].countersigned(a).is_err())
        {
            return (both, Some(round));
        }
        let frames = [[round as u8; 40], [round as u8 ^ 0x80; 40]];
        let mut other = frames;
        if let Some((at, direction)) = changed
            && at == round
        {
            other[direction][5] ^= 1;
        }
        both[0].round(&frames[0], &frames[1]);
        both[1].round(&other[1], &other[0]);
    }
    (both, None)
}

fn share(n: u32) -> Share {
    Share(vec![vec![n; 3]])
}

/// The records of a job in which the answers were exchanged.
fn finished(cast: &Cast, rounds: u32, changed: Option<(u32, usize)>) -> [JobRecord; 2] {
    let (mut both, _) = play(cast, rounds, changed);
    let ends = [0, 1].map(|own| both[own].finish(&share(own as u32), &cast.evaluators[own]));
    let failures = [0, 1].map(|own| both[own].compare(&ends[own], ends[1 - own]).err().map(|e| e.to_string()));
    let mut own = 0;
    both.map(|transcript| {
        let (record, openings) = transcript.close(Some(ends[own]), failures[own].as_deref(), 5, &cast.evaluators[own]);
        assert!(openings.is_some());
        own += 1;
        record
    })
}

/// The records of a job that failed after its last round, whatever both noticed.
fn broken(cast: &Cast, rounds: u32, changed: Option<(u32, usize)>) -> [JobRecord; 2] {
    let (both, _) = play(cast, rounds, changed);
    let mut own = 0;
    both.map(|transcript| {
        own += 1;
        transcript.close(None, Some("the lane broke"), 5, &cast.evaluators[own - 1]).0
    })
}

fn blamed(verdict: &Verdict) -> Vec<&'static str> {
    verdict.contradicted.iter().map(|c| c.role).collect()
}

#[test]
fn equal_views_agree_and_come_back_from_their_bytes() {
    let cast = cast();
    for rounds in [0, 1, 15, 16, 17, 33, 48] {
        let records = finished(&cast, rounds, None);
        let verdict = verify([&records[1], &records[0]], None).unwrap();
        assert!(verdict.agree, "{verdict:?}");
        assert_eq!((verdict.rounds, verdict.signed_by_both), ([rounds; 2], rounds));
        for record in &records {
            assert_eq!(&JobRecord::decode(&record.encode()).unwrap(), record);
            assert_eq!(record.checkpoints.len() as u32, rounds.saturating_sub(1) / WINDOW);
            assert_eq!(SignedRecord::decode(&record.end.encode()).unwrap(), record.end);
        }
    }
}

#[test]
fn a_changed_frame_is_noticed_at_the_next_window_and_found() {
    let cast = cast();
    for (round, direction) in [(1, 0), (16, 1), (17, 0), (32, 1)] {
        let (_, noticed) = play(&cast, 40, Some((round, direction)));
        assert_eq!(noticed, Some(round.div_ceil(WINDOW) * WINDOW + 1), "changed in round {round}");
        let records = broken(&cast, 40, Some((round, direction)));
        let verdict = verify([&records[0], &records[1]], None).unwrap();
        assert_eq!(verdict.parted, Some(Parted { round, direction }));
        assert!(!verdict.agree && verdict.faults.is_empty(), "{verdict:?}");
        // Nobody countersigned the window in which they part: one word against another, and nobody is blamed.
        assert_eq!(blamed(&verdict), [""; 0]);
        assert_eq!(verdict.signed_by_both, (round - 1) / WINDOW * WINDOW);
    }
}

#[test]
fn a_job_that_broke_before_a_window_was_signed_blames_nobody() {
    let cast = cast();
    for rounds in [0, 5, 16, 20] {
        let records = broken(&cast, rounds, None);
        let verdict = verify([&records[0], &records[1]], None).unwrap();
        assert!(verdict.agree, "{verdict:?}");
        assert_eq!(verdict.signed_by_both, rounds.saturating_sub(1) / WINDOW * WINDOW);
    }
}

/// The second evaluator's record of the same job, with other frames from a round on, signed by it.
fn rewritten(cast: &Cast, record: &JobRecord, round: u32) -> JobRecord {
    let opening = record.end.record.opening;
    let mut forged = start(cast, &opening, 1);
    let theirs = start(cast, &opening, 0).signature();
    forged.join([&seed(30), &seed(31)], theirs).unwrap();
    for n in 1..=record.rounds.len() as u32 {
        forged.checkpoint(&cast.evaluators[1]);
        let mut frames = [[n as u8; 40], [n as u8 ^ 0x80; 40]];
        if n == round {
            frames[0][0] ^= 1;
        }
        forged.round(&frames[1], &frames[0]);
    }
    forged.close(None, Some("it was the other one"), 5, &cast.evaluators[1]).0
}

#[test]
fn who_rewrites_its_record_is_contradicted_by_its_own_signature() {
    let cast = cast();
    let honest = broken(&cast, 40, None);
    for round in [1, 16, 20, 32] {
        let forged = rewritten(&cast, &honest[1], round);
        let verdict = verify([&honest[0], &forged], None).unwrap();
        assert_eq!(verdict.parted, Some(Parted { round, direction: 0 }));
        assert_eq!(blamed(&verdict), ["second evaluator"], "rewritten from round {round}");
    }
    // Rounds after the last window that was signed: nobody can tell.
    let verdict = verify([&honest[0], &rewritten(&cast, &honest[1], 33)], None).unwrap();
    assert_eq!((verdict.parted.unwrap().round, blamed(&verdict).len()), (33, 0));
    // The end was signed, too: now it can be told.
    let honest = finished(&cast, 40, None);
    let verdict = verify([&honest[0], &rewritten(&cast, &honest[1], 33)], None).unwrap();
    assert_eq!(blamed(&verdict), ["second evaluator"]);
}

#[test]
fn who_hides_rounds_that_it_signed_is_contradicted() {
    let cast = cast();
    let honest = broken(&cast, 40, None);
    let mut short = broken(&cast, 20, None);
    // The same job, of which the second shows less.
    short[1].failure = Some("it ended early".into());
    let verdict = verify([&honest[0], &short[1]], None).unwrap();
    assert_eq!((verdict.parted, blamed(&verdict)), (None, vec!["second evaluator"]));
    assert!(!verdict.agree);
    // One that is a round behind has merely not received the last frame.
    let verdict = verify([&honest[0], &broken(&cast, 39, None)[1]], None).unwrap();
    assert!(verdict.agree, "{verdict:?}");
}

#[test]
fn two_openings_two_requests_two_seals_and_two_answers_contradict_their_signers() {
    let cast = cast();
    let honest = broken(&cast, 3, None);
    let tell = |change: fn(&mut Opening)| {
        let mut other = opening(&cast);
        change(&mut other);
        let mut both = [0, 1].map(|own| start(&cast, &other, own));
        let signatures = both.each_ref().map(Transcript::signature);
        both[1].join([&seed(30), &seed(31)], signatures[0]).unwrap();
        let [_, second] = both;
        let record = second.close(None, Some("other"), 5, &cast.evaluators[1]).0;
        verify([&honest[0], &record], None).unwrap()
    };
    let verdict = tell(|o| o.inputs[1] = [99; 32]);
    assert_eq!(verdict.openings, ["commitments to the inputs"]);
    assert_eq!(blamed(&verdict), ["consumer", "first evaluator", "second evaluator"]);
    let verdict = tell(|o| o.seal.corrections = [99; 32]);
    assert_eq!(verdict.openings, ["commitment to the corrections"]);
    assert_eq!(blamed(&verdict), ["helper", "first evaluator", "second evaluator"]);

    let verdict = tell(|o| o.session.pack = PackId([99; 16]));
    assert_eq!(verdict.openings, ["pack"]);
    assert_eq!(blamed(&verdict), ["second evaluator"], "the first may have offered another pack before");

    let mut records = finished(&cast, 3, None);
    let mut end = records[1].end.record;
    end.output = Some([77; 32]);
    records[1].end = end.sign(&cast.evaluators[1]);
    let verdict = verify([&records[0], &records[1]], None).unwrap();
    assert_eq!(blamed(&verdict), ["second evaluator"]);
}

#[test]
fn the_helpers_own_record_is_held_against_the_seal_in_the_evaluators() {
    let cast = cast();
    let records = finished(&cast, 3, None);
    let of = |seal: PackSeal| {
        let session = opening(&cast).session;
        let seal = seal.sign(&session.committee, &session.pack, &session.task, &cast.helper);
        DealtRecord {
            committee: session.committee,
            pack: session.pack,
            task: session.task,
            helper: session.helper,
            seal,
        }
    };
    let honest = of(opening(&cast).seal);
    assert_eq!(DealtRecord::decode(&honest.encode()).unwrap(), honest);
    assert!(verify([&records[0], &records[1]], Some(&honest)).unwrap().agree);
    let other = of(PackSeal { corrections: [55; 32], ..honest.seal.seal });
    let verdict = verify([&records[0], &records[1]], Some(&other)).unwrap();
    assert_eq!(blamed(&verdict), ["helper", "helper"]);
    let forged = DealtRecord { seal: SignedSeal { signature: [0; 64], ..honest.seal }, ..honest };
    assert!(!verify([&records[0], &records[1]], Some(&forged)).unwrap().agree);
}

#[test]
fn a_record_whose_signatures_do_not_hold_is_no_evidence() {
    let cast = cast();
    let records = finished(&cast, 20, None);
    let changes: [fn(&mut JobRecord); 9] = [
        |r| r.rounds[7][0][0] ^= 1,
        |r| r.signatures.consumer[0] ^= 1,
        |r| r.signatures.helper[0] ^= 1,
        |r| r.signatures.evaluators[0] = Some([0; 64]),
        |r| r.signatures.evaluators[1] = None,
        |r| r.checkpoints[0].own[0] ^= 1,
        |r| r.checkpoints[0].other = Some([0; 64]),
        |r| r.end.signature[0] ^= 1,
        |r| r.other.as_mut().unwrap().signature[0] ^= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut forged = records[1].clone();
        change(&mut forged);
        let verdict = verify([&records[0], &forged], None).unwrap();
        assert!(!verdict.agree && !verdict.faults.is_empty(), "change {number}");
        assert!(verdict.contradicted.is_empty(), "change {number} blames somebody");
    }
}

#[test]
fn records_that_do_not_belong_together_are_refused() {
    let (one, two) = (cast(), cast());
    let a = finished(&one, 2, None);
    assert!(verify([&a[0], &a[0]], None).unwrap_err().contains("same evaluator"));
    let mut other = opening(&two);
    other.session.job = JobId([9; 16]);
    let b = start(&two, &other, 1).close(None, Some("no"), 5, &two.evaluators[1]).0;
    assert!(verify([&a[0], &b], None).unwrap_err().contains("two jobs"));
    // Two consumers may give their jobs one name.
    let mut namesake = opening(&one);
    namesake.session.consumer = two.consumer.public();
    let b = start(&one, &namesake, 1).close(None, Some("no"), 5, &one.evaluators[1]).0;
    assert!(verify([&a[0], &b], None).unwrap_err().contains("two jobs"));
}

#[test]
fn digests_depend_on_the_secret_and_heads_on_everything() {
    let frame = frame_digest(&[1; 32], 0, 1, b"frame");
    for other in [
        frame_digest(&[2; 32], 0, 1, b"frame"),
        frame_digest(&[1; 32], 1, 1, b"frame"),
        frame_digest(&[1; 32], 0, 2, b"frame"),
        frame_digest(&[1; 32], 0, 1, b"frama"),
    ] {
        assert_ne!(frame, other);
    }
    let keys = [0u8, 1].map(|n| JobSecret::combine(&[0; 32], &[n; 32], &[5; 32]).transcript_key());
    assert_ne!(keys[0], keys[1], "the first evaluator's contribution decides the key");
    assert_ne!(first_heads(&[1; 32]), first_heads(&[2; 32]));
    assert_ne!(input_commitment(&[1; 32], 0, &share(1)), input_commitment(&[2; 32], 0, &share(1)));
    assert_ne!(input_commitment(&[1; 32], 0, &share(1)), input_commitment(&[1; 32], 1, &share(1)));
    assert_ne!(input_commitment(&[1; 32], 0, &share(1)), output_commitment(&[1; 32], 0, &share(1)));
}

#[test]
fn openings_come_back_from_their_bytes() {
    let cast = cast();
    let (both, _) = play(&cast, 2, None);
    let [first, _] = both;
    let (record, openings) = first.close(None, Some("x"), 5, &cast.evaluators[0]);
    let openings = Openings::decode(&openings.unwrap().encode()).unwrap();
    assert_eq!(openings.secret.commitment(), record.end.record.secret, "the record commits to the secret");
    assert_eq!(openings.input_salt.as_bytes(), &[20; 32]);
    assert_eq!(openings.output_salt.as_bytes(), &[21; 32]);
}

#[test]
fn an_end_of_another_job_blames_nobody() {
    let cast = cast();
    // An earlier job of the same three nodes: the honest first evaluator signed its end.
    let earlier = finished(&cast, 7, None);
    let mut later = opening(&cast);
    later.session.job = JobId([99; 16]);
    later.session.pack = PackId([98; 16]);
    let mut both = [0, 1].map(|own| start(&cast, &later, own));
    let signatures = both.each_ref().map(Transcript::signature);
    for own in 0..2 {
        both[own].join([&seed(30), &seed(31)], signatures[1 - own]).unwrap();
    }
    for round in 1..=5u8 {
        both[0].round(&[round; 40], &[round ^ 0x80; 40]);
        both[1].round(&[round ^ 0x80; 40], &[round; 40]);
    }
    let mut own = 0;
    let [honest, mut liar] = both.map(|t| {
        own += 1;
        t.close(None, Some("the lane broke"), 5, &cast.evaluators[own - 1]).0
    });
    liar.other = Some(earlier[0].end);
    let liar = JobRecord::decode(&liar.encode()).unwrap();
    let verdict = verify([&honest, &liar], None).unwrap();
    assert_eq!(blamed(&verdict), [""; 0], "{verdict:?}");
    assert_eq!(verdict.faults, ["record of the second evaluator: the other end is of another job"]);
}

#[test]
fn an_end_of_the_same_job_with_another_opening_contradicts_its_signer() {
    let cast = cast();
    let [first, mut second] = finished(&cast, 7, None);
    let mut other = opening(&cast);
    other.session.pack = PackId([99; 16]);
    // The first signed an end for another pack, too, and gave that one to the second.
    second.other = Some(start(&cast, &other, 0).close(None, Some("another"), 5, &cast.evaluators[0]).0.end);
    let verdict = verify([&first, &second], None).unwrap();
    assert_eq!(blamed(&verdict), ["first evaluator"], "{verdict:?}");
}

#[test]
fn an_end_is_kept_only_if_the_other_evaluator_signed_it_for_this_job() {
    let cast = cast();
    let play_to_the_end = || {
        let (both, _) = play(&cast, 3, None);
        let ends = [0, 1].map(|own| both[own].finish(&share(own as u32), &cast.evaluators[own]));
        (both, ends)
    };
    let close = |t: Transcript, own| t.close(Some(own), Some("x"), 5, &cast.evaluators[0]).0;
    let (both, ends) = play_to_the_end();
    let [mut first, _] = both;
    assert_eq!(first.compare(&ends[0], ends[1]), Ok(()));
    assert_eq!(close(first, ends[0]).other, Some(ends[1]));

    let unsigned = SignedRecord { signature: [7; 64], ..ends[1] };
    let mine = ends[0];
    // Signed by whoever the end itself names, which is somebody else than the evaluator of this job.
    let stranger = generate().unwrap();
    let mut renamed = ends[1].record;
    renamed.opening.session.evaluators[1] = stranger.public();
    let mut elsewhere = ends[1].record;
    elsewhere.opening.session.job = JobId([77; 16]);
    // Signed by the right key, in the place of the other evaluator.
    let mut swapped = ends[1].record;
    swapped.opening.session.evaluators.swap(0, 1);
    swapped.signer = 0;
    for (what, end) in [
        ("a wrong signature", unsigned),
        ("the wrong place", swapped.sign(&cast.evaluators[1])),
        ("its own end", mine),
        ("a stranger's", renamed.sign(&stranger)),
        ("another job's", elsewhere.sign(&cast.evaluators[1])),
    ] {
        let (both, ends) = play_to_the_end();
        let [mut first, _] = both;
        assert_eq!(first.compare(&ends[0], end), Err(Contradiction::End), "{what}");
        let record = close(first, ends[0]);
        assert_eq!(record.other, None, "{what} is no evidence");
        assert!(record.faults().is_empty(), "{what}");
    }
    // What it did sign for this job is evidence, also where it tells another story.
    let mut otherwise = ends[1].record;
    otherwise.heads[0] = [7; 32];
    let otherwise = otherwise.sign(&cast.evaluators[1]);
    let (both, ends) = play_to_the_end();
    let [mut first, _] = both;
    assert_eq!(first.compare(&ends[0], otherwise), Err(Contradiction::End));
    assert_eq!(close(first, ends[0]).other, Some(otherwise));
}

#[test]
fn a_seal_that_the_helper_did_not_sign_does_not_blame_it() {
    let cast = cast();
    let records = finished(&cast, 3, None);
    let session = opening(&cast).session;
    let seal = opening(&cast).seal.sign(&session.committee, &session.pack, &session.task, &cast.helper);
    let dealt = DealtRecord {
        committee: session.committee,
        pack: session.pack,
        task: session.task,
        helper: session.helper,
        seal,
    };
    let mut forged = records[1].clone();
    forged.end.record.opening.seal.corrections = [55; 32];
    let verdict = verify([&records[0], &forged], Some(&dealt)).unwrap();
    assert!(!verdict.faults.is_empty());
    assert_eq!(blamed(&verdict), [""; 0], "{verdict:?}");
}

#[test]
fn a_first_evaluator_cannot_hide_behind_a_pack_that_was_not_taken() {
    let cast = cast();
    // The second's record: the first signed the opening, two windows and the end for pack 3, with a frame that differs.
    let honest = finished(&cast, 40, Some((33, 0)));
    assert!(honest[1].other.is_some() && honest[1].checkpoints.iter().all(|c| c.other.is_some()));
    // What the first shows instead: a job that failed before its first round, with another pack of its own.
    let mut other = opening(&cast);
    other.session.pack = PackId([99; 16]);
    let shown = start(&cast, &other, 0).close(None, Some("the lane broke"), 5, &cast.evaluators[0]).0;
    let verdict = verify([&shown, &honest[1]], None).unwrap();
    assert_eq!(blamed(&verdict), ["first evaluator"], "{verdict:?}");
}
