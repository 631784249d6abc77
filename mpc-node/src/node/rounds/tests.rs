//! What a node lets happen to a round, without sockets.

use super::super::slots::Slots;
use super::super::trial;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::open_rounds::{CLOSES_WITHIN, Contribution, Helping, Places, RESULT_STAYS, Room, Round};
use super::*;
use crate::engine::{Assignment, EvaluatorRole};
use crate::identity::PublicKey;
use crate::identity::{self, Identity};
use crate::protocol::ring::secret::Secret;
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
        working: Some(room(coordinator, memory, MEMORY)),
        _kept: room(coordinator, memory, 10),
    };
    (signed.id(), round)
}

fn room(coordinator: &Identity, memory: &Arc<Slots>, bytes: u64) -> Room {
    let (place, _) = Places::new(1 << 20).take(coordinator.public(), 1, 0).unwrap();
    Room { _memory: memory.take(coordinator.public(), bytes).unwrap(), _place: place }
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

/// A place is held from the moment it is looked at: before anything of the round has come, and in all seats together.
#[test]
fn a_key_has_eight_rounds_at_a_node_however_many_it_opens_at_a_time_and_in_however_many_committees() {
    let (trial, _further) = trial::node_in_two(|_| ());
    let (coordinator, memory) = (identity::generate().unwrap(), Slots::new(1 << 30));
    let hold = |at: usize| {
        let (_, round) = round(&coordinator, &memory, Duration::ZERO);
        opening::hold(&trial.node.seats[at], &round.terms, Duration::ZERO)
    };
    let held: Vec<_> = (0..8).map(|n| hold(n % 2).unwrap()).collect();
    for seat in [0, 1] {
        let refused = hold(seat).err().expect("a ninth is refused");
        assert!(refused.code == FailCode::Busy && refused.text.contains("close some first"), "{}", refused.text);
    }
    drop(held);
    assert!(hold(0).is_ok(), "what was not opened in the end takes nothing");
}

#[test]
fn a_round_for_which_nobody_sends_gives_way_and_one_with_contributions_does_not() {
    let trial = trial::node(|config| config.limits.job_megabytes = 1024);
    let (seat, memory) = (&trial.seat, Slots::new(1 << 30));
    // As many keys as it takes: each has half of what is left.
    let mut ids = Vec::new();
    let later = Duration::from_secs(60);
    let open = |sent: bool, now: Duration| {
        let coordinator = identity::generate().unwrap();
        let (id, mut round) = round(&coordinator, &memory, now);
        let (working, kept) = opening::hold(seat, &round.terms, now)?;
        (round.working, round._kept) = (Some(working), kept);
        if sent {
            let share = Secret::from(vec![1; 100]);
            round.stage = Stage::Open([(3, Contribution { digest: [1; 32], share })].into());
        }
        seat.rounds.lock().insert(id, round);
        Ok::<_, Refusal>(id)
    };
    let with = open(true, Duration::ZERO).unwrap();
    let refused = loop {
        match open(false, Duration::from_millis(ids.len() as u64)) {
            Ok(id) => ids.push(id),
            Err(refused) => break refused,
        }
        assert!(ids.len() < 300);
    };
    assert!(refused.text.contains("more than other rounds leave"), "{}", refused.text);
    let next = open(false, later).unwrap();
    let rounds = seat.rounds.lock();
    assert!(
        rounds.contains_key(&with) && rounds.contains_key(&next),
        "it is not the oldest that goes, but the oldest idle one"
    );
    assert!(!rounds.contains_key(&ids[0]) && rounds.contains_key(&ids[ids.len() - 1]));
}

/// Nobody has to ask for that.
#[test]
fn the_nodes_chores_wipe_what_nobody_closes() {
    let trial = trial::node(|_| ());
    let (coordinator, memory) = (identity::generate().unwrap(), Slots::new(4 * MEMORY));
    let (id, mut open) = round(&coordinator, &memory, Duration::ZERO);
    open.forgotten = Duration::ZERO;
    trial.seat.rounds.lock().insert(id, open);
    crate::node::expire(&trial.seat);
    assert!(trial.seat.rounds.lock().is_empty());
    assert!(memory.take(coordinator.public(), 4 * MEMORY).is_some(), "its memory is free");
}
