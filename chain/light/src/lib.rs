//! What a share node or a consumer believes of the chain: headers that it verified itself, and what is proven from them.
//!
//! Whoever asks a node of a chain gets an answer that the node could have made up. Here an answer counts only if it follows
//! from one header that somebody trusts (the [`Anchor`]): signatures of two thirds of the validators lead from there to the
//! newest header ([`headers`]), Merkle proofs from its application hash to storage words of contracts ([`state`]). [`Light`]
//! asks several nodes over JSON-RPC until one can show that; a node that lies, is late or is left behind is passed over, and
//! what is older than [`Options::max_header_age`] is refused.
//!
//! ```
//! use sahara_light::{Anchor, Light, LightError, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let anchor = Anchor::read(br#"
//!     sahara-network = 1
//!     chain = "sahara-1"
//!     evm-chain = 71212
//!     height = 1
//!     hash = "0x8b1a53c62b2b5d4f1cba7b9cd3e83f1ed0f0a1b2c3d4e5f60718293a4b5c6d7e"
//!     rpc = ["http://127.0.0.1:1"]
//! "#)?;
//! let light = Light::open(anchor, Options::default());
//! let (market, slot) = ("0x0000000000000000000000000000000000000b50".parse()?, Default::default());
//! match light.words(&[(market, slot)]) {
//!     Ok(proven) => println!("after block {}: {}", proven.height, proven.words[0]),
//!     Err(LightError::Stale { .. }) => println!("the chain stands still"),
//!     Err(unproven) => println!("{unproven}"), // nobody listens there
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod anchor;
mod ask;
mod client;
#[cfg(test)]
mod forge;
pub mod headers;
mod keep;
#[cfg(test)]
mod liar;
mod signature;
pub mod state;
mod trust;
mod url;

pub use anchor::{Anchor, AnchorError};
pub use ask::{AskError, MAX_ANSWER, Node};
pub use client::{Believed, Doubt, Light, LightError, Options, Proven, ProvenAccount};
pub use trust::TrustError;
pub use url::{Url, UrlError};
