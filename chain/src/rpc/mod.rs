//! JSON-RPC over HTTP and WebSocket, as Ethereum tools speak it, answered from committed state.

mod about;
mod account;
mod backend;
mod block;
mod call;
mod error;
mod fee;
mod log;
mod network;
mod question;
mod raw;
mod subscribe;
mod trace;
mod txpool;

use std::{net::SocketAddr, sync::Arc};

use jsonrpsee::{
    RpcModule,
    core::{RegisterMethodError, RpcResult, traits::IdProvider},
    server::{BatchRequestConfig, PingConfig, Server, ServerConfig, ServerHandle},
    types::{Params, SubscriptionId},
};
use serde_json::{Value, value::RawValue};

pub use backend::{Backend, Submit, Submitted};
pub use network::{Asked, Neighbours};

/// Larger questions are refused: a transaction has 128 kB, as hexadecimal twice that, and batches exist.
const MAX_REQUEST_BYTES: u32 = 10 * 1024 * 1024;
/// Larger answers are refused.
const MAX_RESPONSE_BYTES: u32 = 50 * 1024 * 1024;
/// Clients at once.
const MAX_CONNECTIONS: u32 = 500;
/// Requests in one batch; geth takes as many.
const MAX_BATCH: u32 = 1_000;
/// Subscriptions of one client.
const MAX_SUBSCRIPTIONS: u32 = 128;
/// Messages that wait for a slow client. Its requests wait then, and its subscriptions end.
const MAX_WAITING_MESSAGES: u32 = 256;

/// Serves `backend` at `address`; gives the address that was bound.
pub async fn serve(backend: Arc<Backend>, address: SocketAddr) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let config = ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .max_connections(MAX_CONNECTIONS)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
        .set_message_buffer_capacity(MAX_WAITING_MESSAGES)
        .enable_ws_ping(PingConfig::new())
        .set_id_provider(HexIds)
        .build();
    let server = Server::builder().set_config(config).build(address).await?;
    let bound = server.local_addr()?;
    let module = module(backend).map_err(std::io::Error::other)?;
    Ok((bound, server.start(module)))
}

type Handler = fn(&Backend, Params<'_>) -> RpcResult<Value>;

/// Every method with what answers it. Whatever is not here answers −32601.
const METHODS: &[(&str, Handler)] = &[
    ("debug_getRawBlock", raw::raw_block),
    ("debug_getRawHeader", raw::raw_header),
    ("debug_getRawReceipts", raw::raw_receipts),
    ("debug_getRawTransaction", raw::raw_transaction),
    ("eth_accounts", |_, _| Ok(Value::Array(vec![]))),
    ("eth_baseFee", fee::base_fee),
    ("eth_blobBaseFee", |_, _| Ok(hex(1))),
    ("eth_blockNumber", block::number),
    ("eth_call", call::call),
    ("eth_capabilities", about::capabilities),
    ("eth_chainId", |b, _| Ok(hex(b.ledger.head().map_or(0, |h| h.params.chain_id)))),
    ("eth_createAccessList", call::create_access_list),
    ("eth_estimateGas", call::estimate_gas),
    ("eth_feeHistory", fee::history),
    ("eth_gasPrice", fee::gas_price),
    ("eth_getBalance", account::balance),
    ("eth_getBlockByHash", block::by_hash),
    ("eth_getBlockByNumber", block::by_number),
    ("eth_getBlockReceipts", block::receipts),
    ("eth_getBlockTransactionCountByHash", block::count_by_hash),
    ("eth_getBlockTransactionCountByNumber", block::count_by_number),
    ("eth_getCode", account::code),
    ("eth_getFilterChanges", log::filter_changes),
    ("eth_getFilterLogs", log::filter_logs),
    ("eth_getHeaderByHash", block::header_by_hash),
    ("eth_getHeaderByNumber", block::header_by_number),
    ("eth_getLogs", log::logs),
    ("eth_getProof", account::proof),
    ("eth_getRawTransactionByHash", raw::raw_transaction),
    ("eth_getStorageAt", account::storage),
    ("eth_getStorageValues", account::storage_values),
    ("eth_getTransactionByBlockHashAndIndex", block::transaction_by_block_hash),
    ("eth_getTransactionByBlockNumberAndIndex", block::transaction_by_block_number),
    ("eth_getTransactionByHash", block::transaction),
    ("eth_getTransactionCount", account::nonce),
    ("eth_getTransactionReceipt", block::receipt),
    ("eth_getUncleCountByBlockHash", |_, _| Ok(hex(0))),
    ("eth_getUncleCountByBlockNumber", |_, _| Ok(hex(0))),
    ("eth_maxPriorityFeePerGas", fee::tip),
    ("eth_mining", |_, _| Ok(Value::Bool(false))),
    ("eth_newBlockFilter", log::new_block_filter),
    ("eth_newFilter", log::new_filter),
    ("eth_newPendingTransactionFilter", log::new_pending_filter),
    ("eth_protocolVersion", |_, _| Ok(hex(0x44))),
    ("eth_syncing", network::syncing),
    ("eth_uninstallFilter", log::uninstall_filter),
    ("net_listening", |_, _| Ok(Value::Bool(true))),
    ("net_peerCount", network::peer_count),
    ("net_version", |b, _| Ok(Value::String(b.ledger.head().map_or(0, |h| h.params.chain_id).to_string()))),
    ("rpc_modules", about::modules),
    ("txpool_content", txpool::content),
    ("txpool_contentFrom", txpool::content_from),
    ("txpool_inspect", txpool::inspect),
    ("txpool_status", txpool::status),
    ("web3_clientVersion", |_, _| Ok(Value::String(concat!("sahara/", env!("CARGO_PKG_VERSION")).into()))),
    ("web3_sha3", account::sha3),
];

type TraceHandler = fn(&Backend, Params<'_>) -> RpcResult<Box<RawValue>>;

/// Methods whose answers are written as text.
const TRACES: &[(&str, TraceHandler)] = &[
    ("debug_traceBlockByHash", trace::block_by_hash),
    ("debug_traceBlockByNumber", trace::block_by_number),
    ("debug_traceCall", trace::call),
    ("debug_traceTransaction", trace::transaction),
];

/// All methods, answered from `backend`.
pub fn module(backend: Arc<Backend>) -> Result<RpcModule<Backend>, RegisterMethodError> {
    let mut module = RpcModule::from_arc(backend);
    for (name, handler) in METHODS {
        module.register_blocking_method(name, |params, backend, _| handler(&backend, params))?;
    }
    for (name, handler) in TRACES {
        module.register_blocking_method(name, |params, backend, _| handler(&backend, params))?;
    }
    module.register_async_method("eth_sendRawTransaction", |params, backend, _| async move {
        call::send_raw(&backend, params).await
    })?;
    subscribe::register(&mut module)?;
    Ok(module)
}

/// Ethereum writes subscription ids as hexadecimal strings.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        let mut id = [0; 16];
        // Without randomness of the system an id can be guessed; it is no secret, only a name on one connection.
        let _ = getrandom::fill(&mut id);
        SubscriptionId::Str(alloy_primitives::hex::encode_prefixed(id).into())
    }
}

/// A number as Ethereum writes it.
fn hex(number: impl TryInto<u64>) -> Value {
    Value::String(format!("{:#x}", number.try_into().unwrap_or(u64::MAX)))
}
