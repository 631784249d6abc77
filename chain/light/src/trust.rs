//! An anchor from a node that somebody runs or trusts: how the file for others comes to be, and what a network on one
//! machine begins with.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::{
    anchor::{Anchor, AnchorError},
    ask::{AskError, Node},
    headers::{HeaderError, LightBlock, Untrusted},
    url::Url,
};

/// Why a node gives no anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// There is no answer.
    #[error("ask {url} for a trust anchor: {cause}")]
    Ask {
        /// Where.
        url: Url,
        /// Why.
        cause: AskError,
    },
    /// What it says is no header.
    #[error("ask {url} for a trust anchor: {cause}")]
    Header {
        /// Where.
        url: Url,
        /// Why.
        cause: HeaderError,
    },
    /// What it says is no anchor.
    #[error("ask {url} for a trust anchor: {cause}")]
    Anchor {
        /// Where.
        url: Url,
        /// Why.
        cause: AnchorError,
    },
}

impl Anchor {
    /// The newest header of the node at `url`, **which is trusted for this**: ask your own node, or compare the hash with
    /// what others see.
    ///
    /// # Errors
    /// When it is not reached, or what it says makes no sense.
    pub fn of_node(url: Url, patience: Duration) -> Result<Self, TrustError> {
        #[derive(Deserialize)]
        struct Number(#[serde(deserialize_with = "quantity")] u64);

        let node = Node::new(url.clone(), patience);
        let unasked = |cause| TrustError::Ask { url: url.clone(), cause };
        let Number(evm_chain) = node.ask("eth_chainId", &json!([])).map_err(unasked)?;
        let block: LightBlock = node.ask("sahara_header", &json!(["latest"])).map_err(unasked)?;
        let header = Untrusted::read(block).map_err(|cause| TrustError::Header { url: url.clone(), cause })?;
        Self::new(header.chain(), evm_chain, header.height(), header.hash(), vec![url.clone()])
            .map_err(|cause| TrustError::Anchor { url, cause })
    }
}

/// A number as Ethereum writes it.
fn quantity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0x").unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|e| serde::de::Error::custom(format!("{text:?} is no number: {e}")))
}
