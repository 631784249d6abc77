//! Tokens that are found before a text is cut up: what the files beside a tokenizer say of them is what it has, or the
//! reason why the model is refused.

use super::json::{Fields, value};
use super::{CompileError, MAX_JSON};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokenizers::{AddedToken, Tokenizer};

/// The added tokens of a tokenizer.
pub(super) struct Added {
    /// By content.
    known: BTreeMap<String, AddedToken>,
    /// Special tokens of `tokenizer.json`. The library keeps whether such a token is normalised and special, whatever is
    /// said of it later, so that is not compared.
    kept: BTreeSet<String>,
}

impl Added {
    /// Those of a tokenizer, which was read from `tokenizer.json` or made here.
    pub(super) fn of(tokenizer: &Tokenizer, from_json: bool) -> Self {
        let known: BTreeMap<String, AddedToken> =
            tokenizer.get_added_tokens_decoder().into_values().map(|token| (token.content.clone(), token)).collect();
        let special = known.values().filter(|token| from_json && token.special);
        let kept = special.map(|token| token.content.clone()).collect();
        Self { known, kept }
    }

    /// Special tokens that a file names: they are never cut up. Adds words of the vocabulary that were not special before.
    pub(super) fn read(&mut self, fields: &mut Fields, tokenizer: &mut Tokenizer) -> Result<(), CompileError> {
        let mut names = Vec::new();
        for key in ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token"] {
            names.extend(fields.take(key));
        }
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            match fields.take(key) {
                Some(Value::Array(list)) => names.extend(list),
                Some(Value::Object(map)) => names.extend(map.into_iter().map(|(_, token)| token)),
                Some(other) => return Err(fields.bad(format!("{key} is {other}"))),
                None => {}
            }
        }
        let mut missing = Vec::new();
        for name in names {
            let (token, flags) = token(fields, name, Some(true))?;
            let content = &token.content;
            match self.known.get(content) {
                Some(known) if flags && self.differ(known, &token) => return Err(other_flags(fields, content)),
                Some(_) => {}
                None if tokenizer.token_to_id(content).is_none() => {
                    let what = format!("the special token {content:?}, which the tokenizer does not have,");
                    return Err(fields.refuse(what));
                }
                None => {
                    missing.push(token.clone());
                    self.known.insert(token.content.clone(), token);
                }
            }
        }
        tokenizer.add_special_tokens(missing).map_err(|e| fields.bad(format!("special tokens: {e}")))?;
        match fields.take("added_tokens_decoder") {
            Some(Value::Object(added)) => {
                added.into_iter().try_for_each(|(id, asked)| self.compare(fields, &id, asked, tokenizer))
            }
            Some(other) => Err(fields.bad(format!("added_tokens_decoder is {other}"))),
            None => Ok(()),
        }
    }

    /// An added token that a file lists must be the tokenizer's, with the same number and flags.
    fn compare(&self, fields: &Fields, id: &str, asked: Value, tokenizer: &Tokenizer) -> Result<(), CompileError> {
        let (asked, _) = token(fields, asked, None)?;
        let content = &asked.content;
        match self.known.get(content) {
            Some(known) if tokenizer.token_to_id(content).map(|found| found.to_string()).as_deref() == Some(id) => {
                if self.differ(known, &asked) {
                    Err(other_flags(fields, content))
                } else {
                    Ok(())
                }
            }
            _ => {
                let what =
                    format!("the added token {content:?} with the number {id}, which the tokenizer does not have,");
                Err(fields.refuse(what))
            }
        }
    }

    /// Whether a token would be found in other places.
    fn differ(&self, known: &AddedToken, asked: &AddedToken) -> bool {
        let places = |token: &AddedToken| (token.single_word, token.lstrip, token.rstrip);
        let kind = |token: &AddedToken| (token.normalized, token.special);
        places(known) != places(asked) || (!self.kept.contains(&known.content) && kind(known) != kind(asked))
    }
}

/// `special_tokens_map.json` and `added_tokens.json`: they must say what the tokenizer has.
pub(super) fn special_files(folder: &Path, added: &mut Added, tokenizer: &mut Tokenizer) -> Result<(), CompileError> {
    let mut fields = Fields::read_if_there(&folder.join("special_tokens_map.json"), MAX_JSON)?;
    added.read(&mut fields, tokenizer)?;
    fields.finish()?;
    let path = folder.join("added_tokens.json");
    if !path.exists() {
        return Ok(());
    }
    let Value::Object(listed) = value(&path, MAX_JSON)? else {
        return Err(CompileError::Config { path, problem: "not a JSON object".into() });
    };
    for (token, id) in listed {
        let found = tokenizer.token_to_id(&token).filter(|_| added.known.contains_key(&token));
        if found.is_none() || found.map(u64::from) != id.as_u64() {
            let what = format!("the added token {token:?} with the number {id}, which the tokenizer does not have,");
            return Err(CompileError::Unsupported { path, what });
        }
    }
    Ok(())
}

