//! A classifier of table rows in a folder: `model.json` says what the columns, labels and layers are, `weights.safetensors` has the
//! layers as `torch.nn.Sequential` names them.

use super::folder;
use super::head::Dense;
use super::json::Fields;
use super::tensors::Tensors;
use super::{CompileError, MAX_JSON};
use crate::frontend::settings::{Activation, Column, Label, inputs};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// Most layers, most labels.
const MAX_LAYERS: usize = 64;
const MAX_LABELS: usize = 1 << 10;

/// What a folder says.
pub(crate) struct Table {
    pub columns: Vec<Column>,
    pub inputs: usize,
    pub labels: Vec<Label>,
    pub dense: Vec<Dense>,
}

/// A column as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    low: Option<f64>,
    high: Option<f64>,
    words: Option<Vec<String>>,
}

impl Table {
    /// What a folder says, if it is one of a classifier of rows.
    pub(crate) fn of(place: &Path) -> Result<Option<Self>, CompileError> {
        folder::is_of_rows(place).then(|| Self::read(place)).transpose()
    }

    fn read(place: &Path) -> Result<Self, CompileError> {
        let mut fields = Fields::read(&place.join(folder::ROWS[0]), MAX_JSON)?;
        match fields.text("format")?.as_deref() {
            Some("sahara-table-1") => {}
            other => return Err(fields.refuse(format!("\"format\": {:?}", other.unwrap_or_default()))),
        }
        let written: Vec<Written> = list(&mut fields, "columns")?;
        let columns = written.into_iter().map(|column| match column {
            Written { name, low: Some(low), high: Some(high), words: None } => Some(Column::Range { name, low, high }),
            Written { name, low: None, high: None, words: Some(words) } => Some(Column::Words { name, words }),
            _ => None,
        });
        let columns: Option<Vec<Column>> = columns.map(|column| column.filter(Column::is_sound)).collect();
        let columns =
            columns.ok_or_else(|| fields.bad("a column has no range from low to high, and no words".into()))?;
        let inputs = inputs(&columns).ok_or_else(|| fields.bad("no columns, or too many".into()))?;
        let labels: Vec<String> = list(&mut fields, "labels")?;
        let layers: Vec<String> = list(&mut fields, "layers")?;
        if labels.len() < 2 || labels.len() > MAX_LABELS || labels.iter().any(|label| label.len() > 200) {
            return Err(fields.bad(format!("labels are 2 to {MAX_LABELS}, of at most 200 bytes")));
        }
        let mut tensors = Tensors::open(&[place.join(folder::ROWS[1])])?;
        let (mut dense, mut width): (Vec<Dense>, usize) = (Vec::new(), inputs);
        if layers.len() > MAX_LAYERS {
            return Err(fields.bad(format!("{} layers, more than {MAX_LAYERS}", layers.len())));
        }
        for (index, layer) in layers.iter().enumerate() {
            let words: Vec<&str> = layer.split(' ').collect();
            match (&words[..], dense.last_mut()) {
                (["relu"], Some(last)) if last.activation == Activation::Identity => last.activation = Activation::Relu,
                (["dense", from, to], _) => {
                    let size = |word: &str| word.parse::<usize>().ok().filter(|size| (1..=1 << 14).contains(size));
                    let (Some(from), Some(to)) = (size(from), size(to)) else {
                        return Err(fields.bad(format!("{layer:?} is no layer of 1 to 16384 numbers")));
                    };
                    if from != width {
                        return Err(
                            fields.bad(format!("layer {index} takes {from} numbers, what comes in is {width} wide"))
                        );
                    }
                    let linear = tensors.linear_at(&index.to_string(), from, to)?;
                    dense.push(Dense::new(linear, Activation::Identity));
                    width = to;
                }
                _ => return Err(fields.refuse(format!("the layer {layer:?}"))),
            }
        }
        if width != labels.len() || dense.last().is_none_or(|last| last.activation != Activation::Identity) {
            return Err(fields.bad("the last layer is no linear one with an output for each label".into()));
        }
        fields.harmless(&["features", "inputs"]);
        fields.finish()?;
        tensors.finish(&[])?;
        Ok(Self { columns, inputs, labels: labels.into_iter().map(Label).collect(), dense })
    }
}

fn list<T: serde::de::DeserializeOwned>(fields: &mut Fields, key: &str) -> Result<Vec<T>, CompileError> {
    let value = fields.take(key).unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| fields.bad(format!("{key}: {error}")))
}
