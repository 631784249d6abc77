//! The shapes of the OpenAI embeddings interface: requests read strictly, answers and errors as its clients expect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::{Fields, Inputs, Scalar};
use sahara::embedding::{Embedding, MAX_TEXT_BYTES};

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
    /// What to embed, in order.
    pub inputs: Vec<Input>,
    /// How to write the answer.
    pub format: EncodingFormat,
    /// Numbers of an embedding that the client expects.
    pub dimensions: Option<u64>,
    /// Names of fields that this gateway does not know and that do not change an answer.
    pub ignored: Vec<String>,
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A text.
    Text(String),
    /// A text as token numbers.
    Tokens(Vec<u32>),
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
    /// What others than whoever runs the gateway are told instead: the message may name nodes, sessions, sums and files.
    pub elsewhere: Option<&'static str>,
}

impl ApiError {
    /// A request that cannot be served as it is.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::plain(400, "invalid_value", message) }
    }

    /// A parameter, or a value of one, that this gateway does not have.
    pub fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::invalid(param, message) }
    }

    /// An error without a parameter.
    pub fn plain(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: Some(code), elsewhere: None }
    }

    /// The same, of which others than whoever runs the gateway are told this sentence.
    #[must_use]
    pub fn told_elsewhere(self, sentence: &'static str) -> Self {
        Self { elsewhere: Some(sentence), ..self }
    }

    /// The model asked for is not served here.
    pub fn unknown_model(asked: &str, served: &str) -> Self {
        let asked: String = asked.chars().take(200).collect();
        Self::no_model(format!("The model '{asked}' does not exist here; this gateway serves '{served}'."))
    }

    /// The model asked for is not to be had.
    pub fn no_model(message: impl Into<String>) -> Self {
        Self { param: Some("model".to_owned()), ..Self::plain(404, "model_not_found", message) }
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

/// Fields of this interface's relatives that would change the answer: an answer without them would be another one than
/// was asked for.
const CHANGE_THE_ANSWER: [&str; 24] = [
    "add_special_tokens",
    "embedding_type",
    "embedding_types",
    "input_type",
    "instruction",
    "instruct",
    "late_chunking",
    "messages",
    "normalize",
    "normalized",
    "output_dimension",
    "output_dtype",
    "pooling",
    "pooling_type",
    "precision",
    "prompt",
    "prompt_name",
    "return_multivector",
    "stream",
    "task",
    "task_type",
    "truncate",
    "truncate_prompt_tokens",
    "truncation",
];
/// Most names of ignored fields that an answer repeats, and most characters of each.
const MAX_NAMES: usize = 16;
const MAX_NAME: usize = 64;

/// Reads and checks the body of `POST /v1/embeddings`.
pub fn parse_request(body: &[u8]) -> Result<EmbeddingRequest, ApiError> {
    let fields: Fields = serde_json::from_slice(body).map_err(|e| {
        ApiError::plain(400, "invalid_json", format!("The body is not a JSON object as expected: {e}."))
    })?;
    let mut ignored = Vec::new();
    for (name, value) in &fields.scalars {
        match (name.as_str(), value) {
            ("model" | "encoding_format" | "dimensions", _) | (_, Scalar::Null) => {}
            // Who is asking stays here: it is neither logged nor sent on.
            ("user", Scalar::Text(_)) => {}
            ("user", _) => return Err(ApiError::invalid("user", "'user' must be a string.")),
            (name, _) if CHANGE_THE_ANSWER.contains(&name) => {
                let why = format!("'{name}' is not supported here and would change the answer: leave it out.");
                return Err(ApiError::unsupported(name, why));
            }
            (name, _) => ignored.push(shown(name)),
        }
    }
    ignored.truncate(MAX_NAMES);
    let model = model(&fields)?;
    let (format, dimensions) = (format(&fields)?, dimensions(&fields)?);
    Ok(EmbeddingRequest { model, inputs: inputs(fields.input)?, format, dimensions, ignored })
}

/// A field's name as it may stand in a header.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '?' }).collect()
}

