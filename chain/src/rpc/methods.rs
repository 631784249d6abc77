//! Every method with what answers it. Whatever is not here answers −32601.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Backend, about, account, block,
    budget::Budget,
    call, develop,
    error::{Answered, RpcResult, Told},
    fee, light, log, network,
    numbers::hex,
    params::Params,
    raw,
    session::Session,
    simulate, subscribe, trace, txpool,
};

/// Answers with few bytes, whatever is asked.
pub type Short = fn(&Backend, Params<'_>) -> RpcResult<Value>;
/// Writes its answer while the budget lasts.
pub type Written = fn(&Backend, Params<'_>, &mut Budget) -> RpcResult<()>;
/// The same, of the client that asks.
pub type OfSession = fn(&Backend, &Session, Params<'_>, &mut Budget) -> RpcResult<()>;
/// Answers when something has happened.
pub type Later = for<'a> fn(&'a Arc<Backend>, Params<'a>) -> Told<'a>;

/// Writes its answer once it has heard of what it needs.
pub type Waiting = for<'a> fn(&'a Arc<Backend>, Params<'a>, &'a mut Budget) -> Answered<'a>;

/// How a method is answered.
#[derive(Clone, Copy)]
pub enum Method {
    /// Few bytes, little work.
    Short(Short),
    /// One block or a few values.
    Light(Written),
    /// The machine runs, or many blocks are read: few at once.
    Heavy(Written),
    /// It changes what the client follows.
    Session(OfSession),
    /// A transaction is handed in.
    Submit,
    /// It changes a chain for development.
    Later(Later),
    /// It needs what another process knows, and takes its turns itself.
    Waiting(Waiting),
}

use Method::{Heavy, Later as Changes, Light, Session as Of, Short as S, Submit, Waiting as W};

/// The method called `name`.
pub fn find(name: &str) -> Option<Method> {
    METHODS.binary_search_by(|(known, _)| (*known).cmp(name)).ok().and_then(|at| METHODS.get(at)).map(|(_, m)| *m)
}

/// The names of all methods.
pub fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|(name, _)| *name)
}

