//! A call of a native contract, with whatever a transaction can bring, through the machine that executes blocks. The
//! first byte chooses the contract, the second whether value comes along, the third a known function for the selector.
#![no_main]

use std::cell::RefCell;

use alloy_primitives::U256;
use libfuzzer_sys::fuzz_target;
use sahara_chain::{
    evm::{BlockContext, Call, FORK, Machine, abi, system_contracts},
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisValidator},
    state::StateView,
    store::{MemoryStore, Store},
    validator::ConsensusKey,
};

const GAS: u64 = 1_000_000;
const KNOWN: [&str; 8] = [
    "verify(bytes32,bytes32[],uint256,bytes,uint256)",
    "verifyReceipt((bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,uint64,uint256,uint64),\
     bytes32[],uint256,bytes,uint256)",
    "createValidator(bytes32,uint256,bytes,bytes32,uint256)",
    "delegate(address)",
    "undelegate(address,uint256)",
    "redelegate(address,address,uint256)",
    "withdraw()",
    "claim(address)",
];

thread_local! {
    static STATE: RefCell<StateView> = RefCell::new(first_state());
}

fn first_state() -> StateView {
    let consensus_key = ConsensusKey([9; 32].into());
    let validator = GenesisValidator { operator: DEV_ACCOUNTS[0].0, consensus_key, power: 10 };
    let mut view = StateView::new(MemoryStore::default().reader().expect("memory"));
    Genesis::development(vec![validator]).apply(&mut view).expect("a good genesis");
    view
}

fuzz_target!(|data: &[u8]| {
    let [contract, value, known, rest @ ..] = data else { return };
    let contracts = system_contracts();
    let selector = KNOWN.get(usize::from(*known)).map(|signature| abi::selector(signature));
    let call = Call {
        from: DEV_ACCOUNTS[1].0,
        to: Some(contracts[usize::from(*contract) % contracts.len()]),
        input: [selector.as_ref().map_or(&[][..], |s| s), rest].concat().into(),
        value: U256::from(value & 1),
        gas_limit: GAS,
        ..Call::default()
    };
    let block = BlockContext {
        chain_id: DEV_CHAIN_ID,
        number: 1,
        time: 1,
        beneficiary: DEV_ACCOUNTS[0].0,
        gas_limit: GAS,
        base_fee: 0,
        random: Default::default(),
        spec: FORK,
    };
    STATE.with_borrow_mut(|view| {
        // Neither a fault, which would halt the chain, nor a refusal: the call begins, and ends in order.
        let outcome = Machine::for_calls(view, &block).call(&call).expect("no fault").expect("no refusal");
        assert!(outcome.gas_used <= GAS);
    });
});
