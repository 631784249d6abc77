//! A header with what shows that it was decided, from whoever decides.

use std::{future::Future, pin::Pin, sync::Arc};

use alloy_primitives::Bytes;
use prost::Message;
use serde::Serialize;
use tendermint_proto::v0_38::types::{SignedHeader as Decided, ValidatorSet};

/// What a light client needs of one height: messages of CometBFT in protobuf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedHeader {
    /// `SignedHeader`: the header and the commit on it.
    pub signed_header: Bytes,
    /// `ValidatorSet` of that height.
    pub validators: Bytes,
    /// `ValidatorSet` of the next height.
    pub next_validators: Bytes,
}

impl SignedHeader {
    /// The same in bytes.
    pub fn new(decided: &Decided, validators: &ValidatorSet, next: &ValidatorSet) -> Self {
        Self {
            signed_header: decided.encode_to_vec().into(),
            validators: validators.encode_to_vec().into(),
            next_validators: next.encode_to_vec().into(),
        }
    }

    /// How many bytes.
    pub fn length(&self) -> usize {
        self.signed_header.len() + self.validators.len() + self.next_validators.len()
    }
}

/// The header at a height, later; nothing where there is none, or none any more.
pub type Signed<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<SignedHeader>>, String>> + Send + 'a>>;
