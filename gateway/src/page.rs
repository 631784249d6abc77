//! What a person sees who opens the address of the gateway in a browser.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Html;

use crate::Gateway;

/// The page at `GET /`.
pub async fn show(State(gateway): State<std::sync::Arc<Gateway>>, headers: HeaderMap) -> Html<String> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    Html(page(&gateway.model, host))
}

fn page(model: &str, host: &str) -> String {
    // Neither comes from here: nothing of them but letters of names is written.
    let plain = |text: &str, more: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || more.contains(*c)).take(100).collect()
    };
    let (model, host) = (plain(model, "._-"), plain(host, "[]:.-"));
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sahara gateway</title>
<style>body{{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em}}pre{{overflow:auto}}</style>
</head><body>
<h1>Sahara gateway</h1>
<p>It answers OpenAI's clients for the model <code>{model}</code>, privately: it reads the text, and only shares of it go to
the nodes. There is nothing to click here.</p>
<p>Base URL: <code>http://{host}/v1</code>. Any API key will do.</p>
<pre>curl http://{host}/v1/embeddings -H 'Content-Type: application/json' \
  -d '{{"model": "{model}", "input": "a private sentence"}}'</pre>
<pre>from openai import OpenAI
client = OpenAI(base_url="http://{host}/v1", api_key="unused")
client.embeddings.create(model="{model}", input=["a private sentence"])</pre>
<p>Also: <a href="/v1/models">/v1/models</a>, <code>/v1/rerank</code> for cross-encoders, <code>/v1/classify</code> for classifiers, <a href="/healthz">/healthz</a> and
<a href="/metrics">/metrics</a>.</p>
</body></html>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_request_brings_becomes_markup() {
        let page = page("a<b>", "x\"><script>:80");
        assert!(page.contains("<code>ab</code>") && page.contains("http://xscript:80/v1"), "{page}");
    }
}
