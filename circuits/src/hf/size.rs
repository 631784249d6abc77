//! How large the files of weights can be, by what the settings beside them ask for.

use super::folder::entries;
use super::json::Fields;
use super::{CompileError, MAX_JSON, config, family, pipeline};
use std::path::Path;

/// Most bytes of all files of weights together.
const MAX_ALL_WEIGHTS: u64 = 32 << 30;
/// Bytes beyond the tensors' own that files of weights may have together: their headers, tables of positions.
const WEIGHTS_SLACK: u64 = 16 << 20;

/// Most bytes that the files of weights have together, by the sizes that the settings in a folder ask for: twice as
/// many as all tensors have in f32, which leaves room for heads that are not read.
///
/// # Errors
/// If the settings are not those of a model that is read.
pub fn most_weights(root: &Path) -> Result<u64, CompileError> {
    let modules_json = root.join("modules.json");
    let modules = if modules_json.exists() { Some(entries(&modules_json)?) } else { None };
    let first = modules.as_ref().and_then(|modules| modules.first());
    let transformer = first.map_or_else(|| root.to_owned(), |first| root.join(&first.path));
    let mut numbers = family::numbers(config::read(&transformer, modules.is_some())?.0.as_ref());
    for module in modules.iter().flatten().skip(1).filter(|module| module.kind() == "Dense") {
        let mut fields = Fields::read(&root.join(&module.path).join("config.json"), MAX_JSON)?;
        let (inputs, outputs) = pipeline::dense_sizes(&mut fields)?;
        numbers += (inputs as u64 + 1) * outputs as u64;
    }
    Ok((2 * 4 * numbers + WEIGHTS_SLACK).min(MAX_ALL_WEIGHTS))
}

#[cfg(test)]
mod tests {
    use super::super::json::value;
    use super::*;
    use crate::testmodel::TestModel;
    use serde_json::json;

    #[test]
    fn weights_may_have_twice_the_bytes_that_the_settings_ask_for_and_never_more_than_a_model_can_have() {
        let dir = tempfile::tempdir().unwrap();
        TestModel::default().write(dir.path(), 1).unwrap();
        let file = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(file[..8].try_into().unwrap());
        let tensors = file.len() as u64 - 8 - header;
        assert_eq!(most_weights(dir.path()).unwrap(), 2 * tensors + WEIGHTS_SLACK);

        let write = |name: &str, value| std::fs::write(dir.path().join(name), value).unwrap();
        let class = |name: &str| format!("sentence_transformers.models.{name}");
        let modules = json!([{"name": "0", "path": "", "type": class("Transformer")},
            {"name": "1", "path": "1_Pooling", "type": class("Pooling")},
            {"name": "2", "path": "2_Dense", "type": class("Dense")}]);
        write("modules.json", modules.to_string());
        std::fs::create_dir(dir.path().join("2_Dense")).unwrap();
        write("2_Dense/config.json", json!({"in_features": 7, "out_features": 5}).to_string());
        assert_eq!(most_weights(dir.path()).unwrap(), 2 * (tensors + 4 * 8 * 5) + WEIGHTS_SLACK);

        let mut config = value(&dir.path().join("config.json"), MAX_JSON).unwrap();
        for (key, most) in [("hidden_size", 4096), ("num_hidden_layers", 64), ("intermediate_size", 16384)] {
            config[key] = json!(most);
        }
        write("config.json", config.to_string());
        assert_eq!(most_weights(dir.path()).unwrap(), MAX_ALL_WEIGHTS);
        write("config.json", "{}".to_owned());
        assert!(most_weights(dir.path()).is_err());
    }
}
