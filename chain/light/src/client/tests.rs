//! Nodes that lie.

use std::{
    sync::{Arc, atomic::AtomicU64},
    thread,
};

use super::*;
use crate::{
    forge::{CHAIN, Draft, time},
    liar::{ACCOUNT, FOUR, Liar, Reply, draft, header, honest, proof, slot},
};

const NEWEST: u64 = 100;

fn options() -> Options {
    Options {
        patience: Duration::from_secs(60),
        patience_for_all: Duration::from_secs(3600),
        clock: || time(NEWEST),
        ..Options::default()
    }
}

fn light(nodes: &[&Liar]) -> Light {
    with(nodes, options())
}

fn with(nodes: &[&Liar], options: Options) -> Light {
    let urls = nodes.iter().map(|node| node.url.clone()).collect();
    Light::open(Anchor::new(CHAIN, 1337, 1, draft(1).hash(), urls).unwrap(), options)
}

fn true_node() -> Liar {
    Liar::new(|method, params| honest(NEWEST, method, params))
}

fn words(light: &Light) -> Result<Proven, LightError> {
    light.words(&[(ACCOUNT, slot(0)), (ACCOUNT, slot(1)), (ACCOUNT, slot(2)), (ACCOUNT, slot(0))])
}

/// The words are the true ones.
fn is_true(light: &Light) {
    let proven = words(light).unwrap();
    assert_eq!(proven.words, [slot(NEWEST - 1), slot(7), slot(0), slot(NEWEST - 1)]);
    assert_eq!((proven.height, proven.time), (NEWEST - 1, time(NEWEST).as_secs()));
}

