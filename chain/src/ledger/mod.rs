//! The ledger: transactions in, roots out. Deterministic; what is committed is the only thing stored.

mod archive;
mod begin_block;
mod change;
mod execute;
mod export;
mod head;
mod history;
mod mempool;
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
    begin_block::BeginBlock,
    change::Change,
    execute::BLOCK_KEY,
    export::export,
    head::{Head, store as store_head},
    history::{NEEDED_HEADERS, Retention, record as record_past},
    mempool::AdmitError,
    params::Params,
    rollback::roll_back,
    state::{Ledger, standing},
};
