//! Writes small random model folders: test material for whatever needs a model but not a good one.

mod catalogue;
mod folder;
mod tokenizers;

pub use catalogue::{PAIRS, SEED, TEXTS, TestCase, catalogue};
pub use folder::{TestFamily, TestFolder, TestForm, TestModule};

use crate::testgraph::Rng;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Dimensions of a random model.
#[derive(Clone, Copy, Debug)]
pub struct TestModel {
    /// Encoder layers.
    pub layers: usize,
    /// Channels.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Feed-forward channels.
    pub ffn: usize,
    /// Positions.
    pub positions: usize,
}

impl Default for TestModel {
    fn default() -> Self {
        Self { layers: 2, hidden: 32, heads: 4, ffn: 64, positions: 64 }
    }
}

impl TestModel {
    /// Writes `config.json`, `model.safetensors` and `tokenizer.json` into `folder`; the same seed gives the same bytes.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path, seed: u64) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let vocabulary = vocabulary();
        let config = json!({
            "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12,
            "hidden_size": self.hidden, "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "intermediate_size": self.ffn, "max_position_embeddings": self.positions, "type_vocab_size": 2,
            "vocab_size": vocabulary.len(), "position_embedding_type": "absolute",
        });
        std::fs::write(folder.join("config.json"), config.to_string())?;
        std::fs::write(folder.join("tokenizer.json"), tokenizer(&vocabulary).to_string())?;
        std::fs::write(folder.join("model.safetensors"), self.tensors(vocabulary.len(), &mut Rng::new(seed))?)
    }

    fn tensors(&self, words: usize, rng: &mut Rng) -> io::Result<Vec<u8>> {
        let (d, ffn) = (self.hidden, self.ffn);
        let mut tensors: Vec<(String, Vec<usize>, f64, f64)> = vec![
            ("embeddings.word_embeddings.weight".into(), vec![words, d], 0.0, 0.2),
            ("embeddings.position_embeddings.weight".into(), vec![self.positions, d], 0.0, 0.05),
            ("embeddings.token_type_embeddings.weight".into(), vec![2, d], 0.0, 0.05),
        ];
        let norm = |tensors: &mut Vec<_>, name: &str| {
            tensors.push((format!("{name}.weight"), vec![d], 1.0, 0.4));
            tensors.push((format!("{name}.bias"), vec![d], 0.0, 0.2));
        };
        norm(&mut tensors, "embeddings.LayerNorm");
        for l in 0..self.layers {
            for (name, outputs, inputs) in [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", ffn, d),
                ("output.dense", d, ffn),
            ] {
                let spread = 2.0 / (inputs as f64).sqrt();
                tensors.push((format!("encoder.layer.{l}.{name}.weight"), vec![outputs, inputs], 0.0, spread));
                tensors.push((format!("encoder.layer.{l}.{name}.bias"), vec![outputs], 0.0, 0.1));
            }
            norm(&mut tensors, &format!("encoder.layer.{l}.attention.output.LayerNorm"));
            norm(&mut tensors, &format!("encoder.layer.{l}.output.LayerNorm"));
        }
        let mut data = BTreeMap::new();
        for (name, shape, centre, spread) in tensors {
            let len: usize = shape.iter().product();
            let value =
                |rng: &mut Rng| (centre + spread * rng.between(-1 << 20, 1 << 20) as f64 / f64::from(1 << 20)) as f32;
            let bytes: Vec<u8> = (0..len).flat_map(|_| value(rng).to_le_bytes()).collect();
            data.insert(name, (shape, bytes));
        }
        let views = data.iter().map(|(name, (shape, bytes))| {
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
            view.map(|view| (name.clone(), view)).map_err(io::Error::other)
        });
        let views: Vec<_> = views.collect::<io::Result<_>>()?;
        safetensors::serialize(views, None).map_err(io::Error::other)
    }
}

/// Special tokens, letters, letters inside a word, a few words.
fn vocabulary() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let letters = ('a'..='z').map(String::from).chain(('a'..='z').map(|c| format!("##{c}")));
    let words = ["the", "quick", "brown", "fox", "hello", "world", "private", "network"].map(String::from);
    special.into_iter().chain(letters).chain(words).collect()
}

fn tokenizer(vocabulary: &[String]) -> serde_json::Value {
    let ids: BTreeMap<&String, usize> = vocabulary.iter().enumerate().map(|(id, token)| (token, id)).collect();
    let special = |id: usize| {
        json!({ "id": id, "content": vocabulary[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    };
    let template = |id: usize| json!({ "id": vocabulary[id], "ids": [id], "tokens": [vocabulary[id]] });
    let single = json!([
        { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
        { "Sequence": { "id": "A", "type_id": 0 } },
        { "SpecialToken": { "id": "[SEP]", "type_id": 0 } },
    ]);
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..5).map(special).collect::<Vec<_>>(),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing", "single": single, "pair": single,
            "special_tokens": { "[CLS]": template(2), "[SEP]": template(3) } },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids },
    })
}
