//! Questions from their words to their answers.

use super::mechanism::Laplace;
use super::plan::Aggregate;
use super::run::mean;
use super::schema::Scale;
use super::sums::{Sum, scores};
use super::{Answer, Cell, Fraction, Kind, Plan, Query, QueryError, Schema, Unit, Wish};
use crate::noise::Generator;

const TABLE: &str =
    "id,city,age,note\n1,Oasis,30,x\n1,Oasis,40,x\n1,Dune,50,y\n2,Dune,60,x\n3,Oasis,?,z\n4,Nowhere,20,x\n";

fn schema(unit: Unit) -> Schema {
    let columns = vec![
        ("age".to_owned(), Kind::Number { low: 0.0, high: 100.0, step: 0.5 }),
        ("city".to_owned(), Kind::Values(vec!["Oasis".into(), "Dune".into(), "Well".into()])),
        ("note".to_owned(), Kind::Words),
    ];
    Schema::new(columns, unit).unwrap()
}

fn person(rows: u32) -> Unit {
    Unit::Person { column: "id".to_owned(), rows }
}

fn ask(question: &str, unit: Unit, epsilon: f64, delta: Option<f64>) -> Result<Answer, QueryError> {
    let plan = Plan::new(&Query::parse(question)?, &schema(unit), Wish { epsilon, delta })?;
    plan.answer(TABLE, &mut Generator::from_seed([5; 32]))
}

/// With so much ε that there is no noise.
fn exact(question: &str, unit: Unit) -> Vec<(Vec<String>, Vec<Cell>)> {
    let rows = ask(question, unit, 30.0, None).unwrap().rows;
    rows.into_iter().map(|row| (row.keys, row.cells)).collect()
}

fn numbers(cells: &[Cell]) -> Vec<f64> {
    let number = |cell: &Cell| match cell {
        Cell::Number { value, low, high } => {
            assert!(low <= value && value <= high);
            *value
        }
        Cell::Quantile { value, .. } => *value,
        other => panic!("{other:?}"),
    };
    cells.iter().map(number).collect()
}

#[test]
fn without_noise_answers_are_those_of_the_table() {
    let all = exact("SELECT COUNT(*), COUNT(age), COUNT(city) FROM t", Unit::Row);
    assert_eq!(numbers(&all[0].1), [6.0, 5.0, 5.0]);
    let query = Query::parse("SELECT SUM(age), AVG(age) FROM t WHERE city = 'Oasis'").unwrap();
    let plan = Plan::new(&query, &schema(Unit::Row), Wish { epsilon: 1.0, delta: None }).unwrap();
    let sums = plan.sum(TABLE).unwrap().remove(0).1.sums;
    // In steps of a half, and in half steps above 50.
    assert!(matches!(sums[..], [Sum::One(140), Sum::Two(-120, 2)]));
    assert_eq!(numbers(&exact("SELECT MEDIAN(age) FROM t", Unit::Row)[0].1), [40.0]);
    let by_city = exact("SELECT city, COUNT(*) FROM t GROUP BY city", Unit::Row);
    let found: Vec<_> = by_city.iter().map(|(keys, cells)| (keys[0].as_str(), numbers(cells)[0])).collect();
    assert_eq!(found, [("Oasis", 3.0), ("Dune", 2.0), ("Well", 0.0)], "each declared one, in that order, and no other");
    let Cell::Bins { bins, error } = &exact("SELECT HISTOGRAM(age, 4) FROM t", Unit::Row)[0].1[0] else { panic!() };
    let counts: Vec<_> = bins.iter().map(|bin| (bin.from, bin.to, bin.count)).collect();
    assert_eq!(counts, [(0.0, 25.0, 1), (25.5, 50.0, 3), (50.5, 75.0, 1), (75.5, 100.0, 0)]);
    assert_eq!(*error, 0.0);
    let Cell::Top { values, .. } = &exact("SELECT TOP(city, 2) FROM t", Unit::Row)[0].1[0] else { panic!() };
    assert_eq!(values, &["Oasis", "Dune"]);
    let scale = Scale::of(0.0, 100.0, 0.5);
    let (sum, count) = (Laplace::new(200, 1e3).unwrap(), Laplace::new(1, 1e2).unwrap());
    let Cell::Number { value, low, high } = mean(&scale, (&sum, -200), (&count, 5)) else { panic!() };
    assert!(value == 40.0 && low <= 40.0 && high >= 40.0 && high - low < 1.0, "{low} {high}");
}

