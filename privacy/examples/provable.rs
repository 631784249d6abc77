//! `provable FILE.csv LABEL LOW:HIGH LABELS [EPSILONS]`: for each ε (0.5, 1, 3 and 8 if none is given) the accuracy on FILE.test.csv of
//! a linear model trained in floating point, and of one trained in integers that are committed to, at the same settings and three
//! seeds; and what a step of either takes.

use std::time::Instant;

use sahara_privacy::provable::{Definition, Rows, Secret, train};
use sahara_privacy::train::table::{Column, Description};
use sahara_privacy::train::{Clip, Examples, Ledger, Network, Plan, Rule, Run, Schedule, TrainError, Wish, measure};

type Failure = Box<dyn std::error::Error>;

const DELTA: f64 = 1e-5;

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
    }
}

fn run() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, label, range, labels, rest @ ..] = words.as_slice() else { return Err("see the first line".into()) };
    let (low, high) = range.split_once(':').ok_or("LOW:HIGH")?;
    let all = Column::Range { low: low.parse()?, high: high.parse()? };
    let columns = vec![(label.clone(), Column::Label), ("*".to_owned(), all)];
    let description = Description { columns, labels: labels.split(',').map(str::to_owned).collect() };
    let read = |file: &str| -> Result<Examples, Failure> { Ok(description.read(&std::fs::read_to_string(file)?)?.0) };
    let (data, test) = (read(file)?, read(&file.replace(".csv", ".test.csv"))?);
    let epsilons = rest.first().map_or("0.5,1,3,8", String::as_str).split(',').map(str::parse);
    for epsilon in epsilons {
        compare(&data, &test, description.labels.len(), epsilon?)?;
    }
    Ok(())
}

fn compare(data: &Examples, test: &Examples, classes: usize, epsilon: f64) -> Result<(), Failure> {
    let batch = (data.len() / 8).min(1024);
    let steps = (30.0 * data.len() as f64 / batch as f64).ceil() as u64;
    let network = Network::logistic(data.width(), classes)?;
    let parameters = network.parameters();
    let clip = Clip::Flat(1.0);
    let wish = Wish { epsilon, delta: DELTA, examples: data.len(), batch, steps, clip, parameters };
    let plan = Plan::new(wish)?;
    let rate = plan.rate(data.width());
    let (mut floats, mut integers) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for seed in 0..3 {
        let folder = std::env::temp_dir().join(format!("provable-{}-{seed}", std::process::id()));
        let ledger = Ledger::create(&folder, &[0; 32])?;
        let ways = (Rule::Sgd { momentum: 0.0 }, Schedule::Cosine, rate);
        let mut run = Run::begin(&network, data, plan, ways, seed, ledger, [0; 32])?;
        run.train::<TrainError>(|_| true, |_| Ok(()))?;
        std::fs::remove_file(folder)?;
        floats.push(100.0 * measure(&network, &run.state().parameters, test)?.right as f64 / test.len() as f64);
    }
    let float_took = began.elapsed().as_secs_f64() / 3.0 / steps as f64;
    let (rows, tried) = (Rows::of(data)?, Rows::of(test)?);
    let (mut cost, mut integer_took) = (0.0, 0.0);
    for _ in 0..3 {
        let secret = Secret::draw()?;
        let factor = |step| f64::from(rate) * f64::from(Schedule::Cosine.factor(step, steps));
        let (shift, multipliers) = Definition::multipliers(&(0..steps).map(factor).collect::<Vec<_>>(), batch)?;
        let definition = Definition {
            inputs: rows.inputs(),
            classes,
            rows: rows.len() as u64,
            root: secret.root(&rows),
            secret: secret.commitment(),
            beacon: [0; 32],
            rate: plan.rate,
            cap: plan.cap as u64,
            clip: Definition::clip_of(1.0),
            sigma: 0.0,
            sampler: [0; 32],
            shift,
            multipliers,
        };
        let definition = definition.with_noise(plan.noise, epsilon, DELTA)?;
        cost = definition.epsilon(DELTA)?;
        let began = Instant::now();
        let transcript = train(definition, &rows, &secret, |_| true)?;
        integer_took += began.elapsed().as_secs_f64() / 3.0 / steps as f64;
        let right = (0..tried.len()).filter(|&row| transcript.head.choice(tried.row(row)) == tried.class(row)).count();
        integers.push(100.0 * right as f64 / tried.len() as f64);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    println!(
        "ε {epsilon} ({cost:.4}): float {:.2} % of {floats:.2?}, integers {:.2} % of {integers:.2?}; a step {:.2} and {:.2} ms",
        mean(&floats),
        mean(&integers),
        1e3 * float_took,
        1e3 * integer_took,
    );
    Ok(())
}
