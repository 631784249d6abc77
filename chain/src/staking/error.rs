//! Why a stake operation does not happen.

use crate::error::StoreError;

/// Why a stake operation does not happen.
#[derive(Debug, thiserror::Error)]
pub enum StakeError {
    /// The caller did something that is not allowed; this is the revert's reason.
    #[error("staking: {0}")]
    Refused(&'static str),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What stake operations give.
pub type Result<T> = std::result::Result<T, StakeError>;

/// Refuses with `why` unless it `holds`.
pub fn need(holds: bool, why: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(StakeError::Refused(why)) }
}
