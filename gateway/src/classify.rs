//! `POST /v1/classify`: the labels of a classifier, with their scores, highest first. `dp: {"epsilon": E}` says the most that each
//! answer may cost of the privacy budget of the data behind the model: an answer without noise, or a dearer one, is refused. Asked for
//! or not, `dp` in the answer says what answers with noise cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use sahara::embedding::{Engine, MAX_TEXT_BYTES, Privacy, Query, Stop, wanted};
use sahara::error::NetworkError;
use serde_json::{Map, Value, json};

use crate::embeddings::{Answered, MAX_TOKENS, Receipts, respond};
use crate::load::work;
use crate::openai::{ApiError, shown};
use crate::served::Failure;
use crate::{Gateway, read_body};

/// Most texts of one request.
const MAX_TEXTS: usize = 1000;

/// A checked request.
#[derive(Debug)]
struct Request {
    model: Option<Arc<str>>,
    texts: Vec<Arc<str>>,
    /// The most ε of an answer.
    epsilon: Option<f64>,
    ignored: Vec<String>,
}

/// Answers a request for labels.
pub async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    body: Body,
) -> Response {
    let started = Instant::now();
    respond(&gateway, started, classify(&gateway, client, body).await)
}

async fn classify(gateway: &Arc<Gateway>, client: SocketAddr, body: Body) -> Result<Answered<Value>, ApiError> {
    let place = gateway.load.enter(client.ip())?;
    let request = parse(&read_body(body).await?)?;
    if let Some(model) = &request.model {
        gateway.check_model(model)?;
    }
    let gateway = gateway.clone();
    work(place, move |stop| {
        gateway.served.answer(&gateway.advice, |engine| classified(&gateway.model, engine, &request, stop))
    })
    .await
}

fn classified(model: &str, engine: &dyn Engine, request: &Request, stop: &Stop) -> Result<Answered<Value>, Failure> {
    let Some(classes) = engine.classes() else {
        let why = format!("'{model}' is no classifier: ask /v1/embeddings.");
        return Err(ApiError::invalid("model", why).into());
    };
    let before = engine.privacy()?;
    if let Some(most) = request.epsilon {
        accepts(most, before.as_ref())?;
    }
    let query = |text: &Arc<str>| Query { text: text.clone(), most_epsilon: request.epsilon, ..Query::default() };
    let queries: Vec<Query> = request.texts.iter().map(query).collect();
    let mut tokens = 0;
    for (index, query) in queries.iter().enumerate() {
        wanted(stop)?;
        let length = engine.length(index, query)?;
        tokens += length.tokens;
        if length.truncated {
            let why = format!("'input' {index} is longer than the {} tokens that the model reads.", length.tokens);
            return Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::invalid("input", why) }.into());
        }
        if tokens > MAX_TOKENS {
            let why = format!("'input' has more than {MAX_TOKENS} tokens in all: send fewer texts at once.");
            return Err(ApiError { code: Some("max_tokens_per_request"), ..ApiError::invalid("input", why) }.into());
        }
    }
    let mut results = Vec::with_capacity(queries.len());
    let mut receipts = Receipts::default();
    engine.answer_until(&queries, stop, &mut |answer| {
        receipts.add(answer.receipt);
        let mut scores: Vec<(&str, f32)> =
            classes.labels.iter().map(|label| label.0.as_str()).zip(classes.scores(&answer.vector)).collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        let best = scores.first().map_or("", |(label, _)| label);
        let scores: Vec<Value> = scores.iter().map(|(label, score)| json!({"label": label, "score": score})).collect();
        results.push(json!({"index": answer.index, "label": best, "scores": scores}));
        Ok(())
    })?;
    let mut body = json!({
        "object": "list", "model": model, "results": results,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    });
    if let Some(Privacy { epsilon, budget, delta, .. }) = before {
        // What was answered stays answered, whether or not the nodes say what all have cost by now.
        let now = engine.privacy().ok().flatten();
        body["dp"] = json!({
            "epsilon": epsilon, "spent": now.map(|now| now.spent), "left": now.map(|now| now.left()),
            "answers_left": now.map(|now| now.answers), "budget": budget, "delta": delta,
        });
    }
    Ok(Answered { body, texts: queries.len(), tokens, ignored: request.ignored.clone(), receipts })
}

