//! Forged headers.

use proptest::prelude::*;
use tendermint_proto::v0_38::types::{SignedHeader as RawSigned, Validator};

use super::*;
use crate::forge::{CHAIN, Draft, absent, address, header_hash, pack, rules, set, set_hash, time};

const FOUR: [(u8, i64); 4] = [(1, 10), (2, 10), (3, 10), (4, 10)];

fn trusted(draft: &Draft) -> Verified {
    Verified::trusting(&rules(), Untrusted::read(draft.block()).unwrap(), draft.height, draft.hash()).unwrap()
}

/// Goes from `from` to `block` at `now`, where nobody has a header between them.
fn go(from: &Draft, block: LightBlock, now: Duration) -> Result<Next, HeaderError> {
    Climb::new(rules(), trusted(from), Untrusted::read(block)?).go(now)
}

fn refused(from: &Draft, block: LightBlock) -> HeaderError {
    go(from, block, time(200)).unwrap_err()
}

/// Changes the block of `draft` and signs nothing anew.
fn tampered(draft: &Draft, change: impl FnOnce(&mut RawSigned, &mut RawSet, &mut RawSet)) -> LightBlock {
    let mut parts = draft.parts();
    change(&mut parts.0, &mut parts.1, &mut parts.2);
    pack(&parts)
}

#[test]
fn a_header_is_believed_when_those_who_are_trusted_signed_it() {
    let first = Draft::new(1, &FOUR);
    for height in [2, 3, 150] {
        let next = Draft::new(height, &FOUR);
        let Ok(Next::Done(header)) = go(&first, next.block(), time(height)) else { panic!("not believed") };
        assert_eq!((header.height(), header.hash(), header.time()), (height, next.hash(), time(height)));
        assert_eq!(header.app_hash(), next.app_hash);
        assert_eq!(header.block(), &next.block());
    }
}

#[test]
fn two_thirds_are_not_enough_and_a_little_more_is() {
    let first = Draft::new(1, &[(1, 2), (2, 2), (3, 2)]);
    let two = Draft { signers: vec![1, 2], ..Draft::new(2, &[(1, 2), (2, 2), (3, 2)]) };
    assert!(matches!(refused(&first, two.block()), HeaderError::TooLittlePower { height: 2, .. }));
    let first = Draft::new(1, &[(1, 2), (2, 3), (3, 2)]);
    for height in [2, 5] {
        let more = Draft { signers: vec![1, 2], ..Draft::new(height, &[(1, 2), (2, 3), (3, 2)]) };
        assert!(matches!(go(&first, more.block(), time(5)), Ok(Next::Done(_))));
    }
    // All who were trusted signed, and they are two thirds of the new set.
    let first = Draft::new(1, &[(1, 10), (2, 10)]);
    let grown = Draft { signers: vec![1, 2], ..Draft::new(5, &[(1, 10), (2, 10), (3, 10)]) };
    assert!(matches!(refused(&first, grown.block()), HeaderError::TooLittlePower { height: 5, .. }));
    let grown = Draft { signers: vec![1, 2], ..Draft::new(5, &[(1, 10), (2, 10), (3, 9)]) };
    assert!(matches!(go(&first, grown.block(), time(5)), Ok(Next::Done(_))));
}

