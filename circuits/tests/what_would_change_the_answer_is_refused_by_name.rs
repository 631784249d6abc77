//! Folders that say something this program does not do: each is refused with one sentence that names the file and what
//! is there. `docs/models.md` has every sentence.
#![cfg(feature = "float")]
#![allow(clippy::unwrap_used)]

use sahara_circuits::float::FloatModel;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::testmodel::{SEED, TestCase, catalogue};
use serde_json::{Value, json};
use std::path::Path;

fn base(name: &str) -> TestCase {
    catalogue().into_iter().find(|case| case.name == name).unwrap()
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap_or(b"{}".to_vec())).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

type Change = Box<dyn Fn(&Path)>;

/// A key set in a file of the folder.
fn set(file: &'static str, key: &'static str, value: Value) -> Change {
    Box::new(move |folder| edit(folder, file, |json| json[key] = value.clone()))
}

/// A file with these bytes.
fn put(file: &'static str, text: &'static str) -> Change {
    Box::new(move |folder| std::fs::write(folder.join(file), text).unwrap())
}

fn modules(change: fn(&mut Vec<Value>)) -> Change {
    Box::new(move |folder| edit(folder, "modules.json", |list| change(list.as_array_mut().unwrap())))
}

fn module(kind: &str) -> Value {
    json!({"idx": 9, "name": "9", "path": "9_x", "type": format!("sentence_transformers.models.{kind}")})
}

const ONE_LABEL: &str = "{\"format\": 1, \"labels\": [\"a\"], \"function\": \"softmax\"}";