#[test]
fn so_many_rows_of_a_person_count_as_was_declared() {
    let count = |rows, question| numbers(&exact(question, person(rows))[0].1)[0];
    assert_eq!(count(1, "SELECT COUNT(*) FROM t WHERE age > 0 OR age IS NULL"), 4.0);
    // Rows without a person are nobody's: they do not count, and so make no room for each other.
    let plan = |rows| {
        let query = Query::parse("SELECT COUNT(*) FROM t").unwrap();
        Plan::new(&query, &schema(person(rows)), Wish { epsilon: 30.0, delta: None }).unwrap()
    };
    for rows in [1, 3] {
        let sums = plan(rows).sum("id,age\n,1\n ,2\n\"\",3\n7,4\n").unwrap();
        assert!(matches!(sums[0].1.sums[..], [Sum::One(1)]), "{rows}");
    }
    // The noise for three rows is three times as wide: whatever it is, it is an honest number.
    let noise = |rows| {
        let query = Query::parse("SELECT SUM(age) FROM t").unwrap();
        let plan = Plan::new(&query, &schema(person(rows)), Wish { epsilon: 1.0, delta: None }).unwrap();
        plan.noise()[0].scale
    };
    assert!((noise(3) / noise(1) - 3.0).abs() < 1e-9 && (noise(1) - 100.0).abs() < 1e-6);
    // Those that the condition lets pass are counted, the first ones.
    assert_eq!(count(1, "SELECT COUNT(*) FROM t WHERE city = 'Dune'"), 2.0);
}

#[test]
fn groups_that_are_not_declared_are_told_when_enough_rows_make_them() {
    let question = "SELECT note, COUNT(*) FROM t GROUP BY note";
    assert!(ask(question, Unit::Row, 5.0, None).unwrap_err().to_string().contains("--delta"));
    let plan = |rows| {
        Plan::new(&Query::parse(question).unwrap(), &schema(person(rows)), Wish { epsilon: 2.0, delta: Some(1e-6) })
    };
    let (one, three) = (plan(1).unwrap(), plan(3).unwrap());
    assert_eq!(one.threshold(), Some(1 + Laplace::new(1, 2.0).unwrap().tail(1e-6)));
    assert!(three.threshold() > one.threshold().map(|threshold| 2 * threshold));
    assert!(one.failure() >= 1e-6);
    // Ten thousand tables of one row: the threshold holds it back. Thousands of rows pass.
    let mut generator = Generator::from_seed([8; 32]);
    let told = |table: &str, generator: &mut Generator| one.answer(table, generator).unwrap().rows.len();
    assert_eq!((0..10_000).map(|_| told("id,note\n1,rare\n", &mut generator)).sum::<usize>(), 0);
    let many: String = (0..50).map(|i| format!("{i},common\n{i},rare{i}\n")).collect();
    let table = format!("id,note\n{many}");
    let answer = one.answer(&table, &mut generator).unwrap();
    assert_eq!(answer.rows.iter().map(|row| row.keys[0].as_str()).collect::<Vec<_>>(), ["common"]);
    assert!(ask("SELECT city, COUNT(*) FROM t GROUP BY city", Unit::Row, 1.0, Some(1e-9)).is_err(), "no δ is needed");
}

/// What neighbours can do to the exact sums, over random tables: no more than the noise is for.
#[test]
fn one_person_more_moves_sums_by_no_more_than_was_planned() {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let question = "SELECT city, COUNT(*), SUM(age), AVG(age), MEDIAN(age) FROM t GROUP BY city";
    let plan =
        Plan::new(&Query::parse(question).unwrap(), &schema(person(2)), Wish { epsilon: 1.0, delta: None }).unwrap();
    let sensitivity = |at: usize| match &plan.parts[at].aggregate {
        Aggregate::Count { noise, .. } | Aggregate::Sum { noise, .. } => noise.scale() * 0.25,
        Aggregate::Mean { sum, .. } => sum.scale() * 0.125,
        Aggregate::Quantile { choice, .. } => choice.scale() * 0.25 / 2.0,
        _ => 0.0,
    };
    for _ in 0..60 {
        let mut row =
            |id: u64| format!("{id},{},{},x\n", ["Oasis", "Dune"][random(2) as usize], random(300) as i64 - 100);
        let others: Vec<String> = (0..12).map(|i| row(i % 5)).collect();
        let more: Vec<String> = (0..4).map(|_| row(9)).collect();
        let table = |rows: &[String]| format!("id,city,age,note\n{}", rows.concat());
        let (without, with) = (plan.sum(&table(&others)).unwrap(), plan.sum(&table(&[more, others].concat())).unwrap());
        for at in 0..4 {
            let moved: i64 = without.iter().zip(&with).map(|((_, a), (_, b))| change(&a.sums[at], &b.sums[at])).sum();
            assert!(moved as f64 <= sensitivity(at) + 1e-3, "{at}: {moved} of {}", sensitivity(at));
        }
    }
}

