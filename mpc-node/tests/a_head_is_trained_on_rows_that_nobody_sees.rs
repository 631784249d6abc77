//! A head is trained on rows and labels that lie on the nodes as masked weights: each step's gradient leaves with noise, until the budget of
//! the rows is used up.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Case, Network};
use sahara_circuits::gradient::{Descent, Gradient, NOISE_INPUT};
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::testgraph::Rng;
use sahara_mpc::client::{Assignment, Client, ClientError, Inference, Offer, Rounding, Task, Visibility};
use sahara_mpc::engine::NodeNoise;
use sahara_mpc::manifest::{AnswerCost, Budget, NoiseTerms, Sensitivity};
use sahara_mpc::wire::FailCode;
use sahara_privacy::noise::{DiscreteGaussian, Generator};
use sahara_privacy::train::{Clip, Examples, Network as Layers, Plan, Schedule, Step, Wish, measure, sample};

const FEATURES: usize = 24;
const ROWS: usize = 600;
const STEPS: u64 = 12;
const EPSILON: f64 = 3.0;
const DELTA: f64 = 1e-5;

/// Rows of length 1, of which one kind lies more to one side.
fn rows(seed: u64, count: usize) -> (Vec<Vec<f32>>, Vec<u32>) {
    let mut rng = Rng::new(seed);
    let mut one = |label: u32| {
        let side = if label == 1 { 0.6 } else { -0.6 };
        let mut row: Vec<f32> = (0..FEATURES)
            .map(|column| {
                let spread = (0..6).map(|_| rng.below(2001) as f32 / 1000.0 - 1.0).sum::<f32>();
                spread + if column % 4 == 0 { side } else { 0.3 }
            })
            .collect();
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
        row
    };
    let labels: Vec<u32> = (0..count as u32).map(|index| index % 2).collect();
    (labels.iter().map(|label| one(*label)).collect(), labels)
}

/// The rows as what is shared, with the least noise that the steps take.
fn shared(budget: &Budget) -> (Gradient, Case, NoiseTerms) {
    let (rows, labels) = rows(1, ROWS);
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let gradient = Gradient::new(ROWS, FEATURES, 2, 10).unwrap();
    let (l1, l2_squared) = gradient.sensitivity();
    let sensitivity = Sensitivity { l1, l2_squared };
    let numbers = gradient.numbers() as u64;
    let variance = AnswerCost::least_variance(sensitivity, numbers, STEPS, budget).unwrap().unwrap();
    let cost = |variance| AnswerCost { variance: 2 * variance, sensitivity, numbers };
    let epsilon = |variance, times| AnswerCost::epsilon(&[(cost(variance), times)], DELTA).unwrap();
    assert!(epsilon(variance, STEPS) <= EPSILON && epsilon(variance - 1, STEPS) > EPSILON);
    let none = AnswerCost::least_variance(sensitivity, numbers, STEPS, &Budget::new(0.01, DELTA).unwrap());
    assert_eq!(none.unwrap(), None, "no noise that nodes draw is enough for that");
    let noise = NodeNoise::new(vec![NOISE_INPUT], variance).unwrap();
    let weights = gradient.weights(&rows, &labels).unwrap();
    let mut graph = gradient.graph([0; 32], noise.greatest()).unwrap();
    graph.weights_root = weights.root(&graph.weights);
    noise.check(&graph).unwrap();
    let terms = NoiseTerms {
        noise,
        assignment: Assignment::ALL[0],
        dataset: "letters".parse().unwrap(),
        sensitivity,
        budget: *budget,
    };
    let inputs = vec![vec![0; gradient.numbers()], Vec::new()];
    let case = Case { graph: Arc::new(graph), weights, inputs, expected: Vec::new(), shared: Default::default() };
    (gradient, case, terms)
}

/// Runs the job, and again while an attempt of its own that found no pack holds what is left of the budget.
fn ask(case: &Case, client: &Client, task: Task) -> Result<Inference, ClientError> {
    loop {
        match case.run(client, task, true) {
            Err(error) if error.code() == Some(FailCode::Busy) => std::thread::sleep(Duration::from_millis(20)),
            answered => return answered,
        }
    }
}

