//! Reads the JSON files of a model folder so that no key is passed over: each is read, known to be harmless, or the
//! reason why the model is refused.

use super::CompileError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The keys of one object that have not been accounted for yet.
pub(crate) struct Fields {
    path: PathBuf,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads a file that holds one JSON object of at most `limit` bytes.
    pub(crate) fn read(path: &Path, limit: u64) -> Result<Self, CompileError> {
        match value(path, limit)? {
            Value::Object(map) => Ok(Self { path: path.to_owned(), map }),
            _ => Err(CompileError::Config { path: path.to_owned(), problem: "not a JSON object".into() }),
        }
    }

    /// The file, or an object without keys if there is none.
    pub(crate) fn read_if_there(path: &Path, limit: u64) -> Result<Self, CompileError> {
        match path.exists() {
            true => Self::read(path, limit),
            false => Ok(Self { path: path.to_owned(), map: Map::new() }),
        }
    }

    /// An object inside of a file.
    pub(crate) fn inside(path: &Path, value: Value) -> Result<Self, CompileError> {
        match value {
            Value::Object(map) => Ok(Self { path: path.to_owned(), map }),
            _ => Err(CompileError::Config { path: path.to_owned(), problem: "not a JSON object".into() }),
        }
    }

    /// The file that is read.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a key; `null` counts as absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, CompileError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.bad(format!("{key} is {other}, not a text"))),
        }
    }

    /// Takes a whole number from 0 to `limit`.
    pub(crate) fn number(&mut self, key: &str, limit: usize) -> Result<Option<usize>, CompileError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        // Some libraries write 512.0.
        let number =
            value.as_u64().or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64));
        match number {
            Some(number) if number <= limit as u64 => Ok(Some(number as usize)),
            _ => Err(self.bad(format!("{key} is {value}, not a number from 0 to {limit}"))),
        }
    }

    /// Takes a number from 1 to `limit` that must be there.
    pub(crate) fn size(&mut self, key: &str, limit: usize) -> Result<usize, CompileError> {
        match self.number(key, limit)? {
            Some(0) => Err(self.bad(format!("{key} is 0"))),
            Some(size) => Ok(size),
            None => Err(self.bad(format!("missing field `{key}`"))),
        }
    }

    /// Takes a real number.
    pub(crate) fn real(&mut self, key: &str) -> Result<Option<f64>, CompileError> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.bad(format!("{key} is {value}, not a number"))),
        }
    }

    /// Takes a truth value.
    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>, CompileError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.bad(format!("{key} is {other}, not true or false"))),
        }
    }

    /// Takes a key that may only have this value.
    pub(crate) fn only(&mut self, key: &str, value: &Value) -> Result<(), CompileError> {
        match self.take(key) {
            Some(found) if found != *value => Err(self.refuse(format!("\"{key}\": {found}"))),
            _ => Ok(()),
        }
    }

    /// Passes over keys that cannot change an answer.
    pub(crate) fn harmless(&mut self, keys: &[&str]) {
        for key in keys {
            self.map.remove(*key);
        }
    }

    /// Refuses the model by the name of the first key that nobody accounted for.
    pub(crate) fn finish(mut self) -> Result<(), CompileError> {
        self.map.retain(|key, value| !value.is_null() && !key.starts_with("_comment"));
        match self.map.iter().next() {
            None => Ok(()),
            Some((key, value)) => {
                let mut shown = value.to_string();
                if shown.chars().count() > 60 {
                    shown = shown.chars().take(60).chain(['…']).collect();
                }
                Err(self.refuse(format!("\"{}\": {shown}", key.chars().take(60).collect::<String>())))
            }
        }
    }

    /// What is there is not what the field can hold.
    pub(crate) fn bad(&self, problem: String) -> CompileError {
        CompileError::Config { path: self.path.clone(), problem }
    }

    /// What is there is valid and not supported.
    pub(crate) fn refuse(&self, what: String) -> CompileError {
        CompileError::Unsupported { path: self.path.clone(), what }
    }
}

/// Reads a JSON file of at most `limit` bytes.
pub(crate) fn value(path: &Path, limit: u64) -> Result<Value, CompileError> {
    let bytes = super::read(path, limit)?;
    serde_json::from_slice(&bytes).map_err(|e| CompileError::Config { path: path.to_owned(), problem: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_that_nobody_read_is_refused_by_name() {
        let fields = |value| Fields::inside(Path::new("x/config.json"), value).unwrap();
        let mut known = fields(json!({"a": 1, "b": null, "c": "harmless", "d": 512.0}));
        assert_eq!(known.size("a", 3).unwrap(), 1);
        assert_eq!(known.number("d", 512).unwrap(), Some(512));
        known.harmless(&["c"]);
        known.finish().unwrap();
        let error = fields(json!({"rope_theta": 7})).finish().unwrap_err().to_string();
        assert!(error.contains("x/config.json") && error.contains("\"rope_theta\": 7"), "{error}");
        assert!(fields(json!({"a": -1})).number("a", 9).is_err());
        assert!(fields(json!({"a": 10})).number("a", 9).is_err());
        assert!(fields(json!({"a": true})).only("a", &json!(false)).is_err());
    }
}
