//! Who may ask, told from a request's head alone: before its body is read, anything is allocated or computed.
//!
//! A browser sends what any web page tells it to send. So the Host header must be an address, or a name that was said to be
//! this gateway's (a page may point its own name here, and then reads what it asks for), a foreign Origin is refused unless
//! it was allowed by name, and a body must announce itself as JSON, which no page can send to another origin without asking
//! first (the preflight).

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Advice, GatewayError};
use crate::openai::ApiError;

/// Most bytes of the list of headers that a preflight asks for.
const MAX_ASKED_HEADERS: usize = 2048;
/// What pages may read of an answer besides its body.
const EXPOSED: &str = "x-sahara-warning, x-sahara-receipt, x-sahara-receipts, retry-after";

/// The origins of web pages that may ask, exactly as browsers write them.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Reads origins such as `https://app.example` or `http://localhost:3000`.
    ///
    /// # Errors
    /// For what no browser would send: a path, a wildcard, capitals.
    pub fn parse(given: &[String]) -> Result<Self, GatewayError> {
        given.iter().map(|origin| check_origin(origin)).collect::<Result<_, _>>().map(Self)
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }
}

fn check_origin(origin: &str) -> Result<String, GatewayError> {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let plain = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b))
    };
    match host {
        Some(host) if plain(host) => Ok(origin.to_owned()),
        _ => Err(GatewayError::Origin(origin.to_owned())),
    }
}

/// The hosts that are answered to: `localhost`, addresses (of loopback alone, if nobody else is to ask), and names.
#[derive(Clone, Debug)]
pub struct Hosts {
    loopback: bool,
    names: Vec<String>,
}

impl Hosts {
    /// Those of this machine.
    pub fn loopback() -> Self {
        Self { loopback: true, names: Vec::new() }
    }

    /// Those of a gateway that listens on this address and has these names.
    pub fn of(listen: IpAddr, names: Vec<String>) -> Self {
        Self { loopback: listen.is_loopback(), names }
    }

    fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(host) = host(headers) else { return true };
        host.eq_ignore_ascii_case("localhost")
            || ip(host).is_some_and(|ip| ip.is_loopback() || !self.loopback)
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn refused(&self, advice: &str) -> ApiError {
        let hosts = if self.loopback { "localhost, 127.0.0.1 and [::1]" } else { "localhost and addresses" };
        ApiError::plain(403, "foreign_host", format!("This gateway answers only to {hosts}, unless {advice}."))
    }
}

/// Reads a name that clients may use for the gateway, without a port.
///
/// # Errors
/// For what is no name in a Host header.
pub fn check_host(name: &str) -> Result<(), GatewayError> {
    let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if good { Ok(()) } else { Err(GatewayError::Host(name.to_owned())) }
}

/// What the head of a request says about who sends it.
#[derive(Debug)]
pub enum Sender {
    /// A program, or a page of this very address.
    Direct,
    /// A page of another origin, which was allowed.
    Page(HeaderValue),
}

impl Sender {
    /// Tells who sends a request, or refuses it.
    pub fn check(headers: &HeaderMap, origins: &Origins, hosts: &Hosts, advice: &Advice) -> Result<Self, ApiError> {
        if !hosts.admit(headers) {
            return Err(hosts.refused(&advice.hosts));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            if origins.allow(origin) {
                return Ok(Self::Page(origin.clone()));
            }
            if !is_own(headers, origin) {
                let which = origin.to_str().unwrap_or("?").chars().take(100).collect::<String>();
                return Err(foreign_page(&which, &advice.origins));
            }
        }
        match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
            None => Ok(Self::Direct),
            Some(b"same-origin" | b"none") if host(headers).is_none_or(cannot_be_rebound) => Ok(Self::Direct),
            Some(_) => Err(foreign_page("of another origin", &advice.origins)),
        }
    }

    /// Whether no web page of another origin asks.
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Direct)
    }

    /// Lets the page that asked read the answer.
    pub fn share(&self, mut answer: Response) -> Response {
        if let Self::Page(origin) = self {
            let headers = answer.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        // What is allowed depends on who asks: no cache may mix that up.
        answer.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
        answer
    }
}

fn foreign_page(which: &str, advice: &str) -> ApiError {
    let why = format!("A web page ({which}) may not use this gateway unless {advice}.");
    ApiError::plain(403, "foreign_origin", why)
}

/// Whether a page's origin is the address that was asked. A name does not count: whoever owns it can point it here.
fn is_own(headers: &HeaderMap, origin: &HeaderValue) -> bool {
    let own = headers.get(header::HOST).map(HeaderValue::as_bytes);
    origin.as_bytes().strip_prefix(b"http://").is_some_and(|origin| Some(origin) == own)
        && host(headers).is_some_and(cannot_be_rebound)
}

/// The name or address in the Host header, without its port.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().unwrap_or("?");
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => Some(name),
        _ => Some(host),
    }
}

/// Whether no owner of a name can make it mean this machine.
fn cannot_be_rebound(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || ip(host).is_some()
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a request asks what a page may do, instead of doing it.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of an allowed page: it may send whatever headers its client has.
pub fn preflight(asked: &HeaderMap) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|n| n.len() <= MAX_ASKED_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.contains_key("access-control-request-private-network") {
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    }
    answer
}