/// Whether an answer costs no more ε than is accepted.
fn accepts(most: f64, privacy: Option<&Privacy>) -> Result<(), NetworkError> {
    match privacy {
        None => Err(NetworkError::NoNoise),
        Some(Privacy { epsilon, delta, .. }) if epsilon.is_nan() || *epsilon > most => {
            Err(NetworkError::CostsMore { cost: *epsilon, most, delta: *delta })
        }
        Some(_) => Ok(()),
    }
}

fn parse(body: &[u8]) -> Result<Request, ApiError> {
    let fields = crate::body::object(body, 4 * MAX_TEXTS).map_err(|e| {
        ApiError::plain(400, "invalid_json", format!("The body is not a JSON object as expected: {e}."))
    })?;
    let known = ["model", "input", "dp"];
    let others = fields.iter().filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null());
    let ignored = others.take(16).map(|(name, _)| shown(name)).collect();
    let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let text = |name: &str, value: &Value| -> Result<Arc<str>, ApiError> {
        match value {
            Value::String(text) if (1..=MAX_TEXT_BYTES).contains(&text.len()) => Ok(text.as_str().into()),
            _ => Err(ApiError::invalid(name, format!("'{name}' must be text of 1 to {MAX_TEXT_BYTES} bytes."))),
        }
    };
    let texts = match given("input") {
        None => {
            let missing = ApiError::invalid("input", "Missing required parameter: 'input'.");
            return Err(ApiError { code: Some("missing_required_parameter"), ..missing });
        }
        Some(Value::Array(list)) if (1..=MAX_TEXTS).contains(&list.len()) => {
            list.iter().map(|value| text("input", value)).collect::<Result<_, _>>()?
        }
        Some(Value::Array(list)) => {
            let why = format!("'input' has {} texts, not 1 to {MAX_TEXTS}.", list.len());
            return Err(ApiError::invalid("input", why));
        }
        Some(value) => vec![text("input", value)?],
    };
    let model = given("model").map(|model| text("model", model)).transpose()?;
    let epsilon = given("dp").map(epsilon).transpose()?;
    Ok(Request { model, texts, epsilon, ignored })
}

