//! The SDK of Sahara: text in, answers out, and no share node learns the text.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/first_page.rs"));
//! use sahara::embedding::embed_all;
//!
//! # fn main() -> sahara::Result<()> {
//! # let Place { home, committee, .. } = &three_nodes();
//! let engine = sahara::model("mine") // pulled before, or OWNER/NAME of somebody else's
//!     .home(home) //                    left out: $SAHARA_HOME, or ~/.sahara
//!     .committee(committee) //          left out: the local network of `devnet up`
//!     .connect()?;
//!
//! for answer in embed_all(&engine, &["good morning", "see you tomorrow"])? {
//!     println!("{} tokens: {:?}", answer.tokens, answer.vector);
//! }
//! # let private = embed_all(&engine, &["good morning"])?;
//! # let plain = embed_all(&sahara::model("mine").home(home).local()?, &["good morning"])?;
//! # assert_eq!(private[0].vector, plain[0].vector);
//! # Ok(())
//! # }
//! ```
//!
//! A model is compiled once to an integer graph. Three share nodes compute that graph on secret shares; an executor on
//! this machine ([`local`](NamedModel::local)) gives the very same integers in the clear. Both are an
//! [`Engine`](embedding::Engine).
//!
//! What there is:
//!
//! * [`model`]: a model by its name, the shortest way to an engine;
//! * [`models`]: models on this machine, brought in and compiled to integer graphs;
//! * [`embedding`]: the interface of everything that embeds text or sorts it into classes, and the engines that need no
//!   network;
//! * [`network`]: the engine that shares the input among three nodes, and what owners of models do there;
//! * [`home`] and [`keys`]: where files and keys of whoever uses this machine are kept;
//! * [`progress`]: what is said while something takes long;
//! * [`error`]: why something could not be done, and who can put it right;
#![cfg_attr(feature = "async", doc = "* [`asynchronous`]: all of this for async code.")]
//!
//! Everything else blocks, on the thread that asks, and what takes long looks at a [`Stop`](embedding::Stop) on the way:
//! whoever waits no more sets it, and the work ends, down to the jobs of the share nodes. `examples/` has a whole program for
//! each thing to do.
//!
//! # Features
//!
//! * `async` (on by default): the face for async code, over tokio.
//! * `hub`: models from the Hugging Face hub, and from packages that carry the same bytes. Without it a model is pulled
//!   from a folder.
//! * `float`: the engine of the original models in floating point, to compare with.

#![forbid(unsafe_code)]

#[cfg(feature = "async")]
pub mod asynchronous;
pub mod embedding;
pub mod error;
pub mod home;
pub mod keys;
pub mod models;
mod named;
pub mod network;
pub mod progress;

pub use error::{Error, Result};
pub use named::{NamedModel, model};
/// The integer graphs that models are compiled to.
pub use sahara_circuits as circuits;
/// The share nodes, and their client.
pub use sahara_mpc as mpc;
