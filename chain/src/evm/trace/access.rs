//! Which accounts and slots a call touches, as an EIP-2930 access list.

use std::collections::{BTreeMap, BTreeSet};

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, U256};
use revm::{
    Inspector,
    bytecode::opcode::{
        BALANCE, CALL, CALLCODE, DELEGATECALL, EXTCODECOPY, EXTCODEHASH, EXTCODESIZE, SELFDESTRUCT, SLOAD, SSTORE,
        STATICCALL,
    },
    handler::PrecompileProvider,
    interpreter::{
        Interpreter,
        interpreter_types::{InputsTr, Jumps},
    },
};

use super::watch::{Subject, watch};
use crate::{
    error::Fault,
    evm::{
        BlockContext, Call, CallResult,
        machine::Ctx,
        provider::{Natives, Precompiles},
    },
    state::StateView,
};

/// Rounds until the list does not change any more: a list changes prices, and with them what a contract does.
const MAX_ROUNDS: usize = 8;

/// The access list of `call`, and what it does with it. Adds the gas that it took to find out to `spent`.
///
/// # Errors
/// When the store fails.
pub fn access_list(
    view: &mut StateView,
    block: &BlockContext,
    natives: &Natives,
    call: &Call,
    spent: &mut u64,
) -> Result<(AccessList, CallResult), Fault> {
    let precompiles = Precompiles::new(block.spec);
    let warm = <Precompiles as PrecompileProvider<Ctx<'_>>>::warm_addresses(&precompiles);
    let mut free: BTreeSet<Address> = warm.iter().copied().collect();
    free.insert(call.from);
    let to = match call.to {
        Some(to) => to,
        None => {
            let nonce = view.account(call.from)?.unwrap_or_default().nonce;
            call.from.create(nonce)
        }
    };
    free.insert(to);
    let mut call = call.clone();
    let mut list = listed(&call.access_list);
    let mut round = 0;
    loop {
        let touched = Touched { free: free.clone(), list: list.clone() };
        let watched = watch(view, block, natives, Subject::Call(&call), touched)?;
        *spent = spent.saturating_add(watched.result.as_ref().map_or(0, |outcome| outcome.gas_used));
        let found = watched.inspector.list;
        round += 1;
        if found == list || round == MAX_ROUNDS || watched.result.is_err() {
            return Ok((call.access_list, watched.result));
        }
        list = found;
        call.access_list = written(&list);
    }
}

type List = BTreeMap<Address, BTreeSet<U256>>;

fn listed(list: &AccessList) -> List {
    let words = |item: &AccessListItem| item.storage_keys.iter().map(|key| U256::from_be_bytes(key.0)).collect();
    list.0.iter().map(|item| (item.address, words(item))).collect()
}

fn written(list: &List) -> AccessList {
    let items = list.iter().map(|(address, slots)| AccessListItem {
        address: *address,
        storage_keys: slots.iter().map(|slot| B256::from(*slot)).collect(),
    });
    AccessList(items.collect())
}

struct Touched {
    /// Accounts that cost nothing extra.
    free: BTreeSet<Address>,
    list: List,
}

impl<C> Inspector<C> for Touched {
    fn step(&mut self, interp: &mut Interpreter, _: &mut C) {
        let account = |word: &U256| Address::from_word(B256::from(*word));
        match (interp.bytecode.opcode(), interp.stack.data().as_slice()) {
            (SLOAD | SSTORE, [.., slot]) => {
                self.list.entry(interp.input.target_address()).or_default().insert(*slot);
            }
            (BALANCE | EXTCODECOPY | EXTCODEHASH | EXTCODESIZE | SELFDESTRUCT, [.., address])
            | (CALL | CALLCODE | DELEGATECALL | STATICCALL, [.., address, _])
                if !self.free.contains(&account(address)) =>
            {
                self.list.entry(account(address)).or_default();
            }
            _ => {}
        }
    }
}
