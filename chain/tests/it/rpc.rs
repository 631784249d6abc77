//! JSON-RPC on a chain in memory: the same handlers that the server has, without a socket.

use std::{net::SocketAddr, sync::Arc};

use alloy_primitives::{Address, Bytes, U256};
use sahara_chain::{
    embedded::signed_header,
    ledger::Ledger,
    rpc::{self, Backend, Door, Limits, Session, Signed, SignedHeader, Submit, Submitted},
    store::Store,
    tx::Tx,
    wallet::Payment,
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

use crate::common::{Chain, address, pay};

pub struct Rpc {
    pub chain: Chain,
    pub backend: Arc<Backend>,
    session: Session,
    pub runtime: Runtime,
    heights: watch::Sender<u64>,
}

struct Straight(Arc<Ledger>, Arc<dyn Store>);

impl Submit for Straight {
    fn submit(&self, tx: Arc<Tx>) -> Submitted<'_> {
        let admitted = self.0.admit(tx);
        Box::pin(async move { admitted })
    }

    fn signed_header(&self, height: u64) -> Signed<'_> {
        let found = signed_header(self.1.as_ref(), height).map_err(|e| e.to_string());
        let found = found.map(|found| found.map(|(header, set)| Arc::new(SignedHeader::new(&header, &set, &set))));
        Box::pin(async move { found })
    }
}

impl Rpc {
    /// A chain of one block.
    pub fn new() -> Self {
        Self::with(Chain::new(), Limits::default())
    }

    /// One block more on `chain`, asked within `limits`.
    pub fn with(mut chain: Chain, limits: Limits) -> Self {
        chain.block(&[]);
        let (heights, seen) = watch::channel(chain.driver.height());
        let backend =
            Backend::new(chain.ledger.clone(), Arc::new(Straight(chain.ledger.clone(), chain.store.clone())), seen);
        let backend = Arc::new(backend.with_limits(limits));
        Self { chain, backend, session: Session::local(), runtime: Runtime::new().unwrap(), heights }
    }

    /// The answer to a raw request, as it would go over the wire.
    pub fn raw(&self, body: &str) -> Option<Value> {
        let answer = self.runtime.block_on(rpc::answer(&self.backend, &self.session, body.as_bytes()))?;
        Some(serde_json::from_slice(&answer.text).unwrap_or_else(|e| panic!("{body} gave no JSON: {e}")))
    }

    /// The server on a free port; it stops when what it gives is dropped.
    pub fn serve(&self) -> (SocketAddr, rpc::Server) {
        self.serve_to(Door::open())
    }

    /// The same for those whom `door` lets in.
    pub fn serve_to(&self, door: Door) -> (SocketAddr, rpc::Server) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.runtime.block_on(rpc::serve(self.backend.clone(), door, any)).unwrap()
    }

    pub fn try_ask(&self, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = self.raw(&body.to_string()).unwrap();
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }

    pub fn ask(&self, method: &str, params: Value) -> Value {
        self.try_ask(method, params).unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    /// Code and words of a refusal.
    pub fn refuses(&self, method: &str, params: Value) -> (i64, String) {
        let error = self.try_ask(method, params).expect_err(method);
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    /// A block with `txs`; gives their receipts.
    pub fn block(&mut self, txs: &[Bytes]) -> Vec<Value> {
        let made = self.chain.block(txs);
        assert_eq!(made.results.len(), txs.len(), "{:?}", made.results);
        let height = self.chain.driver.height();
        self.heights.send_replace(height);
        self.ask("eth_getBlockReceipts", json!([format!("{height:#x}")])).as_array().unwrap().clone()
    }

    /// Deploys `code` from account `from`.
    pub fn deploy(&mut self, from: usize, code: &[u8]) -> Address {
        let nonce = self.chain.nonce(address(from));
        let length = u8::try_from(code.len()).unwrap();
        // Copies what follows these twelve bytes and returns it.
        let init = [&[0x60, length, 0x60, 12, 0x60, 0, 0x39, 0x60, length, 0x60, 0, 0xf3], code].concat();
        let tx = pay(from, Payment { nonce, input: init.into(), gas_limit: 500_000, ..Payment::default() });
        let receipt = self.block(&[tx]).remove(0);
        assert_eq!(receipt["status"], "0x1");
        address(from).create(nonce)
    }
}

/// A call of `to` by account `from`.
pub fn invoke(from: usize, nonce: u64, to: Address, value: u64, input: Bytes) -> Bytes {
    let value = U256::from(value);
    pay(from, Payment { nonce, to: Some(to), value, input, gas_limit: 300_000, ..Payment::default() })
}
