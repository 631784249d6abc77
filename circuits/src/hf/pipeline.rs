//! What happens around the encoder: sentence-transformers' modules, prompts and limits, or a classifier's head.

use super::config::MAX_LABELS;
use super::folder::{CLASSIFIER, Contents, Module, SENTENCE_CONFIGS};
use super::head::{Dense, Finish, Head, Pool, Tail};
use super::json::Fields;
use super::tensors::Tensors;
use super::{CompileError, Encoder, Linear, MAX_JSON};
use crate::frontend::settings::{Activation, Label, LabelFunction, Prompt, Text};
use serde_json::{Value, json};
use std::path::Path;

/// Most prompts of a model, and the longest in bytes.
const MAX_PROMPTS: usize = 256;
const MAX_PROMPT: usize = 16 << 10;

pub(crate) struct Pipeline {
    pub tail: Tail,
    pub text: Text,
}

/// Reads everything around the encoder.
pub(crate) fn read(
    contents: &Contents,
    encoder: &Encoder,
    head: Option<Head>,
    classifier: Option<Vec<Dense>>,
) -> Result<Pipeline, CompileError> {
    let segments = encoder.segments.len() > encoder.dimensions.hidden;
    let reach = encoder.position_rule.reach(encoder.positions.len() / encoder.dimensions.hidden);
    let mut text = Text {
        strip: false,
        lower_case: false,
        max_tokens: reach,
        prompts: Vec::new(),
        default_prompt: None,
        include_prompt: true,
        segments,
    };
    if let Some(modules) = &contents.modules {
        settings(contents, &mut text)?;
        prompts(contents, &mut text)?;
        let tail = tail(contents, modules, encoder.dimensions.hidden, &mut text)?;
        return Ok(Pipeline { tail, text });
    }
    for name in SENTENCE_CONFIGS.into_iter().chain(["config_sentence_transformers.json"]) {
        let path = contents.root.join(name);
        // A cross-encoder may have the second one, without anything in it that counts.
        if path.exists() && (head.is_none() || name.starts_with("sentence_")) {
            return Err(CompileError::Unsupported { path, what: "a setting without modules.json".into() });
        }
    }
    let tail = match (head, classifier) {
        (Some(head), Some(dense)) => Tail { pools: vec![Pool::Cls], unit: false, dense, finish: Finish::Labels(head) },
        // As sentence-transformers does with a folder that says nothing.
        _ => {
            text.strip = true;
            let finish = Finish::Embedding { normalize: false };
            Tail { pools: vec![Pool::Mean], unit: false, dense: Vec::new(), finish }
        }
    };
    Ok(Pipeline { tail, text })
}

/// `sentence_bert_config.json`.
fn settings(contents: &Contents, text: &mut Text) -> Result<(), CompileError> {
    text.strip = true;
    let found = SENTENCE_CONFIGS.iter().map(|name| contents.transformer.join(name)).find(|path| path.exists());
    let Some(path) = found else { return Ok(()) };
    let mut fields = Fields::read(&path, MAX_JSON)?;
    text.max_tokens = fields.number("max_seq_length", 1 << 24)?.unwrap_or(usize::MAX).min(text.max_tokens);
    if text.max_tokens < 3 {
        return Err(fields.bad(format!("max_seq_length {} leaves no room for a text", text.max_tokens)));
    }
    text.lower_case = fields.flag("do_lower_case")?.unwrap_or(false);
    fields.only("transformer_task", &json!("feature-extraction"))?;
    fields.only("module_output_name", &json!("token_embeddings"))?;
    let forward = json!({"text": {"method": "forward", "method_output_name": "last_hidden_state"}});
    fields.only("modality_config", &forward)?;
    for key in ["model_args", "config_args", "tokenizer_args", "processing_kwargs"] {
        fields.only(key, &json!({}))?;
    }
    fields.finish()
}

