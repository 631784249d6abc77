//! JSON-RPC over HTTP and WebSocket, as Ethereum tools speak it, answered from committed state. Each answer is charged
//! while it is written, and counts until it is gone: see `budget`.

mod about;
mod account;
mod backend;
mod block;
mod budget;
mod call;
mod develop;
mod dispatch;
mod door;
mod error;
mod fee;
mod frames;
mod http;
mod log;
mod methods;
mod network;
mod page;
mod params;
mod question;
mod raw;
mod session;
mod simulate;
mod subscribe;
mod supposed;
mod trace;
mod txpool;
mod ws;

use serde_json::Value;

pub use backend::{Backend, Submit, Submitted};
pub use budget::{Answer, Limits};
pub use develop::{Command, Develop, Doing, Done};
pub use dispatch::answer;
pub use door::Door;
pub use error::{RpcError, RpcResult};
pub use http::{Server, serve};
pub use methods::names as methods;
pub use network::{Asked, Neighbours};
pub use session::Session;

/// A number as Ethereum writes it.
fn hex(number: impl TryInto<u64>) -> Value {
    Value::String(format!("{:#x}", number.try_into().unwrap_or(u64::MAX)))
}
