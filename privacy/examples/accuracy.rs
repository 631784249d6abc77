//! `accuracy FILE.csv LABEL LOW:HIGH LABELS [RATE (0 for the plan's) [EPOCHS [BATCH [HIDDEN [EPSILONS]]]]]`: a line for each ε of 0.5, 1, 3 and 8 with the
//! accuracy of three seeds on FILE.test.csv, all columns in one range; `-` lines are without noise or clipping.

use std::time::Instant;

use sahara_privacy::train::table::{Column, Description};
use sahara_privacy::train::{
    Clip, Examples, Ledger, Network, Plan, Rule, Run, Schedule, Step, TrainError, Wish, measure,
};

type Failure = Box<dyn std::error::Error>;

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
    let (train, test) = (read(file)?, read(&file.replace(".csv", ".test.csv"))?);
    let number = |at: usize, or: f64| rest.get(at).map_or(Ok(or), |word| word.parse());
    let (rate, epochs) = (number(0, 0.0)?, number(1, 30.0)?);
    let batch = number(2, (train.len() / 8).min(1024) as f64)? as usize;
    let hidden: Vec<usize> =
        rest.get(3).filter(|word| *word != "-").map_or(Ok(vec![]), |word| word.split(',').map(str::parse).collect())?;
    let network = Network::perceptron(train.width(), &hidden, description.labels.len())?;
    let steps = (epochs * train.len() as f64 / batch as f64).ceil() as u64;
    let epsilons = rest.get(4).map_or(Ok(vec![0.5, 1.0, 3.0, 8.0]), |words| words.split(',').map(str::parse).collect());
    for epsilon in epsilons? {
        let wish = Wish {
            epsilon,
            delta: 1e-5,
            examples: train.len(),
            batch,
            steps,
            clip: Clip::Flat(1.0),
            parameters: network.parameters(),
        };
        let plan = Plan::new(wish)?;
        let rate = if rate == 0.0 { plan.rate(train.width(), network.layers().len()) } else { rate as f32 };
        let began = Instant::now();
        let mut right = Vec::new();
        for seed in 0..3 {
            let folder = std::env::temp_dir().join(format!("accuracy-{}-{seed}-{epsilon}", std::process::id()));
            let ledger = Ledger::create(&folder, &[0; 32])?;
            let ways = (Rule::Sgd { momentum: 0.0 }, Schedule::Cosine, rate);
            let mut run = Run::begin(&network, &train, plan, ways, seed, ledger, [0; 32])?;
            run.train::<TrainError>(|_| true, |_| Ok(()))?;
            std::fs::remove_file(folder)?;
            right.push(100.0 * measure(&network, &run.state().parameters, &test)?.right as f64 / test.len() as f64);
        }
        println!("{}", line(&epsilon.to_string(), &right, plan.noise, steps, began.elapsed().as_secs_f64()));
    }
    let mut step = Step::plain(&network);
    let mut parameters = network.begin(0);
    let mut gradient = vec![0.0; parameters.len()];
    let mut silence = Silence;
    let all: Vec<usize> = (0..train.len()).collect();
    for at in 0..steps {
        let from = usize::try_from(at)? * batch % train.len();
        let some = &all[from..(from + batch).min(train.len())];
        step.gradient(&parameters, &train, some, &mut silence, some.len() as f64, &mut gradient);
        let rate = 0.1 * Schedule::Cosine.factor(at, steps);
        parameters.iter_mut().zip(&gradient).for_each(|(p, g)| *p -= rate * g);
    }
    let right = 100.0 * measure(&network, &parameters, &test)?.right as f64 / test.len() as f64;
    println!("{}", line("-", &[right], 0.0, steps, 0.0));
    Ok(())
}

struct Silence;

impl sahara_privacy::train::Noise for Silence {
    fn fill(&mut self, values: &mut [i64]) {
        values.fill(0);
    }
}

fn line(epsilon: &str, right: &[f64], noise: f64, steps: u64, seconds: f64) -> String {
    let mean = right.iter().sum::<f64>() / right.len() as f64;
    format!("ε {epsilon}: {mean:.2} % of {right:.2?}, noise {noise:.3}, {steps} steps, {seconds:.1} s")
}
