//! The protocol's contracts on a node, with the real signatures of a committee: an owner registers a model and offers
//! licences, operators bond, a consumer buys a licence and opens a session, a receipt is settled once, and everybody takes
//! out what is theirs. The words that share nodes ask to be proven lie where `sahara_market::slots` looks for them.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use ed25519_dalek::{Signer, SigningKey};
use sahara_chain::{application::TxResult, genesis::DEV_CHAIN_ID, genesis::TOKEN, wallet::Payment};
use sahara_market::{
    ASSET_REGISTRY, ATTRIBUTION, Committee, Domain, INFERENCE_MARKET, LICENCES, OPERATORS, Receipt, Session, Voucher,
    abi::{Asset, AssetRegistry, Attribution, InferenceMarket, Licences, Operators, Terms},
    slots::{self, CommitteeState, SessionState},
};

use crate::common::{Chain, START, address, pay};

const DOMAIN: Domain = Domain { chain_id: DEV_CHAIN_ID, market: INFERENCE_MARKET };
/// Of the session: it signs vouchers.
const SECRET: B256 = B256::repeat_byte(0x51);
const ROYALTY: u128 = 300_000;
const COMPUTE: u128 = 700_001;
const PRICE: u128 = ROYALTY + COMPUTE;
const CALLS: u128 = 10;
const OWNER: usize = 0;
const CONSUMER: usize = 4;
const STRANGER: usize = 5;
const DAY: u64 = 24 * 3600;

/// A chain on which a model is offered, three operators have bonded, and a committee is seated.
struct Stage {
    chain: Chain,
    nonces: [u64; 10],
    keys: [SigningKey; 3],
    asset: B256,
    licence: U256,
    committee: Committee,
}

impl Stage {
    fn new() -> Self {
        let mut chain = Chain::new();
        chain.block(&[]);
        let keys = [1, 2, 3].map(|byte| SigningKey::from_bytes(&[byte; 32]));
        let mut stage = Self {
            chain,
            nonces: [0; 10],
            keys,
            asset: B256::ZERO,
            licence: U256::ZERO,
            committee: Committee {
                asset: B256::ZERO,
                manifest: B256::repeat_byte(0x22),
                digest: B256::repeat_byte(0x33),
                keys: [B256::ZERO; 3],
                operators: [address(1), address(2), address(3)],
                epoch: 1,
                from: 0,
                until: 0,
            },
        };
        stage.committee.keys = stage.keys.each_ref().map(|key| key.verifying_key().to_bytes().into());
        stage.register();
        stage.seat();
        stage.buy();
        stage
    }

    fn register(&mut self) {
        let asset = Asset {
            kind: 0,
            owner: address(OWNER),
            contentRoot: B256::repeat_byte(0x11),
            graph: B256::repeat_byte(0x12),
            manifest: B256::ZERO,
            card: "https://example.org/card".into(),
            parents: vec![],
            parentLicences: vec![],
        };
        let salt = B256::repeat_byte(9);
        let hash = keccak256(asset.abi_encode());
        let commitment = keccak256((address(OWNER), salt, hash).abi_encode());
        self.must(OWNER, ASSET_REGISTRY, 0, AssetRegistry::commitCall { commitment });
        self.must(OWNER, ASSET_REGISTRY, 0, AssetRegistry::registerCall { asset: asset.clone(), salt });
        let words = (U256::from(DEV_CHAIN_ID), ASSET_REGISTRY, asset.owner, asset.contentRoot);
        self.asset = keccak256(words.abi_encode());
        self.committee.asset = self.asset;
    }

    fn seat(&mut self) {
        let now = self.now();
        (self.committee.from, self.committee.until) = (now, now + 30 * DAY);
        for (i, key) in self.keys.clone().iter().enumerate() {
            let node: B256 = key.verifying_key().to_bytes().into();
            let tag = keccak256("Sahara operator");
            let claim = (tag, U256::from(DEV_CHAIN_ID), OPERATORS, address(i + 1), node).abi_encode();
            let proof = key.sign(keccak256(claim).as_slice()).to_bytes().to_vec().into();
            let call = Operators::joinCall { node, endpoint: format!("node-{i}:7700"), region: "eu".into(), proof };
            self.must(i + 1, OPERATORS, (TOKEN * U256::from(1_000)).to(), call);
            let quote = Operators::setQuoteCall { perCall: COMPUTE / 4, until: now + 60 * DAY };
            self.must(i + 1, OPERATORS, 0, quote);
            self.must(i + 1, OPERATORS, 0, Operators::allowCall { asset: self.asset, willing: true });
        }
        self.must(OWNER, INFERENCE_MARKET, 0, InferenceMarket::seatCall { c: self.committee.clone() });
    }

