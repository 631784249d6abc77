//! `speed MODEL private|plain BATCH STEPS`: an object with samples per CPU-second of a training step on random images or
//! texts. MODEL is lr, mlp or cnn, for images, or lora or full, for texts of 64 tokens: an encoder of MiniLM's size with
//! adapters of rank 8 on queries and values, or trained whole but for its embeddings. A private step clips each example and
//! adds noise, a plain one does neither.

use sahara_privacy::noise::{DiscreteGaussian, Generator};
use sahara_privacy::train::transformer::{Adapters, Classifier, LayerWeights, Linear, Norm, Reading, Target, Texts};
use sahara_privacy::train::transformer::{Tuning, Weights};
use sahara_privacy::train::{Clip, Examples, Grid, Model, Network, Optimizer, Rule, Step};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [model, mode, batch, steps] = words.as_slice() else {
        return eprintln!("speed MODEL private|plain BATCH STEPS");
    };
    let number = |word: &str| word.parse::<usize>().ok().filter(|&number| number > 0);
    let (Some(batch), Some(steps)) = (number(batch), number(steps)) else { return eprintln!("no numbers above 0") };
    match measure(model, mode == "private", batch, steps) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("{error}"),
    }
}

fn measure(model: &str, private: bool, batch: usize, steps: usize) -> Result<String, Box<dyn std::error::Error>> {
    let adapters = Adapters { rank: 8, alpha: 16.0, targets: vec![Target::Query, Target::Value] };
    let tuning = match model {
        "lora" => Tuning::Adapters(adapters),
        "full" => Tuning::All,
        _ => {
            let network = match model {
                "lr" => Network::logistic(784, 10)?,
                "mlp" => Network::perceptron(784, &[256, 256], 10)?,
                "cnn" => Network::small_images(10)?,
                other => return Err(format!("no model {other}").into()),
            };
            return steps_of(model, &network, &images(batch)?, private, (batch, steps));
        }
    };
    let mut random = Generator::from_seed([1; 32]);
    let texts: Vec<Vec<u32>> = (0..batch).map(|_| (0..64).map(|_| random.below(1000) as u32).collect()).collect();
    let texts = Texts::new(texts.iter().map(Vec::as_slice), (0..batch as u32).map(|i| i % 2).collect())?;
    let classifier = Classifier::new(encoder(&mut random), Reading::Mean, tuning, 2)?;
    steps_of(model, &classifier, &texts, private, (batch, steps))
}

fn images(batch: usize) -> Result<Examples, Box<dyn std::error::Error>> {
    let mut random = Generator::from_seed([1; 32]);
    let values = (0..batch * 784).map(|_| random.unit() as f32).collect();
    Ok(Examples::new(784, values, (0..batch as u32).map(|i| i % 10).collect())?)
}

/// Six layers of 384, twelve heads, 1536 inner numbers, random.
fn encoder(random: &mut Generator) -> Weights {
    let mut values = |count: usize| -> Vec<f32> { (0..count).map(|_| (random.unit() as f32 - 0.5) * 0.1).collect() };
    let norm = Norm { gamma: vec![1.0; 384], beta: vec![0.0; 384] };
    let mut linear =
        |inputs: usize, outputs: usize| Linear { weight: values(inputs * outputs), bias: vec![0.0; outputs] };
    let layers = (0..6)
        .map(|_| LayerWeights {
            query: linear(384, 384),
            key: linear(384, 384),
            value: linear(384, 384),
            output: linear(384, 384),
            attention_norm: norm.clone(),
            up: linear(384, 1536),
            down: linear(1536, 384),
            output_norm: norm.clone(),
        })
        .collect();
    Weights {
        hidden: 384,
        heads: 12,
        inner: 1536,
        epsilon: 1e-12,
        words: values(1000 * 384),
        positions: values(64 * 384),
        segments: vec![0.0; 384],
        embedding_norm: norm,
        layers,
        pooler: None,
    }
}

fn steps_of<M: Model>(
    name: &str,
    model: &M,
    examples: &M::Data,
    private: bool,
    (batch, steps): (usize, usize),
) -> Result<String, Box<dyn std::error::Error>> {
    let all: Vec<usize> = (0..batch).collect();
    let clip = Clip::Flat(1.0);
    let grid = Grid::of(1.0, model.parameters(), 2 * batch + 64);
    let mut noise = (DiscreteGaussian::new(grid.sensitivity)?, Generator::from_seed([2; 32]));
    let mut step = if private { Step::private(model, clip, grid) } else { Step::plain(model) };
    let mut parameters = model.begin(1);
    let mut optimizer = Optimizer::new(Rule::Sgd { momentum: 0.0 }, parameters.len());
    let mut gradient = vec![0.0; parameters.len()];
    let before = peak();
    let mut seconds = Vec::new();
    for _ in 0..steps + 2 {
        let began = cpu();
        step.gradient(&parameters, examples, &all, &mut noise, batch as f64, &mut gradient);
        optimizer.change(&mut parameters, &gradient, 0.01);
        seconds.push(cpu() - began);
    }
    let mut seconds = seconds.split_off(2);
    seconds.sort_by(f64::total_cmp);
    let rate = batch as f64 / seconds[seconds.len() / 2];
    let growth = (peak() - before) / 1024.0;
    Ok(format!(
        "{{\"model\":\"{name}\",\"private\":{private},\"batch\":{batch},\"steps\":{steps},\"parameters\":{},\
         \"samples_per_cpu_second\":{rate:.1},\"memory_growth_mb\":{growth:.1}}}",
        parameters.len()
    ))
}

/// CPU-seconds of this process.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Most memory that this process had, in KiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0.0)
}
