//! The shapes of the OpenAI embeddings interface: requests read strictly, answers and errors as its clients expect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::embedding::{Embedding, MAX_TEXT_BYTES};

/// Most texts in one request.
pub const MAX_INPUTS: usize = 2048;

/// How the numbers of an embedding are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// Base64 of little-endian 32-bit floats.
    Base64,
}

/// A checked request for embeddings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingRequest {
    /// Name of the model.
    pub model: String,
    /// Texts in order.
    pub texts: Vec<String>,
    /// How to write the answer.
    pub format: EncodingFormat,
}

/// An error in OpenAI's shape, with its HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status code.
    pub status: u16,
    /// What is wrong and what to do.
    pub message: String,
    /// The parameter that is wrong.
    pub param: Option<String>,
    /// Machine-readable code.
    pub code: Option<&'static str>,
}

impl ApiError {
    /// A request that cannot be served as it is.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into(), param: Some(param.to_owned()), code: Some("invalid_value") }
    }

    /// A parameter this gateway does not have.
    fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::invalid(param, message) }
    }

    /// An error without a parameter.
    pub fn plain(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: Some(code) }
    }

    /// The model asked for is not served here.
    pub fn unknown_model(asked: &str, served: &str) -> Self {
        let asked: String = asked.chars().take(100).collect();
        Self {
            status: 404,
            message: format!("The model '{asked}' does not exist here; this gateway serves '{served}'."),
            param: Some("model".to_owned()),
            code: Some("model_not_found"),
        }
    }

    /// The body to send.
    pub fn body(&self) -> Value {
        let kind = match self.status {
            401 | 403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

/// Reads and checks the body of `POST /v1/embeddings`.
pub fn parse_request(body: &[u8]) -> Result<EmbeddingRequest, ApiError> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|e| ApiError::plain(400, "invalid_json", format!("The body is not valid JSON: {e}.")))?;
    let Value::Object(fields) = value else {
        return Err(ApiError::plain(400, "invalid_json", "The body must be a JSON object."));
    };
    for (name, value) in &fields {
        refuse_unsupported(name, value)?;
    }
    Ok(EmbeddingRequest { model: model(&fields)?, texts: texts(&fields)?, format: format(&fields)? })
}

fn refuse_unsupported(name: &str, value: &Value) -> Result<(), ApiError> {
    match name {
        "model" | "input" | "encoding_format" => Ok(()),
        // Who is asking stays here: it is neither logged nor sent on.
        "user" if value.is_string() || value.is_null() => Ok(()),
        "user" => Err(ApiError::invalid("user", "'user' must be a string.")),
        _ if value.is_null() => Ok(()),
        "dimensions" => Err(ApiError::unsupported(
            "dimensions",
            "'dimensions' is not supported: the model's embeddings have a fixed length. Leave it out.",
        )),
        other => {
            let shown: String = other.chars().take(100).collect();
            Err(ApiError::unsupported(&shown, format!("Unknown parameter: '{shown}'. Leave it out.")))
        }
    }
}

fn model(fields: &Map<String, Value>) -> Result<String, ApiError> {
    match fields.get("model") {
        Some(Value::String(name)) => Ok(name.clone()),
        Some(_) => Err(ApiError::invalid("model", "'model' must be a string.")),
        None => Err(ApiError {
            code: Some("missing_required_parameter"),
            ..ApiError::invalid("model", "Missing required parameter: 'model'.")
        }),
    }
}

fn texts(fields: &Map<String, Value>) -> Result<Vec<String>, ApiError> {
    let texts = match fields.get("input") {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().map(item_text).collect::<Result<_, _>>()?,
        Some(_) => return Err(ApiError::invalid("input", "'input' must be a string or a list of strings.")),
        None => {
            return Err(ApiError {
                code: Some("missing_required_parameter"),
                ..ApiError::invalid("input", "Missing required parameter: 'input'.")
            });
        }
    };
    if texts.is_empty() {
        return Err(ApiError::invalid("input", "'input' is an empty list: give at least one text."));
    }
    if texts.len() > MAX_INPUTS {
        return Err(ApiError::invalid(
            "input",
            format!("'input' has {} texts; at most {MAX_INPUTS} in one request.", texts.len()),
        ));
    }
    for (index, text) in texts.iter().enumerate() {
        if text.trim().is_empty() {
            return Err(ApiError::invalid("input", format!("'input' {index} is an empty text.")));
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(ApiError::invalid(
                "input",
                format!("'input' {index} has {} bytes; at most {MAX_TEXT_BYTES}.", text.len()),
            ));
        }
    }
    Ok(texts)
}

fn item_text(item: &Value) -> Result<String, ApiError> {
    match item {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Array(_) => Err(ApiError::unsupported(
            "input",
            "Lists of token numbers are not supported, because token numbers differ between models: send the text itself.",
        )),
        _ => Err(ApiError::invalid("input", "'input' must be a string or a list of strings.")),
    }
}

