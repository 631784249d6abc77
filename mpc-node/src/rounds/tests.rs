use super::*;
use crate::identity;

fn terms(coordinator: &Identity) -> RoundTerms {
    let mut providers: Vec<PublicKey> = (1..4).map(|n| PublicKey([n; 32])).collect();
    providers.sort_unstable();
    RoundTerms {
        committee: [1; 32],
        coordinator: coordinator.public(),
        nonce: RoundNonce([2; 16]),
        assignment: Assignment::ALL[1],
        vectors: Vectors::new(10, 12, 1 << 16).unwrap(),
        variance: 5000,
        least: 2,
        seconds: 60,
        note: b"mean".to_vec(),
        attachment: (0, [0; 32]),
        providers,
    }
}

#[test]
fn terms_are_their_bytes_and_each_field_changes_the_name() {
    let coordinator = identity::generate().unwrap();
    let base = terms(&coordinator);
    assert_eq!(RoundTerms::decode(&base.encode()).unwrap(), base);
    let changes: [fn(&mut RoundTerms); 11] = [
        |t| t.committee[0] = 9,
        |t| t.coordinator.0[0] ^= 1,
        |t| t.nonce.0[0] = 9,
        |t| t.assignment = Assignment::ALL[2],
        |t| t.vectors = Vectors::new(11, 12, 1 << 16).unwrap(),
        |t| t.variance += 1,
        |t| t.least = 3,
        |t| t.seconds += 1,
        |t| t.note.push(b'!'),
        |t| t.attachment.1[0] = 1,
        |t| t.providers[0] = PublicKey([0; 32]),
    ];
    let mut names = vec![base.id()];
    for change in changes {
        let mut other = base.clone();
        change(&mut other);
        assert!(!names.contains(&other.id()));
        names.push(other.id());
    }
    let signed = base.clone().sign(&coordinator);
    assert_eq!(SignedTerms::new(&base.encode(), *signed.signature()).unwrap(), signed);
    assert!(SignedTerms::new(&base.encode(), [7; 64]).is_err());
    let mut other = base.clone();
    other.variance = 4999;
    assert!(SignedTerms::new(&other.encode(), *signed.signature()).is_err(), "less noise is another round");
}

#[test]
fn terms_that_make_no_sense_are_refused_by_name() {
    let coordinator = identity::generate().unwrap();
    let refused = |change: fn(&mut RoundTerms)| {
        let mut terms = terms(&coordinator);
        change(&mut terms);
        assert!(RoundTerms::decode(&terms.encode()).is_err());
        terms.check().unwrap_err().to_string()
    };
    assert!(refused(|t| t.providers.clear()).contains("providers"));
    assert!(refused(|t| t.providers.swap(0, 1)).contains("in order"));
    assert!(refused(|t| t.providers[1] = t.providers[0]).contains("each once"));
    assert!(refused(|t| t.least = 0).contains("accepted"));
    assert!(refused(|t| t.least = 4).contains("accepted"));
    assert!(refused(|t| t.seconds = 0).contains("seconds"));
    assert!(refused(|t| t.note = vec![0; MOST_NOTE + 1]).contains("note"));
    assert!(refused(|t| t.attachment.0 = MOST_ATTACHMENT as u32 + 1).contains("attachment"));
    assert!(refused(|t| t.variance = 15).contains("variance"));
    assert!(refused(|t| t.variance = 1 << 52).contains("32 bits"), "a sum that could wrap");
    let bytes = terms(&coordinator).encode();
    for len in 0..bytes.len() {
        assert!(RoundTerms::decode(&bytes[..len]).is_err());
    }
    assert!(RoundTerms::decode(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn a_result_counts_only_as_what_both_evaluators_signed_of_these_terms() {
    let [coordinator, first, second] = [(); 3].map(|()| identity::generate().unwrap());
    let terms = terms(&coordinator).sign(&coordinator);
    let included = vec![(0, [1; 32]), (2, [2; 32])];
    let mut result = RoundResult {
        round: terms.id(),
        included,
        accepted: vec![true, true],
        sum: vec![5; 10],
        signatures: [[0; 64]; 2],
    };
    result.signatures = [first.sign(&result.digest()), second.sign(&result.digest())];
    let keys = [first.public(), second.public()];
    assert!(result.is_of(&terms, keys) && !result.is_of(&terms, [keys[1], keys[0]]));
    let changes: [fn(&mut RoundResult); 7] = [
        |r| r.round.0[0] ^= 1,
        |r| r.included[0].1[0] ^= 1,
        |r| r.included[0].0 = 1,
        |r| r.accepted[0] = false,
        |r| r.sum[9] += 1,
        |r| r.signatures[1][5] ^= 1,
        |r| r.signatures[0] = r.signatures[1],
    ];
    for change in changes {
        let mut other = result.clone();
        change(&mut other);
        assert!(!other.is_of(&terms, keys));
    }
    // Signed, but of no such round.
    for change in [(|r| r.sum.truncate(9)) as fn(&mut RoundResult), |r| r.included[1].0 = 3, |r| r.accepted[1] = false]
    {
        let mut other = result.clone();
        change(&mut other);
        other.signatures = [first.sign(&other.digest()), second.sign(&other.digest())];
        assert!(!other.is_of(&terms, keys));
    }
}
