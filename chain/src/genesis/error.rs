//! What is wrong with a genesis file.

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct GenesisError {
    /// The field, as in the file.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}
