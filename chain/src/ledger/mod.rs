//! The ledger: transactions in, roots out. Deterministic; what is committed is the only thing stored.

mod archive;
mod change;
mod execute;
mod export;
mod head;
mod history;
mod mempool;
mod opening;
mod params;
mod port;
mod proposal;
mod query;
mod replay;
mod reveal;
mod rollback;
mod snapshots;
mod state;
#[cfg(test)]
pub(crate) mod trial;

pub use self::{
    change::Change,
    execute::BLOCK_KEY,
    export::export,
    head::{Head, store as store_head},
    history::{NEEDED_HEADERS, Retention, record as record_past},
    opening::Opening,
    params::Params,
    rollback::roll_back,
    state::{Ledger, standing},
};
