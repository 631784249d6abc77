//! What the account of a run takes for granted, seen from outside: every example has a coin of its own in every step, sums are divided
//! by the size that is expected, and every variable of every network is trained.

use std::cell::RefCell;

use sahara_privacy::noise::Generator;
use sahara_privacy::train::{
    Clip, Data, Examples, Gradients, Ledger, Misfit, Model, Network, Noise, Outcome, Plan, Rule, Run, Schedule, Step,
    TrainError, Wish, sample,
};

/// One parameter, by which every example has a gradient of 1; it writes down who is in a batch, and where the parameter was.
#[derive(Default)]
struct Witness {
    batches: RefCell<Vec<Vec<usize>>>,
    places: RefCell<Vec<f64>>,
}

struct Heads(Vec<u32>);

impl Data for Heads {
    fn classes(&self) -> &[u32] {
        &self.0
    }
}

struct Ones<'a>(&'a Witness, Vec<f32>);

impl Model for Witness {
    type Data = Heads;
    type Gradients<'a> = Ones<'a>;

    fn parameters(&self) -> usize {
        1
    }

    fn begin(&self, _: u64) -> Vec<f32> {
        vec![0.0]
    }

    fn fits(&self, _: &Heads) -> Result<(), Misfit> {
        Ok(())
    }

    fn at_once(&self, _: &Heads, rest: &[usize]) -> usize {
        rest.len().min(64)
    }

    fn gradients(&self, _: bool) -> Ones<'_> {
        Ones(self, Vec::new())
    }
}

impl Gradients<Heads> for Ones<'_> {
    fn load(&mut self, parameters: &[f32]) {
        self.0.places.borrow_mut().push(parameters[0].into());
        self.0.batches.borrow_mut().push(Vec::new());
    }

    fn compute(&mut self, _: &[f32], _: &Heads, some: &[usize]) -> Outcome {
        self.0.batches.borrow_mut().last_mut().expect("a step begins with its parameters").extend_from_slice(some);
        self.1 = vec![1.0; some.len()];
        Outcome::default()
    }

    fn outcome(&mut self, _: &[f32], _: &Heads, _: &[usize]) -> Outcome {
        Outcome::default()
    }

    fn squares(&self) -> &[f32] {
        &self.1
    }

    fn forget(&mut self, _: usize) {}

    fn add(&mut self, factors: &[f32], sum: &mut [f32]) {
        sum[0] += factors.iter().sum::<f32>();
    }
}

const EXAMPLES: usize = 200;
const BATCH: usize = 25;
const STEPS: u64 = 4000;

/// Batches of a run, and where its one parameter was before each step and after all; with hardly any noise.
fn made() -> (Vec<Vec<usize>>, Vec<f64>) {
    let (witness, heads) = (Witness::default(), Heads(vec![0; EXAMPLES]));
    let clip = Clip::Flat(1.0);
    let wish = Wish { epsilon: 1e6, delta: 1e-5, examples: EXAMPLES, batch: BATCH, steps: STEPS, clip, parameters: 1 };
    let plan = Plan::new(wish).expect("a plan");
    assert!(plan.noise < 0.2, "{}", plan.noise);
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::create(&folder.path().join("spent"), &[1; 32]).expect("a ledger");
    let ways = (Rule::Sgd { momentum: 0.0 }, Schedule::Constant, 1.0);
    let mut run = Run::begin(&witness, &heads, plan, ways, 0, ledger, [1; 32]).expect("a run");
    run.train::<TrainError>(|_| true, |_| Ok(())).expect("steps");
    witness.places.borrow_mut().push(run.state().parameters[0].into());
    drop(run);
    (witness.batches.into_inner(), witness.places.into_inner())
}

/// Whether batches are those of independent coins at this rate: sizes, members, and whether one batch knows of the last.
fn independent(batches: &[Vec<usize>]) -> Result<(), String> {
    let (steps, n, q) = (batches.len() as f64, EXAMPLES as f64, BATCH as f64 / EXAMPLES as f64);
    let sizes: Vec<f64> = batches.iter().map(|batch| batch.len() as f64).collect();
    let mean = sizes.iter().sum::<f64>() / steps;
    let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / (steps - 1.0);
    let expected = n * q * (1.0 - q);
    if (mean - n * q).abs() > 6.0 * (expected / steps).sqrt() {
        return Err(format!("batches have {mean} members on average, not {}", n * q));
    }
    // The variance of a variance is about 2 v² / steps.
    if (variance - expected).abs() > 7.0 * expected * (2.0 / steps).sqrt() {
        return Err(format!("sizes vary by {variance}, not by {expected}"));
    }
    let mut counts = vec![0.0; EXAMPLES];
    batches.iter().flatten().for_each(|member| counts[*member] += 1.0);
    let spread = counts.iter().map(|count: &f64| (count - steps * q).powi(2)).sum::<f64>() / (steps * q * (1.0 - q));
    if (spread - n).abs() > 7.0 * (2.0 * n).sqrt() {
        return Err(format!("members are in {spread} of {n} batches more or fewer than coins"));
    }
    let again = |pair: &[Vec<usize>]| pair[1].iter().filter(|member| pair[0].contains(member)).count() as f64;
    let overlap = batches.windows(2).map(again).sum::<f64>() / (steps - 1.0);
    if (overlap - n * q * q).abs() > 7.0 * (n * q * q / steps).sqrt() {
        return Err(format!("{overlap} members of a batch are in the next, not {}", n * q * q));
    }
    Ok(())
}

