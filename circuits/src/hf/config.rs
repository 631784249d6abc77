//! `config.json`: which family, which sizes, which head. The families' own keys are read by their files.

use super::family::Family;
use super::head::Head;
use super::json::Fields;
use super::{CompileError, MAX_JSON, bert, distilbert, mpnet, roberta};
use crate::frontend::settings::{Label, LabelFunction};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Most labels of a classifier.
pub(super) const MAX_LABELS: usize = 1 << 10;

/// Reads `config.json` in the transformer's folder; `pipeline` says whether modules follow it.
pub(crate) fn read(transformer: &Path, pipeline: bool) -> Result<(Box<dyn Family>, Option<Head>), CompileError> {
    let path = transformer.join("config.json");
    let mut fields = Fields::read(&path, MAX_JSON)?;
    let family = fields.text("model_type")?.unwrap_or_default();
    let head = head(&mut fields, pipeline)?;
    common(&mut fields)?;
    let family: Box<dyn Family> = match family.as_str() {
        "bert" => Box::new(bert::Bert::read(&mut fields)?),
        "distilbert" => Box::new(distilbert::DistilBert::read(&mut fields)?),
        "roberta" | "xlm-roberta" | "camembert" => Box::new(roberta::Roberta::read(&mut fields)?),
        "mpnet" => Box::new(mpnet::MpNet::read(&mut fields)?),
        "" => return Err(CompileError::Family { path, found: "(no model_type)".into() }),
        other => return Err(CompileError::Family { path, found: other.chars().take(60).collect() }),
    };
    fields.finish()?;
    Ok((family, head))
}

/// Keys that every family may have: those that must have one value, and those that do nothing here.
fn common(fields: &mut Fields) -> Result<(), CompileError> {
    fields.only("is_decoder", &json!(false))?;
    fields.only("add_cross_attention", &json!(false))?;
    fields.only("is_encoder_decoder", &json!(false))?;
    fields.only("pruned_heads", &json!({}))?;
    fields.only("position_embedding_type", &json!("absolute"))?;
    fields.harmless(&[
        "_name_or_path",
        "_attn_implementation",
        "attn_implementation",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "torchscript",
        "use_cache",
        "use_bfloat16",
        "gradient_checkpointing",
        "initializer_range",
        "initializer_factor",
        "layer_norm_epsilon",
        "bos_token_id",
        "eos_token_id",
        "sep_token_id",
        "cls_token_id",
        "mask_token_id",
        "unk_token_id",
        "decoder_start_token_id",
        "output_past",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "chunk_size_feed_forward",
        "classifier_dropout",
        "tie_word_embeddings",
        "tie_weights_",
        "tie_encoder_decoder",
        "cross_attention_hidden_size",
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "finetuning_task",
        "task_specific_params",
        "tokenizer_class",
        "model_name",
        "architecture",
        "prefix",
        "max_length",
        "min_length",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "output_scores",
        "return_dict_in_generate",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
        "tf_legacy_loss",
    ]);
    Ok(())
}

/// What the model is for, from the names of its classes.
fn head(fields: &mut Fields, pipeline: bool) -> Result<Option<Head>, CompileError> {
    let names: Vec<String> = match fields.take("architectures") {
        None => Vec::new(),
        Some(names) => serde_json::from_value(names).map_err(|e| fields.bad(format!("architectures: {e}")))?,
    };
    let classifier = !pipeline && names.iter().any(|name| name.ends_with("ForSequenceClassification"));
    let encoder = |name: &String| ["Model", "ForMaskedLM", "ForPreTraining"].iter().any(|end| name.ends_with(end));
    if !pipeline && !classifier && !names.iter().all(encoder) {
        return Err(fields.refuse(format!("\"architectures\": {names:?}")));
    }
    let labels = labels(fields)?;
    let function = function(fields, labels.len())?;
    let relevance = relevance(fields, labels.len())?;
    Ok(classifier.then_some(Head { labels, function, relevance }))
}

/// `id2label`, in order; two labels where nothing is said, as transformers has it.
fn labels(fields: &mut Fields) -> Result<Vec<Label>, CompileError> {
    let count = fields.number("num_labels", MAX_LABELS)?.or(fields.number("_num_labels", MAX_LABELS)?);
    fields.harmless(&["label2id"]);
    let named: Option<BTreeMap<String, Value>> = match fields.take("id2label") {
        None => None,
        Some(map) => Some(serde_json::from_value(map).map_err(|e| fields.bad(format!("id2label: {e}")))?),
    };
    let count = named.as_ref().map_or(count.unwrap_or(2), BTreeMap::len);
    if count == 0 || count > MAX_LABELS {
        return Err(fields.bad(format!("{count} labels, not 1 to {MAX_LABELS}")));
    }
    let label = |index: usize| match named.as_ref().map(|map| map.get(&index.to_string())) {
        None => Ok(Label(format!("LABEL_{index}"))),
        Some(Some(Value::String(name))) if name.len() <= 200 => Ok(Label(name.clone())),
        Some(Some(Value::Number(name))) => Ok(Label(name.to_string())),
        Some(_) => Err(fields.bad(format!("id2label has no name of at most 200 bytes for {index}"))),
    };
    (0..count).map(label).collect()
}

/// What transformers' text-classification pipeline makes of the outputs.
fn function(fields: &mut Fields, labels: usize) -> Result<LabelFunction, CompileError> {
    let problem = fields.text("problem_type")?;
    match fields.text("function_to_apply")?.as_deref() {
        None => {}
        Some("sigmoid") => return Ok(LabelFunction::Sigmoid),
        Some("softmax") => return Ok(LabelFunction::Softmax),
        Some("none") => return Ok(LabelFunction::Identity),
        Some(other) => return Err(fields.refuse(format!("\"function_to_apply\": {other:?}"))),
    }
    match problem.as_deref() {
        Some("regression") => Ok(LabelFunction::Identity),
        Some("multi_label_classification") => Ok(LabelFunction::Sigmoid),
        None | Some("single_label_classification") if labels == 1 => Ok(LabelFunction::Sigmoid),
        None | Some("single_label_classification") => Ok(LabelFunction::Softmax),
        Some(other) => Err(fields.refuse(format!("\"problem_type\": {other:?}"))),
    }
}

/// What sentence-transformers' cross-encoder makes of the outputs.
fn relevance(fields: &mut Fields, labels: usize) -> Result<LabelFunction, CompileError> {
    let old = fields.text("sbert_ce_default_activation_function")?;
    let new = match fields.take("sentence_transformers") {
        None => None,
        Some(inner) => {
            let mut inner = Fields::inside(fields.path(), inner)?;
            let name = inner.text("activation_fn")?;
            inner.harmless(&["version"]);
            inner.finish()?;
            name
        }
    };
    let default = if labels == 1 { LabelFunction::Sigmoid } else { LabelFunction::Identity };
    match new.or(old) {
        None => Ok(default),
        Some(class) => match class.rsplit('.').next() {
            Some("Sigmoid") if class.starts_with("torch.") => Ok(LabelFunction::Sigmoid),
            Some("Identity") if class.starts_with("torch.") => Ok(LabelFunction::Identity),
            _ => Err(fields.refuse(format!("the cross-encoder's activation {class:?}"))),
        },
    }
}
