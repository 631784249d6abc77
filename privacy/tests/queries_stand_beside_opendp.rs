//! The noise of a question is the least that OpenDP's maps allow for the same ε, and a key that is not declared is told from the same
//! number of rows on. `tests/data/make_opendp.py` makes the points; SAHARA_OPENDP_POINTS names others.

use std::fs;

use sahara_privacy::query::{Kind, Plan, Query, Schema, Unit, Wish};

#[test]
fn every_point_has_opendps_noise() {
    let path = std::env::var("SAHARA_OPENDP_POINTS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/opendp.csv").to_owned());
    let text = fs::read_to_string(&path).expect("the points are there");
    let mut kinds = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(',').expect("a kind");
        let fields: Vec<f64> = rest.split(',').map(|field| field.parse().expect("a number")).collect();
        let [low, high, rows, epsilon, delta, scale, threshold] = fields[..] else {
            panic!("eight fields, not {line}")
        };
        let columns = vec![
            ("x".to_owned(), Kind::Number { low, high, step: 1.0 }),
            ("v".to_owned(), Kind::Values(vec!["a".into(), "b".into(), "c".into()])),
            ("w".to_owned(), Kind::Words),
        ];
        let unit = Unit::Person { column: "id".to_owned(), rows: rows as u32 };
        let question = match kind {
            "count" => "SELECT COUNT(*) FROM t".to_owned(),
            "sum" => "SELECT SUM(x) FROM t".to_owned(),
            "histogram" => "SELECT v, COUNT(*) FROM t GROUP BY v".to_owned(),
            "keys" => "SELECT w, COUNT(*) FROM t GROUP BY w".to_owned(),
            quantile => format!("SELECT QUANTILE(x, {}) FROM t", quantile.trim_start_matches("quantile ")),
        };
        let wish = Wish { epsilon, delta: (kind == "keys").then_some(delta) };
        let plan = Plan::new(&Query::parse(&question).unwrap(), &Schema::new(columns, unit).unwrap(), wish).unwrap();
        // Their scores of a quantile are in whole numbers of other units.
        let (found, scale) =
            (plan.noise()[0].scale, if kind.starts_with("quantile") { scale * units(kind) } else { scale });
        assert!(found >= scale * (1.0 - 1e-9) && found <= scale * (1.0 + 1e-6), "{line}: {found} beside {scale}");
        if kind == "keys" {
            // Theirs is told above, ours from it on.
            assert_eq!(plan.threshold(), Some(threshold as i64 + 1), "{line}");
        }
        *kinds.entry(kind.to_owned()).or_insert(0) += 1;
    }
    assert!(kinds.len() == 7 && kinds.values().all(|count| *count >= 5), "{path}: {kinds:?}");
}

/// How many of our units of score one of theirs is.
fn units(kind: &str) -> f64 {
    match kind {
        "quantile 0.5" | "quantile 0.25" => 1.0,
        // 9000 of 10000.
        "quantile 0.9" => 0.001,
        other => panic!("no quantile that is known: {other}"),
    }
}
