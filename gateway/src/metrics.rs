//! Counters of the gateway in Prometheus' text format. They hold sizes and times, never texts.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters since the start.
#[derive(Default)]
pub struct Metrics {
    served: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    texts: AtomicU64,
    tokens: AtomicU64,
    micros: AtomicU64,
    running: AtomicU64,
}

impl Metrics {
    /// Work for a request has begun.
    pub fn entered(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    /// Work for a request has ended, with an answer or without.
    pub fn left(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was answered.
    pub fn served(&self, texts: usize, tokens: usize, took: Duration) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.texts.fetch_add(texts as u64, Ordering::Relaxed);
        self.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A request got an error with this HTTP status.
    pub fn error(&self, status: u16) {
        let counter = if status < 500 { &self.refused } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, String)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        family(
            "sahara_gateway_requests_total",
            "counter",
            "Requests for work (embeddings, rerank) that were served, and whatever was refused or failed.",
            &[
                ("{outcome=\"served\"}", get(&self.served).to_string()),
                ("{outcome=\"refused\"}", get(&self.refused).to_string()),
                ("{outcome=\"failed\"}", get(&self.failed).to_string()),
            ],
        );
        family(
            "sahara_gateway_texts_total",
            "counter",
            "Texts of served requests.",
            &[("", get(&self.texts).to_string())],
        );
        family(
            "sahara_gateway_tokens_total",
            "counter",
            "Tokens of served requests.",
            &[("", get(&self.tokens).to_string())],
        );
        family(
            "sahara_gateway_request_seconds_total",
            "counter",
            "Wall seconds spent on served requests.",
            &[("", format!("{:.6}", get(&self.micros) as f64 / 1e6))],
        );
        family(
            "sahara_gateway_running",
            "gauge",
            "Requests being worked on, until the last of their work has ended.",
            &[("", get(&self.running).to_string())],
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_rendered_with_help_and_type() {
        let metrics = Metrics::default();
        metrics.entered();
        metrics.served(2, 11, Duration::from_millis(250));
        metrics.error(400);
        metrics.error(502);
        let text = metrics.render();
        for line in [
            "# TYPE sahara_gateway_requests_total counter",
            "sahara_gateway_requests_total{outcome=\"served\"} 1",
            "sahara_gateway_requests_total{outcome=\"refused\"} 1",
            "sahara_gateway_requests_total{outcome=\"failed\"} 1",
            "sahara_gateway_tokens_total 11",
            "sahara_gateway_request_seconds_total 0.250000",
            "sahara_gateway_running 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        metrics.left();
        assert!(metrics.render().contains("sahara_gateway_running 0"));
    }
}