/// `config_sentence_transformers.json`.
fn prompts(contents: &Contents, text: &mut Text) -> Result<(), CompileError> {
    let path = contents.root.join("config_sentence_transformers.json");
    let mut fields = Fields::read_if_there(&path, MAX_JSON)?;
    fields.harmless(&["__version__", "similarity_fn_name"]);
    fields.only("model_type", &json!("SentenceTransformer"))?;
    if let Some(prompts) = fields.take("prompts") {
        let Value::Object(prompts) = prompts else { return Err(fields.bad("prompts is not an object".into())) };
        if prompts.len() > MAX_PROMPTS {
            return Err(fields.bad(format!("{} prompts, more than {MAX_PROMPTS}", prompts.len())));
        }
        for (name, prompt) in prompts {
            match prompt {
                Value::String(prompt) if prompt.len() <= MAX_PROMPT && name.len() <= 200 => {
                    text.prompts.push(Prompt { name, text: prompt });
                }
                _ => return Err(fields.bad(format!("prompt {name:?} is not a text of at most {MAX_PROMPT} bytes"))),
            }
        }
    }
    text.default_prompt = fields.text("default_prompt_name")?;
    if let Some(name) = &text.default_prompt
        && !text.prompts.iter().any(|prompt| prompt.name == *name)
    {
        return Err(fields.bad(format!("default_prompt_name {name:?} is none of the prompts")));
    }
    fields.finish()
}

/// The modules after the transformer.
fn tail(contents: &Contents, modules: &[Module], hidden: usize, text: &mut Text) -> Result<Tail, CompileError> {
    let mut modules = modules.iter();
    let path = contents.root.join("modules.json");
    let refuse = |what: String| CompileError::Unsupported { path: path.clone(), what };
    let pools = match modules.next() {
        Some(module) if module.kind == "Pooling" => pooling(&module.folder, hidden, text)?,
        Some(module) => return Err(refuse(format!("a {} module before pooling", module.kind))),
        None => return Err(refuse("a pipeline without a Pooling module".into())),
    };
    let (mut dense, mut unit, mut normalize, mut width) = (Vec::new(), false, false, hidden * pools.len());
    for module in modules {
        match module.kind.as_str() {
            "Normalize" => normalize = true,
            "Dense" if normalize && !dense.is_empty() => {
                return Err(refuse("a Dense module after Normalize after another Dense module".into()));
            }
            "Dense" => {
                unit |= std::mem::take(&mut normalize);
                let layer = dense_module(&module.folder, width)?;
                width = layer.linear.outputs;
                dense.push(layer);
            }
            "Dropout" => {}
            other => return Err(refuse(format!("a {other} module"))),
        }
    }
    let finish = match contents.root.join(CLASSIFIER) {
        path if !path.exists() => Finish::Embedding { normalize },
        _ if dense.is_empty() || normalize => {
            return Err(refuse(format!("{CLASSIFIER} beside a pipeline that does not end with a Dense module")));
        }
        path => Finish::Labels(classifier(&path, width)?),
    };
    Ok(Tail { pools, unit, dense, finish })
}

/// `classifier.json`: what the outputs of the last linear layer are called, and what makes scores of them.
fn classifier(path: &Path, outputs: usize) -> Result<Head, CompileError> {
    let mut fields = Fields::read(path, MAX_JSON)?;
    match fields.number("format", 1 << 20)? {
        Some(1) => {}
        Some(other) => return Err(fields.refuse(format!("\"format\": {other} (this program reads 1)"))),
        None => return Err(fields.bad("missing field `format`".into())),
    }
    let labels = fields.take("labels").unwrap_or_default();
    let labels: Vec<String> = serde_json::from_value(labels).map_err(|e| fields.bad(format!("labels: {e}")))?;
    if labels.len() != outputs {
        return Err(fields.bad(format!("{} labels, and the last layer has {outputs} outputs", labels.len())));
    }
    if labels.len() > MAX_LABELS || labels.iter().any(|label| label.len() > 200) {
        return Err(fields.bad(format!("more than {MAX_LABELS} labels, or one of more than 200 bytes")));
    }
    let function = match fields.text("function")?.as_deref() {
        Some("softmax") => LabelFunction::Softmax,
        Some("sigmoid") => LabelFunction::Sigmoid,
        Some("none") => LabelFunction::Identity,
        other => return Err(fields.refuse(format!("\"function\": {:?}", other.unwrap_or_default()))),
    };
    fields.finish()?;
    let labels = labels.into_iter().map(Label).collect();
    Ok(Head { labels, function, relevance: LabelFunction::Identity })
}

