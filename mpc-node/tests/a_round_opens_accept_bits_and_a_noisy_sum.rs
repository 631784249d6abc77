//! Rounds over real sockets: providers send shares, three nodes open who is accepted and a noisy sum, and nothing else.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;

use common::Network;
use sahara_mpc::client::{Assignment, Client, ClientError};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::protocol::round::Vectors;
use sahara_mpc::rounds::{RoundNonce, RoundTerms, SignedTerms};
use sahara_mpc::wire::{FailCode, RoundStage};

struct Round {
    network: Network,
    coordinator: Arc<Identity>,
    providers: Vec<Arc<Identity>>,
}

impl Round {
    fn start(providers: usize) -> Self {
        let coordinator = Arc::new(identity::generate().unwrap());
        let network =
            Network::start_as(&coordinator, |text| text.replace("job_megabytes = 8192", "job_megabytes = 1024"));
        let mut providers: Vec<Arc<Identity>> =
            (0..providers).map(|_| Arc::new(identity::generate().unwrap())).collect();
        providers.sort_unstable_by_key(|provider| provider.public());
        Self { network, coordinator, providers }
    }

    fn coordinator(&self) -> Client {
        self.network.client_of(&self.coordinator)
    }

    fn provider(&self, at: usize) -> Client {
        self.network.client_of(&self.providers[at])
    }

    fn terms(&self, edit: impl FnOnce(&mut RoundTerms)) -> SignedTerms {
        let mut terms = RoundTerms {
            committee: self.network.committee.digest(),
            coordinator: self.coordinator.public(),
            nonce: RoundNonce::random().unwrap(),
            assignment: Assignment::ALL[2],
            vectors: Vectors::new(300, 12, 1 << 20).unwrap(),
            variance: 100,
            least: 2,
            seconds: 600,
            note: b"a sum".to_vec(),
            attachment: (5, *blake3::hash(b"model").as_bytes()),
            providers: self.providers.iter().map(|provider| provider.public()).collect(),
        };
        edit(&mut terms);
        terms.sign(&self.coordinator)
    }
}

#[track_caller]
fn refused(result: Result<impl Sized, ClientError>, text: &str) {
    let error = result.err().expect("it is refused");
    assert!(error.code().is_some() && error.to_string().contains(text), "{error}");
}

#[test]
fn who_sent_a_short_vector_to_both_is_in_the_noisy_sum_whoever_helps() {
    let round = Round::start(6);
    let coordinator = round.coordinator();
    for assignment in Assignment::ALL {
        let terms = round.terms(|terms| terms.assignment = assignment);
        coordinator.open_round(&terms, b"model").unwrap();
        let [first, second] = assignment.evaluators();
        // Providers find it by themselves.
        let list = round.provider(0).rounds_at(first).unwrap().0;
        assert_eq!(list.last(), Some(&(terms.id(), RoundStage::Open)));
        let (shown, model) = round.provider(0).round_at(first, terms.id(), true).unwrap();
        assert_eq!((&shown.terms, model.as_slice(), shown.own, shown.contributed), (&terms, &b"model"[..], false, 0));

        let vector = |n: i32| (0..300).map(|i| (n * 7 + i) % 50 - 25).collect::<Vec<i32>>();
        for n in [0, 1, 2] {
            round.provider(n).contribute(&terms, &vector(n as i32)).unwrap();
        }
        // One sends to the first only, and one a vector that is too long.
        let half = round.provider(3).contribution(&terms, &vector(3)).unwrap();
        round.provider(3).send_share(&terms, &half, 0).unwrap();
        assert!(matches!(round.provider(4).contribute(&terms, &[1000; 300]), Err(ClientError::Request(_))));
        let long = round.provider(4).contribution(&terms, &[1000; 300]).unwrap();
        round.provider(4).send_share(&terms, &long, 0).unwrap();
        round.provider(4).send_share(&terms, &long, 1).unwrap();
        assert!(round.provider(0).round_at(second, terms.id(), false).unwrap().0.own);

        let result = coordinator.close_round(&terms).unwrap();
        let places: Vec<u16> = result.included.iter().map(|(place, _)| *place).collect();
        assert_eq!(
            (places.as_slice(), result.accepted.as_slice()),
            (&[0, 1, 2, 4][..], &[true, true, true, false][..])
        );
        // Noise of all three: variance 300, far less than any one vector.
        let noise: Vec<f64> =
            (0..300).map(|i| f64::from(result.sum[i] - (0..3).map(|n| vector(n)[i]).sum::<i32>())).collect();
        let variance = noise.iter().map(|x| x * x).sum::<f64>() / 300.0;
        assert!((150.0..500.0).contains(&variance), "{variance}");
        // What came out stays what it is: no other noise, whoever asks.
        assert_eq!(coordinator.close_round(&terms).unwrap(), result);
        assert_eq!(round.provider(5).round_result(&terms, 0).unwrap(), result);
        assert_eq!(round.provider(0).round_result(&terms, 1).unwrap(), result);
        refused(round.provider(5).contribute(&terms, &vector(5)), "closed");
        refused(coordinator.open_round(&terms, b"model"), "open already");
    }
}