/// The share of rows that the layer is right about.
fn right(layer: &[(Vec<f32>, f32)], (rows, labels): &(Vec<Vec<f32>>, Vec<u32>)) -> f64 {
    let output = |(weights, bias): &(Vec<f32>, f32), row: &[f32]| {
        weights.iter().zip(row).map(|(w, x)| w * x).sum::<f32>() + bias
    };
    let right = rows
        .iter()
        .zip(labels)
        .filter(|(row, label)| u32::from(output(&layer[1], row) > output(&layer[0], row)) == **label);
    right.count() as f64 / rows.len() as f64
}

/// What whoever holds all rows reaches at the same ε and δ, with as many steps over all rows.
fn central(seed: u8, test: &Examples) -> f64 {
    let (rows, labels) = rows(1, ROWS);
    let train = Examples::new(FEATURES, rows.concat(), labels).unwrap();
    let network = Layers::logistic(FEATURES, 2).unwrap();
    let wish = Wish {
        epsilon: EPSILON,
        delta: DELTA,
        examples: ROWS,
        batch: ROWS,
        steps: STEPS,
        clip: Clip::Flat(1.0),
        parameters: network.parameters(),
    };
    let plan = Plan::new(wish).unwrap();
    let rate = plan.rate(network.inputs(), network.layers().len());
    let mut coins = Generator::from_seed([seed; 32]);
    let mut noise = (DiscreteGaussian::new(plan.sigma).unwrap(), Generator::from_seed([0x80 | seed; 32]));
    let mut step = Step::private(&network, plan.wish.clip, plan.grid);
    let mut parameters = network.begin(seed.into());
    let mut gradient = vec![0.0; parameters.len()];
    for at in 0..STEPS {
        let batch = sample::batch(train.len(), plan.rate, plan.cap, &mut coins);
        step.gradient(&parameters, &train, &batch, &mut noise, ROWS as f64, &mut gradient);
        let rate = rate * Schedule::Linear.factor(at, STEPS);
        parameters.iter_mut().zip(&gradient).for_each(|(parameter, change)| *parameter -= rate * change);
    }
    measure(&network, &parameters, test).unwrap().right as f64 / test.len() as f64
}

#[test]
fn a_head_of_noisy_gradients_is_as_good_as_central_training_and_ends_with_the_budget() {
    let network = Network::start(|toml| toml);
    let (owner, trainer) = (network.client(), network.client());
    let budget = Budget::new(EPSILON, DELTA).unwrap();
    let (gradient, mut case, terms) = shared(&budget);
    let variance = terms.noise.variance();
    let assignments = [terms.assignment];
    let offer = Offer { assignments: &assignments, noise: Some(terms.clone()), ..case.offer(Visibility::Private) };
    let sharing = owner.share(&offer, &|_, _| ()).unwrap();
    let task = sharing.task(&case.graph, terms.assignment, Rounding::Exact).unwrap();
    let mut descent = Descent::new(gradient, STEPS, 3 * variance);
    for _ in 0..STEPS {
        case.inputs[0] = descent.input().unwrap();
        let still = [case.inputs[0].clone(), vec![0; gradient.numbers()]];
        let plain = execute(&case.graph, &case.weights, &still, &ExecOptions::default()).unwrap().outputs;
        let answer = ask(&case, &trainer, task).unwrap();
        let noise: Vec<f64> = answer.outputs[0].iter().zip(&plain[0]).map(|(y, x)| f64::from(y - x)).collect();
        let found = noise.iter().map(|x| x * x).sum::<f64>() / noise.len() as f64;
        assert!((0.2..3.0).contains(&(found / (3 * variance) as f64)), "{found} for {}", 3 * variance);
        descent.step(&answer.outputs[0]).unwrap();
    }
    assert_eq!(descent.done(), STEPS);
    let test = rows(2, 2000);
    let own = right(&descent.layer(), &test);
    let examples = Examples::new(FEATURES, test.0.concat(), test.1.clone()).unwrap();
    let central = (1..=5).map(|seed| central(seed, &examples)).sum::<f64>() / 5.0;
    println!("{own} on shares, {central} central");
    assert!(central > 0.8, "there is something to learn: {central}");
    assert!(own > central - 0.05, "{own} on shares, {central} central");
    let error = ask(&case, &trainer, task).unwrap_err();
    assert_eq!(error.code(), Some(FailCode::UsedUp), "{error}");
    assert_eq!(trainer.spent(&sharing).unwrap().unwrap().0, [(terms.cost(gradient.numbers() as u64), STEPS)]);
}