#[test]
fn two_thirds_of_the_trusted_are_not_enough_without_the_headers_between() {
    // Two of three with the same power are left: exactly two thirds.
    let first = Draft::new(1, &[(1, 1), (2, 1), (3, 1)]);
    let others = [(1, 1), (2, 1), (9, 1)];
    assert_eq!(go(&first, Draft::new(9, &others).block(), time(9)).unwrap(), Next::Ask(5));
    // A little more than that; what they have in the new set is of no matter.
    let first = Draft::new(1, &[(1, 2), (2, 3), (3, 2)]);
    let others = [(1, 1), (2, 1), (9, 1)];
    assert!(matches!(go(&first, Draft::new(9, &others).block(), time(9)), Ok(Next::Done(_))));
    // They are in the new set, and did not sign.
    let absent = Draft { signers: vec![1, 9, 8, 7], ..Draft::new(9, &[(1, 1), (2, 1), (9, 1), (8, 1), (7, 1)]) };
    assert_eq!(go(&first, absent.block(), time(9)).unwrap(), Next::Ask(5));
    // All who sign are strangers: nobody between can help, and the next height refuses.
    let strangers = [(7, 1), (8, 1), (9, 1)];
    let mut climb = Climb::new(rules(), trusted(&first), Untrusted::read(Draft::new(9, &strangers).block()).unwrap());
    let mut asked = vec![];
    let error = loop {
        match climb.go(time(9)) {
            Ok(Next::Ask(height)) => {
                asked.push(height);
                climb.take(Untrusted::read(Draft::new(height, &strangers).block()).unwrap()).unwrap();
            }
            Ok(Next::Done(_)) => panic!("strangers are believed"),
            Err(error) => break error,
        }
    };
    assert_eq!(asked, [5, 3, 2]);
    assert!(matches!(error, HeaderError::Invalid { height: 2, .. }), "{error}");
}

/// A chain on which the oldest validator leaves and a new one comes in every `every` blocks.
fn changing(height: u64, every: u64) -> Draft {
    let of = |height: u64| {
        let first = u8::try_from(height / every).unwrap();
        (first..first + 4).map(|number| (number + 1, 10)).collect::<Vec<_>>()
    };
    Draft { next: of(height + 1), ..Draft::new(height, &of(height)) }
}

#[test]
fn a_way_over_many_changes_of_validators_is_found() {
    let first = changing(1, 5);
    let mut climb = Climb::new(rules(), trusted(&first), Untrusted::read(changing(100, 5).block()).unwrap());
    let mut asked = 0;
    let header = loop {
        match climb.go(time(100)).unwrap() {
            Next::Ask(height) => {
                asked += 1;
                climb.take(Untrusted::read(changing(height, 5).block()).unwrap()).unwrap();
            }
            Next::Done(header) => break header,
        }
    };
    assert_eq!((header.height(), header.hash()), (100, changing(100, 5).hash()));
    assert!((10..80).contains(&asked), "{asked} headers for 20 changes");
    assert_eq!(climb.reached().height(), 100);
}

#[test]
fn a_long_way_is_gone_in_parts() {
    // One validator, another one at each height: no header can be passed over, but for every 200th.
    let of = |height: u64| {
        let number = |height: u64| vec![(u8::try_from(height % 200).unwrap(), 1)];
        Draft { next: number(height + 1), ..Draft::new(height, &number(height)) }
    };
    let read = |height| Untrusted::read(of(height).block()).unwrap();
    let (mut ground, mut parts, end) = (trusted(&of(1)), 0, 1_500);
    while ground.height() < end {
        let mut climb = Climb::new(rules(), ground.clone(), read(end));
        let outcome = loop {
            match climb.go(time(end)) {
                Ok(Next::Ask(height)) => climb.take(read(height)).unwrap(),
                outcome => break outcome,
            }
        };
        assert!(matches!(outcome, Ok(Next::Done(_)) | Err(HeaderError::TooManySteps { .. })), "{outcome:?}");
        assert!(climb.reached().height() > ground.height());
        (ground, parts) = (climb.reached().clone(), parts + 1);
    }
    assert_eq!((ground.hash(), parts), (of(end).hash(), 2));
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let mut climb = Climb::new(rules(), trusted(&changing(1, 5)), Untrusted::read(changing(100, 5).block()).unwrap());
    assert_eq!(climb.go(time(100)).unwrap(), Next::Ask(50));
    let other = Untrusted::read(changing(51, 5).block()).unwrap();
    assert_eq!(climb.take(other.clone()), Err(HeaderError::WrongHeight { asked: 50, found: 51 }));
    assert_eq!(climb.take(other), Err(HeaderError::WrongHeight { asked: 0, found: 51 }), "nothing is asked any more");
}

#[test]
fn the_next_header_has_exactly_the_validators_that_were_announced() {
    let first = Draft::new(1, &FOUR);
    let more = [(1, 10), (2, 10), (3, 10), (4, 11)];
    let error = refused(&first, Draft::new(2, &more).block());
    assert!(matches!(error, HeaderError::Invalid { height: 2, .. }), "{error}");
    let announced = Draft { next: more.to_vec(), ..first };
    assert!(matches!(go(&announced, Draft::new(2, &more).block(), time(2)), Ok(Next::Done(_))));
}