/// Of a quantile, what a score moves by at most.
fn change(a: &Sum, b: &Sum) -> i64 {
    match (a, b) {
        (Sum::One(a), Sum::One(b)) => (a - b).abs(),
        (Sum::Two(a, _), Sum::Two(b, _)) => (a - b).abs(),
        (Sum::Values(a), Sum::Values(b)) => {
            let half = Fraction { above: 1, below: 2 };
            let of = |values| scores(values, &Scale::of(0.0, 100.0, 0.5), 1, half);
            of(a).iter().zip(of(b)).map(|(a, b)| (a - b).abs()).max().unwrap_or(0)
        }
        _ => i64::MAX,
    }
}

/// A count is its noise: the chance of each answer is the distribution's.
#[test]
fn answers_have_the_noise_that_was_said() {
    let plan = Plan::new(
        &Query::parse("SELECT COUNT(*) FROM t").unwrap(),
        &schema(Unit::Row),
        Wish { epsilon: 0.7, delta: None },
    )
    .unwrap();
    let mut generator = Generator::from_seed([1; 32]);
    let mut counts = [0_u32; 5];
    for _ in 0..40_000 {
        let value = numbers(&plan.answer(TABLE, &mut generator).unwrap().rows[0].cells)[0] - 6.0;
        if value.abs() <= 2.0 {
            counts[(value + 2.0) as usize] += 1;
        }
    }
    let ratio = (-0.7_f64).exp();
    for (at, count) in counts.iter().enumerate() {
        let chance = (1.0 - ratio) / (1.0 + ratio) * ratio.powi((at as i32 - 2).abs());
        let (mean, deviation) = (40_000.0 * chance, (40_000.0 * chance * (1.0 - chance)).sqrt());
        assert!((f64::from(*count) - mean).abs() < 5.0 * deviation, "{at} {counts:?}");
    }
}

#[test]
fn a_table_that_is_not_well_formed_is_refused() {
    let plan = Plan::new(
        &Query::parse("SELECT SUM(age) FROM t").unwrap(),
        &schema(Unit::Row),
        Wish { epsilon: 1.0, delta: None },
    )
    .unwrap();
    for (table, said) in [
        ("city\nOasis\n", "no column \"age\""),
        ("age,age\n1,2\n", "two columns"),
        ("age,city\n1\n", "line 2"),
        ("age\n\"1\n", "quote"),
    ] {
        let error = plan.answer(table, &mut Generator::from_seed([0; 32])).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_plan_costs_no_more_than_was_wished() {
    for question in [
        "SELECT COUNT(*) FROM t",
        "SELECT AVG(age), SUM(age), MEDIAN(age), COUNT(city) FROM t",
        "SELECT TOP(city, 2), HISTOGRAM(age, 10) FROM t",
        "SELECT city, AVG(age) FROM t GROUP BY city",
    ] {
        for epsilon in [0.01, 1.0, 8.0] {
            let wish = Wish { epsilon, delta: None };
            let plan = Plan::new(&Query::parse(question).unwrap(), &schema(person(3)), wish).unwrap();
            let alone: f64 = plan.noise().iter().map(|noise| noise.epsilon).sum();
            assert!((alone / epsilon - 1.0).abs() < 1e-9, "{question}");
            let mut last = 0.0;
            for order in [1.25, 2.0, 16.0, 512.0] {
                let cost = plan.divergence(order);
                assert!(cost > last && cost <= epsilon && cost <= order * epsilon * epsilon / 2.0 + 1e-9, "{question}");
                last = cost;
            }
        }
    }
}