fn format(fields: &Map<String, Value>) -> Result<EncodingFormat, ApiError> {
    match fields.get("encoding_format") {
        None | Some(Value::Null) => Ok(EncodingFormat::Float),
        Some(Value::String(name)) if name == "float" => Ok(EncodingFormat::Float),
        Some(Value::String(name)) if name == "base64" => Ok(EncodingFormat::Base64),
        Some(_) => Err(ApiError::invalid("encoding_format", "'encoding_format' must be 'float' or 'base64'.")),
    }
}

/// The answer to `POST /v1/embeddings`.
#[derive(Serialize)]
pub struct EmbeddingResponse {
    object: &'static str,
    data: Vec<EmbeddingObject>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct EmbeddingObject {
    object: &'static str,
    index: usize,
    embedding: Numbers,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl EmbeddingResponse {
    /// From the answers of an engine.
    pub fn new(model: &str, answers: Vec<Embedding>, format: EncodingFormat) -> Self {
        let tokens = answers.iter().map(|answer| answer.tokens).sum();
        let data = answers
            .into_iter()
            .map(|answer| EmbeddingObject {
                object: "embedding",
                index: answer.index,
                embedding: match format {
                    EncodingFormat::Float => Numbers::Float(answer.vector),
                    EncodingFormat::Base64 => Numbers::Base64(to_base64(&answer.vector)),
                },
            })
            .collect();
        let usage = Usage { prompt_tokens: tokens, total_tokens: tokens };
        Self { object: "list", data, model: model.to_owned(), usage }
    }
}

fn to_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// One model in OpenAI's shape.
pub fn model_object(name: &str, created: u64) -> Value {
    json!({"id": name, "object": "model", "created": created, "owned_by": "sahara"})
}

/// The list of models in OpenAI's shape.
pub fn model_list(name: &str, created: u64) -> Value {
    json!({"object": "list", "data": [model_object(name, created)]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: Value) -> ApiError {
        parse_request(body.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn a_string_and_a_list_are_read() {
        let one = parse_request(br#"{"model":"m","input":"hello"}"#).unwrap();
        assert_eq!((one.texts.len(), one.format), (1, EncodingFormat::Float));
        let two = parse_request(br#"{"model":"m","input":["a","b"],"encoding_format":"base64","user":"me"}"#).unwrap();
        assert_eq!((two.texts.len(), two.format), (2, EncodingFormat::Base64));
    }

    #[test]
    fn dimensions_and_unknown_parameters_are_refused_by_name() {
        let error = refused(json!({"model": "m", "input": "a", "dimensions": 64}));
        assert_eq!((error.status, error.param.as_deref()), (400, Some("dimensions")));
        assert_eq!(error.body()["error"]["type"], "invalid_request_error");
        assert_eq!(
            refused(json!({"model": "m", "input": "a", "temperature": 1})).param.as_deref(),
            Some("temperature")
        );
        let null = json!({"model": "m", "input": "a", "dimensions": null});
        assert!(parse_request(null.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn bad_inputs_are_refused_with_the_parameter() {
        for input in [json!(""), json!([]), json!(["a", " "]), json!(7), json!([1, 2]), json!([[1]]), json!([null])] {
            let error = refused(json!({"model": "m", "input": input}));
            assert_eq!((error.status, error.param.as_deref()), (400, Some("input")), "{input}");
        }
        assert_eq!(refused(json!({"input": "a"})).param.as_deref(), Some("model"));
        assert_eq!(refused(json!({"model": "m"})).param.as_deref(), Some("input"));
        let format = refused(json!({"model": "m", "input": "a", "encoding_format": "int8"}));
        assert_eq!(format.param.as_deref(), Some("encoding_format"));
        assert_eq!(parse_request(b"{").unwrap_err().status, 400);
        assert_eq!(parse_request(b"[]").unwrap_err().status, 400);
    }

    #[test]
    fn the_answer_has_the_shape_clients_expect() {
        let answer =
            |index| Embedding { index, tokens: 5, truncated: false, vector: vec![0.5, -1.0], integers: vec![] };
        let response = EmbeddingResponse::new("m", vec![answer(0), answer(1)], EncodingFormat::Float);
        let value = serde_json::to_value(response).unwrap();
        assert_eq!(value["object"], "list");
        assert_eq!(value["data"][1], json!({"object": "embedding", "index": 1, "embedding": [0.5, -1.0]}));
        assert_eq!(value["usage"], json!({"prompt_tokens": 10, "total_tokens": 10}));
        let coded = EmbeddingResponse::new("m", vec![answer(0)], EncodingFormat::Base64);
        assert_eq!(serde_json::to_value(coded).unwrap()["data"][0]["embedding"], "AAAAPwAAgL8=");
    }
}