/// A node that answers so is not believed, and the next one is asked; says why.
fn doubted(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Doubt {
    let answer = Arc::new(answer);
    let again = answer.clone();
    let alone = words(&light(&[&Liar::new(move |method, params| again(method, params))])).unwrap_err();
    let (LightError::Unproven { tried, .. } | LightError::Stale { tried, .. }) = alone else { panic!("{alone}") };
    let liar = Liar::new(move |method, params| answer(method, params));
    let (honest, third) = (true_node(), true_node());
    let light = light(&[&liar, &honest, &third]);
    is_true(&light);
    let asked = liar.asked();
    is_true(&light);
    assert_eq!((liar.asked(), third.asked()), (asked, 0), "the one that proved something is asked first from now on");
    let [(_, doubt)] = tried.as_slice() else { panic!("{tried:?}") };
    doubt.clone()
}

/// The same of a node whose proofs are changed so.
fn doubted_proof(change: impl Fn(&mut StateProof) + Send + Sync + 'static) -> Doubt {
    doubted(move |method, params| match method {
        "sahara_proof" => {
            let mut proof = proof(NEWEST, params);
            change(&mut proof);
            Reply::Result(json!(proof))
        }
        _ => honest(NEWEST, method, params),
    })
}

#[test]
fn one_question_is_enough_once_there_is_ground() {
    let node = true_node();
    let light = light(&[&node]);
    assert_eq!(light.header(), None);
    is_true(&light);
    assert_eq!(node.asked(), 2, "the anchor's header, and the proof");
    is_true(&light);
    assert_eq!(node.asked(), 3);
    let believed = light.header().unwrap();
    assert_eq!((believed.height, believed.hash), (NEWEST, draft(NEWEST).hash()));
    assert_eq!(light.refresh().unwrap(), believed);
}

#[test]
fn an_account_is_proven_and_so_is_that_there_is_none() {
    let truthful = true_node();
    let liar = Liar::new(|method, params| match method {
        "sahara_proof" => {
            let mut proof = proof(NEWEST, params);
            let account = proof.accounts[0].account.as_mut().unwrap();
            account.nonce += alloy_primitives::U256::from(1);
            Reply::Result(json!(proof))
        }
        _ => honest(NEWEST, method, params),
    });
    let two = alloy_primitives::U256::from(2);
    let there = light(&[&liar, &truthful]).account(ACCOUNT).unwrap();
    assert_eq!(there, ProvenAccount { height: NEWEST - 1, nonce: 2, balance: two });
    let none = light(&[&truthful]).account(Address::repeat_byte(77)).unwrap();
    assert_eq!((none.nonce, none.balance.is_zero()), (0, true));
    assert!(light(&[&liar]).account(ACCOUNT).is_err());
}

#[test]
fn another_word_or_root_is_not_believed() {
    let value = doubted_proof(|proof| proof.accounts[0].storage_proof[0].value += alloy_primitives::U256::from(1));
    assert!(matches!(value, Doubt::Proof(ProofError::Slot { .. })), "{value}");
    let root = doubted_proof(|proof| proof.root = B256::repeat_byte(1));
    assert!(matches!(root, Doubt::Proof(ProofError::Root { .. })), "{root}");
    let none = doubted_proof(|proof| proof.accounts.clear());
    assert!(matches!(none, Doubt::Proof(ProofError::MissingAccount { .. })), "{none}");
    // A true state of another height under the newest header.
    let other = doubted(|method, params| match method {
        "sahara_proof" => Reply::Result(json!(StateProof { header: draft(NEWEST).block(), ..proof(50, params) })),
        _ => honest(NEWEST, method, params),
    });
    assert!(matches!(other, Doubt::Proof(ProofError::Root { .. })), "{other}");
}

#[test]
fn another_chain_of_validators_is_not_believed() {
    let strangers = [(7, 10), (8, 10), (9, 10)];
    let forged = move |params: &Value| {
        let height = params[0].as_str().and_then(|height| height.strip_prefix("0x"));
        match height.map_or(NEWEST, |height| u64::from_str_radix(height, 16).unwrap()) {
            1 => draft(1).block(),
            height => Draft::new(height, &strangers).block(),
        }
    };
    let doubt = doubted(move |method, params| match method {
        "sahara_header" => Reply::Result(json!(forged(params))),
        "sahara_proof" => {
            Reply::Result(json!(StateProof { header: forged(&json!(["latest"])), ..proof(NEWEST, params) }))
        }
        _ => honest(NEWEST, method, params),
    });
    assert!(matches!(doubt, Doubt::Header(HeaderError::Invalid { height: 2, .. })), "{doubt}");
    let anchor = doubted(|method, params| match method {
        "sahara_header" => Reply::Result(json!(header(NEWEST, &json!(["0x2"])))),
        _ => honest(NEWEST, method, params),
    });
    assert!(matches!(anchor, Doubt::Header(HeaderError::WrongHeight { asked: 1, found: 2 })), "{anchor}");
}

#[test]
fn a_node_that_stands_still_is_told_from_one_that_lies() {
    let doubt = doubted(|method, params| honest(NEWEST - 61, method, params));
    assert!(matches!(doubt, Doubt::Stale { height: 39, .. }), "{doubt}");
    let old = Liar::new(|method, params| honest(NEWEST - 61, method, params));
    let refused = words(&light(&[&old])).unwrap_err();
    assert!(matches!(refused, LightError::Stale { .. }), "{refused}");
    assert!(refused.to_string().contains("61 s old, more than 60 s"), "{refused}");
    let bound = Liar::new(|method, params| honest(NEWEST - 60, method, params));
    assert_eq!(words(&light(&[&bound])).unwrap().height, NEWEST - 61);
}

#[test]
fn what_is_believed_is_not_unbelieved() {
    let (ahead, behind) = (true_node(), Liar::new(|method, params| honest(NEWEST - 1, method, params)));
    let first = light(&[&ahead]);
    is_true(&first);
    let known = first.newest().header.clone();
    let second = light(&[&behind]);
    second.newest().header = known.clone();
    let LightError::Unproven { tried, .. } = words(&second).unwrap_err() else { panic!("it went back") };
    assert_eq!(tried[0].1, Doubt::Behind { found: NEWEST - 1, known: NEWEST });
    // Another header at the same height, signed by the same validators.
    let divided = Liar::new(|method, params| match method {
        "sahara_proof" => {
            let other = Draft { app_hash: B256::repeat_byte(9), ..draft(NEWEST) };
            Reply::Result(json!(StateProof { header: other.block(), ..proof(NEWEST, params) }))
        }
        _ => honest(NEWEST, method, params),
    });
    let third = light(&[&divided]);
    third.newest().header = known;
    let LightError::Unproven { tried, .. } = words(&third).unwrap_err() else { panic!("two headers are believed") };
    assert!(matches!(tried[0].1, Doubt::Divided { height: NEWEST, .. }), "{}", tried[0].1);
}

#[test]
fn answers_without_end_or_sense_are_left() {
    assert_eq!(doubted(|_, _| Reply::Endless), Doubt::Ask(AskError::TooLarge));
    for nonsense in [b"".as_slice(), b"{", b"[]", b"null", b"{\"result\":7}", b"{}", &[0xff; 100], &[b'['; 100_000]] {
        let doubt = doubted(|_, _| Reply::Bytes(nonsense.to_vec()));
        assert!(matches!(doubt, Doubt::Ask(AskError::Malformed(_))), "{doubt}");
    }
    let refusal = doubted(|_, _| Reply::Error(-32005, "busy\r\n\u{1b}[2J"));
    assert_eq!(refusal, Doubt::Ask(AskError::Refused { code: -32005, message: "busy   [2J".into(), data: None }));
    let nobody = "http://127.0.0.1:1".parse().unwrap();
    let anchor = Anchor::new(CHAIN, 1337, 1, draft(1).hash(), vec![nobody, true_node().url]).unwrap();
    is_true(&Light::open(anchor, options()));
}

#[test]
fn who_takes_too_long_is_left() {
    let patience = Duration::from_millis(300);
    for late in [Liar::new(|_, _| Reply::Slow), Liar::new(|_, _| Reply::Silence)] {
        let answer = Node::new(late.url.clone(), patience).ask::<Value>("sahara_header", &json!(["latest"]));
        assert_eq!(answer, Err(AskError::Late(patience)));
    }
    let options = Options { patience: Duration::from_secs(5), ..options() };
    is_true(&with(&[&Liar::new(|_, _| Reply::Slow), &true_node()], options));
}

#[test]
fn a_node_that_sends_elsewhere_is_not_followed() {
    let inner = Arc::new(true_node());
    let (url, kept) = (inner.url.clone(), inner.clone());
    let doubt = doubted(move |_, _| Reply::Elsewhere(url.clone()));
    assert!(matches!(doubt, Doubt::Ask(_)), "{doubt}");
    assert_eq!(kept.asked(), 0);
}

/// A clock of its own for a test: each look at it takes so many seconds.
macro_rules! clock {
    ($seconds:literal) => {{
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        || time(NEWEST) + Duration::from_secs($seconds * LOOKS.fetch_add(1, Ordering::SeqCst))
    }};
}

#[test]
fn time_for_all_nodes_together_ends() {
    let (dead, node) = (Liar::new(|_, _| Reply::Error(-1, "no")), true_node());
    let options = Options { clock: clock!(5), patience_for_all: Duration::from_secs(4), ..options() };
    let LightError::Unproven { tried, .. } = words(&with(&[&dead, &node], options)).unwrap_err() else {
        panic!("there was no time")
    };
    assert_eq!((&tried[1].1, node.asked()), (&Doubt::NoTime, 0));
    assert!(matches!(tried[0].1, Doubt::Ask(_)), "the first is always asked");
}

#[test]
fn no_node_keeps_the_others_from_being_asked() {
    // The next question begins where the last one ended.
    let (dead, node) = (Liar::new(|_, _| Reply::Error(-1, "no")), true_node());
    let hurried = Options { clock: clock!(5), patience_for_all: Duration::from_secs(4), ..options() };
    let light = with(&[&dead, &node], hurried);
    light.rpc::<Value>("eth_chainId", &json!([])).unwrap_err();
    assert_eq!(light.rpc::<Value>("eth_chainId", &json!([])).unwrap(), "0x539");
    assert_eq!(dead.asked(), 1);
    // A way without end, of strangers' headers, takes its own time and not that of others.
    let header = |height| Draft { time: time(50), ..Draft::new(height, &[(7, 10), (8, 10)]) }.block();
    let dripping = Liar::new(move |method, params| match (method, params[0].as_str().unwrap_or_default()) {
        ("sahara_header", "0x1") => honest(NEWEST, method, params),
        ("sahara_header", height) => Reply::Result(json!(header(u64::from_str_radix(&height[2..], 16).unwrap()))),
        _ => Reply::Result(json!(StateProof { header: header(1 << 40), ..proof(NEWEST, params) })),
    });
    let node = true_node();
    let patient = Duration::from_secs(30);
    let options =
        Options { clock: clock!(1), patience: Duration::from_secs(9), patience_for_all: patient, ..options() };
    is_true(&with(&[&dripping, &node], options));
    assert!(dripping.asked() > 3, "it was on its way");
}

#[test]
fn who_was_behind_for_a_moment_is_asked_again() {
    let height = Arc::new(AtomicU64::new(NEWEST - 1));
    let grown = height.clone();
    // As if another thread had verified the next header while this answer was on its way.
    let node = Liar::new(move |method, params| {
        let newest = grown.load(Ordering::SeqCst);
        grown.store(NEWEST, Ordering::SeqCst);
        honest(newest, method, params)
    });
    let (first, second) = (light(&[&true_node()]), light(&[&node]));
    is_true(&first);
    second.newest().header = first.newest().header.clone();
    is_true(&second);
    assert_eq!(node.asked(), 2);
}

#[test]
fn what_a_climb_reached_is_not_lost() {
    // Another validator at each height, and a node that gives up half-way.
    let of = |height: u64| {
        let number = |height: u64| vec![(u8::try_from(height).unwrap(), 1)];
        Draft { next: number(height + 1), ..Draft::new(height, &number(height)) }
    };
    let left = AtomicUsize::new(40);
    let node = Liar::new(move |_, params| match params[0].as_str().unwrap() {
        "latest" => Reply::Result(json!(of(NEWEST).block())),
        _ if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() => {
            Reply::Error(-1, "no more")
        }
        height => Reply::Result(json!(of(u64::from_str_radix(&height[2..], 16).unwrap()).block())),
    });
    let anchor = |height| Anchor::new(CHAIN, 1337, height, of(height).hash(), vec![node.url.clone()]).unwrap();
    let light = Light::open(anchor(40), options());
    light.refresh().unwrap_err();
    let reached = light.header().unwrap().height;
    assert!((45..NEWEST).contains(&reached), "it is at {reached}");
    // An older header changes nothing.
    let older = Verified::trusting(&light.rules, Untrusted::read(of(41).block()).unwrap(), 41, of(41).hash()).unwrap();
    light.advance(&older);
    assert_eq!(light.header().unwrap().height, reached);
    // Time is looked at on the way.
    let hurried = Options { clock: clock!(5), patience_for_all: Duration::from_secs(11), ..options() };
    let willing = Liar::new(move |_, params| {
        let height = params[0].as_str().unwrap().strip_prefix("0x");
        Reply::Result(json!(of(height.map_or(NEWEST, |height| u64::from_str_radix(height, 16).unwrap())).block()))
    });
    let far = Anchor::new(CHAIN, 1337, 2, of(2).hash(), vec![willing.url.clone()]).unwrap();
    let LightError::Unproven { tried, .. } = Light::open(far, hurried).refresh().unwrap_err() else {
        panic!("there was no time")
    };
    assert_eq!(tried[0].1, Doubt::NoTime);
}

#[test]
fn long_headers_are_refused_before_they_are_read() {
    let doubt = doubted_proof(|proof| proof.header.validators = vec![0; 600_000].into());
    assert!(matches!(doubt, Doubt::Header(HeaderError::TooLarge { .. })), "{doubt}");
    let many: Vec<_> = (0..=MAX_WORDS as u64).map(|n| (ACCOUNT, slot(n))).collect();
    assert_eq!(light(&[&true_node()]).words(&many), Err(LightError::TooManyWords(MAX_WORDS + 1)));
}

#[test]
fn an_old_anchor_is_refused_by_its_name() {
    let late = || time(1) + Options::default().trusting_period;
    let recent = Liar::new(|method, params| match method {
        "sahara_proof" => {
            let now = time(1) + Options::default().trusting_period;
            let header = Draft { time: now, ..draft(NEWEST) }.block();
            Reply::Result(json!(StateProof { header, ..proof(NEWEST, params) }))
        }
        _ => honest(NEWEST, method, params),
    });
    let LightError::Unproven { tried, .. } =
        words(&with(&[&recent], Options { clock: late, ..options() })).unwrap_err()
    else {
        panic!("believed from an anchor that is too old")
    };
    assert_eq!(tried[0].1, Doubt::Header(HeaderError::Expired { height: 1 }));
    assert!(tried[0].1.to_string().contains("new trust anchor"), "{}", tried[0].1);
}

#[test]
fn the_newest_header_is_kept_for_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("header");
    let options = || Options { kept: Some(path.clone()), ..options() };
    is_true(&with(&[&true_node()], options()));
    let node = true_node();
    let again = with(&[&node], options());
    assert_eq!(again.header().unwrap().height, NEWEST);
    is_true(&again);
    assert_eq!(node.asked(), 1, "the anchor's header need not be asked for");
    // A file that is damaged, or of another anchor or version, is as none.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"sahara-header\":1", "\"sahara-header\":2")).unwrap();
    assert_eq!(with(&[&node], options()).header(), None);
    std::fs::write(&path, text + &" ".repeat(2 << 20)).unwrap();
    assert_eq!(with(&[&node], options()).header(), None, "it is too long");
    std::fs::write(&path, b"{").unwrap();
    assert_eq!(with(&[&node], options()).header(), None);
    is_true(&with(&[&true_node()], options()));
    let anchor = Anchor::new(CHAIN, 1337, 1, B256::repeat_byte(5), vec![node.url.clone()]).unwrap();
    assert_eq!(Light::open(anchor, options()).header(), None);
    let text = std::fs::read_to_string(&path).unwrap();
    let hash = format!("{:?}", draft(NEWEST).hash());
    let forged = text.replacen(&format!("\"hash\":\"{hash}\""), &format!("\"hash\":\"{:?}\"", B256::ZERO), 1);
    assert!(forged != text);
    std::fs::write(&path, forged).unwrap();
    assert_eq!(with(&[&node], options()).header(), None);
}