    fn buy(&mut self) {
        let terms = Terms {
            kind: 0,
            token: Address::ZERO,
            price: 5,
            royalty: ROYALTY,
            compute: COMPUTE,
            duration: 10 * DAY,
            revenueShare: 0,
            transferable: false,
            allowance: 0,
            details: B256::ZERO,
        };
        let terms_hash = keccak256((self.asset, terms.clone()).abi_encode());
        self.must(OWNER, LICENCES, 0, Licences::offerCall { asset: self.asset, terms });
        let call = Licences::buyCall {
            asset: self.asset,
            termsHash: terms_hash,
            maxPrice: 5,
            maxRevenueShare: 0,
            holder: address(CONSUMER),
        };
        let answer = self.must(CONSUMER, LICENCES, 5, call);
        self.licence = U256::from_be_slice(&answer);
    }

    /// A session of the consumer's, with money for [`CALLS`] calls.
    fn open(&mut self) -> Session {
        let session = self.session();
        let answer = self.must(CONSUMER, INFERENCE_MARKET, CALLS * PRICE, open_call(&session));
        assert_eq!(B256::from_slice(&answer), session.id(&DOMAIN), "the contract names the session otherwise");
        session
    }

    fn session(&self) -> Session {
        Session {
            licence: self.licence,
            asset: self.asset,
            consumer: address(CONSUMER),
            signer: nothing().signer(&DOMAIN, &nothing().sign(&DOMAIN, &SECRET).unwrap()).unwrap(),
            asker: B256::repeat_byte(0x77),
            royalty: ROYALTY,
            compute: COMPUTE,
            ends: self.now() + 5 * DAY,
            inFlight: 1,
            lanes: vec![self.committee.id()],
            caps: vec![CALLS * PRICE],
            nonce: U256::from(1),
        }
    }

    fn receipt(&self, session: &Session, calls: u128) -> Receipt {
        let word = B256::repeat_byte;
        Receipt {
            job: word(calls.to_le_bytes()[0]),
            session: session.id(&DOMAIN),
            lane: self.committee.id(),
            asset: self.asset,
            licence: self.licence,
            sharing: self.committee.manifest,
            graph: word(0x12),
            parameters: word(0x41),
            request: word(0x42),
            output: word(0x43),
            transcript: word(0x44),
            previous: word(0x45),
            committee: self.committee.root(),
            epoch: self.committee.epoch,
            helper: 2,
            number: u64::try_from(calls).unwrap(),
            total: calls * PRICE,
            price: PRICE,
            time: self.now(),
            height: 3,
        }
    }

    fn settlement(&self, session: &Session, receipt: &Receipt) -> InferenceMarket::settleCall {
        let voucher = Voucher {
            session: receipt.session,
            lane: receipt.lane,
            total: receipt.total,
            job: receipt.job,
            request: receipt.request,
        };
        let digest = receipt.digest(&DOMAIN);
        let signatures: Vec<u8> = self.keys.iter().flat_map(|key| key.sign(digest.as_slice()).to_bytes()).collect();
        InferenceMarket::settleCall {
            s: session.clone(),
            c: self.committee.clone(),
            r: (*receipt).into(),
            voucher: voucher.sign(&DOMAIN, &SECRET).unwrap().to_vec().into(),
            signatures: signatures.into(),
        }
    }

    fn now(&self) -> u64 {
        self.chain.now / 1_000_000_000
    }

    fn pass(&mut self, seconds: u64) {
        self.chain.now += seconds * 1_000_000_000;
        self.chain.block(&[]);
    }

    fn slot(&self, contract: Address, slot: B256) -> U256 {
        self.chain.head().view().slot(contract, slot.into()).unwrap()
    }

