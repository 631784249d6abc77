//! The state that an execution touches: as it was before, or what changed (geth's prestateTracer).

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, hex::encode_prefixed};
use revm::state::{Account as EvmAccount, EvmState as Changes};
use serde_json::{Map, Value, json};

use crate::{
    error::StoreError,
    state::{Account, StateView},
};

/// What is written of the state.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrestateOptions {
    /// What changed, before and after, instead of all that was touched.
    pub diff_mode: bool,
    /// Leaves out code.
    pub disable_code: bool,
    /// Leaves out storage.
    pub disable_storage: bool,
}

/// Bytes of an account and of a word, about, as both are gathered.
const ACCOUNT: usize = 300;
const WORD: usize = 300;

/// Writes what `changes` touched of the state `before`; nothing if that has more than `budget` bytes.
pub fn write(
    before: &mut StateView,
    changes: &Changes,
    options: PrestateOptions,
    budget: usize,
) -> Result<Option<String>, StoreError> {
    // The map's order is random; the answer's is not.
    let sorted: BTreeMap<&Address, &EvmAccount> = changes.iter().collect();
    let (mut pre, mut post) = (Map::new(), Map::new());
    // What is written is counted as it is gathered: a transaction can touch thousands of accounts with code.
    let mut room = budget;
    for (address, now) in sorted {
        let words = if options.disable_storage { 0 } else { now.storage.len() };
        let mut bytes = ACCOUNT + words * WORD;
        let was = before.account(*address)?;
        let mut old = was.as_ref().map_or_else(Map::new, |was| fields(was, None));
        if let Some(was) = was.as_ref().filter(|was| was.code_hash != KECCAK256_EMPTY && !options.disable_code) {
            let code = before.code(was.code_hash)?;
            bytes += 2 * code.len();
            if bytes <= room {
                old.insert("code".into(), json!(encode_prefixed(code)));
            }
        }
        match room.checked_sub(bytes) {
            Some(left) => room = left,
            None => return Ok(None),
        }
        let gone = now.is_selfdestructed();
        let (mut old_words, mut new_words) = (Map::new(), Map::new());
        let slots: BTreeMap<_, _> = now.storage.iter().collect();
        for (slot, word) in slots.into_iter().filter(|_| !options.disable_storage) {
            let value = before.slot(*address, *slot)?;
            if options.diff_mode && value == word.present_value {
                continue;
            }
            put_word(&mut old_words, *slot, value, !options.diff_mode && was.is_some());
            put_word(&mut new_words, *slot, word.present_value, false);
        }
        if !old_words.is_empty() {
            old.insert("storage".into(), Value::Object(old_words.clone()));
        }
        if !options.diff_mode {
            old.entry("balance").or_insert_with(|| json!("0x0"));
            pre.insert(address.to_string().to_lowercase(), Value::Object(old));
            continue;
        }
        let new = Account {
            nonce: now.info.nonce,
            balance: now.info.balance,
            code_hash: if now.info.code_hash.is_zero() { KECCAK256_EMPTY } else { now.info.code_hash },
            ..Account::default()
        };
        let mut changed = fields(&new, Some(&was.clone().unwrap_or_default()));
        let fresh_code = was.as_ref().map_or(KECCAK256_EMPTY, |was| was.code_hash) != new.code_hash;
        if let Some(code) = now.info.code.as_ref().filter(|_| fresh_code && !options.disable_code) {
            let code = code.original_bytes();
            match room.checked_sub(2 * code.len()) {
                Some(left) => room = left,
                None => return Ok(None),
            }
            changed.insert("code".into(), json!(encode_prefixed(code)));
        }
        if !new_words.is_empty() {
            changed.insert("storage".into(), Value::Object(new_words));
        }
        let touched = now.is_touched() && (gone || !changed.is_empty() || !old_words.is_empty());
        if !touched {
            continue;
        }
        let name = address.to_string().to_lowercase();
        if was.is_some() {
            pre.insert(name.clone(), Value::Object(old));
        }
        if !gone {
            post.insert(name, Value::Object(changed));
        }
    }
    let text = match options.diff_mode {
        true => json!({ "pre": pre, "post": post }).to_string(),
        false => Value::Object(pre).to_string(),
    };
    Ok(Some(text).filter(|text| text.len() <= budget))
}

/// Balance and nonce; of the new state, only what is not as in `old`.
fn fields(account: &Account, old: Option<&Account>) -> Map<String, Value> {
    let mut out = Map::new();
    if old.is_none_or(|old| old.balance != account.balance) {
        out.insert("balance".into(), json!(format!("{:#x}", account.balance)));
    }
    if old.map_or(account.nonce != 0, |old| old.nonce != account.nonce) {
        out.insert("nonce".into(), json!(account.nonce));
    }
    out
}

fn put_word(words: &mut Map<String, Value>, slot: U256, value: U256, with_zero: bool) {
    if with_zero || !value.is_zero() {
        words.insert(B256::from(slot).to_string(), json!(B256::from(value)));
    }
}
