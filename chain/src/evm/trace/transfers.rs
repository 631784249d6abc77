//! A transaction that is only supposed, with its logs in order, and on demand each payment as one more log
//! (`eth_simulateV1`).

use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256, address, b256};
use revm::{
    DatabaseCommit, ExecuteEvm, InspectEvm, Inspector, MainBuilder,
    context_interface::ContextTr,
    interpreter::{CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome, InterpreterResult},
};

use super::failure;
use crate::{
    error::Fault,
    evm::{
        BlockContext, Outcome, Refusal,
        machine::{Rules, context, peak_gas, settle, tx_env},
        provider::{Natives, Precompiles},
    },
    state::StateView,
    tx::Tx,
};

/// Who seems to log payments of the chain's own token.
const TOKEN: Address = address!("0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
/// The topic of `Transfer(address,address,uint256)`.
const TRANSFER: B256 = b256!("0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// How a transaction is supposed to be executed.
#[derive(Clone, Copy, Debug)]
pub struct Supposition<'a> {
    /// Native contracts that are elsewhere.
    pub natives: &'a Natives,
    /// The rules of a block hold, but for those about who signs.
    pub validate: bool,
    /// Payments are logged.
    pub transfers: bool,
    /// How many logs the block has before, those counted that were taken back.
    pub first_log: u64,
    /// Bytes that logs and output may have.
    pub room: usize,
}

/// What a supposed transaction did.
pub struct Supposed {
    /// As of every transaction; its logs are those that a receipt has.
    pub outcome: Outcome,
    /// Gas before anything was given back.
    pub peak_gas: u64,
    /// Why it failed, in the words of geth.
    pub failure: Option<&'static str>,
    /// Logs with their numbers, payments among them.
    pub logs: Vec<(u64, Log)>,
    /// How many logs the block has now.
    pub next_log: u64,
    /// They have more bytes than there is room for.
    pub too_long: bool,
}

/// Executes `tx` on `view` inside `block`; its effects stay in the view.
///
/// # Errors
/// When the store fails; a transaction that cannot be executed is the inner error.
pub fn suppose(
    view: &mut StateView,
    block: &BlockContext,
    tx: &Tx,
    how: &Supposition<'_>,
) -> Result<Result<Supposed, Refusal>, Fault> {
    let mut context = context(view, block, if how.validate { Rules::Block } else { Rules::Question });
    context.cfg.disable_eip3607 = true;
    context.cfg.disable_base_fee = !how.validate;
    context.cfg.tx_gas_limit_cap = Some(u64::MAX);
    let watcher = Transfers { payments: how.transfers, next: how.first_log, room: how.room, ..Transfers::default() };
    let mut evm = context
        .build_mainnet_with_inspector(watcher)
        .with_precompiles(Precompiles::with(block.spec, how.natives.clone()));
    let mut env = tx_env(tx.sender, &tx.envelope);
    // Nobody asks for the last nonce there is, but where nonces do not count it may be named.
    if !how.validate && env.nonce == u64::MAX && env.kind.is_call() {
        env.nonce = 0;
    }
    let result = evm.inspect_one_tx(env);
    let changes = evm.finalize();
    let peak_gas = result.as_ref().map_or(0, peak_gas);
    let result = settle(result, tx.sender, block.base_fee)?;
    if result.is_ok() {
        evm.ctx.db_mut().commit(changes);
    }
    evm.ctx.db_mut().failure()?;
    let Transfers { logs, next, failure, full, .. } = evm.inspector;
    Ok(result.map(|outcome| Supposed { outcome, peak_gas, failure, logs, next_log: next, too_long: full }))
}

/// The watcher of logs and payments.
#[derive(Default)]
struct Transfers {
    payments: bool,
    logs: Vec<(u64, Log)>,
    next: u64,
    /// How many logs there were when each running frame began.
    begun: Vec<usize>,
    failure: Option<&'static str>,
    room: usize,
    full: bool,
}

/// Bytes of a log beside its data, as it is written.
const LOG: usize = 1_000;

impl Transfers {
    fn keep(&mut self, log: Log) {
        match self.room.checked_sub(LOG + 2 * log.data.data.len()) {
            Some(left) => {
                self.room = left;
                self.logs.push((self.next, log));
            }
            None => self.full = true,
        }
        self.next += 1;
    }

    fn begin(&mut self, from: Address, to: Address, value: U256) {
        self.begun.push(self.logs.len());
        if self.payments && !value.is_zero() {
            let topics = vec![TRANSFER, from.into_word(), to.into_word()];
            let data = Bytes::from(value.to_be_bytes::<32>());
            self.keep(Log { address: TOKEN, data: LogData::new_unchecked(topics, data) });
        }
    }

    fn end(&mut self, result: &InterpreterResult) {
        let Some(begun) = self.begun.pop() else { return };
        let failure = failure::failure(result.result);
        if failure.is_some() {
            self.logs.truncate(begun);
        }
        if self.begun.is_empty() {
            self.failure = failure;
        }
    }
}

impl<C: ContextTr> Inspector<C> for Transfers {
    fn call(&mut self, _: &mut C, inputs: &mut CallInputs) -> Option<CallOutcome> {
        let value = match inputs.scheme {
            CallScheme::Call => inputs.value.get(),
            _ => U256::ZERO,
        };
        self.begin(inputs.caller, inputs.target_address, value);
        None
    }

    fn call_end(&mut self, _: &mut C, _: &CallInputs, outcome: &mut CallOutcome) {
        self.end(&outcome.result);
    }

    fn create(&mut self, _: &mut C, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        // The address is not known before it ends.
        self.begin(inputs.caller(), Address::ZERO, inputs.value());
        None
    }

    fn create_end(&mut self, _: &mut C, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        if let (Some(address), Some(begun)) = (outcome.address, self.begun.last())
            && let Some((_, log)) = self.logs.get_mut(*begun).filter(|_| self.payments && !inputs.value().is_zero())
        {
            let topics = vec![TRANSFER, inputs.caller().into_word(), address.into_word()];
            log.data = LogData::new_unchecked(topics, log.data.data.clone());
        }
        self.end(&outcome.result);
    }

    fn log(&mut self, _: &mut C, log: Log) {
        self.keep(log);
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        self.begin(contract, target, value);
        self.begun.pop();
    }
}
