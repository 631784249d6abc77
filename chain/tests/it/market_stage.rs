//! A chain on which a model is offered, three operators have bonded and a consumer has a licence: for tests of the market, and for
//! what measures it.
#![allow(dead_code)]

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use ed25519_dalek::{Signer, SigningKey};
use sahara_chain::{application::TxResult, genesis::DEV_CHAIN_ID, genesis::TOKEN, wallet::Payment};
use sahara_market::{
    ASSET_REGISTRY, Committee, Domain, INFERENCE_MARKET, LICENCES, OPERATORS, Receipt, Session, Voucher,
    abi::{Asset, AssetRegistry, InferenceMarket, Licences, Operators, Terms},
    slots::{self, SessionState},
};

use crate::common::{Chain, address, pay};

pub const DOMAIN: Domain = Domain { chain_id: DEV_CHAIN_ID, market: INFERENCE_MARKET };
/// Of the session: it signs vouchers.
pub const SECRET: B256 = B256::repeat_byte(0x51);
pub const ROYALTY: u128 = 300_000;
pub const COMPUTE: u128 = 700_001;
pub const PRICE: u128 = ROYALTY + COMPUTE;
pub const CALLS: u128 = 10;
pub const OWNER: usize = 0;
pub const CONSUMER: usize = 4;
pub const STRANGER: usize = 5;
pub const DAY: u64 = 24 * 3600;

/// A chain on which a model is offered, three operators have bonded, and a committee is seated.
pub struct Stage {
    pub chain: Chain,
    pub nonces: [u64; 10],
    pub keys: [SigningKey; 3],
    pub asset: B256,
    pub licence: U256,
    pub committee: Committee,
}

impl Stage {
    pub fn new() -> Self {
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

    pub fn register(&mut self) {
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

    pub fn seat(&mut self) {
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

    /// What its licence is for, with the asset's id.
    pub fn terms_hash(&self) -> B256 {
        keccak256((self.asset, Self::terms()).abi_encode())
    }

    fn terms() -> Terms {
        Terms {
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
        }
    }

    pub fn buy(&mut self) {
        let (terms, terms_hash) = (Self::terms(), self.terms_hash());
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
    pub fn open(&mut self) -> Session {
        let session = self.session();
        let answer = self.must(CONSUMER, INFERENCE_MARKET, CALLS * PRICE, open_call(&session));
        assert_eq!(B256::from_slice(&answer), session.id(&DOMAIN), "the contract names the session otherwise");
        session
    }

    pub fn session(&self) -> Session {
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

    pub fn receipt(&self, session: &Session, calls: u128) -> Receipt {
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

    pub fn settlement(&self, session: &Session, receipt: &Receipt) -> InferenceMarket::settleCall {
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

    pub fn now(&self) -> u64 {
        self.chain.now / 1_000_000_000
    }

    pub fn pass(&mut self, seconds: u64) {
        self.chain.now += seconds * 1_000_000_000;
        self.chain.block(&[]);
    }

    pub fn slot(&self, contract: Address, slot: B256) -> U256 {
        self.chain.head().view().slot(contract, slot.into()).unwrap()
    }

    pub fn session_state(&self, session: &Session) -> SessionState {
        SessionState::read(self.slot(INFERENCE_MARKET, slots::session(session.id(&DOMAIN))))
    }

    pub fn send(&mut self, from: usize, to: Address, value: u128, call: impl SolCall) -> TxResult {
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

    pub fn must<C: SolCall>(&mut self, from: usize, to: Address, value: u128, call: C) -> Bytes {
        let result = self.send(from, to, value, call);
        assert_eq!(result.code, 0, "{}: {result:?}", C::SIGNATURE);
        result.data
    }

    pub fn refused<C: SolCall>(&mut self, from: usize, value: u128, call: C) {
        let result = self.send(from, INFERENCE_MARKET, value, call);
        assert_ne!(result.code, 0, "{} was done", C::SIGNATURE);
    }
}

/// A voucher of no session.
pub fn nothing() -> Voucher {
    Voucher { session: B256::ZERO, lane: B256::ZERO, total: 0, job: B256::ZERO, request: B256::ZERO }
}

pub fn open_call(session: &Session) -> InferenceMarket::openCall {
    let Session { licence, signer, asker, lanes, caps, ends, nonce, .. } = session.clone();
    InferenceMarket::openCall { licence, signer, asker, lanes, caps, ends, nonce }
}
