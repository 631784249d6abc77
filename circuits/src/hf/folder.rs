//! Which files of a model folder count. Those are all that is read, copied and digested; a file that some library
//! would read and this program does not is the reason to refuse the model, by its name.

use super::json::value;
use super::{CompileError, MAX_JSON};
use crate::files::MAX_TOKENIZER;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Largest file of weights.
pub const MAX_WEIGHTS: u64 = 8 << 30;
/// Most files of weights.
const MAX_SHARDS: usize = 256;
/// Most modules of a pipeline.
const MAX_MODULES: usize = 16;

/// What makes a classifier of a pipeline that ends with linear layers: the names of its outputs.
pub const CLASSIFIER: &str = "classifier.json";

/// The files of a classifier of table rows: what its columns, labels and layers are, and their weights.
pub(crate) const ROWS: [&str; 2] = ["model.json", "weights.safetensors"];

/// What sentence-transformers may call the settings of the transformer, in its order of search.
pub(crate) const SENTENCE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Files beside the transformer's weights that are read.
const TRANSFORMER_FILES: [&str; 7] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
];

/// JSON files that no library reads to make an embedding.
const HARMLESS_JSON: [&str; 13] = [
    "generation_config.json",
    "data_config.json",
    "trainer_state.json",
    "train_results.json",
    "eval_results.json",
    "all_results.json",
    "ort_config.json",
    "quantize_config.json",
    "model_args.json",
    "model_index.json",
    "source.json",
    "report.json",
    "pytorch_model.bin.index.json",
];

/// The line that converts weights which only a program could unpack.
pub const CONVERT: &str = "unpickling can run code; convert it with python3 -c \"import torch, safetensors.torch as s; \
    s.save_file({k: v.contiguous().clone() for k, v in torch.load('pytorch_model.bin', map_location='cpu', \
    weights_only=True).items()}, 'model.safetensors')\" in its folder";

/// A module of a sentence-transformers pipeline after the transformer.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// The last part of its class's name, e.g. `Pooling`.
    pub kind: String,
    pub folder: PathBuf,
}

/// The files that count.
pub(crate) struct Contents {
    pub root: PathBuf,
    /// Where `config.json`, tokenizer and weights are.
    pub transformer: PathBuf,
    pub weights: Vec<PathBuf>,
    /// The pipeline; `None` without `modules.json`.
    pub modules: Option<Vec<Module>>,
}

/// The names, relative to `folder`, of all files that count, with the largest size of each that is read.
///
/// # Errors
/// If a file is missing, or one is there that would change the answers and is not supported.
pub fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, CompileError> {
    if is_of_rows(folder) {
        return Ok(ROWS.map(|name| (PathBuf::from(name), limit(Path::new(name)))).to_vec());
    }
    Ok(Contents::list(folder)?.files())
}

/// Whether a folder is one of a classifier of table rows.
pub(crate) fn is_of_rows(folder: &Path) -> bool {
    folder.join(ROWS[0]).is_file() && !folder.join("config.json").exists()
}

/// How many bytes are read of a file with this name.
pub fn limit(name: &Path) -> u64 {
    match name.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => MAX_WEIGHTS,
        Some("txt") => MAX_TOKENIZER,
        _ if matches!(name.file_name().and_then(|n| n.to_str()), Some("tokenizer.json" | "vocab.json")) => {
            MAX_TOKENIZER
        }
        _ => MAX_JSON,
    }
}

/// Whether a small file, named from the root of the model's folder, may change an answer or be a reason to refuse the model.
/// Whoever has only a list of names fetches these first; the index of weights is not among them.
pub fn is_setting(name: &Path) -> bool {
    let Some(file) = name.file_name().and_then(|file| file.to_str()) else { return false };
    let placed = match name.parent().and_then(Path::to_str) {
        Some("") => true,
        Some(folder) => plain(folder) && is_numbered(folder),
        None => false,
    };
    let index = "model.safetensors.index.json";
    let counts = file.ends_with(".json") && !HARMLESS_JSON.contains(&file) && file != index && !file.starts_with('.');
    placed && plain(file) && (counts || TRANSFORMER_FILES.contains(&file))
}

/// Whether a folder is named as those of modules are, `1_Pooling`.
fn is_numbered(folder: &str) -> bool {
    folder.split_once('_').is_some_and(|(number, _)| number.parse::<u8>().is_ok())
}

/// The folders that a `modules.json` names.
///
/// # Errors
/// When the file cannot be read, or is no list of modules.
pub fn module_folders(modules_json: &Path) -> Result<Vec<PathBuf>, CompileError> {
    Ok(entries(modules_json)?.into_iter().map(|entry| PathBuf::from(entry.path)).collect())
}

/// The files of weights that an index names.
///
/// # Errors
/// When the file cannot be read, or names no file, more than are read, or one that is no plain safetensors file.
pub fn shards(index: &Path) -> Result<Vec<String>, CompileError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bad = |problem: String| CompileError::Config { path: index.to_owned(), problem };
    let parsed: Index = serde_json::from_value(value(index, 16 << 20)?).map_err(|e| bad(e.to_string()))?;
    let mut names: Vec<String> = parsed.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    match names.iter().find(|name| !plain(name) || !name.ends_with(".safetensors")) {
        Some(name) => Err(bad(format!("{name:?} is no name of a safetensors file"))),
        None if names.is_empty() || names.len() > MAX_SHARDS => Err(bad(format!("{} files of weights", names.len()))),
        None => Ok(names),
    }
}

