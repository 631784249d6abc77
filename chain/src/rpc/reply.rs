//! Answers of HTTP beside those of JSON-RPC.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};

/// An answer.
pub type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Sets a header.
pub fn put(reply: &mut Reply, name: HeaderName, value: &'static str) {
    reply.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// An answer for people: a status and why.
pub fn plain(status: StatusCode, why: String) -> Reply {
    let mut reply = whole(status, format!("{why}\n").into());
    put(&mut reply, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    reply
}

/// An answer with this body.
pub fn whole(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body).boxed_unsync());
    *reply.status_mut() = status;
    reply
}

/// An empty answer with the headers of `from`.
pub fn bare(from: Response<()>) -> Reply {
    from.map(|()| Full::new(Bytes::new()).boxed_unsync())
}