    fn session_state(&self, session: &Session) -> SessionState {
        SessionState::read(self.slot(INFERENCE_MARKET, slots::session(session.id(&DOMAIN))))
    }

    fn send(&mut self, from: usize, to: Address, value: u128, call: impl SolCall) -> TxResult {
        let nonce = self.nonces[from];
        self.nonces[from] += 1;
        let input: Bytes = call.abi_encode().into();
        let payment = Payment {
            nonce,
            to: Some(to),
            value: U256::from(value),
            input,
            gas_limit: 3_000_000,
            ..Payment::default()
        };
        self.chain.send(pay(from, payment))
    }

    fn must<C: SolCall>(&mut self, from: usize, to: Address, value: u128, call: C) -> Bytes {
        let result = self.send(from, to, value, call);
        assert_eq!(result.code, 0, "{}: {result:?}", C::SIGNATURE);
        result.data
    }

    fn refused<C: SolCall>(&mut self, from: usize, value: u128, call: C) {
        let result = self.send(from, INFERENCE_MARKET, value, call);
        assert_ne!(result.code, 0, "{} was done", C::SIGNATURE);
    }
}

/// A voucher of no session.
fn nothing() -> Voucher {
    Voucher { session: B256::ZERO, lane: B256::ZERO, total: 0, job: B256::ZERO, request: B256::ZERO }
}

fn open_call(session: &Session) -> InferenceMarket::openCall {
    let Session { licence, signer, asker, lanes, caps, ends, nonce, .. } = session.clone();
    InferenceMarket::openCall { licence, signer, asker, lanes, caps, ends, nonce }
}

#[test]
fn a_receipt_pays_everybody_once_and_what_is_left_goes_back() {
    let mut stage = Stage::new();
    let session = stage.open();
    let id = session.id(&DOMAIN);
    let lane = stage.committee.id();
    // Where share nodes look.
    assert_eq!(stage.session_state(&session), SessionState::Open);
    let committee = CommitteeState::read(stage.slot(INFERENCE_MARKET, slots::committee(lane))).unwrap();
    assert!(committee.from > START / 1_000_000_000 && committee.ended == 0, "{committee:?}");
    assert_eq!(stage.slot(INFERENCE_MARKET, slots::settled(id, lane)), U256::ZERO);
    assert_eq!(stage.slot(LICENCES, slots::withdrawn(stage.licence)), U256::ZERO);

    let held = stage.chain.balance(INFERENCE_MARKET);
    let receipt = stage.receipt(&session, 4);
    let settle = stage.settlement(&session, &receipt);
    stage.must(STRANGER, INFERENCE_MARKET, 0, settle.clone());
    assert_eq!(stage.slot(INFERENCE_MARKET, slots::settled(id, lane)), U256::from(4 * PRICE));
    // What is burnt waits in the market until somebody burns it.
    let fee = U256::from(4 * COMPUTE / 100);
    assert_eq!(stage.chain.balance(INFERENCE_MARKET), held - U256::from(4 * PRICE) + fee);
    stage.refused(STRANGER, 0, settle);
    let lower = stage.receipt(&session, 3);
    let lower = stage.settlement(&session, &lower);
    stage.refused(STRANGER, 0, lower);

    stage.must(CONSUMER, INFERENCE_MARKET, 0, InferenceMarket::closeCall { s: session.clone() });
    assert!(matches!(stage.session_state(&session), SessionState::Closing(until) if until > stage.now()));
    stage.refused(CONSUMER, 0, InferenceMarket::finishCall { s: session.clone() });
    // What was done before counts until the window is over.
    let late = stage.receipt(&session, 6);
    let late = stage.settlement(&session, &late);
    stage.must(1, INFERENCE_MARKET, 0, late);
    stage.pass(40 * DAY);
    stage.refused(CONSUMER, 0, InferenceMarket::finishCall { s: session.clone() });
    // Not by time alone: a chain that stood still has shown nobody's settlement.
    (0..600).for_each(|_| stage.pass(1));
    stage.must(STRANGER, INFERENCE_MARKET, 0, InferenceMarket::finishCall { s: session.clone() });
    assert!(matches!(stage.session_state(&session), SessionState::Finished));
    let over = stage.receipt(&session, 7);
    let over = stage.settlement(&session, &over);
    stage.refused(STRANGER, 0, over);

    // Pull payments: the three operators' parts, the owner's royalty, and what was burnt, are all that was paid.
    let paid = U256::from(6 * PRICE);
    let operators: U256 = (1..=3).map(|i| gained(&mut stage, i, OPERATORS, Operators::claimCall {})).sum();
    let assets = vec![stage.asset];
    let royalty = gained(&mut stage, OWNER, ATTRIBUTION, Attribution::claimFromCall { assets });
    assert_eq!(royalty, U256::from(6 * ROYALTY + 5), "and the price of the licence");
    let burnt = U256::from(6 * COMPUTE) - operators;
    assert!(burnt <= U256::from(6 * COMPUTE / 50), "{burnt} of {paid} was burnt");
    assert!(burnt > U256::ZERO);
}

