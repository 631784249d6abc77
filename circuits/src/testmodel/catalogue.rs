//! One random model for each thing that a folder can say: what is tested against the authors' own libraries.

use super::folder::{TestFamily, TestFolder, TestForm, TestModule};
use serde_json::{Value, json};

/// Texts that every case answers.
pub const TEXTS: [&str; 5] = [
    "hello world",
    "  The quick brown Fox is not a dog. ",
    "Café Zürich: it was a very good film, not bad!",
    "中 private network",
    "the doctor was in the bank by the river and the cat, the dog, the fox and the bank were not in the private \
     network of the doctor but in a very good world of query and passage, or so it was said by the fox",
];

/// Pairs that every classifier answers.
pub const PAIRS: [(&str, &str); 3] = [
    ("good film", "it was a very good film"),
    ("is the bank private", "the quick brown fox was in the river"),
    ("the doctor", "the doctor was in the bank by the river and the cat, the dog, the fox and the bank were not there"),
];

/// A model, and how it is asked.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// Its name, e.g. `bert-mean`.
    pub name: &'static str,
    /// The folder.
    pub folder: TestFolder,
    /// The prompt asked for by name.
    pub prompt: Option<&'static str>,
    /// The case whose answers these are, where the library does not read this form itself.
    pub same_as: Option<&'static str>,
}

impl TestCase {
    /// Whether the model is a classifier.
    pub fn classifies(&self) -> bool {
        self.folder.config.get("id2label").is_some()
    }
}

/// The seed of every case.
pub const SEED: u64 = 20;

fn pooling(modes: &[&str]) -> TestModule {
    let mut config = json!({"word_embedding_dimension": 64});
    for mode in ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"] {
        config[format!("pooling_mode_{mode}")] = json!(modes.contains(&mode));
    }
    ("Pooling", config)
}

fn dense(inputs: usize, outputs: usize, function: &str) -> TestModule {
    let class = match function {
        "Identity" => "torch.nn.modules.linear.Identity".to_owned(),
        other => format!("torch.nn.modules.activation.{other}"),
    };
    let config = json!({"in_features": inputs, "out_features": outputs, "bias": true, "activation_function": class});
    ("Dense", config)
}

fn normalize() -> TestModule {
    ("Normalize", Value::Null)
}

fn case(name: &'static str, folder: TestFolder) -> TestCase {
    TestCase { name, folder, prompt: None, same_as: None }
}

fn bert(name: &'static str, modules: Vec<TestModule>) -> TestCase {
    case(name, TestFolder { modules, ..TestFolder::default() })
}

/// Every case.
pub fn catalogue() -> Vec<TestCase> {
    let mean = || vec![pooling(&["mean_tokens"])];
    let mut cases = vec![
        bert("bert-plain", Vec::new()),
        bert("bert-mean", mean()),
        bert("bert-cls", vec![pooling(&["cls_token"])]),
        bert("bert-max", vec![pooling(&["max_tokens"])]),
        bert("bert-mean-sqrt", vec![pooling(&["mean_sqrt_len_tokens"])]),
        bert("bert-weighted-mean", vec![pooling(&["weightedmean_tokens"])]),
        bert("bert-last-token", vec![pooling(&["lasttoken"])]),
        bert("bert-mean-normalize", vec![pooling(&["mean_tokens"]), normalize()]),
        bert("bert-cls-max-mean", vec![pooling(&["cls_token", "max_tokens", "mean_tokens"])]),
        bert("bert-mean-sqrt-max-normalize", vec![pooling(&["max_tokens", "mean_sqrt_len_tokens"]), normalize()]),
        bert("bert-mean-dense-tanh", vec![pooling(&["mean_tokens"]), dense(64, 48, "Tanh")]),
        bert("bert-weighted-mean-dense", vec![pooling(&["weightedmean_tokens"]), dense(64, 48, "Identity")]),
        bert("bert-max-dense-normalize", vec![pooling(&["max_tokens"]), dense(64, 32, "Identity"), normalize()]),
        bert("bert-mean-sqrt-dense", vec![pooling(&["mean_sqrt_len_tokens"]), dense(64, 32, "Tanh")]),
        bert(
            "bert-cls-two-dense-normalize",
            vec![pooling(&["cls_token"]), dense(64, 96, "ReLU"), dense(96, 32, "Identity"), normalize()],
        ),
        bert(
            "bert-cls-last-three-dense",
            vec![
                pooling(&["cls_token", "lasttoken"]),
                dense(128, 64, "Identity"),
                dense(64, 64, "GELU"),
                dense(64, 32, "Tanh"),
            ],
        ),
    ];
    cases.extend(texts(&mean));
    cases.extend(forms(&mean));
    cases.extend(families());
    cases
}

