//! What of HTTP is understood, without a connection.

use super::*;

fn told(kind: Option<&'static str>, packed: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, packed)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers
}

#[test]
fn a_request_says_that_it_is_json_and_is_not_packed() {
    for kind in
        ["application/json", "Application/JSON; charset=utf-8", "application/json-rpc", "application/jsonrequest"]
    {
        for packed in [None, Some("identity"), Some("Identity")] {
            assert_eq!(is_json(&told(Some(kind), packed)), Ok(()), "{kind} {packed:?}");
        }
        assert!(is_json(&told(Some(kind), Some("gzip"))).unwrap_err().contains("packed"));
    }
    // What a page may send without asking first.
    for kind in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data"), Some("")]
    {
        assert!(is_json(&told(kind, None)).unwrap_err().contains("application/json, not"), "{kind:?}");
    }
}

#[test]
fn time_is_by_the_length_of_what_must_be_taken() {
    let patience = Duration::from_secs(3);
    assert_eq!(time_for(0, patience), patience);
    assert_eq!(time_for(4 * SLOWEST, patience), Duration::from_secs(7));
    let deadline = Deadline(Arc::new(Mutex::new(now())));
    assert_eq!(deadline.left(), Duration::ZERO);
    deadline.within(Duration::from_secs(100));
    assert!(deadline.left() > Duration::from_secs(50) && deadline.left() <= Duration::from_secs(100));
}

#[test]
fn a_page_is_told_that_it_may_ask() {
    let mut headers = HeaderMap::new();
    allow(&mut headers, HeaderValue::from_static("https://a.example"), false);
    assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://a.example");
    assert_eq!(headers.get(header::VARY).unwrap(), "Origin");
    assert!(!headers.contains_key("access-control-allow-private-network"));
    allow(&mut headers, HeaderValue::from_static("*"), true);
    assert_eq!(headers.get("access-control-allow-private-network").unwrap(), "true");
}
