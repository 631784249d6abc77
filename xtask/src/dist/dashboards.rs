//! Tests of the dashboards: every metric, label and value that they ask for is exported by the programs, so that whoever
//! renames one is told here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::json::Value;
use crate::process::root;

/// The non-test part of every `metrics.rs` of the workspace.
fn exporters() -> Vec<String> {
    fn look(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
                look(&path, found);
            } else if name == "metrics.rs" {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    look(&root(), &mut found);
    let code = |path: &PathBuf| std::fs::read_to_string(path).unwrap().split("#[cfg(test)]").next().unwrap().to_owned();
    found.iter().map(code).collect()
}

/// Names of ours that stand in the code as strings.
fn ours(code: &[String]) -> BTreeSet<String> {
    let strings = code.iter().flat_map(|code| code.split('"'));
    strings.filter(|text| text.starts_with("sahara_")).map(|text| identifier(text).to_owned()).collect()
}

/// CometBFT's, with their kinds, from the list that was taken from a running one.
fn comets() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("packaging/cometbft-metrics.txt")).unwrap();
    assert!(
        crate::prerequisites::COMETBFT.ends_with(text.split_whitespace().nth(4).unwrap().trim_end_matches(',')),
        "of another CometBFT"
    );
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

fn identifier(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    &text[..end]
}

/// Every expression and query of a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::Text(text) if ["expr", "query", "definition"].contains(&key.as_str()) => {
                        found.push(text.clone());
                    }
                    other => expressions(other, found),
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// Names of metrics in an expression: what stands before braces, and what values of labels are asked of.
fn metrics(expression: &str) -> Vec<&str> {
    let word =
        |text: &'_ str| text.len() - text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
    let braces = expression.match_indices('{').map(|(at, _)| &expression[at - word(&expression[..at])..at]);
    let asked = expression.match_indices("label_values(").map(|(at, call)| identifier(&expression[at + call.len()..]));
    braces.chain(asked).collect()
}

/// Labels and values that an expression compares with.
fn labels(expression: &str) -> Vec<(&str, &str)> {
    let inside = expression.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    inside.flat_map(|inside| inside.split(',')).filter_map(|pair| pair.split_once("=\"")).collect()
}

#[test]
fn dashboards_show_what_the_programs_export() {
    let (code, comets) = (exporters(), comets());
    let ours = ours(&code);
    assert!(ours.contains("sahara_ready") && ours.contains("sahara_gateway_running"), "{ours:?}");
    let folder = root().join("packaging/grafana");
    for file in super::files(&folder).unwrap() {
        let text = std::fs::read_to_string(folder.join(&file)).unwrap();
        let board = Value::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        let panels = board.get("panels").and_then(Value::list).unwrap();
        let ids: BTreeSet<String> = panels.iter().map(|panel| panel.get("id").unwrap().to_string()).collect();
        assert!(!panels.is_empty() && ids.len() == panels.len(), "{}", file.display());
        let mut asked = Vec::new();
        expressions(&board, &mut asked);
        for expression in asked {
            for name in metrics(&expression) {
                let base = name.trim_end_matches("_bucket");
                let known = match comets.get(base) {
                    Some(kind) => (kind == "histogram") == (base != name),
                    None => ours.contains(name),
                };
                assert!(known, "{}: nobody exports {name}: {expression}", file.display());
            }
            for (label, value) in labels(&expression) {
                let exported = |text: &str| code.iter().any(|code| code.contains(text));
                assert!(exported(label) && exported(value.trim_end_matches('"')), "{label}={value}: {expression}");
            }
        }
    }
}

#[test]
fn names_and_labels_are_found_in_expressions() {
    let expression = "sum by (a) (rate(x_total{outcome=\"y\",instance=~\"$i\"}[5m])) / z{instance=~\"$i\"}";
    assert_eq!(metrics(expression), ["x_total", "z"]);
    assert_eq!(labels(expression), [("outcome", "y\"")]);
    assert_eq!(metrics("label_values(sahara_ready, instance)"), ["sahara_ready"]);
}