#[test]
fn only_its_parties_reach_a_round_and_each_provider_sends_once() {
    let round = Round::start(3);
    let (coordinator, stranger) = (round.coordinator(), round.network.client());
    let terms = round.terms(|_| ());
    // Opened by whom its terms name, for this committee, with what they name; nodes are no providers.
    let forged = round.terms(|terms| terms.coordinator = round.providers[0].public());
    assert!(matches!(stranger.open_round(&forged, b"model"), Err(ClientError::Request(_))));
    let elsewhere = round.terms(|terms| terms.committee = [9; 32]);
    refused(coordinator.open_round(&elsewhere, b"model"), "another committee");
    refused(coordinator.open_round(&terms, b"other"), "attachment");
    let member = round.network.committee.members()[0].key;
    let inside = round.terms(|terms| {
        terms.providers[0] = member;
        terms.providers.sort_unstable();
    });
    refused(coordinator.open_round(&inside, b"model"), "cannot be a provider");

    coordinator.open_round(&terms, b"model").unwrap();
    for node in 0..3 {
        assert!(stranger.rounds_at(node).unwrap().0.is_empty());
        refused(stranger.round_at(node, terms.id(), false), "no round of this name");
    }
    refused(stranger.close_round(&terms), "no round of this name");
    refused(stranger.round_result(&terms, 0), "no round of this name");
    refused(round.provider(0).close_round(&terms), "only its coordinator");
    let vector = vec![1; 300];
    assert!(matches!(stranger.contribution(&terms, &vector), Err(ClientError::Request(_))));
    refused(round.provider(0).round_result(&terms, 0), "no result yet");

    round.provider(0).contribute(&terms, &vector).unwrap();
    refused(round.provider(0).contribute(&terms, &vector), "already");
    // What another signed is not taken, nor a share that was not signed.
    let other = round.provider(1).contribution(&terms, &vector).unwrap();
    refused(round.provider(2).send_share(&terms, &other, 0), "not signed");
    // One who contributes differently to both is in neither's list.
    let again = round.provider(1).contribution(&terms, &vector).unwrap();
    round.provider(1).send_share(&terms, &other, 0).unwrap();
    round.provider(1).send_share(&terms, &again, 1).unwrap();
    refused(coordinator.close_round(&terms), "1 providers sent both shares, and the sum of fewer than 2");
    refused(coordinator.close_round(&terms), "came to nothing");
    refused(round.provider(2).contribute(&terms, &vector), "closed");
}

#[test]
fn a_round_takes_what_it_said_and_no_more_than_there_is() {
    let round = Round::start(3);
    let coordinator = round.coordinator();
    let large = round.terms(|terms| {
        terms.vectors = Vectors::new(1 << 20, 16, 1 << 20).unwrap();
        terms.providers = (0..1024_u32)
            .map(|n| sahara_mpc::identity::PublicKey(*blake3::hash(&n.to_le_bytes()).as_bytes()))
            .collect();
        terms.providers.sort_unstable();
    });
    refused(coordinator.open_round(&large, b"model"), "more than this node has for one round");
    // Eight rounds that are not closed are all that one key may have; one that came to nothing makes room.
    let rounds: Vec<SignedTerms> = (0..8).map(|_| round.terms(|_| ())).collect();
    rounds.iter().for_each(|terms| coordinator.open_round(terms, b"model").unwrap());
    let more = round.terms(|_| ());
    let error = coordinator.open_round(&more, b"model").unwrap_err();
    assert_eq!(error.code(), Some(FailCode::Busy));
    refused(coordinator.close_round(&rounds[3]), "0 providers");
    // The helper has not heard of that; who gives the round up says so to all.
    let helper = rounds[3].terms().assignment.helper();
    let stages = || coordinator.rounds_at(helper).unwrap().0.iter().map(|(_, stage)| *stage).collect::<Vec<_>>();
    assert_eq!(stages(), [RoundStage::Open; 8]);
    refused(round.provider(0).abandon_round(&rounds[3]), "only its coordinator");
    coordinator.abandon_round(&rounds[3]).unwrap();
    assert_eq!(stages()[3], RoundStage::Failed);
    coordinator.open_round(&more, b"model").unwrap();
    coordinator.abandon_round(&rounds[0]).unwrap();
    refused(round.provider(0).contribute(&rounds[0], &vec![1; 300]), "closed");
}

#[test]
fn the_time_for_contributions_ends() {
    let round = Round::start(2);
    let terms = round.terms(|terms| terms.seconds = 1);
    round.coordinator().open_round(&terms, b"model").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    refused(round.provider(0).contribute(&terms, &vec![1; 300]), "time for contributions");
}