#[test]
fn a_wrong_signature_is_refused() {
    let first = Draft::new(1, &FOUR);
    let next = Draft::new(9, &FOUR);
    let flipped = tampered(&next, |signed, _, _| signed.commit.as_mut().unwrap().signatures[0].signature[9] ^= 1);
    assert_eq!(refused(&first, flipped), HeaderError::WrongSignature { height: 9 });
    // A signature of somebody else under his name, and one on another block.
    let borrowed = tampered(&next, |signed, _, _| {
        let signatures = &mut signed.commit.as_mut().unwrap().signatures;
        signatures[0].signature = signatures[1].signature.clone();
    });
    assert_eq!(refused(&first, borrowed), HeaderError::WrongSignature { height: 9 });
    let other = Draft { app_hash: B256::repeat_byte(9), ..next.clone() };
    let moved = tampered(&next, |signed, _, _| {
        signed.commit.as_mut().unwrap().signatures = other.parts().0.commit.unwrap().signatures;
    });
    assert_eq!(refused(&first, moved), HeaderError::WrongSignature { height: 9 });
    // The same vote at another time, or in another round.
    let block = tampered(&next, |signed, _, _| {
        signed.commit.as_mut().unwrap().signatures[0].timestamp.as_mut().unwrap().seconds += 1;
    });
    assert_eq!(refused(&first, block), HeaderError::WrongSignature { height: 9 });
    let round = tampered(&next, |signed, _, _| signed.commit.as_mut().unwrap().round = 1);
    assert_eq!(refused(&first, round), HeaderError::WrongSignature { height: 9 });
}

#[test]
fn what_is_not_signed_or_signed_by_others_does_not_count() {
    let first = Draft::new(1, &FOUR);
    let next = Draft::new(9, &FOUR);
    let commit = |signed: &mut RawSigned| signed.commit.clone().unwrap();
    let changed = tampered(&next, |signed, _, _| signed.header.as_mut().unwrap().app_hash = vec![9; 32]);
    assert!(matches!(refused(&first, changed), HeaderError::Invalid { height: 9, .. }));
    let renamed = tampered(&next, |signed, _, _| {
        signed.header.as_mut().unwrap().app_hash = vec![9; 32];
        let hash = header_hash(signed.header.as_ref().unwrap()).to_vec();
        signed.commit.as_mut().unwrap().block_id.as_mut().unwrap().hash = hash;
    });
    assert_eq!(refused(&first, renamed), HeaderError::WrongSignature { height: 9 });
    let nobody = tampered(&next, |signed, _, _| {
        signed.commit.as_mut().unwrap().signatures = vec![absent(), absent(), absent(), absent()];
    });
    assert!(go(&first, nobody, time(9)).is_err());
    let twice = tampered(&next, |signed, _, _| {
        let mut commit = commit(signed);
        commit.signatures = vec![commit.signatures[0].clone(); 4];
        signed.commit = Some(commit);
    });
    assert!(go(&first, twice, time(9)).is_err());
    let fewer = tampered(&next, |signed, _, _| drop(signed.commit.as_mut().unwrap().signatures.pop()));
    assert!(go(&first, fewer, time(9)).is_err());
    let stranger = tampered(&next, |signed, _, _| {
        signed.commit.as_mut().unwrap().signatures[3].validator_address = address(99);
    });
    assert!(go(&first, stranger, time(9)).is_err());
    // Votes for no block do not count: here they leave two thirds of the power.
    let nil = |height| {
        tampered(&Draft::new(height, &[(1, 1), (2, 1), (3, 1)]), |signed, _, _| {
            signed.commit.as_mut().unwrap().signatures[0].block_id_flag = 3;
        })
    };
    let first = Draft::new(1, &[(1, 1), (2, 1), (3, 1)]);
    assert!(matches!(refused(&first, nil(2)), HeaderError::TooLittlePower { .. }));
    assert_eq!(go(&first, nil(9), time(9)).unwrap(), Next::Ask(5));
}

