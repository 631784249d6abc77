//! One execution under the eyes of an inspector.

use revm::{
    DatabaseCommit, ExecuteEvm, InspectEvm, Inspector, MainBuilder, context::TxEnv, context_interface::ContextTr,
    state::EvmState as Changes,
};

use crate::{
    error::Fault,
    evm::{
        BlockContext, Call, CallResult,
        machine::{Ctx, Rules, call_env, context, settle, tx_env},
        provider::{Natives, Precompiles},
    },
    state::StateView,
    tx::Tx,
};

/// What is executed.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// A transaction of the block; its effects stay in the view.
    Tx(&'a Tx),
    /// A question; the view stays as it is.
    Call(&'a Call),
}

/// An execution that was watched, with who watched it.
pub struct Watched<I> {
    pub inspector: I,
    pub result: CallResult,
    pub changes: Changes,
}

/// Executes `subject` on `view` inside `block`, watched by `inspector`.
pub fn watch<'a, I>(
    view: &'a mut StateView,
    block: &BlockContext,
    natives: &Natives,
    subject: Subject<'_>,
    inspector: I,
) -> Result<Watched<I>, Fault>
where
    I: Inspector<Ctx<'a>>,
{
    let (rules, env): (Rules, TxEnv) = match subject {
        Subject::Tx(tx) => (Rules::Block, tx_env(tx.sender, &tx.envelope)),
        Subject::Call(call) => (Rules::Question, call_env(call)),
    };
    let sender = env.caller;
    let mut context = context(view, block, rules);
    if let Subject::Tx(tx) = subject {
        context.cfg.disable_eip3607 = tx.is_unsigned();
    }
    let mut evm = context
        .build_mainnet_with_inspector(inspector)
        .with_precompiles(Precompiles::with(block.spec, natives.clone()));
    let result = evm.inspect_one_tx(env);
    let changes = evm.finalize();
    let result = settle(result, sender, block.base_fee)?;
    if matches!(subject, Subject::Tx(_)) && result.is_ok() {
        evm.ctx.db_mut().commit(changes.clone());
    }
    evm.ctx.db_mut().failure()?;
    Ok(Watched { inspector: evm.inspector, result, changes })
}
