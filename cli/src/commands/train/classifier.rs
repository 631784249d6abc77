//! A trained classifier of texts as a model folder: the encoder that it was trained over, unit length, its linear layer and the
//! names of its outputs. Stock `sentence-transformers` reads the folder, and `sahara model pull` makes an integer graph of it.
//!
//! A run is done when the folder was read again and found to be what was trained: the same outputs on some rows, and a graph that
//! chooses the same labels.

use std::fs;
use std::path::{Path, PathBuf};

use sahara::models::Model;
use sahara_circuits::float::FloatModel;
use sahara_circuits::hf::{CompileError, folder};
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::ExecOptions;
use sahara_privacy::train::{Examples, Layer, Network, Pass};
use serde_json::{Value, json};

use super::folder::safetensors;
use crate::error::{Blame, Error, Result};
use crate::progress::Indicator;

/// How far an output read again may be from the trained one, for outputs up to 1; more for larger ones, in proportion.
pub const TOLERANCE: f32 = 1e-3;
/// How far an integer output may be from the float one, in the same way: the weights of the encoder are rounded.
pub const INTEGER_TOLERANCE: f32 = 0.25;
/// Rows that are tried.
pub const TRIED: usize = 16;

/// The encoder under a head that is to be trained.
pub struct Encoder {
    name: String,
    folder: PathBuf,
    /// Its modules but the last, which brings vectors to unit length; the head brings its own.
    modules: Vec<Value>,
}

impl Encoder {
    /// The encoder of a model that embeds, before anything is spent on a head that nothing could read.
    ///
    /// # Errors
    /// When it is a classifier, or has linear layers of its own behind the pooling.
    pub fn of(model: &Model) -> Result<Self> {
        let name = model.info.name.clone();
        let path = model.folder.join("modules.json");
        let mut modules = match path.is_file() {
            false => vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")],
            true => {
                let bytes = fs::read(&path).map_err(|error| Error::io("reading", &path, error))?;
                serde_json::from_slice::<Vec<Value>>(&bytes)
                    .map_err(|error| Error::fault_from(format!("reading {}", path.display()), error))?
            }
        };
        modules.retain(|module| !["Normalize", "Dropout"].contains(&kind(module)));
        if model.compiled.frontend.classes().is_some() || modules.iter().any(|module| kind(module) == "Dense") {
            let todo = "name a model whose vectors are pooled tokens with --model";
            return Err(Error::user(format!("{name} has linear layers of its own: {todo}")));
        }
        Ok(Self { name, folder: model.folder.clone(), modules })
    }

    /// Writes the folder: a copy of the encoder's files, the head, the labels.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn write(&self, into: &Path, network: &Network, parameters: &[f32], labels: &[String]) -> Result<()> {
        let Some(&Layer::Dense { inputs, outputs }) = network.layers().first() else {
            return Err(Error::fault("a head is one linear layer"));
        };
        let wrap = |error| Error::wrap(&format!("reading {}", self.name), Blame::User, error);
        for (name, _) in folder::files(&self.folder).map_err(wrap)? {
            let (from, to) = (self.folder.join(&name), into.join(&name));
            make(to.parent().unwrap_or(into))?;
            fs::copy(&from, &to).map_err(|error| Error::io("copying", &from, error))?;
        }
        let pooling = into.join("1_Pooling");
        if !pooling.exists() && !self.folder.join("modules.json").exists() {
            put(
                &pooling,
                "config.json",
                &json!({"word_embedding_dimension": inputs, "pooling_mode_mean_tokens": true}),
            )?;
        }
        let (first, second) = (self.modules.len(), self.modules.len() + 1);
        let (unit, head) = (format!("{first}_Normalize"), format!("{second}_Dense"));
        let mut modules = self.modules.clone();
        modules.push(module(first, &unit, "Normalize"));
        modules.push(module(second, &head, "Dense"));
        make(&into.join(unit))?;
        let identity = "torch.nn.modules.linear.Identity";
        let layer =
            json!({"in_features": inputs, "out_features": outputs, "bias": true, "activation_function": identity});
        put(&into.join(&head), "config.json", &layer)?;
        let (_, weights) = safetensors(network, parameters, |_| "linear".to_owned())?;
        let path = into.join(&head).join("model.safetensors");
        fs::write(&path, weights).map_err(|error| Error::io("writing", &path, error))?;
        put(into, "modules.json", &Value::Array(modules))?;
        put(into, folder::CLASSIFIER, &json!({"format": 1, "labels": labels, "function": "softmax"}))
    }
}