/// Refuses a body that is not uncompressed JSON, or that announces more than `limit` bytes.
pub fn check_body(headers: &HeaderMap, limit: usize) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?").trim());
    match text(header::CONTENT_TYPE) {
        Some(kind) if is_json(kind) => {}
        kind => {
            let kind = kind.unwrap_or("none").chars().take(100).collect::<String>();
            let why = format!("The content type must be application/json, it is {kind}.");
            return Err(ApiError::plain(415, "unsupported_media_type", why));
        }
    }
    if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let why = "The body is compressed, which this gateway does not read: send it as it is.";
        return Err(ApiError::plain(415, "unsupported_content_encoding", why));
    }
    match text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > limit as u64 => Err(too_large(limit)),
        _ => Ok(()),
    }
}

/// The refusal of a body over the limit.
pub fn too_large(limit: usize) -> ApiError {
    ApiError::plain(
        413,
        "request_too_large",
        format!("The body is larger than {limit} bytes: send fewer or shorter texts."),
    )
}

/// `application/json` with any parameters but another character set than JSON's own.
fn is_json(kind: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    let essence = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    essence
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            let value = value.trim_matches('"');
            !name.trim().eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn who(list: &[(&'static str, &'static str)]) -> Result<Sender, ApiError> {
        let origins = Origins::parse(&["http://app.example:3000".to_owned()]).unwrap();
        let mut headers = headers(list);
        headers.entry(header::HOST).or_insert(HeaderValue::from_static("localhost:8321"));
        Sender::check(&headers, &origins, &Hosts::loopback(), &Advice::default())
    }

    #[test]
    fn only_names_of_this_machine_are_good_hosts() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8321", "[::1]:80", "[::1]"] {
            assert!(who(&[("host", host)]).is_ok(), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "localhost.evil.example"] {
            assert_eq!(who(&[("host", host)]).unwrap_err().status, 403, "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused_unless_allowed_by_name() {
        assert!(matches!(who(&[]), Ok(Sender::Direct)));
        assert!(matches!(who(&[("origin", "http://localhost:8321")]), Ok(Sender::Direct)));
        assert!(matches!(who(&[("origin", "http://app.example:3000")]), Ok(Sender::Page(_))));
        let cross = [("origin", "http://app.example:3000"), ("sec-fetch-site", "cross-site")];
        assert!(matches!(who(&cross), Ok(Sender::Page(_))));
        for origin in ["http://app.example", "https://app.example:3000", "null", "http://localhost:8322", "http://evil"]
        {
            assert_eq!(who(&[("origin", origin)]).unwrap_err().code, Some("foreign_origin"), "{origin}");
        }
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(who(&[("sec-fetch-site", site)]).unwrap_err().status, 403, "{site}");
        }
        for site in ["none", "same-origin"] {
            assert!(who(&[("sec-fetch-site", site)]).is_ok(), "{site}");
        }
    }

    #[test]
    fn where_other_machines_may_ask_a_rebound_name_is_no_origin_of_ours() {
        let hosts = Hosts::of([0, 0, 0, 0].into(), vec!["gateway.lan".to_owned()]);
        let who = |list: &[(&'static str, &'static str)]| {
            Sender::check(&headers(list), &Origins::default(), &hosts, &Advice::default())
        };
        for good in ["gateway.lan:8321", "GATEWAY.LAN", "10.0.0.1:8321", "localhost", "[fe80::1]:80"] {
            assert!(
                matches!(who(&[("host", good)]), Ok(Sender::Direct)),
                "{good}: a program may use a name that was said"
            );
        }
        // Browsers send nothing but the name to an address without a certificate.
        let refused = who(&[("host", "evil.example:8321")]).unwrap_err();
        assert!(
            refused.code == Some("foreign_host") && refused.message.contains("localhost and addresses"),
            "{refused:?}"
        );
        for page in [("origin", "http://gateway.lan"), ("sec-fetch-site", "same-origin")] {
            assert!(who(&[("host", "gateway.lan"), page]).is_err(), "{page:?}: whoever owns the name");
        }
        for (host, fine) in [("10.0.0.1:8321", true), ("localhost:8321", true), ("evil.example:8321", false)] {
            let origin: &'static str = format!("http://{host}").leak();
            assert_eq!(who(&[("host", host), ("origin", origin)]).is_ok(), fine, "{host}");
            assert_eq!(who(&[("host", host), ("sec-fetch-site", "same-origin")]).is_ok(), fine, "{host}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_host_is_refused() {
        for good in ["gateway", "gateway.lan", "my_box-1.local"] {
            check_host(good).unwrap();
        }
        for wrong in ["", "*", "gateway:8321", "http://gateway", "a b", "[::1]"] {
            assert!(matches!(check_host(wrong), Err(GatewayError::Host(said)) if said == wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_allowed_as_one() {
        for wrong in ["*", "app.example", "http://app.example/", "http://", "ftp://x", "HTTP://x", "http://App.example"]
        {
            assert!(matches!(Origins::parse(&[wrong.to_owned()]), Err(GatewayError::Origin(said)) if said == wrong));
        }
    }

    #[test]
    fn bodies_are_json_uncompressed_and_bounded() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\"; v=1"] {
            check_body(&headers(&[("content-type", kind)]), 10).unwrap();
        }
        for kind in ["text/plain", "application/jsonx", "application/json; charset=latin1", "multipart/form-data"] {
            assert_eq!(check_body(&headers(&[("content-type", kind)]), 10).unwrap_err().status, 415, "{kind}");
        }
        assert_eq!(check_body(&headers(&[]), 10).unwrap_err().status, 415);
        let json = ("content-type", "application/json");
        assert_eq!(check_body(&headers(&[json, ("content-encoding", "gzip")]), 10).unwrap_err().status, 415);
        check_body(&headers(&[json, ("content-encoding", "identity")]), 10).unwrap();
        assert_eq!(check_body(&headers(&[json, ("content-length", "11")]), 10).unwrap_err().status, 413);
    }
}
