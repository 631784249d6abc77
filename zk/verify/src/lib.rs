//! Verifies succinct proofs that an integer graph gave committed outputs on committed inputs with committed weights.
//!
//! **Not zero-knowledge**: a proof shows that the answer is right, and may show of inputs and weights, too. The types
//! say so ([`NonHidingProof`], [`VerifiedNotHiding`]), and so does everything that is printed ([`NOTICE`]).
//!
//! [`plan`] makes of a graph the [`system::System`] that is proven, or refuses it by name; [`protocol`] is the script of
//! the argument, which prover and verifier follow alike; `verifier` reads and judges. `zk/SOUNDNESS.md` argues each
//! step.
//!
//! Nothing here panics on bytes from outside: how many messages there are and of which kind follows from the graph.
//! The crate has no thread, clock, file or random number of its own, and knows nothing of the prover.
#![forbid(unsafe_code)]

pub mod field;
pub mod interval;
pub mod mle;
pub mod party;
pub mod plan;
pub mod proof;
pub mod protocol;
pub mod statement;
pub mod system;
pub mod transcript;
mod verifier;
pub mod whir;

pub use plan::Unprovable;
pub use proof::{MAX_PROOF_BYTES, NOTICE, NonHidingProof};
pub use statement::{Context, Statement, WeightsKey};
#[doc(hidden)]
pub use verifier::{Openings, verify_system};
pub use verifier::{VerifiedNotHiding, VerifyError, verify};
