//! JSON-RPC over HTTP and WebSocket, as Ethereum tools speak it, answered from committed state. Each answer is charged
//! while it is written, and counts until it is gone: see `budget`.

mod about;
mod account;
mod backend;
mod block;
mod budget;
mod call;
mod command;
mod develop;
mod dispatch;
mod door;
mod error;
mod fee;
mod filters;
mod frames;
mod guest;
mod http;
mod log;
mod methods;
mod neighbours;
mod network;
mod numbers;
mod page;
mod params;
mod question;
mod raw;
mod reply;
mod session;
mod simulate;
mod subscribe;
mod supposed;
mod topic;
mod trace;
mod turn;
mod txpool;
mod ws;

pub use backend::{Backend, Submit, Submitted};
pub use budget::{Answer, Limits};
pub use command::{Command, Develop, Doing, Done};
pub use dispatch::answer;
pub use door::Door;
pub use error::{RpcError, RpcResult};
pub use http::{Server, serve};
pub use methods::names as methods;
pub use neighbours::{Asked, Neighbours};
pub use session::Session;