#[test]
fn validators_that_are_not_those_of_the_header_are_refused() {
    let first = Draft::new(1, &FOUR);
    let next = Draft::new(9, &FOUR);
    let more: [(u8, i64); 4] = [(1, 11), (2, 10), (3, 10), (4, 10)];
    let error = refused(&first, tampered(&next, |_, validators, _| *validators = set(&more)));
    assert!(error.to_string().contains("its validators are others"), "{error}");
    let error = refused(&first, tampered(&next, |_, _, next| *next = set(&more)));
    assert!(error.to_string().contains("the validators after it are others"), "{error}");
    // A key under the address of another.
    let error = Untrusted::read(tampered(&next, |_, validators, _| {
        validators.validators[0].address = address(9);
    }));
    assert!(matches!(error, Err(HeaderError::Malformed(_))));
    // Power that sums up beyond every number.
    let huge = Draft::new(9, &[(1, i64::MAX), (2, i64::MAX), (3, i64::MAX)]);
    assert!(matches!(Untrusted::read(huge.block()), Err(HeaderError::Malformed(_))));
    let negative = tampered(&next, |_, validators, _| validators.validators[0].voting_power = -1);
    assert!(matches!(Untrusted::read(negative), Err(HeaderError::Malformed(_))));
}

#[test]
fn one_validator_under_two_places_counts_once() {
    // A set that names one key twice: it is hashed as it stands, so a header may commit to it.
    let first = Draft::new(1, &[(1, 10)]);
    let mut parts = Draft::new(9, &[(1, 10), (2, 30)]).parts();
    let one = parts.1.validators.iter().find(|v| v.address == address(1)).unwrap().clone();
    parts.1.validators = vec![one.clone(), one.clone(), one, parts.1.validators[0].clone()];
    parts.1.validators.sort_by_key(|v| std::cmp::Reverse(v.voting_power));
    let header = parts.0.header.as_mut().unwrap();
    header.validators_hash = set_hash(&parts.1).to_vec();
    let hash = header_hash(header).to_vec();
    let draft = Draft::new(9, &[(1, 10)]);
    let mut commit = parts.0.commit.clone().unwrap();
    commit.block_id.as_mut().unwrap().hash = hash;
    let own = draft.sign(1, commit.block_id.as_ref().unwrap());
    commit.signatures = vec![own.clone(), own.clone(), own, absent()];
    parts.0.commit = Some(commit);
    assert!(go(&first, pack(&parts), time(9)).is_err());
}

#[test]
fn another_chain_is_refused_by_its_name() {
    let first = Draft::new(1, &FOUR);
    let other = Draft { chain: "other-1".into(), ..Draft::new(9, &FOUR) };
    let error = refused(&first, other.block());
    let (found, expected) = ("other-1".to_owned(), CHAIN.to_owned());
    assert_eq!(error, HeaderError::AnotherChain { height: 9, found, expected });
    let anchor = Draft { chain: "other-1".into(), ..first };
    let read = Untrusted::read(anchor.block()).unwrap();
    assert!(matches!(Verified::trusting(&rules(), read, 1, anchor.hash()), Err(HeaderError::AnotherChain { .. })));
}

#[test]
fn the_future_begins_after_the_drift_of_clocks() {
    let first = Draft::new(1, &FOUR);
    let block = || Draft::new(100, &FOUR).block();
    assert_eq!(go(&first, block(), time(90)), Err(HeaderError::FromTheFuture { height: 100 }));
    assert!(matches!(go(&first, block(), time(90) + Duration::from_nanos(1)), Ok(Next::Done(_))));
}

#[test]
fn what_is_older_than_the_trusting_period_is_no_ground() {
    let first = Draft::new(1, &FOUR);
    let end = time(1) + rules().trusting_period;
    let block = || Draft { time: end - Duration::from_secs(5), ..Draft::new(100, &FOUR) }.block();
    assert_eq!(go(&first, block(), end), Err(HeaderError::Expired { height: 1 }));
    assert!(matches!(go(&first, block(), end - Duration::from_nanos(1)), Ok(Next::Done(_))));
}