#[test]
fn batches_are_drawn_by_coins_and_sums_divided_by_what_is_expected() {
    let (batches, places) = made();
    assert_eq!(batches.len() as u64, STEPS);
    independent(&batches).unwrap();
    // Each member moves the parameter by 1 over 25, less the room that clipping leaves, whoever else is there.
    for (batch, place) in batches.iter().zip(places.windows(2)) {
        let gone = (place[0] - place[1]) * BATCH as f64;
        assert!((gone - batch.len() as f64 * (1024.0 / 1025.0)).abs() < 2.0, "{gone} for {}", batch.len());
    }
}

/// Other ways to draw are found out.
#[test]
fn shuffled_fixed_and_rare_batches_are_told_from_coins() {
    let mut random = Generator::from_seed([3; 32]);
    let mut shuffled = Vec::new();
    let mut order: Vec<usize> = (0..EXAMPLES).collect();
    for _ in 0..STEPS as usize / 8 {
        (0..EXAMPLES).for_each(|at| order.swap(at, at + random.below((EXAMPLES - at) as u64) as usize));
        shuffled.extend(order.chunks(BATCH).map(<[usize]>::to_vec));
    }
    let fixed: Vec<Vec<usize>> =
        (0..STEPS as usize).map(|step| (0..BATCH).map(|i| (step * BATCH + i) % EXAMPLES).collect()).collect();
    let mut coins = |rate: u64| {
        let rate = sample::Rate::of(rate, EXAMPLES as u64);
        (0..STEPS).map(|_| sample::batch(EXAMPLES, rate, EXAMPLES, &mut random)).collect::<Vec<_>>()
    };
    let (right, rare) = (coins(25), coins(24));
    // Each batch twice, and coins that are thrown for pairs of examples.
    let twice: Vec<Vec<usize>> = right.iter().flat_map(|batch| [batch.clone(), batch.clone()]).collect();
    let pairs: Vec<Vec<usize>> =
        right.iter().map(|batch| batch.iter().filter(|i| **i % 2 == 0).flat_map(|i| [*i, i + 1]).collect()).collect();
    independent(&right).unwrap();
    for (name, batches) in
        [("shuffled", shuffled), ("fixed", fixed), ("rare", rare), ("twice", twice), ("pairs", pairs)]
    {
        assert!(independent(&batches).is_err(), "{name}");
    }
}

struct Silence;

impl Noise for Silence {
    fn fill(&mut self, values: &mut [i64]) {
        values.fill(0);
    }
}

#[test]
fn every_variable_of_every_network_has_a_gradient() {
    let networks = [
        ("logistic regression", Network::logistic(30, 4).unwrap()),
        ("perceptron", Network::perceptron(30, &[20, 12], 4).unwrap()),
        ("images", Network::small_images(4).unwrap()),
    ];
    for (name, network) in networks {
        let mut random = Generator::from_seed([7; 32]);
        let count = 256;
        let values = (0..count * network.inputs()).map(|_| random.unit() as f32 - 0.4).collect();
        let examples = Examples::new(network.inputs(), values, (0..count as u32).map(|i| i * i % 4).collect()).unwrap();
        let all: Vec<usize> = (0..count).collect();
        // Away from where a logistic regression begins, and no neuron is dead.
        let parameters: Vec<f32> =
            network.begin(3).iter().map(|value| value + (random.unit() as f32 - 0.4) * 0.05).collect();
        let clip = Clip::Flat(0.1);
        let grid = sahara_privacy::train::Grid::of(0.1, network.parameters(), count);
        let fine = sahara_privacy::train::Grid { unit: 2.0_f64.powi(-60), ..grid };
        for mut step in [Step::plain(&network), Step::private(&network, clip, fine)] {
            let mut gradient = vec![0.0; parameters.len()];
            step.gradient(&parameters, &examples, &all, &mut Silence, 1.0, &mut gradient);
            let still = gradient.iter().filter(|value| **value == 0.0).count();
            assert_eq!(still, 0, "{name}: {still} of {} variables are never trained", gradient.len());
        }
    }
}
