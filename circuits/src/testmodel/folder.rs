//! Random models of every family, pooling and file form, as folders that the authors' own libraries read too.

use super::TestModel;
use super::tokenizers::{byte_level, word_pieces};
use crate::testgraph::Rng;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The family of a random model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestFamily {
    /// `bert`
    Bert,
    /// `distilbert`
    DistilBert,
    /// `roberta`
    Roberta,
    /// `mpnet`
    MpNet,
}

/// How its weights and its vocabulary are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestForm {
    /// One file of f32.
    Plain,
    /// One file of f16.
    F16,
    /// One file of bf16.
    Bf16,
    /// Two files and an index.
    Sharded,
    /// `gamma` and `beta`, and a prefix.
    OldNames,
    /// `0.auto_model.` before every name.
    Wrapped,
    /// `vocab.txt` instead of `tokenizer.json`.
    VocabTxt,
}

/// A module after the transformer, with its `config.json`.
pub type TestModule = (&'static str, Value);

/// A random model in a folder.
#[derive(Clone, Debug)]
pub struct TestFolder {
    /// Sizes.
    pub size: TestModel,
    /// Family.
    pub family: TestFamily,
    /// File form.
    pub form: TestForm,
    /// Activation in the layers.
    pub activation: &'static str,
    /// The modules of `modules.json` after the transformer; no such file if there are none.
    pub modules: Vec<TestModule>,
    /// `sentence_bert_config.json`, if any.
    pub sentence: Option<Value>,
    /// `config_sentence_transformers.json`, if any.
    pub prompts: Option<Value>,
    /// `tokenizer_config.json`, besides the class.
    pub tokenizer: Value,
    /// Whether `tokenizer.json` turns capitals into small letters.
    pub lower_case: bool,
    /// Keys of `config.json` besides the sizes; with `id2label`, the model is a classifier.
    pub config: Value,
}

impl Default for TestFolder {
    fn default() -> Self {
        Self {
            size: TestModel { layers: 2, hidden: 64, heads: 4, ffn: 128, positions: 66 },
            family: TestFamily::Bert,
            form: TestForm::Plain,
            activation: "gelu",
            modules: Vec::new(),
            sentence: None,
            prompts: None,
            tokenizer: json!({"do_lower_case": true, "model_max_length": 64}),
            lower_case: true,
            config: json!({}),
        }
    }
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl TestFolder {
    /// Writes the folder; the same seed gives the same bytes.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path, seed: u64) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let put = |name: &str, value: &Value| std::fs::write(folder.join(name), value.to_string());
        let (vocabulary, tokenizer) = match self.family {
            TestFamily::Bert | TestFamily::DistilBert => {
                word_pieces(["[CLS]", "[PAD]", "[SEP]"], false, self.lower_case)
            }
            TestFamily::MpNet => word_pieces(["<s>", "<pad>", "</s>"], true, self.lower_case),
            TestFamily::Roberta => byte_level(),
        };
        put("config.json", &self.config_json(vocabulary.len()))?;
        if self.form == TestForm::VocabTxt {
            std::fs::write(folder.join("vocab.txt"), vocabulary.join("\n") + "\n")?;
        } else {
            put("tokenizer.json", &tokenizer)?;
        }
        put("tokenizer_config.json", &self.tokenizer_json())?;
        if let Some(sentence) = &self.sentence {
            put("sentence_bert_config.json", sentence)?;
        }
        if let Some(prompts) = &self.prompts {
            put("config_sentence_transformers.json", prompts)?;
        }
        let mut rng = Rng::new(seed);
        self.write_weights(folder, &self.tensors(vocabulary.len(), &mut rng))?;
        self.write_modules(folder, &mut rng)
    }

    fn labels(&self) -> Option<usize> {
        self.config.get("id2label").and_then(Value::as_object).map(serde_json::Map::len)
    }

    fn config_json(&self, words: usize) -> Value {
        let size = self.size;
        let (kind, class) = match self.family {
            TestFamily::Bert => ("bert", "Bert"),
            TestFamily::DistilBert => ("distilbert", "DistilBert"),
            TestFamily::Roberta => ("roberta", "Roberta"),
            TestFamily::MpNet => ("mpnet", "MPNet"),
        };
        let end = if self.labels().is_some() { "ForSequenceClassification" } else { "Model" };
        let mut config = match self.family {
            TestFamily::DistilBert => json!({
                "activation": self.activation, "dim": size.hidden, "n_layers": size.layers, "n_heads": size.heads,
                "hidden_dim": size.ffn, "dropout": 0.1, "pad_token_id": 1,
            }),
            _ => json!({
                "hidden_act": self.activation, "hidden_size": size.hidden, "num_hidden_layers": size.layers,
                "num_attention_heads": size.heads, "intermediate_size": size.ffn, "layer_norm_eps": 1e-12,
                "pad_token_id": 1,
            }),
        };
        config["architectures"] = json!([format!("{class}{end}")]);
        config["model_type"] = json!(kind);
        config["vocab_size"] = json!(words);
        config["max_position_embeddings"] = json!(size.positions);
        match self.family {
            TestFamily::Bert => config["type_vocab_size"] = json!(2),
            TestFamily::Roberta => config["type_vocab_size"] = json!(1),
            TestFamily::MpNet => config["relative_attention_num_buckets"] = json!(32),
            TestFamily::DistilBert => {}
        }
        for (key, value) in self.config.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    }

    fn tokenizer_json(&self) -> Value {
        let mut config = self.tokenizer.clone();
        let class = match self.family {
            TestFamily::Bert => "BertTokenizer",
            TestFamily::DistilBert => "DistilBertTokenizer",
            TestFamily::Roberta => "RobertaTokenizer",
            TestFamily::MpNet => "MPNetTokenizer",
        };
        config["tokenizer_class"] = json!(class);
        let special: [(&str, &str); 5] = match self.family {
            TestFamily::Bert | TestFamily::DistilBert => [
                ("cls_token", "[CLS]"),
                ("pad_token", "[PAD]"),
                ("sep_token", "[SEP]"),
                ("unk_token", "[UNK]"),
                ("mask_token", "[MASK]"),
            ],
            _ => [
                ("cls_token", "<s>"),
                ("pad_token", "<pad>"),
                ("sep_token", "</s>"),
                ("unk_token", if self.family == TestFamily::MpNet { "[UNK]" } else { "<unk>" }),
                ("mask_token", "<mask>"),
            ],
        };
        for (key, token) in special {
            config[key] = json!(token);
        }
        config
    }

    fn tensors(&self, words: usize, rng: &mut Rng) -> Tensors {
        let (d, ffn) = (self.size.hidden, self.size.ffn);
        let mut out = Tensors::new();
        let mut put = |rng: &mut Rng, name: String, shape: &[usize], centre: f64, spread: f64| {
            let value = |rng: &mut Rng| {
                // The sum of four is close to a normal distribution, as trained weights are.
                let sum: i64 = (0..4).map(|_| rng.between(-1 << 18, 1 << 18)).sum();
                (centre + spread * sum as f64 / f64::from(1 << 18) / 1.1547) as f32
            };
            let values = (0..shape.iter().product()).map(|_| value(rng)).collect();
            out.insert(name, (shape.to_vec(), values));
        };
        let prefix = match (self.labels(), self.family) {
            (None, _) => "",
            (_, TestFamily::Bert) => "bert.",
            (_, TestFamily::DistilBert) => "distilbert.",
            (_, TestFamily::Roberta) => "roberta.",
            (_, TestFamily::MpNet) => "mpnet.",
        };
        let embeddings = format!("{prefix}embeddings");
        put(rng, format!("{embeddings}.word_embeddings.weight"), &[words, d], 0.0, 0.2);
        put(rng, format!("{embeddings}.position_embeddings.weight"), &[self.size.positions, d], 0.0, 0.05);
        match self.family {
            TestFamily::Bert => put(rng, format!("{embeddings}.token_type_embeddings.weight"), &[2, d], 0.0, 0.05),
            TestFamily::Roberta => put(rng, format!("{embeddings}.token_type_embeddings.weight"), &[1, d], 0.0, 0.05),
            TestFamily::MpNet => {
                let name = format!("{prefix}encoder.relative_attention_bias.weight");
                put(rng, name, &[32, self.size.heads], 0.0, 1.0);
            }
            TestFamily::DistilBert => {}
        }
        let mut norms = vec![format!("{embeddings}.LayerNorm")];
        let names = layer_names(self.family);
        for l in 0..self.size.layers {
            let layer = match self.family {
                TestFamily::DistilBert => format!("{prefix}transformer.layer.{l}"),
                _ => format!("{prefix}encoder.layer.{l}"),
            };
            for (place, name) in names.iter().enumerate().take(6) {
                let (outputs, inputs) = [(d, d), (d, d), (d, d), (d, d), (ffn, d), (d, ffn)][place];
                let spread = 1.0 / (inputs as f64).sqrt();
                put(rng, format!("{layer}.{name}.weight"), &[outputs, inputs], 0.0, spread);
                put(rng, format!("{layer}.{name}.bias"), &[outputs], 0.0, 0.05);
            }
            norms.extend(names[6..].iter().map(|name| format!("{layer}.{name}")));
        }
        for norm in norms {
            put(rng, format!("{norm}.weight"), &[d], 1.0, 0.2);
            put(rng, format!("{norm}.bias"), &[d], 0.0, 0.1);
        }
        if let Some(labels) = self.labels() {
            let (first, last) = match self.family {
                TestFamily::Bert => ("bert.pooler.dense", "classifier"),
                TestFamily::DistilBert => ("pre_classifier", "classifier"),
                TestFamily::Roberta | TestFamily::MpNet => ("classifier.dense", "classifier.out_proj"),
            };
            for (name, outputs) in [(first, d), (last, labels)] {
                put(rng, format!("{name}.weight"), &[outputs, d], 0.0, 1.0 / (d as f64).sqrt());
                put(rng, format!("{name}.bias"), &[outputs], 0.0, 0.1);
            }
        }
        out
    }

    fn write_weights(&self, folder: &Path, tensors: &Tensors) -> io::Result<()> {
        let renamed = |name: &String| match self.form {
            TestForm::OldNames => {
                let old = match name.strip_suffix(".weight") {
                    Some(stem) if stem.ends_with("LayerNorm") => format!("{stem}.gamma"),
                    _ => name.replace("LayerNorm.bias", "LayerNorm.beta"),
                };
                format!("bert.{old}")
            }
            TestForm::Wrapped => format!("0.auto_model.{name}"),
            _ => name.clone(),
        };
        let tensors: Tensors = tensors.iter().map(|(name, tensor)| (renamed(name), tensor.clone())).collect();
        let dtype = match self.form {
            TestForm::F16 => Dtype::F16,
            TestForm::Bf16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        if self.form != TestForm::Sharded {
            return std::fs::write(folder.join("model.safetensors"), serialised(&tensors, dtype)?);
        }
        let half = tensors.keys().nth(tensors.len() / 2).cloned().unwrap_or_default();
        let mut map = BTreeMap::new();
        for (part, name) in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"].iter().enumerate()
        {
            let of_part = |key: &String| usize::from(*key >= half) == part;
            let some: Tensors =
                tensors.iter().filter(|(key, _)| of_part(key)).map(|(k, t)| (k.clone(), t.clone())).collect();
            map.extend(some.keys().map(|key| (key.clone(), *name)));
            std::fs::write(folder.join(name), serialised(&some, dtype)?)?;
        }
        let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
        std::fs::write(folder.join("model.safetensors.index.json"), index.to_string())
    }

    fn write_modules(&self, folder: &Path, rng: &mut Rng) -> io::Result<()> {
        if self.modules.is_empty() {
            return Ok(());
        }
        let class = |kind: &str| format!("sentence_transformers.models.{kind}");
        let mut list = vec![json!({"idx": 0, "name": "0", "path": "", "type": class("Transformer")})];
        for (index, (kind, config)) in self.modules.iter().enumerate() {
            let name = format!("{}_{kind}", index + 1);
            list.push(json!({"idx": index + 1, "name": (index + 1).to_string(), "path": name, "type": class(kind)}));
            std::fs::create_dir_all(folder.join(&name))?;
            if !config.is_null() {
                std::fs::write(folder.join(&name).join("config.json"), config.to_string())?;
            }
            if let (Some(inputs), Some(outputs)) = (config["in_features"].as_u64(), config["out_features"].as_u64()) {
                let (inputs, outputs) = (inputs as usize, outputs as usize);
                let mut values = |len: usize, spread: f64| -> Vec<f32> {
                    (0..len)
                        .map(|_| (spread * rng.between(-1 << 20, 1 << 20) as f64 / f64::from(1 << 20)) as f32)
                        .collect()
                };
                let mut tensors = Tensors::new();
                let spread = 1.7 / (inputs as f64).sqrt();
                tensors.insert("linear.weight".into(), (vec![outputs, inputs], values(outputs * inputs, spread)));
                if config["bias"] != json!(false) {
                    tensors.insert("linear.bias".into(), (vec![outputs], values(outputs, 0.1)));
                }
                std::fs::write(folder.join(&name).join("model.safetensors"), serialised(&tensors, Dtype::F32)?)?;
            }
        }
        std::fs::write(folder.join("modules.json"), json!(list).to_string())
    }
}

/// Query, key, value, output, up and down; then the norms.
fn layer_names(family: TestFamily) -> [&'static str; 8] {
    match family {
        TestFamily::Bert | TestFamily::Roberta => [
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
            "attention.output.LayerNorm",
            "output.LayerNorm",
        ],
        TestFamily::DistilBert => [
            "attention.q_lin",
            "attention.k_lin",
            "attention.v_lin",
            "attention.out_lin",
            "ffn.lin1",
            "ffn.lin2",
            "sa_layer_norm",
            "output_layer_norm",
        ],
        TestFamily::MpNet => [
            "attention.attn.q",
            "attention.attn.k",
            "attention.attn.v",
            "attention.attn.o",
            "intermediate.dense",
            "output.dense",
            "attention.LayerNorm",
            "output.LayerNorm",
        ],
    }
}

fn serialised(tensors: &Tensors, dtype: Dtype) -> io::Result<Vec<u8>> {
    let bytes = |values: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F16 => values.iter().flat_map(|&x| half(x).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|&x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    };
    let data: BTreeMap<&String, (Vec<usize>, Vec<u8>)> =
        tensors.iter().map(|(name, (shape, values))| (name, (shape.clone(), bytes(values)))).collect();
    let views = data.iter().map(|(name, (shape, bytes))| {
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        view.map(|view| ((*name).clone(), view)).map_err(io::Error::other)
    });
    let views: Vec<_> = views.collect::<io::Result<_>>()?;
    let metadata = Some(std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]));
    safetensors::serialize(views, metadata).map_err(io::Error::other)
}

/// A normal f32 below 60,000 as IEEE binary16, cut off.
fn half(x: f32) -> u16 {
    let bits = x.to_bits();
    let (sign, exponent) = ((bits >> 16 & 0x8000) as u16, (bits >> 23 & 0xff) as i32 - 112);
    match exponent {
        1..=30 => sign | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16,
        _ => sign,
    }
}
