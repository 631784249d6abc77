//! What all nodes of a chain say of gas and of an account, asked once: no node alone says what is paid or which number a
//! transaction has.

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};

use super::{Answer, AskError, Chain, One, number, refusal};
use crate::error::{Error, Result};

/// Most that a proposer gets for a unit of gas, whatever nodes suggest: they may be the proposer's own.
const MAX_TIP: u128 = 2_000_000_000;
/// Most that is paid for a unit of gas: a node that says more is not believed.
pub(super) const MAX_FEE: u128 = 1_000_000_000_000;

/// What the nodes of a chain say of gas and of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What a unit of gas costs in the next block without a tip, as each believable node says: the dearest first, never empty.
    bases: Vec<u128>,
    /// What a proposer gets for a unit of gas.
    tip: u128,
    /// Transactions that the account has sent, those that wait included: the middle of what is said.
    nonce: u64,
}

/// What one node says.
struct Said {
    base: Option<u128>,
    tip: Option<u128>,
    nonce: Option<u64>,
}

/// What a unit of gas may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    /// At most.
    pub most: u128,
    /// The tip within.
    pub tip: u128,
}

impl Look {
    /// What may be paid for a unit of gas, the dearest first: twice what a node says that the next block asks, so that some full
    /// blocks before it do no harm. What is really paid is what the block asks, whatever a node has said.
    pub fn fees(&self) -> impl Iterator<Item = Fee> {
        self.bases.iter().map(|base| Fee { most: 2 * base + self.tip, tip: self.tip })
    }

    /// The number of the account's next transaction, as the nodes say.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }
}

impl Chain {
    /// What all nodes say of gas and of an account, asked at the same time. Nodes of other chains do not count.
    ///
    /// # Errors
    /// When no node answers, all are of another chain, or none says something that is believed.
    pub fn look(&self, account: Address, doing: &str) -> Result<Look> {
        let said = self.rpc.each(|one| self.said_by(one, account));
        let mut why = AskError::NoAnswer("the network names no node of its chain".to_owned());
        let (mut all, mut other) = (Vec::new(), None);
        for said in said {
            match said {
                Ok(Ok(said)) => all.push(said),
                Ok(Err(found)) => other = Some(found),
                Err(error) => why = error,
            }
        }
        if all.is_empty() {
            return Err(match other {
                Some(found) => self.foreign(found),
                None => refusal(doing, &why),
            });
        }
        of(all).ok_or_else(|| {
            Error::user(format!(
                "{doing}: the chain's nodes ask for more than {MAX_FEE} of the smallest unit for gas, or do not say what: they \
                 are not believed"
            ))
        })
    }

    /// What one node says, or of which chain it is.
    fn said_by(
        &self,
        one: &One<'_>,
        account: Address,
    ) -> std::result::Result<std::result::Result<Said, U256>, AskError> {
        let read = |answer: Answer| answer.map(|value| number(&value));
        let none = || AskError::NoAnswer(format!("{} gives a number that is none", one.url()));
        let found = read(one.ask("eth_chainId", &json!([])))?.ok_or_else(none)?;
        if found != U256::from(self.id) {
            return Ok(Err(found));
        }
        let history = one.ask("eth_feeHistory", &json!(["0x1", "latest", []]))?;
        let tip = read(one.ask("eth_maxPriorityFeePerGas", &json!([])))?;
        let nonce = read(one.ask("eth_getTransactionCount", &json!([account, "pending"])))?;
        Ok(Ok(Said {
            base: next_base(&history),
            tip: tip.map(|tip| u128::try_from(tip).unwrap_or(u128::MAX).min(MAX_TIP)),
            nonce: nonce.and_then(|nonce| nonce.try_into().ok()),
        }))
    }
}

/// What a node asks for a unit of gas, if it is believed.
fn next_base(history: &Value) -> Option<u128> {
    let fees = history["baseFeePerGas"].as_array()?;
    u128::try_from(number(fees.last()?)?).ok().filter(|base| *base <= MAX_FEE)
}

fn of(all: Vec<Said>) -> Option<Look> {
    let mut bases: Vec<u128> = all.iter().filter_map(|said| said.base).collect();
    bases.sort_unstable_by(|a, b| b.cmp(a));
    bases.dedup();
    let tip = middle(all.iter().filter_map(|said| said.tip).collect())?;
    let nonce = middle(all.iter().filter_map(|said| said.nonce).collect())?;
    (!bases.is_empty()).then_some(Look { bases, tip, nonce })
}

/// The middle one; of two the smaller: a number too high has a transaction wait for ever, for others that may be paid twice.
pub(super) fn middle<T: Ord + Copy>(mut all: Vec<T>) -> Option<T> {
    all.sort_unstable();
    all.get(all.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::nodes;
    use super::*;

    /// A node that says these numbers.
    fn node(chain: u64, base: u128, tip: u128, nonce: u64) -> sahara_light::Url {
        nodes::node(move |method, _| {
            Ok(match method {
                "eth_chainId" => json!(format!("{chain:#x}")),
                "eth_feeHistory" => json!({"baseFeePerGas": ["0x1", format!("{base:#x}")]}),
                "eth_maxPriorityFeePerGas" => json!(format!("{tip:#x}")),
                "eth_getTransactionCount" => json!(format!("{nonce:#x}")),
                _ => Value::Null,
            })
        })
    }

    fn look(nodes: impl IntoIterator<Item = sahara_light::Url>) -> Result<Look> {
        Chain::new(7, nodes).look(Address::ZERO, "paying")
    }

    #[test]
    fn the_dearest_believable_base_fee_comes_first_and_no_node_alone_says_a_number() {
        let liar = || node(7, MAX_FEE + 1, u128::from(u64::MAX), 99);
        let found = look([liar(), node(7, 5, 1, 3), node(7, 9, 2, 4), nodes::nobody(), node(8, 50, 9, 9)]).unwrap();
        assert_eq!(found, Look { bases: vec![9, 5], tip: 2, nonce: 4 });
        let fees: Vec<Fee> = found.fees().collect();
        assert_eq!(fees, [Fee { most: 20, tip: 2 }, Fee { most: 12, tip: 2 }]);
        let two = look([node(7, MAX_FEE, MAX_TIP, 99), node(7, 5, 1, 3)]).unwrap();
        assert_eq!((two.nonce(), two.tip, two.bases), (3, 1, vec![MAX_FEE, 5]));
        assert_eq!(look([node(7, 5, u128::from(u64::MAX), 3)]).unwrap().tip, MAX_TIP);
    }

    #[test]
    fn nobody_of_this_chain_is_told() {
        assert_eq!(look([nodes::nobody()]).unwrap_err().exit_code(), 1);
        assert!(look([node(8, 5, 1, 3), nodes::nobody()]).unwrap_err().report().contains("of chain 8, not of chain 7"));
        assert!(look([node(7, MAX_FEE + 1, 1, 3)]).unwrap_err().report().contains("not believed"));
        assert_eq!(look([]).unwrap_err().exit_code(), 1);
    }
}
