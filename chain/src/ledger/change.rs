//! A change of an account by whoever develops on the chain. It is a block's only content, so that it is hashed, kept and
//! executed again like everything else. Only a ledger for development takes it.

use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, U256};

use crate::{error::StoreError, evm, state::StateView};

/// What the bytes begin with: no transaction does.
const MAGIC: &[u8] = b"\x7dsahara-development-1";

/// Code that an account may be given; twice what a transaction can deploy, as generous as anvil.
const MAX_CODE: usize = 96 * 1024;

/// A change of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its balance.
    Balance(Address, U256),
    /// Its nonce.
    Nonce(Address, u64),
    /// Its code.
    Code(Address, Bytes),
    /// A word of its storage.
    Slot(Address, U256, U256),
}

impl Change {
    /// Whether it can be made.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Code(address, code) if code.len() > MAX_CODE => {
                Err(format!("account {address}: code has {} bytes, at most {MAX_CODE} are taken", code.len()))
            }
            Self::Code(address, code) => {
                evm::check_code(code).map_err(|why| format!("account {address}: code cannot be executed: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// As bytes of a block.
    pub fn encode(&self) -> Bytes {
        let (kind, address, rest) = match self {
            Self::Balance(address, balance) => (0, address, balance.to_be_bytes::<32>().to_vec()),
            Self::Nonce(address, nonce) => (1, address, nonce.to_be_bytes().to_vec()),
            Self::Code(address, code) => (2, address, code.to_vec()),
            Self::Slot(address, slot, word) => {
                (3, address, [slot.to_be_bytes::<32>(), word.to_be_bytes::<32>()].concat())
            }
        };
        [MAGIC, &[kind], address.as_slice(), rest.as_slice()].concat().into()
    }

    /// Reads what [`encode`](Self::encode) wrote; nothing if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.strip_prefix(MAGIC)?.split_first()?;
        let (address, rest) = rest.split_first_chunk::<20>()?;
        let address = Address::from(address);
        let word = |bytes: &[u8]| Some(U256::from_be_bytes(<[u8; 32]>::try_from(bytes).ok()?));
        let change = match kind {
            0 => Self::Balance(address, word(rest)?),
            1 => Self::Nonce(address, u64::from_be_bytes(rest.try_into().ok()?)),
            2 => Self::Code(address, Bytes::copy_from_slice(rest)),
            3 => {
                let (slot, value) = rest.split_at_checked(32)?;
                Self::Slot(address, word(slot)?, word(value)?)
            }
            _ => return None,
        };
        change.check().is_ok().then_some(change)
    }

    /// Makes it.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn apply(&self, view: &mut StateView) -> Result<(), StoreError> {
        let (Self::Balance(address, _) | Self::Nonce(address, _) | Self::Code(address, _) | Self::Slot(address, _, _)) =
            self;
        let mut account = view.account(*address)?.unwrap_or_default();
        match self {
            Self::Balance(_, balance) => account.balance = *balance,
            Self::Nonce(_, nonce) => account.nonce = *nonce,
            Self::Code(_, code) => account.code_hash = view.add_code(code.clone()),
            // An account with storage has code or a nonce: the tries and contracts that are made rely on it.
            Self::Slot(..) if account.nonce == 0 && account.code_hash == KECCAK256_EMPTY => account.nonce = 1,
            Self::Slot(..) => {}
        }
        view.set_account(*address, account)?;
        if let Self::Slot(_, slot, word) = self {
            view.set_slot(*address, *slot, *word);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::bytes;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_survive_a_block_and_nothing_else_is_one() {
        let at = Address::repeat_byte(7);
        for change in [
            Change::Balance(at, U256::MAX),
            Change::Nonce(at, u64::MAX),
            Change::Code(at, bytes!("5f5ff3")),
            Change::Code(at, Bytes::new()),
            Change::Slot(at, U256::from(1), U256::from(2)),
        ] {
            let bytes = change.encode();
            assert_eq!(Change::decode(&bytes), Some(change));
            assert!(crate::tx::Tx::decode(&bytes, 1).is_err(), "it is no transaction");
            assert_eq!(Change::decode(&bytes[..bytes.len().min(30)]), None);
        }
        assert!(Change::Code(at, bytes!("ef0100")).check().unwrap_err().contains("cannot be executed"));
        assert_eq!(Change::decode(&Change::Code(at, bytes!("ef0100")).encode()), None);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_its_change_is_written_as(
            kind in 0u8..5,
            rest in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..100),
                prop_oneof![Just(28usize), Just(52), Just(84)].prop_flat_map(|n| proptest::collection::vec(any::<u8>(), n)),
            ],
        ) {
            let bytes = [MAGIC, &[kind], rest.as_slice()].concat();
            let fits = match kind {
                0 => rest.len() == 52,
                1 => rest.len() == 28,
                2 => rest.len() >= 20 && evm::check_code(&Bytes::copy_from_slice(&rest[20..])).is_ok(),
                3 => rest.len() == 84,
                _ => false,
            };
            let change = Change::decode(&bytes);
            prop_assert_eq!(change.is_some(), fits);
            prop_assert!(change.is_none_or(|change| change.encode() == bytes));
        }
    }
}