impl Contents {
    pub(crate) fn list(root: &Path) -> Result<Self, CompileError> {
        let modules_json = root.join("modules.json");
        let (mut transformer, mut modules) = (root.to_owned(), None);
        if modules_json.exists() {
            let mut entries = entries(&modules_json)?.into_iter();
            let first = entries.next().filter(|first| first.kind() == "Transformer");
            let bad = || CompileError::Unsupported {
                path: modules_json.clone(),
                what: "a pipeline whose first module is not a Transformer".into(),
            };
            transformer = root.join(first.ok_or_else(bad)?.path);
            let module = |entry: Entry| Module { kind: entry.kind().to_owned(), folder: root.join(&entry.path) };
            modules = Some(entries.map(module).collect());
        }
        let contents = Self { root: root.to_owned(), weights: weights(&transformer)?, transformer, modules };
        contents.refuse_unknown()?;
        Ok(contents)
    }

    fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut paths: Vec<PathBuf> = ["modules.json", "config_sentence_transformers.json", CLASSIFIER]
            .into_iter()
            .chain(SENTENCE_CONFIGS)
            .map(|name| self.root.join(name))
            .collect();
        if self.transformer != self.root {
            paths.extend(SENTENCE_CONFIGS.iter().map(|name| self.transformer.join(name)));
        }
        paths.extend(TRANSFORMER_FILES.iter().map(|name| self.transformer.join(name)));
        paths.extend(self.weights.iter().cloned());
        if self.weights.len() > 1 {
            paths.push(self.transformer.join("model.safetensors.index.json"));
        }
        for module in self.modules.iter().flatten() {
            paths.extend(["config.json", "model.safetensors"].map(|name| module.folder.join(name)));
        }
        paths.retain(|path| path.is_file());
        let relative = paths.iter().filter_map(|path| path.strip_prefix(&self.root).ok().map(Path::to_owned));
        let mut files: Vec<(PathBuf, u64)> = relative.map(|path| (path.clone(), limit(&path))).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Refuses what another library would read.
    fn refuse_unknown(&self) -> Result<(), CompileError> {
        let refuse = |path: PathBuf, what: &str| Err(CompileError::Unsupported { path, what: what.to_owned() });
        for folder in [&self.root, &self.transformer] {
            let failed = |source| CompileError::Read { path: folder.clone(), source };
            for entry in std::fs::read_dir(folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if path.is_dir() {
                    if is_numbered(&name) && self.modules.is_none() {
                        return refuse(path, "a module without the modules.json that says how it is used");
                    }
                    continue;
                }
                match name.as_str() {
                    "adapter_config.json" => return refuse(path, "an adapter"),
                    "model.safetensors.index.json" => {}
                    "modules.json" | "config_sentence_transformers.json" => {}
                    CLASSIFIER if self.modules.is_some() && *folder == self.root => {}
                    known if SENTENCE_CONFIGS.contains(&known) || TRANSFORMER_FILES.contains(&known) => {}
                    known if HARMLESS_JSON.contains(&known) || known.starts_with('.') => {}
                    json if json.ends_with(".json") => return refuse(path, "a file of settings that is not known"),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// A module as `modules.json` has it.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    class: String,
}

impl Entry {
    pub(super) fn kind(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }
}

/// The modules that a `modules.json` lists.
pub(super) fn entries(path: &Path) -> Result<Vec<Entry>, CompileError> {
    let bad = |problem: String| CompileError::Config { path: path.to_owned(), problem };
    let entries: Vec<Entry> = serde_json::from_value(value(path, MAX_JSON)?).map_err(|e| bad(e.to_string()))?;
    if entries.is_empty() || entries.len() > MAX_MODULES {
        return Err(bad(format!("{} modules, not 1 to {MAX_MODULES}", entries.len())));
    }
    for (index, entry) in entries.iter().enumerate() {
        if entries[..index].iter().any(|other| other.name == entry.name) {
            // The library would keep only one of them.
            return Err(bad(format!("two modules have the name {:?}", entry.name)));
        }
        if !entry.path.is_empty() && !plain(&entry.path) {
            return Err(bad(format!("{:?} is no name of a folder", entry.path)));
        }
        // A class of the folder's own would be code of the folder's own.
        if !entry.class.starts_with("sentence_transformers.") {
            let what = format!("a module of the class {:?}", entry.class);
            return Err(CompileError::Unsupported { path: path.to_owned(), what });
        }
    }
    Ok(entries)
}

/// Whether a name is one of something directly in a folder.
fn plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    // A name is shown to people, too.
    one && name.len() <= 200 && !name.chars().any(char::is_control)
}

/// The files of weights, one or several.
fn weights(folder: &Path) -> Result<Vec<PathBuf>, CompileError> {
    let whole = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if whole.exists() {
        return Ok(vec![whole]);
    }
    if index.exists() {
        return Ok(shards(&index)?.into_iter().map(|name| folder.join(name)).collect());
    }
    let pickled = folder.join("pytorch_model.bin");
    if pickled.exists() || folder.join("pytorch_model.bin.index.json").exists() {
        return Err(CompileError::Convert { path: pickled, what: CONVERT.into() });
    }
    let source = std::io::Error::from(std::io::ErrorKind::NotFound);
    Err(CompileError::Read { path: whole, source })
}
