//! `sahara demo`, what `cargo xtask demo` ends in: for people a table, for programs one object.

mod common;

use common::{Home, free_port_block, one_at_a_time, processes_of};
use serde_json::Value;

#[test]
fn one_object_for_programs() {
    let _turn = one_at_a_time();
    for (mode, weights) in [("exact", "private"), ("exact", "open"), ("faithful", "open")] {
        let report = demo(&["--json", "--tokens", "32", "--sentences", "2", "--mode", mode, "--weights", weights]);
        let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
        let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} in {report}"));
        assert_eq!((report["mode"].as_str(), report["weights"].as_str()), (Some(mode), Some(weights)));
        assert!(mode != "exact" || report["exact_match"] == Value::Bool(true), "{report}");
        assert_eq!(number("tokens"), 64.0);
        assert!(number("cosine_mean") >= number("cosine_min") && number("cosine_min") > 0.97, "{report}");
        assert!(number("cpu_seconds_total") >= number("cpu_seconds_online"));
        assert!(number("cpu_seconds_online") > 0.0 && number("wall_seconds_online") > 0.0);
        assert!(number("bytes_total") > number("bytes_online") && number("bytes_online") > 100_000.0, "{report}");
        assert!(number("rounds_per_layer") > 1.0 && number("plaintext_cpu_seconds") > 0.0);
    }
}

#[test]
fn two_hundred_sentences_of_several_lengths_are_exact() {
    let _turn = one_at_a_time();
    for (weights, count) in [("private", 200u64), ("open", 40)] {
        let sentences = count.to_string();
        let report = demo(&["--json", "--sentences", &sentences, "--mode", "exact", "--weights", weights]);
        let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
        assert_eq!(report["exact_match"], Value::Bool(true), "{weights}: {}", report["equal_answers"]);
        assert_eq!(report["sentences"].as_u64(), Some(count));
        assert!(report["buckets"].as_array().is_some_and(|lengths| lengths.len() > 1), "{}", report["buckets"]);
        println!(
            "{weights}: {count} equal; cosine to float {} mean, {} worst",
            report["cosine_mean"], report["cosine_min"]
        );
    }
}

#[test]
fn a_table_for_people() {
    let _turn = one_at_a_time();
    let table = demo(&["--sentences", "3"]);
    for word in ["CPU-seconds", "megabytes", "rounds", "cosine", "integer for integer"] {
        assert!(table.contains(word), "{word} in\n{table}");
    }
}

/// Runs a demo in a home of its own; it must leave no process behind.
fn demo(options: &[&str]) -> String {
    let home = Home::with_model();
    let port = free_port_block().to_string();
    let printed = home.output(&[&["demo", "--quick", "--port", &port], options].concat());
    assert_eq!(processes_of(&home.path().join("devnet")), Vec::<u32>::new(), "the demo left a node running");
    printed
}