/// Reads a released folder again, and compares it with the network that was trained, on the first of these texts and their rows.
///
/// # Errors
/// As [`check_outputs`], with [`TOLERANCE`].
pub fn check(
    released: &Path,
    network: &Network,
    parameters: &[f32],
    (texts, rows): (&[String], &Examples),
    progress: &Indicator,
) -> Result<()> {
    let expected = |index| Ok(outputs(network, parameters, rows.row(index)));
    check_outputs(released, texts, TOLERANCE, expected, progress)
}

/// Reads a released folder again, and compares what it gives for the first of these texts with what was trained.
///
/// A classifier whose numbers could leave 32 bits on some text is released, too: it is one for this machine, and that is said.
///
/// # Errors
/// When an output of the folder is further from the expected one than `tolerance` times the largest, or 1; or when the integer graph
/// chooses another label where the two best are further apart than [`INTEGER_TOLERANCE`].
pub fn check_outputs(
    released: &Path,
    texts: &[String],
    tolerance: f32,
    expected: impl Fn(usize) -> Result<Vec<f32>>,
    progress: &Indicator,
) -> Result<()> {
    progress.note("reading the classifier again");
    let failed = |what: &str| format!("{what} of the released classifier");
    let float = FloatModel::load(released)
        .map_err(|error| Error::wrap(&failed("reading the float model"), Blame::Fault, error))?;
    let compiled = match CompiledModel::compile(released, "released", &mut |_| {}) {
        Ok(compiled) => Ok(compiled),
        Err(error @ CompileError::Range { .. }) => Err(error.to_string()),
        Err(error) => return Err(Error::wrap(&failed("making the integer graph"), Blame::Fault, error)),
    };
    for (index, text) in texts.iter().enumerate().take(TRIED) {
        let expected = expected(index)?;
        let answered =
            float.embed(text).map_err(|error| Error::wrap(&failed("running the float model"), Blame::Fault, error))?;
        let allowed = tolerance * largest(&expected).max(1.0);
        if distance(&answered, &expected) > allowed {
            let said = "the released classifier gives other outputs than the trained one";
            return Err(Error::fault(format!("{said}: {answered:?} instead of {expected:?} for text {}", index + 1)));
        }
        let Ok(compiled) = &compiled else { continue };
        let encoded = compiled
            .frontend
            .encode(text)
            .map_err(|error| Error::wrap(&failed("encoding a text"), Blame::Fault, error))?;
        let run = compiled
            .execute(encoded.bucket, &encoded.inputs, &ExecOptions::default())
            .map_err(|error| Error::wrap(&failed("running the integer graph"), Blame::Fault, error))?;
        let integers = compiled.frontend.decode(&encoded, &run.outputs);
        agree(&integers, &expected).map_err(|said| Error::fault(format!("text {}: {said}", index + 1)))?;
    }
    if let Err(why) = compiled {
        progress.note(&format!("the classifier can be asked here alone, not on share nodes: {why}"));
    }
    Ok(())
}

/// Whether integers choose the label that floats do, unless these hardly choose.
fn agree(integers: &[f32], floats: &[f32]) -> Result<(), String> {
    let (chosen, margin) = choice(floats);
    let allowed = INTEGER_TOLERANCE * largest(floats).max(1.0);
    if integers.len() == floats.len() && (choice(integers).0 == chosen || margin <= allowed) {
        return Ok(());
    }
    Err(format!("the integer graph chooses another label: {integers:?}, where the float model has {floats:?}"))
}

/// The largest output's place, and how far the next one is below it.
fn choice(outputs: &[f32]) -> (usize, f32) {
    let best = (0..outputs.len()).max_by(|&a, &b| outputs[a].total_cmp(&outputs[b])).unwrap_or(0);
    let others = outputs.iter().enumerate().filter(|(place, _)| *place != best).map(|(_, &output)| output);
    let next = others.fold(f32::NEG_INFINITY, f32::max);
    (best, outputs.get(best).map_or(0.0, |output| output - next))
}

fn outputs(network: &Network, parameters: &[f32], row: &[f32]) -> Vec<f32> {
    let mut pass = Pass::new(network, false);
    pass.load(parameters);
    pass.inputs(1).copy_from_slice(row);
    pass.forward(parameters)[..network.classes()].to_vec()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().map(|value| value.abs()).fold(0.0, f32::max)
}

