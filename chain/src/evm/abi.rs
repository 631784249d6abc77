//! Solidity's call encoding, as much of it as native contracts need, read without allocating.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{Panic, Revert, SolError};

/// Arguments of a call, behind its selector.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a>(&'a [u8]);

/// Why arguments do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbiError {
    /// The data ends too early.
    Short,
    /// A number that is too large for its type, or an offset out of range.
    Range,
    /// More items than the callee takes.
    TooMany,
}

impl AbiError {
    /// What a revert says.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Short => "arguments end too early",
            Self::Range => "argument out of range",
            Self::TooMany => "too many items",
        }
    }
}

/// What a contract said when it reverted: the text of `Error(string)`, or the meaning of Solidity's `Panic(uint256)`.
pub fn read_reason(output: &[u8]) -> Option<String> {
    if let Some(code) = output.strip_prefix(&Panic::SELECTOR) {
        let code = U256::from_be_bytes(*code.first_chunk::<32>()?);
        let known = PANICS.iter().find(|(known, _)| U256::from(*known) == code);
        return Some(known.map_or_else(|| format!("unknown panic code: {code:#x}"), |(_, words)| (*words).to_owned()));
    }
    let rest = output.strip_prefix(&Revert::SELECTOR)?;
    let length = usize::try_from(U256::from_be_slice(rest.get(32..64)?)).ok()?;
    let text = rest.get(64..)?.get(..length)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Codes of `Panic(uint256)`, in the words of geth.
const PANICS: [(u8, &str); 10] = [
    (0x00, "generic panic"),
    (0x01, "assert(false)"),
    (0x11, "arithmetic underflow or overflow"),
    (0x12, "division or modulo by zero"),
    (0x21, "enum overflow"),
    (0x22, "invalid encoded storage byte array accessed"),
    (0x31, "out-of-bounds array access; popping on an empty array"),
    (0x32, "out-of-bounds access of an array or bytesN"),
    (0x41, "out of memory"),
    (0x51, "uninitialized function"),
];

/// Splits call data into selector and arguments.
pub fn split(input: &[u8]) -> Option<([u8; 4], Arguments<'_>)> {
    let (selector, rest) = input.split_first_chunk::<4>()?;
    Some((*selector, Arguments(rest)))
}

/// The first four bytes of the hash of a signature such as `bond(address)`.
pub fn selector(signature: &str) -> [u8; 4] {
    let hash = keccak256(signature);
    [hash[0], hash[1], hash[2], hash[3]]
}

impl<'a> Arguments<'a> {
    /// The argument at `index` as 32 bytes.
    ///
    /// # Errors
    /// When there is no such argument.
    pub fn word(&self, index: usize) -> Result<B256, AbiError> {
        let at = index.checked_mul(32).ok_or(AbiError::Range)?;
        self.0.get(at..).and_then(|rest| rest.first_chunk::<32>()).map(|word| B256::new(*word)).ok_or(AbiError::Short)
    }

    /// The argument at `index` as a number.
    ///
    /// # Errors
    /// When there is no such argument.
    pub fn number(&self, index: usize) -> Result<U256, AbiError> {
        Ok(U256::from_be_bytes(self.word(index)?.0))
    }

    /// The argument at `index` as a small number.
    ///
    /// # Errors
    /// When there is no such argument, or it does not fit 64 bits.
    pub fn small(&self, index: usize) -> Result<u64, AbiError> {
        self.number(index)?.try_into().map_err(|_| AbiError::Range)
    }

    /// The argument at `index` as an address.
    ///
    /// # Errors
    /// When there is no such argument, or its upper bytes are not zero.
    pub fn address(&self, index: usize) -> Result<Address, AbiError> {
        let word = self.word(index)?;
        if word[..12].iter().any(|byte| *byte != 0) {
            return Err(AbiError::Range);
        }
        Ok(Address::from_word(word))
    }

    /// The bytes of the first `count` words.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn front(&self, count: usize) -> Result<&'a [u8], AbiError> {
        self.0.get(..count.saturating_mul(32)).ok_or(AbiError::Short)
    }

    /// The `bytes` argument at `index`.
    ///
    /// # Errors
    /// When there is no such argument, or it has more than `max` bytes.
    pub fn bytes(&self, index: usize, max: usize) -> Result<&'a [u8], AbiError> {
        let (length, rest) = self.tail(index, max)?;
        rest.get(..length).ok_or(AbiError::Short)
    }

    /// The `bytes32[]` argument at `index`.
    ///
    /// # Errors
    /// When there is no such argument, or it has more than `max` words.
    pub fn words(&self, index: usize, max: usize) -> Result<&'a [[u8; 32]], AbiError> {
        let (count, rest) = self.tail(index, max)?;
        rest.as_chunks::<32>().0.get(..count).ok_or(AbiError::Short)
    }

    fn tail(&self, index: usize, max: usize) -> Result<(usize, &'a [u8]), AbiError> {
        let at = usize::try_from(self.small(index)?).map_err(|_| AbiError::Range)?;
        let tail = Arguments(self.0.get(at..).ok_or(AbiError::Range)?);
        let length = usize::try_from(tail.small(0)?).map_err(|_| AbiError::Range)?;
        if length > max {
            return Err(AbiError::TooMany);
        }
        Ok((length, &tail.0[32..]))
    }
}

/// `Error(string)`, what `revert("why")` gives in Solidity.
pub fn revert_reason(why: &str) -> Bytes {
    let mut out = Revert::SELECTOR.to_vec();
    out.extend(U256::from(32).to_be_bytes::<32>());
    out.extend(U256::from(why.len()).to_be_bytes::<32>());
    out.extend(why.as_bytes());
    out.resize(out.len().next_multiple_of(32) + 4, 0);
    out.into()
}

/// One word that says yes or no.
pub fn yes_or_no(yes: bool) -> Bytes {
    Bytes::copy_from_slice(U256::from(u8::from(yes)).to_be_bytes::<32>().as_slice())
}

/// Words one after the other.
pub fn words_out(words: &[U256]) -> Bytes {
    words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect()
}