#[test]
fn a_header_a_minute_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { kept: Some(folder.path().join("header")), ..options() };
    let newest = Arc::new(AtomicU64::new(NEWEST - 1));
    let grown = newest.clone();
    let node = Liar::new(move |method, params| honest(grown.load(Ordering::SeqCst), method, params));
    let light = with(&[&node], options());
    light.words(&[]).unwrap();
    newest.store(NEWEST, Ordering::SeqCst);
    is_true(&light);
    assert_eq!(light.header().unwrap().height, NEWEST);
    assert_eq!(with(&[&node], options()).header().unwrap().height, NEWEST - 1);
}

#[test]
fn threads_share_what_is_believed() {
    let node = true_node();
    let light = light(&[&node]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| is_true(&light));
        }
    });
    assert_eq!(light.header().unwrap().height, NEWEST);
}

#[test]
fn whoever_trusts_a_node_gets_an_anchor_from_it() {
    let node = true_node();
    let anchor = Anchor::of_node(node.url.clone(), Duration::from_secs(1)).unwrap();
    assert_eq!((anchor.chain.as_str(), anchor.evm_chain, anchor.height), (CHAIN, 0x539, NEWEST));
    assert_eq!(anchor.hash, draft(NEWEST).hash());
    is_true(&Light::open(anchor, options()));
    let mute = Liar::new(|_, _| Reply::Error(-1, "no"));
    let said = Anchor::of_node(mute.url.clone(), Duration::from_secs(1)).unwrap_err().to_string();
    assert!(said.contains(mute.url.as_str()) && said.contains("it refuses: no"), "{said}");
}

