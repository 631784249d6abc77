//! A transfer takes value and gas from the sender, gives the value to the receiver and the tip to the proposer.

use crate::common::{Chain, address, transfer};
use alloy_primitives::{Address, U256};

#[test]
fn transfers_move_value_and_pay_for_gas() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let to = Address::repeat_byte(0x77);
    let rich = chain.balance(address(0));
    assert_eq!(chain.balance(address(9)), rich);
    let result = chain.send(transfer(0, 0, to, 12345));
    assert_eq!((result.code, result.gas_used), (0, 21_000));
    assert_eq!(chain.balance(to), U256::from(12345));
    let tip = 1_000_000_000;
    let price = chain.head().header.base_fee_per_gas.unwrap() + tip;
    assert_eq!(chain.balance(address(0)), rich - U256::from(12345) - U256::from(21_000 * price));
    assert_eq!(chain.balance(address(9)), rich + U256::from(21_000 * tip));
    assert_eq!(chain.nonce(address(0)), 1);
}
