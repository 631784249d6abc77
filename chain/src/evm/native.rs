//! A native contract without state: what it says of itself, and the steps that every call of one takes, written once.
//!
//! A new one is a file with a [`Native`] in it and a line in `stateless::ALL`. The pattern is
//! explained in `provider`.

use alloy_primitives::{Address, Bytes, U256};

use super::abi::AbiError;

/// A native contract without state.
#[derive(Debug)]
pub struct Native {
    /// Where it lives.
    pub address: Address,
    /// What its reasons for a revert begin with.
    pub name: &'static str,
    /// Price of looking at a call at all.
    pub base_gas: u64,
    /// Longer calls are refused before they are copied.
    pub max_input: usize,
    /// Price of a call beyond [`Self::base_gas`]: from counts and lengths, in time that does not matter.
    pub price: fn(&[u8]) -> Result<u64, Reason>,
    /// The work, once it is paid for.
    pub run: fn(&Frame, &[u8]) -> Result<Bytes, Reason>,
}

/// What a native contract knows of the world. Nothing here depends on the machine it runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// Who calls.
    pub caller: Address,
    /// The chain.
    pub chain_id: u64,
    /// Value that came with the call.
    pub value: U256,
}

/// Why a call reverts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(pub &'static str);

impl From<AbiError> for Reason {
    fn from(error: AbiError) -> Self {
        Self(error.reason())
    }
}

/// How a native contract ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returns these bytes.
    Return(Bytes),
    /// It undoes everything and gives this reason.
    Revert(String),
    /// The gas does not suffice.
    OutOfGas,
}

impl Native {
    /// Whether a call of `length` bytes with `gas_limit` is worth reading; if not, how it ends.
    pub fn refuse(&self, frame: &Frame, length: usize, gas_limit: u64) -> Option<(u64, Ending)> {
        if gas_limit < self.base_gas {
            return Some((0, Ending::OutOfGas));
        }
        if length > self.max_input {
            return Some(self.revert(self.base_gas, &Reason("input too long")));
        }
        if !frame.value.is_zero() {
            return Some(self.revert(self.base_gas, &Reason("takes no value")));
        }
        None
    }

    /// Runs a call with `gas_limit`: gas used, and how it ends.
    pub fn call(&self, frame: &Frame, input: &[u8], gas_limit: u64) -> (u64, Ending) {
        if let Some(refused) = self.refuse(frame, input.len(), gas_limit) {
            return refused;
        }
        let gas = match (self.price)(input) {
            Ok(more) => self.base_gas.saturating_add(more),
            Err(why) => return self.revert(self.base_gas, &why),
        };
        if gas > gas_limit {
            return (0, Ending::OutOfGas);
        }
        match (self.run)(frame, input) {
            Ok(output) => (gas, Ending::Return(output)),
            Err(why) => self.revert(gas, &why),
        }
    }

    fn revert(&self, gas: u64, why: &Reason) -> (u64, Ending) {
        (gas, Ending::Revert(format!("{}: {}", self.name, why.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNDRED: Native = Native {
        address: Address::ZERO,
        name: "hundred",
        base_gas: 10,
        max_input: 4,
        price: |input| if input == b"bad" { Err(Reason("malformed")) } else { Ok(90) },
        run: |_, input| if input == b"no" { Err(Reason("no")) } else { Ok(Bytes::copy_from_slice(input)) },
    };

    #[test]
    fn a_call_is_priced_before_it_is_read_and_read_before_it_is_run() {
        let frame = Frame::default();
        let call = |input: &[u8], gas| HUNDRED.call(&frame, input, gas);
        assert_eq!(call(b"yes", 100), (100, Ending::Return(Bytes::from_static(b"yes"))));
        assert_eq!(call(b"no", 100), (100, Ending::Revert("hundred: no".into())));
        assert_eq!(call(b"bad", 100), (10, Ending::Revert("hundred: malformed".into())));
        assert_eq!(call(b"longer", 100), (10, Ending::Revert("hundred: input too long".into())));
        assert_eq!(call(b"yes", 99), (0, Ending::OutOfGas));
        assert_eq!(call(b"yes", 9), (0, Ending::OutOfGas));
        let paid = Frame { value: U256::ONE, ..frame };
        assert_eq!(HUNDRED.call(&paid, b"yes", 100), (10, Ending::Revert("hundred: takes no value".into())));
    }
}