/// What a claim gives its sender, gas apart.
fn gained<C: SolCall>(stage: &mut Stage, who: usize, at: Address, claim: C) -> U256 {
    let before = stage.chain.balance(at);
    stage.must(who, at, 0, claim);
    before - stage.chain.balance(at)
}

#[test]
fn what_is_not_signed_for_this_session_lane_total_job_and_request_pays_nobody() {
    let mut stage = Stage::new();
    let session = stage.open();
    let receipt = stage.receipt(&session, 1);
    let good = stage.settlement(&session, &receipt);
    let word = B256::repeat_byte(0xee);
    let others = [
        Receipt { session: word, ..receipt },
        Receipt { lane: word, ..receipt },
        Receipt { asset: word, ..receipt },
        Receipt { licence: U256::from(99), ..receipt },
        Receipt { sharing: word, ..receipt },
        Receipt { committee: word, ..receipt },
        Receipt { output: B256::ZERO, ..receipt },
        Receipt { total: receipt.total + 1, ..receipt },
        Receipt { total: (CALLS + 1) * PRICE, ..receipt },
        Receipt { total: 0, ..receipt },
        Receipt { price: PRICE - 1, ..receipt },
    ];
    for other in others {
        // Signed by all of them, and by the consumer: it still is no receipt of this session.
        let call = stage.settlement(&session, &other);
        stage.refused(STRANGER, 0, call);
    }
    // Another receipt than was signed, by each field of the voucher and of the receipt.
    let mut call = good.clone();
    call.r.job = word;
    stage.refused(STRANGER, 0, call);
    let mut call = good.clone();
    call.r.transcript = word;
    stage.refused(STRANGER, 0, call);
    let two = good.signatures[..128].to_vec();
    let mut call = good.clone();
    call.signatures = [&two[..], &[0; 64]].concat().into();
    stage.refused(STRANGER, 0, call);
    let mut call = good.clone();
    call.signatures = two.into();
    stage.refused(STRANGER, 0, call);
    let mut call = good.clone();
    call.voucher = nothing().sign(&DOMAIN, &SECRET).unwrap().to_vec().into();
    stage.refused(STRANGER, 0, call);
    // And as it was meant.
    stage.must(STRANGER, INFERENCE_MARKET, 0, good);
}

#[test]
fn a_session_is_opened_by_its_licences_user_with_its_money_and_no_longer_than_the_licence() {
    let mut stage = Stage::new();
    let session = stage.session();
    let value = CALLS * PRICE;
    stage.refused(STRANGER, value, open_call(&session));
    stage.refused(CONSUMER, value - 1, open_call(&session));
    stage.refused(CONSUMER, value + 1, open_call(&session));
    let long = Session { ends: stage.now() + 11 * DAY, ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&long));
    let unknown = Session { lanes: vec![B256::repeat_byte(1)], ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&unknown));
    let uneven = Session { caps: vec![1, value - 1], ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&uneven));
    let huge = Session { lanes: vec![stage.committee.id(); 2], caps: vec![u128::MAX, value + 1], ..session.clone() };
    stage.refused(CONSUMER, value, open_call(&huge));
    stage.must(CONSUMER, INFERENCE_MARKET, value, open_call(&session));
    stage.refused(CONSUMER, value, open_call(&session));
}