/// Largest difference; none is small enough between lists of different lengths, or if there is a number that is none.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() || a.iter().chain(b).any(|value| !value.is_finite()) {
        return f32::INFINITY;
    }
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

fn module(index: usize, path: &str, kind: &str) -> Value {
    let class = format!("sentence_transformers.models.{kind}");
    json!({"idx": index, "name": index.to_string(), "path": path, "type": class})
}

fn kind(module: &Value) -> &str {
    module["type"].as_str().and_then(|class| class.rsplit('.').next()).unwrap_or_default()
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Error::io("creating", folder, error))
}

fn put(folder: &Path, name: &str, value: &Value) -> Result<()> {
    make(folder)?;
    let path = folder.join(name);
    fs::write(&path, format!("{value:#}\n")).map_err(|error| Error::io("writing", &path, error))
}

#[cfg(test)]
mod tests {
    use sahara::home::Home;
    use sahara::models::{Origin, Store};
    use sahara::progress::Progress;
    use sahara_circuits::testmodel::{SEED, TestFolder, catalogue};

    use super::*;

    /// A model of the catalogue in a store.
    fn stored(dir: &Path, name: &str) -> Model {
        let case = catalogue().into_iter().find(|case| case.name == name).unwrap();
        let from = dir.join("from");
        TestFolder { ..case.folder }.write(&from, SEED).unwrap();
        let store = Store::new(&Home::locate(Some(dir.join("home"))).unwrap());
        let quiet = Progress::silent();
        store.pull(&from.display().to_string(), Some("base"), Origin::Any, false, &quiet).unwrap();
        store.open("base", &quiet).unwrap()
    }

    #[test]
    fn a_folder_that_is_not_what_was_trained_is_not_released() {
        for name in ["bert-mean-normalize", "bert-plain"] {
            let dir = tempfile::tempdir().unwrap();
            let model = stored(dir.path(), name);
            let texts: Vec<String> = ["a good film", "not the bank", "hello"].map(str::to_owned).to_vec();
            let float = FloatModel::load(&model.folder).unwrap();
            let unit = |text: &String| {
                let vector = float.embed(text).unwrap();
                let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                vector.into_iter().map(move |value| value / norm)
            };
            let rows = Examples::new(64, texts.iter().flat_map(unit).collect(), vec![0, 1, 1]).unwrap();
            let network = Network::logistic(64, 2).unwrap();
            let parameters: Vec<f32> = (0..130_u8).map(|at| f32::from(at % 7) - 3.0).collect();
            let encoder = Encoder::of(&model).unwrap();
            let (released, labels) = (dir.path().join("released"), ["bad".to_owned(), "good".to_owned()]);
            encoder.write(&released, &network, &parameters, &labels).unwrap();
            check(&released, &network, &parameters, (&texts, &rows), &Indicator::silent()).unwrap();
            let mut others = parameters.clone();
            others[129] += 0.1;
            let error =
                check(&released, &network, &others, (&texts, &rows), &Indicator::silent()).unwrap_err().report();
            assert!(error.contains("other outputs than the trained one"), "{error}");
        }
    }

    #[test]
    fn integers_that_choose_another_label_are_refused_unless_floats_hardly_choose() {
        assert!(agree(&[0.0, 1.0], &[0.2, 0.9]).is_ok());
        assert!(agree(&[0.0, 0.1], &[0.2, 0.1]).is_ok(), "0.1 apart");
        assert!(agree(&[0.0, 1.0], &[1.0, 0.0]).unwrap_err().contains("another label"));
        assert!(agree(&[0.0, 9.0], &[10.0, 9.0]).is_ok(), "1 of 10");
        assert!(agree(&[1.0], &[1.0, 0.0]).is_err());
        assert_eq!(distance(&[1.0], &[1.0, 2.0]), f32::INFINITY);
        assert_eq!(distance(&[f32::NAN], &[1.0]), f32::INFINITY);
    }

    #[test]
    fn a_model_with_layers_behind_its_pooling_is_no_encoder() {
        for name in ["bert-mean-dense-tanh", "bert-classifier"] {
            let dir = tempfile::tempdir().unwrap();
            let error = Encoder::of(&stored(dir.path(), name)).err().unwrap().report();
            assert!(error.contains("linear layers of its own"), "{error}");
        }
    }
}
