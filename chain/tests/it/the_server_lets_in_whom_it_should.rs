//! The HTTP side of JSON-RPC: methods, content types, names, pages of browsers, ids of every kind, and what a person sees.

use std::{io::Write, net::TcpStream};

use sahara_chain::rpc::Door;
use serde_json::{Value, json};

use crate::{
    rpc::Rpc,
    socket::{Ws, post, request},
};

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#;
const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn requests_are_taken_in_the_right_form_only() {
    let rpc = Rpc::new();
    let (at, _server) = rpc.serve();
    assert_eq!(post(at, ASK).json()["result"], "0x1");
    for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json-rpc"] {
        assert_eq!(request(at, "POST /", &[("Content-Type", kind)], ASK).status, 200, "{kind}");
    }
    // What a page may send without asking first.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        assert_eq!(request(at, "POST /", &[("Content-Type", kind)], ASK).status, 415, "{kind}");
    }
    assert_eq!(request(at, "POST /", &[], ASK).status, 415);
    assert_eq!(request(at, "POST /", &[JSON, ("Content-Encoding", "gzip")], ASK).status, 415);
    let wrong = request(at, "DELETE /", &[JSON], ASK);
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
    assert_eq!(request(at, "POST /elsewhere", &[JSON], ASK).status, 404);
    let long = format!("{ASK}{}", " ".repeat(6 << 20));
    assert_eq!(request(at, "POST /", &[JSON], &long).status, 413);
    assert_eq!(post(at, ASK).status, 200);
}

#[test]
fn pages_and_names_that_are_not_listed_are_kept_out() {
    let rpc = Rpc::new();
    let door = Door { origins: vec!["https://app.example.org".into()], hosts: vec!["rpc.example.org".into()] };
    let (at, _server) = rpc.serve_to(door);
    let host = |name| request(at, "POST /", &[JSON, ("Host", name)], ASK).status;
    // A name that somebody made to point at this machine.
    assert_eq!(host("evil.example.net"), 403);
    assert_eq!(host("localhost:8545"), 200);
    assert_eq!(host("rpc.example.org"), 200);
    let page = |origin| request(at, "POST /", &[JSON, ("Origin", origin)], ASK);
    assert_eq!(page("https://evil.example.net").status, 403);
    assert_eq!(page("null").status, 403);
    let friend = page("https://app.example.org");
    assert_eq!((friend.status, friend.header("access-control-allow-origin")), (200, Some("https://app.example.org")));
    assert_eq!(friend.header("vary"), Some("Origin"));
    let asked = [("Origin", "https://app.example.org"), ("Access-Control-Request-Method", "POST")];
    let before = request(at, "OPTIONS /", &asked, "");
    assert_eq!(before.status, 204);
    assert!(before.header("access-control-allow-headers").is_some_and(|names| names.contains("Content-Type")));
    let upgrade = |origin| {
        let headers = [
            ("Origin", origin),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut text = format!("GET / HTTP/1.1\r\nHost: {at}\r\nConnection: Upgrade\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let mut said = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut said).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    };
    assert_eq!(upgrade("https://evil.example.net"), "HTTP/1.1 403");
    assert_eq!(upgrade("https://app.example.org"), "HTTP/1.1 101");

    // On a chain for development every page may ask; a foreign name may not, even then.
    let (at, _server) = rpc.serve();
    let page = request(at, "POST /", &[JSON, ("Origin", "http://localhost:3000")], ASK);
    assert_eq!((page.status, page.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(request(at, "POST /", &[JSON, ("Host", "evil.example.net")], ASK).status, 403);
}

#[test]
fn ids_come_back_as_they_were_sent() {
    let rpc = Rpc::new();
    let (at, _server) = rpc.serve();
    let ask = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_chainId","params":[]}}"#);
    for id in ["0", "-1", "1.5", "18446744073709551616", "1e3", "\"a\"", "\"\\u0061\"", "\"\"", "null"] {
        let said = post(at, &ask(id));
        assert_eq!(said.body, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"0x539"}}"#));
    }
    for id in ["true", "[1]", "{}"] {
        let said = post(at, &ask(id)).json();
        assert_eq!((&said["id"], &said["error"]["code"]), (&Value::Null, &json!(-32600)), "{id}");
    }
    let long = post(at, &ask(&format!("\"{}\"", "x".repeat(2_000)))).json();
    assert_eq!(long["error"]["code"], -32600);
    let mut ws = Ws::connect(&rpc, at);
    for id in [json!(-1), json!(1.5), json!("a"), Value::Null] {
        assert_eq!(ws.raw(&rpc, &ask(&id.to_string()), id.clone())["result"], "0x539");
    }

    // Without an id nobody waits for an answer.
    let told = post(at, r#"{"jsonrpc":"2.0","method":"eth_chainId","params":[]}"#);
    assert_eq!((told.status, told.body.as_str()), (204, ""));
    let batch = format!(r#"[{},{{"jsonrpc":"2.0","method":"eth_chainId"}},{},1]"#, ask("-7"), ask("\"b\""));
    let said = post(at, &batch).json();
    let ids: Vec<&Value> = said.as_array().unwrap().iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!(-7), &json!("b"), &Value::Null]);
    assert_eq!(said[2]["error"]["code"], -32600);
    assert_eq!(post(at, r#"[{"jsonrpc":"2.0","method":"eth_chainId"}]"#).status, 204);
    assert_eq!(post(at, "[]").json()["error"]["code"], -32600);
    assert_eq!(post(at, "{").json()["error"]["code"], -32700);
    let other = post(at, r#"{"id":3,"method":"eth_chainId"}"#).json();
    assert_eq!((&other["id"], &other["error"]["code"]), (&json!(3), &json!(-32600)), "no version");
}

#[test]
fn a_person_sees_what_it_is() {
    let rpc = Rpc::new();
    let (at, _server) = rpc.serve();
    let page = request(at, "GET /", &[("Accept", "text/html")], "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for part in ["Sahara", "1337", "SAH", &format!("http://{at}"), "Height</td><td><code>1<"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    // Nothing of a header gets into the page as anything but a name.
    let page = request(at, "GET /", &[("Host", "127.0.0.1:1<script>")], "");
    assert!(page.status == 403 || !page.body.contains("<script>"), "{page:?}");
    assert_eq!(request(at, "HEAD /", &[], "").body, "");
    assert_eq!(request(at, "GET /favicon.ico", &[], "").status, 404);
}