/// Each case: a model of the catalogue, what is changed, and what the sentence says.
fn cases() -> Vec<(&'static str, Change, &'static [&'static str])> {
    vec![
        ("bert-mean", set("config.json", "model_type", json!("deberta-v2")), &["\"deberta-v2\" model", "mpnet"]),
        ("bert-mean", set("config.json", "hidden_act", json!("silu")), &["config.json", "\"hidden_act\": \"silu\""]),
        ("bert-mean", set("config.json", "is_decoder", json!(true)), &["\"is_decoder\": true"]),
        ("bert-mean", set("config.json", "rope_theta", json!(1e4)), &["\"rope_theta\": 10000.0"]),
        ("bert-mean", set("config.json", "auto_map", json!({"AutoModel": "x.Y"})), &["\"auto_map\""]),
        ("bert-mean", set("config.json", "quantization_config", json!({"bits": 4})), &["\"quantization_config\""]),
        ("bert-mean", set("config.json", "pruned_heads", json!({"0": [1]})), &["\"pruned_heads\""]),
        (
            "bert-mean",
            set("config.json", "position_embedding_type", json!("relative_key")),
            &["\"position_embedding_type\": \"relative_key\""],
        ),
        ("bert-mean", set("config.json", "layer_norm_eps", json!(0.01)), &["\"layer_norm_eps\": 0.01"]),
        (
            "bert-plain",
            set("config.json", "architectures", json!(["BertForTokenClassification"])),
            &["\"architectures\": [\"BertForTokenClassification\"]"],
        ),
        (
            "mpnet-max",
            set("config.json", "relative_attention_num_buckets", json!(64)),
            &["\"relative_attention_num_buckets\": 64"],
        ),
        ("bert-classifier", set("config.json", "problem_type", json!("ranking")), &["\"problem_type\": \"ranking\""]),
        (
            "bert-cross-encoder",
            set("config.json", "sentence_transformers", json!({"activation_fn": "my.code.Square"})),
            &["cross-encoder's activation \"my.code.Square\""],
        ),
        ("bert-mean", modules(|list| list.push(module("WeightedLayerPooling"))), &["a WeightedLayerPooling module"]),
        ("bert-mean", modules(|list| list.push(module("LayerNorm"))), &["a LayerNorm module"]),
        ("bert-mean", modules(|list| list.insert(1, module("CNN"))), &["a CNN module before pooling"]),
        ("bert-mean", modules(|list| list.truncate(1)), &["a pipeline without a Pooling module"]),
        ("bert-mean", modules(|list| list[0]["type"] = json!("my.Own")), &["a module of the class \"my.Own\""]),
        ("bert-mean", modules(|list| list[1]["name"] = json!("0")), &["two modules have the name \"0\""]),
        ("bert-mean", modules(|list| list[1]["path"] = json!("../x")), &["\"../x\" is no name of a folder"]),
        (
            "bert-cls-two-dense-normalize",
            modules(|list| list.swap(3, 4)),
            &["a Dense module after Normalize after another Dense module"],
        ),
        ("bert-plain", put("classifier.json", "{}"), &["classifier.json", "a file of settings that is not known"]),
        ("bert-mean", put("classifier.json", ONE_LABEL), &["classifier.json", "does not end with a Dense module"]),
        ("bert-max-dense-normalize", put("classifier.json", ONE_LABEL), &["does not end with a Dense module"]),
        ("bert-mean-dense-tanh", put("classifier.json", ONE_LABEL), &["1 labels, and the last layer has 48 outputs"]),
        ("bert-mean-dense-tanh", put("classifier.json", "{\"format\": 2}"), &["\"format\": 2"]),
        ("bert-mean-dense-tanh", put("classifier.json", "{}"), &["missing field `format`"]),
        (
            "bert-mean-dense-tanh",
            set("2_Dense/config.json", "activation_function", json!("torch.nn.modules.activation.SiLU")),
            &["2_Dense/config.json", "SiLU"],
        ),
        ("bert-mean-dense-tanh", set("2_Dense/config.json", "use_residual", json!(true)), &["\"use_residual\": true"]),
        ("bert-mean", set("1_Pooling/config.json", "pooling_mode", json!("attention")), &["the pooling \"attention\""]),
        (
            "bert-cls",
            set("1_Pooling/config.json", "pooling_mode_mean_tokens", Value::Null),
            &["a pooling without \"pooling_mode_mean_tokens\""],
        ),
        ("bert-mean", set("1_Pooling/config.json", "window", json!(3)), &["1_Pooling/config.json", "\"window\": 3"]),
        (
            "bert-cls",
            set("1_Pooling/config.json", "include_prompt", json!(false)),
            &["\"include_prompt\": false with cls"],
        ),
        (
            "bert-default-prompt",
            set("config_sentence_transformers.json", "truncate_dim", json!(16)),
            &["\"truncate_dim\": 16"],
        ),
        ("bert-short", set("sentence_bert_config.json", "unpad", json!(true)), &["\"unpad\": true"]),
        ("bert-plain", put("sentence_bert_config.json", "{}"), &["a setting without modules.json"]),
        (
            "bert-plain",
            Box::new(|folder| std::fs::create_dir(folder.join("1_Pooling")).unwrap()),
            &["1_Pooling", "a module without the modules.json"],
        ),
        ("bert-mean", put("adapter_config.json", "{}"), &["an adapter"]),
        ("bert-mean", put("my_settings.json", "{}"), &["my_settings.json", "a file of settings that is not known"]),
        ("bert-mean", set("tokenizer_config.json", "padding_side", json!("left")), &["\"padding_side\": \"left\""]),
        (
            "bert-mean",
            set("tokenizer_config.json", "do_basic_tokenize", json!(false)),
            &["\"do_basic_tokenize\": false"],
        ),
        ("bert-mean", set("tokenizer_config.json", "split_on", json!("x")), &["\"split_on\": \"x\""]),
        ("bert-mean", set("tokenizer_config.json", "mask_token", json!("[X]")), &["the special token \"[X]\""]),
        (
            "bert-mean",
            set("tokenizer_config.json", "added_tokens_decoder", json!({"126": {"content": "private"}})),
            &["tokenizer_config.json", "the added token \"private\" with the number 126"],
        ),
        (
            "bert-mean",
            put("added_tokens.json", "{\"private\": 126}"),
            &["added_tokens.json", "the added token \"private\" with the number 126"],
        ),
        (
            "bert-mean",
            set("tokenizer_config.json", "mask_token", json!({"content": "[MASK]", "lstrip": true})),
            &["tokenizer_config.json", "the token \"[MASK]\" with other flags"],
        ),
        (
            "bert-mean",
            set("special_tokens_map.json", "mask_token", json!({"content": "[MASK]", "single_word": true})),
            &["special_tokens_map.json", "the token \"[MASK]\" with other flags"],
        ),
        ("bert-mean", set("tokenizer_config.json", "model_max_length", json!(-1)), &["model_max_length is -1"]),
        ("bert-mean", set("tokenizer_config.json", "model_max_length", json!(0)), &["model_max_length is 0"]),
        ("bert-mean", set("tokenizer_config.json", "model_max_length", json!(2)), &["model_max_length is 2"]),
        ("bert-mean", set("tokenizer_config.json", "model_max_length", json!(3.5)), &["model_max_length is 3.5"]),
        (
            "bert-lower-outside",
            Box::new(|folder| {
                edit(folder, "tokenizer_config.json", |json| {
                    json.as_object_mut().unwrap().remove("do_lower_case");
                });
            }),
            &["keeps capitals", "\"do_lower_case\""],
        ),
        (
            "roberta-mean",
            set("tokenizer_config.json", "add_prefix_space", json!(true)),
            &["\"add_prefix_space\": true"],
        ),
        (
            "bert-mean",
            Box::new(|folder| {
                std::fs::rename(folder.join("model.safetensors"), folder.join("pytorch_model.bin")).unwrap();
            }),
            &["pytorch_model.bin is not read", "python3 -c", "weights_only=True"],
        ),
        (
            "roberta-mean",
            Box::new(|folder| {
                std::fs::rename(folder.join("tokenizer.json"), folder.join("sentencepiece.bpe.model")).unwrap();
            }),
            &["sentencepiece.bpe.model", "without tokenizer.json", "AutoTokenizer"],
        ),
        ("bert-mean", set("config.json", "num_hidden_layers", json!(1)), &["the tensor \"encoder.layer.1."]),
    ]
}

#[test]
fn each_is_refused_with_a_sentence_that_names_it() {
    let documented = include_str!("../../docs/models.md");
    for (name, change, said) in cases() {
        let folder = tempfile::tempdir().unwrap();
        base(name).folder.write(folder.path(), SEED).unwrap();
        CompiledModel::compile(folder.path(), name, &mut |_| {}).unwrap_or_else(|e| panic!("{name}, unchanged: {e}"));
        change(folder.path());
        let error = match CompiledModel::compile(folder.path(), name, &mut |_| {}) {
            Ok(_) => panic!("{name} was compiled: {said:?}"),
            Err(error) => error.to_string(),
        };
        assert!(said.iter().all(|part| error.contains(part)), "{name}: {error:?} does not say {said:?}");
        assert!(!error.contains('\n') && error.len() < 700, "{error}");
        let sentence = error.replace(&folder.path().display().to_string(), "…");
        println!("{sentence}");
        assert!(documented.contains(&sentence), "docs/models.md does not have: {sentence}");
        let float = FloatModel::load(folder.path()).err().unwrap_or_else(|| panic!("{name}: the float model reads it"));
        assert_eq!(float.to_string(), error, "the float model refuses what the integers do");
    }
}