/// What is done to a text.
fn texts(mean: &dyn Fn() -> Vec<TestModule>) -> Vec<TestCase> {
    let with = |name, change: &dyn Fn(&mut TestFolder)| {
        let mut folder = TestFolder { modules: mean(), ..TestFolder::default() };
        change(&mut folder);
        case(name, folder)
    };
    let prompts = json!({"__version__": {"sentence_transformers": "3.0.0"},
        "prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"});
    let mut cases = vec![
        with("bert-short", &|f| f.sentence = Some(json!({"max_seq_length": 12, "do_lower_case": false}))),
        with("bert-lower-outside", &|f| {
            f.sentence = Some(json!({"max_seq_length": 64, "do_lower_case": true}));
            f.tokenizer = json!({"do_lower_case": false, "model_max_length": 64});
            f.lower_case = false;
        }),
        with("bert-lower-by-the-tokenizers-config", &|f| f.lower_case = false),
        with("bert-keeps-capitals-and-accents", &|f| {
            f.tokenizer = json!({"do_lower_case": false, "strip_accents": false, "model_max_length": 64});
        }),
        with("bert-truncates-at-the-left", &|f| {
            f.tokenizer = json!({"do_lower_case": true, "model_max_length": 20, "truncation_side": "left"});
        }),
        with("bert-default-prompt", &|f| f.prompts = Some(prompts.clone())),
        with("bert-prompt-by-name", &|f| f.prompts = Some(prompts.clone())),
        with("bert-prompt-not-pooled", &|f| {
            f.prompts = Some(prompts.clone());
            f.modules[0].1["include_prompt"] = json!(false);
        }),
    ];
    for case in &mut cases[6..] {
        case.prompt = Some("query");
    }
    cases
}

/// How weights and vocabulary are stored.
fn forms(mean: &dyn Fn() -> Vec<TestModule>) -> Vec<TestCase> {
    let form = |name, form, same_as| TestCase {
        same_as,
        ..case(name, TestFolder { form, modules: mean(), ..TestFolder::default() })
    };
    let activation = |name, activation| case(name, TestFolder { activation, modules: mean(), ..TestFolder::default() });
    vec![
        form("bert-f16", TestForm::F16, None),
        form("bert-bf16", TestForm::Bf16, None),
        form("bert-sharded", TestForm::Sharded, None),
        form("bert-old-names", TestForm::OldNames, None),
        form("bert-wrapped", TestForm::Wrapped, Some("bert-mean")),
        form("bert-vocab-txt", TestForm::VocabTxt, None),
        activation("bert-gelu-new", "gelu_new"),
        activation("bert-gelu-pytorch-tanh", "gelu_pytorch_tanh"),
        activation("bert-relu", "relu"),
        activation("bert-tanh", "tanh"),
    ]
}

/// The other families, and classifiers.
fn families() -> Vec<TestCase> {
    let of = |name, family, modules| case(name, TestFolder { family, modules, ..TestFolder::default() });
    let labels = |name, family, config: Value| {
        let tokenizer = json!({"do_lower_case": true, "model_max_length": 64});
        case(name, TestFolder { family, config, tokenizer, ..TestFolder::default() })
    };
    vec![
        of("distilbert-cls", TestFamily::DistilBert, vec![pooling(&["cls_token"])]),
        of("distilbert-mean", TestFamily::DistilBert, vec![pooling(&["mean_tokens"])]),
        of("roberta-mean", TestFamily::Roberta, vec![pooling(&["mean_tokens"])]),
        of("roberta-cls-normalize", TestFamily::Roberta, vec![pooling(&["cls_token"]), normalize()]),
        of("mpnet-mean-normalize", TestFamily::MpNet, vec![pooling(&["mean_tokens"]), normalize()]),
        of("mpnet-max", TestFamily::MpNet, vec![pooling(&["max_tokens"])]),
        labels("bert-classifier", TestFamily::Bert, json!({"id2label": {"0": "bad", "1": "so so", "2": "good"}})),
        labels("bert-cross-encoder", TestFamily::Bert, json!({"id2label": {"0": "LABEL_0"}})),
        labels(
            "bert-cross-encoder-identity",
            TestFamily::Bert,
            json!({"id2label": {"0": "LABEL_0"},
                "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.1"}}),
        ),
        labels(
            "distilbert-classifier",
            TestFamily::DistilBert,
            json!({"id2label": {"0": "NEGATIVE", "1": "POSITIVE"}}),
        ),
        labels(
            "roberta-classifier",
            TestFamily::Roberta,
            json!({"id2label": {"0": "x", "1": "y", "2": "z"}, "problem_type": "multi_label_classification"}),
        ),
        labels("mpnet-cross-encoder", TestFamily::MpNet, json!({"id2label": {"0": "LABEL_0"}})),
    ]
}
