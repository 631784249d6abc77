//! The beacon goes on: however often a chain of hashes was renewed, whenever a node started, and whoever joins.

use std::sync::Arc;

use alloy_primitives::B256;
use sahara_chain::{
    application::{Application, ChainStart, Verdict},
    beacon::{Item, state::Chain},
    evm::abi::selector,
    ledger::Ledger,
    staking,
    store::{MemoryStore, Store},
    wallet::Payment,
};

use crate::{
    a_beacon_that_no_proposer_chooses::{decide, first, ledger, offer, secret},
    common::{CHAIN, address, pay},
    stake_net::{CREATE, registration, tokens},
};

/// Steps of the chains here: a renewal takes a few blocks.
const LENGTH: u64 = 8;

#[test]
fn an_honest_node_renews_its_chain_for_ever_and_finds_it_after_any_start() {
    let mut genesis = first(1);
    genesis.beacon.epoch_blocks = 1;
    genesis.beacon.chains.insert(address(0), secret(0).with_length(LENGTH).commitment(0));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let open = || Ledger::open(store.clone()).unwrap().with_beacon(secret(0).with_length(LENGTH));
    let mut ledger = open();
    let app_state = serde_json::to_vec(&genesis).unwrap();
    let start = ChainStart { chain_id: CHAIN.into(), time: 1, app_state, initial_height: 1, evidence: None };
    ledger.init_chain(&start).unwrap();
    let mut number = 0;
    while number < 140 {
        let height = ledger.info().height + 1;
        let made = ledger.prepare(&offer(height, 0, &[]));
        assert!(made.first().is_some_and(|bytes| Item::decode(bytes).is_some()), "block {height}, chain {number}");
        assert_eq!(ledger.process(&offer(height, 0, &made)), Verdict::Accept);
        decide(&ledger, 0, made);
        number = Chain::load(&mut ledger.head().unwrap().view(), address(0)).unwrap().at(height + 1).number;
        if height % 45 == 0 {
            ledger = open();
        }
    }
}

#[test]
fn a_newcomer_whose_chain_nobody_can_show_stops_nobody() {
    let mut genesis = first(2);
    genesis.beacon.chains = Default::default();
    let ledger = ledger(&genesis, 0);
    decide(&ledger, 0, vec![]);
    let signer = ed25519_dalek::SigningKey::from_bytes(&[99; 32]);
    let proof = registration(&signer, address(5), 0);
    let mut input = selector(CREATE).to_vec();
    proof.iter().for_each(|word| input.extend(word.to_be_bytes::<32>()));
    let create = Payment {
        to: Some(staking::ADDRESS),
        value: tokens(1),
        input: input.into(),
        gas_limit: 600_000,
        ..Payment::default()
    };
    decide(&ledger, 1, vec![pay(5, create)]);
    let left = Chain::load(&mut ledger.head().unwrap().view(), address(5)).unwrap().left;
    assert!(left > 0, "it has a chain");
    // Consensus takes it in two blocks later: until then the others propose, and they have nothing to show.
    for proposer in [0, 1] {
        let made = ledger.prepare(&offer(3, proposer, &[]));
        assert_eq!(ledger.process(&offer(3, proposer, &made)), Verdict::Accept, "validator {proposer}");
        let invented = Item { preimage: B256::repeat_byte(1), next: None }.encode();
        assert_eq!(ledger.process(&offer(3, proposer, &[invented])), Verdict::Reject);
    }
}
