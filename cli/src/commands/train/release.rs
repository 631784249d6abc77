//! A trained encoder as other programs read it, and the check that it is what was trained.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use sahara::home::{create_private_dir, write_atomic};
use sahara::models::{Model, ModelInfo};
use sahara_circuits::float::FloatModel;
use sahara_circuits::hf::folder;
use sahara_circuits::trainable::Trainable;
use sahara_privacy::train::transformer::{Classifier, Tensor, Texts, Tuning};
use serde_json::{Value, json};

use super::classifier;
use crate::error::{Blame, Error, Result};
use crate::progress::Indicator;

/// How far its outputs may be from the trained one's, times the largest of them or 1.
const TOLERANCE: f32 = 1e-4;

/// What is released.
pub struct Release<'a> {
    pub classifier: &'a Classifier,
    pub parameters: &'a [f32],
    pub labels: &'a [String],
    /// What it began with.
    pub base: &'a Model,
}

impl Release<'_> {
    /// Whether training has changed every tensor, to numbers.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_changes(&self, begun: &[f32]) -> Result<()> {
        for (name, range) in self.classifier.tensors() {
            let own = &self.parameters[range.clone()];
            if own.iter().any(|value| !value.is_finite()) {
                let todo = "take a smaller --rate; ε is spent";
                return Err(Error::user(format!("{name} has grown beyond all bounds: {todo}")));
            }
            if own == &begun[range] {
                return Err(Error::fault(format!("training has not changed {name}")));
            }
        }
        Ok(())
    }

    /// Refuses, before anything is spent, what could not be read once it is trained.
    ///
    /// # Errors
    /// When the merged model cannot be written, or not be read.
    pub fn try_merged(&self) -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::io("creating", &std::env::temp_dir(), error))?;
        self.write_merged(folder.path())?;
        let read = FloatModel::load(folder.path());
        read.map(drop).map_err(|error| Error::wrap("trying what will be released", Blame::User, error))
    }

    /// Writes adapter and merged model, reads the latter again and asks it the first of these texts.
    ///
    /// # Errors
    /// When a file cannot be written, or the merged model gives other outputs than the trained one, or other labels in integers.
    pub fn write(&self, to: &Path, texts: &[String], progress: &Indicator) -> Result<()> {
        if let (Some(tensors), Tuning::Adapters(adapters)) =
            (self.classifier.adapter_tensors(self.parameters), self.classifier.tuning())
        {
            let folder = to.join("adapter");
            create_private_dir(&folder)?;
            let targets: Vec<&str> = adapters.targets.iter().map(|target| target.name()).collect();
            let config = json!({
                "peft_type": "LORA",
                "task_type": "SEQ_CLS",
                "base_model_name_or_path": base_name(&self.base.info),
                "r": adapters.rank,
                "lora_alpha": adapters.alpha,
                "lora_dropout": 0.0,
                "target_modules": targets,
                "modules_to_save": ["classifier"],
                "bias": "none",
                "fan_in_fan_out": false,
                "inference_mode": true,
                "use_rslora": false,
                "use_dora": false,
            });
            put(&folder, "adapter_config.json", &config)?;
            weights(&folder, "adapter_model.safetensors", tensors)?;
        }
        let merged = to.join("merged");
        create_private_dir(&merged)?;
        self.write_merged(&merged)?;
        self.check_merged(&merged, texts, progress)
    }

    /// A folder as `BertForSequenceClassification` is stored.
    fn write_merged(&self, to: &Path) -> Result<()> {
        let from = &self.base.folder;
        let wrap = |error| Error::wrap(&format!("reading {}", self.base.info.name), Blame::User, error);
        for (name, _) in folder::files(from).map_err(wrap)? {
            let tokenizer = name.to_str().filter(|name| name.ends_with(".txt") || name.contains("token"));
            if let Some(name) = tokenizer.filter(|name| !name.contains('/')) {
                fs::copy(from.join(name), to.join(name)).map_err(|e| Error::io("copying", &from.join(name), e))?;
            }
        }
        let path = from.join("config.json");
        let bytes = fs::read(&path).map_err(|error| Error::io("reading", &path, error))?;
        let mut config: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Error::fault_from(format!("reading {}", path.display()), error))?;
        config["architectures"] = json!(["BertForSequenceClassification"]);
        let numbered = || self.labels.iter().enumerate();
        config["id2label"] = numbered().map(|(i, label)| (i.to_string(), json!(label))).collect();
        config["label2id"] = numbered().map(|(i, label)| (label.clone(), json!(i))).collect();
        config["problem_type"] = json!("single_label_classification");
        put(to, "config.json", &config)?;
        let mut tensors = self.classifier.merged(self.parameters).encoder("bert.");
        tensors.extend(self.classifier.head_tensors(self.parameters, "classifier"));
        weights(to, "model.safetensors", tensors)
    }

    fn check_merged(&self, merged: &Path, texts: &[String], progress: &Indicator) -> Result<()> {
        let doing = "reading the merged model again";
        let tokens = Trainable::load(merged).map_err(|error| Error::wrap(doing, Blame::Fault, error))?;
        let expected = |index: usize| {
            let failed = |error: &dyn std::fmt::Display| Error::fault(format!("asking the trained model: {error}"));
            let tokens = tokens.tokens(&texts[index]).map_err(|error| failed(&error))?;
            let one = Texts::new([tokens.as_slice()], vec![0]).map_err(|error| failed(&error))?;
            self.classifier.logits(self.parameters, &one).map_err(|error| failed(&error))
        };
        classifier::check_outputs(merged, texts, TOLERANCE, expected, progress)
    }
}

/// What others may know of a model's origin: its name on the hub, or else its name here; never a path of this machine.
fn base_name(base: &ModelInfo) -> &str {
    base.source.strip_prefix("hub ").unwrap_or(&base.name)
}

fn put(folder: &Path, name: &str, value: &Value) -> Result<()> {
    Ok(write_atomic(&folder.join(name), format!("{value:#}\n").as_bytes())?)
}

/// Writes tensors as a file that torch's libraries read.
fn weights(folder: &Path, name: &str, tensors: Vec<Tensor>) -> Result<()> {
    use safetensors::tensor::{Dtype, TensorView};
    let path = folder.join(name);
    let failed = |error| Error::fault_from(format!("writing {}", path.display()), error);
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|(tensor, bytes)| Ok((&tensor.name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(views, Some(metadata)).map_err(failed)?;
    Ok(write_atomic(&path, &file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_from_a_folder_is_told_by_its_name_alone() {
        let base = |source: &str| ModelInfo { format: 1, name: "own".into(), source: source.into(), files: Vec::new() };
        assert_eq!(base_name(&base("/home/somebody/clients/model")), "own");
        assert_eq!(base_name(&base("hub owner/name")), "owner/name");
    }
}