#[test]
fn time_and_height_only_grow() {
    let first = Draft::new(50, &FOUR);
    for (height, made) in [(40, time(60)), (50, time(60)), (60, time(40)), (60, time(50))] {
        let block = Draft { time: made, ..Draft::new(height, &FOUR) }.block();
        let error = refused(&first, block);
        assert!(matches!(error, HeaderError::Invalid { .. }), "{height} at {made:?}: {error}");
    }
}

#[test]
fn the_anchor_is_its_hash() {
    let first = Draft::new(7, &FOUR);
    let read = || Untrusted::read(first.block()).unwrap();
    let other = B256::repeat_byte(1);
    let error = Verified::trusting(&rules(), read(), 7, other).unwrap_err();
    assert_eq!(error, HeaderError::NotTheAnchor { height: 7, found: first.hash(), expected: other });
    let error = Verified::trusting(&rules(), read(), 8, first.hash()).unwrap_err();
    assert_eq!(error, HeaderError::WrongHeight { asked: 8, found: 7 });
    // The hash says who validates next; an answer that names others is none.
    let more = tampered(&first, |_, _, next| *next = set(&[(1, 10), (9, 90)]));
    assert!(Verified::trusting(&rules(), Untrusted::read(more).unwrap(), 7, first.hash()).is_err());
}

#[test]
fn sizes_have_limits() {
    let long = LightBlock { validators: vec![0; MAX_BLOCK_BYTES + 1].into(), ..LightBlock::default() };
    assert_eq!(Untrusted::read(long), Err(HeaderError::TooLarge { bytes: MAX_BLOCK_BYTES + 1 }));
    let many = |count| RawSet { validators: vec![Validator::default(); count], ..RawSet::default() };
    let draft = Draft::new(9, &FOUR);
    let block = tampered(&draft, |_, validators, _| *validators = many(MAX_VALIDATORS + 1));
    assert_eq!(Untrusted::read(block), Err(HeaderError::TooManyValidators { count: MAX_VALIDATORS + 1 }));
    let block = tampered(&draft, |_, _, next| *next = many(MAX_VALIDATORS + 1));
    assert_eq!(Untrusted::read(block), Err(HeaderError::TooManyValidators { count: MAX_VALIDATORS + 1 }));
    let block = tampered(&draft, |signed, _, _| {
        signed.commit.as_mut().unwrap().signatures = vec![absent(); MAX_VALIDATORS + 1];
    });
    assert_eq!(Untrusted::read(block), Err(HeaderError::TooManyValidators { count: MAX_VALIDATORS + 1 }));
    let block = tampered(&draft, |signed, _, _| signed.header.as_mut().unwrap().app_hash = vec![1; 31]);
    assert!(matches!(Untrusted::read(block), Err(HeaderError::Malformed(_))));
}

proptest! {
    /// Whatever one changes of a header: it is refused, or it is that header still (what is not hashed or signed may differ).
    #[test]
    fn a_changed_header_is_refused_or_the_same(
        part in 0usize..3, place in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>(), height in 2u64..20,
    ) {
        let (first, next) = (Draft::new(1, &FOUR), Draft::new(height, &FOUR));
        let mut block = next.block();
        let bytes = match part {
            0 => &mut block.signed_header,
            1 => &mut block.validators,
            _ => &mut block.next_validators,
        };
        let mut changed = bytes.to_vec();
        let at = place.index(changed.len());
        match cut {
            true => changed.truncate(at),
            false => changed[at] ^= 1 << bit,
        }
        *bytes = changed.into();
        if let Ok(Next::Done(header)) = go(&first, block, time(100)) {
            prop_assert_eq!((header.hash(), header.app_hash()), (next.hash(), next.app_hash));
        }
    }

    #[test]
    fn random_bytes_are_no_header(parts in any::<[Vec<u8>; 3]>()) {
        let [a, b, c] = parts;
        let block = LightBlock { signed_header: a.into(), validators: b.into(), next_validators: c.into() };
        if let Ok(read) = Untrusted::read(block) {
            prop_assert!(Climb::new(rules(), trusted(&Draft::new(1, &FOUR)), read).go(time(10)).is_err());
        }
    }
}