/// A token as files write it, a text or an object with flags, and whether it had flags. `special` overrules the object.
fn token(fields: &Fields, value: Value, special: Option<bool>) -> Result<(AddedToken, bool), CompileError> {
    if let Value::String(content) = value {
        return Ok((AddedToken::from(content, special.unwrap_or(false)), false));
    }
    let mut object = Fields::inside(fields.path(), value)?;
    object.harmless(&["__type", "id"]);
    let Some(content) = object.text("content")? else { return Err(fields.bad("a token without content".into())) };
    let own = object.flag("special")?;
    let special = special.or(own).unwrap_or(false);
    let token = AddedToken::from(content, special);
    let normalized = object.flag("normalized")?.unwrap_or(!special);
    let token = token.normalized(normalized).single_word(object.flag("single_word")?.unwrap_or(false));
    let token = token.lstrip(object.flag("lstrip")?.unwrap_or(false)).rstrip(object.flag("rstrip")?.unwrap_or(false));
    object.finish()?;
    Ok((token, true))
}

fn other_flags(fields: &Fields, content: &str) -> CompileError {
    fields.refuse(format!("the token {content:?} with other flags than the tokenizer has for it"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testmodel::{SEED, catalogue};
    use serde_json::json;

    /// The tokens of a text by a tokenizer whose configuration says this.
    fn ids(config: Value, text: &str) -> Result<Vec<u32>, CompileError> {
        let folder = tempfile::tempdir().unwrap();
        let case = catalogue().into_iter().find(|case| case.name == "bert-mean").unwrap();
        case.folder.write(folder.path(), SEED).unwrap();
        let mut tokenizer = Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        tokenizer.with_padding(None).with_truncation(None).unwrap();
        let mut fields = Fields::inside(Path::new("x.json"), config).unwrap();
        Added::of(&tokenizer, true).read(&mut fields, &mut tokenizer)?;
        fields.finish()?;
        Ok(tokenizer.encode(text, false).unwrap().get_ids().to_vec())
    }

    const TEXT: &str = "x[MASK]y private xprivatey";
    const CUT_UP: [u32; 13] = [28, 4, 29, 126, 28, 48, 50, 41, 54, 33, 52, 37, 57];

    #[test]
    fn a_further_special_token_is_never_cut_up_and_saying_again_what_is_there_changes_nothing() {
        assert_eq!(ids(json!({}), TEXT).unwrap(), CUT_UP);
        let mask = json!({"content": "[MASK]", "lstrip": false, "rstrip": false, "single_word": false,
            "normalized": false, "special": true});
        let again = json!({"mask_token": mask, "sep_token": "[SEP]", "added_tokens_decoder": {"4": mask}});
        assert_eq!(ids(again, TEXT).unwrap(), CUT_UP);
        let special = |token: Value| ids(json!({"additional_special_tokens": [token]}), TEXT).unwrap();
        assert_eq!(special(json!("private")), [28, 4, 29, 126, 28, 126, 29]);
        assert_eq!(special(json!({"content": "private", "single_word": true})), CUT_UP, "only as a word of its own");
    }

    #[test]
    fn other_flags_and_words_that_are_not_added_are_refused() {
        let mask = |flag: &str| json!({"content": "[MASK]", "special": true, flag: true});
        for flag in ["single_word", "lstrip", "rstrip"] {
            for config in [json!({"mask_token": mask(flag)}), json!({"added_tokens_decoder": {"4": mask(flag)}})] {
                let said = ids(config, TEXT).unwrap_err().to_string();
                assert!(said.contains("the token \"[MASK]\" with other flags"), "{flag}: {said}");
            }
        }
        for (config, part) in [
            (json!({"added_tokens_decoder": {"126": {"content": "private"}}}), "the added token \"private\""),
            (json!({"added_tokens_decoder": {"5": mask("special")}}), "the added token \"[MASK]\" with the number 5"),
            (json!({"added_tokens_decoder": ["private"]}), "added_tokens_decoder is"),
            (json!({"mask_token": {"content": "[MASK]", "score": 1}}), "\"score\": 1"),
            (json!({"mask_token": {"lstrip": true}}), "without content"),
            (
                json!({"additional_special_tokens": ["private", {"content": "private", "lstrip": true}]}),
                "the token \"private\" with other flags",
            ),
        ] {
            let said = ids(config, TEXT).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