fn pooling(folder: &Path, hidden: usize, text: &mut Text) -> Result<Vec<Pool>, CompileError> {
    let mut fields = Fields::read(&folder.join("config.json"), MAX_JSON)?;
    for key in ["word_embedding_dimension", "embedding_dimension"] {
        if fields.number(key, 1 << 20)?.is_some_and(|width| width != hidden) {
            return Err(fields.bad(format!("{key} is not the model's hidden size of {hidden}")));
        }
    }
    let (mut pools, mut flags, mut mean) = (Vec::new(), 0, false);
    for (key, pool) in [
        ("pooling_mode_cls_token", Pool::Cls),
        ("pooling_mode_max_tokens", Pool::Max),
        ("pooling_mode_mean_tokens", Pool::Mean),
        ("pooling_mode_mean_sqrt_len_tokens", Pool::MeanSqrt),
        ("pooling_mode_weightedmean_tokens", Pool::WeightedMean),
        ("pooling_mode_lasttoken", Pool::LastToken),
    ] {
        let flag = fields.flag(key)?;
        flags += usize::from(flag.is_some());
        mean |= pool == Pool::Mean && flag.is_some();
        if flag.unwrap_or(false) {
            pools.push(pool);
        }
    }
    if let Some(named) = fields.take("pooling_mode") {
        let names: Vec<String> = match named {
            Value::String(name) => vec![name],
            list => serde_json::from_value(list).map_err(|e| fields.bad(format!("pooling_mode: {e}")))?,
        };
        let pool = |name: &String| match name.as_str() {
            "cls" => Ok(Pool::Cls),
            "max" => Ok(Pool::Max),
            "mean" => Ok(Pool::Mean),
            "mean_sqrt_len_tokens" => Ok(Pool::MeanSqrt),
            "weightedmean" => Ok(Pool::WeightedMean),
            "lasttoken" => Ok(Pool::LastToken),
            other => Err(fields.refuse(format!("the pooling {other:?}"))),
        };
        pools = names.iter().map(pool).collect::<Result<_, _>>()?;
    } else if flags == 0 {
        // The module's own default.
        pools.push(Pool::Mean);
    } else if !mean {
        // True for some versions of the library, false for others.
        return Err(fields.refuse("a pooling without \"pooling_mode_mean_tokens\"".into()));
    }
    if pools.is_empty() || pools.len() > 6 {
        return Err(fields.bad(format!("{} poolings, not 1 to 6", pools.len())));
    }
    text.include_prompt = fields.flag("include_prompt")?.unwrap_or(true);
    let whole = |pool: &Pool| matches!(pool, Pool::Cls | Pool::WeightedMean);
    if !text.include_prompt && pools.iter().any(whole) {
        // The library's versions differ in what that means.
        return Err(fields.refuse("\"include_prompt\": false with cls or weighted-mean pooling".into()));
    }
    fields.finish()?;
    Ok(pools)
}

/// How many values go into a Dense module and come out of it.
pub(super) fn dense_sizes(fields: &mut Fields) -> Result<(usize, usize), CompileError> {
    Ok((fields.size("in_features", 1 << 15)?, fields.size("out_features", 1 << 13)?))
}

fn dense_module(folder: &Path, width: usize) -> Result<Dense, CompileError> {
    let mut fields = Fields::read(&folder.join("config.json"), MAX_JSON)?;
    let (inputs, outputs) = dense_sizes(&mut fields)?;
    if inputs != width {
        return Err(fields.bad(format!("in_features is {inputs}, what comes in is {width} wide")));
    }
    let bias = fields.flag("bias")?.unwrap_or(true);
    // Without the key, the module's own default.
    let name = fields.text("activation_function")?.unwrap_or_else(|| "torch.nn.modules.activation.Tanh".into());
    let activation = match name.as_str() {
        "torch.nn.modules.linear.Identity" => Activation::Identity,
        "torch.nn.modules.activation.Tanh" => Activation::Tanh,
        "torch.nn.modules.activation.ReLU" => Activation::Relu,
        "torch.nn.modules.activation.GELU" => Activation::Gelu,
        other => return Err(fields.refuse(format!("\"activation_function\": {other:?}"))),
    };
    fields.only("module_input_name", &json!("sentence_embedding"))?;
    fields.only("module_output_name", &json!("sentence_embedding"))?;
    fields.only("use_residual", &json!(false))?;
    fields.finish()?;
    let path = folder.join("model.safetensors");
    if !path.exists() && folder.join("pytorch_model.bin").exists() {
        let path = folder.join("pytorch_model.bin");
        return Err(CompileError::Convert { path, what: super::folder::CONVERT.into() });
    }
    let mut tensors = Tensors::open(&[path])?;
    let weight = tensors.take("linear.weight", &[outputs, inputs])?;
    let bias = if bias { tensors.take("linear.bias", &[outputs])? } else { vec![0.0; outputs] };
    tensors.finish(&[])?;
    Ok(Dense::new(Linear { weight, bias, inputs, outputs }, activation))
}
