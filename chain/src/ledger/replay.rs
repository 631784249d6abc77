//! A block of the past again, up to its first transaction: what tracers start from.

use alloy_primitives::B256;

use super::{begin_block::BeginBlock, execute, state::Ledger};
use crate::{
    block::Block,
    error::Fault,
    evm::{BlockContext, FORK},
    state::StateView,
};

impl Ledger {
    /// The state in which the first transaction of `block` was executed, and what the block told it; nothing if the
    /// state before the block is not kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn replay(&self, block: &Block) -> Result<Option<(StateView, BlockContext)>, Fault> {
        let header = &block.header;
        let Some(before) = header.number.checked_sub(1) else { return Ok(None) };
        let (Some(base), Some(head)) = (self.state_at(before)?, self.head()) else { return Ok(None) };
        let Some(begun) = BeginBlock::at(head.reader.as_ref(), header.number)? else { return Ok(None) };
        let mut view = base.view();
        execute::begin_block(&mut view, &base, header.number, header.timestamp, &begun.votes, &begun.offences)?;
        let context = BlockContext {
            chain_id: base.params.chain_id,
            number: header.number,
            time: header.timestamp,
            beneficiary: header.beneficiary,
            gas_limit: header.gas_limit,
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            random: B256::from(header.mix_hash),
            spec: FORK,
        };
        Ok(Some((view, context)))
    }
}