#[test]
fn with_noise_that_is_known_the_nodes_give_what_the_plain_executor_does() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let (rows, labels) = rows(3, 90);
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    for classes in [2, 3] {
        let gradient = Gradient::new(100, FEATURES, classes, 3).unwrap();
        let weights = gradient.weights(&rows, &labels).unwrap();
        let mut graph = gradient.graph([0; 32], 1 << 20).unwrap();
        graph.weights_root = weights.root(&graph.weights);
        let mut rng = Rng::new(u64::from(classes));
        let mut numbers = |most: u64| -> Vec<i32> {
            (0..gradient.numbers()).map(|_| (rng.below(2 * most + 1) as i64 - most as i64) as i32).collect()
        };
        let inputs = vec![numbers(100_000), numbers(1 << 20)];
        let expected = execute(&graph, &weights, &inputs, &ExecOptions::default()).unwrap().outputs;
        let case = Case { graph: Arc::new(graph), weights, inputs, expected, shared: Default::default() };
        case.register(&client, Visibility::Private);
        for rounding in [Rounding::Exact, Rounding::Faithful] {
            let task = case.task(0, rounding, Visibility::Private);
            // No gate of it rounds otherwise where a value may be one off: what one row changes relies on it.
            assert_eq!(ask(&case, &client, task).unwrap().outputs, case.expected, "{classes} {rounding:?}");
        }
    }
}

/// The client's own check of a head is left out, as a consumer with another program would.
#[test]
fn no_head_makes_a_row_count_for_more_than_is_said() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let (rows, labels) = rows(4, 1);
    let gradient = Gradient::new(3, FEATURES, 2, 5).unwrap();
    let weights = gradient.weights(&[&rows[0]], &labels).unwrap();
    let mut graph = gradient.graph([0; 32], 1 << 20).unwrap();
    graph.weights_root = weights.root(&graph.weights);
    let mut lax = graph.clone();
    (lax.inputs[0].max_abs, lax.inputs[0].max_row_norm) = (u32::MAX, u32::MAX);
    let inputs = vec![Vec::new(), vec![0; gradient.numbers()]];
    let case = Case { graph: Arc::new(graph), weights, inputs, expected: Vec::new(), shared: Default::default() };
    case.register(&client, Visibility::Private);
    let case = Case { graph: Arc::new(lax), ..case };
    let mut rng = Rng::new(5);
    let (_, l2_squared) = gradient.sensitivity();
    let task = {
        let sharing = case.shared[Visibility::Private as usize].lock().unwrap();
        let graph = sharing.as_ref().unwrap().manifest().graphs[0];
        Task {
            manifest: sharing.as_ref().unwrap().id(),
            graph,
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        }
    };
    for round in 0..6 {
        // As long as a client can be made to send; products of it leave 32 bits many times over.
        let mut wild = || if round == 0 { 800_000_000 } else { rng.below(1_600_000_001) as i32 - 800_000_000 };
        let head = (0..gradient.numbers()).map(|_| wild()).collect();
        let inputs = vec![head, case.inputs[1].clone()];
        let job = Case {
            inputs,
            shared: Default::default(),
            graph: case.graph.clone(),
            weights: case.weights.clone(),
            expected: Vec::new(),
        };
        let answer = ask(&job, &client, task).unwrap().outputs.remove(0);
        let squares: u64 = answer.iter().map(|x| u64::from(x.unsigned_abs()).pow(2)).sum();
        assert!(squares <= l2_squared, "{squares} over {l2_squared}");
    }
}