/// The one field of `dp`: what somebody relies on is not passed over.
fn epsilon(dp: &Value) -> Result<f64, ApiError> {
    let only = |fields: &Map<String, Value>| if fields.len() == 1 { fields.get("epsilon")?.as_f64() } else { None };
    match dp.as_object().and_then(only).filter(|epsilon| *epsilon > 0.0) {
        Some(epsilon) => Ok(epsilon),
        None => {
            Err(ApiError::invalid("dp", "'dp' must be {\"epsilon\": E} with a number above 0, and no other field."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::engine_error;
    use crate::error::Advice;
    use sahara::embedding::{Classes, Embedding, Label, LabelFunction, Length, Sink};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn requests_are_read_and_nothing_of_dp_is_passed_over() {
        let read = |body: Value| parse(body.to_string().as_bytes());
        let one = read(json!({"model": "m", "input": "a", "dp": {"epsilon": 0.5}, "user": "me"})).unwrap();
        assert_eq!((one.texts.len(), one.epsilon, one.ignored), (1, Some(0.5), vec!["user".to_owned()]));
        let more = read(json!({"input": ["a", "b"], "dp": null})).unwrap();
        assert_eq!((more.texts.len(), more.epsilon, more.model), (2, None, None));
        for (body, param) in [
            (json!({}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": ""}), "input"),
            (json!({"input": [7]}), "input"),
            (json!({"input": "a", "model": 3}), "model"),
            (json!({"input": "a", "dp": 0.5}), "dp"),
            (json!({"input": "a", "dp": {}}), "dp"),
            (json!({"input": "a", "dp": {"epsilon": "1"}}), "dp"),
            (json!({"input": "a", "dp": {"epsilon": 0}}), "dp"),
            (json!({"input": "a", "dp": {"epsilon": -1}}), "dp"),
            (json!({"input": "a", "dp": {"epsilon": 1, "delta": 1e-5}}), "dp"),
        ] {
            let error = read(body.clone()).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{body}");
        }
    }

    /// A vote that says how it stands once, and then no more.
    struct Voting {
        classes: Classes,
        asked: AtomicUsize,
    }

    impl Engine for Voting {
        fn answer_until(&self, queries: &[Query], _: &Stop, sink: Sink<'_>) -> sahara::Result<()> {
            (0..queries.len()).try_for_each(|index| {
                let vector = vec![0.0, 1.0];
                sink(Embedding { index, tokens: 3, truncated: false, vector, integers: vec![], receipt: None })
            })
        }

        fn length(&self, _: usize, _: &Query) -> sahara::Result<Length> {
            Ok(Length { tokens: 3, truncated: false })
        }

        fn classes(&self) -> Option<&Classes> {
            Some(&self.classes)
        }

        fn text_of(&self, _: &[u32]) -> Option<String> {
            None
        }

        fn dimensions(&self) -> usize {
            2
        }

        fn privacy(&self) -> sahara::Result<Option<Privacy>> {
            match self.asked.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Some(Privacy { epsilon: 0.5, spent: 3.0, answers: 9, budget: 4.0, delta: 1e-5 })),
                _ => Err(NetworkError::Stopping("node 1".into()).into()),
            }
        }
    }

    #[test]
    fn what_an_answer_costs_is_said_unasked_also_where_the_nodes_do_not_say_it_any_more() {
        let labels = ["bad", "good"].map(|label| Label(label.to_owned())).to_vec();
        let (function, relevance) = (LabelFunction::Identity, LabelFunction::Identity);
        let engine = Voting { classes: Classes { labels, function, relevance }, asked: AtomicUsize::new(0) };
        let request = parse(br#"{"input": "a"}"#).unwrap();
        let Ok(told) = classified("vote", &engine, &request, &Stop::default()) else { panic!("it is answered") };
        assert_eq!(told.body["results"][0]["label"], "good");
        let dp = json!({
            "epsilon": 0.5, "spent": null, "left": null, "answers_left": null, "budget": 4.0, "delta": 1e-5,
        });
        assert_eq!(told.body["dp"], dp);
    }

    #[test]
    fn an_answer_that_costs_more_or_has_no_noise_is_refused_by_name() {
        let privacy = Privacy { epsilon: 0.5, spent: 3.0, answers: 9, budget: 4.0, delta: 1e-5 };
        let told = |error: NetworkError| engine_error(&error.into(), &Advice::default());
        assert!(accepts(0.5, Some(&privacy)).is_ok());
        let dear = told(accepts(0.499, Some(&privacy)).unwrap_err());
        assert_eq!((dear.code, dear.param.as_deref()), (Some("costs_more_epsilon"), Some("dp")));
        let clear = told(accepts(1e9, None).unwrap_err());
        assert_eq!((clear.code, clear.param.as_deref()), (Some("no_noise"), Some("dp")));
        let none = NetworkError::TooFew { texts: 3, answers: 2, spent: 3.0, budget: 4.0, delta: 1e-5 };
        let none = told(none);
        assert_eq!((none.status, none.code, none.param), (400, Some("privacy_budget_used_up"), None));
        assert!(none.message.contains("suffices for 2 more") && none.elsewhere.is_some(), "{}", none.message);
        assert!(accepts(1.0, Some(&Privacy { epsilon: f64::NAN, ..privacy })).is_err());
        assert!((privacy.left() - 1.0).abs() < 1e-12);
    }
}
