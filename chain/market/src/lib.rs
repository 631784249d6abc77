//! What the market's contracts, share nodes and consumers say to each other about money, byte for byte.
//!
//! A session and a committee are named by hashes of what they are ([`Session::id`], [`Committee::id`]), so whoever is
//! shown one needs a single word of storage to know that the chain knows it too ([`slots`]). A consumer promises a
//! running total with a [`Voucher`]; the three members of the committee sign a [`Receipt`] for the same total, job and
//! request; the two together are what [`abi::InferenceMarket`] pays for.
//!
//! ```
//! use alloy_primitives::{B256, address};
//! use sahara_market::{Domain, INFERENCE_MARKET, Voucher};
//!
//! let voucher = Voucher {
//!     session: B256::repeat_byte(1),
//!     lane: B256::repeat_byte(2),
//!     total: 3_000,
//!     job: B256::repeat_byte(4),
//!     request: B256::repeat_byte(5),
//! };
//! let domain = Domain { chain_id: 1337, market: INFERENCE_MARKET };
//! let signed = voucher.sign(&domain, &B256::repeat_byte(7))?;
//! assert_eq!(voucher.signer(&domain, &signed)?, address!("0x4a62316623ad457f02cdc5d997ded67a383ec569"));
//! # Ok::<(), sahara_market::VoucherError>(())
//! ```
//!
//! Pure: bytes in, bytes out; no clock, no socket, no file.
#![forbid(unsafe_code)]

pub mod abi;
pub mod budget;
pub mod ciphertext;
mod domain;
pub mod draw;
mod partnership;
pub mod permit;
mod receipt;
pub mod request;
pub mod revenue;
mod session;
pub mod slots;
mod voucher;

use alloy_primitives::{Address, B256, address, keccak256};
use alloy_sol_types::SolValue;

pub use domain::Domain;
pub use partnership::{Partnership, PartnershipError};
pub use receipt::{Receipt, committee_root};
pub use request::{Ask, Request};
pub use session::{Committee, MAX_LANES, PreimageError, Session};
pub use voucher::{SIGNATURE_BYTES, Voucher, VoucherError};

/// Models, datasets, adapters and agents, and what they descend from.
pub const ASSET_REGISTRY: Address = address!("0x0000000000000000000000000000000000000B00");
/// Who owns which part of an asset.
pub const OWNERSHIP_RECEIPTS: Address = address!("0x0000000000000000000000000000000000000B10");
/// Who may use an asset, under which terms.
pub const LICENCES: Address = address!("0x0000000000000000000000000000000000000B20");
/// What payees of assets can claim.
pub const ATTRIBUTION: Address = address!("0x0000000000000000000000000000000000000B30");
/// Bonds, keys and quotes of operators.
pub const OPERATORS: Address = address!("0x0000000000000000000000000000000000000B40");
/// Committees, sessions and settlements.
pub const INFERENCE_MARKET: Address = address!("0x0000000000000000000000000000000000000B50");
/// The native contract with the beacon's values.
pub const BEACON: Address = address!("0x0000000000000000000000000000000000000A20");
/// Identities of people and agents.
pub const IDENTITY: Address = address!("0x0000000000000000000000000000000000000B60");
/// How much may be learned from a dataset.
pub const PRIVACY_BUDGET: Address = address!("0x0000000000000000000000000000000000000B70");
/// In which blocks there was something about an asset, an account or a committee.
pub const JOURNAL: Address = address!("0x0000000000000000000000000000000000000B80");

/// The journal's key of an account.
pub fn key_of(account: Address) -> B256 {
    account.into_word()
}

/// The journal's key of what others did for an account, where that is kept apart: gifts and loans of licences.
pub fn key_of_others(account: Address) -> B256 {
    keccak256(("others".to_owned(), account).abi_encode_params())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    #[test]
    fn the_key_of_gifts_is_the_contracts() {
        let expected = b256!("0x74ab3b50dd48e468ba3afe5afa964a1822a40f3f29072e4ba0aadfc5a325d4ed");
        assert_eq!(key_of_others(Address::with_last_byte(7)), expected);
    }
}
