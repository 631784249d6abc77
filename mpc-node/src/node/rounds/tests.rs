//! What a node lets happen to a round, without sockets.

use super::super::slots::Slots;
use super::super::trial;
use super::*;
use crate::engine::Assignment;
use crate::identity::{self, Identity};
use crate::protocol::round::Vectors;
use crate::rounds::{RoundNonce, RoundTerms, attachment_hash};
use crate::wire::{DealRound, Dealt};

const MEMORY: u64 = 1 << 20;

fn round(coordinator: &Identity, memory: &Arc<Slots>, opened: Duration) -> (RoundId, Round) {
    let terms = RoundTerms {
        committee: [1; 32],
        coordinator: coordinator.public(),
        nonce: RoundNonce::random().unwrap(),
        assignment: Assignment::ALL[0],
        // 100 vectors are checked in a batch of 64 and one of 36.
        vectors: Vectors::new(1 << 11, 12, 1 << 20).unwrap(),
        variance: 100,
        least: 2,
        seconds: 60,
        note: Vec::new(),
        attachment: (0, attachment_hash(b"")),
        providers: (0..100).map(|n| PublicKey([n; 32])).collect(),
    };
    let signed = terms.sign(coordinator);
    let round = Round {
        terms: Arc::new(signed.clone()),
        attachment: Arc::default(),
        opened,
        forgotten: opened + Duration::from_secs(60) + CLOSES_WITHIN,
        stage: Stage::Open(BTreeMap::new()),
        coming: BTreeSet::new(),
        helping: Helping::default(),
        working: memory.take(coordinator.public(), MEMORY),
        _kept: memory.take(coordinator.public(), 10).unwrap(),
    };
    (signed.id(), round)
}

#[test]
fn the_helper_deals_each_thing_once_and_to_both_the_same() {
    let memory = Slots::new(4 * MEMORY);
    let (id, mut round) = round(&identity::generate().unwrap(), &memory, Duration::ZERO);
    let (first, second) = (EvaluatorRole::First, EvaluatorRole::Second);
    let ask = |digest: u8, what| DealRound { round: id, digest: [digest; 32], what };
    let refused = |round: &mut Round, role, ask: DealRound, why: &str| {
        let text = round.order(role, &ask).err().expect("it is refused").text;
        assert!(text.contains(why), "{text}");
    };
    refused(&mut round, first, ask(7, Dealt::Noise), "nothing was checked");
    // More than there are providers, none, and a batch that there is not.
    for (number, count) in [(0, 101), (0, 0), (2, 100), (1, 64)] {
        refused(&mut round, first, ask(1, Dealt::Check(number, count)), "no such check");
    }
    assert!(round.order(first, &ask(1, Dealt::Check(0, 100))).is_ok());
    assert!(!matches!(round.stage, Stage::Open(_)), "nobody sends any more to a round that is dealt for");
    refused(&mut round, first, ask(1, Dealt::Check(0, 100)), "already");
    refused(&mut round, second, ask(2, Dealt::Check(0, 100)), "the same contributions");
    refused(&mut round, second, ask(1, Dealt::Check(0, 99)), "the same contributions");
    assert!(round.order(second, &ask(1, Dealt::Check(0, 100))).is_ok());
    assert!(round.order(second, &ask(1, Dealt::Check(1, 100))).is_ok());
    // What is opened is fixed by whoever asks for noise first; the other gets none for anything else.
    assert!(round.order(second, &ask(5, Dealt::Noise)).is_ok());
    refused(&mut round, first, ask(6, Dealt::Noise), "the same sum");
    refused(&mut round, second, ask(5, Dealt::Noise), "already");
    assert!(!round.helping.is_over());
    assert!(round.order(first, &ask(5, Dealt::Noise)).is_ok() && round.helping.is_over());
    round.ends(Stage::Failed("over".into()), Duration::ZERO);
    refused(&mut round, first, ask(1, Dealt::Check(1, 100)), "over");
}

#[test]
fn what_nobody_closes_is_forgotten_with_all_that_was_sent_for_it() {
    let trial = trial::node(|_| ());
    let (coordinator, memory) = (identity::generate().unwrap(), Slots::new(4 * MEMORY));
    let rounds = &trial.seat.rounds;
    let (id, mut open) = round(&coordinator, &memory, Duration::ZERO);
    let share = Secret::from(vec![1; 100]);
    open.stage = Stage::Open([(3, Contribution { digest: [1; 32], share })].into());
    rounds.lock().insert(id, open);
    let end = Duration::from_secs(60) + CLOSES_WITHIN;
    let known = |now| rounds.of(&id, &coordinator.public(), now, |_| Ok(())).is_ok();
    assert!(rounds.of(&id, &PublicKey([200; 32]), Duration::ZERO, |_| Ok(())).is_err(), "nobody else sees it");
    assert!(rounds.of(&id, &PublicKey([3; 32]), Duration::ZERO, |_| Ok(())).is_ok(), "a provider does");
    assert!(known(end - Duration::from_secs(1)));
    assert!(memory.take(coordinator.public(), 4 * MEMORY - 10).is_none(), "it is held");
    assert!(!known(end));
    assert!(memory.take(coordinator.public(), 4 * MEMORY).is_some(), "its memory is free");
}

#[test]
fn what_is_over_gives_its_working_memory_back_and_stays_a_while() {
    let (coordinator, memory) = (identity::generate().unwrap(), Slots::new(4 * MEMORY));
    let (_, mut over) = round(&coordinator, &memory, Duration::ZERO);
    over.ends(Stage::Failed("somebody went away".into()), Duration::from_secs(5));
    assert!(memory.take(coordinator.public(), 4 * MEMORY - 10).is_some());
    assert_eq!(over.forgotten, Duration::from_secs(5) + RESULT_STAYS);
    let told = over.result().unwrap_err();
    assert!(told.code == FailCode::Refused && told.text.contains("somebody went away"), "{}", told.text);
}
