//! The market from end to end, by the commands that people type: a chain, five operators, a model derived from two datasets,
//! a consumer without the model, its gateway and an OpenAI client; then an operator is killed, and everything is paid.

mod common;

use common::{Home, free_port_block, one_at_a_time, processes_of};
use serde_json::Value;

#[test]
fn a_model_is_sold_asked_and_paid_while_an_operator_dies() {
    let _turn = one_at_a_time();
    let home = Home::with_model();
    let port = free_port_block().to_string();
    let printed = home.output(&["demo", "--sentences", "1", "--port", &port, "--json"]);
    assert_eq!(processes_of(&home.path().join("demo")), Vec::<u32>::new(), "the demo left somebody running");
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    for (name, expected) in [
        ("exact_match", true),
        ("consumer_holds_model", false),
        ("answers_equal_plain", true),
        ("receipt_verified", true),
        ("served_after_kill", true),
        ("charged_twice", false),
        ("books_balance", true),
    ] {
        assert_eq!(report[name], Value::Bool(expected), "{name} in {report}");
    }
    assert_eq!(report["operator_killed"], "operator-2");
    assert_eq!((report["price"].as_str(), report["paid"].as_str()), (Some("0.005 SAH"), Some("0.045 SAH")), "{report}");
    let payees = report["payees"].as_array().unwrap();
    let roles: Vec<&str> = payees.iter().filter_map(|payee| payee["role"].as_str()).collect();
    assert_eq!(roles.len(), 9, "five operators, the owner, two contributors, and what is burnt: {roles:?}");
    assert!(payees.iter().all(|payee| payee["amount"] != "0 SAH"), "{payees:?}");
    assert_eq!(report["receipt"].as_str().map(str::len), Some(66));
}