fn dimensions(fields: &Fields) -> Result<Option<u64>, ApiError> {
    match fields.scalar("dimensions") {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Count(count @ 1..)) => Ok(Some(*count)),
        Some(_) => Err(ApiError::invalid("dimensions", "'dimensions' must be a positive whole number.")),
    }
}

fn model(fields: &Fields) -> Result<String, ApiError> {
    match fields.scalar("model") {
        Some(Scalar::Text(name)) => Ok(name.clone()),
        Some(_) => Err(ApiError::invalid("model", "'model' must be a string.")),
        None => Err(ApiError {
            code: Some("missing_required_parameter"),
            ..ApiError::invalid("model", "Missing required parameter: 'model'.")
        }),
    }
}

fn format(fields: &Fields) -> Result<EncodingFormat, ApiError> {
    match fields.scalar("encoding_format") {
        None | Some(Scalar::Null) => Ok(EncodingFormat::Float),
        Some(Scalar::Text(name)) if name == "float" => Ok(EncodingFormat::Float),
        Some(Scalar::Text(name)) if name == "base64" => Ok(EncodingFormat::Base64),
        Some(_) => Err(ApiError::invalid("encoding_format", "'encoding_format' must be 'float' or 'base64'.")),
    }
}

fn inputs(input: Option<Inputs>) -> Result<Vec<Input>, ApiError> {
    let inputs = match input {
        Some(Inputs::One(input)) => vec![input],
        Some(Inputs::Many(inputs)) if inputs.is_empty() => {
            return Err(ApiError::invalid("input", "'input' is an empty list: give at least one text."));
        }
        Some(Inputs::Many(inputs)) => inputs,
        Some(Inputs::TooMany) => {
            let why = format!("'input' has more than {MAX_INPUTS} texts: send them in several requests.");
            return Err(ApiError::invalid("input", why));
        }
        Some(Inputs::Wrong(why)) => return Err(ApiError::invalid("input", why)),
        None => {
            return Err(ApiError {
                code: Some("missing_required_parameter"),
                ..ApiError::invalid("input", "Missing required parameter: 'input'.")
            });
        }
    };
    for (index, input) in inputs.iter().enumerate() {
        let (empty, size) = match input {
            Input::Text(text) => (text.is_empty(), text.len()),
            Input::Tokens(ids) => (ids.is_empty(), ids.len()),
        };
        if empty {
            // As OpenAI answers it, alone and among others; a text of spaces only is a text, there and here.
            return Err(ApiError::invalid("input", format!("'input' {index} is an empty text.")));
        }
        if size > MAX_TEXT_BYTES {
            let why = format!("'input' {index} has {size} bytes; at most {MAX_TEXT_BYTES}.");
            return Err(ApiError::invalid("input", why));
        }
    }
    Ok(inputs)
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

    fn read(body: Value) -> EmbeddingRequest {
        parse_request(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn texts_and_token_numbers_are_read_alone_and_in_lists() {
        let one = read(json!({"model": "m", "input": "hello"}));
        assert_eq!((one.inputs, one.format), (vec![Input::Text("hello".into())], EncodingFormat::Float));
        let body = json!({"model": "m", "input": ["a", " "], "encoding_format": "base64", "user": "me"});
        let two = read(body);
        assert_eq!((two.inputs.len(), two.format), (2, EncodingFormat::Base64));
        assert_eq!(read(json!({"model": "m", "input": [1, 2]})).inputs, [Input::Tokens(vec![1, 2])]);
        let lists = read(json!({"model": "m", "input": [[1], [2, 3]]})).inputs;
        assert_eq!(lists, [Input::Tokens(vec![1]), Input::Tokens(vec![2, 3])]);
        assert_eq!(read(json!({"model": "m", "input": ["a", [7]]})).inputs[1], Input::Tokens(vec![7]));
    }

    #[test]
    fn fields_that_change_the_answer_are_refused_and_others_ignored_by_name() {
        for name in CHANGE_THE_ANSWER {
            let error = refused(json!({"model": "m", "input": "a", name: "x"}));
            assert_eq!((error.status, error.param.as_deref()), (400, Some(name)));
            assert!(read(json!({"model": "m", "input": "a", name: null})).ignored.is_empty());
        }
        let request = read(json!({"model": "m", "input": "a", "temperature": 1, "x\r\ny": 2}));
        assert_eq!(request.ignored, ["temperature", "x??y"]);
        let mut many = json!({"model": "m", "input": "a"});
        (0..60).for_each(|i| many[format!("{i}{}", "x".repeat(200))] = json!(1));
        let ignored = read(many).ignored;
        assert!(ignored.len() == MAX_NAMES && ignored.iter().all(|name| name.len() == MAX_NAME));
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let good = json!({"model": "m", "input": ["a", [1, 2]], "encoding_format": "float", "dimensions": 3, "x": {}});
        let good = good.to_string().into_bytes();
        // A small generator of its own, so that a failure comes again.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + random() % 4 {
                let at = random() % bytes.len();
                match random() % 3 {
                    0 => bytes[at] = random() as u8,
                    1 => drop(bytes.drain(at..(at + 1 + random() % 5).min(bytes.len()))),
                    _ => bytes.insert(at, *b"[]{},:\"\\0-e".get(random() % 11).unwrap()),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            if let Err(error) = parse_request(&bytes) {
                assert_eq!(error.status, 400);
            }
        }
    }

    #[test]
    fn bad_inputs_are_refused_with_the_parameter() {
        let bad = [json!(""), json!([]), json!(["a", ""]), json!(7), json!([[]]), json!([null]), json!({"a": 1})];
        for input in bad.into_iter().chain([json!([-1]), json!([1.5]), json!([[4_294_967_296_u64]]), json!([[1, "a"]])])
        {
            let error = refused(json!({"model": "m", "input": input}));
            assert_eq!((error.status, error.param.as_deref()), (400, Some("input")), "{input}");
            assert_eq!(error.body()["error"]["type"], "invalid_request_error");
        }
        assert!(refused(json!({"model": "m", "input": vec!["a"; MAX_INPUTS + 1]})).message.contains("more than 2048"));
        assert_eq!(refused(json!({"input": "a"})).param.as_deref(), Some("model"));
        assert_eq!(refused(json!({"model": "m"})).param.as_deref(), Some("input"));
        for (field, value) in [("encoding_format", json!("int8")), ("dimensions", json!(0)), ("dimensions", json!("8"))]
        {
            let error = refused(json!({"model": "m", "input": "a", field: value}));
            assert_eq!(error.param.as_deref(), Some(field));
        }
        assert_eq!(parse_request(b"{").unwrap_err().status, 400);
        assert_eq!(parse_request(b"[]").unwrap_err().status, 400);
    }

    #[test]
    fn the_answer_has_the_shape_clients_expect() {
        let answer = |index| Embedding {
            index,
            tokens: 5,
            truncated: false,
            vector: vec![0.5, -1.0],
            integers: vec![],
            receipt: None,
        };
        let response = EmbeddingResponse::new("m", vec![answer(0), answer(1)], EncodingFormat::Float);
        let value = serde_json::to_value(response).unwrap();
        assert_eq!(value["object"], "list");
        assert_eq!(value["data"][1], json!({"object": "embedding", "index": 1, "embedding": [0.5, -1.0]}));
        assert_eq!(value["usage"], json!({"prompt_tokens": 10, "total_tokens": 10}));
        let coded = EmbeddingResponse::new("m", vec![answer(0)], EncodingFormat::Base64);
        assert_eq!(serde_json::to_value(coded).unwrap()["data"][0]["embedding"], "AAAAPwAAgL8=");
    }
}