#[test]
fn what_is_not_proven_comes_from_the_first_that_answers() {
    let (dead, node) = (Liar::new(|_, _| Reply::Endless), true_node());
    let light = light(&[&dead, &node]);
    assert_eq!(light.call(ACCOUNT, &[1, 2, 3, 4]).unwrap(), Bytes::from_static(&[0x12, 0x34]));
    let refused = light.rpc::<Value>("eth_nothing", &json!([])).unwrap_err().to_string();
    assert!(refused.contains("Method not found"), "{refused}");
    assert_eq!(FOUR.len(), 4);
}

/// The header at `height`, believed as it stands.
fn believed(height: u64) -> Verified {
    let rules = crate::forge::rules();
    let block = Untrusted::read(draft(height).block()).unwrap();
    Verified::trusting(&rules, block, height, draft(height).hash()).unwrap()
}

#[test]
fn several_that_keep_a_header_damage_nothing_and_do_not_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("header");
    let anchor = Anchor::new(CHAIN, 1337, 1, draft(1).hash(), vec![true_node().url.clone()]).unwrap();
    let rules = crate::forge::rules();
    keep::store(&path, &anchor, &rules, &believed(2)).unwrap();
    thread::scope(|scope| {
        for first in 2..6 {
            let (path, anchor, rules) = (&path, &anchor, &rules);
            scope.spawn(move || {
                for height in (first..NEWEST).step_by(4) {
                    keep::store(path, anchor, rules, &believed(height)).unwrap();
                    assert!(keep::load(path, anchor, rules).is_some(), "it is whole at each moment");
                }
            });
        }
    });
    keep::store(&path, &anchor, &rules, &believed(NEWEST)).unwrap();
    keep::store(&path, &anchor, &rules, &believed(NEWEST - 1)).unwrap();
    assert_eq!(keep::load(&path, &anchor, &rules).unwrap().height(), NEWEST);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn that_no_header_can_be_kept_is_said_once() {
    static SAID: AtomicU64 = AtomicU64::new(0);
    static TIMES: AtomicU64 = AtomicU64::new(0);
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no folder").join("header");
    let newest = Arc::new(AtomicU64::new(50));
    let grown = newest.clone();
    let node = Liar::new(move |method, params| honest(grown.load(Ordering::SeqCst), method, params));
    let warn = |said: &str| {
        assert!(said.contains("cannot be kept in"), "{said}");
        SAID.fetch_add(1, Ordering::SeqCst);
    };
    // Each question is a minute after the one before it.
    let clock = || time(NEWEST) + Duration::from_secs(60 * TIMES.fetch_add(1, Ordering::SeqCst));
    let options =
        Options { kept: Some(nowhere), warn, clock, max_header_age: Duration::from_secs(1 << 20), ..options() };
    let light = with(&[&node], options);
    for height in 50..60 {
        newest.store(height, Ordering::SeqCst);
        light.refresh().unwrap();
    }
    assert_eq!(SAID.load(Ordering::SeqCst), 1);
}