/// All methods, by name.
const METHODS: &[(&str, Method)] = &[
    ("anvil_impersonateAccount", Changes(develop::impersonate)),
    ("anvil_mine", Changes(develop::mine_many)),
    ("anvil_setBalance", Changes(develop::set_balance)),
    ("anvil_setCode", Changes(develop::set_code)),
    ("anvil_setNonce", Changes(develop::set_nonce)),
    ("anvil_setStorageAt", Changes(develop::set_storage)),
    ("anvil_stopImpersonatingAccount", Changes(develop::stop_impersonating)),
    ("debug_getRawBlock", Light(raw::raw_block)),
    ("debug_getRawHeader", Light(raw::raw_header)),
    ("debug_getRawReceipts", Light(raw::raw_receipts)),
    ("debug_getRawTransaction", Light(raw::raw_transaction)),
    ("debug_traceBlockByHash", Heavy(trace::block_by_hash)),
    ("debug_traceBlockByNumber", Heavy(trace::block_by_number)),
    ("debug_traceCall", Heavy(trace::call)),
    ("debug_traceTransaction", Heavy(trace::transaction)),
    ("eth_accounts", S(develop::accounts)),
    ("eth_baseFee", S(fee::base_fee)),
    ("eth_blobBaseFee", S(|_, _| Ok(hex(1)))),
    ("eth_blockNumber", S(block::number)),
    ("eth_call", Heavy(call::call)),
    ("eth_capabilities", S(about::capabilities)),
    ("eth_chainId", S(|b, _| Ok(hex(b.ledger.head().map_or(0, |h| h.params.chain_id))))),
    ("eth_coinbase", S(about::coinbase)),
    ("eth_createAccessList", Heavy(call::create_access_list)),
    ("eth_estimateGas", Heavy(call::estimate_gas)),
    ("eth_feeHistory", Heavy(fee::history)),
    ("eth_gasPrice", S(fee::gas_price)),
    ("eth_getBalance", Light(account::balance)),
    ("eth_getBlockByHash", Light(block::by_hash)),
    ("eth_getBlockByNumber", Light(block::by_number)),
    ("eth_getBlockReceipts", Light(block::receipts)),
    ("eth_getBlockTransactionCountByHash", Light(block::count_by_hash)),
    ("eth_getBlockTransactionCountByNumber", Light(block::count_by_number)),
    ("eth_getCode", Light(account::code)),
    ("eth_getFilterChanges", Heavy(log::filter_changes)),
    ("eth_getFilterLogs", Heavy(log::filter_logs)),
    ("eth_getHeaderByHash", S(block::header_by_hash)),
    ("eth_getHeaderByNumber", S(block::header_by_number)),
    ("eth_getLogs", Heavy(log::logs)),
    ("eth_getProof", Heavy(account::proof)),
    ("eth_getRawTransactionByHash", Light(raw::raw_transaction)),
    ("eth_getStorageAt", Light(account::storage)),
    ("eth_getStorageValues", Light(account::storage_values)),
    ("eth_getTransactionByBlockHashAndIndex", Light(block::transaction_by_block_hash)),
    ("eth_getTransactionByBlockNumberAndIndex", Light(block::transaction_by_block_number)),
    ("eth_getTransactionByHash", Light(block::transaction)),
    ("eth_getTransactionCount", Light(account::nonce)),
    ("eth_getTransactionReceipt", Light(block::receipt)),
    ("eth_getUncleCountByBlockHash", S(|_, _| Ok(hex(0)))),
    ("eth_getUncleCountByBlockNumber", S(|_, _| Ok(hex(0)))),
    ("eth_maxPriorityFeePerGas", S(fee::tip)),
    ("eth_mining", S(|_, _| Ok(Value::Bool(false)))),
    ("eth_newBlockFilter", Of(log::new_block_filter)),
    ("eth_newFilter", Of(log::new_filter)),
    ("eth_newPendingTransactionFilter", Of(log::new_pending_filter)),
    ("eth_protocolVersion", S(|_, _| Ok(hex(0x44)))),
    ("eth_sendRawTransaction", Submit),
    ("eth_sendTransaction", Changes(develop::send_transaction)),
    ("eth_simulateV1", Heavy(simulate::simulate)),
    ("eth_subscribe", Of(subscribe::subscribe)),
    ("eth_syncing", Changes(network::syncing)),
    ("eth_uninstallFilter", S(log::uninstall_filter)),
    ("eth_unsubscribe", Of(subscribe::unsubscribe)),
    ("evm_increaseTime", Changes(develop::increase_time)),
    ("evm_mine", Changes(develop::mine)),
    ("evm_revert", Changes(develop::revert)),
    ("evm_setAutomine", Changes(develop::set_automine)),
    ("evm_setNextBlockTimestamp", Changes(develop::set_next_time)),
    ("evm_snapshot", Changes(develop::snapshot)),
    ("hardhat_impersonateAccount", Changes(develop::hardhat_impersonate)),
    ("hardhat_metadata", Changes(develop::metadata)),
    ("hardhat_mine", Changes(develop::hardhat_mine)),
    ("hardhat_setBalance", Changes(develop::hardhat_set_balance)),
    ("hardhat_setCode", Changes(develop::hardhat_set_code)),
    ("hardhat_setNonce", Changes(develop::hardhat_set_nonce)),
    ("hardhat_setStorageAt", Changes(develop::set_storage)),
    ("hardhat_stopImpersonatingAccount", Changes(develop::hardhat_stop_impersonating)),
    ("net_listening", S(|_, _| Ok(Value::Bool(true)))),
    ("net_peerCount", Changes(network::peer_count)),
    ("net_version", S(|b, _| Ok(Value::String(b.ledger.head().map_or(0, |h| h.params.chain_id).to_string())))),
    ("rpc_modules", S(about::modules)),
    ("sahara_header", W(light::header)),
    ("sahara_proof", W(light::proof)),
    ("txpool_content", Heavy(txpool::content)),
    ("txpool_contentFrom", Heavy(txpool::content_from)),
    ("txpool_inspect", Heavy(txpool::inspect)),
    ("txpool_status", Heavy(txpool::status)),
    ("web3_clientVersion", S(about::version)),
    ("web3_sha3", Light(account::sha3)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_sorted_so_that_each_is_found() {
        assert!(METHODS.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(names().all(|name| find(name).is_some()) && find("eth_noSuchThing").is_none());
    }
}
