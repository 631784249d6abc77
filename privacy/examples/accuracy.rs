//! `accuracy DATA FOLDER [OUT]`: what `sahara train` reaches with its defaults on one of the data sets that `benches/peers/privacy_data.py`
//! makes: a line of JSON for each ε of 0.5, 1, 3 and 8 at δ = 10⁻⁵, with the share of FOLDER/DATA.test.csv that is right for three
//! seeds, in percent. DATA is digits, mnist or thyroid, or movies or spam, whose tables have vectors of texts.
//! With OUT, the numbers that the model sees are written there, for others to train on.

use std::fmt::Write as _;
use std::path::Path;

use sahara_privacy::noise::{DiscreteGaussian, Generator};
use sahara_privacy::train::table::{Column, Description};
use sahara_privacy::train::{Clip, Examples, Network, Plan, Schedule, Step, Wish, measure, sample};

type Failure = Box<dyn std::error::Error>;

const EPSILONS: [f64; 4] = [0.5, 1.0, 3.0, 8.0];
const DELTA: f64 = 1e-5;
const SEEDS: u8 = 3;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [data, folder, out @ ..] = words.as_slice() else { return Err("accuracy DATA FOLDER [OUT]".into()) };
    let description = description(data)?;
    let read = |part: &str| -> Result<Examples, Failure> {
        let path = Path::new(folder).join(format!("{data}{part}.csv"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        Ok(description.read(&text)?.0)
    };
    let (train, test) = (read("")?, read(".test")?);
    if let [out] = out {
        for (part, examples) in [("", &train), (".test", &test)] {
            std::fs::write(Path::new(out).join(format!("{data}{part}.numbers.csv")), numbers(examples)?)?;
        }
    }
    let network = Network::logistic(train.width(), description.labels.len())?;
    let batch = Wish::usual_batch(train.len());
    let steps = Wish::steps(Wish::EPOCHS, train.len(), batch);
    for epsilon in EPSILONS {
        let clip = Clip::Flat(1.0);
        let parameters = network.parameters();
        let plan = Plan::new(Wish { epsilon, delta: DELTA, examples: train.len(), batch, steps, clip, parameters })?;
        let rate = plan.rate(network.inputs(), network.layers().len());
        let right = (0..SEEDS).map(|seed| private(&network, &train, &test, &plan, rate, seed));
        let right = right.collect::<Result<Vec<f64>, Failure>>()?;
        println!(
            "{{\"data\":\"{data}\",\"epsilon\":{epsilon},\"delta\":{DELTA},\"accuracy\":{right:?},\"noise\":{:.4},\"steps\":{steps},\
             \"batch\":{batch},\"rate\":{rate},\"clip\":1.0,\"examples\":{},\"features\":{}}}",
            plan.noise,
            train.len(),
            train.width()
        );
    }
    Ok(())
}

/// A column for each number, between bounds that are known without looking.
fn description(data: &str) -> Result<Description, Failure> {
    let range = |low: f64, high: f64| Column::Range { low, high };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    let digits = || (0..10).map(|digit| digit.to_string()).collect();
    let (columns, labels) = match data {
        "digits" => (vec![("digit", Column::Label), ("*", range(0.0, 16.0))], digits()),
        "mnist" => (vec![("digit", Column::Label), ("*", range(0.0, 1.0))], digits()),
        "movies" => (vec![("label", Column::Label), ("*", range(-1.0, 1.0))], words(&["bad", "good"])),
        "spam" => (vec![("label", Column::Label), ("*", range(-1.0, 1.0))], words(&["ham", "spam"])),
        "thyroid" => {
            let columns = vec![
                ("state", Column::Label),
                ("sex", Column::Values(words(&["F", "M"]))),
                ("age", range(0.0, 100.0)),
                ("TSH", range(0.0, 20.0)),
                ("T3", range(0.0, 10.0)),
                ("TT4", range(0.0, 300.0)),
                ("T4U", range(0.0, 2.0)),
                ("FTI", range(0.0, 300.0)),
                ("TBG", range(0.0, 100.0)),
                ("*", Column::Values(words(&["t"]))),
            ];
            (columns, words(&["well", "ill"]))
        }
        other => return Err(format!("there is no data set {other}").into()),
    };
    Ok(Description { columns: columns.into_iter().map(|(name, column)| (name.to_owned(), column)).collect(), labels })
}

/// The share of `test` that is right after a private run, in percent. What it draws is known: it is a measurement, not a release.
fn private(
    network: &Network,
    train: &Examples,
    test: &Examples,
    plan: &Plan,
    rate: f32,
    seed: u8,
) -> Result<f64, Failure> {
    let mut coins = Generator::from_seed([seed; 32]);
    let mut noise = (DiscreteGaussian::new(plan.sigma)?, Generator::from_seed([0x80 | seed; 32]));
    let mut step = Step::private(network, plan.wish.clip, plan.grid);
    let mut parameters = network.begin(seed.into());
    let mut gradient = vec![0.0; parameters.len()];
    for at in 0..plan.wish.steps {
        let batch = sample::batch(train.len(), plan.rate, plan.cap, &mut coins);
        step.gradient(&parameters, train, &batch, &mut noise, plan.wish.batch as f64, &mut gradient);
        let rate = rate * Schedule::Linear.factor(at, plan.wish.steps);
        parameters.iter_mut().zip(&gradient).for_each(|(parameter, change)| *parameter -= rate * change);
    }
    right(network, &parameters, test)
}

fn right(network: &Network, parameters: &[f32], test: &Examples) -> Result<f64, Failure> {
    Ok(100.0 * measure(network, parameters, test)?.right as f64 / test.len() as f64)
}

fn numbers(examples: &Examples) -> Result<String, Failure> {
    let mut text = String::new();
    for row in 0..examples.len() {
        for value in examples.row(row) {
            write!(text, "{value},")?;
        }
        writeln!(text, "{}", examples.classes()[row])?;
    }
    Ok(text)
}
